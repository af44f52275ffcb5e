//! Redirect URIs: what Entra takes at all, and which of those an operator lets clients have.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reply-url>

/// Longest redirect URI, in characters.
pub const MAX_URI_CHARS: usize = 256;
/// What Entra refuses anywhere in one, and what would make two readers see two URIs.
const FORBIDDEN: [char; 15] = ['!', '$', '\'', '(', ')', ',', ';', '*', '"', '<', '>', '\\', '^', '`', '|'];
/// Schemes that name no application.
const NO_APPLICATION: [&str; 11] =
    ["about", "blob", "data", "file", "filesystem", "ftp", "javascript", "urn", "vbscript", "view-source", "ws"];

/// A redirect URI that Entra would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    kind: Kind,
    /// In lower case.
    host: String,
    port: Option<u16>,
    /// With its query; empty if there is none.
    path: String,
}

/// Where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To the application that has this scheme on the user's device.
    App(String),
    /// To a site.
    Https,
    /// To the user's own machine, whatever the port (RFC 8252 section 7.3).
    Loopback,
}

/// Why Entra would not take a redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectFault {
    /// A character that must not be in it.
    Character,
    /// A fragment.
    Fragment,
    /// Its host, or its port.
    Host,
    /// Longer than [`MAX_URI_CHARS`].
    Length,
    /// `http` to another host than `localhost` and `127.0.0.1`.
    PlainHttp,
    /// Not a scheme that an application may have.
    Scheme,
}

impl RedirectFault {
    /// What is wrong, to follow the URI's number.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Character => "holds a character that Entra refuses, such as * ! $ ' ( ) , ; or a blank",
            Self::Fragment => "has a fragment",
            Self::Host => "names no plain host",
            Self::Length => "is longer than 256 characters",
            Self::PlainHttp => "must use https; http is for localhost and 127.0.0.1 only",
            Self::Scheme => "has a scheme that no application may have",
        }
    }
}

impl RedirectUri {
    /// Reads a redirect URI.
    ///
    /// # Errors
    /// Why Entra would not take it.
    pub fn parse(text: &str) -> Result<Self, RedirectFault> {
        if text.chars().count() > MAX_URI_CHARS {
            return Err(RedirectFault::Length);
        }
        if text.contains('#') {
            return Err(RedirectFault::Fragment);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(FORBIDDEN) {
            return Err(RedirectFault::Character);
        }
        let (scheme, rest) = text.split_once(':').ok_or(RedirectFault::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(of_scheme)
            || NO_APPLICATION.contains(&scheme.as_str())
        {
            return Err(RedirectFault::Scheme);
        }
        if scheme != "https" && scheme != "http" {
            let rest = rest.trim_start_matches('/');
            if rest.is_empty() {
                return Err(RedirectFault::Host);
            }
            let kind = Kind::App(scheme);
            return Ok(Self { text: text.to_owned(), kind, host: String::new(), port: None, path: rest.to_owned() });
        }
        let rest = rest.strip_prefix("//").ok_or(RedirectFault::Host)?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(at).ok_or(RedirectFault::Host)?;
        let (host, port) = host_and_port(authority).ok_or(RedirectFault::Host)?;
        let kind = match (scheme.as_str(), host.as_str()) {
            ("https", _) => Kind::Https,
            (_, "localhost" | "127.0.0.1") => Kind::Loopback,
            _ => return Err(RedirectFault::PlainHttp),
        };
        Ok(Self { text: text.to_owned(), kind, host, port, path: path.to_owned() })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it leads.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Without the port where that counts for nothing: Entra takes a loopback URI with any.
    #[must_use]
    pub fn without_free_port(&self) -> String {
        match self.kind {
            Kind::Loopback => format!("http://{}{}", self.host, self.path),
            Kind::App(_) | Kind::Https => self.text.clone(),
        }
    }
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            (host, Some(port.parse().ok().filter(|_| digits)?))
        }
        None => (authority, None),
    };
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        !label.is_empty() && inner && !label.starts_with('-')
    };
    host.split('.').all(label).then(|| (host.to_ascii_lowercase(), port))
}

/// An entry of the operator's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectPattern {
    kind: Kind,
    /// In lower case; begins with a dot if one label may stand before it.
    host: String,
    port: Option<u16>,
    /// None: any path.
    path: Option<String>,
}

impl RedirectPattern {
    /// Reads an entry: a redirect URI, in which the host may begin with `*.` for one label. Without a path every path
    /// is meant, and every port of a loopback address; `scheme://` alone means every URI of that scheme.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(scheme) = text.strip_suffix("://") {
            let uri = RedirectUri::parse(&format!("{scheme}://x")).ok()?;
            let is_app = matches!(uri.kind, Kind::App(_));
            return is_app.then_some(Self { kind: uri.kind, host: String::new(), port: None, path: None });
        }
        let (text, below) = match text.split_once("://*.") {
            Some((scheme, rest)) => (format!("{scheme}://{rest}"), true),
            None => (text.to_owned(), false),
        };
        let uri = RedirectUri::parse(&text).ok()?;
        // `*.com` would let in everybody.
        if below && (uri.kind != Kind::Https || !uri.host.contains('.')) {
            return None;
        }
        let host = if below { format!(".{}", uri.host) } else { uri.host };
        let path = Some(uri.path).filter(|path| !path.is_empty());
        Some(Self { kind: uri.kind, host, port: uri.port, path })
    }

    /// Whether the entry lets a client have this URI.
    #[must_use]
    pub fn admits(&self, uri: &RedirectUri) -> bool {
        let host = match self.host.strip_prefix('.') {
            Some(parent) => uri.host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => uri.host == self.host,
        };
        let port = self.kind == Kind::Loopback || self.port.unwrap_or(443) == uri.port.unwrap_or(443);
        self.kind == uri.kind && host && port && self.path.as_ref().is_none_or(|path| *path == uri.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_entra_takes_is_taken() {
        for text in [
            "https://app.contoso.com/callback",
            "https://app.contoso.com",
            "https://app.contoso.com:8443/callback?x=y",
            "https://APP.contoso.com/Callback",
            "http://localhost",
            "http://localhost:33418/callback",
            "http://127.0.0.1:1/",
            "cursor://anysphere.cursor-retrieval/oauth/callback",
            "com.contoso.app:/callback",
            "vscode:callback",
            "ms-app+x.y-z://a",
        ] {
            let uri = RedirectUri::parse(text);
            assert_eq!(uri.as_ref().map(RedirectUri::as_str), Ok(text));
        }
    }

    #[test]
    fn what_entra_refuses_is_refused() {
        use RedirectFault::{Character, Fragment, Host, Length, PlainHttp, Scheme};
        let long = format!("https://a.example/{}", "x".repeat(MAX_URI_CHARS));
        for (text, fault) in [
            ("http://app.contoso.com/callback", PlainHttp),
            ("http://127.0.0.2/", PlainHttp),
            ("http://localhost.evil.example/", PlainHttp),
            ("http://0.0.0.0/", PlainHttp),
            ("http://[::1]/", Host),
            ("https://[::1]/", Host),
            ("https://user@app.contoso.com/", Host),
            ("https://app.contoso.com@evil.example/", Host),
            ("http://localhost@evil.example/", Host),
            ("http://localhost:80@evil.example/", Host),
            ("https:///callback", Host),
            ("https:app.contoso.com", Host),
            ("https://app.contoso.com:/", Host),
            ("https://app.contoso.com:+1/", Host),
            ("https://app.contoso.com:65536/", Host),
            ("https://app..contoso.com/", Host),
            ("https://app.contoso.com./", Host),
            ("https://%61pp.contoso.com/", Host),
            ("https://-app.contoso.com/", Host),
            ("app:", Host),
            ("app://", Host),
            ("https://app.contoso.com/#x", Fragment),
            ("https://app.contoso.com#", Fragment),
            ("https://*.contoso.com/", Character),
            ("https://app.contoso.com/a b", Character),
            ("https://app.contoso.com\\@evil.example/", Character),
            ("https://app.contoso.com/\r\nx", Character),
            ("https://c\u{43e}ntoso.com/", Character),
            ("https://a.example/;x", Character),
            ("https://a.example/'", Character),
            ("https://a.example/(x)", Character),
            ("https://a.example/a,b", Character),
            ("https://a.example/!", Character),
            ("https://a.example/$", Character),
            ("javascript:alert", Scheme),
            ("JavaScript:x", Scheme),
            ("data:text/html", Scheme),
            ("file:///etc/passwd", Scheme),
            ("urn:ietf:wg:oauth:2.0:oob", Scheme),
            ("//evil.example", Scheme),
            ("/callback", Scheme),
            ("callback", Scheme),
            ("1app://x", Scheme),
            ("", Scheme),
            (&long, Length),
        ] {
            assert_eq!(RedirectUri::parse(text).err(), Some(fault), "{text}");
        }
    }

    #[test]
    fn an_entry_admits_what_it_says() {
        for (entry, uri, expected) in [
            ("http://localhost", "http://localhost", true),
            ("http://localhost", "http://localhost/", true),
            ("http://localhost", "http://localhost:1/any/path?q", true),
            ("http://localhost", "http://LOCALHOST:1/", true),
            ("http://localhost", "http://127.0.0.1/", false),
            ("http://localhost", "https://localhost/", false),
            ("http://localhost/callback", "http://localhost:5/callback", true),
            ("http://localhost/callback", "http://localhost:5/callback/", false),
            ("http://localhost/callback", "http://localhost:5/callback?x", false),
            ("http://localhost:7/callback", "http://localhost:5/callback", true),
            ("https://*.contoso.com/oauth/callback", "https://a.contoso.com/oauth/callback", true),
            ("https://*.contoso.com/oauth/callback", "https://A.CONTOSO.com/oauth/callback", true),
            ("https://*.contoso.com/oauth/callback", "https://a.contoso.com:443/oauth/callback", true),
            ("https://*.contoso.com/oauth/callback", "https://a.contoso.com:444/oauth/callback", false),
            ("https://*.contoso.com/oauth/callback", "https://a.b.contoso.com/oauth/callback", false),
            ("https://*.contoso.com/oauth/callback", "https://contoso.com/oauth/callback", false),
            ("https://*.contoso.com/oauth/callback", "https://evilcontoso.com/oauth/callback", false),
            ("https://*.contoso.com/oauth/callback", "https://a.contoso.com.evil.example/oauth/callback", false),
            ("https://*.contoso.com/oauth/callback", "https://a.contoso.com/oauth/callback/../x", false),
            ("https://*.contoso.com/oauth/callback", "https://a.contoso.com/OAuth/callback", false),
            ("https://app.contoso.com", "https://app.contoso.com/x", true),
            ("https://app.contoso.com", "https://other.contoso.com/x", false),
            ("https://app.contoso.com:8443", "https://app.contoso.com:8443/x", true),
            ("https://app.contoso.com:8443", "https://app.contoso.com/x", false),
            ("cursor://anysphere/oauth", "cursor://anysphere/oauth", true),
            ("cursor://anysphere/oauth", "cursor://anysphere/other", false),
            ("cursor://", "cursor://anything", true),
            ("cursor://", "other://anything", false),
            ("com.contoso.app:/callback", "com.contoso.app:/callback", true),
        ] {
            let pattern = RedirectPattern::parse(entry).unwrap();
            assert_eq!(pattern.admits(&RedirectUri::parse(uri).unwrap()), expected, "{entry} {uri}");
        }
    }

    #[test]
    fn an_entry_that_would_let_in_everybody_is_none() {
        for entry in [
            "https://*",
            "https://*.com",
            "https://*.",
            "*",
            "https://",
            "http://",
            "http://*.localhost",
            "https://a.*.com",
            "javascript://",
            "http://evil.example",
            "https://a.example/*",
            "",
        ] {
            assert_eq!(RedirectPattern::parse(entry), None, "{entry}");
        }
    }

    #[test]
    fn the_port_of_a_loopback_address_is_free() {
        for (text, expected) in [
            ("http://localhost:33418/callback", "http://localhost/callback"),
            ("http://127.0.0.1:5", "http://127.0.0.1"),
            ("https://a.example:8443/x", "https://a.example:8443/x"),
            ("app://x:5/y", "app://x:5/y"),
        ] {
            assert_eq!(RedirectUri::parse(text).unwrap().without_free_port(), expected);
        }
    }
}
