//! The arithmetic of docs/fleet.md at its small end: what ten gates of a real service send and get, and what a real
//! publisher writes, weighs what the simulation says.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use entra_gate::feed::document::Claims;
use entra_gate::jose::json;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::model::{Asking, Dice, Heads, changes, simulate};
use crate::support::{Options, Service, user_id};

#[path = "../support/fleet.rs"]
#[expect(dead_code, reason = "the simulation of a fleet needs more of it")]
mod model;

const GATES: usize = 10;
const SECONDS: usize = 60;

/// A gate that asks on one connection, as Envoy does, and counts.
struct Gate {
    stream: TcpStream,
    sequence: u64,
    etag: String,
    requests: usize,
    bytes: usize,
}

impl Gate {
    fn new(service: &Service) -> Self {
        let stream = TcpStream::connect(service.feed.strip_prefix("http://").unwrap()).unwrap();
        let (etag, sequence) = ("\"1\"".to_owned(), 1);
        Self { stream, sequence, etag, requests: 0, bytes: 0 }
    }

    /// Asks as Envoy sends it.
    fn ask(&mut self) {
        let request = format!(
            "GET /v1/feed?since={} HTTP/1.1\r\nhost: revocations.example\r\n\
             accept: application/revocations+jwt, application/jwt, */*\r\nuser-agent: entra-gate/0.1.0\r\n\
             if-none-match: {}\r\nx-envoy-internal: true\r\nx-forwarded-for: 10.0.0.1\r\n\
             x-envoy-expected-rq-timeout-ms: 2000\r\n\r\n",
            self.sequence, self.etag
        );
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let head = String::from_utf8(answer).unwrap();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let length = if head.starts_with("HTTP/1.1 304") { None } else { header("content-length: ") };
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body).unwrap();
        self.etag = header("etag: ").unwrap();
        self.sequence = self.etag.trim_matches('"').parse().unwrap();
        self.requests += 1;
        self.bytes += request.len() + head.len() + body.len();
    }
}

fn is_near(found: f64, expected: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < 0.1, "{what}: {found}, and the simulation says {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_gates_of_a_service_cost_what_the_simulation_says() {
    let service = Service::start();
    service.revoke_user(&user_id(0)).await;
    let mut gates: Vec<Gate> = (0..GATES).map(|_| Gate::new(&service)).collect();
    // Each second of the simulation is a round here: nobody waits for the clock.
    let all = changes(3.0, SECONDS as f64, &mut Dice(7));
    let mut number = 0;
    for second in 0..SECONDS {
        for gate in &mut gates {
            gate.ask();
        }
        while all.get(number).is_some_and(|change| *change < (second + 1) as f64) {
            number += 1;
            service.revoke_user(&user_id(u32::try_from(number).unwrap())).await;
        }
    }
    let (requests, bytes) = gates.iter().fold((0, 0), |sum, gate| (sum.0 + gate.requests, sum.1 + gate.bytes));
    let seconds = SECONDS as f64;
    let load = simulate(Asking::Service(1.0), GATES as u64, &all, &[], seconds, &mut Dice(8));
    is_near(requests as f64, load.requests * seconds, "requests");
    is_near(bytes as f64, load.bytes * seconds, "bytes");
}

#[tokio::test]
async fn a_publisher_writes_what_the_simulation_says() {
    let folder = tempfile::tempdir().unwrap();
    let service = Options::default().argument(&format!("--publish=file://{}", folder.path().display())).start();
    let mut last = 0;
    for number in 0..40 {
        service.revoke_user(&user_id(number)).await;
        if number % 13 != 12 {
            continue;
        }
        let head = loop {
            let head = std::fs::read(folder.path().join("feed")).unwrap_or_default();
            let payload =
                String::from_utf8_lossy(&head).split('.').nth(1).map(|payload| URL_SAFE_NO_PAD.decode(payload));
            if let Some(Ok(payload)) = payload {
                let payload = json::object(&payload).unwrap();
                let (claims, paging) = Claims::read(&payload).unwrap();
                if claims.sequence == u64::from(number) + 1 {
                    let told = payload["entries"].as_array().unwrap().len();
                    break (head.len(), told, paging.unwrap());
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let (bytes, told, paging) = head;
        let held: usize = paging.pages.iter().map(|page| page.records).sum();
        let heads = Heads::new(u64::try_from(held).unwrap());
        is_near(bytes as f64, heads.head(u64::try_from(told).unwrap()) as f64, "a head");
        let written: u64 = paging.pages.iter().map(|page| u64::try_from(page.records).unwrap() * 16).sum();
        assert_eq!(written, heads.pages);
        last = number;
    }
    assert_eq!(last, 38);
}
