//! Clients that others have written, PyPI's mcp and the crate rmcp, get from our 401 to a token by what the filter says of
//! the API; where there is no client yet, they register one on the way.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::http::Origin;
use envoy_tests::patience::until;
use envoy_tests::python;
use envoy_tests::token::{CONTOSO, ORDERS};
use envoy_tests::{Release, Request, Suite, World, behaviours};
use openidconnect::http;
use rmcp::transport::auth::{
    AuthorizationRequest, OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest, OAuthState,
};
use serde_json::{Value, json};

const VERSION: &str = "2.3.0";
const LOGIN: &str = "https://login.microsoftonline.com";
const API: &str = "https://api.example.com/mcp/tools";
const CALLBACK: &str = "http://localhost:33418/callback";
const SCOPE: &str = "api://orders/Orders.Read";

fn main() -> ExitCode {
    let behaviours = behaviours![
        a_client_that_knows_only_the_address_gets_a_token,
        a_client_gets_a_token_where_entra_does_not_know_the_resource,
        a_client_that_nobody_knows_registers_and_gets_through,
        rmcp_registers_and_gets_through,
    ];
    Suite::new().alone(&[Release::newest()], behaviours).run()
}

async fn world(release: &Release, more: &Value) -> World {
    let mut configuration = workforce(&json!({}));
    merge(&mut configuration, more);
    let options = Options {
        plugin: json!({"allow_on_headers_stop_iteration": true}),
        environment: vec![("GATE_CLIENT_SECRET".to_owned(), "worthless-bridge-secret".to_owned())],
        ..Options::new(release, configuration)
    };
    World::start(&options).await
}

/// What mcp tells when it has called the API, and the upstream has answered.
async fn told(world: &World, api: &str, more: &[&str]) -> Vec<Value> {
    let python = python::with("mcp", Some(VERSION));
    let (mock, gateway) = (world.entra.origin().url(""), world.envoy.url(""));
    let arguments = [&[mock.as_str(), &gateway, api], more].concat();
    let printed = python::print(&python, "tests/mock-entra/mcp_client.py", &arguments);
    let mut lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let answer = lines.pop().expect("an answer");
    assert_eq!(answer["status"], 200, "{printed}");
    let echo: Value = serde_json::from_str(answer["body"].as_str().expect("a text")).expect("the upstream's answer");
    assert_eq!(Some(api), echo["path"].as_str().map(|path| format!("https://api.example.com{path}")).as_deref());
    lines
}

/// What a client asked, without queries.
fn asked(lines: &[Value]) -> Vec<(String, u64)> {
    let request = |request: &Value| {
        let url = request["url"].as_str().expect("a text");
        (url.split('?').next().unwrap_or_default().to_owned(), request["status"].as_u64().expect("a number"))
    };
    lines.iter().map(request).collect()
}

async fn call(release: &Release, more: Value, api: &str) -> Vec<(String, u64)> {
    asked(&told(&world(release, &more).await, api, &[]).await)
}

fn own(path: &str, status: u64) -> (String, u64) {
    (format!("https://api.example.com{path}"), status)
}

fn login(path: &str, status: u64) -> (String, u64) {
    (format!("{LOGIN}/{CONTOSO}/oauth2/v2.0{path}"), status)
}

/// What a client asks that nobody knows, until its call is answered.
fn whole_way() -> [(String, u64); 8] {
    [
        own("/mcp/tools", 401),
        own("/.well-known/oauth-protected-resource/mcp", 200),
        own("/.well-known/oauth-authorization-server", 200),
        own("/register", 201),
        own("/authorize", 302),
        login("/authorize", 302),
        own("/token", 200),
        own("/mcp/tools", 200),
    ]
}

/// The API's metadata, and the authorization server in Entra's place.
fn passing() -> Value {
    json!({
        "resource_metadata": {"resource": "https://api.example.com/mcp", "scopes_supported": [SCOPE]},
        "authorization_server": {
            "issuer": "https://api.example.com",
            "provider": "workforce",
            "authorization_endpoint": "/authorize",
            "token_endpoint": "/token",
        },
    })
}

/// The same, where anybody may register.
fn registering() -> Value {
    let mut server = passing();
    server["registration"] = json!({
        "tenant": CONTOSO,
        "client_id": "cccccccc-0000-4000-8000-000000000003",
        "client_secret_env": "GATE_CLIENT_SECRET",
        "upstreams": {"login": {"cluster": "entra"}, "graph": {"cluster": "entra"}},
        "access": {"open": true},
        "scopes": {SCOPE: {"resource": ORDERS, "id": "aaaaaaaa-1111-4111-8111-111111111111"}},
    });
    server
}

async fn a_client_that_knows_only_the_address_gets_a_token(release: &Release) {
    // A part of the host: the client would look below its own path first if the challenge did not say where. The client
    // names it to Entra, which knows it as an Application ID URI of the API.
    let resource = json!({"resource": "https://api.example.com/orders", "scopes_supported": [SCOPE]});
    let api = "https://api.example.com/orders/tools";
    let asked = call(release, json!({"resource_metadata": resource}), api).await;
    let expected = |url: &str, status: u64| (url.to_owned(), status);
    let metadata = "https://api.example.com/.well-known/oauth-protected-resource/orders";
    assert_eq!(asked[..2], [expected(api, 401), expected(metadata, 200)], "{asked:?}");
    let discovery = format!("{LOGIN}/{CONTOSO}/v2.0/.well-known/openid-configuration");
    assert!(asked.contains(&expected(&discovery, 200)), "{asked:?}");
    let endpoints = format!("{LOGIN}/{CONTOSO}/oauth2/v2.0");
    let (authorize, token) = (format!("{endpoints}/authorize"), format!("{endpoints}/token"));
    let last = [expected(&authorize, 302), expected(&token, 200), expected(api, 200)];
    assert_eq!(asked[asked.len() - 3..], last, "{asked:?}");
}

async fn a_client_gets_a_token_where_entra_does_not_know_the_resource(release: &Release) {
    let asked = call(release, passing(), API).await;
    assert_eq!(
        asked,
        [
            own("/mcp/tools", 401),
            own("/.well-known/oauth-protected-resource/mcp", 200),
            own("/.well-known/oauth-authorization-server", 200),
            own("/authorize", 302),
            login("/authorize", 302),
            own("/token", 200),
            own("/mcp/tools", 200),
        ]
    );
}

async fn a_client_that_nobody_knows_registers_and_gets_through(release: &Release) {
    let world = world(release, &registering()).await;
    let mut ids = Vec::new();
    // By itself it asks for no method in particular: then it gets a secret.
    for (wanted, method) in [("none", "none"), ("any", "client_secret_basic")] {
        let mut lines = told(&world, API, &["--register", wanted]).await;
        let client = lines.pop().expect("a client");
        assert_eq!(client["token_endpoint_auth_method"], method, "{client}");
        assert_eq!(client["client_secret"].is_string(), method != "none", "{client}");
        assert_eq!(client["redirect_uris"], json!([CALLBACK]));
        assert_eq!(asked(&lines), whole_way());
        // The token is the new client's.
        until("the API was called by the new client", async || {
            let passed = |entry: &Value| entry["path"] == "/mcp/tools" && entry["client"] == client["client_id"];
            world.envoy.access_log().into_iter().find(passed)
        })
        .await;
        ids.push(client["client_id"].clone());
    }
    let applications = world.entra.graph_objects().await["applications"].clone();
    let made: Vec<&Value> = applications.as_array().expect("an array").iter().map(|made| &made["appId"]).collect();
    assert_eq!(made, ids.iter().collect::<Vec<_>>());
}

/// Sends what is meant for the API to the gateway and all else to the mock, with the Host of the URL, and notes it.
struct Routed {
    gateway: Origin,
    mock: Origin,
    asked: Mutex<Vec<(String, u64)>>,
}

impl Routed {
    async fn send(&self, request: http::Request<Vec<u8>>) -> std::io::Result<http::Response<Vec<u8>>> {
        let (parts, body) = request.into_parts();
        let host = parts.uri.host().expect("an absolute URL");
        let target = parts.uri.path_and_query().expect("a path").as_str();
        let mut sent = Request::new(parts.method.as_str(), target).header("host", host).body(body);
        for (name, value) in &parts.headers {
            sent = sent.header(name.as_str(), value.as_bytes());
        }
        let origin = if host == "api.example.com" { &self.gateway } else { &self.mock };
        let answer = origin.send(sent).await?;
        let asked = format!("https://{host}{}", parts.uri.path());
        self.asked.lock().expect("nobody has panicked").push((asked, answer.status.into()));
        let mut response = http::Response::new(answer.body.to_vec());
        *response.status_mut() = http::StatusCode::from_u16(answer.status).map_err(std::io::Error::other)?;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    async fn get(&self, url: &str, token: Option<&str>) -> http::Response<Vec<u8>> {
        let mut request = http::Request::get(url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Vec::new()).expect("a request")).await.expect("an answer")
    }
}

impl OAuthHttpClient for Routed {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move { Ok(self.send(request.request).await?) })
    }
}

fn header<'a>(response: &'a http::Response<Vec<u8>>, name: &str) -> &'a str {
    response.headers()[name].to_str().expect("a text")
}

async fn rmcp_registers_and_gets_through(release: &Release) {
    let world = world(release, &registering()).await;
    let (gateway, mock) = (world.envoy.ingress().clone(), world.entra.origin().clone());
    let routed = Arc::new(Routed { gateway, mock, asked: Mutex::default() });
    let refused = routed.get(API, None).await;
    assert_eq!(refused.status(), 401);
    let mut state = OAuthState::new_with_oauth_http_client(API, routed.clone()).await.expect("a client");
    let request = AuthorizationRequest::new(CALLBACK)
        .with_client_name("rmcp")
        .with_scopes([SCOPE])
        .with_challenge(header(&refused, "www-authenticate"));
    state.start_authorization(request).await.expect("a registration");
    // The browser.
    let mut url = state.get_authorization_url().await.expect("a URL");
    while !url.starts_with(CALLBACK) {
        url = header(&routed.get(&url, None).await, "location").to_owned();
    }
    state.handle_callback_url(&url).await.expect("a token");
    let manager = state.into_authorization_manager().expect("a client with a token");
    let token = manager.get_access_token().await.expect("a token");
    assert_eq!(routed.get(API, Some(&token)).await.status(), 200);
    let asked = routed.asked.lock().expect("nobody has panicked").clone();
    assert_eq!(asked, whole_way());
    let applications = world.entra.graph_objects().await["applications"].clone();
    assert_eq!((&applications[0]["displayName"], &applications[1]), (&json!("dcr: rmcp"), &Value::Null));
}
