//! How a source is: whether it works, how far behind it is, what came last. Time is an argument.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a source is. Times are Unix seconds.
#[derive(Debug)]
pub(crate) struct Pulse(Mutex<Beat>);

/// What is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    /// Since when it has been running.
    pub(crate) started: u64,
    /// When it last was known to have everything that there is to have.
    pub(crate) current: Option<u64>,
    /// When it last took an event or a change.
    pub(crate) last_event: Option<u64>,
    /// How long after it happened, in seconds, if that was told.
    pub(crate) last_delay: Option<u64>,
    /// Why the last attempt failed; none if it did not.
    pub(crate) failing: Option<String>,
}

impl Pulse {
    pub(crate) fn new(now: u64) -> Self {
        let (current, last_event, last_delay, failing) = (None, None, None, None);
        Self(Mutex::new(Beat { started: now, current, last_event, last_delay, failing }))
    }

    /// An attempt failed; whether that, or why, is news.
    pub(crate) fn failed(&self, why: &str) -> bool {
        let mut beat = self.lock();
        let is_news = beat.failing.as_deref() != Some(why);
        beat.failing = Some(why.to_owned());
        is_news
    }

    /// It has everything now; whether it had failed before.
    pub(crate) fn succeeded(&self, now: u64) -> bool {
        let mut beat = self.lock();
        beat.current = Some(now);
        beat.failing.take().is_some()
    }

    /// It took something that happened then.
    pub(crate) fn took(&self, at: Option<u64>, now: u64) {
        let mut beat = self.lock();
        beat.last_event = Some(now);
        if let Some(at) = at {
            beat.last_delay = Some(now.saturating_sub(at));
        }
    }

    pub(crate) fn beat(&self) -> Beat {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    /// For how many seconds nothing has been certain: since it was last current, or since the start.
    pub(crate) fn lag(&self, now: u64) -> u64 {
        now.saturating_sub(self.current.unwrap_or(self.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_behind_since_it_was_last_current() {
        let pulse = Pulse::new(100);
        assert_eq!(pulse.beat().lag(130), 30);
        assert!(!pulse.succeeded(130));
        assert_eq!(pulse.beat().lag(140), 10);
        assert!(pulse.failed("status 500"));
        assert!(!pulse.failed("status 500"));
        assert!(pulse.failed("status 503"));
        assert_eq!((pulse.beat().lag(150), pulse.beat().failing.as_deref()), (20, Some("status 503")));
        assert!(pulse.succeeded(160));
        assert_eq!(pulse.beat().failing, None);
        pulse.took(Some(150), 162);
        pulse.took(None, 170);
        assert_eq!((pulse.beat().last_event, pulse.beat().last_delay), (Some(170), Some(12)));
    }
}
