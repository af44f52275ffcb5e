//! The registration bridge in the real Envoy: clients register, the mock's Graph makes them, and what goes wrong is told.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use entra_gate::registration::reply::Outcome;
use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::patience::until;
use envoy_tests::python;
use envoy_tests::token::{CONTOSO, ORDERS};
use envoy_tests::upstream::Echo;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use openidconnect::core::{CoreClientRegistrationRequest, CoreRegisterErrorResponseType};
use openidconnect::registration::{ClientRegistrationError, EmptyAdditionalClientMetadata};
use openidconnect::{AccessToken, HttpRequest, RedirectUrl, RegistrationUrl, http};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

const INITIAL: &str = "worthless-initial-access-token-of-the-tests";
const BRIDGE: &str = "cccccccc-0000-4000-8000-000000000003";
const GRAPH: &str = "graph.microsoft.com";

fn registration(changes: &Value) -> Value {
    let mut registration = json!({
        "tenant": CONTOSO,
        "client_id": BRIDGE,
        "client_secret_env": "GATE_CLIENT_SECRET",
        "upstreams": {"login": {"cluster": "entra"}, "graph": {"cluster": "entra", "timeout": "5s"}},
        "access": {
            "initial_access_tokens_env": "GATE_INITIAL_ACCESS_TOKENS",
            "app_roles": {"provider": "workforce", "roles": ["Clients.Register"]},
        },
        "redirect_uris": ["http://localhost", "http://127.0.0.1", "https://*.contoso.com/callback"],
        "scopes": {
            "api://orders/Orders.Read": {"resource": ORDERS, "id": "aaaaaaaa-1111-4111-8111-111111111111"},
        },
        "allow": {"read": true, "update": true, "delete": true, "rotate_secret": true},
        "management_key_env": "GATE_REGISTRATION_KEY",
        "rate_limit": {"requests": 1000, "interval": "1s"},
        "budget": "4s",
    });
    merge(&mut registration, changes);
    registration
}

fn with_bridge(release: &Release, changes: &Value) -> Options {
    let mut configuration = workforce(&json!({}));
    configuration["registration"] = registration(changes);
    options(release, configuration)
}

fn options(release: &Release, configuration: Value) -> Options {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Options {
        plugin: json!({"allow_on_headers_stop_iteration": true}),
        environment: vec![
            variable("GATE_CLIENT_SECRET", "worthless-bridge-secret"),
            variable("GATE_INITIAL_ACCESS_TOKENS", INITIAL),
            variable("GATE_REGISTRATION_KEY", "worthless-key-of-the-tests-of-32-bytes"),
        ],
        ..Options::new(release, configuration)
    }
}

fn main() -> ExitCode {
    let shared = behaviours![
        a_public_client_registers,
        a_confidential_client_gets_a_token_that_passes,
        a_client_manages_itself,
        who_may_not_register_is_told_so,
        a_role_opens_the_bridge,
        bodies_are_read_whole_and_within_a_limit,
        nothing_else_is_the_bridges,
        what_graph_refuses_is_told_and_leaves_nothing,
        a_client_that_hangs_up_leaves_nothing,
        openidconnect_registers,
        two_hundred_register_at_once,
        nothing_has_trapped_and_nothing_secret_was_told,
    ];
    let alone = behaviours![
        idpyoidc_registers_and_reads,
        a_held_back_body_opens_nothing,
        without_bodies_the_bridge_says_what_is_missing,
        a_bridge_alone_guards_what_is_behind_it,
        too_many_registrations_are_put_off,
        a_key_by_which_nothing_is_signed_is_refused,
    ];
    // What the host does for it may differ from release to release.
    let everywhere = behaviours![a_certificate_takes_the_secrets_place];
    let releases = Release::all();
    Suite::new()
        .shared(&releases, |release| with_bridge(release, &json!({})), shared)
        .alone(&releases, everywhere)
        .alone(&releases[..1], alone)
        .run()
}

fn public() -> Value {
    json!({
        "client_name": "Orders CLI",
        "redirect_uris": ["http://localhost:33418/callback"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    })
}

fn confidential() -> Value {
    json!({
        "client_name": "Portal",
        "redirect_uris": ["https://portal.contoso.com/callback"],
        "grant_types": ["authorization_code", "client_credentials"],
    })
}

async fn register(world: &World, body: &Value) -> Answer {
    world.send(Request::post("/register", body).bearer(INITIAL)).await
}

async fn registered(world: &World, body: &Value) -> Value {
    let answer = register(world, body).await;
    assert_eq!(answer.status, 201, "{}\n{}", answer.text(), world.envoy.log());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

async fn applications(world: &World) -> Vec<Value> {
    world.entra.graph_objects().await["applications"].as_array().expect("an array").clone()
}

async fn a_public_client_registers(world: &World) {
    let before = world.upstream.count().await;
    let client = registered(world, &public()).await;
    assert_eq!(client["redirect_uris"], public()["redirect_uris"]);
    assert_eq!(client["client_name"], "dcr: Orders CLI");
    let again = registered(world, &public()).await;
    assert_eq!(again["client_id"], client["client_id"]);
    let same =
        applications(world).await.into_iter().filter(|application| application["displayName"] == "dcr: Orders CLI");
    assert_eq!(same.count(), 1);
    assert_eq!(world.upstream.count().await, before, "the upstream was asked");
}

async fn a_confidential_client_gets_a_token_that_passes(world: &World) {
    let client = registered(world, &confidential()).await;
    let text = |name: &str| client[name].as_str().expect("a text").to_owned();
    let python = python::with("msal", None);
    let mock = world.entra.origin().url("");
    let (id, secret) = (text("client_id"), text("client_secret"));
    let arguments = [&mock, CONTOSO, "api://orders/.default", "--client", &id, "--secret", &secret];
    let token = python::print(&python, "tests/mock-entra/msal_client.py", &arguments);
    let answer = world.call("/orders", &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entry = world.envoy.access("/orders").await;
    assert_eq!(entry["client"], id.as_str());
}

async fn a_client_manages_itself(world: &World) {
    let client = registered(world, &confidential()).await;
    let text = |name: &str| client[name].as_str().expect("a text").to_owned();
    let (uri, token) = (text("registration_client_uri"), text("registration_access_token"));
    let path = uri.strip_prefix(&world.envoy.url("")).unwrap_or_else(|| panic!("{uri}")).to_owned();
    let read = world.send(Request::get(&path).bearer(&token)).await;
    assert_eq!((read.status, &read.json()["client_name"]), (200, &json!("dcr: Portal")), "{}", read.text());
    let mut update = confidential();
    update["client_id"] = client["client_id"].clone();
    update["client_name"] = json!("Portal 2");
    let request = Request::new("PUT", &path).bearer(&token).header("content-type", "application/json");
    let updated = world.send(request.body(update.to_string())).await;
    assert_eq!((updated.status, &updated.json()["client_name"]), (200, &json!("dcr: Portal 2")), "{}", updated.text());
    let rotated = world.send(Request::new("POST", format!("{path}/new-secret")).bearer(&token)).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    assert_ne!(rotated.json()["client_secret"], client["client_secret"]);
    let other = registered(world, &confidential()).await;
    let foreign = other["registration_access_token"].as_str().expect("a text");
    for bearer in [foreign, INITIAL, "x"] {
        let refused = world.send(Request::delete(&path).bearer(bearer)).await;
        assert_eq!((refused.status, refused.reason().as_deref()), (401, Some("access_denied")), "{}", refused.text());
    }
    let deleted = world.send(Request::delete(&path).bearer(&token)).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
}

async fn who_may_not_register_is_told_so(world: &World) {
    let before = world.entra.asked(GRAPH).await;
    for request in [
        Request::post("/register", &public()),
        Request::post("/register", &public()).bearer("wrong"),
        Request::post("/register", &public()).header("authorization", "Basic eDp5"),
    ] {
        let answer = world.send(request).await;
        assert!([400, 401].contains(&answer.status), "{}", answer.text());
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")), "{answer:?}");
    }
    let token = world.mint(json!({})).await;
    let answer = world.send(Request::post("/register", &public()).bearer(&token)).await;
    assert_eq!((answer.status, answer.reason().as_deref()), (403, Some("role_insufficient")), "{}", answer.text());
    assert_eq!(world.entra.asked(GRAPH).await, before, "Graph was asked");
}

async fn a_role_opens_the_bridge(world: &World) {
    for request in
        [json!({"roles": ["Clients.Register"]}), json!({"roles": ["Clients.Register"], "scopes": "Orders.Read"})]
    {
        let token = world.mint(request.clone()).await;
        let answer = world.send(Request::post("/register", &public()).bearer(&token)).await;
        assert_eq!(answer.status, 201, "{request} {}", answer.text());
    }
    let expired = world.mint(json!({"roles": ["Clients.Register"], "expires_in": -600, "issued_ago": 4200})).await;
    let answer = world.send(Request::post("/register", &public()).bearer(&expired)).await;
    assert_eq!((answer.status, answer.reason().as_deref()), (401, Some("token_expired")));
}

async fn bodies_are_read_whole_and_within_a_limit(world: &World) {
    let mut long = public();
    long["software_statement"] = json!("x".repeat(30_000));
    assert_eq!(register(world, &long).await.status, 201);
    long["software_statement"] = json!("x".repeat(40_000));
    let answer = register(world, &long).await;
    assert_eq!((answer.status, &answer.json()["error"]), (413, &json!("invalid_client_metadata")), "{}", answer.text());
    for (body, error) in [
        (String::new(), "invalid_client_metadata"),
        ("[]".to_owned(), "invalid_client_metadata"),
        (json!({"redirect_uris": ["https://evil.example/"]}).to_string(), "invalid_redirect_uri"),
    ] {
        let answer = world.send(Request::new("POST", "/register").bearer(INITIAL).body(body.clone())).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{body}");
    }
    // In chunks, with trailers at the end.
    let body = public().to_string();
    let (one, other) = body.split_at(20);
    let request = format!(
        "POST /register HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {INITIAL}\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\nx-trailer: y\r\n\r\n",
        one.len(),
        other.len(),
    );
    let answer = world.envoy.ingress().send_bytes(request.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn nothing_else_is_the_bridges(world: &World) {
    for (method, path) in [("POST", "//register"), ("POST", "/registers"), ("POST", "/%72egister")] {
        let answer = world.send(Request::new(method, path).body("{}")).await;
        assert_eq!((answer.status, answer.reason().as_deref()), (401, Some("token_missing")), "{method} {path}");
    }
    let before = world.upstream.count().await;
    let answer = world.send(Request::new("POST", "/register/../x").body("{}")).await;
    assert_eq!((answer.status, world.upstream.count().await), (404, before));
    let answer = world.send(Request::get("/register")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let preflight = Request::new("OPTIONS", "/register")
        .header("origin", "https://inspector.example")
        .header("access-control-request-method", "POST");
    let answer = world.send(preflight).await;
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, Some("POST")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

async fn what_graph_refuses_is_told_and_leaves_nothing(world: &World) {
    let before = applications(world).await.len();
    let fault = |part: &str, fault: Value| json!({"host": GRAPH, "path_contains": part, "fault": fault});
    for (knobs, rule, status, reason) in [
        (json!({"quota": 0}), None, 503, "quota_exceeded"),
        (json!({"max_secret_days": 7, "purge": true}), None, 400, "policy_refused"),
        (json!({"no_permission": true}), None, 503, "graph_refused"),
        (json!({}), Some(fault("applications", json!({"status": 429, "retry_after": 60}))), 503, "throttled"),
        (json!({}), Some(fault("applications", json!({"status": 503}))), 503, "graph_failed"),
        (json!({"purge": true}), Some(fault("servicePrincipals", json!({"status": 500}))), 503, "graph_failed"),
        (json!({"purge": true}), Some(fault("addPassword", json!({"reset": true}))), 503, "graph_failed"),
        (json!({"purge": true}), Some(fault("addPassword", json!({"body": "<html>"}))), 503, "graph_failed"),
    ] {
        world.entra.graph(knobs.clone()).await;
        if let Some(rule) = &rule {
            world.entra.fault(rule.clone()).await;
        }
        let answer = register(world, &confidential()).await;
        let what = format!("{knobs} {rule:?}: {}", answer.text());
        assert_eq!((answer.status, answer.reason().as_deref()), (status, Some(reason)), "{what}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{what}");
        if reason == "throttled" {
            assert_eq!(answer.header("retry-after"), Some("60"));
        }
        world.entra.clear_faults().await;
        world.entra.graph(json!({"purge": true})).await;
        until(&format!("nothing is left of {what}"), async || {
            (applications(world).await.len() == before).then_some(())
        })
        .await;
    }
    // What passes is waited for.
    world.entra.graph(json!({"replication": 2})).await;
    world.entra.fault(json!({"host": GRAPH, "times": 1, "fault": {"status": 429, "retry_after": 1}})).await;
    let client = registered(world, &confidential()).await;
    assert!(client["client_secret"].is_string());
    // A token that was revoked is replaced.
    world.entra.graph(json!({"revoke_tokens": true})).await;
    registered(world, &confidential()).await;
    world.entra.graph(json!({})).await;
}

async fn a_client_that_hangs_up_leaves_nothing(world: &World) {
    let before = applications(world).await.len();
    world.entra.graph(json!({"purge": true})).await;
    world
        .entra
        .fault(json!({"host": GRAPH, "path_contains": "servicePrincipals", "times": 1, "fault": {"delay_ms": 600}}))
        .await;
    let body = confidential().to_string();
    let mut stream = world.envoy.ingress().connect().await.expect("a connection");
    let request = format!(
        "POST /register HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {INITIAL}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    until("the application is there", async || (applications(world).await.len() > before).then_some(())).await;
    drop(stream);
    until("it is taken back", async || (applications(world).await.len() == before).then_some(())).await;
    until("the log says so", async || world.envoy.log().contains("registration=client_gone").then_some(())).await;
    world.entra.clear_faults().await;
    world.entra.graph(json!({})).await;
}

async fn idpyoidc_registers_and_reads(release: &Release) {
    // This library takes no registration with a scope that it does not know, and it knows openid alone.
    let world = World::start(&with_bridge(release, &json!({"scopes": null}))).await;
    let python = python::with("idpyoidc", Some("3.0.0"));
    let endpoint = world.envoy.url("/register");
    let printed = python::print(&python, "tests/envoy/clients/idpyoidc_client.py", &[&endpoint, INITIAL]);
    let answers: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [registered, read] = &answers[..] else { panic!("{printed}") };
    assert_eq!(registered["client_name"], "dcr: idpyoidc");
    assert!(registered["client_secret"].is_string());
    for name in ["client_id", "redirect_uris", "contacts", "grant_types", "registration_client_uri"] {
        assert_eq!(registered[name], read[name], "{name}");
    }
}

async fn openidconnect_registers(world: &World) {
    let origin = world.envoy.ingress().clone();
    let transport = |request: HttpRequest| {
        let origin = origin.clone();
        async move {
            let (parts, body) = request.into_parts();
            let mut sent = Request::new(parts.method.as_str(), parts.uri.path());
            for (name, value) in &parts.headers {
                sent = sent.header(name.as_str(), value.as_bytes());
            }
            let answer = origin.send(sent.body(body)).await?;
            let mut response = http::Response::new(answer.body.to_vec());
            *response.status_mut() = http::StatusCode::from_u16(answer.status).map_err(std::io::Error::other)?;
            *response.headers_mut() = answer.headers;
            Ok::<_, std::io::Error>(response)
        }
    };
    let url = RegistrationUrl::new(world.envoy.url("/register")).expect("a URL");
    let request = |uri: &str| {
        let uri = RedirectUrl::new(uri.to_owned()).expect("a URL");
        CoreClientRegistrationRequest::new(vec![uri], EmptyAdditionalClientMetadata {})
            .set_initial_access_token(Some(AccessToken::new(INITIAL.to_owned())))
    };
    let registered = request("https://rs.contoso.com/callback").register_async(&url, &transport).await;
    let registered = registered.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(registered.client_secret().is_some() && registered.client_secret_expires_at().is_some());
    let uris: Vec<&str> = registered.redirect_uris().iter().map(|uri| uri.as_str()).collect();
    assert_eq!(uris, ["https://rs.contoso.com/callback"]);
    let refused = request("https://evil.example/callback").register_async(&url, &transport).await;
    let Err(ClientRegistrationError::ServerResponse(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.error(), &CoreRegisterErrorResponseType::InvalidRedirectUri);
}

async fn two_hundred_register_at_once(world: &World) {
    const CLIENTS: usize = 200;
    let before = applications(world).await.len();
    world.entra.fault(json!({"host": GRAPH, "fault": {"delay_ms": 300}})).await;
    let token = world.mint(json!({})).await;
    let started = Instant::now();
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..100 {
            let sent = Instant::now();
            assert_eq!(world.call("/orders", &token).await.status, 200);
            slowest = slowest.max(sent.elapsed());
        }
        slowest
    };
    let all = async {
        let mut tasks = tokio::task::JoinSet::new();
        let ingress = world.envoy.ingress().clone();
        for at in 0..CLIENTS {
            let ingress = ingress.clone();
            let mut body = if at % 4 == 0 { confidential() } else { public() };
            body["client_name"] = json!(format!("client {at}"));
            tasks.spawn(async move { ingress.send(Request::post("/register", &body).bearer(INITIAL)).await });
        }
        let mut ids = std::collections::BTreeSet::new();
        while let Some(answer) = tasks.join_next().await {
            let answer = answer.expect("no panic").expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.text());
            ids.insert(answer.json()["client_id"].to_string());
        }
        ids
    };
    let (ids, slowest) = tokio::join!(all, others);
    println!("{CLIENTS} registrations in {:?}; slowest of 100 other requests {slowest:?}", started.elapsed());
    assert_eq!(ids.len(), CLIENTS);
    assert_eq!(applications(world).await.len(), before + CLIENTS);
    world.entra.clear_faults().await;
}

async fn nothing_has_trapped_and_nothing_secret_was_told(world: &World) {
    world.envoy.assert_sound().await;
    let log = world.envoy.log();
    for secret in ["worthless-bridge-secret", INITIAL, "worthless-key"] {
        assert!(!log.contains(secret), "{secret}");
    }
    registered(world, &confidential()).await;
    assert!(world.envoy.log().contains("registration=created client="));
    let dump = world.envoy.ask("/config_dump").await.text();
    assert!(!dump.contains("worthless-bridge-secret") && !dump.contains(INITIAL));
    let stats = world.envoy.stats().await;
    assert!(stats.get("registration.created").is_some_and(|count| *count > 0), "{stats:?}");
    for outcome in Outcome::ALL {
        assert!(stats.contains_key(&format!("registration.{}", outcome.code())), "{outcome:?} {stats:?}");
    }
    // One token for all workers, and one more after it was revoked.
    let logins = world.entra.asked(&format!("{CONTOSO}/oauth2/v2.0/token")).await;
    assert!(logins <= 4, "{logins} tokens were asked for");
}

/// Where Envoy delivers the bodies of requests that wait for a decision, neither a body nor trailers let one through.
async fn a_held_back_body_opens_nothing(release: &Release) {
    let surroundings = envoy_tests::world::Surroundings::start().await;
    surroundings.entra.fault(json!({"path_contains": "discovery", "fault": {"delay_ms": 1500}})).await;
    let trailers = json!({"http_protocol_options": {"enable_trailers": true}});
    let options = Options { connection_manager: trailers, ..with_bridge(release, &json!({})) };
    let world = surroundings.with_envoy(&options).await;
    let good = world.mint(json!({})).await;
    let bad = world.mint(json!({"signature": "corrupt"})).await;
    let body = "x".repeat(20_000);
    let request = |token: &str| {
        format!(
            "POST /orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ntransfer-encoding: chunked\r\n\r\n\
             {:x}\r\n{body}\r\n5\r\n12345\r\n0\r\nx-trailer: y\r\n\r\n",
            body.len()
        )
    };
    let ingress = world.envoy.ingress();
    let (good, bad) = (request(&good), request(&bad));
    let (passed, refused) = tokio::join!(ingress.send_bytes(good.as_bytes()), ingress.send_bytes(bad.as_bytes()));
    let (passed, refused) = (passed.expect("an answer"), refused.expect("an answer"));
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(passed.json()["body_bytes"], 20_005, "{}", passed.text());
    assert_eq!(world.upstream.count().await, 1, "the refused one was let through");
    let _ = Echo::of(&passed);
    // And those that need not wait.
    let bad = ingress.send_bytes(bad.as_bytes()).await.expect("an answer");
    assert_eq!((bad.status, world.upstream.count().await), (401, 1));
    let good = ingress.send_bytes(good.as_bytes()).await.expect("an answer");
    assert_eq!((good.status, &good.json()["body_bytes"]), (200, &json!(20_005)));
}

async fn without_bodies_the_bridge_says_what_is_missing(release: &Release) {
    let options = Options { plugin: json!({}), ..with_bridge(release, &json!({})) };
    let world = World::start(&options).await;
    let answer = register(&world, &public()).await;
    assert_eq!((answer.status, answer.reason().as_deref()), (408, Some("invalid")), "{}", answer.text());
    assert!(world.envoy.log().contains("allow_on_headers_stop_iteration"), "{}", world.envoy.log());
    assert_eq!(world.upstream.count().await, 0);
}

async fn a_bridge_alone_guards_what_is_behind_it(release: &Release) {
    let alone = json!({
        "registration": registration(&json!({"access": {"open": true, "initial_access_tokens_env": null, "app_roles": null}})),
        "rules": [{"match": {"prefix": "/open"}, "allow": "anonymous"}],
    });
    let world = World::start(&options(release, alone)).await;
    let answer = world.send(Request::post("/register", &public())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(world.send(Request::get("/open")).await.status, 200);
    let token = world.mint(json!({})).await;
    for request in [Request::get("/orders"), Request::get("/orders").bearer(&token)] {
        assert_eq!(world.send(request).await.status, 401);
    }
    // The same without the permission to log in.
    world.entra.fault(json!({"path_contains": "oauth2/v2.0/token", "fault": {"status": 401}})).await;
    world.entra.graph(json!({"revoke_tokens": true})).await;
    let answer = world.send(Request::post("/register", &public())).await;
    assert_eq!((answer.status, answer.reason().as_deref()), (503, Some("login_failed")), "{}", answer.text());
}

async fn too_many_registrations_are_put_off(release: &Release) {
    let options = with_bridge(release, &json!({"rate_limit": {"requests": 3, "interval": "1h"}}));
    let world = World::start(&options).await;
    for _ in 0..3 {
        registered(&world, &public()).await;
    }
    for _ in 0..4 {
        let answer = register(&world, &public()).await;
        assert_eq!((answer.status, answer.reason().as_deref()), (429, Some("rate_limited")), "{}", answer.text());
        let wait: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1_100..=1_200).contains(&wait), "{wait}");
    }
}

const CERTIFICATE: &str = include_str!("../../mock-entra/keys/bridge.crt.pem");
const PRIVATE_KEY: &str = include_str!("../../mock-entra/keys/bridge.key.pem");
const OTHER_CERTIFICATE: &str = include_str!("../../mock-entra/keys/stranger.crt.pem");

/// All that is needed to be configured, but for what calls `sign`.
const CAPABILITIES: [&str; 11] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proxy_get_buffer_bytes",
    "proxy_get_log_level",
    "proxy_log",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "random_get",
];

fn with_certificate(release: &Release, certificate: &str) -> Options {
    let credential = json!({"certificate": certificate, "private_key_env": "GATE_CLIENT_KEY"});
    let changes = json!({"client_secret_env": null, "client_certificate": credential});
    let mut options = with_bridge(release, &changes);
    options.environment.push(("GATE_CLIENT_KEY".to_owned(), PRIVATE_KEY.to_owned()));
    options
}

async fn a_certificate_takes_the_secrets_place(release: &Release) {
    let world = World::start(&with_certificate(release, CERTIFICATE)).await;
    registered(&world, &public()).await;
    // The next one is signed anew, and its ID is another.
    world.entra.graph(json!({"revoke_tokens": true})).await;
    let client = registered(&world, &confidential()).await;
    assert!(client["client_secret"].is_string());
    let told = world.envoy.log() + &world.envoy.ask("/config_dump").await.text();
    for line in PRIVATE_KEY.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!told.contains(line), "the private key was told");
    }
}

/// Found when the plugin is configured, not by the first client.
async fn a_key_by_which_nothing_is_signed_is_refused(release: &Release) {
    let other = with_certificate(release, OTHER_CERTIFICATE);
    let allowed: serde_json::Map<String, Value> =
        CAPABILITIES.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    let mut restricted = with_certificate(release, CERTIFICATE);
    merge(&mut restricted.plugin, &json!({"capability_restriction_config": {"allowed_capabilities": allowed}}));
    for options in [other, restricted] {
        let told = World::refused_configuration(&options).await;
        let said = told.contains("configuration: registration.client_certificate: found a private key by which");
        assert!(said, "{told}");
    }
}
