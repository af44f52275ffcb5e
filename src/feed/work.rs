//! What the worker that fetches does with an answer: from the body to a new standing, in steps, and nothing in between
//! that others could mistake for the end.

use super::board::{Board, DELTA_ENTRIES, Generation};
use super::document::{Claims, MAX_RECORDS};
use super::overlay::Overlay;
use super::page::{Opening, PageFault, PageName};
use super::parts::PartFault;
use super::reader::{BodyFault, Document, Reader, Reading};
use super::rewrite::{Over, Rewrite, Rewriting, Writer, Written};
use super::source::Feed;
use super::standing::{News, Standing, Wanted};
use crate::jose::signature::Signatures;
use crate::keys::freshness::Millis;
use crate::revocation::Known;
use crate::revocation::fingerprint::{Fingerprint, HashKey};
use crate::revocation::set::Fed;

/// How many bytes of a body are read in a step: some 0.3 ms in wasm.
pub const STEP_BYTES: usize = 8 * 1024;
/// How many bytes are hashed in a step: as long.
pub const HASH_STEP_BYTES: usize = 64 * 1024;
/// Most entries that are added to what is held. More of them make a new base at once.
const SMALL_DELTA: usize = 4 * DELTA_ENTRIES;
/// Most deltas since the base; then there is a new one.
const MOST_DELTAS: u32 = 64;

/// Why a request brought nothing. Everything named here is the feed's, not a client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedFault {
    /// The body is not a document of the feed.
    Body(BodyFault),
    /// A delta for a state that is not held, or of another signer.
    Gap {
        /// What it builds on.
        base: u64,
        /// What is held.
        held: u64,
    },
    /// No answer: connection failure, reset, or a body beyond the host's limit.
    NoAnswer,
    /// The call could not be sent: the cluster is unknown or has no healthy host.
    NotSent,
    /// 304 where nothing is held.
    NotModified,
    /// Older than what is held.
    Older {
        /// Its sequence.
        found: u64,
        /// What is held.
        held: u64,
    },
    /// A page is not the one that the head names.
    Page(PageFault),
    /// A 206 is not the part that was asked for.
    Part,
    /// The status was neither 200 nor 304.
    Status(u16),
    /// With it more than [`MAX_RECORDS`] would be held.
    TooManyEntries,
}

impl std::fmt::Display for FeedFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Body(fault) => write!(formatter, "not a document of the feed: {fault:?}"),
            Self::Gap { base, held } => write!(formatter, "a delta on sequence {base}, and {held} is held"),
            Self::NoAnswer => formatter.write_str("no answer, or a body that is too large"),
            Self::NotSent => formatter.write_str("the request could not be sent: is the cluster defined and healthy?"),
            Self::NotModified => formatter.write_str("304, and nothing is held"),
            Self::Older { found, held } => write!(formatter, "sequence {found}, and {held} is held already"),
            Self::Page(fault) => write!(formatter, "not the page that the head names: {fault:?}"),
            Self::Part => formatter.write_str("206 with other parts than were asked for, or too many small ones"),
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::TooManyEntries => write!(formatter, "more than {MAX_RECORDS} entries"),
        }
    }
}

impl From<PartFault> for FeedFault {
    fn from(fault: PartFault) -> Self {
        match fault {
            PartFault::Other | PartFault::TooMany => Self::Part,
            PartFault::TooLarge => Self::Body(BodyFault::TooLarge),
        }
    }
}

impl FeedFault {
    fn wanted(&self) -> Wanted {
        match self {
            Self::Gap { .. } => Wanted::Snapshot,
            Self::Body(_)
            | Self::NoAnswer
            | Self::NotModified
            | Self::NotSent
            | Self::Older { .. }
            | Self::Page(_)
            | Self::Part
            | Self::Status(_)
            | Self::TooManyEntries => Wanted::Same,
        }
    }
}

/// What a worker has in hand.
pub enum Work {
    /// A document that has to wait until all of what it builds upon is held here.
    Read(Box<Document>),
    /// A body that is being read.
    Reading(Box<Reader>),
    /// A packed snapshot, some of whose pages are still to come.
    Paging(Box<Pages>),
    /// A generation that is being made, and what it will be published as.
    Rewriting(Box<Rewrite>, Publication),
}

/// A packed snapshot whose pages come one after another.
pub struct Pages {
    names: std::vec::IntoIter<PageName>,
    /// The one that is there.
    page: Option<Opening>,
    after: Option<Fingerprint>,
    writer: Writer,
    publication: Publication,
}

/// What a generation will be published as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    key: HashKey,
    signer: [u8; 32],
    sequence: u64,
    /// When it ends, in Unix seconds; 0 for never.
    expires: u64,
}

/// What comes next.
pub enum Next {
    /// Another step.
    Step(Work),
    /// This page is to be asked for, at the feed's authority.
    Page(String, Box<Pages>),
    /// The end.
    End(End),
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It brought entries, which are on the board as deltas.
    Appended {
        /// How many deltas.
        deltas: u32,
        /// How many entries.
        entries: u32,
        /// What they lead to.
        sequence: u64,
        /// When the document ends, in Unix seconds; 0 for never.
        expires: u64,
    },
    /// It brought nothing new.
    Confirmed {
        /// When the document ends, in Unix seconds; 0 for never.
        expires: u64,
    },
    /// There is a new base of what was held, and of what came meanwhile.
    Compacted(Written, Carried),
    /// It was refused.
    Failed(FeedFault),
    /// There is a new generation.
    Published(Written, Publication),
}

/// All that a step may look at.
pub struct Desk<'a> {
    /// The feed.
    pub feed: &'a Feed,
    /// How it stood when the request was sent. Nobody else has changed it since.
    pub standing: &'a Standing,
    /// What this worker holds.
    pub fed: &'a Fed,
    /// Whether that is all of it.
    pub is_loaded: bool,
    /// Where it is written.
    pub board: &'a dyn Board,
    /// Who verifies.
    pub signatures: &'a dyn Signatures,
    /// A random number for a new generation.
    pub nonce: u64,
    /// Unix seconds.
    pub now: u64,
}

impl Work {
    /// Begins with the body of an answer.
    ///
    /// # Errors
    /// Whatever can be said at once.
    pub fn begin(body: Vec<u8>, feed: &Feed, standing: &Standing) -> Result<Self, FeedFault> {
        Reader::new(body, feed.keys.keys(), standing.key)
            .map(|reader| Self::Reading(Box::new(reader)))
            .map_err(FeedFault::Body)
    }

    /// Does some tenths of a millisecond's worth.
    #[must_use]
    pub fn step(self, desk: &Desk<'_>) -> Next {
        match self {
            Self::Read(document) => take(*document, desk).unwrap_or_else(failed),
            Self::Reading(reader) => {
                let budget = if reader.is_verified() { STEP_BYTES } else { HASH_STEP_BYTES };
                match reader.step(budget, desk.signatures, desk.now) {
                    Ok(Reading::More(reader)) => Next::Step(Self::Reading(reader)),
                    Ok(Reading::Done(document)) => take(*document, desk).unwrap_or_else(failed),
                    Err(fault) => failed(FeedFault::Body(fault)),
                }
            }
            Self::Paging(pages) => pages.step(desk),
            Self::Rewriting(rewrite, publication) => match rewrite.step(desk.fed, desk.board, desk.now) {
                Rewriting::More(rewrite) => Next::Step(Self::Rewriting(rewrite, publication)),
                Rewriting::Done(written) => Next::End(End::Published(written, publication)),
            },
        }
    }
}

fn failed(fault: FeedFault) -> Next {
    Next::End(End::Failed(fault))
}

/// What a document means to what is held.
fn take(document: Document, desk: &Desk<'_>) -> Result<Next, FeedFault> {
    let Document { claims: Claims { sequence, base, changes_since, expires, .. }, key, signer, .. } = document;
    let expires = expires.unwrap_or(0);
    let standing = desk.standing;
    let held = if standing.is_held(desk.feed) { standing.sequence } else { 0 };
    if sequence < held {
        return Err(FeedFault::Older { found: sequence, held });
    }
    let is_needed = !standing.goes_on(desk.feed);
    let publication = Publication { key, signer, sequence, expires };
    let writer = || Writer::new(standing, desk.nonce);
    // A snapshot that tells what changed since a state that is held is a delta for whoever holds it.
    let goes_on = !is_needed && signer == standing.signer && key == standing.key;
    let Some(base) = base.or(changes_since.filter(|since| goes_on && *since <= held)) else {
        if sequence == held && !is_needed {
            return Ok(Next::End(End::Confirmed { expires }));
        }
        let Document { paging, entries, .. } = document;
        return Ok(match paging {
            Some(paging) => {
                let mut writer = writer();
                writer.push_apart(entries.all());
                let names = paging.pages.into_iter();
                Next::Step(Work::Paging(Box::new(Pages { names, page: None, after: None, writer, publication })))
            }
            None => {
                let rewrite = Rewrite::new(entries, Over::Nothing, desk.fed, writer(), desk.now);
                Next::Step(Work::Rewriting(Box::new(rewrite), publication))
            }
        });
    };
    if is_needed || base > held || signer != standing.signer {
        return Err(FeedFault::Gap { base, held });
    }
    if sequence == held {
        return Ok(Next::End(End::Confirmed { expires }));
    }
    if desk.fed.len().saturating_add(document.entries.len()) > MAX_RECORDS {
        return Err(FeedFault::TooManyEntries);
    }
    let is_small = document.entries.len() <= SMALL_DELTA;
    if !is_small && !desk.is_loaded {
        return Ok(Next::Step(Work::Read(Box::new(document))));
    }
    let Document { entries, .. } = document;
    if !is_small {
        let rewrite = Rewrite::new(entries, Over::Held, desk.fed, writer(), desk.now);
        return Ok(Next::Step(Work::Rewriting(Box::new(rewrite), publication)));
    }
    // What is held already needs no room. Who has not loaded all of it cannot tell.
    let is_news = |(fingerprint, told): &(Fingerprint, Known)| {
        !desk.is_loaded || desk.fed.get(*fingerprint).is_none_or(|held| told.merge_at(Some(held), desk.now) != held)
    };
    let all: Vec<(Fingerprint, Known)> = entries.all().filter(is_news).collect();
    let mut deltas = 0_u32;
    for told in all.chunks(DELTA_ENTRIES) {
        let index = standing.deltas.saturating_add(deltas);
        desk.board.write(standing.generation.delta(index), &standing.generation.write_delta(index, told));
        deltas = deltas.saturating_add(1);
    }
    let entries = u32::try_from(all.len()).unwrap_or(u32::MAX);
    Ok(Next::End(End::Appended { deltas, entries, sequence, expires }))
}

impl Pages {
    /// Takes the page that was asked for.
    #[must_use]
    pub fn receive(mut self: Box<Self>, body: Vec<u8>) -> Next {
        match self.names.next().map(|name| name.begin(body)).transpose() {
            Ok(page) => {
                self.page = page;
                Next::Step(Work::Paging(self))
            }
            Err(fault) => failed(FeedFault::Page(fault)),
        }
    }

    fn step(mut self: Box<Self>, desk: &Desk<'_>) -> Next {
        if let Some(page) = &mut self.page {
            match page.step(&mut self.after) {
                Ok(Some(records)) => {
                    for record in records {
                        self.writer.push(record.fingerprint, record.into(), desk.board, desk.now);
                    }
                }
                Ok(None) => self.page = None,
                Err(fault) => return failed(FeedFault::Page(fault)),
            }
            return Next::Step(Work::Paging(self));
        }
        if let Some(page) = self.names.as_slice().first() {
            return Next::Page(page.path.clone(), self);
        }
        match self.writer.finish(desk.board) {
            Some(written) => Next::End(End::Published(written, self.publication)),
            None => Next::Step(Work::Paging(self)),
        }
    }
}

impl End {
    /// The standing after it. `etag` is that of the answer.
    #[must_use]
    pub fn standing(&self, before: Standing, feed: &Feed, now: Millis, etag: Option<String>) -> Standing {
        match self {
            Self::Failed(fault) => before.failed(fault.wanted()),
            Self::Confirmed { expires } => {
                Standing { etag, expires: *expires, ..before }.confirmed(feed, now, News::None)
            }
            Self::Appended { deltas, entries, sequence, expires } => Standing {
                deltas: before.deltas.saturating_add(*deltas),
                new_deltas: before.new_deltas.saturating_add(*deltas),
                new_entries: before.new_entries.saturating_add(*entries),
                sequence: *sequence,
                expires: *expires,
                etag,
                ..before
            }
            .confirmed(feed, now, News::Some),
            Self::Published(written, publication) => {
                let standing = Standing {
                    generation: written.generation,
                    chunks: written.chunks,
                    records: written.records,
                    deltas: written.deltas,
                    new_deltas: 0,
                    new_entries: 0,
                    key: publication.key,
                    signer: publication.signer,
                    sequence: publication.sequence,
                    expires: publication.expires,
                    most_chunks: written.most_chunks(&before),
                    ..before
                };
                Standing { etag, snapshot_wanted: false, ..standing }.confirmed(feed, now, News::Some)
            }
            // How it was asked, and when it was confirmed, is as before.
            Self::Compacted(written, carried) => Standing {
                generation: written.generation,
                chunks: written.chunks,
                records: written.records,
                deltas: written.deltas.saturating_add(carried.deltas),
                new_deltas: carried.deltas,
                new_entries: carried.entries,
                most_chunks: written.most_chunks(&before),
                ..before
            },
        }
    }
}

impl Standing {
    /// Whether it is time for a new base, of which a worker that holds everything found so many records over.
    #[must_use]
    pub fn wants_compaction(&self, over: usize) -> bool {
        let over = u32::try_from(over).unwrap_or(u32::MAX);
        // What came since the base takes more room: with a million records, half a byte for each of them.
        self.new_deltas > MOST_DELTAS
            || self.new_entries > (self.records / 80).max(1_024)
            || over > (self.records / 4).max(1_000)
    }
}

impl Written {
    /// Most chunks that the places of either parity ever held.
    fn most_chunks(&self, before: &Standing) -> [u32; 2] {
        let [even, odd] = before.most_chunks;
        match self.generation.parity() {
            0 => [even.max(self.chunks), odd],
            _ => [even, odd.max(self.chunks)],
        }
    }
}

/// A new base of what is held, which is made while the feed goes on being asked.
pub struct Compaction {
    /// What is held.
    generation: Generation,
    /// How many of its deltas go into the base. Those that come later are carried over.
    merged: u32,
    stage: Stage,
}

enum Stage {
    Writing(Box<Rewrite>),
    Carrying(Written, Carried),
}

/// What came while a base was made, and was written behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// How many deltas.
    pub deltas: u32,
    /// How many entries.
    pub entries: u32,
}

/// What a step of it came to.
pub enum Compacting {
    /// It is done, if no delta has come since: [`End::Compacted`].
    Done(End),
    /// What came meanwhile is not on the board.
    Lost,
    /// There is more to do.
    More(Compaction),
}

impl Compaction {
    /// Begins. All of what is held must be here.
    #[must_use]
    pub fn new(desk: &Desk<'_>) -> Self {
        let writer = Writer::new(desk.standing, desk.nonce);
        let rewrite = Rewrite::new(Overlay::default(), Over::Held, desk.fed, writer, desk.now);
        let Standing { generation, deltas: merged, .. } = *desk.standing;
        Self { generation, merged, stage: Stage::Writing(Box::new(rewrite)) }
    }

    /// Whether what it began from still stands.
    #[must_use]
    pub fn is_of(&self, standing: &Standing) -> bool {
        self.generation == standing.generation
    }

    /// Does some tenths of a millisecond's worth. The desk's standing is how the feed stands by now.
    #[must_use]
    pub fn step(self, desk: &Desk<'_>) -> Compacting {
        let (written, carried) = match self.stage {
            Stage::Writing(rewrite) => {
                let stage = match rewrite.step(desk.fed, desk.board, desk.now) {
                    Rewriting::More(rewrite) => Stage::Writing(rewrite),
                    Rewriting::Done(written) => Stage::Carrying(written, Carried::default()),
                };
                return Compacting::More(Self { stage, ..self });
            }
            Stage::Carrying(written, carried) => (written, carried),
        };
        let from = self.merged.saturating_add(carried.deltas);
        if from >= desk.standing.deltas {
            return Compacting::Done(End::Compacted(written, carried));
        }
        let value = desk.board.read(self.generation.delta(from)).unwrap_or_default();
        let Some(told) = self.generation.read_delta(from, &value) else {
            return Compacting::Lost;
        };
        let to = written.deltas.saturating_add(carried.deltas);
        desk.board.write(written.generation.delta(to), &written.generation.write_delta(to, &told));
        let carried = Carried {
            deltas: carried.deltas.saturating_add(1),
            entries: carried.entries.saturating_add(u32::try_from(told.len()).unwrap_or(u32::MAX)),
        };
        Compacting::More(Self { stage: Stage::Carrying(written, carried), ..self })
    }
}

/// Empties the places that a new generation does not use and an earlier one did.
pub fn clear_unused(written: &Written, before: &Standing, board: &dyn Board) {
    let most = if written.generation.parity() == 0 { before.most_chunks[0] } else { before.most_chunks[1] };
    for index in written.chunks..most {
        board.write(written.generation.chunk(index), &[]);
    }
}
