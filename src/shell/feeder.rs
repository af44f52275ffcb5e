//! The revocation feed: its calls, its place in shared data, and the milliseconds that a worker gives to it.

use std::time::{Duration, Instant};

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use super::call::{Request, Response};
use super::gate::Gate;
use super::host::{self, HostSignatures};
use crate::feed::board::{Board, Place};
use crate::feed::parts::Part;
use crate::feed::reader::MAX_BODY_BYTES;
use crate::feed::source::Feed;
use crate::feed::standing::Standing;
use crate::feed::work::{End, FeedFault};
use crate::feed::worker::{Answer, Ask, Room, Worker};
use crate::keys::document::Address;
use crate::revocation::fingerprint::HashKey;

/// How long a turn may keep the event loop from its requests. A step that was begun is ended. Where requests are served from
/// what is held, a turn is one step, some tenth of a millisecond.
const TURN: Duration = Duration::from_micros(800);
/// How long a new VM may, before its first request.
const FIRST_TURN: Duration = Duration::from_millis(8);

/// One worker's part in the feed.
pub(super) struct Feeder {
    worker: Worker,
    board: SharedBoard,
    call: Option<u32>,
}

impl Feeder {
    /// Begins with what others have left. The first VM of the process writes the standing before any worker exists:
    /// compare-and-swap cannot elect among workers that find none.
    pub(super) fn new(feed: &Feed, gate: &Gate) -> Self {
        let board = SharedBoard::new(&feed.url);
        if board.standing().is_none() {
            let key = [host::random().to_be_bytes(), host::random().to_be_bytes()].concat();
            let standing = Standing::new(HashKey::new(key.try_into().unwrap_or_default()));
            let _ = hostcalls::set_shared_data(&board.standing, Some(&standing.to_bytes()), None);
        }
        let mut feeder = Self { worker: Worker::new(host::random()), board, call: None };
        let started = Instant::now();
        feeder.with_room(feed, gate, |worker, fed, room| {
            worker.load(fed, room, &mut || started.elapsed() < FIRST_TURN);
        });
        feeder
    }

    /// Does what there is to do; whether there is more to do at once.
    pub(super) fn turn(&mut self, feed: &Feed, gate: &Gate) -> bool {
        let started = Instant::now();
        let turn =
            self.with_room(feed, gate, |worker, fed, room| worker.turn(fed, room, &mut || started.elapsed() < TURN));
        if turn.is_busy || turn.ask.is_some() {
            host::log(LogLevel::Debug, || format!("revocations: a turn of {} µs", started.elapsed().as_micros()));
        }
        if let Some(end) = &turn.ended {
            tell(end, feed, gate);
        }
        if let Some(ask) = &turn.ask {
            self.send(ask, feed, gate);
        }
        gate.tell_revocations();
        turn.is_busy
    }

    /// Takes the answer to a call; whether it was to one of the feed's.
    pub(super) fn receive(&mut self, feed: &Feed, gate: &Gate, token: u32, headers: usize, body_size: usize) -> bool {
        if self.call != Some(token) {
            return false;
        }
        self.call = None;
        let started = Instant::now();
        self.take(answer(headers, body_size), feed, gate);
        host::log(LogLevel::Debug, || {
            format!("revocations: an answer of {body_size} bytes, {} µs", started.elapsed().as_micros())
        });
        true
    }

    fn take(&mut self, answer: Result<Answer, FeedFault>, feed: &Feed, gate: &Gate) {
        let ended = self.with_room(feed, gate, |worker, _, room| worker.receive(answer, room));
        if let Some(end) = &ended {
            tell(end, feed, gate);
        }
    }

    fn send(&mut self, ask: &Ask, feed: &Feed, gate: &Gate) {
        let mut headers = vec![("accept", "application/revocations+jwt, application/jwt, */*")];
        let conditions = [("if-none-match", &ask.etag), ("range", &ask.range), ("if-range", &ask.if_range)];
        headers.extend(conditions.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        let request = Request {
            cluster: &feed.cluster,
            timeout: ask.timeout,
            method: "GET",
            authority: feed.url.authority(),
            path: &ask.path,
            headers,
            body: None,
        };
        match request.send() {
            Some(token) => self.call = Some(token),
            None => self.take(Err(FeedFault::NotSent), feed, gate),
        }
    }

    fn with_room<T>(
        &mut self,
        feed: &Feed,
        gate: &Gate,
        act: impl FnOnce(&mut Worker, &mut crate::revocation::set::Fed, &Room<'_>) -> T,
    ) -> T {
        let (board, signatures, nonce, now) = (&self.board, &HostSignatures, host::random(), host::now());
        let fed = &mut gate.revocations.borrow_mut().fed;
        // Until something is held nobody is served, and what is about to be stale must not wait either.
        let is_gentle = fed.age(now).is_some_and(|age| age < feed.max_staleness / 4);
        let room = Room { feed, board, signatures, nonce, now, is_gentle };
        act(&mut self.worker, fed, &room)
    }
}

/// Says how an answer ended.
fn tell(end: &End, feed: &Feed, gate: &Gate) {
    match end {
        End::Confirmed { .. } => {}
        End::Failed(fault) => {
            gate.meters.feed_failed();
            host::log(LogLevel::Warn, || {
                format!("revocations not fetched: {} by cluster {}: {fault}", feed.url, feed.cluster)
            });
        }
        End::Appended { entries, sequence, .. } => {
            host::log(LogLevel::Info, || format!("revocations: {entries} new, sequence {sequence}: {}", feed.url));
        }
        End::Compacted(written, _) | End::Published(written, _) => {
            host::log(LogLevel::Info, || format!("revocations: a base of {}: {}", written.records, feed.url));
        }
    }
}

fn answer(headers: usize, body_size: usize) -> Result<Answer, FeedFault> {
    let response = Response::arrived(headers, body_size).ok_or(FeedFault::NoAnswer)?;
    match response.status {
        200 | 206 => {
            // One byte more shows that it is too long.
            let body = response.body(MAX_BODY_BYTES.saturating_add(1));
            let etag = response.header("etag").and_then(|etag| Standing::usable_etag(etag.as_bytes()));
            if response.status == 200 {
                return Ok(Answer::Body { body, etag });
            }
            let range = response.header("content-range");
            let part = range.and_then(|range| Part::read(&range, body)).ok_or(FeedFault::Part)?;
            Ok(Answer::Part { part, etag })
        }
        304 => Ok(Answer::NotModified),
        status => Err(FeedFault::Status(status)),
    }
}

/// The feed's places in shared data.
struct SharedBoard {
    standing: String,
    prefix: String,
}

impl SharedBoard {
    fn new(url: &Address) -> Self {
        let prefix = format!("entra_gate.revocations/{url}");
        Self { standing: format!("{prefix}/standing"), prefix }
    }

    fn key(&self, place: Place) -> String {
        match place {
            Place::Chunk { parity, index } => format!("{}/{parity}/chunk/{index}", self.prefix),
            Place::Delta { parity, index } => format!("{}/{parity}/delta/{index}", self.prefix),
        }
    }
}

impl Board for SharedBoard {
    fn standing(&self) -> Option<(Standing, u32)> {
        let (bytes, mark) = hostcalls::get_shared_data(&self.standing).ok()?;
        Some((Standing::from_bytes(&bytes?)?, mark?))
    }

    fn swap(&self, standing: &Standing, mark: u32) -> bool {
        hostcalls::set_shared_data(&self.standing, Some(&standing.to_bytes()), Some(mark)).is_ok()
    }

    fn read(&self, place: Place) -> Option<Vec<u8>> {
        hostcalls::get_shared_data(&self.key(place)).ok()?.0
    }

    fn write(&self, place: Place, value: &[u8]) {
        let _ = hostcalls::set_shared_data(&self.key(place), Some(value), None);
    }
}
