//! A token that Microsoft's own client library got from the mock passes the gate.

use std::path::Path;
use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::workforce;
use envoy_tests::envoy::repository;
use envoy_tests::python;
use envoy_tests::token::CONTOSO;
use envoy_tests::{Release, Suite, World, behaviours};
use serde_json::json;

fn main() -> ExitCode {
    let behaviours = behaviours![tokens_that_msal_acquires_pass];
    Suite::new().alone(&[Release::newest()], behaviours).run()
}

fn token(python: &Path, world: &World, arguments: &[&str]) -> String {
    let mock = world.entra.origin().url("");
    python::print(python, "tests/mock-entra/msal_client.py", &[&[mock.as_str()], arguments].concat())
}

async fn tokens_that_msal_acquires_pass(release: &Release) {
    // The tests may run where a first installation takes its time; the mock answers on other threads meanwhile.
    let python = python::with("msal", None);
    let world = World::start(&Options::new(release, workforce(&json!({})))).await;
    for arguments in [
        &[CONTOSO, "api://orders/.default"][..],
        &[CONTOSO, "api://orders/Orders.Read", "--flow", "code"],
        &["contoso.onmicrosoft.com", "api://orders/.default"],
    ] {
        let token = token(&python, &world, arguments);
        let answer = world.call("/orders", &token).await;
        assert_eq!(answer.status, 200, "{arguments:?}: {}", answer.text());
    }
    // Microsoft's own assertion, which the mock verifies as it verifies the bridge's.
    let file = |name: &str| repository().join("tests/mock-entra/keys").join(name).display().to_string();
    let (key, certificate) = (file("bridge.key.pem"), file("bridge.crt.pem"));
    let client = ["--client", "cccccccc-0000-4000-8000-000000000003", "--key", &key, "--certificate", &certificate];
    let token_of_certificate = token(&python, &world, &[&[CONTOSO, "api://orders/.default"][..], &client].concat());
    let answer = world.call("/orders", &token_of_certificate).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let legacy = token(&python, &world, &[CONTOSO, "api://legacy/.default"]);
    world.assert_token_refused("/orders", &legacy, "audience_not_allowed").await;
}
