//! The feed: snapshots, deltas, nothing new, waiting for news, pages; each document verified by the filter's reader.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use entra_gate::revocation::packed::Record;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Options, Service, TENANT, USER, user, user_id};

#[tokio::test]
async fn before_anything_is_revoked_there_is_an_empty_snapshot() {
    let service = Service::start();
    let document = service.document("").await;
    assert_eq!((document.claims.sequence, document.claims.base, document.entries.len()), (0, None, 0));
    assert_eq!(document.claims.issuer, "entra-gate");
    let answer = service.ask_feed("?since=0", Some(&document.etag)).await;
    assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    // A gate that starts does not wait for somebody to be revoked.
    let started = Instant::now();
    assert_eq!(service.document("?since=0&wait=30").await.claims.sequence, 0);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_snapshot_holds_everything_and_a_delta_what_came_since() {
    let service = Service::start();
    for number in 1..=3 {
        service.revoke_user(&user_id(number)).await;
    }
    let snapshot = service.document("?since=0").await;
    assert_eq!((snapshot.claims.sequence, snapshot.claims.base, snapshot.entries.len()), (3, None, 3));
    let delta = service.document("?since=2").await;
    assert_eq!((delta.claims.sequence, delta.claims.base), (3, Some(2)));
    assert!(delta.rules().keys().eq([&user(&user_id(3))]));
    // A change of what is known already comes again.
    service.revoke(json!({"tenant": TENANT, "user": user_id(1), "blocked": true})).await;
    let delta = service.document("?since=3").await;
    assert!(delta.rules().keys().eq([&user(&user_id(1))]));
    let current = service.document("?since=4").await;
    assert_eq!((current.claims.base, current.entries.len()), (Some(4), 0));
}

#[tokio::test]
async fn whoever_knows_it_all_is_told_so() {
    let service = Service::start();
    service.revoke_user(USER).await;
    let document = service.document("").await;
    for etag in [document.etag.clone(), format!("W/{}", document.etag), format!("\"x\", {}", document.etag)] {
        let answer = service.ask_feed("?since=1", Some(&etag)).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{etag}");
        assert_eq!(answer.headers()["etag"].to_str().unwrap(), document.etag);
        assert!(answer.bytes().await.unwrap().is_empty());
    }
    service.revoke_user(&user_id(2)).await;
    let answer = service.ask_feed("?since=1", Some(&document.etag)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/revocations+jwt");
}

#[tokio::test]
async fn a_request_can_wait_for_news() {
    let service = Service::start();
    service.revoke_user(USER).await;
    let etag = service.document("").await.etag;
    let started = Instant::now();
    let quiet = service.ask_feed("?since=1&wait=1", Some(&etag)).await;
    assert_eq!(quiet.status(), StatusCode::NOT_MODIFIED);
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&started.elapsed()));

    let (answer, revoked) =
        tokio::join!(async { (service.ask_feed("?since=1&wait=20", Some(&etag)).await, Instant::now()) }, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            service.revoke_user(&user_id(2)).await;
            Instant::now()
        });
    assert_eq!(answer.0.status(), StatusCode::OK);
    let late = answer.1.saturating_duration_since(revoked);
    assert!(late < Duration::from_secs(1), "{late:?}");
    // Whoever is behind does not wait at all.
    let started = Instant::now();
    assert_eq!(service.document("?since=1&wait=20").await.claims.sequence, 2);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_end_of_the_service_ends_the_waiting() {
    let service = Service::start();
    let url = format!("{}/v1/feed?since=0&wait=30", service.feed);
    let etag = service.document("").await.etag;
    let waiting = tokio::spawn(reqwest::Client::new().get(url).header("if-none-match", etag).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    let (code, _place) = tokio::task::spawn_blocking(|| service.stop()).await.unwrap();
    assert_eq!(code, Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn whoever_has_seen_more_than_there_is_gets_a_snapshot_and_a_restored_database_moves_on() {
    let service = Service::start();
    service.revoke_user(USER).await;
    let document = service.document("?since=500").await;
    assert_eq!((document.claims.sequence, document.claims.base), (1, None));
    assert!(service.log().contains("--sequence-at-least"));
    let (_, place) = service.stop();
    let service = Options::default().argument("--sequence-at-least=1000").start_in(place);
    let document = service.document("?since=500").await;
    assert_eq!((document.claims.sequence, document.claims.base), (1_000, None));
    assert!(document.rules().contains_key(&user(USER)));
    service.revoke_user(&user_id(2)).await;
    assert_eq!(service.document("?since=1000").await.claims.base, Some(1_000));
}

#[tokio::test]
async fn a_large_set_is_told_in_pages_and_what_changed_since() {
    let service = Options::default().argument("--packed-from=20").start();
    let mut expected = BTreeMap::new();
    let mut revoke = async |number: u32, blocked: bool| {
        let members = json!({"tenant": TENANT, "user": user_id(number), "blocked": blocked});
        service.revoke(members).await;
        expected.insert(user(&user_id(number)), blocked);
    };
    for number in 0..25 {
        revoke(number, number % 2 == 0).await;
    }
    let packed = service.document("").await;
    assert_eq!((packed.claims.sequence, packed.claims.base, packed.entries.len()), (25, None, 0));
    revoke(3, true).await;
    revoke(100, false).await;
    let lift = json!({"tenant": TENANT, "user": user_id(0), "reason": "back"});
    service.does(service.post("/v1/revocations/lift", &lift)).await;
    expected.insert(user(&user_id(0)), false);

    let later = service.document("").await;
    assert_eq!((later.claims.sequence, later.rules().len()), (28, 3));
    assert_eq!(later.paging, packed.paging, "pages stay as long as little has changed");
    let paging = later.paging.as_ref().unwrap();
    let mut told = BTreeMap::new();
    let mut after = None;
    for name in &paging.pages {
        let answer = service.page(&name.path).await;
        assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        for record in name.open(&answer.bytes().await.unwrap(), after).unwrap() {
            after = Some(record.fingerprint);
            told.insert(record.fingerprint, Record::rule(record));
        }
    }
    let rules = later.rules();
    for (subject, blocked) in expected {
        let paged = told.get(&paging.key.fingerprint(&subject, &mut Vec::new())).copied().unwrap_or_default();
        let rule = paged.merge(rules.get(&subject).copied().unwrap_or_default());
        assert_eq!(rule.effect() == entra_gate::revocation::Effect::Blocked, blocked, "{subject:?}");
        assert!(rule.effect().revokes(0), "{subject:?}");
    }
    assert_eq!(service.page("/v1/feed/pages/unknown").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_feed_can_listen_apart_from_the_api() {
    let service = Options::default().argument("--feed-listen=127.0.0.1:0").start();
    assert_ne!(service.api, service.feed);
    service.revoke_user(USER).await;
    assert_eq!(service.document("").await.claims.sequence, 1);
    let client = reqwest::Client::new();
    for (origin, path) in [
        (&service.api, "/v1/feed"),
        (&service.api, "/v1/keys"),
        (&service.feed, "/v1/revocations"),
        (&service.feed, "/metrics"),
    ] {
        assert_eq!(client.get(format!("{origin}{path}")).send().await.unwrap().status(), 404, "{path}");
    }
}
