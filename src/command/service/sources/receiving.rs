//! What is sent here: security event tokens by push (RFC 8935), and logout tokens. Whatever is accepted is on disk first.

use entra_gate::jose::json::Object;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tracing::{debug, warn};

use super::configuration::{Kind, Signals};
use super::keys::Unavailable;
use super::logout::{self, LogoutFault};
use super::set::{self, Code, OLDEST, SetFault};
use super::signal::{CLOCK_SLACK, Signal};
use super::token::{TokenFault, Trust};
use super::{Feeding, store_fault, take, time_of};
use crate::service::api::Service;
use crate::service::metrics::SourceOutcome;
use crate::service::standing::Time;

/// What is answered to whoever sent something.
#[derive(Debug)]
pub(crate) enum Receipt {
    /// It was taken, now or before.
    Taken,
    /// It is not acceptable: an error code and a sentence.
    Refused(&'static str, String),
    /// It could not be judged or kept now.
    Unavailable,
    /// There is no such source that takes such things.
    Unknown,
}

/// Takes a SET that was pushed.
pub(crate) async fn pushed(service: &Service, source: &str, authorization: &[&[u8]], set: &str) -> Receipt {
    let Some(feeding) = service.sources.named(source) else { return Receipt::Unknown };
    let Kind::SharedSignals(signals) = &feeding.source.kind else { return Receipt::Unknown };
    let Some(push) = &signals.push else { return Receipt::Unknown };
    let is_known = match authorization {
        // Compared by their digests, so that neither content nor length is told by the time it takes.
        [only] => Sha256::digest(only).ct_eq(&Sha256::digest(push.authorization.0.as_bytes())).into(),
        _ => false,
    };
    let outcome = if is_known {
        take_set(service, feeding, signals, set, None).await
    } else {
        Err(Outcome::Refused(SetFault::new(
            Code::AuthenticationFailed,
            "The Authorization header is not the stream's.",
        )))
    };
    match outcome {
        Ok(()) => {
            feeding.succeeded();
            Receipt::Taken
        }
        Err(Outcome::Refused(fault)) => {
            refused(service, feeding, fault.code.word());
            Receipt::Refused(fault.code.word(), fault.description)
        }
        Err(Outcome::Unavailable) => Receipt::Unavailable,
    }
}

/// Takes a logout token.
pub(crate) async fn logged_out(service: &Service, source: &str, token: &str) -> Receipt {
    let Some(feeding) = service.sources.named(source) else { return Receipt::Unknown };
    let Kind::BackChannelLogout(logout) = &feeding.source.kind else { return Receipt::Unknown };
    let clock = time_of(service);
    let read = match claims(feeding, &logout.trust, token).await {
        Ok(Ok(claims)) => logout::read(&claims, &logout.mapping, &clock),
        Ok(Err(fault)) => Err(LogoutFault::Token(fault)),
        Err(Unavailable) => {
            feeding.failed(service, "the keys of the issuer cannot be fetched");
            return Receipt::Unavailable;
        }
    };
    match read {
        Ok(logout::Logout { signal, expires }) => match keep(service, feeding, signal, expires).await {
            Ok(()) => {
                feeding.succeeded();
                Receipt::Taken
            }
            Err(_) => Receipt::Unavailable,
        },
        Err(fault) => {
            refused(service, feeding, "invalid_request");
            Receipt::Refused("invalid_request", fault.to_string())
        }
    }
}

/// Why a SET was not taken.
pub(super) enum Outcome {
    Refused(SetFault),
    /// Not now: it must come again.
    Unavailable,
}

/// Takes a SET; its `jti` must be the expected one, if there is one.
pub(super) async fn take_set(
    service: &Service,
    feeding: &Feeding,
    signals: &Signals,
    set: &str,
    expected: Option<&str>,
) -> Result<(), Outcome> {
    let claims = match claims(feeding, &signals.trust, set).await {
        Ok(Ok(claims)) => claims,
        Ok(Err(fault)) => return Err(Outcome::Refused(fault.into())),
        Err(Unavailable) => {
            feeding.failed(service, "the keys of the transmitter cannot be fetched");
            return Err(Outcome::Unavailable);
        }
    };
    let clock = time_of(service);
    let signal = set::read(&claims, &signals.mapping, &clock).map_err(Outcome::Refused)?;
    if expected.is_some_and(|expected| signal.event.as_deref() != Some(expected)) {
        let description = "The SET stands under another jti than its own.";
        return Err(Outcome::Refused(SetFault::new(Code::InvalidRequest, description)));
    }
    // Until its `iat` is too old.
    let forget_at = clock.now.saturating_add(OLDEST).saturating_add(CLOCK_SLACK);
    keep(service, feeding, signal, forget_at).await.map_err(|_| Outcome::Unavailable)
}

/// The verified claims of a token.
async fn claims(feeding: &Feeding, trust: &Trust, token: &str) -> Result<Result<Object, TokenFault>, Unavailable> {
    let candidate = match trust.examine(token) {
        Ok(candidate) => candidate,
        Err(fault) => return Ok(Err(fault)),
    };
    let Some(store) = &feeding.keys else { return Err(Unavailable) };
    let keys = store.keys_for(&candidate).await?;
    Ok(candidate.verify(&keys))
}

async fn keep(service: &Service, feeding: &Feeding, signal: Signal, forget_at: u64) -> Result<(), Unavailable> {
    let forget_at = Time::try_from(forget_at).unwrap_or(Time::MAX);
    take(service, feeding, signal, forget_at, None).await.map_err(|fault| {
        feeding.failed(service, &store_fault(&fault));
        Unavailable
    })
}

/// Something was sent that is not acceptable. Nothing of it is told: whoever sent it may be anybody.
pub(super) fn refused(service: &Service, feeding: &Feeding, code: &str) {
    service.metrics.source_told(feeding.name(), SourceOutcome::Refused, 1);
    let by_anybody =
        code == Code::AuthenticationFailed.word() || matches!(feeding.source.kind, Kind::BackChannelLogout(_));
    if by_anybody {
        debug!(source = feeding.name(), code, "an event was refused");
    } else {
        warn!(source = feeding.name(), code, "an event was refused");
    }
}
