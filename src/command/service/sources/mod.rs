//! Sources that feed the one set: the directory, Shared Signals, an OpenID provider's logouts.
//!
//! Each is a pure reading (`directory`, `set`, `logout`) and a thin way in or out. A source that fails never removes an
//! entry and never stops the service: it waits and tries again, and says so.

mod attempt;
mod certificate;
mod configuration;
mod directory;
mod graph;
mod keys;
mod logout;
mod poll;
mod pulse;
mod receiving;
mod set;
mod signal;
mod token;
mod web;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entra_gate::config::Mistake;
use entra_gate::revocation::Subject;
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use uuid::Uuid;

use self::configuration::{Configuration, Kind, Source};
use self::keys::KeyStore;
use self::pulse::Pulse;
pub(crate) use self::receiving::{Receipt, logged_out, pushed};
use self::signal::{Clock, Remark, Signal};
use self::web::Web;
use super::api::Service;
use super::clock;
use super::metrics::SourceOutcome;
use super::standing::{Time, Wish};
use super::store::{Change, ChangeFault, Heard, Told};
use crate::documents::{Members, SourceState};
use crate::failure::Failure;

/// How much longer than it needs a process keeps a source.
const LEASE: Duration = Duration::from_secs(10);

/// All sources.
#[derive(Default)]
pub(crate) struct Sources {
    all: Vec<Arc<Feeding>>,
}

/// The mistakes of a file of sources; `environment` gives the values of the variables that it names.
pub(crate) fn mistakes(document: &Value, environment: &dyn Fn(&str) -> Option<String>) -> Vec<Mistake> {
    Configuration::of_document(document, environment).err().unwrap_or_default()
}

/// A source at work.
pub(crate) struct Feeding {
    source: Source,
    web: Web,
    /// Those of whoever signs what it receives.
    keys: Option<KeyStore>,
    pulse: Pulse,
    /// This process, as one of several that share a database.
    instance: Arc<str>,
    /// Whom a dry run would have blocked.
    rehearsed: Mutex<BTreeSet<Subject>>,
}

impl Sources {
    /// Reads the file that says which there are.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else { return Ok(Self::default()) };
        let Configuration { sources, hosts } = Configuration::read(file, &|name| std::env::var(name).ok())?;
        let web = Web::new(hosts).map_err(|error| Failure::here("cannot make an HTTP client", error))?;
        let (now, instance) = (clock::seconds(), Arc::<str>::from(Uuid::new_v4().to_string()));
        let feeding = |source: Source| {
            let keys = match &source.kind {
                Kind::BackChannelLogout(logout) => Some((&logout.keys, &logout.trust)),
                Kind::Graph(_) => None,
                Kind::SharedSignals(signals) => Some((&signals.keys, &signals.trust)),
            };
            let keys = keys.map(|(keys, trust)| KeyStore::new(keys.clone(), &trust.issuer, web.clone()));
            let (web, pulse, instance) = (web.clone(), Pulse::new(now), Arc::clone(&instance));
            Arc::new(Feeding { source, web, keys, pulse, instance, rehearsed: Mutex::default() })
        };
        Ok(Self { all: sources.into_iter().map(feeding).collect() })
    }

    /// Starts those that go and ask.
    pub(crate) fn start(service: &Arc<Service>) -> Vec<JoinHandle<()>> {
        let mut running = Vec::new();
        for feeding in &service.sources.all {
            let (name, dry_run) = (feeding.name(), feeding.source.dry_run);
            info!(source = name, kind = feeding.source.kind.word(), dry_run, "a source feeds the service");
            let (service, feeding) = (Arc::clone(service), Arc::clone(feeding));
            match &feeding.source.kind {
                Kind::Graph(_) => running.push(tokio::spawn(graph::run(service, feeding))),
                Kind::SharedSignals(signals) if signals.poll.is_some() => {
                    running.push(tokio::spawn(poll::run(service, feeding)));
                }
                Kind::BackChannelLogout(_) | Kind::SharedSignals(_) => {}
            }
        }
        running
    }

    fn named(&self, name: &str) -> Option<&Arc<Feeding>> {
        self.all.iter().find(|feeding| feeding.name() == name)
    }

    /// How each of them is.
    pub(crate) fn states(&self, now: u64) -> Vec<SourceState> {
        let state = |feeding: &Arc<Feeding>| {
            let beat = feeding.pulse.beat();
            SourceState {
                name: feeding.name().to_owned(),
                kind: feeding.source.kind.word().to_owned(),
                dry_run: feeding.source.dry_run,
                healthy: beat.failing.is_none(),
                lag: beat.lag(now),
                current: beat.current,
                last_event: beat.last_event,
                last_delay: beat.last_delay,
                failing: beat.failing,
            }
        };
        self.all.iter().map(state).collect()
    }
}

impl Feeding {
    fn name(&self) -> &str {
        &self.source.name
    }

    /// Whether it is this process that asks, of several that share a database; and if so, for so long. When it has gone,
    /// another one takes its place.
    async fn asks(&self, service: &Service, span: Duration) -> Result<bool, sqlx::Error> {
        if !service.store.is_shared() || self.source.dry_run {
            return Ok(true);
        }
        let now = clock::millis();
        let span = u64::try_from(span.saturating_add(LEASE).as_millis()).unwrap_or(u64::MAX);
        service.store.hold_source(self.name(), &self.instance, now, now.saturating_add(span)).await
    }

    /// An attempt failed: counted always, told when it is news.
    fn failed(&self, service: &Service, why: &str) {
        service.metrics.source_failed(self.name());
        if self.pulse.failed(why) {
            warn!(source = self.name(), why, "a source fails; what it has told so far stays");
        }
    }

    /// It has all that there is to have.
    fn succeeded(&self) {
        if self.pulse.succeeded(clock::seconds()) {
            info!(source = self.name(), "a source works again");
        }
    }
}

fn time_of(service: &Service) -> Clock {
    Clock { now: clock::seconds(), lifetimes: service.lifetimes }
}

/// Takes what a source tells: on disk before this returns, or told and nothing else where it is a rehearsal.
/// `forget_at`: until when the event is to be known again.
async fn take(
    service: &Service,
    feeding: &Feeding,
    signal: Signal,
    forget_at: Time,
    state: Option<String>,
) -> Result<(), ChangeFault> {
    let (name, at) = (feeding.name(), signal.at);
    let unmapped = signal.remarks.iter().filter(|remark| matches!(remark, Remark::Unmapped(_))).count();
    if let Some(state) = signal.remarks.iter().find_map(|remark| match remark {
        Remark::Verified(state) => Some(state.as_deref().unwrap_or_default()),
        Remark::Idle(_) | Remark::Unmapped(_) => None,
    }) {
        info!(source = name, state, "a verification event came");
    }
    let count = |outcome, number| service.metrics.source_told(name, outcome, number);
    if feeding.source.dry_run {
        let told = rehearse(feeding, &signal);
        count(SourceOutcome::Rehearsed, told);
        count(SourceOutcome::Unmapped, unmapped);
        if told > 0 {
            feeding.pulse.took(at, clock::seconds());
        }
        return Ok(());
    }
    let changes: Vec<Change> = signal
        .deeds
        .into_iter()
        .map(|signal::Deed { subject, wish, reason }| Change { subject, wish, reason })
        .collect();
    let remarks: Vec<String> = signal.remarks.iter().filter_map(Remark::told).map(str::to_owned).collect();
    if signal.event.is_none() && changes.is_empty() && remarks.is_empty() && state.is_none() {
        return Ok(());
    }
    let event = signal.event.map(|event| (event, forget_at));
    let told = Told { source: name.to_owned(), event, changes, remarks, state };
    match service.store.hear(&told, clock::millis(), service.lifetimes).await? {
        Heard::Again => count(SourceOutcome::Repeated, 1),
        Heard::Taken { changed, unchanged } => {
            count(SourceOutcome::Changed, changed);
            count(SourceOutcome::Unchanged, unchanged);
            count(SourceOutcome::Unmapped, unmapped);
            if told.event.is_some() || changed > 0 {
                feeding.pulse.took(at, clock::seconds());
            }
            if changed > 0 {
                service.notice().await;
            }
        }
    }
    Ok(())
}

/// Says what would be done; of how much.
fn rehearse(feeding: &Feeding, signal: &Signal) -> usize {
    let (source, event) = (feeding.name(), signal.event.as_deref().unwrap_or_default());
    let mut blocked = feeding.rehearsed.lock().unwrap_or_else(PoisonError::into_inner);
    let mut told: usize = 0;
    for deed in &signal.deeds {
        let is_news = match deed.wish {
            Wish::Block | Wish::BlockUntil(_) => blocked.insert(deed.subject.clone()) || signal.event.is_some(),
            // A directory that is read tells of everybody who is enabled.
            Wish::Lift => blocked.remove(&deed.subject) || signal.event.is_some(),
            Wish::NotBefore(_) => true,
        };
        if !is_news {
            continue;
        }
        told = told.saturating_add(1);
        let subject: Vec<String> =
            Members::of(&deed.subject).given().map(|(name, value)| format!("{name} {value}")).collect();
        info!(source, event, would = %deed, subject = subject.join(", "), reason = deed.reason, "dry run");
    }
    for remark in signal.remarks.iter().filter_map(Remark::told) {
        info!(source, event, remark, "dry run");
    }
    told
}

/// Why the store did not take something.
fn store_fault(fault: &ChangeFault) -> String {
    match fault {
        ChangeFault::Database(_) => "the database failed".to_owned(),
        ChangeFault::Full => "there is no room for another revocation".to_owned(),
    }
}
