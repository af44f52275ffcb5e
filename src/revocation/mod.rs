//! What is revoked: one set, one rule.
//!
//! A token is revoked when any of its subjects is blocked, or when it was issued before the subject's `not_before`.
//! Entries merge by the strictest rule, in any order, any number of times.

pub mod base;
pub mod entry;
pub mod fingerprint;
pub mod known;
pub mod packed;
pub mod rule;
pub mod set;
pub mod subject;

pub use self::entry::Entry;
pub use self::known::Known;
pub use self::rule::{Effect, Rule};
pub use self::set::Revocations;
pub use self::subject::Subject;
