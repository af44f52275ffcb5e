//! What of a client's authorization and token requests goes on to Entra: everything but `resource` (RFC 8707), which
//! Entra takes for a second opinion on the scope and refuses (AADSTS9010010). No state, no secret of the gate's own.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use form_urlencoded::{byte_serialize, parse};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::sources::folded;
use crate::keys::document::Address;

/// Scopes that belong to no API (OpenID Connect Core 1.0 sections 5.4 and 11).
const WITHOUT_API: [&str; 6] = ["address", "email", "offline_access", "openid", "phone", "profile"];

/// Endpoints of the gate that pass requests through to Entra's, and to nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassThrough {
    /// The path of the gate's authorization endpoint.
    pub authorize_path: String,
    /// The path of the gate's token endpoint.
    pub token_path: String,
    /// Entra's authorization endpoint.
    pub authorization_endpoint: Address,
    /// Entra's token endpoint.
    pub token_endpoint: Address,
    /// The Envoy cluster that carries token requests.
    pub cluster: String,
    /// How long Entra may take for one.
    pub timeout: Duration,
    /// The grants that pass. Never empty.
    pub grants: Vec<&'static str>,
    /// The API whose scopes are meant where a scope names none.
    pub application_id_uri: Option<String>,
}

/// Why a token request does not pass, or has no answer of Entra's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The form did not arrive in time.
    BodyLate,
    /// The form is too large.
    BodyTooLarge,
    /// The body is no form.
    BodyType,
    /// Too many requests wait.
    Busy,
    /// `grant_type` is missing, there several times, or spelled so that not everybody would read it.
    GrantMalformed,
    /// A grant that does not pass.
    GrantNotAllowed,
    /// The connection ended, or there is none to be had.
    NoAnswer,
    /// Envoy did not take the call: no such cluster, most likely.
    NotSent,
    /// An answer that is not Entra's.
    Unusable {
        /// Its status.
        status: u16,
    },
}

impl fmt::Display for TokenFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Without that setting no body ever reaches the filter.
            Self::BodyLate => formatter.write_str(
                "the form did not arrive in time (if none ever does: the plugin lacks allow_on_headers_stop_iteration)",
            ),
            Self::BodyTooLarge => formatter.write_str("the form is too large"),
            Self::BodyType => formatter.write_str("the body is no form"),
            Self::Busy => formatter.write_str("too many token requests at once"),
            Self::GrantMalformed => formatter.write_str("no single grant_type"),
            Self::GrantNotAllowed => formatter.write_str("a grant that is not in grant_types_supported"),
            Self::NoAnswer => formatter.write_str("no answer"),
            Self::NotSent => formatter.write_str("not sent (is there such a cluster?)"),
            Self::Unusable { status } => {
                write!(formatter, "an answer that is no JSON of at most 256 KiB, status {status}")
            }
        }
    }
}

impl PassThrough {
    /// Where a browser at the authorization endpoint is sent: Entra's, with the query of this request target.
    #[must_use]
    pub fn location(&self, target: &str) -> String {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let location = format!("{}?{}", self.authorization_endpoint, self.without_resource(query));
        utf8_percent_encode(&location, CONTROLS).to_string()
    }

    /// The form that goes to Entra's token endpoint.
    ///
    /// # Errors
    /// If the form asks for no grant that passes. Entra judges all else.
    pub fn token_request(&self, form: &[u8]) -> Result<String, TokenFault> {
        let form = std::str::from_utf8(form).map_err(|_| TokenFault::BodyType)?;
        let mut grants = form.split('&').filter(|pair| name(pair) == "grant_type");
        let (Some(grant), None) = (grants.next(), grants.next()) else {
            return Err(TokenFault::GrantMalformed);
        };
        let Some((_, grant)) = parse(grant.as_bytes()).next().filter(|(name, _)| name == "grant_type") else {
            return Err(TokenFault::GrantMalformed);
        };
        if self.grants.iter().any(|known| *known == grant) {
            Ok(self.without_resource(form))
        } else {
            Err(TokenFault::GrantNotAllowed)
        }
    }

    /// Pairs as they are, without those that Entra may read as `resource`.
    fn without_resource(&self, pairs: &str) -> String {
        let kept = pairs.split('&').filter_map(|pair| match (name(pair).as_str(), &self.application_id_uri) {
            ("resource", _) => None,
            ("scope", Some(api)) => Some(qualified(pair, api)),
            _ => Some(Cow::Borrowed(pair)),
        });
        kept.collect::<Vec<_>>().join("&")
    }
}

/// A parameter's name, as leniently as Entra may read it: it knows no letter case there.
fn name(pair: &str) -> String {
    folded(pair.split('=').next().unwrap_or_default().as_bytes())
}

/// A `scope` whose bare values get the API that they belong to: Entra looks for those in Microsoft Graph otherwise
/// (AADSTS650053).
fn qualified<'a>(pair: &'a str, api: &str) -> Cow<'a, str> {
    let is_bare = |scope: &&str| !scope.is_empty() && !scope.contains(['/', ':']) && !WITHOUT_API.contains(scope);
    let Some((_, scopes)) = parse(pair.as_bytes()).next() else {
        return Cow::Borrowed(pair);
    };
    if !scopes.split(' ').any(|scope| is_bare(&scope)) {
        return Cow::Borrowed(pair);
    }
    let scopes: Vec<String> = scopes
        .split(' ')
        .map(|scope| if is_bare(&scope) { format!("{api}/{scope}") } else { scope.to_owned() })
        .collect();
    Cow::Owned(format!("scope={}", byte_serialize(scopes.join(" ").as_bytes()).collect::<String>()))
}

#[cfg(test)]
impl PassThrough {
    /// For tests, here and above.
    pub(crate) fn example(application_id_uri: Option<&str>) -> Self {
        let endpoint = |name| Address::parse(&format!("https://login.example/t/oauth2/v2.0/{name}")).unwrap();
        Self {
            authorize_path: "/authorize".into(),
            token_path: "/token".into(),
            authorization_endpoint: endpoint("authorize"),
            token_endpoint: endpoint("token"),
            cluster: "entra".into(),
            timeout: Duration::from_secs(5),
            grants: vec!["authorization_code", "refresh_token"],
            application_id_uri: application_id_uri.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_goes_to_the_configured_endpoint_as_it_is_but_for_resource() {
        let pass_through = PassThrough::example(None);
        for (target, query) in [
            ("/authorize?a=b&resource=https%3A%2F%2Fapi.example%2F&c=d%2Be+f", "a=b&c=d%2Be+f"),
            ("/authorize?resource=x&resource=y", ""),
            ("/authorize?RESOURCE=x&re%73ource=y&resource[]=z&resource&a", "a"),
            (
                "/authorize?scope=Orders.Read&redirect_uri=http://localhost/?a",
                "scope=Orders.Read&redirect_uri=http://localhost/?a",
            ),
            ("/authorize?xresource=1&resources=2&state=resource%3D3", "xresource=1&resources=2&state=resource%3D3"),
            ("/authorize?a=\u{e9}\u{7f}\n", "a=%C3%A9%7F%0A"),
            ("/authorize?@evil.example/&a=//evil.example", "@evil.example/&a=//evil.example"),
            ("/authorize", ""),
        ] {
            assert_eq!(pass_through.location(target), format!("https://login.example/t/oauth2/v2.0/authorize?{query}"));
        }
    }

    #[test]
    fn a_form_goes_as_it_is_but_for_resource() {
        let form = "grant_type=authorization_code&code=1.A%2Bb&resource=https%3A%2F%2Fapi.example&code_verifier=v~&client_id=c";
        assert_eq!(
            PassThrough::example(None).token_request(form.as_bytes()).as_deref(),
            Ok("grant_type=authorization_code&code=1.A%2Bb&code_verifier=v~&client_id=c")
        );
    }

    #[test]
    fn only_the_published_grants_pass_and_only_one_at_a_time() {
        use TokenFault::{BodyType, GrantMalformed, GrantNotAllowed};
        for (form, fault) in [
            (b"grant_type=password&username=u&password=p".as_slice(), GrantNotAllowed),
            (b"grant_type=client_credentials", GrantNotAllowed),
            (b"grant_type=Refresh_Token", GrantNotAllowed),
            (b"grant_type=", GrantNotAllowed),
            (b"grant_type", GrantNotAllowed),
            (b"", GrantMalformed),
            (b"code=c", GrantMalformed),
            (b"grant_type=refresh_token&grant_type=password", GrantMalformed),
            (b"grant_type=refresh_token&Grant_Type=password", GrantMalformed),
            (b"grant_type=refresh_token&grant%5Ftype=password", GrantMalformed),
            (b"grant_type=refresh_token&grant%255Ftype=password", GrantMalformed),
            (b"GRANT_TYPE=refresh_token", GrantMalformed),
            (b"grant_type=refresh_token&a=\xff", BodyType),
        ] {
            assert_eq!(PassThrough::example(None).token_request(form), Err(fault), "{}", String::from_utf8_lossy(form));
        }
        assert!(PassThrough::example(None).token_request(b"grant%5Ftype=refresh%5Ftoken&refresh_token=r").is_ok());
    }

    #[test]
    fn bare_scopes_get_their_api_if_that_is_configured() {
        let pass_through = PassThrough::example(Some("api://orders"));
        for (scope, expected) in [
            ("scope=Orders.Read", "scope=api%3A%2F%2Forders%2FOrders.Read"),
            (
                "scope=openid+Orders.Read%20offline_access",
                "scope=openid+api%3A%2F%2Forders%2FOrders.Read+offline_access",
            ),
            ("scope=api%3A%2F%2Forders%2FOrders.Read%20openid", "scope=api%3A%2F%2Forders%2FOrders.Read%20openid"),
            ("scope=openid%20profile", "scope=openid%20profile"),
            ("scope=", "scope="),
            ("scope", "scope"),
        ] {
            let location = pass_through.location(&format!("/authorize?{scope}&resource=x&state=s"));
            assert_eq!(location.split_once('?').unwrap().1, format!("{expected}&state=s"));
            let form = format!("grant_type=refresh_token&{scope}");
            assert_eq!(pass_through.token_request(form.as_bytes()), Ok(format!("grant_type=refresh_token&{expected}")));
        }
    }
}
