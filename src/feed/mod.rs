//! The revocation feed: its documents, read and written, and when to ask for the next.
//!
//! Pure: bytes and times come in, decisions go out. Who fetches is the shell's business. A document that breaks any rule
//! is refused whole: what was known before stays in force.

pub mod document;
pub mod page;
pub mod token;
