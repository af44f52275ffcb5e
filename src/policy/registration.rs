//! What the registration bridge is configured to do. Holds secrets, and therefore shows nothing.

use std::time::Duration;

use super::redirect::RedirectPattern;
use crate::entra::guid::Guid;
use crate::jose::signing::SigningCertificate;
use crate::keys::document::Address;

/// The whole of `registration`.
pub struct Registration {
    /// Where clients register, without a final slash.
    pub path: String,
    /// What `registration_client_uri` begins with; none: the scheme and host of the request.
    pub public_url: Option<String>,
    /// Where Graph tokens come from.
    pub login: Endpoint,
    /// Graph, with its version.
    pub graph: Endpoint,
    /// The `scope` of Graph tokens.
    pub graph_scope: String,
    /// The application that creates applications.
    pub client_id: Guid,
    /// What it proves itself with.
    pub credential: Credential,
    /// Who may register.
    pub access: Access,
    /// Where clients may have users sent. Never empty.
    pub redirect_uris: Vec<RedirectPattern>,
    /// What clients may be registered for.
    pub scopes: Vec<Scope>,
    /// Whether public clients may register.
    pub public_clients: bool,
    /// Whether confidential clients may.
    pub confidential_clients: bool,
    /// How long a client's secret is good for.
    pub secret_lifetime: Duration,
    /// What every name begins with.
    pub display_name_prefix: String,
    /// What registered clients may do with their own registration.
    pub allow: Allow,
    /// What authenticates registration access tokens; the first one signs. Empty: there are none.
    pub management_keys: Vec<Vec<u8>>,
    /// How often Graph is called for clients at most.
    pub rate: Rate,
    /// How long one registration may take with all its attempts.
    pub budget: Duration,
}

/// What the application that creates applications proves itself with.
pub enum Credential {
    /// A signature by the key of its certificate.
    Certificate(Box<SigningCertificate>),
    /// Its secret.
    Secret(String),
}

impl Credential {
    /// What nobody else knows.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        match self {
            Self::Certificate(certificate) => &certificate.private_key,
            Self::Secret(secret) => secret.as_bytes(),
        }
    }
}

/// A service and the cluster that carries requests to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its address.
    pub address: Address,
    /// The Envoy cluster.
    pub cluster: String,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Who may register. At least one of them is there.
pub struct Access {
    /// Everybody.
    pub open: bool,
    /// Whoever has one of these.
    pub initial_access_tokens: Vec<String>,
    /// Whoever has a token that the rules for the path let pass.
    pub app_roles: bool,
}

/// A permission that clients may be registered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// As clients ask for it: `api://orders/Orders.Read`.
    pub name: String,
    /// The API's application ID.
    pub resource: Guid,
    /// The permission's ID.
    pub id: Guid,
    /// Whose permission it is.
    pub kind: ScopeKind,
}

/// Whose permission it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// The application's own.
    Application,
    /// A user's, through the application.
    Delegated,
}

/// What registered clients may do (RFC 7592), each to be said aloud but reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allow {
    /// `GET`
    pub read: bool,
    /// `PUT`
    pub update: bool,
    /// `DELETE`
    pub delete: bool,
    /// `POST` to `new-secret`
    pub rotate_secret: bool,
}

impl Allow {
    /// Whether anything is.
    #[must_use]
    pub fn anything(self) -> bool {
        self.read || self.update || self.delete || self.rotate_secret
    }
}

/// So many in an interval, at once or spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: u32,
    /// In how long a time.
    pub interval: Duration,
}
