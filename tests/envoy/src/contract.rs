//! What a refusal promises (the reference's table of answers), as assertions.

use crate::challenge::Challenge;
use crate::http::Answer;

/// The part of an answer that follows from its reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Promise {
    /// The status.
    pub status: u16,
    /// `error` of RFC 6750, where there is one.
    pub error: Option<&'static str>,
}

/// What a reason promises a client that acts on claims challenges.
///
/// # Panics
/// For a reason that has no such answer.
#[must_use]
pub fn promise_with_claims(reason: &str) -> Promise {
    assert!(matches!(reason, "step_up_required" | "token_revoked"), "{reason} has no claims challenge");
    Promise { status: 401, error: Some("insufficient_claims") }
}

/// What a reason promises.
///
/// # Panics
/// For a word that is no reason.
#[must_use]
pub fn promise(reason: &str) -> Promise {
    let (status, error) = match reason {
        "token_missing" => (401, None),
        "request_malformed" => (400, Some("invalid_request")),
        "algorithm_not_allowed"
        | "audience_not_allowed"
        | "claim_missing"
        | "claim_not_allowed"
        | "client_not_allowed"
        | "issuer_not_allowed"
        | "key_not_allowed"
        | "key_unknown"
        | "signature_invalid"
        | "tenant_not_allowed"
        | "token_expired"
        | "token_inactive"
        | "token_lifetime_too_long"
        | "token_malformed"
        | "token_not_yet_valid"
        | "token_revoked"
        | "token_type_not_allowed"
        | "token_version_not_allowed" => (401, Some("invalid_token")),
        "role_insufficient" | "scope_insufficient" | "step_up_required" | "token_kind_not_allowed" => {
            (403, Some("insufficient_scope"))
        }
        "introspection_unavailable" | "keys_unavailable" | "revocation_unavailable" => (503, None),
        _ => panic!("{reason:?} is no reason"),
    };
    Promise { status, error }
}

/// Holds an answer to all that `detail: reason` promises for a reason.
///
/// # Panics
/// When the answer breaks a promise.
pub fn assert_refusal(answer: &Answer, reason: &str) {
    let challenge = answer
        .header("www-authenticate")
        .map(|value| Challenge::parse(value).unwrap_or_else(|fault| panic!("{fault}: {value}")));
    let has_claims = challenge.as_ref().is_some_and(|challenge| challenge.get("claims").is_some());
    let Promise { status, error } = if has_claims { promise_with_claims(reason) } else { promise(reason) };
    assert_eq!(answer.reason().as_deref(), Some(reason), "{answer:?}");
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");

    let body = answer.json();
    let description = body["error_description"].as_str().unwrap_or_default();
    assert!(!description.is_empty(), "no error_description: {answer:?}");
    if error.is_some() {
        assert_eq!(body["error"].as_str(), error, "{answer:?}");
    }

    if status == 503 {
        let retry_after: u64 = answer.header("retry-after").and_then(|value| value.parse().ok()).unwrap_or_default();
        assert!(retry_after > 0, "no Retry-After in seconds: {answer:?}");
        assert!(challenge.is_none(), "{answer:?}");
        return;
    }
    let challenge = challenge.unwrap_or_else(|| panic!("no challenge: {answer:?}"));
    assert_eq!(challenge.get("error"), error, "{challenge:?}");
    // RFC 6750 section 3.1: nothing is said about an error to a client that sent no credentials.
    assert_eq!(challenge.get("error_description").is_some(), error.is_some(), "{challenge:?}");
}
