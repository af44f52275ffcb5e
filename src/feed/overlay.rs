//! Entries by fingerprint, in no order yet: what a document told, until it is merged with what is held.
//!
//! They lie in 1,024 buckets by their first ten bits, so that putting them in order is many short steps and not one long.

use std::collections::BTreeMap;

use crate::revocation::Known;
use crate::revocation::fingerprint::Fingerprint;
use crate::revocation::packed::Record;

/// How many buckets there are.
pub const BUCKETS: usize = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 10;

/// The entries.
#[derive(Default)]
pub struct Overlay {
    buckets: Vec<Vec<Record>>,
    /// Rules that do not fit into records.
    lifted: BTreeMap<Fingerprint, Known>,
    entries: usize,
}

impl Overlay {
    /// Adds an entry.
    pub fn add(&mut self, fingerprint: Fingerprint, told: Known) {
        self.entries = self.entries.saturating_add(1);
        if self.buckets.is_empty() {
            self.buckets.resize_with(BUCKETS, Vec::new);
        }
        match (told.record(fingerprint), self.buckets.get_mut(bucket_of(fingerprint))) {
            (Some(record), Some(bucket)) => bucket.push(record),
            _ => {
                let merged = self.lifted.get(&fingerprint).map_or(told, |other| other.merge(told));
                self.lifted.insert(fingerprint, merged);
            }
        }
    }

    /// How many were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// What one bucket tells, each fingerprint once and in order.
    #[must_use]
    pub fn bucket(&self, bucket: usize) -> Vec<(Fingerprint, Known)> {
        let mut records = self.buckets.get(bucket).cloned().unwrap_or_default();
        records.sort_unstable();
        let (first, last) = range_of(bucket);
        let lifted = self.lifted.range(first..=last).map(|(fingerprint, known)| (*fingerprint, *known));
        let mut all: Vec<(Fingerprint, Known)> =
            records.into_iter().map(|record| (record.fingerprint, Known::from(record))).chain(lifted).collect();
        all.sort_by_key(|(fingerprint, _)| *fingerprint);
        all.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 = first.1.merge(later.1);
            }
            same
        });
        all
    }

    /// All of it.
    pub fn all(&self) -> impl Iterator<Item = (Fingerprint, Known)> {
        (0..BUCKETS).flat_map(|bucket| self.bucket(bucket))
    }
}

/// The first and the last fingerprint of a bucket.
#[must_use]
pub fn range_of(bucket: usize) -> (Fingerprint, Fingerprint) {
    let first = u64::try_from(bucket).unwrap_or(u64::MAX) << (u64::BITS - BUCKET_BITS);
    (first, first | (u64::MAX >> BUCKET_BITS))
}

fn bucket_of(fingerprint: Fingerprint) -> usize {
    usize::try_from(fingerprint >> (u64::BITS - BUCKET_BITS)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::Rule;

    #[test]
    fn entries_come_out_once_and_in_order() {
        let known = |rule| Known { rule, expires: Some(8) };
        let lift = Rule { unblocked_at: Some(3), ..Rule::default() };
        let mut overlay = Overlay::default();
        assert_eq!(overlay.all().count(), 0);
        let high = u64::MAX - 5;
        for (fingerprint, rule) in [
            (high, Rule::not_before(1)),
            (7, Rule::blocked(2)),
            (high, Rule::not_before(2)),
            (7, lift),
            (3, Rule::not_before(9)),
            (3, Rule::blocked(4)),
            (7, Rule::not_before(1)),
        ] {
            overlay.add(fingerprint, known(rule));
        }
        assert_eq!(overlay.len(), 7);
        let blocked = |since, not_before| Rule { not_before: Some(not_before), ..Rule::blocked(since) };
        assert_eq!(
            overlay.all().collect::<Vec<_>>(),
            [
                (3, known(blocked(4, 9))),
                (7, known(Rule { unblocked_at: Some(3), ..blocked(2, 1) })),
                (high, known(Rule::not_before(2))),
            ]
        );
    }

    #[test]
    fn buckets_cover_everything_once() {
        assert_eq!(range_of(0).0, 0);
        assert_eq!(range_of(BUCKETS - 1).1, u64::MAX);
        for bucket in 1..BUCKETS {
            assert_eq!(range_of(bucket).0, range_of(bucket - 1).1 + 1);
            assert_eq!((bucket_of(range_of(bucket).0), bucket_of(range_of(bucket).1)), (bucket, bucket));
        }
    }
}
