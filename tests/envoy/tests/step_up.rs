//! Step-up and continuous access evaluation: what a client that declared `cp1` learns, and what every other one does.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::challenge::Challenge;
use envoy_tests::configuration::{provider, workforce};
use envoy_tests::token::{CONTOSO, CUSTOMERS};
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn options(release: &Release) -> Options {
    let mut configuration = workforce(&json!({}));
    let rest = json!({
        "providers": {
            "government": provider(&json!({"tenants": [CONTOSO], "cloud": "us_government", "token_versions": [2]})),
            "customers": provider(&json!({
                "kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS],
            })),
        },
        "rules": [{"match": {"prefix": "/pay"}, "require": {"auth_context": "c1"}}],
        "responses": {"realm": "orders"},
        "revocation": {"entries": [
            {"tenant": CONTOSO, "user": "blocked", "blocked": true},
            {"tenant": CONTOSO, "user": "stale", "not_before": 4_000_000_000_u32},
        ]},
    });
    merge(&mut configuration, &rest);
    Options::new(release, configuration)
}

fn main() -> ExitCode {
    let shared = behaviours![
        a_satisfied_context_passes,
        a_client_with_cp1_is_told_the_context_to_ask_for,
        other_clients_are_forbidden,
        a_remembered_token_is_asked_again,
        a_revoked_token_with_cp1_is_told_the_time_to_ask_for,
        the_address_is_of_cloud_and_tenant,
    ];
    Suite::new().shared(&Release::all(), options, shared).run()
}

/// The claims request of a challenge.
fn claims(answer: &Answer) -> Value {
    let challenge = Challenge::parse(answer.header("www-authenticate").expect("a challenge")).expect("a challenge");
    let decoded = STANDARD.decode(challenge.get("claims").expect("claims")).expect("padded standard base64");
    serde_json::from_slice(&decoded).expect("JSON")
}

fn parameter(answer: &Answer, name: &str) -> Option<String> {
    let challenge = Challenge::parse(answer.header("www-authenticate").expect("a challenge")).expect("a challenge");
    challenge.get(name).map(str::to_owned)
}

async fn a_satisfied_context_passes(world: &World) {
    for acrs in [json!(["c1"]), json!(["c3", "c1"]), json!("c1")] {
        world.assert_passes("/pay", json!({"claims": {"acrs": acrs}})).await;
    }
    world.assert_passes("/orders", json!({})).await;
}

async fn a_client_with_cp1_is_told_the_context_to_ask_for(world: &World) {
    for xms_cc in [json!(["cp1"]), json!(["CP1", "x"]), json!("cp1")] {
        let token = world.mint(json!({"claims": {"xms_cc": xms_cc, "acrs": ["c2"]}})).await;
        let answer = world.assert_token_refused("/pay", &token, "step_up_required").await;
        assert_eq!(answer.status, 401);
        assert_eq!(claims(&answer), json!({"access_token": {"acrs": {"essential": true, "value": "c1"}}}));
        assert_eq!(parameter(&answer, "error").as_deref(), Some("insufficient_claims"));
        assert_eq!(parameter(&answer, "realm").as_deref(), Some(CONTOSO));
        let authorize = format!("https://login.microsoftonline.com/{CONTOSO}/oauth2/authorize");
        assert_eq!(parameter(&answer, "authorization_uri"), Some(authorize));
        assert_eq!(answer.json()["error"], "insufficient_claims");
    }
}

async fn other_clients_are_forbidden(world: &World) {
    for token in [
        json!({}),
        json!({"claims": {"xms_cc": ["other"]}}),
        json!({"claims": {"xms_cc": ["cp1"]}, "roles": ["Orders.Read.All"]}),
    ] {
        let token = world.mint(token).await;
        let answer = world.assert_token_refused("/pay", &token, "step_up_required").await;
        assert_eq!(answer.status, 403);
        assert_eq!(parameter(&answer, "claims"), None);
        assert_eq!(parameter(&answer, "realm").as_deref(), Some("orders"));
    }
}

async fn a_remembered_token_is_asked_again(world: &World) {
    let token = world.mint(json!({"claims": {"xms_cc": ["cp1"], "uti": "remembered"}})).await;
    for _ in 0..6 {
        assert_eq!(world.call("/orders", &token).await.status, 200);
        world.assert_token_refused("/pay", &token, "step_up_required").await;
    }
}

async fn a_revoked_token_with_cp1_is_told_the_time_to_ask_for(world: &World) {
    let revoked = |user: &str| json!({"claims": {"oid": user, "xms_cc": ["cp1"]}});
    let stale = world.mint(revoked("stale")).await;
    let answer = world.assert_token_refused("/orders", &stale, "token_revoked").await;
    assert_eq!(claims(&answer), json!({"access_token": {"nbf": {"essential": true, "value": "4000000000"}}}));

    let seconds = || std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let before = seconds();
    let blocked = world.mint(revoked("blocked")).await;
    let answer = world.assert_token_refused("/orders", &blocked, "token_revoked").await;
    let claims = claims(&answer);
    let value = claims["access_token"]["nbf"]["value"].as_str().expect("a text");
    assert!((before..=seconds()).contains(&value.parse().expect("Unix seconds")), "{claims}");

    let without = world.mint(json!({"claims": {"oid": "blocked"}})).await;
    let answer = world.assert_token_refused("/orders", &without, "token_revoked").await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_token"));
}

async fn the_address_is_of_cloud_and_tenant(world: &World) {
    for (token, expected) in [
        (json!({"cloud": "us_government"}), format!("https://login.microsoftonline.us/{CONTOSO}/oauth2/authorize")),
        (json!({"kind": "external_id"}), format!("https://{CUSTOMERS}.ciamlogin.com/{CUSTOMERS}/oauth2/authorize")),
    ] {
        let mut token = token;
        token["claims"] = json!({"xms_cc": ["cp1"]});
        let token = world.mint(token).await;
        let answer = world.assert_refused(Request::get("/pay").bearer(&token), "step_up_required").await;
        assert_eq!(parameter(&answer, "authorization_uri"), Some(expected));
    }
}
