//! An entry in sixteen bytes: fingerprint, time, expiry. The form of packed feeds and of what workers share.
//!
//! Only rules of one time fit; a rule with a lift travels as what it is, an [`Entry`](super::Entry).

use super::fingerprint::Fingerprint;
use super::rule::{Rule, Time};

/// Bytes of a record: eight of the fingerprint, four of the time, four of the expiry, all big-endian.
pub const RECORD_BYTES: usize = 16;

/// A subject by its fingerprint, with a rule of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Whom it is about.
    pub fingerprint: Fingerprint,
    /// `not_before`; of a block, since when.
    pub time: Time,
    /// When it may be forgotten.
    pub expiry: Expiry,
}

/// When a record may be forgotten, to two seconds, and whether it is a block: the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(u32);

impl Expiry {
    const NEVER: u32 = u32::MAX - 1;
    const BLOCKED: u32 = 1;

    /// Rounded up: an entry is never forgotten early.
    #[must_use]
    pub fn new(expires: Option<Time>, blocked: bool) -> Self {
        let even = expires.map_or(Self::NEVER, |time| time.min(Self::NEVER).next_multiple_of(2));
        Self(even | u32::from(blocked))
    }

    /// From a record's last four bytes.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// A record's last four bytes.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The time; none for never.
    #[must_use]
    pub fn expires(self) -> Option<Time> {
        Some(self.0 & !Self::BLOCKED).filter(|time| *time != Self::NEVER)
    }

    /// Whether the record is a block.
    #[must_use]
    pub fn is_block(self) -> bool {
        self.0 & Self::BLOCKED != 0
    }

    /// Whether the time has come.
    #[must_use]
    pub fn is_over(self, now: u64) -> bool {
        self.expires().is_some_and(|expires| u64::from(expires) <= now)
    }
}

impl Record {
    /// The record of a rule; none if it does not fit into one time.
    #[must_use]
    pub fn of(fingerprint: Fingerprint, rule: Rule, expires: Option<Time>) -> Option<Self> {
        let (time, blocked) = match rule {
            Rule { not_before: Some(time), blocked_since: None, unblocked_at: None } => (time, false),
            // What was revoked before the block is revoked by any lift after it.
            Rule { not_before, blocked_since: Some(since), unblocked_at: None } if not_before <= Some(since) => {
                (since, true)
            }
            _ => return None,
        };
        Some(Self { fingerprint, time, expiry: Expiry::new(expires, blocked) })
    }

    /// What it says.
    #[must_use]
    pub fn rule(self) -> Rule {
        if self.expiry.is_block() { Rule::blocked(self.time) } else { Rule::not_before(self.time) }
    }

    /// The sixteen bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (fingerprint, times) = bytes.split_at_mut(8);
        let (time, expiry) = times.split_at_mut(4);
        fingerprint.copy_from_slice(&self.fingerprint.to_be_bytes());
        time.copy_from_slice(&self.time.to_be_bytes());
        expiry.copy_from_slice(&self.expiry.bits().to_be_bytes());
        bytes
    }

    /// From sixteen bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Self {
        let all = u128::from_be_bytes(*bytes);
        #[allow(clippy::cast_possible_truncation, reason = "each takes its part")]
        let (fingerprint, time, expiry) = ((all >> 64) as u64, (all >> 32) as u32, all as u32);
        Self { fingerprint, time, expiry: Expiry::from_bits(expiry) }
    }

    /// The records of some bytes; none if they do not come out even.
    #[must_use]
    pub fn all(bytes: &[u8]) -> Option<impl Iterator<Item = Self>> {
        let (records, rest) = bytes.as_chunks();
        rest.is_empty().then(|| records.iter().map(Self::from_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_their_bytes() {
        for rule in [Rule::not_before(0), Rule::not_before(u32::MAX), Rule::blocked(0), Rule::blocked(1_760_000_001)] {
            for expires in [None, Some(0), Some(2), Some(1_760_000_000), Some(u32::MAX - 3)] {
                let record = Record::of(0x0102_0304_0506_0708, rule, expires).unwrap();
                let bytes = record.to_bytes();
                assert_eq!(bytes[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
                assert_eq!(Record::from_bytes(&bytes), record);
                assert_eq!((record.rule(), record.expiry.expires()), (rule, expires), "{record:?}");
                assert_eq!(Record::all(&bytes).unwrap().collect::<Vec<_>>(), [record]);
            }
        }
        assert!(Record::all(&[0; 17]).is_none());
    }

    #[test]
    fn expiry_is_rounded_up() {
        assert_eq!(Expiry::new(Some(9), false).expires(), Some(10));
        assert_eq!(Expiry::new(Some(u32::MAX), true).expires(), None);
        let expiry = Expiry::new(Some(10), true);
        assert!(!expiry.is_over(9) && expiry.is_over(10) && !Expiry::new(None, true).is_over(u64::MAX));
    }

    #[test]
    fn rules_of_several_times_do_not_fit() {
        let block = Rule::blocked(5);
        for (rule, fits) in [
            (Rule::default(), false),
            (Rule { not_before: Some(5), ..block }, true),
            (Rule { not_before: Some(6), ..block }, false),
            (Rule { unblocked_at: Some(4), ..block }, false),
            (Rule { unblocked_at: Some(4), ..Rule::default() }, false),
        ] {
            assert_eq!(Record::of(1, rule, None).is_some(), fits, "{rule:?}");
        }
    }
}
