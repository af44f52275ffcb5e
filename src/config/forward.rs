//! `forward`: what the upstream is told.

use super::node::Node;
use crate::policy::forward::{Authorization, ClaimHeader, ClaimPath, Forward, State, spellings};

pub(super) const MEMBERS: [&str; 5] =
    ["authorization", "claim_headers", "clear_route_cache", "filter_state", "payload_header"];
pub(super) const CLAIM_HEADER_MEMBERS: [&str; 2] = ["claim", "header"];

/// Headers that mean something to HTTP, Envoy or this filter, and cannot carry claims.
const RESERVED: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn compile(node: &Node<'_>) -> Option<Forward> {
    let members = node.object(&MEMBERS)?;
    let authorization = members.get("authorization").map_or(Some(Authorization::Keep), |node| {
        node.choice(&[("keep", Authorization::Keep), ("remove", Authorization::Remove)])
    });
    let payload_header = members.optional("payload_header", header);
    let claim_headers = members.get("claim_headers").map_or(Some(Vec::new()), |node| {
        node.list(|node| {
            let members = node.object(&CLAIM_HEADER_MEMBERS)?;
            let header = members.required("header").and_then(|node| header(&node));
            let claim = members.required("claim").and_then(|node| match ClaimPath::parse(node.text()?) {
                Some(claim) => Some(claim),
                None => node.mistake("a claim's name, or a dotted path to one"),
            });
            Some(ClaimHeader { header: header?, claim: claim? })
        })
    });
    let filter_state = members.get("filter_state").map_or(Some(State::IDENTITY.to_vec()), |node| filter_state(&node));
    let clear_route_cache = members.optional("clear_route_cache", Node::flag);
    let (payload_header, claim_headers) = (payload_header?, claim_headers?);
    let mut names: Vec<&String> =
        payload_header.iter().chain(claim_headers.iter().map(|claim| &claim.header)).collect();
    let owned_headers = names.iter().flat_map(|name| spellings(name)).collect();
    names.sort();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return node.mistake_of("one header for two things", "a header of its own for each claim and the payload");
    }
    Some(Forward {
        authorization: authorization?,
        payload_header,
        claim_headers,
        filter_state: filter_state?,
        clear_route_cache: clear_route_cache?.unwrap_or(false),
        owned_headers,
    })
}

/// `none`, or a list.
fn filter_state(node: &Node<'_>) -> Option<Vec<State>> {
    if node.is("none") {
        return Some(Vec::new());
    }
    node.list(|node| {
        node.choice(&[
            ("provider", State::Provider),
            ("tenant", State::Tenant),
            ("subject", State::Subject),
            ("client", State::Client),
            ("token_id", State::TokenId),
            ("payload", State::Payload),
        ])
    })
}

fn header(node: &Node<'_>) -> Option<String> {
    let name = node.text()?.to_ascii_lowercase();
    let token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if token && !RESERVED.contains(&name.as_str()) && !name.starts_with("x-envoy-") && !name.starts_with("x-forwarded-")
    {
        Some(name)
    } else {
        node.mistake("a header name that nothing else uses, such as x-entra-oid")
    }
}
