//! Verified tokens, remembered by their exact text.
//!
//! A hash finds an entry, the whole text decides. What is remembered is that this text was verified with this key, and
//! the facts that followed; time, the key's presence, the rule and revocation are looked at again at every use. Refused
//! tokens are never remembered: their sender chooses them, and could fill any memory.

use std::rc::Rc;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::facts::Facts;

/// Most tokens that are remembered.
pub const MOST_TOKENS: usize = 10_000;
/// Most bytes that they and their facts take.
pub const MOST_BYTES: u64 = 24 * 1024 * 1024;
/// Longest token that is remembered: few long ones must not push out many.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// The remembered tokens. Which are forgotten first follows CLOCK-Pro: a flood of tokens that come once does not push
/// out those that come again.
pub struct Memory {
    tokens: Cache<Box<str>, Rc<Facts>, Bytes>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Rc<Facts>> for Bytes {
    fn weight(&self, token: &Box<str>, facts: &Rc<Facts>) -> u64 {
        let bytes = token.len().saturating_add(facts.weight());
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
    pub fn recall(&self, token: &str) -> Option<&Rc<Facts>> {
        self.tokens.get(token)
    }

    /// Remembers a token that was verified just now.
    pub fn remember(&mut self, token: &str, facts: &Rc<Facts>) {
        if token.len() <= LONGEST_TOKEN {
            self.tokens.insert(token.into(), Rc::clone(facts));
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
