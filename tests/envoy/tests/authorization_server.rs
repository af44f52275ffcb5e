//! The authorization server that clients are shown in Entra's place (RFC 8414): its metadata, its redirect, and token
//! requests that it passes through.

use std::fmt::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::patience::until;
use envoy_tests::token::CONTOSO;
use envoy_tests::upstream::Echo;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const LOGIN: &str = "login.microsoftonline.com";
const PUBLIC: &str = "bbbbbbbb-0000-4000-8000-000000000002";
const DAEMON: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const FORM: &str = "application/x-www-form-urlencoded";
const REDIRECT_URI: &str = "redirect_uri=http%3A%2F%2Flocalhost%2F";
const RESOURCE: &str = "resource=https%3A%2F%2Fapi.example.com%2Fmcp";
/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

fn passing() -> Value {
    json!({
        "issuer": "https://api.example.com",
        "provider": "workforce",
        "authorization_endpoint": "/authorize",
        "token_endpoint": "/token",
    })
}

fn with(release: &Release, server: &Value) -> Options {
    let mut configuration = workforce(&json!({"upstream": {"timeout": "2s"}}));
    let resource = json!({"resource": "https://api.example.com/mcp", "scopes_supported": ["api://orders/Orders.Read"]});
    merge(&mut configuration, &json!({"authorization_server": server, "resource_metadata": resource}));
    Options { plugin: json!({"allow_on_headers_stop_iteration": true}), ..Options::new(release, configuration) }
}

fn options(release: &Release) -> Options {
    with(release, &passing())
}

fn main() -> ExitCode {
    let shared = behaviours![
        the_metadata_is_where_clients_look,
        scripts_of_any_origin_may_ask,
        browsers_are_sent_to_entra_without_resource,
        a_code_is_redeemed_through_the_gate,
        what_entra_refuses_comes_back_as_it_is,
        only_forms_with_published_grants_pass,
        large_forms_are_refused,
        an_identity_provider_in_trouble_is_an_oauth_error,
        clients_may_hang_up,
        other_bodies_go_their_way,
    ];
    let alone = behaviours![
        an_issuer_with_a_path_has_three_addresses,
        without_endpoints_of_its_own_it_names_entras,
        bare_scopes_get_their_api,
        no_body_lets_a_waiting_request_through,
        a_plugin_that_gets_no_bodies_says_so,
    ];
    let releases = Release::all();
    Suite::new().shared(&releases, options, shared).alone(&releases[..1], alone).run()
}

fn token_request(form: impl Into<String>) -> Request {
    Request::new("POST", "/token").header("content-type", FORM).body(form.into())
}

fn query(client: &str, more: &str) -> String {
    format!(
        "client_id={client}&response_type=code&{REDIRECT_URI}&state=s%2B1&{CHALLENGE}\
         &scope=openid+offline_access+api%3A%2F%2Forders%2FOrders.Read{more}"
    )
}

/// Signs in by way of the gate: a code for this client.
async fn code(world: &World, client: &str) -> String {
    let answer = world.send(Request::get(format!("/authorize?{}", query(client, &format!("&{RESOURCE}"))))).await;
    assert_eq!(answer.status, 302, "{answer:?}");
    let location = answer.header("location").expect("a location");
    let path = location.strip_prefix("https://login.microsoftonline.com").expect("Entra's");
    let request = Request::get(path).header("host", LOGIN);
    let answer = world.entra.origin().send(request).await.expect("the mock answers");
    let location = answer.header("location").unwrap_or_else(|| panic!("{answer:?}"));
    let (_, answer) = location.split_once('?').expect("a query");
    let (code, state) = answer.strip_prefix("code=").and_then(|answer| answer.split_once('&')).expect("a code");
    assert_eq!(state, "state=s%2B1");
    code.to_owned()
}

fn redemption(client: &str, code: &str) -> String {
    format!("grant_type=authorization_code&client_id={client}&code={code}&{REDIRECT_URI}&code_verifier={VERIFIER}")
}

fn assert_oauth_error(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

/// Each is a part of a body that is sent in chunks.
fn chunked(parts: &[&str], trailer: &str) -> Vec<u8> {
    let mut request = format!(
        "POST /token HTTP/1.1\r\nhost: api.example.com\r\ncontent-type: {FORM}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for part in parts {
        write!(request, "{:x}\r\n{part}\r\n", part.len()).expect("a text");
    }
    write!(request, "0\r\n{trailer}\r\n").expect("a text");
    request.into_bytes()
}

async fn the_metadata_is_where_clients_look(world: &World) {
    let login = format!("https://{LOGIN}/{CONTOSO}");
    for path in [OAUTH, OPENID, "/.well-known/oauth-authorization-server?x=y"] {
        let answer = world.send(Request::get(path).header("host", "other.example").bearer("opaque")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path}");
        assert_eq!(
            answer.json(),
            json!({
                "issuer": "https://api.example.com",
                "authorization_endpoint": "https://api.example.com/authorize",
                "token_endpoint": "https://api.example.com/token",
                "jwks_uri": format!("{login}/discovery/v2.0/keys"),
                "scopes_supported": ["api://orders/Orders.Read", "offline_access"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            })
        );
    }
    // The keys are those that Entra names itself.
    let entra = world.entra.document(LOGIN, &format!("/{CONTOSO}/v2.0{OPENID}")).await;
    assert_eq!(entra["jwks_uri"], format!("{login}/discovery/v2.0/keys"));
    let resource = world.send(Request::get("/.well-known/oauth-protected-resource")).await.json();
    assert_eq!(resource["authorization_servers"], json!(["https://api.example.com"]));
    for path in [
        "/.well-known/oauth-authorization-server/",
        "/.well-known/oauth-authorization-server/mcp",
        "/mcp/.well-known/openid-configuration",
        "/.well-known//openid-configuration",
        "/authorize/",
        "//token",
        "/%74oken",
        "/tokens",
    ] {
        world.assert_refused(Request::get(path), "token_missing").await;
    }
}

async fn scripts_of_any_origin_may_ask(world: &World) {
    let before = world.upstream.count().await;
    for (path, methods) in [
        (OAUTH, "GET, HEAD, OPTIONS"),
        (OPENID, "GET, HEAD, OPTIONS"),
        ("/.well-known/oauth-protected-resource/mcp", "GET, HEAD, OPTIONS"),
        ("/authorize", "GET, HEAD, OPTIONS"),
        ("/token", "POST, OPTIONS"),
    ] {
        let preflight = Request::new("OPTIONS", path)
            .header("origin", "https://inspector.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, content-type, mcp-protocol-version");
        let answer = world.send(preflight).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-methods"), Some(methods));
        assert_eq!(answer.header("access-control-allow-headers"), Some("*, authorization"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let answer = world.send(Request::new("DELETE", path)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(methods)), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let answer = world.send(token_request("").header("origin", "https://inspector.example")).await;
    assert_oauth_error(&answer, 400, "invalid_request");
    assert_eq!(answer.header("access-control-expose-headers"), Some("*"));
    assert_eq!(world.upstream.count().await, before);
}

async fn browsers_are_sent_to_entra_without_resource(world: &World) {
    let before = world.upstream.count().await;
    let endpoint = format!("https://{LOGIN}/{CONTOSO}/oauth2/v2.0/authorize?");
    for (sent, goes) in [
        (query(PUBLIC, &format!("&{RESOURCE}&prompt=none")), query(PUBLIC, "&prompt=none")),
        (format!("{RESOURCE}&{RESOURCE}&Resource=x"), String::new()),
        ("//evil.example/&a=https://evil.example".into(), "//evil.example/&a=https://evil.example".into()),
    ] {
        let answer = world.send(Request::get(format!("/authorize?{sent}"))).await;
        assert_eq!(answer.status, 302, "{answer:?}");
        assert_eq!(answer.header("location"), Some(format!("{endpoint}{goes}").as_str()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(world.upstream.count().await, before);
    // What Entra would have said.
    let path = format!("/{CONTOSO}/oauth2/v2.0/authorize?{}", query(PUBLIC, &format!("&{RESOURCE}")));
    let request = Request::get(path).header("host", LOGIN);
    let answer = world.entra.origin().send(request).await.expect("the mock answers");
    assert!(answer.text().contains("AADSTS9010010"), "{answer:?}");
}

async fn a_code_is_redeemed_through_the_gate(world: &World) {
    let before = world.upstream.count().await;
    let code_of_public = code(world, PUBLIC).await;
    let form = format!("{}&{RESOURCE}", redemption(PUBLIC, &code_of_public));
    let passed = world.envoy.stat("token_requests.passed").await;
    let answer = world.send(token_request(form)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(world.upstream.count().await, before);
    let tokens = answer.json();
    let token = |name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("no {name}: {tokens}")).to_owned();
    let (access, refresh) = (token("access_token"), token("refresh_token"));
    assert_eq!(world.call("/mcp", &access).await.status, 200);

    // In chunks, with and without trailers.
    let form = format!("grant_type=refresh_token&client_id={PUBLIC}&refresh_token={refresh}&{RESOURCE}");
    let (first, second) = form.split_at(20);
    for trailer in ["", "x-checksum: 1\r\n"] {
        let answer = world.envoy.ingress().send_bytes(&chunked(&[first, second], trailer)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    // A confidential client, with its secret in a header.
    let code_of_daemon = code(world, DAEMON).await;
    let basic = format!("Basic {}", STANDARD.encode(format!("{DAEMON}:worthless-secret")));
    let request = token_request(redemption(DAEMON, &code_of_daemon)).header("authorization", basic.clone());
    assert_eq!(world.send(request).await.status, 200);

    assert_eq!(world.envoy.stat("token_requests.passed").await, passed + 4);
    let told = format!("{}{}", world.envoy.log(), Value::Array(world.envoy.access_log()));
    for secret in [&code_of_public, &code_of_daemon, &refresh, &basic, VERIFIER, "worthless-secret"] {
        assert!(!told.contains(secret), "{secret} is told");
    }
    world.assert_untold(&access).await;
}

async fn what_entra_refuses_comes_back_as_it_is(world: &World) {
    let answer = world.send(token_request(redemption(PUBLIC, "1.none"))).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_grant")));
    assert!(answer.text().contains("AADSTS54005"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    world
        .entra
        .fault(json!({"path_contains": "v2.0/token", "times": 1, "fault": {"status": 429, "retry_after": 7}}))
        .await;
    let answer = world.send(token_request(redemption(PUBLIC, "1.none"))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")), "{answer:?}");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
}

async fn only_forms_with_published_grants_pass(world: &World) {
    let asked = world.entra.asked("oauth2/v2.0/token").await;
    for (form, error) in [
        ("grant_type=password&username=u&password=p", "unsupported_grant_type"),
        ("grant_type=client_credentials&client_id=c&client_secret=s", "unsupported_grant_type"),
        ("grant_type=refresh_token&Grant_Type=password&username=u", "invalid_request"),
        ("client_id=c", "invalid_request"),
        ("", "invalid_request"),
    ] {
        assert_oauth_error(&world.send(token_request(form)).await, 400, error);
    }
    let json = Request::post("/token", &json!({"grant_type": "refresh_token"}));
    assert_oauth_error(&world.send(json).await, 400, "invalid_request");
    let no_type = Request::new("POST", "/token").body("grant_type=refresh_token");
    assert_oauth_error(&world.send(no_type).await, 400, "invalid_request");
    let in_query = Request::new("POST", "/token?grant_type=refresh_token").header("content-type", FORM);
    assert_oauth_error(&world.send(in_query).await, 400, "invalid_request");
    assert_eq!(world.entra.asked("oauth2/v2.0/token").await, asked);
}

async fn large_forms_are_refused(world: &World) {
    let asked = world.entra.asked("oauth2/v2.0/token").await;
    let padding = "x".repeat(64 * 1024);
    let answer = world.send(token_request(format!("grant_type=refresh_token&a={padding}"))).await;
    assert_oauth_error(&answer, 413, "invalid_request");
    let parts = ["grant_type=refresh_token&a=", &padding[..40_000], &padding[..40_000]];
    let answer = world.envoy.ingress().send_bytes(&chunked(&parts, "")).await.expect("an answer");
    assert_oauth_error(&answer, 413, "invalid_request");
    assert_eq!(world.entra.asked("oauth2/v2.0/token").await, asked);
    // The largest that passes.
    let form = format!("{}&a=", redemption(PUBLIC, "1.none"));
    let answer = world.send(token_request(format!("{form}{}", &padding[form.len()..]))).await;
    assert!(answer.text().contains("AADSTS54005"), "{answer:?}");
}

async fn an_identity_provider_in_trouble_is_an_oauth_error(world: &World) {
    let failed = world.envoy.stat("token_requests.failed").await;
    for (fault, status) in [
        (json!({"reset": true}), 502),
        (json!({"status": 503, "body": "<html>", "content_type": "text/html"}), 502),
        (json!({"oversize_bytes": 300_000}), 502),
        (json!({"truncate": true}), 502),
        (json!({"delay_ms": 4000}), 504),
    ] {
        world.entra.fault(json!({"path_contains": "v2.0/token", "times": 1, "fault": fault.clone()})).await;
        let answer = world.send(token_request(redemption(PUBLIC, "1.none"))).await;
        assert_oauth_error(&answer, status, "temporarily_unavailable");
    }
    assert_eq!(world.envoy.stat("token_requests.failed").await, failed + 5);
    let answer = world.send(token_request(redemption(PUBLIC, "1.none"))).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

async fn clients_may_hang_up(world: &World) {
    let before = world.entra.asked("oauth2/v2.0/token").await;
    world.entra.fault(json!({"path_contains": "v2.0/token", "fault": {"delay_ms": 500}})).await;
    let whole = chunked(&[&redemption(PUBLIC, "1.none")], "");
    let mut gone = Vec::new();
    for bytes in [&whole[..], &whole[..whole.len() - 20]] {
        for _ in 0..4 {
            let mut stream = world.envoy.ingress().connect().await.expect("a connection");
            stream.write_all(bytes).await.expect("it is sent");
            gone.push(stream);
        }
    }
    until("Entra was asked", async || (world.entra.asked("oauth2/v2.0/token").await >= before + 4).then_some(())).await;
    drop(gone);
    world.entra.clear_faults().await;
    for _ in 0..4 {
        let answer = world.send(token_request(redemption(PUBLIC, "1.none"))).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    world.envoy.assert_sound().await;
}

async fn other_bodies_go_their_way(world: &World) {
    let token = world.mint(json!({})).await;
    for size in [0, 1, 100_000, 900_000] {
        let request = Request::new("POST", "/mcp").bearer(&token).body("x".repeat(size));
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.json()["body_bytes"].as_u64()), (200, u64::try_from(size).ok()));
    }
    world.assert_refused(Request::new("POST", "/mcp").body("x".repeat(100_000)), "token_missing").await;
}

async fn an_issuer_with_a_path_has_three_addresses(release: &Release) {
    let issuer = "https://api.example.com:8443/mcp/v1";
    let world = World::start(&with(release, &json!({"issuer": issuer, "provider": "workforce"}))).await;
    for path in [format!("{OAUTH}/mcp/v1"), format!("{OPENID}/mcp/v1"), format!("/mcp/v1{OPENID}")] {
        assert_eq!(world.send(Request::get(path)).await.json()["issuer"], issuer);
    }
    for path in [OAUTH.to_owned(), OPENID.to_owned(), format!("/mcp/v1{OAUTH}"), format!("{OAUTH}/mcp")] {
        world.assert_refused(Request::get(path), "token_missing").await;
    }
}

async fn without_endpoints_of_its_own_it_names_entras(release: &Release) {
    let server = json!({"issuer": "https://api.example.com", "provider": "workforce"});
    let world = World::start(&with(release, &server)).await;
    let document = world.send(Request::get(OAUTH)).await.json();
    let entra = world.entra.document(LOGIN, &format!("/{CONTOSO}/v2.0{OPENID}")).await;
    for member in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        assert_eq!(document[member], entra[member], "{member}");
    }
    world.assert_refused(Request::get("/authorize"), "token_missing").await;
    world.assert_refused(token_request("grant_type=refresh_token"), "token_missing").await;
}

async fn bare_scopes_get_their_api(release: &Release) {
    let mut server = passing();
    merge(&mut server, &json!({"application_id_uri": "api://orders"}));
    let world = World::start(&with(release, &server)).await;
    let answer = world.send(Request::get("/authorize?scope=openid%20Orders.Read&state=s")).await;
    let location = answer.header("location").expect("a location");
    let (_, query) = location.split_once('?').expect("a query");
    assert_eq!(query, "scope=openid+api%3A%2F%2Forders%2FOrders.Read&state=s");
}

async fn no_body_lets_a_waiting_request_through(release: &Release) {
    let connection_manager = json!({"http_protocol_options": {"enable_trailers": true}});
    let world = World::start(&Options { connection_manager, workers: 1, ..options(release) }).await;
    let (good, forged) = (world.mint(json!({})).await, world.mint(json!({"signature": "corrupt"})).await);
    world.entra.fault(json!({"path_contains": "openid-configuration", "times": 1, "fault": {"delay_ms": 700}})).await;
    let request = |token: &str, trailer: &str| {
        let head = "POST /mcp HTTP/1.1\r\nhost: api.example.com\r\ntransfer-encoding: chunked\r\nauthorization: Bearer";
        let body = "x".repeat(50_000);
        format!("{head} {token}\r\n\r\n{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len()).into_bytes()
    };
    let (with_trailers, without) = (request(&forged, "x-t: 1\r\n"), request(&forged, ""));
    let (good, good_with_trailers) = (request(&good, ""), request(&good, "x-t: 1\r\n"));
    let ingress = world.envoy.ingress();
    let answers = tokio::join!(
        ingress.send_bytes(&with_trailers),
        ingress.send_bytes(&without),
        ingress.send_bytes(&good),
        ingress.send_bytes(&good_with_trailers),
    );
    let status = |answer: std::io::Result<Answer>| answer.expect("an answer").status;
    let statuses = (status(answers.0), status(answers.1), status(answers.2), status(answers.3));
    assert_eq!(statuses, (401, 401, 200, 200), "{}", world.envoy.log());
    assert_eq!(world.upstream.count().await, 2);
}

async fn a_plugin_that_gets_no_bodies_says_so(release: &Release) {
    let world = World::start(&Options { plugin: json!({}), ..options(release) }).await;
    let answer = world.send(token_request(redemption(PUBLIC, "1.none"))).await;
    assert_oauth_error(&answer, 408, "invalid_request");
    assert!(world.envoy.log().contains("the plugin lacks allow_on_headers_stop_iteration"));
    // All else works.
    let token = world.mint(json!({})).await;
    let answer = world.send(Request::new("POST", "/mcp").bearer(&token).body("x".repeat(100_000))).await;
    assert_eq!(Echo::of(&answer).path(), "/mcp");
}
