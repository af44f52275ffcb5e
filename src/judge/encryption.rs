//! Opening an encrypted token: cheap checks first, then as many keys as may be meant, which are few.
//!
//! A token that is opened is not believed: only its signature makes it good. One that is encrypted for a provider's key
//! is judged by that provider.

use std::borrow::Cow;

use super::refusal::{Refusal, TokenFault, TypeFault};
use super::verdict::Seen;
use super::{check_kind, excerpt};
use crate::jose::compact::Malformed;
use crate::jose::jwe::{Encrypted, EncryptedFault, is_encrypted};
use crate::policy::Policy;

/// A token that can be read, however it came.
pub(super) struct Opened<'a> {
    text: Cow<'a, str>,
    /// Which of the policy's keys opened it; none: it was not encrypted.
    key: Option<usize>,
}

impl Opened<'_> {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn was_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a provider takes tokens that come like this.
    pub(super) fn is_for(&self, provider: usize, policy: &Policy) -> bool {
        let provider = policy.providers.all().get(provider);
        self.key.is_none_or(|key| provider.is_some_and(|provider| provider.decryption_keys.contains(&key)))
    }

    /// What is wrong with a token whose form is.
    pub(super) fn fault(&self, form: Malformed) -> Refusal {
        match form {
            // Encrypted twice.
            Malformed::Encrypted if self.key.is_some() => Refusal::TokenTypeNotAllowed(TypeFault::Nested),
            form => Refusal::TokenMalformed(TokenFault::Form(form)),
        }
    }
}

/// The token itself, or what is within it if it is encrypted for a provider that may have issued it.
pub(super) fn open<'a>(
    text: &'a str,
    accepts: &dyn Fn(usize) -> bool,
    policy: &Policy,
    seen: &mut Seen,
) -> Result<Opened<'a>, Refusal> {
    let malformed = |form| Refusal::TokenMalformed(TokenFault::Form(form));
    let providers = policy.providers.all().iter().enumerate().filter(|(at, _)| accepts(*at));
    let keys: Vec<usize> = providers.flat_map(|(_, provider)| provider.decryption_keys.iter().copied()).collect();
    if keys.is_empty() || !is_encrypted(text) {
        return Ok(Opened { text: Cow::Borrowed(text), key: None });
    }
    let encrypted = Encrypted::read(text).map_err(|fault| match fault {
        EncryptedFault::Malformed(form) => malformed(form),
        EncryptedFault::NotSupported { alg, enc } => {
            Refusal::EncryptionNotAllowed { alg: excerpt(&alg), enc: excerpt(&enc) }
        }
    })?;
    seen.kid = encrypted.kid.as_deref().map(excerpt);
    check_kind(encrypted.typ.as_deref())?;
    if encrypted.cty.as_deref().is_some_and(|cty| !cty.eq_ignore_ascii_case("JWT")) {
        return Err(Refusal::TokenTypeNotAllowed(TypeFault::Nested));
    }
    let named = |kid: Option<&str>| {
        let keys = policy.decryption_keys.iter().enumerate().filter(|(at, _)| keys.contains(at));
        keys.filter(|(_, key)| key.kid.as_deref() == kid).collect::<Vec<_>>()
    };
    // A `kid` that nobody has, such as a certificate's thumbprint, does not say that the key is not here.
    let meant = encrypted.kid.as_deref().map(|kid| named(Some(kid))).filter(|keys| !keys.is_empty());
    let opened =
        meant.unwrap_or_else(|| named(None)).into_iter().find_map(|(at, key)| Some((at, encrypted.open(key)?)));
    let (key, text) = opened.ok_or_else(|| malformed(Malformed::Undecipherable))?;
    Ok(Opened { text: Cow::Owned(text), key: Some(key) })
}
