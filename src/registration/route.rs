//! Which request is for the bridge, and what it is for. Only the exact path is: every other spelling of it goes the way of
//! all requests.

use crate::entra::guid::Guid;
use crate::policy::registration::{Allow, Registration};

/// What follows a client's address to give it a new secret.
const NEW_SECRET: &str = "new-secret";

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `DELETE` of a client.
    Delete(Guid),
    /// A method that the resource does not have: those that it has.
    NoSuchMethod(String),
    /// An address below the path at which there is nothing.
    Nothing,
    /// What browsers ask first: the methods of the resource.
    Preflight(String),
    /// `GET` of a client.
    Read(Guid),
    /// `POST`
    Register,
    /// `POST` for a new secret.
    RotateSecret(Guid),
    /// `PUT` of a client.
    Update(Guid),
}

impl Purpose {
    /// Reads a request; none if it is not for the bridge.
    #[must_use]
    pub fn of(method: &str, target: &str, settings: &Registration) -> Option<Self> {
        let path = target.split('?').next().unwrap_or_default();
        let below = path.strip_prefix(settings.path.as_str())?;
        if below.is_empty() {
            return Some(match method {
                "POST" => Self::Register,
                "OPTIONS" => Self::Preflight("POST".to_owned()),
                _ => Self::NoSuchMethod("POST".to_owned()),
            });
        }
        let below = below.strip_prefix('/')?;
        let (client, rest) = below.split_once('/').map_or((below, None), |(client, rest)| (client, Some(rest)));
        let Allow { read, update, delete, rotate_secret } = settings.allow;
        let methods: Vec<(&str, bool)> = match rest {
            None => vec![("GET", read), ("PUT", update), ("DELETE", delete)],
            Some(NEW_SECRET) => vec![("POST", rotate_secret)],
            Some(_) => return Some(Self::Nothing),
        };
        let methods: Vec<&str> = methods.into_iter().filter(|(_, allowed)| *allowed).map(|(name, _)| name).collect();
        if methods.is_empty() {
            return Some(Self::Nothing);
        }
        if method == "OPTIONS" {
            return Some(Self::Preflight(methods.join(", ")));
        }
        if !methods.contains(&method) {
            return Some(Self::NoSuchMethod(methods.join(", ")));
        }
        let Some(client) = Guid::parse(client) else {
            return Some(Self::Nothing);
        };
        Some(match (method, rest) {
            ("GET", _) => Self::Read(client),
            ("PUT", _) => Self::Update(client),
            ("DELETE", _) => Self::Delete(client),
            _ => Self::RotateSecret(client),
        })
    }

    /// Whether its body is read.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        match self {
            Self::Register | Self::Update(_) => true,
            Self::Delete(_)
            | Self::NoSuchMethod(_)
            | Self::Nothing
            | Self::Preflight(_)
            | Self::Read(_)
            | Self::RotateSecret(_) => false,
        }
    }
}
