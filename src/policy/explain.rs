//! Who may ask for an explanation in place of an answer: whoever sends the secret in the header.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// The header and the secret.
pub struct Explain {
    /// The header's name, in lower case. It is taken off every request.
    pub header: String,
    secret: Vec<u8>,
}

impl Explain {
    /// The least length of a secret, in characters.
    pub const LEAST_SECRET: usize = 16;

    /// None if the secret is too short, or cannot stand in a header.
    #[must_use]
    pub fn new(header: String, secret: &str) -> Option<Self> {
        let secret = secret.trim();
        let fits = secret.len() >= Self::LEAST_SECRET && secret.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self { header, secret: secret.as_bytes().to_vec() })
    }

    /// Whether a header's value is the secret. In constant time but for its length, which is no secret.
    #[must_use]
    pub fn admits(&self, value: &[u8]) -> bool {
        self.secret.as_slice().ct_eq(value).into()
    }
}

/// The secret is not shown.
impl fmt::Debug for Explain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Explain").field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_is_the_secret() {
        let explain = Explain::new("x".into(), " 0123456789abcdef\n").unwrap();
        assert!(explain.admits(b"0123456789abcdef"));
        for other in
            ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "0123456789abcdef,0123456789abcdef"]
        {
            assert!(!explain.admits(other.as_bytes()), "{other}");
        }
        assert!(!format!("{explain:?}").contains("0123"));
    }

    #[test]
    fn short_secrets_and_what_no_header_holds_are_none() {
        for secret in ["", "0123456789abcde", "0123456789abcde ", "0123456789 abcdef", "0123456789abcd\u{e9}\u{e9}"] {
            assert!(Explain::new("x".into(), secret).is_none(), "{secret:?}");
        }
    }
}
