//! Where a token may be, what becomes of it there, and what verifies or opens it.

use std::fs;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::provider;
use envoy_tests::contract::assert_refusal;
use envoy_tests::envoy::repository;
use envoy_tests::token::CONTOSO;
use envoy_tests::upstream::Echo;
use envoy_tests::world::Surroundings;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let shared = behaviours![
        a_token_passes_from_every_place,
        a_bad_token_is_refused_from_every_place,
        several_tokens_are_refused,
        headers_that_come_twice_are_refused,
        empty_and_ill_formed_credentials_are_refused,
        a_token_in_the_query_is_told_to_nobody,
        a_refused_token_in_the_query_is_told_to_nobody,
        open_paths_lose_the_token_in_the_query_too,
        other_spellings_of_the_parameter_reach_nobody,
        cookies_beside_the_token_stay,
        what_else_is_in_the_query_stays_as_it_is,
        encrypted_tokens_are_opened,
        encrypted_tokens_that_cannot_be_opened_are_refused,
        shared_secrets_verify,
        certificates_verify,
        tokens_without_an_end_pass_where_that_is_said,
    ];
    let alone = behaviours![
        credentials_can_be_taken_off,
        a_request_that_waits_keeps_its_credentials,
        secrets_of_the_environment_are_not_in_the_configuration,
    ];
    let releases = Release::all();
    Suite::new().shared(&releases, options, shared).alone(&releases[..1], alone).run()
}

/// Of the mock's fixtures, all worthless.
fn fixture(name: &str) -> String {
    let file = repository().join("tests/mock-entra/keys").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn secret() -> String {
    URL_SAFE_NO_PAD.encode(b"worthless secret of thirty-two b")
}

fn sources() -> Value {
    json!([
        {"header": "authorization", "scheme": "Bearer"},
        {"header": "x-token"},
        {"query": "access_token"},
        {"cookie": "session"},
    ])
}

fn options(release: &Release) -> Options {
    let other = |issuer: &str, members: Value| {
        let mut other = json!({"kind": "oidc", "issuers": [issuer], "audiences": ["api://orders"]});
        merge(&mut other, &members);
        other
    };
    let workforce = json!({
        "tenants": [CONTOSO],
        "token_sources": sources(),
        "decryption_keys": [{"private_key_env": "ENCRYPTION_KEY"}],
    });
    let configuration = json!({
        "providers": {
            "workforce": provider(&workforce),
            "shared": other("https://shared.example", json!({
                "algorithms": ["HS256"],
                "jwks": {"keys": [{"kty": "oct", "kid": "shared", "k_env": "SHARED_SECRET"}]},
                "require_expiration_time": false,
            })),
            "certified": other("https://certified.example", json!({
                "jwks": {"keys": [{"kid": "certified", "x5c": [fixture("oidc.crt.pem")]}, {"x5c": [fixture("app.crt.pem")]}]},
            })),
        },
        "rules": [
            {"match": {"prefix": "/open"}, "allow": "anonymous"},
            {"match": {"prefix": "/maybe"}, "allow": "optional"},
        ],
    });
    let mut options = Options::new(release, configuration);
    options.environment =
        vec![("ENCRYPTION_KEY".into(), fixture("encryption.key.pem")), ("SHARED_SECRET".into(), secret())];
    options
}

/// A request with the token in each place, and the path that the upstream is to see.
fn placed(path: &str, token: &str) -> [(&'static str, Request); 4] {
    [
        ("authorization", Request::get(path).bearer(token)),
        ("header", Request::get(path).header("x-token", token)),
        ("query", Request::get(format!("{path}?access_token={token}"))),
        ("cookie", Request::get(path).header("cookie", format!("a=1; session={token}; b=2"))),
    ]
}

async fn a_token_passes_from_every_place(world: &World) {
    let token = world.mint(json!({})).await;
    for (place, request) in placed("/orders", &token) {
        let answer = world.send(request).await;
        assert_eq!(answer.status, 200, "{place}: {}", answer.text());
        assert_eq!(Echo::of(&answer).path(), "/orders", "{place}");
    }
    world.envoy.assert_sound().await;
}

async fn a_bad_token_is_refused_from_every_place(world: &World) {
    for (token, reason) in [
        (json!({"expires_in": -600}), "token_expired"),
        (json!({"signature": "corrupt"}), "signature_invalid"),
        (json!({"audience": "api://other"}), "audience_not_allowed"),
    ] {
        let token = world.mint(token).await;
        for path in ["/orders", "/maybe"] {
            for (_, request) in placed(path, &token) {
                world.assert_refused(request, reason).await;
            }
        }
        world.assert_untold(&token).await;
    }
    world.assert_refused(Request::get("/orders?token=x").header("cookie", "a=1"), "token_missing").await;
}

async fn several_tokens_are_refused(world: &World) {
    let token = world.mint(json!({})).await;
    let query = format!("/orders?access_token={token}");
    let cookie = format!("session={token}");
    for request in [
        Request::get("/orders").bearer(&token).header("x-token", token.as_str()),
        Request::get(&query).bearer(&token),
        Request::get(&query).header("cookie", cookie.as_str()),
        Request::get("/maybe").bearer(&token).header("cookie", cookie.as_str()),
        Request::get(format!("{query}&access_token={token}")),
        Request::get(format!("{query}&acc%65ss_token={token}")),
        Request::get("/orders").header("cookie", format!("{cookie}; {cookie}")),
    ] {
        world.assert_refused(request, "request_malformed").await;
    }
    world.assert_untold(&token).await;
}

/// Sends a request whose header lines are given as they are.
async fn raw(world: &World, target: &str, lines: &[&str]) -> Answer {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("GET {target} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n{lines}\r\n");
    world.envoy.ingress().send_bytes(request.as_bytes()).await.unwrap_or_else(|error| panic!("{target}: {error}"))
}

async fn headers_that_come_twice_are_refused(world: &World) {
    let token = world.mint(json!({})).await;
    let (header, cookie) = (format!("x-token: {token}"), format!("cookie: session={token}"));
    let other = "x-token: other";
    for lines in [[header.as_str(), other], [other, &header], [&header, &header], [&cookie, &cookie]] {
        let before = world.upstream.count().await;
        assert_refusal(&raw(world, "/orders", &lines).await, "request_malformed");
        assert_eq!(world.upstream.count().await, before);
    }
    // Cookies may come in several lines.
    let answer = raw(world, "/orders", &["cookie: a=1", &cookie]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = raw(world, "/orders", &[&cookie, "cookie: a=1"]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.envoy.assert_sound().await;
}

async fn empty_and_ill_formed_credentials_are_refused(world: &World) {
    for request in [
        Request::get("/orders?access_token="),
        Request::get("/orders?access_token"),
        Request::get("/orders?access_token=a%20b"),
        Request::get("/orders?access_token=%ff"),
        Request::get("/orders?access_token=%"),
        Request::get("/orders").header("x-token", "a b"),
        Request::get("/orders").header("x-token", &b"\xff\xfe"[..]),
        Request::get("/orders").header("x-token", "Bearer a"),
        Request::get("/orders").header("cookie", "session="),
        Request::get("/orders").header("cookie", "session=\"a\""),
        Request::get("/orders").header("cookie", &b"session=\xff"[..]),
    ] {
        world.assert_refused(request, "request_malformed").await;
    }
    world.envoy.assert_sound().await;
}

async fn a_token_in_the_query_is_told_to_nobody(world: &World) {
    let token = world.mint(json!({})).await;
    let answer = world.send(Request::get(format!("/passes?a=1&access_token={token}&b=2"))).await;
    assert_eq!(Echo::of(&answer).path(), "/passes?a=1&b=2");
    assert!(!answer.text().contains(&token));
    world.envoy.access("/passes?a=1&b=2").await;
    world.assert_untold(&token).await;
}

async fn a_refused_token_in_the_query_is_told_to_nobody(world: &World) {
    let token = world.mint(json!({"signature": "corrupt"})).await;
    world.assert_refused(Request::get(format!("/refused?access_token={token}&b=2")), "signature_invalid").await;
    let entry = world.envoy.access("/refused?b=2").await;
    assert_eq!(entry["reason"], "signature_invalid");
    let twice = format!("/twice?access_token={token}&ACCESS_TOKEN={token}");
    world.assert_refused(Request::get(twice), "request_malformed").await;
    world.envoy.access("/twice").await;
    world.assert_untold(&token).await;
}

async fn open_paths_lose_the_token_in_the_query_too(world: &World) {
    let token = world.mint(json!({"expires_in": -600})).await;
    let answer = world.send(Request::get(format!("/open/x?access_token={token}&a=1"))).await;
    assert_eq!(Echo::of(&answer).path(), "/open/x?a=1");
    world.envoy.access("/open/x?a=1").await;
    world.assert_untold(&token).await;
}

async fn other_spellings_of_the_parameter_reach_nobody(world: &World) {
    let token = world.mint(json!({})).await;
    for name in
        ["Access_Token", "access.token", "access_token%5B%5D", "acc%2565ss_token", "+access_token", "a;access_token"]
    {
        world.assert_refused(Request::get(format!("/spelled?{name}={token}")), "request_malformed").await;
        world
            .assert_refused(Request::get(format!("/spelled?{name}={token}")).bearer(&token), "request_malformed")
            .await;
        let answer = world.send(Request::get(format!("/open/spelled?{name}={token}"))).await;
        assert_eq!(Echo::of(&answer).path(), "/open/spelled", "{name}");
    }
    // A spelling that every upstream reads alike is the parameter.
    let answer = world.send(Request::get(format!("/spelled?acc%65ss_token={token}"))).await;
    assert_eq!(Echo::of(&answer).path(), "/spelled");
    world.assert_untold(&token).await;
}

async fn cookies_beside_the_token_stay(world: &World) {
    let token = world.mint(json!({})).await;
    let cookie = format!("a=1; session={token}; b=2");
    let answer = world.send(Request::get("/orders").header("cookie", cookie.as_str())).await;
    assert_eq!(Echo::of(&answer).header("cookie"), [cookie]);
}

async fn what_else_is_in_the_query_stays_as_it_is(world: &World) {
    let token = world.mint(json!({})).await;
    for query in ["a=%2e&b=c+d&&e", "a=access_token", "access_tokens=1&b", "q=%ff%00;x"] {
        let answer = world.send(Request::get(format!("/orders?{query}&access_token={token}"))).await;
        assert_eq!(Echo::of(&answer).path(), format!("/orders?{query}"));
        let answer = world.send(Request::get(format!("/orders?{query}")).bearer(&token)).await;
        assert_eq!(Echo::of(&answer).path(), format!("/orders?{query}"));
    }
}

async fn encrypted_tokens_are_opened(world: &World) {
    for encrypt in [json!({}), json!({"alg": "RSA-OAEP-256"}), json!({"enc": "A128CBC-HS256"})] {
        world.assert_passes("/orders", json!({"encrypt": encrypt})).await;
        let expired = world.mint(json!({"encrypt": encrypt, "expires_in": -600})).await;
        world.assert_token_refused("/orders", &expired, "token_expired").await;
        let forged = world.mint(json!({"encrypt": encrypt, "signature": "corrupt"})).await;
        world.assert_token_refused("/orders", &forged, "signature_invalid").await;
    }
    let token = world.mint(json!({"encrypt": {}})).await;
    let hits = world.envoy.stat("token_cache.hit").await;
    for _ in 0..20 {
        assert_eq!(world.call("/orders", &token).await.status, 200);
    }
    assert!(world.envoy.stat("token_cache.hit").await > hits, "an encrypted token is not remembered");
    world.envoy.assert_sound().await;
}

async fn encrypted_tokens_that_cannot_be_opened_are_refused(world: &World) {
    let token = world.mint(json!({"encrypt": {}})).await;
    let parts: Vec<&str> = token.split('.').collect();
    for at in 1..5 {
        let mut changed = parts.clone();
        let other = URL_SAFE_NO_PAD.encode(vec![7; URL_SAFE_NO_PAD.decode(parts[at]).expect("base64url").len()]);
        changed[at] = &other;
        world.assert_token_refused("/orders", &changed.join("."), "token_malformed").await;
    }
    let stranger = world.mint(json!({"encrypt": {"key": "stranger"}})).await;
    world.assert_token_refused("/orders", &stranger, "token_malformed").await;
    for header in [json!({"alg": "RSA1_5"}), json!({"enc": "A128GCM"})] {
        let token = world.mint(json!({"encrypt": {"header": header}})).await;
        world.assert_token_refused("/orders", &token, "algorithm_not_allowed").await;
    }
    // What is encrypted for one provider is no token of another.
    let shared = world.mint(shared(json!({"encrypt": {}}))).await;
    world.assert_token_refused("/orders", &shared, "issuer_not_allowed").await;
    world.envoy.assert_sound().await;
}

fn shared(more: Value) -> Value {
    let mut token = json!({
        "kind": "oidc", "alg": "HS256", "secret": secret(), "audience": "api://orders",
        "header": {"kid": "shared"}, "claims": {"iss": "https://shared.example"},
    });
    merge(&mut token, &more);
    token
}

async fn shared_secrets_verify(world: &World) {
    world.assert_passes("/orders", shared(json!({}))).await;
    let other = world.mint(shared(json!({"secret": URL_SAFE_NO_PAD.encode([7; 32])}))).await;
    world.assert_token_refused("/orders", &other, "signature_invalid").await;
    let asymmetric = world.mint(shared(json!({"alg": "RS256", "secret": null}))).await;
    world.assert_token_refused("/orders", &asymmetric, "algorithm_not_allowed").await;
    // The secret of one provider signs for no other.
    let workforce = world.mint(json!({"alg": "HS256", "secret": secret(), "header": {"kid": "shared"}})).await;
    world.assert_token_refused("/orders", &workforce, "algorithm_not_allowed").await;
}

async fn certificates_verify(world: &World) {
    let certified = |key: &str, kid: Value| {
        json!({
            "kind": "oidc", "audience": "api://orders", "key": key, "header": {"kid": kid},
            "claims": {"iss": "https://certified.example"},
        })
    };
    world.assert_passes("/orders", certified("oidc", json!("certified"))).await;
    // The other certificate has no kid.
    world.assert_passes("/orders", certified("app", json!("whatever"))).await;
    world.assert_passes("/orders", certified("app", json!(null))).await;
    for (key, kid) in [("app", json!("certified")), ("stranger", json!("whatever")), ("oidc", json!(null))] {
        let token = world.mint(certified(key, kid)).await;
        world.assert_token_refused("/orders", &token, "signature_invalid").await;
    }
}

async fn tokens_without_an_end_pass_where_that_is_said(world: &World) {
    world.assert_passes("/orders", shared(json!({"claims": {"exp": null}}))).await;
    let expired = world.mint(shared(json!({"expires_in": -600}))).await;
    world.assert_token_refused("/orders", &expired, "token_expired").await;
    let endless = world.mint(json!({"claims": {"exp": null}})).await;
    world.assert_token_refused("/orders", &endless, "claim_missing").await;
}

async fn credentials_can_be_taken_off(release: &Release) {
    let workforce = provider(&json!({"tenants": [CONTOSO], "token_sources": sources()}));
    let configuration = json!({"providers": {"workforce": workforce}, "forward": {"authorization": "remove"}});
    let mut options = Options::new(release, configuration);
    // The usual access log's path, and a route that keeps the one that it replaces.
    options.connection_manager = json!({
        "access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": {"path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "now": "%REQ(:PATH)%"}},
        }}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/old"}, "route": {"cluster": "upstream", "prefix_rewrite": "/new"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
        ]}]},
    });
    let world = World::start(&options).await;
    let token = world.mint(json!({})).await;
    for (place, request) in placed("/orders", &token) {
        let answer = world.send(request).await;
        let echo = Echo::of(&answer);
        assert!(!answer.text().contains(&token), "{place}: {}", answer.text());
        let cookies = if place == "cookie" { vec!["a=1; b=2"] } else { vec![] };
        assert_eq!(echo.header("cookie"), cookies, "{place}");
        assert!(echo.header("authorization").is_empty() && echo.header("x-token").is_empty(), "{place}");
    }
    let answer = world.send(Request::get("/orders").header("cookie", format!("session={token}"))).await;
    assert!(Echo::of(&answer).header("cookie").is_empty());
    let several = raw(&world, "/orders", &["cookie: a=1", &format!("cookie: session={token}"), "cookie: b=2"]).await;
    let joined = Echo::of(&several).header("cookie").join("; ");
    assert_eq!(joined, "a=1; b=2");

    let answer = world.send(Request::get(format!("/old?access_token={token}&a=1"))).await;
    assert_eq!(Echo::of(&answer).path(), "/new?a=1");
    assert_eq!(world.envoy.access("/old?a=1").await["now"], "/new?a=1");
    world.assert_untold(&token).await;
}

async fn a_request_that_waits_keeps_its_credentials(release: &Release) {
    let surroundings = Surroundings::start().await;
    surroundings.entra.fault(json!({"times": 2, "fault": {"delay_ms": 700}})).await;
    let token = surroundings.entra.mint(json!({})).await;
    let workforce = provider(&json!({"tenants": [CONTOSO], "token_sources": sources()}));
    let configuration = json!({"providers": {"workforce": workforce}, "forward": {"authorization": "remove"}});
    let world = surroundings.with_envoy(&Options::new(release, configuration)).await;
    let [authorization, header, query, cookie] = placed("/orders", &token).map(|(_, request)| world.send(request));
    let answers = tokio::join!(authorization, header, query, cookie);
    for (place, answer) in [answers.0, answers.1, answers.2, answers.3].iter().enumerate() {
        assert_eq!(answer.status, 200, "{place}: {}", answer.text());
        assert_eq!(Echo::of(answer).path(), "/orders");
        assert!(!answer.text().contains(&token), "{place}: {}", answer.text());
    }
    world.assert_untold(&token).await;
    world.envoy.assert_sound().await;
}

async fn secrets_of_the_environment_are_not_in_the_configuration(release: &Release) {
    let world = World::start(&options(release)).await;
    let dump = world.envoy.ask("/config_dump").await.text();
    let key = fixture("encryption.key.pem");
    let line = key.lines().nth(1).expect("a key");
    assert!(dump.contains("ENCRYPTION_KEY") && !dump.contains(line) && !dump.contains(&secret()));
    // Without the variable there is no gate.
    let mut without = options(release);
    without.environment.clear();
    let log = World::refused_configuration(&without).await;
    for variable in ["ENCRYPTION_KEY", "SHARED_SECRET"] {
        assert!(log.contains(&format!("{variable}, which is not set in the VM")), "{log}");
    }
    without.environment = vec![("ENCRYPTION_KEY".into(), secret()), ("SHARED_SECRET".into(), "c2VjcmV0".into())];
    let log = World::refused_configuration(&without).await;
    assert!(log.contains("holds no usable private key") && log.contains("a secret that cannot be used"), "{log}");
    assert!(!log.contains(&secret()) && !log.contains("c2VjcmV0"), "{log}");
}
