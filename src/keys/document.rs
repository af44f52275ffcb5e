//! A metadata document to be fetched: its address, and what its content is held to.

use std::time::Duration;

use crate::entra::cloud::endpoint_in_authority;
use crate::entra::issuer::Issuer;

/// Index of a [`Document`] in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId(pub usize);

/// An absolute https address, split as a request needs it and otherwise unmodified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    authority: String,
    path: String,
}

impl Address {
    /// Splits an address. Only `https`, no user information, no fragment, printable ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(at)?;
        let clean = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['#', '\\', '"', '<', '>']);
        if authority.is_empty() || authority.contains('@') || !clean {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Self { authority: authority.to_owned(), path })
    }

    /// The `:authority` of a request.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without a port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(&self.authority, |(host, _)| host)
    }

    /// The `:path` of a request, with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "https://{}{}", self.authority, self.path)
    }
}

/// Which hosts `jwks_uri` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeysHost {
    /// Any host of the authority's cloud, or the authority's own.
    SameCloud,
    /// The authority's own host.
    SameHost,
}

impl KeysHost {
    /// Whether keys may be fetched from `keys`, found in the metadata at `metadata`.
    #[must_use]
    pub fn admits(self, metadata: &Address, keys: &Address) -> bool {
        match self {
            Self::SameCloud => endpoint_in_authority(metadata.host(), keys.host()),
            Self::SameHost => metadata.authority.eq_ignore_ascii_case(&keys.authority),
        }
    }
}

/// A metadata document and its rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Document {
    /// Where the metadata is.
    pub metadata: Address,
    /// The issuers that the metadata may state: it is pinned to the configured tenant.
    pub issuers: Vec<Issuer>,
    /// Where the keys may be.
    pub keys_host: KeysHost,
    /// The Envoy cluster that carries both requests.
    pub cluster: String,
    /// How long each of the two requests may take.
    pub timeout: Duration,
    /// How old keys become before they are fetched again.
    pub refresh: Duration,
    /// The least time between two fetches that unknown `kid`s cause.
    pub unknown_kid_cooldown: Duration,
    /// How old keys may become at all.
    pub max_age: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_as_it_is() {
        let text = "https://login.microsoftonline.com/common/discovery/keys?appid=1&p=%2F";
        let address = Address::parse(text).unwrap();
        assert_eq!(address.authority(), "login.microsoftonline.com");
        assert_eq!(address.path(), "/common/discovery/keys?appid=1&p=%2F");
        assert_eq!(address.to_string(), text);
        assert_eq!(Address::parse("https://idp.example:8443").unwrap().host(), "idp.example");
    }

    #[test]
    fn what_is_no_plain_https_address_is_refused() {
        for text in [
            "http://login.microsoftonline.com/",
            "https://",
            "https:///keys",
            "https://trusted@evil.example/keys",
            "https://host/a b",
            "https://host/\r\nx: y",
            "https://host/#fragment",
            "https://host\\@evil.example/",
            "file:///etc/passwd",
            "https://h\u{456}st/",
        ] {
            assert!(Address::parse(text).is_none(), "{text}");
        }
    }
}
