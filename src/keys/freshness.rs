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
/// How far ahead of one worker's clock another's record may be.
const CLOCK_SLACK: Duration = Duration::from_secs(10);

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
        if now >= self.scheduled(document, now, jitter) {
            return Some(Cause::Schedule);
        }
        (unknown_kid_wanted && now >= self.unknown_kid_from(document)).then_some(Cause::UnknownKid)
    }

    /// What a request that found no keys at all can hope for.
    #[must_use]
    pub fn prospect_of_any(&self, document: &Document, now: Millis, jitter: u8) -> Prospect {
        self.prospect(self.scheduled(document, now, jitter), now)
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
        self.lease_until > now && !self.was_clock_set_back(now)
    }

    /// Whether the record is from a future that is not going to come soon. Workers read the clock one after another, so
    /// a little ahead is normal.
    fn was_clock_set_back(&self, now: Millis) -> bool {
        self.started_at > now.saturating_add(millis(CLOCK_SLACK))
    }

    fn prospect(&self, from: Millis, now: Millis) -> Prospect {
        if self.is_running(now) || now >= from {
            Prospect::Soon
        } else {
            Prospect::NotBefore(Duration::from_millis(from.saturating_sub(now)))
        }
    }

    fn scheduled(&self, document: &Document, now: Millis, jitter: u8) -> Millis {
        if self.was_clock_set_back(now) {
            return now;
        }
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

#[cfg(test)]
mod tests {
    use super::super::document::{Address, KeysHost};
    use super::*;

    const SECOND: Millis = 1_000;
    const START: Millis = 1_760_000_000_000;

    fn document() -> Document {
        Document {
            metadata: Address::parse("https://login.microsoftonline.com/common").unwrap(),
            issuers: Vec::new(),
            keys_host: KeysHost::SameCloud,
            cluster: "entra".into(),
            timeout: Duration::from_secs(5),
            refresh: Duration::from_secs(3_600),
            unknown_kid_cooldown: Duration::from_secs(30),
            max_age: Duration::from_secs(86_400),
        }
    }

    #[test]
    fn nothing_held_is_due_at_once_and_only_for_one() {
        let document = document();
        let progress = Progress::default();
        assert_eq!(progress.due(&document, START, false, 0), Some(Cause::Schedule));
        let started = progress.started(&document, START, Cause::Schedule);
        assert_eq!(started.due(&document, START + SECOND, true, 0), None);
        assert_eq!(started.prospect_of_any(&document, START + SECOND, 0), Prospect::Soon);
    }

    #[test]
    fn a_lease_that_nobody_ends_is_taken_over() {
        let document = document();
        let started = Progress::default().started(&document, START, Cause::Schedule);
        assert_eq!(started.due(&document, START + 11 * SECOND, false, 0), None);
        assert_eq!(started.due(&document, START + 12 * SECOND, false, 0), Some(Cause::Schedule));
    }

    #[test]
    fn keys_are_refreshed_in_time_with_jitter() {
        let document = document();
        let held = Progress::default().started(&document, START, Cause::Schedule).succeeded(START);
        assert_eq!(held.due(&document, START + 3_599 * SECOND, false, 0), None);
        assert_eq!(held.due(&document, START + 3_600 * SECOND, false, 0), Some(Cause::Schedule));
        assert_eq!(held.due(&document, START + 3_239 * SECOND, false, 255), None);
        assert_eq!(held.due(&document, START + 3_250 * SECOND, false, 255), Some(Cause::Schedule));
    }

    #[test]
    fn unknown_keys_cause_one_fetch_for_each_cool_down() {
        let document = document();
        let held = Progress::default().started(&document, START, Cause::Schedule).succeeded(START);
        // The scheduled fetch does not count: a rotation right after it is picked up at once.
        assert_eq!(held.due(&document, START + SECOND, true, 0), Some(Cause::UnknownKid));
        let asked = held.started(&document, START + SECOND, Cause::UnknownKid).succeeded(START + 2 * SECOND);
        assert_eq!(asked.due(&document, START + 30 * SECOND, true, 0), None);
        let pause = Prospect::NotBefore(Duration::from_secs(1));
        assert_eq!(asked.prospect_of_unknown_kid(&document, START + 30 * SECOND), pause);
        assert_eq!(asked.due(&document, START + 31 * SECOND, true, 0), Some(Cause::UnknownKid));
        assert_eq!(asked.due(&document, START + 31 * SECOND, false, 0), None);
    }

    #[test]
    fn failures_back_off_up_to_half_a_minute() {
        let document = document();
        let mut progress = Progress::default();
        let mut now = START;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            progress = progress.started(&document, now, Cause::Schedule).failed();
            let before = now + pause * SECOND - 1;
            assert_eq!(progress.due(&document, before, true, 0), None, "{pause}");
            assert_eq!(
                progress.prospect_of_any(&document, before, 0),
                Prospect::NotBefore(Duration::from_millis(1)),
                "{pause}"
            );
            now += pause * SECOND;
            assert_eq!(progress.due(&document, now, false, 0), Some(Cause::Schedule), "{pause}");
        }
    }

    #[test]
    fn a_failed_refresh_keeps_when_keys_were_fetched() {
        let document = document();
        let held = Progress::default().started(&document, START, Cause::Schedule).succeeded(START);
        let failed = held.started(&document, START + SECOND, Cause::UnknownKid).failed();
        assert_eq!((failed.fetched_at, failed.generation), (held.fetched_at, held.generation));
        assert_ne!(failed.outcomes, held.outcomes);
        assert_eq!(failed.succeeded(START + 5 * SECOND).failures, 0);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_fetching() {
        let document = document();
        let started = Progress::default().started(&document, START + 1_000_000 * SECOND, Cause::Schedule);
        assert_eq!(started.due(&document, START, false, 0), Some(Cause::Schedule));
        assert_eq!(started.prospect_of_any(&document, START, 0), Prospect::Soon);
        let just_ahead = Progress::default().started(&document, START + SECOND, Cause::Schedule);
        assert_eq!(just_ahead.due(&document, START, false, 0), None);
    }
}
