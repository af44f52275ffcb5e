//! The names under which the outside watches: metrics, filter state, and the line of a refusal. The only list of them.

use crate::entra::guid::Guid;
use crate::judge::refusal::Refusal;
use crate::judge::verdict::Seen;
use crate::policy::forward::State;
use crate::registration::chain::Note;
use crate::registration::reply::Outcome;

/// Requests that passed with a token.
pub const ALLOWED: &str = "entra_gate.allowed";
/// Requests that passed without one.
pub const ANONYMOUS: &str = "entra_gate.anonymous";
/// Questions about tokens that were answered: introspection, Graph's userinfo, status lists.
pub const INQUIRIES_ANSWERED: &str = "entra_gate.inquiries.answered";
/// Questions that had no usable answer.
pub const INQUIRIES_FAILED: &str = "entra_gate.inquiries.failed";
/// Requests that passed although a question about their token had no usable answer.
pub const INQUIRIES_UNCHECKED: &str = "entra_gate.inquiries.unchecked";
/// Key documents that were fetched.
pub const KEYS_FETCH_OK: &str = "entra_gate.keys.fetch_ok";
/// Key documents that could not be fetched or used.
pub const KEYS_FETCH_FAILED: &str = "entra_gate.keys.fetch_failed";
/// Keys in fetched documents that cannot be used.
pub const KEYS_SKIPPED: &str = "entra_gate.keys.skipped";
/// Age of the oldest keys in use, a gauge.
pub const KEYS_AGE_SECONDS: &str = "entra_gate.keys.age_seconds";
/// Entries of the revocation feed that are held, a gauge.
pub const REVOCATION_ENTRIES: &str = "entra_gate.revocation.entries";
/// How long ago the revocation feed was known to be current, a gauge.
pub const REVOCATION_AGE_SECONDS: &str = "entra_gate.revocation.age_seconds";
/// The sequence of the revocation feed that is held, a gauge.
pub const REVOCATION_SEQUENCE: &str = "entra_gate.revocation.sequence";
/// Requests that were refused because their token is revoked.
pub const REVOCATION_HITS: &str = "entra_gate.revocation.hits";
/// Requests to the revocation feed that brought no good answer.
pub const REVOCATION_FEED_FAILED: &str = "entra_gate.revocation.feed_failed";
/// Tokens that were remembered and still held.
pub const TOKEN_CACHE_HIT: &str = "entra_gate.token_cache.hit";
/// Tokens that were judged whole.
pub const TOKEN_CACHE_MISS: &str = "entra_gate.token_cache.miss";
/// Token requests that Entra answered, whatever it said.
pub const TOKEN_REQUESTS_PASSED: &str = "entra_gate.token_requests.passed";
/// Token requests that did not pass, or had no answer of Entra's.
pub const TOKEN_REQUESTS_FAILED: &str = "entra_gate.token_requests.failed";
/// Requests that wait for keys or answers, a gauge over all workers.
pub const WAITING: &str = "entra_gate.waiting";

/// The counter of an outcome of the registration bridge.
#[must_use]
pub fn registration(outcome: Outcome) -> String {
    format!("entra_gate.registration.{}", outcome.code())
}

/// The counter of a reason.
#[must_use]
pub fn refused(reason: crate::judge::refusal::Reason) -> String {
    format!("entra_gate.refused.{}", reason.code())
}

/// The filter state that holds the reason of a refusal; `wasm.` before it is Envoy's.
pub const STATE_REASON: &str = "entra_gate.reason";

/// The filter state that holds a fact of a request that passed with a token.
#[must_use]
pub fn state(state: State) -> &'static str {
    match state {
        State::Client => "entra_gate.client",
        State::Payload => "entra_gate.payload",
        State::Provider => "entra_gate.provider",
        State::Subject => "entra_gate.subject",
        State::Tenant => "entra_gate.tenant",
        State::TokenId => "entra_gate.token_id",
    }
}

/// The log line of a refusal. What comes from the token is unverified, cut short and printable.
#[must_use]
pub fn refusal_line(refusal: &Refusal, seen: &Seen) -> String {
    let mut line = format!("reason={}", refusal.reason().code());
    for (name, value) in [
        ("provider", &seen.provider),
        ("issuer", &seen.issuer),
        ("tenant", &seen.tenant),
        ("client", &seen.client),
        ("kid", &seen.kid),
        ("token_id", &seen.token_id),
    ] {
        let value = value.as_deref().map_or_else(|| "-".to_owned(), word);
        line.push_str(&format!(" {name}={value}"));
    }
    let detail: String =
        refusal.detail().chars().map(|character| if character == '"' { '\'' } else { printable(character) }).collect();
    line.push_str(&format!(" detail=\"{detail}\""));
    line
}

/// The log line of a request to the registration bridge. It knows no secret.
#[must_use]
pub fn registration_line(note: &Note) -> String {
    let client = note.client.as_ref().map_or("-", Guid::as_str);
    let detail: String =
        note.detail.chars().map(|character| if character == '"' { '\'' } else { printable(character) }).collect();
    format!(
        "registration={} client={client} correlation={} detail=\"{detail}\"",
        note.outcome.code(),
        word(&note.correlation)
    )
}

/// A value without spaces and quotes, so that the line splits at both.
fn word(text: &str) -> String {
    let word: String = text
        .chars()
        .map(|character| if character == ' ' || character == '"' { '_' } else { printable(character) })
        .collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

fn printable(character: char) -> char {
    if (' '..='~').contains(&character) { character } else { '?' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::refusal::Reason;

    #[test]
    fn a_line_cannot_be_forged_by_a_token() {
        let seen = Seen {
            issuer: Some("x\nreason=allowed provider=\"y\"".into()),
            tenant: Some(String::new()),
            ..Seen::default()
        };
        let refusal = Refusal::TokenRevoked { subject: "user", challenge: None };
        assert_eq!(
            refusal_line(&refusal, &seen),
            "reason=token_revoked provider=- issuer=x?reason=allowed_provider=_y_ tenant=- client=- kid=- token_id=- detail=\"by user\""
        );
    }

    #[test]
    fn every_reason_has_its_own_metric() {
        let mut names: Vec<String> = Reason::ALL.iter().map(|reason| refused(*reason)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
