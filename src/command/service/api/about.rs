//! What the service says of itself: its description, whether it works, what it counts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;

use super::problem::Refused;
use super::{Problems, Service};
use crate::service::clock;

/// Whether the database can be read
#[utoipa::path(get, path = "/healthz", tag = "service", operation_id = "health",
    responses((status = 200, description = "It can", body = String, content_type = "text/plain"), Problems))]
pub(super) async fn health(State(service): State<Arc<Service>>) -> Result<&'static str, Refused> {
    service.store.head().await?;
    Ok("ok\n")
}

/// What is counted, as OpenMetrics text
#[utoipa::path(get, path = "/metrics", tag = "service", operation_id = "metrics",
    responses((status = 200, description = "OpenMetrics 1.0", body = String, content_type = "application/openmetrics-text"), Problems))]
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Result<Response, Refused> {
    service.metrics.held(service.feed.head().sequence, service.store.count().await?);
    service.metrics.sources(&service.sources.states(clock::seconds()));
    let text = service.metrics.text().ok_or_else(|| Refused::unavailable("The metrics cannot be written."))?;
    let media_type = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((media_type, text).into_response())
}

/// The description, which every operation is a part of.
pub(super) async fn description(api: Arc<OpenApi>) -> Response {
    Json(api.as_ref()).into_response()
}
