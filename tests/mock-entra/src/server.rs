//! The HTTP shell of the mock: a listener, the clock, and faults applied to answers. Decides nothing about tokens.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, ORIGIN, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use futures_util::stream::{self, StreamExt as _};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::control;
use crate::directory::Directory;
use crate::faults::{Fault, Faults};
use crate::graph::{self, GraphAnswer, GraphCall};
use crate::merge::merge;
use crate::question::{Question, Resource, without_port};
use crate::refusal::Refusal;
use crate::request_log::RequestLog;
use crate::signals;

/// Larger forms than any client sends.
pub(crate) const MAX_BODY_BYTES: usize = 8 << 20;
/// Long enough for the first half of a truncated answer to leave before the connection is closed.
const BEFORE_TRUNCATION: Duration = Duration::from_millis(50);

/// A running mock of Entra ID; it stops when dropped.
#[derive(Debug)]
pub struct MockEntra {
    listener: Listener,
    state: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    directory: Mutex<Directory>,
    faults: Mutex<Faults>,
    requests: Mutex<RequestLog>,
}

impl MockEntra {
    /// Serves on `addr`; port 0 picks a free one.
    pub async fn start(addr: SocketAddr) -> io::Result<Self> {
        let state = Arc::new(Shared::default());
        let router = control::routes().fallback(entra).with_state(Arc::clone(&state));
        Ok(Self { listener: Listener::start(addr, router).await?, state })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr
    }

    /// The state that `/_mock/keys` changes and tokens come from. Do not hold it across an await.
    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        self.state.directory()
    }

    /// The state behind `/_mock/faults`. Do not hold it across an await.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.state.faults()
    }

    /// The state behind `/_mock/requests`. Do not hold it across an await.
    pub fn requests(&self) -> MutexGuard<'_, RequestLog> {
        self.state.requests()
    }
}

impl Shared {
    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, RequestLog> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn entra(State(state): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    // HTTP/2 carries the host in :authority.
    let host = match (request.uri().authority(), request.headers().get(HOST)) {
        (Some(authority), _) => authority.as_str().to_owned(),
        (None, header) => header.and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned(),
    };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    state.requests().record(&host, &target);
    let fault = state.faults().take(&host, &target);
    let answer = match fault.as_ref().and_then(|fault| fault.status) {
        // What Graph refuses it has not done.
        Some(status) if graph::is_graph(&host) => graph_response(&graph::refusal(
            status,
            if status == 429 { "TooManyRequests" } else { "ServiceNotAvailable" },
            "Try again later.",
        )),
        _ => answer(&state, &host, &target, request).await,
    };
    match fault {
        None => answer.map(Body::from),
        Some(mut fault) => {
            // Graph has said so in its own way.
            fault.status = fault.status.filter(|_| !graph::is_graph(&host));
            befall(fault, answer).await
        }
    }
}

fn graph_response(answer: &GraphAnswer) -> Response<Bytes> {
    let mut response = json_response(answer.status, &answer.body, "no-cache");
    set(&mut response, HeaderName::from_static("request-id"), &Uuid::new_v4().to_string());
    if answer.body.is_null() {
        *response.body_mut() = Bytes::new();
    }
    response
}

async fn graph(state: &Shared, host: &str, target: &str, request: Request<Body>) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return graph_response(&graph::refusal(400, "BadRequest", "The request body could not be read."));
    };
    let call = GraphCall {
        host: without_port(host),
        method: parts.method.as_str(),
        target,
        authorization: header("authorization"),
        prefer: header("prefer"),
        body: &body,
    };
    graph_response(&state.directory().graph(&call, now()))
}

async fn answer(state: &Shared, host: &str, target: &str, request: Request<Body>) -> Response<Bytes> {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if graph::is_graph(host) && target == "/oidc/userinfo" {
        let (status, body) = state.directory().userinfo(authorization.as_deref(), now());
        return json_response(status, &body, "no-cache");
    }
    if target.split('?').next() == Some("/introspect") {
        let Ok(form) = to_bytes(request.into_body(), MAX_BODY_BYTES).await else {
            return json_response(400, &json!({"error": "invalid_request"}), "no-store");
        };
        let (status, body) = state.directory().introspect(authorization.as_deref(), &form);
        return json_response(status, &body, "no-store");
    }
    let list = state.directory().status_list(host, target, now());
    if let Some(list) = list {
        let mut response = Response::new(Bytes::from(list));
        set(&mut response, CONTENT_TYPE, "application/statuslist+jwt");
        return response;
    }
    if graph::is_graph(host) {
        return graph(state, host, target, request).await;
    }
    if without_port(host) == "idp.example.com" {
        match target {
            "/.well-known/ssf-configuration" => return json_response(200, &signals::metadata(), "max-age=86400"),
            "/ssf/poll" => return poll(state, request).await,
            _ => {}
        }
    }
    let refuse = |refusal: Refusal| json_response(refusal.status, &refusal.body(now()), "no-store, no-cache");
    let Some(question) = Question::of_url(host, target) else {
        return not_found(host, target, refuse);
    };
    match question.resource {
        Resource::Keys | Resource::Metadata => match state.directory().document(host, target) {
            Some(document) => json_response(200, &document, "max-age=86400, private"),
            None => not_found(host, target, refuse),
        },
        Resource::Authorize => match state.directory().authorize(host, target, now()) {
            Ok(location) => redirect(&location).unwrap_or_else(|_| {
                refuse(Refusal::new(400, "invalid_request", 50011, "The redirect URI is not a valid header value."))
            }),
            Err(refusal) => refuse(refusal),
        },
        Resource::Token => {
            let (parts, body) = request.into_parts();
            let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
                return refuse(Refusal::new(400, "invalid_request", 900_144, "The request body could not be read."));
            };
            let origin = parts.headers.get(ORIGIN).and_then(|value| value.to_str().ok());
            match state.directory().token_from(origin, host, target, authorization, &body, now()) {
                Ok(tokens) => json_response(200, &tokens, "no-store, no-cache"),
                Err(refusal) => refuse(refusal),
            }
        }
    }
}

/// RFC 8936: a question that may wait is answered when something waits for it, or after a while.
async fn poll(state: &Shared, request: Request<Body>) -> Response<Bytes> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let (parts, body) = request.into_parts();
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if authorization != Some(signals::AUTHORIZATION) {
        return json_response(401, &json!({"error": "unauthorized"}), "no-store");
    }
    let question = match to_bytes(body, MAX_BODY_BYTES).await.map(|body| serde_json::from_slice::<Value>(&body)) {
        Ok(Ok(question)) => question,
        _ => return json_response(400, &json!({"error": "no JSON"}), "no-store"),
    };
    let asked = tokio::time::Instant::now();
    let mut answer = state.directory().stream.poll(&question);
    if question["returnImmediately"] != true {
        while state.directory().stream.is_empty() && asked.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        answer = state.directory().stream.poll(&json!({"maxEvents": question["maxEvents"]}));
    }
    json_response(200, &answer, "no-store")
}

/// Entra blames the tenant; other hosts know no such page.
fn not_found(host: &str, target: &str, refuse: impl Fn(Refusal) -> Response<Bytes>) -> Response<Bytes> {
    if target.contains("openid-configuration") || target.contains("/oauth2/") {
        return refuse(Refusal::invalid_tenant());
    }
    json_response(404, &json!({"error": "not_found", "host": host, "path": target}), "no-store, no-cache")
}

fn json_response(status: u16, body: &Value, cache_control: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut response, CONTENT_TYPE, "application/json; charset=utf-8");
    set(&mut response, CACHE_CONTROL, cache_control);
    response
}

fn redirect(location: &str) -> Result<Response<Bytes>, axum::http::Error> {
    Response::builder().status(StatusCode::FOUND).header(LOCATION, location).body(Bytes::new())
}

fn set(response: &mut Response<Bytes>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Marks an answer that must never be sent.
#[derive(Clone)]
struct Reset;

async fn befall(fault: Fault, mut answer: Response<Bytes>) -> Response<Body> {
    tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    if fault.reset {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Reset);
        return response;
    }
    if let Some(status) = fault.status {
        let refusal =
            Refusal::new(status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.");
        answer = json_response(status, &refusal.body(now()), "no-store, no-cache");
    }
    if let Some(seconds) = fault.retry_after {
        set(&mut answer, RETRY_AFTER, &seconds.to_string());
    }
    if let Some(body) = fault.body {
        *answer.body_mut() = body.into();
    }
    if let Some(content_type) = &fault.content_type {
        set(&mut answer, CONTENT_TYPE, content_type);
    }
    if let Some(patch) = &fault.json_patch
        && let Ok(mut document) = serde_json::from_slice(answer.body())
    {
        merge(&mut document, patch);
        *answer.body_mut() = document.to_string().into();
    }
    if let Some(size) = fault.oversize_bytes {
        // Spaces keep the JSON valid, so that only its size is wrong.
        let mut body = answer.body().to_vec();
        body.resize(size.max(body.len()), b' ');
        *answer.body_mut() = body.into();
    }
    if fault.truncate { truncated(answer) } else { answer.map(Body::from) }
}

fn truncated(answer: Response<Bytes>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let half = body.slice(..body.len() / 2);
    let sent = stream::once(async { Ok(half) });
    let cut = stream::once(async {
        tokio::time::sleep(BEFORE_TRUNCATION).await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Response::from_parts(parts, Body::from_stream(sent.chain(cut)))
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}

/// A listener whose connections end with it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Listener {
    pub(crate) async fn start(addr: SocketAddr, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Self { addr, accepting: tokio::spawn(accept(listener, router)) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// `axum::serve` cannot close a connection without an answer; hyper does when the service fails.
async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: wait for some to be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let router = router.clone();
            async move {
                let response = router.oneshot(request).await.into_response();
                match response.extensions().get::<Reset>() {
                    Some(Reset) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                    None => Ok(response),
                }
            }
        });
        connections.spawn(async move {
            // A client that goes away is no concern of the mock.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
