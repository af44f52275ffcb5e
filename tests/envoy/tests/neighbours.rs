//! The filter beside Envoy's own parts: routes that match on claims, filters and logs that read the filter state, routes
//! that switch the filter off, and browsers' preflights.

use std::process::ExitCode;

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::patience::until;
use envoy_tests::token::{CONTOSO, DAEMON, PUBLIC, decode, parts};
use envoy_tests::upstream::Echo;
use envoy_tests::{Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn configuration(rest: &Value) -> Value {
    let mut configuration = workforce(&json!({}));
    merge(&mut configuration, rest);
    configuration
}

/// Routes that tell the upstream which of them was chosen; the first matches on a claim's header.
fn routes() -> Value {
    let chosen = |name: &str| json!([{"header": {"key": "x-chosen", "value": name}}]);
    let disabled = json!({"entra_gate": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "disabled": true,
    }});
    let upstream = json!({"cluster": "upstream"});
    json!({"route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {
            "match": {"prefix": "/unguarded"}, "route": upstream,
            "request_headers_to_add": chosen("unguarded"), "typed_per_filter_config": disabled,
        },
        {
            "match": {"prefix": "/", "headers": [
                {"name": "x-entra-client", "string_match": {"exact": DAEMON}},
            ]},
            "route": upstream, "request_headers_to_add": chosen("daemon"),
        },
        {"match": {"prefix": "/"}, "route": upstream, "request_headers_to_add": chosen("default")},
    ]}]}})
}

fn claim_headers() -> Value {
    json!([{"header": "x-entra-client", "claim": "azp"}])
}

fn steered(release: &Release) -> Options {
    let configuration = configuration(&json!({
        "rules": [
            {"match": {"prefix": "/open"}, "allow": "anonymous"},
            {"match": {"prefix": "/maybe"}, "allow": "optional"},
        ],
        "forward": {"claim_headers": claim_headers(), "clear_route_cache": true, "filter_state": ["provider", "tenant", "payload"]},
    }));
    let mut options = Options::new(release, configuration);
    options.connection_manager = routes();
    options
}

fn main() -> ExitCode {
    let shared = behaviours![
        a_claim_chooses_the_route,
        forged_headers_choose_no_route,
        the_payload_is_in_the_access_log,
        preflights_need_a_token_unless_told_otherwise,
    ];
    let alone = behaviours![
        a_route_can_switch_the_filter_off,
        the_filter_state_chooses_the_route_where_it_is_chosen_again,
        rbac_reads_the_filter_state,
        preflights_pass_where_they_may,
    ];
    let releases = Release::all();
    Suite::new().shared(&releases, steered, shared).alone(&releases[..1], alone).run()
}

async fn chosen(world: &World, request: Request) -> String {
    let answer = world.send(request).await;
    let echo = Echo::of(&answer);
    let values = echo.header("x-chosen");
    assert_eq!(values.len(), 1, "{}", answer.text());
    values.concat()
}

async fn a_claim_chooses_the_route(world: &World) {
    let daemon = world.mint(json!({"client": DAEMON})).await;
    let public = world.mint(json!({"client": PUBLIC})).await;
    // The first may wait for keys, and is routed all the same; the others are judged at once.
    for path in ["/orders", "/maybe", "/orders"] {
        assert_eq!(chosen(world, Request::get(path).bearer(&daemon)).await, "daemon", "{path}");
        assert_eq!(chosen(world, Request::get(path).bearer(&public)).await, "default", "{path}");
    }
}

async fn forged_headers_choose_no_route(world: &World) {
    let public = world.mint(json!({"client": PUBLIC})).await;
    let forged = |request: Request| request.header("x-entra-client", DAEMON);
    for path in ["/open", "/maybe"] {
        assert_eq!(chosen(world, forged(Request::get(path))).await, "default", "{path}");
    }
    for path in ["/orders", "/maybe"] {
        assert_eq!(chosen(world, forged(Request::get(path).bearer(&public))).await, "default", "{path}");
    }
}

async fn the_payload_is_in_the_access_log(world: &World) {
    let token = world.mint(json!({"claims": {"name": "Zo\u{eb} \"Z\""}})).await;
    assert_eq!(world.call("/payload-state", &token).await.status, 200);
    let entry = world.envoy.access("/payload-state").await;
    let signed: Value = serde_json::from_slice(&decode(parts(&token)[1])).expect("the payload is JSON");
    let logged: Value = serde_json::from_str(entry["payload"].as_str().expect("a text")).expect("JSON");
    assert_eq!(logged, signed);
    assert_eq!(world.send(Request::get("/open/payload-state")).await.status, 200);
    assert_eq!(world.envoy.access("/open/payload-state").await["payload"], Value::Null);
    let forged = world.mint(json!({"signature": "corrupt"})).await;
    assert_eq!(world.call("/forged-payload-state", &forged).await.status, 401);
    assert_eq!(world.envoy.access("/forged-payload-state").await["payload"], Value::Null);
}

async fn preflights_need_a_token_unless_told_otherwise(world: &World) {
    world.assert_refused(preflight("/orders"), "token_missing").await;
}

fn preflight(path: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
}

/// Routes that tell which of them was chosen; the first matches on the filter state, for which no header is edited.
fn routes_by_state() -> Value {
    let chosen = |name: &str| json!([{"header": {"key": "x-chosen", "value": name}}]);
    let client = json!({"key": "wasm.entra_gate.client", "string_match": {"exact": DAEMON}});
    json!({"route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {
            "match": {"prefix": "/", "filter_state": [client]},
            "route": {"cluster": "upstream"}, "request_headers_to_add": chosen("daemon"),
        },
        {
            "match": {"prefix": "/"},
            "route": {"cluster": "upstream"}, "request_headers_to_add": chosen("default"),
        },
    ]}]}})
}

async fn the_filter_state_chooses_the_route_where_it_is_chosen_again(release: &Release) {
    for (clear_route_cache, expected) in [(false, "default"), (true, "daemon")] {
        let forward = json!({"forward": {"clear_route_cache": clear_route_cache}});
        let mut options = Options::new(release, configuration(&forward));
        options.connection_manager = routes_by_state();
        let world = World::start(&options).await;
        let daemon = world.mint(json!({"client": DAEMON})).await;
        let public = world.mint(json!({"client": PUBLIC})).await;
        for _ in 0..3 {
            assert_eq!(chosen(&world, Request::get("/orders").bearer(&daemon)).await, expected);
            assert_eq!(chosen(&world, Request::get("/orders").bearer(&public)).await, "default");
        }
    }
}

async fn a_route_can_switch_the_filter_off(release: &Release) {
    let mut options = steered(release);
    options.workers = 1;
    let world = World::start(&options).await;
    for request in [
        Request::get("/unguarded"),
        Request::get("/unguarded/x").bearer("opaque"),
        Request::get("/unguarded").header("authorization", "Bearer"),
    ] {
        assert_eq!(chosen(&world, request).await, "unguarded");
    }
    // Off is off: headers that the filter owns arrive as the client sent them, and nothing is counted.
    let answer = world.send(Request::get("/unguarded").header("x-entra-client", DAEMON)).await;
    assert_eq!(Echo::of(&answer).header("x-entra-client"), [DAEMON]);
    world.assert_refused(Request::get("/orders"), "token_missing").await;
    let stats = until("the refusal is counted", async || {
        Some(world.envoy.stats().await).filter(|stats| stats.get("refused.token_missing") == Some(&1))
    });
    let stats = stats.await;
    assert_eq!((stats.get("anonymous"), stats.get("refused.request_malformed")), (Some(&0), Some(&0)), "{stats:?}");
}

async fn rbac_reads_the_filter_state(release: &Release) {
    let state = |name: &str, matcher: Value| {
        let mut rule = json!({"key": format!("wasm.entra_gate.{name}")});
        merge(&mut rule, &json!({"string_match": matcher}));
        json!({"filter_state": rule})
    };
    let principal = json!({"and_ids": {"ids": [
        state("tenant", json!({"exact": CONTOSO})),
        state("client", json!({"exact": DAEMON})),
        state("payload", json!({"contains": "\"name\":\"Abe Lincoln\""})),
    ]}});
    let mut options =
        Options::new(release, configuration(&json!({"forward": {"filter_state": ["tenant", "client", "payload"]}})));
    options.later_filters = vec![json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"daemons": {
                "permissions": [{"any": true}], "principals": [principal],
            }}},
        },
    })];
    let world = World::start(&options).await;
    let named = |client: &str, name: &str| json!({"client": client, "claims": {"name": name}});
    world.assert_passes("/orders", named(DAEMON, "Abe Lincoln")).await;
    for token in [named(PUBLIC, "Abe Lincoln"), named(DAEMON, "Mary Todd")] {
        let token = world.mint(token).await;
        let answer = world.call("/orders", &token).await;
        assert_eq!((answer.status, answer.text().as_str()), (403, "RBAC: access denied"));
    }
}

async fn preflights_pass_where_they_may(release: &Release) {
    for rules in [Value::Null, json!([{"match": {"prefix": "/"}, "require": {"providers": ["workforce"]}}])] {
        let rest = json!({
            "rules": rules,
            "bypass_cors_preflight": true,
            "forward": {"claim_headers": claim_headers()},
        });
        let mut options = Options::new(release, configuration(&rest));
        options.workers = 1;
        let world = World::start(&options).await;
        let answer = world.send(preflight("/orders").header("x-entra-client", DAEMON)).await;
        assert_eq!(answer.json()["method"], "OPTIONS");
        assert!(Echo::of(&answer).header("x-entra-client").is_empty(), "{}", answer.text());
        // Half a preflight is none, and a whole one says nothing of the request that follows.
        for request in [
            Request::new("OPTIONS", "/orders"),
            Request::new("OPTIONS", "/orders").header("origin", "https://app.example"),
            Request::new("OPTIONS", "/orders").header("access-control-request-method", "POST"),
            Request::new("OPTIONS", "/orders").header("origin", "").header("access-control-request-method", "POST"),
            Request::get("/orders")
                .header("origin", "https://app.example")
                .header("access-control-request-method", "POST"),
            Request::post("/orders", &json!({})).header("origin", "https://app.example"),
        ] {
            world.assert_refused(request, "token_missing").await;
        }
        let refused = "refused.token_missing";
        let stats = until("every request is counted", async || {
            Some(world.envoy.stats().await).filter(|stats| stats.get(refused) == Some(&6))
        });
        assert_eq!(stats.await.get("anonymous"), Some(&1));
    }
}
