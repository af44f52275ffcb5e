//! Publishing: by the service itself or by a process of its own, into a folder that anything can serve.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Document, Options, Service, TENANT, USER, entra_gate, user, user_id};

const PATIENCE: Duration = Duration::from_secs(30);

/// The head in a folder, once it has come to a place.
async fn head(folder: &Path, service: &Service, sequence: u64) -> Document {
    let (keys, started) = (service.keys().await, Instant::now());
    loop {
        if let Ok(body) = fs::read(folder.join("feed")) {
            let document = Document::read(&body, &keys, String::new());
            if document.claims.sequence >= sequence {
                return document;
            }
        }
        assert!(started.elapsed() < PATIENCE, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn publish_once(place: &TempDir, to: &str) -> (bool, String) {
    let database = format!("--database=sqlite:{}", place.path().join("revocations.db").display());
    let output = entra_gate().args(["revocations", "publish", "--once", "--to", to, &database]).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn the_service_publishes_what_it_acknowledges() {
    let folder = tempfile::tempdir().unwrap();
    let to = format!("file://{}", folder.path().display());
    let options = Options::default().argument(&format!("--publish={to}")).argument("--pages-at=/revocations");
    let service = options.start();
    assert_eq!(head(folder.path(), &service, 0).await.entries.len(), 0);
    for number in 1..=12 {
        service.revoke_user(&user_id(number)).await;
    }
    let document = head(folder.path(), &service, 12).await;
    let (claims, paging) = (&document.claims, document.paging.as_ref().unwrap());
    assert_eq!((claims.base, claims.expires), (None, Some(claims.issued_at + 300)));
    // Whoever was here a moment ago needs no page.
    assert!(claims.changes_since.unwrap() < 12);
    let last = document.rules();
    assert!(last.contains_key(&user(&user_id(12))));
    let mut records = 0;
    for name in &paging.pages {
        let path = name.path.strip_prefix("/revocations/").unwrap();
        records += name.open(&fs::read(folder.path().join(path)).unwrap(), None).unwrap().len();
    }
    assert!(records + last.len() >= 12);
    let metrics = service.get("/metrics").send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK);
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("entra_gate_revocations_published_sequence 12"), "{metrics}");

    // Another process finds the folder taken, and a database from before is no reason to go back.
    let (_, place) = service.stop();
    let (done, said) = publish_once(&place, &to);
    assert!(done, "{said}");
    let another = Service::start();
    another.revoke(json!({"tenant": TENANT, "user": USER, "blocked": true})).await;
    let keys = place.path().join("revocations.db.keys");
    let (_, younger) = another.stop();
    fs::remove_dir_all(younger.path().join("revocations.db.keys")).unwrap();
    fs::rename(keys, younger.path().join("revocations.db.keys")).unwrap();
    let before = fs::read(folder.path().join("feed")).unwrap();
    let (done, said) = publish_once(&younger, &to);
    assert!(!done && said.contains("--sequence-at-least"), "{said}");
    assert_eq!(fs::read(folder.path().join("feed")).unwrap(), before);
}

#[tokio::test]
async fn without_keys_or_a_place_nothing_is_published() {
    let place = tempfile::tempdir().unwrap();
    let to = format!("file://{}", place.path().join("public").display());
    let (done, said) = publish_once(&place, &to);
    assert!(!done && said.contains("start the service first"), "{said}");
    fs::write(place.path().join("file"), "").unwrap();
    let service = Service::start();
    let (_, served) = service.stop();
    let (done, said) = publish_once(&served, &format!("file://{}", place.path().join("file").display()));
    assert!(!done && said.contains("/file"), "{said}");
}
