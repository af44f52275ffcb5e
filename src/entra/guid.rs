//! Tenant identifiers: GUIDs in their canonical text form.

use std::fmt;

/// A GUID in lower case, the way Entra writes it into issuers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(String);

impl Guid {
    /// Reads a GUID in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_guid(text).then(|| Self(text.to_ascii_lowercase()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether the text is 32 hexadecimal digits in groups of 8-4-4-4-12.
#[must_use]
pub fn is_guid(text: &str) -> bool {
    let mut groups = text.split('-');
    let well_formed = [8, 4, 4, 4, 12].into_iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    well_formed && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_a_guid() {
        assert!(is_guid("9188040d-6c67-4c5b-b112-36a304b66dad"));
        for text in [
            "",
            "common",
            "{tenantid}",
            "{9188040d-6c67-4c5b-b112-36a304b66dad}",
            "9188040d6c674c5bb11236a304b66dad",
            "9188040d-6c67-4c5b-b112-36a304b66da",
            "9188040d-6c67-4c5b-b112-36a304b66dadd",
            "9188040d-6c67-4c5b-b112-36a304b66dad-",
            "9188040g-6c67-4c5b-b112-36a304b66dad",
            "x/y",
        ] {
            assert!(!is_guid(text), "{text}");
        }
    }
}
