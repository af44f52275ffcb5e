//! Tokens taken apart and put together by hand, and the names of the mock's directory.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The workforce tenant.
pub const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
/// Another workforce tenant.
pub const FABRIKAM: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";
/// The External ID tenant, domain `contosocustomers`.
pub const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
/// The B2C tenant, domain `contosob2c`.
pub const B2C: &str = "775527ff-9a37-4307-8b3d-cc311f58d925";
/// The orders API.
pub const ORDERS: &str = "11111111-2222-4333-8444-555555555555";
/// The legacy API, whose tokens are v1.
pub const LEGACY: &str = "22222222-3333-4444-8555-666666666666";
/// The confidential client that tokens are issued to unless told otherwise.
pub const DAEMON: &str = "aaaaaaaa-0000-4000-8000-000000000001";
/// The public client.
pub const PUBLIC: &str = "bbbbbbbb-0000-4000-8000-000000000002";

/// base64url without padding.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a segment.
///
/// # Panics
/// When it is not base64url.
#[must_use]
pub fn decode(segment: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(segment).expect("a segment is base64url")
}

/// Header, payload and signature of a compact JWS.
///
/// # Panics
/// When there are not three.
#[must_use]
pub fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().unwrap_or_else(|parts: Vec<&str>| panic!("{} segments", parts.len()))
}

/// The token with another signature.
#[must_use]
pub fn with_signature(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let [header, payload, signature] = parts(token);
    let mut signature = decode(signature);
    change(&mut signature);
    format!("{header}.{payload}.{}", encode(signature))
}

/// The token in a spelling of the same bytes that only a lenient decoder takes: the unused bits of the last character
/// of its signature are set.
///
/// # Panics
/// When the signature has no unused bits.
#[must_use]
pub fn with_unused_bits(token: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let [_, _, signature] = parts(token);
    assert_ne!(signature.len() % 4, 0, "no unused bits");
    let (rest, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.iter().position(|character| last.as_bytes() == [*character]).expect("base64url");
    format!("{rest}{}", char::from(ALPHABET[value | 1]))
}
