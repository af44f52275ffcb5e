//! What a wrong issuer probably means (entra diagnoses 1, 2, 6 to 10). Only ever refuses.

use super::excerpt;
use super::refusal::{IssuerFault, IssuerHint, Refusal};
use crate::entra::cloud::{Instance, instance_of};
use crate::entra::issuer::{host_in, tenant_in};
use crate::entra::{PERSONAL_ACCOUNTS, TokenVersion};
use crate::policy::provider::{Kind, PersonalAccounts, Provider, Tenants};

/// Most issuers that an answer lists.
const MOST_EXPECTED: usize = 8;

/// Explains why no accepted authority has issued a token with this `iss` and `tid`.
#[must_use]
pub fn wrong(iss: &str, tid: Option<&str>, accepted: &[&Provider]) -> Refusal {
    let origin = Origin::of(iss);
    if let Some(refusal) = origin.and_then(|origin| well_formed(origin, iss, tid, accepted)) {
        return refusal;
    }
    let has = |kind: Kind| accepted.iter().any(|provider| provider.kind == kind);
    let hint = if iss.contains("{tenantid}") {
        IssuerHint::Unresolved
    } else if differs_only_in_spelling(iss, tid, accepted) {
        IssuerHint::Spelling
    } else {
        match origin {
            Some(Origin { kind: Kind::ExternalId, .. }) if has(Kind::ExternalId) => IssuerHint::ExternalIdHost,
            Some(Origin { kind: Kind::ExternalId, .. }) => IssuerHint::ExternalId,
            Some(Origin { kind: Kind::B2c, .. }) => IssuerHint::B2c,
            Some(Origin { kind: Kind::Workforce, instance, .. }) if has(Kind::Workforce) => {
                let same = |provider: &&Provider| instance_of(provider.cloud.login_host()) == Some(instance);
                if !accepted.iter().any(same) {
                    IssuerHint::OtherCloud { found: instance }
                } else if tid == tenant_in(iss) {
                    IssuerHint::Unknown
                } else {
                    inconsistent(tid)
                }
            }
            Some(Origin { kind: Kind::Workforce, .. }) => IssuerHint::Workforce,
            Some(Origin { kind: Kind::Oidc, .. }) | None => IssuerHint::Unknown,
        }
    };
    fault(iss, accepted, hint)
}

/// A refusal of an issuer for a reason that is already known.
#[must_use]
pub fn fault(iss: &str, accepted: &[&Provider], hint: IssuerHint) -> Refusal {
    let mut expected: Vec<String> = accepted
        .iter()
        .flat_map(|provider| &provider.authorities)
        .map(|authority| authority.issuer.as_str().to_owned())
        .collect();
    expected.dedup();
    expected.truncate(MOST_EXPECTED);
    let kinds = Kind::ALL.into_iter().filter(|kind| accepted.iter().any(|provider| provider.kind == *kind)).collect();
    Refusal::IssuerNotAllowed(IssuerFault { found: excerpt(iss), expected, kinds, hint })
}

/// What an issuer of Microsoft's says of itself.
#[derive(Clone, Copy)]
struct Origin<'a> {
    kind: Kind,
    instance: Instance,
    version: Option<TokenVersion>,
    tenant: Option<&'a str>,
}

impl<'a> Origin<'a> {
    fn of(iss: &'a str) -> Option<Self> {
        let host = host_in(iss)?;
        let instance = instance_of(host)?;
        let kind = if host.contains(".ciamlogin.") {
            Kind::ExternalId
        } else if host.contains(".b2clogin.") {
            Kind::B2c
        } else {
            Kind::Workforce
        };
        let version = match kind {
            Kind::B2c | Kind::Oidc => None,
            Kind::ExternalId | Kind::Workforce if iss.ends_with("/v2.0") => Some(TokenVersion::V2),
            Kind::ExternalId | Kind::Workforce => Some(TokenVersion::V1),
        };
        Some(Self { kind, instance, version, tenant: tenant_in(iss) })
    }

    /// The very issuer that Entra would write for this kind, cloud, version and tenant.
    fn canonical(&self, provider: &Provider) -> Option<String> {
        let tenant = self.tenant?;
        match (provider.kind, self.version?) {
            (Kind::Workforce, TokenVersion::V1) => Some(format!("https://{}/{tenant}/", provider.cloud.sts_host())),
            (Kind::Workforce, TokenVersion::V2) => {
                Some(format!("https://{}/{tenant}/v2.0", provider.cloud.login_host()))
            }
            (Kind::ExternalId, TokenVersion::V1) => {
                Some(format!("https://{tenant}{}/{tenant}/", provider.cloud.external_id_suffix()))
            }
            (Kind::ExternalId, TokenVersion::V2) => {
                Some(format!("https://{tenant}{}/{tenant}/v2.0", provider.cloud.external_id_suffix()))
            }
            (Kind::B2c | Kind::Oidc, _) => None,
        }
    }
}

/// An issuer as an accepted kind and cloud writes it: then the version, the tenant, or `tid` is what is wrong.
fn well_formed(origin: Origin<'_>, iss: &str, tid: Option<&str>, accepted: &[&Provider]) -> Option<Refusal> {
    let (tenant, version) = (origin.tenant?, origin.version?);
    let of_kind: Vec<&Provider> = accepted
        .iter()
        .copied()
        .filter(|provider| provider.kind == origin.kind && origin.canonical(provider).as_deref() == Some(iss))
        .collect();
    let serves = |provider: &&&Provider| match &provider.tenants {
        Tenants::Only(tenants) => tenants.iter().any(|known| known.as_str() == tenant),
        Tenants::Any(PersonalAccounts::Refused) => tenant != PERSONAL_ACCOUNTS,
        Tenants::Any(PersonalAccounts::Accepted) => true,
        Tenants::Unknown => false,
    };
    if let Some(provider) = of_kind.iter().find(serves) {
        let takes_version = provider.authorities.iter().any(|authority| authority.version == Some(version));
        return Some(match tid {
            _ if !takes_version => Refusal::TokenVersionNotAllowed {
                found: version,
                provider: provider.name.clone(),
                audience: String::new(),
            },
            None => Refusal::ClaimMissing { claim: "tid" },
            Some(_) => fault(iss, accepted, inconsistent(tid)),
        });
    }
    if of_kind.is_empty() {
        return None;
    }
    let allowed = of_kind
        .iter()
        .flat_map(|provider| match &provider.tenants {
            Tenants::Only(tenants) => tenants.as_slice(),
            Tenants::Any(_) | Tenants::Unknown => &[],
        })
        .map(ToString::to_string)
        .take(MOST_EXPECTED)
        .collect();
    Some(Refusal::TenantNotAllowed { found: tenant.to_owned(), allowed })
}

fn inconsistent(tid: Option<&str>) -> IssuerHint {
    IssuerHint::Inconsistent { claim: "tid", found: excerpt(tid.unwrap_or_default()) }
}

fn differs_only_in_spelling(iss: &str, tid: Option<&str>, accepted: &[&Provider]) -> bool {
    let folded = |issuer: &str| issuer.to_ascii_lowercase().replace(":443", "").trim_end_matches('/').to_owned();
    let found = folded(iss);
    accepted
        .iter()
        .flat_map(|provider| &provider.authorities)
        .filter_map(|authority| authority.issuer.of_tenant(tid))
        .any(|issuer| issuer != iss && folded(&issuer) == found)
}
