//! What feeds the service: the mock's directory, its transmitter of Shared Signals, its logouts.

use std::time::{Duration, Instant};

use entra_gate::revocation::{Effect, Subject};
use mock_entra::{DirectoryChange, FaultRule, MockEntra, SetRequest, TokenRequest};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Document, Options, Service, TENANT, USER, user, user_id};

const READER: &str = "dddddddd-0000-4000-8000-000000000004";
const ISSUER: &str = "https://idp.example.com";
pub(crate) const STREAM: &str = "Bearer worthless-stream-token";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const PATIENCE: Duration = Duration::from_secs(60);

/// A mock, and what leads to it.
pub(crate) struct World {
    pub(crate) entra: MockEntra,
    sources: String,
    options: Options,
}

impl World {
    pub(crate) async fn new(sources: &str) -> Self {
        let entra = MockEntra::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let hosts = ["graph.microsoft.com", "idp.example.com", "login.microsoftonline.com"];
        let hosts: Vec<String> = hosts.iter().map(|host| format!("  {host}: \"http://{}\"\n", entra.addr())).collect();
        let sources = format!("sources:\n{sources}hosts:\n{}", hosts.concat());
        let mut world = Self { entra, sources, options: Options::default() };
        world.options = world.feeding(Options::default());
        world
    }

    /// A service of these options, fed by the sources.
    pub(crate) fn feeding(&self, options: Options) -> Options {
        options
            .sources(&self.sources)
            .variable("READER_SECRET", "worthless-reader-secret")
            .variable("WRONG_SECRET", "another-secret")
            .variable("STREAM", STREAM)
    }

    async fn start(&self) -> Service {
        let options = self.options.clone();
        tokio::task::spawn_blocking(move || options.start()).await.unwrap()
    }

    /// The same service, started again on what it left.
    async fn again(&self, service: Service) -> Service {
        let options = self.options.clone();
        tokio::task::spawn_blocking(move || options.start_in(service.kill())).await.unwrap()
    }

    pub(crate) fn change(&self, change: Value) {
        let change: DirectoryChange = serde_json::from_value(change).unwrap();
        self.entra.directory().change_directory(&change);
    }

    pub(crate) fn set(&self, request: Value) -> String {
        let request: SetRequest = serde_json::from_value(request).unwrap();
        self.entra.directory().set(&request, now()).unwrap().access_token
    }

    /// A SET that waits for whoever polls; its `jti`.
    fn hold(&self, request: Value) -> String {
        let request: SetRequest = serde_json::from_value(request).unwrap();
        let mut directory = self.entra.directory();
        let set = directory.set(&request, now()).unwrap();
        directory.hold(&set);
        set.claims["jti"].as_str().unwrap().to_owned()
    }

    fn fault(&self, rule: Value) {
        let rule: FaultRule = serde_json::from_value(rule).unwrap();
        self.entra.faults().add(rule);
    }

    /// How often a path with this part was asked.
    pub(crate) fn asked(&self, part: &str) -> u64 {
        self.entra.requests().counts().iter().filter(|count| count.path.contains(part)).map(|count| count.count).sum()
    }
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap()
}

fn graph(more: &str) -> String {
    format!("  directory: {{ kind: graph, tenant: {TENANT}, client_id: {READER}, interval: 200ms, {more} }}\n")
}

pub(crate) fn by_secret(more: &str) -> String {
    graph(&format!("client_secret_env: READER_SECRET{more}"))
}

pub(crate) fn pushing(more: &str) -> String {
    format!(
        "  okta: {{ kind: shared_signals, issuer: \"{ISSUER}\", audiences: [\"https://gate.example/signals\"], \
         push: {{ authorization_env: STREAM }}{more} }}\n"
    )
}

fn polling(more: &str) -> String {
    format!(
        "  stream: {{ kind: shared_signals, issuer: \"{ISSUER}\", audiences: [\"https://gate.example/signals\"], \
         poll: {{ url: \"{ISSUER}/ssf/poll\", authorization_env: STREAM, interval: 200ms{more} }} }}\n"
    )
}

/// What the feed says, when it says what is wanted.
pub(crate) async fn until(service: &Service, what: &str, wanted: impl Fn(&Document) -> bool) -> Document {
    let started = Instant::now();
    loop {
        let document = service.document("").await;
        if wanted(&document) {
            return document;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: {document:?}\n{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The source's state, when it is what is wanted.
async fn until_source(service: &Service, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let states = service.does(service.get("/v1/sources")).await;
        let state = states["sources"][0].clone();
        if wanted(&state) {
            return state;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: {state}\n{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_current(service: &Service) {
    until_source(service, "a whole round", |state| state["current"].is_u64()).await;
}

fn effect(document: &Document, subject: &Subject) -> Option<Effect> {
    document.rules().get(subject).map(|rule| rule.effect())
}

pub(crate) fn blocked(document: &Document, subject: &Subject) -> bool {
    effect(document, subject) == Some(Effect::Blocked)
}

pub(crate) async fn history(service: &Service) -> Vec<Value> {
    let history = service.does(service.get("/v1/history?limit=1000")).await;
    history["events"].as_array().unwrap().clone()
}

async fn metric(service: &Service, line: &str) -> Option<u64> {
    let text = service.get("/metrics").send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
}

#[tokio::test]
async fn a_user_who_is_disabled_in_the_directory_is_revoked_without_anybody_typing() {
    let world = World::new(&by_secret("")).await;
    let service = world.start().await;
    until_current(&service).await;
    assert_eq!(service.document("").await.entries, []);
    world.change(json!({"users": [{"id": USER, "accountEnabled": false}]}));
    let document = until(&service, "the block", |document| blocked(document, &user(USER))).await;
    // Entra gives no tokens to whom it has disabled: when the last one has expired, the block has done its work.
    let expires = document.entries[0].expires.unwrap();
    assert!((86_400..=86_400 + 1_000).contains(&(i64::from(expires) - now())), "{expires}");
    world.change(json!({"users": [{"id": USER, "accountEnabled": true}]}));
    let lifted = until(&service, "the lift", |document| !blocked(document, &user(USER))).await;
    assert!(lifted.rules()[&user(USER)].unblocked_at.is_some());
    // Sessions that were revoked in the directory.
    let since = now() - 60;
    let time = jiff::Timestamp::from_second(since).unwrap().to_string();
    world.change(
        json!({"users": [{"id": user_id(7), "accountEnabled": true, "signInSessionsValidFromDateTime": time}]}),
    );
    let since = Effect::NotBefore(u32::try_from(since).unwrap());
    until(&service, "the time", |document| effect(document, &user(&user_id(7))) == Some(since)).await;
    // Whoever is removed, for now or for good.
    world.change(
        json!({"users": [{"id": user_id(8), "@removed": "changed"}, {"id": user_id(9), "@removed": "deleted"}]}),
    );
    until(&service, "the removals", |document| (8..=9).all(|number| blocked(document, &user(&user_id(number))))).await;
    // The audit says who did it, to whom and why.
    let events = history(&service).await;
    let first = events.last().unwrap();
    assert_eq!(first["by"], json!({"kind": "source", "name": "directory"}));
    assert_eq!((&first["action"], &first["user"], &first["blocked"]), (&json!("revoke"), &json!(USER), &json!(true)));
    assert_eq!(first["reason"], "accountEnabled is false");
    let reasons: Vec<&str> = events.iter().rev().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons[1..],
        [
            "accountEnabled is true again",
            "signInSessionsValidFromDateTime",
            "the user was deleted, and can be restored",
            "the user was deleted for good",
        ]
    );
    // Health, lag and the last event, for machines.
    let state = until_source(&service, "the state", |state| state["healthy"] == true).await;
    assert!(state["lag"].as_u64() <= Some(5) && state["last_event"].as_u64() > Some(1_700_000_000), "{state}");
    let label = "{source=\"directory\"} ";
    assert_eq!(metric(&service, &format!("entra_gate_revocations_source_up{label}")).await, Some(1));
    assert!(metric(&service, &format!("entra_gate_revocations_source_lag_seconds{label}")).await <= Some(5));
    let told = "entra_gate_revocations_source_told_total{source=\"directory\",outcome=\"Changed\"} ";
    assert_eq!(metric(&service, told).await, Some(5));
    // One token did for all of that, and the secret was told nobody.
    assert_eq!(world.asked("/oauth2/v2.0/token"), 1);
    assert!(!service.log().contains("worthless-reader-secret"));
}

#[tokio::test]
async fn an_application_that_is_disabled_is_revoked_as_a_client_and_as_a_subject() {
    let world = World::new(&by_secret(", collections: [service_principals]")).await;
    let service = world.start().await;
    until_current(&service).await;
    let (object, app) = (user_id(5), "eeeeeeee-0000-4000-8000-000000000005");
    let client = Subject::Client { tenant: TENANT.into(), client: app.into() };
    for (disabled, enabled) in [
        (json!({"accountEnabled": false}), json!({"accountEnabled": true})),
        (
            json!({"disabledByMicrosoftStatus": "DisabledDueToViolationOfServicesAgreement"}),
            json!({"disabledByMicrosoftStatus": "NotDisabled", "accountEnabled": true}),
        ),
    ] {
        let with = |more: &Value| {
            let mut principal = more.clone();
            (principal["id"], principal["appId"]) = (json!(object), json!(app));
            json!({"service_principals": [principal]})
        };
        world.change(with(&disabled));
        until(&service, "both blocks", |document| blocked(document, &client) && blocked(document, &user(&object)))
            .await;
        world.change(with(&enabled));
        until(&service, "both lifts", |document| !blocked(document, &client) && !blocked(document, &user(&object)))
            .await;
    }
    // Users were not asked for.
    assert_eq!(world.asked("/users/delta"), 0);
}

#[tokio::test]
async fn the_place_in_the_directory_survives_a_restart() {
    let world = World::new(&by_secret("")).await;
    let service = world.start().await;
    until_current(&service).await;
    let service = world.again(service).await;
    let first = world.asked("/users/delta?$select");
    // What happened while the service was away comes as a change.
    world.change(json!({"users": [{"id": USER, "accountEnabled": false}]}));
    until(&service, "the block", |document| blocked(document, &user(USER))).await;
    assert_eq!((first, world.asked("/users/delta?$select")), (1, 1), "everything was read a second time");
    assert!(world.asked("/users/delta?$deltatoken") > 0);
}

#[tokio::test]
async fn an_expired_place_means_that_everything_is_read_again_and_nothing_is_removed() {
    let world = World::new(&by_secret(", start: now")).await;
    // Disabled before: not read, because only changes were asked for.
    world.change(json!({"users": [{"id": user_id(1), "accountEnabled": false}]}));
    let service = world.start().await;
    until_current(&service).await;
    world
        .change(json!({"users": [{"id": user_id(2), "accountEnabled": false}, {"id": USER, "accountEnabled": false}]}));
    until(&service, "the change", |document| blocked(document, &user(&user_id(2)))).await;
    assert!(!service.document("").await.rules().contains_key(&user(&user_id(1))));
    // The links expire, and what was missed is found.
    world.change(json!({"users": [{"id": user_id(3), "accountEnabled": false}], "expire_links": true}));
    let document = until(&service, "what was missed", |document| blocked(document, &user(&user_id(3)))).await;
    for number in 1..=2 {
        assert!(blocked(&document, &user(&user_id(number))), "{number}");
    }
    assert!(blocked(&document, &user(USER)));
    assert!(service.log().contains("everything is read again"));
    until_source(&service, "health", |state| state["healthy"] == true).await;
}

#[tokio::test]
async fn too_many_requests_and_failures_are_lived_through() {
    let world = World::new(&by_secret("")).await;
    let service = world.start().await;
    until_current(&service).await;
    world.change(json!({"users": [{"id": user_id(1), "accountEnabled": false}]}));
    until(&service, "the first", |document| blocked(document, &user(&user_id(1)))).await;
    for (fault, why) in [
        (json!({"status": 429, "retry_after": 1}), "too many requests"),
        (json!({"status": 503, "retry_after": 1}), "too many requests"),
        (json!({"status": 500}), "status 500"),
        (json!({"status": 403}), "status 403"),
        (json!({"reset": true}), "no complete answer"),
        (json!({"truncate": true}), "no complete answer"),
        (json!({"body": "no JSON"}), "no page of changes"),
        (
            json!({"json_patch": {"@odata.deltaLink": "https://evil.example/v1.0/users/delta?$deltatoken=x"}}),
            "leads elsewhere",
        ),
    ] {
        world.fault(json!({"host": "graph.microsoft.com", "times": 4, "fault": fault}));
        let state =
            until_source(&service, why, |state| state["failing"].as_str().is_some_and(|told| told.contains(why))).await;
        assert_eq!(state["healthy"], false);
        // A source that fails never removes an entry, and never stops the service.
        assert!(blocked(&service.document("").await, &user(&user_id(1))), "{fault}");
        world.entra.faults().clear();
        until_source(&service, "health", |state| state["healthy"] == true).await;
    }
    // Graph was asked to wait, and it was waited: 429 and 503 were met once each.
    world.change(json!({"users": [{"id": user_id(2), "accountEnabled": false}]}));
    until(&service, "the next change", |document| blocked(document, &user(&user_id(2)))).await;
    let failures = metric(&service, "entra_gate_revocations_source_failures_total{source=\"directory\"} ").await;
    assert!(failures >= Some(8), "{failures:?}");
    // The token was forgotten by Graph: another one is fetched.
    let tokens = world.asked("/oauth2/v2.0/token");
    world.entra.directory().turn_graph(serde_json::from_value(json!({"revoke_tokens": true})).unwrap());
    world.change(json!({"users": [{"id": user_id(3), "accountEnabled": false}]}));
    until(&service, "a change with a new token", |document| blocked(document, &user(&user_id(3)))).await;
    assert_eq!(world.asked("/oauth2/v2.0/token"), tokens + 1);
    assert_eq!(world.asked("evil"), 0);
}

#[tokio::test]
async fn a_thousand_changes_come_in_a_page_and_more_in_several() {
    let world = World::new(&by_secret("")).await;
    let service = world.start().await;
    until_current(&service).await;
    world.change(json!({"disable_many": 1_000}));
    until(&service, "a thousand", |document| document.rules().len() == 1_000).await;
    assert_eq!(world.asked("$skiptoken"), 0);
    world.change(json!({"disable_many": 1_500, "page_size": 400}));
    let document = until(&service, "fifteen hundred", |document| document.rules().len() == 1_500).await;
    assert!(document.rules().values().all(|rule| rule.effect() == Effect::Blocked));
    assert_eq!(world.asked("$skiptoken"), 3);
}

#[tokio::test]
async fn a_source_lifts_nobody_else_s_block() {
    let world = World::new(&by_secret("")).await;
    let service = world.start().await;
    until_current(&service).await;
    world.change(json!({"users": [{"id": USER, "accountEnabled": false}]}));
    until(&service, "the block", |document| blocked(document, &user(USER))).await;
    service.revoke(json!({"tenant": TENANT, "user": USER, "blocked": true})).await;
    world.change(json!({"users": [{"id": USER, "accountEnabled": true}, {"id": user_id(1), "accountEnabled": false}]}));
    let document = until(&service, "what came with it", |document| blocked(document, &user(&user_id(1)))).await;
    assert!(blocked(&document, &user(USER)), "the source lifted a person's block");
    let told = history(&service).await;
    let lift = told.iter().find(|event| event["action"] == "lift").unwrap();
    assert_eq!(lift["changed"], false);
    assert!(lift["reason"].as_str().unwrap().contains("others hold the block"), "{lift}");
    // A person lifts whatever there is.
    let lift = json!({"tenant": TENANT, "user": USER, "reason": "it was a mistake"});
    assert_eq!(service.does(service.post("/v1/revocations/lift", &lift)).await["changed"], true);
}

#[tokio::test]
async fn a_certificate_signs_in_and_a_wrong_secret_is_told_without_itself() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mock-entra/keys");
    let files = format!("certificate: {{ certificate_file: {keys}/app.crt.pem, key_file: {keys}/app.key.pem }}");
    let world = World::new(&graph(&files)).await;
    let service = world.start().await;
    world.change(json!({"users": [{"id": USER, "accountEnabled": false}]}));
    until(&service, "the block", |document| blocked(document, &user(USER))).await;
    for (credential, why) in [
        ("client_secret_env: WRONG_SECRET".to_owned(), "AADSTS7000215"),
        (
            format!("certificate: {{ certificate_file: {keys}/v2.crt.pem, key_file: {keys}/v2.key.pem }}"),
            "AADSTS700027",
        ),
    ] {
        let world = World::new(&graph(&credential)).await;
        let service = world.start().await;
        let state =
            until_source(&service, why, |state| state["failing"].as_str().is_some_and(|told| told.contains(why))).await;
        assert_eq!((&state["healthy"], &state["current"]), (&json!(false), &Value::Null));
        assert!(!service.log().contains("another-secret"));
        // The service serves what it has.
        service.revoke_user(USER).await;
    }
}

#[tokio::test]
async fn a_dry_run_tells_what_it_would_do_and_writes_nothing() {
    let logout =
        format!("  idp: {{ kind: backchannel_logout, issuer: \"{ISSUER}\", audiences: [gate], dry_run: true }}\n");
    let sources = [by_secret(", dry_run: true"), pushing(", dry_run: true"), logout].concat();
    let world = World::new(&sources).await;
    let service = world.start().await;
    world.change(json!({"users": [{"id": USER, "accountEnabled": false}]}));
    let set = world.set(json!({"event": format!("{RISC}account-disabled")}));
    assert_eq!(push(&service, &set, Some(STREAM)).await.0, StatusCode::ACCEPTED);
    let started = Instant::now();
    while !service.log().contains("accountEnabled is false") {
        assert!(started.elapsed() < PATIENCE, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let line = service.log().lines().find(|line| line.contains("accountEnabled is false")).unwrap().to_owned();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["message"], &line["would"]), (&json!("dry run"), &json!("block user")));
    assert_eq!(line["subject"], format!("tenant {TENANT}, user {USER}"));
    assert!(service.log().contains("account-disabled"));
    let document = service.document("").await;
    assert_eq!((document.claims.sequence, document.entries.len()), (0, 0));
    assert!(history(&service).await.iter().all(|event| event["by"]["kind"] != "source"));
    // Nor a place in the directory: the next run begins where this one did.
    let before = world.asked("/users/delta?$select");
    let service = world.again(service).await;
    until_current(&service).await;
    assert_eq!((before, world.asked("/users/delta?$select")), (1, 2));
    let rehearsed = "entra_gate_revocations_source_told_total{source=\"directory\",outcome=\"Rehearsed\"} ";
    assert_eq!(metric(&service, rehearsed).await, Some(1), "whoever is enabled and was never blocked is no news");
}

pub(crate) async fn push(service: &Service, set: &str, authorization: Option<&str>) -> (StatusCode, Value) {
    let request = service.request(Method::POST, "/v1/sources/okta/events");
    let request = request.header("content-type", "application/secevent+jwt").body(set.to_owned());
    let request = match authorization {
        Some(authorization) => request.header("authorization", authorization),
        None => request,
    };
    crate::support::answer(request).await
}

fn pairwise() -> Subject {
    Subject::Pairwise { issuer: ISSUER.into(), subject: USER.into() }
}

#[tokio::test]
async fn events_that_are_pushed_revoke_and_each_is_taken_once() {
    let world = World::new(&pushing(&format!(", tenant: {TENANT}, opaque: session"))).await;
    let service = world.start().await;
    let session = Subject::Session { tenant: TENANT.into(), session: "sid-1".into() };
    let token = Subject::Token { issuer: ISSUER.into(), token: "t-1".into() };
    for (request, subject, is_block) in [
        (json!({}), pairwise(), false),
        (json!({"subject": {"format": "opaque", "id": "sid-1"}}), session, true),
        (json!({"subject": {"format": "jwt_id", "iss": ISSUER, "jti": "t-1"}}), token, true),
        (json!({"event": format!("{RISC}account-disabled"), "members": {"reason": "hijacking"}}), pairwise(), true),
    ] {
        let set = world.set(request.clone());
        assert_eq!(push(&service, &set, Some(STREAM)).await, (StatusCode::ACCEPTED, Value::Null), "{request}");
        // The answer comes when it is on disk, and so in the feed.
        assert_eq!(blocked(&service.document("").await, &subject), is_block, "{request}");
    }
    let sequence = service.document("").await.claims.sequence;
    // The account is enabled again. An old event that somebody plays again does not block it once more, not even after
    // a restart.
    let disabled = world.set(json!({"event": format!("{RISC}account-disabled")}));
    assert_eq!(push(&service, &disabled, Some(STREAM)).await.0, StatusCode::ACCEPTED);
    let enabled = world.set(json!({"event": format!("{RISC}account-enabled")}));
    assert_eq!(push(&service, &enabled, Some(STREAM)).await.0, StatusCode::ACCEPTED);
    assert!(!blocked(&service.document("").await, &pairwise()));
    let service = world.again(service).await;
    assert_eq!(push(&service, &disabled, Some(STREAM)).await.0, StatusCode::ACCEPTED);
    let document = service.document("").await;
    assert!(!blocked(&document, &pairwise()));
    assert_eq!(document.claims.sequence, sequence + 1);
    let repeated = "entra_gate_revocations_source_told_total{source=\"okta\",outcome=\"Repeated\"} ";
    assert_eq!(metric(&service, repeated).await, Some(1));
    // Each event is in the audit by its own identifier.
    let events = history(&service).await;
    let by = events.iter().find(|event| event["reason"] == "account-disabled: hijacking").unwrap();
    assert_eq!((&by["by"]["kind"], &by["by"]["name"]), (&json!("source"), &json!("okta")));
    assert_eq!(by["by"]["event"].as_str().unwrap().len(), 32);
    let state = until_source(&service, "the state", |state| state["last_event"].is_null()).await;
    assert_eq!(state["kind"], "shared_signals");
}

#[tokio::test]
async fn what_cannot_be_mapped_is_acknowledged_and_told() {
    let world = World::new(&pushing("")).await;
    let service = world.start().await;
    for (request, why) in [
        (
            json!({"subject": {"format": "email", "email": "abe@contoso.example"}}),
            "a subject by email cannot be mapped",
        ),
        (json!({"event": format!("{CAEP}assurance-level-change")}), "nothing follows"),
        (
            json!({"event": format!("{CAEP}credential-change"), "members": {"credential_type": "app", "change_type": "create"}}),
            "create of app revokes nothing",
        ),
        (json!({"subject": {"format": "complex", "device": {"format": "opaque", "id": "d"}}}), "device"),
    ] {
        let set = world.set(request.clone());
        assert_eq!(push(&service, &set, Some(STREAM)).await.0, StatusCode::ACCEPTED, "{request}");
        let event = history(&service).await.remove(0);
        assert_eq!((&event["action"], &event["changed"]), (&json!("signal"), &json!(false)));
        assert!(event["reason"].as_str().unwrap().contains(why), "{event}");
        assert!(!service.log().contains("abe@contoso.example") && !event.to_string().contains("abe@"));
    }
    // A verification event changes nothing, and shows that the way works.
    let verification = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let set = world.set(
        json!({"event": verification, "members": {"state": "s-1"}, "subject": {"format": "opaque", "id": "stream"}}),
    );
    assert_eq!(push(&service, &set, Some(STREAM)).await.0, StatusCode::ACCEPTED);
    let state = until_source(&service, "the state", |state| state["current"].is_u64()).await;
    assert!(state["last_event"].is_u64(), "{state}");
    assert!(service.log().contains("a verification event came"));
    assert_eq!(service.document("").await.claims.sequence, 0);
}

#[tokio::test]
async fn each_malformed_event_is_answered_by_the_rfc_s_error() {
    let world = World::new(&pushing("")).await;
    let service = world.start().await;
    let claims = |claims: Value| json!({"token": {"claims": claims}});
    for (request, code) in [
        (claims(json!({"iss": "https://other.example"})), "invalid_issuer"),
        (claims(json!({"aud": "https://other.example"})), "invalid_audience"),
        (claims(json!({"aud": null})), "invalid_audience"),
        (claims(json!({"exp": now() + 60})), "invalid_request"),
        (claims(json!({"sub": "s"})), "invalid_request"),
        (claims(json!({"jti": null})), "invalid_request"),
        (claims(json!({"iat": null})), "invalid_request"),
        (claims(json!({"iat": now() + 3_600})), "invalid_request"),
        (claims(json!({"iat": 1_600_000_000})), "invalid_request"),
        (claims(json!({"events": null})), "invalid_request"),
        (claims(json!({"events": {}})), "invalid_request"),
        (claims(json!({"sub_id": null})), "invalid_request"),
        (json!({"subject": {"format": "iss_sub", "iss": ISSUER}}), "invalid_request"),
        (json!({"subject": {"format": "iss_sub", "iss": "https://other.example", "sub": "s"}}), "access_denied"),
        (json!({"token": {"header": {"typ": "JWT"}}}), "invalid_request"),
        (json!({"token": {"header": {"typ": null}}}), "invalid_request"),
        (json!({"token": {"alg": "none"}}), "invalid_key"),
        (json!({"token": {"alg": "HS256"}}), "invalid_key"),
        (json!({"token": {"key": "ec"}}), "invalid_key"),
        (json!({"token": {"key": "stranger"}}), "invalid_key"),
        (json!({"token": {"signature": "corrupt"}}), "invalid_key"),
        (json!({"token": {"signature": "strip"}}), "invalid_request"),
        (json!({"token": {"raw_payload": "{"}}), "invalid_request"),
    ] {
        let set = world.set(request.clone());
        let (status, body) = push(&service, &set, Some(STREAM)).await;
        assert_eq!((status, &body["err"]), (StatusCode::BAD_REQUEST, &json!(code)), "{request} {body}");
        assert!(!body["description"].as_str().unwrap().is_empty(), "{request}");
    }
    let good = world.set(json!({}));
    for authorization in
        [None, Some(""), Some("Bearer another"), Some("bearer worthless-stream-token"), Some("worthless-stream-token")]
    {
        let (status, body) = push(&service, &good, authorization).await;
        assert_eq!(
            (status, &body["err"]),
            (StatusCode::BAD_REQUEST, &json!("authentication_failed")),
            "{authorization:?}"
        );
    }
    // Of another kind, or too large, or to nobody.
    let request = service.request(Method::POST, "/v1/sources/okta/events").header("authorization", STREAM);
    let (status, body) =
        crate::support::answer(request.header("content-type", "application/json").body(good.clone())).await;
    assert_eq!((status, &body["err"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    let (status, body) = push(&service, &"a".repeat(20_000), Some(STREAM)).await;
    assert_eq!((status, &body["err"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    for path in ["/v1/sources/nobody/events", "/v1/sources/okta/logout"] {
        let request = service.request(Method::POST, path).header("content-type", "application/secevent+jwt");
        assert_eq!(crate::support::answer(request.body(good.clone())).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(service.document("").await.claims.sequence, 0);
    // The good one still is.
    let answer = service.request(Method::POST, "/v1/sources/okta/events").header("authorization", STREAM);
    let answer =
        answer.header("content-type", "application/secevent+jwt; charset=utf-8").body(good).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(!service.log().contains("worthless-stream-token"));
}

#[tokio::test]
async fn without_the_transmitter_s_keys_an_event_is_not_lost() {
    let world = World::new(&pushing("")).await;
    let service = world.start().await;
    let set = world.set(json!({}));
    world.fault(json!({"host": "idp.example.com", "fault": {"status": 500}}));
    let (status, _) = push(&service, &set, Some(STREAM)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    until_source(&service, "the failure", |state| state["healthy"] == false).await;
    world.entra.faults().clear();
    let started = Instant::now();
    while push(&service, &set, Some(STREAM)).await.0 != StatusCode::ACCEPTED {
        assert!(started.elapsed() < PATIENCE, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(service.document("").await.rules().contains_key(&pairwise()));
    // While the keys that are held will do, nobody misses the issuer.
    world.fault(json!({"host": "idp.example.com", "fault": {"status": 500}}));
    let set = world.set(json!({}));
    assert_eq!(push(&service, &set, Some(STREAM)).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn events_that_are_polled_are_acknowledged_after_they_are_on_disk() {
    let world = World::new(&polling(", max_events: 2")).await;
    let mut wanted = Vec::new();
    for number in 0..5 {
        let subject = json!({"format": "iss_sub", "iss": ISSUER, "sub": format!("user-{number}")});
        wanted.push(world.hold(json!({"subject": subject, "event": format!("{RISC}account-disabled")})));
    }
    let foreign = world.hold(json!({"token": {"claims": {"aud": "https://other.example"}}}));
    let service = world.start().await;
    let document = until(&service, "five events", |document| document.rules().len() == 5).await;
    assert!(document.rules().values().all(|rule| rule.effect() == Effect::Blocked));
    let started = Instant::now();
    let stream = loop {
        let stream = world.entra.directory().stream();
        if stream["waiting"] == json!([]) {
            break stream;
        }
        assert!(started.elapsed() < PATIENCE, "{stream}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut acknowledged: Vec<&str> =
        stream["acknowledged"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    acknowledged.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(acknowledged, wanted, "each once");
    assert_eq!(stream["errors"][&foreign]["err"], "invalid_audience");
    // A transmitter that fails is asked again, and what is held stays.
    world.fault(json!({"host": "idp.example.com", "path_contains": "/ssf/poll", "fault": {"status": 500}}));
    until_source(&service, "the failure", |state| state["healthy"] == false).await;
    assert_eq!(service.document("").await.rules().len(), 5);
    world.entra.faults().clear();
    world.hold(json!({}));
    until(&service, "the next event", |document| document.rules().len() == 6).await;
    until_source(&service, "health", |state| state["healthy"] == true).await;
}

#[tokio::test]
async fn an_event_whose_acknowledgement_is_lost_comes_again_and_changes_nothing() {
    let world = World::new(&polling("")).await;
    let service = world.start().await;
    until_current(&service).await;
    let jti = world.hold(json!({"event": format!("{RISC}account-disabled")}));
    until(&service, "the block", |document| blocked(document, &pairwise())).await;
    let sequence = service.document("").await.claims.sequence;
    let service = world.again(service).await;
    // The transmitter has not heard, or does as if.
    let request: SetRequest = serde_json::from_value(json!({
        "event": format!("{RISC}account-disabled"), "token": {"claims": {"jti": jti}},
    }))
    .unwrap();
    let held = world.entra.directory().set(&request, now()).unwrap();
    world.entra.directory().hold(&held);
    let repeated = "entra_gate_revocations_source_told_total{source=\"stream\",outcome=\"Repeated\"} ";
    let started = Instant::now();
    while metric(&service, repeated).await < Some(1) && world.entra.directory().stream()["waiting"] != json!([]) {
        assert!(started.elapsed() < PATIENCE, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(service.document("").await.claims.sequence, sequence);
}

#[tokio::test]
async fn a_long_poll_brings_an_event_when_it_happens() {
    let world = World::new(&polling(", interval: 1h, wait: 30s").replace("interval: 200ms, ", "")).await;
    let service = world.start().await;
    until_source(&service, "the first question", |_| world.asked("/ssf/poll") > 0).await;
    for number in 0..3 {
        let subject = json!({"format": "iss_sub", "iss": ISSUER, "sub": format!("user-{number}")});
        world.hold(json!({"subject": subject}));
        until(&service, "the event", |document| document.rules().len() == number + 1).await;
    }
}

async fn log_out(service: &Service, form: &[(&str, &str)]) -> (StatusCode, Value, String) {
    let mut body = String::new();
    for (name, value) in form {
        body += &format!("{}{name}={value}", if body.is_empty() { "" } else { "&" });
    }
    let request = service.request(Method::POST, "/v1/sources/idp/logout");
    let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
    let cache = answer.headers()["cache-control"].to_str().unwrap().to_owned();
    (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default(), cache)
}

#[tokio::test]
async fn a_logout_at_the_provider_ends_the_session_here() {
    let source =
        format!("  idp: {{ kind: backchannel_logout, issuer: \"{ISSUER}\", audiences: [gate], tenant: {TENANT} }}\n");
    let world = World::new(&source).await;
    let service = world.start().await;
    let token = |changes: Value| {
        let changes: TokenRequest = serde_json::from_value(changes).unwrap();
        world.entra.directory().logout_token(&changes, now()).unwrap().access_token
    };
    let taken = (StatusCode::OK, Value::Null, "no-store".to_owned());
    let of_session = token(json!({"claims": {"sid": "sid-1"}}));
    assert_eq!(log_out(&service, &[("logout_token", &of_session)]).await, taken);
    let session = Subject::Session { tenant: TENANT.into(), session: "sid-1".into() };
    assert!(blocked(&service.document("").await, &session));
    assert_eq!(log_out(&service, &[("logout_token", &token(json!({})))]).await, taken);
    assert!(matches!(effect(&service.document("").await, &pairwise()), Some(Effect::NotBefore(_))));
    // Once is enough.
    let lift = json!({"tenant": TENANT, "session": "sid-1", "reason": "a test"});
    service.does(service.post("/v1/revocations/lift", &lift)).await;
    assert_eq!(log_out(&service, &[("logout_token", &of_session)]).await, taken);
    assert!(!blocked(&service.document("").await, &session));
    let sequence = service.document("").await.claims.sequence;
    let claims = |claims: Value| token(json!({"claims": claims}));
    for (what, bad) in [
        ("typ", token(json!({"header": {"typ": "JWT"}}))),
        ("iss", claims(json!({"iss": "https://other.example"}))),
        ("aud", claims(json!({"aud": "other"}))),
        ("iat", claims(json!({"iat": null}))),
        ("exp", claims(json!({"exp": null}))),
        ("over", claims(json!({"iat": now() - 1_000, "exp": now() - 600}))),
        ("jti", claims(json!({"jti": null}))),
        ("events", claims(json!({"events": {}}))),
        ("nonce", claims(json!({"nonce": "n"}))),
        ("nobody", claims(json!({"sub": null}))),
        ("signature", token(json!({"signature": "corrupt"}))),
        ("key", token(json!({"key": "stranger"}))),
        ("none", token(json!({"alg": "none"}))),
        ("text", "x".to_owned()),
    ] {
        let (status, body, cache) = log_out(&service, &[("logout_token", &bad)]).await;
        assert_eq!(
            (status, &body["error"], cache.as_str()),
            (StatusCode::BAD_REQUEST, &json!("invalid_request"), "no-store"),
            "{what}"
        );
        assert!(!body["error_description"].as_str().unwrap().is_empty(), "{what}");
    }
    let good = token(json!({}));
    for form in
        [&[][..], &[("token", good.as_str())], &[("logout_token", good.as_str()), ("logout_token", good.as_str())]]
    {
        assert_eq!(log_out(&service, form).await.0, StatusCode::BAD_REQUEST, "{form:?}");
    }
    assert_eq!(service.document("").await.claims.sequence, sequence);
    let events = history(&service).await;
    assert!(events.iter().any(|event| event["reason"] == "backchannel-logout of a session"));
}

#[tokio::test]
async fn a_source_file_that_is_wrong_keeps_the_service_from_starting() {
    let told = Options::default().sources("sources: { dir: { kind: graph, tenant: contoso } }").fails_to_start();
    assert_eq!(told.0, 2);
    for part in [
        "sources.yaml:1:",
        "sources.dir.tenant: found \"contoso\", expected a GUID",
        "sources.dir.client_id: found nothing",
        "`client_secret_env` or `certificate`",
    ] {
        assert!(told.1.contains(part), "{}", told.1);
    }
}

#[tokio::test]
async fn the_command_tells_how_sources_are() {
    let world = World::new(&by_secret("")).await;
    let service = world.start().await;
    until_current(&service).await;
    let run = |format: &'static str| {
        let mut command = crate::support::entra_gate();
        command.args(["revocations", "sources", "--output", format]).env("ENTRA_GATE_REVOCATIONS_URL", &service.api);
        let output = command.env("ENTRA_GATE_REVOCATIONS_TOKEN", crate::support::BOOTSTRAP).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (table, json) = (run("table"), run("json"));
    assert!(table.contains("directory") && table.contains("works"), "{table}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["sources"][0]["name"], &json["sources"][0]["kind"]), (&json!("directory"), &json!("graph")));
}
