//! Which requests need a token, and what the upstream is told.
//!
//! Envoy's own normalization is off: whatever the upstream makes of a path, a rule must not be walked around.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::provider;
use envoy_tests::token::{CONTOSO, CUSTOMERS, DAEMON, parts};
use envoy_tests::upstream::Echo;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn options(release: &Release) -> Options {
    let workforce = provider(&json!({"tenants": [CONTOSO]}));
    let customers = provider(&json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]}));
    let configuration = json!({
        "providers": {"workforce": workforce, "customers": customers},
        "rules": [
            {"match": {"path": "/healthz"}, "allow": "anonymous"},
            {"match": {"prefix": "/public/"}, "allow": "anonymous"},
            {"match": {"prefix": "/mixed"}, "allow": "optional"},
            {"match": {"prefix": "/customers"}, "require": {"providers": ["customers"]}},
            {"match": {"prefix": "/read", "methods": ["GET", "HEAD"]}, "allow": "anonymous"},
            {"match": {"hosts": ["open.example", "*.open.example"]}, "allow": "anonymous"},
            {"match": {"regex": "/v[0-9]+/status"}, "allow": "anonymous"},
            {"match": {"prefix": "/any"}, "require": {"providers": ["workforce", "customers"]}},
            {"match": {"prefix": "/staff"}, "require": {"providers": ["workforce"]}},
        ],
        "forward": {
            "payload_header": "x-entra-payload",
            "claim_headers": [
                {"header": "x-entra-oid", "claim": "oid"},
                {"header": "x-entra-name", "claim": "name"},
                {"header": "x-entra-roles", "claim": "roles"},
                {"header": "x-entra-issued", "claim": "iat"},
                {"header": "x-entra-region", "claim": "address.region"},
            ],
        },
    });
    Options::new(release, configuration)
}

fn main() -> ExitCode {
    let shared = behaviours![
        open_paths_need_no_token,
        tokens_on_open_paths_are_not_looked_at,
        optional_paths_refuse_bad_tokens_only,
        rules_ask_for_their_providers,
        what_no_rule_names_needs_a_token,
        methods_and_hosts_are_matched,
        queries_are_not_matched,
        regular_expressions_match_whole_paths,
        no_spelling_of_a_path_walks_around_a_rule,
        no_spelling_of_a_host_walks_around_a_rule,
        ordinary_paths_are_passed_on_as_they_are,
        claims_become_headers,
        the_payload_is_passed_on_as_it_was_signed,
        claims_never_split_a_header,
        copies_from_outside_are_taken_off,
    ];
    let alone = behaviours![authorization_can_be_taken_off, several_providers_of_one_issuer_are_tried];
    let releases = Release::all();
    Suite::new().shared(&releases, options, shared).alone(&releases[..1], alone).run()
}

fn assert_anonymous(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    let names = Echo::of(answer);
    assert!(names.names().iter().all(|name| !name.starts_with("x-entra")), "{what}: {}", answer.text());
}

async fn open_paths_need_no_token(world: &World) {
    for path in ["/healthz", "/public/", "/public/logo.svg", "/public/a/b?c=d", "/mixed", "/v1/status", "/v22/status"] {
        assert_anonymous(&world.send(Request::get(path)).await, path);
    }
}

async fn tokens_on_open_paths_are_not_looked_at(world: &World) {
    let forged = world.mint(json!({"signature": "corrupt"})).await;
    let good = world.mint(json!({})).await;
    for token in [forged.as_str(), good.as_str(), "", "a b", "opaque"] {
        assert_anonymous(&world.call("/public/logo.svg", token).await, token);
    }
}

async fn optional_paths_refuse_bad_tokens_only(world: &World) {
    assert_anonymous(&world.send(Request::get("/mixed")).await, "/mixed");
    world.assert_passes("/mixed", json!({})).await;
    world.assert_passes("/mixed", json!({"kind": "external_id"})).await;
    let forged = world.mint(json!({"signature": "corrupt"})).await;
    world.assert_token_refused("/mixed", &forged, "signature_invalid").await;
    world.assert_token_refused("/mixed", "opaque", "token_malformed").await;
    world.assert_refused(Request::get("/mixed").header("authorization", "Bearer"), "request_malformed").await;
}

async fn rules_ask_for_their_providers(world: &World) {
    let staff = world.mint(json!({})).await;
    let customer = world.mint(json!({"kind": "external_id"})).await;
    for (path, token) in [("/staff", &staff), ("/customers", &customer), ("/any", &staff), ("/any", &customer)] {
        assert_eq!(world.call(path, token).await.status, 200, "{path}");
    }
    let answer = world.assert_token_refused("/staff", &customer, "issuer_not_allowed").await;
    assert!(answer.text().contains("External ID (CIAM)"), "{}", answer.text());
    world.assert_token_refused("/customers", &staff, "issuer_not_allowed").await;
}

async fn what_no_rule_names_needs_a_token(world: &World) {
    for path in ["/", "/orders", "/healthz2", "/publications", "/public", "/v1/status/detail"] {
        world.assert_refused(Request::get(path), "token_missing").await;
        world.assert_passes(path, json!({})).await;
        world.assert_passes(path, json!({"kind": "external_id"})).await;
    }
}

async fn methods_and_hosts_are_matched(world: &World) {
    assert_anonymous(&world.send(Request::get("/read/1")).await, "GET");
    for method in ["POST", "DELETE", "PUT", "OPTIONS"] {
        world.assert_refused(Request::new(method, "/read/1"), "token_missing").await;
    }
    for host in ["open.example", "OPEN.example", "open.example:8080", "a.open.example", "a.b.open.example"] {
        assert_anonymous(&world.send(Request::get("/orders").header("host", host)).await, host);
    }
    for host in ["example", "notopen.example", "open.example.evil", "open.examples", ".example", "a.example"] {
        world.assert_refused(Request::get("/orders").header("host", host), "token_missing").await;
    }
}

async fn queries_are_not_matched(world: &World) {
    assert_anonymous(&world.send(Request::get("/healthz?x=/staff")).await, "a query");
    for path in ["/staff?/healthz", "/orders?/public/x", "/orders?x=/../healthz"] {
        world.assert_refused(Request::get(path), "token_missing").await;
    }
}

async fn regular_expressions_match_whole_paths(world: &World) {
    for path in ["/v1/statusx", "/x/v1/status", "/v/status", "/v1/status%0a", "/v1/status%0a/staff"] {
        world.assert_refused(Request::get(path), "token_missing").await;
    }
}

/// Sends bytes as the request target: an ordinary client would clean some of them.
async fn raw(world: &World, target: &str, host: &str) -> Answer {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = world.envoy.ingress().send_bytes(request.as_bytes()).await;
    answer.unwrap_or_else(|error| panic!("{target}: {error}"))
}

async fn no_spelling_of_a_path_walks_around_a_rule(world: &World) {
    // Some upstream reads each of these as /staff.
    for path in [
        "/public/../staff",
        "/public/%2e%2e/staff",
        "/public/%2E./staff",
        "/public/.%2e/staff",
        "/public/%252e%252e/staff",
        "/public/..%2fstaff",
        "/public/..%252fstaff",
        "/public%2f..%2fstaff",
        "/public/..%5cstaff",
        "/public/..\\staff",
        "/public\\..\\staff",
        "/public/..;/staff",
        "/public/..;x=y/staff",
        "/public/;/../staff",
        "/public/x/../../staff",
        "/public/./../staff",
        "/public//../../staff",
        "/public/..//staff",
        "/public/%00/../../staff",
        "/public/..%00/staff",
        "/public/../public/../staff",
        "/public/%2e%2e%2fstaff",
        "/public/%c0%ae%c0%ae/staff",
        "/healthz/../staff",
        "/healthz%2f..%2fstaff",
        "/mixed/../staff",
        "/v1/status/../../staff",
        "//staff",
        "/./staff",
        "/%73taff",
        "/STAFF",
        "/staff/",
        "/staff%00",
        "/staff%2f",
        "/staff;x=y",
        "/staff/..;/public/..;/staff",
        "http://gate/staff",
        "http://gate/public/../staff",
    ] {
        let before = world.upstream.count().await;
        let answer = raw(world, path, "gate").await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        assert_eq!(world.upstream.count().await, before, "{path} reached the upstream");
        // A customer's token is not enough either.
        let customer = world.mint(json!({"kind": "external_id"})).await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nAuthorization: Bearer {customer}\r\n\r\n"
        );
        let answer = world.envoy.ingress().send_bytes(request.as_bytes()).await.expect("an answer");
        assert!((400..500).contains(&answer.status), "{path} with a customer's token: {answer:?}");
        assert_eq!(world.upstream.count().await, before, "{path} reached the upstream with a customer's token");
    }
    world.envoy.assert_sound().await;
}

async fn no_spelling_of_a_host_walks_around_a_rule(world: &World) {
    for host in
        ["open.example@evil", "evil#open.example", "evil?.open.example", "open.example:80@evil", "evil/.open.example"]
    {
        let before = world.upstream.count().await;
        let answer = raw(world, "/orders", host).await;
        assert!((400..500).contains(&answer.status), "{host}: {answer:?}");
        assert_eq!(world.upstream.count().await, before, "{host} reached the upstream");
    }
    // The host of an absolute target counts, not the header beside it (RFC 9112 section 3.2.2).
    let before = world.upstream.count().await;
    assert_eq!(raw(world, "http://gate/orders", "open.example").await.status, 401);
    assert_eq!(world.upstream.count().await, before);
}

async fn ordinary_paths_are_passed_on_as_they_are(world: &World) {
    let token = world.mint(json!({})).await;
    for path in ["/orders/17?x=%2e%2e&y=a//b", "/orders/a%20b", "/orders/%C3%A9", "/orders//1", "/orders/;v=1"] {
        let answer = world.call(path, &token).await;
        assert_eq!(Echo::of(&answer).path(), path);
    }
}

fn one<'a>(echo: &'a Echo, name: &str) -> &'a str {
    let values = echo.header(name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0]
}

async fn claims_become_headers(world: &World) {
    let claims = json!({"roles": ["a", "b"], "iat": 1_760_000_000, "address": {"region": "DE"}});
    let answer = world.assert_passes("/orders", json!({"claims": claims})).await;
    let echo = Echo::of(&answer);
    assert_eq!(one(&echo, "x-entra-oid"), "690222be-ff1a-4d56-abd1-7e4f7d38e474");
    assert_eq!(one(&echo, "x-entra-name"), "Abe Lincoln");
    assert_eq!(one(&echo, "x-entra-issued"), "1760000000");
    assert_eq!(one(&echo, "x-entra-region"), "DE");
    let roles = URL_SAFE_NO_PAD.decode(one(&echo, "x-entra-roles")).expect("base64url");
    assert_eq!(roles, br#"["a","b"]"#);
    // Claims that are not there have no header.
    let answer = world.assert_passes("/orders", json!({})).await;
    assert!(Echo::of(&answer).header("x-entra-region").is_empty());
}

async fn the_payload_is_passed_on_as_it_was_signed(world: &World) {
    let token = world.mint(json!({})).await;
    let answer = world.call("/orders", &token).await;
    let echo = Echo::of(&answer);
    assert_eq!(one(&echo, "x-entra-payload"), parts(&token)[1]);
    assert_eq!(one(&echo, "authorization"), format!("Bearer {token}"));
}

async fn claims_never_split_a_header(world: &World) {
    for name in ["a\r\nx-admin: true", "a\nb", "a\0b", "Zo\u{eb}", "\u{202e}x"] {
        let answer = world.assert_passes("/orders", json!({"claims": {"name": name}})).await;
        let echo = Echo::of(&answer);
        assert!(echo.header("x-admin").is_empty(), "{name:?}");
        for value in echo.header("x-entra-name") {
            assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{name:?}: {value:?}");
        }
    }
}

async fn copies_from_outside_are_taken_off(world: &World) {
    let token = world.mint(json!({"claims": {"name": null}})).await;
    let forged = |request: Request| {
        let names = ["x-entra-oid", "X-Entra-OID", "x_entra_oid", "x-entra_oid", "X_Entra-Oid", "x-entra-name"];
        let with = names.into_iter().fold(request, |request, name| request.header(name, "forged"));
        with.header("x-entra-payload", "forged").header("x_entra_payload", "forged").header("x-other", "kept")
    };
    for path in ["/healthz", "/public/x", "/mixed"] {
        let answer = world.send(forged(Request::get(path))).await;
        assert_anonymous(&answer, path);
        let echo = Echo::of(&answer);
        assert!(!answer.text().contains("forged"), "{path}: {}", answer.text());
        assert_eq!(one(&echo, "x-other"), "kept");
    }
    for path in ["/orders", "/mixed"] {
        let answer = world.send(forged(Request::get(path).bearer(&token))).await;
        let echo = Echo::of(&answer);
        assert!(!answer.text().contains("forged"), "{path}: {}", answer.text());
        assert_eq!(one(&echo, "x-entra-oid"), "690222be-ff1a-4d56-abd1-7e4f7d38e474");
        assert_eq!(one(&echo, "x-other"), "kept");
    }
}

async fn alone(release: &Release, configuration: Value) -> World {
    World::start(&Options::new(release, configuration)).await
}

async fn authorization_can_be_taken_off(release: &Release) {
    let workforce = provider(&json!({"tenants": [CONTOSO]}));
    let world = alone(
        release,
        json!({"providers": {"workforce": workforce}, "forward": {
            "authorization": "remove",
            "claim_headers": [{"header": "x-entra-client", "claim": "azp"}],
        }}),
    )
    .await;
    let answer = world.assert_passes("/orders", json!({})).await;
    let echo = Echo::of(&answer);
    assert!(echo.header("authorization").is_empty());
    assert_eq!(one(&echo, "x-entra-client"), DAEMON);
}

async fn several_providers_of_one_issuer_are_tried(release: &Release) {
    let orders = provider(&json!({"tenants": [CONTOSO], "audiences": ["api://orders"]}));
    let legacy = provider(&json!({"tenants": [CONTOSO], "audiences": ["api://legacy"]}));
    let world = alone(release, json!({"providers": {"orders": orders, "legacy": legacy}})).await;
    for audience in ["api://orders", "api://legacy"] {
        world.assert_passes("/x", json!({"version": 1, "audience": audience})).await;
    }
    let other = world.mint(json!({"version": 1, "audience": "api://other"})).await;
    world.assert_token_refused("/x", &other, "audience_not_allowed").await;
}
