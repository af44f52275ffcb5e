//! Providers: who may issue tokens, under which issuers, verified with which documents' keys.

use std::collections::HashMap;
use std::time::Duration;

use super::claim::RequiredClaim;
use crate::entra::TokenVersion;
use crate::entra::cloud::Cloud;
use crate::entra::guid::Guid;
use crate::entra::issuer::Issuer;
use crate::inquiry::source::{GraphTokens, Introspection, StatusLists};
use crate::jose::algorithm::Algorithm;
use crate::keys::document::DocumentId;

/// What kind of identity provider it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Azure AD B2C.
    B2c,
    /// Entra External ID (CIAM).
    ExternalId,
    /// Any OpenID provider, by its metadata.
    Oidc,
    /// Entra ID for organizations.
    Workforce,
}

impl Kind {
    /// All of them, in the order in which errors list them.
    pub const ALL: [Self; 4] = [Self::Workforce, Self::ExternalId, Self::B2c, Self::Oidc];

    /// The name that configuration uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::B2c => "b2c",
            Self::ExternalId => "external_id",
            Self::Oidc => "oidc",
            Self::Workforce => "workforce",
        }
    }
}

/// Which tenants are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// Every organization, perhaps personal accounts too.
    Any(PersonalAccounts),
    /// These.
    Only(Vec<Guid>),
    /// The provider has no tenants.
    Unknown,
}

/// Whether personal Microsoft accounts are accepted beside organizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonalAccounts {
    /// They are.
    Accepted,
    /// They are not (default).
    Refused,
}

/// Whether tokens must say when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// A token without `exp` is accepted, and never ends.
    Optional,
    /// A token without `exp` is refused (default).
    Required,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub cloud: Cloud,
    /// Whom it serves.
    pub tenants: Tenants,
    /// The issuers it is known by. Never empty.
    pub authorities: Vec<Authority>,
    /// The algorithms that are accepted. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// The accepted `aud` values. Never empty.
    pub audiences: Vec<String>,
    /// The accepted clients; none: any.
    pub client_applications: Option<Vec<String>>,
    /// What claims must hold.
    pub required_claims: Vec<RequiredClaim>,
    /// Tolerance for differing clocks.
    pub clock_skew: Duration,
    /// The longest `exp` − `iat` that is accepted; none: any.
    pub max_lifetime: Option<Duration>,
    /// Whether a token without `exp` is accepted.
    pub expiry: Expiry,
    /// Which of the policy's sources its tokens may come from. Never empty.
    pub sources: Vec<usize>,
    /// Which of the policy's keys may open its tokens; empty: none is encrypted.
    pub decryption_keys: Vec<usize>,
    /// Who is asked about its tokens; none: nobody, and opaque tokens are refused.
    pub introspection: Option<Introspection>,
    /// That its tokens for Microsoft Graph are accepted; none: they are refused.
    pub graph_tokens: Option<GraphTokens>,
    /// The status lists that its tokens may name; none: what they name is not looked at.
    pub status_lists: Option<StatusLists>,
}

/// One issuer of a provider, with the document that holds its keys.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The issuer, or the template for all tenants.
    pub issuer: Issuer,
    /// Whose rules apply; none where there are no versions.
    pub version: Option<TokenVersion>,
    /// The B2C policy whose tokens this authority is for.
    pub policy: Option<String>,
    /// Where its keys are.
    pub document: DocumentId,
    /// Whether the document's metadata must state this very issuer.
    pub stated: Stated,
}

/// Where an authority's issuer is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// Derived: metadata must confirm it.
    ByMetadata,
    /// Listed in `issuers`: configuration is enough.
    ByConfiguration,
}

/// All providers, found by issuer.
#[derive(Default)]
pub struct Providers {
    all: Vec<Provider>,
    by_issuer: HashMap<String, Vec<Place>>,
    templates: Vec<Place>,
}

/// Where an authority stands: which provider's, and which of its authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The provider's index.
    pub provider: usize,
    /// The authority's index in the provider.
    pub authority: usize,
}

impl Providers {
    /// Builds the index.
    #[must_use]
    pub fn new(all: Vec<Provider>) -> Self {
        let mut by_issuer: HashMap<String, Vec<Place>> = HashMap::new();
        let mut templates = Vec::new();
        for (provider_at, provider) in all.iter().enumerate() {
            for (authority_at, authority) in provider.authorities.iter().enumerate() {
                let place = Place { provider: provider_at, authority: authority_at };
                if authority.issuer.is_template() {
                    templates.push(place);
                } else {
                    by_issuer.entry(authority.issuer.as_str().to_owned()).or_default().push(place);
                }
            }
        }
        Self { all, by_issuer, templates }
    }

    /// All providers, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[Provider] {
        &self.all
    }

    /// The provider and authority of a place.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<(&Provider, &Authority)> {
        let provider = self.all.get(place.provider)?;
        Some((provider, provider.authorities.get(place.authority)?))
    }

    /// The places that a token of this issuer and tenant may belong to.
    pub fn candidates<'a>(&'a self, iss: &'a str, tid: Option<&'a str>) -> impl Iterator<Item = Place> {
        let exact = self.by_issuer.get(iss).into_iter().flatten();
        let admits =
            move |place: &Place| self.at(*place).is_some_and(|(_, authority)| authority.issuer.admits(iss, tid));
        exact.chain(&self.templates).copied().filter(admits)
    }
}
