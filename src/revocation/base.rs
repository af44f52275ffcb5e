//! Many records in little room: sorted blocks, in which a fingerprint is written as its distance from the block's first.
//!
//! A million records are some 500 blocks whose distances take seven bytes: fifteen bytes a record. Blocks are replaced range
//! by range, so that a new set takes the place of an old one without both being held.

use super::fingerprint::Fingerprint;
use super::packed::{Expiry, Record};

/// Most records in a block. With a million of them a block spans less than 2^56 fingerprints.
const BLOCK_RECORDS: usize = 2_048;
/// Bytes of a record beside its distance.
const TIMES: usize = 8;

/// Records by their fingerprints.
#[derive(Default)]
pub struct Base {
    blocks: Vec<Block>,
    records: usize,
}

struct Block {
    first: Fingerprint,
    /// Bytes of a distance: 1 to 8.
    width: usize,
    /// Distance, time, expiry of each record, all little-endian.
    bytes: Box<[u8]>,
}

impl Base {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The bytes that the records take, all told.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let blocks = self.blocks.capacity().saturating_mul(size_of::<Block>());
        self.blocks.iter().map(|block| block.bytes.len()).sum::<usize>().saturating_add(blocks)
    }

    /// The record of a fingerprint.
    #[must_use]
    pub fn get(&self, fingerprint: Fingerprint) -> Option<Record> {
        let after = self.blocks.partition_point(|block| block.first <= fingerprint);
        self.blocks.get(after.checked_sub(1)?)?.get(fingerprint)
    }

    /// The records of a range, both ends included, in order.
    pub fn range(&self, first: Fingerprint, last: Fingerprint) -> impl Iterator<Item = Record> {
        let start = self.blocks.partition_point(|block| block.first <= first).saturating_sub(1);
        let blocks = self.blocks.get(start..).unwrap_or_default().iter().take_while(move |block| block.first <= last);
        let records =
            blocks.flat_map(move |block| (block.lower_bound(first)..block.len()).map_while(|at| block.record(at)));
        records.take_while(move |record| record.fingerprint <= last)
    }

    /// Puts these records in the place of those in a range, both ends included. They are in order and in the range.
    pub fn replace(&mut self, first: Fingerprint, last: Fingerprint, records: &[Record]) {
        let from = self.blocks.partition_point(|block| block.last() < first);
        let to = self.blocks.partition_point(|block| block.first <= last).max(from);
        // What the outermost of the old blocks hold beside the range stays.
        let before: Vec<Record> =
            self.blocks.get(from..to).and_then(<[Block]>::first).map_or_else(Vec::new, |block| {
                block.records().take_while(|record| record.fingerprint < first).collect()
            });
        let after: Vec<Record> =
            self.blocks.get(from..to).and_then(<[Block]>::last).map_or_else(Vec::new, |block| {
                block.records().skip_while(|record| record.fingerprint <= last).collect()
            });
        let new = [before.as_slice(), records, after.as_slice()];
        let new =
            new.into_iter().flat_map(|part| part.chunks(BLOCK_RECORDS)).filter_map(Block::new).collect::<Vec<_>>();
        let count = |blocks: &[Block]| blocks.iter().map(Block::len).sum::<usize>();
        self.records = self.records.saturating_add(count(&new));
        let old = self.blocks.splice(from..to, new).collect::<Vec<_>>();
        self.records = self.records.saturating_sub(count(&old));
    }

    /// How many of the records of some blocks are over, and how many blocks there are.
    #[must_use]
    pub fn count_over(&self, blocks: std::ops::Range<usize>, now: u64) -> (usize, usize) {
        let end = blocks.end.min(self.blocks.len());
        let some = self.blocks.get(blocks.start.min(end)..end).unwrap_or_default();
        let over = some.iter().flat_map(Block::records).filter(|record| record.expiry.is_over(now)).count();
        (over, self.blocks.len())
    }
}

impl Block {
    /// A block of these records; none of none.
    fn new(records: &[Record]) -> Option<Self> {
        let (first, last) = (records.first()?.fingerprint, records.last()?.fingerprint);
        let bits = u64::BITS.saturating_sub(last.wrapping_sub(first).leading_zeros()).max(1);
        let width = usize::try_from(bits.div_ceil(8)).unwrap_or(8);
        let mut bytes = Vec::with_capacity(records.len().saturating_mul(width.saturating_add(TIMES)));
        for record in records {
            let distance = record.fingerprint.wrapping_sub(first).to_le_bytes();
            bytes.extend_from_slice(distance.get(..width).unwrap_or_default());
            bytes.extend_from_slice(&record.time.to_le_bytes());
            bytes.extend_from_slice(&record.expiry.bits().to_le_bytes());
        }
        Some(Self { first, width, bytes: bytes.into_boxed_slice() })
    }

    fn stride(&self) -> usize {
        self.width.saturating_add(TIMES)
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.stride()
    }

    fn last(&self) -> Fingerprint {
        self.len()
            .checked_sub(1)
            .and_then(|at| self.distance(at))
            .map_or(self.first, |last| self.first.wrapping_add(last))
    }

    /// How far the fingerprint of a record is from the first.
    fn distance(&self, at: usize) -> Option<u64> {
        // A record has nine bytes at least: eight can always be read, and those of the times are cut off.
        let eight = self.bytes.get(at.checked_mul(self.stride())?..)?.first_chunk()?;
        let unused = u32::try_from(8_usize.saturating_sub(self.width).saturating_mul(8)).ok()?;
        Some(u64::from_le_bytes(*eight) & (u64::MAX >> unused))
    }

    fn record(&self, at: usize) -> Option<Record> {
        let distance = self.distance(at)?;
        let times = self.bytes.get(at.checked_mul(self.stride())?.checked_add(self.width)?..)?.first_chunk()?;
        let times = u64::from_le_bytes(*times);
        #[allow(clippy::cast_possible_truncation, reason = "each takes its half")]
        let (time, expiry) = (times as u32, Expiry::from_bits((times >> 32) as u32));
        Some(Record { fingerprint: self.first.wrapping_add(distance), time, expiry })
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        (0..self.len()).map_while(|at| self.record(at))
    }

    /// The first place whose fingerprint is not less.
    fn lower_bound(&self, fingerprint: Fingerprint) -> usize {
        let Some(wanted) = fingerprint.checked_sub(self.first) else {
            return 0;
        };
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.distance(middle).is_some_and(|distance| distance < wanted) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }

    fn get(&self, fingerprint: Fingerprint) -> Option<Record> {
        self.record(self.lower_bound(fingerprint)).filter(|record| record.fingerprint == fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn record(fingerprint: u64) -> Record {
        #[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
        let time = fingerprint as u32;
        Record { fingerprint, time, expiry: Expiry::from_bits(time ^ 77) }
    }

    /// A generator that repeats itself in every run.
    fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }

    fn check(base: &Base, model: &BTreeMap<u64, Record>) {
        assert_eq!(base.len(), model.len());
        assert!(base.range(0, u64::MAX).eq(model.values().copied()));
        for fingerprint in model.keys() {
            assert_eq!(base.get(*fingerprint), model.get(fingerprint).copied());
            for near in [fingerprint.wrapping_add(1), fingerprint.wrapping_sub(1)] {
                assert_eq!(base.get(near), model.get(&near).copied());
            }
        }
    }

    #[test]
    fn ranges_are_replaced_and_the_rest_stays() {
        let mut next = numbers(1);
        let (mut base, mut model) = (Base::default(), BTreeMap::new());
        check(&base, &model);
        for round in 0..200 {
            // Sets as dense as can be, and as wide as can be.
            let mask = if round % 2 == 0 { 0x3fff } else { u64::MAX };
            let (one, other) = (next() & mask, next() & mask);
            let (first, last) = (one.min(other), one.max(other));
            let last = if round % 17 == 0 { u64::MAX } else { last };
            let mut records: Vec<Record> =
                (0..next() % 5_000).map(|_| record((next() & mask).clamp(first, last))).collect();
            records.sort();
            records.dedup();
            base.replace(first, last, &records);
            model.retain(|fingerprint, _| !(first..=last).contains(fingerprint));
            model.extend(records.iter().map(|record| (record.fingerprint, *record)));
            if round % 10 == 9 {
                check(&base, &model);
            }
            let inside = base.range(first, last).map(|record| record.fingerprint);
            assert!(inside.eq(model.range(first..=last).map(|(fingerprint, _)| *fingerprint)));
        }
        base.replace(0, u64::MAX, &[]);
        assert!(base.is_empty());
        assert_eq!(base.get(0), None);
    }

    #[test]
    fn a_million_records_take_less_than_sixteen_bytes_each() {
        const RECORDS: u64 = 1_000_000;
        let nth = |at: u64| record(at * (u64::MAX / RECORDS) + at % 1_000);
        let mut base = Base::default();
        let mut first = 0;
        for start in (0..RECORDS).step_by(4_000) {
            let records: Vec<Record> = (start..start + 4_000).map(nth).collect();
            let last = records.last().unwrap().fingerprint;
            base.replace(first, last, &records);
            first = last + 1;
        }
        assert_eq!(base.len(), 1_000_000);
        assert!(base.bytes() <= 15_100_000, "{}", base.bytes());
        assert!((0..RECORDS).step_by(9_973).map(nth).all(|record| base.get(record.fingerprint) == Some(record)));
    }

    #[test]
    fn records_that_are_over_are_counted() {
        let record = |fingerprint, expires| Record { fingerprint, time: 1, expiry: Expiry::new(expires, false) };
        let mut base = Base::default();
        base.replace(0, 9, &[record(1, Some(10)), record(2, Some(20)), record(3, None)]);
        assert_eq!(base.count_over(0..9, 9), (0, 1));
        assert_eq!(base.count_over(0..9, 10), (1, 1));
        assert_eq!(base.count_over(0..9, u64::MAX), (2, 1));
        assert_eq!(base.count_over(1..9, u64::MAX), (0, 1));
    }
}
