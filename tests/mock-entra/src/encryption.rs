//! Encrypted tokens: compact JWE (RFC 7516) around a token, made with other libraries than the filter's, but for AES-CBC.

use aes::Aes128;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use rsa::rand_core::OsRng;
use rsa::sha2::Sha256;
use rsa::{Oaep, RsaPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::Sha1;

use crate::keyring::Key;
use crate::merge::merge;
use crate::token::MintError;

/// How a token is encrypted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Encryption {
    /// The fixture whose private key opens it, by default `encryption`. `kid` follows it.
    pub key: Option<String>,
    /// How the content's key is encrypted.
    pub alg: KeyManagement,
    /// How the content is encrypted.
    pub enc: ContentEncryption,
    /// Merged over the header (RFC 7396); `null` removes.
    pub header: Value,
}

/// Encryption of the content's key (RFC 7518 section 4.3).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum KeyManagement {
    /// With SHA-1.
    #[default]
    #[serde(rename = "RSA-OAEP")]
    RsaOaep,
    /// With SHA-256.
    #[serde(rename = "RSA-OAEP-256")]
    RsaOaep256,
}

/// Encryption of the content (RFC 7518 section 5).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum ContentEncryption {
    /// AES-128 in CBC mode, and HMAC with SHA-256.
    #[serde(rename = "A128CBC-HS256")]
    A128CbcHs256,
    /// AES-256 in Galois/Counter Mode.
    #[default]
    #[serde(rename = "A256GCM")]
    A256Gcm,
}

impl Encryption {
    /// The text as a JWE. `cty` says that it is a token.
    ///
    /// # Errors
    /// The key is unknown, or not RSA.
    pub fn encrypt(&self, text: &str) -> Result<String, MintError> {
        let name = self.key.as_deref().unwrap_or("encryption");
        let key = Key::named(name).ok_or_else(|| MintError::UnknownKey(name.to_owned()))?;
        let public = key.rsa().ok_or_else(|| MintError::NotForEncryption(name.to_owned()))?;
        let alg = match self.alg {
            KeyManagement::RsaOaep => "RSA-OAEP",
            KeyManagement::RsaOaep256 => "RSA-OAEP-256",
        };
        let enc = match self.enc {
            ContentEncryption::A128CbcHs256 => "A128CBC-HS256",
            ContentEncryption::A256Gcm => "A256GCM",
        };
        let mut header = json!({"typ": "JWT", "cty": "JWT", "alg": alg, "enc": enc, "kid": key.kid});
        if !self.header.is_null() {
            merge(&mut header, &self.header);
        }
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let content_key = random::<32>();
        let (iv, ciphertext, tag) = match self.enc {
            ContentEncryption::A128CbcHs256 => cbc_hmac(&content_key, header.as_bytes(), text.as_bytes()),
            ContentEncryption::A256Gcm => gcm(&content_key, header.as_bytes(), text.as_bytes()),
        };
        let encrypted_key = wrap(&public, self.alg, &content_key);
        let parts = [encrypted_key, iv, ciphertext, tag].map(|part| URL_SAFE_NO_PAD.encode(part));
        Ok(format!("{header}.{}", parts.join(".")))
    }
}

fn wrap(key: &RsaPublicKey, alg: KeyManagement, content_key: &[u8]) -> Vec<u8> {
    let padding = match alg {
        KeyManagement::RsaOaep => Oaep::new::<Sha1>(),
        KeyManagement::RsaOaep256 => Oaep::new::<Sha256>(),
    };
    key.encrypt(&mut OsRng, padding, content_key).expect("a content key is shorter than the modulus")
}

fn gcm(key: &[u8; 32], aad: &[u8], text: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"));
    let (iv, mut content) = (random::<12>(), text.to_vec());
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(aad), &mut content)
        .expect("a token is short");
    (iv.to_vec(), content, tag.as_ref().to_vec())
}

/// RFC 7518 section 5.2.2.1.
fn cbc_hmac(key: &[u8; 32], aad: &[u8], text: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (mac_key, cipher_key) = key.split_at(16);
    let iv = random::<16>();
    let cipher = cbc::Encryptor::<Aes128>::new_from_slices(cipher_key, &iv).expect("16 bytes each");
    let content = cipher.encrypt_padded_vec::<Pkcs7>(text);
    let bits = u64::try_from(aad.len() * 8).expect("a header is short").to_be_bytes();
    let message = [aad, &iv, &content, &bits].concat();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, mac_key), &message);
    (iv.to_vec(), content, mac.as_ref()[..16].to_vec())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}
