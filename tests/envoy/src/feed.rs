//! A revocation feed for tests: it signs what it is told, keeps count of who asks, and misbehaves on demand.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::feed::page::{Paging, pack};
use entra_gate::revocation::Entry;
use entra_gate::revocation::fingerprint::HashKey;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Where pages are.
const PAGES: &str = "/v1/feed/pages/";

/// A running feed; it stops when dropped.
#[derive(Debug)]
pub struct Feed {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

/// What the feed does with a request.
#[derive(Clone, Debug)]
pub enum Conduct {
    /// What a feed should.
    Good,
    /// It answers with these bytes, and 200.
    Body(Vec<u8>),
    /// It answers with this status.
    Status(u16),
    /// It hangs up.
    Reset,
    /// It says nothing for this long, and then hangs up.
    Silent(Duration),
}

/// What a snapshot looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// JSON alone.
    Plain,
    /// Pages of so many records.
    Packed(usize),
}

#[derive(Debug)]
struct State {
    key: u8,
    conduct: Conduct,
    form: Form,
    /// What it was told, in order; the sequence is their number.
    log: Vec<Value>,
    /// Sequences up to which no delta is known.
    forgotten: usize,
    pages: BTreeMap<String, Vec<u8>>,
    /// The last snapshot, which is large, with its sequence.
    snapshot: Option<(usize, Vec<u8>)>,
    asked: Vec<String>,
    served: HashMap<&'static str, usize>,
}

impl Feed {
    /// An empty feed on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into()).await.expect("a free port")
    }

    /// An empty feed at an address.
    ///
    /// # Errors
    /// When it is taken.
    pub async fn start_on(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            key: 1,
            conduct: Conduct::Good,
            form: Form::Plain,
            log: Vec::new(),
            forgotten: 0,
            pages: BTreeMap::new(),
            snapshot: None,
            asked: Vec::new(),
            served: HashMap::new(),
        }));
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // A client that hangs up is its own business.
                tokio::spawn(async move { drop(serve(stream, &state).await) });
            }
        });
        Ok(Self { addr, state, server })
    }

    /// Where it is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `revocation.feed` of the plugin's configuration, with these members besides.
    #[must_use]
    pub fn configuration(&self, members: &Value) -> Value {
        let mut feed = json!({
            "url": "https://revocations.example/v1/feed",
            "cluster": "revocations",
            "interval": "200ms",
            "keys": jwks(&[1]),
        });
        crate::bootstrap::merge(&mut feed, members);
        feed
    }

    /// Tells it of entries; the sequence after them.
    pub fn add(&self, entries: impl IntoIterator<Item = Value>) -> usize {
        let mut state = self.state();
        state.log.extend(entries);
        state.log.len()
    }

    /// Replaces all that it knows, and has the snapshot ready. The sequence goes on.
    pub fn replace(&self, entries: Vec<Value>) {
        let (sequence, form, key) = {
            let state = self.state();
            (state.log.len().max(state.forgotten) + 1, state.form, state.key)
        };
        // Those that are no longer true are no entries at all.
        let mut log = vec![Value::Null; sequence.saturating_sub(entries.len())];
        log.extend(entries);
        // Nobody who asks in the meantime has to wait.
        let snapshot = Snapshot::new(&log, form, key);
        let mut state = self.state();
        state.forgotten = log.len();
        state.hold(log.len(), snapshot);
        state.log = log;
    }

    /// Makes the snapshot of what it knows now. Without optimisation that takes seconds for tens of thousands of entries,
    /// longer than whoever asks waits.
    pub fn prepare(&self) {
        let (log, form, key) = {
            let state = self.state();
            (state.log.clone(), state.form, state.key)
        };
        let snapshot = Snapshot::new(&log, form, key);
        self.state().hold(log.len(), snapshot);
    }

    /// From now on it behaves like this.
    pub fn behave(&self, conduct: Conduct) {
        self.state().conduct = conduct;
    }

    /// From now on there is this page as well, for heads that are not this feed's own.
    pub fn hold_page(&self, path: &str, page: Vec<u8>) {
        self.state().pages.insert(path.to_owned(), page);
    }

    /// From now on snapshots look like this.
    pub fn form(&self, form: Form) {
        let mut state = self.state();
        (state.form, state.snapshot) = (form, None);
    }

    /// From now on it signs with this key.
    pub fn sign_with(&self, key: u8) {
        let mut state = self.state();
        (state.key, state.snapshot) = (key, None);
    }

    /// The paths that were asked, and how often.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// How many answers of a kind were given: `snapshot`, `part` of it after the first, `delta`, `page`, `unchanged`.
    #[must_use]
    pub fn served(&self, kind: &str) -> usize {
        self.state().served.get(kind).copied().unwrap_or_default()
    }

    /// A document with these claims, signed by a key.
    #[must_use]
    pub fn document(key: u8, claims: &Value) -> Vec<u8> {
        sign(key, &json!({"alg": "ES256", "kid": key.to_string(), "typ": "revocations+jwt"}), claims)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The public keys of these numbers.
#[must_use]
pub fn jwks(keys: &[u8]) -> Value {
    let jwk = |key: &u8| {
        let point = signing_key(*key).verifying_key().to_sec1_point(false);
        let (x, y) = (&point.as_bytes()[1..33], &point.as_bytes()[33..]);
        json!({
            "kty": "EC",
            "crv": "P-256",
            "kid": key.to_string(),
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        })
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

/// A compact JWS of these parts.
#[must_use]
pub fn sign(key: u8, header: &Value, claims: &Value) -> Vec<u8> {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature: Signature = signing_key(key).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes())).into_bytes()
}

/// A worthless key.
fn signing_key(key: u8) -> SigningKey {
    SigningKey::from_slice(&[key; 32]).expect("a key")
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut received = Vec::new();
    while !received.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&received).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
        Some(line.split_once(": ")?.1.trim().to_owned())
    };
    let parameter = |name: &str| -> Option<usize> {
        let parameters = path.split_once('?')?.1.split('&');
        parameters.filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name)?.1.parse().ok()
    };
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let goes_on = header("range").is_some_and(|range| !range.starts_with("bytes=0-"));
    let conduct = {
        let mut state = lock();
        state.asked.push(path.clone());
        state.conduct.clone()
    };
    let (status, etag, body) = match conduct {
        Conduct::Reset => return Ok(()),
        Conduct::Silent(pause) => {
            sleep(pause).await;
            return Ok(());
        }
        Conduct::Status(status) => (status, String::new(), Vec::new()),
        Conduct::Body(body) => {
            let page = lock().pages.get(&path).cloned();
            (200, String::new(), page.unwrap_or(body))
        }
        Conduct::Good => {
            let mut left = parameter("wait").unwrap_or(0) * 50;
            loop {
                let seen = header("if-none-match");
                let answer = lock().answer(&path, parameter("since").unwrap_or(0), seen.as_deref(), goes_on);
                if answer.0 != 304 || left == 0 {
                    break answer;
                }
                left -= 1;
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    // A part, if one was asked for that is still one of the same.
    let is_same = header("if-range").is_none_or(|seen| seen == etag);
    let part = header("range").filter(|_| status == 200 && is_same).and_then(|range| part(&range, body.len()));
    let (status, range) = match &part {
        Some(part) => (206, format!("content-range: bytes {}-{}/{}\r\n", part.start(), part.end(), body.len())),
        None => (status, String::new()),
    };
    let sent = part.and_then(|part| body.get(part)).unwrap_or(&body);
    let etag = if etag.is_empty() { etag } else { format!("etag: {etag}\r\n") };
    let length = sent.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{range}{etag}\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(sent).await?;
    stream.shutdown().await
}

/// What a `Range` of one part means for a body of this length (RFC 9110, section 14.1.2).
fn part(range: &str, length: usize) -> Option<RangeInclusive<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first < length).then(|| first..=last.min(length - 1))
}

impl State {
    fn answer(&mut self, path: &str, since: usize, seen: Option<&str>, goes_on: bool) -> (u16, String, Vec<u8>) {
        if path.starts_with(PAGES) {
            return match self.pages.get(path).cloned() {
                Some(page) => self.count("page", (200, String::new(), page)),
                None => (404, String::new(), Vec::new()),
            };
        }
        let sequence = self.log.len();
        let etag = format!("\"{sequence}-{}\"", self.key);
        if seen == Some(&etag) {
            return self.count("unchanged", (304, etag, Vec::new()));
        }
        if since > self.forgotten && since <= sequence {
            let entries: Vec<&Value> = self.log[since..].iter().filter(|entry| !entry.is_null()).collect();
            let claims = json!({"iss": "feed", "iat": 1, "seq": sequence, "base": since, "entries": entries});
            return self.count("delta", (200, etag, Feed::document(self.key, &claims)));
        }
        let body = match &self.snapshot {
            Some((at, body)) if *at == sequence => body.clone(),
            _ => self.make_snapshot(),
        };
        self.count(if goes_on { "part" } else { "snapshot" }, (200, etag, body))
    }

    fn make_snapshot(&mut self) -> Vec<u8> {
        let snapshot = Snapshot::new(&self.log, self.form, self.key);
        let body = snapshot.body.clone();
        self.hold(self.log.len(), snapshot);
        body
    }

    fn hold(&mut self, sequence: usize, snapshot: Snapshot) {
        self.pages.extend(snapshot.pages);
        self.snapshot = Some((sequence, snapshot.body));
    }

    fn count(&mut self, kind: &'static str, answer: (u16, String, Vec<u8>)) -> (u16, String, Vec<u8>) {
        *self.served.entry(kind).or_default() += 1;
        answer
    }
}

/// A snapshot, and the pages that it names.
struct Snapshot {
    body: Vec<u8>,
    pages: Vec<(String, Vec<u8>)>,
}

impl Snapshot {
    fn new(log: &[Value], form: Form, key: u8) -> Self {
        let entries: Vec<&Value> = log.iter().filter(|entry| !entry.is_null()).collect();
        let mut claims = json!({"iss": "feed", "iat": 1, "seq": log.len()});
        let mut pages = Vec::new();
        match form {
            Form::Plain => claims["entries"] = json!(entries),
            Form::Packed(records) => {
                let members: Vec<&Map<String, Value>> = entries.iter().filter_map(|entry| entry.as_object()).collect();
                let read = members.into_iter().map(|members| Entry::read(members).expect("an entry"));
                let hash = HashKey::new([7; 16]);
                let packed = pack(read, hash, records);
                let mut names = Vec::new();
                for page in packed.pages {
                    let path = format!("{PAGES}{}", URL_SAFE_NO_PAD.encode(page.digest));
                    names.push(page.name(path.clone()));
                    pages.push((path, page.body));
                }
                claims["packed"] = Paging { key: hash, pages: names }.to_json();
                claims["entries"] = packed.rest.iter().flat_map(Entry::to_json).collect();
            }
        }
        Self { body: Feed::document(key, &claims), pages }
    }
}
