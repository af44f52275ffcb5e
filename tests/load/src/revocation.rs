//! A million revocations: what they take, how long a lookup is, and what requests notice while a new snapshot is loaded.
//!
//! Some of it a fixture measures inside the VM, with the filter's own code; the rest is the filter itself under load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use entra_gate::feed::page::{PageName, Paging, digest};
use entra_gate::revocation::fingerprint::HashKey;
use entra_gate::revocation::packed::{Expiry, Record};
use envoy_tests::bootstrap::cluster;
use envoy_tests::configuration::workforce;
use envoy_tests::envoy::wasm;
use envoy_tests::feed::{Conduct, Feed};
use envoy_tests::patience::{until, until_at};
use envoy_tests::{Envoy, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::machine::{on_cores, part_main_thread};
use crate::setup::{Filter, REPEATED, Setup, Stream, add_clusters, fixture, wasm_filter};
use crate::statistics::Spread;
use crate::subject::Ground;
use crate::tokens::{Pool, Pools};
use crate::told;
use crate::wrk::{self, Outcome};

/// Live entries.
const ENTRIES: u64 = 1_000_000;
/// Records in a page: the most, so that turns are as long as they can be.
const PAGE_RECORDS: u64 = 16_384;
/// Entries of the plain snapshot: about the most that the host takes.
const PLAIN_ENTRIES: usize = 100_000;
/// Windows of each kind, and seconds of each.
const WINDOWS: usize = 6;
/// More than half as long as a snapshot takes, so that a window sees more of it than its beginning.
const WINDOW_SECONDS: u64 = 12;
/// Between looks at what is in force. They are had in all windows, because Envoy's answers take time, too.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Another length than the comparison's, of whose tokens there are many.
const TOKEN_BYTES: usize = 2_000;

/// What was found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Revocation {
    /// Inside the VM.
    pub inside: Inside,
    /// From a new snapshot's being there to its being in force, in milliseconds.
    pub load_ms: Spread,
    /// The longest turn of the event loop, in milliseconds.
    pub longest_turn_ms: f64,
    /// How many turns there were.
    pub turns: usize,
    /// Taking a part of the body of a large plain snapshot, in milliseconds; the longest.
    pub plain_answer_ms: f64,
    /// p99 of requests, in microseconds.
    pub p99_us: Spread,
    /// The same while snapshots are loaded.
    pub p99_loading_us: Spread,
    /// The ratio of both, window by window.
    pub p99: Spread,
    /// Answers of the feed that were refused meanwhile; what was held stayed in force.
    pub feed_failed: u64,
}

/// What the fixture tells.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Inside {
    pub entries: u64,
    pub bytes_for_each: f64,
    pub linear_memory_for_each: f64,
    pub load_ms: f64,
    pub load_worst_us: f64,
    pub find_ns: f64,
    pub hit_ns: f64,
    pub miss_ns: f64,
    pub rewrite_worst_us: f64,
    pub page_us: f64,
    pub hash_us: f64,
    pub parse_worst_us: f64,
}

/// Measures all of it.
pub async fn measure(ground: &Ground, pools: &mut Pools) -> Result<Revocation> {
    let inside = inside(ground).await?;
    eprintln!("revocation: inside the VM: {inside:?}");
    let (turns, longest_turn_ms, plain_answer_ms) = turns(ground).await?;
    eprintln!(
        "revocation: {turns} turns, the longest {longest_turn_ms:.2} ms; a part of a plain body {plain_answer_ms:.2} ms"
    );
    let setup = Setup { token_bytes: TOKEN_BYTES, ..Setup::new(Filter::None, Stream::Repeated(REPEATED)) };
    let pool = pools.of(&setup)?;
    let mut loading = Loading::start(ground, "info").await?;
    // The main thread loads what the worker does, and its worker's core is not where it does so in a deployment.
    part_main_thread(loading.envoy.process_id())?;
    let mut load_ms = vec![loading.next().await?];
    // Before there was anything, it was told that there was nothing new.
    let failed_before = loading.failed().await;
    let (mut still, mut busy) = (Vec::new(), Vec::new());
    // The first window warms up.
    loading.window(&setup, &pool, Window::Still).await?;
    for round in 0..WINDOWS {
        let mut order = [Window::Still, Window::Loading];
        order.rotate_left(round % 2);
        for window in order {
            let (outcome, loads) = loading.window(&setup, &pool, window).await?;
            ensure!(outcome.refused == 0, "somebody was refused: {outcome:?}");
            load_ms.extend(loads);
            let p99 = outcome.p99_us as f64;
            match window {
                Window::Loading => busy.push(p99),
                Window::Still => still.push(p99),
            }
        }
        eprintln!(
            "revocation: round {} of {WINDOWS}, p99, µs: {}, {} while loading",
            round + 1,
            still[round],
            busy[round]
        );
    }
    let feed_failed = loading.failed().await - failed_before;
    Ok(Revocation {
        inside,
        load_ms: Spread::of(load_ms),
        longest_turn_ms,
        turns,
        plain_answer_ms,
        p99: Spread::of_ratios(&busy, &still),
        p99_us: Spread::of(still),
        p99_loading_us: Spread::of(busy),
        feed_failed,
    })
}

async fn inside(ground: &Ground) -> Result<Inside> {
    let filter = wasm_filter("revocation", &fixture("revocation"), &json!({ "entries": ENTRIES }));
    let envoy = spawn(ground, filter, Vec::new(), "info").await?;
    // Once on the main thread, and then by the worker.
    let line = until("the fixture has measured", async || {
        let log = envoy.log();
        let mut lines = log.lines().filter_map(|line| line.split_once("revocation-in-wasm: "));
        lines.nth(1).map(|(_, line)| line.to_owned())
    })
    .await;
    let (object, _) = line.rsplit_once('}').with_context(|| line.clone())?;
    serde_json::from_str(&format!("{object}}}")).with_context(|| line.clone())
}

/// Turns of a worker that loads snapshots: how many, and the longest in milliseconds; and how long taking a part
/// of a large plain one is.
async fn turns(ground: &Ground) -> Result<(usize, f64, f64)> {
    let mut loading = Loading::start(ground, "debug").await?;
    for _ in 0..3 {
        loading.next().await?;
    }
    let guid = |at: usize| format!("{at:08x}-0000-4000-8000-{at:012x}");
    let entry = |at: usize| json!({"tenant": guid(1), "user": guid(at), "not_before": 1_760_000_000_u64, "expires": 4_000_000_000_u64});
    let entries: Vec<Value> = (0..PLAIN_ENTRIES).map(entry).collect();
    let sequence = loading.sequence + 1;
    loading.publish(&json!({"iss": "feed", "iat": 1, "seq": sequence, "entries": entries}), sequence).await;
    let log = loading.envoy.log();
    let turns = told::micros(&log, "revocations: a turn of");
    let answers = told::micros(&log, "revocations: an answer of");
    ensure!(!turns.is_empty() && !answers.is_empty(), "the filter told nothing of its turns");
    let longest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max) / 1_000.0;
    Ok((turns.len(), longest(&turns).max(longest(&answers)), longest(&answers)))
}

/// An Envoy that loads snapshots of a feed, one after another.
struct Loading {
    envoy: Envoy,
    feed: Feed,
    pages: [Value; 2],
    sequence: u64,
}

#[derive(Clone, Copy)]
enum Window {
    Loading,
    Still,
}

impl Loading {
    async fn start(ground: &Ground, log: &str) -> Result<Self> {
        let feed = Feed::start().await;
        let pages = [pages(&feed, 0), pages(&feed, 1)];
        feed.behave(Conduct::Status(304));
        let mut configuration = workforce(&json!({"token_versions": [2]}));
        let members = json!({"interval": "200ms", "timeout": "5s"});
        configuration["revocation"] = json!({"feed": feed.configuration(&members)});
        let clusters = vec![cluster("revocations", feed.addr())];
        let envoy = spawn(ground, wasm_filter("entra_gate", &wasm(), &configuration), clusters, log).await?;
        Ok(Self { envoy, feed, pages, sequence: 0 })
    }

    /// Puts the next snapshot there, and waits until it is in force; the milliseconds.
    async fn next(&mut self) -> Result<f64> {
        self.sequence += 1;
        let packed = &self.pages[usize::try_from(self.sequence % 2)?];
        let claims = json!({"iss": "feed", "iat": 1, "seq": self.sequence, "packed": packed});
        Ok(self.publish(&claims, self.sequence).await)
    }

    async fn failed(&self) -> u64 {
        self.envoy.stat("revocation.feed_failed").await
    }

    async fn publish(&self, claims: &Value, sequence: u64) -> f64 {
        let document = Feed::document(1, claims);
        let started = Instant::now();
        self.feed.behave(Conduct::Body(document));
        until_at(BETWEEN_LOOKS, "the snapshot is in force", async || {
            (self.held().await == Some(sequence)).then_some(())
        })
        .await;
        let took = started.elapsed();
        self.feed.behave(Conduct::Status(304));
        took.as_secs_f64() * 1e3
    }

    /// The sequence that is in force.
    async fn held(&self) -> Option<u64> {
        self.envoy.envoy_stats("entra_gate.revocation.sequence").await.into_values().next()
    }

    /// Sends requests for a while; what came of them, and how long each snapshot took that was loaded meanwhile.
    async fn window(&mut self, setup: &Setup, pool: &Pool, window: Window) -> Result<(Outcome, Vec<f64>)> {
        until("a token passes", async || {
            let answer = self.envoy.ingress().send(Request::get(&setup.path).bearer(&pool.first)).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        let sending = wrk::window(&self.envoy, setup, pool, WINDOW_SECONDS, 0);
        let mut loads = Vec::new();
        while !sending.is_finished() {
            match window {
                Window::Loading => loads.push(self.next().await?),
                Window::Still => {
                    self.held().await;
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
            }
        }
        Ok((sending.await??, loads))
    }
}

/// Makes the pages of a set and has the feed hold them: what a head says of them.
fn pages(feed: &Feed, set: u64) -> Value {
    let step = u64::MAX / ENTRIES;
    let record = |at: u64| Record {
        fingerprint: at * step + (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (set << 20)) % step,
        time: 1_759_000_000,
        expiry: Expiry::new(Some(4_000_000_000), at.is_multiple_of(2)),
    };
    let mut names = Vec::new();
    for (at, start) in (0..ENTRIES).step_by(PAGE_RECORDS as usize).enumerate() {
        let end = ENTRIES.min(start + PAGE_RECORDS);
        let body: Vec<u8> = (start..end).flat_map(|at| record(at).to_bytes()).collect();
        let path = format!("/v1/feed/pages/{set}/{at}");
        names.push(PageName { path: path.clone(), digest: digest(&body), records: (end - start) as usize });
        feed.hold_page(&path, body);
    }
    // The same key: one set takes the place of the other range by range.
    Paging { key: HashKey::new([7; 16]), pages: names }.to_json()
}

/// An Envoy with one filter and these clusters besides.
async fn spawn(ground: &Ground, filter: Value, clusters: Vec<Value>, log: &str) -> Result<Envoy> {
    let setup = Setup::new(Filter::None, Stream::Repeated(REPEATED));
    let mut bootstrap = setup.bootstrap(ground.entra.addr());
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
    let filters = bootstrap.pointer_mut(manager).and_then(Value::as_array_mut).context("no filters")?;
    filters.insert(0, filter);
    add_clusters(&mut bootstrap, clusters)?;
    let arguments = ["--concurrency", "1", "--log-level", "warning", "--component-log-level", &format!("wasm:{log}")];
    ground.start(on_cores, &setup.cores.envoy, &arguments, &bootstrap).await
}
