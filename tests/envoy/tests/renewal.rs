//! A fresh virtual machine, as there is one after a trap: it starts from what the others hold.

use std::fs;
use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::workforce;
use envoy_tests::envoy::wasm;
use envoy_tests::patience::until;
use envoy_tests::world::Surroundings;
use envoy_tests::{Envoy, Release, Request, Suite, behaviours};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let everywhere = behaviours![a_fresh_vm_needs_no_fetch];
    Suite::new().alone(&Release::all(), everywhere).run()
}

/// The same filter in a new VM: Envoy makes one when the VM's configuration differs. The upstream tells which one
/// answered by a header of that VM's plugin configuration.
async fn a_fresh_vm_needs_no_fetch(release: &Release) {
    let surroundings = Surroundings::start().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("listeners.json");
    let bootstrap_of = |generation: &str| {
        let mut configuration = workforce(&json!({"token_versions": [2]}));
        let header = json!([{"header": format!("x-{generation}"), "claim": "oid"}]);
        configuration["forward"] = json!({"claim_headers": header});
        let mut bootstrap = Options::new(release, configuration).bootstrap(&wasm(), &surroundings.clusters());
        let listener = &mut bootstrap["static_resources"]["listeners"][0];
        let filter = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0];
        filter["typed_config"]["config"]["vm_config"]["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": generation});
        bootstrap
    };
    // A file that is moved into place is what Envoy watches for.
    let publish = |mut listener: Value| {
        listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        let resources = json!({"version_info": "1", "resources": [listener]});
        let next = place.path().join("next.json");
        fs::write(&next, resources.to_string()).expect("a temporary file");
        fs::rename(&next, &file).expect("a temporary file");
    };

    let mut bootstrap = bootstrap_of("first");
    let listener = bootstrap["static_resources"]["listeners"][0].take();
    bootstrap["static_resources"].as_object_mut().expect("an object").remove("listeners");
    bootstrap["node"] = json!({"id": "test", "cluster": "test"});
    bootstrap["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": file}}});
    publish(listener);
    let envoy = Envoy::start(release, &bootstrap, 2, &[]).await.unwrap_or_else(|failure| panic!("{failure}"));
    until("keys are fetched", async || (envoy.stat("keys.fetch_ok").await > 0).then_some(())).await;

    surroundings.entra.fault(json!({"fault": {"status": 500}})).await;
    surroundings.entra.forget_requests().await;
    let token = surroundings.entra.mint(json!({})).await;
    publish(bootstrap_of("second")["static_resources"]["listeners"][0].clone());
    until("the second VM answers", async || {
        let answer = envoy.ingress().send(Request::get("/orders").bearer(&token)).await.ok()?;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["headers"].get("x-second").map(|_| ())
    })
    .await;
    assert_eq!(surroundings.entra.asked("/").await, 0, "the fresh VM asked for keys");
    envoy.assert_sound().await;
}
