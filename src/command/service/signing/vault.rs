//! Where signing keys are kept: in a folder that only its owner reads, or sealed in a database that several share.
//!
//! Who has the database alone cannot sign: the keys in it are sealed (AES-256-GCM) under a secret of the environment. All
//! changes are made in the vault first, and what is held here is what was read there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::info;

use super::{Key, KeyFault, KeyRing, Made};
use crate::documents::{Action, SigningKey};
use crate::service::store::{KeyChange, KeyRow, Line, Stamp, Store};

/// The environment variable of the secret that seals keys in a database.
pub(crate) const KEYS_SECRET: &str = "ENTRA_GATE_REVOCATIONS_KEYS_SECRET";
/// The shortest secret, in bytes: 32 of base64 are 192 bits.
const LEAST_SECRET: usize = 32;

/// Where keys are kept.
pub(crate) enum Place {
    /// In files. One process changes them.
    Folder(PathBuf),
    /// In the database.
    Database(Sealer),
}

/// The signing keys.
pub(crate) struct Keys {
    place: Place,
    ring: RwLock<Arc<KeyRing>>,
    /// As they were last read from the database.
    rows: Mutex<Vec<KeyRow>>,
}

/// A key's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    kid: String,
    created: u64,
    signs_from: u64,
    /// The private key, PKCS #8, base64url.
    pkcs8: String,
}

impl Keys {
    /// Reads the keys, and makes the first one where there is none.
    pub(crate) async fn open(place: Place, store: &Store, stamp: &Stamp) -> Result<Self, KeyFault> {
        let keys = Self::read(place, store).await?;
        if keys.ring().is_empty() {
            let made = spawn_blocking(Made::new).await.map_err(|_| KeyFault::NotMade)??;
            let kid = made.kid();
            let line = Line { key: Some(&kid), ..Line::new(Action::KeyAdd, "the first key") };
            let now = stamp.seconds();
            keys.put(made, (now, now), &line, stamp, store, KeyRing::is_empty).await?;
            info!(kid = keys.ring().signing(now).map(Key::kid).unwrap_or_default(), "a signing key was made");
        }
        Ok(keys)
    }

    /// Reads the keys.
    pub(crate) async fn read(place: Place, store: &Store) -> Result<Self, KeyFault> {
        let keys = Self { place, ring: RwLock::default(), rows: Mutex::default() };
        keys.reload(store).await?;
        Ok(keys)
    }

    /// The keys as they were last read.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what others may have changed.
    pub(crate) async fn reload(&self, store: &Store) -> Result<(), KeyFault> {
        let mut rows = self.rows.lock().await;
        match &self.place {
            Place::Folder(folder) => self.hold(read_folder(folder)?),
            Place::Database(sealer) => {
                let now = store.signing_keys().await?;
                if now != *rows {
                    self.hold(sealer.open_all(&now)?);
                    *rows = now;
                }
            }
        }
        Ok(())
    }

    /// Publishes a key; it is in the vault before this returns.
    pub(crate) async fn add(
        &self,
        made: Made,
        (created, signs_from): (u64, u64),
        line: &Line<'_>,
        stamp: &Stamp,
        store: &Store,
    ) -> Result<SigningKey, KeyFault> {
        let kid = made.kid();
        self.put(made, (created, signs_from), line, stamp, store, |_| true).await?;
        self.ring().states(created).into_iter().find(|key| key.kid == kid).ok_or(KeyFault::Unknown)
    }

    /// Takes a key out of the published set, for good.
    pub(crate) async fn retire(
        &self,
        kid: &str,
        now: u64,
        line: &Line<'_>,
        stamp: &Stamp,
        store: &Store,
    ) -> Result<Vec<SigningKey>, KeyFault> {
        let mut rows = self.rows.lock().await;
        match &self.place {
            Place::Folder(folder) => {
                self.ring().may_retire(kid, now)?;
                store.note(line, stamp).await?;
                let file = file(folder, kid);
                fs::remove_file(&file).and_then(|()| sync(folder)).map_err(|error| KeyFault::File(file, error))?;
                self.hold(read_folder(folder)?);
            }
            Place::Database(sealer) => {
                let decide = |rows: &[KeyRow]| {
                    sealer.open_all(rows)?.may_retire(kid, now)?;
                    Ok::<_, KeyFault>(KeyChange::Remove(kid.to_owned()))
                };
                *rows = store.change_signing_keys(line, stamp, decide).await?;
                self.hold(sealer.open_all(&rows)?);
            }
        }
        Ok(self.ring().states(now))
    }

    /// Puts a key into the vault, if it is wanted among those that are there then. The audit comes first, or at once: no
    /// key may sign that it does not know.
    async fn put(
        &self,
        made: Made,
        (created, signs_from): (u64, u64),
        line: &Line<'_>,
        stamp: &Stamp,
        store: &Store,
        is_wanted: impl Fn(&KeyRing) -> bool + Send + Sync,
    ) -> Result<(), KeyFault> {
        let mut rows = self.rows.lock().await;
        let kid = made.kid();
        match &self.place {
            Place::Folder(folder) => {
                self.ring().may_add()?;
                store.note(line, stamp).await?;
                let pkcs8 = URL_SAFE_NO_PAD.encode(&made.private);
                write(folder, &KeyFile { kid, created, signs_from, pkcs8 })?;
                self.hold(read_folder(folder)?);
            }
            Place::Database(sealer) => {
                let row = KeyRow { created, signs_from, sealed: sealer.seal(&kid, &made.private)?, kid };
                let decide = |rows: &[KeyRow]| {
                    let ring = sealer.open_all(rows)?;
                    ring.may_add()?;
                    Ok::<_, KeyFault>(if is_wanted(&ring) { KeyChange::Add(row) } else { KeyChange::Nothing })
                };
                *rows = store.change_signing_keys(line, stamp, decide).await?;
                self.hold(sealer.open_all(&rows)?);
            }
        }
        Ok(())
    }

    fn hold(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

/// What seals keys: nobody reads them without it, and none can be taken for another.
pub(crate) struct Sealer(Box<LessSafeKey>);

impl Sealer {
    /// The sealer of a secret; none if it is too short.
    pub(crate) fn new(secret: &str) -> Option<Self> {
        if secret.len() < LEAST_SECRET {
            return None;
        }
        let key = Salt::new(HKDF_SHA256, b"entra-gate: signing keys").extract(secret.as_bytes());
        let key = UnboundKey::from(key.expand(&[b"AES-256-GCM"], &AES_256_GCM).ok()?);
        Some(Self(Box::new(LessSafeKey::new(key))))
    }

    fn seal(&self, kid: &str, private: &[u8]) -> Result<String, KeyFault> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyFault::NotMade)?;
        let mut text = private.to_vec();
        let aad = Aad::from(kid.as_bytes());
        let sealed = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text);
        sealed.map_err(|_| KeyFault::NotMade)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    fn open(&self, row: &KeyRow) -> Option<Key> {
        let bytes = URL_SAFE_NO_PAD.decode(&row.sealed).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let aad = Aad::from(row.kid.as_bytes());
        let private = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text).ok()?;
        Key::from_private(row.kid.clone(), row.created, row.signs_from, private)
    }

    fn open_all(&self, rows: &[KeyRow]) -> Result<KeyRing, KeyFault> {
        let keys = rows.iter().map(|row| self.open(row).ok_or(KeyFault::Sealed));
        Ok(KeyRing::new(keys.collect::<Result<_, _>>()?))
    }
}

/// Reads the keys of a folder, which is made if there is none.
fn read_folder(place: &Path) -> Result<KeyRing, KeyFault> {
    let fault = |error| KeyFault::File(place.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(fault)?;
    let mut keys = Vec::new();
    for entry in fs::read_dir(place).map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        // What was being written when the process ended was no key yet.
        if file.extension().is_some_and(|extension| extension == "json") {
            keys.push(read_file(&file)?);
        }
    }
    Ok(KeyRing::new(keys))
}

fn read_file(file: &Path) -> Result<Key, KeyFault> {
    let fault = |error| KeyFault::File(file.to_owned(), error);
    let text = fs::read(file).map_err(fault)?;
    let mode = fs::metadata(file).map_err(fault)?.permissions().mode();
    // The group may be let in by whoever mounts a volume.
    if mode & 0o007 != 0 {
        return Err(KeyFault::Open(file.to_owned()));
    }
    let read = || {
        let KeyFile { kid, created, signs_from, pkcs8 } = serde_json::from_slice(&text).ok()?;
        Key::from_private(kid, created, signs_from, &URL_SAFE_NO_PAD.decode(pkcs8).ok()?)
    };
    read().ok_or_else(|| KeyFault::NotAKey(file.to_owned()))
}

/// A key's file is there whole after a crash, or not at all.
fn write(folder: &Path, document: &KeyFile) -> Result<(), KeyFault> {
    let file = file(folder, &document.kid);
    let draft = file.with_extension("new");
    let text = serde_json::to_vec_pretty(document).map_err(|_| KeyFault::NotMade)?;
    let write = || {
        let mut draft_file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        draft_file.write_all(&text)?;
        draft_file.sync_all()?;
        fs::rename(&draft, &file)?;
        sync(folder)
    };
    write().map_err(|error| KeyFault::File(file.clone(), error))
}

fn file(folder: &Path, kid: &str) -> PathBuf {
    folder.join(format!("{kid}.json"))
}

/// What was renamed or removed in a folder is so after a crash.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{Actor, KeyState};
    use crate::service::signing::ALGORITHM;
    use crate::service::store::Address;
    use entra_gate::jose::jwk::KeySet;
    use entra_gate::jose::signature::{Signatures as _, Software};

    struct Case {
        place: tempfile::TempDir,
        store: Store,
        keys: Keys,
    }

    fn folder(place: &tempfile::TempDir) -> PathBuf {
        place.path().join("keys")
    }

    fn stamp() -> Stamp {
        Stamp { at: 100_000, by: Actor::Bootstrap, request_id: "r".to_owned() }
    }

    /// With its first key, of second 100.
    async fn case() -> Case {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&Address::File(place.path().join("revocations.db"))).await.unwrap();
        let keys = Keys::open(Place::Folder(folder(&place)), &store, &stamp()).await.unwrap();
        Case { place, store, keys }
    }

    impl Case {
        async fn add(&self, signs_from: u64) -> String {
            let (made, line) = (Made::new().unwrap(), Line::new(Action::KeyAdd, "a test"));
            self.keys.add(made, (200, signs_from), &line, &stamp(), &self.store).await.unwrap().kid
        }

        async fn retire(&self, kid: &str, now: u64) -> Result<Vec<SigningKey>, KeyFault> {
            self.keys.retire(kid, now, &Line::new(Action::KeyRetire, "a test"), &stamp(), &self.store).await
        }
    }

    #[tokio::test]
    async fn keys_overlap_when_they_rotate() {
        let case = case().await;
        let first = case.keys.ring().signing(100).unwrap().kid().to_owned();
        let second = case.add(300).await;
        for (now, signing, states) in [
            (50, &first, [KeyState::Signing, KeyState::Next]),
            (100, &first, [KeyState::Signing, KeyState::Next]),
            (299, &first, [KeyState::Signing, KeyState::Next]),
            (300, &second, [KeyState::Old, KeyState::Signing]),
        ] {
            let ring = case.keys.ring();
            assert_eq!(ring.signing(now).unwrap().kid(), signing, "{now}");
            assert_eq!(ring.states(now).iter().map(|key| key.state).collect::<Vec<_>>(), states, "{now}");
        }
        assert!(matches!(case.retire(&first, 299).await, Err(KeyFault::Signs)));
        assert!(matches!(case.retire("other", 299).await, Err(KeyFault::Unknown)));
        case.retire(&first, 300).await.unwrap();
        assert!(matches!(case.retire(&second, 300).await, Err(KeyFault::Signs)));
        let again = read_folder(&folder(&case.place)).unwrap();
        assert_eq!(again.states(300), case.keys.ring().states(300));
        assert_eq!(again.states(300).len(), 1);
    }

    #[tokio::test]
    async fn what_is_signed_verifies_with_what_is_published() {
        let case = case().await;
        let ring = case.keys.ring();
        let set = KeySet::read(ring.published().to_string().as_bytes()).unwrap();
        let key = set.with_kid(ring.signing(1).unwrap().kid()).next().unwrap();
        let signature = read_folder(&folder(&case.place)).unwrap().signing(1).unwrap().sign(b"message").unwrap();
        assert!(Software.verify(ALGORITHM, &key.material, b"message", &signature));
        assert!(!Software.verify(ALGORITHM, &key.material, b"massage", &signature));
    }

    #[tokio::test]
    async fn private_keys_are_kept_for_their_owner() {
        let case = case().await;
        let kid = case.keys.ring().signing(1).unwrap().kid().to_owned();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = folder(&case.place);
        let file = folder.join(format!("{kid}.json"));
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        let published = case.keys.ring().published();
        let mut members = published["keys"][0].as_object().unwrap().keys();
        assert!(members.all(|member| ["alg", "e", "kid", "kty", "n", "use"].contains(&member.as_str())));

        let text = fs::read_to_string(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read_folder(&folder), Err(KeyFault::Open(_))));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        for wrong in [text.replace(&kid, "other"), "{}".to_owned(), text.replace('}', "")] {
            fs::write(&file, wrong).unwrap();
            assert!(matches!(read_folder(&folder), Err(KeyFault::NotAKey(_))));
        }
        fs::rename(&file, file.with_extension("new")).unwrap();
        assert!(read_folder(&folder).unwrap().is_empty());
    }

    #[test]
    fn a_sealed_key_opens_under_its_secret_and_its_name_alone() {
        assert!(Sealer::new("short").is_none());
        let sealer = Sealer::new("a-secret-that-is-worthless-and-long").unwrap();
        let made = Made::new().unwrap();
        let row = |kid: String, sealed: &str| KeyRow { kid, created: 1, signs_from: 1, sealed: sealed.to_owned() };
        let sealed = sealer.seal(&made.kid(), &made.private).unwrap();
        assert_eq!(sealer.open(&row(made.kid(), &sealed)).unwrap().kid(), made.kid());
        assert_ne!(sealer.seal(&made.kid(), &made.private).unwrap(), sealed);
        assert!(sealer.open(&row("other".to_owned(), &sealed)).is_none());
        assert!(sealer.open(&row(made.kid(), &sealed.to_lowercase())).is_none());
        assert!(sealer.open(&row(made.kid(), "AA")).is_none());
        let other = Sealer::new("another-secret-that-is-worthless-too").unwrap();
        assert!(matches!(other.open_all(&[row(made.kid(), &sealed)]), Err(KeyFault::Sealed)));
    }
}
