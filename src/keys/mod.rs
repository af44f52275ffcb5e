//! The keys that are held, where they come from, and when to ask again.
//!
//! Pure: bytes and times come in, decisions go out. Who fetches is the shell's business.

pub mod discovery;
pub mod document;
pub mod freshness;
pub mod record;
pub mod store;
