//! Revoking, lifting, and seeing what holds and what was done.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::Service;
use super::extract::{Asked, Document};
use super::problem::Refused;
use super::{Caller, Problems};
use crate::documents::{EventPage, LiftRequest, Mistake, Outcome, Problem, RevocationPage, RevokeRequest, Selection};
use crate::service::standing::{Time, Wish};
use crate::service::store::{Change, ChangeFault, Filter};
use crate::service::{asked, clock};

/// Revokes somebody's tokens. The answer comes when it is on disk; asking again is no mistake
#[utoipa::path(post, path = "/v1/revocations", tag = "revocations", operation_id = "revoke", security(("bearer" = [])),
    request_body = RevokeRequest, responses((status = 200, body = Outcome),
    (status = 507, description = "There is no room for another revocation", body = Problem, content_type = "application/problem+json"), Problems))]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Document(request): Document<RevokeRequest>,
) -> Result<Json<Outcome>, Refused> {
    let now = clock::seconds();
    let oldest = service.lifetimes.oldest(now);
    let asked::Asked { subject, wish, reason } = asked::revocation(&request, now, oldest).map_err(Refused::mistaken)?;
    change(&service, &caller, Change { subject, wish, reason }).await
}

/// Ends a block: tokens that are issued from now on are good again, older ones stay revoked
#[utoipa::path(post, path = "/v1/revocations/lift", tag = "revocations", operation_id = "lift", security(("bearer" = [])),
    request_body = LiftRequest, responses((status = 200, body = Outcome),
    (status = 404, description = "Nothing is known of the subject", body = Problem, content_type = "application/problem+json"), Problems))]
pub(super) async fn lift(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Document(request): Document<LiftRequest>,
) -> Result<Json<Outcome>, Refused> {
    let asked::AskedLift { subject, reason } = asked::lift(&request).map_err(Refused::mistaken)?;
    change(&service, &caller, Change { subject, wish: Wish::Lift, reason }).await
}

/// What holds now, the latest changes first
#[utoipa::path(get, path = "/v1/revocations", tag = "revocations", operation_id = "list", security(("bearer" = [])),
    params(Selection), responses((status = 200, body = RevocationPage), Problems))]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Asked(selection): Asked<Selection>,
) -> Result<Json<RevocationPage>, Refused> {
    let (filter, limit) = read(&selection)?;
    let now = Time::try_from(clock::seconds()).unwrap_or(Time::MAX);
    // One more than is asked for tells whether there are more.
    let mut held = service.store.list(&filter, selection.before, now, limit.saturating_add(1)).await?;
    let next = cut(&mut held, limit, |known| known.sequence);
    Ok(Json(RevocationPage { revocations: held.into_iter().map(Into::into).collect(), next }))
}

/// What was asked, by whom and why, the latest first
#[utoipa::path(get, path = "/v1/history", tag = "revocations", operation_id = "history", security(("bearer" = [])),
    params(Selection), responses((status = 200, body = EventPage), Problems))]
pub(super) async fn history(
    State(service): State<Arc<Service>>,
    Asked(selection): Asked<Selection>,
) -> Result<Json<EventPage>, Refused> {
    let (filter, limit) = read(&selection)?;
    let mut events = service.store.history(&filter, selection.before, limit.saturating_add(1)).await?;
    let next = cut(&mut events, limit, |event| event.id);
    Ok(Json(EventPage { events, next }))
}

async fn change(service: &Arc<Service>, caller: &Caller, change: Change) -> Result<Json<Outcome>, Refused> {
    let (service, stamp) = (Arc::clone(service), caller.stamp());
    // In a task of its own: a client that hangs up must not leave a change half told.
    let task = tokio::spawn(async move {
        let started = Instant::now();
        let done = service.store.apply(&[change], &stamp, service.lifetimes).await?;
        service.metrics.changed(started.elapsed().as_secs_f64());
        service.notice().await;
        Ok::<_, ChangeFault>(done)
    });
    let done = task.await.map_err(|_| Refused::unavailable("The change was not finished. Ask again."))??;
    let Some((changed, known)) = done.into_iter().next().and_then(|done| Some((done.changed, done.known?))) else {
        let detail = "Nothing is known of this subject: nothing is revoked there.";
        return Err(Refused::new(StatusCode::NOT_FOUND, "not_revoked", detail));
    };
    Ok(Json(Outcome { changed, revocation: known.into() }))
}

/// The filter and the limit of a selection.
fn read(selection: &Selection) -> Result<(Filter, u32), Refused> {
    const MOST: u32 = 1_000;
    let limit = selection.limit.unwrap_or(100);
    if !(1..=MOST).contains(&limit) {
        let expected = format!("1 to {MOST}");
        return Err(Refused::mistaken(vec![Mistake::new("limit", &limit.to_string(), &expected)]));
    }
    let filter = Filter::of(selection).ok_or_else(|| {
        let found = "members that no subject has together";
        Refused::mistaken(vec![Mistake::new("", found, "those of one subject, or some of them")])
    })?;
    Ok((filter, limit))
}

/// Takes off what is beyond the limit; the number from which the next part goes on, if there was any.
fn cut<T>(all: &mut Vec<T>, limit: u32, number: impl Fn(&T) -> u64) -> Option<u64> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = all.len() > limit;
    all.truncate(limit);
    all.last().filter(|_| more).map(number)
}
