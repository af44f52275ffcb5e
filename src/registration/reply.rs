//! How a request to the bridge ends: one table of outcomes, with what the client is told (RFC 7591 section 3.2, RFC 7592,
//! RFC 6750) and the word for metrics and logs. Graph's own words never get here.

use serde_json::{Map, Value};

use super::metadata::{MetadataError, MetadataFault};
use crate::answer::{Answer, plain};
use crate::jose::json::Object;

/// How it ended; the word in metrics, in log lines, and in `reason` of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No initial access token or registration access token that is good, or not for this.
    AccessDenied,
    /// The client hung up, and what was made for it was taken back.
    ClientGone,
    /// An application was made.
    Created,
    /// It was deleted.
    Deleted,
    /// Graph did not answer, or not as it should.
    GraphFailed,
    /// Graph does not let the bridge do it.
    GraphRefused,
    /// What the client asked for cannot be had.
    Invalid,
    /// There is no token for Graph.
    LoginFailed,
    /// Something may be left behind that nobody uses.
    Orphaned,
    /// A policy of the organization forbids such a client.
    PolicyRefused,
    /// Too many applications.
    QuotaExceeded,
    /// Too many requests here.
    RateLimited,
    /// It was read.
    Read,
    /// A new secret was made.
    SecretRotated,
    /// An application that there was already is shared.
    Shared,
    /// Too many requests for Graph.
    Throttled,
    /// What was half made was taken back.
    Undone,
    /// It was changed.
    Updated,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::AccessDenied,
        Self::ClientGone,
        Self::Created,
        Self::Deleted,
        Self::GraphFailed,
        Self::GraphRefused,
        Self::Invalid,
        Self::LoginFailed,
        Self::Orphaned,
        Self::PolicyRefused,
        Self::QuotaExceeded,
        Self::RateLimited,
        Self::Read,
        Self::SecretRotated,
        Self::Shared,
        Self::Throttled,
        Self::Undone,
        Self::Updated,
    ];

    /// Whether an operator must do something.
    #[must_use]
    pub fn needs_somebody(self) -> bool {
        match self {
            Self::GraphRefused | Self::LoginFailed | Self::Orphaned | Self::QuotaExceeded => true,
            Self::AccessDenied
            | Self::ClientGone
            | Self::Created
            | Self::Deleted
            | Self::GraphFailed
            | Self::Invalid
            | Self::PolicyRefused
            | Self::RateLimited
            | Self::Read
            | Self::SecretRotated
            | Self::Shared
            | Self::Throttled
            | Self::Undone
            | Self::Updated => false,
        }
    }

    /// The word.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::ClientGone => "client_gone",
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::GraphFailed => "graph_failed",
            Self::GraphRefused => "graph_refused",
            Self::Invalid => "invalid",
            Self::LoginFailed => "login_failed",
            Self::Orphaned => "orphaned",
            Self::PolicyRefused => "policy_refused",
            Self::QuotaExceeded => "quota_exceeded",
            Self::RateLimited => "rate_limited",
            Self::Read => "read",
            Self::SecretRotated => "secret_rotated",
            Self::Shared => "shared",
            Self::Throttled => "throttled",
            Self::Undone => "undone",
            Self::Updated => "updated",
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What came as a bearer token is not good.
    BadToken,
    /// The body is too long.
    BodyTooLarge,
    /// The body did not come in time, or Envoy does not let the filter see it.
    BodyMissing,
    /// Graph did not answer, or not as it should.
    GraphFailed,
    /// Graph does not let the bridge do it.
    GraphRefused,
    /// There is no token for Graph.
    LoginFailed,
    /// What the client asked for cannot be had.
    Metadata(MetadataFault),
    /// Not a method of this resource: those that it has.
    Method(String),
    /// Good, but not for this.
    NotAllowed(&'static str),
    /// No bearer token.
    NoToken,
    /// No such resource.
    NotFound,
    /// A policy of the organization forbids such a client.
    Policy,
    /// Too many applications.
    Quota,
    /// Too many requests here; seconds to wait.
    Rate(u64),
    /// Too many requests for Graph; seconds to wait.
    Throttled(u64),
}

impl Refusal {
    /// The word for metrics and logs.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::BadToken | Self::NoToken | Self::NotAllowed(_) => Outcome::AccessDenied,
            Self::BodyMissing | Self::BodyTooLarge | Self::Metadata(_) | Self::Method(_) | Self::NotFound => {
                Outcome::Invalid
            }
            Self::GraphFailed => Outcome::GraphFailed,
            Self::GraphRefused => Outcome::GraphRefused,
            Self::LoginFailed => Outcome::LoginFailed,
            Self::Policy => Outcome::PolicyRefused,
            Self::Quota => Outcome::QuotaExceeded,
            Self::Rate(_) => Outcome::RateLimited,
            Self::Throttled(_) => Outcome::Throttled,
        }
    }

    /// What the operator is told.
    #[must_use]
    pub fn detail(&self) -> String {
        self.told().2
    }

    /// Status, error code and sentence, and how long to wait.
    fn told(&self) -> (u16, &'static str, String, Option<u64>) {
        const UNAVAILABLE: &str = "temporarily_unavailable";
        let later = |seconds: u64| Some(seconds.max(1));
        let (status, error, sentence, wait) = match self {
            Self::BadToken => (401, "invalid_token", "The bearer token is not good for this registration.", None),
            Self::BodyMissing => (408, "invalid_request", "The body of the request did not arrive.", None),
            Self::BodyTooLarge => (413, "invalid_client_metadata", "The body is larger than 32 KiB.", None),
            Self::GraphFailed => (503, UNAVAILABLE, "The directory does not answer. Try again later.", later(10)),
            Self::GraphRefused => {
                (503, "server_error", "The directory does not let this service register clients.", later(60))
            }
            Self::LoginFailed => (503, UNAVAILABLE, "The directory cannot be reached. Try again later.", later(10)),
            Self::Metadata(fault) => {
                let error = match fault.error {
                    MetadataError::Metadata => "invalid_client_metadata",
                    MetadataError::RedirectUri => "invalid_redirect_uri",
                };
                (400, error, fault.sentence.as_str(), None)
            }
            Self::Method(_) => (405, "invalid_request", "This method is not supported here.", None),
            Self::NotAllowed(sentence) => (403, "insufficient_scope", *sentence, None),
            Self::NoToken => (
                401,
                "",
                "A bearer token is needed: an initial access token, or the registration access token of the client.",
                None,
            ),
            Self::NotFound => (404, "invalid_request", "There is nothing here.", None),
            Self::Policy => (
                400,
                "invalid_client_metadata",
                "A policy of the organization forbids clients of this kind. A public client may be allowed: token_endpoint_auth_method none, and PKCE.",
                None,
            ),
            Self::Quota => (503, UNAVAILABLE, "No more clients can be registered at present.", later(3_600)),
            Self::Rate(seconds) => {
                (429, "too_many_requests", "Too many registrations. Try again later.", later(*seconds))
            }
            Self::Throttled(seconds) => (503, UNAVAILABLE, "The directory is busy. Try again later.", later(*seconds)),
        };
        (status, error, plain(sentence), wait)
    }

    /// The answer. `correlation` is the one thing by which an operator finds the call to Graph.
    #[must_use]
    pub fn answer(&self, realm: &str, correlation: Option<&str>) -> Answer {
        let (status, error, sentence, wait) = self.told();
        let mut body = Map::new();
        if !error.is_empty() {
            body.insert("error".to_owned(), error.into());
        }
        body.insert("error_description".to_owned(), sentence.clone().into());
        body.insert("reason".to_owned(), self.outcome().code().into());
        if let Some(correlation) = correlation {
            body.insert("correlation_id".to_owned(), correlation.into());
        }
        let mut answer = json(status, Value::Object(body));
        if let Some(wait) = wait {
            answer.headers.push(("retry-after", wait.to_string()));
        }
        match self {
            Self::BadToken | Self::NotAllowed(_) => answer.headers.push((
                "www-authenticate",
                format!("Bearer realm=\"{}\", error=\"{error}\", error_description=\"{sentence}\"", plain(realm)),
            )),
            Self::NoToken => {
                answer.headers.push(("www-authenticate", format!("Bearer realm=\"{}\"", plain(realm))));
            }
            Self::Method(allowed) => answer.headers.push(("allow", allowed.clone())),
            Self::BodyMissing
            | Self::BodyTooLarge
            | Self::GraphFailed
            | Self::GraphRefused
            | Self::LoginFailed
            | Self::Metadata(_)
            | Self::NotFound
            | Self::Policy
            | Self::Quota
            | Self::Rate(_)
            | Self::Throttled(_) => {}
        }
        answer
    }
}

/// A client, as it is registered.
#[must_use]
pub fn client(status: u16, client: Object) -> Answer {
    json(status, Value::Object(client))
}

/// Nothing, and well (RFC 7592 section 2.3).
#[must_use]
pub fn deleted() -> Answer {
    Answer { status: 204, headers: headers(), body: String::new() }
}

/// What browsers ask first. Anybody may ask: what counts is in the body and in `Authorization`.
#[must_use]
pub fn preflight(methods: &str) -> Answer {
    let mut headers = headers();
    headers.push(("access-control-allow-methods", methods.to_owned()));
    headers.push(("access-control-allow-headers", "authorization, content-type, mcp-protocol-version".to_owned()));
    headers.push(("access-control-max-age", "86400".to_owned()));
    Answer { status: 204, headers, body: String::new() }
}

fn json(status: u16, body: Value) -> Answer {
    let mut headers = headers();
    headers.push(("content-type", "application/json".to_owned()));
    Answer { status, headers, body: body.to_string() }
}

fn headers() -> Vec<(&'static str, String)> {
    vec![
        ("access-control-allow-origin", "*".to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("pragma", "no-cache".to_owned()),
    ]
}
