//! The feed, its pages, and the keys that verify it: for gates, without a credential. What they say is signed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::extract::Asked;
use super::problem::Refused;
use super::{Problems, Service};
use crate::service::feed::{Answer, FeedFault, Question};

/// Longest time that an answer waits for news, in seconds.
const MOST_WAIT: u64 = 30;

/// What a gate knows.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// The `seq` of the last document that was taken; absent or 0: none
    since: Option<u64>,
    /// Seconds that the answer may wait for news; more than 30 are 30
    wait: Option<u64>,
}

/// What is revoked: a snapshot, or what changed since
#[utoipa::path(get, path = "/v1/feed", tag = "feed", operation_id = "feed",
    params(Since, ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the last document")),
    responses(
        (status = 200, description = "A compact JWS of type revocations+jwt", body = String, content_type = "application/revocations+jwt"),
        (status = 304, description = "Nothing is new"), Problems))]
pub(super) async fn feed(
    State(service): State<Arc<Service>>,
    Asked(Since { since, wait }): Asked<Since>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let question = Question {
        since: since.unwrap_or(0),
        known: known.unwrap_or_default().to_owned(),
        wait: Duration::from_secs(wait.unwrap_or(0).min(MOST_WAIT)),
    };
    let answer = service.feed.answer(&question, &service.store).await?;
    service.metrics.feed_answered(&answer);
    let (tag, mut response) = match answer {
        Answer::Document(document) => {
            let media_type = [(header::CONTENT_TYPE, "application/revocations+jwt")];
            (document.tag, (media_type, document.body).into_response())
        }
        Answer::NotModified(tag) => (tag, StatusCode::NOT_MODIFIED.into_response()),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A page that a packed snapshot names
#[utoipa::path(get, path = "/v1/feed/pages/{name}", tag = "feed", operation_id = "page",
    params(("name" = String, Path, description = "The page's SHA-256, base64url")),
    responses(
        (status = 200, description = "Records of 16 bytes", body = [u8], content_type = "application/octet-stream"),
        (status = 404, description = "No snapshot of late names this page", body = crate::documents::Problem, content_type = "application/problem+json"),
        Problems))]
pub(super) async fn page(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Result<Response, Refused> {
    let gone =
        || Refused::new(StatusCode::NOT_FOUND, "page_unknown", "Ask for the feed again: its pages have changed.");
    let body = service.feed.page(&name, &service.store).await?.ok_or_else(gone)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        // A page's name is its digest.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, body).into_response())
}

/// The public keys of the feed, as the filter's `feed.keys` takes them
#[utoipa::path(get, path = "/v1/keys", tag = "feed", operation_id = "keys",
    responses((status = 200, description = "A JWK set (RFC 7517)", body = Object, content_type = "application/jwk-set+json"), Problems))]
pub(super) async fn keys(State(service): State<Arc<Service>>) -> Response {
    let keys: Json<Value> = Json(service.keys.ring().published());
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, keys).into_response()
}

impl From<FeedFault> for Refused {
    fn from(fault: FeedFault) -> Self {
        match fault {
            FeedFault::Database(error) => error.into(),
            FeedFault::Keys(fault) => fault.into(),
            FeedFault::Stopped => Self::unavailable("The document was not finished."),
        }
    }
}
