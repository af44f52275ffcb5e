//! A body of the feed, from bytes to entries, in steps that an event loop can bear.
//!
//! First the signature over all of it, then its content: nothing is parsed that no pinned key has signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::document::{Claims, ClaimsFault, MAX_RECORDS};
use super::overlay::Overlay;
use super::page::Paging;
use super::scanner::{ScanFault, Scanner};
use super::token::{Step, Token, TokenFault};
use crate::jose::json::{self, JsonFault};
use crate::jose::jwk::KeySet;
use crate::jose::signature::Signatures;
use crate::revocation::Known;
use crate::revocation::entry::{Entry, EntryFault};
use crate::revocation::fingerprint::HashKey;

/// Largest body, in bytes: what the host takes.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// How far ahead of our clock, or behind it, the feed's may be, in seconds.
const CLOCK_SKEW: u64 = 60;

/// Why a body was refused. Carries nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Larger than [`MAX_BODY_BYTES`].
    TooLarge,
    /// Not a JWS that a pinned key has signed.
    Token(TokenFault),
    /// The payload is not canonical base64url.
    Base64,
    /// The payload cannot be cut into entries.
    Scan(ScanFault),
    /// The payload, or one of the entries, is not a JSON object with unique members.
    Json(JsonFault),
    /// The claims are not a feed's.
    Claims(ClaimsFault),
    /// An entry is none.
    Entry(EntryFault),
    /// More entries than [`MAX_RECORDS`].
    TooManyEntries,
    /// Its `exp` is over.
    Expired,
}

impl From<ScanFault> for BodyFault {
    fn from(fault: ScanFault) -> Self {
        Self::Scan(fault)
    }
}

/// What a body says.
pub struct Document {
    /// The claims.
    pub claims: Claims,
    /// The pages of a packed feed.
    pub paging: Option<Paging>,
    /// The entries, under this key.
    pub entries: Overlay,
    /// The key of their fingerprints: the packed feed's, else the one that was given.
    pub key: HashKey,
    /// Who signed it, by [`Key::thumbprint`](crate::jose::jwk::Key::thumbprint).
    pub signer: [u8; 32],
}

/// A body that is being read.
pub struct Reader {
    token: Token,
    key: HashKey,
    verified: bool,
    /// How much of the payload was decoded.
    at: usize,
    scanner: Scanner,
    entries: Overlay,
    room: Vec<u8>,
}

/// What a step of reading came to.
pub enum Reading {
    /// There is more to do.
    More(Box<Reader>),
    /// It is done.
    Done(Box<Document>),
}

/// Whether a document's `exp` is over.
#[must_use]
pub fn is_expired(expires: u64, now: u64) -> bool {
    expires.saturating_add(CLOCK_SKEW) <= now
}

impl Reader {
    /// Begins with a body. `key` is that of the fingerprints, unless the feed brings its own.
    ///
    /// # Errors
    /// Whatever can be said without looking at the payload.
    pub fn new(body: Vec<u8>, keys: &KeySet, key: HashKey) -> Result<Self, BodyFault> {
        if body.len() > MAX_BODY_BYTES {
            return Err(BodyFault::TooLarge);
        }
        let token = Token::read(body, keys).map_err(BodyFault::Token)?;
        let (scanner, entries) = (Scanner::default(), Overlay::default());
        Ok(Self { token, key, verified: false, at: 0, scanner, entries, room: Vec::new() })
    }

    /// Whether the signature is good, so that now the content is read.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Reads about so many bytes more.
    ///
    /// # Errors
    /// Why the body is refused.
    pub fn step(
        mut self: Box<Self>,
        budget: usize,
        signatures: &dyn Signatures,
        now: u64,
    ) -> Result<Reading, BodyFault> {
        if !self.verified {
            self.verified = self.token.verify(budget, signatures).map_err(BodyFault::Token)? == Step::Done;
            return Ok(Reading::More(self));
        }
        // Four characters are three bytes: parts are cut where no byte is.
        let part = (budget / 4).max(1).saturating_mul(4);
        let payload = self.token.payload();
        let end = self.at.saturating_add(part).min(payload.len());
        let decoded = URL_SAFE_NO_PAD.decode(payload.get(self.at..end).unwrap_or_default());
        let decoded = decoded.map_err(|_| BodyFault::Base64)?;
        let is_last = end == payload.len();
        self.at = end;
        let Self { scanner, entries, room, key, .. } = &mut *self;
        scanner.scan(&decoded, |entry| {
            let entry = Entry::read(&json::object(entry).map_err(BodyFault::Json)?).map_err(BodyFault::Entry)?;
            let known = Known::from(&entry);
            // What is over must not live on in another entry of its subject.
            if !known.is_over(now) {
                entries.add(key.fingerprint(&entry.subject, room), known);
            }
            if entries.len() > MAX_RECORDS { Err(BodyFault::TooManyEntries) } else { Ok(()) }
        })?;
        if is_last { self.finish(now) } else { Ok(Reading::More(self)) }
    }

    fn finish(mut self: Box<Self>, now: u64) -> Result<Reading, BodyFault> {
        let members = json::object(self.scanner.rest()).map_err(BodyFault::Json)?;
        let (claims, paging) = Claims::read(&members).map_err(BodyFault::Claims)?;
        // What the scanner did not take for the list of entries, it left.
        match members.get("entries") {
            Some(serde_json::Value::Array(left)) if left.is_empty() => {}
            None if paging.is_some() => {}
            _ => return Err(BodyFault::Claims(ClaimsFault::Claim("entries"))),
        }
        if claims.expires.is_some_and(|expires| is_expired(expires, now)) {
            return Err(BodyFault::Expired);
        }
        if let Some(paging) = &paging
            && paging.key != self.key
        {
            // The few entries beside the pages were taken under another key: once more.
            self.key = paging.key;
            (self.at, self.scanner, self.entries) = (0, Scanner::default(), Overlay::default());
            return Ok(Reading::More(self));
        }
        let paged: usize = paging.iter().flat_map(|paging| &paging.pages).map(|page| page.records).sum();
        if paged.saturating_add(self.entries.len()) > MAX_RECORDS {
            return Err(BodyFault::TooManyEntries);
        }
        let signer = self.token.key.thumbprint();
        Ok(Reading::Done(Box::new(Document { claims, paging, entries: self.entries, key: self.key, signer })))
    }
}
