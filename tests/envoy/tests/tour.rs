//! The demo keeps its own promises.

use std::process::{Command, ExitCode};

use envoy_tests::revocations::Service;
use envoy_tests::{Release, Suite, behaviours};

fn main() -> ExitCode {
    let behaviours = behaviours![the_tour_ends_well, a_broken_promise_is_told_by_the_exit_code];
    Suite::new().alone(&[Release::newest()], behaviours).run()
}

fn tour() -> Command {
    let mut tour = Command::new(env!("CARGO_BIN_EXE_tour"));
    tour.arg("--once").env_remove("TOUR_ENVOY_URL").env_remove("TOUR_MOCK_URL");
    tour.env_remove("TOUR_REVOCATIONS_URL").env_remove("TOUR_UPSTREAM_URL");
    tour
}

async fn the_tour_ends_well(_release: &Release) {
    let output = tour().output().expect("the tour runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for shown in [
        "token_missing",
        "token_expired",
        "External ID (CIAM)",
        "signature_invalid",
        "algorithm_not_allowed",
        "access_denied",
        "dcr: Night shift",
        "token_revoked",
        "refused by every worker after",
    ] {
        assert!(told.contains(shown), "{shown} is not shown:\n{told}");
    }
    assert!(told.contains('✓') && !told.contains('✗'), "{told}");
}

async fn a_broken_promise_is_told_by_the_exit_code(_release: &Release) {
    // An upstream in the place of the gate lets everything pass.
    let surroundings = envoy_tests::world::Surroundings::start().await;
    let [(_, entra), (_, upstream)] = surroundings.clusters();
    let service = Service::start_on(([127, 0, 0, 1], 0).into()).await;
    let mut tour = tour();
    tour.env("TOUR_REVOCATIONS_URL", format!("http://{}", service.addr()));
    tour.env("TOUR_ENVOY_URL", format!("http://{upstream}"))
        .env("TOUR_MOCK_URL", format!("http://{entra}"))
        .env("TOUR_UPSTREAM_URL", format!("http://{upstream}"));
    let output = tour.output().expect("the tour runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains('✗'), "{told}");
}
