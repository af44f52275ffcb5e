//! A fleet that follows a feed, in numbers: what each answer weighs, what a publisher writes when, who asks when.
//!
//! Nothing here is random but by a seed, and nothing is measured: tests/service/fleet.rs compares it with the real thing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::feed::document::Claims;
use entra_gate::feed::page::{PageName, Paging};
use entra_gate::revocation::fingerprint::HashKey;
use entra_gate::revocation::{Entry, Rule, Subject};

/// Unix seconds at which everything begins.
pub(crate) const NOW: u64 = 1_760_000_000;

/// Bytes around a document, as the service and a store send them, and as a gate asks.
pub(crate) mod weight {
    /// A gate's request: Envoy's own headers included.
    pub(crate) const REQUEST: u64 = 290;
    /// Status line and headers of an answer.
    pub(crate) const HEADERS: u64 = 240;
    /// What is around a payload: header and signature (RS256, 2,048 bits) of a JWS.
    pub(crate) const ENVELOPE: u64 = 490;
}

/// As the publisher has them (src/command/service/publish/round.rs).
pub(crate) mod publisher {
    pub(crate) const OVERLAP: u64 = 150;
    pub(crate) const REPACKED_PART: u64 = 64;
    pub(crate) const REPACKED: std::ops::RangeInclusive<u64> = 8..=2_000;
    /// A third of `--valid-for`.
    pub(crate) const SIGNED_ANEW: u64 = 100;
}

/// Records of a page, and bytes of a record.
const PAGE: u64 = 16_384;
const RECORD: u64 = 16;

/// A user's entry, of a user with a number.
pub(crate) fn entry(number: u64) -> Entry {
    let user = format!("{number:08x}-0000-4000-8000-000000000000");
    let subject = Subject::User { tenant: "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b".into(), user };
    let at = u32::try_from(NOW).unwrap();
    Entry { subject, rule: Rule::not_before(at), expires: Some(at + 87_300) }
}

fn jws(payload: &str) -> u64 {
    weight::ENVELOPE + u64::try_from(URL_SAFE_NO_PAD.encode(payload).len()).unwrap()
}

fn claims(sequence: u64, base: Option<u64>, changes_since: Option<u64>) -> Claims {
    let expires = changes_since.map(|_| NOW + 300);
    Claims { issuer: "entra-gate".into(), issued_at: NOW, expires, sequence, base, changes_since }
}

/// Bytes of deltas.
pub(crate) struct Deltas {
    /// Without entries.
    empty: u64,
    /// A thousand entries more.
    thousand: u64,
}

impl Deltas {
    pub(crate) fn new() -> Self {
        let weigh = |entries: u64| {
            let entries: Vec<Entry> = (0..entries).map(entry).collect();
            jws(&claims(NOW, Some(NOW), None).payload(&entries, None))
        };
        Self { empty: weigh(0), thousand: weigh(1_000) - weigh(0) }
    }

    /// Bytes of a delta of so many entries.
    pub(crate) fn delta(&self, entries: u64) -> u64 {
        self.empty + self.thousand * entries / 1_000
    }
}

/// Bytes of a plain snapshot of so many entries.
pub(crate) fn snapshot(entries: u64) -> u64 {
    let entries: Vec<Entry> = (0..entries).map(entry).collect();
    jws(&claims(NOW, None, None).payload(&entries, None))
}

/// Bytes of a head that tells so many changes beside pages of so many entries, and bytes of those pages.
pub(crate) struct Heads {
    /// Without changes.
    empty: u64,
    /// A thousand changes more.
    thousand: u64,
    /// Of the pages.
    pub(crate) pages: u64,
}

impl Heads {
    pub(crate) fn new(held: u64) -> Self {
        // Whatever the digests are, they weigh the same.
        let page = |records: u64| PageName {
            path: format!("/revocations/pages/{}", URL_SAFE_NO_PAD.encode([7; 32])),
            digest: [7; 32],
            records: usize::try_from(records).unwrap(),
        };
        let full = held / PAGE;
        let pages = (0..full).map(|_| PAGE).chain(Some(held % PAGE).filter(|rest| *rest > 0)).map(page).collect();
        let paging = Paging { key: HashKey::new([7; 16]), pages };
        let weigh = |changes: u64| {
            let entries: Vec<Entry> = (0..changes).map(entry).collect();
            jws(&claims(NOW, None, Some(NOW)).payload(&entries, Some(&paging)))
        };
        Self { empty: weigh(0), thousand: weigh(1_000) - weigh(0), pages: held * RECORD }
    }

    pub(crate) fn head(&self, changes: u64) -> u64 {
        self.empty + self.thousand * changes / 1_000
    }
}

/// Random numbers that are the same each time (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From 0 to below 1.
    pub(crate) fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// When something changes: so many seconds from one change to the next, on average, without any order.
pub(crate) fn changes(every: f64, seconds: f64, dice: &mut Dice) -> Vec<f64> {
    let mut at = 0.0;
    let mut all = Vec::new();
    loop {
        at -= every * (1.0 - dice.part()).ln();
        if at >= seconds {
            return all;
        }
        all.push(at);
    }
}

/// A document that is out from a time on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    pub(crate) from: f64,
    /// How many of the changes it tells of.
    pub(crate) sequence: usize,
    /// What it weighs.
    pub(crate) bytes: u64,
    /// Whoever holds fewer of them fetches pages.
    pub(crate) since: usize,
    /// How many pages, and what they weigh.
    pub(crate) pages: (u64, u64),
}

/// What a publisher writes: heads, and how many bytes of pages.
pub(crate) fn published(changes: &[f64], seconds: f64, held: u64) -> (Vec<Out>, u64) {
    /// From a change to its head: the pause between heads, at most, and writing it.
    const PAUSE: f64 = 1.0;
    const WRITING: f64 = 0.1;
    let heads = Heads::new(held);
    let most = (held / publisher::REPACKED_PART).clamp(*publisher::REPACKED.start(), *publisher::REPACKED.end());
    let (mut all, mut written): (Vec<Out>, u64) = (Vec::new(), 0);
    let mut packed: Option<usize> = None;
    let (mut at, mut next) = (0.0, 0);
    while at < seconds {
        let sequence = changes.partition_point(|change| *change <= at);
        let pages = match packed {
            Some(pages) if u64::try_from(sequence - pages).unwrap() <= most => pages,
            _ => {
                written += heads.pages;
                sequence
            }
        };
        packed = Some(pages);
        // What was out a while ago.
        let overlap = all.iter().rev().find(|out| out.from + publisher::OVERLAP as f64 <= at);
        let since = overlap.map_or(0, |out| out.sequence).min(pages);
        let bytes = heads.head(u64::try_from(sequence - since).unwrap());
        let pages = (held.div_ceil(PAGE), heads.pages);
        all.push(Out { from: at + WRITING, sequence, bytes, since, pages });
        next = changes[next..].partition_point(|change| *change <= at) + next;
        let news = changes.get(next).copied().unwrap_or(f64::INFINITY);
        at = news.max(at + PAUSE).min(at + publisher::SIGNED_ANEW as f64);
    }
    (all, written)
}

/// What a fleet comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// A second, of all gates.
    pub(crate) requests: f64,
    /// A second, of all gates, in both directions.
    pub(crate) bytes: f64,
    /// From a change to the gates, in seconds, in order.
    delays: Vec<f64>,
}

impl Load {
    /// Of so many in a hundred gates and changes, the delay at most, in seconds.
    pub(crate) fn delay(&self, percent: usize) -> f64 {
        let at = self.delays.len() * percent / 100;
        self.delays.get(at.min(self.delays.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }
}

/// How a gate asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asking {
    /// The service, each so many seconds.
    Service(f64),
    /// The service, which holds its answer back for so many seconds, until there is news.
    LongPoll(f64),
    /// What was published, each so many seconds, through a cache that keeps a head for a second.
    Published(f64),
}

/// From a request to its answer, there and back.
const WAY: f64 = 0.02;

/// Lets some gates ask for a time, and counts for all of the fleet: gates know nothing of each other.
pub(crate) fn simulate(
    asking: Asking,
    fleet: u64,
    changes: &[f64],
    out: &[Out],
    seconds: f64,
    dice: &mut Dice,
) -> Load {
    const MOST: u64 = 400;
    let (gates, deltas) = (fleet.min(MOST), Deltas::new());
    let (mut requests, mut bytes, mut delays) = (0_u64, 0_u64, Vec::new());
    for _ in 0..gates {
        let (mut held, mut seen) = (0_usize, 0_usize);
        let mut at = match asking {
            Asking::Service(interval) | Asking::Published(interval) => interval * dice.part(),
            Asking::LongPoll(wait) => wait * dice.part(),
        };
        // A cache's copy is up to a second old, as long as somebody else keeps asking.
        let stale = if fleet > 10 { dice.part() } else { 0.0 };
        while at < seconds {
            requests += 1;
            bytes += weight::REQUEST + weight::HEADERS;
            let (now, sequence, weighs, next) = match asking {
                Asking::Service(interval) => {
                    let now = changes.partition_point(|change| *change <= at);
                    let weighs = if now > held { deltas.delta(u64::try_from(now - held).unwrap()) } else { 0 };
                    (at, now, weighs, at + interval)
                }
                Asking::LongPoll(wait) => {
                    let news = changes.get(held).copied().unwrap_or(f64::INFINITY).max(at);
                    let answered = news.min(at + wait);
                    let now = changes.partition_point(|change| *change <= answered);
                    let weighs = if now > held { deltas.delta(u64::try_from(now - held).unwrap()) } else { 0 };
                    (answered, now, weighs, answered + WAY + 0.05)
                }
                Asking::Published(interval) => {
                    let newest = out.partition_point(|out| out.from <= at - stale);
                    let head = newest.checked_sub(1).and_then(|newest| out.get(newest));
                    let weighs = head.filter(|_| newest > seen).map_or(0, |head| head.bytes);
                    if let Some(Out { pages: (number, weigh), .. }) = head.filter(|head| held < head.since) {
                        requests += number;
                        bytes += weigh + number * (weight::REQUEST + weight::HEADERS);
                    }
                    seen = newest.max(seen);
                    (at, head.map_or(held, |head| head.sequence.max(held)), weighs, at + interval)
                }
            };
            bytes += weighs;
            delays.extend(changes.iter().take(sequence).skip(held).map(|change| now + WAY - change));
            held = sequence;
            at = next;
        }
    }
    delays.sort_by(f64::total_cmp);
    let scale = fleet as f64 / gates as f64 / seconds;
    Load { requests: requests as f64 * scale, bytes: bytes as f64 * scale, delays }
}
