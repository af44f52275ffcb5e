//! Issuers and issuer templates, compared to the byte.
//!
//! <https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-issuer>

use super::guid::is_guid;

const PLACEHOLDER: &str = "{tenantid}";

/// An exact issuer, or a template in which `{tenantid}` stands for the token's tenant, wherever it appears.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer(String);

impl Issuer {
    /// Takes an issuer as metadata states it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, with placeholders if it has any.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the issuer holds for any tenant.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.0.contains(PLACEHOLDER)
    }

    /// The issuer for one tenant. A template has none until `tid` is proved to be a GUID: otherwise a `tid` of
    /// `{tenantid}` or `x/y` would pass by construction. Every placeholder is replaced: External ID's template has two.
    #[must_use]
    pub fn of_tenant(&self, tid: Option<&str>) -> Option<String> {
        if self.is_template() {
            tid.filter(|tid| is_guid(tid)).map(|tid| self.0.replace(PLACEHOLDER, tid))
        } else {
            Some(self.0.clone())
        }
    }

    /// Whether `iss` is this issuer, for a token of tenant `tid`.
    #[must_use]
    pub fn admits(&self, iss: &str, tid: Option<&str>) -> bool {
        if self.is_template() { self.of_tenant(tid).is_some_and(|issuer| issuer == iss) } else { self.0 == iss }
    }
}

/// The tenant that an issuer names: the GUID among its path segments, if there is one.
#[must_use]
pub fn tenant_in(iss: &str) -> Option<&str> {
    path_of(iss)?.split('/').find(|segment| is_guid(segment))
}

/// The host that an issuer names.
#[must_use]
pub fn host_in(iss: &str) -> Option<&str> {
    iss.strip_prefix("https://")?.split(['/', '?', '#']).next()
}

fn path_of(iss: &str) -> Option<&str> {
    iss.strip_prefix("https://")?.split_once('/').map(|(_, path)| path)
}

/// Whether a key bound to `key_issuer` may sign for `iss`: the issuer that the key names must be the token's, or, for a
/// token of another version checked with this document's keys, the document's own.
/// <https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-signing-key-issuer>
#[must_use]
pub fn key_may_sign(key_issuer: &Issuer, document_issuer: &Issuer, iss: &str, tid: Option<&str>) -> bool {
    let Some(named) = key_issuer.of_tenant(tid) else {
        return false;
    };
    named == iss || document_issuer.of_tenant(tid).is_some_and(|issuer| issuer == named)
}
