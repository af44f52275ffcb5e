//! The keys that sign the feed: made at the first start, kept in files that only their owner reads, rotated with overlap.
//!
//! A new key is published before it signs, so that every Envoy can learn it in time; an old one stays published until
//! it is retired. Which key signs follows from the time alone. Private keys are never shown, logged or sent.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::jose::algorithm::Algorithm;
use jwt_simple::algorithms::RS256KeyPair;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

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

/// Its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    kid: String,
    created: u64,
    signs_from: u64,
    /// The private key, PKCS #8, base64url.
    pkcs8: String,
}

/// The keys, in the order in which they sign.
pub(crate) struct KeyRing {
    place: PathBuf,
    keys: Vec<Key>,
}

/// Why keys cannot be used or changed.
#[derive(Debug)]
pub(crate) enum KeyFault {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file is no key of ours.
    NotAKey(PathBuf),
    /// A key could not be made, or does not sign.
    NotMade,
    /// Others than the owner's group can reach a private key.
    Open(PathBuf),
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
            Self::File(file, error) => write!(formatter, "{}: {error}", file.display()),
            Self::NotAKey(file) => write!(formatter, "{} holds no signing key", file.display()),
            Self::NotMade => formatter.write_str("a signing key could not be made or used"),
            Self::Open(file) => write!(formatter, "{} can be read by everybody: chmod 600", file.display()),
            Self::Unknown => formatter.write_str("there is no such key"),
            Self::Signs => formatter.write_str("this key signs the feed: rotate first"),
            Self::TooMany => write!(formatter, "there are {MOST_KEYS} keys already: retire some first"),
        }
    }
}

impl KeyRing {
    /// Reads the keys of a folder, which is made if there is none.
    pub(crate) fn open(place: &Path) -> Result<Self, KeyFault> {
        let fault = |error| KeyFault::File(place.to_owned(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(fault)?;
        let mut keys = Vec::new();
        for entry in fs::read_dir(place).map_err(fault)? {
            let file = entry.map_err(fault)?.path();
            // What was being written when the process ended was no key yet.
            if file.extension().is_some_and(|extension| extension == "json") {
                keys.push(Key::read(&file)?);
            }
        }
        let mut ring = Self { place: place.to_owned(), keys };
        ring.sort();
        Ok(ring)
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether there is room for another key.
    pub(crate) fn may_add(&self) -> Result<(), KeyFault> {
        if self.keys.len() >= MOST_KEYS { Err(KeyFault::TooMany) } else { Ok(()) }
    }

    /// Publishes a key: it is on disk before this returns.
    pub(crate) fn add(&mut self, made: Made, created: u64, signs_from: u64) -> Result<SigningKey, KeyFault> {
        self.may_add()?;
        let key = Key { kid: made.kid(), created, signs_from, pair: made.pair };
        let document = KeyFile { kid: key.kid.clone(), created, signs_from, pkcs8: made.pkcs8 };
        self.write(&document)?;
        let kid = key.kid.clone();
        self.keys.push(key);
        self.sort();
        self.states(created).into_iter().find(|key| key.kid == kid).ok_or(KeyFault::Unknown)
    }

    /// Whether a key may be retired: where it is.
    pub(crate) fn may_retire(&self, kid: &str, now: u64) -> Result<usize, KeyFault> {
        let at = self.keys.iter().position(|key| key.kid == kid).ok_or(KeyFault::Unknown)?;
        if self.signing(now).is_some_and(|key| key.kid == kid) { Err(KeyFault::Signs) } else { Ok(at) }
    }

    /// Takes a key out of the published set, for good.
    pub(crate) fn retire(&mut self, kid: &str, now: u64) -> Result<(), KeyFault> {
        let at = self.may_retire(kid, now)?;
        let file = self.file(kid);
        fs::remove_file(&file).and_then(|()| sync(&self.place)).map_err(|error| KeyFault::File(file, error))?;
        self.keys.remove(at);
        Ok(())
    }

    /// The key that signs: of those whose time has come, the one whose time came last.
    pub(crate) fn signing(&self, now: u64) -> Option<&Key> {
        self.keys.iter().rfind(|key| key.signs_from <= now).or(self.keys.first())
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
        self.keys.iter().map(told).collect()
    }

    /// The public keys, as the filter's `feed.keys` takes them (RFC 7517 section 5).
    pub(crate) fn published(&self) -> Value {
        json!({ "keys": self.keys.iter().map(Key::published).collect::<Vec<Value>>() })
    }

    /// A key's file is there whole after a crash, or not at all.
    fn write(&self, document: &KeyFile) -> Result<(), KeyFault> {
        let file = self.file(&document.kid);
        let draft = file.with_extension("new");
        let text = serde_json::to_vec_pretty(document).map_err(|_| KeyFault::NotMade)?;
        let write = || {
            let mut draft_file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            draft_file.write_all(&text)?;
            draft_file.sync_all()?;
            fs::rename(&draft, &file)?;
            sync(&self.place)
        };
        write().map_err(|error| KeyFault::File(file.clone(), error))
    }

    fn file(&self, kid: &str) -> PathBuf {
        self.place.join(format!("{kid}.json"))
    }

    fn sort(&mut self) {
        self.keys.sort_by_key(|key| (key.signs_from, key.created));
    }
}

/// What was renamed or removed in a folder is so after a crash.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A key that was made just now, and is nobody's yet.
pub(crate) struct Made {
    pair: RsaKeyPair,
    pkcs8: String,
}

impl Made {
    /// Makes a key. Takes about a second.
    pub(crate) fn new() -> Result<Self, KeyFault> {
        let der = RS256KeyPair::generate(BITS).and_then(|pair| pair.to_der()).map_err(|_| KeyFault::NotMade)?;
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| KeyFault::NotMade)?;
        Ok(Self { pair, pkcs8: URL_SAFE_NO_PAD.encode(der) })
    }

    /// `kid`.
    pub(crate) fn kid(&self) -> String {
        thumbprint(&self.pair)
    }
}

impl Key {
    fn read(file: &Path) -> Result<Self, KeyFault> {
        let fault = |error| KeyFault::File(file.to_owned(), error);
        let text = fs::read(file).map_err(fault)?;
        let mode = fs::metadata(file).map_err(fault)?.permissions().mode();
        // The group may be let in by whoever mounts a volume.
        if mode & 0o007 != 0 {
            return Err(KeyFault::Open(file.to_owned()));
        }
        let read = || {
            let KeyFile { kid, created, signs_from, pkcs8 } = serde_json::from_slice(&text).ok()?;
            let pair = RsaKeyPair::from_pkcs8(&URL_SAFE_NO_PAD.decode(pkcs8).ok()?).ok()?;
            (thumbprint(&pair) == kid).then_some(Self { kid, created, signs_from, pair })
        };
        read().ok_or_else(|| KeyFault::NotAKey(file.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use entra_gate::jose::jwk::KeySet;
    use entra_gate::jose::signature::{Signatures as _, Software};

    fn ring(place: &tempfile::TempDir) -> KeyRing {
        KeyRing::open(&place.path().join("keys")).unwrap()
    }

    #[test]
    fn keys_overlap_when_they_rotate() {
        let place = tempfile::tempdir().unwrap();
        let mut keys = ring(&place);
        assert!(keys.is_empty());
        let first = keys.add(Made::new().unwrap(), 100, 100).unwrap().kid;
        let second = keys.add(Made::new().unwrap(), 200, 300).unwrap().kid;
        for (now, signing, states) in [
            (50, &first, [KeyState::Signing, KeyState::Next]),
            (100, &first, [KeyState::Signing, KeyState::Next]),
            (299, &first, [KeyState::Signing, KeyState::Next]),
            (300, &second, [KeyState::Old, KeyState::Signing]),
        ] {
            assert_eq!(keys.signing(now).unwrap().kid(), signing, "{now}");
            assert_eq!(keys.states(now).iter().map(|key| key.state).collect::<Vec<_>>(), states, "{now}");
        }
        assert!(matches!(keys.retire(&first, 299), Err(KeyFault::Signs)));
        assert!(matches!(keys.retire("other", 299), Err(KeyFault::Unknown)));
        keys.retire(&first, 300).unwrap();
        assert!(matches!(keys.retire(&second, 300), Err(KeyFault::Signs)));
        let again = ring(&place);
        assert_eq!(again.states(300), keys.states(300));
        assert_eq!(again.states(300).len(), 1);
    }

    #[test]
    fn what_is_signed_verifies_with_what_is_published() {
        let place = tempfile::tempdir().unwrap();
        let mut keys = ring(&place);
        let kid = keys.add(Made::new().unwrap(), 1, 1).unwrap().kid;
        let set = KeySet::read(keys.published().to_string().as_bytes()).unwrap();
        let key = set.with_kid(&kid).next().unwrap();
        let signature = ring(&place).signing(1).unwrap().sign(b"message").unwrap();
        assert!(Software.verify(ALGORITHM, &key.material, b"message", &signature));
        assert!(!Software.verify(ALGORITHM, &key.material, b"massage", &signature));
    }

    #[test]
    fn private_keys_are_kept_for_their_owner() {
        let place = tempfile::tempdir().unwrap();
        let mut keys = ring(&place);
        let kid = keys.add(Made::new().unwrap(), 1, 1).unwrap().kid;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = place.path().join("keys");
        let file = folder.join(format!("{kid}.json"));
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        let published = keys.published()["keys"][0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert!(published.iter().all(|member| ["alg", "e", "kid", "kty", "n", "use"].contains(&member.as_str())));

        let text = fs::read_to_string(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(KeyRing::open(&folder), Err(KeyFault::Open(_))));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        for wrong in [text.replace(&kid, "other"), "{}".to_owned(), text.replace('}', "")] {
            fs::write(&file, wrong).unwrap();
            assert!(matches!(KeyRing::open(&folder), Err(KeyFault::NotAKey(_))));
        }
        fs::rename(&file, file.with_extension("new")).unwrap();
        assert!(KeyRing::open(&folder).unwrap().is_empty());
    }
}
