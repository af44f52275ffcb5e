//! A mock of Microsoft Entra ID: documents, keys and tokens as Entra gives them, and the faults a client must survive.
//!
//! [`Directory`] is the pure part: no network, and time is an argument. [`MockEntra`] serves it over HTTP, [`Upstream`] echoes.
//! The HTTP interface is described in the crate's README.

mod assertion;
mod authority;
mod changes;
mod control;
mod directory;
mod documents;
mod encryption;
mod faults;
mod graph;
mod inquiry;
mod keyring;
mod merge;
mod publication;
mod question;
mod refusal;
mod registration;
mod request_log;
mod server;
mod sign_in;
mod signals;
mod token;
mod upstream;

pub use authority::{Cloud, Kind, Version};
pub use changes::DirectoryChange;
pub use directory::Directory;
pub use encryption::{ContentEncryption, Encryption, KeyManagement};
pub use faults::{Fault, FaultRule, Faults};
pub use graph::{GraphAnswer, GraphCall, GraphKnobs};
pub use inquiry::{ListRequest, Told};
pub use publication::{AddedKey, KeyChange, NothingLeft};
pub use refusal::Refusal;
pub use request_log::{RequestCount, RequestLog};
pub use server::MockEntra;
pub use signals::{Push, SetRequest};
pub use token::{Algorithm, MintError, Minted, SignatureFault, TokenRequest};
pub use upstream::Upstream;
