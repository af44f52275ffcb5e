//! OAuth 2.0 Token Introspection (RFC 7662): the request, and what its answer means.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use form_urlencoded::{Serializer, byte_serialize};
use serde_json::Value;

use super::source::{Authentication, Introspection};
use super::{Call, Fault, Response, Said, Word, time};
use crate::jose::json::{self, Object};
use crate::keys::freshness::Millis;

/// The claims of a token that its authorization server calls active. Made from such an answer, and from nothing else.
pub struct Active {
    claims: Object,
}

impl Active {
    /// The claims (RFC 7662 section 2.2).
    #[must_use]
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// The JSON text of the claims, base64url, as the payload of a JWT is written.
    #[must_use]
    pub fn payload(&self) -> String {
        URL_SAFE_NO_PAD.encode(Value::Object(self.claims.clone()).to_string())
    }

    pub(super) fn weight(&self) -> usize {
        /// A tree takes more than its text.
        const TREE: usize = 4;
        Value::Object(self.claims.clone()).to_string().len().saturating_mul(TREE)
    }
}

/// The request about a token (section 2.1).
#[must_use]
pub fn call(settings: &Introspection, token: &str) -> Call {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", "access_token");
    let mut headers = vec![
        ("accept", "application/json".to_owned()),
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
    ];
    match settings.authentication {
        Authentication::Basic => {
            // RFC 6749 section 2.3.1: both are form-encoded first.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&settings.client_id), encoded(&settings.client_secret));
            headers.push(("authorization", format!("Basic {}", STANDARD.encode(pair))));
        }
        Authentication::Post => {
            form.append_pair("client_id", &settings.client_id).append_pair("client_secret", &settings.client_secret);
        }
    }
    let upstream = &settings.upstream;
    Call {
        method: "POST",
        address: upstream.address.clone(),
        cluster: upstream.cluster.clone(),
        timeout: upstream.timeout,
        headers,
        form: Some(form.finish()),
    }
}

/// What an answer means. It counts no longer than the token (section 4).
#[must_use]
pub fn understand(settings: &Introspection, response: &Response, now: Millis) -> Word {
    if response.status != 200 {
        return Word::none(Fault::Status(response.status), now, response.retry_after);
    }
    let members = json::object(&response.body).ok();
    match members.as_ref().and_then(|members| members.get("active")) {
        Some(Value::Bool(false)) => Word::bad(Said::Inactive, now, settings.cache),
        Some(Value::Bool(true)) => {
            let claims = members.unwrap_or_default();
            let ends = time(&claims, "exp");
            Word::good(Said::Active(Active { claims }), now, settings.cache, ends)
        }
        Some(_) | None => Word::none(Fault::Unreadable, now, None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inquiry::source::{OnFailure, Tokens, Upstream};
    use crate::keys::document::Address;

    const NOW: Millis = 1_760_000_000_000;

    fn settings(authentication: Authentication) -> Introspection {
        Introspection {
            upstream: Upstream {
                address: Address::parse("https://idp.example/introspect?x=1").unwrap(),
                cluster: "idp".into(),
                timeout: Duration::from_secs(2),
            },
            client_id: "the gate:1".into(),
            client_secret: "p+ss/wörd&".into(),
            authentication,
            cache: Duration::from_secs(30),
            tokens: Tokens::All,
            on_failure: OnFailure::Deny,
        }
    }

    fn heard(status: u16, body: &str) -> (String, u64) {
        let response = Response { status, retry_after: None, body: body.as_bytes().to_vec() };
        let word = understand(&settings(Authentication::Basic), &response, NOW);
        let said = match word.said {
            Said::Active(active) => format!("active {}", Value::Object(active.claims)),
            Said::Inactive => "inactive".to_owned(),
            Said::Nothing(fault) => fault.to_string(),
            Said::Listed(_) | Said::Refused(_) | Said::Taken(_) => "another kind".to_owned(),
        };
        (said, word.until - NOW)
    }

    #[test]
    fn the_request_proves_who_asks() {
        let basic = call(&settings(Authentication::Basic), "a+b/c=");
        assert_eq!((basic.method, basic.address.path()), ("POST", "/introspect?x=1"));
        assert_eq!(basic.form.as_deref(), Some("token=a%2Bb%2Fc%3D&token_type_hint=access_token"));
        // "the+gate%3A1:p%2Bss%2Fw%C3%B6rd%26"
        let authorization = ("authorization", "Basic dGhlK2dhdGUlM0ExOnAlMkJzcyUyRnclQzMlQjZyZCUyNg==".to_owned());
        assert!(basic.headers.contains(&authorization), "{:?}", basic.headers);
        let post = call(&settings(Authentication::Post), "t");
        assert!(!post.headers.iter().any(|(name, _)| *name == "authorization"));
        let form = "token=t&token_type_hint=access_token&client_id=the+gate%3A1&client_secret=p%2Bss%2Fw%C3%B6rd%26";
        assert_eq!(post.form.as_deref(), Some(form));
    }

    #[test]
    fn an_answer_counts_as_long_as_is_configured_and_no_longer_than_the_token() {
        let exp = |seconds: u64| format!(r#"{{"active":true,"exp":{}}}"#, NOW / 1_000 + seconds);
        for (body, counts) in [
            (r#"{"active":true}"#.to_owned(), 30_000),
            (exp(3_600), 30_000),
            (exp(10), 10_000),
            // Whoever asked hears it, and that the token is over.
            (exp(0), 1_000),
            (r#"{"active":true,"exp":1}"#.to_owned(), 1_000),
            (r#"{"active":true,"exp":1e300}"#.to_owned(), 30_000),
            (r#"{"active":true,"exp":"soon"}"#.to_owned(), 30_000),
            // Bad news are asked for again sooner.
            (r#"{"active":false}"#.to_owned(), 5_000),
            (r#"{"active":false,"exp":9999999999}"#.to_owned(), 5_000),
        ] {
            assert_eq!(heard(200, &body).1, counts, "{body}");
        }
    }

    #[test]
    fn only_the_word_true_makes_a_token_active() {
        assert_eq!(heard(200, r#"{"active":true,"sub":"s"}"#).0, r#"active {"active":true,"sub":"s"}"#);
        assert_eq!(heard(200, r#"{"active":false,"sub":"s"}"#).0, "inactive");
        for body in [
            "",
            "true",
            "[]",
            "{}",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"Active":true}"#,
            r#"{"active":false,"active":true}"#,
            r#"{"active":true"#,
            "<html>",
        ] {
            assert_eq!(heard(200, body), (Fault::Unreadable.to_string(), 1_000), "{body}");
        }
        for status in [0, 204, 301, 400, 401, 403, 404, 429, 500, 503, 504] {
            assert_eq!(heard(status, r#"{"active":true}"#).0, format!("status {status}"));
        }
    }

    #[test]
    fn who_asks_for_quiet_gets_it_for_a_while() {
        for (retry_after, pause) in [(None, 1), (Some(0), 1), (Some(7), 7), (Some(u64::MAX), 60)] {
            let word = Word::none(Fault::Status(429), NOW, retry_after);
            assert_eq!(word.until, NOW + pause * 1_000, "{retry_after:?}");
        }
        let response = |status, retry_after| Response { status, retry_after, body: Vec::new() };
        assert!(response(429, Some(1)).asks_for_quiet() && response(503, Some(1)).asks_for_quiet());
        // One token's failure is no reason not to ask about others.
        assert!(!response(429, None).asks_for_quiet() && !response(500, Some(1)).asks_for_quiet());
    }
}
