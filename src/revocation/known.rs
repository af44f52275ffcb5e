//! What is known of a subject, with when it may be forgotten: the rule's times and one more.

use super::entry::Entry;
use super::fingerprint::Fingerprint;
use super::packed::Record;
use super::rule::{Rule, Time};

/// A rule and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The rule.
    pub rule: Rule,
    /// When it may be forgotten; none for never.
    pub expires: Option<Time>,
}

impl Known {
    /// What both tell: the stricter rule, for the longer time.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { rule: self.rule.merge(other.rule), expires: later(self.expires, other.expires) }
    }

    /// What both tell now: what is over tells nothing, and must not live on in what is not.
    #[must_use]
    pub fn merge_at(self, other: Option<Self>, now: u64) -> Self {
        match other.filter(|other| !other.is_over(now)) {
            Some(other) if self.is_over(now) => other,
            Some(other) => self.merge(other),
            None => self,
        }
    }

    /// Whether it may be forgotten.
    #[must_use]
    pub fn is_over(self, now: u64) -> bool {
        self.expires.is_some_and(|expires| u64::from(expires) <= now)
    }

    /// The record that says the same, if one can.
    #[must_use]
    pub fn record(self, fingerprint: Fingerprint) -> Option<Record> {
        Record::of(fingerprint, self.rule, self.expires)
    }
}

impl From<Record> for Known {
    fn from(record: Record) -> Self {
        Self { rule: record.rule(), expires: record.expiry.expires() }
    }
}

impl From<&Entry> for Known {
    fn from(entry: &Entry) -> Self {
        Self { rule: entry.rule, expires: entry.expires }
    }
}

/// The later of two ends; none is never.
fn later(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    Some(one?.max(other?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(rule: Rule, expires: Option<Time>) -> Known {
        Known { rule, expires }
    }

    #[test]
    fn what_is_known_longer_stays_longer() {
        for (one, other, both) in
            [(Some(1), Some(2), Some(2)), (Some(2), Some(1), Some(2)), (None, Some(1), None), (Some(1), None, None)]
        {
            let merged = known(Rule::not_before(1), one).merge(known(Rule::not_before(2), other));
            assert_eq!(merged, known(Rule::not_before(2), both));
        }
    }

    #[test]
    fn what_is_over_does_not_live_on() {
        let (block, newer) = (known(Rule::blocked(0), Some(10)), known(Rule::not_before(20), Some(30)));
        assert_eq!(newer.merge_at(Some(block), 9).rule.effect(), Rule::blocked(0).effect());
        assert_eq!(newer.merge_at(Some(block), 10), newer);
        assert_eq!(block.merge_at(Some(newer), 10), newer);
        assert_eq!(block.merge_at(None, 10), block);
    }
}
