//! The HTTP API and its OpenAPI description, which are made from the same lines.

mod about;
mod extract;
mod feed;
mod keys;
mod problem;
mod revocations;
mod sources;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tracing::{Instrument as _, debug, info, info_span, warn};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::problem::Refused;
use super::callers::{Callers, Scope};
use super::clock;
use super::feed::Publisher;
use super::metrics::Metrics;
use super::signing::Keys;
use super::sources::Sources;
use super::standing::Lifetimes;
use super::store::{Stamp, Store};
use crate::documents::{Actor, Problem};

/// Largest body, in bytes. The largest document with every member at its limit takes some 3 KiB.
const MOST_BODY: usize = 16 * 1024;
/// How long an operation may take. The feed has its own time.
const PATIENCE: Duration = Duration::from_secs(15);

/// All that the handlers use.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) feed: Publisher,
    pub(crate) keys: Arc<Keys>,
    pub(crate) callers: Callers,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) metrics: Metrics,
    pub(crate) sources: Sources,
}

impl Service {
    /// Lets everybody know of changes: those who wait for the feed, and those who judge callers.
    pub(crate) async fn notice(&self) {
        // Another instance may have rotated them.
        if self.store.is_shared()
            && let Err(fault) = self.keys.reload(&self.store).await
        {
            warn!(%fault, "the signing keys were not read");
        }
        if let Err(error) = self.callers.follow(&self.store).await {
            warn!(%error, "the database was not read");
        }
        self.feed.notice(&self.store).await;
    }
}

/// Who asks, and by which request.
#[derive(Clone, Debug)]
struct Caller {
    actor: Actor,
    request: RequestId,
}

/// The `x-request-id`: the caller's if it is plain, else made here.
#[derive(Clone, Debug)]
struct RequestId(String);

impl Caller {
    fn stamp(&self) -> Stamp {
        Stamp { at: clock::millis(), by: self.actor.clone(), request_id: self.request.0.clone() }
    }
}

/// The problems that any operation may have.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers, and never is one")]
enum Problems {
    /// The request is wrong; every mistake is listed
    #[response(status = 400, content_type = "application/problem+json")]
    Mistaken(Problem),
    /// There is no credential, or it is not good
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The token has none of the roles
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is no JSON
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
    /// The service lacks something now
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "entra-gate revocations",
    description = "Who is revoked, and the feed that tells gates of it.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Description;

/// What listens where.
pub(crate) enum Routers {
    /// The API, and what gates ask, apart.
    Apart {
        /// For people.
        api: Router,
        /// For gates.
        feed: Router,
    },
    /// Both.
    Together(Router),
}

/// Where gates ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gates {
    /// At an address of their own.
    Apart,
    /// Where people do.
    WithApi,
}

/// The routers over one service.
pub(crate) fn routers(service: &Arc<Service>, gates: Gates) -> Routers {
    let (operations, feed, mut description) = operations(service);
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token, or the bootstrap key"));
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    let description = Arc::new(description);
    let described = Router::new().route("/openapi.json", get(move || about::description(description)));
    let api = operations.merge(described);
    match gates {
        Gates::Apart => Routers::Apart { api: finish(api, service), feed: finish(feed, service) },
        Gates::WithApi => Routers::Together(finish(api.merge(feed), service)),
    }
}

fn operations(service: &Arc<Service>) -> (Router, Router, OpenApi) {
    let read = OpenApiRouter::new().routes(routes!(revocations::list)).routes(routes!(revocations::history));
    let read = read.routes(routes!(sources::list));
    let manage = OpenApiRouter::new().routes(routes!(revocations::revoke)).routes(routes!(revocations::lift));
    let keys = OpenApiRouter::new().routes(routes!(keys::list, keys::rotate)).routes(routes!(keys::retire));
    let about = OpenApiRouter::new().routes(routes!(about::health)).routes(routes!(about::metrics));
    let signals = OpenApiRouter::new().routes(routes!(sources::push)).routes(routes!(sources::logout));
    let gates =
        OpenApiRouter::new().routes(routes!(feed::feed)).routes(routes!(feed::page)).routes(routes!(feed::keys));
    let api = OpenApiRouter::with_openapi(Description::openapi())
        .merge(guarded(read, Scope::Read, service))
        .merge(guarded(manage, Scope::Manage, service))
        .merge(guarded(keys, Scope::Keys, service))
        .merge(about)
        .merge(signals)
        .layer(middleware::from_fn(in_time));
    let (api, mut description) = api.with_state(Arc::clone(service)).split_for_parts();
    let (gates, gates_description) = gates.with_state(Arc::clone(service)).split_for_parts();
    description.merge(gates_description);
    (api, gates, description)
}

/// Only those who may, and each request with who it is.
fn guarded(router: OpenApiRouter<Arc<Service>>, scope: Scope, service: &Arc<Service>) -> OpenApiRouter<Arc<Service>> {
    let service = Arc::clone(service);
    router.route_layer(middleware::from_fn(
        move |Extension(id): Extension<RequestId>, mut request: Request, next: Next| {
            let service = Arc::clone(&service);
            async move {
                let values: Vec<Vec<u8>> = request
                    .headers()
                    .get_all(header::AUTHORIZATION)
                    .iter()
                    .map(|value| value.as_bytes().to_vec())
                    .collect();
                let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
                let actor = service.callers.admit(scope, &values).await?;
                request.extensions_mut().insert(Caller { actor, request: id });
                Ok::<Response, Refused>(next.run(request).await)
            }
        },
    ))
}

/// What holds for every request.
fn finish(router: Router, service: &Arc<Service>) -> Router {
    router
        .fallback(|| async { Refused::new(StatusCode::NOT_FOUND, "not_found", "There is no such address.") })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This address knows other methods.")
        })
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(service), told))
}

/// Every request is counted and logged once, by its route; never its query, its headers or its body.
async fn told(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    let started = Instant::now();
    let sent = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain =
        |id: &&str| id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let id = sent.filter(|id| !id.is_empty()).filter(plain).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "-".to_owned());
    let method = request.method().clone();
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = info_span!("request", id);
    let mut response = next.run(request).instrument(span).await;
    let status = response.status().as_u16();
    service.metrics.answered(&route, status);
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if service.is_busy_work(&route, status) {
        debug!(%method, route, status, milliseconds, id, "answered");
    } else {
        info!(%method, route, status, milliseconds, id, "answered");
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Service {
    /// What machines ask all the time, and get.
    fn is_busy_work(&self, route: &str, status: u16) -> bool {
        status < 400 && ["/v1/feed", "/v1/feed/pages/{name}", "/healthz", "/metrics"].contains(&route)
    }
}

/// An operation that takes too long is answered; a change that has begun goes on by itself.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused::unavailable("This takes too long. Whether a change was made is not known: ask again.")
            .into_response(),
    }
}
