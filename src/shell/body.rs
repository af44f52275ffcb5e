//! A request's body, under a cap. Envoy holds it until its end, where it is read once; the plugin needs
//! `allow_on_headers_stop_iteration` for that, for without it no body comes while the headers are held back.

use proxy_wasm::hostcalls;
use proxy_wasm::types::BufferType;

/// A body that is arriving. A session owns it.
pub(super) struct Collector {
    most: usize,
    arrived: usize,
}

/// What there is of a body.
pub(super) enum Body {
    /// More is to come.
    Partial,
    /// More than the cap.
    TooLarge,
    /// All of it.
    Whole(Vec<u8>),
}

impl Collector {
    /// For a body of at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, arrived: 0 }
    }

    /// Takes what `on_http_request_body` tells: the bytes that Envoy holds by now, and whether they are all.
    pub(super) fn data(&mut self, arrived: usize, is_last: bool) -> Body {
        self.arrived = arrived;
        if arrived > self.most {
            Body::TooLarge
        } else if is_last {
            self.end()
        } else {
            Body::Partial
        }
    }

    /// Takes the news that trailers have ended the body.
    pub(super) fn end(&self) -> Body {
        let bytes = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, self.arrived).ok().flatten();
        Body::Whole(bytes.unwrap_or_default())
    }
}
