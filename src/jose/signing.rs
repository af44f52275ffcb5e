//! A certificate and its private key, which sign in somebody's name (RFC 7515). Signing itself is the host's: RSA in wasm
//! takes as long as a thousand requests, and its timing tells of the key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha1_compact::Hash as Sha1;
use superboring::reexports::hmac_sha256::Hash as Sha256;
use superboring::reexports::rsa::RsaPrivateKey;
use superboring::reexports::rsa::pkcs8::DecodePrivateKey as _;
use superboring::reexports::rsa::traits::PublicKeyParts as _;

use super::algorithm::Algorithm;
use super::certificate::key_of;
use super::jwe::armored;
use super::jwk::KeyMaterial;
use super::signature::Signatures;

/// What is signed to see whether signatures come about, and fit the certificate.
const PROBE: &[u8] = b"entra-gate signs";

/// A certificate whose key signs. Shows nothing.
pub struct SigningCertificate {
    /// An RSA key of 2048 to 4096 bits, PKCS #8 in DER.
    pub private_key: Vec<u8>,
    /// `x5t`: the SHA-1 of the certificate (RFC 7515 section 4.1.7).
    pub x5t: String,
    /// `x5t#S256`: its SHA-256 (section 4.1.8).
    pub x5t_s256: String,
    public_key: KeyMaterial,
}

/// Why there is no such certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningFault {
    /// No certificate of a usable RSA key.
    Certificate,
    /// No usable private key.
    PrivateKey,
}

impl SigningCertificate {
    /// Reads both, each as PEM or as the base64 of its DER; of several certificates in PEM the first.
    ///
    /// # Errors
    /// Which of the two is unusable. Whether they fit together only [`Self::signs`] tells.
    pub fn read(certificate: &str, private_key: &str) -> Result<Self, SigningFault> {
        let first = certificate.split("-----END").next().unwrap_or_default();
        let certificate = armored(first).ok_or(SigningFault::Certificate)?;
        let Some(public_key @ KeyMaterial::Rsa(_)) = key_of(&certificate) else {
            return Err(SigningFault::Certificate);
        };
        let private_key = armored(private_key).ok_or(SigningFault::PrivateKey)?;
        let key = RsaPrivateKey::from_pkcs8_der(&private_key).map_err(|_| SigningFault::PrivateKey)?;
        if !(2048..=4096).contains(&key.n().bits()) {
            return Err(SigningFault::PrivateKey);
        }
        Ok(Self {
            private_key,
            x5t: URL_SAFE_NO_PAD.encode(Sha1::hash(&certificate)),
            x5t_s256: URL_SAFE_NO_PAD.encode(Sha256::hash(&certificate)),
            public_key,
        })
    }

    /// Whether `sign` makes signatures (RS256) that the certificate verifies.
    #[must_use]
    pub fn signs(&self, sign: impl FnOnce(&Self, &[u8]) -> Option<Vec<u8>>, signatures: &dyn Signatures) -> bool {
        let signature = sign(self, PROBE);
        signature.is_some_and(|signature| signatures.verify(Algorithm::Rs256, &self.public_key, PROBE, &signature))
    }
}
