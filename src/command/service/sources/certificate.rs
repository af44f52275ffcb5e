//! A client of Entra that proves itself with a certificate: a signed assertion instead of a secret.
//!
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>, RFC 7523 section 2.2.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::jose::certificate;
use entra_gate::jose::jwk::KeyMaterial;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How long an assertion is good, in seconds: as Entra recommends.
const LIFETIME: u64 = 300;

/// A certificate's private key, and how Entra knows the certificate.
pub(crate) struct Certificate {
    pair: RsaKeyPair,
    /// `x5t#S256`
    thumbprint: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "certificate {}", self.thumbprint)
    }
}

impl Certificate {
    /// Reads both, PEM. The error says what is wrong, and nothing of the key.
    pub(crate) fn read(certificate: &[u8], key: &[u8]) -> Result<Self, &'static str> {
        let certificate =
            CertificateDer::from_pem_slice(certificate).map_err(|_| "a certificate_file without a certificate")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "a key_file without a private key")?;
        let pair = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err("a key that is not RSA"),
        };
        let pair = pair.map_err(|_| "a key that cannot be used")?;
        let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
        if certificate::key_of(&certificate) != KeyMaterial::rsa(&n, &e) {
            return Err("a certificate of another key");
        }
        Ok(Self { pair, thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)) })
    }

    /// An assertion for a token endpoint; none if it cannot be signed. `id` is new each time.
    pub(crate) fn assertion(&self, client: &str, audience: &str, id: &str, now: u64) -> Option<String> {
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let expires = now.saturating_add(LIFETIME);
        let claims =
            json!({"aud": audience, "iss": client, "sub": client, "jti": id, "nbf": now, "iat": now, "exp": expires});
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).ok()?;
        Some(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
