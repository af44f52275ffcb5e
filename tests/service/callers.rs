//! Who may call: tokens judged by the core with keys that the service fetches, roles, the bootstrap key.

use mock_entra::MockEntra;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Options, Service, TENANT, answer, user_id};

/// A service whose callers come from the mock of Entra.
async fn start() -> (MockEntra, Service) {
    let entra = MockEntra::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let options = options(&entra);
    let service = tokio::task::spawn_blocking(move || options.start()).await.unwrap();
    (entra, service)
}

fn options(entra: &MockEntra) -> Options {
    Options::default().config(&format!(
        "providers:\n  staff: {{ tenants: [{TENANT}], audiences: [api://orders, 11111111-2222-4333-8444-555555555555], \
         upstream: {{ cluster: entra }} }}\nclusters: {{ entra: \"http://{}\" }}\n",
        entra.addr()
    ))
}

fn mint(entra: &MockEntra, request: Value) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let request = serde_json::from_value(request).unwrap();
    entra.directory().mint(&request, i64::try_from(now).unwrap()).unwrap().access_token
}

async fn call(service: &Service, method: Method, path: &str, token: &str) -> (u16, String) {
    let body = json!({"tenant": TENANT, "user": user_id(1), "reason": "a test"});
    let request = service.request(method.clone(), path).bearer_auth(token);
    let request = if method == Method::GET { request } else { request.json(&body) };
    let (status, answer) = answer(request).await;
    (status.as_u16(), answer["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn roles_say_who_may_what() {
    let (entra, service) = start().await;
    let operations = [
        (Method::GET, "/v1/revocations"),
        (Method::GET, "/v1/history"),
        (Method::POST, "/v1/revocations"),
        (Method::GET, "/v1/signing-keys"),
    ];
    for (roles, allowed) in [
        (json!(["Revocations.Read"]), [true, true, false, false]),
        (json!(["Revocations.Manage"]), [true, true, true, false]),
        (json!(["Revocations.Keys"]), [true, true, false, true]),
        // A lone text is a list of one.
        (json!("Revocations.Manage"), [true, true, true, false]),
        (json!(["Orders.Read.All", "revocations.manage"]), [false; 4]),
        (json!("Revocations.Manage Revocations.Keys"), [false; 4]),
    ] {
        // An application's token, and a user's.
        for scopes in [json!(null), json!("Orders.Read")] {
            let token = mint(&entra, json!({"scopes": scopes, "roles": ["x"], "claims": {"roles": roles}}));
            for ((method, path), allowed) in operations.iter().zip(allowed) {
                let told = call(&service, method.clone(), path, &token).await;
                let expected = if allowed { (200, String::new()) } else { (403, "role_insufficient".to_owned()) };
                assert_eq!(told.0, expected.0, "{roles} {method} {path}");
                assert!(allowed || told == expected, "{roles} {method} {path} {told:?}");
            }
        }
    }
    let token = mint(&entra, json!({}));
    assert_eq!(call(&service, Method::GET, "/v1/revocations", &token).await, (403, "role_insufficient".to_owned()));
}

#[tokio::test]
async fn bad_tokens_are_refused_with_the_core_s_reason() {
    let (entra, service) = start().await;
    let manager = |more: Value| {
        let mut request = json!({"roles": ["Revocations.Manage"]});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mint(&entra, request)
    };
    let good = manager(json!({}));
    assert_eq!(call(&service, Method::GET, "/v1/revocations", &good).await.0, 200);
    for (token, reason) in [
        (manager(json!({"expires_in": -600, "issued_ago": 4200})), "token_expired"),
        (manager(json!({"audience": "https://graph.microsoft.com"})), "audience_not_allowed"),
        (manager(json!({"tenant": "fabrikam"})), "tenant_not_allowed"),
        (manager(json!({"alg": "none"})), "algorithm_not_allowed"),
        (manager(json!({"signature": "corrupt"})), "signature_invalid"),
        (manager(json!({"key": "stranger"})), "key_unknown"),
        ("not.a.token".to_owned(), "token_malformed"),
    ] {
        let (status, told) = call(&service, Method::POST, "/v1/revocations", &token).await;
        assert_eq!((status, told.as_str()), (401, reason));
        assert!(!service.log().contains(&token));
    }
    let missing = service.request(Method::GET, "/v1/revocations").send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
    assert!(missing.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let twice = service.request(Method::GET, "/v1/revocations").bearer_auth(&good).bearer_auth(&good);
    assert_eq!(answer(twice).await.1["reason"], "request_malformed");
    assert_eq!(service.document("").await.claims.sequence, 0);
}

#[tokio::test]
async fn the_audit_names_the_bearer_and_never_the_token() {
    let (entra, service) = start().await;
    let token = mint(&entra, json!({"roles": ["Revocations.Manage"]}));
    assert_eq!(call(&service, Method::POST, "/v1/revocations", &token).await.0, 200);
    assert_eq!(call(&service, Method::POST, "/v1/revocations", BOOTSTRAP).await.0, 200);
    let history = service.does(service.get("/v1/history")).await;
    let by = &history["events"][1]["by"];
    assert_eq!((&by["kind"], &by["provider"], &by["tenant"]), (&json!("token"), &json!("staff"), &json!(TENANT)));
    assert!(by["subject"].is_string() && by["client"].is_string() && by["token_id"].is_string());
    assert_eq!(history["events"][0]["by"], json!({"kind": "bootstrap"}));
    for place in [service.log(), history.to_string()] {
        for part in token.split('.').skip(1) {
            assert!(!place.contains(part));
        }
        assert!(!place.contains(BOOTSTRAP));
    }
}

#[tokio::test]
async fn whoever_is_revoked_can_no_longer_manage_revocations() {
    let (entra, service) = start().await;
    let request = json!({"roles": ["Revocations.Manage"], "scopes": "Orders.Read"});
    let token = mint(&entra, request.clone());
    assert_eq!(call(&service, Method::GET, "/v1/revocations", &token).await.0, 200);
    let subject = service.does(service.request(Method::GET, "/v1/history").bearer_auth(BOOTSTRAP)).await;
    assert_eq!(subject["events"].as_array().unwrap().len(), 0);
    let oid = claims(&token)["oid"].as_str().unwrap().to_owned();
    service.revoke(json!({"tenant": TENANT, "user": oid, "blocked": true})).await;
    let lift = json!({"tenant": TENANT, "user": oid, "reason": "I was never here"});
    let attempt = service.request(Method::POST, "/v1/revocations/lift").bearer_auth(&token).json(&lift);
    let (status, problem) = answer(attempt).await;
    assert_eq!((status.as_u16(), &problem["reason"]), (401, &json!("token_revoked")));
    // After a restart, too.
    let (options, (_, place)) = (options(&entra), service.stop());
    let service = tokio::task::spawn_blocking(move || options.start_in(place)).await.unwrap();
    assert_eq!(call(&service, Method::GET, "/v1/revocations", &token).await, (401, "token_revoked".to_owned()));
    assert_eq!(call(&service, Method::GET, "/v1/revocations", BOOTSTRAP).await.0, 200);
}

#[tokio::test]
async fn without_keys_the_answer_is_503_and_the_bootstrap_key_still_opens() {
    let (entra, service) = start().await;
    let fault = json!({"fault": {"status": 500}});
    let control = reqwest::Client::new();
    control.post(format!("http://{}/_mock/faults", entra.addr())).json(&fault).send().await.unwrap();
    let token = mint(&entra, json!({"roles": ["Revocations.Read"]}));
    let refused = service.request(Method::GET, "/v1/revocations").bearer_auth(&token).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(call(&service, Method::GET, "/v1/revocations", BOOTSTRAP).await.0, 200);
    control.delete(format!("http://{}/_mock/faults", entra.addr())).send().await.unwrap();
    for _ in 0..100 {
        if call(&service, Method::GET, "/v1/revocations", &token).await.0 == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the keys were not fetched again: {}", service.log());
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_fetched_when_it_is_first_seen() {
    let (entra, service) = start().await;
    let token = mint(&entra, json!({"roles": ["Revocations.Read"]}));
    assert_eq!(call(&service, Method::GET, "/v1/revocations", &token).await.0, 200);
    let rotate = reqwest::Client::new().post(format!("http://{}/_mock/keys", entra.addr()));
    assert!(rotate.json(&json!({"rotate": true})).send().await.unwrap().status().is_success());
    let token = mint(&entra, json!({"roles": ["Revocations.Read"]}));
    assert_eq!(call(&service, Method::GET, "/v1/revocations", &token).await.0, 200);
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
