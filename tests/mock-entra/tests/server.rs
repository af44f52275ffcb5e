//! The HTTP shell, spoken to as bytes so that cut-off answers can be seen.

use std::net::SocketAddr;

use mock_entra::{MockEntra, Upstream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};

const COMMON: &str = "/common/v2.0/.well-known/openid-configuration";

struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

async fn send(addr: SocketAddr, method: &str, host: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset connection is an answer too.
    let _ = stream.read_to_end(&mut bytes).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |position| position + 4);
    let body = bytes.split_off(end);
    Answer { head: String::from_utf8(bytes).unwrap(), body }
}

async fn get(entra: &MockEntra, path: &str) -> Answer {
    send(entra.addr(), "GET", "login.microsoftonline.com", path, "", "").await
}

async fn control(entra: &MockEntra, method: &str, path: &str, body: &Value) -> Answer {
    send(entra.addr(), method, "mock", path, "", &body.to_string()).await
}

async fn with_fault(fault: Value) -> (Answer, MockEntra) {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let rule = json!({"host": "login.microsoftonline.com", "path_contains": "well-known", "times": 1, "fault": fault});
    assert_eq!(control(&entra, "POST", "/_mock/faults", &rule).await.status(), "200");
    let answer = get(&entra, COMMON).await;
    assert_eq!(get(&entra, COMMON).await.status(), "200", "the fault was for one request");
    (answer, entra)
}

#[tokio::test]
async fn the_host_header_decides() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    for (host, issuer) in [
        ("login.microsoftonline.com", "https://login.microsoftonline.com/{tenantid}/v2.0"),
        ("login.microsoftonline.us:443", "https://login.microsoftonline.us/{tenantid}/v2.0"),
    ] {
        let answer = send(entra.addr(), "GET", host, COMMON, "", "").await;
        assert_eq!(answer.json()["issuer"], issuer);
        assert!(answer.head.contains("content-type: application/json; charset=utf-8"));
    }
    assert_eq!(send(entra.addr(), "GET", "example.org", "/", "", "").await.status(), "404");
    let unknown = get(&entra, "/nowhere.onmicrosoft.com/v2.0/.well-known/openid-configuration").await;
    assert_eq!((unknown.status(), &unknown.json()["error"]), ("400", &json!("invalid_tenant")));
}

#[tokio::test]
async fn tokens_are_minted_and_mistakes_named() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let minted = control(&entra, "POST", "/_mock/token", &json!({"version": 1})).await.json();
    assert_eq!(minted["claims"]["ver"], "1.0");
    let refused = control(&entra, "POST", "/_mock/token", &json!({"verison": 1})).await;
    assert_eq!(refused.status(), "400");
    assert!(refused.json()["error"].as_str().unwrap().contains("verison"));
    assert_eq!(control(&entra, "GET", "/_mock/health", &json!({})).await.status(), "200");
    assert_eq!(control(&entra, "POST", "/_mock/nothing", &json!({})).await.status(), "404");
}

#[tokio::test]
async fn a_sign_in_goes_through_http() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let client = "client_id=aaaaaaaa-0000-4000-8000-000000000001";
    let query =
        "response_type=code&redirect_uri=http%3A%2F%2Flocalhost%2F&scope=openid+api%3A%2F%2Forders%2FOrders.Read";
    let redirect = get(&entra, &format!("/common/oauth2/v2.0/authorize?{client}&{query}&state=s")).await;
    assert_eq!(redirect.status(), "302");
    let (_, location) = redirect.head.split_once("location: http://localhost/?code=").unwrap();
    let code = location.split('&').next().unwrap();
    let form = format!(
        "{client}&client_secret=worthless-secret&grant_type=authorization_code&code={code}&redirect_uri=http%3A%2F%2Flocalhost%2F",
    );
    let path = "/common/oauth2/v2.0/token";
    let answer = send(entra.addr(), "POST", "login.microsoftonline.com", path, "", &form).await;
    assert_eq!(answer.status(), "200");
    assert!(answer.json()["access_token"].is_string());
}

#[tokio::test]
async fn a_status_and_its_retry_after() {
    let (answer, _entra) = with_fault(json!({"status": 503, "retry_after": 7})).await;
    assert_eq!(answer.status(), "503");
    assert!(answer.head.contains("retry-after: 7"));
}

#[tokio::test]
async fn another_body() {
    let (answer, _entra) = with_fault(json!({"body": "<html>", "content_type": "text/html"})).await;
    assert_eq!((answer.status(), &*answer.body), ("200", &b"<html>"[..]));
    assert!(answer.head.contains("content-type: text/html"));
}

#[tokio::test]
async fn a_patched_answer() {
    let (answer, _entra) =
        with_fault(json!({"json_patch": {"issuer": "https://evil.example", "jwks_uri": null}})).await;
    assert_eq!(answer.json()["issuer"], "https://evil.example");
    assert_eq!(answer.json().get("jwks_uri"), None);
    assert!(answer.json()["token_endpoint"].is_string());
}

#[tokio::test]
async fn an_oversize_answer_is_still_json() {
    let (answer, _entra) = with_fault(json!({"oversize_bytes": 2_000_000})).await;
    assert_eq!(answer.body.len(), 2_000_000);
    assert!(answer.json()["issuer"].is_string());
}

#[tokio::test]
async fn a_truncated_answer_announces_more_than_it_sends() {
    let (answer, entra) = with_fault(json!({"truncate": true})).await;
    let whole = get(&entra, COMMON).await.body.len();
    assert!(answer.head.contains(&format!("content-length: {whole}")), "{}", answer.head);
    assert_eq!(answer.body.len(), whole / 2);
}

#[tokio::test]
async fn a_reset_answers_nothing() {
    let (answer, _entra) = with_fault(json!({"reset": true})).await;
    assert_eq!((&*answer.head, answer.body.len()), ("", 0));
}

#[tokio::test]
async fn a_delay_delays() {
    let start = Instant::now();
    let (answer, _entra) = with_fault(json!({"delay_ms": 200})).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(answer.status(), "200");
}

#[tokio::test]
async fn faults_can_be_cleared() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    control(&entra, "POST", "/_mock/faults", &json!({"fault": {"status": 500}})).await;
    assert_eq!(get(&entra, COMMON).await.status(), "500");
    assert_eq!(get(&entra, COMMON).await.status(), "500");
    control(&entra, "DELETE", "/_mock/faults", &json!({})).await;
    assert_eq!(get(&entra, COMMON).await.status(), "200");
}

#[tokio::test]
async fn keys_rotate_over_http_and_run_out() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let rotate = json!({"rotate": true, "remove_old": true});
    for name in ["next-1", "next-2", "next-3"] {
        let published = control(&entra, "POST", "/_mock/keys", &rotate).await.json();
        assert_eq!(published["rotated"][0]["key"], name);
        assert_eq!(published["originals"], false);
    }
    assert_eq!(control(&entra, "POST", "/_mock/keys", &rotate).await.status(), "409");
    assert_eq!(control(&entra, "POST", "/_mock/keys", &json!({"add": "lost"})).await.status(), "400");
    assert_eq!(control(&entra, "POST", "/_mock/keys", &json!({"reset": true})).await.json()["originals"], true);
}

#[tokio::test]
async fn requests_are_counted_without_control() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    get(&entra, COMMON).await;
    get(&entra, COMMON).await;
    get(&entra, "/common/discovery/v2.0/keys?appid=x").await;
    let log = control(&entra, "GET", "/_mock/requests", &json!({})).await.json();
    assert_eq!(log["total"], 3);
    assert_eq!(log["requests"][1], json!({"host": "login.microsoftonline.com", "path": COMMON, "count": 2}));
    control(&entra, "DELETE", "/_mock/requests", &json!({})).await;
    assert_eq!(entra.requests().total(), 0);
}

#[tokio::test]
async fn the_upstream_echoes_and_counts() {
    let upstream = Upstream::start(any_port()).await.unwrap();
    let headers = "X-Two: a\r\nX-Two: b\r\nX-Echo-Status: 418\r\n";
    let answer = send(upstream.addr(), "PUT", "api", "/orders?id=1", headers, "12345").await;
    assert_eq!(answer.status(), "418");
    let seen = answer.json();
    assert_eq!(
        (&seen["method"], &seen["path"], &seen["body_bytes"]),
        (&json!("PUT"), &json!("/orders?id=1"), &json!(5))
    );
    assert_eq!(seen["headers"]["x-two"], json!(["a", "b"]));
    let count = send(upstream.addr(), "GET", "api", "/_upstream/count", "", "").await.json();
    assert_eq!((&count, upstream.count()), (&json!({"count": 1}), 1));
    send(upstream.addr(), "DELETE", "api", "/_upstream/count", "", "").await;
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn it_stops_when_dropped() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let addr = entra.addr();
    drop(entra);
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(addr).await.is_err());
}

const GRAPH: &str = "graph.microsoft.com";

async fn reader(entra: &MockEntra) -> String {
    let form = "grant_type=client_credentials&client_id=dddddddd-0000-4000-8000-000000000004&client_secret=worthless-reader-secret\
                &scope=https%3A%2F%2Fgraph.microsoft.com%2F.default";
    let path = "/contoso.onmicrosoft.com/oauth2/v2.0/token";
    let answer = send(entra.addr(), "POST", "login.microsoftonline.com", path, "", form).await;
    format!("Authorization: Bearer {}\r\n", answer.json()["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn delta_queries_tell_of_everything_and_then_of_changes() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let token = reader(&entra).await;
    let ask = async |link: &str| {
        let path = link.strip_prefix("https://graph.microsoft.com").unwrap_or(link).to_owned();
        let answer = send(entra.addr(), "GET", GRAPH, &path, &token, "").await;
        (answer.status().to_owned(), answer.json())
    };
    let (_, first) = ask("/v1.0/users/delta?$select=id,accountEnabled").await;
    let user = &first["value"][0];
    assert_eq!((&user["accountEnabled"], &user["signInSessionsValidFromDateTime"]), (&json!(true), &Value::Null));
    let link = first["@odata.deltaLink"].as_str().unwrap().to_owned();
    assert_eq!(ask(&link).await.1["value"], json!([]));
    let change = json!({"users": [{"id": user["id"], "accountEnabled": false}, {"id": "x", "@removed": "deleted"}]});
    assert_eq!(control(&entra, "POST", "/_mock/directory", &change).await.status(), "200");
    let (_, changed) = ask(&link).await;
    assert_eq!(
        changed["value"],
        json!([{"id": user["id"], "accountEnabled": false}, {"id": "x", "@removed": {"reason": "deleted"}}])
    );
    // Pages.
    let many = json!({"disable_many": 5, "page_size": 2});
    control(&entra, "POST", "/_mock/directory", &many).await;
    let mut next = changed["@odata.deltaLink"].as_str().unwrap().to_owned();
    let mut sizes = Vec::new();
    let last = loop {
        let (_, page) = ask(&next).await;
        sizes.push(page["value"].as_array().unwrap().len());
        match page["@odata.nextLink"].as_str() {
            Some(more) => next = more.to_owned(),
            None => break page["@odata.deltaLink"].as_str().unwrap().to_owned(),
        }
    };
    assert_eq!(sizes, [2, 2, 1]);
    let (_, latest) = ask("/v1.0/users/delta?$select=id&$deltatoken=latest").await;
    assert_eq!(latest["value"], json!([]));
    control(&entra, "POST", "/_mock/directory", &json!({"expire_links": true})).await;
    let (status, gone) = ask(&last).await;
    assert_eq!((status.as_str(), &gone["error"]["code"]), ("410", &json!("syncStateNotFound")));
    let unauthorized = send(entra.addr(), "GET", GRAPH, "/v1.0/users/delta", "", "").await;
    assert_eq!(unauthorized.status(), "401");
}

#[tokio::test]
async fn events_wait_until_they_are_acknowledged() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let stream = "Authorization: Bearer worthless-stream-token\r\n";
    let poll = async |question: Value| {
        let answer = send(entra.addr(), "POST", "idp.example.com", "/ssf/poll", stream, &question.to_string()).await;
        answer.json()
    };
    let first = control(&entra, "POST", "/_mock/signals", &json!({})).await.json();
    let second = control(&entra, "POST", "/_mock/signals", &json!({"token": {"claims": {"jti": "j"}}})).await.json();
    assert_eq!(second["jti"], "j");
    let jti = first["jti"].as_str().unwrap();
    let answer = poll(json!({"maxEvents": 1, "returnImmediately": true})).await;
    assert_eq!((&answer["sets"][jti], &answer["moreAvailable"]), (&first["set"], &json!(true)));
    let told =
        json!({"returnImmediately": true, "ack": [jti], "setErrs": {"j": {"err": "invalid_key", "description": "d"}}});
    assert_eq!(poll(told).await, json!({"sets": {}, "moreAvailable": false}));
    let summary = control(&entra, "GET", "/_mock/signals", &json!({})).await.json();
    assert_eq!(
        summary,
        json!({"waiting": [], "acknowledged": [jti], "errors": {"j": {"err": "invalid_key", "description": "d"}}})
    );
    let refused = send(entra.addr(), "POST", "idp.example.com", "/ssf/poll", "", "{}").await;
    assert_eq!(refused.status(), "401");
    let metadata = send(entra.addr(), "GET", "idp.example.com", "/.well-known/ssf-configuration", "", "").await.json();
    assert_eq!(metadata["jwks_uri"], "https://idp.example.com/keys");
}

#[tokio::test]
async fn an_event_is_pushed_and_a_logout_token_is_made() {
    let entra = MockEntra::start(any_port()).await.unwrap();
    let upstream = Upstream::start(any_port()).await.unwrap();
    let push = json!({"push": {"url": format!("http://{}/events", upstream.addr()), "authorization": "Bearer a"}});
    let told = control(&entra, "POST", "/_mock/signals", &push).await.json();
    let seen: Value = serde_json::from_str(told["answer"].as_str().unwrap()).unwrap();
    assert_eq!((&told["status"], &seen["path"]), (&json!(200), &json!("/events")));
    assert_eq!(seen["headers"]["content-type"], json!(["application/secevent+jwt"]));
    assert_eq!(seen["headers"]["authorization"], json!(["Bearer a"]));
    let logout = control(&entra, "POST", "/_mock/logout", &json!({"claims": {"sid": "s"}})).await.json();
    assert_eq!(logout["logout_token"].as_str().unwrap().split('.').count(), 3);
}
