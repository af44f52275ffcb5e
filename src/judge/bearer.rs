//! Finding the one token of a request (RFC 6750 section 2, RFC 9110 section 11).

use super::refusal::{Refusal, RequestFault};
use crate::policy::sources::{Carried, Source, Sources, cookies};

/// What stands in the place of a token, of whatever form it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    /// What stands there; never nothing.
    pub bytes: &'a [u8],
    /// Which of [`Sources::all`].
    pub source: usize,
}

/// The one credential of a request, if it carries any in the places for tokens.
///
/// # Errors
/// [`Refusal::RequestMalformed`] for several, and for places that hold none.
pub fn find<'a>(carried: &'a Carried, sources: &'a Sources) -> Result<Option<Credential<'a>>, Refusal> {
    let mut found = None;
    let mut take = |source: usize, bytes: &'a [u8]| {
        if bytes.is_empty() {
            return Err(malformed(RequestFault::EmptyCredential));
        }
        match found.replace(Credential { bytes, source }) {
            None => Ok(()),
            // Which of two tokens would the upstream believe?
            Some(_) => Err(malformed(RequestFault::SeveralCredentials)),
        }
    };
    for (at, source, value) in sources.in_headers(carried) {
        match source {
            Source::Cookie(name) => cookies(value, name).try_for_each(|value| take(at, value))?,
            Source::Header { name, scheme: None } => {
                if let Some(bytes) = whole(name, value) {
                    take(at, bytes)?;
                }
            }
            Source::Header { scheme: Some(scheme), .. } => {
                if let Some(bytes) = after_scheme(scheme, value)? {
                    take(at, bytes)?;
                }
            }
            Source::Query(_) => {}
        }
    }
    for parameter in &carried.parameters {
        match &parameter.value {
            Some(value) => take(parameter.source, value)?,
            None => return Err(malformed(RequestFault::ParameterSpelling)),
        }
    }
    Ok(found)
}

/// The token in a header that holds nothing else. In `Authorization`, a value with a space has some scheme.
fn whole<'a>(header: &str, value: &'a [u8]) -> Option<&'a [u8]> {
    let value = value.trim_ascii();
    let has_scheme = header == "authorization" && value.iter().any(u8::is_ascii_whitespace);
    (!has_scheme).then_some(value)
}

/// What stands after a scheme. Other schemes are no token's.
fn after_scheme<'a>(scheme: &str, value: &'a [u8]) -> Result<Option<&'a [u8]>, Refusal> {
    let Some((found, rest)) = value.split_at_checked(scheme.len()) else {
        return Ok(None);
    };
    if !found.eq_ignore_ascii_case(scheme.as_bytes()) {
        return Ok(None);
    }
    match rest.first() {
        None | Some(b' ' | b'\t') => Ok(Some(rest.trim_ascii())),
        // A scheme in other letters, or something invisible that only looks like a space.
        Some(byte) if byte.is_ascii() => Ok(None),
        Some(_) => Err(malformed(RequestFault::CredentialCharacters)),
    }
}

/// A credential that is one token: of the form `b64token`.
///
/// # Errors
/// [`Refusal::RequestMalformed`] if it is several, or holds other characters.
pub fn b64token(credential: &[u8]) -> Result<&str, Refusal> {
    // Envoy joins repeated headers with a comma.
    if credential.contains(&b',') {
        return Err(malformed(RequestFault::SeveralCredentials));
    }
    // Without a branch for each byte: a table and one question at the end are several times as fast in wasm.
    let all_allowed =
        credential.iter().fold(true, |so_far, byte| so_far & ALLOWED.get(usize::from(*byte)).is_some_and(|is| *is));
    match std::str::from_utf8(credential) {
        Ok(text) if all_allowed => Ok(text),
        _ => Err(malformed(RequestFault::CredentialCharacters)),
    }
}

/// The characters of a `b64token`.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < allowed.len() {
        #[allow(clippy::cast_possible_truncation, clippy::indexing_slicing, reason = "less than 256")]
        {
            let character = byte as u8;
            allowed[byte] = character.is_ascii_alphanumeric()
                || matches!(character, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
        }
        byte += 1;
    }
    allowed
};

fn malformed(fault: RequestFault) -> Refusal {
    Refusal::RequestMalformed(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(headers: &[Option<&str>]) -> Carried {
        let headers = headers.iter().map(|value| value.map(|value| value.as_bytes().to_vec())).collect();
        Carried { headers, parameters: Vec::new() }
    }

    fn found_in(sources: &Sources, carried: &Carried) -> Result<Option<String>, &'static str> {
        let found = find(carried, sources).and_then(|found| found.map(|found| b64token(found.bytes)).transpose());
        found.map(|text| text.map(str::to_owned)).map_err(|refusal| refusal.reason().code())
    }

    fn found(value: &str) -> Result<Option<String>, &'static str> {
        found_in(&Sources::default(), &carried(&[Some(value)]))
    }

    fn token_of(value: &str) -> Result<Option<String>, &'static str> {
        Ok(Some(value.to_owned()))
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c ", "bEaReR \ta.b.c"] {
            assert_eq!(found(value), token_of("a.b.c"), "{value:?}");
        }
    }

    #[test]
    fn what_is_no_bearer_credential_is_no_token() {
        for value in ["", "Basic dTpw", "Bearertok", "Bearer:tok", "Bearer=tok", "Bearer,tok", "Bear", "DPoP a.b.c"] {
            assert_eq!(found(value), Ok(None), "{value:?}");
        }
        assert_eq!(found_in(&Sources::default(), &carried(&[None])), Ok(None));
        assert_eq!(found_in(&Sources::default(), &Carried::default()), Ok(None));
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
        let bytes = |bytes: &[u8]| Carried { headers: vec![Some(bytes.to_vec())], parameters: Vec::new() };
        assert_eq!(found_in(&Sources::default(), &bytes(b"Bearer \xff\xfe")), Err("request_malformed"));
        assert_eq!(found_in(&Sources::default(), &bytes(b"\xff\xfe")), Ok(None));
    }

    fn several() -> Sources {
        Sources::new(vec![
            Source::bearer(),
            Source::Header { name: "x-token".into(), scheme: None },
            Source::Cookie("session".into()),
            Source::Query("access_token".into()),
        ])
    }

    fn with_query(mut carried: Carried, query: &str) -> Carried {
        if let Some((_, parameters)) = several().take_parameters(format!("/x?{query}").as_bytes()) {
            carried.parameters = parameters;
        }
        carried
    }

    #[test]
    fn a_token_is_found_wherever_it_may_be() {
        let sources = several();
        for (headers, query, source) in [
            ([Some("Bearer a.b.c"), None, None], "", 0),
            ([Some("Basic dTpw"), Some("a.b.c"), None], "", 1),
            ([None, Some(" a.b.c\t"), Some("x=1")], "y=1", 1),
            ([None, None, Some("x=1; session=a.b.c")], "", 2),
            ([None, None, None], "y=1&access_token=a.b.c", 3),
        ] {
            let carried = with_query(carried(&headers), query);
            let found = find(&carried, &sources).ok().flatten().map(|found| (found.bytes, found.source));
            assert_eq!(found, Some((b"a.b.c".as_slice(), source)), "{headers:?} {query}");
        }
        assert_eq!(found_in(&sources, &with_query(carried(&[None, None, Some("x=1")]), "y=1")), Ok(None));
    }

    #[test]
    fn several_tokens_are_refused_wherever_they_are() {
        let sources = several();
        for (headers, query) in [
            ([Some("Bearer a"), Some("a"), None], ""),
            ([Some("Bearer a"), None, Some("session=a")], ""),
            ([Some("Bearer a"), None, None], "access_token=a"),
            ([None, Some("a"), None], "access_token=b"),
            ([None, None, Some("session=a")], "access_token=b"),
            ([None, None, None], "access_token=a&access_token=a"),
            ([None, None, Some("session=a; session=a")], ""),
            ([None, Some("a,b"), None], ""),
            ([Some("Bearer a,Bearer b"), None, None], ""),
            // Empty, ill-formed, or spelled as only some upstreams read it.
            ([None, Some(""), None], ""),
            ([None, Some("a b"), None], ""),
            ([None, None, Some("session=\"a\"")], ""),
            ([None, None, Some("session")], ""),
            ([None, None, None], "access_token="),
            ([None, None, None], "access_token=%"),
            ([None, None, None], "access_token=a%20b"),
            ([None, None, None], "access_token=a%2Cb"),
            ([None, None, None], "ACCESS_TOKEN=a"),
            ([Some("Bearer a"), None, None], "access_token[]=a"),
        ] {
            let carried = with_query(carried(&headers), query);
            assert_eq!(found_in(&sources, &carried), Err("request_malformed"), "{headers:?} {query}");
        }
    }

    #[test]
    fn authorization_may_hold_a_token_without_a_scheme() {
        let bare = Source::Header { name: "authorization".into(), scheme: None };
        let sources = Sources::new(vec![Source::bearer(), bare]);
        let found = |value: &str| found_in(&sources, &carried(&[Some(value)]));
        assert_eq!(found("a.b.c"), token_of("a.b.c"));
        assert_eq!(found("Bearer a.b.c"), token_of("a.b.c"));
        assert_eq!(found("Basic dTpw"), Ok(None));
        for value in ["Bearer", "Bearer ", "", "a.b.c,d"] {
            assert_eq!(found(value), Err("request_malformed"), "{value:?}");
        }
    }
}
