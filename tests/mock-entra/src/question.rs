//! What a URL asks: which authority, which version, which of its resources.
//!
//! Follows the URLs of Microsoft's «OpenID Connect on the Microsoft identity platform».

use crate::authority::CONTOSO_B2C;
use crate::authority::{Authority, Cloud, OIDC_ISSUER, Policy, Tenancy, Version, external_id_tenant, tenant_of_path};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Resource {
    Authorize,
    Keys,
    Metadata,
    Token,
}

#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) authority: Authority,
    pub(crate) version: Version,
    pub(crate) resource: Resource,
    /// What the authority's own URLs begin with.
    pub(crate) base: String,
    /// `?appid=`: the document of an application with its own signing key.
    pub(crate) appid: Option<String>,
}

impl Question {
    pub(crate) fn of_url(host: &str, path_and_query: &str) -> Option<Self> {
        let host = without_port(host).to_ascii_lowercase();
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let parameter = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let appid = parameter("appid");

        if OIDC_ISSUER.strip_prefix("https://") == Some(host.as_str()) {
            let resource = oidc_resource(path)?;
            let base = OIDC_ISSUER.to_owned();
            return Some(Self { authority: Authority::Oidc, version: Version::V2, resource, base, appid });
        }

        let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
        if host == "contosob2c.b2clogin.com" {
            let (tenant, rest) = if first == "tfp" { rest.split_once('/')? } else { (first, rest) };
            (tenant_of_path(tenant)? == CONTOSO_B2C).then_some(())?;
            let (policy, rest) = match parameter("p") {
                Some(policy) => (policy, rest),
                None => rest.split_once('/').map(|(policy, rest)| (policy.to_owned(), rest))?,
            };
            let (Version::V2, resource) = entra_resource(rest)? else {
                return None;
            };
            let authority = Authority::B2c { policy: Policy::named(&policy)? };
            let base = format!("https://{host}/{tenant}/{policy}");
            return Some(Self { authority, version: Version::V2, resource, base, appid });
        }

        let (authority, base) = if let Some(cloud) = Cloud::of_host(&host) {
            let tenancy = Tenancy::of_path(first)?;
            let base = format!("https://{}/{}", cloud.login_host(), tenancy.in_path());
            (Authority::Workforce { cloud, tenancy }, base)
        } else {
            let tenant = external_id_tenant(&host)?;
            (tenant_of_path(first)? == tenant).then_some(())?;
            let base = format!("https://{host}/{tenant}");
            (Authority::ExternalId { tenant }, base)
        };
        let (version, resource) = entra_resource(rest)?;
        Some(Self { authority, version, resource, base, appid })
    }
}

fn entra_resource(path: &str) -> Option<(Version, Resource)> {
    match path {
        ".well-known/openid-configuration" => Some((Version::V1, Resource::Metadata)),
        "v2.0/.well-known/openid-configuration" => Some((Version::V2, Resource::Metadata)),
        "discovery/keys" => Some((Version::V1, Resource::Keys)),
        "discovery/v2.0/keys" => Some((Version::V2, Resource::Keys)),
        "oauth2/authorize" => Some((Version::V1, Resource::Authorize)),
        "oauth2/v2.0/authorize" => Some((Version::V2, Resource::Authorize)),
        "oauth2/token" => Some((Version::V1, Resource::Token)),
        "oauth2/v2.0/token" => Some((Version::V2, Resource::Token)),
        _ => None,
    }
}

fn oidc_resource(path: &str) -> Option<Resource> {
    match path {
        "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => Some(Resource::Metadata),
        "/keys" => Some(Resource::Keys),
        "/authorize" => Some(Resource::Authorize),
        "/token" => Some(Resource::Token),
        _ => None,
    }
}

pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
