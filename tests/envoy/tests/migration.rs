//! The examples of docs/migration.md, as they stand there: each lets a good token pass and refuses a bad one.

use std::fs;
use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::{provider, workforce};
use envoy_tests::envoy::{repository, wasm};
use envoy_tests::token::{CONTOSO, CUSTOMERS, DAEMON, FABRIKAM, ORDERS, PUBLIC, encode, parts};
use envoy_tests::upstream::Echo;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

/// What issuer and gate of the examples with a secret know.
const SIGNING_KEY: &str = "a worthless signing key of 37 bytes..";
const API: &str = "api.contoso.example";

fn main() -> ExitCode {
    let behaviours = behaviours![
        the_simple_azure_ad_policy,
        the_azure_ad_policy_with_audience_and_claim,
        the_policy_with_a_signing_key,
        the_policy_with_a_certificate,
        the_entra_tenant_policy,
        the_customer_tenant_policy,
        the_b2c_policy,
        the_policy_by_operation,
        the_jwt_authn_example_with_remote_keys,
        the_jwt_authn_example_with_keys_and_a_header,
        the_jwt_authn_example_with_rules,
        the_jwt_authn_example_of_groups,
        two_filters_in_a_row_ask_for_two_tokens,
    ];
    Suite::new().alone(&[Release::newest()], behaviours).run()
}

/// The configuration under a heading of the page; only the certificate has a name there in place of its text.
fn example(heading: &str) -> Value {
    let page = fs::read_to_string(repository().join("docs/migration.md")).expect("the page");
    let section = page.split("\n### ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("no example {heading:?}"));
    let yaml = section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let pem = fs::read_to_string(repository().join("tests/mock-entra/keys/oidc.crt.pem")).expect("a certificate");
    let certificate: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    serde_yaml_ng::from_str(&yaml.replace("MY_RSA_CERT", &certificate)).expect("the example is YAML")
}

async fn world(release: &Release, heading: &str) -> World {
    let mut options = Options::new(release, example(heading));
    options.environment = vec![("JWT_SIGNING_KEY".into(), encode(SIGNING_KEY))];
    World::start(&options).await
}

/// A token of contoso.com's own making, with the secret that is known to issuer and gate.
async fn signed(world: &World, iss: &str, members: Value) -> String {
    let mut request = json!({"kind": "oidc", "alg": "HS256", "secret": encode(SIGNING_KEY), "audience": API});
    envoy_tests::bootstrap::merge(&mut request, &json!({"claims": {"iss": iss}}));
    envoy_tests::bootstrap::merge(&mut request, &members);
    world.mint(request).await
}

async fn passes(world: &World, request: Request) -> Echo {
    let line = request.line();
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "{line}: {}", answer.text());
    Echo::of(&answer)
}

async fn refused(world: &World, token: Value, reason: &str) -> Answer {
    let token = world.mint(token).await;
    world.assert_token_refused("/orders", &token, reason).await
}

async fn the_simple_azure_ad_policy(release: &Release) {
    let world = world(release, "Simple token validation (`validate-azure-ad-token`)").await;
    for version in [1, 2] {
        world.assert_passes("/orders", json!({"version": version, "client": DAEMON})).await;
    }
    refused(&world, json!({"client": PUBLIC}), "client_not_allowed").await;
    refused(&world, json!({"tenant": FABRIKAM}), "tenant_not_allowed").await;
    refused(&world, json!({"expires_in": -600, "issued_ago": 4200}), "token_expired").await;
    world.assert_refused(Request::get("/orders"), "token_missing").await;
}

async fn the_azure_ad_policy_with_audience_and_claim(release: &Release) {
    let world = world(release, "Audience and claim are correct (`validate-azure-ad-token`)").await;
    let from = |ctry: Value| json!({"audience": API, "claims": {"ctry": ctry}});
    let token = world.mint(from(json!("US"))).await;
    let echo = passes(&world, Request::get("/orders").bearer(&token)).await;
    assert_eq!(echo.header("x-jwt"), [parts(&token)[1]]);
    refused(&world, from(json!("DE")), "claim_not_allowed").await;
    refused(&world, from(json!(null)), "claim_missing").await;
    refused(&world, json!({"claims": {"ctry": "US"}}), "audience_not_allowed").await;
}

async fn the_policy_with_a_signing_key(release: &Release) {
    let world = world(release, "Simple token validation (`validate-jwt`)").await;
    let contoso = "http://contoso.com/";
    let good = signed(&world, contoso, json!({})).await;
    passes(&world, Request::get("/orders").bearer(&good)).await;
    for (iss, members, reason) in [
        (contoso, json!({"secret": encode("another key of more than 32 bytes....")}), "signature_invalid"),
        (contoso, json!({"audience": "api.fabrikam.example"}), "audience_not_allowed"),
        ("http://contoso.com", json!({}), "issuer_not_allowed"),
        (contoso, json!({"alg": "RS256"}), "algorithm_not_allowed"),
        (contoso, json!({"expires_in": -600, "issued_ago": 4200}), "token_expired"),
    ] {
        let token = signed(&world, iss, members).await;
        world.assert_token_refused("/orders", &token, reason).await;
    }
}

async fn the_policy_with_a_certificate(release: &Release) {
    let world = world(release, "RSA certificate (`validate-jwt`)").await;
    let of = |key: &str| json!({"kind": "oidc", "key": key, "audience": API, "claims": {"iss": "http://contoso.com/"}});
    world.assert_passes("/orders", of("oidc")).await;
    refused(&world, of("stranger"), "signature_invalid").await;
}

async fn the_entra_tenant_policy(release: &Release) {
    let world = world(release, "Entra ID, a single tenant (`validate-jwt`)").await;
    let with = |id: &str| json!({"version": 1, "audience": ORDERS, "claims": {"id": id}});
    world.assert_passes("/orders", with("an-id")).await;
    let answer = refused(&world, with("another-id"), "claim_not_allowed").await;
    assert_eq!(answer.json()["error_description"], "Unauthorized. Access token is missing or invalid.");
    refused(&world, json!({"version": 2, "claims": {"id": "an-id"}}), "token_version_not_allowed").await;
    refused(&world, json!({"version": 1, "claims": {"id": "an-id"}}), "audience_not_allowed").await;
}

async fn the_customer_tenant_policy(release: &Release) {
    let world = world(release, "Entra External ID, a customer tenant (`validate-jwt`)").await;
    world.assert_passes("/orders", json!({"kind": "external_id", "client": DAEMON})).await;
    refused(&world, json!({"kind": "external_id", "client": PUBLIC}), "claim_not_allowed").await;
    refused(&world, json!({"client": DAEMON}), "issuer_not_allowed").await;
}

async fn the_b2c_policy(release: &Release) {
    let world = world(release, "Azure AD B2C (`validate-jwt`)").await;
    let with = |id: &str| json!({"kind": "b2c", "claims": {"id": id}});
    world.assert_passes("/orders", with("an-id")).await;
    refused(&world, with("another-id"), "claim_not_allowed").await;
    refused(&world, json!({"kind": "b2c"}), "claim_missing").await;
    refused(&world, json!({"kind": "b2c", "policy": "B2C_1_susi", "claims": {"id": "an-id"}}), "claim_not_allowed")
        .await;
}

async fn the_policy_by_operation(release: &Release) {
    let world = world(release, "Operations by claims (`validate-jwt`)").await;
    let of = async |group: Value| signed(&world, "contoso.com", json!({"claims": {"group": group}})).await;
    let (finance, logistics) = (of(json!("finance")).await, of(json!(["logistics", "staff"])).await);
    for token in [&finance, &logistics] {
        passes(&world, Request::get("/orders").bearer(token)).await;
    }
    let post = |token: &str| Request::post("/orders", &json!({})).bearer(token);
    passes(&world, post(&finance)).await;
    world.assert_refused(post(&logistics), "claim_not_allowed").await;
    world.assert_token_refused("/orders", &of(json!("sales")).await, "claim_not_allowed").await;
}

async fn the_jwt_authn_example_with_remote_keys(release: &Release) {
    let world = world(release, "Remote keys (`jwt_authn`)").await;
    let of = |audience: &str| json!({"kind": "oidc", "audience": audience});
    for app in ["android", "web"] {
        let token = world.mint(of(&format!("bookstore_{app}.apps.googleusercontent.com"))).await;
        let echo = passes(&world, Request::get("/orders").bearer(&token)).await;
        assert!(echo.header("authorization").is_empty());
    }
    refused(&world, of("bookstore_ios.apps.googleusercontent.com"), "audience_not_allowed").await;
    let stranger = json!({"kind": "oidc", "audience": "bookstore_web.apps.googleusercontent.com", "key": "stranger"});
    refused(&world, stranger, "key_unknown").await;
    refused(&world, json!({"tenant": CONTOSO}), "issuer_not_allowed").await;
}

async fn the_jwt_authn_example_with_keys_and_a_header(release: &Release) {
    let world = world(release, "Inline keys and a header (`jwt_authn`)").await;
    let of = |iss: &str| json!({"kind": "oidc", "key": "oidc", "audience": "https://example2.com/api", "claims": {"iss": iss}});
    let token = world.mint(of("https://example2.com")).await;
    let echo = passes(&world, Request::get("/orders").header("jwt-assertion", token.as_str())).await;
    assert_eq!(echo.header("jwt-assertion"), [token.as_str()]);
    assert_eq!(echo.header("x-jwt-payload"), [parts(&token)[1]]);
    world.assert_refused(Request::get("/orders").bearer(&token), "token_missing").await;
    let other = world.mint(of("https://example3.com")).await;
    world.assert_refused(Request::get("/orders").header("jwt-assertion", other), "issuer_not_allowed").await;
}

async fn the_jwt_authn_example_with_rules(release: &Release) {
    let world = world(release, "Rules (`jwt_authn`)").await;
    passes(&world, Request::get("/health")).await;
    let of = |audience: &str| json!({"kind": "oidc", "audience": audience});
    world.assert_passes("/api/orders", of("api_audience")).await;
    world.assert_passes("/orders", of("audience1")).await;
    for (path, audience) in [("/api/orders", "audience1"), ("/orders", "api_audience"), ("/orders", "other")] {
        let token = world.mint(of(audience)).await;
        world.assert_token_refused(path, &token, "audience_not_allowed").await;
    }
    for path in ["/api/orders", "/orders"] {
        world.assert_refused(Request::get(path), "token_missing").await;
    }
}

async fn the_jwt_authn_example_of_groups(release: &Release) {
    let world = world(release, "Groups (`jwt_authn`)").await;
    let of = |kind: &str| json!({"kind": kind, "audience": "api"});
    for kind in ["oidc", "external_id"] {
        world.assert_passes("/any", of(kind)).await;
    }
    world.assert_passes("/one", of("oidc")).await;
    let other = world.mint(of("external_id")).await;
    world.assert_token_refused("/one", &other, "issuer_not_allowed").await;
    world.assert_refused(Request::get("/any"), "token_missing").await;
}

async fn two_filters_in_a_row_ask_for_two_tokens(release: &Release) {
    let customers = provider(&json!({
        "kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS],
        "token_sources": [{"header": "x-customer-token"}],
    }));
    let second = Options::new(release, json!({"providers": {"customers": customers}}));
    let mut options = Options::new(release, workforce(&json!({})));
    options.later_filters = vec![second.filter(&wasm())];
    let world = World::start(&options).await;
    let (staff, customer) = (world.mint(json!({})).await, world.mint(json!({"kind": "external_id"})).await);
    for _ in 0..3 {
        passes(&world, Request::get("/orders").bearer(&staff).header("x-customer-token", customer.as_str())).await;
    }
    world.assert_refused(Request::get("/orders").bearer(&staff), "token_missing").await;
    let without_staff = Request::get("/orders").header("x-customer-token", customer.as_str());
    world.assert_refused(without_staff, "token_missing").await;
    let wrong_way_round = Request::get("/orders").bearer(&customer).header("x-customer-token", staff);
    world.assert_refused(wrong_way_round, "issuer_not_allowed").await;
}
