//! What the service counts, for Prometheus. Labels come from closed lists; nothing that a caller sends becomes one.

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::feed::{Answer, DocumentKind};
use crate::documents::SourceState;

/// What was answered to a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeedLabels {
    kind: FeedKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum FeedKind {
    Delta,
    NotModified,
    Packed,
    Snapshot,
}

/// Which operation, and the class of its status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// The route as it is written in the code.
    route: String,
    status: u16,
}

/// A source of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
}

/// What became of what a source told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToldLabels {
    source: String,
    outcome: SourceOutcome,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum SourceOutcome {
    /// Something holds that did not hold before.
    Changed,
    /// It was not acceptable.
    Refused,
    /// A dry run told what it would do.
    Rehearsed,
    /// The event had come before.
    Repeated,
    /// It held already, or there was nothing to lift.
    Unchanged,
    /// It cannot be said in the terms of the one set.
    Unmapped,
}

/// How sources are.
#[derive(Default)]
struct SourceMeters {
    told: Family<ToldLabels, Counter>,
    failures: Family<SourceLabels, Counter>,
    up: Family<SourceLabels, Gauge>,
    lag: Family<SourceLabels, Gauge>,
    last_event: Family<SourceLabels, Gauge>,
    delay: Family<SourceLabels, Gauge>,
}

/// The meters.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    feed: Family<FeedLabels, Counter>,
    change_seconds: Histogram,
    sequence: Gauge,
    revocations: Gauge,
    sources: SourceMeters,
    published: Gauge,
    not_published: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("entra_gate_revocations");
        let (requests, feed) = (Family::default(), Family::default());
        let (sequence, revocations) = (Gauge::default(), Gauge::default());
        let (published, not_published) = (Gauge::default(), Counter::default());
        // 1 ms to some 4 s.
        let change_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 13));
        registry.register("requests", "Requests by route and status", Family::clone(&requests));
        registry.register("feed_answers", "Answers to gates by kind", Family::clone(&feed));
        registry.register_with_unit("change", "Until a change is on disk", Unit::Seconds, change_seconds.clone());
        registry.register("sequence", "The last change's place in the feed", sequence.clone());
        registry.register("entries", "Revocations that are held", revocations.clone());
        registry.register("published_sequence", "The last change's place that is published", published.clone());
        registry.register("not_published", "Attempts to publish that failed", not_published.clone());
        let sources = SourceMeters::default();
        let SourceMeters { told, failures, up, lag, last_event, delay } = &sources;
        registry.register("source_told", "What sources told, by what became of it", Family::clone(told));
        registry.register("source_failures", "Failed attempts of sources", Family::clone(failures));
        registry.register("source_up", "1 while the last attempt of a source succeeded", Family::clone(up));
        let help = "For how long a source has not been known to have everything";
        registry.register_with_unit("source_lag", help, Unit::Seconds, Family::clone(lag));
        let help = "When a source last took something, in Unix time";
        registry.register_with_unit("source_last_event_timestamp", help, Unit::Seconds, Family::clone(last_event));
        let help = "How long after it happened the last event was taken";
        registry.register_with_unit("source_last_event_delay", help, Unit::Seconds, Family::clone(delay));
        Self { registry, requests, feed, change_seconds, sequence, revocations, sources, published, not_published }
    }

    /// A source told so many things of which this became.
    pub(crate) fn source_told(&self, source: &str, outcome: SourceOutcome, number: usize) {
        if number > 0 {
            let labels = ToldLabels { source: source.to_owned(), outcome };
            self.sources.told.get_or_create(&labels).inc_by(u64::try_from(number).unwrap_or(u64::MAX));
        }
    }

    /// An attempt of a source failed.
    pub(crate) fn source_failed(&self, source: &str) {
        self.sources.failures.get_or_create(&SourceLabels { source: source.to_owned() }).inc();
    }

    /// How the sources are now.
    pub(crate) fn sources(&self, states: &[SourceState]) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for state in states {
            let labels = SourceLabels { source: state.name.clone() };
            let SourceMeters { up, lag, last_event, delay, .. } = &self.sources;
            up.get_or_create(&labels).set(i64::from(state.healthy));
            lag.get_or_create(&labels).set(number(state.lag));
            for (meter, value) in [(last_event, state.last_event), (delay, state.last_delay)] {
                if let Some(value) = value {
                    meter.get_or_create(&labels).set(number(value));
                }
            }
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), status }).inc();
    }

    /// A gate was answered.
    pub(crate) fn feed_answered(&self, answer: &Answer) {
        let kind = match answer {
            Answer::NotModified(_) => FeedKind::NotModified,
            Answer::Document(document) => match document.kind {
                DocumentKind::Delta => FeedKind::Delta,
                DocumentKind::Packed => FeedKind::Packed,
                DocumentKind::Snapshot => FeedKind::Snapshot,
            },
        };
        self.feed.get_or_create(&FeedLabels { kind }).inc();
    }

    /// A change took so long.
    pub(crate) fn changed(&self, seconds: f64) {
        self.change_seconds.observe(seconds);
    }

    /// What is held now.
    pub(crate) fn held(&self, sequence: u64, revocations: u64) {
        self.sequence.set(i64::try_from(sequence).unwrap_or(i64::MAX));
        self.revocations.set(i64::try_from(revocations).unwrap_or(i64::MAX));
    }

    /// Everything up to this place is published.
    pub(crate) fn published(&self, sequence: u64) {
        self.published.set(i64::try_from(sequence).unwrap_or(i64::MAX));
    }

    /// An attempt to publish failed.
    pub(crate) fn not_published(&self) {
        self.not_published.inc();
    }

    /// Everything, as OpenMetrics text.
    pub(crate) fn text(&self) -> Option<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry).ok().map(|()| text)
    }
}
