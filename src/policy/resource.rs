//! What the filter says of the API that it guards: its protected resource metadata, ready to be sent (RFC 9728).

/// Where RFC 9728 section 3 puts the metadata, before the path of the resource.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The path of the resource, empty for a whole host.
    path: String,
    document: String,
}

impl Resource {
    /// The metadata `document`, JSON, of the resource at a path.
    #[must_use]
    pub fn new(path: &str, document: String) -> Self {
        // RFC 9728 section 3.1: a slash that ends the host is taken off first.
        Self { path: if path == "/" { String::new() } else { path.to_owned() }, document }
    }

    /// The path at which the metadata is found: the well-known one, inserted before the resource's own.
    #[must_use]
    pub fn well_known(&self) -> String {
        format!("{WELL_KNOWN}{}", self.path)
    }

    /// The document, if that is what a request is for: at the resource's own address, or at the host's, where clients
    /// look that do not know the path.
    #[must_use]
    pub fn document_at(&self, target: &str) -> Option<&str> {
        let below = target.split('?').next()?.strip_prefix(WELL_KNOWN)?;
        (below.is_empty() || below == self.path).then_some(&self.document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_is_at_the_path_of_the_resource_and_at_the_root() {
        let of_path = Resource::new("/mcp/v1", "{}".into());
        assert_eq!(of_path.well_known(), "/.well-known/oauth-protected-resource/mcp/v1");
        let of_host = Resource::new("/", "{}".into());
        assert_eq!(of_host.well_known(), "/.well-known/oauth-protected-resource");
        for (target, path, host) in [
            ("/.well-known/oauth-protected-resource", true, true),
            ("/.well-known/oauth-protected-resource?x=y", true, true),
            ("/.well-known/oauth-protected-resource/mcp/v1", true, false),
            ("/.well-known/oauth-protected-resource/mcp/v1?x", true, false),
            ("/.well-known/oauth-protected-resource/mcp", false, false),
            ("/.well-known/oauth-protected-resource/mcp/v1/", false, false),
            ("/.well-known/oauth-protected-resource/", false, false),
            ("/.well-known/oauth-protected-resources", false, false),
            ("/x/.well-known/oauth-protected-resource", false, false),
            ("/.well-known//oauth-protected-resource", false, false),
            ("", false, false),
        ] {
            assert_eq!(of_path.document_at(target).is_some(), path, "{target}");
            assert_eq!(of_host.document_at(target).is_some(), host, "{target}");
        }
    }
}
