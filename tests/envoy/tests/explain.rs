//! The explain request: whoever has the secret learns everything about a request that goes nowhere; nobody else learns
//! that there is such a thing.

use std::process::ExitCode;

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::contract::assert_refusal;
use envoy_tests::token::CONTOSO;
use envoy_tests::world::Surroundings;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

const HEADER: &str = "x-entra-gate-explain";
const SECRET: &str = "worthless-secret-of-a-test";

fn options(release: &Release) -> Options {
    options_with(release, SECRET)
}

fn options_with(release: &Release, secret: &str) -> Options {
    let mut configuration = workforce(&json!({"token_versions": [2]}));
    let rest = json!({
        "rules": [
            {"match": {"path": "/healthz"}, "allow": "anonymous"},
            {"match": {"prefix": "/orders"}, "require": {"scopes": ["Orders.Read"]}},
            {"match": {"prefix": "/stock"}, "require": {"scopes": ["Stock.Read"]}},
        ],
        "explain": {"secret_env": "ENTRA_GATE_EXPLAIN_SECRET"},
    });
    merge(&mut configuration, &rest);
    let environment = vec![("ENTRA_GATE_EXPLAIN_SECRET".to_owned(), secret.to_owned())];
    Options { environment, ..Options::new(release, configuration) }
}

fn main() -> ExitCode {
    let shared = behaviours![
        the_secret_gets_the_whole_trace_and_the_upstream_nothing,
        refusals_are_explained_too,
        a_request_without_a_token_is_explained,
        a_wrong_secret_is_an_ordinary_request,
        it_is_not_counted_as_traffic,
    ];
    let alone = behaviours![
        it_waits_for_keys_as_the_request_would,
        without_a_good_secret_the_plugin_refuses_to_load,
        off_by_default_the_header_means_nothing,
    ];
    let releases = Release::all();
    Suite::new().shared(&releases, options, shared).alone(&releases[..1], alone).run()
}

/// The trace that a request is answered with, of which the upstream hears nothing.
async fn explained(world: &World, request: Request) -> Value {
    let before = world.upstream.count().await;
    let answer = world.send(request.header(HEADER, SECRET)).await;
    assert_eq!(world.upstream.count().await, before, "the upstream was asked");
    trace(&answer)
}

fn trace(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let text = answer.text();
    assert!(!text.contains(SECRET), "{text}");
    answer.json()
}

fn outcomes(trace: &Value) -> Vec<(&str, &str)> {
    let checks = trace["checks"].as_array().expect("checks");
    checks
        .iter()
        .map(|check| (check["check"].as_str().expect("a name"), check["outcome"].as_str().expect("an outcome")))
        .collect()
}

async fn the_secret_gets_the_whole_trace_and_the_upstream_nothing(world: &World) {
    let token = world.mint(json!({"claims": {"uti": "explained"}})).await;
    for _ in 0..3 {
        let trace = explained(world, Request::get("/orders/1?page=2").bearer(&token)).await;
        assert_eq!(trace["verdict"]["outcome"], "allowed", "{trace}");
        assert_eq!(trace["verdict"]["token_id"], "explained");
        assert_eq!(trace["request"]["path"], "/orders/1");
        assert_eq!(trace["rules"][0]["rule"], "rules[1]");
        assert_eq!(trace["token"]["claims"]["tid"], CONTOSO);
        assert_eq!(trace["key"]["provider"], "workforce");
        assert!(trace["key"]["age_seconds"].is_u64(), "{trace}");
        let outcomes = outcomes(&trace);
        assert!(
            outcomes.contains(&("signature", "passed")) && outcomes.contains(&("permissions", "passed")),
            "{trace}"
        );
        for segment in token.split('.') {
            assert!(!trace.to_string().contains(segment), "{segment}");
        }
        world.assert_untold(&token).await;
    }
    assert!(!world.envoy.log().contains(SECRET));
    // The same token, without the header, passes.
    assert_eq!(world.call("/orders/1", &token).await.status, 200);
}

async fn refusals_are_explained_too(world: &World) {
    for (path, token, reason, status, last) in [
        ("/orders", json!({"kind": "external_id"}), "issuer_not_allowed", 401, "issuer"),
        ("/orders", json!({"signature": "corrupt"}), "signature_invalid", 401, "signature"),
        ("/stock", json!({}), "scope_insufficient", 403, "permissions"),
    ] {
        let token = world.mint(token).await;
        let trace = explained(world, Request::get(path).bearer(&token)).await;
        let verdict = &trace["verdict"];
        assert_eq!((&verdict["reason"], &verdict["status"]), (&json!(reason), &json!(status)), "{trace}");
        assert_eq!(outcomes(&trace).last(), Some(&(last, "failed")), "{trace}");
        let answer = world.assert_token_refused(path, &token, reason).await;
        assert_eq!(answer.json()["error_description"], verdict["error_description"]);
    }
}

async fn a_request_without_a_token_is_explained(world: &World) {
    let trace = explained(world, Request::get("/orders")).await;
    assert_eq!(trace["verdict"]["reason"], "token_missing", "{trace}");
    let trace = explained(world, Request::get("/healthz")).await;
    assert_eq!(trace["verdict"], json!({"outcome": "allowed", "anonymous": true}), "{trace}");
}

async fn a_wrong_secret_is_an_ordinary_request(world: &World) {
    let token = world.mint(json!({})).await;
    let twice = Request::get("/orders").header(HEADER, SECRET).header(HEADER, SECRET);
    for request in [
        Request::get("/orders").header(HEADER, ""),
        Request::get("/orders").header(HEADER, &SECRET[1..]),
        Request::get("/orders").header(HEADER, format!("{SECRET}x")),
        Request::get("/orders").header(HEADER, SECRET.to_uppercase()),
        twice,
    ] {
        let answer = world.send(request.bearer(&token)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let heard = answer.text().to_ascii_lowercase();
        assert!(heard.contains("/orders") && !heard.contains(HEADER), "the header went on: {heard}");
    }
    let answer = world.send(Request::get("/orders").header(HEADER, "wrong")).await;
    assert_refusal(&answer, "token_missing");
}

async fn it_is_not_counted_as_traffic(world: &World) {
    let token = world.mint(json!({})).await;
    let counters = async || {
        [
            world.envoy.stat("allowed").await,
            world.envoy.stat("refused.token_missing").await,
            world.envoy.stat("token_cache.miss").await,
        ]
    };
    let before = counters().await;
    explained(world, Request::get("/orders").bearer(&token)).await;
    explained(world, Request::get("/orders")).await;
    assert_eq!(counters().await, before);
}

async fn it_waits_for_keys_as_the_request_would(release: &Release) {
    let surroundings = Surroundings::start().await;
    surroundings.entra.fault(json!({"path_contains": "/.well-known/", "fault": {"delay_ms": 1_500}})).await;
    let world = surroundings.with_envoy(&options(release)).await;
    let token = world.mint(json!({})).await;
    let trace = explained(&world, Request::get("/orders").bearer(&token)).await;
    assert_eq!(trace["verdict"]["outcome"], "allowed", "{trace}");
    assert!(trace["waited_for"][0].as_str().is_some_and(|url| url.contains(CONTOSO)), "{trace}");
    // An unknown key is waited for as well, and told with the next refresh.
    let unknown = world.mint(json!({"header": {"kid": "unknown"}})).await;
    let trace = explained(&world, Request::get("/orders").bearer(&unknown)).await;
    assert_eq!(trace["verdict"]["reason"], "key_unknown", "{trace}");
    let detail = trace["verdict"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("the last refresh was good; an unknown kid may refresh them in "), "{detail}");
    assert_eq!(outcomes(&trace).last(), Some(&("kid", "lacking")), "{trace}");
}

async fn without_a_good_secret_the_plugin_refuses_to_load(release: &Release) {
    let short = World::refused_configuration(&options_with(release, "fifteen-letters")).await;
    assert!(
        short.contains("explain.secret_env: found ENTRA_GATE_EXPLAIN_SECRET, which holds no usable secret"),
        "{short}"
    );
    assert!(short.contains("at least 16 printable ASCII characters") && !short.contains("fifteen-letters"), "{short}");
    let unset = Options { environment: Vec::new(), ..options(release) };
    let unset = World::refused_configuration(&unset).await;
    assert!(
        unset.contains("explain.secret_env: found ENTRA_GATE_EXPLAIN_SECRET, which is not set in the VM"),
        "{unset}"
    );
}

async fn off_by_default_the_header_means_nothing(release: &Release) {
    let world = World::start(&Options::new(release, workforce(&json!({})))).await;
    let answer = world.send(Request::get("/orders").header(HEADER, SECRET)).await;
    assert_refusal(&answer, "token_missing");
}
