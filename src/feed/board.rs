//! What workers leave for each other: values in places, written by the one that fetches, read by all.
//!
//! A generation is a base in chunks and the entries that came since. Its values carry its number and nonce: whoever finds
//! others knows that he came too late or too early. Two generations have places, in turn, so that one can be
//! written while the other is read.

use prost::Message;

use super::standing::Standing;
use crate::revocation::Known;
use crate::revocation::fingerprint::Fingerprint;
use crate::revocation::packed::{RECORD_BYTES, Record};
use crate::revocation::rule::Rule;

/// Most records in a chunk: 16 KB, which are loaded in a tenth of a millisecond.
pub const CHUNK_RECORDS: usize = 1_000;
/// Most entries in a delta, for which workers need less than a millisecond.
pub const DELTA_ENTRIES: usize = 1_000;

/// A place on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A chunk of a generation's base.
    Chunk {
        /// The generation's number, of which only the parity makes a difference.
        parity: u8,
        /// Which chunk.
        index: u32,
    },
    /// Entries that came since.
    Delta {
        /// As above.
        parity: u8,
        /// Which of them.
        index: u32,
    },
}

/// Where values are left: Envoy's shared data, or a map in a test.
pub trait Board {
    /// How the feed stands, and the mark of this version of it.
    fn standing(&self) -> Option<(Standing, u32)>;
    /// Replaces that version; false if it is no longer the last.
    fn swap(&self, standing: &Standing, mark: u32) -> bool;
    /// The value in a place.
    fn read(&self, place: Place) -> Option<Vec<u8>>;
    /// Puts a value there.
    fn write(&self, place: Place, value: &[u8]);
}

/// Which generation a value belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Its number; 0 is none.
    pub number: u64,
    /// Drawn by the worker that writes it: two workers that write the same number do not mix.
    pub nonce: u64,
}

impl Generation {
    /// The place of a chunk.
    #[must_use]
    pub fn chunk(self, index: u32) -> Place {
        Place::Chunk { parity: self.parity(), index }
    }

    /// The place of a delta.
    #[must_use]
    pub fn delta(self, index: u32) -> Place {
        Place::Delta { parity: self.parity(), index }
    }

    /// Which of the two places it has.
    #[must_use]
    pub fn parity(self) -> u8 {
        u8::from(self.number % 2 == 1)
    }

    fn heading(self, index: u32) -> [u8; HEADING_BYTES] {
        let mut heading = [0; HEADING_BYTES];
        let (number, rest) = heading.split_at_mut(8);
        let (nonce, at) = rest.split_at_mut(8);
        number.copy_from_slice(&self.number.to_be_bytes());
        nonce.copy_from_slice(&self.nonce.to_be_bytes());
        at.copy_from_slice(&index.to_be_bytes());
        heading
    }

    /// A chunk.
    #[must_use]
    pub fn write_chunk(self, index: u32, records: &[Record]) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADING_BYTES.saturating_add(records.len().saturating_mul(RECORD_BYTES)));
        value.extend_from_slice(&self.heading(index));
        value.extend(records.iter().flat_map(|record| record.to_bytes()));
        value
    }

    /// The records of a chunk, in strictly ascending order; none if it is not this one.
    #[must_use]
    pub fn read_chunk(self, index: u32, value: &[u8]) -> Option<Vec<Record>> {
        let records: Vec<Record> = Record::all(value.strip_prefix(&self.heading(index))?)?.collect();
        records.is_sorted_by(|one, next| one.fingerprint < next.fingerprint).then_some(records)
    }

    /// A delta.
    #[must_use]
    pub fn write_delta(self, index: u32, told: &[(Fingerprint, Known)]) -> Vec<u8> {
        let entries = told.iter().map(|(fingerprint, known)| DeltaEntry::new(*fingerprint, *known)).collect();
        let mut value = self.heading(index).to_vec();
        value.extend(Delta { entries }.encode_to_vec());
        value
    }

    /// The entries of a delta; none if it is not this one.
    #[must_use]
    pub fn read_delta(self, index: u32, value: &[u8]) -> Option<Vec<(Fingerprint, Known)>> {
        let delta = Delta::decode(value.strip_prefix(&self.heading(index))?).ok()?;
        Some(delta.entries.into_iter().map(DeltaEntry::read).collect())
    }
}

/// Number, nonce, index.
const HEADING_BYTES: usize = 20;

#[derive(Clone, PartialEq, Eq, Message)]
struct Delta {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<DeltaEntry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct DeltaEntry {
    #[prost(fixed64, tag = "1")]
    fingerprint: u64,
    #[prost(fixed32, optional, tag = "2")]
    not_before: Option<u32>,
    #[prost(fixed32, optional, tag = "3")]
    blocked_since: Option<u32>,
    #[prost(fixed32, optional, tag = "4")]
    unblocked_at: Option<u32>,
    #[prost(fixed32, optional, tag = "5")]
    expires: Option<u32>,
}

impl DeltaEntry {
    fn new(fingerprint: Fingerprint, known: Known) -> Self {
        let Known { rule: Rule { not_before, blocked_since, unblocked_at }, expires } = known;
        Self { fingerprint, not_before, blocked_since, unblocked_at, expires }
    }

    fn read(self) -> (Fingerprint, Known) {
        let Self { fingerprint, not_before, blocked_since, unblocked_at, expires } = self;
        (fingerprint, Known { rule: Rule { not_before, blocked_since, unblocked_at }, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::packed::Expiry;

    const ONE: Generation = Generation { number: 7, nonce: 9 };

    #[test]
    fn values_are_read_by_the_generation_that_wrote_them() {
        let record = |fingerprint| Record { fingerprint, time: 5, expiry: Expiry::new(Some(8), true) };
        let records = [record(1), record(2)];
        let chunk = ONE.write_chunk(3, &records);
        assert_eq!(ONE.read_chunk(3, &chunk), Some(records.to_vec()));
        let told = [(1, Known { rule: Rule { unblocked_at: Some(0), ..Rule::blocked(2) }, expires: None })];
        let delta = ONE.write_delta(3, &told);
        assert_eq!(ONE.read_delta(3, &delta), Some(told.to_vec()));
        for other in [Generation { number: 8, ..ONE }, Generation { nonce: 8, ..ONE }] {
            assert_eq!((other.read_chunk(3, &chunk), other.read_delta(3, &delta)), (None, None));
        }
        assert_eq!((ONE.read_chunk(4, &chunk), ONE.read_delta(4, &delta)), (None, None));
        for damaged in [&chunk[..chunk.len() - 1], &[]] {
            assert_eq!(ONE.read_chunk(3, damaged), None);
        }
        assert_eq!(ONE.read_chunk(3, &ONE.write_chunk(3, &[record(2), record(2)])), None);
    }

    #[test]
    fn values_fit_into_64_kib() {
        let record = Record { fingerprint: u64::MAX, time: u32::MAX, expiry: Expiry::new(None, true) };
        assert!(ONE.write_chunk(u32::MAX, &[record; CHUNK_RECORDS]).len() <= 65_536);
        let all = Some(u32::MAX);
        let rule = Rule { not_before: all, blocked_since: all, unblocked_at: all };
        assert!(ONE.write_delta(u32::MAX, &[(u64::MAX, Known { rule, expires: all }); DELTA_ENTRIES]).len() <= 65_536);
    }
}
