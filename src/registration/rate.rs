//! The local rate limit: GCRA, whose whole state is one time. So it can be kept where all workers find it.

use crate::keys::freshness::{Millis, millis};
use crate::policy::registration::Rate;

/// When a bucket that is drawn from now would be full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(pub Millis);

impl Bucket {
    /// Takes one out.
    ///
    /// # Errors
    /// It is empty: in how many milliseconds there will be one.
    pub fn take(self, rate: Rate, now: Millis) -> Result<Self, Millis> {
        let interval = millis(rate.interval);
        let each = interval.checked_div(rate.requests.into()).unwrap_or(interval).max(1);
        let full = self.0.max(now).saturating_add(each);
        // One more than fits into the interval.
        match full.saturating_sub(now).checked_sub(interval.max(each)) {
            None | Some(0) => Ok(Self(full)),
            Some(over) => Err(over),
        }
    }

    /// For shared data.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// From shared data; what is not one is a full bucket.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        bytes.try_into().map_or_else(|_| Self::default(), |bytes| Self(u64::from_be_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_after_the_other() {
        let rate = Rate { requests: 3, interval: Duration::from_secs(3) };
        let mut bucket = Bucket::default();
        let now = 1_000_000;
        for _ in 0..3 {
            bucket = bucket.take(rate, now).unwrap();
        }
        assert_eq!(bucket.take(rate, now), Err(1_000));
        assert_eq!(bucket.take(rate, now + 999), Err(1));
        bucket = bucket.take(rate, now + 1_000).unwrap();
        assert_eq!(bucket.take(rate, now + 1_000), Err(1_000));
        for later in 10_000..10_003 {
            bucket = bucket.take(rate, now + later).unwrap();
        }
        assert!(bucket.take(rate, now + 10_003).is_err());
        assert_eq!(Bucket::from_bytes(&bucket.to_bytes()), bucket);
        assert_eq!(Bucket::from_bytes(b"x"), Bucket::default());
    }

    #[test]
    fn a_clock_that_stands_at_the_end_of_time_locks_nobody_in() {
        let rate = Rate { requests: 1, interval: Duration::from_secs(60) };
        assert!(Bucket::default().take(rate, Millis::MAX).is_ok());
    }
}
