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

/// How long what changed is told beside the pages, in seconds: gates that ask each minute may miss an answer, and fetch no
/// page.
const OVERLAP: u64 = 150;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use entra_gate::revocation::{Effect, Known, Subject};
    use object_store::memory::InMemory;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::super::depot::tests::{in_memory, page};
    use super::super::{Destination, Terms};
    use super::*;
    use crate::documents::Actor;
    use crate::service::signing::{Keys, Place};
    use crate::service::standing::{Lifetimes, Wish};
    use crate::service::store::{Address, Change, Stamp, Store};

    const NOW: u64 = 1_760_000_000;

    struct Case {
        _place: tempfile::TempDir,
        store: Store,
        keys: Arc<Keys>,
        objects: Arc<InMemory>,
    }

    async fn case() -> Case {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&Address::File(place.path().join("revocations.db"))).await.unwrap();
        let stamp = Stamp { at: NOW * 1_000, by: Actor::Service, request_id: "r".to_owned() };
        let keys = Keys::open(Place::Folder(place.path().join("keys")), &store, &stamp).await.unwrap();
        Case { _place: place, store, keys: Arc::new(keys), objects: Arc::new(InMemory::new()) }
    }

    impl Case {
        /// A process that publishes, just begun.
        fn press(&self) -> Press {
            let (valid_for, pages_kept) = (Duration::from_secs(300), Duration::from_secs(3_600));
            let publication = Publication {
                to: Destination::parse("az://container/prod").unwrap(),
                terms: Terms { pages_at: None, valid_for, pages_kept },
                issuer: "test".to_owned(),
                store: self.store.clone(),
                keys: Arc::clone(&self.keys),
            };
            let (out, pages, retired) = (None, None, HashMap::new());
            Press { publication, depot: in_memory(&self.objects), out, pages, retired, began: NOW }
        }

        async fn change(&self, number: u32, wish: Wish, now: u64) {
            let stamp = Stamp { at: now * 1_000, by: Actor::Service, request_id: "r".to_owned() };
            let subject = Subject::User { tenant: "t".into(), user: format!("{number}") };
            let lifetimes = Lifetimes { token: Duration::from_secs(86_400), session: Duration::from_secs(86_400) };
            let change = Change { subject, wish, reason: "why".to_owned() };
            self.store.apply(&[change], &stamp, lifetimes).await.unwrap();
        }

        /// Everything that holds, as gates act upon it.
        async fn truth(&self, key: HashKey) -> BTreeMap<u64, Effect> {
            let (_, entries) = self.store.after(0).await.unwrap();
            let known =
                entries.iter().map(|entry| (key.fingerprint(&entry.subject, &mut Vec::new()), Known::from(entry)));
            acted_upon(known)
        }
    }

    fn acted_upon(held: impl IntoIterator<Item = (u64, Known)>) -> BTreeMap<u64, Effect> {
        held.into_iter().map(|(fingerprint, known)| (fingerprint, known.rule.effect())).collect()
    }

    /// What a gate holds that follows what is out.
    #[derive(Default)]
    struct Gate {
        sequence: Option<u64>,
        held: BTreeMap<u64, Known>,
        /// How often it had to fetch pages.
        fetched: usize,
    }

    impl Gate {
        fn acted_upon(&self) -> BTreeMap<u64, Effect> {
            acted_upon(self.held.clone())
        }

        async fn follow(&mut self, press: &Press, keys: &Keys) -> Option<HashKey> {
            let found = press.depot.head().await.unwrap()?;
            let keys = KeySet::read(keys.ring().published().to_string().as_bytes()).unwrap();
            let mut token = Token::read(found.body.to_vec(), &keys).unwrap();
            while token.verify(usize::MAX, &Software).unwrap() == Step::More {}
            let payload = json::object(&URL_SAFE_NO_PAD.decode(token.payload()).unwrap()).unwrap();
            let (claims, paging) = Claims::read(&payload).unwrap();
            let paging = paging.unwrap();
            assert!(self.sequence.is_none_or(|held| held <= claims.sequence), "the sequence went back");
            if self.sequence.is_none_or(|held| held < claims.changes_since.unwrap()) {
                self.held.clear();
                self.fetched += 1;
                let mut after = None;
                for name in &paging.pages {
                    let body = page(&press.depot, name.path.rsplit('/').next().unwrap()).await;
                    for record in name.open(&body.expect("a page that is named is there"), after).unwrap() {
                        after = Some(record.fingerprint);
                        self.held.insert(record.fingerprint, record.into());
                    }
                }
            }
            for entry in payload["entries"].as_array().unwrap() {
                let entry = Entry::read(entry.as_object().unwrap()).unwrap();
                let fingerprint = paging.key.fingerprint(&entry.subject, &mut Vec::new());
                let known = Known::from(&entry);
                self.held.entry(fingerprint).and_modify(|held| *held = held.merge(known)).or_insert(known);
            }
            self.sequence = Some(claims.sequence);
            Some(paging.key)
        }
    }

    #[tokio::test]
    async fn whoever_follows_holds_the_truth_whatever_dies() {
        let case = case().await;
        let mut random = StdRng::seed_from_u64(20_261_127);
        let (mut presses, mut now) = (vec![case.press(), case.press()], NOW);
        let (mut eager, mut lazy) = (Gate::default(), Gate::default());
        for round in 0..200 {
            now += random.random_range(0..20);
            for _ in 0..random.random_range(0..4) {
                let wish =
                    [Wish::Block, Wish::Lift, Wish::NotBefore(u32::try_from(now).unwrap())][random.random_range(0..3)];
                case.change(random.random_range(0..150), wish, now).await;
            }
            // Two processes that know nothing of each other, and now and then one that begins anew.
            let at = random.random_range(0..2);
            if random.random_range(0..10) == 0 {
                presses[at] = case.press();
            }
            let outcome = presses[at].round(now).await;
            assert!(matches!(outcome, Ok(_) | Err(RoundFault::Depot(DepotFault::Overtaken))), "{round}: {outcome:?}");
            presses[at].clean(now).await;
            eager.follow(&presses[at], &case.keys).await;
            if let Ok(sequence) = outcome {
                assert_eq!(sequence, case.store.head().await.unwrap().sequence);
                let key = presses[at].out.as_ref().unwrap().key;
                assert_eq!(eager.acted_upon(), case.truth(key).await, "round {round}");
                if random.random_range(0..20) == 0 {
                    lazy.follow(&presses[at], &case.keys).await;
                    assert_eq!(lazy.acted_upon(), case.truth(key).await, "round {round}");
                    let mut fresh = Gate::default();
                    fresh.follow(&presses[at], &case.keys).await;
                    assert_eq!(fresh.acted_upon(), case.truth(key).await, "round {round}");
                }
            }
        }
        assert_eq!(eager.fetched, 1, "a gate that follows fetches no pages again");
        assert!(lazy.fetched > 1);
    }

    #[tokio::test]
    async fn a_head_is_signed_anew_in_time_and_what_is_not_ours_is_left_alone() {
        let case = case().await;
        case.change(1, Wish::Block, NOW).await;
        let mut press = case.press();
        press.round(NOW).await.unwrap();
        let head = || async { case.press().depot.head().await.unwrap().unwrap().body };
        let first = head().await;
        press.round(NOW + 99).await.unwrap();
        assert_eq!(head().await, first);
        press.round(NOW + 100).await.unwrap();
        assert_ne!(head().await, first);
        // A database that was restored is behind: what is out stays.
        let restored = self::case().await;
        let behind = Case { objects: Arc::clone(&case.objects), keys: Arc::clone(&case.keys), ..restored };
        let outcome = behind.press().round(NOW + 101).await;
        assert!(matches!(outcome, Err(RoundFault::Behind { held: 0, published: 1 })), "{outcome:?}");
        // And what others have signed.
        let other = self::case().await;
        let foreign = Case { objects: Arc::clone(&case.objects), ..other };
        assert!(matches!(foreign.press().round(NOW + 101).await, Err(RoundFault::Foreign)));
    }

    #[tokio::test]
    async fn a_lift_that_was_forgotten_is_in_no_page() {
        let case = case().await;
        case.change(1, Wish::Block, NOW).await;
        let mut press = case.press();
        press.round(NOW).await.unwrap();
        let mut gate = Gate::default();
        gate.follow(&press, &case.keys).await;
        assert_eq!(gate.held.len(), 1);
        case.change(1, Wish::Lift, NOW + 1).await;
        let later = NOW + 200_000;
        case.store.forget_expired(u32::try_from(later).unwrap()).await.unwrap();
        press.round(later).await.unwrap();
        // Whoever saw the block and not its lift takes it all anew, as does whoever begins.
        for mut gate in [gate, Gate::default()] {
            gate.follow(&press, &case.keys).await;
            assert!(gate.held.is_empty());
        }
    }
}
