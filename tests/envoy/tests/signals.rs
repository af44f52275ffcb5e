//! What whoever operates the gate can see: metrics, the access log's filter state, a log line for each refusal.

use std::collections::BTreeMap;
use std::process::ExitCode;

use envoy_tests::bootstrap::{Options, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::patience::until;
use envoy_tests::token::{CONTOSO, DAEMON, decode, parts};
use envoy_tests::{Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

const REASONS: [&str; 22] = [
    "algorithm_not_allowed",
    "audience_not_allowed",
    "claim_missing",
    "claim_not_allowed",
    "client_not_allowed",
    "introspection_unavailable",
    "issuer_not_allowed",
    "key_not_allowed",
    "key_unknown",
    "keys_unavailable",
    "request_malformed",
    "signature_invalid",
    "tenant_not_allowed",
    "token_expired",
    "token_inactive",
    "token_lifetime_too_long",
    "token_malformed",
    "token_missing",
    "token_not_yet_valid",
    "token_revoked",
    "token_type_not_allowed",
    "token_version_not_allowed",
];

fn options(release: &Release) -> Options {
    let mut configuration = workforce(&json!({}));
    merge(&mut configuration, &json!({"rules": [{"match": {"prefix": "/open"}, "allow": "anonymous"}]}));
    Options::new(release, configuration)
}

fn main() -> ExitCode {
    let shared = behaviours![
        each_request_counts_once,
        a_token_that_comes_again_is_remembered,
        metrics_have_the_names_that_prometheus_reads,
        fetches_and_the_age_of_keys_are_told,
        the_access_log_names_who_passed,
        the_access_log_tells_the_reason_and_nothing_unverified,
        the_access_log_of_an_open_path_names_nobody,
        a_refusal_is_one_line,
        a_token_cannot_forge_a_line,
        requests_that_pass_leave_no_line,
    ];
    let alone = behaviours![every_metric_is_there_from_the_start];
    Suite::new().shared(&Release::all(), options, shared).alone(&Release::all(), alone).run()
}

async fn every_metric_is_there_from_the_start(release: &Release) {
    let world = World::start(&options(release)).await;
    let stats = world.envoy.stats().await;
    for name in ["allowed", "anonymous", "keys.fetch_ok", "keys.fetch_failed", "keys.age_seconds", "waiting"]
        .into_iter()
        .chain(["token_cache.hit", "token_cache.miss"])
        .chain(["inquiries.answered", "inquiries.failed", "inquiries.unchecked"])
    {
        assert!(stats.contains_key(name), "{name}: {stats:?}");
    }
    for reason in REASONS {
        assert_eq!(stats.get(&format!("refused.{reason}")), Some(&0), "{reason}");
    }
    assert_eq!((stats["allowed"], stats["anonymous"]), (0, 0));
}

/// The counters that changed, by how much.
fn changes(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let counters = after.iter().filter(|(name, _)| !name.starts_with("keys.") && !name.starts_with("token_cache."));
    let counters = counters.filter(|(name, _)| *name != "waiting");
    counters
        .map(|(name, value)| (name.clone(), value - before.get(name).copied().unwrap_or_default()))
        .filter(|(_, change)| *change != 0)
        .collect()
}

async fn each_request_counts_once(world: &World) {
    let good = world.mint(json!({})).await;
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    let forged = world.mint(json!({"signature": "corrupt"})).await;
    for (request, counter) in [
        (Request::get("/orders").bearer(&good), "allowed"),
        (Request::get("/open"), "anonymous"),
        (Request::get("/open").bearer(&forged), "anonymous"),
        (Request::get("/orders"), "refused.token_missing"),
        (Request::get("/orders").bearer(&expired), "refused.token_expired"),
        (Request::get("/orders").bearer(&forged), "refused.signature_invalid"),
        (Request::get("/orders").bearer("x"), "refused.token_malformed"),
    ] {
        let before = world.envoy.stats().await;
        world.send(request).await;
        assert_eq!(changes(&before, &world.envoy.stats().await), [(counter.to_owned(), 1)]);
    }
}

async fn a_token_that_comes_again_is_remembered(world: &World) {
    const REQUESTS: u64 = 20;
    let before = world.envoy.stats().await;
    let token = world.mint(json!({})).await;
    for _ in 0..REQUESTS {
        assert_eq!(world.call("/orders", &token).await.status, 200);
    }
    let after = world.envoy.stats().await;
    let change = |name: &str| after[name] - before[name];
    let misses = change("token_cache.miss");
    // Each worker has a memory of its own.
    assert!((1..=2).contains(&misses), "{misses} misses");
    assert_eq!(change("token_cache.hit"), REQUESTS - misses);
}

async fn metrics_have_the_names_that_prometheus_reads(world: &World) {
    let text = world.envoy.ask("/stats/prometheus").await.text();
    for name in ["entra_gate_allowed", "entra_gate_refused_token_expired", "entra_gate_keys_fetch_ok"] {
        let told = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        assert!(text.lines().any(told), "{name}");
    }
}

async fn fetches_and_the_age_of_keys_are_told(world: &World) {
    // Both versions of one tenant: two documents.
    until("keys are fetched", async || (world.envoy.stat("keys.fetch_ok").await == 2).then_some(())).await;
    assert_eq!(world.envoy.stat("keys.fetch_failed").await, 0);
    until("keys grow old", async || (world.envoy.stat("keys.age_seconds").await >= 1).then_some(())).await;
    assert!(world.envoy.stat("keys.age_seconds").await < 3600);
}

async fn the_access_log_names_who_passed(world: &World) {
    let token = world.mint(json!({})).await;
    let claims: Value = serde_json::from_slice(&decode(parts(&token)[1])).expect("claims");
    assert_eq!(world.call("/who-passed", &token).await.status, 200);
    let entry = world.envoy.access("/who-passed").await;
    assert_eq!(
        entry,
        json!({
            "method": "GET", "path": "/who-passed", "status": 200, "reason": null, "payload": null, "provider": "workforce",
            "tenant": CONTOSO, "subject": claims["oid"], "client": DAEMON, "token_id": claims["uti"],
        })
    );
}

async fn the_access_log_tells_the_reason_and_nothing_unverified(world: &World) {
    let forged = world.mint(json!({"signature": "corrupt"})).await;
    assert_eq!(world.call("/who-was-refused", &forged).await.status, 401);
    let entry = world.envoy.access("/who-was-refused").await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!(401), &json!("signature_invalid")));
    for name in ["provider", "tenant", "subject", "client", "token_id"] {
        assert_eq!(entry[name], Value::Null, "{name}");
    }
}

async fn the_access_log_of_an_open_path_names_nobody(world: &World) {
    let token = world.mint(json!({})).await;
    assert_eq!(world.call("/open/to-all", &token).await.status, 200);
    let entry = world.envoy.access("/open/to-all").await;
    for name in ["reason", "provider", "tenant", "subject", "client", "token_id"] {
        assert_eq!(entry[name], Value::Null, "{name}");
    }
}

/// The lines of refusals, without what Envoy puts before them.
fn lines(world: &World) -> Vec<String> {
    let log = world.envoy.log();
    log.lines().filter_map(|line| Some(line[line.find("reason=")?..].to_owned())).collect()
}

/// The one line that this request causes.
async fn line(world: &World, request: Request) -> String {
    let before = lines(world).len();
    world.send(request).await;
    let mut new =
        until("the refusal is logged", async || Some(lines(world).split_off(before)).filter(|new| !new.is_empty()))
            .await;
    assert_eq!(new.len(), 1, "{new:?}");
    new.remove(0)
}

/// The members of a line, in order.
fn members(line: &str) -> Vec<(String, String)> {
    let (words, detail) = line.split_once(" detail=").expect("a detail");
    let mut members: Vec<(String, String)> = words
        .split(' ')
        .map(|word| word.split_once('=').unwrap_or_else(|| panic!("{word:?} in {line:?}")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let inner = detail.strip_prefix('"').and_then(|detail| detail.strip_suffix('"')).expect("a quoted detail");
    assert!(!inner.contains('"'), "{line}");
    members.push(("detail".into(), inner.into()));
    members
}

const MEMBERS: [&str; 8] = ["reason", "provider", "issuer", "tenant", "client", "kid", "token_id", "detail"];

async fn a_refusal_is_one_line(world: &World) {
    let token = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    let claims: Value = serde_json::from_slice(&decode(parts(&token)[1])).expect("claims");
    let header: Value = serde_json::from_slice(&decode(parts(&token)[0])).expect("a header");
    let line = line(world, Request::get("/orders").bearer(&token)).await;
    let members = members(&line);
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, MEMBERS);
    let told: BTreeMap<String, String> = members.into_iter().collect();
    for (name, value) in [
        ("reason", "token_expired"),
        ("provider", "workforce"),
        ("tenant", CONTOSO),
        ("client", DAEMON),
        ("issuer", claims["iss"].as_str().unwrap_or_default()),
        ("token_id", claims["uti"].as_str().unwrap_or_default()),
        ("kid", header["kid"].as_str().unwrap_or_default()),
    ] {
        assert_eq!(told[name], value, "{line}");
    }
    assert!(!told["detail"].is_empty());
    world.assert_untold(&token).await;
}

async fn a_token_cannot_forge_a_line(world: &World) {
    let hostile = "x\" detail=\"\"\r\n[info] reason=token_missing provider=- \u{1b}[31m\u{2028}";
    for claim in ["iss", "tid", "azp", "uti", "aud", "ver"] {
        let token = world.mint(json!({"claims": {claim: hostile}, "signature": "corrupt"})).await;
        let line = line(world, Request::get("/orders").bearer(&token)).await;
        let names: Vec<String> = members(&line).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, MEMBERS, "{claim}: {line}");
        assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{claim}: {line:?}");
    }
    let token = world.mint(json!({"header": {"kid": hostile}})).await;
    let line = line(world, Request::get("/orders").bearer(&token)).await;
    assert!(line.starts_with("reason=key_unknown "), "{line}");
    // Long claims do not make long lines.
    let token = world.mint(json!({"claims": {"iss": "x".repeat(8_000)}})).await;
    let line = self::line(world, Request::get("/orders").bearer(&token)).await;
    assert!(line.len() < 4_000, "{} bytes", line.len());
}

async fn requests_that_pass_leave_no_line(world: &World) {
    let before = lines(world).len();
    world.assert_passes("/orders", json!({})).await;
    assert_eq!(world.send(Request::get("/open")).await.status, 200);
    // The log is in order: had they left a line, it would stand before this one.
    line(world, Request::get("/orders")).await;
    assert_eq!(lines(world).len(), before + 1);
}
