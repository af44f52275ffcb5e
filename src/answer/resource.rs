//! The answers with the protected resource metadata (RFC 9728 section 3.2). They are public: no token is looked at, and
//! scripts of any origin may read them.

use super::Answer;
use crate::policy::resource::Resource;

/// How long the document may be kept by whoever fetches it, in seconds.
const MAX_AGE: u32 = 3_600;
/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_MAX_AGE: u32 = 86_400;
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The answer to a request for the metadata; none if the request is for something else.
#[must_use]
pub fn metadata(resource: &Resource, method: &str, target: &str) -> Option<Answer> {
    let document = resource.document_at(target)?;
    let mut headers = vec![("access-control-allow-origin", "*".to_owned())];
    let mut add = |name, value: String| headers.push((name, value));
    let (status, body) = match method {
        "GET" | "HEAD" => {
            add("content-type", "application/json".to_owned());
            add("cache-control", format!("public, max-age={MAX_AGE}"));
            (200, document)
        }
        "OPTIONS" => {
            add("access-control-allow-methods", METHODS.to_owned());
            add("access-control-allow-headers", "*".to_owned());
            add("access-control-max-age", PREFLIGHT_MAX_AGE.to_string());
            (204, "")
        }
        _ => {
            add("allow", METHODS.to_owned());
            (405, "")
        }
    };
    Some(Answer { status, headers, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/.well-known/oauth-protected-resource";

    fn answer(method: &str) -> Answer {
        metadata(&Resource::new("", r#"{"resource":"r"}"#.into()), method, PATH).unwrap()
    }

    fn header(answer: &Answer, name: &str) -> Option<String> {
        answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn the_document_is_public_and_may_be_kept() {
        for method in ["GET", "HEAD"] {
            let answer = answer(method);
            assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"resource":"r"}"#));
            assert_eq!(header(&answer, "content-type").as_deref(), Some("application/json"));
            assert_eq!(header(&answer, "cache-control").as_deref(), Some("public, max-age=3600"));
            assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("*"));
        }
    }

    #[test]
    fn preflights_are_answered_and_other_methods_are_not_allowed() {
        let preflight = answer("OPTIONS");
        assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
        assert_eq!(header(&preflight, "access-control-allow-headers").as_deref(), Some("*"));
        for method in ["POST", "DELETE", "get", ""] {
            let refused = answer(method);
            assert_eq!((refused.status, refused.body.as_str()), (405, ""), "{method}");
            assert_eq!(header(&refused, "allow").as_deref(), Some("GET, HEAD, OPTIONS"));
        }
    }

    #[test]
    fn other_paths_are_not_answered() {
        assert_eq!(metadata(&Resource::new("", "{}".into()), "GET", "/orders"), None);
    }
}
