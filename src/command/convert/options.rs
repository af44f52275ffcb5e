//! What a policy does not say and a configuration needs, from the command line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use entra_gate::entra::guid::Guid;

use crate::failure::Failure;

/// For every kind of policy.
#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// An audience of this API, for policies and providers that name none; may be repeated
    #[arg(long = "audience", value_name = "AUDIENCE")]
    pub(super) audiences: Vec<String>,
    /// The tenant behind a domain, for policies that name no GUID; may be repeated
    #[arg(long = "tenant", value_name = "DOMAIN=GUID", value_parser = tenant)]
    pub(super) tenants: Vec<(String, Guid)>,
    /// Envoy's cluster that leads to the identity provider; jwt_authn names its own
    #[arg(long, value_name = "NAME", default_value = "entra")]
    pub(super) cluster: String,
}

impl Options {
    /// The tenant of this domain.
    pub(super) fn tenant(&self, domain: &str) -> Option<&Guid> {
        self.tenants.iter().find(|(known, _)| known.eq_ignore_ascii_case(domain)).map(|(_, guid)| guid)
    }
}

/// What stands for named values and expressions.
pub(super) struct Values(pub(super) Vec<(String, String)>);

impl Values {
    pub(super) fn of(&self, text: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == text).map(|(_, value)| value.as_str())
    }

    /// The text with every named value that is known in its place.
    pub(super) fn in_place(&self, text: &str) -> String {
        self.0
            .iter()
            .filter(|(name, _)| name.starts_with("{{"))
            .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// Certificates by their identifiers, base64 of DER.
#[derive(Default)]
pub(super) struct Certificates(pub(super) Vec<(String, String)>);

impl Certificates {
    pub(super) fn read(named: &[(String, String)]) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for (id, file) in named {
            let bytes = std::fs::read(file).map_err(|error| Failure::here(file, error))?;
            let text = match std::str::from_utf8(&bytes) {
                Ok(text) if text.contains("PRIVATE KEY") => {
                    return Err(Failure::here(file, "a private key: expected the public certificate alone"));
                }
                Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {
                    let first = text.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap_or_default();
                    let body = first.split("-----END").next().unwrap_or_default();
                    body.split_whitespace().collect()
                }
                _ => STANDARD.encode(&bytes),
            };
            all.push((id.clone(), text));
        }
        Ok(Self(all))
    }

    pub(super) fn of(&self, id: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, text)| text.as_str())
    }
}

/// `NAME=VALUE`
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// `{{name}}=value`, or `@(…)=value`: an expression may hold equal signs itself.
pub(super) fn value(text: &str) -> Result<(String, String), String> {
    let end =
        if text.starts_with("{{") { text.find("}}=").map(|at| at + 2) } else { text.rfind(")=").map(|at| at + 1) };
    let split = end.and_then(|end| Some((text.get(..end)?, text.get(end + 1..)?)));
    match split {
        Some((name, value)) if (name.starts_with("{{") || name.starts_with("@(")) && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("expected '{{name}}=value' or '@(…)=value'".to_owned()),
    }
}

fn tenant(text: &str) -> Result<(String, Guid), String> {
    let (domain, guid) = pair(text)?;
    match Guid::parse(&guid) {
        Some(guid) => Ok((domain, guid)),
        None => Err(format!("found {guid:?}, expected a GUID")),
    }
}
