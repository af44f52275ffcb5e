//! `responses`: how refusals look.

use super::node::Node;
use crate::policy::{Detail, Responses};

pub(super) const MEMBERS: [&str; 4] = ["detail", "message", "realm", "unauthorized_status"];

pub(super) fn compile(node: Option<&Node<'_>>) -> Option<Responses> {
    let mut responses = Responses {
        unauthorized_status: 401,
        message: None,
        detail: Detail::Reason,
        realm: String::new(),
        resource_metadata: None,
    };
    let Some(node) = node else {
        return Some(responses);
    };
    let members = node.object(&MEMBERS)?;
    let printable = |node: &Node<'_>| {
        let text = node.text()?;
        // What a quoted-string of a challenge may hold without escapes (RFC 6750 section 3).
        if text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
            Some(text.to_owned())
        } else {
            node.mistake("printable ASCII without quotation marks and backslashes")
        }
    };
    let detail = members.get("detail").map_or(Some(Detail::Reason), |node| {
        node.choice(&[("none", Detail::None), ("reason", Detail::Reason), ("full", Detail::Full)])
    });
    let status = members.get("unauthorized_status").map_or(Some(401), |node| node.integer(400..=599));
    let message = members.optional("message", printable);
    let realm = members.get("realm").map_or(Some(String::new()), |node| printable(&node));
    responses.detail = detail?;
    responses.unauthorized_status = u16::try_from(status?).ok()?;
    responses.message = message?;
    responses.realm = realm?;
    Some(responses)
}
