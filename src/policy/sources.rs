//! Where a request's token may be, and how it is taken off there.
//!
//! Upstreams differ in how they read a query: what any of them may take for the token's parameter is taken off with it,
//! and only the exact spelling counts as a token (RFC 6750 section 2.3).

use percent_encoding::percent_decode;

/// A place where a token may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A cookie of that name.
    Cookie(String),
    /// A header.
    Header {
        /// Its name, in lower case.
        name: String,
        /// The scheme before the token, in any letter case; none: the value is the token.
        scheme: Option<String>,
    },
    /// A query parameter of that name.
    Query(String),
}

/// All places of a policy, each once.
#[derive(Clone, Debug)]
pub struct Sources {
    all: Vec<Place>,
    headers: Vec<String>,
}

/// A source, and where its value stands among what is read of a request.
#[derive(Clone, Debug)]
struct Place {
    source: Source,
    header: Option<usize>,
    /// The parameter as the most lenient upstream reads it.
    parameter: Option<String>,
}

/// What a request carries in these places, unread. Not to be shown: it holds credentials.
#[derive(Clone, Default)]
pub struct Carried {
    /// The values of [`Sources::headers`], in their order; repeated headers are joined by commas.
    pub headers: Vec<Option<Vec<u8>>>,
    /// The parameters that were taken off the query.
    pub parameters: Vec<Parameter>,
}

/// A query parameter that was taken off.
#[derive(Clone)]
pub struct Parameter {
    /// Which of [`Sources::all`].
    pub source: usize,
    /// Its value, decoded; none if only some upstreams would read the parameter's name as the source's.
    pub value: Option<Vec<u8>>,
}

impl Default for Sources {
    fn default() -> Self {
        Self::new(vec![Source::bearer()])
    }
}

impl Source {
    /// `Authorization: Bearer` (RFC 6750 section 2.1).
    #[must_use]
    pub fn bearer() -> Self {
        Self::Header { name: "authorization".to_owned(), scheme: Some("Bearer".to_owned()) }
    }

    /// Whether both mean the same place.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Header { name, scheme: Some(scheme) }, Self::Header { name: other_name, scheme: Some(other) }) => {
                name == other_name && scheme.eq_ignore_ascii_case(other)
            }
            _ => self == other,
        }
    }

    /// How a client sends a token there.
    #[must_use]
    pub fn usage(&self) -> String {
        match self {
            Self::Cookie(name) => format!("in the cookie {name}"),
            Self::Header { name, scheme } => {
                // Header names have no letter case; this one is known in its own.
                let name = if name == "authorization" { "Authorization" } else { name };
                let scheme = scheme.as_ref().map_or_else(String::new, |scheme| format!("{scheme} "));
                format!("as {name}: {scheme}<token>")
            }
            Self::Query(name) => format!("in the query parameter {name}"),
        }
    }
}

impl Sources {
    /// These places, in their order.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Self {
        let mut headers: Vec<String> = Vec::new();
        let mut position = |name: &str| {
            headers.iter().position(|known| known == name).unwrap_or_else(|| {
                headers.push(name.to_owned());
                headers.len().saturating_sub(1)
            })
        };
        let all = sources
            .into_iter()
            .map(|source| {
                let (header, parameter) = match &source {
                    Source::Cookie(_) => (Some(position("cookie")), None),
                    Source::Header { name, .. } => (Some(position(name)), None),
                    Source::Query(name) => (None, Some(folded(name.as_bytes()))),
                };
                Place { source, header, parameter }
            })
            .collect();
        Self { all, headers }
    }

    /// The places.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        self.all.iter().map(|place| &place.source)
    }

    /// The headers to be read from a request, each once.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// The places that are headers or in one, each with its number and the header's value in a request.
    pub fn in_headers<'a>(&'a self, carried: &'a Carried) -> impl Iterator<Item = (usize, &'a Source, &'a [u8])> {
        self.all.iter().enumerate().filter_map(|(at, place)| {
            let value = carried.headers.get(place.header?)?.as_deref()?;
            Some((at, &place.source, value))
        })
    }

    /// Whether any place is in the query.
    #[must_use]
    pub fn read_queries(&self) -> bool {
        self.all.iter().any(|place| place.parameter.is_some())
    }

    /// How clients send a token, in words.
    #[must_use]
    pub fn usage(&self) -> String {
        let all: Vec<String> = self.all().map(Source::usage).collect();
        all.join(", or ")
    }

    /// A request target without the parameters that carry a token, and those; none if there are none.
    #[must_use]
    pub fn take_parameters(&self, target: &[u8]) -> Option<(Vec<u8>, Vec<Parameter>)> {
        let at = target.iter().position(|byte| *byte == b'?')?;
        let (path, query) = target.split_at_checked(at)?;
        let query = query.strip_prefix(b"?")?;
        let (mut kept, mut taken) = (Vec::new(), Vec::new());
        for pair in query.split(|byte| *byte == b'&') {
            match self.parameter(pair) {
                Some(parameter) => taken.push(parameter),
                None => kept.push(pair),
            }
        }
        if taken.is_empty() {
            return None;
        }
        let mut rest = path.to_vec();
        if !kept.is_empty() {
            rest.push(b'?');
            rest.extend(kept.join(&b'&'));
        }
        Some((rest, taken))
    }

    fn parameter(&self, pair: &[u8]) -> Option<Parameter> {
        // Some upstreams separate parameters by semicolons, too.
        let mut parts = pair.split(|byte| *byte == b';').peekable();
        let mut alone = true;
        while let Some(part) = parts.next() {
            alone = alone && parts.peek().is_none();
            let mut sides = part.splitn(2, |byte| *byte == b'=');
            let (name, value) = (sides.next().unwrap_or_default(), sides.next().unwrap_or_default());
            let reading = folded(name);
            if let Some(source) = self.all.iter().position(|place| place.parameter.as_ref() == Some(&reading)) {
                let exact = matches!(self.all.get(source), Some(Place { source: Source::Query(known), .. })
                    if percent_decode(name).eq(known.bytes()));
                let value = (exact && alone).then(|| percent_decode(value).collect());
                return Some(Parameter { source, value });
            }
        }
        None
    }

    /// A `Cookie` header without the cookies that carry a token: what is left, if any is.
    #[must_use]
    pub fn without_cookies(&self, header: &[u8]) -> Option<Vec<u8>> {
        let carries_token = |pair: &[u8]| {
            let (name, _) = cookie(pair);
            self.all().any(|source| matches!(source, Source::Cookie(known) if known.as_bytes() == name))
        };
        let kept: Vec<&[u8]> = header.split(|byte| *byte == b';').filter(|pair| !carries_token(pair)).collect();
        let left = kept.join(&b';').trim_ascii().to_vec();
        (!left.is_empty()).then_some(left)
    }
}

/// The values of a cookie in a `Cookie` header (RFC 6265 section 4.2.1).
pub fn cookies<'a>(header: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = header.split(|byte| *byte == b';').map(cookie);
    pairs.filter(move |(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
}

fn cookie(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut sides = pair.splitn(2, |byte| *byte == b'=');
    let (name, value) = (sides.next().unwrap_or_default(), sides.next().unwrap_or_default());
    (name.trim_ascii(), value.trim_ascii())
}

/// A parameter's name as the most lenient upstream may read it: decoded more than once, also from `%uXXXX` (ASP), in any
/// letter case (ASP.NET), without what PHP cuts off (a bracket, NUL, space before) and with what it turns into `_`.
pub(super) fn folded(name: &[u8]) -> String {
    /// Nobody decodes more often.
    const MOST_DECODINGS: usize = 3;
    let mut name = name.to_vec();
    for _ in 0..MOST_DECODINGS {
        let spaced: Vec<u8> = name.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        name = percent_decode(&spaced).collect();
    }
    let name = without_wide_escapes(&String::from_utf8_lossy(&name).to_ascii_lowercase());
    let name = name.split(['[', '\0']).next().unwrap_or_default();
    name.trim().chars().map(|character| if character == '.' || character == ' ' { '_' } else { character }).collect()
}

fn without_wide_escapes(name: &str) -> String {
    let mut parts = name.split("%u");
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let character = part
            .split_at_checked(4)
            .and_then(|(digits, rest)| Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, rest)));
        match character {
            Some((character, rest)) => {
                decoded.push(character);
                decoded.push_str(rest);
            }
            None => decoded.push_str(part),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources {
        Sources::new(vec![
            Source::bearer(),
            Source::Query("access_token".into()),
            Source::Query("Ticket".into()),
            Source::Cookie("session".into()),
        ])
    }

    /// What is left of a target, and the values that were taken off; none for those in another spelling.
    fn taken(target: &str) -> Option<(String, Vec<Option<String>>)> {
        let (rest, parameters) = sources().take_parameters(target.as_bytes())?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Some((text(rest), parameters.into_iter().map(|parameter| parameter.value.map(text)).collect()))
    }

    fn one(rest: &str, value: &str) -> Option<(String, Vec<Option<String>>)> {
        Some((rest.to_owned(), vec![Some(value.to_owned())]))
    }

    #[test]
    fn a_token_is_taken_off_the_query_and_the_rest_stays_as_it_is() {
        for (target, rest) in [
            ("/x?access_token=a.b.c", "/x"),
            ("/x?access_token=a.b.c&y=%2e&z", "/x?y=%2e&z"),
            ("/x?y=1&access_token=a.b.c", "/x?y=1"),
            ("/x?y=1&&access_token=a.b.c&z=a=b", "/x?y=1&&z=a=b"),
            ("/x?acc%65ss_token=a%2Eb.c", "/x"),
            ("/x?%61ccess%5Ftoken=%61.b.c&y", "/x?y"),
            ("?access_token=a.b.c", ""),
            ("*?access_token=a.b.c", "*"),
        ] {
            assert_eq!(taken(target), one(rest, "a.b.c"), "{target}");
        }
        assert_eq!(taken("/x?Ticket=t"), one("/x", "t"));
        assert_eq!(taken("/x?access_token"), one("/x", ""));
        assert_eq!(taken("/x?access_token=a=b"), one("/x", "a=b"));
        let both = taken("/x?access_token=a&Ticket=b").unwrap();
        assert_eq!(both, ("/x".to_owned(), vec![Some("a".to_owned()), Some("b".to_owned())]));
    }

    #[test]
    fn targets_without_a_token_are_not_touched() {
        for target in [
            "/x",
            "/x?",
            "/x?y=1&z",
            "/x?y=access_token",
            "/x?y=access_token%3Da",
            "/access_token=a",
            "/x?access_tokens=a",
            "/x?xaccess_token=a",
            "/x?access-token=a",
            "/x?access_toke%",
            "/x?access_toke%u00zz=a",
            "/x?=access_token",
        ] {
            assert_eq!(taken(target), None, "{target}");
        }
    }

    #[test]
    fn what_only_some_upstream_reads_as_the_parameter_is_taken_off_and_is_no_token() {
        for name in [
            "ACCESS_TOKEN",
            "Access_Token",
            "access.token",
            "access%20token",
            "access+token",
            "access_token[]",
            "access_token%5B0%5D",
            "%20access_token",
            "access_token%00x",
            "acc%2565ss_token",
            "%u0061ccess_token",
            "%25u0061ccess_token",
            "ticket",
            "y=1;access_token",
            "y;access%5ftoken",
        ] {
            assert_eq!(taken(&format!("/x?a=1&{name}=t")), Some(("/x?a=1".into(), vec![None])), "{name}");
        }
        assert_eq!(taken("/x?access_token=t;y=1"), Some(("/x".into(), vec![None])));
    }

    #[test]
    fn one_cookie_is_taken_off_among_others() {
        let left =
            |header: &str| sources().without_cookies(header.as_bytes()).map(|left| String::from_utf8(left).unwrap());
        assert_eq!(left("session=t"), None);
        assert_eq!(left("a=1; session=t; b=2").as_deref(), Some("a=1; b=2"));
        assert_eq!(left("session=t; b=2").as_deref(), Some("b=2"));
        assert_eq!(left("a=1;session=t").as_deref(), Some("a=1"));
        assert_eq!(left("a=1; sessions=t; Session=u").as_deref(), Some("a=1; sessions=t; Session=u"));
        assert_eq!(left("session =t; session; a=session=t").as_deref(), Some("a=session=t"));
    }

    #[test]
    fn cookies_are_found_by_their_exact_names() {
        let found = |header: &'static str| -> Vec<&str> {
            cookies(header.as_bytes(), "session").map(|value| std::str::from_utf8(value).unwrap()).collect()
        };
        assert_eq!(found("a=1; session=t"), ["t"]);
        assert_eq!(found("session=t;session = u ; session"), ["t", "u", ""]);
        assert!(found("a=session=t; xsession=t; sessionx=t; SESSION=t").is_empty());
    }

    #[test]
    fn each_header_is_read_once() {
        let header =
            |scheme: Option<&str>| Source::Header { name: "x-token".into(), scheme: scheme.map(str::to_owned) };
        let sources = Sources::new(vec![
            header(Some("JWT")),
            Source::Cookie("a".into()),
            header(None),
            Source::Cookie("b".into()),
            Source::Query("t".into()),
        ]);
        assert_eq!(sources.headers(), ["x-token", "cookie"]);
        assert_eq!(Sources::default().headers(), ["authorization"]);
        assert_eq!(
            sources.usage(),
            "as x-token: JWT <token>, or in the cookie a, or as x-token: <token>, or in the cookie b, or in the query \
             parameter t"
        );
    }
}
