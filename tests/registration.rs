//! The registration bridge without Envoy: requests and bodies in, calls to the mock's Graph, answers out; time is an argument.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::answer::Answer;
use entra_gate::config;
use entra_gate::jose::signature::Software;
use entra_gate::jose::signing::SigningCertificate;
use entra_gate::policy::Policy;
use entra_gate::policy::registration::{Credential, Registration};
use entra_gate::registration::access::{Admission, admit};
use entra_gate::registration::chain::{self, Action, End, Heard, Job, Note, Order, Room, Unclaimed, Unheard};
use entra_gate::registration::login::{GraphToken, Login, LoginFault, Standing};
use entra_gate::registration::reply::{Outcome, Refusal};
use entra_gate::registration::route::Purpose;
use entra_gate::registration::{login, seal};
use mock_entra::{Directory, GraphCall, GraphKnobs};
use serde_json::{Value, json};
use superboring::reexports::rsa::pkcs8::DecodePrivateKey as _;
use superboring::reexports::rsa::sha2::{Digest as _, Sha256};
use superboring::reexports::rsa::{Pkcs1v15Sign, RsaPrivateKey};

const NOW: u64 = 1_760_000_000;
const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const BRIDGE: &str = "cccccccc-0000-4000-8000-000000000003";
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";
const INITIAL: &str = "initial-access-token-of-32-characters-1";
const INITIAL_NEW: &str = "initial-access-token-of-32-characters-2";
const KEY: &str = "management-key-of-thirty-two-characters-1";
const KEY_NEW: &str = "management-key-of-thirty-two-characters-2";
const LOGIN: &str = "login.microsoftonline.com";
const CERTIFICATE: &str = include_str!("mock-entra/keys/bridge.crt.pem");
const PRIVATE_KEY: &str = include_str!("mock-entra/keys/bridge.key.pem");
const OTHER_CERTIFICATE: &str = include_str!("mock-entra/keys/stranger.crt.pem");

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "CLIENT_KEY" => PRIVATE_KEY.to_owned(),
        "CLIENT_SECRET" => "worthless-bridge-secret".to_owned(),
        "INITIAL" => format!("{INITIAL}, {INITIAL_NEW}"),
        "KEY" => KEY.to_owned(),
        "KEYS" => format!("{KEY_NEW},{KEY}"),
        "NEW_KEY" => KEY_NEW.to_owned(),
        "SHORT" => "short".to_owned(),
        _ => return None,
    };
    Some(value)
}

fn registration(changes: &Value) -> Value {
    let mut registration = json!({
        "tenant": TENANT,
        "client_id": BRIDGE,
        "client_secret_env": "CLIENT_SECRET",
        "upstreams": {"login": {"cluster": "entra"}, "graph": {"cluster": "graph"}},
        "access": {"initial_access_tokens_env": "INITIAL"},
        "redirect_uris": ["http://localhost", "http://127.0.0.1", "https://*.contoso.com/callback", "cursor://"],
        "scopes": {
            "api://orders/Orders.Read": {"resource": ORDERS, "id": "aaaaaaaa-1111-4111-8111-111111111111"},
            "api://orders/Orders.Read.All": {
                "resource": ORDERS, "id": "aaaaaaaa-2222-4222-8222-222222222222", "type": "application",
            },
        },
        "allow": {"read": true, "update": true, "delete": true, "rotate_secret": true},
        "management_key_env": "KEY",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            registration.as_object_mut().unwrap().remove(name);
        } else {
            registration[name] = value.clone();
        }
    }
    registration
}

fn compiled(document: &Value) -> Result<Policy, Vec<String>> {
    config::compile_with(document.to_string().as_bytes(), &environment)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn policy(changes: &Value) -> Policy {
    compiled(&json!({"registration": registration(changes)})).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// What Envoy's `sign` does.
fn sign(certificate: &SigningCertificate, text: &[u8]) -> Option<Vec<u8>> {
    let key = RsaPrivateKey::from_pkcs8_der(&certificate.private_key).ok()?;
    key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text)).ok()
}

fn by_certificate(certificate: &str) -> Value {
    let certificate = json!({"certificate": certificate, "private_key_env": "CLIENT_KEY"});
    json!({"client_secret_env": null, "client_certificate": certificate})
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    /// Graph does it, and nobody hears of it.
    AnswerLost,
    /// Graph answers this instead of doing it.
    Instead(u16, Option<u64>),
    /// Graph does it, and answers this.
    After(u16),
    /// It never went out.
    NotSent,
}

/// The bridge and the directory behind it.
struct Bench {
    policy: Policy,
    directory: Directory,
    token: String,
    /// In milliseconds.
    now: u64,
    random: u64,
    /// Part of the method and path → what happens, how often.
    mishaps: Vec<(&'static str, Mishap, u32)>,
    calls: Vec<String>,
    notes: Vec<Note>,
}

impl Bench {
    fn new(changes: &Value) -> Self {
        let mut bench = Self {
            policy: policy(changes),
            directory: Directory::new(),
            token: String::new(),
            now: NOW * 1_000,
            random: 7,
            mishaps: Vec::new(),
            calls: Vec::new(),
            notes: Vec::new(),
        };
        bench.log_in();
        bench
    }

    fn settings(&self) -> &Registration {
        self.policy.registration.as_ref().unwrap()
    }

    fn turn(&mut self, knobs: Value) {
        self.directory.turn_graph(serde_json::from_value::<GraphKnobs>(knobs).unwrap());
    }

    fn log_in(&mut self) {
        let id = [self.random(), self.random()];
        let form = login::form(self.settings(), self.now, id, sign).unwrap();
        let path = self.settings().login.address.path().to_owned();
        let now = i64::try_from(self.now / 1_000).unwrap();
        let answer = self.directory.token(LOGIN, &path, None, form.as_bytes(), now).unwrap();
        self.token = GraphToken::read(200, answer.to_string().as_bytes(), self.now).ok().unwrap().text;
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random
    }

    fn ask(&mut self, method: &str, target: &str, bearer: Option<&str>, body: &Value) -> Answer {
        self.ask_bytes(method, target, bearer, body.to_string().as_bytes())
    }

    fn ask_bytes(&mut self, method: &str, target: &str, bearer: Option<&str>, body: &[u8]) -> Answer {
        let purpose = Purpose::of(method, target, self.settings()).expect("a request for the bridge");
        let authorization = bearer.map(|bearer| format!("Bearer {bearer}"));
        let admission = admit(&purpose, authorization.as_deref().map(str::as_bytes), self.settings());
        let order = match admission {
            Admission::Admitted(ticket) => chain::order(&purpose, ticket, body, self.settings()),
            Admission::Judge => panic!("the judge is asked"),
            Admission::Refused(refusal) => Err(refusal),
        };
        match order {
            Ok(order) => {
                let end = self.run(order);
                if let Some(made) = end.undo {
                    self.run(Order::Undo(made));
                }
                end.answer.expect("an answer")
            }
            Err(refusal) => refusal.answer("", None),
        }
    }

    fn register(&mut self, body: &Value) -> Answer {
        self.ask("POST", "/register", Some(INITIAL), body)
    }

    fn registered(&mut self, body: &Value) -> Value {
        let answer = self.register(body);
        assert_eq!(answer.status, 201, "{body} {}", answer.body);
        document(&answer)
    }

    /// Runs an order to its end; waiting takes no time.
    fn run(&mut self, order: Order) -> End {
        let random = [self.random(), self.random(), self.random(), self.random()];
        let began = self.now;
        macro_rules! room {
            () => {
                Room {
                    settings: self.policy.registration.as_ref().unwrap(),
                    realm: "",
                    now: self.now,
                    random: self.random,
                }
            };
        }
        let mut job = Job::begin(order, "https://api.example/register".into(), random, &room!());
        let mut action = Action::Call;
        for _ in 0..200 {
            action = match action {
                Action::Call => {
                    let heard = self.call(&job);
                    job.hear(heard, &room!())
                }
                Action::Renew => {
                    self.log_in();
                    Action::Call
                }
                Action::Wait(until) => {
                    assert!(until > self.now);
                    self.now = until;
                    self.random();
                    Action::Call
                }
                Action::End(end) => {
                    self.notes.extend(end.notes.clone());
                    assert!(self.now - began <= 121_000, "{} ms", self.now - began);
                    return *end;
                }
            };
        }
        panic!("it never ends: {:?}", self.calls)
    }

    fn call(&mut self, job: &Job) -> Result<Heard, Unheard> {
        let room = Room { settings: self.policy.registration.as_ref().unwrap(), realm: "", now: self.now, random: 0 };
        let call = job.call(&room);
        let line = format!("{} {}", call.method, call.path);
        let mishap =
            self.mishaps.iter_mut().find(|(part, _, times)| *times > 0 && line.contains(*part)).map(|mishap| {
                mishap.2 -= 1;
                mishap.1
            });
        self.calls.push(line);
        match mishap {
            Some(Mishap::NotSent) => return Err(Unheard::NotSent),
            Some(Mishap::Instead(status, retry_after)) => {
                return Ok(Heard {
                    status,
                    retry_after,
                    body: br#"{"error":{"code":"X","message":"secret words of Graph"}}"#.to_vec(),
                });
            }
            Some(Mishap::After(_) | Mishap::AnswerLost) | None => {}
        }
        let authorization = format!("Bearer {}", self.token);
        let body = call.body.unwrap_or_default();
        let graph_call = GraphCall {
            host: "graph.microsoft.com",
            method: call.method,
            target: &call.path,
            authorization: Some(&authorization),
            prefer: call.create_if_missing.then_some("create-if-missing"),
            body: body.as_bytes(),
        };
        let answer = self.directory.graph(&graph_call, i64::try_from(self.now / 1_000).unwrap());
        match mishap {
            Some(Mishap::AnswerLost) => Err(Unheard::NoAnswer),
            Some(Mishap::After(status)) => Ok(Heard { status, ..Heard::default() }),
            _ => Ok(Heard {
                status: answer.status,
                retry_after: None,
                body: if answer.body.is_null() { Vec::new() } else { answer.body.to_string().into_bytes() },
            }),
        }
    }

    fn applications(&self) -> Vec<Value> {
        self.directory.graph_objects()["applications"].as_array().unwrap().clone()
    }

    fn outcomes(&self) -> Vec<&'static str> {
        self.notes.iter().map(|note| note.outcome.code()).collect()
    }
}

fn document(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

fn public() -> Value {
    json!({
        "client_name": "Orders CLI",
        "redirect_uris": ["http://localhost:33418/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "native",
        "scope": "api://orders/Orders.Read offline_access files.write",
    })
}

fn confidential() -> Value {
    json!({
        "client_name": "Portal",
        "redirect_uris": ["https://portal.contoso.com/callback"],
        "grant_types": ["authorization_code", "client_credentials"],
        "scope": "api://orders/Orders.Read api://orders/Orders.Read.All",
        "contacts": ["team@contoso.com"],
        "software_id": "portal",
        "software_version": "1.2",
        "client_uri": "https://portal.contoso.com",
        "tos_uri": "https://portal.contoso.com/terms",
        "policy_uri": "https://portal.contoso.com/privacy",
    })
}

fn with(mut document: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        document.as_object_mut().unwrap().remove(name);
    } else {
        document[name] = value;
    }
    document
}

#[test]
fn a_public_client_is_one_write_and_is_told_what_it_is() {
    let mut bench = Bench::new(&json!({}));
    let answer = bench.register(&public());
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let client = document(&answer);
    let id = client["client_id"].as_str().unwrap();
    assert_eq!(client["client_name"], "dcr: Orders CLI");
    assert_eq!(client["redirect_uris"], json!(["http://localhost:33418/callback"]));
    assert_eq!(client["token_endpoint_auth_method"], "none");
    assert_eq!(client["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(client["response_types"], json!(["code"]));
    assert_eq!(client["scope"], "api://orders/Orders.Read offline_access");
    assert_eq!(client["application_type"], "native");
    assert_eq!(client["client_id_issued_at"], NOW);
    assert_eq!(client["registration_client_uri"], format!("https://api.example/register/{id}"));
    assert!(client.get("client_secret").is_none() && client.get("client_secret_expires_at").is_none());
    assert_eq!(bench.calls.len(), 1, "{:?}", bench.calls);
    assert_eq!(bench.outcomes(), ["created"]);

    let [application] = &bench.applications()[..] else { panic!() };
    assert_eq!(application["appId"], id);
    assert_eq!(application["publicClient"]["redirectUris"], json!(["http://localhost/callback"]));
    assert_eq!(application["web"]["redirectUris"], json!([]));
    assert_eq!(application["signInAudience"], "AzureADMyOrg");
    assert_eq!(application["api"]["requestedAccessTokenVersion"], 2);
    assert_eq!(
        application["requiredResourceAccess"],
        json!([{"resourceAppId": ORDERS, "resourceAccess": [{"id": "aaaaaaaa-1111-4111-8111-111111111111", "type": "Scope"}]}])
    );
}

#[test]
fn instances_of_one_public_client_share_it_and_others_do_not() {
    let mut bench = Bench::new(&json!({}));
    let first = bench.registered(&public());
    let same = with(public(), "redirect_uris", json!(["http://localhost:5/callback"]));
    let second = bench.registered(&same);
    assert_eq!(first["client_id"], second["client_id"]);
    assert_eq!(second["redirect_uris"], json!(["http://localhost:5/callback"]));
    assert_eq!(bench.outcomes(), ["created", "shared"]);
    for (name, value) in [
        ("client_name", json!("Orders cli")),
        ("redirect_uris", json!(["http://localhost:33418/other"])),
        ("redirect_uris", json!(["http://127.0.0.1:33418/callback"])),
        ("scope", json!("offline_access")),
        ("software_id", json!("x")),
        ("software_version", json!("2")),
        ("contacts", json!(["a"])),
        ("client_uri", json!("https://evil.example")),
        ("policy_uri", json!("https://evil.example")),
        ("tos_uri", json!("https://evil.example")),
        ("application_type", json!("web")),
        ("application_type", json!("spa")),
    ] {
        let other = bench.registered(&with(public(), name, value.clone()));
        assert_ne!(other["client_id"], first["client_id"], "{name} {value}");
    }
    // And what they registered has not changed the first one.
    let read = bench.ask(
        "GET",
        &format!("/register/{}", first["client_id"].as_str().unwrap()),
        first["registration_access_token"].as_str(),
        &json!({}),
    );
    assert_eq!(document(&read)["client_name"], "dcr: Orders CLI");
}

#[test]
fn a_confidential_client_gets_a_secret_that_ends_and_an_application_of_its_own() {
    let mut bench = Bench::new(&json!({"secret_lifetime": "30d"}));
    let first = bench.registered(&confidential());
    let second = bench.registered(&confidential());
    assert_ne!(first["client_id"], second["client_id"]);
    assert_ne!(first["client_secret"], second["client_secret"]);
    assert_eq!(first["client_secret_expires_at"], NOW + 30 * 86_400);
    assert_eq!(first["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(first["grant_types"], json!(["authorization_code", "refresh_token", "client_credentials"]));
    assert_eq!(first["scope"], "api://orders/Orders.Read api://orders/Orders.Read.All");
    for name in ["contacts", "software_id", "software_version", "client_uri", "tos_uri", "policy_uri"] {
        assert_eq!(first[name], confidential()[name], "{name}");
    }
    let objects = bench.directory.graph_objects();
    assert_eq!(objects["service_principals"].as_array().unwrap().len(), 2);
    // The secret is last: what comes before it may fail without leaving one.
    let steps: Vec<&str> = bench.calls[..3].iter().map(|line| line.rsplit('/').next().unwrap()).collect();
    assert_eq!(steps[1..], ["servicePrincipals", "addPassword"]);
    let secret = first["client_secret"].as_str().unwrap();
    let form = format!(
        "client_id={}&client_secret={secret}&grant_type=client_credentials&scope=api://orders/.default",
        first["client_id"].as_str().unwrap()
    );
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let now = i64::try_from(NOW).unwrap();
    assert!(bench.directory.token(LOGIN, &path, None, form.as_bytes(), now).is_ok());
    let notes = format!("{:?}", bench.notes);
    assert!(!notes.contains(secret), "{notes}");
}

#[test]
fn what_cannot_be_had_is_named_by_its_error() {
    let mut bench = Bench::new(&json!({}));
    let uris = |uris: Value| with(public(), "redirect_uris", uris);
    let long = "x".repeat(300);
    for (body, error) in [
        (uris(json!(null)), "invalid_redirect_uri"),
        (uris(json!([])), "invalid_redirect_uri"),
        (uris(json!("http://localhost")), "invalid_redirect_uri"),
        (uris(json!([1])), "invalid_redirect_uri"),
        (uris(json!(vec!["http://localhost"; 17])), "invalid_redirect_uri"),
        (uris(json!(["http://app.contoso.com/callback"])), "invalid_redirect_uri"),
        (uris(json!(["https://evil.example/callback"])), "invalid_redirect_uri"),
        (uris(json!(["https://app.contoso.com/callback#x"])), "invalid_redirect_uri"),
        (uris(json!(["https://a.contoso.com.evil.example/callback"])), "invalid_redirect_uri"),
        (uris(json!(["https://a.contoso.com@evil.example/callback"])), "invalid_redirect_uri"),
        (uris(json!(["https://*.contoso.com/callback"])), "invalid_redirect_uri"),
        (uris(json!(["http://localhost", "javascript:alert"])), "invalid_redirect_uri"),
        (uris(json!(["http://[::1]/"])), "invalid_redirect_uri"),
        (uris(json!(["other://x"])), "invalid_redirect_uri"),
        (with(confidential(), "redirect_uris", json!(["cursor://x"])), "invalid_redirect_uri"),
        (with(public(), "application_type", json!("spa")), ""),
        (with(uris(json!(["cursor://x"])), "application_type", json!("spa")), "invalid_redirect_uri"),
        (with(public(), "application_type", json!("desktop")), "invalid_client_metadata"),
        (with(confidential(), "application_type", json!("spa")), "invalid_client_metadata"),
        (with(public(), "token_endpoint_auth_method", json!("private_key_jwt")), "invalid_client_metadata"),
        (with(public(), "token_endpoint_auth_method", json!("tls_client_auth")), "invalid_client_metadata"),
        (with(public(), "token_endpoint_auth_method", json!("client_secret_jwt")), "invalid_client_metadata"),
        (with(public(), "token_endpoint_auth_method", json!("nothing")), "invalid_client_metadata"),
        (with(public(), "token_endpoint_auth_method", json!(["none"])), "invalid_client_metadata"),
        (with(public(), "grant_types", json!(["password"])), "invalid_client_metadata"),
        (with(public(), "grant_types", json!(["implicit"])), "invalid_client_metadata"),
        (with(public(), "grant_types", json!(["client_credentials"])), "invalid_client_metadata"),
        (with(public(), "grant_types", json!([])), "invalid_client_metadata"),
        (with(public(), "grant_types", json!("authorization_code")), "invalid_client_metadata"),
        (with(public(), "grant_types", json!(vec!["a"; 17])), "invalid_client_metadata"),
        (with(confidential(), "grant_types", json!(["password"])), "invalid_client_metadata"),
        (with(public(), "response_types", json!(["token"])), "invalid_client_metadata"),
        (with(public(), "response_types", json!([])), "invalid_client_metadata"),
        (with(public(), "client_name", json!(long)), "invalid_client_metadata"),
        (with(public(), "client_name", json!(7)), "invalid_client_metadata"),
        (with(public(), "client_name", json!("Micro\u{202e}tfos")), "invalid_client_metadata"),
        (with(public(), "client_name", json!("a\u{200b}b")), "invalid_client_metadata"),
        (with(public(), "client_name", json!("a\nb")), "invalid_client_metadata"),
        (with(public(), "client_uri", json!("javascript:alert(1)")), "invalid_client_metadata"),
        (with(public(), "client_uri", json!(format!("https://{long}"))), "invalid_client_metadata"),
        (with(public(), "tos_uri", json!("https://a b")), "invalid_client_metadata"),
        (with(public(), "policy_uri", json!(1)), "invalid_client_metadata"),
        (with(public(), "contacts", json!("a@b")), "invalid_client_metadata"),
        (with(public(), "contacts", json!([long])), "invalid_client_metadata"),
        (
            with(public(), "contacts", json!(["x".repeat(250), "x".repeat(250), "x".repeat(250), "x".repeat(250)])),
            "invalid_client_metadata",
        ),
        (with(public(), "software_id", json!(long)), "invalid_client_metadata"),
        (with(public(), "software_version", json!({})), "invalid_client_metadata"),
        (with(public(), "scope", json!(["a"])), "invalid_client_metadata"),
        (with(public(), "scope", json!("x ".repeat(2_000))), "invalid_client_metadata"),
        (with(with(public(), "jwks", json!({"keys": []})), "jwks_uri", json!("https://a/")), "invalid_client_metadata"),
        (with(with(public(), "jwks", json!({"keys": []})), "software_statement", json!("a.b.c")), ""),
        (with(public(), "unheard_of", json!({"deep": [1]})), ""),
        (with(public(), "logo_uri", json!("http://169.254.169.254/")), ""),
        (with(public(), "scope", json!(null)), ""),
    ] {
        let answer = bench.register(&body);
        if error.is_empty() {
            assert_eq!(answer.status, 201, "{body} {}", answer.body);
            continue;
        }
        assert_eq!((answer.status, document(&answer)["error"].as_str()), (400, Some(error)), "{body} {}", answer.body);
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        let sentence = document(&answer)["error_description"].as_str().unwrap().to_owned();
        assert!(sentence.is_ascii() && sentence.ends_with('.'), "{sentence}");
        assert!(!sentence.contains("evil") && !answer.body.contains("javascript"), "{sentence}");
    }
    for body in
        ["", "{", "[]", "null", "1", r#"{"a":1,"a":2}"#, "{\"a\":\"\u{0}\"}", "client_name=x", "{\"a\":\"\\ud800\"}"]
    {
        let answer = bench.ask_bytes("POST", "/register", Some(INITIAL), body.as_bytes());
        assert_eq!(
            (answer.status, document(&answer)["error"].as_str()),
            (400, Some("invalid_client_metadata")),
            "{body}"
        );
    }
}

#[test]
fn only_the_kinds_of_clients_that_are_wanted_register() {
    let mut bench = Bench::new(&json!({"clients": ["public"]}));
    assert_eq!(bench.register(&public()).status, 201);
    assert_eq!(document(&bench.register(&confidential()))["error"], "invalid_client_metadata");
    let mut bench = Bench::new(&json!({"clients": ["confidential"]}));
    assert_eq!(bench.register(&confidential()).status, 201);
    assert_eq!(document(&bench.register(&public()))["error"], "invalid_client_metadata");
}

#[test]
fn clients_get_the_scopes_that_they_may_have() {
    let mut bench = Bench::new(&json!({}));
    for (body, expected) in [
        (with(public(), "scope", json!(null)), Some("api://orders/Orders.Read")),
        (with(public(), "scope", json!("api://orders/Orders.Read.All")), None),
        (with(public(), "scope", json!("Orders.Read")), None),
        (
            with(public(), "scope", json!("openid  profile email offline_access openid")),
            Some("openid profile email offline_access"),
        ),
        (with(confidential(), "scope", json!("api://orders/Orders.Read.All x")), Some("api://orders/Orders.Read.All")),
        (with(confidential(), "scope", json!(null)), Some("api://orders/Orders.Read")),
    ] {
        let client = bench.registered(&body);
        assert_eq!(client.get("scope").and_then(Value::as_str), expected, "{body}");
    }
    let role = &bench.applications()[3]["requiredResourceAccess"][0]["resourceAccess"][0];
    assert_eq!(role["type"], "Role");
    let mut bench = Bench::new(&json!({"scopes": null}));
    let client = bench.registered(&public());
    assert_eq!(client["scope"], "offline_access");
    assert_eq!(bench.applications()[0]["requiredResourceAccess"], json!([]));
}

#[test]
fn who_may_register_is_who_has_an_initial_access_token() {
    let mut bench = Bench::new(&json!({}));
    for token in [INITIAL, INITIAL_NEW] {
        assert_eq!(bench.ask("POST", "/register", Some(token), &public()).status, 201);
    }
    let spoilt = format!("{INITIAL}x");
    for token in [
        "",
        "x",
        INITIAL.get(1..).unwrap(),
        &spoilt,
        &INITIAL.to_uppercase(),
        "initial-access-token-of-32-characters-1, x",
    ] {
        let answer = bench.ask("POST", "/register", Some(token), &public());
        assert_eq!(answer.status, 401, "{token}");
        assert!(header(&answer, "www-authenticate").unwrap().starts_with("Bearer realm="), "{answer:?}");
    }
    let answer = bench.ask("POST", "/register", None, &public());
    assert_eq!((answer.status, header(&answer, "www-authenticate")), (401, Some("Bearer realm=\"\"")));
    assert!(document(&answer).get("error").is_none());
    let mut open = Bench::new(&json!({"access": {"open": true}}));
    assert_eq!(open.ask("POST", "/register", None, &public()).status, 201);
}

#[test]
fn a_role_is_the_judges_business() {
    let document = json!({
        "providers": {"workforce": {"tenants": [TENANT], "audiences": ["api://orders"], "upstream": {"cluster": "entra"}}},
        "registration": registration(&json!({
            "access": {"app_roles": {"provider": "workforce", "roles": ["Clients.Register"]}, "initial_access_tokens_env": "INITIAL"},
        })),
    });
    let policy = compiled(&document).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let settings = policy.registration.as_ref().unwrap();
    assert_eq!(admit(&Purpose::Register, Some(b"Bearer x.y.z"), settings), Admission::Judge);
    assert_eq!(admit(&Purpose::Register, None, settings), Admission::Judge);
    let good = format!("bearer  {INITIAL}");
    assert_eq!(admit(&Purpose::Register, Some(good.as_bytes()), settings), Admission::Admitted(None));
    assert!(!policy.rules.is_empty(), "the path has a rule");
}

#[test]
fn only_the_exact_path_is_the_bridges() {
    let policy = policy(&json!({"path": "/oauth/register"}));
    let settings = policy.registration.as_ref().unwrap();
    for (method, target, is_ours) in [
        ("POST", "/oauth/register", true),
        ("POST", "/oauth/register?x=y", true),
        ("GET", "/oauth/register", true),
        ("POST", "/oauth/register/", true),
        ("POST", "/oauth/registers", false),
        ("POST", "/oauth//register", false),
        ("POST", "/oauth/./register", false),
        ("POST", "/oauth/Register", false),
        ("POST", "/oauth/%72egister", false),
        ("POST", "/register", false),
        ("POST", "", false),
    ] {
        assert_eq!(Purpose::of(method, target, settings).is_some(), is_ours, "{method} {target}");
    }
    let client = "/oauth/register/9188040d-6c67-4c5b-b112-36a304b66dad";
    for (method, target, expected) in [
        ("GET", "/oauth/register".to_owned(), "NoSuchMethod"),
        ("OPTIONS", "/oauth/register".to_owned(), "Preflight"),
        ("OPTIONS", client.to_owned(), "Preflight"),
        ("PATCH", client.to_owned(), "NoSuchMethod"),
        ("GET", client.to_owned(), "Read"),
        ("PUT", client.to_owned(), "Update"),
        ("DELETE", client.to_owned(), "Delete"),
        ("POST", client.to_owned(), "NoSuchMethod"),
        ("POST", format!("{client}/new-secret"), "RotateSecret"),
        ("GET", format!("{client}/new-secret"), "NoSuchMethod"),
        ("POST", format!("{client}/other"), "Nothing"),
        ("GET", format!("{client}/"), "Nothing"),
        ("GET", "/oauth/register/x".to_owned(), "Nothing"),
        ("GET", "/oauth/register/..%2f".to_owned(), "Nothing"),
        ("GET", "/oauth/register/".to_owned(), "Nothing"),
    ] {
        let purpose = format!("{:?}", Purpose::of(method, &target, settings).unwrap());
        assert!(purpose.starts_with(expected), "{method} {target}: {purpose}");
    }
}

#[test]
fn what_is_not_opened_is_not_there() {
    let mut bench = Bench::new(&json!({"allow": null}));
    let client = bench.registered(&confidential());
    let (path, token) =
        (format!("/register/{}", client["client_id"].as_str().unwrap()), client["registration_access_token"].as_str());
    assert_eq!(bench.ask("GET", &path, token, &json!({})).status, 200);
    for method in ["PUT", "DELETE", "POST"] {
        let answer = bench.ask(method, &path, token, &confidential());
        assert_eq!((answer.status, header(&answer, "allow")), (405, Some("GET")), "{method}");
    }
    assert_eq!(bench.ask("POST", &format!("{path}/new-secret"), token, &json!({})).status, 404);
    let mut bench = Bench::new(&json!({"allow": null, "management_key_env": null}));
    let client = bench.registered(&confidential());
    assert!(client.get("registration_access_token").is_none() && client.get("registration_client_uri").is_none());
    assert_eq!(bench.ask("GET", &path, token, &json!({})).status, 404);
    let answer = bench.ask("OPTIONS", "/register", None, &json!({}));
    assert_eq!(answer.status, 404, "preflights are the shell's");
}

struct Managed {
    bench: Bench,
    client: Value,
    path: String,
    token: String,
}

fn managed(changes: &Value) -> Managed {
    let mut bench = Bench::new(changes);
    let client = bench.registered(&confidential());
    let path = format!("/register/{}", client["client_id"].as_str().unwrap());
    let token = client["registration_access_token"].as_str().unwrap().to_owned();
    Managed { bench, client, path, token }
}

#[test]
fn a_client_reads_itself_without_its_secret() {
    let Managed { mut bench, client, path, token } = managed(&json!({}));
    let answer = bench.ask("GET", &path, Some(&token), &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut expected = client.clone();
    expected.as_object_mut().unwrap().retain(|name, _| !name.starts_with("client_secret"));
    assert_eq!(document(&answer), expected);
}

#[test]
fn a_client_replaces_itself_whole() {
    let Managed { mut bench, client, path, token } = managed(&json!({}));
    let update = json!({
        "client_id": client["client_id"],
        "client_name": "New",
        "redirect_uris": ["https://new.contoso.com/callback"],
        "token_endpoint_auth_method": "client_secret_post",
    });
    let answer = bench.ask("PUT", &path, Some(&token), &update);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = document(&answer);
    assert_eq!(told["client_name"], "dcr: New");
    assert_eq!(told["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(told["client_id_issued_at"], client["client_id_issued_at"]);
    for name in ["contacts", "software_id", "client_uri", "tos_uri", "client_secret"] {
        assert!(told.get(name).is_none(), "{name} {told}");
    }
    let read = bench.ask("GET", &path, Some(&token), &json!({}));
    assert_eq!(document(&read), told);
    for (name, value) in [
        ("client_id", json!(null)),
        ("client_id", json!("9188040d-6c67-4c5b-b112-36a304b66dad")),
        ("registration_access_token", json!("x")),
        ("registration_client_uri", json!("x")),
        ("client_secret_expires_at", json!(0)),
        ("client_id_issued_at", json!(0)),
        ("token_endpoint_auth_method", json!("none")),
        ("redirect_uris", json!(["https://evil.example/callback"])),
    ] {
        let refused = bench.ask("PUT", &path, Some(&token), &with(update.clone(), name, value));
        assert_eq!(refused.status, 400, "{name} {}", refused.body);
    }
}

#[test]
fn a_client_deletes_itself_once() {
    let Managed { mut bench, path, token, .. } = managed(&json!({}));
    let answer = bench.ask("DELETE", &path, Some(&token), &json!({}));
    assert_eq!((answer.status, answer.body.as_str(), header(&answer, "cache-control")), (204, "", Some("no-store")));
    assert!(bench.applications().is_empty());
    // While it is young, a replica may not know it yet: that is found out within the budget.
    bench.now += 200_000;
    for method in ["GET", "DELETE", "PUT"] {
        let body = with(confidential(), "client_id", json!(path.rsplit('/').next().unwrap()));
        assert_eq!(bench.ask(method, &path, Some(&token), &body).status, 401, "{method}");
    }
}

#[test]
fn a_rotation_leaves_the_secret_before_and_no_older_one() {
    let Managed { mut bench, client, path, token } = managed(&json!({}));
    let mut secrets = BTreeSet::from([client["client_secret"].as_str().unwrap().to_owned()]);
    for round in 0..4 {
        bench.now += 3_600_000;
        let answer = bench.ask("POST", &format!("{path}/new-secret"), Some(&token), &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let told = document(&answer);
        assert!(secrets.insert(told["client_secret"].as_str().unwrap().to_owned()));
        assert!(
            told["client_secret_expires_at"].as_u64().unwrap() > client["client_secret_expires_at"].as_u64().unwrap()
        );
        assert_eq!(bench.applications()[0]["passwordCredentials"].as_array().unwrap().len(), 2, "{round}");
    }
    assert_eq!(bench.outcomes().last(), Some(&"secret_rotated"));
}

#[test]
fn a_registration_access_token_is_for_its_client_its_gateway_and_its_key() {
    let Managed { mut bench, path, token, .. } = managed(&json!({}));
    let other = bench.registered(&confidential());
    let other_path = format!("/register/{}", other["client_id"].as_str().unwrap());
    let mut refused = |path: &str, token: &str| {
        let answer = bench.ask("GET", path, Some(token), &json!({}));
        assert_eq!(answer.status, 401, "{path} {token}");
        assert!(header(&answer, "www-authenticate").unwrap().contains("error=\"invalid_token\""));
    };
    refused(&other_path, &token);
    refused(&path, INITIAL);
    refused(&path, token.get(1..).unwrap());
    refused(&path, &format!("{token}A"));
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        refused(&path, &String::from_utf8(bytes).unwrap());
    }
    // The key is replaced with overlap, then gone.
    let both = policy(&json!({"management_key_env": "KEYS"}));
    let purpose = Purpose::of("GET", &path, both.registration.as_ref().unwrap()).unwrap();
    let bearer = format!("Bearer {token}");
    let admitted = |policy: &Policy| {
        matches!(
            admit(&purpose, Some(bearer.as_bytes()), policy.registration.as_ref().unwrap()),
            Admission::Admitted(_)
        )
    };
    assert!(admitted(&both));
    assert!(!admitted(&policy(&json!({"management_key_env": "NEW_KEY"}))));
    assert!(!admitted(&policy(&json!({"client_id": "cccccccc-0000-4000-8000-000000000004"}))));
    bench.policy = both;
    let renewed = document(&bench.ask("GET", &path, Some(&token), &json!({})));
    bench.policy = policy(&json!({"management_key_env": "NEW_KEY"}));
    let renewed = renewed["registration_access_token"].as_str().unwrap();
    assert_eq!(bench.ask("GET", &path, Some(renewed), &json!({})).status, 200);
}

#[test]
fn a_shared_client_is_nobodys_to_change() {
    let mut bench = Bench::new(&json!({}));
    let client = bench.registered(&public());
    let (path, token) =
        (format!("/register/{}", client["client_id"].as_str().unwrap()), client["registration_access_token"].as_str());
    assert_eq!(bench.ask("GET", &path, token, &json!({})).status, 200);
    for (method, path) in [("PUT", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/new-secret"))] {
        let answer = bench.ask(method, &path, token, &public());
        assert_eq!(answer.status, 403, "{method}");
        assert!(header(&answer, "www-authenticate").unwrap().contains("insufficient_scope"));
    }
    assert_eq!(bench.applications().len(), 1);
}

#[test]
fn what_graph_refuses_is_told_in_words_of_ours_and_leaves_nothing() {
    for (knobs, body, status, error, outcome) in [
        (json!({"quota": 0}), confidential(), 503, "temporarily_unavailable", "quota_exceeded"),
        (json!({"quota": 0}), public(), 503, "temporarily_unavailable", "quota_exceeded"),
        (json!({"max_secret_days": 90}), confidential(), 400, "invalid_client_metadata", "policy_refused"),
        (json!({"no_secrets": true}), confidential(), 400, "invalid_client_metadata", "policy_refused"),
        (json!({"no_permission": true}), public(), 503, "server_error", "graph_refused"),
        (json!({"no_permission": true}), confidential(), 503, "server_error", "graph_refused"),
    ] {
        let mut bench = Bench::new(&json!({}));
        bench.turn(knobs.clone());
        let answer = bench.register(&body);
        let told = document(&answer);
        assert_eq!((answer.status, told["error"].as_str()), (status, Some(error)), "{knobs} {}", answer.body);
        assert_eq!(header(&answer, "retry-after").is_some(), status == 503, "{knobs}");
        assert_eq!(told["reason"], outcome);
        assert_eq!(bench.outcomes()[0], outcome);
        assert!(told["correlation_id"].as_str().unwrap().len() == 36);
        for word in ["quota limit", "Directory_", "policy '", "privileges", "assigned", "request-id"] {
            assert!(!answer.body.contains(word), "{word}: {}", answer.body);
        }
        assert!(bench.applications().is_empty(), "{knobs}");
    }
    let mut bench = Bench::new(&json!({}));
    bench.turn(json!({"max_secret_days": 200}));
    assert_eq!(bench.register(&confidential()).status, 201, "180 days are less than 200");
}

#[test]
fn replication_is_waited_for_and_not_for_ever() {
    for (misses, status) in [(0, 201), (1, 201), (3, 201), (5, 201), (500, 503)] {
        let mut bench = Bench::new(&json!({}));
        bench.turn(json!({"replication": misses, "purge": true}));
        let answer = bench.register(&confidential());
        assert_eq!(answer.status, status, "{misses}: {}", answer.body);
        if status == 503 {
            assert_eq!(header(&answer, "retry-after"), Some("10"));
            // It could not be taken back either: that is said.
            assert_eq!(bench.outcomes(), ["graph_failed", "orphaned"]);
            let half = bench.applications()[0]["id"].as_str().unwrap().to_owned();
            assert!(bench.notes[1].detail.contains(&half), "{:?}", bench.notes);
        } else {
            assert_eq!(bench.applications().len(), 1);
        }
        let mut bench = Bench::new(&json!({}));
        bench.turn(json!({"replication": misses}));
        assert_eq!(bench.register(&public()).status, 201, "one write needs no replica");
    }
}

/// Every call of every chain, with everything that may befall it: an answer in time, no half-made client, no secret that
/// nobody has without a word.
#[test]
fn whatever_befalls_a_call_the_client_hears_and_nothing_is_left_unsaid() {
    let mishaps = [
        Mishap::AnswerLost,
        Mishap::NotSent,
        Mishap::After(500),
        Mishap::After(502),
        Mishap::After(504),
        Mishap::Instead(429, Some(2)),
        Mishap::Instead(429, Some(3_600)),
        Mishap::Instead(429, None),
        Mishap::Instead(400, None),
        Mishap::Instead(401, None),
        Mishap::Instead(403, None),
        Mishap::Instead(404, None),
        Mishap::Instead(409, None),
        Mishap::Instead(418, None),
        Mishap::Instead(500, None),
        Mishap::Instead(503, None),
        Mishap::Instead(503, Some(5)),
        Mishap::Instead(200, None),
        Mishap::Instead(302, None),
    ];
    let mut tried = 0;
    for body in [public(), confidential()] {
        for place in ["PATCH", "GET", "servicePrincipals", "addPassword", "DELETE /v1.0/applications"] {
            for mishap in mishaps {
                for times in [1, 2, 1_000] {
                    // So that the place is reached at all.
                    let mut bench = Bench::new(&json!({}));
                    bench.mishaps.push((place, mishap, times));
                    if place == "GET" {
                        bench.mishaps.push(("PATCH", Mishap::AnswerLost, 1));
                    }
                    if place.starts_with("DELETE") {
                        bench.mishaps.push(("addPassword", Mishap::AnswerLost, 1));
                    }
                    let answer = bench.register(&body);
                    let what =
                        format!("{place} {mishap:?} {times}: {} {:?} {:?}", answer.body, bench.calls, bench.notes);
                    tried += 1;
                    assert!([201, 400, 503].contains(&answer.status), "{what}");
                    assert!(!answer.body.contains("secret words"), "{what}");
                    assert_eq!(answer.status == 503, header(&answer, "retry-after").is_some(), "{what}");
                    assert!(bench.calls.len() < 60, "{what}");
                    let orphaned = bench.notes.iter().any(|note| note.outcome == Outcome::Orphaned);
                    let left = bench.applications().len();
                    let shared = body == public();
                    match answer.status {
                        201 => {
                            assert_eq!(left, 1, "{what}");
                            let secrets = bench.applications()[0]["passwordCredentials"].as_array().unwrap().len();
                            assert_eq!(secrets, usize::from(!shared), "{what}");
                        }
                        // A shared one is found by the next who asks.
                        _ => assert!(left == 0 || shared || orphaned, "{what}"),
                    }
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn whatever_befalls_a_managed_client_is_told() {
    let mishaps = [
        (Mishap::AnswerLost, 1_000),
        (Mishap::AnswerLost, 1),
        (Mishap::NotSent, 1),
        (Mishap::NotSent, 1_000),
        (Mishap::After(500), 1),
        (Mishap::Instead(429, Some(1)), 1),
        (Mishap::Instead(429, Some(600)), 1),
        (Mishap::Instead(403, None), 1),
        (Mishap::Instead(404, None), 1),
        (Mishap::Instead(404, None), 1_000),
        (Mishap::Instead(500, None), 1_000),
        (Mishap::Instead(200, None), 1),
    ];
    for (method, below) in [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/new-secret")] {
        for place in ["GET", "PATCH", "DELETE", "addPassword", "removePassword"] {
            for (mishap, times) in mishaps {
                let Managed { mut bench, client, path, token } = managed(&json!({}));
                bench.now += 200_000;
                let target = format!("{path}/new-secret");
                assert_eq!(bench.ask("POST", &target, Some(&token), &json!({})).status, 200);
                bench.mishaps.push((place, mishap, times));
                bench.notes.clear();
                let body = with(confidential(), "client_id", client["client_id"].clone());
                let answer = bench.ask(method, &format!("{path}{below}"), Some(&token), &body);
                let what =
                    format!("{method} {place} {mishap:?} {times}: {} {:?} {:?}", answer.body, bench.calls, bench.notes);
                assert!([200, 204, 400, 401, 503].contains(&answer.status), "{what}");
                assert!(!answer.body.contains("secret words"), "{what}");
                if method != "DELETE" {
                    let applications = bench.applications();
                    assert_eq!(applications.len(), 1, "{what}");
                    let secrets = applications[0]["passwordCredentials"].as_array().unwrap().len();
                    assert!(secrets <= 2 || bench.outcomes().contains(&"orphaned"), "{secrets} {what}");
                    assert!(answer.status == 200 || !below.is_empty() || secrets == 2, "{what}");
                } else if answer.status == 204 {
                    assert!(bench.applications().is_empty() || mishap == Mishap::Instead(404, None), "{what}");
                }
            }
        }
    }
}

#[test]
fn an_answer_that_nobody_hears_says_what_was_for_them_alone() {
    let mut bench = Bench::new(&json!({}));
    let order = |bench: &Bench, body: &Value| {
        chain::order(&Purpose::Register, None, body.to_string().as_bytes(), bench.settings())
            .unwrap_or_else(|_| panic!())
    };
    let public_order = order(&bench, &public());
    assert_eq!(bench.run(public_order).if_unheard, Unclaimed::Nothing);
    let confidential_order = order(&bench, &confidential());
    let end = bench.run(confidential_order);
    let Unclaimed::Client(made) = end.if_unheard else { panic!() };
    bench.turn(json!({"purge": true}));
    assert!(bench.run(Order::Undo(made)).answer.is_none());
    assert_eq!(bench.outcomes().last(), Some(&"undone"));
    let objects = bench.directory.graph_objects();
    assert_eq!((objects["applications"].as_array().unwrap().len(), &objects["deleted"]), (1, &json!([])));
}

#[test]
fn a_graph_token_that_was_revoked_is_replaced_once() {
    let mut bench = Bench::new(&json!({}));
    bench.turn(json!({"revoke_tokens": true}));
    assert_eq!(bench.register(&public()).status, 201);
    assert_eq!(bench.calls.len(), 2);
}

#[test]
fn the_token_for_graph_is_asked_for_once_and_replaced_before_it_ends() {
    let policy = policy(&json!({}));
    let settings = policy.registration.as_ref().unwrap();
    let read = |lifetime: Value, now| {
        GraphToken::read(200, json!({"access_token": "t", "expires_in": lifetime}).to_string().as_bytes(), now)
    };
    let mut login = Login::default();
    assert!(!login.ask(settings, false, 0), "nobody wants one");
    assert!(login.ask(settings, true, 1_000));
    assert!(!login.ask(settings, true, 1_001), "it is asked for already");
    assert!(matches!(login.standing(1_001), Standing::Wait));
    assert!(login.ask(settings, true, 12_001), "the answer never came");
    login.take(read(json!(3_599), 13_000), 13_000);
    assert!(matches!(login.standing(13_000), Standing::Token("t")));
    let end = 13_000 + 3_599_000;
    assert!(!login.ask(settings, true, end - 300_001));
    assert!(login.ask(settings, true, end - 300_000));
    assert!(matches!(login.standing(end - 299_000), Standing::Token("t")), "the old one is good meanwhile");
    login.take(Err(LoginFault::NoAnswer), end - 299_000);
    assert!(matches!(login.standing(end - 298_000), Standing::Token("t")));
    assert!(!login.ask(settings, true, end - 298_000), "not at once again");
    assert!(login.ask(settings, true, end - 297_000));
    assert!(matches!(login.standing(end - 30_000), Standing::Wait));
    login.take(Err(LoginFault::Refused(401, Some(7_000_215))), end);
    assert!(matches!(login.standing(end), Standing::Fault(LoginFault::Refused(401, Some(7_000_215)))));
    login.take(read(json!("3599"), end), end);
    assert!(matches!(login.standing(end), Standing::Token("t")));
    login.reject("other");
    assert!(matches!(login.standing(end), Standing::Token("t")));
    login.reject("t");
    assert!(matches!(login.standing(end), Standing::Wait));
    for body in [
        "",
        "{}",
        r#"{"access_token":""}"#,
        r#"{"access_token":"a b","expires_in":1}"#,
        r#"{"access_token":"t"}"#,
        r#"{"access_token":"a\r\nb","expires_in":1}"#,
        r#"{"access_token":1,"expires_in":1}"#,
    ] {
        assert_eq!(GraphToken::read(200, body.as_bytes(), 0).err(), Some(LoginFault::Answer), "{body}");
    }
    let refused = GraphToken::read(401, br#"{"error":"invalid_client","error_codes":[7000215]}"#, 0).err();
    assert_eq!(refused, Some(LoginFault::Refused(401, Some(7_000_215))));
}

#[test]
fn a_certificate_logs_in_as_a_secret_does() {
    let mut bench = Bench::new(&by_certificate(CERTIFICATE));
    bench.registered(&confidential());
    let now = i64::try_from(NOW).unwrap();
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let form = |id, sign: fn(&SigningCertificate, &[u8]) -> Option<Vec<u8>>| {
        login::form(bench.settings(), NOW * 1_000, id, sign)
    };
    let good = form([1, 2], sign).unwrap();
    let assertion = good.split("&client_assertion=").nth(1).unwrap().split('&').next().unwrap();
    let segments: Vec<Vec<u8>> = assertion.split('.').map(|segment| URL_SAFE_NO_PAD.decode(segment).unwrap()).collect();
    let header: Value = serde_json::from_slice(&segments[0]).unwrap();
    let claims: Value = serde_json::from_slice(&segments[1]).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
    assert_eq!(
        claims,
        json!({
            "aud": format!("https://{LOGIN}{path}"),
            "iss": BRIDGE,
            "sub": BRIDGE,
            "jti": "00000000000000010000000000000002",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 300,
        })
    );
    let mut directory = Directory::new();
    let mut ask = |form: &str, now| directory.token(LOGIN, &path, None, form.as_bytes(), now).map_err(|it| it.code);
    assert!(ask(&good, now).is_ok());
    assert_eq!(ask(&good, now), Err(50_027), "once");
    assert_eq!(ask(&form([3, 4], sign).unwrap(), now + 601), Err(700_024));
    let corrupt = |certificate: &SigningCertificate, text: &[u8]| {
        let mut signature = sign(certificate, text)?;
        signature[100] ^= 1;
        Some(signature)
    };
    assert_eq!(ask(&form([5, 6], corrupt).unwrap(), now), Err(700_027));
    let other = policy(&by_certificate(OTHER_CERTIFICATE));
    let other = login::form(other.registration.as_ref().unwrap(), NOW * 1_000, [7, 8], sign).unwrap();
    assert_eq!(ask(&other, now), Err(700_027));
    // A host that cannot.
    assert_eq!(form([9, 9], |_, _| None), Err(LoginFault::NotSigned));
}

#[test]
fn a_private_key_must_be_the_certificates() {
    for (certificate, fits) in [(CERTIFICATE, true), (OTHER_CERTIFICATE, false)] {
        let policy = policy(&by_certificate(certificate));
        let credential = &policy.registration.as_ref().unwrap().credential;
        let Credential::Certificate(certificate) = credential else { panic!("no certificate") };
        assert_eq!(certificate.signs(sign, &Software), fits);
        assert!(!certificate.signs(|_, _| None, &Software));
    }
}

#[test]
fn workers_share_the_token_sealed() {
    let policy_of = |changes: Value| policy(&changes);
    let one = policy_of(json!({}));
    let settings = one.registration.as_ref().unwrap();
    let token = GraphToken { text: "secret-token".into(), refresh_at: 5, expires_at: 7 };
    let sealed = seal::seal(&token, settings, [9; 12]).unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    let opened = seal::open(&sealed, settings).unwrap();
    assert_eq!((opened.text.as_str(), opened.refresh_at, opened.expires_at), ("secret-token", 5, 7));
    for at in 0..sealed.len() {
        let mut other = sealed.clone();
        other[at] ^= 1;
        assert!(seal::open(&other, settings).is_none(), "{at}");
        assert!(seal::open(&sealed[..at], settings).is_none(), "{at}");
    }
    for other in [json!({"client_id": "cccccccc-0000-4000-8000-000000000004"}), by_certificate(CERTIFICATE)] {
        let other = policy_of(other);
        let settings = other.registration.as_ref().unwrap();
        assert!(seal::open(&sealed, settings).is_none());
        let own = seal::seal(&token, settings, [9; 12]).unwrap();
        assert_eq!(seal::open(&own, settings).unwrap().text, "secret-token");
    }
}

#[test]
fn a_refusal_that_needs_no_graph_is_told_by_its_status() {
    for (refusal, status, outcome) in [
        (Refusal::BodyTooLarge, 413, "invalid"),
        (Refusal::BodyMissing, 408, "invalid"),
        (Refusal::Rate(7), 429, "rate_limited"),
        (Refusal::Throttled(9), 503, "throttled"),
        (Refusal::LoginFailed, 503, "login_failed"),
        (Refusal::NotFound, 404, "invalid"),
        (Refusal::Method("GET".into()), 405, "invalid"),
    ] {
        let answer = refusal.answer("orders", None);
        assert_eq!((answer.status, document(&answer)["reason"].as_str()), (status, Some(outcome)), "{refusal:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), Some("*"));
    }
    assert_eq!(header(&Refusal::Rate(7).answer("", None), "retry-after"), Some("7"));
    let codes: BTreeSet<&str> = Outcome::ALL.iter().map(|outcome| outcome.code()).collect();
    assert_eq!(codes.len(), Outcome::ALL.len());
}

#[test]
fn every_mistake_in_the_configuration_is_told_with_its_path() {
    for (changes, path) in [
        (json!({"tenant": null}), "registration.tenant: found nothing"),
        (json!({"tenant": "contoso"}), "registration.tenant: found \"contoso\""),
        (json!({"client_id": "x"}), "registration.client_id"),
        (json!({"client_secret_env": null}), "registration.client_secret_env: found nothing"),
        (
            json!({"client_certificate": {"certificate": CERTIFICATE, "private_key_env": "CLIENT_KEY"}}),
            "registration.client_secret_env: found this member beside client_certificate",
        ),
        (by_certificate("x"), "registration.client_certificate.certificate: found no certificate"),
        (by_certificate(PRIVATE_KEY), "registration.client_certificate.certificate: found no certificate"),
        (
            json!({"client_secret_env": null, "client_certificate": {"certificate": CERTIFICATE}}),
            "registration.client_certificate.private_key_env: found nothing",
        ),
        (
            json!({"client_secret_env": null, "client_certificate": {"private_key_env": "CLIENT_KEY"}}),
            "registration.client_certificate.certificate: found nothing",
        ),
        (
            json!({
                "client_secret_env": null,
                "client_certificate": {"certificate": CERTIFICATE, "private_key_env": "SHORT"},
            }),
            "registration.client_certificate.private_key_env: found SHORT, which holds no usable private key",
        ),
        (json!({"client_secret_env": "NOT_SET"}), "registration.client_secret_env: found NOT_SET, which is not set"),
        (json!({"client_secret_env": "my-secret~value"}), "registration.client_secret_env: found no name"),
        (json!({"upstreams": {"login": {"cluster": "a"}}}), "registration.upstreams.graph: found nothing"),
        (json!({"upstreams": {"graph": {"cluster": "a"}}}), "registration.upstreams.login: found nothing"),
        (
            json!({"upstreams": {"login": {"cluster": ""}, "graph": {"cluster": "a"}}}),
            "registration.upstreams.login.cluster",
        ),
        (
            json!({"upstreams": {"login": {"cluster": "a", "timeout": "0s"}, "graph": {"cluster": "a"}}}),
            "registration.upstreams.login.timeout",
        ),
        (json!({"access": null}), "registration.access: found nothing"),
        (json!({"access": {}}), "registration.access: found nobody who may register"),
        (json!({"access": {"open": false}}), "registration.access.open: found false"),
        (
            json!({"access": {"open": true, "initial_access_tokens_env": "INITIAL"}}),
            "registration.access.open: found `open` beside",
        ),
        (
            json!({"access": {"initial_access_tokens_env": "SHORT"}}),
            "registration.access.initial_access_tokens_env: found SHORT",
        ),
        (json!({"access": {"initial_access_tokens_env": "NOT_SET"}}), "registration.access.initial_access_tokens_env"),
        (json!({"access": {"app_roles": {"provider": "x", "roles": ["a"]}}}), "registration.access.app_roles.provider"),
        (
            json!({"access": {"app_roles": {"provider": "x", "roles": []}}}),
            "registration.access.app_roles.roles: found an empty list",
        ),
        (json!({"redirect_uris": []}), "registration.redirect_uris: found an empty list"),
        (json!({"redirect_uris": ["https://*"]}), "registration.redirect_uris[0]"),
        (json!({"redirect_uris": ["http://localhost", "https://*.com"]}), "registration.redirect_uris[1]"),
        (json!({"redirect_uris": ["http://app.contoso.com"]}), "registration.redirect_uris[0]"),
        (json!({"scopes": {}}), "registration.scopes: found an empty object"),
        (json!({"scopes": {"a": {"resource": ORDERS}}}), "registration.scopes.a.id: found nothing"),
        (json!({"scopes": {"a": {"resource": "x", "id": ORDERS}}}), "registration.scopes.a.resource"),
        (json!({"scopes": {"a": {"resource": ORDERS, "id": ORDERS, "type": "user"}}}), "registration.scopes.a.type"),
        (json!({"scopes": {"a b": {"resource": ORDERS, "id": ORDERS}}}), "registration.scopes[\"a b\"]"),
        (json!({"clients": []}), "registration.clients: found an empty list"),
        (json!({"clients": ["private"]}), "registration.clients[0]"),
        (json!({"secret_lifetime": "0s"}), "registration.secret_lifetime"),
        (json!({"secret_lifetime": "10y"}), "registration.secret_lifetime"),
        (json!({"display_name_prefix": "x".repeat(65)}), "registration.display_name_prefix"),
        (json!({"allow": {"write": true}}), "registration.allow.write: found an unknown member"),
        (json!({"allow": {"read": "yes"}}), "registration.allow.read"),
        (json!({"management_key_env": null}), "registration.management_key_env: found nothing"),
        (json!({"management_key_env": "SHORT"}), "registration.management_key_env: found SHORT"),
        (json!({"path": "register"}), "registration.path"),
        (json!({"path": "/register/"}), "registration.path"),
        (json!({"path": "/"}), "registration.path"),
        (json!({"path": "/a/../b"}), "registration.path"),
        (json!({"path": "/a?b"}), "registration.path"),
        (json!({"cloud": "mars"}), "registration.cloud"),
        (json!({"login_url": "http://login"}), "registration.login_url"),
        (json!({"graph_url": "https://graph.microsoft.com/v1.0"}), "registration.graph_url"),
        (json!({"public_url": "https://api.example.com/x"}), "registration.public_url"),
        (json!({"rate_limit": {"requests": 0}}), "registration.rate_limit.requests"),
        (json!({"rate_limit": {"interval": "1ms"}}), "registration.rate_limit.interval"),
        (json!({"budget": "1h"}), "registration.budget"),
        (
            json!({"client_secret": "x"}),
            "registration.client_secret: found an unknown member, expected `client_secret_env`",
        ),
    ] {
        let mistakes =
            compiled(&json!({"registration": registration(&changes)})).err().unwrap_or_else(|| panic!("{changes}"));
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(path)), "{path}\n{mistakes:#?}");
        let all = mistakes.join("\n");
        assert!(!all.contains("worthless") && !all.contains("my-secret") && !all.contains("short,"), "{all}");
    }
    let mistakes = compiled(&json!({"rules": [{"match": {"path": "x"}, "allow": "anonymous"}]})).err().unwrap();
    assert!(mistakes.iter().any(|mistake| mistake.starts_with("providers: found nothing")), "{mistakes:?}");
    assert!(mistakes.iter().any(|mistake| mistake.starts_with("rules[0].match.path")), "{mistakes:?}");
}

#[test]
fn national_clouds_have_their_own_hosts() {
    for (changes, login, graph) in [
        (json!({}), "https://login.microsoftonline.com", "https://graph.microsoft.com"),
        (json!({"cloud": "us_government"}), "https://login.microsoftonline.us", "https://graph.microsoft.us"),
        (
            json!({"cloud": "china"}),
            "https://login.partner.microsoftonline.cn",
            "https://microsoftgraph.chinacloudapi.cn",
        ),
        (
            json!({"cloud": "us_government", "graph_url": "https://dod-graph.microsoft.us/"}),
            "https://login.microsoftonline.us",
            "https://dod-graph.microsoft.us",
        ),
        (
            json!({"login_url": "https://login.example:8443"}),
            "https://login.example:8443",
            "https://graph.microsoft.com",
        ),
    ] {
        let policy = policy(&changes);
        let settings = policy.registration.as_ref().unwrap();
        assert_eq!(settings.login.address.to_string(), format!("{login}/{TENANT}/oauth2/v2.0/token"));
        assert_eq!(settings.graph.address.to_string(), format!("{graph}/v1.0"));
        assert_eq!(settings.graph_scope, format!("{graph}/.default"));
    }
}
