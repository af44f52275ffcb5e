//! Which of Entra's authorities an issuer or a metadata address belongs to.
//!
//! Hosts and forms as the filter derives them from kind, cloud and tenant; whatever is not one of them is another
//! provider's.

use entra_gate::entra::TokenVersion;
use entra_gate::entra::cloud::{Cloud, Instance, instance_of};
use entra_gate::entra::guid::{Guid, is_guid};
use reqwest::Url;

pub(super) const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Who issues tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Authority {
    /// A policy of a B2C tenant; without its name if only the issuer is known.
    B2c { cloud: Cloud, domain: String, tenant: Tenant, policy: Option<String> },
    /// An External ID tenant.
    ExternalId { cloud: Cloud, domain: String, tenant: Tenant, version: TokenVersion },
    /// Another OpenID provider.
    Oidc,
    /// Entra ID.
    Workforce { cloud: Cloud, tenant: Tenant, version: TokenVersion },
}

/// Whose directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tenant {
    /// Any organization, and personal accounts: `common`.
    Common,
    /// Named by a domain, which tokens do not.
    Domain(String),
    /// This one.
    Guid(Guid),
    /// Any organization: `organizations`.
    Organizations,
}

impl Tenant {
    /// Reads the word, GUID or domain that stands in addresses.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "common" => Some(Self::Common),
            "organizations" => Some(Self::Organizations),
            _ if is_guid(text) => Guid::parse(text).map(Self::Guid),
            domain
                if domain.contains('.')
                    && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) =>
            {
                Some(Self::Domain(domain.to_owned()))
            }
            _ => None,
        }
    }
}

/// A metadata address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) authority: Authority,
    pub(super) app_id: Option<Guid>,
}

/// The cloud of a login host, its own or an alias of it.
pub(super) fn cloud_of(host: &str) -> Result<Cloud, String> {
    match instance_of(host) {
        Some(Instance::Public) => Ok(Cloud::Public),
        Some(Instance::UsGovernment) => Ok(Cloud::UsGovernment),
        Some(Instance::China) => Ok(Cloud::China),
        Some(other) => Err(format!("{host} belongs to {}, a cloud that this filter does not know", other.name())),
        None => Err(format!("{host} is no host of Entra that this filter knows")),
    }
}

/// Reads a metadata address.
///
/// # Errors
/// It is not one, or one of Entra's that has no equal; in words.
pub(super) fn of_metadata(text: &str) -> Result<Metadata, String> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https");
    let url = url.ok_or_else(|| format!("found {text:?}, expected an https address"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let Some(place) = place(&host) else {
        return Ok(Metadata { authority: Authority::Oidc, app_id: None });
    };
    let unknown = || {
        format!(
            "found {text:?}, expected an address of Entra's metadata, such as https://{host}/<tenant>/v2.0{WELL_KNOWN}"
        )
    };
    let path = url.path().strip_suffix(WELL_KNOWN).ok_or_else(unknown)?;
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (mut app_id, mut policy_of_query) = (None, None);
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "appid" => {
                app_id = Some(Guid::parse(&value).ok_or_else(|| format!("found appid={value}, expected a GUID"))?)
            }
            "p" => policy_of_query = Some(value.into_owned()),
            _ => return Err(format!("found the parameter {name} in {text:?}, expected appid or p")),
        }
    }
    let version = match segments.get(1..) {
        Some([]) => Some(TokenVersion::V1),
        Some(["v2.0"]) => Some(TokenVersion::V2),
        _ => None,
    };
    let tenant_in = |segment: Option<&&str>| segment.and_then(|segment| Tenant::parse(segment)).ok_or_else(unknown);
    let authority = match place {
        Place::B2c(cloud, domain) => {
            let (tenant, policy) = match (segments.as_slice(), policy_of_query.take()) {
                ([tenant, "v2.0"], Some(policy)) => (*tenant, policy),
                ([tenant, policy, "v2.0"] | ["tfp", tenant, policy, "v2.0"], None) => (*tenant, (*policy).to_owned()),
                _ => return Err(unknown()),
            };
            Authority::B2c { cloud, domain, tenant: Tenant::parse(tenant).ok_or_else(unknown)?, policy: Some(policy) }
        }
        Place::ExternalId(cloud, domain) => {
            let tenant = tenant_in(segments.first())?;
            Authority::ExternalId { cloud, domain, tenant, version: version.ok_or_else(unknown)? }
        }
        Place::Login(cloud) => {
            let of_b2c = match (segments.as_slice(), policy_of_query.take()) {
                (["tfp", directory, policy, "v2.0"], None) => Some((*directory, (*policy).to_owned())),
                ([directory, "v2.0"], Some(policy)) => Some((*directory, policy)),
                (_, Some(_)) => return Err(unknown()),
                (_, None) => None,
            };
            if let Some((directory, policy)) = of_b2c {
                // The host that B2C had before it had its own.
                let cloud = cloud?;
                let Some(domain) = directory.strip_suffix(cloud.initial_domain()).filter(|label| !label.contains('.'))
                else {
                    return Err(format!(
                        "found {text:?}, B2C by its old host, expected https://<name>{}/…",
                        cloud.b2c_suffix()
                    ));
                };
                let tenant = Tenant::parse(directory).ok_or_else(unknown)?;
                let authority = Authority::B2c { cloud, domain: domain.to_owned(), tenant, policy: Some(policy) };
                return Ok(Metadata { authority, app_id });
            }
            Authority::Workforce {
                cloud: cloud?,
                tenant: tenant_in(segments.first())?,
                version: version.ok_or_else(unknown)?,
            }
        }
    };
    match policy_of_query {
        Some(_) => Err(unknown()),
        None => Ok(Metadata { authority, app_id }),
    }
}

/// Reads an issuer. One that only looks like Entra's is nobody's.
///
/// # Errors
/// A host of Entra's in a form that no token has; in words.
pub(super) fn of_issuer(text: &str) -> Result<Authority, String> {
    let Some(host) = entra_gate::entra::issuer::host_in(text) else {
        return Ok(Authority::Oidc);
    };
    let Some(place) = place(host) else {
        return Ok(Authority::Oidc);
    };
    let path = text.strip_prefix("https://").and_then(|rest| rest.strip_prefix(host)).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let guid = |text: &str| Guid::parse(text).map(Tenant::Guid);
    let unknown = || {
        format!(
            "found {text:?}, which no token of Entra names (v2 ends in /v2.0 without a slash; v1 and B2C end with a slash)"
        )
    };
    let authority = match (place, segments.as_slice()) {
        (Place::Login(cloud), [tenant, ""]) if host.starts_with("sts.") => guid(tenant)
            .map(|tenant| cloud.map(|cloud| Authority::Workforce { cloud, tenant, version: TokenVersion::V1 })),
        (Place::Login(cloud), [tenant, "v2.0"]) if cloud.as_ref().is_ok_and(|cloud| cloud.login_host() == host) => {
            guid(tenant)
                .map(|tenant| cloud.map(|cloud| Authority::Workforce { cloud, tenant, version: TokenVersion::V2 }))
        }
        (Place::ExternalId(cloud, domain), [tenant, version @ ("v2.0" | "")]) if *tenant == domain => {
            let version = if *version == "v2.0" { TokenVersion::V2 } else { TokenVersion::V1 };
            guid(tenant).map(|tenant| Ok(Authority::ExternalId { cloud, domain, tenant, version }))
        }
        (Place::B2c(cloud, domain), [tenant, "v2.0", ""]) => {
            guid(tenant).map(|tenant| Ok(Authority::B2c { cloud, domain, tenant, policy: None }))
        }
        (Place::B2c(cloud, domain), ["tfp", tenant, policy, "v2.0", ""]) => {
            guid(tenant).map(|tenant| Ok(Authority::B2c { cloud, domain, tenant, policy: Some((*policy).to_owned()) }))
        }
        _ => None,
    };
    authority.ok_or_else(unknown)?
}

/// What a host is.
enum Place {
    B2c(Cloud, String),
    ExternalId(Cloud, String),
    Login(Result<Cloud, String>),
}

fn place(host: &str) -> Option<Place> {
    let host = host.to_ascii_lowercase();
    for cloud in Cloud::ALL {
        if let Some(domain) = host.strip_suffix(cloud.external_id_suffix()).filter(|label| !label.contains('.')) {
            return Some(Place::ExternalId(cloud, domain.to_owned()));
        }
        if let Some(domain) = host.strip_suffix(cloud.b2c_suffix()).filter(|label| !label.contains('.')) {
            return Some(Place::B2c(cloud, domain.to_owned()));
        }
    }
    instance_of(&host).map(|_| Place::Login(cloud_of(&host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";

    fn tenant() -> Tenant {
        Tenant::Guid(Guid::parse(GUID).unwrap())
    }

    fn workforce(cloud: Cloud, tenant: Tenant, version: TokenVersion) -> Authority {
        Authority::Workforce { cloud, tenant, version }
    }

    #[test]
    fn metadata_addresses_of_entra_are_recognised() {
        let (v1, v2) = (TokenVersion::V1, TokenVersion::V2);
        let domain = |name: &str| Tenant::Domain(name.to_owned());
        let external = |domain: &str, version| Authority::ExternalId {
            cloud: Cloud::Public,
            domain: domain.into(),
            tenant: tenant(),
            version,
        };
        let b2c = |tenant, policy: &str| Authority::B2c {
            cloud: Cloud::Public,
            domain: "contosob2c".into(),
            tenant,
            policy: Some(policy.into()),
        };
        for (url, authority) in [
            (format!("https://login.microsoftonline.com/{GUID}/v2.0"), workforce(Cloud::Public, tenant(), v2)),
            (format!("https://login.microsoftonline.com/{GUID}"), workforce(Cloud::Public, tenant(), v1)),
            ("https://login.microsoftonline.com/common/v2.0".into(), workforce(Cloud::Public, Tenant::Common, v2)),
            (
                "https://login.microsoftonline.com/organizations/v2.0".into(),
                workforce(Cloud::Public, Tenant::Organizations, v2),
            ),
            (
                "https://login.microsoftonline.com/contoso.onmicrosoft.com".into(),
                workforce(Cloud::Public, domain("contoso.onmicrosoft.com"), v1),
            ),
            (format!("https://login.windows.net/{GUID}"), workforce(Cloud::Public, tenant(), v1)),
            (format!("https://login.microsoftonline.us/{GUID}/v2.0"), workforce(Cloud::UsGovernment, tenant(), v2)),
            (format!("https://login.partner.microsoftonline.cn/{GUID}/v2.0"), workforce(Cloud::China, tenant(), v2)),
            (format!("https://contosocustomers.ciamlogin.com/{GUID}/v2.0"), external("contosocustomers", v2)),
            (format!("https://contosocustomers.ciamlogin.com/{GUID}"), external("contosocustomers", v1)),
            (
                "https://contosob2c.b2clogin.com/contosob2c.onmicrosoft.com/B2C_1_signin/v2.0".into(),
                b2c(domain("contosob2c.onmicrosoft.com"), "B2C_1_signin"),
            ),
            (format!("https://contosob2c.b2clogin.com/tfp/{GUID}/B2C_1_signin/v2.0"), b2c(tenant(), "B2C_1_signin")),
            (
                "https://login.microsoftonline.com/tfp/contosob2c.onmicrosoft.com/B2C_1_signin/v2.0".into(),
                b2c(domain("contosob2c.onmicrosoft.com"), "B2C_1_signin"),
            ),
            ("https://idp.example.com".into(), Authority::Oidc),
            ("https://contoso.ciamlogin.com.evil.example/x/v2.0".into(), Authority::Oidc),
        ] {
            let found = of_metadata(&format!("{url}{WELL_KNOWN}"));
            assert_eq!(found, Ok(Metadata { authority, app_id: None }), "{url}");
        }
        let with_policy = format!("https://contosob2c.b2clogin.com/{GUID}/v2.0{WELL_KNOWN}?p=B2C_1_x");
        assert_eq!(of_metadata(&with_policy).unwrap().authority, b2c(tenant(), "B2C_1_x"));
        let with_app = format!("https://login.microsoftonline.com/{GUID}/v2.0{WELL_KNOWN}?appid={GUID}");
        assert_eq!(of_metadata(&with_app).unwrap().app_id, Guid::parse(GUID));
    }

    #[test]
    fn addresses_that_are_nearly_entra_s_are_told() {
        for url in [
            format!("http://login.microsoftonline.com/{GUID}/v2.0{WELL_KNOWN}"),
            format!("https://login.microsoftonline.com/{GUID}/v2.0"),
            format!("https://login.microsoftonline.com/{GUID}/v1.1{WELL_KNOWN}"),
            format!("https://login.microsoftonline.com/contoso/v2.0{WELL_KNOWN}"),
            format!("https://login.microsoftonline.com{WELL_KNOWN}"),
            format!("https://login.microsoftonline.com/tfp/{GUID}/B2C_1_x/v2.0{WELL_KNOWN}"),
            format!("https://login.microsoftonline.com/{GUID}/v2.0{WELL_KNOWN}?p=B2C_1_x"),
            format!("https://login.microsoftonline.com/{GUID}/v2.0{WELL_KNOWN}?appid=me"),
            format!("https://login.microsoftonline.com/{GUID}/v2.0{WELL_KNOWN}?x=y"),
            format!("https://login.microsoftonline.de/{GUID}/v2.0{WELL_KNOWN}"),
            format!("https://contosob2c.b2clogin.com/contosob2c.onmicrosoft.com/v2.0{WELL_KNOWN}"),
            "not an address".to_owned(),
        ] {
            assert!(of_metadata(&url).is_err(), "{url}");
        }
    }

    #[test]
    fn issuers_are_recognised_to_the_byte() {
        let (v1, v2) = (TokenVersion::V1, TokenVersion::V2);
        let external =
            |version| Authority::ExternalId { cloud: Cloud::Public, domain: GUID.into(), tenant: tenant(), version };
        let b2c = |policy: Option<&str>| Authority::B2c {
            cloud: Cloud::Public,
            domain: "contosob2c".into(),
            tenant: tenant(),
            policy: policy.map(str::to_owned),
        };
        for (issuer, authority) in [
            (format!("https://login.microsoftonline.com/{GUID}/v2.0"), workforce(Cloud::Public, tenant(), v2)),
            (format!("https://sts.windows.net/{GUID}/"), workforce(Cloud::Public, tenant(), v1)),
            (format!("https://sts.chinacloudapi.cn/{GUID}/"), workforce(Cloud::China, tenant(), v1)),
            (format!("https://login.microsoftonline.us/{GUID}/v2.0"), workforce(Cloud::UsGovernment, tenant(), v2)),
            (format!("https://{GUID}.ciamlogin.com/{GUID}/v2.0"), external(v2)),
            (format!("https://{GUID}.ciamlogin.com/{GUID}/"), external(v1)),
            (format!("https://contosob2c.b2clogin.com/{GUID}/v2.0/"), b2c(None)),
            (format!("https://contosob2c.b2clogin.com/tfp/{GUID}/b2c_1_x/v2.0/"), b2c(Some("b2c_1_x"))),
            ("https://idp.example.com/".into(), Authority::Oidc),
            ("contoso.com".into(), Authority::Oidc),
            ("http://login.microsoftonline.com/x".into(), Authority::Oidc),
        ] {
            assert_eq!(of_issuer(&issuer), Ok(authority), "{issuer}");
        }
        for issuer in [
            format!("https://login.microsoftonline.com/{GUID}/v2.0/"),
            format!("https://sts.windows.net/{GUID}"),
            "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
            "https://login.microsoftonline.com/common/v2.0".to_owned(),
            format!("https://login.windows.net/{GUID}/v2.0"),
            format!("https://contoso.ciamlogin.com/{GUID}/v2.0"),
            format!("https://contosob2c.b2clogin.com/{GUID}/v2.0"),
            format!("https://login.microsoftonline.de/{GUID}/v2.0"),
        ] {
            assert!(of_issuer(&issuer).is_err(), "{issuer}");
        }
    }
}
