//! Requests that sources send: to https addresses alone, with a time limit, and answers of a bounded size.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use entra_gate::keys::document::Address;
use reqwest::header::{HOST, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Url};

/// A client, and where some hosts really are.
#[derive(Clone)]
pub(crate) struct Web {
    client: Client,
    hosts: BTreeMap<String, Url>,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WebFault {
    NoAnswer,
    NotSent,
    TooLarge,
}

impl fmt::Display for WebFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoAnswer => "no complete answer came in time",
            Self::NotSent => "the request could not be made",
            Self::TooLarge => "the answer is too large",
        })
    }
}

impl Web {
    pub(crate) fn new(hosts: BTreeMap<String, Url>) -> Result<Self, reqwest::Error> {
        Ok(Self { client: crate::http::client()?, hosts })
    }

    /// A request to an address. No redirect is followed: what it carries goes where it was meant to.
    pub(crate) fn request(
        &self,
        method: Method,
        address: &Address,
        timeout: Duration,
    ) -> Result<RequestBuilder, WebFault> {
        let url = match self.hosts.get(&address.host().to_ascii_lowercase()) {
            // The address's own path and authority, elsewhere.
            Some(base) => base.join(address.path()).map_err(|_| WebFault::NotSent)?,
            None => Url::parse(&address.to_string()).map_err(|_| WebFault::NotSent)?,
        };
        Ok(self.client.request(method, url).timeout(timeout).header(HOST, address.authority()))
    }

    /// Sends it, and reads at most so many bytes of the answer.
    pub(crate) async fn send(&self, request: RequestBuilder, most: usize) -> Result<Reply, WebFault> {
        let mut answer = request.send().await.map_err(|_| WebFault::NoAnswer)?;
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| WebFault::NoAnswer)? {
            if body.len().saturating_add(chunk.len()) > most {
                return Err(WebFault::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, retry_after, body })
    }
}
