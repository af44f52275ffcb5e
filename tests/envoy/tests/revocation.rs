//! Revocation by a feed: known to every worker within two seconds, and never forgotten because something else fails.

#[path = "revocation/inquiry.rs"]
mod inquiry;

use std::process::ExitCode;
use std::time::Duration;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::workforce;
use envoy_tests::contract::assert_refusal;
use envoy_tests::envoy::{repository, wasm};
use envoy_tests::feed::{Conduct, Feed, Form, sign};
use envoy_tests::patience::until;
use envoy_tests::published::Shelf;
use envoy_tests::renewal::Renewal;
use envoy_tests::revocations::Service;
use envoy_tests::token::CONTOSO;
use envoy_tests::world::Surroundings;
use envoy_tests::{Answer, Envoy, Origin, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn main() -> ExitCode {
    let everywhere = behaviours![
        a_revocation_reaches_every_worker_and_nobody_else,
        a_fresh_vm_starts_from_what_the_others_hold,
        a_trapped_vm_lets_nobody_in,
        before_the_first_load_nobody_passes_and_the_revoked_are_known,
    ];
    let newest = behaviours![
        every_kind_of_subject_is_revoked,
        long_polls_bring_news_at_once,
        bad_feeds_change_nothing,
        a_feed_that_is_stale_denies,
        a_feed_that_is_stale_allows_where_it_may,
        an_envoy_that_restarts_without_its_feed_lets_nobody_in,
        many_entries_come_in_pages,
        a_published_folder_is_followed_while_its_publisher_is_killed,
        a_published_bucket_is_followed_while_its_publisher_is_killed,
        entries_expire,
        a_snapshot_replaces_what_was_known,
        a_lift_lets_new_tokens_in,
        memory_is_flat_over_ten_turnovers,
        a_missing_cluster_is_503_and_no_crash,
        a_user_who_is_disabled_in_the_directory_is_refused_without_anybody_typing,
    ];
    let releases = Release::all();
    Suite::new()
        .alone(&releases, everywhere)
        .alone(&releases[..1], newest)
        .shared(&releases, inquiry::options, inquiry::all())
        .run()
}

/// A feed, and an Envoy that listens to it.
async fn world(release: &Release, feed: &Feed, members: &Value) -> World {
    World::start(&options(release, feed, members)).await
}

fn options(release: &Release, feed: &Feed, members: &Value) -> Options {
    let mut configuration = workforce(&json!({"token_versions": [2]}));
    configuration["revocation"] = json!({"feed": feed.configuration(members)});
    with_feed(Options::new(release, configuration), feed)
}

fn with_feed(mut options: Options, feed: &Feed) -> Options {
    options.clusters.push(("revocations", feed.addr()));
    options
}

/// A user's entry.
fn blocked(user: &str) -> Value {
    json!({"tenant": CONTOSO, "user": user, "blocked": true})
}

/// A user's token.
async fn token_of(world: &World, user: &str) -> String {
    world.mint(json!({"claims": {"oid": user}})).await
}

/// So many answers at once, each on a connection of its own, so that every worker gives some.
async fn at_once(envoy: &Envoy, token: &str) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for _ in 0..16 {
        let (gate, request) = (envoy.ingress().clone(), Request::get("/orders").bearer(token));
        requests.spawn(async move { gate.send(request).await.expect("the gate answers") });
    }
    requests.join_all().await
}

/// Every worker lets the token in.
async fn until_it_passes(envoy: &Envoy, token: &str) {
    until("the token passes everywhere", async || {
        at_once(envoy, token).await.iter().all(|answer| answer.status == 200).then_some(())
    })
    .await;
}

/// Every worker refuses the token. In the meantime it either passes or does not.
async fn until_it_is_revoked(envoy: &Envoy, token: &str) {
    until("the token is revoked everywhere", async || {
        let answers = at_once(envoy, token).await;
        answers.iter().all(|answer| answer.reason().as_deref() == Some("token_revoked")).then_some(())
    })
    .await;
}

async fn a_revocation_reaches_every_worker_and_nobody_else(release: &Release) {
    let feed = Feed::start().await;
    feed.add([blocked("carl")]);
    let world = world(release, &feed, &json!({"interval": "1s"})).await;
    let (anna, bert) = (token_of(&world, "anna").await, token_of(&world, "bert").await);
    until_it_passes(&world.envoy, &anna).await;
    until_it_passes(&world.envoy, &bert).await;
    let now = u32::try_from(unix_seconds()).expect("before 2106");
    let told = Instant::now();
    feed.add([json!({"tenant": CONTOSO, "user": "anna", "not_before": now + 1})]);
    until_it_is_revoked(&world.envoy, &anna).await;
    let took = told.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    world.assert_token_refused("/orders", &anna, "token_revoked").await;
    for answer in at_once(&world.envoy, &bert).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // She signs in again.
    sleep(Duration::from_millis(1_200)).await;
    let again = token_of(&world, "anna").await;
    for answer in at_once(&world.envoy, &again).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let stats = world.envoy.stats().await;
    let stat = |name: &str| stats.get(name).copied();
    assert_eq!((stat("revocation.entries"), stat("revocation.sequence")), (Some(2), Some(2)));
    assert_eq!(stat("revocation.hits"), stat("refused.token_revoked"));
    assert!(stat("revocation.hits") > Some(16) && stat("revocation.age_seconds") <= Some(2), "{stats:?}");
    assert_eq!(stat("revocation.feed_failed"), Some(0));
    // One fetcher for both workers, and deltas for it.
    let seconds = usize::try_from(told.elapsed().as_secs()).expect("few seconds");
    assert!(feed.asked().len() <= seconds + 5, "{:?}", feed.asked());
    assert_eq!((feed.served("snapshot"), feed.served("delta")), (1, 1));
    world.envoy.assert_sound().await;
}

async fn every_kind_of_subject_is_revoked(release: &Release) {
    let feed = Feed::start().await;
    let world = world(release, &feed, &json!({})).await;
    let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    let minted = |claims: Value| {
        let world = &world;
        async move { world.mint(json!({"claims": claims})).await }
    };
    let bystander = minted(json!({})).await;
    until_it_passes(&world.envoy, &bystander).await;
    for (entry, claims) in [
        (json!({"tenant": CONTOSO, "user": "one"}), json!({"oid": "one"})),
        (json!({"tenant": CONTOSO.to_uppercase(), "session": "two"}), json!({"sid": "two"})),
        (json!({"tenant": CONTOSO, "client": "three"}), json!({"azp": "three"})),
        (json!({"issuer": issuer, "token": "four"}), json!({"uti": "four"})),
        (json!({"issuer": issuer, "subject": "five"}), json!({"sub": "five"})),
    ] {
        let token = minted(claims).await;
        assert_eq!(world.call("/orders", &token).await.status, 200, "{entry}");
        let mut entry = entry;
        entry["blocked"] = true.into();
        feed.add([entry]);
        until_it_is_revoked(&world.envoy, &token).await;
        assert_eq!(world.call("/orders", &bystander).await.status, 200);
    }
    feed.add([json!({"tenant": CONTOSO, "blocked": true})]);
    until_it_is_revoked(&world.envoy, &bystander).await;
}

async fn long_polls_bring_news_at_once(release: &Release) {
    let feed = Feed::start().await;
    let members = json!({"interval": "20s", "long_poll": "20s", "max_staleness": "60s"});
    let world = world(release, &feed, &members).await;
    let bystander = token_of(&world, "bystander").await;
    until_it_passes(&world.envoy, &bystander).await;
    for user in ["one", "two", "three"] {
        let token = token_of(&world, user).await;
        assert_eq!(world.call("/orders", &token).await.status, 200);
        let told = Instant::now();
        feed.add([blocked(user)]);
        until_it_is_revoked(&world.envoy, &token).await;
        assert!(told.elapsed() < Duration::from_secs(1), "{user}: {:?}", told.elapsed());
    }
    assert!(feed.asked().len() <= 6, "{:?}", feed.asked());
    // Who has nothing yet is not kept waiting.
    let waits: Vec<bool> = feed.asked().iter().map(|path| path.contains("&wait=20")).collect();
    assert!(!waits[0] && waits[1..].iter().all(|waits| *waits), "{:?}", feed.asked());
}

async fn before_the_first_load_nobody_passes_and_the_revoked_are_known(release: &Release) {
    let feed = Feed::start().await;
    feed.behave(Conduct::Status(500));
    feed.add([blocked("anna")]);
    let mut options = options(release, &feed, &json!({}));
    options.configuration["revocation"]["entries"] = json!([blocked("carl")]);
    options.configuration["rules"] = json!([{"match": {"path": "/open"}, "allow": "anonymous"}]);
    let world = World::start(&options).await;
    let (anna, bert) = (token_of(&world, "anna").await, token_of(&world, "bert").await);
    let carl = token_of(&world, "carl").await;
    until("keys are fetched", async || (world.envoy.stat("keys.fetch_ok").await > 0).then_some(())).await;
    for token in [&anna, &bert] {
        world.assert_token_refused("/orders", token, "revocation_unavailable").await;
    }
    world.assert_token_refused("/orders", &carl, "token_revoked").await;
    // What is bad for another reason is told that, and who needs no token notices nothing.
    let expired = world.mint(json!({"expires_in": -600, "issued_ago": 4200})).await;
    world.assert_token_refused("/orders", &expired, "token_expired").await;
    assert_eq!(world.send(Request::get("/open")).await.status, 200);
    until("failures are counted", async || (world.envoy.stat("revocation.feed_failed").await > 1).then_some(())).await;
    feed.behave(Conduct::Good);
    until("the feed is loaded", async || {
        assert_ne!(world.call("/orders", &anna).await.status, 200);
        (world.call("/orders", &bert).await.status == 200).then_some(())
    })
    .await;
    until_it_is_revoked(&world.envoy, &anna).await;
    world.assert_token_refused("/orders", &carl, "token_revoked").await;
    world.envoy.assert_sound().await;
}

async fn bad_feeds_change_nothing(release: &Release) {
    let feed = Feed::start().await;
    feed.add([blocked("x"), blocked("y"), blocked("anna")]);
    let world = world(release, &feed, &json!({"timeout": "5s"})).await;
    let (anna, bert) = (token_of(&world, "anna").await, token_of(&world, "bert").await);
    until_it_is_revoked(&world.envoy, &anna).await;
    let empties = |sequence: u64| json!({"iss": "feed", "iat": 1, "seq": sequence, "entries": []});
    let header = |members: Value| {
        let mut header = json!({"alg": "ES256", "kid": "1", "typ": "revocations+jwt"});
        envoy_tests::bootstrap::merge(&mut header, &members);
        header
    };
    let good = Feed::document(1, &empties(9));
    let with_byte_changed = {
        let mut changed = good.clone();
        let at = changed.len() / 2;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        changed
    };
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("null", b"null".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("HTML", b"<!doctype html><title>Sign in</title>".to_vec()),
        ("half of it", good[..good.len() / 2].to_vec()),
        ("a byte changed", with_byte_changed),
        ("another key", Feed::document(2, &empties(9))),
        ("another key under the good kid", sign(2, &header(json!({})), &empties(9))),
        ("no typ", sign(1, &header(json!({"typ": null})), &empties(9))),
        ("crit", sign(1, &header(json!({"crit": ["b64"]})), &empties(9))),
        ("alg none", sign(1, &header(json!({"alg": "none"})), &empties(9))),
        ("another alg", sign(1, &header(json!({"alg": "RS256"})), &empties(9))),
        ("an older sequence", Feed::document(1, &empties(2))),
        ("no sequence", Feed::document(1, &json!({"iss": "feed", "iat": 1, "entries": []}))),
        ("no entries", Feed::document(1, &json!({"iss": "feed", "iat": 1, "seq": 9}))),
        ("null for entries", Feed::document(1, &json!({"iss": "feed", "iat": 1, "seq": 9, "entries": null}))),
        ("an entry that is none", {
            let entries = json!([blocked("bert"), {"tenant": CONTOSO}]);
            Feed::document(1, &json!({"iss": "feed", "iat": 1, "seq": 9, "entries": entries}))
        }),
        ("a delta on something unknown", {
            Feed::document(1, &json!({"iss": "feed", "iat": 1, "seq": 9, "base": 8, "entries": []}))
        }),
        ("pages that do not exist", {
            let page = json!({"path": "/v1/feed/pages/none", "sha256": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "records": 1});
            let packed = json!({"format": 1, "key": "AAECAwQFBgcICQoLDA0ODw", "pages": [page]});
            Feed::document(1, &json!({"iss": "feed", "iat": 1, "seq": 9, "packed": packed}))
        }),
        ("an access token", anna.clone().into_bytes()),
        ("64 MB", vec![b'A'; 64 << 20]),
        ("31 MB of nothing", vec![b'A'; 31 << 20]),
    ];
    let sound = async |name: &str| {
        assert_refusal(&world.call("/orders", &anna).await, "token_revoked");
        let answer = world.call("/orders", &bert).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    };
    let mut conducts: Vec<(&str, Conduct)> =
        bodies.into_iter().map(|(name, body)| (name, Conduct::Body(body))).collect();
    conducts.extend([
        ("404", Conduct::Status(404)),
        ("500", Conduct::Status(500)),
        ("a redirect", Conduct::Status(302)),
        ("204", Conduct::Status(204)),
        ("a reset", Conduct::Reset),
    ]);
    for (name, conduct) in conducts {
        let failed = world.envoy.stat("revocation.feed_failed").await;
        feed.behave(conduct);
        until(&format!("{name} is counted"), async || {
            sound(name).await;
            (world.envoy.stat("revocation.feed_failed").await > failed).then_some(())
        })
        .await;
        assert_eq!(world.envoy.stat("revocation.sequence").await, 3, "{name}");
        sound(name).await;
        feed.behave(Conduct::Good);
        let asked = feed.served("unchanged") + feed.served("snapshot");
        until(&format!("it is good again after {name}"), async || {
            (feed.served("unchanged") + feed.served("snapshot") > asked).then_some(())
        })
        .await;
    }
    // It was never more than a bad feed.
    let token = token_of(&world, "carl").await;
    feed.add([blocked("carl")]);
    until_it_is_revoked(&world.envoy, &token).await;
    world.envoy.assert_sound().await;
    world.assert_untold(&anna).await;
}

/// Anna is revoked and Bert is not when the feed falls silent; what it does then.
async fn silent(release: &Release, when_stale: &str) -> (World, Feed, [String; 2]) {
    let feed = Feed::start().await;
    feed.add([blocked("anna")]);
    let members = json!({"timeout": "300ms", "max_staleness": "2s", "when_stale": when_stale});
    let world = world(release, &feed, &members).await;
    let (anna, bert) = (token_of(&world, "anna").await, token_of(&world, "bert").await);
    until_it_passes(&world.envoy, &bert).await;
    assert_refusal(&world.call("/orders", &anna).await, "token_revoked");
    feed.behave(Conduct::Silent(Duration::from_secs(60)));
    until("it is stale", async || (world.envoy.stat("revocation.age_seconds").await >= 3).then_some(())).await;
    (world, feed, [anna, bert])
}

async fn a_feed_that_is_stale_denies(release: &Release) {
    let (world, feed, [anna, bert]) = silent(release, "deny").await;
    for answer in at_once(&world.envoy, &bert).await {
        assert_refusal(&answer, "revocation_unavailable");
    }
    world.assert_token_refused("/orders", &anna, "token_revoked").await;
    feed.behave(Conduct::Good);
    until_it_passes(&world.envoy, &bert).await;
    world.assert_token_refused("/orders", &anna, "token_revoked").await;
}

async fn a_feed_that_is_stale_allows_where_it_may(release: &Release) {
    let (world, _feed, [anna, bert]) = silent(release, "allow").await;
    for answer in at_once(&world.envoy, &bert).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for answer in at_once(&world.envoy, &anna).await {
        assert_refusal(&answer, "token_revoked");
    }
    assert!(world.envoy.stat("revocation.feed_failed").await > 1);
}

async fn an_envoy_that_restarts_without_its_feed_lets_nobody_in(release: &Release) {
    let feed = Feed::start().await;
    feed.add([blocked("anna")]);
    let surroundings = Surroundings::start().await;
    let clusters: Vec<_> = surroundings.clusters().into_iter().chain([("revocations", feed.addr())]).collect();
    let bootstrap = options(release, &feed, &json!({"when_stale": "allow"})).bootstrap(&wasm(), &clusters);
    let start = async || Envoy::start(release, &bootstrap, 2, &[]).await.unwrap_or_else(|failure| panic!("{failure}"));
    let token = surroundings.entra.mint(json!({"claims": {"oid": "anna"}})).await;
    let good = surroundings.entra.mint(json!({"claims": {"oid": "bert"}})).await;
    let envoy = start().await;
    until_it_is_revoked(&envoy, &token).await;
    drop(envoy);
    feed.behave(Conduct::Reset);
    let envoy = start().await;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(3) {
        for answer in at_once(&envoy, &token).await.into_iter().chain(at_once(&envoy, &good).await) {
            assert_eq!(answer.status, 503, "{answer:?}");
        }
    }
    feed.behave(Conduct::Good);
    until_it_is_revoked(&envoy, &token).await;
    until_it_passes(&envoy, &good).await;
}

async fn many_entries_come_in_pages(release: &Release) {
    const USERS: usize = 30_000;
    let feed = Feed::start().await;
    feed.add((0..USERS).map(|user| blocked(&format!("user-{user}"))));
    feed.form(Form::Packed(8_192));
    feed.prepare();
    let world = world(release, &feed, &json!({})).await;
    let bystander = token_of(&world, "bystander").await;
    until_it_passes(&world.envoy, &bystander).await;
    assert_eq!(feed.served("page"), 4);
    for user in [0, 1, USERS / 2, USERS - 1] {
        let token = token_of(&world, &format!("user-{user}")).await;
        for answer in at_once(&world.envoy, &token).await {
            assert_refusal(&answer, "token_revoked");
        }
    }
    assert_eq!(world.envoy.stat("revocation.entries").await, 30_000);
    // A delta on pages, a large one, and plain JSON in their place.
    let token = token_of(&world, "later").await;
    feed.add([blocked("later")]);
    until_it_is_revoked(&world.envoy, &token).await;
    let token = token_of(&world, "last-7999").await;
    feed.add((0..8_000).map(|user| blocked(&format!("last-{user}"))));
    until_it_is_revoked(&world.envoy, &token).await;
    assert_eq!((feed.served("snapshot"), feed.served("delta")), (1, 2));
    feed.form(Form::Plain);
    feed.replace((0..USERS).map(|user| blocked(&format!("plain-{user}"))).collect());
    let token = token_of(&world, &format!("plain-{}", USERS - 1)).await;
    until_it_is_revoked(&world.envoy, &token).await;
    // In parts, each of which it was asked for.
    assert!(feed.served("part") > 1, "{} parts", feed.served("part"));
    let token = token_of(&world, "last-7999").await;
    until_it_passes(&world.envoy, &token).await;
    until_it_passes(&world.envoy, &bystander).await;
    let log = world.envoy.log();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("revocations not fetched")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(world.envoy.stat("revocation.feed_failed").await, 0);
    world.envoy.assert_sound().await;
}

async fn a_published_folder_is_followed_while_its_publisher_is_killed(release: &Release) {
    let shelf = Shelf::files().await;
    follow(release, &shelf).await;
    assert!(!shelf.pages().is_empty());
}

async fn a_published_bucket_is_followed_while_its_publisher_is_killed(release: &Release) {
    let shelf = Shelf::s3().await;
    follow(release, &shelf).await;
    // Here nothing new is told by a status.
    assert!(shelf.answered(" 304 ") > 0);
}

/// An Envoy that asks what serves objects, and neither the service nor its publisher.
async fn follow(release: &Release, shelf: &Shelf) {
    let service = Service::start_on(([127, 0, 0, 1], 0).into()).await;
    let (client, log) = (service.client(), service.place().join("publisher.log"));
    let user = |number: usize| format!("{number:08x}-0000-4000-8000-000000000000");
    let revoke = async |user: &str| {
        client.run(&["revoke", "--tenant", CONTOSO, "--user", user, "--block", "--reason", "a test"]).await;
    };
    for number in 0..3 {
        revoke(&user(number)).await;
    }
    let publisher = shelf.publish(&service, &log);
    let keys = Origin::new(service.addr()).send(Request::get("/v1/keys")).await.expect("the keys").json();
    let mut configuration = workforce(&json!({"token_versions": [2]}));
    let feed = json!({"url": shelf.feed(), "cluster": "revocations", "interval": "200ms", "keys": keys});
    configuration["revocation"] = json!({"feed": feed});
    let mut options = Options::new(release, configuration);
    options.clusters.push(("revocations", shelf.addr()));
    let world = World::start(&options).await;
    let bystander = token_of(&world, "bystander").await;
    until_it_passes(&world.envoy, &bystander).await;
    let first = token_of(&world, &user(0)).await;
    until_it_is_revoked(&world.envoy, &first).await;
    // Whatever failed before the first head was there is no matter.
    let (failed, pages) = (world.envoy.stat("revocation.feed_failed").await, shelf.answered("/pages/"));
    assert!(pages > 0);
    let token = token_of(&world, &user(3)).await;
    assert_eq!(world.call("/orders", &token).await.status, 200);
    revoke(&user(3)).await;
    until_it_is_revoked(&world.envoy, &token).await;

    // Killed while it writes, at whatever it is. What is out stays whole, and nothing goes back.
    drop(publisher);
    let mut sequence = world.envoy.stat("revocation.sequence").await;
    for number in 4..24 {
        let publisher = shelf.publish(&service, &log);
        let whom = user(number);
        tokio::join!(revoke(&whom), async {
            sleep(Duration::from_millis(u64::try_from(number).expect("few") * 37 % 400)).await;
            drop(publisher);
        });
        let now = world.envoy.stat("revocation.sequence").await;
        assert!(now >= sequence, "{now} after {sequence}");
        sequence = now;
        assert_refusal(&world.call("/orders", &first).await, "token_revoked");
    }
    assert_eq!(world.call("/orders", &bystander).await.status, 200);
    let _publisher = shelf.publish(&service, &log);
    for number in [4, 13, 23] {
        let token = token_of(&world, &user(number)).await;
        until_it_is_revoked(&world.envoy, &token).await;
    }
    until("everything is there", async || (world.envoy.stat("revocation.sequence").await == 24).then_some(())).await;
    assert_eq!(world.envoy.stat("revocation.entries").await, 24);
    assert_eq!(world.envoy.stat("revocation.feed_failed").await, failed);
    // It followed by the heads alone.
    assert_eq!(shelf.answered("/pages/"), pages);
    until_it_passes(&world.envoy, &bystander).await;
    world.envoy.assert_sound().await;
}

async fn entries_expire(release: &Release) {
    let feed = Feed::start().await;
    let world = world(release, &feed, &json!({})).await;
    let token = token_of(&world, "anna").await;
    until_it_passes(&world.envoy, &token).await;
    let mut entry = blocked("anna");
    entry["expires"] = json!(unix_seconds() + 4);
    feed.add([entry]);
    until_it_is_revoked(&world.envoy, &token).await;
    until_it_passes(&world.envoy, &token).await;
}

async fn a_snapshot_replaces_what_was_known(release: &Release) {
    let feed = Feed::start().await;
    feed.add([blocked("anna"), blocked("bert")]);
    let world = world(release, &feed, &json!({})).await;
    let (anna, bert) = (token_of(&world, "anna").await, token_of(&world, "bert").await);
    until_it_is_revoked(&world.envoy, &bert).await;
    feed.replace(vec![blocked("anna")]);
    until_it_passes(&world.envoy, &bert).await;
    world.assert_token_refused("/orders", &anna, "token_revoked").await;
    // Another pinned key, from one document to the next.
    let feed = Feed::start().await;
    feed.add([blocked("anna")]);
    let keys = envoy_tests::feed::jwks(&[1, 2]);
    let world = World::start(&options(release, &feed, &json!({ "keys": keys }))).await;
    until_it_is_revoked(&world.envoy, &anna_of(&world).await).await;
    feed.sign_with(2);
    let bert = token_of(&world, "bert").await;
    feed.add([blocked("bert")]);
    until_it_is_revoked(&world.envoy, &bert).await;
    world.assert_token_refused("/orders", &anna_of(&world).await, "token_revoked").await;
}

async fn anna_of(world: &World) -> String {
    token_of(world, "anna").await
}

async fn a_lift_lets_new_tokens_in(release: &Release) {
    let feed = Feed::start().await;
    let world = world(release, &feed, &json!({})).await;
    let old = token_of(&world, "anna").await;
    until_it_passes(&world.envoy, &old).await;
    let now = unix_seconds();
    feed.add([json!({"tenant": CONTOSO, "user": "anna", "blocked": true, "not_before": now})]);
    until_it_is_revoked(&world.envoy, &old).await;
    sleep(Duration::from_millis(1_100)).await;
    let lifted = unix_seconds();
    feed.add([json!({"tenant": CONTOSO, "user": "anna", "unblocked_at": lifted})]);
    let new = token_of(&world, "anna").await;
    until_it_passes(&world.envoy, &new).await;
    world.assert_token_refused("/orders", &old, "token_revoked").await;
    feed.add([json!({"tenant": CONTOSO, "user": "anna", "blocked": true, "not_before": lifted + 1})]);
    until_it_is_revoked(&world.envoy, &new).await;
}

async fn memory_is_flat_over_ten_turnovers(release: &Release) {
    const USERS: usize = 40_000;
    let feed = Feed::start().await;
    feed.form(Form::Packed(16_384));
    let world = world(release, &feed, &json!({})).await;
    let bystander = token_of(&world, "bystander").await;
    until_it_passes(&world.envoy, &bystander).await;
    let mut sizes = Vec::new();
    for turnover in 0..12 {
        feed.replace((0..USERS).map(|user| blocked(&format!("{turnover}-{user}"))).collect());
        let token = token_of(&world, &format!("{turnover}-{}", USERS - 1)).await;
        until_it_is_revoked(&world.envoy, &token).await;
        assert_eq!(world.call("/orders", &bystander).await.status, 200);
        sizes.push(world.envoy.resident_bytes() >> 10);
    }
    // The first two bring each of the two places in shared data into being.
    let (early, late) = (sizes[1], sizes[11]);
    assert!(late <= early + 8_192, "KiB: {sizes:?}");
    assert_eq!(world.envoy.stat("revocation.entries").await, 40_000);
}

async fn a_missing_cluster_is_503_and_no_crash(release: &Release) {
    let feed = Feed::start().await;
    let world = world(release, &feed, &json!({"cluster": "nowhere"})).await;
    let token = token_of(&world, "anna").await;
    until("failures are counted", async || (world.envoy.stat("revocation.feed_failed").await > 1).then_some(())).await;
    world.assert_token_refused("/orders", &token, "revocation_unavailable").await;
    assert!(world.envoy.log().contains("nowhere"), "{}", world.envoy.log());
    world.envoy.assert_sound().await;
}

/// The filter with a way to trap it. The feed and Entra are down when it happens, so that all that is known is what the
/// process has left.
async fn a_trapped_vm_lets_nobody_in(release: &Release) {
    let feed = Feed::start().await;
    feed.add((0..20_000).map(|user| blocked(&format!("user-{user}"))).chain([blocked("anna")]));
    let surroundings = Surroundings::start().await;
    let clusters: Vec<_> = surroundings.clusters().into_iter().chain([("revocations", feed.addr())]).collect();
    let trap = repository().join("dist/trap.wasm");
    let trap = trap.canonicalize().unwrap_or_else(|error| panic!("{}: {error}. Run `make agreement`.", trap.display()));
    let bootstrap = options(release, &feed, &json!({})).bootstrap(&trap, &clusters);
    let envoy = Envoy::start(release, &bootstrap, 2, &[]).await.unwrap_or_else(|failure| panic!("{failure}"));
    let token = surroundings.entra.mint(json!({"claims": {"oid": "anna"}})).await;
    let good = surroundings.entra.mint(json!({"claims": {"oid": "bert"}})).await;
    until_it_is_revoked(&envoy, &token).await;
    until_it_passes(&envoy, &good).await;

    let snapshots = feed.served("snapshot");
    feed.behave(Conduct::Reset);
    surroundings.entra.fault(json!({"fault": {"status": 500}})).await;
    for round in 0..3 {
        for _ in 0..4 {
            let request = Request::get("/orders").bearer(&good).header("x-trap", "1");
            let answer = envoy.ingress().send(request).await.expect("an answer");
            assert_eq!(answer.status, 503, "round {round}: {answer:?}");
            for answer in at_once(&envoy, &token).await {
                assert_ne!(answer.status, 200, "round {round}: {answer:?}");
            }
        }
        until("the VMs are back", async || {
            for answer in at_once(&envoy, &token).await {
                assert_ne!(answer.status, 200, "round {round}: {answer:?}");
            }
            at_once(&envoy, &good).await.iter().all(|answer| answer.status == 200).then_some(())
        })
        .await;
        for answer in at_once(&envoy, &token).await {
            assert_refusal(&answer, "token_revoked");
        }
    }
    let reloads: u64 = envoy.envoy_stats("vm_reload_success").await.values().sum();
    assert!(reloads >= 3, "{reloads}: nothing trapped\n{}", envoy.log());
    assert_eq!(feed.served("snapshot"), snapshots, "a fresh VM asked for everything again");
}

/// The upstream tells which VM answered by a header of its plugin configuration.
async fn a_fresh_vm_starts_from_what_the_others_hold(release: &Release) {
    let feed = Feed::start().await;
    feed.add((0..20_000).map(|user| blocked(&format!("user-{user}"))).chain([blocked("anna")]));
    let surroundings = Surroundings::start().await;
    let clusters = surroundings.clusters().into_iter().chain([("revocations", feed.addr())]);
    let renewal = Renewal::new(clusters.collect());
    let options = |generation: &str| {
        let mut options = options(release, &feed, &json!({}));
        let header = json!([{"header": format!("x-{generation}"), "claim": "oid"}]);
        options.configuration["forward"] = json!({"claim_headers": header});
        options
    };
    let envoy = renewal.start("first", &options("first")).await;
    let token = surroundings.entra.mint(json!({"claims": {"oid": "anna"}})).await;
    let good = surroundings.entra.mint(json!({"claims": {"oid": "bert"}})).await;
    until_it_is_revoked(&envoy, &token).await;
    until_it_passes(&envoy, &good).await;

    feed.behave(Conduct::Reset);
    surroundings.entra.fault(json!({"fault": {"status": 500}})).await;
    renewal.replace("second", &options("second"));
    until("the second VM answers", async || {
        for answer in at_once(&envoy, &token).await {
            assert_refusal(&answer, "token_revoked");
        }
        let answers = at_once(&envoy, &good).await;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        answers.iter().all(|answer| answer.json()["headers"].get("x-second").is_some()).then_some(())
    })
    .await;
    for answer in at_once(&envoy, &token).await {
        assert_refusal(&answer, "token_revoked");
    }
    assert_eq!(feed.served("snapshot"), 1, "the fresh VM asked for everything again");
    envoy.assert_sound().await;
}

/// The service itself, fed by the mock's directory.
async fn a_user_who_is_disabled_in_the_directory_is_refused_without_anybody_typing(release: &Release) {
    const ANNA: &str = "a0000000-0000-4000-8000-000000000001";
    const BERT: &str = "b0000000-0000-4000-8000-000000000002";
    const CARL: &str = "c0000000-0000-4000-8000-000000000003";
    const DORA: &str = "d0000000-0000-4000-8000-000000000004";
    let surroundings = Surroundings::start().await;
    let entra = surroundings.entra.clone();
    let mock = entra.origin().url("");
    let mock = mock.trim_end_matches('/');
    let sources = json!({
        "sources": {"directory": {
            "kind": "graph", "tenant": CONTOSO, "client_id": "dddddddd-0000-4000-8000-000000000004",
            "client_secret_env": "READER_SECRET", "interval": "200ms",
        }},
        "hosts": {"graph.microsoft.com": mock, "login.microsoftonline.com": mock},
    });
    let service = Service::start_with(([127, 0, 0, 1], 0).into(), Some(&sources.to_string())).await;
    let mut configuration = workforce(&json!({"token_versions": [2]}));
    configuration["revocation"] = json!({"feed": service.client().feed().await});
    let mut options = Options::new(release, configuration);
    options.clusters.push(("revocations", service.addr()));
    let world = surroundings.with_envoy(&options).await;
    let (anna, bert, carl) = (token_of(&world, ANNA).await, token_of(&world, BERT).await, token_of(&world, CARL).await);
    let dora = token_of(&world, DORA).await;
    for token in [&anna, &bert, &carl, &dora] {
        until_it_passes(&world.envoy, token).await;
    }
    let disabled = |user: &str| json!({"users": [{"id": user, "accountEnabled": false}]});
    entra.directory(disabled(ANNA)).await;
    until_it_is_revoked(&world.envoy, &anna).await;
    // While the service is away, the directory goes on. The place in its changes survives.
    let service = service.away(async || entra.directory(disabled(BERT)).await).await;
    until_it_is_revoked(&world.envoy, &bert).await;
    assert_eq!(entra.asked("/users/delta?$select").await, 1, "everything was read a second time");
    // Too many requests, and then the place is lost.
    let patience = json!({"host": "graph.microsoft.com", "times": 1, "fault": {"status": 429, "retry_after": 1}});
    entra.fault(patience).await;
    let mut lost = disabled(CARL);
    lost["expire_links"] = json!(true);
    entra.directory(lost).await;
    until_it_is_revoked(&world.envoy, &carl).await;
    assert_eq!(entra.asked("/users/delta?$select").await, 2);
    for token in [&anna, &bert, &carl] {
        for answer in at_once(&world.envoy, token).await {
            assert_refusal(&answer, "token_revoked");
        }
    }
    // Enabled again: who signs in anew passes, an old token does not.
    entra.directory(json!({"users": [{"id": ANNA, "accountEnabled": true}]})).await;
    until("a new token passes", async || {
        let again = token_of(&world, ANNA).await;
        at_once(&world.envoy, &again).await.iter().all(|answer| answer.status == 200).then_some(())
    })
    .await;
    until_it_is_revoked(&world.envoy, &anna).await;
    for answer in at_once(&world.envoy, &dora).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(!service.log().contains("worthless-reader-secret"));
    world.envoy.assert_sound().await;
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}
