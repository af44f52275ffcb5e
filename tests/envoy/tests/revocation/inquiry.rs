//! What others say of a token, over the network: every way in which they can fail has its answer.

use std::sync::atomic::{AtomicU64, Ordering};

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::by_path;
use envoy_tests::contract::assert_refusal;
use envoy_tests::patience::until;
use envoy_tests::suite::Named;
use envoy_tests::token::{CONTOSO, DAEMON, ORDERS, PUBLIC};
use envoy_tests::{Answer, Release, Request, World, behaviours};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
const LISTS: &str = "https://status.example.com/lists/";
const EXPLAIN: &str = "a-worthless-secret-to-explain";

pub(super) fn options(release: &Release) -> Options {
    let oidc = |members: Value| {
        let metadata = "https://idp.example.com/.well-known/openid-configuration";
        let mut provider = json!({"kind": "oidc", "metadata_url": metadata});
        merge(&mut provider, &members);
        provider
    };
    // Each has an address of its own, so that faults befall one of them.
    let introspection = |name: &str, members: Value| {
        let mut settings = json!({
            "url": format!("https://idp.example.com/introspect?for={name}"), "cluster": "entra", "client_id": "gate",
            "client_secret_env": "INTROSPECTION_SECRET", "timeout": "1s",
        });
        merge(&mut settings, &members);
        oidc(json!({ "introspection": settings }))
    };
    let lists = |members: Value| {
        let mut settings = json!({"uris": [LISTS], "cluster": "entra", "timeout": "1s"});
        merge(&mut settings, &members);
        oidc(json!({ "status_lists": settings }))
    };
    let mut configuration = by_path(&json!({
        "opaque": introspection("opaque", json!({})),
        "posted": introspection("posted", json!({"authentication": "post", "cache": "1s"})),
        "quiet": introspection("quiet", json!({})),
        "lenient": introspection("lenient", json!({"on_failure": "allow"})),
        "stranger": introspection("stranger", json!({"client_id": "somebody"})),
        "nowhere": introspection("nowhere", json!({"cluster": "nowhere"})),
        "graph": {
            "tenants": [CONTOSO], "client_applications": [DAEMON],
            "graph_tokens": {"cluster": "entra", "timeout": "1s"},
        },
        "plain": {"tenants": [CONTOSO]},
        "listed": lists(json!({})),
        "listed-lenient": lists(json!({"on_failure": "allow"})),
    }));
    merge(&mut configuration, &json!({"explain": {"header": "x-why", "secret_env": "EXPLAIN_SECRET"}}));
    let secret = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment =
        vec![secret("INTROSPECTION_SECRET", "worthless-introspection-secret"), secret("EXPLAIN_SECRET", EXPLAIN)];
    Options { environment, ..Options::new(release, configuration) }
}

pub(super) fn all() -> Vec<Named<World>> {
    behaviours![
        an_opaque_token_passes_by_what_its_server_says,
        a_token_that_its_server_gave_up_passes_no_longer,
        a_question_is_asked_once_for_all_who_wait,
        without_an_answer_about_a_token_the_gate_says_503,
        with_on_failure_allow_a_verified_token_passes_and_is_counted,
        a_server_that_asks_for_quiet_gets_it,
        a_gate_that_its_server_does_not_know_says_503,
        a_token_for_graph_is_vouched_for_by_graph,
        without_graph_s_answer_the_gate_says_503,
        a_status_list_revokes_and_suspends,
        an_address_that_a_token_names_is_not_asked_unless_it_is_listed,
        without_a_good_list_the_gate_says_503_or_what_the_policy_says,
        a_trace_names_who_was_asked,
    ]
}

/// Part of a name that no other test has.
fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A text that is no JWT.
fn opaque() -> String {
    format!("{}.an-opaque-token-that-nobody-may-read-in-a-log-{}", unique(), std::process::id())
}

/// What its server says of it from now on.
async fn tell(world: &World, token: &str, answer: &Value) {
    let told = json!({"token": token, "answer": answer});
    let answer =
        world.entra.origin().send(Request::post("/_mock/introspection", &told)).await.expect("the mock answers");
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn active(changes: &Value) -> Value {
    let mut answer = json!({
        "active": true, "aud": ORDERS, "client_id": "their-app", "sub": "somebody", "exp": 9_999_999_999_u64,
    });
    merge(&mut answer, changes);
    answer
}

/// A new opaque token that its server calls active.
async fn good(world: &World) -> String {
    let token = opaque();
    tell(world, &token, &active(&json!({}))).await;
    token
}

async fn passes(world: &World, path: &str, token: &str) -> Answer {
    let answer = world.call(path, token).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

/// A new list with these members, and a token at this place of it.
async fn listed(world: &World, place: u64, members: Value) -> String {
    let name = format!("{}", unique());
    let mut list = json!({ "name": name });
    merge(&mut list, &members);
    let answer =
        world.entra.origin().send(Request::post("/_mock/status_lists", &list)).await.expect("the mock answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    at(world, place, &format!("{LISTS}{name}")).await
}

async fn at(world: &World, place: u64, uri: &str) -> String {
    world.mint(json!({"kind": "oidc", "claims": {"status": {"status_list": {"idx": place, "uri": uri}}}})).await
}

async fn graph_token(world: &World, changes: Value) -> String {
    let mut request = json!({"audience": GRAPH, "version": 1, "graph_bound": true, "scopes": "openid User.Read"});
    merge(&mut request, &changes);
    world.mint(request).await
}

/// What can go wrong with an answer.
fn faults() -> Vec<Value> {
    vec![
        json!({"delay_ms": 2_500}),
        json!({"reset": true}),
        json!({"truncate": true}),
        json!({"status": 500}),
        json!({"status": 404}),
        json!({"status": 302}),
        json!({"body": "<html>"}),
        json!({"body": "{}"}),
        json!({"body": ""}),
        json!({"oversize_bytes": 600 * 1024}),
    ]
}

async fn befalls(world: &World, part: &str, fault: &Value) {
    world.entra.clear_faults().await;
    world.entra.fault(json!({"path_contains": part, "fault": fault})).await;
}

async fn an_opaque_token_passes_by_what_its_server_says(world: &World) {
    world.entra.clear_faults().await;
    for path in ["/opaque", "/posted"] {
        let token = good(world).await;
        let once = format!("{path}?{}", unique());
        passes(world, &once, &token).await;
        let entry = world.envoy.access(&once).await;
        assert_eq!((&entry["client"], &entry["subject"]), (&json!("their-app"), &json!("somebody")));
        let refused = opaque();
        world.assert_token_refused(path, &refused, "token_inactive").await;
    }
    for (changes, reason) in [
        (json!({"aud": "another"}), "audience_not_allowed"),
        (json!({"aud": null}), "claim_missing"),
        (json!({"exp": 1}), "token_expired"),
        (json!({"nbf": 9_999_999_998_u64}), "token_not_yet_valid"),
        (json!({"iss": "https://evil.example"}), "issuer_not_allowed"),
    ] {
        let token = opaque();
        tell(world, &token, &active(&changes)).await;
        world.assert_token_refused("/opaque", &token, reason).await;
    }
    // Where nobody can be asked it is malformed, as ever.
    let token = good(world).await;
    world.assert_token_refused("/plain", &token, "token_malformed").await;
}

async fn a_token_that_its_server_gave_up_passes_no_longer(world: &World) {
    world.entra.clear_faults().await;
    let opaque = good(world).await;
    let jwt = world.mint(json!({"kind": "oidc"})).await;
    for token in [opaque, jwt] {
        passes(world, "/posted", &token).await;
        tell(world, &token, &json!({"active": false})).await;
        // An answer counts for a second.
        until("the token is refused", async || {
            (world.call("/posted", &token).await.reason().as_deref() == Some("token_inactive")).then_some(())
        })
        .await;
    }
}

async fn a_question_is_asked_once_for_all_who_wait(world: &World) {
    const ADDRESS: &str = "/introspect?for=opaque";
    befalls(world, ADDRESS, &json!({"delay_ms": 300})).await;
    let token = good(world).await;
    let before = world.entra.asked(ADDRESS).await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (gate, request) = (world.envoy.ingress().clone(), Request::get("/opaque").bearer(&token));
        requests.spawn(async move { gate.send(request).await.expect("the gate answers") });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let asked = world.entra.asked(ADDRESS).await - before;
    // Once in each worker, and what was heard counts on.
    assert!((1..=2).contains(&asked), "{asked}");
    for _ in 0..10 {
        passes(world, "/opaque", &token).await;
    }
    assert!(world.entra.asked(ADDRESS).await - before <= 2);
    world.entra.clear_faults().await;
}

async fn without_an_answer_about_a_token_the_gate_says_503(world: &World) {
    // What was heard before counts, whatever happens now.
    world.entra.clear_faults().await;
    let known = good(world).await;
    for _ in 0..10 {
        passes(world, "/opaque", &known).await;
    }
    let failed = world.envoy.stat("inquiries.failed").await;
    for fault in faults() {
        befalls(world, "/introspect?for=opaque", &fault).await;
        let (opaque, jwt) = (good(world).await, world.mint(json!({"kind": "oidc"})).await);
        for token in [&opaque, &jwt] {
            world.assert_token_refused("/opaque", token, "introspection_unavailable").await;
        }
        world.entra.clear_faults().await;
        for token in [&opaque, &jwt] {
            until("the token passes", async || (world.call("/opaque", token).await.status == 200).then_some(())).await;
        }
    }
    let token = good(world).await;
    world.assert_token_refused("/nowhere", &token, "introspection_unavailable").await;
    assert!(world.envoy.stat("inquiries.failed").await > failed + 2 * u64::try_from(faults().len()).expect("few"));
    world.envoy.assert_sound().await;
}

async fn with_on_failure_allow_a_verified_token_passes_and_is_counted(world: &World) {
    let unchecked = world.envoy.stat("inquiries.unchecked").await;
    for fault in [json!({"status": 500}), json!({"reset": true}), json!({"body": "<html>"})] {
        befalls(world, "/introspect?for=lenient", &fault).await;
        let (opaque, jwt) = (good(world).await, world.mint(json!({"kind": "oidc"})).await);
        passes(world, "/lenient", &jwt).await;
        // Nothing else vouches for it.
        world.assert_token_refused("/lenient", &opaque, "introspection_unavailable").await;
        let forged = world.mint(json!({"kind": "oidc", "signature": "corrupt"})).await;
        world.assert_token_refused("/lenient", &forged, "signature_invalid").await;
    }
    world.entra.clear_faults().await;
    assert_eq!(world.envoy.stat("inquiries.unchecked").await, unchecked + 3);
}

async fn a_server_that_asks_for_quiet_gets_it(world: &World) {
    const ADDRESS: &str = "/introspect?for=quiet";
    befalls(world, ADDRESS, &json!({"status": 429, "retry_after": 50})).await;
    let before = world.entra.asked(ADDRESS).await;
    for _ in 0..20 {
        let answer = world.send(Request::get("/quiet").bearer(&good(world).await)).await;
        assert_refusal(&answer, "introspection_unavailable");
        let retry_after: u64 = answer.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
        assert!((30..=50).contains(&retry_after), "{retry_after}");
    }
    let asked = world.entra.asked(ADDRESS).await - before;
    assert!((1..=2).contains(&asked), "{asked}: once in each worker");
    world.entra.clear_faults().await;
}

async fn a_gate_that_its_server_does_not_know_says_503(world: &World) {
    world.entra.clear_faults().await;
    let token = good(world).await;
    world.assert_token_refused("/stranger", &token, "introspection_unavailable").await;
    let log = world.envoy.log();
    assert!(log.contains("no answer about a token: https://idp.example.com/introspect?for=stranger: status 401"));
    assert!(!log.contains("worthless-introspection-secret"));
}

async fn a_token_for_graph_is_vouched_for_by_graph(world: &World) {
    world.entra.clear_faults().await;
    let token = graph_token(world, json!({})).await;
    let before = world.entra.asked("graph.microsoft.com/oidc/userinfo").await;
    for _ in 0..10 {
        passes(world, "/graph", &token).await;
    }
    let asked = world.entra.asked("graph.microsoft.com/oidc/userinfo").await - before;
    assert!((1..=2).contains(&asked), "{asked}: once in each worker");
    for (changes, reason) in [
        (json!({"signature": "corrupt"}), "token_inactive"),
        (json!({"scopes": "User.Read"}), "token_inactive"),
        (json!({"client": PUBLIC}), "client_not_allowed"),
        (json!({"tenant": "fabrikam"}), "tenant_not_allowed"),
        (json!({"expires_in": -600, "issued_ago": 4_200}), "token_expired"),
        (json!({"audience": "https://graph.microsoft.us"}), "audience_not_allowed"),
    ] {
        let token = graph_token(world, changes).await;
        world.assert_token_refused("/graph", &token, reason).await;
    }
    befalls(world, "/oidc/userinfo", &json!({"json_patch": {"sub": "somebody else"}})).await;
    let other = graph_token(world, json!({})).await;
    world.assert_token_refused("/graph", &other, "claim_not_allowed").await;
    world.entra.clear_faults().await;
    // Where nobody said that they are welcome.
    let answer = world.assert_token_refused("/plain", &token, "audience_not_allowed").await;
    assert!(answer.text().contains("Microsoft Graph"), "{answer:?}");
    // Tokens of this API are what they were.
    world.assert_passes("/graph", json!({})).await;
}

async fn without_graph_s_answer_the_gate_says_503(world: &World) {
    // Graph's own way to refuse is an answer.
    for fault in faults() {
        befalls(world, "/oidc/userinfo", &fault).await;
        let token = graph_token(world, json!({})).await;
        world.assert_token_refused("/graph", &token, "introspection_unavailable").await;
        world.entra.clear_faults().await;
        until("the token passes", async || (world.call("/graph", &token).await.status == 200).then_some(())).await;
    }
}

async fn a_status_list_revokes_and_suspends(world: &World) {
    world.entra.clear_faults().await;
    let list = json!({"bits": 2, "bytes": 250, "set": {"7": 1, "8": 2, "9": 3}});
    let valid = listed(world, 6, list).await;
    let claims: Value =
        serde_json::from_slice(&envoy_tests::token::decode(envoy_tests::token::parts(&valid)[1])).expect("claims");
    let uri = claims["status"]["status_list"]["uri"].as_str().expect("an address").to_owned();
    for _ in 0..10 {
        passes(world, "/listed", &valid).await;
    }
    for (place, reason) in
        [(7, "token_revoked"), (8, "token_revoked"), (9, "token_revoked"), (1_000, "claim_not_allowed")]
    {
        let token = at(world, place, &uri).await;
        world.assert_token_refused("/listed", &token, reason).await;
    }
    let name = uri.rsplit('/').next().expect("a name");
    // One list for all of them.
    assert!((1..=2).contains(&world.entra.asked(&format!("/lists/{name}")).await));
    // A token that is refused anyway is not looked up, and one without a status has none.
    let expired =
        json!({"kind": "oidc", "expires_in": -600, "issued_ago": 4_200, "claims": {"status": claims["status"]}});
    let expired = world.mint(expired).await;
    world.assert_token_refused("/listed", &expired, "token_expired").await;
    world.assert_passes("/listed", json!({"kind": "oidc"})).await;
}

async fn an_address_that_a_token_names_is_not_asked_unless_it_is_listed(world: &World) {
    world.entra.clear_faults().await;
    let before = world.entra.asked("").await;
    for uri in [
        "https://evil.example/lists/1",
        "https://status.example.com/other/1",
        "https://status.example.com/lists/../other",
        "https://status.example.com/lists/%2e%2e/other",
        "https://status.example.com/lists/1?to=evil.example",
        "http://status.example.com/lists/1",
    ] {
        let token = at(world, 1, uri).await;
        world.assert_token_refused("/listed", &token, "claim_not_allowed").await;
    }
    assert_eq!(world.entra.asked("").await, before);
}

async fn without_a_good_list_the_gate_says_503_or_what_the_policy_says(world: &World) {
    world.entra.clear_faults().await;
    let unchecked = world.envoy.stat("inquiries.unchecked").await;
    let bad_lists = [
        json!({"corrupt": true}),
        json!({"key": "stranger"}),
        json!({"header": {"typ": "JWT"}}),
        json!({"claims": {"sub": format!("{LISTS}another")}}),
        json!({"claims": {"status_list": {"bits": 3}}}),
        json!({"expires_in": -1}),
        // 6 MB of nothing in 6 KB.
        json!({"bytes": 6_000_000}),
    ];
    for members in bad_lists {
        let token = listed(world, 1, members).await;
        world.assert_token_refused("/listed", &token, "revocation_unavailable").await;
        passes(world, "/listed-lenient", &token).await;
    }
    for fault in faults() {
        let token = listed(world, 1, json!({})).await;
        befalls(world, "/lists/", &fault).await;
        world.assert_token_refused("/listed", &token, "revocation_unavailable").await;
        passes(world, "/listed-lenient", &token).await;
        world.entra.clear_faults().await;
        until("the token passes", async || (world.call("/listed", &token).await.status == 200).then_some(())).await;
    }
    assert!(world.envoy.stat("inquiries.unchecked").await >= unchecked + 10);
    let missing = at(world, 1, &format!("{LISTS}missing")).await;
    world.assert_token_refused("/listed", &missing, "revocation_unavailable").await;
    world.envoy.assert_sound().await;
}

async fn a_trace_names_who_was_asked(world: &World) {
    world.entra.clear_faults().await;
    let token = good(world).await;
    let answer = world.send(Request::get("/opaque").bearer(&token).header("x-why", EXPLAIN)).await;
    let trace = answer.json();
    assert_eq!(trace["verdict"]["outcome"], "allowed", "{trace}");
    assert_eq!(trace["waited_for"], json!(["https://idp.example.com/introspect?for=opaque"]), "{trace}");
    let checks = trace["checks"].as_array().expect("checks");
    let introspection = checks.iter().find(|check| check["check"] == "introspection").expect("a check");
    assert_eq!((&introspection["outcome"], &introspection["found"]), (&json!("passed"), &json!("active")));
    assert!(!trace.to_string().contains(&token), "{trace}");
}
