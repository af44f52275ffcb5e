//! From a plugin configuration to a [`Policy`], once, with all mistakes told together.
//!
//! The document arrives as JSON text (`StringValue`) or as a serialized `google.protobuf.Struct`; both are the same.

mod authority;
mod authorization_server;
mod claims;
mod decryption;
mod environment;
mod explain;
mod forward;
mod inquiry;
mod jwks;
pub mod node;
pub mod path;
mod provider;
mod registration;
mod requirement;
mod resource;
mod responses;
mod revocation;
mod rules;
mod sources;
mod structure;

use std::cell::RefCell;

use serde_json::Value;

use self::environment::Environment;
pub use self::node::Mistake;
use self::node::Node;
use self::requirement::Known;
use crate::jose::json;
use crate::policy::explain::Explain;
use crate::policy::provider::Providers;
use crate::policy::rules::Rules;
use crate::policy::sources::{Source, Sources};
use crate::policy::{Policy, Preflights, Responses};

/// The members of the whole document, with their sub-documents, for the reference to be held against.
#[must_use]
pub fn members() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("", &MEMBERS),
        ("providers.*", &provider::MEMBERS),
        ("providers.*.upstream", &provider::UPSTREAM_MEMBERS),
        ("providers.*.keys", &provider::KEYS_MEMBERS),
        ("providers.*.required_claims[]", &claims::MEMBERS),
        ("providers.*.token_sources[]", &sources::MEMBERS),
        ("providers.*.decryption_keys[]", &decryption::MEMBERS),
        ("providers.*.introspection", &inquiry::INTROSPECTION_MEMBERS),
        ("providers.*.graph_tokens", &inquiry::GRAPH_TOKENS_MEMBERS),
        ("providers.*.status_lists", &inquiry::STATUS_LISTS_MEMBERS),
        ("rules[]", &rules::MEMBERS),
        ("rules[].match", &rules::MATCH_MEMBERS),
        ("rules[].require", &requirement::MEMBERS),
        ("forward", &forward::MEMBERS),
        ("forward.claim_headers[]", &forward::CLAIM_HEADER_MEMBERS),
        ("responses", &responses::MEMBERS),
        ("resource_metadata", &resource::MEMBERS),
        ("authorization_server", &authorization_server::MEMBERS),
        ("registration", &registration::MEMBERS),
        ("registration.access", &registration::ACCESS_MEMBERS),
        ("registration.access.app_roles", &registration::APP_ROLES_MEMBERS),
        ("registration.allow", &registration::ALLOW_MEMBERS),
        ("registration.client_certificate", &registration::CERTIFICATE_MEMBERS),
        ("registration.rate_limit", &registration::RATE_LIMIT_MEMBERS),
        ("registration.scopes.*", &registration::SCOPE_MEMBERS),
        ("registration.upstreams", &registration::UPSTREAMS_MEMBERS),
        ("registration.upstreams.*", &registration::UPSTREAM_MEMBERS),
        ("revocation", &revocation::MEMBERS),
        ("revocation.feed", &revocation::FEED_MEMBERS),
        ("revocation.entries[]", &revocation::ENTRY_MEMBERS),
        ("explain", &explain::MEMBERS),
    ]
}

const MEMBERS: [&str; 10] = [
    "authorization_server",
    "bypass_cors_preflight",
    "explain",
    "forward",
    "providers",
    "registration",
    "resource_metadata",
    "responses",
    "revocation",
    "rules",
];

/// Compiles a plugin configuration that names no environment variables.
///
/// # Errors
/// Every mistake that was found; never none.
pub fn compile(document: &[u8]) -> Result<Policy, Vec<Mistake>> {
    compile_with(document, &|_| None)
}

/// Compiles a plugin configuration; `environment` gives the values of the variables that it names.
///
/// # Errors
/// Every mistake that was found; never none.
pub fn compile_with(document: &[u8], environment: &dyn Fn(&str) -> Option<String>) -> Result<Policy, Vec<Mistake>> {
    let value = read(document).map_err(|mistake| vec![mistake])?;
    let mistakes = RefCell::new(Vec::new());
    let policy = compile_value(&Node::root(&value, &mistakes), &Environment(environment));
    let mistakes = mistakes.into_inner();
    match policy {
        Some(policy) if mistakes.is_empty() => Ok(policy),
        _ if mistakes.is_empty() => Err(vec![Mistake::new("", "an unusable configuration", "a complete one")]),
        _ => Err(mistakes),
    }
}

fn read(document: &[u8]) -> Result<Value, Mistake> {
    let text = document.trim_ascii();
    if text.is_empty() {
        return Err(Mistake::new("", "no configuration", "at least `providers`"));
    }
    // No serialized Struct starts with a brace: as a tag that would be a group of field 15.
    if text.starts_with(b"{") {
        return match json::object(text) {
            Ok(members) => Ok(Value::Object(members)),
            Err(json::JsonFault::DuplicateMember) => {
                Err(Mistake::new("", "a member name that appears twice", "unique member names"))
            }
            Err(json::JsonFault::NotAnObject | json::JsonFault::Syntax) => {
                let position = serde_json::from_slice::<Value>(text).err();
                let at = position
                    .map_or(String::new(), |error| format!(" (line {}, column {})", error.line(), error.column()));
                Err(Mistake::new("", &format!("text that is not JSON{at}"), "a JSON object"))
            }
        };
    }
    structure::read(document).ok_or_else(|| Mistake::new("", "neither JSON text nor a protobuf Struct", "one of them"))
}

fn compile_value(root: &Node<'_>, environment: &Environment<'_>) -> Option<Policy> {
    let members = root.object(&MEMBERS)?;
    let mut gathered = provider::Gathered::new(environment);
    // A bridge alone needs none. What is not for the bridge is refused then, unless a rule opens it.
    let providers = match members.get("registration") {
        Some(_) => Some(members.get("providers")),
        None => members.required("providers").map(Some),
    };
    let names: Vec<&str> = providers
        .iter()
        .flatten()
        .filter_map(|node| node.json().as_object())
        .flat_map(|all| all.keys().map(String::as_str))
        .collect();
    let providers = match &providers {
        Some(Some(node)) => provider::compile_all(node, &mut gathered),
        Some(None) => Some(Vec::new()),
        None => None,
    };
    let rules = match members.get("rules") {
        Some(node) => rules::compile(&node, Known { names: &names, providers: providers.as_deref() }),
        None => Some(Vec::new()),
    };
    let registration = members.optional("registration", |node| registration::compile(node, &names, environment));
    let forward = match members.get("forward") {
        Some(node) => forward::compile(&node),
        None => Some(crate::policy::forward::Forward::default()),
    };
    let preflights = members.optional("bypass_cors_preflight", Node::flag);
    let written = |member: &str, name: &str| members.get(member).and_then(|node| node.json().get(name));
    let issuer = written("authorization_server", "issuer").and_then(Value::as_str);
    let authorization_server = members.optional("authorization_server", |node| {
        let surroundings = authorization_server::Surroundings {
            names: &names,
            providers: providers.as_deref(),
            documents: &gathered.documents.fetched,
            scopes: written("resource_metadata", "scopes_supported"),
            registration: members
                .get("registration")
                .map(|_| written("registration", "path").and_then(Value::as_str).unwrap_or("/register")),
        };
        authorization_server::compile(node, &surroundings)
    });
    let resource = members.optional("resource_metadata", |node| {
        resource::compile(
            node,
            providers.as_deref().unwrap_or_default(),
            &gathered.documents.fetched,
            &gathered.sources,
            issuer,
        )
    });
    let responses = responses::compile(members.get("responses").as_ref());
    let revocation = members.optional("revocation", revocation::compile);
    let explain = members.optional("explain", |node| explain::compile(node, environment));
    let (resource, resource_metadata) = resource?.unzip();
    let (registration, own_rule) = registration?.unzip();
    let rules = own_rule.flatten().into_iter().chain(rules?).collect();
    let forward = forward?;
    let is_owned =
        |source: &Source| matches!(source, Source::Header { name, .. } if forward.owned_headers.contains(name));
    if gathered.sources.iter().any(is_owned) {
        return members.at("forward").mistake_of(
            "a header for claims that is also a token's source",
            "another header: this one is removed from every request first",
        );
    }
    let explain = explain?;
    let is_taken = |explain: &Explain| {
        let is_source = |source: &Source| matches!(source, Source::Header { name, .. } if *name == explain.header);
        forward.owned_headers.contains(&explain.header) || gathered.sources.iter().any(is_source)
    };
    if explain.as_ref().is_some_and(is_taken) {
        return members.at("explain").mistake_of(
            "a header that is also a token's source or for claims",
            "another header: this one is taken off every request",
        );
    }
    Some(Policy {
        providers: Providers::new(providers?),
        rules: Rules::new(rules),
        preflights: if preflights? == Some(true) { Preflights::Pass } else { Preflights::Judged },
        resource,
        authorization_server: authorization_server?,
        forward,
        responses: Responses { resource_metadata, ..responses? },
        revocation: revocation?,
        explain,
        registration,
        sources: Sources::new(gathered.sources),
        decryption_keys: gathered.decryption_keys.into_keys(),
        documents: gathered.documents.fetched,
        inline_keys: gathered.documents.inline,
    })
}

#[cfg(test)]
mod tests;
