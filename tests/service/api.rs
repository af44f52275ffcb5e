//! What the API does, refuses and remembers.

use entra_gate::revocation::Effect;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Options, Service, TENANT, USER, answer, user};

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_user_is_revoked_from_the_next_second_on() {
    let service = Service::start();
    let before = now();
    let outcome = service.revoke_user(USER).await;
    let after = now();
    let revocation = &outcome["revocation"];
    assert_eq!((&outcome["changed"], &revocation["sequence"]), (&json!(true), &json!(1)));
    let not_before = revocation["not_before"].as_u64().unwrap();
    assert!((before + 1..=after + 1).contains(&not_before), "{before} {not_before} {after}");
    assert_eq!(revocation["expires"], json!(not_before + 86_400 + 900));
    assert_eq!((&revocation["blocked"], &revocation["by"]), (&json!(false), &json!({"kind": "bootstrap"})));
}

#[tokio::test]
async fn asking_twice_is_no_mistake() {
    let service = Service::start();
    let request = json!({"tenant": TENANT, "user": USER, "not_before": now() - 5});
    let first = service.revoke(request.clone()).await;
    let second = service.revoke(request).await;
    assert_eq!((&first["changed"], &second["changed"]), (&json!(true), &json!(false)));
    assert_eq!(first["revocation"], second["revocation"]);
    assert_eq!(service.document("").await.claims.sequence, 1);
}

#[tokio::test]
async fn a_block_holds_until_it_is_lifted_and_older_tokens_stay_revoked() {
    let service = Service::start();
    let blocked = service.revoke(json!({"tenant": TENANT, "user": USER, "blocked": true})).await;
    assert_eq!((&blocked["revocation"]["blocked"], blocked["revocation"].get("expires")), (&json!(true), None));
    assert_eq!(service.document("").await.rules()[&user(USER)].effect(), Effect::Blocked);

    let lift = json!({"tenant": TENANT, "user": USER, "reason": "back"});
    let lifted = service.does(service.post("/v1/revocations/lift", &lift)).await;
    assert_eq!((&lifted["changed"], &lifted["revocation"]["blocked"]), (&json!(true), &json!(false)));
    let at = lifted["revocation"]["unblocked_at"].as_u64().unwrap();
    assert!(at > now() - 5);
    let effect = service.document("").await.rules()[&user(USER)].effect();
    assert_eq!(effect, Effect::NotBefore(u32::try_from(at).unwrap()));

    let again = service.does(service.post("/v1/revocations/lift", &lift)).await;
    assert_eq!(again["changed"], json!(false));
    let blocked = service.revoke(json!({"tenant": TENANT, "user": USER, "blocked": true})).await;
    assert_eq!(blocked["revocation"]["blocked"], json!(true));
    assert_eq!(service.document("").await.rules()[&user(USER)].effect(), Effect::Blocked);
}

#[tokio::test]
async fn lifting_what_is_unknown_is_told() {
    let service = Service::start();
    let lift = json!({"tenant": TENANT, "user": USER, "reason": "back"});
    let (status, problem) = answer(service.post("/v1/revocations/lift", &lift)).await;
    assert_eq!((status, &problem["reason"]), (StatusCode::NOT_FOUND, &json!("not_revoked")));
}

#[tokio::test]
async fn every_mistake_is_told_and_nothing_is_done() {
    let service = Service::start();
    let request = json!({"tenant": "contoso", "usr": "x", "user": "y", "not_before": 5, "reason": ""});
    let response = service.post("/v1/revocations", &request).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let problem: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!((&problem["status"], &problem["reason"]), (&json!(400), &json!("request_invalid")));
    let paths: Vec<&str> =
        problem["mistakes"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["usr", "tenant", "user", "not_before", "reason"]);
    assert_eq!(service.document("").await.claims.sequence, 0);
}

#[tokio::test]
async fn a_whole_tenant_must_be_meant() {
    let service = Service::start();
    let request = json!({"tenant": TENANT, "reason": "incident"});
    let (status, problem) = answer(service.post("/v1/revocations", &request)).await;
    assert_eq!((status, &problem["mistakes"][0]["path"]), (StatusCode::BAD_REQUEST, &json!("whole_tenant")));
    service.revoke(json!({"tenant": TENANT, "whole_tenant": true})).await;
}

#[tokio::test]
async fn what_is_no_document_is_a_problem() {
    let service = Service::start();
    let send = async |content_type: &str, body: String| {
        let request = service.request(Method::POST, "/v1/revocations").bearer_auth(BOOTSTRAP);
        let (status, problem) = answer(request.header("content-type", content_type).body(body)).await;
        (status.as_u16(), problem["reason"].as_str().unwrap_or_default().to_owned())
    };
    let twice = format!(r#"{{"tenant":"{TENANT}","user":"{USER}","user":"{USER}","reason":"x"}}"#);
    for (content_type, body, status, reason) in [
        ("application/json", "{".to_owned(), 400, "request_invalid"),
        ("application/json", "[]".to_owned(), 400, "request_invalid"),
        ("application/json", String::new(), 400, "request_invalid"),
        ("application/json", twice, 400, "request_invalid"),
        ("application/json", r#"{"reason":5}"#.to_owned(), 400, "request_invalid"),
        (
            "application/json",
            format!(r#"{{"tenant":"{TENANT}","user":"{USER}","blocked":"yes","reason":"x"}}"#),
            400,
            "request_invalid",
        ),
        ("application/json", "[".repeat(10_000), 400, "request_invalid"),
        ("application/json", " ".repeat(16 * 1024 + 1), 413, "body_too_large"),
        ("text/plain", "{}".to_owned(), 415, "media_type_not_supported"),
    ] {
        let told = send(content_type, body.clone()).await;
        assert_eq!(told, (status, reason.to_owned()), "{content_type} {}", body.chars().take(80).collect::<String>());
    }
    for (method, path, status, reason) in [
        (Method::GET, "/v1/nothing", 404, "not_found"),
        (Method::PUT, "/v1/revocations", 405, "method_not_allowed"),
        (Method::GET, "/v1/revocations?limit=0", 400, "request_invalid"),
        (Method::GET, "/v1/revocations?limit=many", 400, "request_invalid"),
        (Method::GET, "/v1/revocations?tenent=x", 400, "request_invalid"),
        (Method::GET, "/v1/history?tenant=x&issuer=y", 400, "request_invalid"),
        (Method::GET, "/v1/feed?since=-1", 400, "request_invalid"),
    ] {
        let (found, problem) = answer(service.request(method, path).bearer_auth(BOOTSTRAP)).await;
        assert_eq!((found.as_u16(), &problem["reason"]), (status, &json!(reason)), "{path}: {problem}");
    }
}

#[tokio::test]
async fn what_holds_is_listed_by_subject_and_in_parts() {
    let service = Service::start();
    for number in 0..5 {
        service.revoke_user(&crate::support::user_id(number)).await;
    }
    service.revoke(json!({"issuer": "https://i/", "token": "AbC"})).await;
    let page = service.does(service.get("/v1/revocations?limit=4")).await;
    assert_eq!((page["revocations"].as_array().unwrap().len(), &page["next"]), (4, &json!(3)));
    assert_eq!(page["revocations"][0]["token"], "AbC");
    let rest = service.does(service.get("/v1/revocations?limit=4&before=3")).await;
    assert_eq!((rest["revocations"].as_array().unwrap().len(), rest.get("next")), (2, None));
    for (query, number) in [
        (format!("tenant={TENANT}"), 5),
        (format!("tenant={}&user={}", TENANT.to_uppercase(), crate::support::user_id(3).to_uppercase()), 1),
        (format!("user={}", crate::support::user_id(3)), 1),
        ("issuer=https://i/&token=AbC".to_owned(), 1),
        ("issuer=https://i/&token=abc".to_owned(), 0),
    ] {
        let page = service.does(service.get(&format!("/v1/revocations?{query}"))).await;
        assert_eq!(page["revocations"].as_array().unwrap().len(), number, "{query}");
    }
}

#[tokio::test]
async fn history_says_who_asked_what_and_why() {
    let service = Service::start();
    let request = json!({"tenant": TENANT, "user": USER, "blocked": true, "reason": "stolen <laptop> «é»"});
    let request = service.post("/v1/revocations", &request).header("x-request-id", "ticket-4711");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "ticket-4711");
    let lift = json!({"tenant": TENANT, "user": USER, "reason": "found"});
    service.does(service.post("/v1/revocations/lift", &lift)).await;
    service.does(service.post("/v1/revocations/lift", &lift)).await;
    let page = service.does(service.get(&format!("/v1/history?tenant={TENANT}&user={USER}"))).await;
    let events = page["events"].as_array().unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (event["action"].as_str().unwrap(), event["changed"].as_bool().unwrap(), event["sequence"].as_u64())
        })
        .collect();
    assert_eq!(told, [("lift", false, None), ("lift", true, Some(2)), ("revoke", true, Some(1))]);
    let first = &events[2];
    assert_eq!((&first["reason"], &first["blocked"]), (&json!("stolen <laptop> «é»"), &json!(true)));
    assert_eq!((&first["request_id"], &first["by"]["kind"]), (&json!("ticket-4711"), &json!("bootstrap")));
    assert!(first["at"].as_u64().unwrap() / 1_000 >= now() - 60);
    // Strange identifiers do not get into the log.
    let request = service.get("/v1/history").header("x-request-id", "a\"b,c");
    assert_ne!(request.send().await.unwrap().headers()["x-request-id"], "a\"b,c");
}

#[tokio::test]
async fn what_was_revoked_is_there_after_a_restart() {
    let service = Service::start();
    service.revoke_user(USER).await;
    let (code, place) = service.stop();
    assert_eq!(code, Some(0));
    let service = Options::default().start_in(place);
    let document = service.document("").await;
    assert_eq!(document.claims.sequence, 1);
    assert!(document.rules().contains_key(&user(USER)));
}

#[tokio::test]
async fn health_and_metrics_need_no_credential_and_tell_no_names() {
    let service = Service::start();
    service.revoke_user(USER).await;
    service.ask_feed("", None).await;
    let health = service.request(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let metrics = service.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "entra_gate_revocations_sequence 1",
        "entra_gate_revocations_entries 1",
        "entra_gate_revocations_feed_answers_total{kind=\"Snapshot\"} 1",
        "entra_gate_revocations_requests_total{route=\"/v1/revocations\",status=\"200\"} 1",
        "entra_gate_revocations_change_seconds_count 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains(USER) && !metrics.contains(TENANT));
}

#[tokio::test]
async fn the_description_holds_every_operation_and_its_problems() {
    let service = Service::start();
    let description = service.does(service.request(Method::GET, "/openapi.json")).await;
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(format!("{method} {path}"));
            let guarded = operation.get("security").is_some();
            let open = ["feed", "service", "signals"].contains(&operation["tags"][0].as_str().unwrap());
            assert_ne!(guarded, open, "{method} {path}");
            assert!(operation["responses"].get("503").is_some(), "{method} {path}");
        }
    }
    operations.sort();
    let expected = [
        "delete /v1/signing-keys/{kid}",
        "get /healthz",
        "get /metrics",
        "get /v1/feed",
        "get /v1/feed/pages/{name}",
        "get /v1/history",
        "get /v1/keys",
        "get /v1/revocations",
        "get /v1/signing-keys",
        "get /v1/sources",
        "post /v1/revocations",
        "post /v1/revocations/lift",
        "post /v1/signing-keys",
        "post /v1/sources/{source}/events",
        "post /v1/sources/{source}/logout",
    ];
    assert_eq!(operations, expected);
    assert_eq!(description["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let options = Options::default;
    for (options, code, told) in [
        (options().without_bootstrap(), 2, "nobody could call"),
        (options().config("providers: {}"), 2, "providers"),
        (options().config("providers: { a: { tenants: any, audiences: [x] } }"), 2, "found `any`"),
        (options().argument("--database=mysql://x"), 2, "sqlite:<file>"),
        (options().argument("--database=postgres://x"), 2, "ENTRA_GATE_REVOCATIONS_KEYS_SECRET"),
        (options().argument("--publish=ftp://x/y"), 2, "s3://"),
        (options().argument("--publish=file:///proc/nowhere"), 1, "/proc/nowhere"),
        (options().argument("--database=sqlite:/nowhere/x.db"), 1, "/nowhere/x.db"),
        (options().argument("--token-lifetime=5"), 2, "duration"),
    ] {
        let (found, text) = options.fails_to_start();
        assert!(text.contains(told), "{told}: {text}");
        assert_eq!(found, code, "{text}");
        assert!(!text.contains(BOOTSTRAP), "{text}");
    }
}
