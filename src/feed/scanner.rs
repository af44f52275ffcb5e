//! The entries of a document as they come along, so that no document has to be held in parsed form.
//!
//! The scanner only cuts: each entry, and the document without them, are then read by the strict reader like any other
//! JSON. What it cuts wrongly is therefore refused and never believed.

/// Longest entry, in bytes of JSON.
pub const MAX_ENTRY_BYTES: usize = 32 * 1024;
/// Longest document without its entries, in bytes of JSON: room for the names of 1,500 pages.
pub const MAX_REST_BYTES: usize = 256 * 1024;

/// Why a document cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanFault {
    /// An entry is longer than [`MAX_ENTRY_BYTES`].
    EntryTooLong,
    /// What stands in `entries` is not a list of objects.
    NotEntries,
    /// The rest is longer than [`MAX_REST_BYTES`].
    RestTooLong,
}

/// Where in `entries` the scanner is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not in it.
    Outside,
    /// Before the first entry, or the end of the list.
    Start,
    /// After a comma.
    Comma,
    /// In an entry, at this depth within it.
    Entry(usize),
    /// After an entry.
    After,
}

/// Where in a text the scanner is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    No,
    Yes,
    /// After a backslash.
    Escaped,
}

/// A document that comes in parts.
pub struct Scanner {
    place: Place,
    text: Text,
    /// Depth outside of entries: 1 in the document's object.
    depth: usize,
    /// Where the last text at depth 1 begins, in `rest`.
    last_text: usize,
    /// Whether the value of `entries` comes next.
    is_next: bool,
    rest: Vec<u8>,
    entry: Vec<u8>,
}

impl Default for Scanner {
    fn default() -> Self {
        let (rest, entry) = (Vec::new(), Vec::new());
        Self { place: Place::Outside, text: Text::No, depth: 0, last_text: 0, is_next: false, rest, entry }
    }
}

impl Scanner {
    /// Takes the next part; each entry that ends in it goes to `found`.
    ///
    /// # Errors
    /// The first fault, of the scanner or of `found`.
    pub fn scan<E: From<ScanFault>>(
        &mut self,
        part: &[u8],
        mut found: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for byte in part {
            if let Place::Entry(depth) = self.place {
                self.entry.push(*byte);
                if self.entry.len() > MAX_ENTRY_BYTES {
                    return Err(ScanFault::EntryTooLong.into());
                }
                let depth = self.deeper(*byte, depth);
                self.place = Place::Entry(depth);
                if depth == 0 {
                    found(&self.entry)?;
                    self.entry.clear();
                    self.place = Place::After;
                }
            } else if self.place == Place::Outside {
                self.outside(*byte)?;
            } else {
                self.between(*byte)?;
            }
        }
        Ok(())
    }

    /// The document without its entries.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Follows texts and brackets; the depth after a byte.
    fn deeper(&mut self, byte: u8, depth: usize) -> usize {
        match (self.text, byte) {
            (Text::Escaped, _) => self.text = Text::Yes,
            (Text::Yes, b'\\') => self.text = Text::Escaped,
            (Text::Yes, b'"') => self.text = Text::No,
            (Text::Yes, _) => {}
            (Text::No, b'"') => self.text = Text::Yes,
            (Text::No, b'{' | b'[') => return depth.saturating_add(1),
            (Text::No, b'}' | b']') => return depth.saturating_sub(1),
            (Text::No, _) => {}
        }
        depth
    }

    fn outside(&mut self, byte: u8) -> Result<(), ScanFault> {
        if self.rest.len() >= MAX_REST_BYTES {
            return Err(ScanFault::RestTooLong);
        }
        let was_text = self.text != Text::No;
        self.rest.push(byte);
        self.depth = self.deeper(byte, self.depth);
        if was_text || byte.is_ascii_whitespace() {
            return Ok(());
        }
        match byte {
            b'"' => self.last_text = self.rest.len(),
            b':' if self.depth == 1 => {
                let name = self.rest.get(self.last_text..).unwrap_or_default();
                self.is_next = name.strip_prefix(b"entries\"").is_some_and(|rest| rest.trim_ascii() == b":");
                return Ok(());
            }
            b'[' if self.is_next => self.place = Place::Start,
            _ => {}
        }
        self.is_next = false;
        Ok(())
    }

    /// In the list of entries, but in none of them.
    fn between(&mut self, byte: u8) -> Result<(), ScanFault> {
        match (self.place, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (Place::Start | Place::Comma, b'{') => {
                self.entry.push(byte);
                self.place = Place::Entry(1);
            }
            (Place::After, b',') => self.place = Place::Comma,
            (Place::Start | Place::After, b']') => {
                self.rest.push(byte);
                self.depth = self.depth.saturating_sub(1);
                self.place = Place::Outside;
            }
            _ => return Err(ScanFault::NotEntries),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What comes out, in parts of any size.
    fn scan(document: &str, part: usize) -> Result<(String, Vec<String>), ScanFault> {
        let (mut scanner, mut entries) = (Scanner::default(), Vec::new());
        for part in document.as_bytes().chunks(part) {
            scanner.scan(part, |entry| {
                entries.push(String::from_utf8(entry.to_vec()).unwrap());
                Ok::<_, ScanFault>(())
            })?;
        }
        Ok((String::from_utf8(scanner.rest().to_vec()).unwrap(), entries))
    }

    #[test]
    fn entries_are_cut_out_wherever_they_stand() {
        for document in [
            json!({"iss": "i", "entries": [{"a": [1, {"b": "}]"}]}, {"c": "\"\\"}], "seq": 1}).to_string(),
            r#" { "seq" : 1 , "entries" : [ { "a":[1,{"b":"}]"}] } ,
                {"c":"\"\\"}] , "iss":"i" } "#
                .to_owned(),
        ] {
            for part in [1, 2, 3, 7, 1_000] {
                let (rest, entries) = scan(&document, part).unwrap();
                let rest: Value = serde_json::from_str(&rest).unwrap();
                assert_eq!(rest, json!({"iss": "i", "entries": [], "seq": 1}), "{part}");
                let entries: Vec<Value> = entries.iter().map(|entry| serde_json::from_str(entry).unwrap()).collect();
                assert_eq!(entries, [json!({"a": [1, {"b": "}]"}]}), json!({"c": "\"\\"})]);
            }
        }
    }

    #[test]
    fn what_only_looks_like_entries_is_left() {
        for document in [
            r#"{"a":{"entries":[{}]}}"#,
            r#"{"a":"entries","b":[{}]}"#,
            r#"{"a":["entries",[{}]]}"#,
            r#"{"entries":{"b":[{}]}}"#,
            r#"{"entries":1,"b":[{}]}"#,
            r#"{"\u0065ntries":[{}]}"#,
            r#"{"x\"entries":[{}]}"#,
            r#"[{"entries":[{}]}]"#,
        ] {
            assert_eq!(scan(document, 3), Ok((document.to_owned(), vec![])), "{document}");
        }
        assert_eq!(scan(r#"{"entries":[],"entries":[{}]}"#, 9).unwrap().0, r#"{"entries":[],"entries":[]}"#);
    }

    #[test]
    fn what_is_no_list_of_objects_is_refused() {
        for entries in ["1", "{},", ",{}", "{} {}", "{},,{}", "[]", "null", "\"x\"", "{}}"] {
            assert_eq!(scan(&format!(r#"{{"entries":[{entries}]}}"#), 4), Err(ScanFault::NotEntries), "{entries}");
        }
    }

    #[test]
    fn limits_hold() {
        let long = "x".repeat(MAX_ENTRY_BYTES);
        assert_eq!(scan(&json!({"entries": [{"a": long}]}).to_string(), 4_096), Err(ScanFault::EntryTooLong));
        let long = "x".repeat(MAX_REST_BYTES);
        assert_eq!(scan(&json!({ "a": long }).to_string(), 4_096), Err(ScanFault::RestTooLong));
    }
}
