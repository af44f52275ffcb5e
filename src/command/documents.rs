//! The documents of the service's API, the same for the service and its clients.
//!
//! A subject is written as in the feed: `tenant`; `tenant` with `user`, `session` or `client`; `issuer` with `token` or
//! `subject`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Whom a revocation is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Members {
    /// Tenant (`tid`), a GUID
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
    pub(crate) tenant: Option<String>,
    /// User or service principal (`oid`), a GUID; with `tenant`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
    pub(crate) user: Option<String>,
    /// Sign-in session (`sid`); with `tenant`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[!-~]{1,255}$")]
    pub(crate) session: Option<String>,
    /// Client application (`azp`, `appid`), a GUID; with `tenant`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
    pub(crate) client: Option<String>,
    /// Issuer (`iss`), an https address, exactly as it stands in tokens
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^https://[!-~]{1,504}$")]
    pub(crate) issuer: Option<String>,
    /// One token (`uti`, else `jti`); with `issuer`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[!-~]{1,255}$")]
    pub(crate) token: Option<String>,
    /// Pairwise subject (`sub`); with `issuer`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[!-~]{1,255}$")]
    pub(crate) subject: Option<String>,
}

/// A revocation that is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct RevokeRequest {
    /// Whom
    #[serde(flatten)]
    pub(crate) members: Members,
    /// Tokens issued earlier are revoked; `now` unless `blocked`. Sessions and single tokens are blocked by default
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<NotBefore>,
    /// All tokens are revoked, future ones too, until the block is lifted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blocked: Option<bool>,
    /// Must be true where `tenant` stands alone: everybody in it is meant
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) whole_tenant: bool,
    /// Why, for the audit
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    pub(crate) reason: String,
    /// What is not known, to be refused by name.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) unknown: BTreeMap<String, Value>,
}

/// A time from which on tokens are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum NotBefore {
    /// Unix seconds
    At(u64),
    /// The next whole second of the service's clock
    Word(NotBeforeWord),
}

/// A time by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NotBeforeWord {
    /// The next whole second of the service's clock
    Now,
}

/// The end of a block that is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct LiftRequest {
    /// Whose
    #[serde(flatten)]
    pub(crate) members: Members,
    /// Why, for the audit
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    pub(crate) reason: String,
    /// What is not known, to be refused by name.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) unknown: BTreeMap<String, Value>,
}

/// What holds for a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Revocation {
    /// Whom it is about
    #[serde(flatten)]
    pub(crate) members: Members,
    /// Tokens issued earlier are revoked; Unix seconds
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<u64>,
    /// Whether all tokens are revoked
    pub(crate) blocked: bool,
    /// When a block was last lifted; Unix seconds
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unblocked_at: Option<u64>,
    /// When it is forgotten: every token that it is about has expired by then. Unix seconds; absent: when it is lifted
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    /// The place of its last change in the feed
    pub(crate) sequence: u64,
    /// When it last changed; Unix seconds
    pub(crate) changed_at: u64,
    /// Who last changed it
    pub(crate) by: Actor,
    /// Why
    pub(crate) reason: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Outcome {
    /// Whether anything changed. What was revoked already stays so, and is no mistake
    pub(crate) changed: bool,
    /// What holds now, on disk and in the feed
    pub(crate) revocation: Revocation,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Actor {
    /// The holder of the bootstrap key
    Bootstrap,
    /// The bearer of a token
    Token {
        /// The provider's name in the service's configuration
        provider: String,
        /// `tid`
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
        /// `oid`, else `sub`
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// `azp` or `appid`
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// `uti`, else `jti`
        #[serde(skip_serializing_if = "Option::is_none")]
        token_id: Option<String>,
    },
    /// The service itself
    Service,
    /// A source that feeds the service
    Source {
        /// Its name in the service's configuration
        name: String,
        /// The identifier of the event that it was told of
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<String>,
    },
}

/// A part of what holds, the latest changes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RevocationPage {
    /// The revocations
    pub(crate) revocations: Vec<Revocation>,
    /// The value of `before` for the next part; absent in the last
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
}

/// What was asked, by whom, why, and what came of it. Never changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Event {
    /// Its number
    pub(crate) id: u64,
    /// When; Unix milliseconds
    pub(crate) at: u64,
    /// Who
    pub(crate) by: Actor,
    /// What
    pub(crate) action: Action,
    /// Whom a revocation is about
    #[serde(flatten)]
    pub(crate) members: Members,
    /// The signing key that it is about
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// What was asked for; Unix seconds
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<u64>,
    /// Whether a block was asked for
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) blocked: bool,
    /// Why
    pub(crate) reason: String,
    /// Whether anything changed
    pub(crate) changed: bool,
    /// The place in the feed, if the feed changed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<u64>,
    /// The `x-request-id` of the request
    pub(crate) request_id: String,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// A signing key was made
    KeyAdd,
    /// A signing key was taken out of the published set
    KeyRetire,
    /// A block was lifted
    Lift,
    /// Somebody was revoked
    Revoke,
    /// The sequence was moved on
    Sequence,
    /// A source was told of something that nothing follows from here
    Signal,
}

/// A part of the history, the latest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EventPage {
    /// The events
    pub(crate) events: Vec<Event>,
    /// The value of `before` for the next part; absent in the last
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
}

/// Which part is asked for: what has all of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    /// Tenant (`tid`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// User or service principal (`oid`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Sign-in session (`sid`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Client application (`azp`, `appid`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    /// Issuer (`iss`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    /// One token (`uti`, else `jti`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// Pairwise subject (`sub`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// At most so many; 100 by default
    #[param(minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    /// Only what is older than this number
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<u64>,
}

/// A signing key of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SigningKey {
    /// `kid`
    pub(crate) kid: String,
    /// When it was made; Unix seconds
    pub(crate) created: u64,
    /// From when on it signs; Unix seconds
    pub(crate) signs_from: u64,
    /// Whether it signs now
    pub(crate) state: KeyState,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyState {
    /// Published, to sign later
    Next,
    /// Signs no more, still published
    Old,
    /// Signs
    Signing,
}

/// The signing keys, in the order in which they sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SigningKeys {
    /// The keys
    pub(crate) keys: Vec<SigningKey>,
}

/// A new key that is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// Seconds until it signs: the time in which every Envoy must learn it. 86400 by default; 0: at once
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 31_536_000)]
    pub(crate) signs_in: Option<u64>,
    /// Why, for the audit
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    pub(crate) reason: String,
}

/// The end of a key that is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetireRequest {
    /// Why, for the audit
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    pub(crate) reason: String,
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SourceState {
    /// Its name in the service's configuration
    pub(crate) name: String,
    /// What kind of source it is
    pub(crate) kind: String,
    /// Whether it only tells what it would do
    pub(crate) dry_run: bool,
    /// Whether its last attempt succeeded
    pub(crate) healthy: bool,
    /// For how many seconds it has not been known to have everything
    pub(crate) lag: u64,
    /// When it last was known to; Unix seconds
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<u64>,
    /// When it last took something; Unix seconds
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_event: Option<u64>,
    /// How many seconds after it had happened
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_delay: Option<u64>,
    /// Why its last attempt failed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failing: Option<String>,
}

/// How the sources are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SourceStates {
    /// The sources, by name
    pub(crate) sources: Vec<SourceState>,
}

/// Why a security event token was not taken (RFC 8935 section 2.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SetError {
    /// An error code of the registry
    pub(crate) err: String,
    /// What is wrong
    pub(crate) description: String,
}

/// Why a request was not done (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:entra-gate:problem:` and the reason
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What kind of problem
    pub(crate) title: String,
    /// The HTTP status
    pub(crate) status: u16,
    /// What must change
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    /// A stable word for programs
    pub(crate) reason: String,
    /// Every mistake in the request
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mistakes: Vec<Mistake>,
}

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Mistake {
    /// Where: a member's name, or empty for all of it
    pub(crate) path: String,
    /// What was found
    pub(crate) found: String,
    /// What was expected
    pub(crate) expected: String,
}
