//! Fetching and keeping keys: once for the whole process, never losing good ones, never asked too often.

use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::workforce;
use envoy_tests::contract::assert_refusal;
use envoy_tests::patience::until;
use envoy_tests::token::CONTOSO;
use envoy_tests::world::Surroundings;
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

const METADATA: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/discovery/v2.0/keys";

fn main() -> ExitCode {
    let everywhere = behaviours![
        a_cold_start_keeps_everybody_waiting_and_loses_nobody,
        one_fetch_serves_all_workers,
        a_new_key_passes_at_once,
        an_outage_of_the_identity_provider_is_not_noticed,
        without_keys_the_answer_is_503_until_they_come,
    ];
    let newest = behaviours![
        one_fetch_serves_four_workers,
        unknown_keys_cause_one_fetch_in_a_cool_down,
        a_scheduled_fetch_does_not_use_up_the_cool_down,
        a_removed_key_is_refused_after_the_next_refresh,
        failed_fetches_never_take_keys_away,
        a_failed_first_fetch_is_tried_again,
        keys_beyond_their_age_are_not_used,
        a_client_that_hangs_up_while_it_waits_harms_nobody,
        inline_keys_are_never_fetched,
        weak_keys_are_skipped_and_strong_ones_used,
        keys_of_another_cloud_instance_are_refused,
        metadata_of_another_tenant_is_refused,
        a_missing_cluster_is_503_and_no_crash,
    ];
    let releases = Release::all();
    Suite::new().alone(&releases, everywhere).alone(&releases[..1], newest).run()
}

/// One document only: tokens of version 2.
fn options(release: &Release, keys: Value) -> Options {
    options_with(release, json!({"keys": keys}))
}

fn options_with(release: &Release, mut members: Value) -> Options {
    members["token_versions"] = json!([2]);
    Options::new(release, workforce(&members))
}

/// A world whose keys are there.
async fn settled(options: &Options) -> World {
    let world = World::start(options).await;
    until("keys are fetched", async || (world.envoy.stat("keys.fetch_ok").await > 0).then_some(())).await;
    world
}

async fn fetches(world: &World) -> (u64, u64) {
    (world.entra.asked(METADATA).await, world.entra.asked(KEYS).await)
}

/// Sends this many requests at once, each on a connection of its own.
async fn at_once(world: &World, token: &str, number: usize) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for _ in 0..number {
        let (gate, request) = (world.envoy.ingress().clone(), Request::get("/orders").bearer(token));
        requests.spawn(async move { gate.send(request).await.expect("the gate answers") });
    }
    requests.join_all().await
}

async fn a_cold_start_keeps_everybody_waiting_and_loses_nobody(release: &Release) {
    for workers in [2, 4] {
        let surroundings = Surroundings::start().await;
        surroundings.entra.fault(json!({"path_contains": METADATA, "fault": {"delay_ms": 2_000}})).await;
        let token = surroundings.entra.mint(json!({})).await;
        let world = surroundings.with_envoy(&Options { workers, ..options(release, json!({})) }).await;
        let waiting = async {
            until("requests wait", async || (world.envoy.stat("waiting").await > 0).then_some(())).await;
        };
        let (answers, ()) = tokio::join!(at_once(&world, &token, 40), waiting);
        for answer in answers {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert_eq!(fetches(&world).await, (1, 1), "{workers} workers");
        until("nobody waits", async || (world.envoy.stat("waiting").await == 0).then_some(())).await;
        assert_eq!(world.upstream.count().await, 40);
        world.envoy.assert_sound().await;
    }
}

async fn one_fetch_serves(workers: u32, release: &Release) {
    let world = settled(&Options { workers, ..options(release, json!({})) }).await;
    let token = world.mint(json!({})).await;
    for answer in at_once(&world, &token, 40).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(fetches(&world).await, (1, 1));
    assert_eq!(world.envoy.stat("keys.fetch_ok").await, 1);
}

async fn one_fetch_serves_all_workers(release: &Release) {
    one_fetch_serves(2, release).await;
}

async fn one_fetch_serves_four_workers(release: &Release) {
    one_fetch_serves(4, release).await;
}

async fn a_new_key_passes_at_once(release: &Release) {
    let world = settled(&options(release, json!({}))).await;
    let old = world.mint(json!({})).await;
    assert_eq!(world.call("/orders", &old).await.status, 200);
    world.entra.keys(json!({"rotate": true})).await;
    let new = world.mint(json!({})).await;
    for answer in at_once(&world, &new, 20).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(fetches(&world).await, (2, 2));
    // The old key is still published.
    assert_eq!(world.call("/orders", &old).await.status, 200);
}

async fn unknown_keys_cause_one_fetch_in_a_cool_down(release: &Release) {
    let world = settled(&options(release, json!({"unknown_kid_cooldown": "5s"}))).await;
    let mut answers = JoinSet::new();
    for number in 0..30 {
        let token = world.mint(json!({"key": "stranger", "header": {"kid": format!("invented-{number}")}})).await;
        let gate = world.envoy.ingress().clone();
        answers.spawn(async move { gate.send(Request::get("/orders").bearer(&token)).await.expect("an answer") });
    }
    for answer in answers.join_all().await {
        assert_refusal(&answer, "key_unknown");
    }
    // The first fetch, and one that unknown keys caused.
    assert_eq!(fetches(&world).await, (2, 2));
    world.assert_passes("/orders", json!({})).await;

    // After the cool-down, one more.
    let token = world.mint(json!({"key": "stranger"})).await;
    until("another fetch is allowed", async || {
        assert_refusal(&world.call("/orders", &token).await, "key_unknown");
        (fetches(&world).await == (3, 3)).then_some(())
    })
    .await;
    for answer in at_once(&world, &token, 10).await {
        assert_refusal(&answer, "key_unknown");
    }
    assert_eq!(fetches(&world).await, (3, 3));
}

async fn a_scheduled_fetch_does_not_use_up_the_cool_down(release: &Release) {
    let world = settled(&options(release, json!({"unknown_kid_cooldown": "1h"}))).await;
    world.entra.keys(json!({"rotate": true})).await;
    // Just after the first fetch.
    world.assert_passes("/orders", json!({})).await;
    // That was this hour's.
    world.entra.keys(json!({"rotate": true})).await;
    let token = world.mint(json!({})).await;
    assert_refusal(&world.call("/orders", &token).await, "key_unknown");
    assert_eq!(fetches(&world).await, (2, 2));
}

async fn a_removed_key_is_refused_after_the_next_refresh(release: &Release) {
    let world = settled(&options(release, json!({"refresh": "1s"}))).await;
    let old = world.mint(json!({})).await;
    for answer in at_once(&world, &old, 10).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    world.entra.keys(json!({"rotate": true, "remove_old": true})).await;
    let refused = until("the old key is gone", async || {
        let answer = world.call("/orders", &old).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_refusal(&refused, "key_unknown");
    // In every worker.
    until("the old key is gone everywhere", async || {
        at_once(&world, &old, 20).await.iter().all(|answer| answer.status == 401).then_some(())
    })
    .await;
    world.assert_passes("/orders", json!({})).await;
}

async fn an_outage_of_the_identity_provider_is_not_noticed(release: &Release) {
    let world = settled(&options(release, json!({"refresh": "1s"}))).await;
    world.entra.fault(json!({"fault": {"reset": true}})).await;
    let failed = world.envoy.stat("keys.fetch_failed").await;
    until("fetches fail", async || (world.envoy.stat("keys.fetch_failed").await > failed + 1).then_some(())).await;
    let token = world.mint(json!({})).await;
    for answer in at_once(&world, &token, 20).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

async fn failed_fetches_never_take_keys_away(release: &Release) {
    let members = json!({"keys": {"refresh": "1s"}, "upstream": {"cluster": "entra", "timeout": "300ms"}});
    let world = settled(&options_with(release, members)).await;
    let token = world.mint(json!({})).await;
    let elsewhere = json!({"jwks_uri": "https://attacker.example/keys"});
    let plain = json!({"jwks_uri": "http://login.microsoftonline.com/common/discovery/v2.0/keys"});
    let other_issuer = json!({"issuer": "https://login.microsoftonline.com/00000000-0000-4000-8000-000000000000/v2.0"});
    let faults = [
        ("500", KEYS, json!({"status": 500})),
        ("500 of the metadata", METADATA, json!({"status": 500})),
        ("a redirect", KEYS, json!({"status": 302})),
        ("HTML", KEYS, json!({"body": "<html>Sign in</html>", "content_type": "text/html"})),
        ("HTML for metadata", METADATA, json!({"body": "<html>Sign in</html>", "content_type": "text/html"})),
        ("nothing", KEYS, json!({"body": ""})),
        ("null", KEYS, json!({"body": "null"})),
        ("an empty object", KEYS, json!({"body": "{}"})),
        ("an empty object for metadata", METADATA, json!({"body": "{}"})),
        ("no keys", KEYS, json!({"body": r#"{"keys":[]}"#})),
        ("no usable keys", KEYS, json!({"body": r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#})),
        ("half an answer", KEYS, json!({"truncate": true})),
        ("too large an answer", KEYS, json!({"oversize_bytes": 12 << 20})),
        ("another issuer", METADATA, json!({"json_patch": other_issuer})),
        ("keys on another host", METADATA, json!({"json_patch": elsewhere})),
        ("keys without TLS", METADATA, json!({"json_patch": plain})),
        ("a reset", KEYS, json!({"reset": true})),
        ("a reset of the metadata", METADATA, json!({"reset": true})),
        ("no answer in time", KEYS, json!({"delay_ms": 3_000})),
    ];
    for (name, path, fault) in faults {
        let failed = world.envoy.stat("keys.fetch_failed").await;
        world.entra.fault(json!({"path_contains": path, "fault": fault})).await;
        until(&format!("{name} is counted"), async || {
            assert_eq!(world.call("/orders", &token).await.status, 200, "{name}");
            (world.envoy.stat("keys.fetch_failed").await > failed).then_some(())
        })
        .await;
        assert_eq!(world.call("/orders", &token).await.status, 200, "{name}");
        let fetched = world.envoy.stat("keys.fetch_ok").await;
        world.entra.clear_faults().await;
        until(&format!("keys come again after {name}"), async || {
            (world.envoy.stat("keys.fetch_ok").await > fetched).then_some(())
        })
        .await;
    }
    assert_eq!(world.entra.asked("attacker.example").await, 0);
    world.envoy.assert_sound().await;
}

async fn without_keys_the_answer_is_503_until_they_come(release: &Release) {
    let surroundings = Surroundings::start().await;
    surroundings.entra.fault(json!({"fault": {"status": 503}})).await;
    let token = surroundings.entra.mint(json!({})).await;
    let world = surroundings.with_envoy(&options(release, json!({}))).await;
    let answer = world.assert_token_refused("/orders", &token, "keys_unavailable").await;
    assert_eq!(answer.status, 503);
    for answer in at_once(&world, &token, 20).await {
        assert_refusal(&answer, "keys_unavailable");
    }
    // What can be refused without keys is refused for its own reason.
    world.assert_refused(Request::get("/orders"), "token_missing").await;
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    world.assert_token_refused("/orders", &expired, "token_expired").await;
    world.entra.clear_faults().await;
    until("keys are there", async || {
        let answer = world.call("/orders", &token).await;
        assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn a_failed_first_fetch_is_tried_again(release: &Release) {
    let surroundings = Surroundings::start().await;
    surroundings.entra.fault(json!({"times": 2, "fault": {"reset": true}})).await;
    let world = surroundings.with_envoy(&options(release, json!({}))).await;
    // Nobody has to ask for it.
    until("keys are fetched", async || (world.envoy.stat("keys.fetch_ok").await == 1).then_some(())).await;
    assert_eq!(world.envoy.stat("keys.fetch_failed").await, 2);
    world.assert_passes("/orders", json!({})).await;
}

async fn keys_beyond_their_age_are_not_used(release: &Release) {
    let world = settled(&options(release, json!({"refresh": "1s", "max_age": "3s"}))).await;
    let token = world.mint(json!({})).await;
    assert_eq!(world.call("/orders", &token).await.status, 200);
    world.entra.fault(json!({"fault": {"status": 500}})).await;
    let refused = until("the keys are too old", async || {
        let answer = world.call("/orders", &token).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_refusal(&refused, "keys_unavailable");
    world.entra.clear_faults().await;
    until("keys are there", async || (world.call("/orders", &token).await.status == 200).then_some(())).await;
}

async fn a_client_that_hangs_up_while_it_waits_harms_nobody(release: &Release) {
    let surroundings = Surroundings::start().await;
    surroundings.entra.fault(json!({"path_contains": METADATA, "fault": {"delay_ms": 2_000}})).await;
    let token = surroundings.entra.mint(json!({})).await;
    let world = surroundings.with_envoy(&options(release, json!({}))).await;
    let request = format!("GET /impatient HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut impatient = Vec::new();
    for _ in 0..10 {
        let mut connection = world.envoy.ingress().connect().await.expect("a connection");
        connection.write_all(request.as_bytes()).await.expect("it is written");
        impatient.push(connection);
    }
    until("they wait", async || (world.envoy.stat("waiting").await == 10).then_some(())).await;
    drop(impatient);
    for answer in at_once(&world, &token, 10).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    until("nobody waits", async || (world.envoy.stat("waiting").await == 0).then_some(())).await;
    assert_eq!(world.upstream.count().await, 10, "an abandoned request was sent on");
    world.envoy.assert_sound().await;
}

async fn inline_keys_are_never_fetched(release: &Release) {
    let surroundings = Surroundings::start().await;
    let path = format!("/{CONTOSO}{KEYS}");
    let keys = surroundings.entra.document("login.microsoftonline.com", &path).await;
    surroundings.entra.forget_requests().await;
    let world = surroundings.with_envoy(&options_with(release, json!({"jwks": keys, "upstream": null}))).await;
    world.assert_passes("/orders", json!({})).await;
    let stranger = world.mint(json!({"key": "stranger"})).await;
    world.assert_token_refused("/orders", &stranger, "key_unknown").await;
    assert_eq!(fetches(&world).await, (0, 0));
}

async fn weak_keys_are_skipped_and_strong_ones_used(release: &Release) {
    let surroundings = Surroundings::start().await;
    for key in ["weak", "large"] {
        surroundings.entra.keys(json!({"add": key})).await;
    }
    surroundings.entra.keys(json!({"add": {"key": "stranger", "jwk": {"use": "enc"}}})).await;
    surroundings.entra.keys(json!({"add": {"key": "app", "jwk": {"kty": "oct", "k": "c2VjcmV0"}}})).await;
    let world = surroundings.with_envoy(&options(release, json!({}))).await;
    world.assert_passes("/orders", json!({})).await;
    world.assert_passes("/orders", json!({"key": "large"})).await;
    for key in ["weak", "stranger", "app"] {
        let token = world.mint(json!({"key": key})).await;
        world.assert_token_refused("/orders", &token, "key_unknown").await;
    }
}

async fn keys_of_another_cloud_instance_are_refused(release: &Release) {
    let surroundings = Surroundings::start().await;
    let of_another_cloud = json!({"key": "stranger", "jwk": {"cloud_instance_name": "microsoftonline.us"}});
    surroundings.entra.keys(json!({"add": of_another_cloud})).await;
    let world = surroundings.with_envoy(&options(release, json!({}))).await;
    let token = world.mint(json!({"key": "stranger"})).await;
    world.assert_token_refused("/orders", &token, "key_not_allowed").await;
    world.assert_passes("/orders", json!({})).await;
}

async fn metadata_of_another_tenant_is_refused(release: &Release) {
    let surroundings = Surroundings::start().await;
    let other = json!({"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"});
    surroundings.entra.fault(json!({"path_contains": METADATA, "fault": {"json_patch": other}})).await;
    let world = surroundings.with_envoy(&options(release, json!({}))).await;
    let token = world.mint(json!({})).await;
    world.assert_token_refused("/orders", &token, "keys_unavailable").await;
    assert_eq!(fetches(&world).await.1, 0, "keys were asked for");
}

async fn a_missing_cluster_is_503_and_no_crash(release: &Release) {
    let world = World::start(&options_with(release, json!({"upstream": {"cluster": "nowhere"}}))).await;
    let token = world.mint(json!({})).await;
    world.assert_token_refused("/orders", &token, "keys_unavailable").await;
    let log = world.envoy.log();
    assert!(log.contains("nowhere"), "{log}");
    world.envoy.assert_sound().await;
}
