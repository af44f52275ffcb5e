//! Public keys from JWK sets (RFC 7517), as many as are usable.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::algorithms::RS256PublicKey;
use p256::ecdsa::VerifyingKey;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::json::{self, JsonFault, Object};

/// Most keys that one set may hold. Entra's largest document holds fewer than 20.
pub const MAX_KEYS: usize = 200;

/// A public key that can verify signatures.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// A point on P-256.
    P256(Box<VerifyingKey>),
    /// An RSA key of 2048 to 4096 bits with exponent 65537, as a DER `SubjectPublicKeyInfo`.
    Rsa(Vec<u8>),
}

impl PublicKey {
    /// Whether the key is of the type that the algorithm needs.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (Self::P256(_), Algorithm::Es256)
            | (Self::Rsa(_), Algorithm::Ps256 | Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512) => true,
            (Self::P256(_), Algorithm::Ps256 | Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512)
            | (Self::Rsa(_), Algorithm::Es256) => false,
        }
    }
}

/// A key of a set, with what Entra says of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// `kid`.
    pub kid: String,
    /// The key itself.
    pub public_key: PublicKey,
    /// `alg`, if the key is bound to one. Entra's are not.
    pub algorithm: Option<Algorithm>,
    /// Entra's `issuer` member: the issuer, or the `{tenantid}` template, that the key may sign for.
    pub issuer: Option<String>,
    /// Entra's `cloud_instance_name` member.
    pub cloud_instance_name: Option<String>,
}

/// The usable keys of a set, and how many were not.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Rc<Key>>,
    skipped: usize,
}

/// Why a document is no key set at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetFault {
    /// Not a JSON object with unique members.
    Json(JsonFault),
    /// `keys` is missing or not an array.
    NoKeys,
    /// None of the keys can be used.
    NoUsableKey,
    /// More than [`MAX_KEYS`] keys.
    TooManyKeys,
}

impl KeySet {
    /// Reads a JWK set. Keys of other types, uses, sizes or shapes are skipped and counted.
    ///
    /// # Errors
    /// Says why the document holds no usable key.
    pub fn read(document: &[u8]) -> Result<Self, KeySetFault> {
        let members = json::object(document).map_err(KeySetFault::Json)?;
        let Some(Value::Array(entries)) = members.get("keys") else {
            return Err(KeySetFault::NoKeys);
        };
        if entries.len() > MAX_KEYS {
            return Err(KeySetFault::TooManyKeys);
        }
        let keys: Vec<Rc<Key>> =
            entries.iter().filter_map(Value::as_object).filter_map(read_key).map(Rc::new).collect();
        if keys.is_empty() {
            return Err(KeySetFault::NoUsableKey);
        }
        let skipped = entries.len().saturating_sub(keys.len());
        Ok(Self { keys, skipped })
    }

    /// The keys with that `kid`. Normally one; two kinds of key may share a `kid` (RFC 7517 section 4.5).
    pub fn with_kid<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a Rc<Key>> {
        self.keys.iter().filter(move |key| key.kid == kid)
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys of the document cannot be used.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn read_key(members: &Object) -> Option<Key> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    // A published private key is nobody's key any more.
    if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
        return None;
    }
    if members.contains_key("use") && text("use") != Some("sig") {
        return None;
    }
    match members.get("key_ops") {
        None => {}
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
        Some(_) => return None,
    }
    let algorithm = match members.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::from_name(name.as_str()?)?),
    };
    let kid = text("kid").filter(|kid| !kid.is_empty())?.to_owned();
    let decode = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let public_key = match text("kty")? {
        "RSA" => {
            let key = RS256PublicKey::from_components(&decode("n")?, &decode("e")?).ok()?;
            PublicKey::Rsa(key.to_der().ok()?)
        }
        "EC" if text("crv") == Some("P-256") => {
            let (x, y) = (decode("x")?, decode("y")?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            PublicKey::P256(Box::new(VerifyingKey::from_sec1_bytes(&point).ok()?))
        }
        _ => return None,
    };
    if algorithm.is_some_and(|algorithm| !public_key.fits(algorithm)) {
        return None;
    }
    Some(Key {
        kid,
        public_key,
        algorithm,
        issuer: text("issuer").map(str::to_owned),
        cloud_instance_name: text("cloud_instance_name").map(str::to_owned),
    })
}
