//! How the place of a value in a configuration is written: `providers.workforce.tenants[0]`. Whoever knows where values
//! stand in a file finds the place of a [`Mistake`](super::Mistake) by writing the same.

/// The path of an object's member.
#[must_use]
pub fn member(path: &str, name: &str) -> String {
    let name = if name.contains(['.', '[', ' ']) { format!("[{name:?}]") } else { name.to_owned() };
    if path.is_empty() || name.starts_with('[') { format!("{path}{name}") } else { format!("{path}.{name}") }
}

/// The path of a list's element.
#[must_use]
pub fn element(path: &str, at: usize) -> String {
    format!("{path}[{at}]")
}
