//! Errors shaped as Entra's (RFC 6749 section 5.2; «Microsoft Entra authentication and authorization error codes»).

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// An answer that refuses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The error code of RFC 6749.
    pub error: &'static str,
    /// The number after `AADSTS`.
    pub code: u32,
    /// The sentence after it.
    pub description: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, error: &'static str, code: u32, description: impl Into<String>) -> Self {
        Self { status, error, code, description: description.into() }
    }

    /// What Entra says of a URL whose tenant does not exist.
    pub(crate) fn invalid_tenant() -> Self {
        let description = "Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.";
        Self::new(400, "invalid_tenant", 90002, description)
    }

    /// The JSON body; `now` is in Unix seconds.
    pub fn body(&self, now: i64) -> Value {
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let timestamp = Timestamp::from_second(now).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
                self.code, self.description,
            ),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        })
    }
}
