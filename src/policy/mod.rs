//! The compiled policy: what a configuration means, with nothing left to look up or to get wrong.

pub mod authorization_server;
pub mod claim;
pub mod explain;
pub mod forward;
mod index;
mod inquiry;
pub mod pass_through;
pub mod path;
pub mod permission;
pub mod provider;
pub mod redirect;
pub mod registration;
pub mod requirement;
pub mod resource;
pub mod rules;
pub mod sources;

use std::time::Duration;

use crate::feed::source::Feed;
use crate::jose::jwe::DecryptionKey;
use crate::keys::document::Document;
use crate::keys::store::{Held, KeyStore};

/// Everything that one plugin configuration says.
pub struct Policy {
    /// Who may issue tokens.
    pub providers: provider::Providers,
    /// Which requests need one.
    pub rules: rules::Rules,
    /// What becomes of CORS preflights.
    pub preflights: Preflights,
    /// What the filter says of the API itself.
    pub resource: Option<resource::Resource>,
    /// The authorization server that clients are shown in Entra's place.
    pub authorization_server: Option<authorization_server::AuthorizationServer>,
    /// What the upstream is told.
    pub forward: forward::Forward,
    /// How refusals look.
    pub responses: Responses,
    /// Where tokens may be.
    pub sources: sources::Sources,
    /// What opens encrypted tokens.
    pub decryption_keys: Vec<DecryptionKey>,
    /// What is known to be revoked by configuration, and how `iat` is read.
    pub revocation: Option<RevocationPolicy>,
    /// Who may see why a request is answered as it is; none: nobody.
    pub explain: Option<explain::Explain>,
    /// The registration bridge.
    pub registration: Option<registration::Registration>,
    /// The documents that keys come from, by [`crate::keys::document::DocumentId`]; none for inline keys.
    pub documents: Vec<Option<Document>>,
    /// Keys given inline, with the index of their document.
    pub inline_keys: Vec<(usize, Held)>,
}

impl Policy {
    /// A store that holds the inline keys and is empty otherwise.
    #[must_use]
    pub fn key_store(&self) -> KeyStore {
        let mut store = KeyStore::new(self.documents.len());
        for (document, held) in &self.inline_keys {
            store.accept(crate::keys::document::DocumentId(*document), held.clone());
        }
        store
    }
}

/// What becomes of CORS preflights, which browsers send without credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preflights {
    /// They are judged as every request (default).
    #[default]
    Judged,
    /// They pass without a token.
    Pass,
}

/// How revocation is applied.
pub struct RevocationPolicy {
    /// Where further entries come from.
    pub feed: Option<Feed>,
    /// Entries of the configuration itself.
    pub entries: Vec<crate::revocation::Entry>,
    /// How far Entra back-dates `iat`.
    pub issued_at_backdate: Duration,
    /// Whether a token without an identifier (`uti`, `jti`) is refused: it could not be revoked by itself.
    pub require_token_id: bool,
}

/// How refusals look.
#[derive(Clone, Debug)]
pub struct Responses {
    /// The status in place of 401.
    pub unauthorized_status: u16,
    /// The description in place of ours.
    pub message: Option<String>,
    /// How much is said.
    pub detail: Detail,
    /// The `realm` of challenges.
    pub realm: String,
    /// Where the API's metadata is (RFC 9728), for every challenge to name.
    pub resource_metadata: Option<String>,
}

/// How much of a refusal's cause the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Also what was expected and found.
    Full,
    /// The error alone.
    None,
    /// The reason and what a developer must change.
    Reason,
}
