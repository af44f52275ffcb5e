//! The metrics, defined once at configure time and used by their numbers.

use std::cell::Cell;

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::judge::refusal::Reason;
use crate::signals;

/// The numbers of all metrics.
pub(super) struct Meters {
    allowed: u32,
    anonymous: u32,
    fetch_ok: u32,
    fetch_failed: u32,
    skipped: u32,
    age_seconds: u32,
    recalled: u32,
    not_recalled: u32,
    waiting: u32,
    refused: Vec<u32>,
    waiting_here: Cell<usize>,
}

impl Meters {
    /// Defines them. Only while configuring: definitions take a lock of the whole process.
    pub(super) fn define() -> Option<Self> {
        let define = |kind, name: &str| hostcalls::define_metric(kind, name).ok();
        let counter = |name: &str| define(MetricType::Counter, name);
        Some(Self {
            allowed: counter(signals::ALLOWED)?,
            anonymous: counter(signals::ANONYMOUS)?,
            fetch_ok: counter(signals::KEYS_FETCH_OK)?,
            fetch_failed: counter(signals::KEYS_FETCH_FAILED)?,
            skipped: counter(signals::KEYS_SKIPPED)?,
            age_seconds: define(MetricType::Gauge, signals::KEYS_AGE_SECONDS)?,
            recalled: counter(signals::TOKEN_CACHE_HIT)?,
            not_recalled: counter(signals::TOKEN_CACHE_MISS)?,
            waiting: define(MetricType::Gauge, signals::WAITING)?,
            refused: Reason::ALL.iter().map(|reason| counter(&signals::refused(*reason))).collect::<Option<_>>()?,
            waiting_here: Cell::new(0),
        })
    }

    pub(super) fn allowed(&self) {
        add(self.allowed, 1);
    }

    pub(super) fn anonymous(&self) {
        add(self.anonymous, 1);
    }

    pub(super) fn refused(&self, reason: Reason) {
        let at = Reason::ALL.iter().position(|known| *known == reason);
        if let Some(metric) = at.and_then(|at| self.refused.get(at)) {
            add(*metric, 1);
        }
    }

    pub(super) fn recalled(&self) {
        add(self.recalled, 1);
    }

    pub(super) fn not_recalled(&self) {
        add(self.not_recalled, 1);
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

    /// Tells how many requests wait here; the gauge adds up all workers.
    pub(super) fn waiting(&self, count: usize) {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let difference = signed(count).saturating_sub(signed(self.waiting_here.replace(count)));
        if difference != 0 {
            add(self.waiting, difference);
        }
    }
}

fn add(metric: u32, amount: i64) {
    let _ = hostcalls::increment_metric(metric, amount);
}
