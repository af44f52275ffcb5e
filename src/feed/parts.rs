//! A body that comes in parts (RFC 9110, section 14), each as large as an event loop can take over at once.
//!
//! The host hands a body over in one piece, and a large one keeps requests waiting. A server that knows nothing of ranges
//! answers with all of it. Parts of different documents come to one that nobody has signed.

use super::reader::MAX_BODY_BYTES;

/// Bytes of a part: one to two milliseconds of the event loop.
pub const PART_BYTES: usize = 1024 * 1024;

/// Most parts of one body: a server may send less than it was asked for, but each part is a request.
pub const MAX_PARTS: usize = 2 * MAX_BODY_BYTES / PART_BYTES;

/// A part, as a 206 brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub first: usize,
    /// How long the whole body is.
    pub total: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What is there of a body.
#[derive(Debug, Default)]
pub struct Parts {
    body: Vec<u8>,
    /// How many there are.
    count: usize,
    total: usize,
    etag: Option<String>,
}

/// What a part made of it.
#[derive(Debug)]
pub enum Taken {
    /// More is to be asked for.
    More(Parts),
    /// The whole body, and its `ETag`.
    Whole(Vec<u8>, Option<String>),
}

/// Why a part was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartFault {
    /// Not the one that was asked for, of the same length as those before.
    Other,
    /// The whole is larger than [`MAX_BODY_BYTES`].
    TooLarge,
    /// More than [`MAX_PARTS`] would be needed.
    TooMany,
}

impl Part {
    /// The part of a 206 with this `Content-Range`: `bytes 0-1023/4096`.
    #[must_use]
    pub fn read(content_range: &str, bytes: Vec<u8>) -> Option<Self> {
        let (range, total) = content_range.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, total): (usize, usize, usize) =
            (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
        let is_whole = last.checked_sub(first)?.checked_add(1)? == bytes.len();
        (is_whole && last < total).then_some(Self { first, total, bytes })
    }
}

impl Parts {
    /// The `Range` of the next part.
    #[must_use]
    pub fn range(&self) -> String {
        let first = self.body.len();
        let last = first.saturating_add(PART_BYTES).saturating_sub(1);
        format!("bytes={first}-{last}")
    }

    /// The `If-Range` of the next part: without a strong `ETag`, none.
    #[must_use]
    pub fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// Why it is not the next part.
    pub fn take(mut self, part: &Part, etag: Option<String>) -> Result<Taken, PartFault> {
        let Part { first, total, bytes } = part;
        if *total > MAX_BODY_BYTES {
            return Err(PartFault::TooLarge);
        }
        if self.body.is_empty() {
            (self.total, self.etag) = (*total, etag);
            self.body.reserve_exact(*total);
        }
        if *first != self.body.len() || *total != self.total || bytes.is_empty() {
            return Err(PartFault::Other);
        }
        self.body.extend_from_slice(bytes);
        self.count = self.count.saturating_add(1);
        if self.count >= MAX_PARTS && self.body.len() < self.total {
            return Err(PartFault::TooMany);
        }
        Ok(if self.body.len() < self.total { Taken::More(self) } else { Taken::Whole(self.body, self.etag) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: usize, total: usize, bytes: &[u8]) -> Part {
        Part { first, total, bytes: bytes.to_vec() }
    }

    #[test]
    fn parts_come_one_after_another_and_make_the_whole() {
        let parts = Parts::default();
        assert_eq!((parts.range().as_str(), parts.if_range()), ("bytes=0-1048575", None));
        let Ok(Taken::More(parts)) = parts.take(&part(0, 5, b"abc"), Some("\"a\"".into())) else {
            panic!("more was to come");
        };
        assert_eq!((parts.range().as_str(), parts.if_range()), ("bytes=3-1048578", Some("\"a\"")));
        let Ok(Taken::Whole(body, etag)) = parts.take(&part(3, 5, b"de"), None) else {
            panic!("that was all");
        };
        assert_eq!((body.as_slice(), etag.as_deref()), (b"abcde".as_slice(), Some("\"a\"")));
    }

    #[test]
    fn a_weak_etag_is_no_condition_for_a_part() {
        let Ok(Taken::More(parts)) = Parts::default().take(&part(0, 5, b"abc"), Some("W/\"a\"".into())) else {
            panic!("more was to come");
        };
        assert_eq!(parts.if_range(), None);
    }

    #[test]
    fn only_the_next_part_of_the_same_length_is_taken() {
        let begun = || match Parts::default().take(&part(0, 5, b"abc"), None) {
            Ok(Taken::More(parts)) => parts,
            other => panic!("{other:?}"),
        };
        for other in [part(0, 5, b"abc"), part(4, 5, b"e"), part(3, 6, b"de"), part(3, 5, b"")] {
            assert_eq!(begun().take(&other, None).err(), Some(PartFault::Other), "{other:?}");
        }
        assert_eq!(Parts::default().take(&part(3, 5, b"de"), None).err(), Some(PartFault::Other));
        let large = part(0, MAX_BODY_BYTES + 1, b"a");
        assert_eq!(Parts::default().take(&large, None).err(), Some(PartFault::TooLarge));
    }

    #[test]
    fn a_server_that_sends_little_at_a_time_is_not_asked_for_ever() {
        let mut parts = Parts::default();
        for first in 0..MAX_PARTS - 1 {
            parts = match parts.take(&part(first, MAX_PARTS + 1, b"a"), None) {
                Ok(Taken::More(parts)) => parts,
                other => panic!("{other:?}"),
            };
        }
        let last = MAX_PARTS - 1;
        assert_eq!(parts.take(&part(last, MAX_PARTS + 1, b"a"), None).err(), Some(PartFault::TooMany));
    }

    #[test]
    fn a_content_range_names_the_bytes_that_came() {
        let read = |text: &str, bytes: usize| Part::read(text, vec![b'a'; bytes]).map(|part| (part.first, part.total));
        assert_eq!(read("bytes 0-1/2", 2), Some((0, 2)));
        assert_eq!(read("bytes 10-19/20", 10), Some((10, 20)));
        for (text, bytes) in [
            ("bytes 0-1/2", 1),
            ("bytes 0-1/2", 3),
            ("bytes 0-1/1", 2),
            ("bytes 1-0/2", 0),
            ("bytes 0-1/*", 2),
            ("bytes */2", 0),
            ("bytes 0-18446744073709551615/2", 0),
            ("items 0-1/2", 2),
            ("bytes 0-1", 2),
            ("", 0),
        ] {
            assert_eq!(read(text, bytes), None, "{text}, {bytes}");
        }
    }
}
