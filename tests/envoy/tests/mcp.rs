//! A client that others have written, PyPI's mcp, gets from our 401 to a token by what the filter says of the API.

use std::process::ExitCode;

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::python;
use envoy_tests::token::CONTOSO;
use envoy_tests::{Release, Suite, World, behaviours};
use serde_json::{Value, json};

const VERSION: &str = "2.3.0";
const LOGIN: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "api://orders/Orders.Read";

fn main() -> ExitCode {
    let behaviours = behaviours![
        a_client_that_knows_only_the_address_gets_a_token,
        a_client_gets_a_token_where_entra_does_not_know_the_resource,
    ];
    Suite::new().alone(&[Release::newest()], behaviours).run()
}

/// Calls the API and checks that the upstream answered; returns what the client asked, without queries.
async fn call(release: &Release, more: Value, api: &str) -> Vec<(String, u64)> {
    let python = python::with("mcp", Some(VERSION));
    let mut configuration = workforce(&json!({}));
    merge(&mut configuration, &more);
    let options =
        Options { plugin: json!({"allow_on_headers_stop_iteration": true}), ..Options::new(release, configuration) };
    let world = World::start(&options).await;
    let (mock, gateway) = (world.entra.origin().url(""), world.envoy.url(""));
    let printed = python::print(&python, "tests/mock-entra/mcp_client.py", &[&mock, &gateway, api]);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (answer, asked) = lines.split_last().expect("an answer");
    assert_eq!(answer["status"], 200, "{printed}");
    let echo: Value = serde_json::from_str(answer["body"].as_str().expect("a text")).expect("the upstream's answer");
    assert_eq!(Some(api), echo["path"].as_str().map(|path| format!("https://api.example.com{path}")).as_deref());
    let request = |request: &Value| {
        let url = request["url"].as_str().expect("a text");
        (url.split('?').next().unwrap_or_default().to_owned(), request["status"].as_u64().expect("a number"))
    };
    asked.iter().map(request).collect()
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
    let api = "https://api.example.com/mcp/tools";
    let server = json!({
        "resource_metadata": {"resource": "https://api.example.com/mcp", "scopes_supported": [SCOPE]},
        "authorization_server": {
            "issuer": "https://api.example.com",
            "provider": "workforce",
            "authorization_endpoint": "/authorize",
            "token_endpoint": "/token",
        },
    });
    let asked = call(release, server, api).await;
    let own = |path: &str, status: u64| (format!("https://api.example.com{path}"), status);
    let login = |path: &str, status: u64| (format!("{LOGIN}/{CONTOSO}/oauth2/v2.0{path}"), status);
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
