//! Security event tokens (RFC 8417) of Shared Signals 1.0 with the events of CAEP 1.0 and RISC 1.0: from verified claims to
//! what shall hold. Pure.

use entra_gate::entra::guid::Guid;
use entra_gate::jose::json::Object;
use entra_gate::revocation::Subject;
use serde_json::{Map, Value};

use super::signal::{CLOCK_SLACK, Clock, Deed, Remark, Signal, quoted};
use super::token::{TokenFault, identifier, seconds};
use crate::service::asked::next_second;
use crate::service::standing::Wish;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

/// How old a SET may be, in seconds: so long its `jti` is remembered. RFC 8417 gives it no end of its own.
pub(crate) const OLDEST: u64 = 7 * 86_400;

/// What a transmitter's subjects mean here.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// The tenant that users, sessions and clients without an issuer are in.
    pub(crate) tenant: Option<Guid>,
    /// Whose subjects and tokens the transmitter may speak of.
    pub(crate) subject_issuers: Vec<String>,
    /// What `sub` of an `iss_sub` is.
    pub(crate) sub: Sub,
    /// What the `id` of an opaque subject that stands alone is.
    pub(crate) opaque: Option<Opaque>,
    /// Which changes of a credential revoke.
    pub(crate) credential_changes: Vec<CredentialChange>,
}

/// What `sub` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sub {
    /// The `sub` of that issuer's tokens.
    Subject,
    /// The `oid` of the tenant's tokens.
    User,
}

/// What an opaque identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opaque {
    /// `azp`, `appid`
    Client,
    /// `sid`
    Session,
    /// `oid`
    User,
}

/// `change_type` of CAEP's credential-change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialChange {
    Create,
    Delete,
    Revoke,
    Update,
}

impl CredentialChange {
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("create", Self::Create), ("delete", Self::Delete), ("revoke", Self::Revoke), ("update", Self::Update)];
}

/// Why a SET is not taken: an error code of RFC 8935 section 2.4, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetFault {
    pub(crate) code: Code,
    pub(crate) description: String,
}

/// The error codes of IANA's registry «Security Event Token Error Codes».
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    AccessDenied,
    AuthenticationFailed,
    InvalidAudience,
    InvalidIssuer,
    InvalidKey,
    InvalidRequest,
}

impl Code {
    /// The word of the registry.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::AuthenticationFailed => "authentication_failed",
            Self::InvalidAudience => "invalid_audience",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidKey => "invalid_key",
            Self::InvalidRequest => "invalid_request",
        }
    }
}

impl SetFault {
    pub(crate) fn new(code: Code, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }

    fn request(description: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, description)
    }
}

impl From<TokenFault> for SetFault {
    fn from(fault: TokenFault) -> Self {
        let code = match fault {
            TokenFault::Audience => Code::InvalidAudience,
            TokenFault::Issuer => Code::InvalidIssuer,
            TokenFault::Algorithm | TokenFault::KeyUnknown | TokenFault::Signature => Code::InvalidKey,
            TokenFault::Malformed | TokenFault::Type => Code::InvalidRequest,
        };
        Self::new(code, fault.sentence())
    }
}

/// What the verified claims of a SET come to.
pub(crate) fn read(claims: &Object, mapping: &Mapping, clock: &Clock) -> Result<Signal, SetFault> {
    let jti =
        identifier(claims, "jti").ok_or_else(|| SetFault::request("jti is missing, or no printable identifier."))?;
    let iat = seconds(claims, "iat").ok_or_else(|| SetFault::request("iat is missing, or no time."))?;
    // Shared Signals section 4.1.7: nobody may take a SET for an ID token or an access token.
    for name in ["exp", "sub"] {
        if claims.contains_key(name) {
            return Err(SetFault::request(format!("{name} must not be in a SET.")));
        }
    }
    if iat > clock.now.saturating_add(CLOCK_SLACK) {
        return Err(SetFault::request("iat is yet to come."));
    }
    if iat.saturating_add(OLDEST) < clock.now {
        return Err(SetFault::request("iat is more than seven days ago."));
    }
    let events = match claims.get("events") {
        Some(Value::Object(events)) if !events.is_empty() => events,
        _ => return Err(SetFault::request("events is missing, empty, or no object.")),
    };
    let mut signal = Signal { event: Some(jti.to_owned()), at: Some(iat), ..Signal::default() };
    let subject = claims.get("sub_id");
    for (name, members) in events {
        let Value::Object(members) = members else {
            return Err(SetFault::request("A member of events is no object."));
        };
        event(&Event { name, members, subject, iat }, mapping, clock, &mut signal)?;
    }
    Ok(signal)
}

struct Event<'a> {
    name: &'a str,
    members: &'a Map<String, Value>,
    subject: Option<&'a Value>,
    iat: u64,
}

/// What an event asks for, before it is known of whom.
enum Demand {
    Block,
    Lift,
    /// Nothing, and why.
    Nothing(String),
    Purge,
    Revoke,
}

fn event(event: &Event<'_>, mapping: &Mapping, clock: &Clock, signal: &mut Signal) -> Result<(), SetFault> {
    let at = match event.members.get("event_timestamp") {
        None => event.iat,
        Some(_) => {
            let at = seconds(event.members, "event_timestamp").filter(|at| u32::try_from(*at).is_ok());
            // Milliseconds by mistake would be a time in some fifty thousand years.
            at.ok_or_else(|| SetFault::request("event_timestamp is no time in seconds."))?
        }
    };
    let (family, word) = [CAEP, RISC, SSF]
        .into_iter()
        .find_map(|family| Some((family, event.name.strip_prefix(family)?)))
        .unwrap_or(("", event.name));
    let demand = match (family, word) {
        (CAEP, "session-revoked") | (RISC, "credential-compromise" | "sessions-revoked") => Demand::Revoke,
        (CAEP, "credential-change") => credential_change(event.members, mapping)?,
        (RISC, "account-disabled") => Demand::Block,
        (RISC, "account-enabled") => Demand::Lift,
        (RISC, "account-purged") => Demand::Purge,
        (SSF, "verification") => {
            let state = event.members.get("state").and_then(Value::as_str).map(quoted);
            signal.remarks.push(Remark::Verified(state));
            return Ok(());
        }
        (SSF, "stream-updated") => {
            let status = event.members.get("status").and_then(Value::as_str).map(quoted).unwrap_or_default();
            Demand::Nothing(format!("the stream is {status} now"))
        }
        _ => Demand::Nothing("nothing follows from such an event here".to_owned()),
    };
    signal.at = Some(at);
    let word = quoted(word);
    if let Demand::Nothing(why) = demand {
        signal.remarks.push(Remark::Idle(format!("{word}: {why}")));
        return Ok(());
    }
    let subject = event.subject.ok_or_else(|| SetFault::request("sub_id is missing."))?;
    let subjects = match subjects(subject, mapping)? {
        Mapped::Known(subjects) => subjects,
        Mapped::Unmapped(why) => {
            signal.remarks.push(Remark::Unmapped(format!("{word}: {why}")));
            return Ok(());
        }
    };
    for subject in subjects {
        let Some(wish) = wish(&demand, &subject, at, clock) else {
            signal.remarks.push(Remark::Idle(format!("{word}: every token from before has expired")));
            continue;
        };
        signal.deeds.push(Deed { subject, wish, reason: reason(&word, event.members) });
    }
    Ok(())
}

fn credential_change(members: &Map<String, Value>, mapping: &Mapping) -> Result<Demand, SetFault> {
    let kind = members.get("credential_type").and_then(Value::as_str);
    let change = members.get("change_type").and_then(Value::as_str);
    let change = change.and_then(|change| CredentialChange::ALL.iter().find(|(word, _)| *word == change));
    match (kind, change) {
        (Some(_), Some((_, change))) if mapping.credential_changes.contains(change) => Ok(Demand::Revoke),
        (Some(kind), Some((word, _))) => {
            Ok(Demand::Nothing(format!("{word} of {} revokes nothing, by configuration", quoted(kind))))
        }
        _ => Err(SetFault::request("credential_type or change_type is missing, or not one of CAEP's.")),
    }
}

fn wish(demand: &Demand, subject: &Subject, at: u64, clock: &Clock) -> Option<Wish> {
    match demand {
        Demand::Block => Some(Wish::Block),
        Demand::Lift => Some(Wish::Lift),
        Demand::Nothing(_) => None,
        Demand::Purge => Some(Wish::BlockUntil(clock.lifetimes.last_session_of(clock.time()))),
        Demand::Revoke => match subject {
            // There is no later sign-in of these.
            Subject::Session { .. } | Subject::Token { .. } => Some(Wish::Block),
            Subject::Client { .. } | Subject::Pairwise { .. } | Subject::Tenant { .. } | Subject::User { .. } => {
                clock.not_before(next_second(at))
            }
        },
    }
}

/// The event's name, and what the transmitter says to administrators.
fn reason(word: &str, members: &Map<String, Value>) -> String {
    let told = match members.get("reason_admin") {
        Some(Value::Object(languages)) => languages.get("en").or_else(|| languages.values().next()),
        other => other,
    };
    let told = told.or_else(|| members.get("reason")).and_then(Value::as_str).map(quoted);
    match told.filter(|told| !told.is_empty()) {
        Some(told) => format!("{word}: {told}"),
        None => word.to_owned(),
    }
}

/// Whom a subject identifier (RFC 9493) names here.
enum Mapped {
    Known(Vec<Subject>),
    Unmapped(String),
}

impl Mapped {
    /// The same, if it is what stands in this place of a complex subject: a user who is named where a session is
    /// expected would be revoked with all sessions.
    fn only(self, expected: Opaque) -> Self {
        let fits = |subject: &Subject| match expected {
            Opaque::Client => matches!(subject, Subject::Client { .. }),
            Opaque::Session => matches!(subject, Subject::Session { .. } | Subject::Token { .. }),
            Opaque::User => matches!(subject, Subject::Pairwise { .. } | Subject::User { .. }),
        };
        match self {
            Self::Known(subjects) if !subjects.iter().all(fits) => {
                Self::Unmapped("a member of the complex subject names something else than it says".to_owned())
            }
            known => known,
        }
    }
}

fn subjects(identifier: &Value, mapping: &Mapping) -> Result<Mapped, SetFault> {
    let Value::Object(members) = identifier else {
        return Err(SetFault::request("sub_id is no object."));
    };
    match text(members, "format")? {
        "aliases" => {
            let Some(Value::Array(identifiers)) = members.get("identifiers") else {
                return Err(SetFault::request("identifiers of sub_id is missing, or no list."));
            };
            // Each of them is the same subject: whatever can be said here is said.
            let mut known = Vec::new();
            for identifier in identifiers {
                if let Mapped::Known(subjects) = simple(identifier, mapping.opaque, mapping)? {
                    known.extend(subjects);
                }
            }
            if known.is_empty() {
                return Ok(Mapped::Unmapped("none of the aliases can be mapped".to_owned()));
            }
            Ok(Mapped::Known(known))
        }
        "complex" => complex(members, mapping),
        _ => simple(identifier, mapping.opaque, mapping),
    }
}

/// A subject that is one thing; `opaque` says what an opaque identifier would be in this place.
fn simple(identifier: &Value, opaque: Option<Opaque>, mapping: &Mapping) -> Result<Mapped, SetFault> {
    let Value::Object(members) = identifier else {
        return Err(SetFault::request("A subject identifier is no object."));
    };
    let format = text(members, "format")?;
    let unmapped = |why: &str| Ok(Mapped::Unmapped(why.to_owned()));
    let known = |subject| Ok(Mapped::Known(vec![subject]));
    match format {
        "iss_sub" => {
            let (issuer, sub) = (text(members, "iss")?, text(members, "sub")?);
            may_speak_of(issuer, mapping)?;
            match (mapping.sub, &mapping.tenant) {
                (Sub::Subject, _) => known(Subject::Pairwise { issuer: issuer.to_owned(), subject: sub.to_owned() }),
                (Sub::User, Some(tenant)) => match Guid::parse(sub) {
                    Some(user) => known(Subject::User { tenant: tenant.to_string(), user: user.to_string() }),
                    None => unmapped("sub is no object id"),
                },
                (Sub::User, None) => unmapped("the source has no tenant"),
            }
        }
        "jwt_id" => {
            let (issuer, token) = (text(members, "iss")?, text(members, "jti")?);
            may_speak_of(issuer, mapping)?;
            known(Subject::Token { issuer: issuer.to_owned(), token: token.to_owned() })
        }
        "opaque" => {
            let id = text(members, "id")?;
            let (Some(opaque), Some(tenant)) = (opaque, &mapping.tenant) else {
                return unmapped("what an opaque identifier is, the source does not say");
            };
            let tenant = tenant.to_string();
            match (opaque, Guid::parse(id)) {
                (Opaque::Session, _) => known(Subject::Session { tenant, session: id.to_owned() }),
                (Opaque::Client, Some(client)) => known(Subject::Client { tenant, client: client.to_string() }),
                (Opaque::User, Some(user)) => known(Subject::User { tenant, user: user.to_string() }),
                (Opaque::Client | Opaque::User, None) => unmapped("the opaque identifier is no object id"),
            }
        }
        // An address is in no access token by which it could be revoked.
        "account" | "did" | "email" | "phone_number" | "uri" => {
            Ok(Mapped::Unmapped(format!("a subject by {format} cannot be mapped")))
        }
        other => Ok(Mapped::Unmapped(format!("a subject by {} is not known", quoted(other)))),
    }
}

/// Shared Signals section 3.2: a complex subject is what matches *all* of its members. What could be said only by leaving
/// one out would be about others as well, and is not said.
fn complex(members: &Map<String, Value>, mapping: &Mapping) -> Result<Mapped, SetFault> {
    let unmapped = |why: &str| Ok(Mapped::Unmapped(why.to_owned()));
    let mut others = members.keys().filter(|name| *name != "format");
    if others.clone().next().is_none() {
        return Err(SetFault::request("A complex subject has no members."));
    }
    const KNOWN: [&str; 4] = ["application", "session", "tenant", "user"];
    if let Some(other) = others.find(|name| !KNOWN.contains(&name.as_str())) {
        return Ok(Mapped::Unmapped(format!("no token can be matched with {}", quoted(other))));
    }
    if let Some(tenant) = members.get("tenant")
        && !is_tenant(tenant, mapping)?
    {
        return unmapped("the tenant is not the source's");
    }
    let read = |name: &str, opaque| {
        let read = members.get(name).map(|identifier| simple(identifier, Some(opaque), mapping)).transpose();
        read.map(|mapped| mapped.map(|mapped| mapped.only(opaque)))
    };
    let (user, session, client) =
        (read("user", Opaque::User)?, read("session", Opaque::Session)?, read("application", Opaque::Client)?);
    match (user, session, client) {
        // A session is one user's, so it is what matches both.
        (_, Some(session), None) => Ok(session),
        (Some(user), None, None) => Ok(user),
        (None, None, Some(client)) => Ok(client),
        (None, None, None) => unmapped("a whole tenant is not revoked by a signal"),
        (_, _, Some(_)) => unmapped("no entry is about an application's tokens for one user or session"),
    }
}

/// Whether a `tenant` member is the configured tenant.
fn is_tenant(identifier: &Value, mapping: &Mapping) -> Result<bool, SetFault> {
    let Value::Object(members) = identifier else {
        return Err(SetFault::request("The tenant of a complex subject is no object."));
    };
    let name = match text(members, "format")? {
        "opaque" => text(members, "id")?,
        "iss_sub" => text(members, "sub")?,
        _ => return Ok(false),
    };
    Ok(Guid::parse(name).is_some_and(|tenant| mapping.tenant.as_ref() == Some(&tenant)))
}

/// Whoever transmits speaks of its own subjects, and of those that the configuration adds.
fn may_speak_of(issuer: &str, mapping: &Mapping) -> Result<(), SetFault> {
    if mapping.subject_issuers.iter().any(|known| known == issuer) {
        return Ok(());
    }
    Err(SetFault::new(Code::AccessDenied, "The transmitter may not speak of this issuer's subjects."))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, SetFault> {
    identifier(members, name)
        .ok_or_else(|| SetFault::request(format!("{name} of a subject identifier is missing, or no printable text.")))
}

#[cfg(test)]
mod tests;
