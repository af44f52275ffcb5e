//! What is measured: a filter, what is sent to it, and what must come of that.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use envoy_tests::bootstrap::{cluster, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::envoy::{repository, wasm};
use envoy_tests::token::{CONTOSO, ORDERS};
use mock_entra::Directory;
use serde_json::{Value, json};

use crate::machine::Cores;

/// Where the documents of the orders API's tenant are.
const LOGIN_HOST: &str = "login.microsoftonline.com";
/// Tokens that the filter remembers at most (`judge::memory`).
pub const MOST_REMEMBERED: usize = 10_000;
/// Tokens that are repeated in turn where nothing else is said: fewer than `jwt_authn` caches by default (100).
pub const REPEATED: usize = 50;
/// Connections where nothing else is said.
pub const CONNECTIONS: usize = 32;
/// The length of a token where nothing else is said: an Entra v2 token of a user in some groups.
pub const TOKEN_BYTES: usize = 1_800;

/// What stands before the router.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Nothing.
    None,
    /// A wasm filter that does nothing.
    Empty,
    /// jwt-simple in wasm.
    Naive,
    /// Envoy's own, without and with its cache of verified tokens.
    JwtAuthn { cache: bool },
    /// entra-gate with this configuration.
    Gate(Value),
}

/// Which tokens are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stream {
    /// So many, in turn.
    Repeated(usize),
    /// So many, at random.
    Drawn(usize),
    /// Never the same twice.
    New,
    /// Never the same twice, each with a wrong signature.
    Forged,
    /// One of so many is new, the others are repeated.
    OneNewIn(usize),
}

/// How loud Envoy is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Log {
    /// As it is by default: the filter writes a line for each refusal.
    Info,
    /// No line for a refusal.
    Warning,
}

/// A filter under load.
#[derive(Clone, Debug)]
pub struct Setup {
    pub filter: Filter,
    pub stream: Stream,
    pub workers: usize,
    pub cores: Cores,
    pub connections: usize,
    pub token_bytes: usize,
    pub path: String,
    /// The length of a body that every request has; 0: none has one.
    pub body_bytes: usize,
    pub log: Log,
}

/// What a set-up's answers have to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The status of all of them.
    pub status: u16,
    /// The least and the greatest share of tokens that were remembered, for filters that tell.
    pub remembered: Option<(f64, f64)>,
}

impl Setup {
    /// With all else as usual.
    pub fn new(filter: Filter, stream: Stream) -> Self {
        Self {
            filter,
            stream,
            workers: 1,
            cores: Cores::of(1),
            connections: CONNECTIONS,
            token_bytes: TOKEN_BYTES,
            path: "/orders/17".to_owned(),
            body_bytes: 0,
            log: Log::Info,
        }
    }

    /// entra-gate as it is without any optional member, under the tokens that it remembers.
    pub fn hot() -> Self {
        Self::new(Filter::Gate(workforce(&json!({}))), Stream::Repeated(REPEATED))
    }

    /// How many tokens are repeated.
    pub fn repeated(&self) -> usize {
        match self.stream {
            Stream::Repeated(count) | Stream::Drawn(count) => count,
            Stream::New | Stream::Forged => 0,
            Stream::OneNewIn(_) => REPEATED,
        }
    }

    /// Every how many requests a fresh token is sent.
    pub fn every(&self) -> usize {
        match self.stream {
            Stream::Repeated(_) | Stream::Drawn(_) => 0,
            Stream::New | Stream::Forged => 1,
            Stream::OneNewIn(every) => every,
        }
    }

    /// Whether a token that was sent before would not be new to the filter.
    pub fn remembers(&self) -> bool {
        self.stream != Stream::Forged && matches!(self.filter, Filter::Gate(_) | Filter::JwtAuthn { cache: true })
    }

    /// What the answers have to be.
    pub fn expected(&self) -> Expected {
        let judges = !matches!(self.filter, Filter::None | Filter::Empty);
        let status = if judges && self.stream == Stream::Forged { 401 } else { 200 };
        let remembered = self.remembers().then_some(match self.stream {
            Stream::Repeated(count) | Stream::Drawn(count) => match count.cmp(&MOST_REMEMBERED) {
                Ordering::Less => (1.0, 1.0),
                // Full to the brim, a few may be forgotten.
                Ordering::Equal => (0.95, 1.0),
                Ordering::Greater => {
                    let share = MOST_REMEMBERED as f64 / count as f64;
                    (share * 0.5, share * 1.5)
                }
            },
            Stream::New | Stream::Forged => (0.0, 0.0),
            Stream::OneNewIn(every) => {
                let share = 1.0 - 1.0 / every as f64;
                (share - 0.01, share + 0.01)
            }
        });
        Expected { status, remembered }
    }

    /// Envoy's whole configuration. Every route is answered by Envoy itself, the same for all filters.
    pub fn bootstrap(&self, entra: SocketAddr) -> Value {
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        });
        let filters: Vec<Value> = self.filter.http_filter().into_iter().chain([router]).collect();
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "codec_type": "HTTP1",
            "route_config": {"virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{
                    "match": {"prefix": "/"},
                    "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}},
                }],
            }]},
            "http_filters": filters,
        });
        json!({
            "admin": {"address": address},
            "static_resources": {
                "listeners": [{
                    "name": "ingress",
                    "address": address,
                    "filter_chains": [{"filters": [{
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }]}],
                }],
                "clusters": [cluster("entra", entra)],
            },
        })
    }
}

impl Filter {
    /// How many documents of keys it fetches before it can judge all of its providers.
    pub fn documents(&self) -> usize {
        let Self::Gate(configuration) = self else { return 0 };
        let providers = configuration["providers"].as_object().into_iter().flatten();
        // One for v1, one for v2.
        2 * providers.filter(|(_, provider)| provider["jwks"].is_null()).count()
    }

    fn http_filter(&self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Empty => Some(wasm_filter("empty", &fixture("empty"), &json!({}))),
            Self::Naive => Some(wasm_filter("naive", &fixture("naive"), &naive())),
            Self::JwtAuthn { cache } => Some(jwt_authn(*cache)),
            Self::Gate(configuration) => {
                let mut filter = wasm_filter("entra_gate", &wasm(), configuration);
                if configuration["registration"].is_object() {
                    let variables = json!({"key_values": {"GATE_CLIENT_SECRET": "worthless-bridge-secret"}});
                    let plugin = json!({
                        "allow_on_headers_stop_iteration": true,
                        "vm_config": {"environment_variables": variables},
                    });
                    merge(&mut filter["typed_config"]["config"], &plugin);
                }
                Some(filter)
            }
        }
    }
}

/// Where `make bench` puts the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    let file = repository().join(format!("dist/bench_{name}.wasm"));
    file.canonicalize().unwrap_or_else(|error| panic!("{}: {error}. `make bench` builds it.", file.display()))
}

/// Adds clusters to a bootstrap.
pub fn add_clusters(bootstrap: &mut Value, clusters: impl IntoIterator<Item = Value>) -> Result<()> {
    let all = bootstrap.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut);
    all.context("no clusters")?.extend(clusters);
    Ok(())
}

pub fn wasm_filter(name: &str, file: &Path, configuration: &Value) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": file}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
            },
        },
    })
}

/// The keys that the tenant publishes.
fn keys() -> Value {
    let keys = Directory::new().document(LOGIN_HOST, &format!("/{CONTOSO}/discovery/v2.0/keys"));
    keys.expect("the mock knows the tenant")
}

/// The key that signs the tenant's tokens.
fn signing_key() -> Value {
    keys()["keys"][0].clone()
}

fn issuer() -> String {
    format!("https://{LOGIN_HOST}/{CONTOSO}/v2.0")
}

fn naive() -> Value {
    let key = signing_key();
    json!({"n": key["n"], "e": key["e"], "issuer": issuer(), "audience": ORDERS})
}

/// Envoy's own filter, asked for what the gate's configuration asks for. The keys are given: it never has to fetch.
fn jwt_authn(cache: bool) -> Value {
    let mut provider = json!({
        "issuer": issuer(),
        "audiences": [ORDERS, "api://orders"],
        "local_jwks": {"inline_string": keys().to_string()},
        "forward": true,
    });
    if cache {
        provider["jwt_cache_config"] = json!({});
    }
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"workforce": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "workforce"}}],
        },
    })
}

/// The usual provider and `count` - 1 others, of other tenants, that are looked at before it.
pub fn providers(count: usize) -> Value {
    let mut configuration = workforce(&json!({}));
    for at in 1..count {
        let tenant = format!("5a1d2f3b-0000-4000-8000-{at:012x}");
        let mut other = configuration["providers"]["workforce"].clone();
        other["tenants"] = json!([tenant]);
        configuration["providers"][format!("other{at:03}")] = other;
    }
    configuration
}

/// The usual provider and `count` rules; only the last one matches [`path_of_last_rule`].
pub fn rules(count: usize) -> Value {
    let mut configuration = workforce(&json!({}));
    let rule = |at: usize| json!({"match": {"prefix": format!("/service{at:04}/"), "methods": ["GET"]}, "require": {"providers": ["workforce"]}});
    configuration["rules"] = (1..=count).map(rule).collect();
    configuration
}

/// A path that only the last of so many rules matches.
pub fn path_of_last_rule(count: usize) -> String {
    format!("/service{count:04}/orders/17")
}

/// The usual provider with inline keys, the one that signs being the last.
pub fn inline_keys(count: usize) -> Value {
    let key = signing_key();
    let other = |at: usize| {
        let mut other = key.clone();
        other["kid"] = json!(format!("another-key-{at:015}"));
        other
    };
    let keys: Vec<Value> = (1..count).map(other).chain([key.clone()]).collect();
    workforce(&json!({"upstream": null, "jwks": {"keys": keys}}))
}

/// Some rules as an API has them.
pub fn some_rules() -> Value {
    let mut configuration = workforce(&json!({}));
    configuration["rules"] = json!([
        {"match": {"path": "/healthz"}, "allow": "anonymous"},
        {"match": {"prefix": "/public/", "methods": ["GET", "HEAD"]}, "allow": "optional"},
        {"match": {"prefix": "/orders", "methods": ["GET"]}, "require": {"providers": ["workforce"]}},
        {"match": {"prefix": "/"}, "require": {}},
    ]);
    configuration
}
