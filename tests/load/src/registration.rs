//! What the registration bridge costs everybody else: a request's CPU time where it is configured, and the latency of
//! requests while two hundred clients register at once, with a Graph that takes its time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use envoy_tests::bootstrap::{cluster, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::patience::until;
use envoy_tests::token::{CONTOSO, ORDERS};
use envoy_tests::{Envoy, Request};
use mock_entra::{Fault, FaultRule};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::document;
use crate::machine::{Machine, Usage, cpu_of, first_on_cores, on_cores, part_main_thread};
use crate::race::{self, Length};
use crate::record::{self, Versions};
use crate::setup::{Filter, REPEATED, Setup, Stream, add_clusters};
use crate::statistics::Spread;
use crate::subject::Ground;
use crate::tokens::{Pool, Pools};
use crate::told;
use crate::wrk::{self, Outcome};

/// The part's name, in `ONLY`, in `docs/performance.json` and in `docs/performance.md`.
pub const PART: &str = "registration";
/// Clients that register at once, a quarter of them confidential: three calls each, the others one.
const CLIENTS: usize = 200;
/// How long Graph takes for each call.
const GRAPH: Duration = Duration::from_millis(300);
/// Windows of each kind, and in a quick run; seconds of each.
const WINDOWS: usize = 16;
const WINDOWS_QUICK: usize = 3;
const WINDOW_SECONDS: u64 = 6;
/// Between a connection's requests, on average: they take a fifth to a half of the worker, which has time for more.
const PAUSE_MS: usize = 8;
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
    /// What two hundred clients are to other requests.
    harms: Vec<Harm>,
}

/// What two hundred clients that register at once are to requests of one kind.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Harm {
    traffic: Traffic,
    /// Clients of all windows; each of them was registered.
    clients: usize,
    /// Seconds until the last of two hundred was registered.
    burst_s: Spread,
    /// Stays of the event loop for two hundred of them, in microseconds.
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
    both: Spread,
}

/// The other requests.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
enum Traffic {
    /// They go on to an upstream, as requests do.
    Proxied,
    /// Envoy answers them itself, as in the comparison: nothing takes less, and what comes between shows most.
    Answered,
}

impl Traffic {
    fn title(self) -> &'static str {
        match self {
            Self::Answered => "requests that Envoy answers itself",
            Self::Proxied => "requests that go on to an upstream",
        }
    }
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
    let (mut harms, mut others) = (Vec::new(), others_at_rest);
    for traffic in [Traffic::Proxied, Traffic::Answered] {
        let (harm, others_meanwhile) = harm(ground, pools, traffic, windows).await?;
        harms.push(harm);
        others = others.max(others_meanwhile);
    }
    ground.entra.faults().clear();
    let (machine, versions, command) = (machine.clone(), versions.clone(), format!("make bench ONLY={PART}"));
    let record = Record { machine, versions, command, others, costs, harms };
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

/// An Envoy with the bridge, under load.
struct Place {
    /// Part of the names of its clients, whom nobody has registered before.
    name: String,
    envoy: Envoy,
    upstream: Option<Envoy>,
    setup: Setup,
    pool: Pool,
}

impl Place {
    /// With a token for Graph.
    async fn start(ground: &Ground, pools: &mut Pools, traffic: Traffic, log: &str) -> Result<Self> {
        let setup = setup(true, 0);
        let pool = pools.of(&setup)?;
        let mut bootstrap = setup.bootstrap(ground.entra.addr());
        let upstream = match traffic {
            Traffic::Answered => None,
            Traffic::Proxied => Some(upstream(ground, &setup).await?),
        };
        if let Some(upstream) = &upstream {
            let routes = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes";
            let routes = bootstrap.pointer_mut(routes).context("no routes")?;
            *routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]);
            add_clusters(&mut bootstrap, [cluster("upstream", upstream.ingress().authority().parse()?)])?;
        }
        add_clusters(&mut bootstrap, [over_http2(cluster("graph", ground.entra.addr()))])?;
        let filter = format!("wasm:{log}");
        let arguments = ["--concurrency", "1", "--log-level", "warning", "--component-log-level", &filter];
        let envoy = ground.start(on_cores, &setup.cores.envoy, &arguments, &bootstrap).await?;
        part_main_thread(envoy.process_id())?;
        until("a token passes", async || {
            let answer = envoy.ingress().send(Request::get(&setup.path).bearer(&pool.first)).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        let place = Self { name: format!("{traffic:?} {log}"), envoy, upstream, setup, pool };
        place.come(Clients::Registering, 0).await?;
        Ok(place)
    }

    /// What its processes have used by now.
    fn usage(&self) -> Result<Usage> {
        let upstream = self.upstream.as_ref().map_or(Ok(Duration::ZERO), |upstream| cpu_of(upstream.process_id()))?;
        Usage::now((cpu_of(self.envoy.process_id())? + upstream).as_secs_f64())
    }

    /// Sends requests for a while; what came of them, and how long the clients of a round took that came meanwhile.
    async fn window(&self, clients: Clients, round: usize) -> Result<(Outcome, Duration)> {
        let sending = wrk::window(&self.envoy, &self.setup, &self.pool, WINDOW_SECONDS, PAUSE_MS);
        let mut burst = Duration::ZERO;
        if clients != Clients::Absent {
            // Until all connections are there.
            tokio::time::sleep(Duration::from_millis(500)).await;
            burst = self.come(clients, round).await?;
            ensure!(!sending.is_finished(), "the clients took longer than the window: {burst:?}");
        }
        let outcome = sending.await??;
        ensure!(outcome.refused == 0, "somebody was refused: {outcome:?}");
        Ok((outcome, burst))
    }

    /// Two hundred clients at once, none of which is lost.
    async fn come(&self, clients: Clients, round: usize) -> Result<Duration> {
        let mut coming = JoinSet::new();
        let started = Instant::now();
        for at in 0..CLIENTS {
            let mut client = json!({
                "client_name": format!("{}, client {at} of round {round}", self.name),
                "redirect_uris": ["http://localhost/callback"],
            });
            if at % 4 > 0 {
                merge(&mut client, &json!({"token_endpoint_auth_method": "none"}));
            }
            let (request, status) = match clients {
                Clients::Registering => (Request::post("/register", &client), 201),
                Clients::Absent | Clients::Visiting => {
                    (Request::post("/orders/17", &client).bearer(&self.pool.first), 200)
                }
            };
            let gate = self.envoy.ingress().clone();
            coming.spawn(async move { (gate.send(request).await, status) });
        }
        while let Some(answer) = coming.join_next().await {
            let (answer, expected) = answer?;
            let answer = answer.context("a client was lost")?;
            ensure!(answer.status == expected, "a client was refused: {}", answer.text());
        }
        Ok(started.elapsed())
    }
}

/// Another Envoy, which answers what is sent to it.
async fn upstream(ground: &Ground, setup: &Setup) -> Result<Envoy> {
    let arguments = ["--concurrency", "1", "--log-level", "warning"];
    let bootstrap = Setup::new(Filter::None, Stream::Repeated(REPEATED)).bootstrap(ground.entra.addr());
    ground.start(first_on_cores, &setup.cores.load, &arguments, &bootstrap).await
}

/// How long the event loop stays with the bridge, each time, while clients register; microseconds.
async fn steps(ground: &Ground, pools: &mut Pools, traffic: Traffic) -> Result<Vec<f64>> {
    let place = Place::start(ground, pools, traffic, "debug").await?;
    let before = place.envoy.log().len();
    place.window(Clients::Registering, 1).await?;
    let log = place.envoy.log();
    let log = log.get(before..).unwrap_or_default();
    let marks = ["registration: a turn of", "registration: an answer,"];
    let steps: Vec<f64> = marks.iter().flat_map(|mark| told::micros(log, mark)).collect();
    ensure!(steps.len() > 2 * CLIENTS, "the filter told of {} steps only", steps.len());
    Ok(steps)
}

/// What clients are to such requests, and what others used of the machine meanwhile.
async fn harm(ground: &Ground, pools: &mut Pools, traffic: Traffic, windows: usize) -> Result<(Harm, f64)> {
    let steps = steps(ground, pools, traffic).await?;
    let place = Place::start(ground, pools, traffic, "warning").await?;
    place.window(Clients::Absent, 0).await?;
    let (mut still, mut visited, mut busy, mut bursts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let before = place.usage()?;
    for round in 0..windows {
        let mut order = [Clients::Absent, Clients::Visiting, Clients::Registering];
        order.rotate_left(round % 3);
        for clients in order {
            let (outcome, burst) = place.window(clients, round + 1).await?;
            let p99 = outcome.p99_us as f64;
            match clients {
                Clients::Absent => still.push(p99),
                Clients::Visiting => visited.push(p99),
                Clients::Registering => {
                    busy.push(p99);
                    bursts.push(burst.as_secs_f64());
                }
            }
        }
        eprintln!(
            "{PART}, {}: round {} of {windows}, p99, µs: {}, visited {}, registering {}",
            traffic.title(),
            round + 1,
            still[round],
            visited[round],
            busy[round]
        );
    }
    let others = place.usage()?.others_since(&before);
    let harm = Harm {
        traffic,
        clients: windows * CLIENTS,
        burst_s: Spread::of(bursts),
        steps: steps.len(),
        steps_us: Spread::of(steps),
        both: Spread::of_ratios(&busy, &still),
        visited: Spread::of_ratios(&visited, &still),
        bridge: Spread::of_ratios(&busy, &visited),
        p99_visited_us: Spread::of(visited),
        p99_us: Spread::of(still),
        p99_registering_us: Spread::of(busy),
    };
    Ok((harm, others))
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
    text += &format!("\n| {CLIENTS} clients register at once, Graph answering in {} ms |", GRAPH.as_millis());
    text += &line(record, |harm| format!(" {} |", harm.traffic.title()));
    text += "|---|";
    text += &line(record, |_| "---|".to_owned());
    for (title, cell) in ROWS {
        text += &format!("| {title} |");
        text += &line(record, |harm| format!(" {} |", cell(harm)));
    }
    text
}

/// One cell for each kind of traffic.
fn line(record: &Record, cell: impl Fn(&Harm) -> String) -> String {
    record.harms.iter().map(cell).collect::<String>() + "\n"
}

type Cell = fn(&Harm) -> String;

/// What is told of each kind of traffic.
const ROWS: [(&str, Cell); 7] = [
    ("registered, of those that asked", |harm| format!("{} of {}", harm.clients, harm.clients)),
    ("seconds until the last was registered (quartiles)", |harm| of(&harm.burst_s, 2)),
    ("stays of the event loop for them: how many; µs of one (quartiles); the longest", |harm| {
        format!("{}; {}; {:.0}", harm.steps, of(&harm.steps_us, 0), harm.steps_us.max)
    }),
    ("p99, µs: otherwise; while as many clients send as much as ordinary requests; while they register", |harm| {
        let Harm { p99_us, p99_visited_us, p99_registering_us, .. } = harm;
        format!("{:.0}; {:.0}; {:.0}", p99_us.median, p99_visited_us.median, p99_registering_us.median)
    }),
    ("ratio of the first two (quartiles): what their coming costs", |harm| of(&harm.visited, 2)),
    ("ratio of the last two (quartiles): what the bridge adds", |harm| {
        let verdict = if harm.bridge.median <= BRIDGE_AT_MOST { "reached" } else { "**not reached**" };
        format!("{}; at most {BRIDGE_AT_MOST}: {verdict}", of(&harm.bridge, 2))
    }),
    ("ratio of the last to the first (quartiles): both", |harm| of(&harm.both, 2)),
];

/// A median and its quartiles.
fn of(spread: &Spread, digits: usize) -> String {
    let Spread { median, lower_quartile, upper_quartile, .. } = spread;
    format!("{median:.digits$} ({lower_quartile:.digits$} – {upper_quartile:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_was_missed_is_told() {
        let spread = |value| Spread::of([value]);
        let machine = Machine { processor: String::new(), cores: 2, memory_gib: 1, kernel: String::new() };
        let versions = Versions { envoy: String::new(), wrk: String::new(), module_bytes: 0 };
        let harm = |ratio| Harm {
            traffic: Traffic::Proxied,
            clients: CLIENTS,
            burst_s: spread(1.0),
            steps_us: spread(1.0),
            steps: 1,
            p99_us: spread(1.0),
            p99_visited_us: spread(1.0),
            p99_registering_us: spread(ratio),
            visited: spread(1.0),
            bridge: spread(ratio),
            both: spread(ratio),
        };
        let record = |ratio| Record {
            machine: machine.clone(),
            versions: versions.clone(),
            command: String::new(),
            others: 0.0,
            costs: Vec::new(),
            harms: vec![harm(ratio)],
        };
        let is_missed = |ratio| table(&record(ratio)).contains("not reached");
        assert_eq!([is_missed(BRIDGE_AT_MOST), is_missed(1.06)], [false, true]);
    }
}
