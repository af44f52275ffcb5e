//! The worthless fixture keys of `keys/`, parsed once: their JWK members (RFC 7517) and their signatures (RFC 7515).
//!
//! `kid` and `x5t` are the base64url of the certificate's SHA-1 thumbprint, as Entra forms them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use ring::{digest, hmac};
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use serde_json::{Map, Value, json};

use crate::token::Algorithm;

/// One fixture.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kid: String,
    /// Base64 DER of the self-signed certificate; P-256 fixtures have none.
    pub(crate) x5c: Option<String>,
    /// Of the same certificate (RFC 7515 section 4.1.8).
    pub(crate) x5t_s256: Option<String>,
    pair: Pair,
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
    WeakRsa(Box<RsaPrivateKey>),
}

impl Key {
    /// The fixture of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The fixture of that `kid`.
    pub(crate) fn of_kid(kid: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.kid == kid)
    }

    /// The algorithm a token signed with this key has unless told otherwise.
    pub(crate) fn usual_algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ec(_) => Algorithm::Es256,
            Pair::Rsa(_) if self.name == "oidc-pss" => Algorithm::Ps256,
            Pair::Rsa(_) | Pair::WeakRsa(_) => Algorithm::Rs256,
        }
    }

    /// `kty` and the members of the public key (RFC 7518 section 6), with `use` and `kid`.
    pub(crate) fn jwk(&self) -> Map<String, Value> {
        let public = match &self.pair {
            Pair::Ec(pair) => {
                // An uncompressed point: 0x04, x, y (SEC 1 section 2.3.3).
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
            }
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)})
            }
            Pair::WeakRsa(key) => json!({
                "kty": "RSA",
                "n": URL_SAFE_NO_PAD.encode(key.n().to_bytes_be()),
                "e": URL_SAFE_NO_PAD.encode(key.e().to_bytes_be()),
            }),
        };
        let mut jwk = Map::from_iter([("use".to_owned(), json!("sig")), ("kid".to_owned(), json!(self.kid))]);
        if let Value::Object(public) = public {
            jwk.extend(public);
        }
        jwk
    }

    /// The public key, if it is RSA.
    pub(crate) fn rsa(&self) -> Option<RsaPublicKey> {
        match &self.pair {
            Pair::Ec(_) => None,
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                RsaPublicKey::new(BigUint::from_bytes_be(&n), BigUint::from_bytes_be(&e)).ok()
            }
            Pair::WeakRsa(key) => Some(key.to_public_key()),
        }
    }

    /// Whether an RSA key made the signature.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let parameters = match algorithm {
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            _ => return false,
        };
        match &self.pair {
            Pair::Rsa(pair) => {
                let components: PublicKeyComponents<Vec<u8>> = pair.public().into();
                components.verify(parameters, message, signature).is_ok()
            }
            Pair::Ec(_) | Pair::WeakRsa(_) => false,
        }
    }

    /// The signature over `message`, or `None` where the key cannot make one with that algorithm.
    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        match (&self.pair, algorithm) {
            (_, Algorithm::None) => Some(Vec::new()),
            (pair, Algorithm::Hs256) => Some(confused(pair, message)),
            (Pair::Ec(pair), Algorithm::Es256) => {
                pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
            }
            (Pair::Rsa(pair), Algorithm::Ps256) => sign_rsa(pair, &RSA_PSS_SHA256, message),
            (Pair::Rsa(pair), Algorithm::Rs256) => sign_rsa(pair, &RSA_PKCS1_SHA256, message),
            (Pair::Rsa(pair), Algorithm::Rs384) => sign_rsa(pair, &RSA_PKCS1_SHA384, message),
            (Pair::Rsa(pair), Algorithm::Rs512) => sign_rsa(pair, &RSA_PKCS1_SHA512, message),
            (Pair::WeakRsa(key), Algorithm::Rs256) => {
                Some(SigningKey::<Sha256>::new(key.as_ref().clone()).sign(message).to_vec())
            }
            _ => None,
        }
    }
}

fn sign_rsa(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Option<Vec<u8>> {
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(signature)
}

/// The key confusion of RFC 8725 section 2.1: the public key is used as the secret of an HMAC.
fn confused(pair: &Pair, message: &[u8]) -> Vec<u8> {
    let public = match pair {
        Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
        Pair::Rsa(pair) => pair.public().as_ref().to_vec(),
        Pair::WeakRsa(key) => key.n().to_bytes_be(),
    };
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), message).as_ref().to_vec()
}

macro_rules! fixtures {
    (rsa: [$($rsa:literal),*], ec: [$($ec:literal),*]) => {
        vec![
            $(rsa_key(
                $rsa,
                include_str!(concat!("../keys/", $rsa, ".key.pem")),
                include_str!(concat!("../keys/", $rsa, ".crt.pem")),
            ),)*
            $(ec_key($ec, include_str!(concat!("../keys/", $ec, ".key.pem"))),)*
        ]
    };
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    fixtures!(
        rsa: [
            "v1", "v2", "both", "msa", "app", "ciam", "us-gov", "china", "b2c-signin", "b2c-susi", "b2c-tfp", "oidc",
            "oidc-pss", "next-1", "next-2", "next-3", "stranger", "encryption", "weak", "large",
            "bridge"
        ],
        ec: ["ec", "ec-stranger"]
    )
});

fn rsa_key(name: &'static str, private: &str, certificate: &str) -> Key {
    let private = der(private);
    let pair = match RsaKeyPair::from_pkcs8(&private) {
        Ok(pair) => Pair::Rsa(Box::new(pair)),
        Err(_) => Pair::WeakRsa(Box::new(RsaPrivateKey::from_pkcs8_der(&private).expect("a fixture is PKCS #8"))),
    };
    let certificate = der(certificate);
    Key {
        name,
        kid: thumbprint(&certificate),
        x5c: Some(STANDARD.encode(&certificate)),
        x5t_s256: Some(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate))),
        pair,
    }
}

fn ec_key(name: &'static str, private: &str) -> Key {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der(private), &SystemRandom::new())
        .expect("a fixture is PKCS #8");
    Key { name, kid: thumbprint(pair.public_key().as_ref()), x5c: None, x5t_s256: None, pair: Pair::Ec(Box::new(pair)) }
}

/// RFC 7515 section 4.1.7.
fn thumbprint(certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate))
}

fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).expect("a fixture is PEM")
}
