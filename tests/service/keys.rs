//! Signing keys: made once, rotated with overlap, retired.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{BOOTSTRAP, Options, Service, USER, answer};

async fn states(service: &Service) -> Vec<(String, String)> {
    let keys = service.does(service.get("/v1/signing-keys")).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    keys["keys"].as_array().unwrap().iter().map(|key| (text(&key["kid"]), text(&key["state"]))).collect()
}

async fn published(service: &Service) -> Vec<String> {
    let keys = service.keys().await;
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_first_start_makes_a_key_for_its_owner_alone() {
    let service = Options::default().own_keys().start();
    let folder = service.place.path().join("revocations.db.keys");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(mode(&files[0]), 0o600);
    let kid = service.document("").await.kid;
    assert_eq!(published(&service).await, [kid.as_str()]);
    let keys = service.keys().await.to_string();
    assert!(!keys.contains("pkcs8") && !keys.contains("\"d\""));
    let history = service.does(service.get("/v1/history")).await;
    assert_eq!((&history["events"][0]["action"], &history["events"][0]["key"]), (&json!("key_add"), &json!(kid)));
    let (_, place) = service.stop();
    let service = Options::default().own_keys().start_in(place);
    assert_eq!(service.document("").await.kid, kid);
}

#[tokio::test]
async fn keys_rotate_with_overlap() {
    let service = Service::start();
    let old = service.document("").await.kid;
    let rotate = json!({"signs_in": 3_600, "reason": "yearly"});
    let new = service.does(service.post("/v1/signing-keys", &rotate)).await;
    let next = new["kid"].as_str().unwrap().to_owned();
    assert_eq!(new["state"], "next");
    assert_eq!(states(&service).await, [(old.clone(), "signing".to_owned()), (next.clone(), "next".to_owned())]);
    assert_eq!(published(&service).await, [old.clone(), next.clone()]);
    assert_eq!(service.document("").await.kid, old);

    // A leak: the next key signs at once, and the old one verifies until it is retired.
    let now = service.does(service.post("/v1/signing-keys", &json!({"signs_in": 0, "reason": "leak"}))).await;
    let signing = now["kid"].as_str().unwrap().to_owned();
    assert_eq!(service.document("").await.kid, signing);
    assert_eq!(published(&service).await.len(), 3);

    let retire = async |kid: &str| {
        let request = service.request(Method::DELETE, &format!("/v1/signing-keys/{kid}")).bearer_auth(BOOTSTRAP);
        answer(request.json(&json!({"reason": "leak"}))).await
    };
    let (status, problem) = retire(&signing).await;
    assert_eq!((status, &problem["reason"]), (StatusCode::CONFLICT, &json!("key_signs")));
    let (status, problem) = retire("unknown").await;
    assert_eq!((status, &problem["reason"]), (StatusCode::NOT_FOUND, &json!("key_unknown")));
    assert_eq!(retire(&old).await.0, StatusCode::OK);
    assert_eq!(published(&service).await, [signing.clone(), next.clone()]);
    assert_eq!(service.document("").await.kid, signing);

    let history = service.does(service.get("/v1/history")).await;
    let told: Vec<_> =
        history["events"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(told, ["key_retire", "key_add", "key_add"]);
    let (_, place) = service.stop();
    let service = Options::default().start_in(place);
    assert_eq!(published(&service).await, [signing, next]);
}

#[tokio::test]
async fn a_database_without_its_keys_is_no_reason_to_go_back() {
    let service = Service::start();
    service.revoke_user(USER).await;
    let (_, place) = service.stop();
    std::fs::remove_dir_all(place.path().join("revocations.db.keys")).unwrap();
    let service = Options::default().own_keys().start_in(place);
    assert_eq!(service.document("").await.claims.sequence, 1);
}
