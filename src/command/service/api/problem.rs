//! Why a request was not done, as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::documents::{Mistake, Problem};
use crate::service::callers::Denial;
use crate::service::signing::KeyFault;
use crate::service::store::{ChangeFault, MOST_HELD};

/// A problem on its way out.
#[derive(Debug)]
pub(crate) struct Refused(Box<Answer>);

#[derive(Debug)]
struct Answer {
    problem: Problem,
    challenge: Option<String>,
    retry_after: Option<String>,
}

impl Refused {
    /// A problem by its status, its word and its sentence.
    pub(crate) fn new(status: StatusCode, reason: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: format!("urn:entra-gate:problem:{reason}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            reason: reason.to_owned(),
            mistakes: Vec::new(),
        };
        Self(Box::new(Answer { problem, challenge: None, retry_after: None }))
    }

    /// A request that does not say what it must.
    pub(crate) fn mistaken(mistakes: Vec<Mistake>) -> Self {
        let mut refused =
            Self::new(StatusCode::BAD_REQUEST, "request_invalid", "Nothing was done. Each mistake is listed.");
        refused.0.problem.mistakes = mistakes;
        refused
    }

    /// The service itself lacks something. What, the log says.
    pub(crate) fn unavailable(detail: &str) -> Self {
        let mut refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        refused.0.retry_after = Some("1".to_owned());
        refused
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Answer { problem, challenge, retry_after } = *self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let more = [(header::WWW_AUTHENTICATE, challenge), (header::RETRY_AFTER, retry_after)];
        for (name, value) in more {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        let status = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::UNAUTHORIZED);
        let mut refused = Self::new(status, &denial.reason, denial.detail);
        (refused.0.challenge, refused.0.retry_after) = (denial.challenge, denial.retry_after);
        refused
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        error!(%error, "the database failed");
        Self::unavailable("The database failed. Whether the change was made is not known: ask again.")
    }
}

impl From<ChangeFault> for Refused {
    fn from(fault: ChangeFault) -> Self {
        match fault {
            ChangeFault::Database(error) => error.into(),
            ChangeFault::Full => {
                let detail = format!("There are {MOST_HELD} revocations, and gates take no more. Nothing was done.");
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "too_many_revocations", detail)
            }
        }
    }
}

impl From<KeyFault> for Refused {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::Signs => Self::new(StatusCode::CONFLICT, "key_signs", fault.to_string()),
            KeyFault::TooMany => Self::new(StatusCode::CONFLICT, "too_many_keys", fault.to_string()),
            KeyFault::Unknown => Self::new(StatusCode::NOT_FOUND, "key_unknown", fault.to_string()),
            KeyFault::Database(error) => error.into(),
            KeyFault::File(..) | KeyFault::NotAKey(_) | KeyFault::NotMade | KeyFault::Open(_) | KeyFault::Sealed => {
                error!(%fault, "the signing keys failed");
                Self::unavailable("The signing keys cannot be used now.")
            }
        }
    }
}
