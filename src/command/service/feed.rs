//! The feed as it is served: signed documents, made when somebody asks for them and kept while nothing changes.
//!
//! Nothing here decides what is revoked, and a document never tells less than what was acknowledged before it was asked
//! for. Large sets are told in pages that were packed some time ago, and what changed since (docs/feed.md).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::feed::document::Claims;
use entra_gate::feed::page::{MAX_PAGE_RECORDS, Packed, Page, PageName, Paging, pack};
use entra_gate::feed::token;
use entra_gate::revocation::Entry;
use entra_gate::revocation::fingerprint::HashKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{info, warn};

use super::clock;
use super::signing::{ALGORITHM, KeyFault, Keys};
use super::store::{Head, Packing, Store};

/// Most changes in a delta: whoever lacks more gets a snapshot.
const MOST_CHANGES: u32 = 5_000;
/// Changes after which pages are packed anew, so that the head stays small.
const MOST_SINCE_PACKED: u32 = 2_000;
/// How long a document is served before it is signed again with a newer `iat`.
const FRESH: u64 = 60;
/// Most documents that are kept: gates are few places behind.
const MOST_DRAFTS: usize = 256;
/// Generations of pages that stay available: a gate may still be fetching those that its head names.
const GENERATIONS: usize = 3;
/// Where pages are.
const PAGES: &str = "/v1/feed/pages/";

/// Why there is no document.
#[derive(Debug)]
pub(crate) enum FeedFault {
    Database(sqlx::Error),
    Keys(KeyFault),
    /// A task was not finished.
    Stopped,
}

/// What somebody asks the feed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    /// The place up to which everything is known; 0 for nothing.
    pub(crate) since: u64,
    /// `If-None-Match` (RFC 9110 section 13.1.2); empty for none.
    pub(crate) known: String,
    /// How long the answer may wait for news.
    pub(crate) wait: Duration,
}

/// What the feed answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A document and its `ETag`.
    Document(Document),
    /// Nothing is new since this `ETag`.
    NotModified(String),
}

/// A signed document.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Its `ETag`: the place that it leads to.
    pub(crate) tag: String,
    /// What kind of document it is.
    pub(crate) kind: DocumentKind,
    /// A compact JWS.
    pub(crate) body: Bytes,
    issued_at: u64,
}

/// The kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// What changed since a place.
    Delta,
    /// Everything, in pages.
    Packed,
    /// Everything.
    Snapshot,
}

/// The feed.
pub(crate) struct Publisher {
    issuer: String,
    /// From how many entries on snapshots are packed.
    packed_from: u64,
    keys: Arc<Keys>,
    head: watch::Sender<Head>,
    closing: watch::Sender<bool>,
    /// Apart, because a snapshot may take a while.
    snapshots: Mutex<Drafts>,
    deltas: Mutex<Drafts>,
    /// Pages by the names in their paths.
    pages: RwLock<Vec<Arc<Pages>>>,
    told_of_gate_ahead: AtomicBool,
}

/// The documents that lead to the newest place, by the place that they build on; 0 for a snapshot.
#[derive(Default)]
struct Drafts {
    sequence: u64,
    kid: String,
    documents: HashMap<u64, Document>,
}

/// Everything up to a place, packed.
struct Pages {
    sequence: u64,
    paging: Paging,
    bodies: HashMap<String, Bytes>,
    /// What does not fit into pages.
    rest: Vec<Entry>,
}

impl Publisher {
    /// The feed of a store.
    pub(crate) async fn open(
        issuer: String,
        packed_from: u64,
        keys: Arc<Keys>,
        store: &Store,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self {
            issuer,
            packed_from,
            keys,
            head: watch::Sender::new(store.head().await?),
            closing: watch::Sender::new(false),
            snapshots: Mutex::default(),
            deltas: Mutex::default(),
            pages: RwLock::default(),
            told_of_gate_ahead: AtomicBool::new(false),
        })
    }

    /// How far the feed is.
    pub(crate) fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Looks whether there is news, and tells those who wait for it.
    pub(crate) async fn notice(&self, store: &Store) {
        match store.head().await {
            Ok(head) => {
                self.head.send_if_modified(|known| {
                    let news = head.sequence > known.sequence || head.complete_from > known.complete_from;
                    if news {
                        *known = head;
                    }
                    news
                });
            }
            // The next look tells.
            Err(error) => warn!(%error, "the database was not read"),
        }
    }

    /// Lets nobody wait any longer.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Answers, perhaps after a while.
    pub(crate) async fn answer(&self, question: &Question, store: &Store) -> Result<Answer, FeedFault> {
        let Question { since, known, wait } = question;
        if *since > self.head().sequence {
            // Another instance has told of what this one has not noticed yet.
            self.notice(store).await;
        }
        let head = self.head();
        if *since > head.sequence && !self.told_of_gate_ahead.swap(true, Ordering::Relaxed) {
            let (seen, ends) = (*since, head.sequence);
            warn!(
                seen,
                ends, "a gate has seen more than this database holds: if it was restored, see --sequence-at-least"
            );
        }
        // Whoever knows nothing yet lets nobody in until there is an answer, though there may be nothing to tell.
        let up_to_date = (*since > 0 && *since == head.sequence) || is_known(known, &tag(head.sequence));
        if up_to_date && !wait.is_zero() {
            let (mut news, mut closing) = (self.head.subscribe(), self.closing.subscribe());
            tokio::select! {
                _ = timeout(*wait, news.wait_for(|now| now.sequence != head.sequence)) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        }
        let now = tag(self.head().sequence);
        if is_known(known, &now) {
            return Ok(Answer::NotModified(now));
        }
        self.document(*since, store).await.map(Answer::Document)
    }

    /// A page, by its name.
    pub(crate) async fn page(&self, name: &str, store: &Store) -> Result<Option<Bytes>, FeedFault> {
        let held = {
            let generations = self.pages.read().unwrap_or_else(PoisonError::into_inner);
            generations.iter().find_map(|pages| pages.bodies.get(name).cloned())
        };
        if held.is_some() || !store.is_shared() {
            return Ok(held);
        }
        Ok(store.page(name).await?.map(Bytes::from))
    }

    /// Packs pages anew if too much has changed since the last ones. Whether it did.
    pub(crate) async fn repack(&self, store: &Store) -> Result<bool, FeedFault> {
        if store.count().await? < self.packed_from {
            return Ok(false);
        }
        let packed_at = self.newest_pages(store).await?.map(|pages| pages.sequence);
        if let Some(sequence) = packed_at {
            let (_, changes) = store.changed_after(sequence, MOST_SINCE_PACKED).await?;
            if changes.len() < MOST_SINCE_PACKED as usize {
                return Ok(false);
            }
        }
        self.pack(store).await?;
        Ok(true)
    }

    async fn document(&self, since: u64, store: &Store) -> Result<Document, FeedFault> {
        let Head { sequence, complete_from } = self.head();
        let base = if (complete_from..=sequence).contains(&since) { since } else { 0 };
        // One at a time: the second one finds what the first has made.
        let mut drafts = if base == 0 { self.snapshots.lock().await } else { self.deltas.lock().await };
        // By the same second that the document will be of: read twice, the key of the next one would stand over it.
        let now = clock::seconds();
        let kid = self.kid(now)?;
        if drafts.sequence != sequence || drafts.kid != kid || drafts.documents.len() >= MOST_DRAFTS {
            *drafts = Drafts { sequence, kid, documents: HashMap::new() };
        }
        if let Some(document) = drafts.documents.get(&base)
            && document.issued_at.saturating_add(FRESH) > now
        {
            return Ok(document.clone());
        }
        let document = self.make(base, now, store).await?;
        // A change that came meanwhile is told, but belongs to the next place.
        if document.tag == tag(sequence) {
            drafts.documents.insert(base, document.clone());
        }
        Ok(document)
    }

    async fn make(&self, base: u64, now: u64, store: &Store) -> Result<Document, FeedFault> {
        if base > 0 {
            let (head, changes) = store.changed_after(base, MOST_CHANGES).await?;
            if changes.len() < MOST_CHANGES as usize && head.complete_from <= base {
                let entries = living(changes.into_iter().map(|(_, entry)| entry), now);
                return self.sign(DocumentKind::Delta, head.sequence, Some(base), entries, None, now).await;
            }
        }
        if store.count().await? < self.packed_from {
            let (sequence, entries) = store.after(0).await?;
            return self.sign(DocumentKind::Snapshot, sequence, None, living(entries, now), None, now).await;
        }
        // A lift that came after the pages, and has been forgotten since, must not be missed.
        let complete_from = store.head().await?.complete_from;
        let pages = match self.newest_pages(store).await? {
            Some(pages) if pages.sequence >= complete_from => pages,
            Some(_) | None => self.pack(store).await?,
        };
        let (sequence, changes) = store.after(pages.sequence).await?;
        let entries = living(pages.rest.iter().cloned().chain(changes), now);
        self.sign(DocumentKind::Packed, sequence, None, entries, Some(pages), now).await
    }

    async fn sign(
        &self,
        kind: DocumentKind,
        sequence: u64,
        base: Option<u64>,
        entries: Vec<Entry>,
        pages: Option<Arc<Pages>>,
        now: u64,
    ) -> Result<Document, FeedFault> {
        let issuer = self.issuer.clone();
        let claims = Claims { issuer, issued_at: now, expires: None, sequence, base, changes_since: None };
        let paging = pages.as_ref().map(|pages| pages.paging.clone());
        let body = signed(&self.keys, claims, entries, paging).await?;
        Ok(Document { tag: tag(sequence), kind, body, issued_at: now })
    }

    /// Packs everything.
    async fn pack(&self, store: &Store) -> Result<Arc<Pages>, FeedFault> {
        let mut key = [0; 16];
        SystemRandom::new().fill(&mut key).map_err(|_| FeedFault::Keys(KeyFault::NotMade))?;
        let key = HashKey::new(key);
        let (sequence, packed) = packed(store, key, clock::seconds()).await?;
        let mut names: Vec<PageName> = Vec::new();
        let mut bodies = HashMap::new();
        for page in packed.pages {
            let name = page_name(&page);
            names.push(page.name(format!("{PAGES}{name}")));
            bodies.insert(name, Bytes::from(page.body));
        }
        let pages = Pages { sequence, paging: Paging { key, pages: names }, bodies, rest: packed.rest };
        if store.is_shared() {
            let bodies = pages.bodies.iter().map(|(name, body)| (name.as_str(), body.as_ref()));
            if !store.keep_packing(&pages.told(), bodies, GENERATIONS).await? {
                // Another instance was faster.
                return self.newest_pages(store).await?.ok_or(FeedFault::Stopped);
            }
        }
        info!(sequence, pages = pages.bodies.len(), "the feed's pages are packed");
        Ok(self.hold(pages))
    }

    /// The pages of latest, another instance's included.
    async fn newest_pages(&self, store: &Store) -> Result<Option<Arc<Pages>>, FeedFault> {
        let held = self.pages.read().unwrap_or_else(PoisonError::into_inner).first().cloned();
        if !store.is_shared() {
            return Ok(held);
        }
        match store.packing_after(held.as_ref().map(|pages| pages.sequence)).await? {
            Some(packing) => Ok(Some(self.hold(Pages::read(&packing)?))),
            None => Ok(held),
        }
    }

    fn hold(&self, pages: Pages) -> Arc<Pages> {
        let pages = Arc::new(pages);
        let mut generations = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        generations.insert(0, Arc::clone(&pages));
        generations.truncate(GENERATIONS);
        pages
    }

    /// Who signs what is of this second.
    fn kid(&self, now: u64) -> Result<String, FeedFault> {
        self.keys.ring().signing(now).map(|key| key.kid().to_owned()).ok_or(FeedFault::Keys(KeyFault::Unknown))
    }
}

impl Pages {
    /// As the database keeps them, but for the bodies.
    fn told(&self) -> Packing {
        let rest: Value = self.rest.iter().flat_map(Entry::to_json).collect();
        let (paging, rest) = (self.paging.to_json().to_string(), rest.to_string());
        Packing { sequence: self.sequence, paging, rest }
    }

    /// From the database, where the bodies stay.
    fn read(packing: &Packing) -> Result<Self, FeedFault> {
        let wrong = || FeedFault::Database(sqlx::Error::Decode("a packing that this program does not know".into()));
        let paging: Value = serde_json::from_str(&packing.paging).map_err(|_| wrong())?;
        let paging = paging.as_object().and_then(|paging| Paging::read(paging).ok()).ok_or_else(wrong)?;
        let rest: Vec<Map<String, Value>> = serde_json::from_str(&packing.rest).map_err(|_| wrong())?;
        let rest = rest.iter().map(|entry| Entry::read(entry).map_err(|_| wrong())).collect::<Result<_, _>>()?;
        Ok(Self { sequence: packing.sequence, paging, bodies: HashMap::new(), rest })
    }
}

/// A document as it is sent.
pub(super) async fn signed(
    keys: &Arc<Keys>,
    claims: Claims,
    entries: Vec<Entry>,
    paging: Option<Paging>,
) -> Result<Bytes, FeedFault> {
    let ring = keys.ring();
    let signing = spawn_blocking(move || {
        let payload = claims.payload(&entries, paging.as_ref());
        let key = ring.signing(claims.issued_at).ok_or(KeyFault::Unknown)?;
        let input = token::signing_input(ALGORITHM, key.kid(), &payload);
        let signature = key.sign(input.as_bytes())?;
        Ok::<_, KeyFault>(token::compact(&input, &signature))
    });
    Ok(signing.await.map_err(|_| FeedFault::Stopped)??.into())
}

/// Everything in pages, and the place that this leads to: what changes from there on is to be told beside them, whether
/// or not it got into them as well.
pub(super) async fn packed(store: &Store, key: HashKey, now: u64) -> Result<(u64, Packed), FeedFault> {
    let sequence = store.head().await?.sequence;
    let (_, entries) = store.after(0).await?;
    let packing = spawn_blocking(move || pack(living(entries, now), key, MAX_PAGE_RECORDS));
    Ok((sequence, packing.await.map_err(|_| FeedFault::Stopped)?))
}

/// The name of a page: its digest.
pub(super) fn page_name(page: &Page) -> String {
    URL_SAFE_NO_PAD.encode(page.digest)
}

fn tag(sequence: u64) -> String {
    format!("\"{sequence}\"")
}

/// Whether one of these tags is it, strong or weak.
fn is_known(known: &str, tag: &str) -> bool {
    known.split(',').map(str::trim).any(|known| known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// What has not expired.
pub(super) fn living(entries: impl IntoIterator<Item = Entry>, now: u64) -> Vec<Entry> {
    entries.into_iter().filter(|entry| entry.expires.is_none_or(|expires| u64::from(expires) > now)).collect()
}

impl From<sqlx::Error> for FeedFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<KeyFault> for FeedFault {
    fn from(fault: KeyFault) -> Self {
        Self::Keys(fault)
    }
}
