//! Reading a metadata document (OpenID Connect Discovery 1.0 section 3), held to its pins.

use serde_json::Value;

use super::document::{Address, Document};
use crate::entra::issuer::Issuer;
use crate::jose::json;

/// What is taken from metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// `issuer`, possibly a template.
    pub issuer: Issuer,
    /// `jwks_uri`, to be used unmodified.
    pub jwks_uri: Address,
    /// Entra's `cloud_instance_name`.
    pub cloud_instance_name: Option<String>,
}

/// Why an answer was not taken. Everything named here is the identity provider's, not a client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFault {
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The call could not be sent: the cluster is unknown or has no healthy host.
    NotSent,
    /// No answer: connection failure or reset.
    NoAnswer,
    /// The status was not 200.
    Status(u16),
    /// The metadata is not a JSON object with string members `issuer` and `jwks_uri`.
    Metadata,
    /// The metadata states an issuer other than the pinned one.
    Issuer(String),
    /// `jwks_uri` leaves the authority's cloud or host, or is no https address.
    KeysAddress(String),
    /// The key document cannot be used.
    Keys(crate::jose::jwk::KeySetFault),
}

impl std::fmt::Display for FetchFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::jose::jwk::KeySetFault;
        match self {
            Self::BodyTooLarge => write!(formatter, "the body is over {MAX_BODY_BYTES} bytes"),
            Self::NotSent => formatter.write_str("the request could not be sent: is the cluster defined and healthy?"),
            Self::NoAnswer => formatter.write_str("no answer"),
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::Metadata => formatter.write_str("the metadata is not a JSON object with issuer and jwks_uri"),
            Self::Issuer(issuer) if Issuer::new(issuer.as_str()).is_template() => write!(
                formatter,
                "the metadata is that of all tenants (common, organizations), and states a template: {issuer:?}; configure \
                 kind workforce with its tenants"
            ),
            Self::Issuer(issuer) => write!(formatter, "the metadata states another issuer: {issuer:?}"),
            Self::KeysAddress(address) => write!(formatter, "jwks_uri leaves the authority: {address:?}"),
            Self::Keys(fault) => formatter.write_str(match fault {
                KeySetFault::Json(_) => "the key document is not a JSON object",
                KeySetFault::NoKeys => "the key document has no array of keys",
                KeySetFault::NoUsableKey => "the key document holds no usable key",
                KeySetFault::TooManyKeys => "the key document holds too many keys",
            }),
        }
    }
}

/// Largest metadata or key document that is read, in bytes. Entra's largest is near 30 KiB.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

impl Metadata {
    /// Reads metadata and holds it to the document's pins.
    ///
    /// # Errors
    /// Says which pin it breaks, or that it is no metadata.
    pub fn read(document: &Document, body: &[u8]) -> Result<Self, FetchFault> {
        let members = json::object(body).map_err(|_| FetchFault::Metadata)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str).ok_or(FetchFault::Metadata);
        let issuer = Issuer::new(text("issuer")?);
        if !document.issuers.contains(&issuer) {
            return Err(FetchFault::Issuer(excerpt(issuer.as_str())));
        }
        let jwks_uri = text("jwks_uri")?;
        let jwks_uri = Address::parse(jwks_uri)
            .filter(|address| document.keys_host.admits(&document.metadata, address))
            .ok_or_else(|| FetchFault::KeysAddress(excerpt(jwks_uri)))?;
        let cloud_instance_name = text("cloud_instance_name").ok().map(str::to_owned);
        Ok(Self { issuer, jwks_uri, cloud_instance_name })
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}
