//! A client that others have written, PyPI's mcp, gets from our 401 to a token by what the filter says of the API.

use std::process::ExitCode;

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::python;
use envoy_tests::token::CONTOSO;
use envoy_tests::{Release, Suite, World, behaviours};
use serde_json::{Value, json};

const VERSION: &str = "2.3.0";

fn main() -> ExitCode {
    let behaviours = behaviours![a_client_that_knows_only_the_address_gets_a_token];
    Suite::new().alone(&[Release::newest()], behaviours).run()
}

async fn a_client_that_knows_only_the_address_gets_a_token(release: &Release) {
    let python = python::with("mcp", Some(VERSION));
    let mut configuration = workforce(&json!({}));
    // A part of the host: the client would look below its own path first if the challenge did not say where.
    let resource = json!({
        "resource": "https://api.example.com/mcp",
        "scopes_supported": ["api://orders/Orders.Read"],
    });
    merge(&mut configuration, &json!({"resource_metadata": resource}));
    let world = World::start(&Options::new(release, configuration)).await;
    let (mock, gateway) = (world.entra.origin().url(""), world.envoy.url(""));
    let api = "https://api.example.com/mcp/tools";
    let printed = python::print(&python, "tests/mock-entra/mcp_client.py", &[&mock, &gateway, api]);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (answer, asked) = lines.split_last().expect("an answer");

    assert_eq!(answer["status"], 200, "{printed}");
    let echo: Value = serde_json::from_str(answer["body"].as_str().expect("a text")).expect("the upstream's answer");
    assert_eq!(echo["path"], "/mcp/tools");
    let asked: Vec<(&str, u64)> = asked
        .iter()
        .map(|request| {
            let url = request["url"].as_str().expect("a text");
            (url.split('?').next().unwrap_or_default(), request["status"].as_u64().expect("a number"))
        })
        .collect();
    let metadata = "https://api.example.com/.well-known/oauth-protected-resource/mcp";
    let login = "https://login.microsoftonline.com";
    assert_eq!(asked[..2], [(api, 401), (metadata, 200)], "{printed}");
    let discovery = format!("{login}/{CONTOSO}/v2.0/.well-known/openid-configuration");
    assert!(asked.contains(&(discovery.as_str(), 200)), "{printed}");
    let (authorize, token) =
        (format!("{login}/{CONTOSO}/oauth2/v2.0/authorize"), format!("{login}/{CONTOSO}/oauth2/v2.0/token"));
    assert_eq!(asked[asked.len() - 3..], [(authorize.as_str(), 302), (token.as_str(), 200), (api, 200)], "{printed}");
}
