//! Files of `envoy/`, changed only where the place of a test differs from the place they are written for.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::bootstrap::{cluster, merge};
use crate::envoy::repository;

/// The docker compose example, which the tour runs too.
pub const COMPOSE: &str = include_str!("../../../envoy/compose/envoy.yaml");

const SERVICES: &str = include_str!("../../../envoy/compose/docker-compose.yaml");

/// The environment variables that its Envoy has.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn compose_environment() -> Vec<(String, String)> {
    let services = documents(SERVICES).remove(0);
    let environment = services["services"]["envoy"]["environment"].as_object().expect("an environment");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    environment.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The documents of a YAML file.
///
/// # Panics
/// When it is not YAML.
#[must_use]
pub fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).expect("the example is YAML")).collect()
}

/// The text of a file in `envoy/`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn text(name: &str) -> String {
    let file = repository().join("envoy").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A whole bootstrap with the filter where it is built.
///
/// # Panics
/// When it has no such filter.
#[must_use]
pub fn with_wasm(mut bootstrap: Value, wasm: &Path) -> Value {
    let filters = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        ["http_filters"];
    let local = &mut filters[0]["typed_config"]["config"]["vm_config"]["code"]["local"];
    assert!(local["filename"].is_string(), "the first filter is the gate");
    local["filename"] = json!(wasm);
    bootstrap
}

/// A bootstrap whose clusters lead to these addresses, and whose ports are these; 0 for any.
///
/// # Panics
/// When it has other clusters.
#[must_use]
pub fn in_place(mut bootstrap: Value, clusters: &[(&str, SocketAddr)], ingress: u16, admin: u16) -> Value {
    let resources = &mut bootstrap["static_resources"];
    for known in resources["clusters"].as_array_mut().into_iter().flatten() {
        let (name, addr) = clusters
            .iter()
            .find(|(name, _)| known["name"] == *name)
            .unwrap_or_else(|| panic!("the cluster {} is none of these", known["name"]));
        *known = cluster(name, *addr);
    }
    let port = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    merge(&mut resources["listeners"][0]["address"], &port(ingress));
    merge(&mut bootstrap["admin"]["address"], &port(admin));
    bootstrap
}
