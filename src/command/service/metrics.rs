//! What the service counts, for Prometheus. Labels come from closed lists; nothing that a caller sends becomes one.

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::feed::{Answer, DocumentKind};

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

/// The meters.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    feed: Family<FeedLabels, Counter>,
    change_seconds: Histogram,
    sequence: Gauge,
    revocations: Gauge,
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
        Self { registry, requests, feed, change_seconds, sequence, revocations, published, not_published }
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
