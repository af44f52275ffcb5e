//! Packed feeds: more entries than JSON can carry, as pages of records that the signed head names by their digests.
//!
//! A page is nothing but records (see [`Record`]), in strictly ascending order of fingerprints, within a page and from page
//! to page. It needs no signature of its own: the head's covers its SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use superboring::reexports::rsa::sha2::{Digest as _, Sha256};

use super::document::MAX_RECORDS;
use crate::jose::json::Object;
use crate::revocation::entry::Entry;
use crate::revocation::fingerprint::{Fingerprint, HashKey};
use crate::revocation::known::Known;
use crate::revocation::packed::{RECORD_BYTES, Record};

/// Most records in a page: 256 KiB.
pub const MAX_PAGE_RECORDS: usize = 16_384;
/// How many bytes are hashed in a step.
const HASH_STEP_BYTES: usize = 8 * 1024;
/// How many bytes of records are taken in a step.
const RECORDS_STEP_BYTES: usize = 500 * RECORD_BYTES;
/// Longest path of a page, in bytes.
const MAX_PATH_BYTES: usize = 2_048;
/// The only format so far.
const FORMAT: u64 = 1;

/// The SHA-256 of a page.
pub type PageDigest = [u8; 32];

/// What a head says of one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageName {
    /// Where it is, on the feed's own authority: an absolute path, with its query.
    pub path: String,
    /// Its SHA-256.
    pub digest: PageDigest,
    /// How many records it holds.
    pub records: usize,
}

/// What a head says of all pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// The key of the fingerprints.
    pub key: HashKey,
    /// The pages, in the order of their fingerprints.
    pub pages: Vec<PageName>,
}

/// Why a head's `packed` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagingFault {
    /// A format that this release does not know.
    Format,
    /// A member is missing, of the wrong type or out of range.
    Member(&'static str),
    /// Together the pages hold more than [`MAX_RECORDS`].
    TooManyRecords,
}

/// Why a page is not the one that the head names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFault {
    /// Its SHA-256 is another.
    Digest,
    /// It holds another number of bytes than its records take.
    Length,
    /// Its fingerprints do not ascend.
    Order,
}

impl Paging {
    /// Reads a head's `packed`.
    ///
    /// # Errors
    /// What keeps it from being usable.
    pub fn read(members: &Object) -> Result<Self, PagingFault> {
        if members.get("format").and_then(Value::as_u64) != Some(FORMAT) {
            return Err(PagingFault::Format);
        }
        let key = bytes(members.get("key")).ok_or(PagingFault::Member("key"))?;
        let Some(Value::Array(elements)) = members.get("pages") else {
            return Err(PagingFault::Member("pages"));
        };
        let mut pages = Vec::with_capacity(elements.len());
        let mut records = 0_usize;
        for element in elements {
            let page = element.as_object().ok_or(PagingFault::Member("pages")).and_then(PageName::read)?;
            records = records.saturating_add(page.records);
            if records > MAX_RECORDS {
                return Err(PagingFault::TooManyRecords);
            }
            pages.push(page);
        }
        Ok(Self { key: HashKey::new(key), pages })
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let pages: Vec<Value> = self.pages.iter().map(PageName::to_json).collect();
        json!({ "format": FORMAT, "key": URL_SAFE_NO_PAD.encode(self.key.bytes()), "pages": pages })
    }
}

impl PageName {
    fn read(members: &Map<String, Value>) -> Result<Self, PagingFault> {
        let path = members.get("path").and_then(Value::as_str).filter(|path| is_path(path));
        let records = members.get("records").and_then(Value::as_u64).and_then(|records| usize::try_from(records).ok());
        Ok(Self {
            path: path.ok_or(PagingFault::Member("path"))?.to_owned(),
            digest: bytes(members.get("sha256")).ok_or(PagingFault::Member("sha256"))?,
            records: records
                .filter(|records| (1..=MAX_PAGE_RECORDS).contains(records))
                .ok_or(PagingFault::Member("records"))?,
        })
    }

    fn to_json(&self) -> Value {
        json!({ "path": self.path, "sha256": URL_SAFE_NO_PAD.encode(self.digest), "records": self.records })
    }

    /// Begins with a page's body, if it is as long as the records that are named.
    ///
    /// # Errors
    /// [`PageFault::Length`].
    pub fn begin(self, body: Vec<u8>) -> Result<Opening, PageFault> {
        if body.len() != self.records.saturating_mul(RECORD_BYTES) {
            return Err(PageFault::Length);
        }
        Ok(Opening { name: self, body, hash: Sha256::new(), hashed: 0, taken: 0 })
    }

    /// The records of a page's body, if it is the page that is named and its fingerprints go on from the last: all steps in
    /// one, for whoever has the time.
    ///
    /// # Errors
    /// Why it is not.
    pub fn open(&self, body: &[u8], mut after: Option<Fingerprint>) -> Result<Vec<Record>, PageFault> {
        let mut opening = self.clone().begin(body.to_vec())?;
        let mut all = Vec::with_capacity(self.records);
        while let Some(records) = opening.step(&mut after)? {
            all.extend(records);
        }
        Ok(all)
    }
}

/// A page that is being opened: hashed to its end before the first record is taken, all of it in steps.
pub struct Opening {
    name: PageName,
    body: Vec<u8>,
    hash: Sha256,
    hashed: usize,
    taken: usize,
}

impl Opening {
    /// Does a tenth of a millisecond's worth; the records that this step brought, none at the end. `after` is the last
    /// fingerprint so far.
    ///
    /// # Errors
    /// Why it is not the page that is named.
    pub fn step(&mut self, after: &mut Option<Fingerprint>) -> Result<Option<Vec<Record>>, PageFault> {
        if let Some(part) = part(&self.body, self.hashed, HASH_STEP_BYTES) {
            self.hash.update(part);
            self.hashed = self.hashed.saturating_add(part.len());
            let is_whole = self.hashed >= self.body.len();
            if is_whole && PageDigest::from(self.hash.finalize_reset()) != self.name.digest {
                return Err(PageFault::Digest);
            }
            return Ok(Some(Vec::new()));
        }
        let Some(part) = part(&self.body, self.taken, RECORDS_STEP_BYTES) else {
            return Ok(None);
        };
        self.taken = self.taken.saturating_add(part.len());
        let records: Vec<Record> = Record::all(part).ok_or(PageFault::Length)?.collect();
        for record in &records {
            if after.is_some_and(|last| record.fingerprint <= last) {
                return Err(PageFault::Order);
            }
            *after = Some(record.fingerprint);
        }
        Ok(Some(records))
    }
}

/// The next so many bytes; none behind the last.
fn part(body: &[u8], from: usize, most: usize) -> Option<&[u8]> {
    body.get(from..).filter(|rest| !rest.is_empty()).map(|rest| rest.get(..most).unwrap_or(rest))
}

/// An absolute path of printable characters, and not the beginning of another authority.
fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\')
}

fn bytes<const N: usize>(value: Option<&Value>) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(value?.as_str()?).ok()?.try_into().ok()
}

/// The SHA-256 of a page.
#[must_use]
pub fn digest(page: &[u8]) -> PageDigest {
    Sha256::digest(page).into()
}

/// Entries in packed form.
#[derive(Debug)]
pub struct Packed {
    /// The pages, in order.
    pub pages: Vec<Page>,
    /// What does not fit into records: rules with a lift. They go into the head's `entries`.
    pub rest: Vec<Entry>,
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Their SHA-256.
    pub digest: PageDigest,
}

impl Page {
    /// What the head says of it, if it is at this path.
    #[must_use]
    pub fn name(&self, path: String) -> PageName {
        PageName { path, digest: self.digest, records: self.body.len() / RECORD_BYTES }
    }
}

/// Packs entries, merging those of one subject, into pages of at most so many records (1 to [`MAX_PAGE_RECORDS`]).
#[must_use]
pub fn pack(entries: impl IntoIterator<Item = Entry>, key: HashKey, page_records: usize) -> Packed {
    let mut room = Vec::new();
    let mut all: Vec<(u64, Entry)> =
        entries.into_iter().map(|entry| (key.fingerprint(&entry.subject, &mut room), entry)).collect();
    all.sort_by_key(|(fingerprint, _)| *fingerprint);
    let (mut records, mut rest) = (Vec::with_capacity(all.len()), Vec::new());
    for same in all.chunk_by(|one, other| one.0 == other.0) {
        let Some((fingerprint, first)) = same.first() else { continue };
        let known = same.iter().map(|(_, entry)| Known::from(entry)).fold(Known::from(first), Known::merge);
        match known.record(*fingerprint) {
            Some(record) => records.push(record),
            None => rest.push(Entry { subject: first.subject.clone(), rule: known.rule, expires: known.expires }),
        }
    }
    let pages = records.chunks(page_records.clamp(1, MAX_PAGE_RECORDS)).map(|records| {
        let body: Vec<u8> = records.iter().flat_map(|record| record.to_bytes()).collect();
        Page { digest: digest(&body), body }
    });
    Packed { pages: pages.collect(), rest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::{Rule, Subject};

    fn entries(count: u32) -> Vec<Entry> {
        let entry = |at: u32| Entry {
            subject: Subject::User { tenant: "t".into(), user: at.to_string() },
            rule: if at.is_multiple_of(3) { Rule::blocked(at) } else { Rule::not_before(at) },
            expires: (at.is_multiple_of(2)).then_some(2 * at),
        };
        (0..count).map(entry).collect()
    }

    const KEY: HashKey = HashKey::new([5; 16]);

    #[test]
    fn what_is_packed_is_opened_again() {
        let entries = entries(1_000);
        let packed = pack(entries.iter().cloned(), KEY, 64);
        assert!(packed.rest.is_empty());
        assert_eq!(packed.pages.len(), 16);
        let names = packed.pages.iter().enumerate().map(|(at, page)| page.name(format!("/pages/{at}")));
        let paging = Paging { key: KEY, pages: names.collect() };
        let read = Paging::read(paging.to_json().as_object().unwrap()).unwrap();
        assert_eq!(read, paging);
        let mut after = None;
        let mut found = Vec::new();
        for (name, page) in read.pages.iter().zip(&packed.pages) {
            found.extend(name.open(&page.body, after).unwrap());
            after = found.last().map(|record| record.fingerprint);
        }
        let mut expected: Vec<Record> = entries
            .iter()
            .map(|entry| {
                let fingerprint = KEY.fingerprint(&entry.subject, &mut Vec::new());
                Record::of(fingerprint, entry.rule, entry.expires).unwrap()
            })
            .collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn entries_of_one_subject_are_merged_and_lifts_are_told_apart() {
        let mut all = entries(3);
        all.push(Entry { rule: Rule::not_before(100), expires: Some(50), ..all[1].clone() });
        all.push(Entry { rule: Rule { unblocked_at: Some(7), ..Rule::default() }, ..all[0].clone() });
        let packed = pack(all.clone(), KEY, 64);
        assert_eq!(packed.rest, [Entry { rule: Rule { unblocked_at: Some(7), ..Rule::blocked(0) }, ..all[0].clone() }]);
        let records: Vec<Record> = packed.pages.iter().flat_map(|page| Record::all(&page.body).unwrap()).collect();
        assert_eq!(records.len(), 2);
        let user = KEY.fingerprint(&all[1].subject, &mut Vec::new());
        let record = records.iter().find(|record| record.fingerprint == user).unwrap();
        assert_eq!((record.rule(), record.expiry.expires()), (Rule::not_before(100), None));
    }

    #[test]
    fn a_page_that_is_another_is_refused() {
        let packed = pack(entries(10), KEY, 10);
        let page = &packed.pages[0];
        let name = page.name("/p".into());
        let mut changed = page.body.clone();
        changed[9] ^= 1;
        assert_eq!(name.open(&changed, None), Err(PageFault::Digest));
        assert_eq!(name.open(&page.body[..159], None), Err(PageFault::Length));
        assert_eq!(name.open(&[], None), Err(PageFault::Length));
        assert_eq!(name.open(&page.body, Some(u64::MAX)), Err(PageFault::Order));
        let twice = [&page.body[..16], &page.body[..16]].concat();
        let named = PageName { path: "/p".into(), digest: digest(&twice), records: 2 };
        assert_eq!(named.open(&twice, None), Err(PageFault::Order));
    }

    #[test]
    fn a_head_that_cannot_be_used_is_refused() {
        let good = json!({
            "format": 1,
            "key": URL_SAFE_NO_PAD.encode([1; 16]),
            "pages": [{ "path": "/p?x=1", "sha256": URL_SAFE_NO_PAD.encode([2; 32]), "records": 4 }],
            "more": "is ignored",
        });
        let with = |pointer: &str, value: Value| {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            Paging::read(changed.as_object().unwrap()).map(|_| ())
        };
        assert_eq!(with("/more", json!(1)), Ok(()));
        assert_eq!(with("/format", json!(2)), Err(PagingFault::Format));
        for (pointer, member, values) in [
            ("/key", "key", vec![json!(null), json!("AQ"), json!("!")]),
            ("/pages", "pages", vec![json!({}), json!([1])]),
            ("/pages/0/records", "records", vec![json!(0), json!(-1), json!(16_385), json!("4")]),
            ("/pages/0/sha256", "sha256", vec![json!(URL_SAFE_NO_PAD.encode([2; 31])), json!(1)]),
            (
                "/pages/0/path",
                "path",
                vec![json!("p"), json!("//evil/p"), json!("https://evil/"), json!("/a b"), json!("")],
            ),
        ] {
            for value in values {
                assert_eq!(with(pointer, value.clone()), Err(PagingFault::Member(member)), "{pointer} {value}");
            }
        }
        let page = json!({ "path": "/p", "sha256": URL_SAFE_NO_PAD.encode([2; 32]), "records": MAX_PAGE_RECORDS });
        let pages = vec![page; MAX_RECORDS / MAX_PAGE_RECORDS + 1];
        assert_eq!(with("/pages", json!(pages)), Err(PagingFault::TooManyRecords));
    }
}
