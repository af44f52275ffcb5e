//! Envoy's configuration for the tests.
//!
//! Path normalization is off and headers with underscores pass: the filter has to stand on its own.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::envoy::Release;

/// How the plugin's configuration reaches the filter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Delivery {
    /// `google.protobuf.Struct`, as in Envoy's own files.
    #[default]
    Struct,
    /// Its JSON text in a `google.protobuf.StringValue`, as Istio and Envoy Gateway send it.
    StringValue,
}

/// What an Envoy is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which Envoy.
    pub release: Release,
    /// The plugin's configuration.
    pub configuration: Value,
    /// How it is delivered.
    pub delivery: Delivery,
    /// How many workers.
    pub workers: u32,
    /// Merged over the plugin's configuration for Envoy, which is beside the filter's own.
    pub plugin: Value,
    /// Environment variables that the filter sees.
    pub environment: Vec<(String, String)>,
    /// Merged over the HTTP connection manager's configuration.
    pub connection_manager: Value,
    /// HTTP filters between the gate and the router.
    pub later_filters: Vec<Value>,
    /// Clusters beside those that every test has.
    pub clusters: Vec<(&'static str, SocketAddr)>,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(release: &Release, configuration: Value) -> Self {
        Self {
            release: release.clone(),
            configuration,
            delivery: Delivery::default(),
            workers: 2,
            plugin: json!({}),
            environment: Vec::new(),
            connection_manager: json!({}),
            later_filters: Vec::new(),
            clusters: Vec::new(),
        }
    }

    /// The whole bootstrap configuration.
    #[must_use]
    pub fn bootstrap(&self, wasm: &Path, clusters: &[(&str, SocketAddr)]) -> Value {
        json!({
            "admin": {"address": address(([127, 0, 0, 1], 0).into())},
            "static_resources": {
                "listeners": [{
                    "name": "ingress",
                    "address": address(([127, 0, 0, 1], 0).into()),
                    "filter_chains": [{"filters": [{
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": self.connection_manager(wasm),
                    }]}],
                }],
                "clusters": clusters.iter().map(|(name, addr)| cluster(name, *addr)).collect::<Vec<_>>(),
            },
        })
    }

    fn connection_manager(&self, wasm: &Path) -> Value {
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        });
        let mut filters = vec![self.filter(wasm)];
        filters.extend(self.later_filters.iter().cloned());
        filters.push(router);
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "codec_type": "HTTP1",
            "normalize_path": false,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "access_log": [access_log()],
            "route_config": {"virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
            }]},
            "http_filters": filters,
        });
        merge(&mut manager, &self.connection_manager);
        manager
    }

    /// The gate's own filter.
    #[must_use]
    pub fn filter(&self, wasm: &Path) -> Value {
        let configuration = match self.delivery {
            Delivery::Struct => {
                json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": self.configuration})
            }
            Delivery::StringValue => json!({
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": self.configuration.to_string(),
            }),
        };
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        let mut filter = json!({
            "name": "entra_gate",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "entra_gate",
                    "root_id": "any",
                    "failure_policy": "FAIL_RELOAD",
                    "vm_config": {
                        "vm_id": "entra_gate",
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": {"local": {"filename": wasm}},
                        "environment_variables": {"host_env_keys": names},
                    },
                    "configuration": configuration,
                },
            },
        });
        merge(&mut filter["typed_config"]["config"], &self.plugin);
        filter
    }
}

/// One JSON object for each request, on standard output.
fn access_log() -> Value {
    let state = |name: &str| format!("%FILTER_STATE(wasm.entra_gate.{name}:PLAIN)%");
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": {
                "method": "%REQ(:METHOD)%",
                "path": "%REQ(:PATH)%",
                "status": "%RESPONSE_CODE%",
                "reason": state("reason"),
                "provider": state("provider"),
                "tenant": state("tenant"),
                "subject": state("subject"),
                "client": state("client"),
                "token_id": state("token_id"),
                "payload": state("payload"),
            }},
        },
    })
}

fn address(addr: SocketAddr) -> Value {
    json!({"socket_address": {"address": addr.ip().to_string(), "port_value": addr.port()}})
}

/// A cluster of one plain-text address.
#[must_use]
pub fn cluster(name: &str, addr: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(addr)}}]}],
        },
    })
}

/// Merges as RFC 7396 does.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}
