//! An upstream that says what it was sent.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::server::{Listener, MAX_BODY_BYTES};

/// A running upstream; it stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    listener: Listener,
    count: Arc<AtomicU64>,
}

impl Upstream {
    /// Serves on `addr`; port 0 picks a free one.
    pub async fn start(addr: SocketAddr) -> io::Result<Self> {
        let count = Arc::new(AtomicU64::new(0));
        let router = Router::new()
            .route("/_upstream/count", get(read_count).delete(reset_count))
            .fallback(echo)
            .with_state(Arc::clone(&count));
        Ok(Self { listener: Listener::start(addr, router).await?, count })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr
    }

    /// How many requests it has echoed.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

async fn echo(State(count): State<Arc<AtomicU64>>, request: Request<Body>) -> Response {
    count.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return json_response(StatusCode::PAYLOAD_TOO_LARGE, &json!({"error": "the body was cut off or is too large"}));
    };
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &parts.headers {
        headers.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let status = parts.headers.get("x-echo-status").and_then(|value| StatusCode::from_bytes(value.as_bytes()).ok());
    let seen = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        "headers": headers,
        "body_bytes": body.len(),
    });
    json_response(status.unwrap_or(StatusCode::OK), &seen)
}

async fn read_count(State(count): State<Arc<AtomicU64>>) -> Response {
    json_response(StatusCode::OK, &json!({"count": count.load(Ordering::SeqCst)}))
}

async fn reset_count(State(count): State<Arc<AtomicU64>>) -> Response {
    count.store(0, Ordering::SeqCst);
    json_response(StatusCode::OK, &json!({"count": 0}))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
