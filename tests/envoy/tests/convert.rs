//! What `entra-gate convert` makes of the published examples, in one Envoy: a filter for each, chosen by the request's host.

use std::fs;
use std::io::Write as _;
use std::process::{Command, ExitCode, Output, Stdio};

use envoy_tests::bootstrap::Options;
use envoy_tests::envoy::{repository, wasm};
use envoy_tests::revocations::command;
use envoy_tests::token::{CONTOSO, CUSTOMERS, DAEMON, FABRIKAM, ORDERS, PUBLIC, encode};
use envoy_tests::{Release, Request, Suite, World, behaviours};
use serde_json::{Map, Value, json};

const SIGNING_KEY: &str = "a worthless signing key of 37 bytes..";
const API: &str = "api.contoso.example";
const HOST: &str = "@(context.Request.OriginalUrl.Host)=api.contoso.example";

/// A policy, what the command is told besides, and tokens that it accepts and refuses.
struct Example {
    file: &'static str,
    arguments: Vec<String>,
    header: &'static str,
    good: Value,
    bad: Vec<(Value, &'static str)>,
}

fn main() -> ExitCode {
    let behaviours = behaviours![each_example_judges_good_and_bad_tokens, the_customers_token_is_refused_with_the_fix];
    let fixed = behaviours![the_fix_that_the_answer_names_lets_it_pass];
    Suite::new().shared(&[Release::newest()], converted, behaviours).shared(&[Release::newest()], repaired, fixed).run()
}

/// A token of contoso.com's own making.
fn signed(iss: &str, more: Value) -> Value {
    let mut token =
        json!({"kind": "oidc", "alg": "HS256", "secret": encode(SIGNING_KEY), "audience": API, "claims": {"iss": iss}});
    envoy_tests::bootstrap::merge(&mut token, &more);
    token
}

fn examples() -> Vec<Example> {
    let words = |arguments: &[&str]| -> Vec<String> { arguments.iter().map(|word| (*word).to_owned()).collect() };
    let example = |file, arguments: &[&str], good, bad| Example {
        file,
        arguments: words(arguments),
        header: "authorization",
        good,
        bad,
    };
    let entra = [format!("{{{{aad-tenant-id}}}}={CONTOSO}"), format!("{{{{aad-client-application-id}}}}={DAEMON}")];
    let entra = ["--value", &entra[0], "--value", &entra[1]];
    let certificate = format!("my-rsa-cert={}", repository().join("tests/mock-entra/keys/oidc.crt.pem").display());
    let tenant = format!("contoso.onmicrosoft.com={CONTOSO}");
    let from = |ctry: Value| json!({"audience": API, "claims": {"ctry": ctry}});
    let with_id = |id: &str| json!({"version": 1, "audience": ORDERS, "claims": {"id": id}});
    let of_contoso =
        |key: &str| json!({"kind": "oidc", "key": key, "audience": API, "claims": {"iss": "http://contoso.com/"}});
    let b2c = |id: &str| json!({"kind": "b2c", "claims": {"id": id}});
    let group = |group: &str, more: Value| {
        let mut token = signed("contoso.com", json!({"claims": {"group": group}}));
        envoy_tests::bootstrap::merge(&mut token, &more);
        token
    };
    let oidc = |audience: &str| json!({"kind": "oidc", "audience": audience});
    let of_example2 = |iss: &str| json!({"kind": "oidc", "key": "oidc", "audience": "https://example2.com/api", "claims": {"iss": iss}});
    vec![
        example(
            "apim/simple-azure-ad.xml",
            &[&entra[..], &["--audience", ORDERS, "--audience", "api://orders"]].concat(),
            json!({"client": DAEMON}),
            vec![
                (json!({"client": PUBLIC}), "client_not_allowed"),
                (json!({"tenant": FABRIKAM}), "tenant_not_allowed"),
            ],
        ),
        example(
            "apim/audience-and-claim-azure-ad.xml",
            &[&entra[..], &["--value", HOST]].concat(),
            from(json!("US")),
            vec![(from(json!("DE")), "claim_not_allowed"), (from(json!(null)), "claim_missing")],
        ),
        example(
            "apim/signing-key.xml",
            &["--value", HOST],
            signed("http://contoso.com/", json!({})),
            vec![
                (signed("http://contoso.com", json!({})), "issuer_not_allowed"),
                (
                    signed("http://contoso.com/", json!({"secret": encode("another key of more than 32 bytes....")})),
                    "signature_invalid",
                ),
            ],
        ),
        example(
            "apim/rsa-certificate.xml",
            &["--value", HOST, "--certificate", &certificate],
            of_contoso("oidc"),
            vec![(of_contoso("stranger"), "signature_invalid")],
        ),
        example(
            "apim/single-tenant.xml",
            &["--tenant", &tenant],
            with_id("an-id"),
            vec![(with_id("other"), "claim_not_allowed")],
        ),
        example(
            "apim/customer-tenant.xml",
            &["--audience", ORDERS],
            json!({"kind": "external_id", "client": DAEMON}),
            vec![
                (json!({"kind": "external_id", "client": PUBLIC}), "claim_not_allowed"),
                (json!({}), "issuer_not_allowed"),
            ],
        ),
        example(
            "apim/b2c.xml",
            &["--tenant", "contosob2c.onmicrosoft.com=775527ff-9a37-4307-8b3d-cc311f58d925"],
            b2c("an-id"),
            vec![(b2c("other"), "claim_not_allowed")],
        ),
        example(
            "apim/decryption-key.xml",
            &["--value", HOST],
            group("finance", json!({"encrypt": {}})),
            vec![
                (group("sales", json!({"encrypt": {}})), "claim_not_allowed"),
                (group("finance", json!({"encrypt": {"key": "stranger"}})), "token_malformed"),
            ],
        ),
        example(
            "apim/operations-by-claims.xml",
            &["--value", HOST],
            group("logistics", json!({})),
            vec![(group("sales", json!({})), "claim_not_allowed")],
        ),
        example(
            "jwt-authn/remote-keys.yaml",
            &[],
            oidc("bookstore_web.apps.googleusercontent.com"),
            vec![
                (oidc("bookstore_ios.apps.googleusercontent.com"), "audience_not_allowed"),
                (json!({}), "issuer_not_allowed"),
            ],
        ),
        Example {
            header: "jwt-assertion",
            ..example(
                "jwt-authn/inline-keys-and-a-header.yaml",
                &[],
                of_example2("https://example2.com"),
                vec![(of_example2("https://example3.com"), "issuer_not_allowed")],
            )
        },
        example("jwt-authn/rules.yaml", &[], oidc("audience1"), vec![(oidc("api_audience"), "audience_not_allowed")]),
        example(
            "jwt-authn/groups.yaml",
            &[],
            oidc("api"),
            vec![(json!({"audience": "api"}), "issuer_not_allowed"), (oidc("other"), "audience_not_allowed")],
        ),
    ]
}

/// The story's policy, which refuses the tokens of its own tenant.
fn story() -> Example {
    Example {
        file: "apim/customers-refused.xml",
        arguments: Vec::new(),
        header: "authorization",
        good: json!({}),
        bad: Vec::new(),
    }
}

impl Example {
    /// The host by which its filter is chosen.
    fn host(&self) -> String {
        let name = self.file.rsplit('/').next().and_then(|name| name.split('.').next()).expect("a name");
        format!("{name}.example")
    }

    fn request(&self, token: &str) -> Request {
        let value = if self.header == "authorization" { format!("Bearer {token}") } else { token.to_owned() };
        Request::get("/orders").header("host", self.host()).header(self.header, value)
    }

    /// What the command writes, which it finds good itself.
    fn converted(&self) -> String {
        let pem = fs::read_to_string(repository().join("tests/mock-entra/keys/oidc.crt.pem")).expect("a certificate");
        let certificate: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let keys = format!("'{}'", json!({"keys": [{"x5c": [certificate]}]}));
        let policy = fs::read_to_string(repository().join("tests/convert").join(self.file)).expect("the policy");
        let kind = self.file.split('/').next().expect("a kind");
        let mut arguments = vec!["convert".to_owned(), kind.to_owned(), "-".to_owned()];
        arguments.extend(self.arguments.clone());
        let converted = run(&arguments, &policy.replace("MY_KEYS", &keys));
        assert!(converted.status.success(), "{}: {}", self.file, String::from_utf8_lossy(&converted.stderr));
        let yaml = String::from_utf8(converted.stdout).expect("text");
        let checked = run(&["check".to_owned(), "-".to_owned()], &yaml);
        assert!(checked.status.success(), "{}: {}", self.file, String::from_utf8_lossy(&checked.stdout));
        yaml
    }
}

fn run(arguments: &[String], input: &str) -> Output {
    let mut process = Command::new(command())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    process.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    process.wait_with_output().expect("it ends")
}

fn configuration(yaml: &str) -> Value {
    serde_yaml_ng::from_str(yaml).expect("YAML")
}

fn environment() -> Vec<(String, String)> {
    let key = fs::read_to_string(repository().join("tests/mock-entra/keys/encryption.key.pem")).expect("a key");
    vec![("JWT_SIGNING_KEY".into(), encode(SIGNING_KEY)), ("MY_CERTIFICATE_IN_API_MANAGEMENT".into(), key)]
}

/// One Envoy with a filter for each example. A host switches off all but its own.
fn converted(release: &Release) -> Options {
    let examples: Vec<Example> = examples().into_iter().chain([story()]).collect();
    let mut options = Options::new(release, json!({}));
    options.environment = environment();
    let mut filters: Vec<Value> = Vec::new();
    for example in &examples {
        let mut own = options.clone();
        own.configuration = configuration(&example.converted());
        let mut filter = own.filter(&wasm());
        filter["name"] = example.host().into();
        filters.push(filter);
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    let off = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    let hosts = examples.iter().map(|example| {
        let others = examples.iter().map(Example::host).filter(|host| *host != example.host());
        let switched: Map<String, Value> = others.map(|host| (host, off.clone())).collect();
        json!({
            "name": example.host(),
            "domains": [example.host()],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}, "typed_per_filter_config": switched}],
        })
    });
    let hosts: Vec<Value> = hosts.collect();
    options.connection_manager = json!({"http_filters": filters, "route_config": {"virtual_hosts": hosts}});
    options
}

async fn each_example_judges_good_and_bad_tokens(world: &World) {
    for example in examples() {
        let good = world.mint(example.good.clone()).await;
        let answer = world.send(example.request(&good)).await;
        assert_eq!(answer.status, 200, "{}: {}", example.file, answer.text());
        for (token, reason) in &example.bad {
            let token = world.mint(token.clone()).await;
            let answer = world.assert_refused(example.request(&token), reason).await;
            assert_ne!(answer.status, 200, "{}", example.file);
        }
        world.assert_refused(Request::get("/orders").header("host", example.host()), "token_missing").await;
    }
    world.envoy.assert_sound().await;
}

async fn the_customers_token_is_refused_with_the_fix(world: &World) {
    let token = world.mint(json!({"kind": "external_id"})).await;
    let answer = world.assert_refused(story().request(&token), "issuer_not_allowed").await;
    let said = answer.json()["error_description"].as_str().expect("a sentence").to_owned();
    assert!(said.contains("External ID (CIAM) token") && said.contains("kind external_id"), "{said}");
}

/// The story's configuration with what the answer asks for.
fn repaired(release: &Release) -> Options {
    let yaml = story().converted();
    let fix = "  workforce:\n    kind: external_id\n    domain: contosocustomers\n";
    let repaired = yaml.replace("  workforce:\n", fix);
    assert_ne!(repaired, yaml, "{yaml}");
    Options::new(release, configuration(&repaired))
}

async fn the_fix_that_the_answer_names_lets_it_pass(world: &World) {
    world.assert_passes("/orders", json!({"kind": "external_id", "tenant": CUSTOMERS})).await;
    let workforce = world.mint(json!({})).await;
    world.assert_token_refused("/orders", &workforce, "issuer_not_allowed").await;
}
