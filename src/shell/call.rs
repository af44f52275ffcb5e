//! Calls to others, by the root context: how they leave, and how their answers are read.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};

/// What is sent.
pub(super) struct Request<'a> {
    pub(super) cluster: &'a str,
    pub(super) timeout: Duration,
    pub(super) method: &'a str,
    pub(super) authority: &'a str,
    pub(super) path: &'a str,
    /// Beside those that all calls have.
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: Option<&'a [u8]>,
}

impl Request<'_> {
    /// Its number, by which its answer is known; none if the cluster takes no calls.
    pub(super) fn send(self) -> Option<u32> {
        let Self { cluster, timeout, method, authority, path, headers, body } = self;
        let mut all = vec![
            (":method", method),
            (":scheme", "https"),
            (":authority", authority),
            (":path", path),
            ("user-agent", concat!("entra-gate/", env!("CARGO_PKG_VERSION"))),
        ];
        all.extend(headers);
        hostcalls::dispatch_http_call(cluster, all, body, vec![], timeout).ok()
    }
}

/// What a call brought, as long as its callback lasts.
pub(super) struct Response {
    /// 0 if it is none.
    pub(super) status: u16,
    body_size: usize,
}

impl Response {
    /// None if nobody answered: a reset has no headers. A timeout has a made-up 504.
    pub(super) fn arrived(headers: usize, body_size: usize) -> Option<Self> {
        if headers == 0 {
            return None;
        }
        let mut response = Self { status: 0, body_size };
        response.status = response.number(":status").and_then(|status| status.try_into().ok()).unwrap_or_default();
        Some(response)
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        let value = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, name).ok().flatten()?;
        String::from_utf8(value).ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// The body, or its beginning.
    pub(super) fn body(&self, most: usize) -> Vec<u8> {
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, self.body_size.min(most));
        body.ok().flatten().unwrap_or_default()
    }
}
