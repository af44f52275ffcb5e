//! A new generation: what a document told, with what is held or in its place, in order and without what is over.

use super::board::{Board, CHUNK_RECORDS, DELTA_ENTRIES, Generation};
use super::overlay::{BUCKETS, Overlay, range_of};
use super::standing::Standing;
use crate::revocation::Known;
use crate::revocation::fingerprint::Fingerprint;
use crate::revocation::packed::Record;
use crate::revocation::set::Fed;

/// How many records a step looks at, about.
const STEP_RECORDS: usize = 1_000;
/// As how many records a part counts that has none.
const EMPTY_PART: usize = 4;

/// Writes a generation onto the board.
pub struct Writer {
    generation: Generation,
    chunks: u32,
    records: u32,
    deltas: u32,
    buffer: Vec<Record>,
    /// What does not fit into records, until the end.
    lifted: Vec<(Fingerprint, Known)>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The generation.
    pub generation: Generation,
    /// Its chunks.
    pub chunks: u32,
    /// Their records.
    pub records: u32,
    /// Its deltas.
    pub deltas: u32,
}

impl Writer {
    /// The generation after the one that stands.
    #[must_use]
    pub fn new(standing: &Standing, nonce: u64) -> Self {
        let generation = Generation { number: standing.generation.number.saturating_add(1), nonce };
        Self { generation, chunks: 0, records: 0, deltas: 0, buffer: Vec::new(), lifted: Vec::new() }
    }

    /// Adds what is known of the next fingerprint.
    pub fn push(&mut self, fingerprint: Fingerprint, known: Known, board: &dyn Board, now: u64) {
        if known.is_over(now) {
            return;
        }
        match known.record(fingerprint) {
            Some(record) => {
                self.buffer.push(record);
                if self.buffer.len() >= CHUNK_RECORDS {
                    self.flush(board);
                }
            }
            None => self.lifted.push((fingerprint, known)),
        }
    }

    /// Adds entries that are in no order. They stay apart.
    pub fn push_apart(&mut self, told: impl IntoIterator<Item = (Fingerprint, Known)>) {
        self.lifted.extend(told);
    }

    /// Writes some of what is left; what was written, once nothing is.
    pub fn finish(&mut self, board: &dyn Board) -> Option<Written> {
        self.flush(board);
        let rest = self.lifted.len().saturating_sub(DELTA_ENTRIES);
        let told = self.lifted.split_off(rest);
        if !told.is_empty() {
            board.write(self.generation.delta(self.deltas), &self.generation.write_delta(self.deltas, &told));
            self.deltas = self.deltas.saturating_add(1);
        }
        let Self { generation, chunks, records, deltas, .. } = *self;
        self.lifted.is_empty().then_some(Written { generation, chunks, records, deltas })
    }

    fn flush(&mut self, board: &dyn Board) {
        if self.buffer.is_empty() {
            return;
        }
        board.write(self.generation.chunk(self.chunks), &self.generation.write_chunk(self.chunks, &self.buffer));
        self.chunks = self.chunks.saturating_add(1);
        self.records = self.records.saturating_add(u32::try_from(self.buffer.len()).unwrap_or(u32::MAX));
        self.buffer.clear();
    }
}

/// Whether what is held goes into the new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It does.
    Held,
    /// It does not: the new generation is a snapshot.
    Nothing,
}

/// A generation that is being made, bucket by bucket.
pub struct Rewrite {
    overlay: Overlay,
    over: Over,
    bucket: usize,
    writer: Writer,
}

/// What a step came to.
pub enum Rewriting {
    /// There is more to do.
    More(Box<Rewrite>),
    /// It is done.
    Done(Written),
}

impl Rewrite {
    /// Begins. Over what is held, the recent entries go into the base.
    #[must_use]
    pub fn new(mut overlay: Overlay, over: Over, fed: &Fed, writer: Writer, now: u64) -> Self {
        if over == Over::Held {
            for (fingerprint, known) in fed.recent().iter().filter(|(_, known)| !known.is_over(now)) {
                overlay.add(*fingerprint, *known);
            }
        }
        Self { overlay, over, bucket: 0, writer }
    }

    /// Writes some of 1,024 parts, a tenth of a millisecond's worth. What is held must be the same in all steps.
    #[must_use]
    pub fn step(mut self: Box<Self>, fed: &Fed, board: &dyn Board, now: u64) -> Rewriting {
        if self.bucket >= BUCKETS {
            return match self.writer.finish(board) {
                Some(written) => Rewriting::Done(written),
                None => Rewriting::More(self),
            };
        }
        let mut seen = 0_usize;
        while self.bucket < BUCKETS && seen < STEP_RECORDS {
            // An empty part costs something, too.
            seen = seen.saturating_add(self.write_part(fed, board, now).max(EMPTY_PART));
        }
        Rewriting::More(self)
    }

    /// Writes the next part; how many records it had.
    fn write_part(&mut self, fed: &Fed, board: &dyn Board, now: u64) -> usize {
        let mut seen = 0_usize;
        let (first, last) = range_of(self.bucket);
        let mut told = self.overlay.bucket(self.bucket).into_iter().peekable();
        let held = (self.over == Over::Held).then(|| fed.base().range(first, last));
        for record in held.into_iter().flatten() {
            seen = seen.saturating_add(1);
            while let Some((fingerprint, known)) = told.next_if(|(fingerprint, _)| *fingerprint < record.fingerprint) {
                self.writer.push(fingerprint, known, board, now);
            }
            let same = told.next_if(|(fingerprint, _)| *fingerprint == record.fingerprint);
            let known = same.map_or(record.into(), |(_, known)| known.merge_at(Some(record.into()), now));
            self.writer.push(record.fingerprint, known, board, now);
        }
        for (fingerprint, known) in told {
            seen = seen.saturating_add(1);
            self.writer.push(fingerprint, known, board, now);
        }
        self.bucket = self.bucket.saturating_add(1);
        seen
    }
}
