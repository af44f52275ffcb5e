//! The signing keys: seen, rotated and retired. Private keys never leave their files.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use tokio::task::spawn_blocking;

use super::extract::Document;
use super::problem::Refused;
use super::{Caller, Problems, Service};
use crate::documents::{Action, Mistake, Problem, RetireRequest, RotateRequest, SigningKey, SigningKeys};
use crate::service::signing::Made;
use crate::service::store::Line;
use crate::service::{asked, clock};

/// In which every Envoy can be told of a new key.
const A_DAY: u64 = 86_400;
/// Longest time until a key signs, in seconds.
const A_YEAR: u64 = 31_536_000;

/// The signing keys, in the order in which they sign
#[utoipa::path(get, path = "/v1/signing-keys", tag = "signing keys", operation_id = "list_keys", security(("bearer" = [])),
    responses((status = 200, body = SigningKeys), Problems))]
pub(super) async fn list(State(service): State<Arc<Service>>) -> Json<SigningKeys> {
    Json(SigningKeys { keys: service.keys.ring().states(clock::seconds()) })
}

/// Makes a key, publishes it at once, and signs with it later
#[utoipa::path(post, path = "/v1/signing-keys", tag = "signing keys", operation_id = "rotate", security(("bearer" = [])),
    request_body = RotateRequest, responses((status = 200, body = SigningKey),
    (status = 409, description = "There are too many keys", body = Problem, content_type = "application/problem+json"), Problems))]
pub(super) async fn rotate(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Document(request): Document<RotateRequest>,
) -> Result<Json<SigningKey>, Refused> {
    let reason = asked::only_reason(&request.reason).map_err(Refused::mistaken)?;
    let signs_in = request.signs_in.unwrap_or(A_DAY);
    if signs_in > A_YEAR {
        let found = signs_in.to_string();
        let mistake = Mistake::new("signs_in", &found, &format!("at most {A_YEAR} seconds"));
        return Err(Refused::mistaken(vec![mistake]));
    }
    service.keys.ring().may_add()?;
    let made = spawn_blocking(Made::new).await.map_err(|_| Refused::unavailable("The key was not finished."))??;
    let kid = made.kid();
    let line = Line { key: Some(&kid), ..Line::new(Action::KeyAdd, &reason) };
    let now = clock::seconds();
    let times = (now, now.saturating_add(signs_in));
    Ok(Json(service.keys.add(made, times, &line, &caller.stamp(), &service.store).await?))
}

/// Takes a key that does not sign out of the published set, for good
#[utoipa::path(delete, path = "/v1/signing-keys/{kid}", tag = "signing keys", operation_id = "retire", security(("bearer" = [])),
    params(("kid" = String, Path, description = "The key")), request_body = RetireRequest,
    responses((status = 200, body = SigningKeys),
    (status = 404, description = "There is no such key", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The key signs", body = Problem, content_type = "application/problem+json"), Problems))]
pub(super) async fn retire(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Path(kid): Path<String>,
    Document(request): Document<RetireRequest>,
) -> Result<Json<SigningKeys>, Refused> {
    let reason = asked::only_reason(&request.reason).map_err(Refused::mistaken)?;
    let line = Line { key: Some(&kid), ..Line::new(Action::KeyRetire, &reason) };
    let keys = service.keys.retire(&kid, clock::seconds(), &line, &caller.stamp(), &service.store).await?;
    Ok(Json(SigningKeys { keys }))
}
