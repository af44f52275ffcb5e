//! The authorization server that clients are shown in Entra's place: its metadata (RFC 8414), ready to be sent, and where
//! that and its endpoints are.

use super::pass_through::PassThrough;

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// The metadata of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationServer {
    addresses: [String; 3],
    document: String,
    pass_through: Option<PassThrough>,
}

/// What a request asks of the authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The authorization endpoint.
    Authorize(&'a PassThrough),
    /// The metadata, JSON.
    Metadata(&'a str),
    /// The token endpoint.
    Token(&'a PassThrough),
}

impl AuthorizationServer {
    /// The metadata `document`, JSON, of the issuer at a path, and the endpoints that pass requests through, if any do.
    #[must_use]
    pub fn new(issuer_path: &str, document: String, pass_through: Option<PassThrough>) -> Self {
        // RFC 8414 section 3.1, OpenID Connect Discovery 1.0 section 4.1: a slash that ends the issuer is taken off first.
        let path = issuer_path.strip_suffix('/').unwrap_or(issuer_path);
        // Section 5 of RFC 8414 lists all three: the last is OpenID Connect's own.
        let addresses = [format!("{OAUTH}{path}"), format!("{OPENID}{path}"), format!("{path}{OPENID}")];
        Self { addresses, document, pass_through }
    }

    /// What a request is for, if it is for the authorization server.
    #[must_use]
    pub fn place(&self, target: &str) -> Option<Place<'_>> {
        let path = target.split('?').next()?;
        if self.addresses.iter().any(|address| address == path) {
            return Some(Place::Metadata(&self.document));
        }
        let pass_through = self.pass_through.as_ref()?;
        match path {
            _ if path == pass_through.token_path => Some(Place::Token(pass_through)),
            _ if path == pass_through.authorize_path => Some(Place::Authorize(pass_through)),
            _ => None,
        }
    }

    /// The endpoints that pass requests through.
    #[must_use]
    pub fn pass_through(&self) -> Option<&PassThrough> {
        self.pass_through.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_is_where_each_way_of_discovery_looks() {
        let of_host = AuthorizationServer::new("/", "{}".into(), None);
        let of_path = AuthorizationServer::new("/a/b", "{}".into(), None);
        let with_slash = AuthorizationServer::new("/a/b/", "{}".into(), None);
        for (target, host, path) in [
            ("/.well-known/oauth-authorization-server", true, false),
            ("/.well-known/openid-configuration", true, false),
            ("/.well-known/openid-configuration?x=y", true, false),
            ("/.well-known/oauth-authorization-server/a/b", false, true),
            ("/.well-known/openid-configuration/a/b", false, true),
            ("/a/b/.well-known/openid-configuration", false, true),
            ("/a/b/.well-known/oauth-authorization-server", false, false),
            ("/.well-known/oauth-authorization-server/", false, false),
            ("/.well-known/oauth-authorization-server/a/b/", false, false),
            ("/.well-known/oauth-authorization-server/a", false, false),
            ("/.well-known//openid-configuration", false, false),
            ("/authorize", false, false),
            ("", false, false),
        ] {
            assert_eq!(of_host.place(target).is_some(), host, "{target}");
            assert_eq!(of_path.place(target).is_some(), path, "{target}");
            assert_eq!(with_slash.place(target).is_some(), path, "{target}");
        }
    }
}
