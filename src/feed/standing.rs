//! How the feed stands, for all workers of the process: what is on the board, and who asks for the next.
//!
//! It is written last, after what it speaks of, and by compare-and-swap.

use std::time::Duration;

use prost::Message;

use super::board::Generation;
use super::source::Feed;
use crate::keys::freshness::{Millis, millis};
use crate::revocation::fingerprint::HashKey;

/// How long a worker that fetches is waited for, from its last sign of life.
const LEASE: Duration = Duration::from_secs(3);
/// The longest pause after failures, unless the interval is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The pause between two requests of which the first brought news, where the feed holds answers back.
const EAGER_PAUSE: Duration = Duration::from_millis(50);
/// How far ahead of one worker's clock another's standing may be.
const CLOCK_SLACK: Duration = Duration::from_secs(10);
/// Longest `ETag` that is sent back, in bytes.
const MAX_ETAG_BYTES: usize = 256;

/// The standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is on the board.
    pub generation: Generation,
    /// How many chunks its base has.
    pub chunks: u32,
    /// How many records they hold.
    pub records: u32,
    /// How many deltas belong to it: those that it was published with, and those that came since.
    pub deltas: u32,
    /// How many came since.
    pub new_deltas: u32,
    /// How many entries they hold.
    pub new_entries: u32,
    /// The key of its fingerprints.
    pub key: HashKey,
    /// The thumbprint of the key that signed it.
    pub signer: [u8; 32],
    /// Its sequence.
    pub sequence: u64,
    /// When the last document ends, in Unix seconds; 0 for never.
    pub expires: u64,
    /// When it was last known to be current; 0 before the first answer.
    pub confirmed_at: Millis,
    /// Whether a snapshot is needed, although there may be a generation.
    pub snapshot_wanted: bool,
    /// The `ETag` of the last document.
    pub etag: Option<String>,
    /// Most chunks that the places of either parity ever held.
    pub most_chunks: [u32; 2],
    /// Who fetches.
    pub owner: u64,
    /// Until when he is waited for; 0 when nobody fetches.
    pub lease_until: Millis,
    /// When a request was last started.
    pub asked_at: Millis,
    /// Requests that failed since the last good one.
    pub failures: u32,
    /// Whether the next request need not wait for the interval.
    pub is_eager: bool,
}

impl Standing {
    /// Before anything was fetched, with a random key for feeds that bring none.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self {
            generation: Generation::default(),
            chunks: 0,
            records: 0,
            deltas: 0,
            new_deltas: 0,
            new_entries: 0,
            key,
            signer: [0; 32],
            sequence: 0,
            expires: 0,
            confirmed_at: 0,
            snapshot_wanted: false,
            etag: None,
            most_chunks: [0; 2],
            owner: 0,
            lease_until: 0,
            asked_at: 0,
            failures: 0,
            is_eager: false,
        }
    }

    /// Whether there is something on the board that a key of the feed's has signed.
    #[must_use]
    pub fn is_held(&self, feed: &Feed) -> bool {
        self.generation.number > 0 && feed.keys.include(&self.signer)
    }

    /// Whether what is held can be built upon, so that the feed may answer that there is nothing new.
    #[must_use]
    pub fn goes_on(&self, feed: &Feed) -> bool {
        self.is_held(feed) && !self.snapshot_wanted
    }

    /// What to ask for: what came since, or everything.
    #[must_use]
    pub fn since(&self, feed: &Feed) -> u64 {
        if self.goes_on(feed) { self.sequence } else { 0 }
    }

    /// Whether this worker may do something for all: nobody else does.
    #[must_use]
    pub fn is_free(&self, me: u64, now: Millis) -> bool {
        self.owner == me || self.lease_until <= now || self.was_clock_set_back(now)
    }

    /// Whether the next request is due.
    #[must_use]
    pub fn is_due(&self, feed: &Feed, now: Millis) -> bool {
        if self.was_clock_set_back(now) {
            return true;
        }
        let pause = match self.failures {
            0 if self.confirmed_at == 0 || !self.goes_on(feed) => EAGER_PAUSE,
            0 if self.is_eager => EAGER_PAUSE,
            0 => feed.interval,
            failures => {
                let doubled = feed.interval.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
                doubled.min(BACKOFF_MAX.max(feed.interval))
            }
        };
        now >= self.asked_at.saturating_add(millis(pause))
    }

    /// Taken upon himself by a worker, to ask.
    #[must_use]
    pub fn asked(self, me: u64, now: Millis) -> Self {
        Self { asked_at: now, ..self.taken(me, now) }
    }

    /// Taken upon himself by a worker, or kept.
    #[must_use]
    pub fn taken(self, me: u64, now: Millis) -> Self {
        Self { owner: me, lease_until: now.saturating_add(millis(LEASE)), ..self }
    }

    /// Whether the worker that has it is soon no longer waited for. It need not say at every turn that it is there.
    #[must_use]
    pub fn is_lease_short(&self, now: Millis) -> bool {
        self.lease_until < now.saturating_add(millis(LEASE) / 2)
    }

    /// After an answer that was good.
    #[must_use]
    pub fn confirmed(self, feed: &Feed, now: Millis, news: News) -> Self {
        let waited = now.saturating_sub(self.asked_at);
        let held_back = !feed.long_poll.is_zero() && waited >= millis(feed.long_poll) / 2;
        let is_eager = held_back || (!feed.long_poll.is_zero() && news == News::Some);
        Self { confirmed_at: now, failures: 0, lease_until: 0, is_eager, ..self }
    }

    /// After a failure. What is held stays.
    #[must_use]
    pub fn failed(self, wanted: Wanted) -> Self {
        Self {
            failures: self.failures.saturating_add(1),
            lease_until: 0,
            snapshot_wanted: self.snapshot_wanted || wanted == Wanted::Snapshot,
            ..self
        }
    }

    fn was_clock_set_back(&self, now: Millis) -> bool {
        self.asked_at > now.saturating_add(millis(CLOCK_SLACK))
    }

    /// An `ETag` that can be sent back: visible characters, and not too many.
    #[must_use]
    pub fn usable_etag(value: &[u8]) -> Option<String> {
        let visible = value.iter().all(u8::is_ascii_graphic) && (1..=MAX_ETAG_BYTES).contains(&value.len());
        visible.then(|| std::str::from_utf8(value).ok().map(str::to_owned)).flatten()
    }

    /// The record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        StandingRecord {
            format: 1,
            number: self.generation.number,
            nonce: self.generation.nonce,
            chunks: self.chunks,
            records: self.records,
            deltas: self.deltas,
            new_deltas: self.new_deltas,
            new_entries: self.new_entries,
            key: self.key.bytes().to_vec(),
            signer: self.signer.to_vec(),
            sequence: self.sequence,
            expires: self.expires,
            confirmed_at: self.confirmed_at,
            snapshot_wanted: self.snapshot_wanted,
            etag: self.etag.clone(),
            most_even: self.most_chunks[0],
            most_odd: self.most_chunks[1],
            owner: self.owner,
            lease_until: self.lease_until,
            asked_at: self.asked_at,
            failures: self.failures,
            is_eager: self.is_eager,
        }
        .encode_to_vec()
    }

    /// Reads a record; none if it is no such.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let record = StandingRecord::decode(bytes).ok().filter(|record| record.format == 1)?;
        Some(Self {
            generation: Generation { number: record.number, nonce: record.nonce },
            chunks: record.chunks,
            records: record.records,
            deltas: record.deltas,
            new_deltas: record.new_deltas,
            new_entries: record.new_entries,
            key: HashKey::new(record.key.try_into().ok()?),
            signer: record.signer.try_into().ok()?,
            sequence: record.sequence,
            expires: record.expires,
            confirmed_at: record.confirmed_at,
            snapshot_wanted: record.snapshot_wanted,
            etag: record.etag,
            most_chunks: [record.most_even, record.most_odd],
            owner: record.owner,
            lease_until: record.lease_until,
            asked_at: record.asked_at,
            failures: record.failures,
            is_eager: record.is_eager,
        })
    }
}

/// Whether a good answer brought anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It did not.
    None,
    /// It did.
    Some,
}

/// What a failure makes the next request ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The same once more.
    Same,
    /// Everything.
    Snapshot,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct StandingRecord {
    #[prost(uint32, tag = "15")]
    format: u32,
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(fixed64, tag = "2")]
    nonce: u64,
    #[prost(uint32, tag = "3")]
    chunks: u32,
    #[prost(uint32, tag = "4")]
    records: u32,
    #[prost(uint32, tag = "5")]
    deltas: u32,
    #[prost(bytes = "vec", tag = "6")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    signer: Vec<u8>,
    #[prost(uint64, tag = "8")]
    sequence: u64,
    #[prost(uint64, tag = "9")]
    confirmed_at: u64,
    #[prost(bool, tag = "10")]
    snapshot_wanted: bool,
    #[prost(string, optional, tag = "11")]
    etag: Option<String>,
    #[prost(uint32, tag = "12")]
    most_even: u32,
    #[prost(uint32, tag = "13")]
    most_odd: u32,
    #[prost(fixed64, tag = "14")]
    owner: u64,
    #[prost(uint64, tag = "16")]
    lease_until: u64,
    #[prost(uint64, tag = "17")]
    asked_at: u64,
    #[prost(uint32, tag = "18")]
    failures: u32,
    #[prost(bool, tag = "19")]
    is_eager: bool,
    #[prost(uint32, tag = "20")]
    new_deltas: u32,
    #[prost(uint32, tag = "21")]
    new_entries: u32,
    #[prost(uint64, tag = "22")]
    expires: u64,
}

#[cfg(test)]
mod tests {
    use super::super::source::{Signers, WhenStale};
    use super::*;
    use crate::jose::jwk::KeySet;
    use crate::keys::document::Address;

    const START: Millis = 1_760_000_000_000;
    const JWKS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1",
        "x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#;

    fn feed(long_poll: u64) -> Feed {
        Feed {
            url: Address::parse("https://revocations.example/feed").unwrap(),
            cluster: "revocations".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            long_poll: Duration::from_secs(long_poll),
            keys: Signers::new(KeySet::read(JWKS).unwrap()),
            max_staleness: Duration::from_secs(300),
            when_stale: WhenStale::Deny,
        }
    }

    fn held(feed: &Feed) -> Standing {
        let signer = feed.keys.keys().keys().next().unwrap().thumbprint();
        let generation = Generation { number: 1, nonce: 7 };
        Standing { generation, signer, sequence: 9, ..Standing::new(HashKey::new([1; 16])) }
    }

    #[test]
    fn nothing_held_is_asked_for_at_once_and_everything() {
        let feed = feed(0);
        let standing = Standing::new(HashKey::new([1; 16]));
        assert!(standing.is_due(&feed, START) && standing.is_free(1, START));
        assert_eq!(standing.since(&feed), 0);
        let held = held(&feed);
        assert_eq!(held.since(&feed), 9);
        assert_eq!(Standing { snapshot_wanted: true, ..held.clone() }.since(&feed), 0);
        // What a key has signed that is no longer pinned is not held.
        assert_eq!(Standing { signer: [0; 32], ..held }.since(&feed), 0);
    }

    #[test]
    fn one_worker_asks_and_another_takes_over_when_it_falls_silent() {
        let asked = Standing::new(HashKey::new([1; 16])).asked(1, START);
        assert!(asked.is_free(1, START) && !asked.is_free(2, START + 2_999));
        assert!(asked.is_free(2, START + 3_000));
        let kept = asked.taken(1, START + 2_900);
        assert!(!kept.is_free(2, START + 5_899));
        let done = kept.confirmed(&feed(0), START + 2_950, News::None);
        assert!(done.is_free(2, START + 2_950));
    }

    #[test]
    fn requests_keep_their_distance() {
        let feed = feed(0);
        let good = held(&feed).asked(1, START).confirmed(&feed, START + 20, News::Some);
        assert!(!good.is_due(&feed, START + 999) && good.is_due(&feed, START + 1_000));
        let mut failing = good;
        let mut now = START;
        for pause in [1, 2, 4, 8, 10, 10] {
            now += 1_000_000;
            failing = failing.asked(1, now).failed(Wanted::Same);
            assert!(!failing.is_due(&feed, now + pause * 1_000 - 1), "{pause}");
            assert!(failing.is_due(&feed, now + pause * 1_000), "{pause}");
        }
        assert_eq!(failing.confirmed(&feed, now, News::None).failures, 0);
    }

    #[test]
    fn where_answers_are_held_back_the_next_request_follows_at_once() {
        let feed = feed(20);
        let asked = held(&feed).asked(1, START);
        let eager = |answered: Millis, news| {
            asked.clone().confirmed(&feed, START + answered, news).is_due(&feed, START + answered.max(50))
        };
        assert!(eager(10, News::Some));
        assert!(eager(20_000, News::None));
        // Without news and at once: a feed that does not hold back is not asked without end.
        assert!(!eager(10, News::None));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_asking() {
        let feed = feed(0);
        let ahead = held(&feed).asked(1, START + 3_600_000);
        assert!(ahead.is_due(&feed, START) && ahead.is_free(2, START));
        assert!(!held(&feed).asked(1, START + 500).is_due(&feed, START));
    }

    #[test]
    fn a_standing_survives_its_record() {
        let mut standing = held(&feed(0)).asked(u64::MAX, START).failed(Wanted::Snapshot);
        standing.etag = Some("\"9\"".into());
        standing.most_chunks = [3, 4];
        (standing.chunks, standing.records, standing.deltas, standing.new_deltas, standing.new_entries) =
            (1, 2, 3, 4, 5);
        (standing.confirmed_at, standing.is_eager) = (START, true);
        assert_eq!(Standing::from_bytes(&standing.to_bytes()), Some(standing));
        for bytes in [&b""[..], b"x", b"\x78\x01"] {
            assert_eq!(Standing::from_bytes(bytes), None);
        }
    }

    #[test]
    fn only_a_tag_that_can_be_sent_back_is_kept() {
        for (tag, usable) in [("\"a\"", true), ("W/\"1\"", true), ("", false), ("a b", false), ("a\r\nb", false)] {
            assert_eq!(Standing::usable_etag(tag.as_bytes()).is_some(), usable, "{tag:?}");
        }
        assert_eq!(Standing::usable_etag(&[b'a'; MAX_ETAG_BYTES + 1]), None);
        assert_eq!(Standing::usable_etag(&[0xff]), None);
    }
}
