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

/// Microsoft Graph itself.
pub(crate) static GRAPH: Api = Api {
    app_id: "00000003-0000-0000-c000-000000000000",
    uri: "https://graph.microsoft.com",
    other_uris: &[],
    version: Version::V1,
    scope: "User.Read",
    role: "Application.ReadWrite.OwnedBy",
};

/// Graph in other clouds.
const GRAPH_ELSEWHERE: [&str; 2] = ["https://graph.microsoft.us", "https://microsoftgraph.chinacloudapi.cn"];

impl Api {
    /// By application ID URI or application ID.
    pub(crate) fn named(resource: &str) -> Option<&'static Self> {
        let resource = if GRAPH_ELSEWHERE.contains(&resource) { GRAPH.uri } else { resource };
        [&ORDERS, &LEGACY, &GRAPH].into_iter().find(|api| api.app_id == resource || api.has_uri(resource))
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

/// A client of the token endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) app_id: String,
    /// A public client has none (RFC 6749 section 2.1).
    pub(crate) secrets: Vec<String>,
    /// Fixtures whose certificates it has.
    pub(crate) certificates: Vec<&'static str>,
    /// Where codes may go; none: anywhere, and with the secret, if there is one.
    pub(crate) redirects: Option<Redirects>,
    /// Whether it may have tokens of its own.
    pub(crate) principal: bool,
}

/// The redirect URIs of each platform, which decides how codes are redeemed.
#[derive(Clone, Debug)]
pub(crate) struct Redirects {
    pub(crate) public: Vec<String>,
    pub(crate) spa: Vec<String>,
    pub(crate) web: Vec<String>,
}

/// A platform of an application.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Platform {
    Public,
    Spa,
    Web,
}

pub(crate) const DAEMON: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const PUBLIC: &str = "bbbbbbbb-0000-4000-8000-000000000002";
/// The application that may create applications.
pub(crate) const BRIDGE: &str = "cccccccc-0000-4000-8000-000000000003";

/// The application that may read the directory.
pub(crate) const READER: &str = "dddddddd-0000-4000-8000-000000000004";

impl Client {
    /// One of those that are always there.
    pub(crate) fn named(app_id: &str) -> Option<Self> {
        let secrets = match app_id {
            DAEMON => vec!["worthless-secret".to_owned()],
            BRIDGE => vec!["worthless-bridge-secret".to_owned()],
            READER => vec!["worthless-reader-secret".to_owned()],
            PUBLIC => Vec::new(),
            _ => return None,
        };
        let certificates = match app_id {
            BRIDGE => vec!["bridge"],
            READER => vec!["app"],
            _ => Vec::new(),
        };
        Some(Self { app_id: app_id.to_owned(), secrets, certificates, redirects: None, principal: true })
    }

    /// Whether it has nothing to prove itself with.
    pub(crate) fn is_public(&self) -> bool {
        self.secrets.is_empty() && self.certificates.is_empty()
    }

    /// The platform that a redirect URI belongs to; none if it is nobody's. An application without rules has it anywhere.
    pub(crate) fn platform(&self, redirect_uri: &str) -> Option<Platform> {
        let Some(redirects) = &self.redirects else {
            return Some(if self.is_public() { Platform::Public } else { Platform::Web });
        };
        let asked = without_loopback_port(redirect_uri);
        let has = |uris: &[String]| uris.iter().any(|uri| without_loopback_port(uri) == asked);
        [(Platform::Web, &redirects.web), (Platform::Spa, &redirects.spa), (Platform::Public, &redirects.public)]
            .into_iter()
            .find(|(_, uris)| has(uris))
            .map(|(platform, _)| platform)
    }
}

/// «Redirect URI restrictions»: the port of a loopback address is ignored.
fn without_loopback_port(uri: &str) -> String {
    for host in ["http://localhost:", "http://127.0.0.1:"] {
        if let Some(rest) = uri.strip_prefix(host) {
            return format!(
                "{}{}",
                host.trim_end_matches(':'),
                rest.trim_start_matches(|digit: char| digit.is_ascii_digit())
            );
        }
    }
    uri.to_owned()
}
