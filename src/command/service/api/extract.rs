//! What handlers take from a request: strict JSON, queries, and who asks. Whatever is wrong becomes a problem.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use entra_gate::jose::json::{self, JsonFault};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Refused;
use crate::documents::Mistake;

/// A JSON object without duplicate members.
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Document<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            let detail = "Send the document as application/json.";
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type_not_supported", detail));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is over 16 KiB.")
            }
            _ => Refused::new(StatusCode::BAD_REQUEST, "body_incomplete", "The body could not be read."),
        })?;
        let found = |fault| match fault {
            JsonFault::DuplicateMember => "a member that appears twice",
            JsonFault::NotAnObject | JsonFault::Syntax => "a body that is not a JSON object",
        };
        let object = json::object(&body)
            .map_err(|fault| Refused::mistaken(vec![Mistake::new("", found(fault), "a JSON object")]))?;
        let read = serde_json::from_value(Value::Object(object));
        // serde names the member and the type, and at most a short value; bodies hold no credentials.
        read.map(Self).map_err(|error| {
            Refused::mistaken(vec![Mistake::new("", &error.to_string(), "the document of openapi.json")])
        })
    }
}

/// A query whose every member is known.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let Query(query) = Query::from_request_parts(parts, state).await.map_err(|rejection| {
            Refused::mistaken(vec![Mistake::new("", &rejection.body_text(), "the query of openapi.json")])
        })?;
        Ok(Self(query))
    }
}
