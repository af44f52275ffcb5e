//! `validate-azure-ad-token`.

use entra_gate::entra::cloud::Cloud;
use reqwest::Url;
use roxmltree::Node;

use super::common;
use super::reading::{Reader, Written};
use crate::convert::authority::{Tenant, cloud_of};
use crate::convert::draft::{Draft, Section};

const ELEMENTS: [&str; 5] =
    ["audiences", "backend-application-ids", "client-application-ids", "decryption-keys", "required-claims"];

pub(super) fn convert<'a>(policy: Node<'a, 'a>, reader: &mut Reader<'a>, draft: &mut Draft) {
    let known = [&common::ATTRIBUTES[..], &["authentication-endpoint", "tenant-id"]].concat();
    let attributes = reader.attributes(policy, &known);
    let children = reader.children(policy, &ELEMENTS);
    let mut section = Section { name: "workforce".to_owned(), ..Section::default() };

    let endpoint = match attributes.get("authentication-endpoint") {
        Some(endpoint) => cloud(endpoint, reader),
        None => None,
    };
    let tenant = match attributes.get("tenant-id") {
        Some(tenant) => self::tenant(tenant, endpoint, reader),
        None if policy.attribute("tenant-id").is_some() => None,
        None => reader.fault(policy, "no tenant-id, expected a tenant's GUID, or organizations or common"),
    };
    if let Some((tenant, cloud)) = tenant {
        if cloud != Cloud::Public {
            section.set("cloud", cloud.name());
        }
        match tenant {
            Tenant::Guid(guid) => section.set_list("tenants", vec![guid.to_string()]),
            Tenant::Organizations => section.set("tenants", "any"),
            Tenant::Common | Tenant::Domain(_) => {
                section.set("tenants", "any");
                section.set("personal_accounts", true);
                section.comment("`common` is every organization, and personal accounts: take personal_accounts off to leave those out.");
            }
        }
    }

    let texts = |list: &str, element: &str, reader: &mut Reader<'a>| {
        reader.only(&children, list).map(|node| reader.texts(node, element)).unwrap_or_default()
    };
    let backends = texts("backend-application-ids", "application-id", reader);
    let clients = texts("client-application-ids", "application-id", reader);
    let audiences = texts("audiences", "audience", reader);
    match (backends.first(), audiences.is_empty()) {
        (Some(backend), false) => {
            let message = "both <backend-application-ids> and <audiences>: here both are `audiences`, of which one must match. Take one of them off";
            reader.fault_at::<()>(backend.at, message);
        }
        (Some(_), true) => {
            section.comment(
                "backend-application-ids are audiences here: v2 tokens name the API's application ID in `aud`.",
            );
            common::audiences(policy, backends, &mut section, reader);
        }
        // A list that could not be read has its fault already.
        (None, _) if audiences.is_empty() && children.iter().any(|child| child.has_tag_name("audiences")) => {}
        (None, _) => common::audiences(policy, audiences, &mut section, reader),
    }
    section.set_list("client_applications", clients.into_iter().map(|client| client.text).collect());
    let claims = reader.only(&children, "required-claims");
    section.set_list("required_claims", common::claims(claims, reader));
    if let Some(source) = common::source(policy, &attributes, Some("Authorization"), None, reader) {
        if let Some(value) = source.value {
            section.set("token_sources", value);
            source.comments.into_iter().for_each(|comment| section.comment(comment));
        }
    }
    let decryption = reader.only(&children, "decryption-keys");
    common::decryption_keys(decryption, &mut section, reader);
    let cluster = &reader.given.options.cluster;
    section.set("upstream", crate::convert::draft::object([("cluster", cluster.as_str().into())]));
    section.comment(format!("upstream.cluster is the Envoy cluster that leads to the login host: {cluster}."));
    common::answers(&attributes, reader, draft);
    draft.providers.push(section);
}

/// The cloud behind an address, `https://` or not.
fn cloud(endpoint: &Written, reader: &mut Reader<'_>) -> Option<Cloud> {
    let text = endpoint.text.trim();
    let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    match cloud_of(host) {
        Ok(cloud) => Some(cloud),
        Err(message) => reader.fault_at(endpoint.at, format!("authentication-endpoint: {message}")),
    }
}

/// A GUID, a word or an address with one of them.
fn tenant(written: &Written, endpoint: Option<Cloud>, reader: &mut Reader<'_>) -> Option<(Tenant, Cloud)> {
    let text = written.text.trim();
    let (name, cloud) = if text.contains("://") {
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.query().is_none());
        let Some(url) = url else {
            return reader.fault_at(
                written.at,
                format!("tenant-id: found {text:?}, expected an https address with a tenant in it"),
            );
        };
        let cloud = match cloud_of(url.host_str().unwrap_or_default()) {
            Ok(cloud) => cloud,
            Err(message) => return reader.fault_at(written.at, format!("tenant-id: {message}")),
        };
        if endpoint.is_some_and(|endpoint| endpoint != cloud) {
            return reader.fault_at(written.at, "tenant-id and authentication-endpoint name different clouds");
        }
        let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            [tenant] | [tenant, "v2.0"] => ((*tenant).to_owned(), cloud),
            _ => return reader.fault_at(
                written.at,
                format!(
                    "tenant-id: found {text:?}, expected an address such as https://login.microsoftonline.com/<tenant>"
                ),
            ),
        }
    } else {
        (text.to_owned(), endpoint.unwrap_or(Cloud::Public))
    };
    match Tenant::parse(&name) {
        Some(Tenant::Domain(domain)) => match reader.given.options.tenant(&domain) {
            Some(guid) => Some((Tenant::Guid(guid.clone()), cloud)),
            None => reader.fault_at(written.at, no_guid(&domain, cloud.login_host())),
        },
        Some(tenant) => Some((tenant, cloud)),
        None => reader.fault_at(
            written.at,
            format!("tenant-id: found {name:?}, expected a tenant's GUID, organizations or common"),
        ),
    }
}

/// What to do about a tenant without its GUID.
pub(super) fn no_guid(domain: &str, host: &str) -> String {
    format!(
        "the tenant {domain}: tokens name it by its GUID. Give it with --tenant {domain}=GUID; it stands in `issuer` of \
         https://{host}/{domain}/v2.0/.well-known/openid-configuration"
    )
}
