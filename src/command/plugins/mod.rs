//! Where entra-gate is configured in a file: Envoy's own files, Istio's WasmPlugin and EnvoyFilter, Envoy Gateway's
//! EnvoyExtensionPolicy, or the configuration alone. It only finds; what is found is judged elsewhere.

mod clusters;

use entra_gate::config::{Mistake, compile_with};
use entra_gate::policy::Policy;
use serde_json::Value;

pub(crate) use self::clusters::{Clusters, Transport};
use super::located::{Fault, Node, Position, read};

const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// One configuration of entra-gate.
pub(crate) struct Plugin {
    /// What a person calls it: `Envoy's filter entra_gate`.
    pub(crate) place: String,
    /// Where it begins.
    pub(crate) at: Position,
    /// What is around it.
    pub(crate) host: Host,
    configuration: Node,
}

/// Who loads the plugin, with what it says of it.
pub(crate) enum Host {
    /// Envoy, `envoy.extensions.wasm.v3.PluginConfig`.
    Envoy(Node),
    /// Envoy Gateway, an element of `spec.wasm`.
    EnvoyGateway(Node),
    /// Istio, `spec` of a WasmPlugin.
    Istio(Node),
    /// Nobody: the file is the configuration alone.
    Unknown,
}

/// What is in a file.
pub(crate) struct Found {
    /// The configurations of entra-gate; never none.
    pub(crate) plugins: Vec<Plugin>,
    /// Wasm filters that are not entra-gate, by their names.
    pub(crate) others: Vec<(Position, String)>,
    /// The clusters that the file says something about.
    pub(crate) clusters: Clusters,
}

impl Plugin {
    /// The configuration as the filter gets it.
    pub(crate) fn document(&self) -> Value {
        self.configuration.json()
    }

    /// The configuration with its places.
    pub(crate) fn node(&self) -> &Node {
        &self.configuration
    }

    /// Compiles it as the filter does.
    pub(crate) fn compile(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Policy, Vec<Mistake>> {
        compile_with(self.document().to_string().as_bytes(), environment)
    }

    /// Where in the file the value is that a mistake names.
    pub(crate) fn position(&self, path: &str) -> Position {
        self.configuration.position(path)
    }
}

/// Finds the configurations in a file.
///
/// # Errors
/// The file cannot be read as YAML or JSON, or holds none.
pub(crate) fn find(text: &str) -> Result<Found, Fault> {
    let documents = read(text)?;
    let mut seen = Vec::new();
    for document in &documents {
        look(document, &mut seen)?;
    }
    let clusters = Clusters::of(&documents);
    if let ([document], []) = (documents.as_slice(), seen.as_slice()) {
        if is_alone(document) {
            let plugin = Plugin {
                place: "the configuration".to_owned(),
                at: document.at,
                host: Host::Unknown,
                configuration: document.clone(),
            };
            return Ok(Found { plugins: vec![plugin], others: Vec::new(), clusters });
        }
    }
    let only = seen.len() == 1;
    let (ours, others): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|seen| only || seen.is_ours());
    if ours.is_empty() {
        let at = documents.first().map_or(Position::START, |document| document.at);
        let what = match others.len() {
            0 => {
                "no configuration of entra-gate: expected one, or an Envoy file, WasmPlugin or EnvoyExtensionPolicy with one"
            }
            _ => "no configuration of entra-gate: none of the Wasm filters has its name or `providers`",
        };
        return Err(Fault::new(at, what));
    }
    let others = others.into_iter().map(|other| (other.at, other.place)).collect();
    Ok(Found { plugins: ours.into_iter().map(Seen::plugin).collect::<Result<_, _>>()?, others, clusters })
}

/// A file without any frame around the configuration.
fn is_alone(document: &Node) -> bool {
    let framed = ["apiVersion", "kind", "@type", "static_resources", "staticResources", "resources"];
    !document.entries().is_empty() && framed.iter().all(|name| document.get(name).is_none())
}

/// A Wasm filter, ours or not.
struct Seen {
    place: String,
    at: Position,
    host: Host,
    names: Vec<String>,
    configuration: Option<Node>,
}

impl Seen {
    fn is_ours(&self) -> bool {
        let named = self.names.iter().any(|name| name.replace('-', "_").contains("entra_gate"));
        let members = ["providers", "registration"];
        named || self.configuration.as_ref().is_some_and(|node| members.iter().any(|name| node.get(name).is_some()))
    }

    fn plugin(self) -> Result<Plugin, Fault> {
        let Self { place, at, host, configuration, .. } = self;
        match configuration {
            Some(configuration) => Ok(Plugin { place, at, host, configuration }),
            None => Err(Fault::new(at, format!("{place} has no configuration"))),
        }
    }
}

fn look(node: &Node, seen: &mut Vec<Seen>) -> Result<(), Fault> {
    let text = |name: &str| node.get(name).and_then(Node::text).unwrap_or_default();
    let is_wasm = |kind: &str| kind.rsplit('/').next() == Some(WASM);
    if is_wasm(text("@type")) {
        return match node.field("config") {
            Some(config) => envoy(config, seen),
            None => Ok(()),
        };
    }
    if is_wasm(text("type_url")) || is_wasm(text("typeUrl")) {
        if let Some(config) = node.below(&["value", "config"]) {
            return envoy(config, seen);
        }
    }
    match text("kind") {
        "EnvoyExtensionPolicy" => {
            for item in node.below(&["spec", "wasm"]).map(Node::items).unwrap_or_default() {
                let names = texts(item, &["name", "rootID"]);
                let configuration = item.get("config").cloned();
                seen.push(found("Envoy Gateway's", names, item, Host::EnvoyGateway(item.clone()), configuration));
            }
            Ok(())
        }
        "WasmPlugin" => {
            if let Some(spec) = node.get("spec") {
                let mut names = texts(spec, &["pluginName", "url"]);
                names.extend(node.below(&["metadata", "name"]).and_then(Node::text).map(str::to_owned));
                let configuration = spec.get("pluginConfig").cloned();
                seen.push(found("Istio's", names, spec, Host::Istio(spec.clone()), configuration));
            }
            Ok(())
        }
        _ => {
            for below in node.items().iter().chain(node.entries().iter().map(|entry| &entry.value)) {
                look(below, seen)?;
            }
            Ok(())
        }
    }
}

fn envoy(config: &Node, seen: &mut Vec<Seen>) -> Result<(), Fault> {
    let mut names = texts(config, &["name", "root_id"]);
    names.extend(config.below(&["vm_config", "vm_id"]).and_then(Node::text).map(str::to_owned));
    names.extend(config.below(&["vm_config", "code", "local", "filename"]).and_then(Node::text).map(str::to_owned));
    let configuration = match config.field("configuration") {
        Some(any) => configuration(any)?,
        None => None,
    };
    seen.push(found("Envoy's", names, config, Host::Envoy(config.clone()), configuration));
    Ok(())
}

/// What is in an Any: a Struct, or the text of a StringValue.
fn configuration(any: &Node) -> Result<Option<Node>, Fault> {
    let kind = any.get("@type").and_then(Node::text).unwrap_or_default();
    let value = any.get("value");
    match kind.rsplit('.').next() {
        Some("Struct") => Ok(value.cloned()),
        Some("StringValue") => {
            let Some(value) = value else { return Ok(None) };
            Ok(value.embedded()?.into_iter().next())
        }
        _ => Err(Fault::new(any.at, "a configuration that is neither a google.protobuf.Struct nor a StringValue")),
    }
}

fn found(whose: &str, names: Vec<String>, node: &Node, host: Host, configuration: Option<Node>) -> Seen {
    let name = names.first().map_or_else(String::new, |name| format!(" {name}"));
    let at = configuration.as_ref().map_or(node.at, |configuration| configuration.at);
    Seen { place: format!("{whose} filter{name}"), at, host, names, configuration }
}

fn texts(node: &Node, names: &[&str]) -> Vec<String> {
    names.iter().filter_map(|name| node.field(name)?.text()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
