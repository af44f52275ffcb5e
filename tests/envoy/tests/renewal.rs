//! A fresh virtual machine, as there is one after a trap: it starts from what the others hold.

use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::workforce;
use envoy_tests::patience::until;
use envoy_tests::renewal::Renewal;
use envoy_tests::world::Surroundings;
use envoy_tests::{Release, Request, Suite, behaviours};
use serde_json::json;

fn main() -> ExitCode {
    let everywhere = behaviours![a_fresh_vm_needs_no_fetch];
    Suite::new().alone(&Release::all(), everywhere).run()
}

/// The upstream tells which VM answered by a header of its plugin configuration.
async fn a_fresh_vm_needs_no_fetch(release: &Release) {
    let surroundings = Surroundings::start().await;
    let renewal = Renewal::new(surroundings.clusters().to_vec());
    let options = |generation: &str| {
        let mut configuration = workforce(&json!({"token_versions": [2]}));
        let header = json!([{"header": format!("x-{generation}"), "claim": "oid"}]);
        configuration["forward"] = json!({"claim_headers": header});
        Options::new(release, configuration)
    };
    let envoy = renewal.start("first", &options("first")).await;
    until("keys are fetched", async || (envoy.stat("keys.fetch_ok").await > 0).then_some(())).await;

    surroundings.entra.fault(json!({"fault": {"status": 500}})).await;
    surroundings.entra.forget_requests().await;
    let token = surroundings.entra.mint(json!({})).await;
    renewal.replace("second", &options("second"));
    until("the second VM answers", async || {
        let answer = envoy.ingress().send(Request::get("/orders").bearer(&token)).await.ok()?;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["headers"].get("x-second").map(|_| ())
    })
    .await;
    assert_eq!(surroundings.entra.asked("/").await, 0, "the fresh VM asked for keys");
    envoy.assert_sound().await;
}
