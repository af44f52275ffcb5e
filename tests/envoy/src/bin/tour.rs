//! The tour: requests through the gate, what was promised, and what came back.
//!
//! Starts Envoy with the docker compose example's configuration, a mock of Entra ID, the revocation service and an upstream
//! on this machine; or walks through those that run already, where `TOUR_ENVOY_URL`, `TOUR_MOCK_URL`,
//! `TOUR_REVOCATIONS_URL` and `TOUR_UPSTREAM_URL` say.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use clap::builder::{FalseyValueParser, ValueParser};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use envoy_tests::envoy::wasm;
use envoy_tests::example::{COMPOSE, compose_environment, documents, in_place, with_wasm};
use envoy_tests::patience::until;
use envoy_tests::revocations::{BOOTSTRAP_KEY, Revocations, Service, command};
use envoy_tests::token::{CONTOSO, FABRIKAM};
use envoy_tests::world::Surroundings;
use envoy_tests::{Answer, Entra, Envoy, Origin, Release, Request, Upstream, World};
use serde_json::{Value, json};
use tokio::signal::ctrl_c;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The user whose story it is (`oid`).
const USER: &str = "5a2f0c1e-7d44-4b0e-9c55-0d3b1f6e8a90";

/// Shows what the gate lets pass and what not, with real Envoy and a mock of Entra ID.
#[derive(Parser)]
struct Arguments {
    /// Ends after the tour; fails if any answer was not the promised one.
    #[arg(long, env = "ONCE", value_parser = FalseyValueParser::new())]
    once: bool,
    /// An Envoy that runs already, with the configuration of envoy/compose/envoy.yaml.
    #[arg(long, env = "TOUR_ENVOY_URL", value_parser = url(), requires_all = ["mock", "revocations", "upstream"])]
    envoy: Option<Origin>,
    /// Its mock of Entra ID.
    #[arg(long, env = "TOUR_MOCK_URL", value_parser = url())]
    mock: Option<Origin>,
    /// Its revocation service.
    #[arg(long, env = "TOUR_REVOCATIONS_URL", value_parser = url())]
    revocations: Option<Origin>,
    /// Its upstream.
    #[arg(long, env = "TOUR_UPSTREAM_URL", value_parser = url())]
    upstream: Option<Origin>,
    /// Its administration, for the counters at the end.
    #[arg(long, env = "TOUR_ADMIN_URL", value_parser = url())]
    admin: Option<Origin>,
}

fn url() -> ValueParser {
    ValueParser::new(|text: &str| Origin::of_url(text).ok_or("not of the form http://host:port"))
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let Arguments { envoy, mock, revocations, upstream, admin, .. } = arguments;
    let (place, _running) = match (envoy, mock, revocations, upstream) {
        (Some(gate), Some(mock), Some(revocations), Some(upstream)) => {
            let (entra, revocations, upstream) =
                (Entra::at(mock), Revocations::at(revocations), Upstream::at(upstream));
            (Place { gate, admin, entra, revocations, upstream }, None)
        }
        _ => start().await?,
    };
    let kept = tour(&place).await?;
    if arguments.once {
        return Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    println!("By hand, until Ctrl-C:\n");
    println!("  curl -i {}", place.gate.url("/orders"));
    let token = place.entra.mint(json!({"claims": {"oid": USER}})).await;
    println!("  curl -i -H 'Authorization: Bearer {token}' {}", place.gate.url("/orders"));
    println!("  curl -s -d '{{\"expires_in\":-600}}' {}", place.entra.origin().url("/_mock/token"));
    println!("  curl -s -H 'Authorization: Bearer {}' -d '{}' {}", initial(), client(), place.gate.url("/register"));
    println!("  export ENTRA_GATE_REVOCATIONS_URL={}", place.revocations.origin().url(""));
    println!("  export ENTRA_GATE_REVOCATIONS_TOKEN={BOOTSTRAP_KEY}");
    println!("  {} revocations revoke --tenant {CONTOSO} --user {USER} --reason 'by hand'", command().display());
    ctrl_c().await?;
    Ok(ExitCode::SUCCESS)
}

/// Where the tour takes place.
struct Place {
    gate: Origin,
    admin: Option<Origin>,
    entra: Entra,
    revocations: Revocations,
    upstream: Upstream,
}

/// What stops when it is dropped.
type Running = (World, Service);

async fn start() -> Result<(Place, Option<Running>), Box<dyn Error>> {
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], free(port)));
    let surroundings = Surroundings::start_on(at(9100), at(9101)).await;
    let bootstrap = documents(COMPOSE).into_iter().next().ok_or("the compose example is empty")?;
    let service = Service::start_on(at(8480)).await;
    let [entra, upstream] = surroundings.clusters();
    let clusters = [entra, ("revocations", service.addr()), upstream];
    let bootstrap = in_place(with_wasm(bootstrap, &wasm()), &clusters, free(10_000), free(9901));
    let release = Release::newest();
    let envoy =
        Envoy::start(&release, &bootstrap, 2, &compose_environment()).await.map_err(|failure| failure.to_string())?;
    println!("Envoy {} on {}, its administration on {}", release.version, envoy.url("/"), envoy.admin().url("/"));
    println!("The mock of Entra ID on {}", surroundings.entra.origin().url("/"));
    println!("The revocation service on {}", service.client().origin().url("/"));
    println!("The log is in {}\n", envoy.place().join("envoy.log").display());
    let place = Place {
        gate: envoy.ingress().clone(),
        admin: Some(envoy.admin().clone()),
        entra: surroundings.entra.clone(),
        revocations: service.client(),
        upstream: surroundings.upstream.clone(),
    };
    Ok((place, Some((surroundings.with(envoy), service))))
}

/// The port if it is free, else any.
fn free(port: u16) -> u16 {
    if TcpListener::bind(("127.0.0.1", port)).is_ok() { port } else { 0 }
}

/// What an answer must be.
enum Promise {
    /// The upstream's answer.
    Passes,
    /// A client that was made, in the gate's own answer.
    Registered,
    /// A refusal: its status, its reason, and a part of its description.
    Refused(u16, &'static str, &'static str),
}

/// What happens before a request.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// A person revokes the user by the command, and waits until every worker knows.
    Revocation,
    /// All keys are replaced by a new one; the old ones stay published.
    Rotation,
    /// Until tokens that are issued are newer than the revocation.
    SignIn,
    /// The identity provider does not answer any more.
    Outage,
}

struct Step {
    title: &'static str,
    before: Before,
    path: &'static str,
    /// What is posted; none: nothing is.
    body: Option<Value>,
    token: Token,
    promise: Promise,
}

/// What a request carries.
enum Token {
    /// What the request before carried.
    Again,
    /// Who has this may register a client.
    Initial,
    /// A new one; members as in the mock's README.
    New(Value),
    None,
    /// What Entra gives to the client that was registered.
    Registered,
    /// Two in one header.
    Twice,
}

impl Step {
    fn new(title: &'static str, path: &'static str, token: Token, promise: Promise) -> Self {
        Self { title, before: Before::Nothing, path, body: None, token, promise }
    }

    fn posting(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn line(&self) -> String {
        format!("{} {}", if self.body.is_some() { "POST" } else { "GET" }, self.path)
    }

    fn after(self, before: Before) -> Self {
        Self { before, ..self }
    }
}

/// What registers (RFC 7591): an application with a secret, which gets tokens of its own.
fn client() -> Value {
    json!({"client_name": "Night shift", "grant_types": ["client_credentials"], "scope": "api://orders/Orders.Read"})
}

/// Who has this may register.
fn initial() -> String {
    let variable = |(name, value)| (name == "ENTRA_GATE_INITIAL_ACCESS_TOKENS").then_some(value);
    compose_environment().into_iter().find_map(variable).unwrap_or_default()
}

fn steps(stranger: &str) -> Vec<Step> {
    let passes = |title, path, token| Step::new(title, path, Token::New(token), Promise::Passes);
    let refused = |title, path, token: Value, reason, words| {
        Step::new(title, path, Token::New(token), Promise::Refused(401, reason, words))
    };
    let user = || json!({"claims": {"oid": USER}});
    vec![
        Step::new("an open path", "/healthz", Token::None, Promise::Passes),
        passes("a v2 token", "/orders", json!({})),
        passes("a v1 token", "/orders", json!({"version": 1, "audience": "api://orders"})),
        passes("an External ID (CIAM) token", "/customers/me", json!({"kind": "external_id"})),
        passes("a token of some other organization", "/partners/x", json!({"tenant": FABRIKAM})),
        Step::new("no token", "/orders", Token::None, Promise::Refused(401, "token_missing", "")),
        refused(
            "an expired token",
            "/orders",
            json!({"expires_in": -600, "issued_ago": 4200}),
            "token_expired",
            "expired",
        ),
        refused(
            "a token for another API",
            "/orders",
            json!({"audience": "https://graph.microsoft.com"}),
            "audience_not_allowed",
            "Microsoft Graph",
        ),
        refused(
            "a customer's token on the staff's route",
            "/orders",
            json!({"kind": "external_id"}),
            "issuer_not_allowed",
            "External ID (CIAM)",
        ),
        refused("another organization's token", "/orders", json!({"tenant": FABRIKAM}), "tenant_not_allowed", "tenant"),
        refused(
            "a forged token",
            "/orders",
            json!({"key": "stranger", "header": {"kid": stranger}}),
            "signature_invalid",
            "signature",
        ),
        refused("alg: none", "/orders", json!({"alg": "none"}), "algorithm_not_allowed", "alg"),
        Step::new(
            "two tokens in one header",
            "/orders",
            Token::Twice,
            Promise::Refused(400, "request_malformed", "several"),
        ),
        Step::new(
            "a stranger registers a client",
            "/register",
            Token::None,
            Promise::Refused(401, "access_denied", ""),
        )
        .posting(client()),
        Step::new("a client registers, and Entra has it", "/register", Token::Initial, Promise::Registered)
            .posting(client()),
        Step::new("the token that Entra gives to that client", "/orders", Token::Registered, Promise::Passes),
        passes("a user at work", "/orders", user()),
        Step::new(
            "the same token, revoked by the command",
            "/orders",
            Token::Again,
            Promise::Refused(401, "token_revoked", "revoked"),
        )
        .after(Before::Revocation),
        passes("the user signs in again", "/orders", user()).after(Before::SignIn),
        passes("the first token of a new key, right after a rotation", "/orders", json!({})).after(Before::Rotation),
        passes("the identity provider is down", "/orders", json!({})).after(Before::Outage),
    ]
}

/// An Envoy that was up before the provider has failed its first fetches, and asks again after a pause: until then it
/// answers 503, and so does a client wait.
async fn keys_are_there(place: &Place) {
    for (path, token) in [
        ("/orders", json!({})),
        ("/orders", json!({"version": 1})),
        ("/customers", json!({"kind": "external_id"})),
        ("/partners", json!({})),
    ] {
        let token = place.entra.mint(token).await;
        until(&format!("every worker has keys for {path}, and knows who is revoked"), async || {
            let answers = answers_of_all(place, path, &token).await.ok()?;
            answers.iter().all(|answer| answer.status != 503).then_some(())
        })
        .await;
    }
}

/// What the workers answer, each of them most likely: each connection may reach another one.
async fn answers_of_all(place: &Place, path: &str, token: &str) -> Result<Vec<Answer>, Box<dyn Error>> {
    let mut requests = JoinSet::new();
    for _ in 0..16 {
        let (gate, request) = (place.gate.clone(), Request::get(path).bearer(token));
        requests.spawn(async move { gate.send(request).await });
    }
    let answers: Result<Vec<Answer>, _> = requests.join_all().await.into_iter().collect();
    Ok(answers?)
}

/// Whether every promise was kept.
async fn tour(place: &Place) -> Result<bool, Box<dyn Error>> {
    place.entra.clear_faults().await;
    place.entra.keys(json!({"reset": true})).await;
    keys_are_there(place).await;
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(150);
    }
    table.set_header(["", "request", "promised", "got", "reason", "description"]);
    let mut kept = 0;
    let known = place.entra.kid(json!({})).await;
    let steps = steps(&known);
    let number = steps.len();
    let mut story = Story::default();
    for step in steps {
        story.go_on(step.before, place).await?;
        let seen = place.upstream.count().await;
        let answer = place.gate.send(story.request(&step, place).await?).await?;
        let asked = place.upstream.count().await > seen;
        let told = story.took.take();
        let in_time = told.is_none_or(|took| took < WITHIN);
        let good = is_kept(&step.promise, &answer, asked) && in_time;
        kept += usize::from(good);
        let (promised, reason) = match &step.promise {
            Promise::Passes => ("200".to_owned(), ""),
            Promise::Registered => ("201".to_owned(), ""),
            Promise::Refused(status, reason, _) => (status.to_string(), *reason),
        };
        let description = match &step.promise {
            Promise::Passes => String::new(),
            Promise::Registered => {
                story.client = serde_json::from_slice(&answer.body).unwrap_or_default();
                described_client(&answer)
            }
            Promise::Refused(..) => described(&answer),
        };
        let got = answer.reason().unwrap_or_default();
        let reason = if got == reason { got } else { format!("{got} (promised: {reason})") };
        let mark = if good { "✓" } else { "✗" };
        let took = told.map(|took| format!("\nrefused by every worker after {:.2} s", took.as_secs_f64()));
        let request = format!("{}{}\n{}", step.title, took.unwrap_or_default(), step.line());
        table.add_row([mark, &request, &promised, &answer.status.to_string(), &reason, &description]);
    }
    place.entra.clear_faults().await;
    println!("{table}\n");
    if let Some(admin) = &place.admin {
        println!("{}", counters(admin).await?);
    }
    println!("tour: {kept} passed, {} failed\n", number - kept);
    Ok(kept == number)
}

/// Within this time a revocation has reached every worker.
const WITHIN: Duration = Duration::from_secs(2);

/// What one step leaves to the next.
#[derive(Default)]
struct Story {
    /// What the last request carried.
    token: String,
    /// Unix seconds: tokens issued earlier are revoked.
    not_before: u64,
    /// What the gate said of the client that registered.
    client: Value,
    /// From the end of the command until every worker refused; told once.
    took: Option<Duration>,
}

impl Story {
    async fn go_on(&mut self, before: Before, place: &Place) -> Result<(), Box<dyn Error>> {
        match before {
            Before::Nothing => {}
            Before::Rotation => place.entra.keys(json!({"rotate": true})).await,
            Before::Outage => place.entra.fault(json!({"fault": {"reset": true}})).await,
            Before::Revocation => {
                let who = ["revoke", "--tenant", CONTOSO, "--user", USER, "--reason", "the tour"];
                let outcome = place.revocations.run(&who).await;
                self.not_before = outcome["revocation"]["not_before"].as_u64().ok_or("no not_before")?;
                let told = Instant::now();
                // Much longer than promised: how late it was is worth knowing, too.
                while !self.is_revoked_everywhere(place).await? && told.elapsed() < 5 * WITHIN {
                    sleep(Duration::from_millis(10)).await;
                }
                self.took = Some(told.elapsed());
            }
            Before::SignIn => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                sleep(Duration::from_secs(self.not_before).saturating_sub(now)).await;
            }
        }
        Ok(())
    }

    async fn is_revoked_everywhere(&self, place: &Place) -> Result<bool, Box<dyn Error>> {
        let answers = answers_of_all(place, "/orders", &self.token).await?;
        Ok(answers.iter().all(|answer| answer.reason().as_deref() == Some("token_revoked")))
    }

    async fn request(&mut self, step: &Step, place: &Place) -> Result<Request, Box<dyn Error>> {
        let request = match &step.body {
            Some(body) => Request::post(step.path, body),
            None => Request::get(step.path),
        };
        Ok(match &step.token {
            Token::Again => request.bearer(&self.token),
            Token::Initial => request.bearer(&initial()),
            Token::Registered => request.bearer(&self.own_token(place).await?),
            Token::New(token) => {
                self.token = place.entra.mint(token.clone()).await;
                request.bearer(&self.token)
            }
            Token::None => request,
            Token::Twice => {
                let token = place.entra.mint(json!({})).await;
                request.bearer(&token).bearer(&token)
            }
        })
    }

    /// The registered client's own token (RFC 6749 section 4.4).
    async fn own_token(&self, place: &Place) -> Result<String, Box<dyn Error>> {
        let text = |name: &str| self.client[name].as_str().unwrap_or_default();
        let credentials = STANDARD.encode(format!("{}:{}", text("client_id"), text("client_secret")));
        let request = Request::new("POST", format!("/{CONTOSO}/oauth2/v2.0/token"))
            .header("host", "login.microsoftonline.com")
            .header("authorization", format!("Basic {credentials}"))
            .body("grant_type=client_credentials&scope=api%3A%2F%2Forders%2F.default");
        let answer: Value = serde_json::from_slice(&place.entra.origin().send(request).await?.body)?;
        // Without one, the gate says what it thinks of that.
        Ok(answer["access_token"].as_str().unwrap_or_default().to_owned())
    }
}

/// What the client was told, without its secrets.
fn described_client(answer: &Answer) -> String {
    let client: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let told = client.as_object().into_iter().flatten();
    let told = told.filter(|(name, _)| ["client_id", "client_name", "grant_types", "scope"].contains(&name.as_str()));
    told.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ")
}

fn described(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error_description"].as_str().unwrap_or_default().to_owned()
}

/// `asked` says whether the upstream saw the request.
fn is_kept(promise: &Promise, answer: &Answer, asked: bool) -> bool {
    match promise {
        Promise::Passes => answer.status == 200 && asked,
        Promise::Registered => answer.status == 201 && !asked && described_client(answer).contains("dcr: Night shift"),
        Promise::Refused(status, reason, words) => {
            answer.status == *status
                && answer.reason().as_deref() == Some(*reason)
                && described(answer).contains(words)
                && !asked
        }
    }
}

/// The counters that are not zero, a line for each.
async fn counters(admin: &Origin) -> Result<String, Box<dyn Error>> {
    let stats = admin.send(Request::get("/stats?filter=entra_gate")).await?.text();
    let told = |line: &&str| line.starts_with("wasmcustom.") && !line.ends_with(": 0");
    let lines: Vec<String> = stats.lines().filter(told).map(|line| format!("  {line}\n")).collect();
    Ok(format!("What {} counts:\n{}", admin.url("/stats?filter=entra_gate"), lines.concat()))
}
