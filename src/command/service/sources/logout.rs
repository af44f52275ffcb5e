//! Logout tokens of OpenID Connect Back-Channel Logout 1.0: from verified claims to what shall hold. Pure.

use std::fmt;

use entra_gate::entra::guid::Guid;
use entra_gate::jose::json::Object;
use entra_gate::revocation::Subject;
use serde_json::Value;

use super::signal::{CLOCK_SLACK, Clock, Deed, Remark, Signal};
use super::token::{TokenFault, identifier, seconds};
use crate::service::asked::next_second;
use crate::service::standing::Wish;

/// The member of `events` that makes a token a logout token.
pub(crate) const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The longest time between `iat` and `exp`, in seconds. The specification recommends two minutes; so long its `jti` is
/// remembered.
const LONGEST: u64 = 86_400;

/// What an OpenID provider's sessions mean here.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// `iss`, which is that of the access tokens as well.
    pub(crate) issuer: String,
    /// The tenant whose tokens carry `sid`; none where tokens carry none.
    pub(crate) tenant: Option<Guid>,
}

/// Why a logout token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogoutFault {
    /// It is over.
    Expired,
    /// A claim is missing, or is not what it must be.
    Claim(&'static str),
    /// It has a `nonce`: it is an ID token.
    Nonce,
    /// Neither `sub` nor `sid`.
    Nobody,
    /// As a token it is not acceptable.
    Token(TokenFault),
}

impl From<TokenFault> for LogoutFault {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

impl fmt::Display for LogoutFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => formatter.write_str("The logout token has expired."),
            Self::Claim(name) => write!(formatter, "{name} is missing, or not what it must be in a logout token."),
            Self::Nonce => formatter.write_str("A logout token has no nonce."),
            Self::Nobody => formatter.write_str("A logout token has sub, sid or both."),
            Self::Token(fault) => formatter.write_str(fault.sentence()),
        }
    }
}

/// A logout that is good, and until when it could be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logout {
    pub(crate) signal: Signal,
    pub(crate) expires: u64,
}

/// What the verified claims of a logout token come to (section 2.6; issuer, audience and signature come before).
pub(crate) fn read(claims: &Object, mapping: &Mapping, clock: &Clock) -> Result<Logout, LogoutFault> {
    let iat = seconds(claims, "iat").ok_or(LogoutFault::Claim("iat"))?;
    let expires = seconds(claims, "exp").ok_or(LogoutFault::Claim("exp"))?;
    if iat > clock.now.saturating_add(CLOCK_SLACK) {
        return Err(LogoutFault::Claim("iat"));
    }
    if expires.saturating_add(CLOCK_SLACK) <= clock.now {
        return Err(LogoutFault::Expired);
    }
    if expires > iat.saturating_add(LONGEST) {
        return Err(LogoutFault::Claim("exp"));
    }
    let jti = identifier(claims, "jti").ok_or(LogoutFault::Claim("jti"))?;
    let is_logout =
        matches!(claims.get("events"), Some(Value::Object(events)) if events.get(EVENT).is_some_and(Value::is_object));
    if !is_logout {
        return Err(LogoutFault::Claim("events"));
    }
    if claims.contains_key("nonce") {
        return Err(LogoutFault::Nonce);
    }
    let named = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(_) => identifier(claims, name).map(Some).ok_or(LogoutFault::Claim(name)),
    };
    let (sub, sid) = (named("sub")?, named("sid")?);
    let mut signal = Signal { event: Some(jti.to_owned()), at: Some(iat), ..Signal::default() };
    let mut deed = |subject, wish, reason: &str| {
        signal.deeds.push(Deed { subject, wish, reason: reason.to_owned() });
    };
    match (sub, sid, &mapping.tenant) {
        (None, None, _) => return Err(LogoutFault::Nobody),
        (_, Some(sid), Some(tenant)) => {
            let subject = Subject::Session { tenant: tenant.to_string(), session: sid.to_owned() };
            deed(subject, Wish::Block, "backchannel-logout of a session");
        }
        (Some(sub), sid, _) => {
            // Tokens do not tell this session from the user's others: all of them are older than the logout.
            let reason = match sid {
                Some(_) => "backchannel-logout of a session, which tokens do not tell from the user's others",
                None => "backchannel-logout of a user",
            };
            let subject = Subject::Pairwise { issuer: mapping.issuer.clone(), subject: sub.to_owned() };
            match clock.not_before(next_second(iat)) {
                Some(wish) => deed(subject, wish, reason),
                None => signal.remarks.push(Remark::Idle("every token from before has expired".to_owned())),
            }
        }
        (None, Some(_), None) => {
            let why = "backchannel-logout of a session alone, and the source has no tenant that it is in";
            signal.remarks.push(Remark::Unmapped(why.to_owned()));
        }
    }
    Ok(Logout { signal, expires: expires.saturating_add(CLOCK_SLACK) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::service::standing::Lifetimes;

    const NOW: u64 = 1_760_000_000;
    const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";

    fn clock() -> Clock {
        let lifetimes = Lifetimes { token: Duration::from_secs(86_400), session: Duration::from_secs(90 * 86_400) };
        Clock { now: NOW, lifetimes }
    }

    fn outcome(changes: Value, tenant: Option<&str>) -> Result<Logout, LogoutFault> {
        let mut claims = json!({
            "iss": "https://idp.example.com", "aud": "client", "iat": NOW, "exp": NOW + 120, "jti": "j", "sub": "s",
            "events": {EVENT: {}},
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut claims = claims.as_object().unwrap().clone();
        claims.retain(|_, value| !value.is_null());
        let tenant = tenant.and_then(Guid::parse);
        read(&claims, &Mapping { issuer: "https://idp.example.com".into(), tenant }, &clock())
    }

    #[test]
    fn a_session_is_blocked_and_a_user_must_sign_in_again() {
        let session = Subject::Session { tenant: TENANT.into(), session: "sid-1".into() };
        let user = Subject::Pairwise { issuer: "https://idp.example.com".into(), subject: "s".into() };
        let again = Wish::NotBefore(u32::try_from(NOW + 1).unwrap());
        for (changes, tenant, subject, wish) in [
            (json!({}), None, &user, again),
            (json!({}), Some(TENANT), &user, again),
            (json!({"sid": "sid-1"}), Some(TENANT), &session, Wish::Block),
            (json!({"sid": "sid-1", "sub": null}), Some(TENANT), &session, Wish::Block),
            // Whose tokens carry no session: the user's, all of them.
            (json!({"sid": "sid-1"}), None, &user, again),
        ] {
            let logout = outcome(changes.clone(), tenant).unwrap();
            assert_eq!(logout.expires, NOW + 120 + 300);
            assert_eq!(logout.signal.event.as_deref(), Some("j"));
            let [deed] = logout.signal.deeds.as_slice() else { panic!("{changes}") };
            assert_eq!((&deed.subject, deed.wish), (subject, wish), "{changes}");
        }
        let alone = outcome(json!({"sid": "sid-1", "sub": null}), None).unwrap().signal;
        assert!(alone.deeds.is_empty() && matches!(alone.remarks.as_slice(), [Remark::Unmapped(_)]));
    }

    #[test]
    fn every_check_of_the_specification_is_made() {
        for (changes, fault) in [
            (json!({"iat": null}), LogoutFault::Claim("iat")),
            (json!({"iat": NOW + 301}), LogoutFault::Claim("iat")),
            (json!({"exp": null}), LogoutFault::Claim("exp")),
            (json!({"exp": "soon"}), LogoutFault::Claim("exp")),
            (json!({"iat": NOW - 900, "exp": NOW - 300}), LogoutFault::Expired),
            (json!({"exp": NOW + 86_401}), LogoutFault::Claim("exp")),
            (json!({"jti": null}), LogoutFault::Claim("jti")),
            (json!({"jti": ""}), LogoutFault::Claim("jti")),
            (json!({"jti": "a b"}), LogoutFault::Claim("jti")),
            (json!({"events": null}), LogoutFault::Claim("events")),
            (json!({"events": {}}), LogoutFault::Claim("events")),
            (json!({"events": [EVENT]}), LogoutFault::Claim("events")),
            (json!({"events": {EVENT: true}}), LogoutFault::Claim("events")),
            (
                json!({"events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {}}}),
                LogoutFault::Claim("events"),
            ),
            (json!({"nonce": "n"}), LogoutFault::Nonce),
            (json!({"sub": null}), LogoutFault::Nobody),
            (json!({"sub": 5}), LogoutFault::Claim("sub")),
            (json!({"sid": ""}), LogoutFault::Claim("sid")),
        ] {
            assert_eq!(outcome(changes.clone(), None), Err(fault), "{changes}");
        }
        // Just not expired, and just not too early.
        assert!(outcome(json!({"iat": NOW - 900, "exp": NOW - 299}), None).is_ok());
        assert!(outcome(json!({"iat": NOW + 300, "exp": NOW + 400}), None).is_ok());
    }
}
