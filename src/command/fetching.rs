//! Fetching metadata and keys as the filter does, but over this process's own HTTP client.

use std::collections::BTreeMap;
use std::time::Duration;

use entra_gate::keys::discovery::{FetchFault, MAX_BODY_BYTES, Metadata};
use entra_gate::keys::document::{Address, Document};
use entra_gate::keys::record::Fetched;
use reqwest::header::{ACCEPT, HOST};
use reqwest::{Client, Url};

/// A client, and where some clusters really are.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client,
    clusters: BTreeMap<String, Url>,
}

impl Fetcher {
    pub(crate) fn new(clusters: BTreeMap<String, Url>) -> Result<Self, reqwest::Error> {
        Ok(Self { client: crate::http::client()?, clusters })
    }

    /// Metadata, then keys.
    pub(crate) async fn fetch(&self, document: &Document, now: u64) -> Result<Fetched, FetchFault> {
        let metadata = self.get(document, &document.metadata).await?;
        let jwks_uri = Metadata::read(document, &metadata)?.jwks_uri;
        let keys = self.get(document, &jwks_uri).await?;
        Ok(Fetched { fetched_at: now, metadata, keys })
    }

    async fn get(&self, document: &Document, address: &Address) -> Result<Vec<u8>, FetchFault> {
        let url = match self.clusters.get(&document.cluster) {
            // The address's own path and authority, elsewhere.
            Some(base) => base.join(address.path()).map_err(|_| FetchFault::NotSent)?,
            None => Url::parse(&address.to_string()).map_err(|_| FetchFault::NotSent)?,
        };
        let request = self.client.get(url).timeout(document.timeout.max(Duration::from_millis(10)));
        let request = request.header(HOST, address.authority()).header(ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(|_| FetchFault::NoAnswer)?;
        if answer.status() != 200 {
            return Err(FetchFault::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| FetchFault::NoAnswer)? {
            if body.len().saturating_add(chunk.len()) > MAX_BODY_BYTES {
                return Err(FetchFault::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
