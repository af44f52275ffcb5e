//! Who is asked, as it is configured. Holds a secret, and shows none.

use std::fmt;
use std::time::Duration;

use crate::jose::jwk::KeySet;
use crate::keys::document::Address;

/// Where a question is sent.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The address.
    pub address: Address,
    /// The Envoy cluster that carries the request.
    pub cluster: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// An authorization server that is asked about tokens (RFC 7662).
#[derive(Clone)]
pub struct Introspection {
    /// Its introspection endpoint.
    pub upstream: Upstream,
    /// What the gate is called there.
    pub client_id: String,
    /// What it proves that with.
    pub client_secret: String,
    /// How it does.
    pub authentication: Authentication,
    /// How long an answer counts.
    pub cache: Duration,
    /// Which tokens it is asked about.
    pub tokens: Tokens,
    /// What becomes of a verified token without an answer.
    pub on_failure: OnFailure,
}

/// How a client authenticates (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By the `Authorization` header (default).
    Basic,
    /// In the form.
    Post,
}

/// Which of a provider's tokens are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Every one (default).
    All,
    /// Those that are no JWTs.
    Opaque,
}

/// What becomes of a token that was verified, when nobody says whether it still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It passes, and is counted.
    Allow,
    /// It does not: 503 (default).
    Deny,
}

/// That tokens for Microsoft Graph are accepted, and who vouches for them.
#[derive(Clone, Debug)]
pub struct GraphTokens {
    /// Graph's userinfo endpoint.
    pub upstream: Upstream,
    /// The `aud` values of tokens for Graph.
    pub audiences: Vec<String>,
    /// How long an answer counts.
    pub cache: Duration,
}

/// The status lists that may be fetched.
#[derive(Clone)]
pub struct StatusLists {
    /// Which.
    pub allowed: Vec<Allowed>,
    /// The Envoy cluster that carries the requests.
    pub cluster: String,
    /// How long each may take.
    pub timeout: Duration,
    /// The keys that may sign lists; none: the provider's.
    pub keys: Option<KeySet>,
    /// How long a list counts at most.
    pub cache: Duration,
    /// What becomes of a verified token without a list.
    pub on_failure: OnFailure,
}

/// Longest address that a token may name, in bytes: it is told in logs.
const LONGEST_URI: usize = 1_024;

/// An address, or all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// All that begin with this, which ends in a slash.
    Below(String),
    /// This one.
    Exact(String),
}

impl Allowed {
    /// Whether a token may name this address. Below an address only plain names are: nothing that a server could read as
    /// another place.
    #[must_use]
    pub fn admits(&self, uri: &str) -> bool {
        match self {
            Self::Below(base) => uri.strip_prefix(base.as_str()).is_some_and(|rest| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
                !rest.is_empty()
                    && uri.len() <= LONGEST_URI
                    && rest.bytes().all(plain)
                    && !rest.split('/').any(|name| matches!(name, "" | "." | ".."))
            }),
            Self::Exact(known) => known == uri,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(base) => write!(formatter, "{base}*"),
            Self::Exact(known) => formatter.write_str(known),
        }
    }
}

/// The secret is not shown.
impl fmt::Debug for Introspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Introspection").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// Keys may be secrets.
impl fmt::Debug for StatusLists {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StatusLists").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_a_token_names_is_held_to_the_list() {
        let (below, exact) = (
            Allowed::Below("https://status.example/lists/".into()),
            Allowed::Exact("https://status.example/one?of=them".into()),
        );
        for uri in ["https://status.example/lists/1", "https://status.example/lists/a/b-c_d.e~f"] {
            assert!(below.admits(uri), "{uri}");
        }
        assert!(exact.admits("https://status.example/one?of=them"));
        for uri in [
            "https://status.example/lists/",
            "https://status.example/lists",
            "https://status.example/other",
            "https://status.example/lists/../admin",
            "https://status.example/lists/./1",
            "https://status.example/lists//1",
            "https://status.example/lists/%2e%2e/admin",
            "https://status.example/lists/1?redirect=https://evil.example",
            "https://status.example/lists/1#x",
            "https://status.example.evil.example/lists/1",
            "http://status.example/lists/1",
            "HTTPS://status.example/lists/1",
            "https://status.example/one?of=them&more",
            &format!("https://status.example/lists/{}", "x".repeat(LONGEST_URI)),
            "",
        ] {
            assert!(!below.admits(uri) && !exact.admits(uri), "{uri}");
        }
    }
}
