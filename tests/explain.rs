//! `entra-gate explain` as people meet it: files, standard input, exit codes, and never a token told.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mock_entra::{Directory, MockEntra, TokenRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Unix seconds.
const NOW: i64 = 1_760_000_000;
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";
const CONFIGURATION: &str = "
# As in Envoy's file.
providers:
  workforce:
    tenants: [8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b]
    audiences: [11111111-2222-4333-8444-555555555555]
    upstream: { cluster: entra }
rules:
  - match: { prefix: /orders, methods: [POST] }
    require: { scopes: [Orders.Write] }
explain: { secret_env: NOT_SET_HERE }
";

struct Case {
    place: TempDir,
    arguments: Vec<String>,
    token: String,
}

struct Told {
    code: i32,
    output: String,
    error: String,
}

fn mint(request: &Value) -> String {
    let request: TokenRequest = serde_json::from_value(request.clone()).unwrap();
    Directory::new().mint(&request, NOW).unwrap().access_token
}

impl Case {
    fn new(configuration: &str, request: &Value) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("gate.yaml"), configuration).unwrap();
        let config = place.path().join("gate.yaml").display().to_string();
        let arguments = ["explain", "--config", &config, "--token", "-"].map(str::to_owned).to_vec();
        Self { place, arguments, token: mint(request) }
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    fn at(self, time: i64) -> Self {
        self.with(&["--at", &time.to_string()])
    }

    /// The mock's keys, as a file.
    fn with_keys(self) -> Self {
        let path = "/8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b/discovery/v2.0/keys";
        let keys = Directory::new().document("login.microsoftonline.com", path).unwrap();
        let file = self.file("keys.json", &keys.to_string());
        self.with(&["--jwks", &file.display().to_string()])
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.place.path().join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// Runs the command, with the token on its standard input. It is never told back.
    fn run(&self) -> Told {
        self.run_with(&format!("Authorization: Bearer {}\n", self.token))
    }

    fn run_with(&self, input: &str) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entra-gate"));
        command.args(&self.arguments).env_remove("NOT_SET_HERE");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended already, for a reason that it tells.
        let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
        let output = process.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let told =
            Told { code: output.status.code().unwrap(), output: text(output.stdout), error: text(output.stderr) };
        for part in self.token.split('.').filter(|part| part.len() > 20) {
            assert!(!told.output.contains(part) && !told.error.contains(part), "the token is told: {part}");
        }
        told
    }
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {} {}", self.output, self.error))
    }
}

#[test]
fn a_good_token_passes_and_every_check_is_shown() {
    let told = Case::new(CONFIGURATION, &json!({})).with_keys().at(NOW).run();
    assert_eq!(told.code, 0, "{}", told.error);
    for part in ["signature", "of key ", "passes, by provider workforce", "2025-10-09T08:53:20Z", ORDERS] {
        assert!(told.output.contains(part), "{part}: {}", told.output);
    }
    assert!(!told.output.contains('\u{1b}'), "colours without a terminal");
}

#[test]
fn the_rule_is_chosen_by_the_request_and_a_shortfall_is_named() {
    let told = Case::new(CONFIGURATION, &json!({}))
        .with_keys()
        .at(NOW)
        .with(&["--path", "/orders/1", "--method", "POST"])
        .run();
    assert_eq!(told.code, 3, "{}", told.error);
    for part in ["rules[0]: prefix /orders, methods [POST]", "scope_insufficient", "Orders.Write", "refused: 403"] {
        assert!(told.output.contains(part), "{part}: {}", told.output);
    }
    assert!(told.error.contains("refused: scope_insufficient"), "{}", told.error);
}

#[test]
fn without_keys_it_says_what_it_would_need_and_shows_what_it_can() {
    let told = Case::new(CONFIGURATION, &json!({})).at(NOW).with(&["--output", "json"]).run();
    assert_eq!(told.code, 7, "{}", told.error);
    let trace = told.json();
    assert_eq!(trace["verdict"]["outcome"], "undecided");
    let wanted = trace["verdict"]["wanted"].as_str().unwrap();
    assert!(wanted.contains("https://login.microsoftonline.com/"), "{wanted}");
    let checks = trace["checks"].as_array().unwrap();
    let outcome = |name: &str| checks.iter().find(|check| check["check"] == name).map(|check| &check["outcome"]);
    assert_eq!(outcome("audience"), Some(&json!("passed")));
    assert_eq!(outcome("keys"), Some(&json!("lacking")));
    assert_eq!(outcome("signature"), None);
    assert!(told.error.contains("--jwks"), "{}", told.error);
}

#[test]
fn what_is_refused_without_keys_needs_none() {
    let told = Case::new(CONFIGURATION, &json!({"kind": "external_id"})).at(NOW).with(&["--output", "json"]).run();
    assert_eq!(told.code, 3, "{}", told.error);
    let verdict = &told.json()["verdict"];
    assert_eq!((&verdict["reason"], &verdict["status"]), (&json!("issuer_not_allowed"), &json!(401)));
    assert!(verdict["error_description"].as_str().unwrap().contains("External ID (CIAM)"), "{verdict}");
    // Expired when the report was read, not when it was written.
    assert_eq!(Case::new(CONFIGURATION, &json!({})).at(NOW + 90_000).run().code, 3);
    assert_eq!(Case::new(CONFIGURATION, &json!({})).with_keys().run().code, 3, "by now it has expired");
}

#[test]
fn keys_that_are_not_the_token_s_refuse_it() {
    let case = Case::new(CONFIGURATION, &json!({"key": "stranger"})).with_keys().at(NOW).run();
    assert_eq!(case.code, 3, "{}", case.error);
    assert!(case.output.contains("key_unknown"), "{}", case.output);
    let case = Case::new(CONFIGURATION, &json!({"signature": "corrupt"})).with_keys().at(NOW).run();
    assert!(case.output.contains("signature_invalid"), "{}", case.output);
}

#[test]
fn a_token_is_sent_where_its_provider_takes_it_from() {
    for source in [
        "{ header: x-token }",
        "{ cookie: session }",
        "{ query: access_token }",
        "{ header: authorization, scheme: Entra }",
    ] {
        let configuration =
            CONFIGURATION.replace("    upstream:", &format!("    token_sources: [{source}]\n    upstream:"));
        let told = Case::new(&configuration, &json!({})).with_keys().at(NOW).run();
        assert_eq!(told.code, 0, "{source}: {} {}", told.output, told.error);
    }
}

#[test]
fn a_revocation_feed_is_not_asked_and_that_is_said() {
    let key = r#"{"kty":"EC","crv":"P-256","kid":"1","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}"#;
    let feed = format!("{{ url: \"https://r.example/feed\", cluster: r, keys: {{ keys: [{key}] }} }}");
    let configuration = format!("{CONFIGURATION}revocation: {{ feed: {feed} }}\n");
    let told = Case::new(&configuration, &json!({})).with_keys().at(NOW).run();
    assert_eq!(told.code, 0, "{}", told.error);
    assert!(told.output.contains("assumed: the revocation feed names nothing"), "{}", told.output);
}

#[test]
fn a_token_is_shown_to_nobody_and_who_would_be_asked_is_said() {
    let members =
        "    client_applications: [aaaaaaaa-0000-4000-8000-000000000001]\n    graph_tokens: { cluster: graph }\n";
    let configuration = CONFIGURATION.replace("    upstream:", &format!("{members}    upstream:"));
    let graph = "00000003-0000-0000-c000-000000000000";
    let request = json!({"audience": graph, "version": 1, "graph_bound": true, "scopes": "openid"});
    let told = Case::new(&configuration, &request).with_keys().at(NOW).with(&["--output", "json"]).run();
    assert_eq!(told.code, 7, "{} {}", told.output, told.error);
    let trace = told.json();
    assert_eq!(trace["verdict"]["wanted"], "the answer of https://graph.microsoft.com/oidc/userinfo");
    let checks = trace["checks"].as_array().unwrap();
    let last = checks.last().unwrap();
    assert_eq!((&last["check"], &last["outcome"]), (&json!("userinfo"), &json!("lacking")));
}

#[test]
fn bad_files_and_a_bad_command_line_are_named() {
    let good = || Case::new(CONFIGURATION, &json!({})).at(NOW);
    let mistaken = Case::new(&CONFIGURATION.replace("audiences", "audience"), &json!({})).at(NOW).run();
    assert_eq!(mistaken.code, 2);
    assert!(mistaken.error.contains("providers.workforce.audience: found an unknown member"), "{}", mistaken.error);
    let twice = Case::new(&format!("{CONFIGURATION}rules: []\n"), &json!({})).at(NOW).run();
    assert_eq!(twice.code, 2, "{}", twice.error);
    for input in ["", "  \n", "two words", "Bearer"] {
        let told = good().run_with(input);
        assert!(matches!(told.code, 2 | 3), "{input}: {}", told.error);
    }
    let file = good();
    let keys = file.file("html.json", "<html>").display().to_string();
    assert_eq!(file.with(&["--jwks", &keys]).run().code, 2);
    let mut itself = good();
    itself.arguments[4] = itself.token.clone();
    let told = itself.run_with("");
    assert_eq!(told.code, 2);
    assert!(told.error.contains("--token names the file"), "{}", told.error);
    let mut both = good();
    both.arguments[2] = "-".to_owned();
    assert_eq!(both.run().code, 2);
    assert_eq!(good().with(&["--fetch", "--cluster", "entra"]).run().code, 2);
}

#[test]
fn help_has_examples_and_exit_codes() {
    let output = Command::new(env!("CARGO_BIN_EXE_entra-gate")).args(["explain", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for part in ["entra-gate explain --config gate.yaml", "Exit codes", "--jwks", "--fetch"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_as_the_filter_fetches_them() {
    let entra = MockEntra::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let cluster = format!("entra=http://{}", entra.addr());
    let run = |request: Value, more: Vec<String>| {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let case = Case::new(CONFIGURATION, &request).at(NOW).with(&["--fetch", "--output", "json"]).with(&more);
        tokio::task::block_in_place(|| case.run())
    };
    let told = run(json!({}), vec!["--cluster".into(), cluster.clone()]);
    assert_eq!(told.code, 0, "{}", told.error);
    assert!(told.json()["key"]["document"].as_str().unwrap().contains("/discovery/v2.0/keys"), "{}", told.output);
    let told = run(json!({"header": {"kid": "unknown"}}), vec!["--cluster".into(), cluster]);
    assert_eq!((told.code, &told.json()["verdict"]["reason"]), (3, &json!("key_unknown")));
    // Nobody answers there.
    let told = run(json!({}), vec!["--cluster".into(), "entra=http://127.0.0.1:9".into()]);
    assert_eq!((told.code, &told.json()["verdict"]["outcome"]), (4, &json!("undecided")));
}
