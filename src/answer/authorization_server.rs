//! The answers of the authorization server that clients are shown: its metadata (RFC 8414 section 3.2), the redirect to
//! Entra's authorization endpoint, and what comes of a token request (RFC 6749 section 5).

use super::{Answer, public};
use crate::policy::authorization_server::{AuthorizationServer, Place};
use crate::policy::pass_through::{PassThrough, TokenFault};

const AUTHORIZE_METHODS: &str = "GET, HEAD, OPTIONS";
const TOKEN_METHODS: &str = "POST, OPTIONS";

/// What becomes of a request to the authorization server.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// This answer.
    Answer(Answer),
    /// It goes on to Entra's token endpoint.
    Token(&'a PassThrough),
}

/// What becomes of a request; none if it is for something else.
#[must_use]
pub fn reply<'a>(server: &'a AuthorizationServer, method: &str, target: &str) -> Option<Reply<'a>> {
    let answer = match (server.place(target)?, method) {
        (Place::Metadata(document), _) => public::document(method, document),
        (Place::Authorize(pass_through), "GET" | "HEAD") => {
            let headers = vec![("location", pass_through.location(target))];
            public::open(public::private(Answer { status: 302, headers, body: String::new() }))
        }
        (Place::Authorize(_), _) => public::other_method(method, AUTHORIZE_METHODS),
        (Place::Token(pass_through), "POST") => return Some(Reply::Token(pass_through)),
        (Place::Token(_), _) => public::other_method(method, TOKEN_METHODS),
    };
    Some(Reply::Answer(answer))
}

/// Entra's answer to a token request, passed on as it is: `headers` are those that matter to a client.
///
/// # Errors
/// If it is not JSON. Envoy's own words for «no connection» are not, and a page from elsewhere would be shown in our name.
pub fn passed(status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>) -> Result<Answer, TokenFault> {
    let is_json =
        |kind: &str| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !headers.iter().any(|(name, value)| *name == "content-type" && is_json(value)) {
        return Err(TokenFault::Unusable { status });
    }
    let body = String::from_utf8(body).map_err(|_| TokenFault::Unusable { status })?;
    let mut answer = public::open(public::private(Answer { status, headers, body }));
    answer.headers.push(("x-content-type-options", "nosniff".to_owned()));
    Ok(answer)
}

/// The answer to a token request that did not pass.
#[must_use]
pub fn refused(fault: TokenFault) -> Answer {
    const MALFORMED: &str = "invalid_request";
    const UNAVAILABLE: &str = "temporarily_unavailable";
    let (status, error, description) = match fault {
        TokenFault::BodyLate => (408, MALFORMED, "The form did not arrive in time."),
        TokenFault::BodyTooLarge => (413, MALFORMED, "The form is too large."),
        TokenFault::BodyType => (400, MALFORMED, "Send the parameters as application/x-www-form-urlencoded."),
        TokenFault::Busy => (503, UNAVAILABLE, "Too many token requests at once. Try again."),
        TokenFault::GrantMalformed => (400, MALFORMED, "Send grant_type, exactly once."),
        TokenFault::GrantNotAllowed => {
            (400, "unsupported_grant_type", "Use a grant that the metadata lists in grant_types_supported.")
        }
        TokenFault::Unusable { status: 504 } => (504, UNAVAILABLE, "The identity provider did not answer in time."),
        TokenFault::NoAnswer | TokenFault::NotSent | TokenFault::Unusable { .. } => {
            (502, UNAVAILABLE, "The identity provider gave no usable answer.")
        }
    };
    let mut answer = public::error(status, error, description);
    if fault == TokenFault::Busy {
        answer.headers.push(("retry-after", "1".to_owned()));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::header;

    fn server() -> AuthorizationServer {
        AuthorizationServer::new("", "{}".into(), Some(PassThrough::example(None)))
    }

    #[test]
    fn each_address_has_its_methods() {
        let server = server();
        let status = |method, target| match reply(&server, method, target) {
            Some(Reply::Answer(answer)) => Some(answer.status),
            Some(Reply::Token(_)) => Some(0),
            None => None,
        };
        for (method, metadata, authorize, token) in
            [("GET", 200, 302, 405), ("HEAD", 200, 302, 405), ("OPTIONS", 204, 204, 204), ("POST", 405, 405, 0)]
        {
            assert_eq!(status(method, "/.well-known/oauth-authorization-server"), Some(metadata), "{method}");
            assert_eq!(status(method, "/.well-known/openid-configuration?x"), Some(metadata), "{method}");
            assert_eq!(status(method, "/authorize?x=y"), Some(authorize), "{method}");
            assert_eq!(status(method, "/token?x=y"), Some(token), "{method}");
            for elsewhere in ["/authorize/", "/tokens", "//token", "/x/token", "/Token", "/%74oken"] {
                assert_eq!(status(method, elsewhere), None, "{elsewhere}");
            }
        }
    }

    #[test]
    fn a_browser_is_sent_to_the_identity_provider() {
        let Some(Reply::Answer(answer)) = reply(&server(), "GET", "/authorize?resource=r&state=s") else { panic!() };
        let location = header(&answer, "location");
        assert_eq!(location.as_deref(), Some("https://login.example/t/oauth2/v2.0/authorize?state=s"));
        assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
    }

    #[test]
    fn only_json_is_passed_on() {
        let json =
            vec![("content-type", "application/json; charset=utf-8".to_owned()), ("retry-after", "3".to_owned())];
        let answer = passed(429, json.clone(), b"{}".to_vec()).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (429, "{}"));
        assert_eq!(header(&answer, "retry-after").as_deref(), Some("3"));
        assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
        assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("*"));
        let fault = |status| Err(TokenFault::Unusable { status });
        assert_eq!(passed(200, json, vec![0xff]), fault(200));
        for kind in ["text/html", "text/plain", "application/json-seq", ""] {
            assert_eq!(passed(503, vec![("content-type", kind.to_owned())], vec![]), fault(503), "{kind}");
        }
        assert_eq!(passed(503, vec![], vec![]), fault(503));
    }

    #[test]
    fn faults_are_oauth_errors() {
        for (fault, status, error) in [
            (TokenFault::BodyLate, 408, "invalid_request"),
            (TokenFault::BodyTooLarge, 413, "invalid_request"),
            (TokenFault::BodyType, 400, "invalid_request"),
            (TokenFault::Busy, 503, "temporarily_unavailable"),
            (TokenFault::GrantMalformed, 400, "invalid_request"),
            (TokenFault::GrantNotAllowed, 400, "unsupported_grant_type"),
            (TokenFault::NoAnswer, 502, "temporarily_unavailable"),
            (TokenFault::NotSent, 502, "temporarily_unavailable"),
            (TokenFault::Unusable { status: 503 }, 502, "temporarily_unavailable"),
            (TokenFault::Unusable { status: 504 }, 504, "temporarily_unavailable"),
        ] {
            let answer = refused(fault);
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!((answer.status, body["error"].as_str()), (status, Some(error)), "{fault:?}");
            assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
        }
    }
}
