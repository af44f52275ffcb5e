//! Answers that are no judgements: documents and errors that scripts of any origin may read, without credentials (Fetch
//! standard, CORS protocol), and the answers to their preflights.

use serde_json::json;

use super::{Answer, plain};

/// How long a document may be kept by whoever fetches it, in seconds.
const MAX_AGE: u32 = 3_600;
/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_MAX_AGE: u32 = 86_400;
/// The wildcard stands for every header but `authorization`, which has to be named.
const ALLOWED_HEADERS: &str = "*, authorization";
const DOCUMENT_METHODS: &str = "GET, HEAD, OPTIONS";

/// The answer to a request for a public document, JSON, by its method.
#[must_use]
pub fn document(method: &str, document: &str) -> Answer {
    match method {
        "GET" | "HEAD" => {
            let headers = vec![
                ("content-type", "application/json".to_owned()),
                ("cache-control", format!("public, max-age={MAX_AGE}")),
            ];
            open(Answer { status: 200, headers, body: document.to_owned() })
        }
        _ => other_method(method, DOCUMENT_METHODS),
    }
}

/// The answer to a method that the address itself does not know: to a preflight, or that there is no such method.
#[must_use]
pub fn other_method(method: &str, methods: &'static str) -> Answer {
    let (status, headers) = if method == "OPTIONS" {
        let headers = vec![
            ("access-control-allow-methods", methods.to_owned()),
            ("access-control-allow-headers", ALLOWED_HEADERS.to_owned()),
            ("access-control-max-age", PREFLIGHT_MAX_AGE.to_string()),
        ];
        (204, headers)
    } else {
        (405, vec![("allow", methods.to_owned())])
    };
    open(Answer { status, headers, body: String::new() })
}

/// An error of an OAuth endpoint (RFC 6749 section 5.2, RFC 7591 section 3.2.2).
#[must_use]
pub fn error(status: u16, error: &str, description: &str) -> Answer {
    let body = json!({"error": error, "error_description": plain(description)}).to_string();
    let headers = vec![("content-type", "application/json".to_owned())];
    open(private(Answer { status, headers, body }))
}

/// An answer that nobody may keep (RFC 6749 section 5.1).
#[must_use]
pub fn private(mut answer: Answer) -> Answer {
    answer.headers.extend([("cache-control", "no-store".to_owned()), ("pragma", "no-cache".to_owned())]);
    answer
}

/// An answer that scripts of any origin may read, with its headers.
#[must_use]
pub fn open(mut answer: Answer) -> Answer {
    let any = ["access-control-allow-origin", "access-control-expose-headers"].map(|name| (name, "*".to_owned()));
    answer.headers.extend(any);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::header;

    #[test]
    fn a_document_may_be_read_and_kept_by_all() {
        for method in ["GET", "HEAD"] {
            let answer = document(method, "{}");
            assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
            assert_eq!(header(&answer, "content-type").as_deref(), Some("application/json"));
            assert_eq!(header(&answer, "cache-control").as_deref(), Some("public, max-age=3600"));
            assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("*"));
        }
    }

    #[test]
    fn preflights_are_answered_and_other_methods_are_not_allowed() {
        let preflight = document("OPTIONS", "{}");
        assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
        assert_eq!(header(&preflight, "access-control-allow-headers").as_deref(), Some("*, authorization"));
        assert_eq!(header(&preflight, "access-control-allow-methods").as_deref(), Some("GET, HEAD, OPTIONS"));
        for method in ["POST", "DELETE", "get", ""] {
            let refused = document(method, "{}");
            assert_eq!((refused.status, refused.body.as_str()), (405, ""), "{method}");
            assert_eq!(header(&refused, "allow").as_deref(), Some("GET, HEAD, OPTIONS"));
        }
    }

    #[test]
    fn an_error_is_kept_by_nobody_and_never_with_credentials() {
        let answer = error(400, "invalid_request", "No \"grant_type\".");
        assert_eq!(answer.body, r#"{"error":"invalid_request","error_description":"No 'grant_type'."}"#);
        assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
        assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("*"));
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
    }
}
