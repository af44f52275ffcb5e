//! A feed as it is configured.

use std::time::Duration;

use crate::jose::jwk::KeySet;
use crate::keys::document::Address;

/// Where revocations come from, and what holds when they do not.
#[derive(Clone)]
pub struct Feed {
    /// The feed's address; `since` and `wait` are added to it.
    pub url: Address,
    /// The Envoy cluster that carries the requests.
    pub cluster: String,
    /// From one request to the next.
    pub interval: Duration,
    /// How long a request may take, beside what it waits for news.
    pub timeout: Duration,
    /// How long the feed may hold an answer back until there is news; zero for not at all.
    pub long_poll: Duration,
    /// The keys that may sign.
    pub keys: Signers,
    /// How old what is known may become.
    pub max_staleness: Duration,
    /// What holds when it is older.
    pub when_stale: WhenStale,
}

/// What becomes of a token that is not known to be revoked, by a feed that has not answered for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStale {
    /// It passes.
    Allow,
    /// It does not: 503.
    Deny,
}

/// Keys and their thumbprints.
#[derive(Clone)]
pub struct Signers {
    keys: KeySet,
    thumbprints: Vec<[u8; 32]>,
}

impl Signers {
    /// The keys of a set.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self { thumbprints: keys.keys().map(|key| key.thumbprint()).collect(), keys }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Whether one of them has this thumbprint.
    #[must_use]
    pub fn include(&self, thumbprint: &[u8; 32]) -> bool {
        self.thumbprints.contains(thumbprint)
    }
}

impl Feed {
    /// The path of a request for what came since a sequence, which may be held back so long until there is news.
    #[must_use]
    pub fn path(&self, since: u64, wait: Duration) -> String {
        let path = self.url.path();
        let separator = if path.contains('?') { '&' } else { '?' };
        let wait = wait.as_secs();
        let wait = if wait > 0 { format!("&wait={wait}") } else { String::new() };
        format!("{path}{separator}since={since}{wait}")
    }
}
