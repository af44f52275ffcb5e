//! One round of publishing: what is out, what holds, and what has to be written for the one to become the other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::feed::document::Claims;
use entra_gate::feed::page::Paging;
use entra_gate::feed::token::{Step, Token};
use entra_gate::jose::json;
use entra_gate::jose::jwk::KeySet;
use entra_gate::jose::signature::Software;
use entra_gate::revocation::Entry;
use entra_gate::revocation::fingerprint::HashKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use tracing::{info, warn};

use super::Publication;
use super::depot::{Depot, DepotFault, Found, Version, page_path};
use crate::failure::Failure;
use crate::service::clock;
use crate::service::feed::{FeedFault, living, packed, page_name, signed};
use crate::service::signing::KeyFault;

/// How long what changed is told beside the pages: gates that ask more often fetch no page.
const OVERLAP: u64 = 60;
/// Most changes that are told so. After a flood of more, all gates fetch pages.
const MOST_CHANGES: u32 = 20_000;
/// How much of a set must change before it is packed anew: writing it takes as many bytes as it has, and each gate that
/// follows fetches the changes since with every head.
const REPACKED_PART: u64 = 64;
/// The least and the most changes before a set is packed anew.
const REPACKED: std::ops::RangeInclusive<u64> = 8..=2_000;

/// Why a round did not end well. What was published before is still there.
#[derive(Debug)]
pub(crate) enum RoundFault {
    /// The database is behind what was published.
    Behind {
        /// What holds.
        held: u64,
        /// What was published.
        published: u64,
    },
    Depot(DepotFault),
    Feed(FeedFault),
    /// What is there was not published by us.
    Foreign,
}

impl fmt::Display for RoundFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { held, published } => write!(
                formatter,
                "sequence {published} was published, and the database ends at {held}: if it was restored, start the \
                 service with --sequence-at-least"
            ),
            Self::Depot(fault) => fault.fmt(formatter),
            Self::Feed(fault) => write!(formatter, "{fault:?}"),
            Self::Foreign => formatter.write_str(
                "what is there is not a feed that one of our keys has signed: publish elsewhere, or remove it",
            ),
        }
    }
}

impl From<DepotFault> for RoundFault {
    fn from(fault: DepotFault) -> Self {
        Self::Depot(fault)
    }
}

impl From<FeedFault> for RoundFault {
    fn from(fault: FeedFault) -> Self {
        Self::Feed(fault)
    }
}

impl From<sqlx::Error> for RoundFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Feed(error.into())
    }
}

/// What publishes.
pub(crate) struct Press {
    publication: Publication,
    depot: Depot,
    out: Option<Out>,
    pages: Option<Pages>,
    /// Since when pages are no longer named; Unix seconds.
    retired: HashMap<String, u64>,
    /// Since when this process knows; Unix seconds.
    began: u64,
}

/// What is out.
struct Out {
    version: Version,
    sequence: u64,
    issued_at: u64,
    kid: String,
    /// The state since which gates may follow.
    changes_since: u64,
    /// The key of the fingerprints: another one would make every gate fetch everything.
    key: HashKey,
    /// The names of the pages.
    named: HashSet<String>,
    /// When which state was published, the latest last.
    history: VecDeque<(u64, u64)>,
}

/// Everything up to a state, in pages that are out.
struct Pages {
    sequence: u64,
    paging: Paging,
    rest: Vec<Entry>,
    records: u64,
}

impl Press {
    /// Opens where it is published.
    pub(crate) fn open(publication: Publication) -> Result<Self, Failure> {
        let depot = Depot::open(&publication.to).map_err(|fault| Failure::here(&publication.to, fault))?;
        let (retired, began) = (HashMap::new(), clock::seconds());
        Ok(Self { publication, depot, out: None, pages: None, retired, began })
    }

    pub(crate) fn publication(&self) -> &Publication {
        &self.publication
    }

    pub(crate) fn depot(&self) -> &Depot {
        &self.depot
    }

    /// Somebody else publishes: what is remembered here is of no use.
    pub(crate) fn forget(&mut self) {
        (self.out, self.pages) = (None, None);
    }

    /// Publishes what is new, if anything is; the sequence that is out then.
    pub(crate) async fn round(&mut self, now: u64) -> Result<u64, RoundFault> {
        let outcome = self.try_round(now).await;
        if outcome.is_err() {
            // What is out now, nobody knows.
            self.forget();
        }
        outcome
    }

    /// Removes pages that nobody needs. It is no harm if it fails.
    pub(crate) async fn clean(&mut self, now: u64) {
        let Some(out) = &self.out else { return };
        // A gate may still be fetching the pages of an earlier head, and another process may be about to name some.
        let before = now.saturating_sub(self.publication.terms.pages_kept.as_secs());
        let is_kept =
            |name: &str| out.named.contains(name) || self.retired.get(name).copied().unwrap_or(self.began) >= before;
        let cleaned = self.depot.clean(before, is_kept).await;
        self.retired.retain(|_, since| *since >= before);
        match cleaned {
            Ok(0) => {}
            Ok(removed) => info!(removed, "old pages were removed"),
            Err(fault) => warn!(%fault, "old pages were not removed"),
        }
    }

    async fn try_round(&mut self, now: u64) -> Result<u64, RoundFault> {
        let Publication { store, keys, terms, issuer, .. } = &self.publication;
        keys.reload(store).await.map_err(FeedFault::Keys)?;
        let ring = keys.ring();
        let kid = ring.signing(now).ok_or(FeedFault::Keys(KeyFault::Unknown))?.kid().to_owned();
        let head = store.head().await?;
        let mut out = match self.out.take() {
            Some(out) => out,
            None => match self.depot.head().await? {
                Some(found) => read(found, &ring.published().to_string())?,
                None => Out::nothing(head.sequence)?,
            },
        };
        if head.sequence < out.sequence {
            return Err(RoundFault::Behind { held: head.sequence, published: out.sequence });
        }
        let is_fresh = now < out.issued_at.saturating_add(terms.valid_for.as_secs() / 3);
        if out.sequence == head.sequence && is_fresh && out.kid == kid && out.version.is_some() {
            let sequence = out.sequence;
            self.out = Some(out);
            return Ok(sequence);
        }
        let pages = match self.pages.take() {
            Some(pages) if is_good(&pages, head.sequence, head.complete_from) => pages,
            Some(_) | None => pack(&self.publication, &self.depot, &out).await?,
        };
        let overlap = out.overlap(now);
        let mut floor = overlap.min(pages.sequence);
        let (_, some) = store.changed_after(floor, MOST_CHANGES).await?;
        if some.len() >= usize::try_from(MOST_CHANGES).unwrap_or(usize::MAX) {
            floor = pages.sequence;
        }
        let (sequence, changes) = store.after(floor).await?;
        // What was forgotten since, and mattered to whoever has seen less, is in no change.
        let changes_since = floor.max(store.head().await?.complete_from).min(sequence);
        let entries = living(pages.rest.iter().cloned().chain(changes), now);
        let told = entries.len();
        let claims = Claims {
            issuer: issuer.clone(),
            issued_at: now,
            expires: Some(now.saturating_add(terms.valid_for.as_secs())),
            sequence,
            base: None,
            changes_since: Some(changes_since),
        };
        let body = signed(keys, claims, entries, Some(pages.paging.clone())).await?;
        let bytes = body.len();
        out.version = self.depot.replace(out.version.take(), body).await?;
        if sequence > out.sequence || out.history.is_empty() {
            info!(sequence, changes_since, told, bytes, "published");
        }
        out.history.push_back((now, sequence));
        let named = names(&pages.paging);
        self.retired.extend(out.named.difference(&named).map(|name| (name.clone(), now)));
        self.retired.retain(|name, _| !named.contains(name));
        out.named = named;
        (out.sequence, out.issued_at, out.kid, out.changes_since) = (sequence, now, kid, changes_since);
        (self.out, self.pages) = (Some(out), Some(pages));
        Ok(sequence)
    }
}

impl Out {
    /// Before the first head.
    fn nothing(sequence: u64) -> Result<Self, RoundFault> {
        let mut key = [0; 16];
        SystemRandom::new().fill(&mut key).map_err(|_| FeedFault::Keys(KeyFault::NotMade))?;
        let key = HashKey::new(key);
        let (version, kid, named, history) = (None, String::new(), HashSet::new(), VecDeque::new());
        Ok(Self { version, sequence, issued_at: 0, kid, changes_since: sequence, key, named, history })
    }

    /// The state since which changes are told: the last that was out long enough ago. What was out before this process
    /// began counts as long as nothing else is known.
    fn overlap(&mut self, now: u64) -> u64 {
        let is_old = |published: u64| published.saturating_add(OVERLAP) <= now;
        while self.history.get(1).is_some_and(|(published, _)| is_old(*published)) {
            self.history.pop_front();
        }
        match self.history.front() {
            Some((published, sequence)) if is_old(*published) => *sequence,
            Some(_) | None => self.changes_since,
        }
    }
}

/// Whether pages need not be packed anew.
fn is_good(pages: &Pages, sequence: u64, complete_from: u64) -> bool {
    let most = (pages.records / REPACKED_PART).clamp(*REPACKED.start(), *REPACKED.end());
    // A lift that came after the pages, and has been forgotten since, must not be missed.
    pages.sequence >= complete_from && sequence.saturating_sub(pages.sequence) <= most
}

/// Packs everything, and writes the pages that are not out already.
async fn pack(publication: &Publication, depot: &Depot, out: &Out) -> Result<Pages, RoundFault> {
    let Publication { store, terms, to, .. } = publication;
    let public = terms.pages_at.clone().unwrap_or_else(|| to.public_path());
    let (sequence, packed) = packed(store, out.key).await?;
    let (mut names, mut bodies, mut records) = (Vec::new(), Vec::new(), 0_u64);
    for page in packed.pages {
        let name = page_name(&page);
        let told = page.name(page_path(&public, &name));
        records = records.saturating_add(u64::try_from(told.records).unwrap_or(0));
        names.push(told);
        if !out.named.contains(&name) {
            bodies.push((name, Bytes::from(page.body)));
        }
    }
    info!(sequence, pages = names.len(), written = bodies.len(), "the pages are packed");
    depot.put_pages(bodies).await?;
    Ok(Pages { sequence, paging: Paging { key: out.key, pages: names }, rest: packed.rest, records })
}

/// What is out, if one of these keys has signed it.
fn read(found: Found, keys: &str) -> Result<Out, RoundFault> {
    let foreign = || RoundFault::Foreign;
    let keys = KeySet::read(keys.as_bytes()).map_err(|_| foreign())?;
    let mut token = Token::read(found.body.to_vec(), &keys).map_err(|_| foreign())?;
    while token.verify(usize::MAX, &Software).map_err(|_| foreign())? == Step::More {}
    let payload = URL_SAFE_NO_PAD.decode(token.payload()).map_err(|_| foreign())?;
    let (claims, paging) = Claims::read(&json::object(&payload).map_err(|_| foreign())?).map_err(|_| foreign())?;
    let paging = paging.ok_or_else(foreign)?;
    let Claims { sequence, issued_at, changes_since, .. } = claims;
    let named = names(&paging);
    Ok(Out {
        version: Some(found.version),
        sequence,
        issued_at,
        kid: token.key.kid.clone().unwrap_or_default(),
        changes_since: changes_since.unwrap_or(sequence),
        key: paging.key,
        named,
        history: VecDeque::new(),
    })
}

fn names(paging: &Paging) -> HashSet<String> {
    paging.pages.iter().filter_map(|page| page.path.rsplit('/').next()).map(str::to_owned).collect()
}
