//! The applications registered with the mock («Application objects» and their manifests, Microsoft identity platform).

use crate::authority::Version;

/// An API. Its `requestedAccessTokenVersion` decides the version of tokens for it, whichever endpoint the client calls.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) app_id: &'static str,
    pub(crate) uri: &'static str,
    /// Its further `identifierUris`.
    other_uris: &'static [&'static str],
    pub(crate) version: Version,
    pub(crate) scope: &'static str,
    pub(crate) role: &'static str,
}

pub(crate) static ORDERS: Api = Api {
    app_id: "11111111-2222-4333-8444-555555555555",
    uri: "api://orders",
    other_uris: &["https://api.example.com/orders"],
    version: Version::V2,
    scope: "Orders.Read",
    role: "Orders.Read.All",
};

static LEGACY: Api = Api {
    app_id: "22222222-3333-4444-8555-666666666666",
    uri: "api://legacy",
    other_uris: &[],
    version: Version::V1,
    scope: "Legacy.Read",
    role: "Legacy.Read.All",
};

impl Api {
    /// By application ID URI or application ID.
    pub(crate) fn named(resource: &str) -> Option<&'static Self> {
        [&ORDERS, &LEGACY].into_iter().find(|api| api.app_id == resource || api.has_uri(resource))
    }

    /// Whether it is one of its `identifierUris`, to the byte.
    pub(crate) fn has_uri(&self, uri: &str) -> bool {
        self.uri == uri || self.other_uris.contains(&uri)
    }

    /// `aud`: v2 tokens always carry the application ID, v1 tokens the URI.
    pub(crate) fn audience(&self, version: Version) -> &'static str {
        match version {
            Version::V1 => self.uri,
            Version::V2 => self.app_id,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) app_id: &'static str,
    /// A public client has none (RFC 6749 section 2.1).
    pub(crate) secret: Option<&'static str>,
}

pub(crate) static DAEMON: Client =
    Client { app_id: "aaaaaaaa-0000-4000-8000-000000000001", secret: Some("worthless-secret") };
static PUBLIC: Client = Client { app_id: "bbbbbbbb-0000-4000-8000-000000000002", secret: None };

impl Client {
    pub(crate) fn named(app_id: &str) -> Option<&'static Self> {
        [&DAEMON, &PUBLIC].into_iter().find(|client| client.app_id == app_id)
    }
}
