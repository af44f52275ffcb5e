//! Who may register, and who may do what with a client: by bearer tokens (RFC 7591 section 3, RFC 7592 section 2).

use subtle::{Choice, ConstantTimeEq as _};
use superboring::reexports::hmac_sha256::Hash;

use super::reply::Refusal;
use super::route::Purpose;
use super::token::{Access, Ticket};
use crate::entra::guid::Guid;
use crate::policy::registration::Registration;

/// What is known of a request for the bridge before anything is asked of anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may go on; with the ticket of the client that it is about.
    Admitted(Option<Ticket>),
    /// The judge must say, by the rules for the path.
    Judge,
    /// It may not.
    Refused(Refusal),
}

/// Looks at a request's `Authorization`.
#[must_use]
pub fn admit(purpose: &Purpose, authorization: Option<&[u8]>, settings: &Registration) -> Admission {
    let bearer = authorization.and_then(bearer);
    match purpose {
        Purpose::Register => may_register(bearer, settings),
        Purpose::Read(client) => may_manage(client, bearer, settings, Access::Read),
        Purpose::Delete(client) | Purpose::RotateSecret(client) | Purpose::Update(client) => {
            may_manage(client, bearer, settings, Access::Write)
        }
        Purpose::NoSuchMethod(allowed) => Admission::Refused(Refusal::Method(allowed.clone())),
        Purpose::Nothing | Purpose::Preflight(_) => Admission::Refused(Refusal::NotFound),
    }
}

fn may_register(bearer: Option<&[u8]>, settings: &Registration) -> Admission {
    let access = &settings.access;
    if access.open || bearer.is_some_and(|token| is_one_of(token, &access.initial_access_tokens)) {
        return Admission::Admitted(None);
    }
    if access.app_roles {
        return Admission::Judge;
    }
    Admission::Refused(if bearer.is_some() { Refusal::BadToken } else { Refusal::NoToken })
}

fn may_manage(client: &Guid, bearer: Option<&[u8]>, settings: &Registration, needed: Access) -> Admission {
    let Some(token) = bearer else {
        return Admission::Refused(Refusal::NoToken);
    };
    match Ticket::read(token, settings).filter(|ticket| ticket.client_id == *client) {
        None => Admission::Refused(Refusal::BadToken),
        Some(Ticket { access: Access::Read, .. }) if needed == Access::Write => {
            Admission::Refused(Refusal::NotAllowed(
                "This client is shared by several instances of the software: none of them may change it.",
            ))
        }
        Some(ticket) => Admission::Admitted(Some(ticket)),
    }
}

/// Hashes are compared, in constant time and all of them: neither the length nor the place of a token shows.
fn is_one_of(token: &[u8], known: &[String]) -> bool {
    let hash = Hash::hash(token);
    let found = known.iter().map(|known| Hash::hash(known.as_bytes()).ct_eq(&hash));
    found.fold(Choice::from(0), |found, one| found | one).into()
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}
