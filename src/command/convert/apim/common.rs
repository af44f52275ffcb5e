//! What both policies have.

use roxmltree::Node;
use serde_yaml_ng::Value;

use super::reading::{Attributes, Reader, Written, variable};
use crate::convert::draft::{Draft, Section, list, object};

/// Attributes of both.
pub(super) const ATTRIBUTES: [&str; 6] = [
    "failed-validation-error-message",
    "failed-validation-httpcode",
    "header-name",
    "output-token-variable-name",
    "query-parameter-name",
    "token-value",
];

/// Where the token is, as `token_sources`; none for `Authorization: Bearer`.
#[derive(Default)]
pub(super) struct Source {
    pub(super) value: Option<Value>,
    pub(super) comments: Vec<String>,
}

/// Where the token is. `otherwise` is the header for a policy that names no place.
pub(super) fn source(
    policy: Node<'_, '_>,
    attributes: &Attributes,
    otherwise: Option<&str>,
    scheme: Option<&Written>,
    reader: &mut Reader<'_>,
) -> Option<Source> {
    if let Some(expression) = attributes.get("token-value") {
        return reader.fault_at(
            expression.at,
            "token-value: there are no expressions here, expected header-name or query-parameter-name",
        );
    }
    match (attributes.get("header-name"), attributes.get("query-parameter-name")) {
        (Some(_), Some(query)) => {
            reader.fault_at(query.at, "both header-name and query-parameter-name, expected one of them")
        }
        (None, Some(query)) => Some(Source {
            value: Some(list(vec![object([("query", query.text.as_str().into())])])),
            comments: vec![
                "The query parameter is taken off before the upstream and the access log see it.".to_owned(),
            ],
        }),
        (None, None) if otherwise.is_none() => {
            reader.fault(policy, "no place of the token, expected header-name or query-parameter-name")
        }
        (header, None) => {
            let name = header.map_or(otherwise.unwrap_or_default(), |header| &header.text);
            if !name.eq_ignore_ascii_case("authorization") {
                let mut comments =
                    vec![format!("The header {name} holds the token alone; for a scheme before it add `scheme`.")];
                if scheme.is_some() {
                    comments.push("require-scheme is ignored for a header of one's own, there and here.".to_owned());
                }
                return Some(Source { value: Some(list(vec![object([("header", name.into())])])), comments });
            }
            match scheme {
                Some(scheme) if !scheme.text.eq_ignore_ascii_case("bearer") => {
                    let source = object([("header", "authorization".into()), ("scheme", scheme.text.as_str().into())]);
                    Some(Source { value: Some(list(vec![source])), comments: Vec::new() })
                }
                Some(_) => Some(Source::default()),
                None => Some(Source {
                    value: None,
                    comments: vec!["The token stands behind `Bearer`; there any scheme was accepted, or none, unless require-scheme said otherwise.".to_owned()],
                }),
            }
        }
    }
}

/// `responses` and `forward`.
pub(super) fn answers(attributes: &Attributes, reader: &mut Reader<'_>, draft: &mut Draft) {
    if let Some(status) = attributes.get("failed-validation-httpcode") {
        match status.text.trim().parse::<u16>() {
            Ok(code) if (400..600).contains(&code) => {
                draft.responses.set("unauthorized_status", u64::from(code));
                if code != 401 {
                    draft
                        .responses
                        .comment("The status stands in place of 401 alone: 400, 403 and 503 stay what they are.");
                }
            }
            _ => {
                reader.fault_at::<()>(
                    status.at,
                    format!("found the status {:?}, expected one from 400 to 599", status.text),
                );
            }
        }
    }
    if let Some(message) = attributes.get("failed-validation-error-message") {
        let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
        if message.text.bytes().all(plain) {
            draft.responses.set("message", message.text.as_str());
        } else {
            reader.fault_at::<()>(message.at, "a message that a challenge cannot hold, expected printable ASCII without quotation marks and backslashes");
        }
    }
    if let Some(name) = attributes.get("output-token-variable-name") {
        let plain: String = name
            .text
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
            .collect();
        draft.forward.set("payload_header", format!("x-{plain}"));
        draft.forward.comment(format!(
            "There are no variables: what later policies read from {} is base64url of the token's payload in this header, for the upstream.",
            name.text
        ));
    }
}

/// `required_claims`.
pub(super) fn claims<'a>(list_of: Option<Node<'a, 'a>>, reader: &mut Reader<'a>) -> Vec<Value> {
    let Some(list_of) = list_of else { return Vec::new() };
    reader.attributes(list_of, &[]);
    let children = reader.children(list_of, &["claim"]);
    if children.is_empty() {
        reader.fault::<()>(list_of, "<required-claims> is empty, expected <claim>");
    }
    children.into_iter().filter_map(|claim| self::claim(claim, reader)).collect()
}

fn claim<'a>(claim: Node<'a, 'a>, reader: &mut Reader<'a>) -> Option<Value> {
    let attributes = reader.attributes(claim, &["match", "name", "separator"]);
    let values = reader.children(claim, &["value"]);
    let mut texts = Vec::new();
    for value in values {
        reader.attributes(value, &[]);
        texts.push(reader.text(value)?.text);
    }
    let mut section = Section::default();
    match attributes.get("name") {
        Some(name) => section.set("name", name.text.as_str()),
        None if claim.attribute("name").is_some() => return None,
        None => return reader.fault(claim, "no name of the claim, expected the attribute name"),
    }
    if let Some(needs) = attributes.get("match") {
        if !["all", "any"].contains(&needs.text.as_str()) {
            return reader.fault_at(needs.at, format!("found match {:?}, expected all or any", needs.text));
        }
        if !texts.is_empty() {
            section.set("match", needs.text.as_str());
        }
    }
    let separator = attributes.get("separator").filter(|_| !texts.is_empty());
    if let Some(separator) = separator {
        section.set("separator", separator.text.as_str());
    }
    section.set_list("values", texts);
    Some(Value::Mapping(section.members))
}

/// `audiences`, from the policy or from the command line.
pub(super) fn audiences<'a>(
    policy: Node<'a, 'a>,
    listed: Vec<Written>,
    section: &mut Section,
    reader: &mut Reader<'a>,
) {
    let given = &reader.given.options.audiences;
    if !listed.is_empty() {
        section.set_list("audiences", listed.into_iter().map(|audience| audience.text).collect());
        if !given.is_empty() {
            section.comment("The audiences are the policy's; --audience is for policies without any.");
        }
    } else if given.is_empty() {
        let message =
            "no <audiences>: there a token for any API passes, here never. Say which API this is: --audience api://…";
        reader.fault::<()>(policy, message);
    } else {
        section.set_list("audiences", given.clone());
        section.comment("The policy has no audiences, and accepted tokens for any API; these are from --audience.");
    }
}

/// `decryption_keys`.
pub(super) fn decryption_keys<'a>(list_of: Option<Node<'a, 'a>>, section: &mut Section, reader: &mut Reader<'a>) {
    let Some(list_of) = list_of else { return };
    reader.attributes(list_of, &[]);
    let children = reader.children(list_of, &["key"]);
    if children.is_empty() {
        reader.fault::<()>(list_of, "<decryption-keys> is empty, expected <key>");
    }
    let mut keys = Vec::new();
    for key in children {
        let attributes = reader.attributes(key, &["certificate-id"]);
        match attributes.get("certificate-id") {
            Some(id) => {
                let variable = variable(&id.text);
                section.comment(format!("{variable} must hold the private key of the certificate {}: PEM, in vm_config.environment_variables.", id.text));
                keys.push(object([("private_key_env", variable.as_str().into())]));
            }
            // The text is a secret: it is not even read.
            None => {
                reader.fault::<()>(
                    key,
                    "a symmetric decryption key, expected certificate-id: only RSA keys open tokens here",
                );
            }
        }
    }
    section.set_list("decryption_keys", keys);
}
