//! The sources: how they are, and what is sent to them. Events and logout tokens prove themselves; no caller's credential is
//! asked for.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::problem::Refused;
use super::{Problems, Service};
use crate::documents::{Problem, SetError, SourceStates};
use crate::service::clock;
use crate::service::sources::{self, Receipt};

/// How the sources are
#[utoipa::path(get, path = "/v1/sources", tag = "sources", operation_id = "sources", security(("bearer" = [])),
    responses((status = 200, body = SourceStates), Problems))]
pub(super) async fn list(State(service): State<Arc<Service>>) -> Json<SourceStates> {
    Json(SourceStates { sources: service.sources.states(clock::seconds()) })
}

/// Takes a security event token of a Shared Signals transmitter (RFC 8935). The answer comes when it is on disk
#[utoipa::path(post, path = "/v1/sources/{source}/events", tag = "signals", operation_id = "push_event",
    params(("source" = String, Path, description = "The source's name"),
        ("Authorization" = String, Header, description = "What was agreed upon for the stream")),
    request_body(content = String, content_type = "application/secevent+jwt"),
    responses((status = 202, description = "It was taken, now or before"),
        (status = 400, description = "It is not acceptable", body = SetError, content_type = "application/json"),
        (status = 404, description = "There is no such source", body = Problem, content_type = "application/problem+json"),
        Problems))]
pub(super) async fn push(
    State(service): State<Arc<Service>>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let authorization: Vec<Vec<u8>> =
        headers.get_all(header::AUTHORIZATION).iter().map(|value| value.as_bytes().to_vec()).collect();
    let is_set = media_type(&headers).eq_ignore_ascii_case("application/secevent+jwt");
    // In a task of its own: a transmitter that hangs up must not leave an event half taken.
    let task = tokio::spawn(async move {
        let values: Vec<&[u8]> = authorization.iter().map(Vec::as_slice).collect();
        // What is of another kind, or too large to be one, is no SET.
        let body = body.ok().filter(|_| is_set).unwrap_or_default();
        let set = std::str::from_utf8(body.trim_ascii()).unwrap_or_default();
        sources::pushed(&service, &source, &values, set).await
    });
    match task.await.unwrap_or(Receipt::Unavailable) {
        Receipt::Taken => Ok(StatusCode::ACCEPTED.into_response()),
        Receipt::Refused(err, description) => {
            let error = SetError { err: err.to_owned(), description };
            let mut response = (StatusCode::BAD_REQUEST, Json(error)).into_response();
            response.headers_mut().insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"));
            Ok(response)
        }
        Receipt::Unavailable => Err(Refused::unavailable("The event could not be judged or kept now. Send it again.")),
        Receipt::Unknown => Err(unknown()),
    }
}

/// Takes a logout token (OpenID Connect Back-Channel Logout 1.0). The answer comes when it is on disk
#[utoipa::path(post, path = "/v1/sources/{source}/logout", tag = "signals", operation_id = "logout",
    params(("source" = String, Path, description = "The source's name")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "logout_token"),
    responses((status = 200, description = "It was taken, now or before"),
        (status = 400, description = "It is not acceptable", body = Object, content_type = "application/json"),
        (status = 404, description = "There is no such source", body = Problem, content_type = "application/problem+json"),
        Problems))]
pub(super) async fn logout(
    State(service): State<Arc<Service>>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let is_form = media_type(&headers).eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let task = tokio::spawn(async move {
        let body = body.ok().filter(|_| is_form).unwrap_or_default();
        let mut tokens = form_urlencoded::parse(&body).filter(|(name, _)| name == "logout_token");
        let token = match (tokens.next(), tokens.next()) {
            (Some((_, token)), None) => token.into_owned(),
            // No token, or more than one: none that could be good.
            _ => String::new(),
        };
        sources::logged_out(&service, &source, &token).await
    });
    match task.await.unwrap_or(Receipt::Unavailable) {
        Receipt::Taken => Ok(StatusCode::OK.into_response()),
        Receipt::Refused(error, description) => {
            let error = json!({"error": error, "error_description": description});
            Ok((StatusCode::BAD_REQUEST, Json(error)).into_response())
        }
        Receipt::Unavailable => Err(Refused::unavailable("The logout could not be judged or kept now. Send it again.")),
        Receipt::Unknown => Err(unknown()),
    }
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn unknown() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "source_unknown", "There is no source of that name that takes this.")
}
