//! Attempts of a source that goes and asks: why one failed, and the pauses between them.

use std::time::Duration;

/// Longest pause, unless whoever is asked wants more.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest that it can want.
const MOST_PATIENCE: Duration = Duration::from_secs(3_600);

/// Why an attempt failed.
pub(super) struct Fault {
    pub(super) why: String,
    /// How long to wait, if that was told.
    pub(super) wait: Option<Duration>,
}

impl Fault {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), wait: None }
    }
}

/// The pauses: an interval, doubled with each failure in a row.
pub(super) struct Pauses {
    interval: Duration,
    failures: u32,
}

impl Pauses {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, failures: 0 }
    }

    /// The one after an attempt that went well.
    pub(super) fn succeeded(&mut self) -> Duration {
        self.failures = 0;
        self.interval
    }

    /// The one after an attempt that failed; `told`: how long to wait, if that was told.
    pub(super) fn failed(&mut self, told: Option<Duration>) -> Duration {
        let doubled = self.interval.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        told.unwrap_or(doubled.min(LONGEST)).min(MOST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_while_attempts_fail_and_whoever_is_asked_may_want_longer_ones() {
        let seconds = Duration::from_secs;
        let mut pauses = Pauses::new(seconds(30));
        assert_eq!(pauses.succeeded(), seconds(30));
        let failed: Vec<Duration> = (0..6).map(|_| pauses.failed(None)).collect();
        assert_eq!(failed, [30, 60, 120, 240, 300, 300].map(seconds));
        assert_eq!(pauses.failed(Some(seconds(900))), seconds(900));
        assert_eq!(pauses.failed(Some(seconds(86_400))), MOST_PATIENCE);
        assert_eq!((pauses.succeeded(), pauses.failed(None)), (seconds(30), seconds(30)));
    }
}
