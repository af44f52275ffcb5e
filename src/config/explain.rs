//! `explain`: who may see why.

use super::environment::Environment;
use super::node::Node;
use crate::policy::explain::Explain;

pub(super) const MEMBERS: [&str; 2] = ["header", "secret_env"];

/// The header, where none is named.
const HEADER: &str = "x-entra-gate-explain";

pub(super) fn compile(node: &Node<'_>, environment: &Environment<'_>) -> Option<Explain> {
    let members = node.object(&MEMBERS)?;
    let header = members.optional("header", |node| {
        let name = node.text()?.to_ascii_lowercase();
        let token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        match name.as_str() {
            "authorization" | "cookie" | "host" => node.mistake("a header that nothing else is read from"),
            _ if token => Some(name),
            _ => node.mistake("a header's name"),
        }
    });
    let named = members.required("secret_env")?;
    let secret = environment.read(&named);
    let header = header?.unwrap_or_else(|| HEADER.to_owned());
    match Explain::new(header, &secret?) {
        Some(explain) => Some(explain),
        None => named.mistake_of(
            &format!("{}, which holds no usable secret", named.text()?),
            &format!("at least {} printable ASCII characters without spaces", Explain::LEAST_SECRET),
        ),
    }
}
