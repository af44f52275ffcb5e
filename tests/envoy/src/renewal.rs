//! An Envoy whose listener can be replaced while it runs, with a fresh virtual machine for the filter.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bootstrap::Options;
use crate::envoy::{Envoy, wasm};

/// The file that Envoy watches for its listener.
#[derive(Debug)]
pub struct Renewal {
    place: TempDir,
    clusters: Vec<(&'static str, std::net::SocketAddr)>,
}

impl Renewal {
    /// With these clusters.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn new(clusters: Vec<(&'static str, std::net::SocketAddr)>) -> Self {
        Self { place: tempfile::tempdir().expect("a temporary directory"), clusters }
    }

    /// Starts Envoy with a first listener. Envoy makes a new VM when the VM's configuration differs: `name` is that.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(&self, name: &str, options: &Options) -> Envoy {
        self.replace(name, options);
        let mut bootstrap = options.bootstrap(&wasm(), &self.clusters);
        bootstrap["static_resources"].as_object_mut().expect("an object").remove("listeners");
        bootstrap["node"] = json!({"id": "test", "cluster": "test"});
        bootstrap["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": self.file()}}});
        let envoy = Envoy::start(&options.release, &bootstrap, options.workers, &options.environment).await;
        envoy.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Replaces the listener.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn replace(&self, name: &str, options: &Options) {
        let bootstrap = options.bootstrap(&wasm(), &self.clusters);
        let mut listener = bootstrap["static_resources"]["listeners"][0].clone();
        let filter = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0];
        filter["typed_config"]["config"]["vm_config"]["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": name});
        listener["@type"] = Value::from("type.googleapis.com/envoy.config.listener.v3.Listener");
        let resources = json!({"version_info": "1", "resources": [listener]});
        // A file that is moved into place is what Envoy watches for.
        let next = self.place.path().join("next.json");
        fs::write(&next, resources.to_string()).expect("a temporary file");
        fs::rename(&next, self.file()).expect("a temporary file");
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("listeners.json")
    }
}
