//! From a refusal to what the client gets: one exhaustive table (RFC 6750 section 3).

pub mod authorization_server;
mod challenge;
pub mod explanation;
pub mod public;
pub mod resource;

use serde_json::{Map, Value};

use crate::judge::refusal::{Reason, Refusal};
use crate::policy::{Detail, Responses};

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: String,
}

/// What kind of answer a reason has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// 401: the token is good, and the client knows how to get a better one (Microsoft's claims challenge).
    InsufficientClaims,
    /// 403: the token is good, but not for this.
    InsufficientScope,
    /// 400: the request cannot be read.
    InvalidRequest,
    /// 401: the token is not good.
    InvalidToken,
    /// 401 without an error: there were no credentials (RFC 6750 section 3.1).
    NoCredentials,
    /// 503: the gate lacks something; the token may be good.
    Unavailable,
}

impl Class {
    fn of(refusal: &Refusal) -> Self {
        if refusal.claims_challenge().is_some() {
            return Self::InsufficientClaims;
        }
        match refusal.reason() {
            Reason::TokenMissing => Self::NoCredentials,
            Reason::RequestMalformed => Self::InvalidRequest,
            Reason::RoleInsufficient
            | Reason::ScopeInsufficient
            | Reason::StepUpRequired
            | Reason::TokenKindNotAllowed => Self::InsufficientScope,
            Reason::IntrospectionUnavailable | Reason::KeysUnavailable | Reason::RevocationUnavailable => {
                Self::Unavailable
            }
            Reason::AlgorithmNotAllowed
            | Reason::AudienceNotAllowed
            | Reason::ClaimMissing
            | Reason::ClaimNotAllowed
            | Reason::ClientNotAllowed
            | Reason::IssuerNotAllowed
            | Reason::KeyNotAllowed
            | Reason::KeyUnknown
            | Reason::SignatureInvalid
            | Reason::TenantNotAllowed
            | Reason::TokenExpired
            | Reason::TokenInactive
            | Reason::TokenLifetimeTooLong
            | Reason::TokenMalformed
            | Reason::TokenNotYetValid
            | Reason::TokenRevoked
            | Reason::TokenTypeNotAllowed
            | Reason::TokenVersionNotAllowed => Self::InvalidToken,
        }
    }

    fn status(self, responses: &Responses) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            // Clients act on a claims challenge with this status only.
            Self::InsufficientClaims => 401,
            Self::InsufficientScope => 403,
            Self::InvalidToken | Self::NoCredentials => responses.unauthorized_status,
            Self::Unavailable => 503,
        }
    }

    fn error(self) -> Option<&'static str> {
        match self {
            Self::InsufficientClaims => Some("insufficient_claims"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::NoCredentials | Self::Unavailable => None,
        }
    }
}

/// Answers a refused request.
#[must_use]
pub fn answer(refusal: &Refusal, responses: &Responses) -> Answer {
    let class = Class::of(refusal);
    let sentence = responses.message.clone().unwrap_or_else(|| refusal.sentence());
    let sentence = match responses.detail {
        Detail::None => None,
        Detail::Reason | Detail::Full => Some(plain(&sentence)),
    };
    let mut headers = vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
    match class {
        Class::InsufficientClaims
        | Class::InsufficientScope
        | Class::InvalidRequest
        | Class::InvalidToken
        | Class::NoCredentials => {
            let challenge = challenge::challenge(refusal, class.error(), sentence.as_deref(), responses);
            headers.push(("www-authenticate", challenge));
        }
        Class::Unavailable => {}
    }
    if let Some(seconds) = refusal.retry_after() {
        headers.push(("retry-after", seconds.to_string()));
    }
    Answer { status: class.status(responses), headers, body: body(refusal, class, sentence, responses) }
}

fn body(refusal: &Refusal, class: Class, sentence: Option<String>, responses: &Responses) -> String {
    let mut members = Map::new();
    if let Some(error) = class.error() {
        members.insert("error".to_owned(), error.into());
    }
    if let Some(sentence) = sentence {
        members.insert("error_description".to_owned(), sentence.into());
        members.insert("reason".to_owned(), refusal.reason().code().into());
    }
    if responses.detail == Detail::Full {
        members.insert("detail".to_owned(), plain(&refusal.detail()).into());
    }
    Value::Object(members).to_string()
}

/// What RFC 6750 section 3 lets an `error_description` hold: printable ASCII without quotation marks and backslashes.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => character,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::challenge::{ClaimsChallenge, Wanted};
    use crate::judge::refusal::{IssuerFault, IssuerHint, RequestFault};

    fn responses(detail: Detail) -> Responses {
        Responses { unauthorized_status: 401, message: None, detail, realm: "orders".into(), resource_metadata: None }
    }

    pub(super) fn header(answer: &Answer, name: &str) -> Option<String> {
        answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    fn wrong_issuer() -> Refusal {
        Refusal::IssuerNotAllowed(IssuerFault {
            found: "https://evil.example/\"\r\nx: \u{e9}".into(),
            expected: vec!["https://good.example/".into()],
            kinds: vec![],
            hint: IssuerHint::Unknown,
        })
    }

    #[test]
    fn a_bad_token_is_challenged_with_its_reason() {
        let answer = answer(&wrong_issuer(), &responses(Detail::Reason));
        assert_eq!(answer.status, 401);
        assert_eq!(
            header(&answer, "www-authenticate").unwrap(),
            "Bearer realm=\"orders\", error=\"invalid_token\", error_description=\"The token's issuer is not accepted here.\""
        );
        assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"], "invalid_token");
        assert_eq!(body["reason"], "issuer_not_allowed");
        assert!(body.get("detail").is_none());
    }

    #[test]
    fn without_credentials_no_error_is_named() {
        let answer = answer(&Refusal::TokenMissing { usage: "as a parcel".into() }, &responses(Detail::Reason));
        assert_eq!(
            (answer.status, header(&answer, "www-authenticate").as_deref()),
            (401, Some("Bearer realm=\"orders\""))
        );
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((body.get("error"), &body["reason"]), (None, &Value::from("token_missing")));
        let description = body["error_description"].as_str().unwrap();
        assert_eq!(description, "No token was sent. Send an access token of this API as a parcel.");
    }

    #[test]
    fn every_challenge_names_the_resource_metadata() {
        let url = "https://api.example/.well-known/oauth-protected-resource";
        let responses = Responses { resource_metadata: Some(url.into()), ..responses(Detail::None) };
        let challenge = |refusal: &Refusal| header(&answer(refusal, &responses), "www-authenticate").unwrap();
        let missing = Refusal::TokenMissing { usage: "as a parcel".into() };
        assert_eq!(challenge(&missing), format!("Bearer realm=\"orders\", resource_metadata=\"{url}\""));
        let malformed = Refusal::RequestMalformed(RequestFault::EmptyCredential);
        for refusal in [malformed, wrong_issuer(), step_up(None), step_up(Some("c1"))] {
            assert!(challenge(&refusal).contains(&format!(", resource_metadata=\"{url}\", error=")), "{refusal:?}");
        }
    }

    fn step_up(challenge: Option<&str>) -> Refusal {
        let challenge = challenge.map(|context| {
            Box::new(ClaimsChallenge {
                realm: "t".into(),
                authorization_uri: "https://login.example/t/oauth2/authorize".into(),
                wanted: Wanted::AuthContext(context.into()),
            })
        });
        Refusal::StepUpRequired { context: "c1".into(), found: vec![], challenge }
    }

    #[test]
    fn a_client_that_acts_on_it_gets_a_claims_challenge_and_others_a_plain_403() {
        let custom = Responses { unauthorized_status: 403, ..responses(Detail::None) };
        let challenged = answer(&step_up(Some("c1")), &custom);
        // {"access_token":{"acrs":{"essential":true,"value":"c1"}}}
        assert_eq!(
            (challenged.status, header(&challenged, "www-authenticate").as_deref()),
            (
                401,
                Some(
                    "Bearer realm=\"t\", authorization_uri=\"https://login.example/t/oauth2/authorize\", \
                     error=\"insufficient_claims\", \
                     claims=\"eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19\""
                )
            )
        );
        let plain = answer(&step_up(None), &custom);
        assert_eq!(plain.status, 403);
        assert_eq!(
            header(&plain, "www-authenticate").as_deref(),
            Some("Bearer realm=\"orders\", error=\"insufficient_scope\"")
        );
    }

    #[test]
    fn a_revoked_token_of_such_a_client_is_answered_with_the_time_that_a_new_one_must_have() {
        let challenge = ClaimsChallenge {
            realm: String::new(),
            authorization_uri: "https://login.example/common/oauth2/authorize".into(),
            wanted: Wanted::NotBefore(1_604_106_651),
        };
        let refusal = Refusal::TokenRevoked { subject: "user", challenge: Some(Box::new(challenge)) };
        let revoked = answer(&refusal, &responses(Detail::None));
        // {"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}
        assert_eq!(
            header(&revoked, "www-authenticate").as_deref(),
            Some(
                "Bearer realm=\"\", authorization_uri=\"https://login.example/common/oauth2/authorize\", \
                 error=\"insufficient_claims\", \
                 claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ==\""
            )
        );
        let plain = answer(&Refusal::TokenRevoked { subject: "user", challenge: None }, &responses(Detail::None));
        assert_eq!((plain.status, plain.body.as_str()), (401, r#"{"error":"invalid_token"}"#));
    }

    #[test]
    fn what_the_gate_lacks_is_503_and_no_challenge() {
        let refusal = Refusal::KeysUnavailable { document: "d".into(), retry_after: 0 };
        let answer = answer(&refusal, &responses(Detail::Reason));
        assert_eq!(answer.status, 503);
        assert_eq!(header(&answer, "www-authenticate"), None);
        assert_eq!(header(&answer, "retry-after").as_deref(), Some("1"));
    }

    #[test]
    fn detail_none_sends_the_error_alone_and_full_what_was_found() {
        let none = answer(&wrong_issuer(), &responses(Detail::None));
        assert_eq!(none.body, r#"{"error":"invalid_token"}"#);
        assert_eq!(
            header(&none, "www-authenticate").as_deref(),
            Some("Bearer realm=\"orders\", error=\"invalid_token\"")
        );
        let full = answer(&wrong_issuer(), &responses(Detail::Full));
        let body: Value = serde_json::from_str(&full.body).unwrap();
        let detail = body["detail"].as_str().unwrap();
        assert!(
            detail.contains("https://good.example/") && detail.contains("https://evil.example/'??x: ?"),
            "{detail}"
        );
    }

    #[test]
    fn status_and_message_can_be_the_operators() {
        let custom = Responses {
            unauthorized_status: 403,
            message: Some("Ask the API team.".into()),
            ..responses(Detail::Reason)
        };
        let refused = answer(&wrong_issuer(), &custom);
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains("Ask the API team."));
        let malformed = answer(&Refusal::RequestMalformed(RequestFault::EmptyCredential), &custom);
        assert_eq!(malformed.status, 400);
    }
}
