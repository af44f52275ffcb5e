//! A token that Microsoft's own client library got from the mock passes the gate.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::workforce;
use envoy_tests::envoy::repository;
use envoy_tests::token::CONTOSO;
use envoy_tests::{Release, Suite, World, behaviours};
use serde_json::json;

fn main() -> ExitCode {
    let behaviours = behaviours![tokens_that_msal_acquires_pass];
    Suite::new().alone(&[Release::newest()], behaviours).run()
}

/// Python with msal, installed from PyPI unless it is there.
fn python() -> PathBuf {
    let place = repository().join(".tools/msal");
    let python = place.join("bin/python");
    if !succeeds(Command::new(&python).args(["-c", "import msal"])) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place));
        let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "msal"];
        run(Command::new(&python).args(quiet));
    }
    python
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {told}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn token(python: &Path, world: &World, arguments: &[&str]) -> String {
    let client = repository().join("tests/mock-entra/msal_client.py");
    run(Command::new(python).arg(client).arg(world.entra.origin().url("")).args(arguments))
}

async fn tokens_that_msal_acquires_pass(release: &Release) {
    // The tests may run where a first installation takes its time; the mock answers on other threads meanwhile.
    let python = python();
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
    let legacy = token(&python, &world, &[CONTOSO, "api://legacy/.default"]);
    world.assert_token_refused("/orders", &legacy, "audience_not_allowed").await;
}
