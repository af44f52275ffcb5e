//! The thread that judges tokens: the core's policy, keys and memory, and the requests that wait for keys.
//!
//! What the core shares within a thread stays in this one; questions and fetched keys come in by a channel.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use entra_gate::answer;
use entra_gate::inquiry::heard::Heard;
use entra_gate::jose::signature::Software;
use entra_gate::judge::memory::Memory;
use entra_gate::judge::refusal::Refusal;
use entra_gate::judge::request::Request;
use entra_gate::judge::verdict::{Identity, Lack, Outlook, Recall, Verdict, Want};
use entra_gate::judge::{Given, bearer, judge};
use entra_gate::keys::discovery::FetchFault;
use entra_gate::keys::document::{Document, DocumentId};
use entra_gate::keys::freshness::{Cause, Millis, Progress, millis};
use entra_gate::keys::record::Fetched;
use entra_gate::keys::store::KeyStore;
use entra_gate::policy::sources::Carried;
use entra_gate::policy::{Policy, RevocationPolicy};
use entra_gate::revocation::fingerprint::HashKey;
use entra_gate::revocation::set::Fed;
use entra_gate::revocation::{Entry, Known, Revocations};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::configuration::Configuration;
use super::{Denial, Scope};
use crate::documents::Actor;
use crate::failure::Failure;
use crate::fetching::Fetcher;
use crate::service::clock;

/// Between looks at what is due while nobody asks.
const TICK: Duration = Duration::from_millis(500);
/// How much longer than its two requests a fetch is waited for.
const WAIT_SLACK: Millis = 1_000;
/// How the service's own revocations hold for its callers: as they do at a gate.
const REVOCATION: RevocationPolicy = RevocationPolicy {
    feed: None,
    entries: Vec::new(),
    // Entra's.
    issued_at_backdate: Duration::from_secs(300),
    require_token_id: false,
};
/// Most callers that wait for keys.
const MOST_WAITING: usize = 1_024;

/// What reaches the thread.
pub(super) enum Event {
    Fetched(DocumentId, Result<Fetched, FetchFault>),
    Question(Question),
    /// Revocations that were not told before.
    Revoked(Vec<Entry>),
}

/// Who is it, and may they?
pub(super) struct Question {
    pub(super) scope: Scope,
    /// All values, joined by commas.
    pub(super) authorization: Option<Vec<u8>>,
    pub(super) answer: oneshot::Sender<Result<Actor, Denial>>,
}

/// The thread's own.
pub(super) struct Judging {
    policy: Policy,
    keys: KeyStore,
    memory: Memory,
    /// Whoever is revoked does not manage revocations.
    revocations: Revocations,
    sources: Vec<Option<Source>>,
    waiting: Vec<Waiter>,
    fetcher: Fetcher,
    runtime: Handle,
    events: Sender<Event>,
}

/// A document that is fetched.
struct Source {
    document: Document,
    progress: Progress,
    /// Whether a token named a key that is not held.
    unknown_kid: bool,
}

struct Waiter {
    question: Question,
    /// Whose keys it waited for so far.
    documents: Vec<DocumentId>,
    deadline: Millis,
}

impl Judging {
    /// Starts the thread, which ends when nobody can ask any more.
    pub(super) fn start(configuration: Configuration) -> Result<Sender<Event>, Failure> {
        let fetcher = Fetcher::new(configuration.clusters.clone());
        let fetcher = fetcher.map_err(|error| Failure::here("cannot make an HTTP client", error))?;
        let mut key = [0; 16];
        SystemRandom::new().fill(&mut key).map_err(|_| Failure::here("this system", "there are no random numbers"))?;
        let key = HashKey::new(key);
        let (sender, receiver) = mpsc::channel();
        let (runtime, events) = (Handle::current(), sender.clone());
        let judging = move || {
            // It compiled before; nothing has changed since.
            let Ok(mut policy) = configuration.compile() else { return };
            policy.revocation = Some(REVOCATION);
            let source = |document: &Document| Source {
                document: document.clone(),
                progress: Progress::default(),
                unknown_kid: false,
            };
            let sources = policy.documents.iter().map(|document| document.as_ref().map(source)).collect();
            let keys = policy.key_store();
            let (memory, waiting) = (Memory::default(), Vec::new());
            let mut revocations = Revocations::new([]);
            revocations.fed = Fed::new(key);
            Self { policy, keys, memory, revocations, sources, waiting, fetcher, runtime, events }.run(&receiver);
        };
        thread::Builder::new()
            .name("judging".to_owned())
            .spawn(judging)
            .map_err(|error| Failure::here("cannot start the thread that judges tokens", error))?;
        Ok(sender)
    }

    fn run(mut self, receiver: &Receiver<Event>) {
        loop {
            match receiver.recv_timeout(TICK) {
                Ok(Event::Fetched(id, outcome)) => self.accept(id, outcome),
                Ok(Event::Question(question)) => self.receive(question, Vec::new()),
                Ok(Event::Revoked(entries)) => self.revoke(&entries),
                Err(RecvTimeoutError::Timeout) => {}
                // This thread holds a sender itself, so this is never; and if it were, there is nobody to serve.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.sweep();
            self.fetch_due();
        }
    }

    fn revoke(&mut self, entries: &[Entry]) {
        let (fed, now, mut room) = (&mut self.revocations.fed, clock::seconds(), Vec::new());
        for entry in entries {
            fed.add(fed.key.fingerprint(&entry.subject, &mut room), Known::from(entry), now);
        }
    }

    fn receive(&mut self, question: Question, documents: Vec<DocumentId>) {
        // The caller hung up.
        if question.answer.is_closed() {
            return;
        }
        let now = clock::millis();
        // The only place where a caller's credential may be.
        let header = |name: &String| question.authorization.clone().filter(|_| name == "authorization");
        let headers = self.policy.sources.headers().iter().map(header).collect();
        let request = Request {
            method: "GET".to_owned(),
            authority: String::new(),
            path: question.scope.path().to_owned(),
            preflight: false,
            carried: Carried { headers, parameters: Vec::new() },
        };
        let given = Given {
            policy: &self.policy,
            keys: &self.keys,
            revocations: &self.revocations,
            memory: &self.memory,
            heard: &Heard::default(),
            now,
            signatures: &Software,
        };
        let judgement = judge(&request, &given);
        if let (Verdict::Allow(grant), Recall::Miss) = (&judgement.verdict, judgement.recall) {
            let found = bearer::find(&request.carried, &self.policy.sources).ok().flatten();
            let token = found.and_then(|credential| bearer::b64token(credential.bytes).ok());
            if let (Some(facts), Some(token)) = (grant.facts(), token) {
                self.memory.remember(token, facts);
            }
        }
        match judgement.verdict {
            Verdict::Allow(grant) => {
                let identity = grant.identity().cloned().unwrap_or_default();
                let _ = question.answer.send(Ok(actor(identity)));
            }
            // Such providers are not taken: the service asks nobody.
            Verdict::Ask(ask) => self.refuse(question, &ask.otherwise),
            Verdict::Lack(lack) => self.wait(question, documents, lack, now),
            Verdict::Refuse(refusal) => self.refuse(question, &refusal),
        }
    }

    fn refuse(&self, question: Question, refusal: &Refusal) {
        let answer = answer::answer(refusal, &self.policy.responses);
        let header = |name: &str| {
            let found = answer.headers.iter().find(|(header, _)| *header == name);
            found.map(|(_, value)| value.clone())
        };
        let denial = Denial {
            status: answer.status,
            reason: refusal.reason().code().to_owned(),
            detail: refusal.sentence(),
            challenge: header("www-authenticate"),
            retry_after: header("retry-after"),
        };
        let _ = question.answer.send(Err(denial));
    }

    fn wait(&mut self, question: Question, mut documents: Vec<DocumentId>, lack: Lack, now: Millis) {
        let (id, want) = (lack.document, lack.want);
        let full = self.waiting.len() >= MOST_WAITING;
        let Some(source) = self.sources.get_mut(id.0).and_then(Option::as_mut) else {
            return self.refuse(question, &lack.otherwise);
        };
        let refusal = if documents.contains(&id) || full {
            lack.give_up(&source.progress, &source.document, now, 0)
        } else {
            match lack.outlook(&source.progress, &source.document, now, 0) {
                Outlook::Wait => {
                    source.unknown_kid |= want == Want::Kid;
                    documents.push(id);
                    let patience = millis(source.document.timeout).saturating_mul(2).saturating_add(WAIT_SLACK);
                    self.waiting.push(Waiter { question, documents, deadline: now.saturating_add(patience) });
                    return;
                }
                Outlook::Refuse(refusal) => refusal,
            }
        };
        self.refuse(question, &refusal);
    }

    /// Takes the outcome of a fetch; those who waited for it are judged again from the start.
    fn accept(&mut self, id: DocumentId, outcome: Result<Fetched, FetchFault>) {
        let Some(source) = self.sources.get_mut(id.0).and_then(Option::as_mut) else { return };
        let address = source.document.metadata.to_string();
        match outcome.and_then(|fetched| Ok((fetched.fetched_at, fetched.read(&source.document)?))) {
            Ok((fetched_at, held)) => {
                info!(document = address, keys = held.keys.len(), "keys fetched");
                source.progress = source.progress.succeeded(fetched_at);
                self.keys.accept(id, held);
            }
            Err(fault) => {
                warn!(document = address, %fault, "keys not fetched");
                source.progress = source.progress.failed();
            }
        }
        let ready = self.waiting.extract_if(.., |waiter| waiter.documents.last() == Some(&id));
        for Waiter { question, documents, .. } in ready.collect::<Vec<_>>() {
            self.receive(question, documents);
        }
    }

    /// Answers those whose time is over.
    fn sweep(&mut self) {
        let now = clock::millis();
        let late = self.waiting.extract_if(.., |waiter| waiter.deadline <= now);
        for Waiter { question, documents, .. } in late.collect::<Vec<_>>() {
            self.receive(question, documents);
        }
    }

    fn fetch_due(&mut self) {
        let now = clock::millis();
        let Self { sources, waiting, .. } = self;
        for (at, source) in sources.iter_mut().enumerate() {
            let Some(Source { document, progress, unknown_kid }) = source else { continue };
            // Keys are fetched when somebody first needs them, and kept fresh from then on.
            let needed = waiting.iter().any(|waiter| waiter.documents.last() == Some(&DocumentId(at)));
            let asked = needed || progress.fetched_at > 0;
            let Some(cause) = progress.due(document, now, *unknown_kid, 0).filter(|_| asked) else { continue };
            if cause == Cause::UnknownKid {
                *unknown_kid = false;
            }
            *progress = progress.started(document, now, cause);
            let (fetcher, events, document) = (self.fetcher.clone(), self.events.clone(), document.clone());
            self.runtime.spawn(async move {
                let outcome = fetcher.fetch(&document, clock::millis()).await;
                let _ = events.send(Event::Fetched(DocumentId(at), outcome));
            });
        }
    }
}

fn actor(identity: Identity) -> Actor {
    let Identity { provider, tenant, subject, client, token_id } = identity;
    Actor::Token { provider, tenant, subject, client, token_id }
}
