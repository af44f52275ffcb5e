//! The registration bridge's calls: to the login service and to Graph, by the root context, so that no client that hangs
//! up takes one with it. The core says what to call and when; this does it.

use std::collections::BTreeMap;
use std::time::Instant;

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use super::call::{Request, Response};
use super::desk::Form;
use super::effects;
use super::gate::Gate;
use super::host;
use super::vault::Vault;
use crate::answer::Answer;
use crate::keys::freshness::Millis;
use crate::policy::registration::Registration;
use crate::registration::chain::{self, Action, End, Heard, Job, Note, Order, Room, Unclaimed, Unheard};
use crate::registration::limits::{MAX_ANSWER_BYTES, MAX_IN_HAND};
use crate::registration::login::{self, GraphToken, Login, LoginFault, Standing};
use crate::registration::reply::{Outcome, Refusal};
use crate::signals;

/// Most calls that are sent and requests that are taken up in a turn, together: other requests wait for the end of it.
const MOST_IN_A_TURN: usize = 1;

/// One worker's part of the bridge.
pub(super) struct Registrar {
    login: Login,
    login_call: Option<u32>,
    vault: Vault,
    /// Those that wait for their time, or for a token.
    waiting: Vec<Held>,
    /// Those whose call is out, by its number.
    calling: BTreeMap<u32, Held>,
}

/// A job and who waits for it.
struct Held {
    job: Job,
    /// The client's stream; none if nobody waits.
    context: Option<u32>,
    /// When its call is to be sent.
    due: Millis,
    /// The token that its last call carried.
    token: String,
}

impl Registrar {
    pub(super) fn new(settings: &Registration) -> Self {
        Self {
            login: Login::default(),
            login_call: None,
            vault: Vault::new(settings),
            waiting: Vec::new(),
            calling: BTreeMap::new(),
        }
    }

    /// Does what there is to do; whether there is more to come.
    pub(super) fn turn(&mut self, gate: &Gate, settings: &Registration) -> bool {
        let started = Instant::now();
        if self.step(gate, settings) > 0 {
            host::log(LogLevel::Debug, || format!("registration: a turn of {} µs", started.elapsed().as_micros()));
        }
        !self.waiting.is_empty() || !self.calling.is_empty() || !gate.desk.borrow().is_empty()
    }

    /// How many calls it sent and requests it took up.
    fn step(&mut self, gate: &Gate, settings: &Registration) -> usize {
        let now = host::now();
        let late = gate.desk.borrow_mut().take_late(now);
        for (context, _) in late {
            // Nothing else keeps a body back for so long.
            host::log(LogLevel::Warn, || {
                "registration: a body did not arrive in time; is allow_on_headers_stop_iteration set to true in the \
                 plugin's config?"
                    .to_owned()
            });
            turn_away(gate, context, &Refusal::BodyMissing);
        }
        self.log_in(settings, now);
        // What was begun is ended first.
        let sent = self.send_due(gate, settings, MOST_IN_A_TURN, now);
        let ready = gate.desk.borrow_mut().take_ready(MOST_IN_A_TURN.saturating_sub(sent));
        let taken = ready.len();
        for (context, form) in ready {
            self.begin(gate, settings, context, form, now);
        }
        sent.saturating_add(taken)
    }

    /// Takes the answer to a call; whether it was to one of the bridge's.
    pub(super) fn receive(
        &mut self,
        gate: &Gate,
        settings: &Registration,
        token: u32,
        headers: usize,
        body_size: usize,
    ) -> bool {
        let started = Instant::now();
        let is_own = self.hear(gate, settings, token, headers, body_size);
        if is_own {
            host::log(LogLevel::Debug, || format!("registration: an answer, {} µs", started.elapsed().as_micros()));
        }
        is_own
    }

    fn hear(&mut self, gate: &Gate, settings: &Registration, token: u32, headers: usize, body_size: usize) -> bool {
        let now = host::now();
        if self.login_call == Some(token) {
            self.login_call = None;
            let answer = heard(headers, body_size).map_err(|_| LoginFault::NoAnswer);
            let answer = answer.and_then(|heard| GraphToken::read(heard.status, &heard.body, now));
            match answer {
                Ok(token) => {
                    self.vault.put(&token, settings);
                    self.login.take(Ok(token), now);
                }
                Err(fault) => self.no_login(&fault, settings, now),
            }
            return true;
        }
        let Some(mut held) = self.calling.remove(&token) else {
            return false;
        };
        let action = held.job.hear(heard(headers, body_size), &room(gate, settings, now));
        self.act(gate, settings, held, action, now);
        true
    }

    fn begin(&mut self, gate: &Gate, settings: &Registration, context: u32, form: Form, now: Millis) {
        let order = match chain::order(&form.purpose, form.ticket, &form.body, settings) {
            Ok(order) => order,
            Err(refusal) => return turn_away(gate, context, &refusal),
        };
        if let Err(wait) = self.vault.draw(settings, now) {
            return turn_away(gate, context, &Refusal::Rate(wait.div_ceil(1_000)));
        }
        if self.waiting.len().saturating_add(self.calling.len()) >= MAX_IN_HAND {
            return turn_away(gate, context, &Refusal::Rate(1));
        }
        self.add(gate, settings, order, Some(context), form.endpoint, now);
    }

    fn add(
        &mut self,
        gate: &Gate,
        settings: &Registration,
        order: Order,
        context: Option<u32>,
        endpoint: String,
        now: Millis,
    ) {
        let random = [host::random(), host::random(), host::random(), host::random()];
        let job = Job::begin(order, endpoint, random, &room(gate, settings, now));
        self.waiting.push(Held { job, context, due: now, token: String::new() });
    }

    /// Sees to it that there is a token for those that need one: another worker's, or an own one.
    fn log_in(&mut self, settings: &Registration, now: Millis) {
        let wanted = self.waiting.iter().any(|held| held.due <= now);
        if !self.login.is_due(wanted, now) {
            return;
        }
        if let Some(token) = self.vault.get(settings).filter(|token| token.is_fresh(now)) {
            self.login.take(Ok(token), now);
            return;
        }
        if !self.vault.claim(settings, now) || !self.login.ask(settings, wanted, now) {
            return;
        }
        let form = match login::form(settings, now, [host::random(), host::random()], host::sign) {
            Ok(form) => form,
            Err(fault) => return self.no_login(&fault, settings, now),
        };
        let upstream = &settings.login;
        let request = Request {
            cluster: &upstream.cluster,
            timeout: upstream.timeout,
            method: "POST",
            authority: upstream.address.authority(),
            path: upstream.address.path(),
            headers: vec![("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")],
            body: Some(form.as_bytes()),
        };
        match request.send() {
            Some(token) => self.login_call = Some(token),
            None => {
                host::log(LogLevel::Error, || {
                    format!("registration: no token for Graph: cluster {} takes no calls", upstream.cluster)
                });
                self.vault.fail(now);
                self.login.take(Err(LoginFault::NoAnswer), now);
            }
        }
    }

    fn no_login(&mut self, fault: &LoginFault, settings: &Registration, now: Millis) {
        host::log(LogLevel::Error, || {
            format!("registration: no token for Graph from {}: {fault}", settings.login.address)
        });
        self.vault.fail(now);
        self.login.take(Err(fault.clone()), now);
    }

    /// Sends calls whose time has come, at most so many; how many it was.
    fn send_due(&mut self, gate: &Gate, settings: &Registration, most: usize, now: Millis) -> usize {
        let has_to_wait = matches!(self.login.standing(now), Standing::Wait);
        let is_due = |held: &mut Held| held.due <= now && (!has_to_wait || held.job.is_overdue(now));
        let due: Vec<Held> = self.waiting.extract_if(.., is_due).take(most).collect();
        let sent = due.len();
        for mut held in due {
            let fault = match self.login.standing(now) {
                Standing::Token(token) => {
                    held.token = token.to_owned();
                    self.send(gate, settings, held, now);
                    continue;
                }
                Standing::Wait => LoginFault::NoAnswer,
                Standing::Fault(fault) => fault,
            };
            let action = held.job.no_token(&fault, &room(gate, settings, now));
            self.act(gate, settings, held, action, now);
        }
        sent
    }

    fn send(&mut self, gate: &Gate, settings: &Registration, mut held: Held, now: Millis) {
        let call = held.job.call(&room(gate, settings, now));
        let authorization = format!("Bearer {}", held.token);
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("accept", "application/json"),
            ("client-request-id", held.job.correlation()),
        ];
        if call.body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        if call.create_if_missing {
            headers.push(("prefer", "create-if-missing"));
        }
        let upstream = &settings.graph;
        let request = Request {
            cluster: &upstream.cluster,
            timeout: upstream.timeout,
            method: call.method,
            authority: upstream.address.authority(),
            path: &call.path,
            headers,
            body: call.body.as_deref().map(str::as_bytes),
        };
        match request.send() {
            Some(token) => {
                self.calling.insert(token, held);
            }
            None => {
                let action = held.job.hear(Err(Unheard::NotSent), &room(gate, settings, now));
                self.act(gate, settings, held, action, now);
            }
        }
    }

    fn act(&mut self, gate: &Gate, settings: &Registration, mut held: Held, action: Action, now: Millis) {
        match action {
            Action::Call => held.due = now,
            Action::Renew => {
                self.login.reject(&held.token);
                self.vault.reject(&held.token, settings);
                held.due = now;
            }
            Action::Wait(then) => held.due = then,
            Action::End(end) => return self.end(gate, settings, held, *end, now),
        }
        self.waiting.push(held);
    }

    fn end(&mut self, gate: &Gate, settings: &Registration, held: Held, end: End, now: Millis) {
        for note in &end.notes {
            tell(gate, note);
        }
        if let Some(made) = end.undo {
            self.add(gate, settings, Order::Undo(made), None, String::new(), now);
        }
        let (Some(answer), Some(context)) = (end.answer, held.context) else {
            return;
        };
        let outcome = end.notes.first().map(|note| note.outcome);
        if gate.as_stream(context, || send(&answer, outcome)).is_some() {
            return;
        }
        // Whoever hung up has nothing of it.
        let note = |outcome, client, detail: &str| Note {
            outcome,
            client,
            correlation: held.job.correlation().to_owned(),
            detail: detail.to_owned(),
        };
        match end.if_unheard {
            Unclaimed::Client(made) => {
                let detail = "the client hung up before it was told its secret; it is taken back";
                tell(gate, &note(Outcome::ClientGone, Some(made.client_id.clone()), detail));
                self.add(gate, settings, Order::Undo(made), None, String::new(), now);
            }
            Unclaimed::Nothing => tell(gate, &note(Outcome::ClientGone, None, "the client hung up")),
            Unclaimed::Secret(client) => {
                let detail = "the client hung up before it was told its new secret, which nobody has";
                tell(gate, &note(Outcome::Orphaned, Some(client), detail));
            }
        }
    }
}

fn room<'a>(gate: &'a Gate, settings: &'a Registration, now: Millis) -> Room<'a> {
    Room { settings, realm: &gate.policy.responses.realm, now, random: host::random() }
}

/// Answers a request that Graph never hears of.
pub(super) fn turn_away(gate: &Gate, context: u32, refusal: &Refusal) {
    gate.as_stream(context, || refuse(gate, refusal));
}

/// The same for the request of the active context.
pub(super) fn refuse(gate: &Gate, refusal: &Refusal) {
    let outcome = refusal.outcome();
    tell(gate, &Note { outcome, client: None, correlation: "-".to_owned(), detail: refusal.detail() });
    send(&refusal.answer(&gate.policy.responses.realm, None), Some(outcome));
}

fn send(answer: &Answer, outcome: Option<Outcome>) {
    if let Some(outcome) = outcome.filter(|_| answer.status >= 400) {
        let _ = hostcalls::set_property(vec![signals::STATE_REASON], Some(outcome.code().as_bytes()));
    }
    effects::send(answer);
}

fn tell(gate: &Gate, note: &Note) {
    gate.meters.registration(note.outcome);
    let level = if note.outcome.needs_somebody() { LogLevel::Error } else { LogLevel::Info };
    host::log(level, || signals::registration_line(note));
}

/// What a call brought.
fn heard(headers: usize, body_size: usize) -> Result<Heard, Unheard> {
    let response = Response::arrived(headers, body_size).ok_or(Unheard::NoAnswer)?;
    let retry_after = response.number("retry-after");
    // One byte more shows that it is too long.
    let body = response.body(MAX_ANSWER_BYTES.saturating_add(1));
    Ok(Heard { status: response.status, retry_after, body })
}
