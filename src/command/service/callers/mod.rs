//! Who may call the API: the bearer of a token that our own core judges, or of the bootstrap key.
//!
//! What is not understood is refused. Neither a token nor the key is ever logged, stored or told.

mod configuration;
mod judging;

use std::path::Path;
use std::sync::mpsc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Mutex, oneshot};

use self::configuration::Configuration;
use self::judging::{Event, Judging, Question};
use crate::documents::Actor;
use crate::failure::Failure;
use crate::service::store::Store;

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Manage signing keys.
    Keys,
    /// Revoke and lift.
    Manage,
    /// See what is revoked and what was done.
    Read,
}

impl Scope {
    /// The path by which the core's rules know it.
    fn path(self) -> &'static str {
        match self {
            Self::Keys => "/keys",
            Self::Manage => "/manage",
            Self::Read => "/read",
        }
    }
}

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The word of the reason.
    pub(crate) reason: String,
    /// What must change.
    pub(crate) detail: String,
    /// `WWW-Authenticate`.
    pub(crate) challenge: Option<String>,
    /// `Retry-After`, in seconds.
    pub(crate) retry_after: Option<String>,
}

/// Whoever may call.
pub(crate) struct Callers {
    bootstrap: Option<[u8; 32]>,
    judging: Option<mpsc::Sender<Event>>,
    /// The place in the feed up to which revocations hold for callers, too.
    followed: Mutex<u64>,
}

/// The shortest bootstrap key, in bytes: 32 of base64 are 192 bits.
const LEAST_BOOTSTRAP_KEY: usize = 32;

impl Callers {
    /// Reads who may call. Without anybody the service would be of no use.
    pub(crate) fn open(file: Option<&Path>, bootstrap_key: Option<&str>) -> Result<Self, Failure> {
        let bootstrap = match bootstrap_key {
            Some(key) if key.len() < LEAST_BOOTSTRAP_KEY => {
                return Err(Failure::usage(format!(
                    "the bootstrap key is too short: at least {LEAST_BOOTSTRAP_KEY} characters, such as those of \
                     `openssl rand -base64 33`"
                )));
            }
            Some(key) => Some(Sha256::digest(key).into()),
            None => None,
        };
        let judging = match file {
            Some(file) => Some(Judging::start(Configuration::read(file)?)?),
            None if bootstrap.is_none() => {
                return Err(Failure::usage(
                    "nobody could call: give --config with providers, or a bootstrap key in the environment",
                ));
            }
            None => None,
        };
        Ok(Self { bootstrap, judging, followed: Mutex::default() })
    }

    /// Lets what was revoked since the last time hold for callers, from the next one on.
    pub(crate) async fn follow(&self, store: &Store) -> Result<(), sqlx::Error> {
        let Some(judging) = &self.judging else { return Ok(()) };
        let mut followed = self.followed.lock().await;
        let (sequence, entries) = store.after(*followed).await?;
        // If the thread has stopped, nobody is let in at all.
        let _ = judging.send(Event::Revoked(entries));
        *followed = sequence;
        Ok(())
    }

    /// Who sent these `Authorization` headers, if they may do this.
    pub(crate) async fn admit(&self, scope: Scope, authorization: &[&[u8]]) -> Result<Actor, Denial> {
        if let (Some(key), [only]) = (&self.bootstrap, authorization)
            && bearer(only).is_some_and(|sent| Sha256::digest(sent).as_slice().ct_eq(key).into())
        {
            return Ok(Actor::Bootstrap);
        }
        let Some(judging) = &self.judging else {
            return Err(not_the_key(authorization.is_empty()));
        };
        let (answer, answered) = oneshot::channel();
        // As Envoy hands several headers of one name over.
        let authorization = (!authorization.is_empty()).then(|| authorization.join(&b","[..]));
        let question = Question { scope, authorization, answer };
        let gone = || Denial::unavailable("the judge of tokens has stopped");
        judging.send(Event::Question(question)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Denial {
    fn unavailable(detail: &str) -> Self {
        Self {
            status: 503,
            reason: "unavailable".to_owned(),
            detail: detail.to_owned(),
            challenge: None,
            retry_after: Some("1".to_owned()),
        }
    }
}

/// What stands behind `Bearer` (RFC 6750 section 2.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

fn not_the_key(nothing_sent: bool) -> Denial {
    let (reason, detail, challenge) = if nothing_sent {
        ("token_missing", "Send the bootstrap key as Authorization: Bearer <key>.", "Bearer")
    } else {
        (
            "credential_not_allowed",
            "This is not the bootstrap key, and no tokens are accepted: there is no --config.",
            "Bearer error=\"invalid_token\"",
        )
    };
    Denial {
        status: 401,
        reason: reason.to_owned(),
        detail: detail.to_owned(),
        challenge: Some(challenge.to_owned()),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    async fn admitted(callers: &Callers, authorization: &[&str]) -> Result<Actor, (u16, String)> {
        let authorization: Vec<&[u8]> = authorization.iter().map(|text| text.as_bytes()).collect();
        callers.admit(Scope::Manage, &authorization).await.map_err(|denial| (denial.status, denial.reason))
    }

    #[tokio::test]
    async fn the_bootstrap_key_opens_and_nothing_else_does() {
        let callers = Callers::open(None, Some(KEY)).unwrap();
        for good in [format!("Bearer {KEY}"), format!("bearer   {KEY} ")] {
            assert_eq!(admitted(&callers, &[&good]).await, Ok(Actor::Bootstrap), "{good}");
        }
        let refused = Err((401, "credential_not_allowed".to_owned()));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            KEY,
            "Basic x",
            &format!("Bearer {KEY}x"),
            &format!("Bearer {}", KEY.replace("0", "")),
        ] {
            assert_eq!(admitted(&callers, &[bad]).await, refused, "{bad}");
        }
        let twice = format!("Bearer {KEY}");
        assert_eq!(admitted(&callers, &[&twice, &twice]).await, refused);
        assert_eq!(admitted(&callers, &[]).await, Err((401, "token_missing".to_owned())));
    }

    #[test]
    fn short_keys_and_no_callers_are_refused_at_the_start() {
        assert!(Callers::open(None, Some("short")).is_err());
        assert!(Callers::open(None, None).is_err());
    }
}
