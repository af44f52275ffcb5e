//! The control API under `/_mock/`: a thin JSON skin over the state.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::changes::DirectoryChange;
use crate::faults::FaultRule;
use crate::graph::GraphKnobs;
use crate::inquiry::{ListRequest, Told};
use crate::publication::{KeyChange, NothingLeft};
use crate::server::{Shared, now};
use crate::signals::{Push, SetRequest};
use crate::token::TokenRequest;

type Shell = State<Arc<Shared>>;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_mock/directory", post(change_directory))
        .route("/_mock/faults", post(add_fault).delete(clear_faults))
        .route("/_mock/graph", get(graph).post(turn_graph))
        .route("/_mock/introspection", post(tell))
        .route("/_mock/health", get(async || answer(StatusCode::OK, &json!({"status": "ok"}))))
        .route("/_mock/keys", get(keys).post(change_keys))
        .route("/_mock/logout", post(logout))
        .route("/_mock/requests", get(requests).delete(reset_requests))
        .route("/_mock/status_lists", post(list))
        .route("/_mock/signals", get(stream).post(signal))
        .route("/_mock/token", post(mint))
        .route("/_mock/{*other}", any(no_such_control))
}

async fn mint(State(state): Shell, body: Bytes) -> Response {
    let request: TokenRequest = match read(&body) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let minted = state.directory().mint(&request, now());
    match minted {
        Ok(minted) => answer(StatusCode::OK, &json!(minted)),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn add_fault(State(state): Shell, body: Bytes) -> Response {
    match read::<FaultRule>(&body) {
        Ok(rule) => {
            state.faults().add(rule);
            answer(StatusCode::OK, &json!({}))
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn clear_faults(State(state): Shell) -> Response {
    state.faults().clear();
    answer(StatusCode::OK, &json!({}))
}

async fn change_directory(State(state): Shell, body: Bytes) -> Response {
    match read::<DirectoryChange>(&body) {
        Ok(change) => {
            state.directory().change_directory(&change);
            answer(StatusCode::OK, &json!({}))
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn signal(State(state): Shell, body: Bytes) -> Response {
    let request: SetRequest = match read(&body) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let set = match state.directory().set(&request, now()) {
        Ok(set) => set,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if request.hold.unwrap_or(request.push.is_none()) {
        state.directory().hold(&set);
    }
    let mut told = json!({"set": set.access_token, "jti": set.claims["jti"]});
    if let Some(push) = &request.push {
        match pushed(push, &set.access_token).await {
            Ok((status, answer)) => (told["status"], told["answer"]) = (json!(status), json!(answer)),
            Err(error) => return refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
        }
    }
    answer(StatusCode::OK, &told)
}

/// Sends a SET (RFC 8935 section 2.1); status and body of the answer.
async fn pushed(push: &Push, set: &str) -> std::io::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rest = push.url.strip_prefix("http://").unwrap_or(&push.url);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authorization =
        push.authorization.as_ref().map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nAccept: application/json\r\n\
         Content-Type: application/secevent+jwt\r\n{authorization}Content-Length: {}\r\n\r\n{set}",
        set.len(),
    );
    let mut stream = tokio::net::TcpStream::connect(authority).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status, body.unwrap_or_default()))
}

async fn stream(State(state): Shell) -> Response {
    answer(StatusCode::OK, &state.directory().stream())
}

async fn logout(State(state): Shell, body: Bytes) -> Response {
    let changes: TokenRequest = match read(&body) {
        Ok(changes) => changes,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let minted = state.directory().logout_token(&changes, now());
    match minted {
        Ok(minted) => answer(StatusCode::OK, &json!({"logout_token": minted.access_token})),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn graph(State(state): Shell) -> Response {
    answer(StatusCode::OK, &state.directory().graph_objects())
}

async fn turn_graph(State(state): Shell, body: Bytes) -> Response {
    match read::<GraphKnobs>(&body) {
        Ok(knobs) => {
            state.directory().turn_graph(knobs);
            answer(StatusCode::OK, &json!({}))
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn tell(State(state): Shell, body: Bytes) -> Response {
    match read::<Told>(&body) {
        Ok(told) => {
            state.directory().tell(told);
            answer(StatusCode::OK, &json!({}))
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn list(State(state): Shell, body: Bytes) -> Response {
    match read::<ListRequest>(&body) {
        Ok(list) => {
            state.directory().list(list);
            answer(StatusCode::OK, &json!({}))
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn keys(State(state): Shell) -> Response {
    answer(StatusCode::OK, &state.directory().published_keys())
}

async fn change_keys(State(state): Shell, body: Bytes) -> Response {
    let change: KeyChange = match read(&body) {
        Ok(change) => change,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let mut directory = state.directory();
    match directory.change_keys(&change) {
        Ok(()) => answer(StatusCode::OK, &directory.published_keys()),
        Err(error @ NothingLeft::UnknownKey(_)) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error @ (NothingLeft::NoMoreSuccessors | NothingLeft::NoSuccessor)) => {
            refuse(StatusCode::CONFLICT, &error.to_string())
        }
    }
}

async fn requests(State(state): Shell) -> Response {
    let requests = state.requests();
    answer(StatusCode::OK, &json!({"requests": requests.counts(), "total": requests.total()}))
}

async fn reset_requests(State(state): Shell) -> Response {
    state.requests().reset();
    answer(StatusCode::OK, &json!({}))
}

async fn no_such_control() -> Response {
    refuse(StatusCode::NOT_FOUND, "no such control; see the README")
}

/// Reads JSON whatever the content type says, so that a bare `curl -d` works. No body means no members.
fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(if body.is_empty() { b"{}" } else { body })
}

fn refuse(status: StatusCode, error: &str) -> Response {
    answer(status, &json!({"error": error}))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
