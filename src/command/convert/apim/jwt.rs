//! `validate-jwt`.

use std::time::Duration;

use roxmltree::Node;
use serde_yaml_ng::Value;

use super::common;
use super::issuers::{self, Given};
use super::reading::{Reader, Written, is_expression, named_value, variable};
use crate::convert::draft::{Draft, Section, object};

const ATTRIBUTES: [&str; 4] = ["clock-skew", "require-expiration-time", "require-scheme", "require-signed-tokens"];
const ELEMENTS: [&str; 6] =
    ["audiences", "decryption-keys", "issuer-signing-keys", "issuers", "openid-config", "required-claims"];

pub(super) fn convert<'a>(policy: Node<'a, 'a>, reader: &mut Reader<'a>, draft: &mut Draft) {
    let attributes = reader.attributes(policy, &[&common::ATTRIBUTES[..], &ATTRIBUTES].concat());
    let children = reader.children(policy, &ELEMENTS);
    let flag = |name: &str, reader: &mut Reader<'a>| match attributes.get(name) {
        None => true,
        Some(written) => match written.text.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => reader
                .fault_at::<bool>(written.at, format!("{name}: found {:?}, expected true or false", written.text))
                .is_some(),
        },
    };
    if let (false, Some(written)) = (flag("require-signed-tokens", reader), attributes.get("require-signed-tokens")) {
        reader.fault_at::<()>(
            written.at,
            "require-signed-tokens false: a token without a signature is never accepted here",
        );
    }
    let needs_expiry = flag("require-expiration-time", reader);

    // What every provider shares.
    let mut shared = Section::default();
    let audiences = reader.only(&children, "audiences").map(|node| reader.texts(node, "audience"));
    match audiences {
        // They could not be read, and the fault is noted.
        Some(listed) if listed.is_empty() => {}
        listed => common::audiences(policy, listed.unwrap_or_default(), &mut shared, reader),
    }
    let claims = reader.only(&children, "required-claims");
    shared.set_list("required_claims", common::claims(claims, reader));
    match attributes.get("clock-skew") {
        None => shared.comment("clock_skew is 60 s by default, there 0."),
        Some(written) => match seconds(written.text.trim()) {
            Some(seconds) if seconds <= 600 => {
                let skew = humantime::format_duration(Duration::from_secs(seconds)).to_string();
                shared.set("clock_skew", skew.replace(' ', ""));
            }
            _ => drop(reader.fault_at::<()>(
                written.at,
                format!("clock-skew: found {:?}, expected seconds from 0 to 600", written.text),
            )),
        },
    }
    if let Some(source) = common::source(policy, &attributes, None, attributes.get("require-scheme"), reader) {
        if let Some(value) = source.value {
            shared.set("token_sources", value);
        }
        source.comments.into_iter().for_each(|comment| shared.comment(comment));
    }
    let decryption = reader.only(&children, "decryption-keys");
    common::decryption_keys(decryption, &mut shared, reader);

    let listed = reader.only(&children, "issuers").map(|node| reader.texts(node, "issuer")).unwrap_or_default();
    let configs: Vec<Written> = children
        .iter()
        .filter(|child| child.has_tag_name("openid-config"))
        .filter_map(|child| openid_config(*child, reader, &mut shared))
        .collect();
    let keys = reader.only(&children, "issuer-signing-keys");
    let has_configs = children.iter().any(|child| child.has_tag_name("openid-config"));
    let providers = match (has_configs, keys) {
        (true, None) => issuers::of_metadata(&Given { configs: &configs, listed: &listed }, reader),
        (false, Some(keys)) => issuers::of_keys(self::keys(keys, reader), &listed, keys, reader),
        (true, Some(keys)) => reader
            .fault(keys, "both <openid-config> and <issuer-signing-keys>: which key may sign for which issuer is not said. Convert each alone")
            .unwrap_or_default(),
        (false, None) => reader.fault(policy, "no keys, expected <openid-config> or <issuer-signing-keys>").unwrap_or_default(),
    };
    for mut provider in providers {
        let is_oidc = provider.members.get("kind") == Some(&Value::from("oidc"));
        if !needs_expiry {
            if is_oidc {
                provider.set("require_expiration_time", false);
            } else {
                provider.comment("require-expiration-time false: tokens of Entra always have `exp`, and need it here.");
            }
        }
        // The order of the reference: who issues, then for whom, then from where.
        let upstream = provider.members.remove("upstream");
        provider.members.extend(shared.members.clone());
        if let Some(upstream) = upstream {
            provider.members.insert("upstream".into(), upstream);
        }
        shared.comments.iter().for_each(|comment| provider.comment(comment));
        provider.name = draft.name_like(&provider.name);
        draft.providers.push(provider);
    }
    common::answers(&attributes, reader, draft);
}

/// Seconds, or a time span such as `00:05:00`.
fn seconds(text: &str) -> Option<u64> {
    let parts: Option<Vec<u64>> = text.split(':').map(|part| part.parse().ok()).collect();
    match parts?.as_slice() {
        [seconds] => Some(*seconds),
        [hours, minutes, seconds] if *minutes < 60 && *seconds < 60 => {
            hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(*seconds)
        }
        _ => None,
    }
}

fn openid_config(node: Node<'_, '_>, reader: &mut Reader<'_>, shared: &mut Section) -> Option<Written> {
    let attributes = reader.attributes(node, &["url", "validate-connectivity"]);
    if node.children().any(|child| child.is_element()) {
        return reader.fault(node, "<openid-config> holds elements, expected none");
    }
    if attributes.get("validate-connectivity").is_some() {
        shared.comment(
            "validate-connectivity has no equal: the filter starts without keys, and requests wait for the first ones.",
        );
    }
    match attributes.get("url") {
        Some(url) => Some(Written { text: url.text.trim().to_owned(), at: url.at }),
        None if node.attribute("url").is_some() => None,
        None => reader.fault(node, "no url, expected the address of the OpenID metadata"),
    }
}

/// The JWKs of `issuer-signing-keys`, and what there is to say about them.
fn keys<'a>(list_of: Node<'a, 'a>, reader: &mut Reader<'a>) -> Section {
    let mut section = Section::default();
    reader.attributes(list_of, &[]);
    let children = reader.children(list_of, &["key"]);
    if children.is_empty() {
        reader.fault::<()>(list_of, "<issuer-signing-keys> is empty, expected <key>");
    }
    let mut keys = Vec::new();
    let (mut secrets, mut public) = (0_u32, 0_u32);
    for node in children {
        let attributes = reader.attributes(node, &["certificate-id", "e", "id", "n"]);
        let mut key = Section::default();
        let text: String = node.text().unwrap_or_default().trim().to_owned();
        let material = (attributes.get("certificate-id"), attributes.get("n"), attributes.get("e"), !text.is_empty());
        match material {
            (Some(id), None, None, false) => {
                let Some(certificate) = reader.certificate(id) else { continue };
                key.set_list("x5c", vec![certificate]);
                public = public.saturating_add(1);
            }
            (None, Some(modulus), Some(exponent), false) => {
                key.set("kty", "RSA");
                key.set("n", modulus.text.trim());
                key.set("e", exponent.text.trim());
                public = public.saturating_add(1);
            }
            (None, None, None, true) => {
                let Some(variable) = secret(node, &text, reader, &mut section) else { continue };
                key.set("kty", "oct");
                key.set("k_env", variable);
                secrets = secrets.saturating_add(1);
            }
            _ => {
                reader.fault::<()>(node, "not one key, expected certificate-id, or n and e, or base64 text");
                continue;
            }
        }
        if let Some(id) = attributes.get("id") {
            key.set("kid", id.text.as_str());
        }
        keys.push(Value::Mapping(key.members));
    }
    if secrets > 0 && public > 0 {
        reader.fault::<()>(
            list_of,
            "secrets and public keys together: a public key must never be taken for a secret. Convert each alone",
        );
    }
    section.set("jwks", object([("keys", Value::Sequence(keys))]));
    if secrets > 0 {
        section.set("algorithms", Value::Sequence(vec!["HS256".into()]));
    } else {
        section.comment("algorithms is [RS256] by default; there PS256, RS512 and ES256 passed as well.");
    }
    section
}

/// The variable that holds a secret. The secret itself is never shown.
fn secret(node: Node<'_, '_>, text: &str, reader: &mut Reader<'_>, section: &mut Section) -> Option<String> {
    let whole =
        text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).filter(|name| !name.contains(['{', '}']));
    let (variable, told) = match whole {
        Some(name) => (variable(name), format!("the text of the named value {name}")),
        None if is_expression(text) || named_value(text).is_some() => {
            return reader.fault(node, "a key that an expression makes, expected base64 text, or one named value");
        }
        None => {
            let id = node.attribute("id").unwrap_or("jwt-signing-key");
            (variable(id), format!("the key's text from line {}, which is not repeated here", reader.at(node).line))
        }
    };
    section.comment(format!(
        "{variable} must hold {told}: base64 of at least 32 bytes, in vm_config.environment_variables."
    ));
    Some(variable)
}
