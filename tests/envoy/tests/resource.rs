//! The protected resource metadata (RFC 9728): where it is served, to whom, and that every challenge leads there.

use std::process::ExitCode;

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::challenge::Challenge;
use envoy_tests::configuration::workforce;
use envoy_tests::token::CONTOSO;
use envoy_tests::{Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

const ROOT: &str = "/.well-known/oauth-protected-resource";
const OF_PATH: &str = "/.well-known/oauth-protected-resource/mcp";

fn configuration(resource: &Value) -> Value {
    let mut configuration = workforce(&json!({}));
    merge(&mut configuration, &json!({"resource_metadata": resource}));
    configuration
}

fn options(release: &Release) -> Options {
    let resource = json!({
        "resource": "https://api.example.com/mcp",
        "scopes_supported": ["api://orders/Orders.Read"],
        "resource_name": "Orders",
    });
    let mut configuration = configuration(&resource);
    let rules = json!({"rules": [
        {"match": {"prefix": "/.well-known/"}, "require": {"auth_context": "c1"}},
        {"match": {"prefix": "/mcp/pay"}, "require": {"auth_context": "c1"}},
    ]});
    merge(&mut configuration, &rules);
    Options::new(release, configuration)
}

fn main() -> ExitCode {
    let shared = behaviours![
        the_document_is_served_before_any_rule,
        only_its_own_addresses_are_open,
        scripts_of_any_origin_may_read_it,
        every_challenge_leads_to_it,
    ];
    let alone = behaviours![a_resource_without_a_path_is_found_at_the_root, metadata_needs_no_rules];
    let releases = Release::all();
    Suite::new().shared(&releases, options, shared).alone(&releases[..1], alone).run()
}

async fn the_document_is_served_before_any_rule(world: &World) {
    for path in [ROOT, OF_PATH, "/.well-known/oauth-protected-resource?x=y"] {
        for request in [Request::get(path), Request::get(path).bearer("opaque").header("host", "other.example")] {
            let answer = world.send(request).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
            assert_eq!(
                answer.json(),
                json!({
                    "resource": "https://api.example.com/mcp",
                    "authorization_servers": [format!("https://login.microsoftonline.com/{CONTOSO}/v2.0")],
                    "bearer_methods_supported": ["header"],
                    "scopes_supported": ["api://orders/Orders.Read"],
                    "resource_name": "Orders",
                })
            );
        }
    }
    let head = world.send(Request::new("HEAD", OF_PATH)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    // The issuer identifier is one under which the provider's metadata is found, and that it states.
    let server = format!("/{CONTOSO}/v2.0/.well-known/openid-configuration");
    let metadata = world.entra.document("login.microsoftonline.com", &server).await;
    assert_eq!(metadata["issuer"], format!("https://login.microsoftonline.com/{CONTOSO}/v2.0"));
}

async fn only_its_own_addresses_are_open(world: &World) {
    for path in [
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/oauth-protected-resource/mcp/",
        "/.well-known/oauth-protected-resource/mcp/pay",
        "/.well-known/oauth-protected-resources",
        "/.well-known//oauth-protected-resource",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/../mcp",
        "/mcp/.well-known/oauth-protected-resource",
    ] {
        world.assert_refused(Request::get(path), "token_missing").await;
    }
    let before = world.upstream.count().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = world.send(Request::new(method, ROOT)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    assert_eq!(world.upstream.count().await, before);
}

async fn scripts_of_any_origin_may_read_it(world: &World) {
    let preflight = Request::new("OPTIONS", OF_PATH)
        .header("origin", "https://inspector.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version");
    let answer = world.send(preflight).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("*, authorization"));
    let answer = world.send(Request::get(OF_PATH).header("origin", "https://inspector.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

async fn every_challenge_leads_to_it(world: &World) {
    let good = world.mint(json!({})).await;
    let capable = world.mint(json!({"claims": {"xms_cc": ["cp1"]}})).await;
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    for (request, reason) in [
        (Request::get("/mcp"), "token_missing"),
        (Request::get("/mcp").header("authorization", "Bearer"), "request_malformed"),
        (Request::get("/mcp").bearer(&expired), "token_expired"),
        (Request::get("/mcp/pay").bearer(&good), "step_up_required"),
        (Request::get("/mcp/pay").bearer(&capable), "step_up_required"),
    ] {
        let answer = world.assert_refused(request, reason).await;
        let value = answer.header("www-authenticate").expect("a challenge");
        let challenge = Challenge::parse(value).unwrap_or_else(|fault| panic!("{fault}: {value}"));
        let url = format!("https://api.example.com{OF_PATH}");
        assert_eq!(challenge.get("resource_metadata"), Some(url.as_str()), "{value}");
    }
}

async fn a_resource_without_a_path_is_found_at_the_root(release: &Release) {
    let configuration = configuration(&json!({"resource": "https://api.example.com"}));
    let world = World::start(&Options::new(release, configuration)).await;
    let answer = world.send(Request::get(ROOT)).await;
    assert_eq!((answer.status, &answer.json()["resource"]), (200, &json!("https://api.example.com")));
    world.assert_refused(Request::get(OF_PATH), "token_missing").await;
    let refused = world.assert_refused(Request::get("/mcp"), "token_missing").await;
    assert_eq!(
        refused.header("www-authenticate"),
        Some(r#"Bearer realm="", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource""#)
    );
}

async fn metadata_needs_no_rules(release: &Release) {
    let configuration = configuration(&json!({"resource": "https://api.example.com/mcp"}));
    let world = World::start(&Options::new(release, configuration)).await;
    for path in [ROOT, OF_PATH] {
        assert_eq!(world.send(Request::get(path)).await.status, 200, "{path}");
    }
    world.assert_refused(Request::get("/mcp"), "token_missing").await;
    world.assert_passes("/mcp", json!({})).await;
}
