//! The forms in which an upstream may act on a path.
//!
//! A rule must hold for what the upstream serves, and upstreams differ: some decode `%2e%2e`, merge `//`, drop `;x=y`,
//! read `\` as `/`, or drop control characters. A path that can be read in several ways is therefore matched in all of
//! them, and the strictest rule wins. (RFC 3986 section 6.2; CVE-2021-43824 and its relatives.)

use std::borrow::Cow;

/// Longest ambiguous path that is expanded, in bytes.
const MAX_AMBIGUOUS_BYTES: usize = 4 * 1024;
/// Most readings of one path. Honest paths have one or two; more would let a client buy much work with one request.
const MAX_READINGS: usize = 16;

/// All readings of the path of a request target, the literal one first. None if there are too many to be sure.
#[must_use]
pub fn readings(target: &str) -> Option<Vec<Cow<'_, str>>> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if is_plain(path) {
        return Some(vec![Cow::Borrowed(path)]);
    }
    if path.len() > MAX_AMBIGUOUS_BYTES {
        return None;
    }
    let mut found = vec![Cow::Borrowed(path)];
    let mut next = 0;
    while let Some(reading) = found.get(next).cloned() {
        next += 1;
        for other in [
            percent_decoded(&reading)?,
            without_parameters(&reading),
            reading.replace('\\', "/"),
            merged_slashes(&reading),
            resolved(&reading),
            until_nul(&reading),
            without_controls(&reading),
        ] {
            if !found.contains(&Cow::Borrowed(other.as_str())) {
                if found.len() == MAX_READINGS {
                    return None;
                }
                found.push(Cow::Owned(other));
            }
        }
    }
    Some(found)
}

/// Whether nobody could read the path in another way (letter case apart).
fn is_plain(path: &str) -> bool {
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-~!$&'()*+,=:@.".contains(&byte);
    let dotted = |segment: &str| segment == "." || segment == "..";
    path.bytes().all(ordinary) && !path.contains("//") && !path.split('/').any(dotted)
}

/// None for overlong UTF-8: nobody writes a dot or a slash that way but to hide it, and some decoders believe it.
fn percent_decoded(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.split_at_checked(2).filter(|_| *first == b'%').and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = escaped.unwrap_or((*first, after));
        decoded.push(byte);
        rest = after;
    }
    let overlong = decoded.array_windows().any(|[lead, next]| {
        matches!((lead, next), (0xc0 | 0xc1, 0x80..=0xbf) | (0xe0, 0x80..=0x9f) | (0xf0, 0x80..=0x8f))
    });
    (!overlong).then(|| String::from_utf8_lossy(&decoded).into_owned())
}

fn without_parameters(path: &str) -> String {
    let names: Vec<&str> = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    names.join("/")
}

fn merged_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

/// RFC 3986 section 5.2.4.
fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            name => kept.push(name),
        }
    }
    if path.starts_with('/') { format!("/{}", kept.join("/")) } else { path.to_owned() }
}

fn until_nul(path: &str) -> String {
    path.split('\0').next().unwrap_or_default().to_owned()
}

fn without_controls(path: &str) -> String {
    path.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(target: &str) -> Vec<String> {
        readings(target).unwrap().into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn a_plain_path_is_read_once_without_its_query() {
        assert_eq!(all("/orders/17?x=%2e%2e/admin"), ["/orders/17"]);
        assert_eq!(all("/"), ["/"]);
        assert_eq!(all("/a.b/..c"), ["/a.b/..c"]);
    }

    #[test]
    fn every_trick_reveals_the_path_that_it_hides() {
        for target in [
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/%252e%252e/admin",
            "/public/..%2fadmin",
            "/public/..;x=y/admin",
            "/public/..\\admin",
            "/public/%2e%2e%5cadmin",
            "//admin",
            "/./admin",
            "/admin;x=y",
            "/admin%3bx",
            "/%61dmin",
            "/admin%00.png",
            "/public/..%00/admin",
            "/ad%09min",
            "/public/x/../../admin",
        ] {
            assert!(all(target).contains(&"/admin".to_owned()), "{target}: {:?}", all(target));
        }
    }

    #[test]
    fn overlong_utf_8_is_not_read() {
        for target in ["/public/%c0%ae%c0%ae/staff", "/a%c0%afb", "/a%e0%80%afb", "/a%f0%80%80%afb", "/a%25c0%25afb"] {
            assert!(readings(target).is_none(), "{target}");
        }
        for target in ["/caf%c3%a9", "/caf%e9", "/%C0 la carte", "/%e2%82%ac"] {
            assert!(readings(target).is_some(), "{target}");
        }
    }

    #[test]
    fn a_path_with_endless_readings_is_given_up() {
        let nested = format!("/{}", "%25".repeat(40));
        let layered = (0..40).fold("/a".to_owned(), |path, _| path.replace('%', "%25") + "/%2e");
        assert!(readings(&layered).is_none() || all(&nested).len() <= MAX_READINGS);
        assert!(readings(&format!("/%2e{}", "a".repeat(MAX_AMBIGUOUS_BYTES))).is_none());
    }
}
