//! The revocation feed: its documents, read and written, what workers share of it, and when to ask for the next.
//!
//! Pure: bytes and times come in, decisions go out. Who fetches is the shell's business. A document that breaks any rule
//! is refused whole: what was known before stays in force.

pub mod board;
pub mod document;
pub mod loader;
pub mod overlay;
pub mod page;
pub mod parts;
pub mod reader;
pub mod rewrite;
pub mod scanner;
pub mod source;
pub mod standing;
pub mod token;
pub mod work;
pub mod worker;
