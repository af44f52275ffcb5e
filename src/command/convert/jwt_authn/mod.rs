//! Envoy's `jwt_authn`, and Istio's RequestAuthentication, which becomes it.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/jwt_authn/v3/config.proto>

mod istio;
mod provider;
mod reading;
mod rules;

use self::provider::Provider;
use self::reading::Reader;
use super::draft::{Draft, list, object};
use super::faults::Faults;
use super::options::Options;
use crate::located::{Node, Position, read};

const JWT_AUTHN: &str = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
const PER_ROUTE: &str = "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig";
const MEMBERS: [&str; 8] = [
    "@type",
    "bypass_cors_preflight",
    "filter_state_rules",
    "providers",
    "requirement_map",
    "rules",
    "stat_prefix",
    "strip_failure_response",
];

/// Converts the one filter of a file, or its RequestAuthentications.
pub(super) fn convert(text: &str, options: &Options) -> Result<Draft, Faults> {
    let documents = read(text)?;
    let mut reader = Reader::new(options);
    let mut draft = Draft::default();
    let (mut filters, mut routes) = (Vec::new(), Vec::new());
    for document in &documents {
        look(document, &mut filters, &mut routes);
    }
    let of_istio = istio::rules(&documents);
    if let ([], [document], []) = (filters.as_slice(), documents.as_slice(), of_istio.as_slice()) {
        if document.get("providers").is_some() {
            filters.push(document);
        }
    }
    match (filters.as_slice(), of_istio.as_slice()) {
        ([filter], []) => self::filter(filter, &routes, &mut reader, &mut draft),
        ([], [_, ..]) => istio::convert(&documents, &of_istio, &mut reader, &mut draft),
        ([], []) => {
            let at = documents.first().map_or(Position::START, |document| document.at);
            reader.fault::<()>(at, "no jwt_authn filter and no RequestAuthentication, expected one");
        }
        ([_, second, ..], _) => {
            reader.fault::<()>(
                second.at,
                "a second jwt_authn filter: a request may have to satisfy both. Convert each alone",
            );
        }
        ([filter], _) => {
            reader.fault::<()>(filter.at, "a jwt_authn filter beside RequestAuthentications: convert each alone");
        }
    }
    let faults = reader.faults();
    if faults.0.is_empty() { Ok(draft) } else { Err(faults) }
}

fn look<'a>(node: &'a Node, filters: &mut Vec<&'a Node>, routes: &mut Vec<&'a Node>) {
    let kind =
        |name: &str| node.get(name).and_then(Node::text).and_then(|kind| kind.rsplit('/').next()).unwrap_or_default();
    match (kind("@type"), kind("type_url")) {
        (JWT_AUTHN, _) => filters.push(node),
        (PER_ROUTE, _) => routes.push(node),
        (_, JWT_AUTHN) => filters.extend(node.get("value")),
        (_, PER_ROUTE) => routes.extend(node.get("value")),
        _ => {
            for below in node.items().iter().chain(node.entries().iter().map(|entry| &entry.value)) {
                look(below, filters, routes);
            }
        }
    }
}

fn filter(filter: &Node, routes: &[&Node], reader: &mut Reader<'_>, draft: &mut Draft) {
    reader.only_members(filter, "jwt_authn", &MEMBERS);
    let mut providers = Vec::new();
    match filter.field("providers") {
        Some(all) => {
            for entry in all.entries() {
                providers.extend(provider::convert(&entry.name, entry.at, &entry.value, reader));
            }
        }
        None => drop(reader.fault::<()>(filter.at, "no providers, expected at least one")),
    }
    if let Some(rules) = filter.field("filter_state_rules") {
        reader.fault::<()>(rules.at, "filter_state_rules: rules look at the request alone");
    }
    rules::convert(filter, &mut providers, reader, draft);
    if reader.flag(filter, "bypass_cors_preflight") {
        draft.bypass_cors_preflight = true;
    }
    if reader.flag(filter, "strip_failure_response") {
        draft.responses.set("detail", "none");
        draft.responses.comment("detail none sends `error` alone, which RFC 6750 asks for.");
    }
    if let Some(prefix) = filter.field("stat_prefix") {
        draft.comments.push(format!("Line {}: stat_prefix has no equal: metrics have fixed names.", prefix.at.line));
    }
    for route in routes {
        reader.only_members(route, "PerRouteConfig", &["@type", "disabled", "requirement_name"]);
        if let Some(name) = route.field("requirement_name") {
            reader.fault::<()>(name.at, "requirement_name of a route: make it a rule with the route's match");
        } else if reader.flag(route, "disabled") {
            let line = route.at.line;
            draft.comments.push(format!(
                "Line {line}: a route without jwt_authn: there, switch this filter off with envoy.config.route.v3.FilterConfig, disabled: true."
            ));
        }
    }
    finish(providers, reader, draft);
}

/// What holds for all providers alike, and the providers themselves.
fn finish(providers: Vec<Provider>, reader: &mut Reader<'_>, draft: &mut Draft) {
    let keeps: Vec<bool> = providers.iter().map(|provider| provider.forward).collect();
    if keeps.iter().all(|keeps| !keeps) {
        draft.forward.set("authorization", "remove");
    } else if let Some(other) = providers.iter().find(|provider| !provider.forward) {
        let message =
            format!("provider {} does not forward the token, others do: here it is one for all", other.section.name);
        reader.fault::<()>(other.at, message);
    }
    let mut headers = providers.iter().filter_map(|provider| provider.payload_header.as_ref());
    if let Some(first) = headers.next() {
        draft.forward.set("payload_header", first.text.as_str());
        if let Some(other) = headers.find(|other| !other.text.eq_ignore_ascii_case(&first.text)) {
            reader.fault::<()>(
                other.at,
                "another forward_payload_header than that of the first provider: here it is one for all",
            );
        }
        if providers.iter().any(|provider| provider.payload_header.is_none()) {
            draft.forward.comment("payload_header is set for every provider, there for some.");
        }
    }
    let mut claim_headers: Vec<(String, String)> = Vec::new();
    for provider in &providers {
        for (header, claim) in &provider.claim_headers {
            match claim_headers.iter().find(|(known, _)| *known == header.text) {
                Some((_, known)) if known == claim => {}
                Some(_) => drop(reader.fault::<()>(
                    header.at,
                    format!(
                        "the header {} carries another claim for another provider: here it is one for all",
                        header.text
                    ),
                )),
                None => claim_headers.push((header.text.clone(), claim.clone())),
            }
        }
        if !provider.claim_headers.is_empty() && providers.len() > 1 {
            draft.forward.comment("claim_headers are set for every provider.");
        }
    }
    let row = |(header, claim): (String, String)| object([("header", header.into()), ("claim", claim.into())]);
    draft.forward.set_list("claim_headers", claim_headers.into_iter().map(row).collect());
    if providers.iter().any(|provider| provider.payload_in_metadata) {
        let names = ["provider", "tenant", "subject", "client", "token_id", "payload"];
        draft.forward.set("filter_state", list(names.to_vec()));
        draft.forward.comment("payload_in_metadata: a filter of this kind cannot set dynamic metadata. The filter state wasm.entra_gate.payload holds the payload as JSON text.");
    }
    if providers.iter().any(|provider| provider.clear_route_cache) {
        draft.forward.set("clear_route_cache", true);
    }
    draft.providers.extend(providers.into_iter().map(|provider| provider.section));
}
