//! Subjects by a keyed hash of 64 bits: SipHash-2-4 over the canonical form.
//!
//! Whoever does not know the key cannot look for two subjects of one fingerprint, and by chance a token meets one of a
//! million entries once in 2^44 tries. The key of a packed feed comes with it, else the process draws one.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use super::subject::Subject;

/// The hash of a subject under some key.
pub type Fingerprint = u64;

/// The key of a set of fingerprints. Not shown: it is a secret between the feed and its readers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// A key of these bytes, which should be random.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The fingerprint of a subject. `room` is only there to be used again.
    #[must_use]
    pub fn fingerprint(self, subject: &Subject, room: &mut Vec<u8>) -> Fingerprint {
        room.clear();
        subject.canonical(room);
        self.fingerprint_of(room)
    }

    /// The fingerprint of a canonical form.
    #[must_use]
    pub fn fingerprint_of(self, canonical: &[u8]) -> Fingerprint {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(canonical);
        hasher.finish()
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HashKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_fixed_by_key_and_subject() {
        // The reference vector of SipHash-2-4: key 00..0f over 00..0e.
        let key = HashKey::new(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let mut hasher = SipHasher24::new_with_key(&key.bytes());
        hasher.write(&(0..15).collect::<Vec<u8>>());
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);

        let user = Subject::User { tenant: "t".into(), user: "u".into() };
        let session = Subject::Session { tenant: "t".into(), session: "u".into() };
        let mut room = vec![1, 2, 3];
        let one = key.fingerprint(&user, &mut room);
        // The example of docs/feed.md.
        assert_eq!(one, 0x90cd_41ac_4d7f_0528);
        assert_eq!(key.fingerprint(&user, &mut Vec::new()), one);
        assert_ne!(key.fingerprint(&session, &mut room), one);
        assert_ne!(HashKey::new([7; 16]).fingerprint(&user, &mut room), one);
    }
}
