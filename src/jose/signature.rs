//! Verifying one signature with one key.

use jwt_simple::algorithms::{PS256PublicKey, RS256PublicKey, RS384PublicKey, RS512PublicKey, RSAPublicKeyLike};
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Verifier as _;
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
