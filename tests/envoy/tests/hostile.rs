//! Bytes that no honest client sends: each gets an answer, none reaches the upstream, none traps the virtual machine.

use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::workforce;
use envoy_tests::contract::assert_refusal;
use envoy_tests::upstream::Echo;
use envoy_tests::{Answer, Release, Suite, World, behaviours};
use serde_json::json;

fn options(release: &Release) -> Options {
    let mut options = Options::new(release, workforce(&json!({})));
    // Beyond Envoy's usual limit, so that large tokens reach the filter.
    options.connection_manager = json!({"max_request_headers_kb": 512});
    options
}

fn main() -> ExitCode {
    let shared = behaviours![
        header_values_that_are_not_unicode_are_answered,
        other_headers_that_are_not_unicode_do_no_harm,
        two_authorization_headers_are_refused_in_either_order,
        control_characters_are_refused,
        folded_headers_are_refused,
        huge_tokens_are_refused,
        huge_numbers_of_segments_are_refused,
        paths_that_are_not_unicode_are_answered,
        hosts_that_are_not_unicode_are_answered,
        contradicting_lengths_are_refused,
        old_and_broken_requests_are_answered,
        pipelined_requests_are_judged_one_by_one,
        arbitrary_credentials_are_answered,
    ];
    Suite::new().shared(&Release::all(), options, shared).run()
}

fn request(line: &str, headers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("{line}\r\nConnection: close\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn get(headers: &[&[u8]]) -> Vec<u8> {
    request("GET /orders HTTP/1.1", &[&[b"Host: gate".as_slice()], headers].concat())
}

async fn answer(world: &World, bytes: &[u8]) -> Answer {
    let sent = || String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    world.envoy.ingress().send_bytes(bytes).await.unwrap_or_else(|error| panic!("{error}: {}", sent()))
}

/// Somebody refuses; nothing passes; the next good request does.
async fn refused(world: &World, bytes: &[u8]) -> Answer {
    let before = world.upstream.count().await;
    let answer = answer(world, bytes).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(world.upstream.count().await, before, "the upstream was asked");
    world.assert_passes("/orders", json!({})).await;
    answer
}

/// The filter refuses, for this reason.
async fn refused_for(world: &World, bytes: &[u8], reason: &str) {
    assert_refusal(&refused(world, bytes).await, reason);
}

async fn header_values_that_are_not_unicode_are_answered(world: &World) {
    refused_for(world, &get(&[b"Authorization: Bearer \xff\xfe"]), "request_malformed").await;
    refused_for(world, &get(&[b"Authorization: Bearer a.\xc3.b"]), "request_malformed").await;
    refused_for(world, &get(&[b"Authorization: Bearer\xa0a.b.c"]), "request_malformed").await;
    refused_for(world, &get(&[b"Authorization: \xff\xfe"]), "token_missing").await;
    refused_for(world, &get(&[b"Authorization: B\xe9arer a.b.c"]), "token_missing").await;
    world.envoy.assert_sound().await;
}

async fn other_headers_that_are_not_unicode_do_no_harm(world: &World) {
    let token = world.mint(json!({})).await;
    let authorization = format!("Authorization: Bearer {token}");
    for other in [&b"X-Name: \xff\xfe\xfd"[..], b"Cookie: a=\x80", b"User-Agent: \xc0\xaf", b"X-Forwarded-For: \xff"] {
        assert_eq!(answer(world, &get(&[authorization.as_bytes(), other])).await.status, 200, "{other:?}");
        refused_for(world, &get(&[other]), "token_missing").await;
    }
    world.envoy.assert_sound().await;
}

async fn two_authorization_headers_are_refused_in_either_order(world: &World) {
    let good = format!("Authorization: Bearer {}", world.mint(json!({})).await);
    let bad = format!("authorization: Bearer {}", world.mint(json!({"signature": "corrupt"})).await);
    for headers in [[&good, &bad], [&bad, &good], [&good, &good]] {
        let headers = headers.map(String::as_bytes);
        refused_for(world, &get(&headers), "request_malformed").await;
    }
    // Not even beside an empty one.
    refused(world, &get(&[b"Authorization:", b"Authorization: Bearer"])).await;
}

async fn control_characters_are_refused(world: &World) {
    let token = world.mint(json!({})).await;
    for byte in [0_u8, 1, 7, 8, 11, 12, 27, 127] {
        let mut value = format!("Authorization: Bearer {token}").into_bytes();
        value.insert(value.len() - 10, byte);
        refused(world, &get(&[&value])).await;
    }
    // Envoy takes a lone carriage return off before anybody sees it (RFC 9112 section 2.2).
    let mut value = format!("Authorization: Bearer {token}").into_bytes();
    value.insert(value.len() - 10, b'\r');
    let answer = answer(world, &get(&[&value])).await;
    if answer.status == 200 {
        assert_eq!(Echo::of(&answer).header("authorization"), [format!("Bearer {token}")]);
    }
    world.envoy.assert_sound().await;
}

async fn folded_headers_are_refused(world: &World) {
    let token = world.mint(json!({})).await;
    for folded in [format!("Authorization: Bearer\r\n {token}"), format!("Authorization:\r\n\tBearer {token}")] {
        let before = world.upstream.count().await;
        let answer = answer(world, &get(&[folded.as_bytes()])).await;
        // Envoy's parser may unfold it (RFC 9112 section 5.2): then it is an ordinary header.
        assert!(answer.status == 200 || world.upstream.count().await == before, "{answer:?}");
        assert_ne!(answer.status / 100, 5, "{answer:?}");
    }
    let header = format!("Authorization : Bearer {token}");
    refused(world, &get(&[header.as_bytes()])).await;
}

async fn huge_tokens_are_refused(world: &World) {
    for size in [33 << 10, 64 << 10, 256 << 10] {
        let text = format!("Authorization: Bearer {}", "x".repeat(size));
        refused_for(world, &get(&[text.as_bytes()]), "token_malformed").await;
        let text = format!("Authorization: Bearer e30.{}.e30", "x".repeat(size));
        refused_for(world, &get(&[text.as_bytes()]), "token_malformed").await;
    }
    let padded = format!("Authorization: Bearer {}{}", " ".repeat(64 << 10), world.mint(json!({})).await);
    let answer = answer(world, &get(&[padded.as_bytes()])).await;
    assert_ne!(answer.status / 100, 5, "{answer:?}");
    world.envoy.assert_sound().await;
}

async fn huge_numbers_of_segments_are_refused(world: &World) {
    for text in [".".repeat(30_000), "a.".repeat(15_000), "=".repeat(30_000)] {
        let text = format!("Authorization: Bearer {text}");
        refused_for(world, &get(&[text.as_bytes()]), "token_malformed").await;
    }
}

async fn paths_that_are_not_unicode_are_answered(world: &World) {
    for path in
        [&b"/\xff\xfe"[..], b"/orders/\xc0\xaf", b"/%ff%fe", b"/%c0%ae%c0%ae/", b"/\\..\\", b"/%00", b"*", b"orders"]
    {
        let line = [b"GET ", path, b" HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n"].concat();
        refused(world, &line).await;
    }
    world.envoy.assert_sound().await;
}

async fn hosts_that_are_not_unicode_are_answered(world: &World) {
    for host in [&b"Host: \xff\xfe"[..], b"Host: ", b"Host: a b", b"Host: gate:99999999", b"Host: [::1"] {
        refused(world, &request("GET /orders HTTP/1.1", &[host])).await;
    }
    refused(world, &request("GET /orders HTTP/1.1", &[b"Host: a", b"Host: b"])).await;
    refused(world, &request("GET /orders HTTP/1.1", &[])).await;
    world.envoy.assert_sound().await;
}

async fn contradicting_lengths_are_refused(world: &World) {
    // A request within a request: the inner one must reach nobody either.
    let token = world.mint(json!({})).await;
    let inner = format!("GET /inner HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\r\n");
    for lengths in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", inner.len() + 5),
        "Content-Length: 0\r\nContent-Length: 5".to_owned(),
        "Content-Length: -1".to_owned(),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
    ] {
        let head = format!("POST /orders HTTP/1.1\r\nHost: gate\r\n{lengths}\r\n\r\n0\r\n\r\n{inner}");
        let before = world.upstream.count().await;
        let answer = answer(world, head.as_bytes()).await;
        assert!((400..=501).contains(&answer.status), "{lengths}: {answer:?}");
        assert_eq!(world.upstream.count().await, before, "{lengths}");
    }
}

async fn old_and_broken_requests_are_answered(world: &World) {
    for line in ["GET /orders HTTP/1.0", "GET /orders HTTP/0.9", "GET /orders HTTP/3.7", "BREW /orders HTTP/1.1"] {
        refused_or_upgraded(world, &request(line, &[b"Host: gate"])).await;
    }
    for line in
        ["CONNECT gate:443 HTTP/1.1", "CONNECT / HTTP/1.1", "OPTIONS * HTTP/1.1", "GET http://gate/orders HTTP/1.1"]
    {
        refused_or_upgraded(world, &request(line, &[b"Host: gate"])).await;
    }
    world.envoy.assert_sound().await;
}

/// HTTP/1.0 is answered with 426 where it is not accepted.
async fn refused_or_upgraded(world: &World, bytes: &[u8]) {
    let before = world.upstream.count().await;
    let answer = answer(world, bytes).await;
    assert!((400..=505).contains(&answer.status) && answer.status != 503, "{answer:?}");
    assert_eq!(world.upstream.count().await, before, "the upstream was asked");
}

async fn pipelined_requests_are_judged_one_by_one(world: &World) {
    let token = world.mint(json!({})).await;
    let good = format!("GET /good HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\r\n");
    let bare = "GET /bare HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n";
    let before = world.upstream.count().await;
    let first = answer(world, format!("{good}{bare}").as_bytes()).await;
    assert_eq!(first.status, 200);
    assert_eq!(world.envoy.access("/bare").await["status"], 401);
    assert_eq!(world.upstream.count().await, before + 1);
}

async fn arbitrary_credentials_are_answered(world: &World) {
    let token = world.mint(json!({})).await;
    let before = world.upstream.count().await;
    // The same every time: a multiplicative generator (Park and Miller).
    let mut state: u64 = 20_260_101;
    let mut random = |below: usize| {
        state = state * 48_271 % 2_147_483_647;
        usize::try_from(state).unwrap_or_default() % below
    };
    for _ in 0..400 {
        let mut credential = token.clone().into_bytes();
        for _ in 0..=random(8) {
            let at = random(credential.len());
            let byte = u8::try_from(random(256)).unwrap_or_default();
            match random(3) {
                0 => credential[at] = byte,
                1 => credential.insert(at, byte),
                _ => credential.truncate(at.max(1)),
            }
        }
        if token.as_bytes() == credential {
            continue;
        }
        // Line ends would end the header; what follows would be another one.
        credential.retain(|byte| *byte != b'\r' && *byte != b'\n');
        let bytes = get(&[&[b"Authorization: Bearer ", credential.as_slice()].concat()]);
        let answer = answer(world, &bytes).await;
        assert!((400..500).contains(&answer.status), "{answer:?} to {}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(world.upstream.count().await, before);
    world.assert_passes("/orders", json!({})).await;
    world.envoy.assert_sound().await;
}
