//! Finding the one token of a request (RFC 6750 section 2.1, RFC 9110 section 11).

use super::refusal::{Refusal, RequestFault};

/// The token in an `Authorization` value, if it is a bearer token. Other schemes are no token.
///
/// # Errors
/// [`Refusal::RequestMalformed`] for bearer credentials that are empty, several, or not of the form `b64token`.
pub fn token(authorization: Option<&[u8]>) -> Result<Option<&str>, Refusal> {
    credential(authorization)?.map(b64token).transpose()
}

/// What stands behind the scheme of a bearer credential, of whatever form it is.
///
/// # Errors
/// [`Refusal::RequestMalformed`] if there is nothing.
pub fn credential(authorization: Option<&[u8]>) -> Result<Option<&[u8]>, Refusal> {
    const SCHEME: usize = "Bearer".len();
    let Some((scheme, rest)) = authorization.and_then(|value| value.split_at_checked(SCHEME)) else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Ok(None);
    }
    match rest.first() {
        None => return Err(Refusal::RequestMalformed(RequestFault::EmptyCredential)),
        Some(b' ' | b'\t') => {}
        // A scheme in other letters, or something invisible that only looks like a space.
        Some(byte) if byte.is_ascii() => return Ok(None),
        Some(_) => return Err(Refusal::RequestMalformed(RequestFault::CredentialCharacters)),
    }
    let credential = rest.trim_ascii();
    if credential.is_empty() {
        return Err(Refusal::RequestMalformed(RequestFault::EmptyCredential));
    }
    Ok(Some(credential))
}

/// A credential that is one token: of the form `b64token`.
///
/// # Errors
/// [`Refusal::RequestMalformed`] if it is several, or holds other characters.
pub fn b64token(credential: &[u8]) -> Result<&str, Refusal> {
    // Envoy joins repeated headers with a comma: which of two tokens would the upstream believe?
    if credential.contains(&b',') {
        return Err(Refusal::RequestMalformed(RequestFault::SeveralCredentials));
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    match std::str::from_utf8(credential) {
        Ok(text) if credential.iter().all(allowed) => Ok(text),
        _ => Err(Refusal::RequestMalformed(RequestFault::CredentialCharacters)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> Result<Option<&str>, &'static str> {
        token(Some(value.as_bytes())).map_err(|refusal| refusal.reason().code())
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c ", "bEaReR \ta.b.c"] {
            assert_eq!(found(value), Ok(Some("a.b.c")), "{value:?}");
        }
    }

    #[test]
    fn what_is_no_bearer_credential_is_no_token() {
        for value in ["", "Basic dTpw", "Bearertok", "Bearer:tok", "Bearer=tok", "Bearer,tok", "Bear", "DPoP a.b.c"] {
            assert_eq!(found(value), Ok(None), "{value:?}");
        }
        assert_eq!(token(None).ok(), Some(None));
    }

    #[test]
    fn ill_formed_bearer_credentials_are_refused() {
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer \t",
            "Bearer a,Bearer b",
            "Bearer a, realm=\"x\"",
            "Bearer \"a\"",
            "Bearer a b",
            "Bearer\u{a0}a",
            "Bearer\u{2003}a",
            "Bearer \u{200b}a",
            "Bearer a\u{3000}",
        ] {
            assert_eq!(found(value), Err("request_malformed"), "{value:?}");
        }
        assert!(token(Some(b"Bearer \xff\xfe")).is_err());
        assert!(token(Some(b"\xff\xfe")).is_ok_and(|token| token.is_none()));
    }
}
