//! Keys that verify signatures: from JWK sets (RFC 7517), as many as are usable, and secrets from configuration.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::algorithms::RS256PublicKey;
use p256::ecdsa::VerifyingKey;
use superboring::reexports::rsa::sha2::{Digest as _, Sha256};
use serde_json::Value;

use super::algorithm::Algorithm;
use super::json::{self, JsonFault, Object};

/// Most keys that one set may hold. Entra's largest document holds fewer than 20.
pub const MAX_KEYS: usize = 200;

/// What verifies signatures.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A point on P-256.
    P256(Box<VerifyingKey>),
    /// An RSA key of 2048 to 4096 bits with exponent 65537, as a DER `SubjectPublicKeyInfo`.
    Rsa(Vec<u8>),
    /// A secret for HMAC. No key set brings one: a published secret is none.
    Secret(Secret),
}

/// At least 256 bits that only issuer and gate know (RFC 7518 section 3.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The least length, in bytes.
    pub const LEAST_BYTES: usize = 32;

    /// None if it is too short.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= Self::LEAST_BYTES).then_some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl KeyMaterial {
    /// An RSA key by its modulus and exponent, big-endian.
    #[must_use]
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        Self::of_rsa(RS256PublicKey::from_components(modulus, exponent).ok()?)
    }

    /// An RSA key as PKCS #1 writes it (RFC 8017 appendix A.1.1).
    pub(super) fn rsa_of_pkcs1(der: &[u8]) -> Option<Self> {
        Self::of_rsa(RS256PublicKey::from_der(der).ok()?)
    }

    /// A point on P-256 (SEC 1 section 2.3.3).
    pub(super) fn p256(point: &[u8]) -> Option<Self> {
        Some(Self::P256(Box::new(VerifyingKey::from_sec1_bytes(point).ok()?)))
    }

    /// A point on P-256 by its coordinates, big-endian.
    #[must_use]
    pub fn p256_of_coordinates(x: &[u8], y: &[u8]) -> Option<Self> {
        if x.len() == 32 && y.len() == 32 { Self::p256(&[&[4], x, y].concat()) } else { None }
    }

    fn of_rsa(key: RS256PublicKey) -> Option<Self> {
        Some(Self::Rsa(key.to_der().ok()?))
    }

    /// Whether the key is of the type that the algorithm needs.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Es256 => matches!(self, Self::P256(_)),
            Algorithm::Hs256 => matches!(self, Self::Secret(_)),
            Algorithm::Ps256 | Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => matches!(self, Self::Rsa(_)),
        }
    }
}

/// A key of a set, with what Entra says of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// `kid`; none only for keys of the configuration.
    pub kid: Option<String>,
    /// The key itself.
    pub material: KeyMaterial,
    /// `alg`, if the key is bound to one. Entra's are not.
    pub algorithm: Option<Algorithm>,
    /// Entra's `issuer` member: the issuer, or the `{tenantid}` template, that the key may sign for.
    pub issuer: Option<String>,
    /// Entra's `cloud_instance_name` member.
    pub cloud_instance_name: Option<String>,
}

impl Key {
    /// What tells the key from all others, whatever it is called: the SHA-256 of its bytes.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        match &self.material {
            KeyMaterial::P256(key) => Sha256::digest(key.to_sec1_point(false).as_bytes()).into(),
            KeyMaterial::Rsa(der) => Sha256::digest(der).into(),
            KeyMaterial::Secret(secret) => Sha256::digest(secret.bytes()).into(),
        }
    }
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
    /// Keys of the configuration.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys: keys.into_iter().map(Rc::new).collect(), skipped: 0 }
    }

    /// Reads a JWK set. Keys of other types, uses, sizes or shapes, and those without `kid`, are skipped and counted.
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
        let usable = entries.iter().filter_map(Value::as_object).filter_map(Key::read);
        let keys: Vec<Rc<Key>> = usable.filter(|key| key.kid.is_some()).map(Rc::new).collect();
        if keys.is_empty() {
            return Err(KeySetFault::NoUsableKey);
        }
        let skipped = entries.len().saturating_sub(keys.len());
        Ok(Self { keys, skipped })
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &Rc<Key>> {
        self.keys.iter()
    }

    /// The keys with that `kid`. Normally one; two kinds of key may share a `kid` (RFC 7517 section 4.5).
    pub fn with_kid<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a Rc<Key>> {
        self.keys.iter().filter(move |key| key.kid.as_deref() == Some(kid))
    }

    /// The keys without any `kid`.
    pub fn without_kid(&self) -> impl Iterator<Item = &Rc<Key>> {
        self.keys.iter().filter(|key| key.kid.is_none())
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

/// The members of a JWK that nobody publishes.
pub const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Key {
    /// Reads a public key from a JWK; none if it cannot verify signatures.
    #[must_use]
    pub fn read(members: &Object) -> Option<Self> {
        // A published private key is nobody's key any more.
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return None;
        }
        let material = material(members)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
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
        let kid = match members.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().filter(|kid| !kid.is_empty())?.to_owned()),
        };
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return None;
        }
        let issuer = text("issuer").map(str::to_owned);
        let cloud_instance_name = text("cloud_instance_name").map(str::to_owned);
        Some(Self { kid, material, algorithm, issuer, cloud_instance_name })
    }
}

fn material(members: &Object) -> Option<KeyMaterial> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let decode = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    match text("kty")? {
        "RSA" => KeyMaterial::rsa(&decode("n")?, &decode("e")?),
        "EC" if text("crv") == Some("P-256") => KeyMaterial::p256_of_coordinates(&decode("x")?, &decode("y")?),
        _ => None,
    }
}
