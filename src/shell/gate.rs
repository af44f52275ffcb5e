//! What the root and the sessions of one plugin share: the policy, the keys, and who waits for them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use super::body::Body;
use super::desk::{Desk, Form};
use super::effects::{self, Wish};
use super::host::{self, HostSignatures};
use super::meters::Meters;
use super::registrar;
use super::relay::{Outcome, Relay};
use super::shared::Shared;
use super::waiting::{Awaits, Waiter, Waiting};
use crate::answer::authorization_server::{Reply, refused, reply};
use crate::answer::explanation::End;
use crate::answer::resource::metadata;
use crate::feed::source::Feed;
use crate::inquiry::heard::Heard;
use crate::inquiry::status_list::ListFault;
use crate::inquiry::{Fault, Kind, Question};
use crate::judge::bearer;
use crate::judge::memory::Memory;
use crate::judge::refusal::Refusal;
use crate::judge::request::Request;
use crate::judge::trace::Trace;
use crate::judge::verdict::{Ask, Grant, Judgement, Lack, Outlook, Recall, Seen, Verdict, Want};
use crate::judge::{Given, explain, judge};
use crate::keys::document::{Document, DocumentId};
use crate::keys::freshness::{Cause, Millis, millis};
use crate::keys::store::KeyStore;
use crate::policy::Policy;
use crate::policy::pass_through::{PassThrough, TokenFault};
use crate::policy::registration::Registration;
use crate::registration::access::{Admission, admit};
use crate::registration::reply::{self as registration_reply, Refusal as Unregistered};
use crate::registration::route::Purpose;
use crate::revocation::Revocations;

/// Between ticks while requests wait.
const TICK_WAITING: Duration = Duration::from_millis(3);
/// Between ticks while there is more of the revocation feed to work at: with turns as short as they are, some hundredths of
/// the worker's time.
const TICK_BUSY: Duration = Duration::from_millis(3);
/// Between ticks while clients register, one step of one of them in each: some hundredths of the worker's time, and eight
/// times as many steps as Graph takes writes from an application in the long run, twenty a second (Microsoft Graph's
/// service-specific throttling limits, identity and access).
const TICK_REGISTERING: Duration = Duration::from_millis(6);
/// Between ticks otherwise: how soon a worker sees what another fetched.
const TICK_IDLE: Duration = Duration::from_millis(500);
/// The same with a revocation feed, of whose news every worker is to know soon.
const TICK_FED: Duration = Duration::from_millis(200);
/// How much longer than its two requests a fetch is waited for.
const WAIT_SLACK: Millis = 1_000;

/// The shared state of one plugin in one worker.
pub(super) struct Gate {
    pub(super) policy: Policy,
    pub(super) meters: Meters,
    pub(super) keys: RefCell<KeyStore>,
    pub(super) revocations: RefCell<Revocations>,
    memory: RefCell<Memory>,
    pub(super) heard: RefCell<Heard>,
    waiting: RefCell<Waiting>,
    relay: Relay,
    /// Requests for the registration bridge.
    pub(super) desk: RefCell<Desk>,
    tick: Cell<Duration>,
    sources: BTreeMap<DocumentId, Source>,
    /// This worker's share of the spread of refreshes.
    jitter: u8,
    /// The root context.
    root: u32,
}

/// A document that is fetched.
struct Source {
    document: Document,
    shared: Shared,
    /// The generation of keys that was loaded here.
    loaded: Cell<u64>,
    /// Whether a token named a key that is not held.
    unknown_kid: Cell<bool>,
}

/// What is told of a request: in the log of a refusal, or all of it to whoever asked why.
struct Told {
    seen: Seen,
    trace: Option<Trace>,
}

/// How soon the root has to have its next turn, beside what requests wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once: there is work in steps.
    Busy,
    /// Whenever.
    Calm,
    /// Soon: somebody waits for it.
    Soon,
}

/// What becomes of a request now.
pub(super) enum Fate {
    Answered,
    /// It is for the token endpoint: its body is collected, and given to [`Gate::relay`].
    Collected,
    Goes,
    /// It is for the registration bridge: its body is collected, and given to [`Gate::collect`].
    Registers,
    /// Until this is set.
    Waits(Rc<Cell<bool>>),
}

impl Gate {
    pub(super) fn new(policy: Policy, meters: Meters, root: u32) -> Self {
        let entries = policy.revocation.as_ref().map(|revocation| revocation.entries.clone()).unwrap_or_default();
        let source = |document: &Document| Source {
            document: document.clone(),
            shared: Shared::new(document),
            loaded: Cell::new(0),
            unknown_kid: Cell::new(false),
        };
        let documents = policy.documents.iter().enumerate();
        let sources = documents.filter_map(|(at, document)| Some((DocumentId(at), source(document.as_ref()?))));
        let gate = Self {
            keys: RefCell::new(policy.key_store()),
            revocations: RefCell::new(Revocations::new(entries)),
            memory: RefCell::default(),
            heard: RefCell::default(),
            waiting: RefCell::default(),
            relay: Relay::default(),
            desk: RefCell::default(),
            tick: Cell::default(),
            sources: sources.collect(),
            jitter: u8::try_from(host::random() % 256).unwrap_or_default(),
            root,
            policy,
            meters,
        };
        // A VM that is born after a trap starts from what the others hold.
        gate.load_shared();
        gate
    }

    /// Judges a request of the active context and applies what comes out.
    pub(super) fn receive(&self, context: u32, request: Request, wish: Wish) -> Fate {
        let resource = self.policy.resource.as_ref();
        if let Some(answer) = resource.and_then(|resource| metadata(resource, &request.method, &request.path)) {
            effects::send(&answer);
            return Fate::Answered;
        }
        let server = self.policy.authorization_server.as_ref();
        match server.and_then(|server| reply(server, &request.method, &request.path)) {
            Some(Reply::Answer(answer)) => {
                effects::send(&answer);
                return Fate::Answered;
            }
            Some(Reply::Token(pass_through)) => {
                return match self.relay.begin(context) {
                    Ok(()) => Fate::Collected,
                    Err(fault) => {
                        self.relayed(pass_through, Outcome { context, result: Err(fault) });
                        Fate::Answered
                    }
                };
            }
            None => {}
        }
        self.receive_ordinary(context, request, wish)
    }

    /// Judges a request that is for nothing of the gate's own, or that has to be let through to it.
    fn receive_ordinary(&self, context: u32, request: Request, wish: Wish) -> Fate {
        let now = host::now();
        let mut judged = self.judge(&request, wish, now);
        // Another worker may have fetched since the last tick.
        if let Verdict::Lack(lack) = &judged.0.verdict
            && self.sources.get(&lack.document).is_some_and(|source| self.load(lack.document, source))
        {
            judged = self.judge(&request, wish, now);
        }
        let (Judgement { verdict, seen, recall }, told) = judged;
        self.remember(&request, &verdict, recall, wish);
        let told = Told { seen, trace: told };
        match verdict {
            Verdict::Allow(grant) => self.allow(&grant, told),
            Verdict::Ask(ask) => self.inquire(Waiter::new(context, request, wish), ask, told, now),
            Verdict::Lack(lack) => self.wait(Waiter::new(context, request, wish), lack, told, now),
            Verdict::Refuse(refusal) => self.refuse(&refusal, told),
        }
    }

    /// Takes the body of a token request.
    pub(super) fn relay(&self, context: u32, body: Body) {
        let Some(pass_through) = self.pass_through() else { return };
        match self.relay.take(context, body, pass_through) {
            Ok(()) => self.set_tick(Pace::Calm),
            Err(fault) => self.relayed(pass_through, Outcome { context, result: Err(fault) }),
        }
    }

    /// Sends token requests on, and answers those that ended.
    pub(super) fn turn_relay(&self) {
        let Some(pass_through) = self.pass_through() else { return };
        for outcome in self.relay.turn(pass_through) {
            self.relayed(pass_through, outcome);
        }
    }

    /// Takes the answer to a call; whether it was to a token request.
    pub(super) fn receive_relayed(&self, token: u32, headers: usize, body_size: usize) -> bool {
        let Some(outcome) = self.relay.receive(token, headers, body_size) else {
            return false;
        };
        if let (Some(outcome), Some(pass_through)) = (outcome, self.pass_through()) {
            self.relayed(pass_through, outcome);
        }
        true
    }

    fn pass_through(&self) -> Option<&PassThrough> {
        self.policy.authorization_server.as_ref()?.pass_through()
    }

    fn relayed(&self, pass_through: &PassThrough, Outcome { context, result }: Outcome) {
        let answer = match result {
            Ok(answer) => {
                self.meters.token_passed();
                answer
            }
            Err(fault) => {
                self.meters.token_failed();
                let (endpoint, cluster) = (&pass_through.token_endpoint, &pass_through.cluster);
                host::log(level(fault), || format!("token request failed: {endpoint} by cluster {cluster}: {fault}"));
                refused(fault)
            }
        };
        self.as_stream(context, || effects::send(&answer));
    }

    /// Acts for a request, from wherever; none if its client hung up, for then it has no context any more. Afterwards the
    /// root's is the effective one again: a call that is sent in a request's place would end with its stream.
    pub(super) fn as_stream<T>(&self, context: u32, act: impl FnOnce() -> T) -> Option<T> {
        hostcalls::set_effective_context(context).ok()?;
        let acted = act();
        let _ = hostcalls::set_effective_context(self.root);
        Some(acted)
    }

    /// Answers those whose fetch has ended or whose time is over. Each is judged again from the start.
    pub(super) fn answer_waiters(&self) {
        if self.waiting.borrow().len() == 0 {
            return;
        }
        let now = host::now();
        let outcomes: BTreeMap<DocumentId, u64> =
            self.sources.iter().map(|(id, source)| (*id, source.shared.progress().outcomes)).collect();
        let heard = self.heard.borrow();
        let ready = self.waiting.borrow_mut().take_if(|waiter| {
            let ended = match waiter.awaits {
                Awaits::Answer => waiter.questions.last().is_none_or(|question| !heard.is_open(question)),
                Awaits::Keys => waiter.documents.last().and_then(|id| outcomes.get(id)) != Some(&waiter.outcomes),
            };
            ended || waiter.deadline <= now
        });
        drop(heard);
        for waiter in ready {
            let context = waiter.context;
            self.as_stream(context, || match self.settle(waiter, now) {
                Fate::Answered => self.desk.borrow_mut().forget(context),
                Fate::Goes if self.desk.borrow().has(context) => self.desk.borrow_mut().admit(context),
                Fate::Goes => {
                    let _ = hostcalls::resume_http_request();
                }
                Fate::Collected | Fate::Registers | Fate::Waits(_) => {}
            });
        }
        self.meters.waiting(self.waiting.borrow().len());
    }

    /// Receives a request for the registration bridge. It never goes on to the upstream.
    pub(super) fn receive_registration(
        &self,
        context: u32,
        settings: &Registration,
        purpose: Purpose,
        request: Request,
        wish: Wish,
        is_whole: bool,
    ) -> Fate {
        if let Purpose::Preflight(methods) = &purpose {
            effects::send(&registration_reply::preflight(methods));
            return Fate::Answered;
        }
        let authorization = host::request_header("authorization");
        let (ticket, is_admitted) = match admit(&purpose, authorization.as_deref(), settings) {
            Admission::Admitted(ticket) => (ticket, true),
            Admission::Judge => (None, false),
            Admission::Refused(refusal) => {
                registrar::refuse(self, &refusal);
                return Fate::Answered;
            }
        };
        let is_whole = is_whole || !purpose.reads_body();
        let endpoint = endpoint(settings);
        let form = Form { purpose, ticket, endpoint, body: Vec::new(), is_whole, is_admitted };
        if !self.desk.borrow_mut().open(context, form, host::now()) {
            registrar::refuse(self, &Unregistered::Rate(1));
            return Fate::Answered;
        }
        if !is_admitted {
            match self.receive_ordinary(context, request, wish) {
                Fate::Answered => {
                    self.desk.borrow_mut().forget(context);
                    return Fate::Answered;
                }
                Fate::Goes => self.desk.borrow_mut().admit(context),
                Fate::Collected | Fate::Registers | Fate::Waits(_) => {}
            }
        }
        self.set_tick(Pace::Soon);
        if is_whole { Fate::Answered } else { Fate::Registers }
    }

    /// Takes the body of a request for the bridge.
    pub(super) fn collect(&self, context: u32, body: Body) {
        // Answers are not sent while the desk is borrowed.
        let collected = self.desk.borrow_mut().collect(context, body);
        if collected.is_err() {
            registrar::refuse(self, &Unregistered::BodyTooLarge);
        }
    }

    /// Forgets a stream that is gone.
    pub(super) fn forget(&self, context: u32) {
        self.relay.forget(context);
        if let Ok(mut desk) = self.desk.try_borrow_mut() {
            desk.forget(context);
        }
        if let Ok(mut waiting) = self.waiting.try_borrow_mut() {
            waiting.forget(context);
            self.meters.waiting(waiting.len());
        }
    }

    /// Loads what other workers fetched.
    pub(super) fn load_shared(&self) {
        for (id, source) in &self.sources {
            self.load(*id, source);
        }
    }

    /// The documents that this worker must fetch now: due, and not some other worker's.
    pub(super) fn claim(&self, most: usize) -> Vec<(DocumentId, Cause)> {
        let now = host::now();
        let claim = |(id, source): (&DocumentId, &Source)| {
            let Source { document, shared, unknown_kid, .. } = source;
            let cause = shared.claim(document, now, unknown_kid.get(), self.jitter)?;
            unknown_kid.set(false);
            Some((*id, cause))
        };
        self.sources.iter().filter_map(claim).take(most).collect()
    }

    /// A document that is fetched, and where workers share it.
    pub(super) fn source(&self, id: DocumentId) -> Option<(&Document, &Shared)> {
        self.sources.get(&id).map(|source| (&source.document, &source.shared))
    }

    /// The revocation feed, if there is one.
    pub(super) fn feed(&self) -> Option<&Feed> {
        self.policy.revocation.as_ref()?.feed.as_ref()
    }

    /// Sets the next tick: soon while somebody waits, or while there is more to load.
    pub(super) fn set_tick(&self, pace: Pace) {
        let period = match self.feed() {
            _ if pace == Pace::Busy => TICK_BUSY,
            _ if self.waiting.borrow().len() > 0 || self.relay.is_due() => TICK_WAITING,
            _ if pace == Pace::Soon || !self.desk.borrow().is_empty() => TICK_REGISTERING,
            Some(_) => TICK_FED,
            None => TICK_IDLE,
        };
        // Setting it starts the period anew: whoever does so at every request never ticks.
        if self.tick.replace(period) != period {
            let _ = hostcalls::set_tick_period(period);
        }
    }

    /// Tells what is known of revocations.
    pub(super) fn tell_revocations(&self) {
        let revocations = self.revocations.borrow();
        let fed = &revocations.fed;
        if let Some(age) = fed.age(host::now()) {
            self.meters.revocations(fed.len(), fed.sequence, age.as_secs());
        }
    }

    /// Tells the age of the oldest keys.
    pub(super) fn tell_age(&self) {
        let now = host::now();
        let keys = self.keys.borrow();
        let ages = self.sources.keys().filter_map(|id| keys.get(*id, now)?.age(now));
        if let Some(oldest) = ages.max() {
            self.meters.age_seconds(oldest.as_secs());
        }
    }

    /// Loads one document's keys if another worker has fetched them; whether there was anything new.
    fn load(&self, id: DocumentId, Source { document, shared, loaded, .. }: &Source) -> bool {
        let generation = shared.progress().generation;
        if generation == 0 || loaded.replace(generation) == generation {
            return false;
        }
        match shared.fetched().map(|fetched| fetched.read(document)) {
            Some(Ok(held)) => {
                self.keys.borrow_mut().accept(id, held);
                true
            }
            Some(Err(fault)) => {
                host::log(LogLevel::Warn, || format!("keys of {} from another worker: {fault}", document.metadata));
                false
            }
            None => false,
        }
    }

    fn judge(&self, request: &Request, wish: Wish, now: Millis) -> (Judgement, Option<Trace>) {
        let given = Given {
            policy: &self.policy,
            keys: &self.keys.borrow(),
            revocations: &self.revocations.borrow(),
            memory: &self.memory.borrow(),
            heard: &self.heard.borrow(),
            now,
            signatures: &HostSignatures,
        };
        match wish {
            Wish::Pass => (judge(request, &given), None),
            Wish::Why => {
                let (judgement, trace) = explain(request, &given);
                (judgement, Some(trace))
            }
        }
    }

    /// Counts whether the token was remembered, and remembers one that was verified just now.
    fn remember(&self, request: &Request, verdict: &Verdict, recall: Recall, wish: Wish) {
        match (wish, recall) {
            (Wish::Why, _) | (Wish::Pass, Recall::None) => return,
            (Wish::Pass, Recall::Hit) => self.meters.recalled(),
            (Wish::Pass, Recall::Miss) => self.meters.not_recalled(),
        }
        let (Verdict::Allow(grant), Recall::Miss) = (verdict, recall) else { return };
        let found = bearer::find(&request.carried, &self.policy.sources).ok().flatten();
        if let (Some(facts), Some(token)) = (grant.facts(), found) {
            self.memory.borrow_mut().remember(token.bytes, facts);
        }
    }

    /// Lets a request pass, unless it only asked whether it would.
    fn allow(&self, grant: &Grant, told: Told) -> Fate {
        if let Some(trace) = told.trace {
            effects::tell_why(&trace, &End::Allow(grant), &self.policy);
            return Fate::Answered;
        }
        effects::allow(grant, &self.policy, &self.meters);
        Fate::Goes
    }

    fn refuse(&self, refusal: &Refusal, told: Told) -> Fate {
        match told.trace {
            Some(trace) => effects::tell_why(&trace, &End::Refuse(refusal), &self.policy),
            None => effects::refuse(refusal, &told.seen, &self.policy, &self.meters),
        }
        Fate::Answered
    }

    fn settle(&self, waiter: Waiter, now: Millis) -> Fate {
        let (Judgement { verdict, seen, recall }, mut trace) = self.judge(&waiter.request, waiter.wish, now);
        self.remember(&waiter.request, &verdict, recall, waiter.wish);
        if let Some(trace) = &mut trace {
            let waited = waiter.documents.iter().filter_map(|id| Some(self.source(*id)?.0.metadata.to_string()));
            let asked = waiter.questions.iter().map(|question| self.policy.asked(question));
            trace.waited_for = waited.chain(asked).collect();
        }
        let told = Told { seen, trace };
        let lack = match verdict {
            Verdict::Allow(grant) => {
                let fate = self.allow(&grant, told);
                waiter.goes.set(matches!(fate, Fate::Goes));
                return fate;
            }
            Verdict::Ask(ask) => {
                // With an answer that is over at once, nobody is asked for ever.
                let is_new = waiter.deadline > now && !waiter.questions.contains(&ask.question);
                return if is_new { self.inquire(waiter, ask, told, now) } else { self.refuse(&ask.otherwise, told) };
            }
            Verdict::Lack(lack) => lack,
            Verdict::Refuse(refusal) => return self.refuse(&refusal, told),
        };
        // With two providers a token may lack one document's keys after another's, but none of them twice.
        if waiter.deadline > now && !waiter.documents.contains(&lack.document) {
            return self.wait(waiter, lack, told, now);
        }
        let refusal = match self.source(lack.document) {
            Some((document, shared)) => lack.give_up(&shared.progress(), document, now, self.jitter),
            None => lack.otherwise,
        };
        self.refuse(&refusal, told)
    }

    /// Has a request wait until somebody says something of its token. It is asked with the next tick.
    fn inquire(&self, mut waiter: Waiter, ask: Ask, told: Told, now: Millis) -> Fate {
        let Ask { question, otherwise } = ask;
        let Some(patience) = self.policy.patience(&question) else {
            return self.refuse(&otherwise, told);
        };
        if !self.heard.borrow_mut().ask(&question) {
            return self.refuse(&otherwise, told);
        }
        waiter.questions.push(question);
        waiter.awaits = Awaits::Answer;
        waiter.deadline = now.saturating_add(millis(patience)).saturating_add(WAIT_SLACK);
        let goes = Rc::clone(&waiter.goes);
        if self.waiting.borrow_mut().add(waiter).is_err() {
            return self.refuse(&otherwise, told);
        }
        self.meters.waiting(self.waiting.borrow().len());
        self.set_tick(Pace::Calm);
        Fate::Waits(goes)
    }

    /// A status list that is signed by a key which is not held yet is as good a reason to look as a token is.
    pub(super) fn want_keys_of(&self, question: &Question, fault: &Fault) {
        let providers = self.policy.providers.all();
        let own_keys =
            providers.get(question.provider).and_then(|provider| provider.status_lists.as_ref()?.keys.as_ref());
        if let (Kind::StatusList, Fault::List(ListFault::Key), None) = (question.kind, fault, own_keys)
            && let Some(source) = self.sources.get(&question.document)
        {
            source.unknown_kid.set(true);
        }
    }

    fn wait(&self, mut waiter: Waiter, lack: Lack, told: Told, now: Millis) -> Fate {
        let (id, want) = (lack.document, lack.want);
        let Some(Source { document, shared, unknown_kid, .. }) = self.sources.get(&id) else {
            return self.refuse(&lack.otherwise, told);
        };
        let progress = shared.progress();
        match lack.outlook(&progress, document, now, self.jitter) {
            Outlook::Refuse(refusal) => return self.refuse(&refusal, told),
            Outlook::Wait => {}
        }
        waiter.documents.push(id);
        waiter.awaits = Awaits::Keys;
        waiter.outcomes = progress.outcomes;
        waiter.deadline = now.saturating_add(millis(document.timeout).saturating_mul(2)).saturating_add(WAIT_SLACK);
        let goes = Rc::clone(&waiter.goes);
        if self.waiting.borrow_mut().add(waiter).is_err() {
            let refusal = Refusal::KeysUnavailable { document: document.metadata.to_string(), retry_after: 1 };
            return self.refuse(&refusal, told);
        }
        if want == Want::Kid {
            unknown_kid.set(true);
        }
        self.meters.waiting(self.waiting.borrow().len());
        self.set_tick(Pace::Calm);
        Fate::Waits(goes)
    }
}

/// What a client did wrong is not the operator's concern, unless it may be the plugin that never gets a body.
fn level(fault: TokenFault) -> LogLevel {
    match fault {
        TokenFault::BodyTooLarge | TokenFault::BodyType | TokenFault::GrantMalformed | TokenFault::GrantNotAllowed => {
            LogLevel::Info
        }
        TokenFault::BodyLate
        | TokenFault::Busy
        | TokenFault::NoAnswer
        | TokenFault::NotSent
        | TokenFault::Unusable { .. } => LogLevel::Warn,
    }
}

/// The address of the endpoint, as the client knows it.
fn endpoint(settings: &Registration) -> String {
    let origin = settings.public_url.clone().unwrap_or_else(|| {
        let scheme = host::request_text(":scheme");
        format!("{}://{}", if scheme == "http" { "http" } else { "https" }, host::request_text(":authority"))
    });
    format!("{origin}{}", settings.path)
}
