//! How much a client may send.

/// The body of a request, in bytes: Entra's longest application has far less.
pub const MAX_BODY_BYTES: usize = 32 * 1_024;
/// Redirect URIs of one client. Entra takes 256; a client that needs more than a few has several homes.
pub const MAX_REDIRECT_URIS: usize = 16;
/// Elements of any other list.
pub const MAX_ELEMENTS: usize = 16;
/// Characters of a name, with the prefix: `displayName` of Graph.
pub const MAX_NAME_CHARS: usize = 256;
/// Characters of an address for people, of a contact, of a software's ID.
pub const MAX_TEXT_CHARS: usize = 256;
/// Characters of `scope`.
pub const MAX_SCOPE_CHARS: usize = 2_048;
/// Characters of what is kept in `notes` of Graph, whose limit it is.
pub const MAX_NOTES_CHARS: usize = 1_024;
/// Registrations that one worker has in hand. Each holds two bodies at most.
pub const MAX_IN_HAND: usize = 512;
/// The body of one of Graph's answers, in bytes.
pub const MAX_ANSWER_BYTES: usize = 256 * 1_024;
