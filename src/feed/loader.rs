//! How a worker comes to hold what is on the board, step by step, while what it held stays in force.

use super::board::{Board, Generation};
use super::standing::Standing;
use crate::revocation::fingerprint::Fingerprint;
use crate::revocation::set::Fed;

/// How far a worker is.
#[derive(Default)]
pub struct Loader {
    generation: Generation,
    chunks: u32,
    deltas: u32,
    /// Where the next chunk begins; none behind the last fingerprint of all.
    next: Option<Fingerprint>,
    /// How many deltas were told ahead of the base to which they belong.
    early: u32,
    /// Whether the generation is in force, and only deltas are read now.
    is_complete: bool,
    /// A generation under another key cannot take the place of the old one bit by bit: it is gathered here.
    aside: Option<Box<Fed>>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    /// What is on the board is not what its standing says: a snapshot is needed.
    Broken,
    /// Everything is held.
    Current,
    /// There is more to do.
    More,
}

impl Loader {
    /// Whether all that a standing speaks of was loaded.
    #[must_use]
    pub fn holds(&self, standing: &Standing) -> bool {
        self.is_complete && self.generation == standing.generation && self.deltas == standing.deltas
    }

    /// Loads a chunk, or the entries of a delta.
    pub fn step(&mut self, standing: &Standing, board: &dyn Board, fed: &mut Fed, now: u64) -> Loading {
        if standing.generation.number == 0 {
            return Loading::Current;
        }
        if standing.generation != self.generation {
            // Before anything is in force there is nothing to keep.
            let aside = fed.confirmed_at.is_some() && fed.key != standing.key;
            let aside = aside.then(|| Box::new(Fed::new(standing.key)));
            *self = Self { generation: standing.generation, next: Some(0), aside, ..Self::default() };
            if self.aside.is_none() {
                fed.begin(standing.key);
            }
        }
        // What came since need not wait for the new base where what is held goes by the same key.
        let is_early = !self.is_complete && self.aside.is_none() && fed.confirmed_at.is_some();
        if is_early && self.early < standing.deltas {
            let value = board.read(self.generation.delta(self.early)).unwrap_or_default();
            let Some(told) = self.generation.read_delta(self.early, &value) else {
                return Loading::Broken;
            };
            for (fingerprint, known) in told {
                fed.add(fingerprint, known, now);
            }
            self.early = self.early.saturating_add(1);
            return Loading::More;
        }
        let target = self.aside.as_deref_mut().unwrap_or(fed);
        if self.chunks < standing.chunks {
            let value = board.read(self.generation.chunk(self.chunks)).unwrap_or_default();
            let records = self.generation.read_chunk(self.chunks, &value);
            let (Some(next), Some(records)) = (self.next, records) else {
                return Loading::Broken;
            };
            let ends = records.first().zip(records.last()).map(|(first, last)| (first.fingerprint, last.fingerprint));
            let Some((_, last)) = ends.filter(|(first, _)| *first >= next) else {
                return Loading::Broken;
            };
            target.replace(next, last, &records);
            self.next = last.checked_add(1);
            self.chunks = self.chunks.saturating_add(1);
            return Loading::More;
        }
        if !self.is_complete
            && let Some(next) = self.next.take()
        {
            target.replace(next, Fingerprint::MAX, &[]);
        }
        if self.deltas < standing.deltas {
            let value = board.read(self.generation.delta(self.deltas)).unwrap_or_default();
            let Some(told) = self.generation.read_delta(self.deltas, &value) else {
                return Loading::Broken;
            };
            for (fingerprint, known) in told {
                if self.is_complete {
                    target.add(fingerprint, known, now);
                } else {
                    target.prepare(fingerprint, known, now);
                }
            }
            self.deltas = self.deltas.saturating_add(1);
            return Loading::More;
        }
        if !self.is_complete {
            target.complete();
            self.is_complete = true;
            if let Some(aside) = self.aside.take() {
                *fed = *aside;
            }
        }
        fed.confirmed_at = Some(standing.confirmed_at);
        fed.sequence = standing.sequence;
        Loading::Current
    }
}
