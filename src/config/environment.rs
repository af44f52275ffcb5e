//! Secrets, which stand in environment variables of the VM: the configuration only names them, and Envoy's admin
//! interface shows the configuration.

use super::node::Node;

/// Who knows the variables' values.
pub(super) struct Environment<'a>(pub(super) &'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// The value of the variable that is named here.
    pub(super) fn read(&self, node: &Node<'_>) -> Option<String> {
        let name = node.json().as_str().unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        // Not shown: somebody may have written the secret itself.
        if name.is_empty() || !plain || name.starts_with(|first: char| first.is_ascii_digit()) {
            return node.mistake_of("no name of an environment variable", "one of letters, digits and _");
        }
        match (self.0)(name).filter(|value| !value.trim().is_empty()) {
            Some(value) => Some(value),
            None => node.mistake_of(
                &format!("{name}, which is not set in the VM"),
                "a variable in vm_config.environment_variables, with a value",
            ),
        }
    }
}
