//! Microsoft Graph's `oidc/userinfo` (OpenID Connect Core 1.0 section 5.3), asked with a token that only Graph can verify:
//! if Graph takes the token, its signature is good. It does not follow that the token was meant for anybody else.

use serde_json::Value;

use super::source::GraphTokens;
use super::{Call, Fault, Response, Said, Word};
use crate::jose::json;
use crate::keys::freshness::Millis;

/// Whose token Graph takes it for. Made from such an answer, and from nothing else.
pub struct Subject(String);

/// That a token's `sub` is the one that Graph named.
pub struct Confirmed(());

impl Subject {
    /// Holds a token's `sub` against Graph's (OpenID Connect Core 1.0 section 5.3.2).
    ///
    /// # Errors
    /// What Graph says, if it is another.
    pub fn confirm(&self, sub: Option<&str>) -> Result<Confirmed, &str> {
        if sub == Some(self.0.as_str()) { Ok(Confirmed(())) } else { Err(&self.0) }
    }

    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }
}

/// The request with a token.
#[must_use]
pub fn call(settings: &GraphTokens, token: &str) -> Call {
    let upstream = &settings.upstream;
    Call {
        method: "GET",
        address: upstream.address.clone(),
        cluster: upstream.cluster.clone(),
        timeout: upstream.timeout,
        headers: vec![("accept", "application/json".to_owned()), ("authorization", format!("Bearer {token}"))],
        form: None,
    }
}

/// What an answer means.
#[must_use]
pub fn understand(settings: &GraphTokens, response: &Response, now: Millis) -> Word {
    match response.status {
        200 => {
            let members = json::object(&response.body).unwrap_or_default();
            match members.get("sub") {
                Some(Value::String(sub)) if !sub.is_empty() => {
                    Word::good(Said::Taken(Subject(sub.clone())), now, settings.cache, None)
                }
                Some(_) | None => Word::none(Fault::Unreadable, now, None),
            }
        }
        status @ (401 | 403) => Word::bad(Said::Refused(status), now, settings.cache),
        status => Word::none(Fault::Status(status), now, response.retry_after),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inquiry::source::Upstream;
    use crate::keys::document::Address;

    const NOW: Millis = 1_760_000_000_000;

    fn settings() -> GraphTokens {
        GraphTokens {
            upstream: Upstream {
                address: Address::parse("https://graph.microsoft.com/oidc/userinfo").unwrap(),
                cluster: "graph".into(),
                timeout: Duration::from_secs(2),
            },
            audiences: vec![],
            cache: Duration::from_secs(60),
        }
    }

    #[test]
    fn graph_is_asked_with_the_very_token() {
        let call = call(&settings(), "a.b.c");
        assert_eq!(
            (call.method, call.address.to_string().as_str()),
            ("GET", "https://graph.microsoft.com/oidc/userinfo")
        );
        assert!(call.headers.contains(&("authorization", "Bearer a.b.c".to_owned())) && call.form.is_none());
    }

    #[test]
    fn an_answer_is_the_same_users_or_none() {
        for (status, body, expected, counts) in [
            (200, r#"{"sub":"s","name":"n"}"#, "s", 60_000),
            (200, r#"{"sub":"other"}"#, "not other", 60_000),
            (200, r#"{"sub":""}"#, "nothing", 1_000),
            (200, r#"{"sub":["s"]}"#, "nothing", 1_000),
            (200, r#"{"sub":"x","sub":"s"}"#, "nothing", 1_000),
            (200, "{}", "nothing", 1_000),
            (200, "<html>", "nothing", 1_000),
            (401, r#"{"sub":"s"}"#, "refused 401", 5_000),
            (403, "", "refused 403", 5_000),
            (302, r#"{"sub":"s"}"#, "nothing", 1_000),
            (404, "", "nothing", 1_000),
            (429, "", "nothing", 1_000),
            (500, r#"{"sub":"s"}"#, "nothing", 1_000),
        ] {
            let response = Response { status, retry_after: None, body: body.as_bytes().to_vec() };
            let word = understand(&settings(), &response, NOW);
            let said = match &word.said {
                Said::Taken(subject) => match subject.confirm(Some("s")) {
                    Ok(_) => "s".to_owned(),
                    Err(other) => format!("not {other}"),
                },
                Said::Refused(status) => format!("refused {status}"),
                Said::Nothing(_) => "nothing".to_owned(),
                Said::Active(_) | Said::Inactive | Said::Listed(_) => "another kind".to_owned(),
            };
            assert_eq!((said.as_str(), word.until - NOW), (expected, counts), "{status} {body}");
        }
        assert!(Subject("s".into()).confirm(None).is_err());
    }
}
