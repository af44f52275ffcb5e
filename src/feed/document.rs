//! The claims of a feed's document and their JSON form.

use serde_json::{Map, Value};

use super::page::{Paging, PagingFault};
use crate::jose::json::Object;
use crate::revocation::entry::Entry;

/// `typ` of a feed's header.
pub const TYP: &str = "revocations+jwt";
/// Most entries that a feed may hold, whatever their form.
pub const MAX_RECORDS: usize = 2_000_000;
/// Largest `seq`, the last that a JSON number holds exactly everywhere.
pub const MAX_SEQUENCE: u64 = (1 << 53) - 1;

/// The claims, but for what is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: who made the document.
    pub issuer: String,
    /// `iat`: when, in Unix seconds.
    pub issued_at: u64,
    /// `exp`: from when on it is not to be used any more, in Unix seconds.
    pub expires: Option<u64>,
    /// `seq`: which state of the set it leads to.
    pub sequence: u64,
    /// `base`: the state that it builds on; none for a snapshot, which needs none.
    pub base: Option<u64>,
    /// `changes_since`, of a snapshot: a state since which all that changed is in `entries`. Whoever holds it, or a later
    /// one, needs nothing else.
    pub changes_since: Option<u64>,
}

/// Why a payload is no document of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimsFault {
    /// `packed` is there and `base` as well: pages are snapshots.
    PackedDelta,
    /// `packed` cannot be used.
    Packed(PagingFault),
    /// A claim is missing, of the wrong type or out of range.
    Claim(&'static str),
}

impl Claims {
    /// Reads the claims, and the names of the pages of a packed feed. Unknown claims are ignored (RFC 7519 section 4).
    ///
    /// # Errors
    /// What keeps them from being a feed's.
    pub fn read(members: &Object) -> Result<(Self, Option<Paging>), ClaimsFault> {
        let whole = |name: &'static str| match members.get(name) {
            None => Ok(None),
            Some(value) => match value.as_u64().filter(|number| *number <= MAX_SEQUENCE) {
                Some(number) => Ok(Some(number)),
                None => Err(ClaimsFault::Claim(name)),
            },
        };
        let required = |name: &'static str| whole(name)?.ok_or(ClaimsFault::Claim(name));
        let issuer = members.get("iss").and_then(Value::as_str).ok_or(ClaimsFault::Claim("iss"))?.to_owned();
        let sequence = required("seq")?;
        let base = match whole("base")? {
            Some(base) if base > sequence => return Err(ClaimsFault::Claim("base")),
            // The state before the first entry is the empty set: what builds on it needs nothing.
            Some(0) | None => None,
            Some(base) => Some(base),
        };
        let changes_since = whole("changes_since")?;
        if changes_since.is_some_and(|since| since > sequence || base.is_some()) {
            return Err(ClaimsFault::Claim("changes_since"));
        }
        let (issued_at, expires) = (required("iat")?, whole("exp")?);
        let claims = Self { issuer, issued_at, expires, sequence, base, changes_since };
        let paging = match members.get("packed") {
            None => None,
            Some(Value::Object(_)) if base.is_some() => return Err(ClaimsFault::PackedDelta),
            Some(Value::Object(packed)) => Some(Paging::read(packed).map_err(ClaimsFault::Packed)?),
            Some(_) => return Err(ClaimsFault::Claim("packed")),
        };
        Ok((claims, paging))
    }

    /// The payload of a document with these entries, and these pages if it is packed.
    #[must_use]
    pub fn payload(&self, entries: &[Entry], paging: Option<&Paging>) -> String {
        let mut members = Map::new();
        members.insert("iss".to_owned(), self.issuer.as_str().into());
        members.insert("iat".to_owned(), self.issued_at.into());
        members.extend(self.expires.map(|expires| ("exp".to_owned(), expires.into())));
        members.insert("seq".to_owned(), self.sequence.into());
        members.extend(self.base.map(|base| ("base".to_owned(), base.into())));
        members.extend(self.changes_since.map(|since| ("changes_since".to_owned(), since.into())));
        members.extend(paging.map(|paging| ("packed".to_owned(), paging.to_json())));
        members.insert("entries".to_owned(), entries.iter().flat_map(Entry::to_json).collect());
        Value::Object(members).to_string()
    }
}
