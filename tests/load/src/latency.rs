//! How soon a revocation holds: from the service's 200 to the refusal by the last of two workers.
//!
//! Real Envoy, the real service. A connection is kept to each worker, and each is asked with the user's token over and over
//! from the moment of the 200 until both have refused it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use envoy_tests::bootstrap::{cluster, merge};
use envoy_tests::configuration::workforce;
use envoy_tests::envoy::repository;
use envoy_tests::http::Kept;
use envoy_tests::patience::{DEADLINE, until};
use envoy_tests::revocations::{BOOTSTRAP_KEY, Service};
use envoy_tests::token::CONTOSO;
use envoy_tests::{Envoy, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::document;
use crate::machine::{Cores, Machine, Usage, cpu_of, on_cores};
use crate::plot;
use crate::record::{self, Versions};
use crate::setup::{Filter, Setup, Stream, add_clusters};
use crate::statistics::quantile;
use crate::subject::Ground;
use crate::tokens::now;

/// The part's name, in `ONLY`, in `docs/performance.json` and in `docs/performance.md`.
pub const PART: &str = "latency";
/// Revocations for each way, and in a quick run.
const SAMPLES: usize = 200;
const SAMPLES_QUICK: usize = 20;
/// The gate's `interval`.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two requests of one connection.
const BETWEEN: Duration = Duration::from_millis(2);
/// Multiples of it, modulo 1, are spread evenly however many there are.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

/// What a run found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Record {
    machine: Machine,
    versions: Versions,
    command: String,
    /// The share of the machine that others used, at most, for either way.
    others: f64,
    ways: Vec<Way>,
}

/// A way in which the gate hears of news.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Way {
    title: String,
    /// Seconds within which 99 of 100 revocations are to hold.
    p99_at_most: f64,
    /// Seconds, in the order in which they were found.
    seconds: Vec<f64>,
}

/// Measures both ways. A whole run is recorded.
pub async fn bench(ground: &Ground, machine: &Machine, versions: &Versions, quick: bool) -> Result<()> {
    let samples = if quick { SAMPLES_QUICK } else { SAMPLES };
    let (mut ways, mut others) = (Vec::new(), 0.0_f64);
    for (title, members, p99_at_most) in
        [("a request each second", json!({}), 2.0), ("long poll", json!({"long_poll": "30s"}), 1.0)]
    {
        let mut place = Place::start(ground, &members).await.context(title)?;
        let before = place.usage()?;
        let mut seconds = Vec::new();
        for sample in 0..samples {
            seconds.push(place.sample(ground, sample).await.with_context(|| format!("{title}, sample {sample}"))?);
            if (sample + 1) % 20 == 0 {
                eprintln!("{title}: {} of {samples}, p50 {:.2} s", sample + 1, quantile(&seconds, 0.5));
            }
        }
        others = others.max(place.usage()?.others_since(&before));
        ways.push(Way { title: title.to_owned(), p99_at_most, seconds });
    }
    let (machine, versions) = (machine.clone(), versions.clone());
    let record = Record { machine, versions, command: format!("make bench ONLY={PART}"), others, ways };
    println!("{}", table(&record));
    if !quick {
        record::keep_part(PART, &record)?;
        write(&record)?;
        println!("written: its part of docs/performance.md and docs/performance.json, and its plot");
    }
    Ok(())
}

/// Writes the document's part and the plot from what is recorded, if anything is.
pub fn redraw() -> Result<()> {
    record::kept_part(PART)?.as_ref().map_or(Ok(()), write)
}

/// A service, a gate of two workers that follows its feed, and a connection to each of the two.
struct Place {
    service: Service,
    envoy: Envoy,
    workers: [Kept; 2],
}

impl Place {
    async fn start(ground: &Ground, members: &Value) -> Result<Self> {
        let service = Service::start_on(([127, 0, 0, 1], 0).into()).await;
        let keys = service.client().origin().send(Request::get("/v1/keys")).await?.json();
        let mut feed = json!({
            "url": "https://revocations.example/v1/feed",
            "cluster": "revocations",
            "interval": format!("{}s", INTERVAL.as_secs()),
            "keys": keys,
        });
        merge(&mut feed, members);
        let mut gate = workforce(&json!({}));
        gate["revocation"] = json!({ "feed": feed });
        let mut bootstrap = Setup::new(Filter::Gate(gate), Stream::New).bootstrap(ground.entra.addr());
        // The second connection goes to the other worker.
        bootstrap["static_resources"]["listeners"][0]["connection_balance_config"] = json!({"exact_balance": {}});
        add_clusters(&mut bootstrap, [cluster("revocations", service.addr())])?;
        let arguments = ["--concurrency", "2", "--log-level", "warning"];
        let envoy = ground.start(on_cores, &Cores::of(2).envoy, &arguments, &bootstrap).await?;
        let mut workers = [envoy.ingress().keep().await?, envoy.ingress().keep().await?];
        until("each worker has one of the connections", async || {
            let active = envoy.envoy_stats(r"worker_.\.downstream_cx_active").await;
            let ours: Vec<u64> =
                active.iter().filter(|(name, _)| !name.contains("admin")).map(|(_, count)| *count).collect();
            (ours == [1, 1]).then_some(())
        })
        .await;
        let token = token_of(ground, "nobody")?;
        for worker in &mut workers {
            let deadline = Instant::now() + DEADLINE;
            while worker.send(asking(&token)).await?.status != 200 {
                ensure!(Instant::now() < deadline, "no token passes:\n{}", envoy.log());
                sleep(BETWEEN).await;
            }
        }
        Ok(Self { service, envoy, workers })
    }

    /// Revokes a user who is at work; the seconds until both workers refuse.
    async fn sample(&mut self, ground: &Ground, sample: usize) -> Result<f64> {
        let user = format!("{sample:08x}-0000-4000-8000-000000000000");
        let token = token_of(ground, &user)?;
        for worker in &mut self.workers {
            let answer = worker.send(asking(&token)).await.context("the gate")?;
            ensure!(answer.status == 200, "the user could not work: {answer:?}");
        }
        // The sample before has ended with a request of the gate: without a pause each would begin right after one.
        sleep(INTERVAL.mul_f64((sample as f64 * GOLDEN_RATIO).fract())).await;
        let revocation = json!({"tenant": CONTOSO, "user": user, "reason": "a benchmark"});
        let request = Request::post("/v1/revocations", &revocation).bearer(BOOTSTRAP_KEY);
        let answer = self.service.client().origin().send(request).await.context("the service")?;
        let told = Instant::now();
        ensure!(answer.status == 200, "the service did not revoke: {answer:?}");
        let [one, other] = &mut self.workers;
        let (one, other) = tokio::try_join!(refused(one, &token), refused(other, &token))?;
        Ok(one.max(other).duration_since(told).as_secs_f64())
    }

    fn usage(&self) -> Result<Usage> {
        let used = cpu_of(self.envoy.process_id())? + cpu_of(self.service.process_id())?;
        Usage::now(used.as_secs_f64())
    }
}

/// When a worker refused the token. Until then it lets it pass.
async fn refused(worker: &mut Kept, token: &str) -> Result<Instant> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = worker.send(asking(token)).await.context("the gate")?;
        let now = Instant::now();
        match answer.status {
            200 => ensure!(now < deadline, "the revocation never held"),
            401 if answer.reason().as_deref() == Some("token_revoked") => return Ok(now),
            _ => return Err(anyhow!("neither passed nor revoked: {answer:?}")),
        }
        sleep(BETWEEN).await;
    }
}

fn asking(token: &str) -> Request {
    Request::get("/orders/17").bearer(token)
}

fn token_of(ground: &Ground, user: &str) -> Result<String> {
    let request = serde_json::from_value(json!({"claims": {"oid": user}}))?;
    Ok(ground.entra.directory().mint(&request, now())?.access_token)
}

fn write(record: &Record) -> Result<()> {
    let Record { machine, versions, command, others, ways } = record;
    let run = document::head(machine, versions, command, *others);
    let lines: Vec<_> = ways.iter().map(|way| (way.title.as_str(), way.seconds.as_slice(), way.p99_at_most)).collect();
    plot::distributions(
        "Revocations that hold in both workers (dashed: where 99 % are to be)",
        "seconds after the service's 200",
        &lines,
        &repository().join("docs/performance-latency.svg"),
    )?;
    let plot = "![How many revocations hold after how many seconds](performance-latency.svg)";
    document::write_part(PART, &format!("{run}\n{}\n{plot}\n", table(record)))
}

fn table(record: &Record) -> String {
    let mut text = "| the gate asks by | revocations | p50 | p90 | p99 | most | p99 at most | |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for Way { title, p99_at_most, seconds } in &record.ways {
        let [p50, p90, p99, most] = [0.5, 0.9, 0.99, 1.0].map(|share| quantile(seconds, share));
        let verdict = if p99 <= *p99_at_most { "reached" } else { "**not reached**" };
        text += &format!(
            "| {title} | {} | {p50:.2} s | {p90:.2} s | {p99:.2} s | {most:.2} s | {p99_at_most:.0} s | {verdict} |\n",
            seconds.len(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_was_missed_is_told() {
        let way = |p99_at_most| Way { title: "so".to_owned(), p99_at_most, seconds: vec![0.5, 1.5] };
        let machine = Machine { processor: String::new(), cores: 2, memory_gib: 1, kernel: String::new() };
        let versions = Versions { envoy: String::new(), wrk: String::new(), module_bytes: 0 };
        let ways = vec![way(2.0), way(1.0)];
        let text = table(&Record { machine, versions, command: String::new(), others: 0.0, ways });
        let verdicts: Vec<_> = text.lines().skip(2).map(|line| line.contains("not reached")).collect();
        assert_eq!(verdicts, [false, true]);
    }
}
