//! `token_sources`: where a provider's tokens may be.

use super::node::Node;
use crate::policy::sources::Source;

pub(super) const MEMBERS: [&str; 4] = ["cookie", "header", "query", "scheme"];

/// Headers in which a token would break HTTP; cookies have a source of their own.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
];

/// The numbers of a provider's sources among all, which are gathered in `all`.
pub(super) fn compile(node: Option<&Node<'_>>, all: &mut Vec<Source>) -> Option<Vec<usize>> {
    let Some(node) = node else {
        return Some(vec![number(Source::bearer(), all)]);
    };
    let sources = node.list(|node| Some((node.clone(), source(node)?)))?;
    let mut numbers = Vec::with_capacity(sources.len());
    for (node, source) in sources {
        if all.iter().any(|other| contradicts(&source, other)) {
            return node.mistake_of("a header that is read both with and without a scheme", "one of them");
        }
        let number = number(source, all);
        if numbers.contains(&number) {
            return node.mistake_of("a source that is already in the list", "each source once");
        }
        numbers.push(number);
    }
    Some(numbers)
}

fn number(source: Source, all: &mut Vec<Source>) -> usize {
    all.iter().position(|known| known.is_same(&source)).unwrap_or_else(|| {
        all.push(source);
        all.len().saturating_sub(1)
    })
}

fn source(node: &Node<'_>) -> Option<Source> {
    let members = node.object(&MEMBERS)?;
    let word = |node: &Node<'_>| {
        let text = node.text()?;
        // A token of RFC 9110 section 5.6.2, as names of headers and cookies and schemes are.
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        if plain { Some(text.to_owned()) } else { node.mistake("a name without spaces and separators") }
    };
    let scheme = members.optional("scheme", word)?;
    match (members.get("header"), members.get("query"), members.get("cookie")) {
        (Some(header), None, None) => {
            let name = word(&header)?.to_ascii_lowercase();
            if RESERVED.contains(&name.as_str()) {
                return header.mistake("a header that may carry a token");
            }
            Some(Source::Header { name, scheme })
        }
        (None, Some(_), None) | (None, None, Some(_)) if scheme.is_some() => {
            members.at("scheme").mistake_of("this member", "no `scheme`: only headers have one")
        }
        (None, Some(query), None) => {
            let name = query.text()?;
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
            if plain {
                Some(Source::Query(name.to_owned()))
            } else {
                query.mistake("a parameter's name of letters, digits and - . _ ~")
            }
        }
        (None, None, Some(cookie)) => word(&cookie).map(Source::Cookie),
        _ => node.mistake_of("not one place", "one of header, query, cookie"),
    }
}

/// Whether one would refuse what the other takes. In `Authorization` a value with a space has a scheme.
fn contradicts(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (Source::Header { name, scheme }, Source::Header { name: other_name, scheme: other_scheme }) => {
            name == other_name && name != "authorization" && scheme.is_some() != other_scheme.is_some()
        }
        _ => false,
    }
}
