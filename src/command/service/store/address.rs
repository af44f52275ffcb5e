//! Where the data is. An address may hold a password: it is never shown whole.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use sqlx::postgres::PgConnectOptions;

/// Where the data is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of PostgreSQL: its URL.
    Server(String),
}

/// What a URL may say of a connection: what sqlx knows. Of anything else it would only warn, with its value.
const PARAMETERS: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

impl Address {
    /// Reads `sqlite:<file>` or `postgres://…`. A URL's own mistakes are told when it is opened: whoever parses the
    /// command line would repeat it, and so a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Server(text.to_owned()));
        }
        let file = text
            .strip_prefix("sqlite:")
            .ok_or("expected sqlite:<file>, such as sqlite:revocations.db, or postgres://<user>@<host>/<database>")?;
        let file = file.strip_prefix("//").unwrap_or(file);
        if file.is_empty() || file.starts_with(':') || file.contains(['?', '\0']) {
            return Err("expected the name of a file after sqlite:".to_owned());
        }
        Ok(Self::File(PathBuf::from(file)))
    }

    /// The database's file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Server(_) => None,
        }
    }

    /// The URL with which a connection to a server is made. A server elsewhere must show a certificate, unless
    /// `sslmode` says otherwise.
    pub(super) fn server(url: &str) -> Result<(String, PgConnectOptions), String> {
        let read = Url::parse(url).map_err(|error| format!("the URL of the database is wrong: {error}"))?;
        if let Some((unknown, _)) = read.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
            let known = PARAMETERS.join(", ");
            return Err(format!("the URL of the database has the unknown parameter {unknown}; known are {known}"));
        }
        let says_how = read.query_pairs().any(|(name, _)| name == "sslmode") || std::env::var("PGSSLMODE").is_ok();
        let options = |url: &str| PgConnectOptions::from_str(url).map_err(|error| error.to_string());
        let found = options(url)?;
        if says_how || is_here(&found) {
            return Ok((url.to_owned(), found));
        }
        let mut verified = read;
        verified.query_pairs_mut().append_pair("sslmode", "verify-full");
        let verified = String::from(verified);
        let found = options(&verified)?;
        Ok((verified, found))
    }

    /// The URL of a file, for sqlx.
    pub(super) fn file_url(file: &Path) -> Result<String, sqlx::Error> {
        const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
        let file = file.to_str().ok_or_else(|| sqlx::Error::Configuration("a path that is not UTF-8".into()))?;
        Ok(format!("sqlite:{}", utf8_percent_encode(file, PATH)))
    }
}

/// Whether the server is on this machine.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || is_loopback
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(formatter),
            Self::Server(url) => match Self::server(url) {
                Ok((_, options)) => {
                    let place = options.get_socket().map_or_else(
                        || format!("{}:{}", options.get_host(), options.get_port()),
                        |socket| socket.display().to_string(),
                    );
                    write!(formatter, "{} at {place}", options.get_database().unwrap_or("of PostgreSQL"))
                }
                Err(_) => formatter.write_str("of PostgreSQL"),
            },
        }
    }
}

/// Without a password.
impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_file_or_a_server() {
        assert_eq!(Address::parse("sqlite:a.db").unwrap().file(), Some(Path::new("a.db")));
        assert_eq!(Address::parse("sqlite:///var/a.db").unwrap().file(), Some(Path::new("/var/a.db")));
        assert_eq!(Address::parse("postgres://x/y").unwrap().file(), None);
        for text in ["", "a.db", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "mysql://x/y"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let address =
            Address::parse("postgres://gate:very-secret@db.example:5433/revocations?sslmode=disable").unwrap();
        assert_eq!(address.to_string(), "revocations at db.example:5433");
        assert_eq!(format!("{address:?}"), "Address(revocations at db.example:5433)");
        for wrong in
            ["postgres://gate:very-secret@db.example/x?pasword=very-secret", "postgres://gate:very-secret@[x/y"]
        {
            let Ok(Address::Server(url)) = Address::parse(wrong) else { panic!("{wrong}") };
            assert!(!Address::server(&url).unwrap_err().contains("secret"));
            assert!(!Address::Server(url).to_string().contains("secret"));
        }
    }

    #[test]
    fn a_server_elsewhere_shows_a_certificate_unless_the_address_says_otherwise() {
        use sqlx::postgres::PgSslMode;
        let mode = |url: &str| Address::server(url).unwrap().1.get_ssl_mode();
        assert!(matches!(mode("postgres://db.example/x"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://db.example/x?application_name=a"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://db.example/x?sslmode=require"), PgSslMode::Require));
        for here in ["postgres://localhost/x", "postgres://127.0.0.1:5432/x", "postgres://u@%2Frun%2Fpostgresql/x"] {
            assert!(matches!(mode(here), PgSslMode::Prefer), "{here}");
        }
    }
}
