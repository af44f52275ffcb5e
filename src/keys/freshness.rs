//! When to fetch a document: one decision for the whole process, from what all workers know.
//!
//! What is held and what is being fetched are apart: a failed fetch never takes keys away (Microsoft's guidance on
//! signing key rollover: refresh in the background, keep the last good set on error, bound what unknown keys can cause).

use std::time::Duration;

use super::document::Document;

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// First pause after a failed fetch; doubled with each further failure.
const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// Longest pause after failed fetches.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Added to the time that two requests may take, before another worker takes a lease over.
const LEASE_SLACK: Duration = Duration::from_secs(2);

/// What all workers know about the fetching of one document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many fetches have ended, well or badly: a waiter that sees it change has its answer.
    pub outcomes: u64,
    /// How many fetches brought keys: a worker that sees it change loads them.
    pub generation: u64,
    /// Fetches that failed since the last good one.
    pub failures: u32,
    /// When keys were last fetched well; 0 before.
    pub fetched_at: Millis,
    /// When a fetch was last started.
    pub started_at: Millis,
    /// When an unknown `kid` last started a fetch.
    pub unknown_kid_at: Millis,
    /// Until when the fetching worker is waited for; 0 when nobody fetches.
    pub lease_until: Millis,
}

/// Why a fetch is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is held, or it becomes old.
    Schedule,
    /// A token named a `kid` that is not held.
    UnknownKid,
}

/// Whether a request that lacks keys should wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// A fetch is running or about to start.
    Soon,
    /// The next fetch starts no sooner than in this time.
    NotBefore(Duration),
}

impl Progress {
    /// Whether this worker should start a fetch now. `jitter` is this process's share, 0 to 255, of the spread that
    /// keeps a fleet from asking all at once.
    #[must_use]
    pub fn due(&self, document: &Document, now: Millis, unknown_kid_wanted: bool, jitter: u8) -> Option<Cause> {
        if self.is_running(now) {
            return None;
        }
        if now >= self.scheduled(document, jitter) {
            return Some(Cause::Schedule);
        }
        (unknown_kid_wanted && now >= self.unknown_kid_from(document)).then_some(Cause::UnknownKid)
    }

    /// What a request that found no keys at all can hope for.
    #[must_use]
    pub fn prospect_of_any(&self, document: &Document, now: Millis, jitter: u8) -> Prospect {
        self.prospect(self.scheduled(document, jitter), now)
    }

    /// What a request whose `kid` is unknown can hope for.
    #[must_use]
    pub fn prospect_of_unknown_kid(&self, document: &Document, now: Millis) -> Prospect {
        self.prospect(self.unknown_kid_from(document), now)
    }

    /// The record of a fetch that starts now.
    #[must_use]
    pub fn started(mut self, document: &Document, now: Millis, cause: Cause) -> Self {
        self.started_at = now;
        if cause == Cause::UnknownKid {
            self.unknown_kid_at = now;
        }
        // Metadata, then keys: two requests.
        self.lease_until =
            now.saturating_add(millis(document.timeout).saturating_mul(2)).saturating_add(millis(LEASE_SLACK));
        self
    }

    /// The record of a fetch that brought keys.
    #[must_use]
    pub fn succeeded(mut self, now: Millis) -> Self {
        self.outcomes = self.outcomes.wrapping_add(1);
        self.generation = self.generation.wrapping_add(1);
        self.failures = 0;
        self.fetched_at = now;
        self.lease_until = 0;
        self
    }

    /// The record of a fetch that did not.
    #[must_use]
    pub fn failed(mut self) -> Self {
        self.outcomes = self.outcomes.wrapping_add(1);
        self.failures = self.failures.saturating_add(1);
        self.lease_until = 0;
        self
    }

    fn is_running(&self, now: Millis) -> bool {
        // A lease from far ahead is a clock that was set back: not to be waited for.
        self.lease_until > now && self.started_at <= now
    }

    fn prospect(&self, from: Millis, now: Millis) -> Prospect {
        if self.is_running(now) || now >= from {
            Prospect::Soon
        } else {
            Prospect::NotBefore(Duration::from_millis(from.saturating_sub(now)))
        }
    }

    fn scheduled(&self, document: &Document, jitter: u8) -> Millis {
        if self.failures > 0 {
            return self.started_at.saturating_add(self.backoff(document));
        }
        if self.fetched_at == 0 {
            return self.lease_until;
        }
        // Early by up to a tenth.
        let refresh = millis(document.refresh);
        let early = refresh.saturating_mul(u64::from(jitter)) / 2560;
        self.fetched_at.saturating_add(refresh.saturating_sub(early))
    }

    fn unknown_kid_from(&self, document: &Document) -> Millis {
        let cooled = self.unknown_kid_at.saturating_add(millis(document.unknown_kid_cooldown));
        // While fetches fail, unknown keys do not hurry the next one.
        if self.failures > 0 { cooled.max(self.started_at.saturating_add(self.backoff(document))) } else { cooled }
    }

    fn backoff(&self, document: &Document) -> Millis {
        let doubled =
            BACKOFF_BASE.saturating_mul(1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX));
        millis(doubled.min(BACKOFF_MAX).min(document.refresh))
    }
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
