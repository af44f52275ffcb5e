//! One worker's part in the feed: it loads what is on the board and, when nobody else does, asks for what comes next.
//!
//! It holds no clock and sends nothing: a turn says what to send, and the answer is brought back.

use std::time::Duration;

use super::board::{Board, Generation};
use super::loader::{Loader, Loading};
use super::parts::{Part, Parts, Taken};
use super::reader::{BodyFault, is_expired};
use super::source::Feed;
use super::standing::Standing;
use super::work::{Compacting, Compaction, Desk, End, FeedFault, Next, Pages, Work, clear_unused};
use crate::jose::signature::Signatures;
use crate::keys::freshness::{Millis, millis};
use crate::revocation::set::Fed;

/// How long after its time an answer is still waited for. The host ends calls itself; this is for one that does not.
const ANSWER_SLACK: Millis = 5_000;
/// How often an update is tried again when another worker was faster.
const UPDATE_ATTEMPTS: u32 = 16;
/// How many blocks are looked through for records that are over, in a turn.
const SWEEP_BLOCKS: usize = 8;

/// One worker.
pub struct Worker {
    /// What tells it from the others.
    me: u64,
    loader: Loader,
    hand: Hand,
    /// Beside what is in hand.
    compaction: Option<Compaction>,
    sweep: Sweep,
}

/// What a worker has in hand, and how the feed stood when it began.
enum Hand {
    /// It waits for an answer, or the next part of it.
    Asking { standing: Standing, until: Millis, path: String, parts: Parts },
    /// Nothing.
    Empty,
    /// It has a part of an answer, and is to ask for the next.
    Parted { standing: Standing, path: String, parts: Parts },
    /// It waits for a page.
    Paging { standing: Standing, until: Millis, pages: Box<Pages>, etag: Option<String> },
    /// An answer.
    Working { standing: Standing, work: Work, etag: Option<String> },
}

/// How many records of a generation are over, counted block by block.
#[derive(Default)]
struct Sweep {
    generation: Generation,
    next: usize,
    over: usize,
    /// The last full count.
    counted: usize,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The path, at the feed's authority.
    pub path: String,
    /// `If-None-Match`.
    pub etag: Option<String>,
    /// `Range`.
    pub range: Option<String>,
    /// `If-Range`.
    pub if_range: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200.
    Body {
        /// The body.
        body: Vec<u8>,
        /// The `ETag`, if it can be sent back.
        etag: Option<String>,
    },
    /// 206.
    Part {
        /// What it brought.
        part: Part,
        /// The `ETag`, if it can be sent back.
        etag: Option<String>,
    },
    /// 304.
    NotModified,
}

/// What a turn came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// What is to be sent.
    pub ask: Option<Ask>,
    /// What ended.
    pub ended: Option<End>,
    /// Whether there is more to do at once.
    pub is_busy: bool,
}

/// All that a turn may look at.
pub struct Room<'a> {
    /// The feed.
    pub feed: &'a Feed,
    /// What workers share.
    pub board: &'a dyn Board,
    /// Who verifies.
    pub signatures: &'a dyn Signatures,
    /// A random number, new for each turn.
    pub nonce: u64,
    /// Milliseconds since the epoch.
    pub now: Millis,
    /// Whether requests are served from what is held, so that a turn has to be as short as it can be, whatever time there is.
    pub is_gentle: bool,
}

impl Worker {
    /// A worker of this number, which should be random.
    #[must_use]
    pub fn new(me: u64) -> Self {
        Self { me, loader: Loader::default(), hand: Hand::Empty, compaction: None, sweep: Sweep::default() }
    }

    /// Loads what is on the board, as long as there is time.
    pub fn load(&mut self, fed: &mut Fed, room: &Room<'_>, has_time: &mut dyn FnMut() -> bool) -> Loading {
        let standing = room.board.standing();
        standing.map_or(Loading::Current, |(standing, _)| self.load_from(&standing, fed, room, has_time))
    }

    fn load_from(
        &mut self,
        standing: &Standing,
        fed: &mut Fed,
        room: &Room<'_>,
        has_time: &mut dyn FnMut() -> bool,
    ) -> Loading {
        if !standing.is_held(room.feed) {
            return Loading::Current;
        }
        loop {
            let loading = self.loader.step(standing, room.board, fed, room.now / 1_000);
            if loading != Loading::More || room.is_gentle || !has_time() {
                return loading;
            }
        }
    }

    /// Does what there is to do, as long as there is time.
    pub fn turn(&mut self, fed: &mut Fed, room: &Room<'_>, has_time: &mut dyn FnMut() -> bool) -> Turn {
        let Some((standing, _)) = room.board.standing() else {
            return Turn::default();
        };
        let loading = self.load_from(&standing, fed, room, has_time);
        self.drop_if_overtaken(&standing);
        if loading == Loading::Broken && !standing.snapshot_wanted {
            self.update(room, |standing| Some(Standing { snapshot_wanted: true, ..standing }));
        }
        let mut turn = self.work(fed, room, has_time);
        if turn == Turn::default() {
            turn = self.begin(room);
        }
        if turn == Turn::default() && loading == Loading::Current {
            while self.compact(fed, room, &mut turn) && !room.is_gentle && has_time() {}
            self.sweep(fed, standing.generation, room.now);
        }
        self.keep_lease(&standing, room);
        turn.is_busy =
            loading == Loading::More || matches!(self.hand, Hand::Working { .. }) || self.compaction.is_some();
        // What was published a moment ago is there for this worker as well.
        turn.is_busy |= turn.ended.is_some();
        turn
    }

    /// Takes the answer to what was asked last. An answer that nobody waits for is dropped.
    pub fn receive(&mut self, answer: Result<Answer, FeedFault>, room: &Room<'_>) -> Option<End> {
        match std::mem::replace(&mut self.hand, Hand::Empty) {
            Hand::Asking { standing, path, parts, .. } => match answer {
                Ok(Answer::Body { body, etag }) => return self.open(body, standing, etag, room),
                Ok(Answer::Part { part, etag }) => match parts.take(&part, etag) {
                    Ok(Taken::More(parts)) => self.hand = Hand::Parted { standing, path, parts },
                    Ok(Taken::Whole(body, etag)) => return self.open(body, standing, etag, room),
                    Err(fault) => return self.end(End::Failed(fault.into()), None, room),
                },
                Ok(Answer::NotModified) => {
                    let expires = standing.expires;
                    let end = if !standing.goes_on(room.feed) {
                        End::Failed(FeedFault::NotModified)
                    } else if expires > 0 && is_expired(expires, room.now / 1_000) {
                        // Nobody has signed it anew: whoever says that it is the newest may not know.
                        End::Failed(FeedFault::Body(BodyFault::Expired))
                    } else {
                        End::Confirmed { expires }
                    };
                    let etag = standing.etag;
                    return self.end(end, etag, room);
                }
                Err(fault) => return self.end(End::Failed(fault), None, room),
            },
            Hand::Paging { standing, pages, etag, .. } => match answer {
                Ok(Answer::Body { body, .. }) => {
                    return self.go_on(pages.receive(body), standing, etag, room).ended;
                }
                Ok(Answer::Part { .. }) => return self.end(End::Failed(FeedFault::Part), None, room),
                Ok(Answer::NotModified) => return self.end(End::Failed(FeedFault::NotModified), None, room),
                Err(fault) => return self.end(End::Failed(fault), None, room),
            },
            other @ (Hand::Empty | Hand::Parted { .. } | Hand::Working { .. }) => self.hand = other,
        }
        None
    }

    /// Begins to read a body.
    fn open(&mut self, body: Vec<u8>, standing: Standing, etag: Option<String>, room: &Room<'_>) -> Option<End> {
        match Work::begin(body, room.feed, &standing) {
            Ok(work) => self.hand = Hand::Working { standing, work, etag },
            Err(fault) => return self.end(End::Failed(fault), None, room),
        }
        None
    }

    /// What is in hand is worth nothing once somebody else has gone on.
    fn drop_if_overtaken(&mut self, now: &Standing) {
        self.compaction.take_if(|compaction| now.owner != self.me || !compaction.is_of(now));
        let begun = match &self.hand {
            Hand::Asking { standing, .. }
            | Hand::Parted { standing, .. }
            | Hand::Paging { standing, .. }
            | Hand::Working { standing, .. } => standing,
            Hand::Empty => return,
        };
        let is_same = (begun.generation, begun.deltas, begun.sequence) == (now.generation, now.deltas, now.sequence);
        if now.owner != self.me || !is_same {
            self.hand = Hand::Empty;
        }
    }

    fn work(&mut self, fed: &Fed, room: &Room<'_>, has_time: &mut dyn FnMut() -> bool) -> Turn {
        loop {
            match std::mem::replace(&mut self.hand, Hand::Empty) {
                Hand::Working { standing, work, etag } => {
                    // Entries in JSON take so long that the time has to be used.
                    let is_one_step = room.is_gentle && !matches!(work, Work::Reading(_));
                    let next = work.step(&self.desk(&standing, fed, room));
                    let turn = self.go_on(next, standing, etag, room);
                    if turn != Turn::default() || is_one_step || !has_time() {
                        return turn;
                    }
                }
                Hand::Asking { until, .. } | Hand::Paging { until, .. } if until <= room.now => {
                    let ended = self.end(End::Failed(FeedFault::NoAnswer), None, room);
                    return Turn { ended, ..Turn::default() };
                }
                Hand::Parted { standing, path, parts } => {
                    let ask = self.ask(standing, path, None, parts, room.feed.timeout, room.now);
                    return Turn { ask: Some(ask), ..Turn::default() };
                }
                other @ (Hand::Asking { .. } | Hand::Empty | Hand::Paging { .. }) => {
                    self.hand = other;
                    return Turn::default();
                }
            }
        }
    }

    fn go_on(&mut self, next: Next, standing: Standing, etag: Option<String>, room: &Room<'_>) -> Turn {
        match next {
            Next::Step(work) => {
                // Both would write the next generation, and this one is newer.
                if matches!(work, Work::Paging(_) | Work::Rewriting(..)) {
                    self.compaction = None;
                }
                self.hand = Hand::Working { standing, work, etag };
                Turn::default()
            }
            Next::Page(path, pages) => {
                let timeout = room.feed.timeout;
                let until = room.now.saturating_add(millis(timeout)).saturating_add(ANSWER_SLACK);
                self.hand = Hand::Paging { standing, until, pages, etag };
                let ask = Ask { path, etag: None, range: None, if_range: None, timeout };
                Turn { ask: Some(ask), ..Turn::default() }
            }
            Next::End(end) => {
                if let End::Published(written, _) = &end {
                    clear_unused(written, &standing, room.board);
                }
                Turn { ended: self.end(end, etag, room), ..Turn::default() }
            }
        }
    }

    /// Makes a new base of what is held when there is much beside the old one, a step at a time; whether there is another.
    fn compact(&mut self, fed: &Fed, room: &Room<'_>, turn: &mut Turn) -> bool {
        let me = self.me;
        let Some((standing, mark)) = room.board.standing().filter(|(standing, _)| self.loader.holds(standing)) else {
            return false;
        };
        let Some(compaction) = self.compaction.take() else {
            let is_wanted = standing.is_held(room.feed) && standing.wants_compaction(self.sweep.counted);
            let is_alone = matches!(self.hand, Hand::Asking { .. } | Hand::Empty);
            if is_wanted && is_alone && standing.is_free(me, room.now) {
                let taken = standing.taken(me, room.now);
                let begun = room.board.swap(&taken, mark);
                self.compaction = begun.then(|| Compaction::new(&self.desk(&taken, fed, room)));
            }
            return self.compaction.is_some();
        };
        match compaction.step(&self.desk(&standing, fed, room)) {
            Compacting::More(compaction) => self.compaction = Some(compaction),
            Compacting::Lost => {}
            Compacting::Done(end) => {
                if let End::Compacted(written, _) = &end {
                    clear_unused(written, &standing, room.board);
                }
                let published = end.standing(standing, room.feed, room.now, None);
                if room.board.swap(&published, mark) {
                    turn.ended = Some(end);
                    // What was asked meanwhile builds on the same, in another form.
                    if let Hand::Asking { standing, .. } | Hand::Working { standing, .. } = &mut self.hand {
                        *standing = published;
                    }
                }
            }
        }
        self.compaction.is_some()
    }

    /// Asks, if it is time and nobody else does.
    fn begin(&mut self, room: &Room<'_>) -> Turn {
        let (feed, now, me) = (room.feed, room.now, self.me);
        let is_empty = matches!(self.hand, Hand::Empty);
        let free = room.board.standing().filter(|(standing, _)| is_empty && standing.is_free(me, now));
        let Some((standing, mark)) = free else {
            return Turn::default();
        };
        if !standing.is_due(feed, now) {
            return Turn::default();
        }
        let asked = standing.asked(me, now);
        if !room.board.swap(&asked, mark) {
            return Turn::default();
        }
        // Who has nothing yet must not be kept waiting for news.
        let wait = if asked.goes_on(feed) { feed.long_poll } else { Duration::ZERO };
        let timeout = feed.timeout.saturating_add(wait);
        let etag = asked.etag.clone().filter(|_| asked.goes_on(feed));
        let path = feed.path(asked.since(feed), wait);
        let ask = self.ask(asked, path, etag, Parts::default(), timeout, now);
        Turn { ask: Some(ask), ..Turn::default() }
    }

    /// Asks for an answer, or for what is not there yet of it.
    fn ask(
        &mut self,
        standing: Standing,
        path: String,
        etag: Option<String>,
        parts: Parts,
        timeout: Duration,
        now: Millis,
    ) -> Ask {
        let until = now.saturating_add(millis(timeout)).saturating_add(ANSWER_SLACK);
        let (range, if_range) = (Some(parts.range()), parts.if_range().map(str::to_owned));
        let ask = Ask { path: path.clone(), etag, range, if_range, timeout };
        self.hand = Hand::Asking { standing, until, path, parts };
        ask
    }

    /// Publishes an end, unless somebody else has taken over in the meantime.
    fn end(&mut self, end: End, etag: Option<String>, room: &Room<'_>) -> Option<End> {
        let me = self.me;
        let is_told = self.update(room, |standing| {
            (standing.owner == me).then(|| end.standing(standing, room.feed, room.now, etag.clone()))
        });
        is_told.then_some(end)
    }

    fn desk<'a>(&self, standing: &'a Standing, fed: &'a Fed, room: &'a Room<'a>) -> Desk<'a> {
        let Room { feed, board, signatures, nonce, now, .. } = *room;
        let is_loaded = self.loader.holds(standing);
        Desk { feed, standing, fed, is_loaded, board, signatures, nonce, now: now / 1_000 }
    }

    /// Prolongs the lease, which was as it is told here when the turn began: what a turn takes up it has leased anew.
    fn keep_lease(&self, begun: &Standing, room: &Room<'_>) {
        let is_short = |standing: &Standing| standing.owner == self.me && standing.is_lease_short(room.now);
        if is_short(begun) && (!matches!(self.hand, Hand::Empty) || self.compaction.is_some()) {
            self.update(room, |standing| is_short(&standing).then(|| standing.taken(self.me, room.now)));
        }
    }

    fn update(&self, room: &Room<'_>, change: impl Fn(Standing) -> Option<Standing>) -> bool {
        for _ in 0..UPDATE_ATTEMPTS {
            let Some((standing, mark)) = room.board.standing() else {
                return false;
            };
            let Some(changed) = change(standing) else {
                return false;
            };
            if room.board.swap(&changed, mark) {
                return true;
            }
        }
        false
    }

    fn sweep(&mut self, fed: &Fed, generation: Generation, now: Millis) {
        if self.sweep.generation != generation {
            self.sweep = Sweep { generation, ..Sweep::default() };
        }
        let Sweep { next, over, counted, .. } = &mut self.sweep;
        let end = next.saturating_add(SWEEP_BLOCKS);
        let (found, blocks) = fed.base().count_over(*next..end, now / 1_000);
        (*next, *over) = (end, over.saturating_add(found));
        if end >= blocks {
            (*counted, *over, *next) = (*over, 0, 0);
        }
    }
}
