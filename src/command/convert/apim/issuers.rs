//! Whose tokens `validate-jwt` accepts: issuers of the metadata, and those that are listed.

use entra_gate::entra::TokenVersion;
use entra_gate::entra::cloud::Cloud;
use entra_gate::entra::guid::Guid;
use roxmltree::Node;
use serde_yaml_ng::Value;

use super::entra_token::no_guid;
use super::reading::{Reader, Written};
use crate::convert::authority::{self, Authority, Tenant};
use crate::convert::draft::{Section, list, object};

/// What the policy says.
pub(super) struct Given<'a> {
    pub(super) configs: &'a [Written],
    pub(super) listed: &'a [Written],
}

/// A tenant, and the versions of its tokens.
struct Accepted {
    cloud: Cloud,
    tenant: Guid,
    app_id: Option<Guid>,
    versions: Vec<TokenVersion>,
}

/// Providers whose keys come with their metadata.
pub(super) fn of_metadata(given: &Given<'_>, reader: &mut Reader<'_>) -> Vec<Section> {
    let mut configs = Vec::new();
    for config in given.configs {
        match authority::of_metadata(&config.text) {
            Ok(metadata) => configs.push((config, metadata)),
            Err(message) => drop(reader.fault_at::<()>(config.at, format!("openid-config: {message}"))),
        }
    }
    let mut listed = Vec::new();
    for issuer in given.listed {
        match authority::of_issuer(issuer.text.trim()) {
            Ok(authority) => listed.push((issuer, authority)),
            Err(message) => drop(reader.fault_at::<()>(issuer.at, format!("issuer: {message}"))),
        }
    }
    let mut all = workforce(&configs, &listed, reader);
    for (config, metadata) in &configs {
        let section = match &metadata.authority {
            Authority::Workforce { .. } => None,
            Authority::ExternalId { cloud, domain, tenant, version } => {
                let versions = versions_of(&listed, *version, tenant);
                guid(tenant, config, reader, || format!("{domain}{}", cloud.external_id_suffix())).map(|tenant| {
                    let mut section = named("customers", "external_id", *cloud);
                    section.set("domain", domain.as_str());
                    section.set_list("tenants", vec![tenant.to_string()]);
                    set_versions(&mut section, &versions);
                    if let Some(app_id) = &metadata.app_id {
                        section.set("app_id", app_id.to_string());
                    }
                    section
                })
            }
            Authority::B2c { cloud, domain, tenant, policy } => {
                let of_issuer = listed.iter().find_map(|(_, authority)| match authority {
                    Authority::B2c { domain: of_issuer, tenant, .. } if of_issuer == domain => Some(tenant.clone()),
                    _ => None,
                });
                let tenant = if matches!(tenant, Tenant::Guid(_)) {
                    tenant.clone()
                } else {
                    of_issuer.unwrap_or_else(|| tenant.clone())
                };
                let path = policy.clone().unwrap_or_default();
                guid(&tenant, config, reader, || format!("{domain}{}", cloud.b2c_suffix())).map(|tenant| {
                    let mut section = named("b2c", "b2c", *cloud);
                    section.set("domain", domain.as_str());
                    section.set_list("tenants", vec![tenant.to_string()]);
                    section.set_list("policies", vec![path]);
                    let host = format!("{domain}{}", cloud.b2c_suffix());
                    if !config.text.contains(&host) {
                        section.comment(format!(
                            "B2C's old host serves nobody any more: metadata and issuer are those of {host}."
                        ));
                    }
                    section
                })
            }
            Authority::Oidc => Some(oidc(config, &listed)),
        };
        all.extend(section);
    }
    let cluster = reader.given.options.cluster.clone();
    for section in &mut all {
        section.set("upstream", object([("cluster", cluster.as_str().into())]));
        section.comment(format!("upstream.cluster is the Envoy cluster that leads to the metadata's host: {cluster}."));
    }
    unclaimed(&configs, &listed, reader);
    all
}

/// The tenants of Entra ID, those with the same versions together: none gets a version that it did not have.
fn workforce(
    configs: &[(&Written, authority::Metadata)],
    listed: &[(&Written, Authority)],
    reader: &mut Reader<'_>,
) -> Vec<Section> {
    let mut all: Vec<Accepted> = Vec::new();
    let mut add = |cloud: Cloud, tenant: Guid, app_id: Option<Guid>, version: TokenVersion| match all
        .iter_mut()
        .find(|known| known.cloud == cloud && known.tenant == tenant && known.app_id == app_id)
    {
        Some(known) if known.versions.contains(&version) => {}
        Some(known) => known.versions.push(version),
        None => all.push(Accepted { cloud, tenant, app_id, versions: vec![version] }),
    };
    let mut app_ids = Vec::new();
    for (config, metadata) in configs {
        let Authority::Workforce { cloud, tenant, version } = &metadata.authority else { continue };
        app_ids.push(metadata.app_id.clone());
        match tenant {
            Tenant::Common | Tenant::Organizations => {
                let is_listed = listed.iter().any(|(_, authority)| matches!(authority, Authority::Workforce { .. }));
                if !is_listed {
                    let message = "metadata of many tenants without <issuers>: its issuer is a template, which no token there \
                                   satisfies. List the issuers; or write `tenants: any` yourself, to accept every organization";
                    reader.fault_at::<()>(config.at, message);
                }
            }
            Tenant::Domain(_) | Tenant::Guid(_) => {
                if let Some(tenant) = guid(tenant, config, reader, || cloud.login_host().to_owned()) {
                    add(*cloud, tenant, metadata.app_id.clone(), *version);
                }
            }
        }
    }
    app_ids.dedup();
    let app_id = if let [only] = app_ids.as_slice() { only.clone() } else { None };
    for (_, authority) in listed {
        let Authority::Workforce { cloud, tenant: Tenant::Guid(tenant), version } = authority else { continue };
        // The STS of version 1 is one for two clouds: the metadata says which of them is meant.
        let cloud_of_config = configs.iter().find_map(|(_, metadata)| match &metadata.authority {
            Authority::Workforce { cloud: known, .. } if shares_issuers(*known, *cloud, *version) => Some(*known),
            _ => None,
        });
        if let Some(cloud) = cloud_of_config {
            add(cloud, tenant.clone(), app_id.clone(), *version);
        }
    }
    /// What is the same for several tenants, and these.
    type Shared = (Cloud, Option<Guid>, Vec<TokenVersion>, Vec<String>);
    let mut sections: Vec<Shared> = Vec::new();
    for mut accepted in all {
        accepted.versions.sort_by_key(|version| version.number());
        let same = sections.iter_mut().find(|(cloud, app_id, versions, _)| {
            *cloud == accepted.cloud && *app_id == accepted.app_id && *versions == accepted.versions
        });
        match same {
            Some((_, _, _, tenants)) => tenants.push(accepted.tenant.to_string()),
            None => {
                sections.push((accepted.cloud, accepted.app_id, accepted.versions, vec![accepted.tenant.to_string()]))
            }
        }
    }
    let section = |(cloud, app_id, versions, tenants): Shared| {
        let mut section = named("workforce", "workforce", cloud);
        section.set_list("tenants", tenants);
        set_versions(&mut section, &versions);
        if let Some(app_id) = app_id {
            section.set("app_id", app_id.to_string());
        }
        section
    };
    sections.into_iter().map(section).collect()
}

/// A provider with nothing but its kind.
pub(super) fn named(name: &str, kind: &str, cloud: Cloud) -> Section {
    let mut section = Section { name: name.to_owned(), ..Section::default() };
    if kind != "workforce" {
        section.set("kind", kind);
    }
    if cloud != Cloud::Public {
        section.set("cloud", cloud.name());
    }
    section
}

/// `token_versions`, unless both are accepted, which is the default.
fn set_versions(section: &mut Section, versions: &[TokenVersion]) {
    if let [version] = versions {
        section.set("token_versions", list(vec![Value::from(u64::from(version.number()))]));
        section.comment(format!(
            "Version {} alone, as the metadata's address says. Which version tokens have is decided by the API's requestedAccessTokenVersion.",
            version.number()
        ));
    }
}

fn versions_of(listed: &[(&Written, Authority)], version: TokenVersion, wanted: &Tenant) -> Vec<TokenVersion> {
    let mut versions = vec![version];
    for (_, authority) in listed {
        match authority {
            Authority::ExternalId { tenant, version, .. } if tenant == wanted && !versions.contains(version) => {
                versions.push(*version)
            }
            Authority::B2c { .. } | Authority::ExternalId { .. } | Authority::Oidc | Authority::Workforce { .. } => {}
        }
    }
    versions
}

fn guid(tenant: &Tenant, config: &Written, reader: &mut Reader<'_>, host: impl Fn() -> String) -> Option<Guid> {
    match tenant {
        Tenant::Guid(guid) => Some(guid.clone()),
        Tenant::Domain(domain) => match reader.given.options.tenant(domain) {
            Some(guid) => Some(guid.clone()),
            None => reader.fault_at(config.at, no_guid(domain, &host())),
        },
        Tenant::Common | Tenant::Organizations => {
            reader.fault_at(config.at, "metadata of many tenants, expected one tenant's")
        }
    }
}

fn oidc(config: &Written, listed: &[(&Written, Authority)]) -> Section {
    let host = config.text.strip_prefix("https://").unwrap_or_default();
    let mut section = named(&label(host), "oidc", Cloud::Public);
    section.set("metadata_url", config.text.as_str());
    let others = listed.iter().filter(|(_, authority)| *authority == Authority::Oidc);
    section.set_list("issuers", others.map(|(issuer, _)| issuer.text.trim().to_owned()).collect());
    section.comment("algorithms is [RS256] by default; there PS256, RS512 and ES256 passed as well.");
    section
}

/// Whether an issuer that was read as one cloud's may be the other's.
fn shares_issuers(cloud: Cloud, of_issuer: Cloud, version: TokenVersion) -> bool {
    cloud == of_issuer || (version == TokenVersion::V1 && cloud.sts_host() == of_issuer.sts_host())
}

/// Issuers that belong to none of the metadata addresses: their keys would be another's.
fn unclaimed(configs: &[(&Written, authority::Metadata)], listed: &[(&Written, Authority)], reader: &mut Reader<'_>) {
    for (issuer, authority) in listed {
        let is_claimed = configs.iter().any(|(_, metadata)| match (&metadata.authority, authority) {
            (Authority::Workforce { cloud, .. }, Authority::Workforce { cloud: of_issuer, version, .. }) => {
                shares_issuers(*cloud, *of_issuer, *version)
            }
            (Authority::ExternalId { tenant, .. }, Authority::ExternalId { tenant: of_issuer, .. }) => {
                tenant == of_issuer
            }
            (Authority::B2c { domain, tenant, .. }, Authority::B2c { domain: of_issuer, tenant: of_it, .. }) => {
                domain == of_issuer && (tenant == of_it || !matches!(tenant, Tenant::Guid(_)))
            }
            (Authority::Oidc, Authority::Oidc) => true,
            _ => false,
        });
        if !is_claimed {
            let message = format!(
                "the issuer {} does not belong to an <openid-config> of this policy, expected one of its own",
                issuer.text.trim()
            );
            reader.fault_at::<()>(issuer.at, message);
        }
    }
}

/// A provider whose keys are in the policy.
pub(super) fn of_keys(keys: Section, listed: &[Written], node: Node<'_, '_>, reader: &mut Reader<'_>) -> Vec<Section> {
    if listed.is_empty() {
        let message = "keys without <issuers>: whose tokens they sign is not said, and here it must be";
        return reader.fault(node, message).unwrap_or_default();
    }
    let first = listed.first().map(|issuer| issuer.text.as_str()).unwrap_or_default();
    let host = first.split_once("://").map_or(first, |(_, rest)| rest);
    let mut section = named(&label(host), "oidc", Cloud::Public);
    section.set_list("issuers", listed.iter().map(|issuer| issuer.text.trim().to_owned()).collect());
    section.members.extend(keys.members);
    section.comments.extend(keys.comments);
    vec![section]
}

/// A provider's name from its host: the first label that says something.
pub(super) fn label(host: &str) -> String {
    let host = host.split(['/', ':', '?']).next().unwrap_or_default();
    let label = host.split('.').find(|label| !["", "www", "login", "auth", "accounts"].contains(label));
    let plain: String = label
        .unwrap_or("issuer")
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '_' })
        .collect();
    plain.to_ascii_lowercase()
}
