//! Azure API Management's `validate-azure-ad-token` and `validate-jwt`.
//!
//! <https://learn.microsoft.com/azure/api-management/validate-azure-ad-token-policy>,
//! <https://learn.microsoft.com/azure/api-management/validate-jwt-policy>

mod common;
mod entra_token;
mod issuers;
mod jwt;
mod reading;

use roxmltree::{Document, Node, ParsingOptions};

use self::reading::Reader;
use super::draft::Draft;
use super::faults::Faults;
use super::{Given, faults};
use crate::located::Position;

/// The two policies.
const POLICIES: [&str; 2] = ["validate-azure-ad-token", "validate-jwt"];
/// What other policies do that can refuse a request: without them here, it passes.
const GUARDS: [&str; 19] = [
    "check-header",
    "choose",
    "cross-domain",
    "include-fragment",
    "ip-filter",
    "limit-concurrency",
    "llm-content-safety",
    "llm-token-limit",
    "quota",
    "quota-by-key",
    "rate-limit",
    "rate-limit-by-key",
    "return-response",
    "validate-client-certificate",
    "validate-content",
    "validate-graphql-request",
    "validate-headers",
    "validate-odata-request",
    "validate-parameters",
];

/// Converts a policy, or the one in a document.
pub(super) fn convert(text: &str, given: &Given<'_>) -> Result<Draft, Faults> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 100_000, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| not_xml(text, &error))?;
    let mut reader = Reader::new(&document, given);
    let mut draft = Draft::default();
    if let Some(policy) = the_policy(&mut reader, &mut draft) {
        match policy.tag_name().name() {
            "validate-jwt" => jwt::convert(policy, &mut reader, &mut draft),
            _ => entra_token::convert(policy, &mut reader, &mut draft),
        }
    }
    let faults = reader.faults();
    if faults.0.is_empty() { Ok(draft) } else { Err(faults) }
}

fn not_xml(text: &str, error: &roxmltree::Error) -> Faults {
    let mut faults = Faults::default();
    let (at, message) = match error {
        roxmltree::Error::DtdDetected => {
            let before = text.split("<!DOCTYPE").next().unwrap_or_default();
            let line = before.matches('\n').count().saturating_add(1);
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
            (
                Position { line, column },
                "a document type (<!DOCTYPE>), expected none: a policy has no entities of its own".to_owned(),
            )
        }
        error => {
            let at = error.pos();
            (reading::position(at), format!("not XML: {}", without_place(error)))
        }
    };
    let hint = if text.contains("@(") || text.contains("@{") {
        ". Policy expressions with quotation marks, & or < are no XML: write &quot;, &amp; and &lt;, or what they stand for"
    } else {
        ""
    };
    faults.note::<()>(at, format!("{message}{hint}"));
    faults
}

/// The parser's sentence ends with the place, which stands before it here.
fn without_place(error: &roxmltree::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at ") {
        Some((sentence, place)) if place.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') => {
            sentence.to_owned()
        }
        _ => text,
    }
}

/// The one policy that is converted. What stands beside it is named.
fn the_policy<'a>(reader: &mut Reader<'a>, draft: &mut Draft) -> Option<Node<'a, 'a>> {
    let root = reader.root();
    if POLICIES.contains(&root.tag_name().name()) {
        return Some(root);
    }
    let scope = match root.tag_name().name() {
        "policies" => {
            let sections = ["inbound", "backend", "outbound", "on-error"];
            let mut scope = None;
            for section in reader.children(root, &sections) {
                match section.tag_name().name() {
                    "inbound" => scope = Some(section),
                    name => name_others(section, &format!(" of <{name}>"), reader, draft),
                }
            }
            scope.or_else(|| {
                reader.fault(root, "no <inbound>, expected one with validate-azure-ad-token or validate-jwt")
            })?
        }
        "fragment" | "inbound" => root,
        other => {
            let known = [&POLICIES[..], &["policies", "inbound", "fragment"]].concat();
            return reader.fault(root, format!("found <{other}>, {}", faults::expected(other, &known)));
        }
    };
    name_others(scope, "", reader, draft);
    let found: Vec<Node<'_, '_>> = elements(scope).filter(|node| POLICIES.contains(&node.tag_name().name())).collect();
    match found.as_slice() {
        [policy] => Some(*policy),
        [] if reader.has_faults() => None,
        [] => reader.fault(scope, "no validate-azure-ad-token and no validate-jwt, expected one"),
        [_, second, ..] => reader.fault(
            *second,
            "a second policy for tokens: a request would have to satisfy both. Convert each alone, and put one filter behind the other",
        ),
    }
}

fn elements<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(Node::is_element)
}

fn name_others(scope: Node<'_, '_>, place: &str, reader: &mut Reader<'_>, draft: &mut Draft) {
    let is_inbound = place.is_empty();
    for policy in elements(scope) {
        let name = policy.tag_name().name();
        let line = reader.at(policy).line;
        let inner = policy.descendants().skip(1).find(|node| POLICIES.contains(&node.tag_name().name()));
        if let Some(inner) = inner {
            let message = format!(
                "<{}> inside <{name}>: it holds for some requests only. Make it a rule with a match",
                inner.tag_name().name()
            );
            reader.fault::<()>(inner, message);
        } else if POLICIES.contains(&name) {
            if !is_inbound {
                reader.fault::<()>(policy, format!("<{name}>{place}, expected it in <inbound>"));
            }
        } else if name == "base" {
            if is_inbound {
                draft
                    .comments
                    .push(format!("Line {line}: <base/>: the policies of the outer scopes are not in this file."));
            }
        } else if GUARDS.contains(&name) || name.starts_with("authentication-") {
            draft.comments.push(format!("Line {line}: <{name}>{place} is not converted. It may refuse requests that pass here: keep it elsewhere, or make it a rule."));
        } else {
            draft.comments.push(format!("Line {line}: <{name}>{place} is not converted."));
        }
    }
}
