//! Which clusters a file defines, and whether what they carry is encrypted and its far end verified.

use super::super::located::{Node, Position};

/// A cluster.
pub(crate) struct Cluster {
    /// Its name, as configurations name it.
    pub(crate) name: String,
    /// Where it is defined.
    pub(crate) at: Position,
    /// How requests travel.
    pub(crate) transport: Transport,
}

/// How requests to a cluster travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Nobody can tell from this file.
    Unknown,
    /// In the clear.
    Plain,
    /// By TLS, to a verified host.
    Tls,
    /// By TLS, to whoever answers.
    TlsUnverified,
}

/// The clusters of a file.
#[derive(Default)]
pub(crate) struct Clusters {
    pub(crate) known: Vec<Cluster>,
    /// Whether there are no others: the file defines clusters, and none comes from elsewhere.
    pub(crate) complete: bool,
}

impl Clusters {
    pub(super) fn of(documents: &[Node]) -> Self {
        let mut clusters = Self::default();
        for document in documents {
            clusters.bootstrap(document);
            if document.get("kind").and_then(Node::text) == Some("EnvoyProxy") {
                // Merged into a bootstrap that the gateway writes: there are others.
                let value = document.below(&["spec", "bootstrap", "value"]);
                for bootstrap in value.and_then(|value| value.embedded().ok()).unwrap_or_default() {
                    clusters.bootstrap(&bootstrap);
                }
                clusters.complete = false;
            }
        }
        clusters.of_istio(documents);
        clusters
    }

    /// A bootstrap, or an answer of the discovery service.
    fn bootstrap(&mut self, document: &Node) {
        let of_bootstrap = document.below(&["static_resources", "clusters"]).map(Node::items).unwrap_or_default();
        let is_cluster = |node: &&Node| {
            node.get("@type").and_then(Node::text).is_some_and(|kind| kind.ends_with("envoy.config.cluster.v3.Cluster"))
        };
        let resources = document.get("resources").map(Node::items).unwrap_or_default().iter().filter(is_cluster);
        for cluster in of_bootstrap.iter().chain(resources) {
            let Some(name) = cluster.get("name") else { continue };
            let transport = transport(cluster);
            self.known.push(Cluster { name: name.text().unwrap_or_default().to_owned(), at: name.at, transport });
        }
        let dynamic = document.below(&["dynamic_resources", "cds_config"]).is_some()
            || document.below(&["dynamic_resources", "ads_config"]).is_some();
        self.complete = self.complete || (!of_bootstrap.is_empty() && !dynamic);
    }

    /// Istio names a cluster after the service's host and port, and takes TLS from a DestinationRule.
    fn of_istio(&mut self, documents: &[Node]) {
        let of_kind = |kind: &'static str| {
            documents.iter().filter(move |document| document.get("kind").and_then(Node::text) == Some(kind))
        };
        let rule_of = |host: &str| {
            of_kind("DestinationRule").find(|rule| rule.below(&["spec", "host"]).and_then(Node::text) == Some(host))
        };
        for entry in of_kind("ServiceEntry") {
            let hosts = entry.below(&["spec", "hosts"]).map(Node::items).unwrap_or_default();
            let ports = entry.below(&["spec", "ports"]).map(Node::items).unwrap_or_default();
            for host in hosts {
                let Some(name) = host.text() else { continue };
                let rule = rule_of(name).and_then(|rule| rule.below(&["spec", "trafficPolicy", "tls"]));
                let transport = match rule {
                    None => Transport::Unknown,
                    Some(tls) => match tls.get("mode").and_then(Node::text) {
                        Some("DISABLE") => Transport::Plain,
                        Some("SIMPLE" | "MUTUAL")
                            if tls.get("insecureSkipVerify").and_then(Node::flag) == Some(true) =>
                        {
                            Transport::TlsUnverified
                        }
                        Some("SIMPLE" | "MUTUAL") => Transport::Tls,
                        Some(_) | None => Transport::Unknown,
                    },
                };
                for port in ports.iter().filter_map(|port| port.get("number")) {
                    let name = format!("outbound|{}||{name}", port.json());
                    self.known.push(Cluster { name, at: host.at, transport });
                }
            }
        }
    }

    /// The cluster of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Cluster> {
        self.known.iter().find(|cluster| cluster.name == name)
    }
}

fn transport(cluster: &Node) -> Transport {
    if cluster.field("transport_socket_matches").is_some() {
        return Transport::Unknown;
    }
    let Some(socket) = cluster.field("transport_socket") else {
        return Transport::Plain;
    };
    let Some(config) = socket.field("typed_config") else {
        return Transport::Unknown;
    };
    let kind = config.get("@type").and_then(Node::text).unwrap_or_default();
    if kind.ends_with(".RawBuffer") {
        return Transport::Plain;
    }
    if !kind.ends_with(".UpstreamTlsContext") {
        return Transport::Unknown;
    }
    let common = config.field("common_tls_context");
    let has = |path: &[&str]| common.and_then(|common| common.below(path)).is_some();
    let elsewhere = ["combined_validation_context", "validation_context_sds_secret_config"];
    let within = ["trusted_ca", "ca_certificate_provider_instance", "system_root_certs", "custom_validator_config"];
    let verified =
        elsewhere.iter().any(|name| has(&[name])) || within.iter().any(|name| has(&["validation_context", name]));
    if verified { Transport::Tls } else { Transport::TlsUnverified }
}
