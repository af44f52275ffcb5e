//! The keys that sign the feed: made at the first start, rotated with overlap.
//!
//! A new key is published before it signs, so that every Envoy can learn it in time; an old one stays published until
//! it is retired. Which key signs follows from the time and the keys alone, so that several processes agree. Where they
//! are kept is the vault's matter. Private keys are never shown, logged or sent.

mod vault;

use std::fmt;
use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::jose::algorithm::Algorithm;
use jwt_simple::algorithms::RS256KeyPair;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) use self::vault::{KEYS_SECRET, Keys, Place, Sealer};
use crate::documents::{KeyState, SigningKey};

/// The feed's algorithm: the one whose verification Envoy does fastest, over messages of any length.
pub(crate) const ALGORITHM: Algorithm = Algorithm::Rs256;
/// As Entra's own keys.
const BITS: usize = 2_048;
/// More would be a mistake: each has to be known to every Envoy.
const MOST_KEYS: usize = 10;

/// A signing key.
pub(crate) struct Key {
    kid: String,
    created: u64,
    signs_from: u64,
    pair: RsaKeyPair,
}

/// The keys, in the order in which they sign.
#[derive(Default)]
pub(crate) struct KeyRing(Vec<Key>);

/// Why keys cannot be used or changed.
#[derive(Debug)]
pub(crate) enum KeyFault {
    /// The database failed.
    Database(sqlx::Error),
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file is no key of ours.
    NotAKey(PathBuf),
    /// A key could not be made, or does not sign.
    NotMade,
    /// Others than the owner's group can reach a private key.
    Open(PathBuf),
    /// The key was sealed under another secret.
    Sealed,
    /// There is no such key.
    Unknown,
    /// The key signs.
    Signs,
    /// There are too many.
    TooMany,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(formatter),
            Self::File(file, error) => write!(formatter, "{}: {error}", file.display()),
            Self::NotAKey(file) => write!(formatter, "{} holds no signing key", file.display()),
            Self::NotMade => formatter.write_str("a signing key could not be made or used"),
            Self::Open(file) => write!(formatter, "{} can be read by everybody: chmod 600", file.display()),
            Self::Sealed => {
                write!(formatter, "the keys in the database were sealed under another {KEYS_SECRET}")
            }
            Self::Unknown => formatter.write_str("there is no such key"),
            Self::Signs => formatter.write_str("this key signs the feed: rotate first"),
            Self::TooMany => write!(formatter, "there are {MOST_KEYS} keys already: retire some first"),
        }
    }
}

impl From<sqlx::Error> for KeyFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl KeyRing {
    /// The ring of these keys.
    fn new(keys: Vec<Key>) -> Self {
        let mut ring = Self(keys);
        ring.0.sort_by(|one, other| one.order().cmp(&other.order()));
        ring
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is room for another key.
    pub(crate) fn may_add(&self) -> Result<(), KeyFault> {
        if self.0.len() >= MOST_KEYS { Err(KeyFault::TooMany) } else { Ok(()) }
    }

    /// Whether a key may be retired.
    pub(crate) fn may_retire(&self, kid: &str, now: u64) -> Result<(), KeyFault> {
        if !self.0.iter().any(|key| key.kid == kid) {
            return Err(KeyFault::Unknown);
        }
        if self.signing(now).is_some_and(|key| key.kid == kid) { Err(KeyFault::Signs) } else { Ok(()) }
    }

    /// The key that signs: of those whose time has come, the one whose time came last.
    pub(crate) fn signing(&self, now: u64) -> Option<&Key> {
        self.0.iter().rfind(|key| key.signs_from <= now).or(self.0.first())
    }

    /// The keys as the API tells of them.
    pub(crate) fn states(&self, now: u64) -> Vec<SigningKey> {
        let signing = self.signing(now).map(|key| &key.kid);
        let state = |key: &Key| match key {
            key if Some(&key.kid) == signing => KeyState::Signing,
            key if key.signs_from > now => KeyState::Next,
            _ => KeyState::Old,
        };
        let told = |key: &Key| SigningKey {
            kid: key.kid.clone(),
            created: key.created,
            signs_from: key.signs_from,
            state: state(key),
        };
        self.0.iter().map(told).collect()
    }

    /// The public keys, as the filter's `feed.keys` takes them (RFC 7517 section 5).
    pub(crate) fn published(&self) -> Value {
        json!({ "keys": self.0.iter().map(Key::published).collect::<Vec<Value>>() })
    }
}

/// A key that was made just now, and is nobody's yet.
pub(crate) struct Made {
    pair: RsaKeyPair,
    /// PKCS #8.
    private: Vec<u8>,
}

impl Made {
    /// Makes a key. Takes about a second.
    pub(crate) fn new() -> Result<Self, KeyFault> {
        let der = RS256KeyPair::generate(BITS).and_then(|pair| pair.to_der()).map_err(|_| KeyFault::NotMade)?;
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| KeyFault::NotMade)?;
        Ok(Self { pair, private: der })
    }

    /// `kid`.
    pub(crate) fn kid(&self) -> String {
        thumbprint(&self.pair)
    }
}

impl Key {
    /// A key from its private key, PKCS #8; its name must be its thumbprint.
    fn from_private(kid: String, created: u64, signs_from: u64, pkcs8: &[u8]) -> Option<Self> {
        let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
        (thumbprint(&pair) == kid).then_some(Self { kid, created, signs_from, pair })
    }

    /// The order in which keys sign, the same for everybody.
    fn order(&self) -> (u64, u64, &str) {
        (self.signs_from, self.created, &self.kid)
    }

    /// `kid`.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| KeyFault::NotMade)?;
        Ok(signature)
    }

    fn published(&self) -> Value {
        let (n, e) = components(&self.pair);
        json!({ "kty": "RSA", "use": "sig", "alg": ALGORITHM.name(), "kid": self.kid, "n": n, "e": e })
    }
}

/// `n` and `e`, as a JWK writes them (RFC 7518 section 6.3.1).
fn components(pair: &RsaKeyPair) -> (String, String) {
    let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
    (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e))
}

/// The thumbprint of a key (RFC 7638 section 3).
fn thumbprint(pair: &RsaKeyPair) -> String {
    let (n, e) = components(pair);
    // The members that RFC 7638 names, in its order and without spaces.
    let members = format!("{{\"e\":\"{e}\",\"kty\":\"RSA\",\"n\":\"{n}\"}}");
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}
