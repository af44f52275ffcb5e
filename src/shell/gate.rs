//! What the root and the sessions of one plugin share: the policy, the keys, and who waits for them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use super::effects;
use super::host::{self, HostSignatures};
use super::meters::Meters;
use super::shared::Shared;
use super::waiting::{Waiter, Waiting};
use crate::answer::resource::metadata;
use crate::feed::source::Feed;
use crate::judge::bearer;
use crate::judge::memory::Memory;
use crate::judge::refusal::Refusal;
use crate::judge::request::Request;
use crate::judge::verdict::{Grant, Judgement, Lack, Outlook, Recall, Seen, Verdict, Want};
use crate::judge::{Given, judge};
use crate::keys::document::{Document, DocumentId};
use crate::keys::freshness::{Cause, Millis, millis};
use crate::keys::store::KeyStore;
use crate::policy::Policy;
use crate::revocation::Revocations;

/// Between ticks while requests wait.
const TICK_WAITING: Duration = Duration::from_millis(10);
/// Between ticks while there is more of the revocation feed to work at: with turns as short as they are, about a fifth of
/// the worker's time.
const TICK_BUSY: Duration = Duration::from_millis(2);
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
    keys: RefCell<KeyStore>,
    pub(super) revocations: RefCell<Revocations>,
    memory: RefCell<Memory>,
    waiting: RefCell<Waiting>,
    sources: BTreeMap<DocumentId, Source>,
    /// This worker's share of the spread of refreshes.
    jitter: u8,
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

/// What becomes of a request now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    Goes,
    Waits,
}

impl Gate {
    pub(super) fn new(policy: Policy, meters: Meters) -> Self {
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
            waiting: RefCell::default(),
            sources: sources.collect(),
            jitter: u8::try_from(host::random() % 256).unwrap_or_default(),
            policy,
            meters,
        };
        // A VM that is born after a trap starts from what the others hold.
        gate.load_shared();
        gate
    }

    /// Judges a request of the active context and applies what comes out.
    pub(super) fn receive(&self, context: u32, request: Request) -> Fate {
        let resource = self.policy.resource.as_ref();
        if let Some(answer) = resource.and_then(|resource| metadata(resource, &request.method, &request.path)) {
            effects::send(&answer);
            return Fate::Answered;
        }
        let now = host::now();
        let mut judgement = self.judge(&request, now);
        // Another worker may have fetched since the last tick.
        if let Verdict::Lack(lack) = &judgement.verdict
            && self.sources.get(&lack.document).is_some_and(|source| self.load(lack.document, source))
        {
            judgement = self.judge(&request, now);
        }
        self.remember(&request, &judgement);
        let Judgement { verdict, seen, .. } = judgement;
        match verdict {
            Verdict::Allow(grant) => self.allow(&grant),
            Verdict::Lack(lack) => self.wait(context, request, Vec::new(), lack, &seen, now),
            Verdict::Refuse(refusal) => self.refuse(&refusal, &seen),
        }
    }

    /// Answers those whose fetch has ended or whose time is over. Each is judged again from the start.
    pub(super) fn answer_waiters(&self) {
        if self.waiting.borrow().len() == 0 {
            return;
        }
        let now = host::now();
        let outcomes: BTreeMap<DocumentId, u64> =
            self.sources.iter().map(|(id, source)| (*id, source.shared.progress().outcomes)).collect();
        let ready = self.waiting.borrow_mut().take_if(|waiter| {
            let ended = waiter.documents.last().and_then(|id| outcomes.get(id)) != Some(&waiter.outcomes);
            ended || waiter.deadline <= now
        });
        for waiter in ready {
            // A client that hung up has no context any more.
            if hostcalls::set_effective_context(waiter.context).is_ok() && self.settle(waiter, now) == Fate::Goes {
                let _ = hostcalls::resume_http_request();
            }
        }
        self.meters.waiting(self.waiting.borrow().len());
    }

    /// Forgets a stream that is gone.
    pub(super) fn forget(&self, context: u32) {
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
    pub(super) fn set_tick(&self, is_busy: bool) {
        let period = match self.feed() {
            _ if is_busy => TICK_BUSY,
            _ if self.waiting.borrow().len() > 0 => TICK_WAITING,
            Some(_) => TICK_FED,
            None => TICK_IDLE,
        };
        let _ = hostcalls::set_tick_period(period);
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

    fn judge(&self, request: &Request, now: Millis) -> Judgement {
        let given = Given {
            policy: &self.policy,
            keys: &self.keys.borrow(),
            revocations: &self.revocations.borrow(),
            memory: &self.memory.borrow(),
            now,
            signatures: &HostSignatures,
        };
        judge(request, &given)
    }

    /// Counts whether the token was remembered, and remembers one that was verified just now.
    fn remember(&self, request: &Request, judgement: &Judgement) {
        match judgement.recall {
            Recall::Hit => self.meters.recalled(),
            Recall::Miss => self.meters.not_recalled(),
            Recall::None => return,
        }
        let Judgement { verdict: Verdict::Allow(grant), recall: Recall::Miss, .. } = judgement else { return };
        let found = bearer::find(&request.carried, &self.policy.sources).ok().flatten();
        let token = found.and_then(|credential| bearer::b64token(credential.bytes).ok());
        if let (Some(facts), Some(token)) = (grant.facts(), token) {
            self.memory.borrow_mut().remember(token, facts);
        }
    }

    fn allow(&self, grant: &Grant) -> Fate {
        effects::allow(grant, &self.policy, &self.meters);
        Fate::Goes
    }

    fn refuse(&self, refusal: &Refusal, seen: &Seen) -> Fate {
        effects::refuse(refusal, seen, &self.policy, &self.meters);
        Fate::Answered
    }

    fn settle(&self, waiter: Waiter, now: Millis) -> Fate {
        let judgement = self.judge(&waiter.request, now);
        self.remember(&waiter.request, &judgement);
        let Judgement { verdict, seen, .. } = judgement;
        let lack = match verdict {
            Verdict::Allow(grant) => return self.allow(&grant),
            Verdict::Lack(lack) => lack,
            Verdict::Refuse(refusal) => return self.refuse(&refusal, &seen),
        };
        // With two providers a token may lack one document's keys after another's, but none of them twice.
        if waiter.deadline > now && !waiter.documents.contains(&lack.document) {
            return self.wait(waiter.context, waiter.request, waiter.documents, lack, &seen, now);
        }
        let refusal = match self.source(lack.document) {
            Some((document, shared)) => lack.give_up(&shared.progress(), document, now, self.jitter),
            None => lack.otherwise,
        };
        self.refuse(&refusal, &seen)
    }

    fn wait(
        &self,
        context: u32,
        request: Request,
        mut documents: Vec<DocumentId>,
        lack: Lack,
        seen: &Seen,
        now: Millis,
    ) -> Fate {
        let (id, want) = (lack.document, lack.want);
        let Some(Source { document, shared, unknown_kid, .. }) = self.sources.get(&id) else {
            return self.refuse(&lack.otherwise, seen);
        };
        let progress = shared.progress();
        match lack.outlook(&progress, document, now, self.jitter) {
            Outlook::Refuse(refusal) => return self.refuse(&refusal, seen),
            Outlook::Wait => {}
        }
        documents.push(id);
        let deadline = now.saturating_add(millis(document.timeout).saturating_mul(2)).saturating_add(WAIT_SLACK);
        let waiter = Waiter { context, request, documents, outcomes: progress.outcomes, deadline };
        if self.waiting.borrow_mut().add(waiter).is_err() {
            let refusal = Refusal::KeysUnavailable { document: document.metadata.to_string(), retry_after: 1 };
            return self.refuse(&refusal, seen);
        }
        if want == Want::Kid {
            unknown_kid.set(true);
        }
        self.meters.waiting(self.waiting.borrow().len());
        self.set_tick(false);
        Fate::Waits
    }
}
