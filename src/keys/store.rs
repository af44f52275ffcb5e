//! What keys are held for each document.

use std::rc::Rc;
use std::time::Duration;

use super::document::{Address, DocumentId};
use super::freshness::Millis;
use crate::entra::issuer::Issuer;
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::{Key, KeySet};

/// The keys of one document and what the document says of itself.
#[derive(Clone)]
pub struct Held {
    /// The issuer that metadata stated, possibly a template; none for inline keys.
    pub issuer: Option<Issuer>,
    /// The cloud instance that metadata stated.
    pub cloud_instance_name: Option<String>,
    /// Where the keys are; none for inline keys.
    pub address: Option<Address>,
    /// The usable keys.
    pub keys: KeySet,
    /// When they were fetched, in milliseconds since the epoch; none for inline keys, which do not age.
    pub fetched_at: Option<Millis>,
    /// The age at which they may no longer be used.
    pub max_age: Duration,
}

/// All keys that are held, by document.
#[derive(Default)]
pub struct KeyStore {
    held: Vec<Option<Held>>,
    edition: Edition,
}

/// Which state of the store it is. What was found out about one edition holds as long as the edition does, ages apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edition(u64);

impl KeyStore {
    /// A store for that many documents, all empty.
    #[must_use]
    pub fn new(documents: usize) -> Self {
        Self { held: vec![None; documents], edition: Edition::default() }
    }

    /// Replaces what is held for a document, whole.
    pub fn accept(&mut self, document: DocumentId, held: Held) {
        if let Some(slot) = self.held.get_mut(document.0) {
            *slot = Some(held);
            self.edition = Edition(self.edition.0.wrapping_add(1));
        }
    }

    /// The present edition.
    #[must_use]
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// What is held and young enough to be used. Without it nothing can be said of any `kid`.
    #[must_use]
    pub fn get(&self, document: DocumentId, now: Millis) -> Option<&Held> {
        self.held.get(document.0)?.as_ref().filter(|held| held.age(now).is_none_or(|age| age <= held.max_age))
    }
}

impl Held {
    /// The keys that may have signed: the one with that `kid`, of the algorithm's family if there is one; else those
    /// without any `kid`, which only a configuration can hold, and only a few.
    pub fn candidates<'a>(&'a self, kid: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Rc<Key>> {
        let named = kid.and_then(|kid| {
            let mut named = self.keys.with_kid(kid).peekable();
            let first = named.peek().copied();
            named.find(|key| key.material.fits(algorithm)).or(first)
        });
        let unnamed = self.keys.without_kid().filter(move |key| named.is_none() && key.material.fits(algorithm));
        named.into_iter().chain(unnamed)
    }

    /// How long ago the keys were fetched.
    #[must_use]
    pub fn age(&self, now: Millis) -> Option<Duration> {
        self.fetched_at.map(|fetched_at| Duration::from_millis(now.saturating_sub(fetched_at)))
    }
}
