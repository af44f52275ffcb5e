//! One request to the bridge as a chain of calls to Graph: what was heard goes in, what to do comes out.
//!
//! What can be asked twice without harm is asked again, within a budget: replication takes a while, and answers get lost.
//! `addPassword` cannot: a second one would leave a secret that nobody has. A chain that breaks takes back what it made.

use serde_json::{Value, json};

use super::graph::{self, NewPassword, Password, Registered};
use super::limits::MAX_ANSWER_BYTES;
use super::login::LoginFault;
use super::metadata::{self, Metadata, MetadataError, MetadataFault};
use super::reply::{self, Outcome, Refusal};
use super::route::Purpose;
use super::token::{Access, Ticket};
use crate::answer::Answer;
use crate::entra::guid::Guid;
use crate::jose::json::{self, Object};
use crate::keys::freshness::{Millis, millis};
use crate::policy::registration::Registration;

/// The first pause, doubled with each further one.
const PAUSE_FIRST: Millis = 500;
/// The longest pause that is our own choice.
const PAUSE_LONGEST: Millis = 5_000;
/// How long half-made clients are tried to be taken back: nobody waits for it.
const UNDO_BUDGET: Millis = 120_000;
/// How long after its registration a client may be unknown to some of Graph's replicas, in seconds.
const YOUNG: u64 = 120;
/// Secrets that a client has after a rotation: the new one, and the one that it uses until it has read the answer.
const SECRETS_KEPT: usize = 1;
/// What a client must not send in an update (RFC 7592 section 2.2).
const NOT_IN_UPDATES: [&str; 4] =
    ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// Delete a client.
    Delete(Ticket),
    /// Tell of a client.
    Read(Ticket),
    /// Register one.
    Register(Box<Metadata>),
    /// Give a client a new secret.
    RotateSecret(Ticket),
    /// Take back what was half made.
    Undo(Made),
    /// Replace what a client chose.
    Update(Ticket, Box<Metadata>),
}

/// An application that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// `appId`
    pub client_id: Guid,
    /// `id`
    pub object_id: String,
}

/// What an order's chain depends on beside what is heard.
pub struct Room<'a> {
    /// What is configured.
    pub settings: &'a Registration,
    /// The `realm` of challenges.
    pub realm: &'a str,
    /// The time.
    pub now: Millis,
    /// A random number, another one each time.
    pub random: u64,
}

/// A call to Graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The path, with its query.
    pub path: String,
    /// The body, JSON.
    pub body: Option<String>,
    /// Whether what is not there is to be made.
    pub create_if_missing: bool,
}

/// What Graph answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// The call went out, and no answer came.
    NoAnswer,
    /// It never went out.
    NotSent,
}

/// What to do next.
pub enum Action {
    /// Send the job's call.
    Call,
    /// Tell the client.
    End(Box<End>),
    /// Send the job's call with a new token: Graph refused this one.
    Renew,
    /// Send the job's call then.
    Wait(Millis),
}

/// How it ends.
pub struct End {
    /// What the client is told; none if there is no client.
    pub answer: Option<Answer>,
    /// What the operator is told.
    pub notes: Vec<Note>,
    /// What must be taken back.
    pub undo: Option<Made>,
    /// What becomes of it if the client does not hear the answer.
    pub if_unheard: Unclaimed,
}

/// What nobody has if the client is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclaimed {
    /// A client of its own: it is taken back.
    Client(Made),
    /// Nothing of worth.
    Nothing,
    /// A new secret of a client.
    Secret(Guid),
}

/// A fact for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How it ended.
    pub outcome: Outcome,
    /// The client, if there is one.
    pub client: Option<Guid>,
    /// What finds the calls in Graph's own logs.
    pub correlation: String,
    /// More, in words of ours.
    pub detail: String,
}

/// An order and how far it has come.
pub struct Job {
    order: Order,
    step: Step,
    /// The address of the endpoint, for `registration_client_uri`.
    endpoint: String,
    correlation: String,
    unique_name: String,
    application: Value,
    tries: u32,
    deadline: Millis,
    renewed: bool,
    /// Whether the application may have been made although nobody said so.
    may_exist: bool,
}

enum Step {
    Change(Box<Registered>),
    Create,
    Find,
    Look,
    Password(Box<Registered>),
    Principal(Box<Registered>),
    Purge,
    Remove,
    Retire(Box<Registered>, NewPassword, Vec<Password>),
}

/// Reads what a request asks for.
///
/// # Errors
/// What is wrong with it.
pub fn order(
    purpose: &Purpose,
    ticket: Option<Ticket>,
    body: &[u8],
    settings: &Registration,
) -> Result<Order, Refusal> {
    match (purpose, ticket) {
        (Purpose::Register, _) => {
            let asked = metadata::members(body).map_err(Refusal::Metadata)?;
            let metadata = Metadata::read(&asked, settings).map_err(Refusal::Metadata)?;
            graph::application(&metadata, settings).map_err(Refusal::Metadata)?;
            Ok(Order::Register(Box::new(metadata)))
        }
        (Purpose::Update(_), Some(ticket)) => {
            let asked = metadata::members(body).map_err(Refusal::Metadata)?;
            is_update(&asked, &ticket)?;
            let metadata = Metadata::read(&asked, settings).map_err(Refusal::Metadata)?;
            if !metadata.platform.is_confidential() {
                return Err(invalid("A client with a secret cannot become one without."));
            }
            graph::application(&metadata, settings).map_err(Refusal::Metadata)?;
            Ok(Order::Update(ticket, Box::new(metadata)))
        }
        (Purpose::Read(_), Some(ticket)) => Ok(Order::Read(ticket)),
        (Purpose::Delete(_), Some(ticket)) => Ok(Order::Delete(ticket)),
        (Purpose::RotateSecret(_), Some(ticket)) => Ok(Order::RotateSecret(ticket)),
        (Purpose::NoSuchMethod(allowed), _) => Err(Refusal::Method(allowed.clone())),
        (Purpose::Nothing | Purpose::Preflight(_), _) => Err(Refusal::NotFound),
        (Purpose::Delete(_) | Purpose::Read(_) | Purpose::RotateSecret(_) | Purpose::Update(_), None) => {
            Err(Refusal::BadToken)
        }
    }
}

fn is_update(asked: &Object, ticket: &Ticket) -> Result<(), Refusal> {
    if let Some(name) = NOT_IN_UPDATES.iter().find(|name| asked.contains_key(**name)) {
        return Err(invalid(&format!("{name} must not be sent.")));
    }
    let client_id = asked.get("client_id").and_then(Value::as_str).and_then(Guid::parse);
    if client_id.as_ref() != Some(&ticket.client_id) {
        return Err(invalid("client_id must be the client's own."));
    }
    Ok(())
}

fn invalid(sentence: &str) -> Refusal {
    Refusal::Metadata(MetadataFault { error: MetadataError::Metadata, sentence: sentence.to_owned() })
}

impl Job {
    /// Begins; the first action is its call. `random` names what must have a name of its own.
    #[must_use]
    pub fn begin(order: Order, endpoint: String, random: [u64; 4], room: &Room<'_>) -> Self {
        let settings = room.settings;
        let [one, two, three, four] = random;
        let mut job = Self {
            step: Step::Look,
            endpoint,
            correlation: guid([one, two]),
            unique_name: String::new(),
            application: Value::Null,
            tries: 0,
            deadline: room.now.saturating_add(millis(settings.budget)),
            renewed: false,
            may_exist: false,
            order,
        };
        match &job.order {
            Order::Register(metadata) => {
                job.step = Step::Create;
                job.application = graph::application(metadata, settings).unwrap_or_default();
                job.unique_name = if metadata.platform.is_confidential() {
                    graph::own_name([three, four], settings)
                } else {
                    graph::shared_name(&job.application, settings)
                };
            }
            Order::Update(_, metadata) => {
                job.application = graph::application(metadata, settings).unwrap_or_default();
            }
            Order::Undo(_) => {
                job.step = Step::Remove;
                job.deadline = room.now.saturating_add(UNDO_BUDGET);
            }
            Order::Delete(_) | Order::Read(_) | Order::RotateSecret(_) => {}
        }
        job
    }

    /// What Graph's logs know its calls by.
    #[must_use]
    pub fn correlation(&self) -> &str {
        &self.correlation
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_overdue(&self, now: Millis) -> bool {
        now > self.deadline
    }

    /// The call that is to be sent.
    #[must_use]
    pub fn call(&self, room: &Room<'_>) -> Call {
        let base = room.settings.graph.address.path().trim_end_matches('/');
        let named = format!("{base}/applications(uniqueName='{}')", self.unique_name);
        let of = |client: &Guid| format!("{base}/applications(appId='{client}')");
        let own = self.client().map(of).unwrap_or_default();
        let call = |method, path: String, body: Option<Value>| Call {
            method,
            path,
            body: body.map(|body| body.to_string()),
            create_if_missing: false,
        };
        match &self.step {
            Step::Create => {
                let call = call("PATCH", named, Some(self.application.clone()));
                Call { create_if_missing: true, ..call }
            }
            Step::Find => call("GET", format!("{named}?{}", graph::SELECT), None),
            Step::Principal(made) => {
                let body = json!({"appId": made.client_id.as_str()});
                call("POST", format!("{base}/servicePrincipals"), Some(body))
            }
            Step::Password(made) => {
                let body = graph::password(room.settings, room.now / 1_000);
                call("POST", format!("{}/addPassword", of(&made.client_id)), Some(body))
            }
            Step::Look => call("GET", format!("{own}?{}", graph::SELECT), None),
            Step::Change(found) => call("PATCH", of(&found.client_id), Some(self.application.clone())),
            Step::Remove => call("DELETE", own, None),
            Step::Retire(found, _, old) => {
                let key_id = old.first().map(|password| password.key_id.clone());
                call("POST", format!("{}/removePassword", of(&found.client_id)), Some(json!({"keyId": key_id})))
            }
            Step::Purge => {
                let object_id = match &self.order {
                    Order::Undo(made) => made.object_id.as_str(),
                    Order::Delete(_)
                    | Order::Read(_)
                    | Order::Register(_)
                    | Order::RotateSecret(_)
                    | Order::Update(..) => "",
                };
                call("DELETE", format!("{base}/directory/deletedItems/{object_id}"), None)
            }
        }
    }

    /// The client that it is about; none before it is made.
    fn client(&self) -> Option<&Guid> {
        match &self.order {
            Order::Delete(ticket) | Order::Read(ticket) | Order::RotateSecret(ticket) | Order::Update(ticket, _) => {
                Some(&ticket.client_id)
            }
            Order::Undo(made) => Some(&made.client_id),
            Order::Register(_) => None,
        }
    }

    /// Takes what became of its call.
    pub fn hear(&mut self, heard: Result<Heard, Unheard>, room: &Room<'_>) -> Action {
        let heard = match heard {
            Ok(heard) => heard,
            Err(Unheard::NotSent) => return self.again(Refusal::GraphFailed, "Graph was not reached", None, room),
            Err(Unheard::NoAnswer) => return self.lost("no answer from Graph", room),
        };
        // A token can be revoked at any time. Once: the second refusal is meant.
        if heard.status == 401 && !self.renewed {
            self.renewed = true;
            return Action::Renew;
        }
        if heard.body.len() > MAX_ANSWER_BYTES {
            return self.lost("an answer that is too long", room);
        }
        let step = std::mem::replace(&mut self.step, Step::Look);
        match (step, heard.status) {
            (Step::Create, 201) => match Registered::read(&heard.body) {
                Some(made) => self.made(made, Outcome::Created, room),
                // It is there, whatever was said of it.
                None => {
                    self.may_exist = true;
                    self.go(Step::Find)
                }
            },
            (Step::Create, 204) => {
                self.may_exist = true;
                self.go(Step::Find)
            }
            (Step::Find, 200) => match Registered::read(&heard.body).filter(|found| found.is_ours(room.settings)) {
                Some(found) => self.made(found, Outcome::Shared, room),
                None => {
                    self.step = Step::Find;
                    self.fail(Refusal::GraphFailed, "an answer that is no application", room)
                }
            },
            // It has one already: an answer was lost.
            (Step::Principal(made), 201 | 409) => self.go(Step::Password(made)),
            (Step::Password(made), 200) => match NewPassword::read(&heard.body) {
                Some(password) => self.with_password(*made, password, room),
                None => {
                    self.step = Step::Password(made);
                    self.lost("an answer without a secret", room)
                }
            },
            (Step::Look, 200) => match Registered::read(&heard.body) {
                Some(found) if found.is_ours(room.settings) => self.found(found, room),
                Some(_) => self.fail(Refusal::BadToken, "an application that is not of this gateway", room),
                None => self.fail(Refusal::GraphFailed, "an answer that is no application", room),
            },
            (Step::Change(found), 200 | 204) => match found.changed(&self.application) {
                Some(changed) => self.tell(&changed, None, Outcome::Updated, room),
                None => self.fail(Refusal::GraphFailed, "an answer that is no application", room),
            },
            (Step::Remove, 204) => match &self.order {
                Order::Undo(_) => self.go(Step::Purge),
                Order::Delete(_) | Order::Read(_) | Order::Register(_) | Order::RotateSecret(_) | Order::Update(..) => {
                    self.end(Some(reply::deleted()), Outcome::Deleted, String::new())
                }
            },
            (Step::Retire(found, password, mut old), 204) => {
                if !old.is_empty() {
                    old.remove(0);
                }
                self.retire(*found, password, old, room)
            }
            // Without the permission it stays deleted, for thirty days, and counts against the quota.
            (Step::Purge, status) => {
                let purged = if status == 204 { "deleted for good" } else { "deleted, not for good" };
                self.end(None, Outcome::Undone, purged.to_owned())
            }
            (step, status) => {
                self.step = step;
                self.trouble(status, &heard, room)
            }
        }
    }

    /// There is no token for Graph.
    pub fn no_token(&mut self, fault: &LoginFault, room: &Room<'_>) -> Action {
        match fault {
            LoginFault::NotSigned | LoginFault::Refused(400..=403, _) => {
                self.fail(Refusal::LoginFailed, &format!("no token for Graph: {fault}"), room)
            }
            LoginFault::Answer | LoginFault::NoAnswer | LoginFault::Refused(..) => {
                self.again(Refusal::LoginFailed, &format!("no token for Graph: {fault}"), None, room)
            }
        }
    }

    fn go(&mut self, step: Step) -> Action {
        self.step = step;
        self.tries = 0;
        Action::Call
    }

    fn made(&mut self, made: Registered, outcome: Outcome, room: &Room<'_>) -> Action {
        let is_confidential = match &self.order {
            Order::Register(metadata) => metadata.platform.is_confidential(),
            Order::Delete(_) | Order::Read(_) | Order::RotateSecret(_) | Order::Undo(_) | Order::Update(..) => false,
        };
        // The secret last: nothing that comes after it can fail.
        if is_confidential { self.go(Step::Principal(Box::new(made))) } else { self.tell(&made, None, outcome, room) }
    }

    fn with_password(&mut self, made: Registered, password: NewPassword, room: &Room<'_>) -> Action {
        match &self.order {
            Order::RotateSecret(_) => {
                let old = made.passwords().into_iter().skip(SECRETS_KEPT).collect();
                self.retire(made, password, old, room)
            }
            Order::Delete(_) | Order::Read(_) | Order::Register(_) | Order::Undo(_) | Order::Update(..) => {
                self.tell(&made, Some(&password), Outcome::Created, room)
            }
        }
    }

    fn retire(&mut self, found: Registered, password: NewPassword, old: Vec<Password>, room: &Room<'_>) -> Action {
        if old.is_empty() {
            return self.tell(&found, Some(&password), Outcome::SecretRotated, room);
        }
        self.go(Step::Retire(Box::new(found), password, old))
    }

    fn found(&mut self, found: Registered, room: &Room<'_>) -> Action {
        match &self.order {
            Order::Update(..) => self.go(Step::Change(Box::new(found))),
            Order::RotateSecret(_) => self.go(Step::Password(Box::new(found))),
            Order::Delete(_) => self.go(Step::Remove),
            Order::Read(_) | Order::Register(_) | Order::Undo(_) => self.tell(&found, None, Outcome::Read, room),
        }
    }

    /// Tells the client what it is.
    fn tell(&self, found: &Registered, password: Option<&NewPassword>, outcome: Outcome, room: &Room<'_>) -> Action {
        let settings = room.settings;
        let (status, asked, ticket) = match &self.order {
            Order::Register(metadata) => {
                let access = if metadata.platform.is_confidential() { Access::Write } else { Access::Read };
                let ticket = Ticket { client_id: found.client_id.clone(), access, issued_at: room.now / 1_000 };
                (201, Some(metadata.as_ref()), Some(ticket))
            }
            Order::Update(ticket, metadata) => (200, Some(metadata.as_ref()), Some(ticket.clone())),
            Order::Delete(ticket) | Order::Read(ticket) | Order::RotateSecret(ticket) => {
                (200, None, Some(ticket.clone()))
            }
            Order::Undo(_) => (200, None, None),
        };
        let mut client = found.client(asked);
        if let Some(password) = password {
            client.insert("client_secret".to_owned(), password.secret.as_str().into());
            client.insert("client_secret_expires_at".to_owned(), password.expires_at.into());
        }
        let is_of_use = |ticket: &Ticket| match ticket.access {
            Access::Read => settings.allow.read,
            Access::Write => settings.allow.anything(),
        };
        if let Some(token) = ticket.filter(is_of_use).and_then(|ticket| ticket.sign(settings)) {
            let uri = format!("{}/{}", self.endpoint, found.client_id);
            client.insert("registration_client_uri".to_owned(), uri.into());
            client.insert("registration_access_token".to_owned(), token.into());
        }
        let made = Made { client_id: found.client_id.clone(), object_id: found.object_id.clone() };
        let if_unheard = match (&self.order, password) {
            (Order::Register(_), Some(_)) => Unclaimed::Client(made),
            (_, Some(_)) => Unclaimed::Secret(made.client_id),
            (_, None) => Unclaimed::Nothing,
        };
        let note = self.note(outcome, Some(found.client_id.clone()), String::new());
        let answer = Some(reply::client(status, client));
        Action::End(Box::new(End { answer, notes: vec![note], undo: None, if_unheard }))
    }

    fn end(&self, answer: Option<Answer>, outcome: Outcome, detail: String) -> Action {
        let note = self.note(outcome, self.client().cloned(), detail);
        Action::End(Box::new(End { answer, notes: vec![note], undo: None, if_unheard: Unclaimed::Nothing }))
    }

    fn note(&self, outcome: Outcome, client: Option<Guid>, detail: String) -> Note {
        Note { outcome, client, correlation: self.correlation.clone(), detail }
    }

    /// An answer that is not the hoped-for one.
    fn trouble(&mut self, status: u16, heard: &Heard, room: &Room<'_>) -> Action {
        let error = GraphError::read(&heard.body);
        let detail = format!("Graph answered {status} {}", error.code);
        match status {
            429 => {
                let wait = heard.retry_after;
                self.again(Refusal::Throttled(wait.unwrap_or(10)), &detail, wait, room)
            }
            404 if self.may_be_replicating(room) => self.again(Refusal::GraphFailed, &detail, None, room),
            404 => self.missing(&detail, room),
            400 if matches!(self.step, Step::Principal(_)) && error.is_of_replication() => {
                self.again(Refusal::GraphFailed, &detail, None, room)
            }
            // Two at once made the same.
            409 if matches!(self.step, Step::Create) => self.again(Refusal::GraphFailed, &detail, None, room),
            503 if !matches!(self.step, Step::Password(_)) => {
                self.may_exist |= matches!(self.step, Step::Create);
                self.again(Refusal::GraphFailed, &detail, heard.retry_after, room)
            }
            500..=599 | 408 => self.lost(&detail, room),
            _ => self.fail(error.refusal(status), &detail, room),
        }
    }

    /// Whether what was made a moment ago may not be everywhere yet.
    fn may_be_replicating(&self, room: &Room<'_>) -> bool {
        let is_young = |ticket: &Ticket| room.now / 1_000 < ticket.issued_at.saturating_add(YOUNG);
        match (&self.order, &self.step) {
            (_, Step::Create | Step::Purge) => false,
            (Order::Register(_) | Order::Undo(_), _) => true,
            (
                Order::Delete(ticket) | Order::Read(ticket) | Order::RotateSecret(ticket) | Order::Update(ticket, _),
                _,
            ) => is_young(ticket),
        }
    }

    /// The client is not there (RFC 7592 sections 2.1 to 2.3: 401, as for a token that is not good).
    fn missing(&self, detail: &str, room: &Room<'_>) -> Action {
        match (&self.order, &self.step) {
            (Order::Delete(_), Step::Remove) => self.end(Some(reply::deleted()), Outcome::Deleted, detail.to_owned()),
            (_, Step::Look) => self.fail(Refusal::BadToken, detail, room),
            _ => self.fail(Refusal::GraphFailed, detail, room),
        }
    }

    /// Nobody knows whether the call did anything.
    fn lost(&mut self, detail: &str, room: &Room<'_>) -> Action {
        self.may_exist |= matches!(self.step, Step::Create);
        match self.step {
            Step::Password(_) => self.fail(Refusal::GraphFailed, detail, room),
            Step::Change(_)
            | Step::Create
            | Step::Find
            | Step::Look
            | Step::Principal(_)
            | Step::Purge
            | Step::Remove
            | Step::Retire(..) => self.again(Refusal::GraphFailed, detail, None, room),
        }
    }

    /// The same call later, if there is time.
    fn again(&mut self, refusal: Refusal, detail: &str, wait: Option<u64>, room: &Room<'_>) -> Action {
        let doubled = PAUSE_FIRST.saturating_mul(1 << self.tries.min(10)).min(PAUSE_LONGEST);
        let spread = doubled.saturating_add(room.random % (doubled / 4).max(1));
        // Graph's own wish is a minimum.
        let pause = wait.map_or(spread, |seconds| seconds.saturating_mul(1_000).max(spread));
        let then = room.now.saturating_add(pause);
        if then > self.deadline {
            return self.fail(refusal, detail, room);
        }
        self.tries = self.tries.saturating_add(1);
        Action::Wait(then)
    }

    /// Ends badly, and says what must be taken back.
    fn fail(&self, refusal: Refusal, detail: &str, room: &Room<'_>) -> Action {
        let made = |made: &Registered| Made { client_id: made.client_id.clone(), object_id: made.object_id.clone() };
        let mut notes = Vec::new();
        let (mut undo, mut client) = (None, None);
        match (&self.order, &self.step) {
            (Order::Register(metadata), Step::Create | Step::Find) => {
                let is_own = metadata.platform.is_confidential();
                if is_own && self.may_exist {
                    let detail = format!("an application named {} may exist that nobody uses", self.unique_name);
                    notes.push(self.note(Outcome::Orphaned, None, detail));
                }
            }
            (Order::Register(_), Step::Principal(half) | Step::Password(half)) => {
                client = Some(half.client_id.clone());
                undo = Some(made(half));
            }
            (Order::RotateSecret(ticket), Step::Password(_)) => {
                client = Some(ticket.client_id.clone());
                if matches!(refusal, Refusal::GraphFailed) {
                    let detail = "it may have a new secret that nobody has".to_owned();
                    notes.push(self.note(Outcome::Orphaned, client.clone(), detail));
                }
            }
            (Order::RotateSecret(_), Step::Retire(found, password, _)) => {
                let note = "an old secret could not be removed".to_owned();
                notes.push(self.note(Outcome::Orphaned, Some(found.client_id.clone()), note));
                // The new one is good, and nobody else has it.
                if let Action::End(mut end) = self.tell(found, Some(password), Outcome::SecretRotated, room) {
                    end.notes.extend(notes);
                    return Action::End(end);
                }
                notes = Vec::new();
            }
            (Order::Undo(half), _) => {
                let detail = format!("a half-made client may still be there: {detail}");
                return self.end(None, Outcome::Orphaned, format!("{detail}; object {}", half.object_id));
            }
            (
                Order::Delete(ticket) | Order::Read(ticket) | Order::RotateSecret(ticket) | Order::Update(ticket, _),
                _,
            ) => client = Some(ticket.client_id.clone()),
            (Order::Register(_), _) => {}
        }
        // The correlation is of use where Graph had a say.
        let answer = Some(refusal.answer(room.realm, Some(&self.correlation)));
        notes.insert(0, self.note(refusal.outcome(), client, detail.to_owned()));
        Action::End(Box::new(End { answer, notes, undo, if_unheard: Unclaimed::Nothing }))
    }
}

/// Graph's error, of which nothing but the code is told to anybody, and that to the operator.
struct GraphError {
    code: String,
    /// All texts of it, in lower case.
    said: String,
}

impl GraphError {
    fn read(body: &[u8]) -> Self {
        let answer = json::object(body).unwrap_or_default();
        let error = answer.get("error").cloned().unwrap_or_default();
        let code = error.get("code").and_then(Value::as_str).unwrap_or("-");
        let code = code.chars().filter(|character| character.is_ascii_alphanumeric() || *character == '_');
        Self { code: code.take(80).collect(), said: error.to_string().to_ascii_lowercase() }
    }

    fn is_of_replication(&self) -> bool {
        self.said.contains("nobackingapplicationobject") || self.said.contains("does not reference a valid application")
    }

    fn refusal(&self, status: u16) -> Refusal {
        let says = |words: &[&str]| words.iter().any(|word| self.said.contains(word));
        match status {
            400 | 403 if says(&["quotaexceeded", "quota limit"]) => Refusal::Quota,
            400 | 403 if says(&["asperapppolicy", "apppolicy"]) => Refusal::Policy,
            400 if says(&["redirecturi", "replyurl", "reply url", "redirect uri"]) => {
                Refusal::Metadata(MetadataFault {
                    error: MetadataError::RedirectUri,
                    sentence: "The directory refuses one of redirect_uris.".to_owned(),
                })
            }
            400 | 413 | 422 => invalid("The directory refuses a client of this kind."),
            401 | 403 => Refusal::GraphRefused,
            _ => Refusal::GraphFailed,
        }
    }
}

/// Two random numbers as a GUID of version 4.
fn guid([one, other]: [u64; 2]) -> String {
    let one = (one & 0xffff_ffff_ffff_0fff) | 0x4000;
    let other = (other & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    let (one, other) = (format!("{one:016x}"), format!("{other:016x}"));
    let part = |text: &str, range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
    [part(&one, 0..8), part(&one, 8..12), part(&one, 12..16), part(&other, 0..4), part(&other, 4..16)].join("-")
}
