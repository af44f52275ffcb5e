//! SIGKILL at random moments while writers write: what was acknowledged is there, and the sequence never goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use entra_gate::revocation::Subject;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{BOOTSTRAP, Options, TENANT, user, user_id};

const ROUNDS: u32 = 50;
const WRITERS: usize = 4;
/// `ENTRA_GATE_CRASH_SEED` takes another.
const SEED: u64 = 20_261_122;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_fifty_kills() {
    let seed = std::env::var("ENTRA_GATE_CRASH_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let mut place = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<Subject, u64> = BTreeMap::new();
    let mut last = 0;
    let next = Arc::new(AtomicU32::new(0));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new();
    for round in 0..ROUNDS {
        let service = Options::default().start_in(place);
        // What the killed one has acknowledged, as a gate sees it.
        let document = service.document("").await;
        assert!(document.claims.sequence >= last, "seed {seed}, round {round}: {} < {last}", document.claims.sequence);
        last = document.claims.sequence;
        let rules = document.rules();
        for (subject, sequence) in &acknowledged {
            assert!(rules.contains_key(subject), "seed {seed}, round {round}: lost {subject:?} at {sequence}");
            assert!(*sequence <= last, "seed {seed}, round {round}");
        }
        let writing = Arc::new(Notify::new());
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (client, api) = (client.clone(), service.api.clone());
                tokio::spawn(write(client, api, Arc::clone(&next), Arc::clone(&writing)))
            })
            .collect();
        writing.notified().await;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..150_000))).await;
        place = service.kill();
        for writer in writers {
            for (subject, sequence) in writer.await.unwrap() {
                assert!(sequence > last, "seed {seed}, round {round}: {sequence} is not after {last}");
                assert!(acknowledged.insert(subject, sequence).is_none());
            }
        }
        last = acknowledged.values().copied().max().unwrap_or(0).max(last);
    }
    let mut places: Vec<u64> = acknowledged.values().copied().collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), acknowledged.len(), "seed {seed}: two changes at one place");
    let attempted = usize::try_from(next.load(Ordering::Relaxed)).unwrap();
    // Each writer was cut short by each kill, in the middle of a request or on the way to one.
    assert_eq!(attempted - acknowledged.len(), usize::try_from(ROUNDS).unwrap() * WRITERS);
    assert!(acknowledged.len() > 200, "seed {seed}: too few to show anything");
}

/// Revokes new users until the service is gone; what was acknowledged.
async fn write(client: Client, api: String, next: Arc<AtomicU32>, writing: Arc<Notify>) -> Vec<(Subject, u64)> {
    let mut written = Vec::new();
    loop {
        let id = user_id(next.fetch_add(1, Ordering::Relaxed));
        let body = json!({"tenant": TENANT, "user": id, "reason": "a crash"});
        let sent = client.post(format!("{api}/v1/revocations")).bearer_auth(BOOTSTRAP).json(&body).send().await;
        let body = match sent {
            Ok(answer) if answer.status() == 200 => answer.bytes().await,
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) => return written,
        };
        let Ok(body) = body else { return written };
        let outcome: Value = serde_json::from_slice(&body).unwrap();
        written.push((user(&id), outcome["revocation"]["sequence"].as_u64().unwrap()));
        writing.notify_one();
    }
}
