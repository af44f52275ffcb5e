//! How workers share the token for Graph: sealed (AES-256-GCM) under a key that follows from the client's secret or
//! private key (HKDF, RFC 5869), which every worker has anyway. Shared data is open to every filter with the same `vm_id`.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use superboring::reexports::hmac_sha256::HKDF;

use super::login::GraphToken;
use crate::policy::registration::Registration;

const PURPOSE: &[u8] = b"entra-gate graph token 1";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const TIME_BYTES: usize = 8;

/// Seals a token. The nonce must be random: it may repeat by chance only, once in billions of tokens.
#[must_use]
pub fn seal(token: &GraphToken, settings: &Registration, nonce: [u8; NONCE_BYTES]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(token.text.len().saturating_add(2 * TIME_BYTES));
    text.extend_from_slice(&token.refresh_at.to_be_bytes());
    text.extend_from_slice(&token.expires_at.to_be_bytes());
    text.extend_from_slice(token.text.as_bytes());
    let tag =
        cipher(settings)?.encrypt_inout_detached(&Nonce::from(nonce), &bound(settings), text.as_mut_slice().into());
    Some([nonce.as_slice(), tag.ok()?.as_slice(), &text].concat())
}

/// Opens one that was sealed here, for the same use.
#[must_use]
pub fn open(sealed: &[u8], settings: &Registration) -> Option<GraphToken> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
    let (tag, text) = rest.split_at_checked(TAG_BYTES)?;
    let (nonce, tag) = (Nonce::try_from(nonce).ok()?, Tag::try_from(tag).ok()?);
    let mut text = text.to_vec();
    cipher(settings)?.decrypt_inout_detached(&nonce, &bound(settings), text.as_mut_slice().into(), &tag).ok()?;
    let (refresh_at, rest) = text.split_at_checked(TIME_BYTES)?;
    let (expires_at, token) = rest.split_at_checked(TIME_BYTES)?;
    Some(GraphToken {
        text: String::from_utf8(token.to_vec()).ok()?,
        refresh_at: u64::from_be_bytes(refresh_at.try_into().ok()?),
        expires_at: u64::from_be_bytes(expires_at.try_into().ok()?),
    })
}

fn cipher(settings: &Registration) -> Option<Aes256Gcm> {
    let mut key = [0; 32];
    HKDF::expand(&mut key, HKDF::extract(PURPOSE, settings.credential.secret()), bound(settings));
    Aes256Gcm::new_from_slice(&key).ok()
}

/// What the token is for.
fn bound(settings: &Registration) -> Vec<u8> {
    format!("{}\0{}\0{}", settings.login.address, settings.client_id, settings.graph_scope).into_bytes()
}
