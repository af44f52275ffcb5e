//! `introspection`, `graph_tokens` and `status_lists` of a provider: who is asked about its tokens.

use std::time::Duration;

use super::environment::Environment;
use super::jwks;
use super::node::{Members, Node};
use crate::entra::cloud::Cloud;
use crate::inquiry::source::{
    Allowed, Authentication, GraphTokens, Introspection, OnFailure, StatusLists, Tokens, Upstream,
};
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::KeyMaterial;
use crate::keys::document::Address;
use crate::policy::provider::Kind;

pub(super) const INTROSPECTION_MEMBERS: [&str; 9] =
    ["authentication", "cache", "client_id", "client_secret_env", "cluster", "on_failure", "timeout", "tokens", "url"];
pub(super) const GRAPH_TOKENS_MEMBERS: [&str; 4] = ["cache", "cluster", "graph_url", "timeout"];
pub(super) const STATUS_LISTS_MEMBERS: [&str; 6] = ["cache", "cluster", "jwks", "on_failure", "timeout", "uris"];

/// The application ID of Microsoft Graph, in every cloud.
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// What a provider says of it.
pub(super) struct Inquiries {
    pub(super) introspection: Option<Introspection>,
    pub(super) graph_tokens: Option<GraphTokens>,
    pub(super) status_lists: Option<StatusLists>,
}

/// Reads all three.
pub(super) fn compile(
    members: &Members<'_>,
    kind: Kind,
    cloud: Cloud,
    algorithms: Option<&[Algorithm]>,
    environment: &Environment<'_>,
) -> Option<Inquiries> {
    if kind != Kind::Oidc {
        members.forbidden("introspection", "Entra has no such endpoint; it is for kind oidc");
    }
    let introspection = members.optional("introspection", |node| introspection(node, environment));
    let graph_tokens = if kind == Kind::Workforce {
        members.optional("graph_tokens", |node| graph_tokens(node, members, cloud))
    } else {
        members.forbidden("graph_tokens", "it is for kind workforce");
        Some(None)
    };
    let status_lists = members.optional("status_lists", |node| status_lists(node, algorithms, environment));
    Some(Inquiries { introspection: introspection?, graph_tokens: graph_tokens?, status_lists: status_lists? })
}

fn introspection(node: &Node<'_>, environment: &Environment<'_>) -> Option<Introspection> {
    let members = node.object(&INTROSPECTION_MEMBERS)?;
    let address = members.required("url").and_then(|node| match node.json().as_str().and_then(Address::parse) {
        Some(address) => Some(address),
        None => node.mistake("an absolute https address"),
    });
    let upstream = upstream(&members);
    let client_id = members.required("client_id").and_then(|node| node.text().map(str::to_owned));
    let client_secret = members.required("client_secret_env").and_then(|node| environment.read(&node));
    let words = [("basic", Authentication::Basic), ("post", Authentication::Post)];
    let authentication = members.get("authentication").map_or(Some(Authentication::Basic), |node| node.choice(&words));
    let cache = cache(&members, 30);
    let words = [("all", Tokens::All), ("opaque", Tokens::Opaque)];
    let tokens = members.get("tokens").map_or(Some(Tokens::All), |node| node.choice(&words));
    let on_failure = on_failure(&members);
    let (address, (cluster, timeout)) = (address?, upstream?);
    Some(Introspection {
        upstream: Upstream { address, cluster, timeout },
        client_id: client_id?,
        client_secret: client_secret?,
        authentication: authentication?,
        cache: cache?,
        tokens: tokens?,
        on_failure: on_failure?,
    })
}

/// Whoever has any token for Graph could come in by it: so the clients that may must be named.
fn graph_tokens(node: &Node<'_>, provider: &Members<'_>, cloud: Cloud) -> Option<GraphTokens> {
    let members = node.object(&GRAPH_TOKENS_MEMBERS)?;
    if provider.get("client_applications").is_none() {
        provider.at("client_applications").mistake_of::<()>(
            "nothing",
            "the clients whose tokens for Graph are accepted: without it any application's would be, beside `graph_tokens`",
        );
    }
    let graph = match members.get("graph_url") {
        None => Some(format!("https://{}", cloud.graph_host())),
        Some(node) => match node.json().as_str().map(|text| text.strip_suffix('/').unwrap_or(text)) {
            Some(text) if Address::parse(text).is_some_and(|at| format!("https://{}", at.authority()) == text) => {
                Some(text.to_owned())
            }
            _ => node.mistake("an https address without a path"),
        },
    };
    let (upstream, cache) = (upstream(&members), cache(&members, 60));
    let (graph, (cluster, timeout)) = (graph?, upstream?);
    let address = Address::parse(&format!("{graph}/oidc/userinfo"))?;
    Some(GraphTokens {
        upstream: Upstream { address, cluster, timeout },
        audiences: vec![GRAPH.to_owned(), format!("{graph}/"), graph],
        cache: cache?,
    })
}

fn status_lists(
    node: &Node<'_>,
    algorithms: Option<&[Algorithm]>,
    environment: &Environment<'_>,
) -> Option<StatusLists> {
    let members = node.object(&STATUS_LISTS_MEMBERS)?;
    let allowed = members.required("uris").and_then(|node| node.list(allowed));
    let upstream = upstream(&members);
    let keys = members.optional("jwks", |node| {
        let keys = jwks::compile(node, environment)?;
        let is_secret = keys.keys().any(|key| matches!(key.material, KeyMaterial::Secret(_)));
        let fits = |algorithms: &[Algorithm]| {
            keys.keys().all(|key| algorithms.iter().any(|algorithm| key.material.fits(*algorithm)))
        };
        if is_secret || !algorithms.is_none_or(fits) {
            return node
                .mistake_of("a key that could never verify a list", "public keys for the provider's algorithms");
        }
        Some(keys)
    });
    let (cache, on_failure) = (cache(&members, 300), on_failure(&members));
    let (cluster, timeout) = upstream?;
    Some(StatusLists { allowed: allowed?, cluster, timeout, keys: keys?, cache: cache?, on_failure: on_failure? })
}

fn allowed(node: &Node<'_>) -> Option<Allowed> {
    match node.json().as_str().map(|text| (text, Address::parse(text))) {
        // Of a host alone, all that is below it.
        Some((text, Some(address))) if text.ends_with('/') && !address.path().contains('?') => {
            Some(Allowed::Below(text.to_owned()))
        }
        Some((text, Some(_))) => Some(Allowed::Exact(text.to_owned())),
        _ => node.mistake("the absolute https address of a list, or one that ends in / for all lists below it"),
    }
}

fn upstream(members: &Members<'_>) -> Option<(String, Duration)> {
    let cluster = members.required("cluster").and_then(|node| node.text().map(str::to_owned));
    let timeout = members.get("timeout").map_or(Some(Duration::from_secs(2)), |node| {
        node.duration(Duration::from_millis(10)..=Duration::from_secs(60))
    });
    Some((cluster?, timeout?))
}

/// How long an answer counts: at least as long as those need who wait for it.
fn cache(members: &Members<'_>, default: u64) -> Option<Duration> {
    let seconds = Duration::from_secs;
    members.get("cache").map_or(Some(seconds(default)), |node| node.duration(seconds(1)..=seconds(86_400)))
}

fn on_failure(members: &Members<'_>) -> Option<OnFailure> {
    let words = [("deny", OnFailure::Deny), ("allow", OnFailure::Allow)];
    members.get("on_failure").map_or(Some(OnFailure::Deny), |node| node.choice(&words))
}
