//! The metrics, defined once at configure time and used by their numbers.
//!
//! What is counted for requests is added up here and told to Envoy with each tick: a call to the host costs a request
//! more than the decision about a remembered token.

use std::cell::Cell;

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::judge::refusal::Reason;
use crate::registration::reply::Outcome;
use crate::signals;

/// The numbers of all metrics.
pub(super) struct Meters {
    allowed: Counter,
    anonymous: Counter,
    recalled: Counter,
    not_recalled: Counter,
    refused: Vec<Counter>,
    revoked_hits: Counter,
    unchecked: Counter,
    token_passed: Counter,
    token_failed: Counter,
    registration: Vec<u32>,
    fetch_ok: u32,
    fetch_failed: u32,
    skipped: u32,
    age_seconds: u32,
    revoked_entries: u32,
    revoked_age_seconds: u32,
    revoked_sequence: u32,
    feed_failed: u32,
    answered: u32,
    unanswered: u32,
    waiting: u32,
    waiting_here: Cell<usize>,
}

/// A counter of requests, with what Envoy has not been told yet.
struct Counter {
    metric: u32,
    untold: Cell<i64>,
}

impl Counter {
    fn count(&self) {
        self.untold.set(self.untold.get().saturating_add(1));
    }

    fn tell(&self) {
        let untold = self.untold.take();
        if untold > 0 {
            add(self.metric, untold);
        }
    }
}

impl Meters {
    /// Defines them. Only while configuring: definitions take a lock of the whole process.
    pub(super) fn define() -> Option<Self> {
        let define = |kind, name: &str| hostcalls::define_metric(kind, name).ok();
        let of_requests =
            |name: &str| Some(Counter { metric: define(MetricType::Counter, name)?, untold: Cell::new(0) });
        let of_fetches = |name: &str| define(MetricType::Counter, name);
        Some(Self {
            allowed: of_requests(signals::ALLOWED)?,
            anonymous: of_requests(signals::ANONYMOUS)?,
            recalled: of_requests(signals::TOKEN_CACHE_HIT)?,
            not_recalled: of_requests(signals::TOKEN_CACHE_MISS)?,
            refused: Reason::ALL.iter().map(|reason| of_requests(&signals::refused(*reason))).collect::<Option<_>>()?,
            revoked_hits: of_requests(signals::REVOCATION_HITS)?,
            unchecked: of_requests(signals::INQUIRIES_UNCHECKED)?,
            token_passed: of_requests(signals::TOKEN_REQUESTS_PASSED)?,
            token_failed: of_requests(signals::TOKEN_REQUESTS_FAILED)?,
            registration: Outcome::ALL
                .iter()
                .map(|outcome| of_fetches(&signals::registration(*outcome)))
                .collect::<Option<_>>()?,
            fetch_ok: of_fetches(signals::KEYS_FETCH_OK)?,
            fetch_failed: of_fetches(signals::KEYS_FETCH_FAILED)?,
            skipped: of_fetches(signals::KEYS_SKIPPED)?,
            age_seconds: define(MetricType::Gauge, signals::KEYS_AGE_SECONDS)?,
            revoked_entries: define(MetricType::Gauge, signals::REVOCATION_ENTRIES)?,
            revoked_age_seconds: define(MetricType::Gauge, signals::REVOCATION_AGE_SECONDS)?,
            revoked_sequence: define(MetricType::Gauge, signals::REVOCATION_SEQUENCE)?,
            feed_failed: of_fetches(signals::REVOCATION_FEED_FAILED)?,
            answered: of_fetches(signals::INQUIRIES_ANSWERED)?,
            unanswered: of_fetches(signals::INQUIRIES_FAILED)?,
            waiting: define(MetricType::Gauge, signals::WAITING)?,
            waiting_here: Cell::new(0),
        })
    }

    /// Tells Envoy what was counted since the last time.
    pub(super) fn tell(&self) {
        let Self {
            allowed,
            anonymous,
            recalled,
            not_recalled,
            refused,
            revoked_hits,
            unchecked,
            token_passed,
            token_failed,
            ..
        } = self;
        let others = [allowed, anonymous, recalled, not_recalled, revoked_hits, unchecked, token_passed, token_failed];
        for counter in others.into_iter().chain(refused) {
            counter.tell();
        }
    }

    pub(super) fn allowed(&self, is_unchecked: bool) {
        self.allowed.count();
        if is_unchecked {
            self.unchecked.count();
        }
    }

    pub(super) fn anonymous(&self) {
        self.anonymous.count();
    }

    pub(super) fn refused(&self, reason: Reason) {
        if reason == Reason::TokenRevoked {
            self.revoked_hits.count();
        }
        let at = Reason::ALL.iter().position(|known| *known == reason);
        if let Some(metric) = at.and_then(|at| self.refused.get(at)) {
            metric.count();
        }
    }

    pub(super) fn token_passed(&self) {
        self.token_passed.count();
    }

    pub(super) fn token_failed(&self) {
        self.token_failed.count();
    }

    pub(super) fn registration(&self, outcome: Outcome) {
        let at = Outcome::ALL.iter().position(|known| *known == outcome);
        if let Some(metric) = at.and_then(|at| self.registration.get(at)) {
            add(*metric, 1);
        }
    }

    pub(super) fn recalled(&self) {
        self.recalled.count();
    }

    pub(super) fn not_recalled(&self) {
        self.not_recalled.count();
    }

    pub(super) fn fetched(&self, skipped: usize) {
        add(self.fetch_ok, 1);
        if let Ok(skipped @ 1..) = i64::try_from(skipped) {
            add(self.skipped, skipped);
        }
    }

    pub(super) fn fetch_failed(&self) {
        add(self.fetch_failed, 1);
    }

    pub(super) fn age_seconds(&self, age: u64) {
        let _ = hostcalls::record_metric(self.age_seconds, age);
    }

    pub(super) fn feed_failed(&self) {
        add(self.feed_failed, 1);
    }

    pub(super) fn answered(&self) {
        add(self.answered, 1);
    }

    pub(super) fn unanswered(&self) {
        add(self.unanswered, 1);
    }

    /// Tells what this worker holds of the feed. The gauges are the process's: all workers come to hold the same.
    pub(super) fn revocations(&self, entries: usize, sequence: u64, age_seconds: u64) {
        let _ = hostcalls::record_metric(self.revoked_entries, u64::try_from(entries).unwrap_or(u64::MAX));
        let _ = hostcalls::record_metric(self.revoked_sequence, sequence);
        let _ = hostcalls::record_metric(self.revoked_age_seconds, age_seconds);
    }

    /// Tells how many requests wait here; the gauge adds up all workers.
    pub(super) fn waiting(&self, count: usize) {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let difference = signed(count).saturating_sub(signed(self.waiting_here.replace(count)));
        if difference != 0 {
            add(self.waiting, difference);
        }
    }
}

/// A configuration that is replaced has been counting since its last tick.
impl Drop for Meters {
    fn drop(&mut self) {
        self.tell();
    }
}

fn add(metric: u32, amount: i64) {
    let _ = hostcalls::increment_metric(metric, amount);
}
