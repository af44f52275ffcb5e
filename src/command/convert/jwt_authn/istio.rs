//! Istio's RequestAuthentication: each of its rules as the `JwtProvider` that istiod makes of it.
//!
//! <https://istio.io/latest/docs/reference/config/security/request_authentication/>

use reqwest::Url;

use super::provider::{self, Provider};
use super::reading::Reader;
use super::rules;
use crate::convert::draft::Draft;
use crate::located::{Data, Entry, Node};

const MEMBERS: [&str; 13] = [
    "audiences",
    "forwardOriginalToken",
    "fromCookies",
    "fromHeaders",
    "fromParams",
    "issuer",
    "jwks",
    "jwksUri",
    "jwks_uri",
    "outputClaimToHeaders",
    "outputPayloadToHeader",
    "spaceDelimitedClaims",
    "timeout",
];

/// The rules of all RequestAuthentications.
pub(super) fn rules(documents: &[Node]) -> Vec<&Node> {
    let mut found = Vec::new();
    for document in documents {
        gather(document, "RequestAuthentication", &mut found);
    }
    found.into_iter().flat_map(|one| one.below(&["spec", "jwtRules"]).map(Node::items).unwrap_or_default()).collect()
}

fn gather<'a>(node: &'a Node, kind: &str, found: &mut Vec<&'a Node>) {
    if node.get("kind").and_then(Node::text) == Some(kind) {
        found.push(node);
    }
    // `kubectl get` gives a list.
    node.get("items").map(Node::items).unwrap_or_default().iter().for_each(|item| gather(item, kind, found));
}

pub(super) fn convert(documents: &[Node], of_istio: &[&Node], reader: &mut Reader<'_>, draft: &mut Draft) {
    let mut providers: Vec<Provider> = Vec::new();
    for rule in of_istio {
        reader.only_members(rule, "a jwtRule", &MEMBERS);
        let issuer = rule.get("issuer").and_then(Node::text).unwrap_or_default();
        let host = Url::parse(issuer)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_else(|| issuer.to_owned());
        let wanted = host
            .split('.')
            .find(|label| !["", "www", "login", "sts"].contains(label))
            .unwrap_or("issuer")
            .replace('-', "_");
        let is_free = |name: &String| providers.iter().all(|provider| provider.section.name != *name);
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        let name = std::iter::once(wanted.clone()).chain(numbered).find(is_free).unwrap_or_default();
        if let Some(mut provider) = provider::convert(&name, rule.at, &as_provider(rule, reader), reader) {
            if rule.get("spaceDelimitedClaims").is_some() {
                provider.section.comment("spaceDelimitedClaims has no equal: ask for scopes with `scopes`, for parts of other claims with `separator`.");
            }
            providers.push(provider);
        }
    }
    let empty = Node {
        at: of_istio.first().map_or(crate::located::Position::START, |rule| rule.at),
        data: Data::Map(Vec::new()),
    };
    rules::convert(&empty, &mut providers, reader, draft);
    draft.about_rules = vec![
        "There a request without a token passes, unless an AuthorizationPolicy demands one. Here every request needs a token; to let requests without one \
         pass, add rules with `allow: optional`."
            .to_owned(),
    ];
    let mut policies = Vec::new();
    documents.iter().for_each(|document| gather(document, "AuthorizationPolicy", &mut policies));
    for policy in policies {
        draft.comments.push(format!("Line {}: an AuthorizationPolicy is not converted: what it asks of claims is a rule's `claims`, `scopes` or roles.", policy.at.line));
    }
    super::finish(providers, reader, draft);
}

/// The rule as Envoy has it.
fn as_provider(rule: &Node, reader: &Reader<'_>) -> Node {
    let mut entries: Vec<Entry> = Vec::new();
    let mut keep = |from: &str, to: &str| {
        if let Some(entry) = rule.entry(from) {
            entries.push(Entry { name: to.to_owned(), ..entry.clone() });
        }
    };
    keep("issuer", "issuer");
    keep("audiences", "audiences");
    keep("fromParams", "from_params");
    keep("fromCookies", "from_cookies");
    keep("outputPayloadToHeader", "forward_payload_header");
    keep("forwardOriginalToken", "forward");
    for (from, to, names) in [
        ("fromHeaders", "from_headers", [("name", "name"), ("prefix", "value_prefix")]),
        ("outputClaimToHeaders", "claim_to_headers", [("header", "header_name"), ("claim", "claim_name")]),
    ] {
        if let Some(entry) = rule.entry(from) {
            let items = entry.value.items().iter().map(|item| renamed(item, &names)).collect();
            let value = Node { at: entry.value.at, data: Data::List(items) };
            entries.push(Entry { name: to.to_owned(), at: entry.at, value });
        }
    }
    let object = |at, members: Vec<Entry>| Node { at, data: Data::Map(members) };
    let entry = |name: &str, at, value: Node| Entry { name: name.to_owned(), at, value };
    match rule.entry("jwks") {
        Some(jwks) => {
            let inline = object(jwks.at, vec![entry("inline_string", jwks.at, jwks.value.clone())]);
            entries.push(entry("local_jwks", jwks.at, inline));
        }
        None => {
            let mut http = Vec::new();
            let uri = rule.entry("jwksUri").or_else(|| rule.entry("jwks_uri"));
            http.extend(uri.map(|uri| entry("uri", uri.at, uri.value.clone())));
            http.extend(rule.entry("timeout").cloned());
            http.push(entry("cluster", rule.at, Node::of_text(&reader.options.cluster, rule.at)));
            let remote = object(rule.at, vec![entry("http_uri", rule.at, object(rule.at, http))]);
            entries.push(entry("remote_jwks", rule.at, remote));
        }
    }
    Node { at: rule.at, data: Data::Map(entries) }
}

fn renamed(item: &Node, names: &[(&str, &str)]) -> Node {
    let name = |entry: &Entry| {
        let known = names.iter().find(|(from, _)| *from == entry.name);
        Entry { name: known.map_or_else(|| entry.name.clone(), |(_, to)| (*to).to_owned()), ..entry.clone() }
    };
    Node { at: item.at, data: Data::Map(item.entries().iter().map(name).collect()) }
}
