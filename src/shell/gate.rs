//! What the root and the sessions of one plugin share: the policy, the keys, who waits, and what workers tell each other.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use super::effects;
use super::host::{self, HostSignatures};
use super::meters::Meters;
use super::waiting::{Waiter, Waiting};
use crate::judge::refusal::Refusal;
use crate::judge::request::Request;
use crate::judge::verdict::{Judgement, Lack, Outlook, Seen, Verdict, Want};
use crate::judge::{Given, judge};
use crate::keys::document::{Document, DocumentId};
use crate::keys::freshness::{Cause, Millis, Progress, millis};
use crate::keys::record::Fetched;
use crate::keys::store::KeyStore;
use crate::policy::Policy;
use crate::revocation::Revocations;

/// Between ticks while requests wait.
const TICK_WAITING: Duration = Duration::from_millis(10);
/// Between ticks otherwise: how soon a worker sees what another fetched.
const TICK_IDLE: Duration = Duration::from_millis(500);
/// How often an update of shared progress is tried again when another worker was faster.
const UPDATE_ATTEMPTS: u32 = 16;
/// How much longer than its two requests a fetch is waited for.
const WAIT_SLACK: Millis = 1_000;

/// The shared state of one plugin in one worker.
pub(super) struct Gate {
    pub(super) policy: Policy,
    pub(super) meters: Meters,
    keys: RefCell<KeyStore>,
    revocations: Revocations,
    waiting: RefCell<Waiting>,
    /// By document: the generation of keys that was loaded here.
    loaded: RefCell<Vec<u64>>,
    /// Documents for which a token named an unknown key.
    unknown_kids: RefCell<BTreeSet<DocumentId>>,
    jitter: u8,
}

/// What becomes of a request now.
pub(super) enum Fate {
    Goes,
    Answered,
    Waits,
}

impl Gate {
    pub(super) fn new(policy: Policy, meters: Meters) -> Self {
        let keys = policy.key_store();
        let entries = policy.revocation.as_ref().map(|revocation| revocation.entries.clone()).unwrap_or_default();
        let gate = Self {
            keys: RefCell::new(keys),
            revocations: Revocations::new(entries),
            waiting: RefCell::default(),
            loaded: RefCell::new(vec![0; policy.documents.len()]),
            unknown_kids: RefCell::default(),
            jitter: host::random().to_le_bytes().into_iter().fold(0, |mixed, byte| mixed ^ byte),
            policy,
            meters,
        };
        for (_, document) in gate.documents() {
            // The first VM writes a record before any other exists: CAS cannot elect among workers that find none.
            if matches!(hostcalls::get_shared_data(&progress_key(document)), Ok((None, _))) {
                let _ =
                    hostcalls::set_shared_data(&progress_key(document), Some(&Progress::default().to_bytes()), None);
            }
        }
        // A VM that is born after a trap starts from what the others hold.
        gate.load_shared();
        gate
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = (DocumentId, &Document)> {
        let fetched = |(at, document): (usize, &'_ Option<Document>)| document.as_ref().map(|_| DocumentId(at));
        self.policy.documents.iter().enumerate().filter_map(fetched).filter_map(|id| Some((id, self.document(id)?)))
    }

    pub(super) fn document(&self, id: DocumentId) -> Option<&Document> {
        self.policy.documents.get(id.0)?.as_ref()
    }

    /// Judges a request of the active context and applies what comes out.
    pub(super) fn receive(&self, context: u32, request: Request) -> Fate {
        let now = host::now();
        let judgement = self.judge(&request, now);
        let Judgement { verdict: Verdict::Lack(lack), seen } = judgement else {
            return self.apply(judgement);
        };
        // Another worker may have fetched since the last tick.
        if self.load_shared() {
            let again = self.judge(&request, now);
            return match again {
                Judgement { verdict: Verdict::Lack(lack), seen } => {
                    self.wait(context, request, Vec::new(), lack, &seen, now)
                }
                settled => self.apply(settled),
            };
        }
        self.wait(context, request, Vec::new(), lack, &seen, now)
    }

    /// Answers those whose fetch has ended or whose time is over. Each is judged again from the start.
    pub(super) fn answer_waiters(&self) {
        if self.waiting.borrow().len() == 0 {
            return;
        }
        let now = host::now();
        let ready = |waiter: &Waiter| {
            waiter.deadline <= now
                || waiter
                    .documents
                    .last()
                    .and_then(|id| self.document(*id))
                    .is_none_or(|document| progress_of(document).0.outcomes != waiter.outcomes)
        };
        let ready = self.waiting.borrow_mut().take_if(ready);
        for waiter in ready {
            // A client that hung up has no context any more.
            if hostcalls::set_effective_context(waiter.context).is_err() {
                continue;
            }
            if let Fate::Goes = self.settle(waiter, now) {
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

    /// Loads what other workers fetched; whether there was anything new.
    pub(super) fn load_shared(&self) -> bool {
        let mut news = false;
        for (id, document) in self.documents() {
            let generation = progress_of(document).0.generation;
            let known = self.loaded.borrow().get(id.0).copied();
            if generation == 0 || known == Some(generation) {
                continue;
            }
            if let Some(loaded) = self.loaded.borrow_mut().get_mut(id.0) {
                *loaded = generation;
            }
            let record = hostcalls::get_shared_data(&keys_key(document)).ok().and_then(|(bytes, _)| bytes);
            match record.as_deref().and_then(Fetched::from_bytes).map(|fetched| fetched.read(document)) {
                Some(Ok(held)) => {
                    self.keys.borrow_mut().accept(id, held);
                    news = true;
                }
                Some(Err(fault)) => {
                    host::log(LogLevel::Warn, || format!("keys of {} from another worker: {fault}", document.metadata));
                }
                None => {}
            }
        }
        news
    }

    /// Takes the fetching of a document upon this worker, if it is due and nobody else was faster.
    pub(super) fn claim(&self, id: DocumentId, document: &Document) -> Option<Cause> {
        let now = host::now();
        let (progress, cas) = progress_of(document);
        let wanted = self.unknown_kids.borrow().contains(&id);
        let cause = progress.due(document, now, wanted, self.jitter)?;
        let started = progress.started(document, now, cause);
        hostcalls::set_shared_data(&progress_key(document), Some(&started.to_bytes()), cas).ok()?;
        self.unknown_kids.borrow_mut().remove(&id);
        Some(cause)
    }

    /// Publishes a good fetch: the keys first, then the news of them.
    pub(super) fn publish(&self, document: &Document, fetched: &Fetched) {
        let _ = hostcalls::set_shared_data(&keys_key(document), Some(&fetched.to_bytes()), None);
        update(document, |progress| progress.succeeded(fetched.fetched_at));
    }

    /// Publishes a fetch that failed.
    pub(super) fn publish_failure(&self, document: &Document) {
        update(document, Progress::failed);
    }

    /// Sets the next tick: soon while somebody waits.
    pub(super) fn set_tick(&self) {
        let period = if self.waiting.borrow().len() == 0 { TICK_IDLE } else { TICK_WAITING };
        let _ = hostcalls::set_tick_period(period);
    }

    /// Tells the age of the oldest keys.
    pub(super) fn tell_age(&self) {
        let now = host::now();
        let keys = self.keys.borrow();
        let ages = self.documents().filter_map(|(id, _)| keys.get(id, now)?.age(now));
        if let Some(oldest) = ages.max() {
            self.meters.age_seconds(oldest.as_secs());
        }
    }

    fn judge(&self, request: &Request, now: Millis) -> Judgement {
        let keys = self.keys.borrow();
        let given = Given {
            policy: &self.policy,
            keys: &keys,
            revocations: &self.revocations,
            now,
            signatures: &HostSignatures,
        };
        judge(request, &given)
    }

    fn apply(&self, judgement: Judgement) -> Fate {
        let Judgement { verdict, seen } = judgement;
        match verdict {
            Verdict::Allow(grant) => {
                effects::allow(&grant, &self.policy, &self.meters);
                Fate::Goes
            }
            Verdict::Refuse(refusal) => self.refuse(&refusal, &seen),
            Verdict::Lack(lack) => self.refuse(&lack.otherwise, &seen),
        }
    }

    fn refuse(&self, refusal: &Refusal, seen: &Seen) -> Fate {
        effects::refuse(refusal, seen, &self.policy, &self.meters);
        Fate::Answered
    }

    fn settle(&self, waiter: Waiter, now: Millis) -> Fate {
        let Judgement { verdict: Verdict::Lack(lack), seen } = self.judge(&waiter.request, now) else {
            let judgement = self.judge(&waiter.request, now);
            return self.apply(judgement);
        };
        let Some(document) = self.document(lack.document) else {
            return self.refuse(&lack.otherwise, &seen);
        };
        if waiter.deadline <= now || waiter.documents.contains(&lack.document) {
            let refusal = lack.give_up(&progress_of(document).0, document, now, self.jitter);
            return self.refuse(&refusal, &seen);
        }
        self.wait(waiter.context, waiter.request, waiter.documents, lack, &seen, now)
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
        let Some(document) = self.document(id) else {
            return self.refuse(&lack.otherwise, seen);
        };
        let progress = progress_of(document).0;
        match lack.outlook(&progress, document, now, self.jitter) {
            Outlook::Refuse(refusal) => return self.refuse(&refusal, seen),
            Outlook::Wait => {}
        }
        documents.push(id);
        let deadline = now.saturating_add(millis(document.timeout).saturating_mul(2)).saturating_add(WAIT_SLACK);
        let waiter = Waiter { context, request, documents, outcomes: progress.outcomes, deadline };
        let added = self.waiting.borrow_mut().add(waiter);
        if added.is_err() {
            let refusal = Refusal::KeysUnavailable { document: document.metadata.to_string(), retry_after: 1 };
            return self.refuse(&refusal, seen);
        }
        if want == Want::Kid {
            self.unknown_kids.borrow_mut().insert(id);
        }
        self.meters.waiting(self.waiting.borrow().len());
        self.set_tick();
        Fate::Waits
    }
}

fn progress_key(document: &Document) -> String {
    format!("entra_gate.progress/{}", document.metadata)
}

fn keys_key(document: &Document) -> String {
    format!("entra_gate.keys/{}", document.metadata)
}

fn progress_of(document: &Document) -> (Progress, Option<u32>) {
    let (bytes, cas) = hostcalls::get_shared_data(&progress_key(document)).unwrap_or_default();
    (bytes.map_or_else(Progress::default, |bytes| Progress::from_bytes(&bytes)), cas)
}

fn update(document: &Document, change: impl Fn(Progress) -> Progress) {
    for _ in 0..UPDATE_ATTEMPTS {
        let (progress, cas) = progress_of(document);
        if hostcalls::set_shared_data(&progress_key(document), Some(&change(progress).to_bytes()), cas).is_ok() {
            return;
        }
    }
}
