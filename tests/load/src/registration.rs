//! What the registration bridge costs everybody else: a request's CPU time where it is configured, and the latency of
//! requests while two hundred clients register at once, with a Graph that takes its time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use envoy_tests::bootstrap::{cluster, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::http::Origin;
use envoy_tests::patience::until;
use envoy_tests::token::{CONTOSO, ORDERS};
use envoy_tests::{Envoy, Request};
use mock_entra::{Fault, FaultRule};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::document;
use crate::machine::{Machine, Usage, cpu_of, on_cores, part_main_thread};
use crate::race::{self, Length};
use crate::record::{self, Versions};
use crate::setup::{Filter, REPEATED, Setup, Stream, add_clusters};
use crate::statistics::Spread;
use crate::subject::Ground;
use crate::tokens::{Pool, Pools};
use crate::wrk::{self, Outcome};

/// The part's name, in `ONLY`, in `docs/performance.json` and in `docs/performance.md`.
pub const PART: &str = "registration";
/// Clients that register at once, a quarter of them confidential: three calls each, the others one.
const CLIENTS: usize = 200;
/// How long Graph takes for each call.
const GRAPH: Duration = Duration::from_millis(300);
/// Windows of each kind, and in a quick run; seconds of each.
const WINDOWS: usize = 40;
const WINDOWS_QUICK: usize = 3;
const WINDOW_SECONDS: u64 = 6;
/// Another length than the comparison's, of whose tokens there are many.
const TOKEN_BYTES: usize = 2_000;
/// The body of those requests that have one: what fits into one piece.
const BODY_BYTES: usize = 1_024;
/// p99 while clients register, against that while as many send as much that is not registered: two hundred that come at
/// once are felt whatever they want.
const BRIDGE_AT_MOST: f64 = 1.05;

/// What a run found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Record {
    machine: Machine,
    versions: Versions,
    command: String,
    /// The share of the machine that others used, at most.
    others: f64,
    /// A request's CPU time without the bridge and with it.
    costs: Vec<Cost>,
    /// Clients of all windows; each of them was registered.
    clients: usize,
    /// Seconds until the last of two hundred was registered.
    burst_s: Spread,
    /// Stays of the event loop for two hundred of them under the same load, in microseconds.
    steps_us: Spread,
    /// How many there were.
    steps: usize,
    /// p99 of requests, in microseconds.
    p99_us: Spread,
    /// The same while as many clients send as much, which the gate lets pass.
    p99_visited_us: Spread,
    /// The same while clients register.
    p99_registering_us: Spread,
    /// Visited against otherwise, window by window.
    visited: Spread,
    /// Registering against visited, window by window.
    bridge: Spread,
    /// Registering against otherwise, window by window.
    p99: Spread,
}

/// What two hundred clients do during a window.
#[derive(Clone, Copy, PartialEq)]
enum Clients {
    /// They are not there.
    Absent,
    /// They come at once and send what a registration would, as ordinary requests: what their coming costs by itself.
    Visiting,
    /// They register at once.
    Registering,
}

/// A kind of request, and the CPU time of the whole Envoy for one, in microseconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Cost {
    title: String,
    without_us: Spread,
    with_us: Spread,
    /// The ratio of both, round by round.
    ratio: Spread,
}

/// Measures all of it. A whole run is recorded.
pub async fn bench(
    ground: &Ground,
    pools: &mut Pools,
    machine: &Machine,
    versions: &Versions,
    length: Length,
    quick: bool,
) -> Result<()> {
    let (costs, others_at_rest) = costs(ground, pools, length).await?;
    let windows = if quick { WINDOWS_QUICK } else { WINDOWS };
    let late = Fault { delay_ms: GRAPH.as_millis().try_into()?, ..Fault::default() };
    let host = Some("graph.microsoft.com".to_owned());
    ground.entra.faults().add(FaultRule { host, fault: late, ..FaultRule::default() });
    let steps = steps(ground, pools).await?;
    let found = windows_of(ground, pools, windows).await?;
    ground.entra.faults().clear();
    let record = Record {
        machine: machine.clone(),
        versions: versions.clone(),
        command: format!("make bench ONLY={PART}"),
        others: found.others.max(others_at_rest),
        costs,
        clients: found.clients,
        burst_s: Spread::of(found.bursts),
        steps: steps.len(),
        steps_us: Spread::of(steps),
        p99: Spread::of_ratios(&found.busy, &found.still),
        visited: Spread::of_ratios(&found.visited, &found.still),
        bridge: Spread::of_ratios(&found.busy, &found.visited),
        p99_visited_us: Spread::of(found.visited),
        p99_us: Spread::of(found.still),
        p99_registering_us: Spread::of(found.busy),
    };
    println!("{}", table(&record));
    if !quick {
        record::keep_part(PART, &record)?;
        write(&record)?;
        println!("written: its part of docs/performance.md and docs/performance.json");
    }
    Ok(())
}

/// Writes the document's part from what is recorded, if anything is.
pub fn redraw() -> Result<()> {
    record::kept_part(PART)?.as_ref().map_or(Ok(()), write)
}

fn gate(registers: bool) -> Value {
    let mut gate = workforce(&json!({}));
    if registers {
        gate["registration"] = json!({
            "tenant": CONTOSO,
            "client_id": "cccccccc-0000-4000-8000-000000000003",
            "client_secret_env": "GATE_CLIENT_SECRET",
            "upstreams": {"login": {"cluster": "entra"}, "graph": {"cluster": "graph"}},
            "access": {"open": true},
            "scopes": {
                "api://orders/Orders.Read": {"resource": ORDERS, "id": "aaaaaaaa-1111-4111-8111-111111111111"},
            },
            "rate_limit": {"requests": 100_000, "interval": "1s"},
        });
    }
    gate
}

/// As `envoy/registration.yaml` has Graph's: what is under way at once shares a connection.
fn over_http2(mut cluster: Value) -> Value {
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    cluster
}

fn setup(registers: bool, body_bytes: usize) -> Setup {
    let filter = Filter::Gate(gate(registers));
    Setup { token_bytes: TOKEN_BYTES, body_bytes, ..Setup::new(filter, Stream::Repeated(REPEATED)) }
}

/// What requests cost without the bridge and with it, in one race; and what others used of the machine.
async fn costs(ground: &Ground, pools: &mut Pools, length: Length) -> Result<(Vec<Cost>, f64)> {
    let kinds = [("without a body", 0), ("with a body of 1 KiB", BODY_BYTES)];
    let setups: Vec<(String, Setup)> = kinds
        .iter()
        .flat_map(|(title, bytes)| {
            [false, true].map(|registers| (format!("{title}, bridge: {registers}"), setup(registers, *bytes)))
        })
        .collect();
    let (runners, others) = race::run(ground, pools, PART, &setups, length).await?;
    let costs = kinds.iter().zip(runners.chunks(2)).filter_map(|((title, _), runners)| {
        let [without, with] = runners else { return None };
        Some(Cost {
            title: (*title).to_owned(),
            without_us: Spread::of(without.cpu()),
            with_us: Spread::of(with.cpu()),
            ratio: Spread::of_ratios(&with.cpu(), &without.cpu()),
        })
    });
    Ok((costs.collect(), others))
}

/// What the windows found.
#[derive(Default)]
struct Found {
    clients: usize,
    bursts: Vec<f64>,
    still: Vec<f64>,
    visited: Vec<f64>,
    busy: Vec<f64>,
    others: f64,
}

/// An Envoy with the bridge, that has a token for Graph.
async fn start(ground: &Ground, setup: &Setup, pool: &Pool, log: &str) -> Result<Envoy> {
    let mut command = on_cores(&setup.cores.envoy, ground.release.binary().as_os_str());
    command.args(["--concurrency", "1", "--log-level", "warning", "--component-log-level", &format!("wasm:{log}")]);
    let mut bootstrap = setup.bootstrap(ground.entra.addr());
    add_clusters(&mut bootstrap, [over_http2(cluster("graph", ground.entra.addr()))])?;
    let envoy = Envoy::start_by(command, &bootstrap).await.map_err(|failure| anyhow!("{failure}"))?;
    part_main_thread(envoy.process_id())?;
    until("a token passes", async || {
        let answer = envoy.ingress().send(Request::get(&setup.path).bearer(&pool.first)).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    come(envoy.ingress(), Clients::Registering, &pool.first, 0).await?;
    Ok(envoy)
}

/// How long the event loop stays with the bridge, each time, while clients register under load; microseconds.
async fn steps(ground: &Ground, pools: &mut Pools) -> Result<Vec<f64>> {
    let setup = setup(true, 0);
    let pool = pools.of(&setup)?;
    let envoy = start(ground, &setup, &pool, "debug").await?;
    let before = envoy.log().len();
    // Clients that nobody has registered yet.
    window(&envoy, &setup, &pool, Clients::Registering, usize::MAX).await?;
    let log = envoy.log();
    let told = log.get(before..).unwrap_or_default().lines();
    let micros = |line: &str| line.rsplit_once(" µs")?.0.rsplit(' ').next()?.parse().ok();
    let marks = ["registration: a turn of", "registration: an answer,"];
    let steps: Vec<f64> = told.filter(|line| marks.iter().any(|mark| line.contains(mark))).filter_map(micros).collect();
    ensure!(steps.len() > 2 * CLIENTS, "the filter told of {} steps only", steps.len());
    Ok(steps)
}

async fn windows_of(ground: &Ground, pools: &mut Pools, windows: usize) -> Result<Found> {
    let setup = setup(true, 0);
    let pool = pools.of(&setup)?;
    let envoy = start(ground, &setup, &pool, "warning").await?;
    window(&envoy, &setup, &pool, Clients::Absent, 0).await?;
    let mut found = Found::default();
    let before = Usage::now(cpu_of(envoy.process_id())?.as_secs_f64())?;
    for round in 0..windows {
        let mut order = [Clients::Absent, Clients::Visiting, Clients::Registering];
        order.rotate_left(round % 3);
        for clients in order {
            let (outcome, burst) = window(&envoy, &setup, &pool, clients, round + 1).await?;
            ensure!(outcome.refused == 0, "somebody was refused: {outcome:?}");
            let p99 = outcome.p99_us as f64;
            match clients {
                Clients::Absent => found.still.push(p99),
                Clients::Visiting => found.visited.push(p99),
                Clients::Registering => {
                    found.busy.push(p99);
                    found.bursts.push(burst.as_secs_f64());
                    found.clients += CLIENTS;
                }
            }
        }
        let (still, visited, busy) = (found.still[round], found.visited[round], found.busy[round]);
        eprintln!("{PART}: round {} of {windows}, p99, µs: {still}, visited {visited}, registering {busy}", round + 1);
    }
    found.others = Usage::now(cpu_of(envoy.process_id())?.as_secs_f64())?.others_since(&before);
    Ok(found)
}

/// Sends requests for a while; what came of them, and how long the clients of a round took that came meanwhile.
async fn window(
    envoy: &Envoy,
    setup: &Setup,
    pool: &Pool,
    clients: Clients,
    round: usize,
) -> Result<(Outcome, Duration)> {
    let sending = wrk::window(envoy, setup, pool, WINDOW_SECONDS);
    let mut burst = Duration::ZERO;
    if clients != Clients::Absent {
        // Until all connections are there.
        tokio::time::sleep(Duration::from_millis(500)).await;
        burst = come(envoy.ingress(), clients, &pool.first, round).await?;
        ensure!(!sending.is_finished(), "the clients took longer than the window: {burst:?}");
    }
    Ok((sending.await??, burst))
}

/// Two hundred clients at once, none of which is lost.
async fn come(gate: &Origin, clients: Clients, token: &str, round: usize) -> Result<Duration> {
    let mut coming = JoinSet::new();
    let started = Instant::now();
    for at in 0..CLIENTS {
        let mut client = json!({
            "client_name": format!("client {at} of round {round}"),
            "redirect_uris": ["http://localhost/callback"],
        });
        if at % 4 > 0 {
            merge(&mut client, &json!({"token_endpoint_auth_method": "none"}));
        }
        let (request, status) = match clients {
            Clients::Registering => (Request::post("/register", &client), 201),
            Clients::Absent | Clients::Visiting => (Request::post("/orders/17", &client).bearer(token), 200),
        };
        let gate = gate.clone();
        coming.spawn(async move { (gate.send(request).await, status) });
    }
    while let Some(answer) = coming.join_next().await {
        let (answer, expected) = answer?;
        let answer = answer.context("a client was lost")?;
        ensure!(answer.status == expected, "a client was refused: {}", answer.text());
    }
    Ok(started.elapsed())
}

fn write(record: &Record) -> Result<()> {
    let Record { machine, versions, command, others, .. } = record;
    let run = document::head(machine, versions, command, *others);
    document::write_part(PART, &format!("{run}\n{}", table(record)))
}

fn table(record: &Record) -> String {
    let quartiles = |spread: &Spread| format!("{:.2} – {:.2}", spread.lower_quartile, spread.upper_quartile);
    let mut text =
        "| µs of CPU a request | without the bridge | with it | ratio | quartiles |\n|---|---|---|---|---|\n"
            .to_owned();
    for Cost { title, without_us, with_us, ratio } in &record.costs {
        let (without, with, ratio, quartiles) = (without_us.median, with_us.median, ratio.median, quartiles(ratio));
        text += &format!("| {title} | {without:.1} | {with:.1} | {ratio:.2} | {quartiles} |\n");
    }
    let Record { clients, burst_s, steps, steps_us, p99_us, p99_visited_us, p99_registering_us, .. } = record;
    let Record { visited, bridge, p99, .. } = record;
    let verdict = if bridge.median <= BRIDGE_AT_MOST { "reached" } else { "**not reached**" };
    text + &format!(
        "\n| {CLIENTS} clients register at once, Graph answering in {} ms | |\n|---|---|\n\
         | registered, of those that asked | {clients} of {clients} |\n\
         | seconds until the last of {CLIENTS} was registered (quartiles) | {:.2} ({}) |\n\
         | stays of the event loop for {CLIENTS} of them: how many; µs of one (quartiles); the longest | {steps}; {:.0} ({:.0} – {:.0}); {:.0} |\n\
         | p99 of other requests, µs: otherwise; while {CLIENTS} clients send as much as ordinary requests; while they register | {:.0}; {:.0}; {:.0} |\n\
         | ratio of the first two (quartiles): what their coming costs | {:.2} ({}) |\n\
         | ratio of the last two (quartiles): what the bridge adds; at most {BRIDGE_AT_MOST} | {:.2} ({}); {verdict} |\n\
         | ratio of the last to the first (quartiles): both | {:.2} ({}) |\n",
        GRAPH.as_millis(),
        burst_s.median,
        quartiles(burst_s),
        steps_us.median,
        steps_us.lower_quartile,
        steps_us.upper_quartile,
        steps_us.max,
        p99_us.median,
        p99_visited_us.median,
        p99_registering_us.median,
        visited.median,
        quartiles(visited),
        bridge.median,
        quartiles(bridge),
        p99.median,
        quartiles(p99),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_was_missed_is_told() {
        let spread = |value| Spread::of([value]);
        let machine = Machine { processor: String::new(), cores: 2, memory_gib: 1, kernel: String::new() };
        let versions = Versions { envoy: String::new(), wrk: String::new(), module_bytes: 0 };
        let record = |ratio| Record {
            machine: machine.clone(),
            versions: versions.clone(),
            command: String::new(),
            others: 0.0,
            costs: Vec::new(),
            clients: CLIENTS,
            burst_s: spread(1.0),
            steps_us: spread(1.0),
            steps: 1,
            p99_us: spread(1.0),
            p99_visited_us: spread(1.0),
            visited: spread(1.0),
            bridge: spread(ratio),
            p99_registering_us: spread(ratio),
            p99: spread(ratio),
        };
        let is_missed = |ratio| table(&record(ratio)).contains("not reached");
        assert_eq!([is_missed(BRIDGE_AT_MOST), is_missed(1.06)], [false, true]);
    }
}
