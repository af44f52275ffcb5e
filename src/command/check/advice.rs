//! What is around a configuration: how the plugin is loaded, and the clusters that it names.

use super::Finding;
use crate::located::{Node, Position};
use crate::plugins::{Clusters, Host, Plugin, Transport};
use entra_gate::config::path;

/// What the host is told about failures, and what it should be told.
pub(super) fn of_host(plugin: &Plugin) -> Vec<Finding> {
    match &plugin.host {
        Host::Envoy(config) => envoy(config),
        Host::EnvoyGateway(item) => envoy_gateway(item),
        Host::Istio(spec) => istio(spec),
        Host::Unknown => Vec::new(),
    }
}

const OPEN: &str = "requests pass unjudged while the filter does not run";
const CLOSED: &str = "after a fault every request of that worker is answered 503 until the configuration changes";

fn envoy(config: &Node) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut warn = |at: Position, message: String| all.push(Finding::new(at, message));
    if let Some(open) = config.field("fail_open").filter(|open| open.flag() == Some(true)) {
        warn(open.at, format!("fail_open: {OPEN}; expected failure_policy: FAIL_RELOAD"));
    }
    match config.field("failure_policy") {
        None => warn(config.at, format!("no failure_policy: {CLOSED}; expected FAIL_RELOAD")),
        Some(policy) => match policy.text() {
            Some("FAIL_RELOAD") => {}
            Some("FAIL_OPEN") => warn(policy.at, format!("failure_policy FAIL_OPEN: {OPEN}; expected FAIL_RELOAD")),
            Some(_) | None if policy.json() == 1 => {}
            Some(_) | None => {
                warn(policy.at, format!("failure_policy {}: {CLOSED}; expected FAIL_RELOAD", policy.json()))
            }
        },
    }
    let vm_id = config.below(&["vm_config", "vm_id"]).and_then(Node::text).unwrap_or_default();
    if vm_id.is_empty() {
        let at = config.field("vm_config").map_or(config.at, |vm| vm.at);
        warn(at, "no vm_id: every plugin without one shares its data with this one, the keys included; expected vm_config.vm_id".to_owned());
    }
    all
}

fn istio(spec: &Node) -> Vec<Finding> {
    let strategy = spec.get("failStrategy");
    match strategy.and_then(Node::text) {
        Some("FAIL_RELOAD") => Vec::new(),
        Some("FAIL_OPEN") => {
            let at = strategy.map_or(spec.at, |node| node.at);
            vec![Finding::new(
                at,
                format!("failStrategy FAIL_OPEN: {OPEN}; expected FAIL_RELOAD (FAIL_CLOSE before Istio 1.27)"),
            )]
        }
        found => {
            let at = strategy.map_or(spec.at, |node| node.at);
            let found = found.map_or("no failStrategy".to_owned(), |found| format!("failStrategy {found}"));
            vec![Finding::new(at, format!("{found}: {CLOSED}; expected FAIL_RELOAD, from Istio 1.27 on"))]
        }
    }
}

fn envoy_gateway(item: &Node) -> Vec<Finding> {
    match item.get("failOpen").filter(|open| open.flag() == Some(true)) {
        Some(open) => vec![Finding::new(open.at, format!("failOpen: {OPEN}; expected false"))],
        None => Vec::new(),
    }
}

/// Path, place and name of each cluster that a configuration names.
pub(super) fn named_clusters(plugin: &Plugin) -> Vec<(String, Position, String)> {
    let mut found = Vec::new();
    gather(plugin.node(), "", &mut found);
    found
}

fn gather(node: &Node, at: &str, found: &mut Vec<(String, Position, String)>) {
    for entry in node.entries() {
        let below = path::member(at, &entry.name);
        match entry.value.text() {
            Some(name) if entry.name == "cluster" => found.push((below, entry.value.at, name.to_owned())),
            _ => gather(&entry.value, &below, found),
        }
    }
    for (index, item) in node.items().iter().enumerate() {
        gather(item, &path::element(at, index), found);
    }
}

/// Clusters that are missing, and those that anybody can listen to or answer for.
pub(super) fn clusters(plugin: &Plugin, known: &Clusters, mistakes: &mut Vec<Finding>, warnings: &mut Vec<Finding>) {
    for (path, at, name) in named_clusters(plugin) {
        let Some(cluster) = known.named(&name) else {
            if known.complete {
                let names: Vec<&str> = known.known.iter().map(|cluster| cluster.name.as_str()).collect();
                let nearest = names
                    .iter()
                    .map(|known| (strsim::damerau_levenshtein(known, &name), *known))
                    .filter(|(distance, known)| *distance <= known.len().div_ceil(2))
                    .min();
                let expected = match nearest {
                    Some((_, nearest)) => format!("`{nearest}`, perhaps"),
                    None => format!("one of {}", names.join(", ")),
                };
                let message = format!("{path}: found `{name}`, which is no cluster of this file, expected {expected}");
                mistakes.push(Finding { at, path: Some(path), message });
            }
            continue;
        };
        let what = match cluster.transport {
            Transport::Unknown | Transport::Tls => continue,
            Transport::Plain => "has no TLS: whoever is on the way can put their own keys into the answer",
            Transport::TlsUnverified => {
                "has TLS without trusted_ca: whoever answers is believed; expected validation_context with trusted_ca, and the host's name"
            }
        };
        warnings.push(Finding::new(cluster.at, format!("cluster {name}, named by {path}, {what}")));
    }
}
