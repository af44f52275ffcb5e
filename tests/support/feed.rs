//! A feed without a network: a service with a log of entries, its signed documents, and the workers of one Envoy.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::feed::board::{Board, Place};
use entra_gate::feed::document::Claims;
use entra_gate::feed::page::{Paging, pack};
use entra_gate::feed::parts::Part;
use entra_gate::feed::source::{Feed, Signers, WhenStale};
use entra_gate::feed::standing::Standing;
use entra_gate::feed::token;
use entra_gate::feed::work::{End, FeedFault};
use entra_gate::feed::worker::{Answer, Ask, Room, Turn, Worker};
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::jwk::KeySet;
use entra_gate::jose::signature::Software;
use entra_gate::keys::document::Address;
use entra_gate::revocation::fingerprint::HashKey;
use entra_gate::revocation::{Entry, Known, Revocations, Subject};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::json;

/// Unix seconds.
pub(crate) const NOW: u64 = 1_760_000_000;

/// A generator that repeats itself in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below another.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A worthless key of the feed.
pub(crate) fn key(name: u8) -> SigningKey {
    SigningKey::from_slice(&[name; 32]).unwrap()
}

/// The JWK set of these keys.
pub(crate) fn jwks(names: &[u8]) -> serde_json::Value {
    let jwk = |name: &u8| {
        let point = key(*name).verifying_key().to_sec1_point(false);
        let (x, y) = (&point.as_bytes()[1..33], &point.as_bytes()[33..]);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({ "kty": "EC", "crv": "P-256", "kid": name.to_string(), "x": x, "y": y })
    };
    json!({ "keys": names.iter().map(jwk).collect::<Vec<_>>() })
}

pub(crate) fn feed(names: &[u8]) -> Feed {
    Feed {
        url: Address::parse("https://revocations.example/v1/feed").unwrap(),
        cluster: "revocations".into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        long_poll: Duration::ZERO,
        keys: Signers::new(KeySet::read(jwks(names).to_string().as_bytes()).unwrap()),
        max_staleness: Duration::from_secs(300),
        when_stale: WhenStale::Deny,
    }
}

/// A payload as a signed document.
pub(crate) fn sign(name: u8, payload: &str) -> Vec<u8> {
    let input = token::signing_input(Algorithm::Es256, &name.to_string(), payload);
    let signature: Signature = key(name).sign(input.as_bytes());
    token::compact(&input, &signature.to_bytes()).into_bytes()
}

pub(crate) fn user(at: u64) -> Subject {
    Subject::User { tenant: "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b".into(), user: at.to_string() }
}

/// A service: what it was told, in order, and how it answers.
pub(crate) struct Service {
    pub(crate) signer: u8,
    pub(crate) log: Vec<Entry>,
    /// Entries beyond which a snapshot is packed.
    pub(crate) plain_most: usize,
    /// Most bytes of a part, where it knows of ranges.
    pub(crate) part_most: Option<usize>,
    /// What the sequence was before the log.
    pub(crate) first: u64,
    pub(crate) pages: BTreeMap<String, Vec<u8>>,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self { signer: 1, log: Vec::new(), plain_most: usize::MAX, part_most: None, first: 0, pages: BTreeMap::new() }
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    pub(crate) fn claims(&self, base: Option<u64>) -> Claims {
        let sequence = self.sequence();
        let issuer = "https://revocations.example".into();
        Claims { issuer, issued_at: NOW, expires: None, sequence, base, changes_since: None }
    }

    pub(crate) fn snapshot(&mut self) -> Vec<u8> {
        if self.log.len() <= self.plain_most {
            return sign(self.signer, &self.claims(None).payload(&self.log, None));
        }
        let hash_key = HashKey::new([9; 16]);
        let packed = pack(self.log.iter().cloned(), hash_key, 700);
        let mut names = Vec::new();
        for page in packed.pages {
            let path = format!("/v1/feed/pages/{}", URL_SAFE_NO_PAD.encode(page.digest));
            names.push(page.name(path.clone()));
            self.pages.insert(path, page.body);
        }
        let paging = Paging { key: hash_key, pages: names };
        sign(self.signer, &self.claims(None).payload(&packed.rest, Some(&paging)))
    }

    /// What a publisher writes: pages of the first so many entries, and what came since a state, until a time.
    pub(crate) fn head(&mut self, packed: usize, since: usize, expires: Option<u64>) -> Vec<u8> {
        let hash_key = HashKey::new([9; 16]);
        let pages = pack(self.log[..packed].iter().cloned(), hash_key, 700);
        let mut names = Vec::new();
        for page in pages.pages {
            let path = format!("/pages/{}", URL_SAFE_NO_PAD.encode(page.digest));
            names.push(page.name(path.clone()));
            self.pages.insert(path, page.body);
        }
        let entries: Vec<Entry> = pages.rest.into_iter().chain(self.log[packed.min(since)..].iter().cloned()).collect();
        let paging = Paging { key: hash_key, pages: names };
        let claims = Claims { expires, changes_since: Some(since as u64), ..self.claims(None) };
        sign(self.signer, &claims.payload(&entries, Some(&paging)))
    }

    /// What came since a sequence.
    pub(crate) fn delta(&self, since: u64) -> Vec<u8> {
        let entries = &self.log[usize::try_from(since - self.first).unwrap()..];
        sign(self.signer, &self.claims(Some(since)).payload(entries, None))
    }

    /// Answers as a good service does.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Result<Answer, FeedFault> {
        let etag = format!("\"{}\"", self.sequence());
        if let Some(page) = self.pages.get(&ask.path) {
            return Ok(Answer::Body { body: page.clone(), etag: None });
        }
        let since = ask.path.split("since=").nth(1).unwrap().split('&').next().unwrap().parse::<u64>().unwrap();
        if since > 0 && ask.etag.as_ref() == Some(&etag) {
            return Ok(Answer::NotModified);
        }
        let body = if since > self.first { self.delta(since) } else { self.snapshot() };
        let is_same = ask.if_range.as_ref().is_none_or(|seen| *seen == etag);
        let Some(most) = self.part_most.filter(|_| is_same) else {
            return Ok(Answer::Body { body, etag: Some(etag) });
        };
        let range = ask.range.as_ref().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let bytes = &body[first..body.len().min(last + 1).min(first + most)];
        let part = Part { first, total: body.len(), bytes: bytes.to_vec() };
        Ok(Answer::Part { part, etag: Some(etag) })
    }

    /// What is known of each subject.
    pub(crate) fn known(&self) -> BTreeMap<Subject, Known> {
        let mut all: BTreeMap<Subject, Known> = BTreeMap::new();
        for entry in &self.log {
            let known = Known::from(entry);
            all.entry(entry.subject.clone()).and_modify(|other| *other = other.merge(known)).or_insert(known);
        }
        all
    }
}

/// Shared data in a map.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) values: RefCell<BTreeMap<Place, Vec<u8>>>,
    standing: RefCell<Option<(Vec<u8>, u32)>>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let shared = Self::default();
        *shared.standing.borrow_mut() = Some((Standing::new(HashKey::new([3; 16])).to_bytes(), 1));
        shared
    }

    pub(crate) fn now(&self) -> Standing {
        self.standing().unwrap().0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.values.borrow().values().map(Vec::len).sum()
    }
}

impl Board for Shared {
    fn standing(&self) -> Option<(Standing, u32)> {
        let standing = self.standing.borrow();
        let (bytes, mark) = standing.as_ref()?;
        Some((Standing::from_bytes(bytes).unwrap(), *mark))
    }

    fn swap(&self, standing: &Standing, mark: u32) -> bool {
        let mut held = self.standing.borrow_mut();
        if held.as_ref().unwrap().1 != mark {
            return false;
        }
        *held = Some((standing.to_bytes(), mark + 1));
        true
    }

    fn read(&self, place: Place) -> Option<Vec<u8>> {
        self.values.borrow().get(&place).cloned()
    }

    fn write(&self, place: Place, value: &[u8]) {
        assert!(value.len() <= 65_536);
        self.values.borrow_mut().insert(place, value.to_vec());
    }
}

/// A worker of Envoy's.
pub(crate) struct Node {
    pub(crate) worker: Worker,
    pub(crate) set: Revocations,
    /// What it has sent and nobody has answered.
    pub(crate) asked: Option<Ask>,
    pub(crate) ended: VecDeque<End>,
}

/// All workers of an Envoy, and the time.
pub(crate) struct Envoy {
    pub(crate) feed: Feed,
    pub(crate) shared: Shared,
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: u64,
    pub(crate) dice: Dice,
}

impl Envoy {
    pub(crate) fn new(workers: usize, feed: Feed) -> Self {
        let nodes = (0..workers).map(|_| Node::new(0)).collect();
        let mut envoy = Self { feed, shared: Shared::new(), nodes, now: NOW * 1_000, dice: Dice::new(1) };
        (0..workers).for_each(|at| envoy.restart(at));
        envoy
    }

    /// Replaces a worker's VM: what it held and waited for is gone.
    pub(crate) fn restart(&mut self, at: usize) {
        self.nodes[at] = Node::new(self.dice.number());
    }

    /// One turn of a worker with room for so many steps.
    pub(crate) fn turn(&mut self, at: usize, steps: u64) -> Turn {
        let (node, room) = (
            &mut self.nodes[at],
            Room {
                feed: &self.feed,
                board: &self.shared,
                signatures: &Software,
                nonce: self.dice.number(),
                now: self.now,
                is_gentle: steps % 2 == 1,
            },
        );
        let mut left = steps;
        let turn = node.worker.turn(&mut node.set.fed, &room, &mut || {
            left = left.saturating_sub(1);
            left > 0
        });
        if let Some(ask) = turn.ask.clone() {
            node.asked = Some(ask);
        }
        node.ended.extend(turn.ended.clone());
        turn
    }

    /// Brings a worker the answer to what it asked.
    pub(crate) fn answer(&mut self, at: usize, answer: Result<Answer, FeedFault>) {
        let node = &mut self.nodes[at];
        node.asked = None;
        let room = Room {
            feed: &self.feed,
            board: &self.shared,
            signatures: &Software,
            nonce: self.dice.number(),
            now: self.now,
            is_gentle: false,
        };
        let ended = node.worker.receive(answer, &room);
        node.ended.extend(ended);
    }

    /// Lets everything go on for some time with a good service, ticking every 100 ms.
    pub(crate) fn run(&mut self, service: &mut Service, ticks: usize) {
        for _ in 0..ticks {
            self.now += 100;
            for at in 0..self.nodes.len() {
                for _ in 0..10_000 {
                    if let Some(ask) = self.nodes[at].asked.clone() {
                        let answer = service.answer(&ask);
                        self.answer(at, answer);
                    }
                    let turn = self.turn(at, 50);
                    if !turn.is_busy && turn.ask.is_none() {
                        break;
                    }
                }
            }
        }
    }

    /// Brings everybody a document, and the pages that it makes somebody ask for; how many those were.
    pub(crate) fn take(&mut self, service: &Service, document: &[u8]) -> usize {
        let mut pages = 0;
        self.now += 1_000;
        for _ in 0..1_000 {
            let mut is_busy = false;
            for at in 0..self.nodes.len() {
                if let Some(ask) = self.nodes[at].asked.clone() {
                    let page = service.pages.get(&ask.path).cloned();
                    pages += usize::from(page.is_some());
                    let body = page.unwrap_or_else(|| document.to_vec());
                    self.answer(at, Ok(Answer::Body { body, etag: Some("\"head\"".into()) }));
                }
                let turn = self.turn(at, 50);
                is_busy |= turn.is_busy || turn.ask.is_some();
            }
            if !is_busy {
                return pages;
            }
        }
        panic!("it does not end");
    }

    pub(crate) fn revokes(&self, at: usize, subject: &Subject, issued_at: u64) -> bool {
        let subjects = [subject.clone()];
        self.nodes[at].set.find(&subjects, Some(issued_at), Duration::ZERO, self.now / 1_000).is_some()
    }
}

impl Node {
    fn new(me: u64) -> Self {
        Self { worker: Worker::new(me), set: Revocations::default(), asked: None, ended: VecDeque::new() }
    }
}
