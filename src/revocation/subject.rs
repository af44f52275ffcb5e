//! Whom an entry is about, and the one spelling under which it is found.

use crate::entra::guid::is_guid;

/// Whom an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A client application in a tenant (`azp`, `appid`).
    Client {
        /// `tid`
        tenant: String,
        /// `azp` or `appid`
        client: String,
    },
    /// A pairwise subject of an issuer.
    Pairwise {
        /// `iss`
        issuer: String,
        /// `sub`
        subject: String,
    },
    /// A sign-in session in a tenant (`sid`).
    Session {
        /// `tid`
        tenant: String,
        /// `sid`
        session: String,
    },
    /// All tokens of a tenant.
    Tenant {
        /// `tid`
        tenant: String,
    },
    /// One token (`uti`, else `jti`).
    Token {
        /// `iss`
        issuer: String,
        /// `uti` or `jti`
        token: String,
    },
    /// A user or service principal in a tenant (`oid`).
    User {
        /// `tid`
        tenant: String,
        /// `oid`
        user: String,
    },
}

impl Subject {
    /// The word for the kind of subject.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client { .. } => "client",
            Self::Pairwise { .. } => "subject",
            Self::Session { .. } => "session",
            Self::Tenant { .. } => "tenant",
            Self::Token { .. } => "token",
            Self::User { .. } => "user",
        }
    }

    /// The members that name it, in the order of an entry.
    #[must_use]
    pub fn members(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Client { tenant, client } => vec![("tenant", tenant), ("client", client)],
            Self::Pairwise { issuer, subject } => vec![("issuer", issuer), ("subject", subject)],
            Self::Session { tenant, session } => vec![("tenant", tenant), ("session", session)],
            Self::Tenant { tenant } => vec![("tenant", tenant)],
            Self::Token { issuer, token } => vec![("issuer", issuer), ("token", token)],
            Self::User { tenant, user } => vec![("tenant", tenant), ("user", user)],
        }
    }

    /// The subject that these members name: exactly one of the six combinations.
    #[must_use]
    pub fn from_members(members: &[(&str, &str)]) -> Option<Self> {
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        let text = |text: &str| text.to_owned();
        let guid = |text: &str| if is_guid(text) { text.to_ascii_lowercase() } else { text.to_owned() };
        Some(match *sorted.as_slice() {
            [("tenant", tenant)] => Self::Tenant { tenant: guid(tenant) },
            [("client", client), ("tenant", tenant)] => Self::Client { tenant: guid(tenant), client: guid(client) },
            [("session", session), ("tenant", tenant)] => {
                Self::Session { tenant: guid(tenant), session: guid(session) }
            }
            [("tenant", tenant), ("user", user)] => Self::User { tenant: guid(tenant), user: guid(user) },
            [("issuer", issuer), ("token", token)] => Self::Token { issuer: text(issuer), token: text(token) },
            [("issuer", issuer), ("subject", subject)] => {
                Self::Pairwise { issuer: text(issuer), subject: text(subject) }
            }
            _ => return None,
        })
    }

    /// Appends the bytes under which the subject is known: one letter for the kind, the length of the first member (four
    /// bytes, big-endian), the first member, the second. GUIDs are in lower case, everything else is as it is.
    pub fn canonical(&self, bytes: &mut Vec<u8>) {
        let (letter, first, second) = match self {
            Self::Client { tenant, client } => (b'A', tenant, client.as_str()),
            Self::Pairwise { issuer, subject } => (b'P', issuer, subject.as_str()),
            Self::Session { tenant, session } => (b'S', tenant, session.as_str()),
            Self::Tenant { tenant } => (b'T', tenant, ""),
            Self::Token { issuer, token } => (b'J', issuer, token.as_str()),
            Self::User { tenant, user } => (b'U', tenant, user.as_str()),
        };
        let of_tenant = !matches!(self, Self::Pairwise { .. } | Self::Token { .. });
        // A text of 4 GiB cannot exist in wasm, nor in a token or a feed anywhere.
        let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
        bytes.push(letter);
        bytes.extend_from_slice(&length);
        for text in [first, second] {
            let from = bytes.len();
            bytes.extend_from_slice(text.as_bytes());
            if of_tenant && is_guid(text) {
                bytes.get_mut(from..).unwrap_or_default().make_ascii_lowercase();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(members: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Subject::from_members(members).unwrap().canonical(&mut bytes);
        bytes
    }

    const GUID: &str = "8D7F1C2A-5b3e-4f60-9a71-2c4d6e8f0a1b";

    #[test]
    fn members_name_one_subject_in_any_order_or_none() {
        for members in [
            vec![("tenant", "t")],
            vec![("user", "u"), ("tenant", "t")],
            vec![("tenant", "t"), ("session", "s")],
            vec![("tenant", "t"), ("client", "c")],
            vec![("issuer", "i"), ("token", "j")],
            vec![("subject", "s"), ("issuer", "i")],
        ] {
            let subject = Subject::from_members(&members).unwrap();
            assert_eq!(Subject::from_members(&subject.members()), Some(subject));
        }
        for members in [
            vec![],
            vec![("user", "u")],
            vec![("tenant", "t"), ("user", "u"), ("session", "s")],
            vec![("issuer", "i")],
            vec![("tenant", "t"), ("token", "j")],
            vec![("tenant", "t"), ("tenant", "u")],
        ] {
            assert_eq!(Subject::from_members(&members), None, "{members:?}");
        }
    }

    #[test]
    fn the_canonical_form_is_fixed() {
        assert_eq!(bytes(&[("tenant", "t"), ("user", "uu")]), b"U\0\0\0\x01tuu");
        assert_eq!(bytes(&[("tenant", "t")]), b"T\0\0\0\x01t");
        // Two members cannot run into each other, and kinds not into kinds.
        assert_ne!(bytes(&[("issuer", "ab"), ("token", "c")]), bytes(&[("issuer", "a"), ("token", "bc")]));
        assert_ne!(bytes(&[("issuer", "a"), ("token", "b")]), bytes(&[("issuer", "a"), ("subject", "b")]));
    }

    #[test]
    fn guids_are_one_in_any_case_and_other_texts_are_not() {
        let lower = GUID.to_ascii_lowercase();
        assert_eq!(bytes(&[("tenant", GUID), ("user", GUID)]), bytes(&[("tenant", &lower), ("user", &lower)]));
        let (mut raw, mut read) = (Vec::new(), Vec::new());
        Subject::User { tenant: GUID.into(), user: GUID.into() }.canonical(&mut raw);
        Subject::User { tenant: lower.clone(), user: lower.clone() }.canonical(&mut read);
        assert_eq!(raw, read);
        assert_ne!(bytes(&[("tenant", "t"), ("session", "S")]), bytes(&[("tenant", "t"), ("session", "s")]));
        assert_ne!(bytes(&[("issuer", "i"), ("token", GUID)]), bytes(&[("issuer", "i"), ("token", &lower)]));
    }
}
