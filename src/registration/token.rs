//! Registration access tokens (RFC 7592 section 3): which client they are for and what it may do, authenticated by a MAC
//! (HMAC-SHA256). Nothing is kept: a token lives as long as its key is listed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use superboring::reexports::hmac_sha256::HMAC;

use crate::entra::guid::Guid;
use crate::policy::registration::Registration;

/// What the MAC is for, so that no other use of the key makes one.
const PURPOSE: &[u8] = b"entra-gate registration access token 1\0";
const MAC_BYTES: usize = 32;
const TIME_BYTES: usize = 8;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The client that it is for, and no other.
    pub client_id: Guid,
    /// What may be done with it.
    pub access: Access,
    /// When the client was registered, in Unix seconds.
    pub issued_at: u64,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The client is shared: one instance must not change it for the others.
    Read,
    /// Everything that the operator allows.
    Write,
}

impl Ticket {
    /// The token, by the first key; none without keys.
    #[must_use]
    pub fn sign(&self, settings: &Registration) -> Option<String> {
        let key = settings.management_keys.first()?;
        let mut bytes = vec![match self.access {
            Access::Read => 0,
            Access::Write => 1,
        }];
        bytes.extend_from_slice(&self.issued_at.to_be_bytes());
        bytes.extend_from_slice(self.client_id.as_str().as_bytes());
        let mac = HMAC::mac(message(&bytes, settings), key);
        bytes.extend_from_slice(&mac);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a token by any of the keys. Every key is tried, whichever fits.
    #[must_use]
    pub fn read(token: &[u8], settings: &Registration) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (said, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let mac: &[u8; MAC_BYTES] = mac.try_into().ok()?;
        let message = message(said, settings);
        // HMAC::verify compares in constant time.
        let keys = settings.management_keys.iter();
        if keys.filter(|key| HMAC::verify(&message, key, mac)).count() == 0 {
            return None;
        }
        let (access, rest) = said.split_first()?;
        let (time, client_id) = rest.split_at_checked(TIME_BYTES)?;
        let access = match access {
            0 => Access::Read,
            1 => Access::Write,
            _ => return None,
        };
        Some(Self {
            client_id: Guid::parse(std::str::from_utf8(client_id).ok()?)?,
            access,
            issued_at: u64::from_be_bytes(time.try_into().ok()?),
        })
    }
}

/// The gateway is in it: two of them may have one key by mistake.
fn message(said: &[u8], settings: &Registration) -> Vec<u8> {
    [PURPOSE, settings.client_id.as_str().as_bytes(), said].concat()
}
