//! Microsoft's clouds and which hosts belong to them.
//!
//! Hosts as in MSAL's list of known metadata. An alias is only another way to *reach* an authority: an issuer is never
//! translated.

/// A cloud that a provider can be configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// Azure China, operated by 21Vianet.
    China,
    /// The public cloud.
    Public,
    /// Azure Government.
    UsGovernment,
}

impl Cloud {
    /// All of them, in the order in which errors list them.
    pub const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// The name that configuration uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::China => "china",
            Self::Public => "public",
            Self::UsGovernment => "us_government",
        }
    }

    /// The host of workforce metadata, keys and v2 issuers.
    #[must_use]
    pub fn login_host(self) -> &'static str {
        match self {
            Self::China => "login.partner.microsoftonline.cn",
            Self::Public => "login.microsoftonline.com",
            Self::UsGovernment => "login.microsoftonline.us",
        }
    }

    /// The host of v1 issuers. Azure Government shares the public one: there the keys separate the clouds.
    #[must_use]
    pub fn sts_host(self) -> &'static str {
        match self {
            Self::China => "sts.chinacloudapi.cn",
            Self::Public | Self::UsGovernment => "sts.windows.net",
        }
    }

    /// The host of Microsoft Graph.
    #[must_use]
    pub fn graph_host(self) -> &'static str {
        match self {
            Self::China => "microsoftgraph.chinacloudapi.cn",
            Self::Public => "graph.microsoft.com",
            Self::UsGovernment => "graph.microsoft.us",
        }
    }

    /// What follows the tenant's label in an External ID host.
    #[must_use]
    pub fn external_id_suffix(self) -> &'static str {
        match self {
            Self::China => ".ciamlogin.cn",
            Self::Public => ".ciamlogin.com",
            Self::UsGovernment => ".ciamlogin.us",
        }
    }

    /// What follows the tenant's label in a B2C host.
    #[must_use]
    pub fn b2c_suffix(self) -> &'static str {
        match self {
            Self::China => ".b2clogin.cn",
            Self::Public => ".b2clogin.com",
            Self::UsGovernment => ".b2clogin.us",
        }
    }

    /// The domain that a B2C tenant's initial name ends with.
    #[must_use]
    pub fn initial_domain(self) -> &'static str {
        match self {
            Self::China => ".partner.onmschina.cn",
            Self::Public => ".onmicrosoft.com",
            Self::UsGovernment => ".onmicrosoft.us",
        }
    }
}

/// A cloud instance, including those that no provider can be configured for but whose hosts are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// Bleu, France.
    Bleu,
    /// Azure China.
    China,
    /// Delos, Germany.
    Delos,
    /// The closed Azure Germany.
    Germany,
    /// Government of Singapore.
    GovernmentSingapore,
    /// Microsoft's own pre-production.
    PreProduction,
    /// The public cloud.
    Public,
    /// Azure Government.
    UsGovernment,
}

impl Instance {
    /// The name to print.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bleu => "Bleu",
            Self::China => "china",
            Self::Delos => "Delos",
            Self::Germany => "Azure Germany",
            Self::GovernmentSingapore => "GovSG",
            Self::PreProduction => "pre-production",
            Self::Public => "public",
            Self::UsGovernment => "us_government",
        }
    }
}

const HOSTS: [(&str, Instance); 18] = [
    ("login.microsoftonline.com", Instance::Public),
    ("login.windows.net", Instance::Public),
    ("login.microsoft.com", Instance::Public),
    ("sts.windows.net", Instance::Public),
    ("login-us.microsoftonline.com", Instance::UsGovernment),
    ("login.microsoftonline.us", Instance::UsGovernment),
    ("login.usgovcloudapi.net", Instance::UsGovernment),
    ("login.partner.microsoftonline.cn", Instance::China),
    ("login.chinacloudapi.cn", Instance::China),
    ("sts.chinacloudapi.cn", Instance::China),
    ("login.microsoftonline.de", Instance::Germany),
    ("sts.microsoftonline.de", Instance::Germany),
    ("login.sovcloud-identity.fr", Instance::Bleu),
    ("login.sovcloud-identity.de", Instance::Delos),
    ("login.sovcloud-identity.sg", Instance::GovernmentSingapore),
    ("login.windows-ppe.net", Instance::PreProduction),
    ("sts.windows-ppe.net", Instance::PreProduction),
    ("login.microsoft-ppe.com", Instance::PreProduction),
];

/// Domains whose every first-level host belongs to one tenant.
const TENANT_DOMAINS: [(&str, Instance); 6] = [
    ("ciamlogin.com", Instance::Public),
    ("ciamlogin.us", Instance::UsGovernment),
    ("ciamlogin.cn", Instance::China),
    ("b2clogin.com", Instance::Public),
    ("b2clogin.us", Instance::UsGovernment),
    ("b2clogin.cn", Instance::China),
];

/// The cloud instance that a host belongs to: a known host, a region of one (a single label before it), or a tenant's
/// host on External ID or B2C.
#[must_use]
pub fn instance_of(host: &str) -> Option<Instance> {
    let host = host.to_ascii_lowercase();
    let named = |hosts: &[(&str, Instance)], name: &str| {
        hosts.iter().find(|(known, _)| *known == name).map(|(_, instance)| *instance)
    };
    if let Some(instance) = named(&HOSTS, &host) {
        return Some(instance);
    }
    let (label, parent) = host.split_once('.')?;
    if !is_label(label) {
        return None;
    }
    named(&TENANT_DOMAINS, parent).or_else(|| named(&HOSTS, parent))
}

/// Whether two hosts belong to the same known cloud instance.
#[must_use]
pub fn same_cloud(one: &str, other: &str) -> bool {
    instance_of(one).is_some_and(|instance| instance_of(other) == Some(instance))
}

/// Whether an address found in metadata may be used: it stays in the authority's cloud, or on the authority's host if
/// that host is not Microsoft's.
#[must_use]
pub fn endpoint_in_authority(authority_host: &str, endpoint_host: &str) -> bool {
    authority_host.eq_ignore_ascii_case(endpoint_host) || same_cloud(authority_host, endpoint_host)
}

fn is_label(label: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = label.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}
