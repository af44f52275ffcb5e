//! Verified tokens, remembered by their exact text.
//!
//! A hash finds an entry, the whole text decides. What is remembered is that this text was verified with this key, and
//! the facts that followed; time, the key's presence, the rule and revocation are looked at again at every use. Refused
//! tokens are never remembered: their sender chooses them, and could fill any memory.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Weighter};

use super::facts::Facts;

/// Most tokens that are remembered.
pub const MOST_TOKENS: usize = 10_000;
/// Most bytes that they and their facts take.
pub const MOST_BYTES: u64 = 28 * 1024 * 1024;
/// Longest token that is remembered: few long ones must not push out many.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// The remembered tokens. Which are forgotten first follows CLOCK-Pro: a flood of tokens that come once does not push
/// out those that come again.
pub struct Memory {
    tokens: Cache<Remembered, Rc<Facts>, Bytes>,
}

/// The text of a verified token.
#[derive(Clone, Eq)]
struct Remembered(Box<[u8]>);

/// A text that may be remembered.
#[derive(Clone, Copy)]
struct Asked<'a>(&'a [u8]);

impl PartialEq for Remembered {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Equivalent<Remembered> for Asked<'_> {
    fn equivalent(&self, remembered: &Remembered) -> bool {
        same(self.0, &remembered.0)
    }
}

impl Hash for Remembered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Asked(&self.0).hash(state);
    }
}

/// The end of the signature is enough to find a token by: a hash of two thousand bytes costs more than all that follows.
/// Only verified tokens are in the map, so that whoever wants many with one hash needs as many signatures that end alike.
impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        const END: usize = 48;
        state.write_usize(self.0.len());
        state.write(self.0.last_chunk::<END>().map_or(self.0, <[u8; END]>::as_slice));
    }
}

/// Equality, eight bytes at a time: wasm has no instruction for it, and its C library compares byte by byte.
fn same(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    one.len() == other.len() && words.iter().map(word).eq(other_words.iter().map(word)) && rest == other_rest
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Remembered, Rc<Facts>> for Bytes {
    fn weight(&self, token: &Remembered, facts: &Rc<Facts>) -> u64 {
        let bytes = token.0.len().saturating_add(facts.weight());
        // Room is counted in tokens as well: each takes at least its share.
        u64::try_from(bytes).unwrap_or(u64::MAX).max(MOST_BYTES.div_ceil(MOST_TOKENS as u64))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { tokens: Cache::with_weighter(MOST_TOKENS, MOST_BYTES, Bytes) }
    }
}

impl Memory {
    /// What is remembered of a token.
    #[must_use]
    pub fn recall(&self, token: &[u8]) -> Option<&Rc<Facts>> {
        self.tokens.get(&Asked(token))
    }

    /// Remembers a token that was verified just now.
    pub fn remember(&mut self, token: impl AsRef<[u8]>, facts: &Rc<Facts>) {
        let token = token.as_ref();
        if token.len() <= LONGEST_TOKEN {
            self.tokens.insert(Remembered(token.into()), Rc::clone(facts));
        }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_if_every_byte_is() {
        let text: Vec<u8> = (0..=255).cycle().take(1_003).collect();
        assert!(same(&text, &text.clone()));
        assert!(same(b"", b""));
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 1;
            assert!(!same(&text, &other), "{at}");
            assert!(!same(&text, &text[..at]), "{at}");
        }
    }
}
