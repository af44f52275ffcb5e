//! `WWW-Authenticate: Bearer …` (RFC 6750 section 3), with the parameters of RFC 9728 section 5.1 and of Microsoft's
//! claims challenges. Every value is made printable ASCII without quotation marks and backslashes, so none is escaped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::plain;
use crate::judge::challenge::{ClaimsChallenge, Wanted};
use crate::judge::refusal::Refusal;
use crate::policy::Responses;

/// The challenge of a refusal: its error, if credentials were sent at all, what to say of it, and what to ask for.
pub(super) fn challenge(
    refusal: &Refusal,
    error: Option<&str>,
    sentence: Option<&str>,
    responses: &Responses,
) -> String {
    let claims = refusal.claims_challenge();
    let mut parameters = vec![("realm", claims.map_or(responses.realm.as_str(), |claims| &claims.realm).to_owned())];
    let mut add = |name, value: Option<&str>| parameters.extend(value.map(|value| (name, value.to_owned())));
    add("authorization_uri", claims.map(|claims| claims.authorization_uri.as_str()));
    add("resource_metadata", responses.resource_metadata.as_deref());
    add("error", error);
    add("error_description", sentence.filter(|_| error.is_some()));
    // `detail: none`, without a sentence, sends the error alone.
    add("scope", sentence.and_then(|_| scope(refusal)).as_deref());
    add("claims", claims.map(claims_parameter).as_deref());
    let parameters: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}=\"{}\"", plain(value))).collect();
    format!("Bearer {}", parameters.join(", "))
}

/// What is asked for, in the words of the configuration.
fn scope(refusal: &Refusal) -> Option<String> {
    let needed = if let Refusal::Insufficient(shortfall) = refusal { shortfall.needed() } else { &[] };
    (!needed.is_empty()).then(|| needed.join(" "))
}

/// A claims request (OpenID Connect Core 1.0 section 5.5) for the access token, as clients put it into their next request:
/// padded standard base64, for that is what they decode.
fn claims_parameter(challenge: &ClaimsChallenge) -> String {
    let request = match &challenge.wanted {
        Wanted::AuthContext(context) => json!({"acrs": {"essential": true, "value": context}}),
        Wanted::NotBefore(time) => json!({"nbf": {"essential": true, "value": time.to_string()}}),
    };
    STANDARD.encode(json!({ "access_token": request }).to_string())
}
