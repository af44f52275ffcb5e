//! Reading claims: a wrong type is a refusal, never an absence (RFC 7519 section 4.1, RFC 8725 section 3.10).

use std::time::Duration;

use serde_json::Value;

use super::refusal::{Refusal, TokenFault};
use crate::jose::json::Object;
use crate::policy::provider::Expiry;

/// Seconds since the Unix epoch.
pub type UnixSeconds = u64;

/// A claim that is a text, if it is there.
///
/// # Errors
/// [`Refusal::TokenMalformed`] if it is something else.
pub fn text<'a>(claims: &'a Object, claim: &'static str) -> Result<Option<&'a str>, Refusal> {
    typed_text(claims, claim).map_err(Refusal::TokenMalformed)
}

/// The same, with the bare fault.
///
/// # Errors
/// The fault of a claim that is something else.
pub fn typed_text<'a>(claims: &'a Object, claim: &'static str) -> Result<Option<&'a str>, TokenFault> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::ClaimType { claim, expected: "a string" }),
    }
}

/// A claim that is a `NumericDate`, if it is there; fractions are cut off.
///
/// # Errors
/// [`Refusal::TokenMalformed`] if it is something else, negative or out of range.
pub fn time(claims: &Object, claim: &'static str) -> Result<Option<UnixSeconds>, Refusal> {
    let fault = || Refusal::TokenMalformed(TokenFault::ClaimType { claim, expected: "seconds since the Unix epoch" });
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            number.as_u64().or_else(|| whole_seconds(number.as_f64()?)).ok_or_else(fault).map(Some)
        }
        Some(_) => Err(fault()),
    }
}

fn whole_seconds(seconds: f64) -> Option<u64> {
    // Beyond 2^53 a double no longer counts seconds.
    const LAST: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..=LAST).contains(&seconds).then_some(seconds as u64)
}

/// The audiences of a token: one text or several.
///
/// # Errors
/// [`Refusal::ClaimMissing`] without any, [`Refusal::TokenMalformed`] for other types.
pub fn audiences(claims: &Object) -> Result<Vec<&str>, Refusal> {
    let fault =
        Refusal::TokenMalformed(TokenFault::ClaimType { claim: "aud", expected: "a string or an array of strings" });
    match claims.get("aud") {
        None => Err(Refusal::ClaimMissing { claim: "aud" }),
        Some(Value::String(audience)) => Ok(vec![audience]),
        Some(Value::Array(audiences)) => audiences.iter().map(Value::as_str).collect::<Option<_>>().ok_or(fault),
        Some(_) => Err(fault),
    }
}

/// The times of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `exp`; none only where it is not required.
    pub expires: Option<UnixSeconds>,
    /// `iat`
    pub issued_at: Option<UnixSeconds>,
    /// `nbf`
    pub not_before: Option<UnixSeconds>,
}

impl Times {
    /// Reads them.
    ///
    /// # Errors
    /// A wrong type, or no `exp` where it is required.
    pub fn read(claims: &Object, expiry: Expiry) -> Result<Self, Refusal> {
        let expires = time(claims, "exp")?;
        if expires.is_none() && expiry == Expiry::Required {
            return Err(Refusal::ClaimMissing { claim: "exp" });
        }
        Ok(Self { expires, issued_at: time(claims, "iat")?, not_before: time(claims, "nbf")? })
    }

    /// Holds a token to its own times.
    ///
    /// # Errors
    /// Expired, not yet valid, or living too long.
    pub fn check(&self, now: UnixSeconds, clock_skew: Duration, max_lifetime: Option<Duration>) -> Result<(), Refusal> {
        self.check_expiry(now, clock_skew)?;
        self.check_not_before(now, clock_skew)?;
        self.check_lifetime(max_lifetime)
    }

    /// `exp` alone (RFC 7519 section 4.1.4: not to be accepted on or after it).
    pub(super) fn check_expiry(&self, now: UnixSeconds, clock_skew: Duration) -> Result<(), Refusal> {
        let skew = clock_skew.as_secs();
        match self.expires.filter(|expires| now >= expires.saturating_add(skew)) {
            Some(expires) => Err(Refusal::TokenExpired { expires, now, skew }),
            None => Ok(()),
        }
    }

    /// `nbf` alone.
    pub(super) fn check_not_before(&self, now: UnixSeconds, clock_skew: Duration) -> Result<(), Refusal> {
        let skew = clock_skew.as_secs();
        match self.not_before.filter(|not_before| now.saturating_add(skew) < *not_before) {
            Some(not_before) => Err(Refusal::TokenNotYetValid { not_before, now, skew }),
            None => Ok(()),
        }
    }

    /// `exp` − `iat` alone.
    pub(super) fn check_lifetime(&self, max_lifetime: Option<Duration>) -> Result<(), Refusal> {
        let Some(longest) = max_lifetime else {
            return Ok(());
        };
        let issued_at = self.issued_at.ok_or(Refusal::ClaimMissing { claim: "iat" })?;
        let expires = self.expires.ok_or(Refusal::ClaimMissing { claim: "exp" })?;
        let lifetime = expires.saturating_sub(issued_at);
        if lifetime > longest.as_secs() {
            return Err(Refusal::TokenLifetimeTooLong { lifetime, longest: longest.as_secs() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(claims: Value, now: u64) -> Result<(), &'static str> {
        let claims = claims.as_object().unwrap().clone();
        let times =
            Times::read(&claims, Expiry::Required).and_then(|times| times.check(now, Duration::from_secs(60), None));
        times.map_err(|refusal| refusal.reason().code())
    }

    #[test]
    fn expiry_is_exact_to_the_second() {
        for (now, expected) in [(1_059, Ok(())), (1_060, Err("token_expired")), (1_061, Err("token_expired"))] {
            assert_eq!(check(json!({"exp": 1_000}), now), expected, "{now}");
        }
    }

    #[test]
    fn not_before_is_exact_to_the_second() {
        for (now, expected) in [(939, Err("token_not_yet_valid")), (940, Ok(())), (941, Ok(()))] {
            assert_eq!(check(json!({"exp": 9_999, "nbf": 1_000}), now), expected, "{now}");
        }
    }

    #[test]
    fn wrong_types_are_refusals_and_not_absences() {
        for claim in ["exp", "nbf", "iat"] {
            for value in [json!("1000"), json!(null), json!(true), json!([]), json!({}), json!(-1), json!(1e300)] {
                let mut claims = json!({"exp": 9_999});
                claims[claim] = value.clone();
                assert_eq!(check(claims, 1), Err("token_malformed"), "{claim} {value}");
            }
        }
        assert_eq!(check(json!({}), 1), Err("claim_missing"));
        assert_eq!(check(json!({"exp": 1_000.9}), 1_000), Ok(()));
    }

    #[test]
    fn where_expiry_is_not_required_a_token_that_has_one_is_held_to_it() {
        let check = |claims: Value, max_lifetime| {
            let times = Times::read(claims.as_object().unwrap(), Expiry::Optional);
            let times = times.and_then(|times| times.check(2_000, Duration::ZERO, max_lifetime));
            times.map_err(|refusal| refusal.reason().code())
        };
        assert_eq!(check(json!({}), None), Ok(()));
        assert_eq!(check(json!({"exp": 2_001}), None), Ok(()));
        assert_eq!(check(json!({"exp": 2_000}), None), Err("token_expired"));
        assert_eq!(check(json!({"exp": null}), None), Err("token_malformed"));
        assert_eq!(check(json!({"nbf": 2_001}), None), Err("token_not_yet_valid"));
        assert_eq!(check(json!({"iat": 1_000}), Some(Duration::from_secs(3_600))), Err("claim_missing"));
    }

    #[test]
    fn extreme_times_do_not_wrap() {
        assert_eq!(check(json!({"exp": u64::MAX, "nbf": 0}), u64::MAX - 100), Ok(()));
        assert_eq!(check(json!({"exp": 0}), u64::MAX), Err("token_expired"));
    }

    #[test]
    fn a_lifetime_is_held_to_its_limit() {
        let lifetime = |exp: u64| {
            let claims = json!({"exp": exp, "iat": 1_000});
            let times = Times::read(claims.as_object().unwrap(), Expiry::Required).unwrap();
            times.check(1_000, Duration::ZERO, Some(Duration::from_secs(3_600)))
        };
        assert!(lifetime(4_600).is_ok());
        assert!(lifetime(4_601).is_err());
    }

    #[test]
    fn audiences_are_texts() {
        let read = |value: Value| audiences(json!({ "aud": value }).as_object().unwrap()).map(|all| all.len());
        assert_eq!(read(json!("a")).ok(), Some(1));
        assert_eq!(read(json!(["a", "b"])).ok(), Some(2));
        assert_eq!(read(json!([])).ok(), Some(0));
        for value in [json!(1), json!(null), json!([1]), json!({"a": "b"})] {
            assert!(read(value).is_err());
        }
    }
}
