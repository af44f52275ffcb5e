//! The files of `envoy/` are what Envoy and the filter take.

use std::fs;
use std::process::ExitCode;

use envoy_tests::bootstrap::{Delivery, Options};
use envoy_tests::envoy::{repository, wasm};
use envoy_tests::example::{COMPOSE, compose_environment, documents, in_place, text, with_wasm};
use envoy_tests::upstream::Echo;
use envoy_tests::world::Surroundings;
use envoy_tests::{Envoy, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let behaviours = behaviours![
        the_bootstrap_is_valid_as_it_is,
        the_compose_bootstrap_is_valid_as_it_is,
        the_bootstrap_lets_good_requests_pass_and_no_others,
        the_bootstrap_with_registration_is_valid_as_it_is,
        the_bootstrap_with_registration_lets_clients_register,
        the_istio_plugin_is_configured_by_its_file,
        the_envoy_gateway_policy_is_configured_by_its_file,
        the_envoy_gateway_cluster_is_valid,
        the_readme_s_filter_runs_as_it_is,
    ];
    Suite::new().alone(&Release::all(), behaviours).run()
}

fn only(text: &str) -> Value {
    let mut documents = documents(text);
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn of_kind(documents: &[Value], kind: &str) -> Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}")).clone()
}

/// Only the place of the filter is another one. The variables are the compose example's, for those that name some.
fn assert_valid(release: &Release, bootstrap: Value) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("envoy.json");
    fs::write(&file, with_wasm(bootstrap, &wasm()).to_string()).expect("a temporary file");
    if let Err(told) = release.validate(&file, &compose_environment()) {
        panic!("{told}");
    }
}

async fn the_bootstrap_is_valid_as_it_is(release: &Release) {
    assert_valid(release, only(&text("entra-gate.yaml")));
}

async fn the_compose_bootstrap_is_valid_as_it_is(release: &Release) {
    assert_valid(release, only(COMPOSE));
}

async fn assert_gate(world: &World) {
    world.assert_refused(Request::get("/orders"), "token_missing").await;
    assert_eq!(world.send(Request::get("/healthz")).await.status, 200);
    world.assert_passes("/orders", json!({})).await;
    world.assert_passes("/orders", json!({"version": 1})).await;
    let customer = world.mint(json!({"kind": "external_id"})).await;
    world.assert_token_refused("/orders", &customer, "issuer_not_allowed").await;
    world.envoy.assert_sound().await;
}

async fn the_bootstrap_lets_good_requests_pass_and_no_others(release: &Release) {
    let surroundings = Surroundings::start().await;
    let bootstrap = with_wasm(only(&text("entra-gate.yaml")), &wasm());
    let bootstrap = in_place(bootstrap, &surroundings.clusters(), 0, 0);
    let envoy = Envoy::start(release, &bootstrap, 2, &[]).await.unwrap_or_else(|failure| panic!("{failure}"));
    let world = surroundings.with(envoy);
    assert_gate(&world).await;
    let token = world.mint(json!({})).await;
    let answer = world.send(Request::get("/orders").bearer(&token).header("x-entra-oid", "forged")).await;
    assert_eq!(Echo::of(&answer).header("x-entra-oid"), ["690222be-ff1a-4d56-abd1-7e4f7d38e474"]);
    let underscores = world.send(Request::get("/healthz").header("x_entra_oid", "forged")).await;
    assert_eq!(underscores.status, 400);
    let escaped = world.send(Request::get("/healthz%2f..%2forders")).await;
    assert_eq!(escaped.status, 400);
    let entry = world.envoy.access("/healthz").await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!(200), &Value::Null));
    let refused = world.envoy.access("/orders").await;
    assert_eq!((&refused["status"], &refused["reason"]), (&json!(401), &json!("token_missing")));
}

async fn the_bootstrap_with_registration_is_valid_as_it_is(release: &Release) {
    assert_valid(release, only(&text("registration.yaml")));
}

async fn the_bootstrap_with_registration_lets_clients_register(release: &Release) {
    let surroundings = Surroundings::start().await;
    let [entra, upstream] = surroundings.clusters();
    let clusters = [entra, ("graph", entra.1), upstream];
    let bootstrap = in_place(with_wasm(only(&text("registration.yaml")), &wasm()), &clusters, 0, 0);
    // The same variables as in the compose example.
    let environment = compose_environment();
    let envoy = Envoy::start(release, &bootstrap, 2, &environment).await.unwrap_or_else(|failure| panic!("{failure}"));
    let world = surroundings.with(envoy);
    let refused = world.send(Request::get("/mcp/tools")).await;
    let challenge = refused.header("www-authenticate").expect("a challenge").to_owned();
    assert!(challenge.contains("https://api.example.com/.well-known/oauth-protected-resource/mcp"), "{challenge}");
    let metadata = world.send(Request::get("/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(metadata["registration_endpoint"], "https://api.example.com/register");
    let client = json!({
        "client_name": "a client of the example",
        "redirect_uris": ["http://localhost:33418/callback"],
        "token_endpoint_auth_method": "none",
    });
    assert_eq!(world.send(Request::post("/register", &client)).await.status, 401);
    let (_, initial) = environment.iter().find(|(name, _)| name.ends_with("ACCESS_TOKENS")).expect("one");
    let answer = world.send(Request::post("/register", &client).bearer(initial)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let registered = answer.json();
    let (uri, token) = (&registered["registration_client_uri"], &registered["registration_access_token"]);
    let path = uri.as_str().and_then(|uri| uri.strip_prefix("https://api.example.com")).expect("an address");
    let read = world.send(Request::get(path).bearer(token.as_str().expect("a token"))).await;
    assert_eq!((read.status, &read.json()["client_name"]), (200, &json!("dcr: a client of the example")));
    world.assert_passes("/mcp/tools", json!({"client": registered["client_id"]})).await;
    world.envoy.assert_sound().await;
}

/// The configuration in a real Envoy, its cluster leading to the mock.
async fn assert_configures(release: &Release, configuration: Value) {
    let surroundings = Surroundings::start().await;
    let cluster =
        configuration["providers"]["workforce"]["upstream"]["cluster"].as_str().expect("a cluster").to_owned();
    let options = Options { delivery: Delivery::StringValue, ..Options::new(release, configuration) };
    let [(_, entra), upstream] = surroundings.clusters();
    let bootstrap = options.bootstrap(&wasm(), &[(&cluster, entra), upstream]);
    let envoy = Envoy::start(release, &bootstrap, 2, &[]).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_gate(&surroundings.with(envoy)).await;
}

async fn the_istio_plugin_is_configured_by_its_file(release: &Release) {
    let documents = documents(&text("istio/wasmplugin.yaml"));
    let plugin = of_kind(&documents, "WasmPlugin");
    let (entry, rule) = (of_kind(&documents, "ServiceEntry"), of_kind(&documents, "DestinationRule"));
    assert_eq!(plugin["apiVersion"], "extensions.istio.io/v1alpha1");
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_RELOAD");
    // Istio names a cluster of a service: outbound|<port>||<host>.
    let (port, host) = (&entry["spec"]["ports"][0]["number"], entry["spec"]["hosts"][0].as_str().expect("a host"));
    let cluster = format!("outbound|{port}||{host}");
    assert_eq!(plugin["spec"]["pluginConfig"]["providers"]["workforce"]["upstream"]["cluster"], cluster);
    assert_eq!(
        (&rule["spec"]["host"], &rule["spec"]["trafficPolicy"]["tls"]["mode"]),
        (&json!(host), &json!("SIMPLE"))
    );
    assert_configures(release, plugin["spec"]["pluginConfig"].clone()).await;
}

async fn the_envoy_gateway_policy_is_configured_by_its_file(release: &Release) {
    let policy = of_kind(&documents(&text("envoy-gateway/extension-policy.yaml")), "EnvoyExtensionPolicy");
    assert_eq!(policy["apiVersion"], "gateway.envoyproxy.io/v1alpha1");
    let plugin = &policy["spec"]["wasm"][0];
    assert_eq!(plugin["failOpen"], false);
    assert_configures(release, plugin["config"].clone()).await;
}

async fn the_envoy_gateway_cluster_is_valid(release: &Release) {
    let proxy = of_kind(&documents(&text("envoy-gateway/extension-policy.yaml")), "EnvoyProxy");
    let merged = only(proxy["spec"]["bootstrap"]["value"].as_str().expect("YAML in YAML"));
    let entra = &merged["static_resources"]["clusters"][0];
    let mut bootstrap = only(&text("entra-gate.yaml"));
    // The same cluster as in Envoy's own file.
    assert_eq!(&bootstrap["static_resources"]["clusters"][0], entra);
    bootstrap["static_resources"]["clusters"][0] = entra.clone();
    assert_valid(release, bootstrap);
}

async fn the_readme_s_filter_runs_as_it_is(release: &Release) {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let yaml = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of YAML");
    let surroundings = Surroundings::start().await;
    let mut bootstrap = only(&text("entra-gate.yaml"));
    let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"][0] = only(yaml)[0].clone();
    let bootstrap = in_place(with_wasm(bootstrap, &wasm()), &surroundings.clusters(), 0, 0);
    let envoy = Envoy::start(release, &bootstrap, 2, &[]).await.unwrap_or_else(|failure| panic!("{failure}"));
    let world = surroundings.with(envoy);
    assert_eq!(world.send(Request::get("/healthz")).await.status, 200);
    world.assert_refused(Request::get("/orders"), "token_missing").await;
    world.assert_passes("/orders", json!({"version": 1})).await;
    let customer = world.mint(json!({"kind": "external_id"})).await;
    world.assert_token_refused("/orders", &customer, "issuer_not_allowed").await;
}
