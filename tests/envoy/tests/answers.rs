//! What a refused client gets: status, challenge and body (RFC 6750), and which credentials count as what.

use std::process::ExitCode;

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::challenge::Challenge;
use envoy_tests::configuration::workforce;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn configuration(responses: &Value) -> Value {
    let mut configuration = workforce(&json!({}));
    let rest = json!({
        "rules": [
            {"match": {"path": "/healthz"}, "allow": "anonymous"},
            {"match": {"prefix": "/"}, "require": {"providers": ["workforce"]}},
        ],
        "responses": responses,
    });
    merge(&mut configuration, &rest);
    configuration
}

fn options(release: &Release) -> Options {
    let mut options = Options::new(release, configuration(&json!({"realm": "orders"})));
    options.connection_manager = json!({"upgrade_configs": [{"upgrade_type": "websocket"}]});
    options
}

fn main() -> ExitCode {
    let shared = behaviours![
        without_credentials_no_error_is_named,
        a_bad_token_is_challenged_with_error_and_description,
        an_ill_formed_credential_is_an_invalid_request,
        the_body_has_the_promised_members_only,
        the_scheme_is_read_in_any_case,
        other_schemes_are_no_credentials,
        empty_credentials_are_malformed,
        invisible_spaces_are_malformed,
        parameters_after_the_token_are_malformed,
        several_credentials_are_malformed,
        tokens_elsewhere_are_not_read,
        headers_that_name_an_open_path_open_nothing,
        upgrades_need_a_token_too,
        bodies_of_refused_requests_reach_nobody,
        every_method_needs_a_token,
        headers_over_envoys_limit_are_answered_by_envoy,
    ];
    let alone = behaviours![
        detail_none_sends_the_error_alone,
        detail_full_adds_what_was_found_and_expected,
        status_and_message_are_the_operators,
    ];
    let releases = Release::all();
    Suite::new().shared(&releases, options, shared).alone(&releases[..1], alone).run()
}

fn challenge(answer: &Answer) -> Challenge {
    let value = answer.header("www-authenticate").expect("a challenge");
    Challenge::parse(value).unwrap_or_else(|fault| panic!("{fault}: {value}"))
}

fn members(answer: &Answer) -> Vec<String> {
    answer.json().as_object().expect("an object").keys().cloned().collect()
}

/// A refusal, for this value of `Authorization`.
async fn refused(world: &World, authorization: &str, reason: &str) {
    let request = Request::get("/orders").header("authorization", authorization);
    world.assert_refused(request, reason).await;
    world.assert_passes("/orders", json!({})).await;
}

async fn without_credentials_no_error_is_named(world: &World) {
    let answer = world.assert_refused(Request::get("/orders"), "token_missing").await;
    assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="orders""#));
}

async fn a_bad_token_is_challenged_with_error_and_description(world: &World) {
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    let answer = world.assert_token_refused("/orders", &expired, "token_expired").await;
    let challenge = challenge(&answer);
    assert_eq!(challenge.get("realm"), Some("orders"));
    assert_eq!(challenge.get("error"), Some("invalid_token"));
    assert_eq!(challenge.get("error_description"), answer.json()["error_description"].as_str());
}

async fn an_ill_formed_credential_is_an_invalid_request(world: &World) {
    let request = Request::get("/orders").header("authorization", "Bearer a b");
    let answer = world.assert_refused(request, "request_malformed").await;
    assert_eq!(answer.status, 400);
    assert_eq!(challenge(&answer).get("error"), Some("invalid_request"));
}

async fn the_body_has_the_promised_members_only(world: &World) {
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    let answer = world.assert_token_refused("/orders", &expired, "token_expired").await;
    assert_eq!(members(&answer), ["error", "error_description", "reason"]);
    let answer = world.assert_refused(Request::get("/orders"), "token_missing").await;
    assert_eq!(members(&answer), ["error_description", "reason"]);
}

async fn the_scheme_is_read_in_any_case(world: &World) {
    let token = world.mint(json!({})).await;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer\t"] {
        let request = Request::get("/orders").header("authorization", format!("{scheme} {token}"));
        assert_eq!(world.send(request).await.status, 200, "{scheme:?}");
    }
}

async fn other_schemes_are_no_credentials(world: &World) {
    let token = world.mint(json!({})).await;
    for value in [
        String::new(),
        "Basic dXNlcjpwYXNzd29yZA==".into(),
        format!("DPoP {token}"),
        format!("Bearer{token}"),
        format!("Bearer:{token}"),
        format!("Bearer={token}"),
        format!("Bearer,{token}"),
        format!("BearerX {token}"),
        format!("X Bearer {token}"),
        token.clone(),
    ] {
        refused(world, &value, "token_missing").await;
    }
}

async fn empty_credentials_are_malformed(world: &World) {
    for value in ["Bearer", "bearer", "Bearer "] {
        refused(world, value, "request_malformed").await;
    }
}

async fn invisible_spaces_are_malformed(world: &World) {
    let token = world.mint(json!({})).await;
    for space in ["\u{a0}", "\u{2003}", "\u{3000}", "\u{200b}", "\u{feff}"] {
        for value in
            [format!("Bearer{space}{token}"), format!("Bearer {space}{token}"), format!("Bearer {token}{space}")]
        {
            refused(world, &value, "request_malformed").await;
        }
    }
    let [header, payload, signature] = envoy_tests::token::parts(&token);
    refused(world, &format!("Bearer {header}. {payload}.{signature}"), "request_malformed").await;
    refused(world, &format!("Bearer {header}.{payload}\t.{signature}"), "request_malformed").await;
}

async fn parameters_after_the_token_are_malformed(world: &World) {
    let token = world.mint(json!({})).await;
    for value in [
        format!("Bearer {token}, realm=\"x\""),
        format!("Bearer \"{token}\""),
        format!("Bearer '{token}'"),
        format!("Bearer <{token}>"),
        format!("Bearer {token};"),
        format!("Bearer Bearer {token}"),
    ] {
        refused(world, &value, "request_malformed").await;
    }
}

async fn several_credentials_are_malformed(world: &World) {
    let good = world.mint(json!({})).await;
    let bad = world.mint(json!({"signature": "corrupt"})).await;
    for (first, second) in [(&bad, &good), (&good, &bad), (&good, &good)] {
        refused(world, &format!("Bearer {first},Bearer {second}"), "request_malformed").await;
        refused(world, &format!("Bearer {first}, {second}"), "request_malformed").await;
        let twice = Request::get("/orders").bearer(first).bearer(second);
        world.assert_refused(twice, "request_malformed").await;
    }
    let mixed = Request::get("/orders").bearer(&good).header("authorization", "Basic dTpw");
    world.assert_refused(mixed, "request_malformed").await;
}

async fn tokens_elsewhere_are_not_read(world: &World) {
    let token = world.mint(json!({})).await;
    for request in [
        Request::get(format!("/orders?access_token={token}")),
        Request::get("/orders").header("cookie", format!("access_token={token}; Authorization=Bearer {token}")),
        Request::get("/orders").header("x-authorization", format!("Bearer {token}")),
        Request::get("/orders").header("authorization_", format!("Bearer {token}")),
        Request::get("/orders").header("proxy-authorization", format!("Bearer {token}")),
        Request::new("POST", "/orders")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("access_token={token}")),
    ] {
        world.assert_refused(request, "token_missing").await;
    }
}

async fn headers_that_name_an_open_path_open_nothing(world: &World) {
    assert_eq!(world.send(Request::get("/healthz")).await.status, 200);
    for name in [
        "x-forwarded-uri",
        "x-forwarded-path",
        "x-forwarded-prefix",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-envoy-original-path",
        "x-envoy-original-host",
        "x-http-method-override",
        "forwarded",
        "referer",
    ] {
        let request = Request::get("/orders").header(name, "/healthz");
        world.assert_refused(request, "token_missing").await;
    }
    let probe = Request::get("/orders").header("user-agent", "kube-probe/1.30").header("x-envoy-internal", "true");
    world.assert_refused(probe, "token_missing").await;
}

async fn upgrades_need_a_token_too(world: &World) {
    let upgrade = Request::get("/orders")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    world.assert_refused(upgrade, "token_missing").await;
}

async fn bodies_of_refused_requests_reach_nobody(world: &World) {
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    for size in [1, 1 << 10, 1 << 20] {
        let request = Request::new("POST", "/orders").bearer(&expired).body("x".repeat(size));
        world.assert_refused(request, "token_expired").await;
    }
    let token = world.mint(json!({})).await;
    let accepted = world.send(Request::new("POST", "/orders").bearer(&token).body("x".repeat(1 << 20))).await;
    assert_eq!(accepted.json()["body_bytes"], 1 << 20);
}

async fn every_method_needs_a_token(world: &World) {
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"] {
        let before = world.upstream.count().await;
        let answer = world.send(Request::new(method, "/orders")).await;
        // Methods that Envoy itself does not know, it refuses itself.
        assert!((400..500).contains(&answer.status), "{method}: {answer:?}");
        assert_eq!(world.upstream.count().await, before, "{method}");
    }
    let head = world.send(Request::new("HEAD", "/orders")).await;
    assert_eq!((head.status, head.body.len()), (401, 0));
}

async fn headers_over_envoys_limit_are_answered_by_envoy(world: &World) {
    let before = world.upstream.count().await;
    let answer = world.send(Request::get("/orders").bearer(&"x".repeat(64 << 10))).await;
    assert_eq!(answer.status, 431);
    assert_eq!(world.upstream.count().await, before);
    world.envoy.assert_sound().await;
}

async fn alone(release: &Release, responses: Value) -> World {
    World::start(&Options::new(release, configuration(&responses))).await
}

async fn detail_none_sends_the_error_alone(release: &Release) {
    let world = alone(release, json!({"detail": "none"})).await;
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    let answer = world.call("/orders", &expired).await;
    assert_eq!((answer.status, answer.json()), (401, json!({"error": "invalid_token"})));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let challenge = challenge(&answer);
    assert_eq!(challenge.get("error"), Some("invalid_token"));
    assert_eq!(challenge.get("error_description"), None);
    // Whoever operates the gate still learns it.
    let entry = world.envoy.access("/orders").await;
    assert_eq!(entry["reason"], "token_expired");
}

async fn detail_full_adds_what_was_found_and_expected(release: &Release) {
    let world = alone(release, json!({"detail": "full"})).await;
    let other = world.mint(json!({"audience": "https://other.example"})).await;
    let answer = world.assert_token_refused("/orders", &other, "audience_not_allowed").await;
    let text = answer.text();
    assert!(text.contains("https://other.example"), "{text}");
    assert!(text.contains("api://orders"), "{text}");
    // What is found is the client's to choose: it must not break out of the answer.
    let hostile = world.mint(json!({"audience": "\"\r\nx-evil: 1\u{0}\u{e9}\\"})).await;
    let answer = world.assert_token_refused("/orders", &hostile, "audience_not_allowed").await;
    assert_eq!(answer.header("x-evil"), None);
}

async fn status_and_message_are_the_operators(release: &Release) {
    let responses = json!({"unauthorized_status": 403, "message": "Ask the team of the orders API."});
    let world = alone(release, responses).await;
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    for answer in [world.call("/orders", &expired).await, world.send(Request::get("/orders")).await] {
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json()["error_description"], "Ask the team of the orders API.");
    }
    let malformed = world.send(Request::get("/orders").header("authorization", "Bearer")).await;
    assert_eq!(malformed.status, 400);
}
