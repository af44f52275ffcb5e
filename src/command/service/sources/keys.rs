//! The keys of an issuer that tells of events: given, or fetched when they are needed and kept while it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entra_gate::jose::json;
use entra_gate::keys::document::Address;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::configuration::KeySource;
use super::token::{Candidate, Keys, keys};
use super::web::Web;

/// How old keys become before they are fetched again.
const REFRESH: Duration = Duration::from_secs(3_600);
/// How old they may become while that fails.
const MOST_AGE: Duration = Duration::from_secs(86_400);
/// The least time between two fetches that unknown `kid`s cause.
const COOLDOWN: Duration = Duration::from_secs(30);
/// The least time between two fetches, the first of which failed.
const BREATH: Duration = Duration::from_secs(2);
/// How long each request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest document. Entra's keys take 20 KiB.
const MOST_BODY: usize = 1 << 20;

/// An issuer's keys.
pub(crate) struct KeyStore {
    source: KeySource,
    issuer: String,
    web: Web,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: Option<(Arc<Keys>, Instant)>,
    failed: Option<Instant>,
}

/// The keys cannot be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

impl KeyStore {
    pub(crate) fn new(source: KeySource, issuer: &str, web: Web) -> Self {
        Self { source, issuer: issuer.to_owned(), web, held: Mutex::default() }
    }

    /// The keys, fetched anew if they are old or do not know this token's. One fetch at a time.
    pub(crate) async fn keys_for(&self, candidate: &Candidate<'_>) -> Result<Arc<Keys>, Unavailable> {
        let address = match &self.source {
            KeySource::Inline(keys) => return Ok(Arc::new(keys.0.clone())),
            KeySource::Jwks(address) | KeySource::Metadata(address) => address,
        };
        let mut held = self.held.lock().await;
        let usable = held.keys.clone();
        if let Some((keys, fetched)) = &usable {
            let age = fetched.elapsed();
            let known = candidate.knows(keys);
            // Keys of half a minute ago that do not know this one: a key is published before it signs.
            if (known && age < REFRESH) || (!known && age < COOLDOWN) {
                return Ok(Arc::clone(keys));
            }
        }
        let recently_failed = held.failed.is_some_and(|failed| failed.elapsed() < BREATH);
        if !recently_failed {
            match self.fetch().await {
                Ok(keys) => {
                    info!(issuer = self.issuer, keys = keys.len(), "keys of a source's issuer fetched");
                    let keys = Arc::new(keys);
                    *held = Held { keys: Some((Arc::clone(&keys), Instant::now())), failed: None };
                    return Ok(keys);
                }
                Err(fault) => {
                    warn!(issuer = self.issuer, address = %address, fault, "keys of a source's issuer not fetched");
                    held.failed = Some(Instant::now());
                }
            }
        }
        match usable {
            Some((keys, fetched)) if candidate.knows(&keys) && fetched.elapsed() < MOST_AGE => Ok(keys),
            _ => Err(Unavailable),
        }
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let jwks = match &self.source {
            KeySource::Inline(keys) => return Ok(keys.0.clone()),
            KeySource::Jwks(address) => address.clone(),
            KeySource::Metadata(address) => {
                let document = json::object(&self.get(address).await?).map_err(|_| "the metadata is no JSON object")?;
                if document.get("issuer").and_then(Value::as_str) != Some(&self.issuer) {
                    return Err("the metadata states another issuer".to_owned());
                }
                let jwks = document.get("jwks_uri").and_then(Value::as_str).and_then(Address::parse);
                jwks.ok_or("the metadata names no https jwks_uri")?
            }
        };
        keys(&self.get(&jwks).await?).map_err(|_| "the key set holds no key that can be used".to_owned())
    }

    async fn get(&self, address: &Address) -> Result<Vec<u8>, String> {
        let request = self.web.request(Method::GET, address, PATIENCE).map_err(|fault| fault.to_string())?;
        let reply = self.web.send(request, MOST_BODY).await.map_err(|fault| fault.to_string())?;
        if reply.status == 200 { Ok(reply.body) } else { Err(format!("status {}", reply.status)) }
    }
}
