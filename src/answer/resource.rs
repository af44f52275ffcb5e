//! The answers with the protected resource metadata (RFC 9728 section 3.2). They are public: no token is looked at.

use super::{Answer, public};
use crate::policy::resource::Resource;

/// The answer to a request for the metadata; none if the request is for something else.
#[must_use]
pub fn metadata(resource: &Resource, method: &str, target: &str) -> Option<Answer> {
    Some(public::document(method, resource.document_at(target)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_addresses_are_answered() {
        let resource = Resource::new("", r#"{"resource":"r"}"#.into());
        let answer = |target| metadata(&resource, "GET", target);
        assert_eq!(answer("/.well-known/oauth-protected-resource").unwrap().body, r#"{"resource":"r"}"#);
        assert_eq!(answer("/orders"), None);
    }
}
