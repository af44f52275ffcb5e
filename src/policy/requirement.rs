//! What a rule asks of a token, and what must therefore be kept of a token that was verified.

use super::claim::RequiredClaim;
use super::permission::RequiredPermissions;

/// What a rule asks of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// The providers by index that may have issued it; none: any.
    pub providers: Option<Vec<usize>>,
    /// The `aud` values that count, of those that the provider accepts; none: all of them.
    pub audiences: Option<Vec<String>>,
    /// The clients that count, of those that the provider accepts; none: all of them.
    pub client_applications: Option<Vec<String>>,
    /// What claims must hold, beside what the provider asks.
    pub claims: Vec<RequiredClaim>,
    /// The permissions that are asked for; none: none.
    pub permissions: Option<RequiredPermissions>,
    /// The authentication context that the user must have satisfied (`acrs`); none: any sign-in will do.
    pub auth_context: Option<String>,
}

/// What of a token the rules look at: all that must be kept of it to judge it again under any of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The names of claims, each once.
    pub claims: Vec<String>,
    /// Whether permissions matter.
    pub permissions: bool,
}

impl Requirement {
    /// A token from any provider, and nothing more.
    pub const ANY: Self = Self {
        providers: None,
        audiences: None,
        client_applications: None,
        claims: Vec::new(),
        permissions: None,
        auth_context: None,
    };
}

impl Asked {
    pub(super) fn by<'a>(requirements: impl Iterator<Item = &'a Requirement>) -> Self {
        let mut asked = Self::default();
        for requirement in requirements {
            asked.permissions |= requirement.permissions.is_some();
            let audience = requirement.audiences.as_ref().map(|_| "aud");
            for name in requirement.claims.iter().flat_map(|claim| claim.claim.claims()).chain(audience) {
                if !asked.claims.iter().any(|known| known == name) {
                    asked.claims.push(name.to_owned());
                }
            }
        }
        asked
    }
}
