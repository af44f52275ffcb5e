//! The signed form of a feed: a compact JWS (RFC 7515) of any size, verified in steps.
//!
//! The algorithm is the pinned key's, never the header's wish.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::document::TYP;
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::{self, Malformed, Segment};
use crate::jose::jwk::{Key, KeyMaterial, KeySet};
use crate::jose::signature::{Digesting, Signatures};

/// The part that is signed: header and payload, base64url.
#[must_use]
pub fn signing_input(algorithm: Algorithm, kid: &str, payload: &str) -> String {
    let header = json!({ "alg": algorithm.name(), "kid": kid, "typ": TYP }).to_string();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// The document: what was signed, and the signature over its bytes.
#[must_use]
pub fn compact(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Longest header segment, in bytes.
const MAX_HEADER_BYTES: usize = 4 * 1024;
/// Longest signature segment, in bytes: 4096 bits of RSA take 683.
const MAX_SIGNATURE_BYTES: usize = 1_024;
/// Up to this length a message is verified at once, by whoever does it fastest.
const ONE_STEP_BYTES: usize = 256 * 1024;

/// Why a body is no feed that is to be believed. Carries nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The header asks for another algorithm than the key's.
    Algorithm,
    /// Not the three segments of a compact JWS, or one of them is ill-formed.
    Form(Malformed),
    /// No pinned key has the header's `kid`.
    Key,
    /// The signature is not the key's.
    Signature,
    /// The header's `typ` is another.
    Typ,
}

/// A body taken apart. Nothing in it is to be trusted yet.
pub struct Token {
    body: Vec<u8>,
    /// Where the payload begins and ends.
    payload: (usize, usize),
    signature: Vec<u8>,
    algorithm: Algorithm,
    /// The key that the header names.
    pub key: std::rc::Rc<Key>,
    progress: Progress,
}

/// How far verification is.
enum Progress {
    Started,
    Hashing(Box<Digesting>, usize),
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// It is done.
    Done,
}

impl Token {
    /// Takes a body apart and finds its key.
    ///
    /// # Errors
    /// Whatever can be said without looking at the payload.
    pub fn read(mut body: Vec<u8>, keys: &KeySet) -> Result<Self, TokenFault> {
        let form = |form| TokenFault::Form(form);
        body.truncate(body.trim_ascii_end().len());
        let dot = |range: &[u8]| range.iter().position(|byte| *byte == b'.');
        let start = body.get(..MAX_HEADER_BYTES.min(body.len())).and_then(dot).ok_or(form(Malformed::Segments))?;
        let tail = body.len().saturating_sub(MAX_SIGNATURE_BYTES);
        let end = body.get(tail..).and_then(|tail| tail.iter().rposition(|byte| *byte == b'.'));
        let end = end.map(|end| end.saturating_add(tail)).filter(|end| *end > start);
        let end = end.ok_or(form(Malformed::Segments))?;
        let header = body.get(..start).and_then(|header| std::str::from_utf8(header).ok());
        let header = header.ok_or(form(Malformed::Base64(Segment::Header)))?;
        let header = compact::Header::read(header).map_err(form)?;
        let typ = header.typ.as_deref().unwrap_or_default();
        let typ = typ
            .get(..12)
            .filter(|prefix| prefix.eq_ignore_ascii_case("application/"))
            .map_or(typ, |_| typ.get(12..).unwrap_or_default());
        if !typ.eq_ignore_ascii_case(TYP) {
            return Err(TokenFault::Typ);
        }
        let kid = header.kid.as_deref().ok_or(form(Malformed::KeyId))?;
        let key = keys.with_kid(kid).find(|key| header.alg == algorithm_of(key).name());
        let key = key.ok_or_else(|| match keys.with_kid(kid).next() {
            Some(_) => TokenFault::Algorithm,
            None => TokenFault::Key,
        })?;
        let signature = body.get(end.saturating_add(1)..).unwrap_or_default();
        if signature.is_empty() {
            return Err(form(Malformed::Unsigned));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| form(Malformed::Base64(Segment::Signature)))?;
        Ok(Self {
            payload: (start.saturating_add(1), end),
            signature,
            algorithm: algorithm_of(key),
            key: std::rc::Rc::clone(key),
            progress: Progress::Started,
            body,
        })
    }

    /// Verifies about so many bytes more.
    ///
    /// # Errors
    /// [`TokenFault::Signature`], at the end.
    pub fn verify(&mut self, budget: usize, signatures: &dyn Signatures) -> Result<Step, TokenFault> {
        let message = self.body.get(..self.payload.1).unwrap_or_default();
        let good = match std::mem::replace(&mut self.progress, Progress::Started) {
            Progress::Started if message.len() <= ONE_STEP_BYTES => {
                signatures.verify(self.algorithm, &self.key.material, message, &self.signature)
            }
            Progress::Started => {
                self.progress = Progress::Hashing(Box::new(Digesting::new(self.algorithm)), 0);
                return Ok(Step::More);
            }
            Progress::Hashing(mut digesting, at) => {
                let end = at.saturating_add(budget.max(1)).min(message.len());
                digesting.update(message.get(at..end).unwrap_or_default());
                if end < message.len() {
                    self.progress = Progress::Hashing(digesting, end);
                    return Ok(Step::More);
                }
                digesting.verify(&self.key.material, &self.signature)
            }
        };
        if good { Ok(Step::Done) } else { Err(TokenFault::Signature) }
    }

    /// The payload, base64url. To be believed only after [`Token::verify`] was done.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.body.get(self.payload.0..self.payload.1).unwrap_or_default()
    }
}

/// The one algorithm that a key is used with.
#[must_use]
pub fn algorithm_of(key: &Key) -> Algorithm {
    key.algorithm.unwrap_or(match key.material {
        KeyMaterial::P256(_) => Algorithm::Es256,
        KeyMaterial::Rsa(_) => Algorithm::Rs256,
        KeyMaterial::Secret(_) => Algorithm::Hs256,
    })
}
