//! Who issues: clouds, tenants and policies, and the issuer each names in its documents and tokens.
//!
//! Follows Microsoft's «Access tokens in the Microsoft identity platform» and «Tokens in Azure AD B2C».

use serde::Deserialize;
use uuid::Uuid;

/// The tenant in which personal accounts live.
pub(crate) const PERSONAL_ACCOUNTS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
pub(crate) const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const FABRIKAM: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";
pub(crate) const CONTOSO_CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
pub(crate) const CONTOSO_B2C: &str = "775527ff-9a37-4307-8b3d-cc311f58d925";
pub(crate) const OIDC_ISSUER: &str = "https://idp.example.com";

const NAMES: [(&str, &str); 4] = [
    ("contoso", CONTOSO),
    ("contosob2c", CONTOSO_B2C),
    ("contosocustomers", CONTOSO_CUSTOMERS),
    ("fabrikam", FABRIKAM),
];

/// A national cloud («National clouds», Microsoft identity platform).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// Operated by 21Vianet.
    China,
    /// The worldwide cloud.
    #[default]
    Public,
    /// Azure Government.
    UsGovernment,
}

impl Cloud {
    /// The cloud of a login host or one of its aliases.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        match host {
            "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => Some(Self::China),
            "login.microsoft.com" | "login.microsoftonline.com" | "login.windows.net" | "sts.windows.net" => {
                Some(Self::Public)
            }
            "login.microsoftonline.us" | "login.usgovcloudapi.net" => Some(Self::UsGovernment),
            _ => None,
        }
    }

    /// The host that documents name, whichever alias was asked.
    pub(crate) fn login_host(self) -> &'static str {
        match self {
            Self::China => "login.partner.microsoftonline.cn",
            Self::Public => "login.microsoftonline.com",
            Self::UsGovernment => "login.microsoftonline.us",
        }
    }

    /// The host of v1 issuers; Azure Government shares the public one.
    fn sts_host(self) -> &'static str {
        match self {
            Self::China => "sts.chinacloudapi.cn",
            Self::Public | Self::UsGovernment => "sts.windows.net",
        }
    }

    /// `cloud_instance_name` of metadata and keys.
    pub(crate) fn instance_name(self) -> &'static str {
        match self {
            Self::China => "partner.microsoftonline.cn",
            Self::Public => "microsoftonline.com",
            Self::UsGovernment => "microsoftonline.us",
        }
    }

    pub(crate) fn graph_hosts(self) -> (&'static str, &'static str) {
        match self {
            Self::China => ("graph.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn"),
            Self::Public => ("graph.windows.net", "graph.microsoft.com"),
            Self::UsGovernment => ("graph.microsoftazure.us", "graph.microsoft.us"),
        }
    }

    pub(crate) fn region_scope(self) -> &'static str {
        match self {
            Self::China => "AS",
            Self::Public => "NA",
            Self::UsGovernment => "USGov",
        }
    }
}

/// The kind of an issuer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Azure AD B2C.
    B2c,
    /// Microsoft Entra External ID (CIAM).
    ExternalId,
    /// A generic OpenID provider.
    Oidc,
    /// Microsoft Entra ID.
    #[default]
    Workforce,
}

/// The version of a document or token («Access tokens», section «Token formats»).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(try_from = "u8")]
pub enum Version {
    /// `ver` = `1.0`.
    V1,
    /// `ver` = `2.0`.
    #[default]
    V2,
}

impl TryFrom<u8> for Version {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => Err("version is 1 or 2"),
        }
    }
}

/// A B2C user flow.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    pub(crate) key: &'static [&'static str],
    /// The issuer is the one «with compatibility» (`tfp`), which contains the policy.
    issuer_names_policy: bool,
}

static POLICIES: [Policy; 3] = [
    Policy { name: "B2C_1_signin", key: &["b2c-signin"], issuer_names_policy: false },
    Policy { name: "B2C_1_susi", key: &["b2c-susi"], issuer_names_policy: false },
    Policy { name: "B2C_1_tfp", key: &["b2c-tfp"], issuer_names_policy: true },
];

impl Policy {
    /// B2C does not distinguish case here.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        POLICIES.iter().find(|policy| policy.name.eq_ignore_ascii_case(name))
    }
}

/// The tenant, or group of tenants, that a workforce path names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Tenancy {
    Common,
    Consumers,
    One(String),
    Organizations,
}

impl Tenancy {
    pub(crate) fn of_path(segment: &str) -> Option<Self> {
        match segment.to_ascii_lowercase().as_str() {
            "common" => Some(Self::Common),
            "consumers" | PERSONAL_ACCOUNTS => Some(Self::Consumers),
            "organizations" => Some(Self::Organizations),
            other => tenant_of_path(other).map(Self::One),
        }
    }

    /// As it stands in issuers; groups of tenants are the literal template.
    pub(crate) fn in_issuer(&self) -> &str {
        match self {
            Self::Common | Self::Organizations => "{tenantid}",
            Self::Consumers => PERSONAL_ACCOUNTS,
            Self::One(tenant) => tenant,
        }
    }

    /// As it stands in the paths of endpoints: always the GUID, even where a domain was asked.
    pub(crate) fn in_path(&self) -> &str {
        match self {
            Self::Common => "common",
            Self::Consumers => "consumers",
            Self::One(tenant) => tenant,
            Self::Organizations => "organizations",
        }
    }
}

/// One issuer, or the template of many.
#[derive(Clone, Debug)]
pub(crate) enum Authority {
    B2c { policy: &'static Policy },
    ExternalId { tenant: String },
    Oidc,
    Workforce { cloud: Cloud, tenancy: Tenancy },
}

impl Authority {
    /// `issuer` of the metadata and `iss` of tokens.
    pub(crate) fn issuer(&self, version: Version) -> String {
        match (self, version) {
            (Self::B2c { policy }, _) if policy.issuer_names_policy => {
                let policy = policy.name.to_ascii_lowercase();
                format!("https://contosob2c.b2clogin.com/tfp/{CONTOSO_B2C}/{policy}/v2.0/")
            }
            (Self::B2c { .. }, _) => format!("https://contosob2c.b2clogin.com/{CONTOSO_B2C}/v2.0/"),
            (Self::ExternalId { tenant }, Version::V1) => {
                format!("https://{tenant}.ciamlogin.com/{tenant}/")
            }
            (Self::ExternalId { tenant }, Version::V2) => {
                format!("https://{tenant}.ciamlogin.com/{tenant}/v2.0")
            }
            (Self::Oidc, _) => OIDC_ISSUER.to_owned(),
            (Self::Workforce { cloud, tenancy }, Version::V1) => {
                format!("https://{}/{}/", cloud.sts_host(), tenancy.in_issuer())
            }
            (Self::Workforce { cloud, tenancy }, Version::V2) => {
                format!("https://{}/{}/v2.0", cloud.login_host(), tenancy.in_issuer())
            }
        }
    }

    /// `tid` of its tokens. A group of tenants signs in users of contoso; a generic provider has no tenants.
    pub(crate) fn tenant(&self) -> Option<&str> {
        match self {
            Self::B2c { .. } => Some(CONTOSO_B2C),
            Self::ExternalId { tenant } => Some(tenant),
            Self::Oidc => None,
            Self::Workforce { tenancy: Tenancy::Common | Tenancy::Organizations, .. } => Some(CONTOSO),
            Self::Workforce { tenancy, .. } => Some(tenancy.in_issuer()),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::B2c { .. } => Kind::B2c,
            Self::ExternalId { .. } => Kind::ExternalId,
            Self::Oidc => Kind::Oidc,
            Self::Workforce { .. } => Kind::Workforce,
        }
    }

    /// Microsoft's sovereign clouds are modelled for workforce tenants only.
    pub(crate) fn cloud(&self) -> Cloud {
        match self {
            Self::Workforce { cloud, .. } => *cloud,
            Self::B2c { .. } | Self::ExternalId { .. } | Self::Oidc => Cloud::Public,
        }
    }
}

/// The tenant that a name of the mock's table stands for, or the GUID itself.
pub(crate) fn tenant_named(name: &str) -> Option<String> {
    if let Some((_, tenant)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some((*tenant).to_owned());
    }
    // `Uuid` also reads forms without hyphens or with braces, which are no tenant.
    (name.len() == 36 && Uuid::parse_str(name).is_ok()).then(|| name.to_ascii_lowercase())
}

/// The tenant a path segment names: a GUID or the initial domain.
pub(crate) fn tenant_of_path(segment: &str) -> Option<String> {
    match segment.strip_suffix(".onmicrosoft.com") {
        Some(name) => tenant_named(name),
        None if segment.contains('-') => tenant_named(segment),
        None => None,
    }
}

/// The tenant of an External ID host: `{name or GUID}.ciamlogin.com`, or a custom URL domain.
pub(crate) fn external_id_tenant(host: &str) -> Option<String> {
    match host {
        "login.contoso-customers.example" => Some(CONTOSO_CUSTOMERS.to_owned()),
        _ => tenant_named(host.strip_suffix(".ciamlogin.com")?),
    }
}
