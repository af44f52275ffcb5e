//! Verifying one signature with one key.

use jwt_simple::algorithms::{PS256PublicKey, RS256PublicKey, RS384PublicKey, RS512PublicKey, RSAPublicKeyLike};
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use superboring::reexports::rsa::pkcs8::DecodePublicKey as _;
use superboring::reexports::rsa::sha2::{Digest as _, Sha256, Sha384, Sha512};
use superboring::reexports::rsa::traits::SignatureScheme;
use superboring::reexports::rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use subtle::ConstantTimeEq as _;
use superboring::pkey::PKey;
use superboring::reexports::hmac_sha256::HMAC;
use superboring::sign::Verifier;

use super::algorithm::Algorithm;
use super::jwk::KeyMaterial;

/// Something that verifies signatures: Envoy's BoringSSL, or [`Software`].
pub trait Signatures {
    /// Whether `signature` over `message` was made with the key, by the algorithm. Any failure is `false`.
    fn verify(&self, algorithm: Algorithm, key: &KeyMaterial, message: &[u8], signature: &[u8]) -> bool;
}

/// Verification in Rust, for hosts without `verify_signature` and for what that function cannot do (PS256, ES256, HS256).
pub struct Software;

impl Signatures for Software {
    fn verify(&self, algorithm: Algorithm, key: &KeyMaterial, message: &[u8], signature: &[u8]) -> bool {
        match (algorithm, key) {
            (Algorithm::Es256, KeyMaterial::P256(key)) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            (Algorithm::Ps256, KeyMaterial::Rsa(der)) => rsa(PS256PublicKey::from_der(der), message, signature),
            (Algorithm::Rs256, KeyMaterial::Rsa(der)) => rsa(RS256PublicKey::from_der(der), message, signature),
            (Algorithm::Rs384, KeyMaterial::Rsa(der)) => rsa(RS384PublicKey::from_der(der), message, signature),
            (Algorithm::Rs512, KeyMaterial::Rsa(der)) => rsa(RS512PublicKey::from_der(der), message, signature),
            (Algorithm::Hs256, KeyMaterial::Secret(secret)) => {
                HMAC::mac(message, secret.bytes()).as_slice().ct_eq(signature).into()
            }
            (_, KeyMaterial::P256(_) | KeyMaterial::Rsa(_) | KeyMaterial::Secret(_)) => false,
        }
    }
}

fn rsa<K: RSAPublicKeyLike, E>(key: Result<K, E>, message: &[u8], signature: &[u8]) -> bool {
    let verify = |key: K| {
        let public_key = PKey::from_rsa(key.public_key().as_ref().clone()).ok()?;
        let mut verifier = Verifier::new(K::hash(), &public_key).ok()?;
        verifier.set_rsa_padding(key.padding_scheme()).ok()?;
        verifier.update(message).ok()?;
        verifier.verify(signature).ok()
    };
    key.ok().and_then(verify) == Some(true)
}

/// A signature over a message that comes in parts, verified in Rust: for messages too long for one step.
pub struct Digesting {
    algorithm: Algorithm,
    hash: Hash,
}

enum Hash {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Digesting {
    /// Before the first part.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let hash = match algorithm {
            Algorithm::Es256 | Algorithm::Hs256 | Algorithm::Ps256 | Algorithm::Rs256 => {
                Hash::Sha256(Sha256::new())
            }
            Algorithm::Rs384 => Hash::Sha384(Sha384::new()),
            Algorithm::Rs512 => Hash::Sha512(Sha512::new()),
        };
        Self { algorithm, hash }
    }

    /// Takes the next part in.
    pub fn update(&mut self, part: &[u8]) {
        match &mut self.hash {
            Hash::Sha256(hash) => hash.update(part),
            Hash::Sha384(hash) => hash.update(part),
            Hash::Sha512(hash) => hash.update(part),
        }
    }

    /// Whether `signature` over all parts was made with the key. Any failure is `false`.
    #[must_use]
    pub fn verify(self, key: &KeyMaterial, signature: &[u8]) -> bool {
        let hash = match self.hash {
            Hash::Sha256(hash) => hash.finalize().to_vec(),
            Hash::Sha384(hash) => hash.finalize().to_vec(),
            Hash::Sha512(hash) => hash.finalize().to_vec(),
        };
        match (self.algorithm, key) {
            (Algorithm::Es256, KeyMaterial::P256(key)) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify_prehash(&hash, &signature).is_ok())
            }
            (Algorithm::Ps256, KeyMaterial::Rsa(der)) => by_rsa(der, Pss::new::<Sha256>(), &hash, signature),
            (Algorithm::Rs256, KeyMaterial::Rsa(der)) => by_rsa(der, Pkcs1v15Sign::new::<Sha256>(), &hash, signature),
            (Algorithm::Rs384, KeyMaterial::Rsa(der)) => by_rsa(der, Pkcs1v15Sign::new::<Sha384>(), &hash, signature),
            (Algorithm::Rs512, KeyMaterial::Rsa(der)) => by_rsa(der, Pkcs1v15Sign::new::<Sha512>(), &hash, signature),
            // What comes in parts is signed in public: there is no HMAC.
            (_, KeyMaterial::P256(_) | KeyMaterial::Rsa(_) | KeyMaterial::Secret(_)) => false,
        }
    }
}

fn by_rsa(der: &[u8], scheme: impl SignatureScheme, hash: &[u8], signature: &[u8]) -> bool {
    RsaPublicKey::from_public_key_der(der).is_ok_and(|key| key.verify(scheme, hash, signature).is_ok())
}
