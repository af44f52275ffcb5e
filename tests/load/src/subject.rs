//! A running Envoy under measurement: its CPU time, its memory, and whether its answers were those that were promised.
//!
//! A round with a wrong answer is no result but a failure of the benchmark.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use envoy_tests::patience::until;
use envoy_tests::{Envoy, Release, Request};
use mock_entra::MockEntra;
use serde_json::Value;

use crate::machine::{cpu_of, on_cores};
use crate::setup::{Filter, Log, Setup, Stream};
use crate::tokens::Pool;
use crate::wrk::{Load, Outcome};

/// Between looks at a process that is coming to rest.
const REST: Duration = Duration::from_millis(20);
/// CPU time that a process at rest may use between two looks.
const AT_REST: Duration = Duration::from_millis(1);
/// How long a filter may take to tell Envoy what it counted.
const TELLING: Duration = Duration::from_secs(5);
/// Envoy's own count of answers.
const COMPLETED: &str = "http.ingress.downstream_rq_completed";
/// How long a load that does not count lasts, in seconds.
const WARM_UP: u64 = 1;
/// How much faster than the one before a round may be.
const FASTER: f64 = 1.3;

/// What all Envoys share.
pub struct Ground {
    pub release: Release,
    pub entra: MockEntra,
}

impl Ground {
    /// Starts an Envoy with these arguments, which `on` puts on these cores: [`on_cores`], or what comes before others.
    pub async fn start(
        &self,
        on: fn(&str, &OsStr) -> Command,
        cores: &str,
        arguments: &[&str],
        bootstrap: &Value,
    ) -> Result<Envoy> {
        let mut command = on(cores, self.release.binary().as_os_str());
        command.args(arguments);
        Envoy::start_by(command, bootstrap).await.map_err(|failure| anyhow!("{failure}"))
    }
}

/// One Envoy with a filter, and where it stands in its stream of tokens.
pub struct Subject {
    pub setup: Setup,
    envoy: Envoy,
    pool: Pool,
    /// Fresh tokens that were sent, and how many of them in a second.
    fresh: usize,
    pace: f64,
    /// Repeated tokens that were sent.
    again: usize,
}

/// What one round found.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// CPU time of the whole Envoy for a request, in microseconds.
    pub cpu_us: f64,
    /// Requests in a second.
    pub rate: f64,
    /// The share of tokens that were remembered, where the filter tells.
    pub remembered: Option<f64>,
    /// What wrk saw.
    pub outcome: Outcome,
}

impl Subject {
    /// Starts it and waits until it answers as it should, then warms it up.
    pub async fn start(ground: &Ground, setup: &Setup, pool: &Pool) -> Result<Self> {
        let mut subject = Self::cold(ground, setup, pool).await?;
        subject.warm_up()?;
        Ok(subject)
    }

    /// Starts it and waits until it answers as it should.
    pub async fn cold(ground: &Ground, setup: &Setup, pool: &Pool) -> Result<Self> {
        let envoy = spawn(ground, setup).await?;
        let setup = setup.clone();
        let subject = Self { setup, envoy, pool: pool.clone(), fresh: 0, pace: 0.0, again: 0 };
        subject.become_ready().await?;
        Ok(subject)
    }

    /// Measures one round.
    pub async fn round(&mut self, ground: &Ground, seconds: u64) -> Result<Sample> {
        self.renew_if_used_up(ground, seconds).await?;
        let counted_before = self.settled_counters().await?;
        self.come_to_rest()?;
        let cpu_before = self.cpu()?;
        let outcome = self.load(seconds)?;
        self.come_to_rest()?;
        let cpu = self.cpu()? - cpu_before;
        let counted = difference(&self.settled_counters().await?, &counted_before);
        let requests = self.check(&counted, &outcome)?;
        let wall = Duration::from_micros(outcome.duration_us).as_secs_f64();
        Ok(Sample {
            cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64,
            rate: outcome.requests as f64 / wall,
            remembered: remembered(&self.setup.filter, &counted),
            outcome,
        })
    }

    fn warm_up(&mut self) -> Result<()> {
        if self.setup.repeated() > 0 { self.show_all() } else { self.load(WARM_UP).map(drop) }
    }

    /// Sends each of those that are repeated.
    pub fn show_all(&mut self) -> Result<()> {
        let mut shown = 0;
        while shown < self.setup.repeated() {
            let load = Load { every: 0, again: shown, seed: 0, ..self.plan(WARM_UP) };
            shown += usize::try_from(load.run(&self.setup.cores.load)?.requests)?;
        }
        self.come_to_rest()
    }

    /// CPU time of this Envoy.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_of(self.envoy.process_id())
    }

    /// Envoy's process.
    pub fn process(&self) -> Result<procfs::process::Process> {
        Ok(procfs::process::Process::new(i32::try_from(self.envoy.process_id())?)?)
    }

    /// The most memory that the process has had, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        let kib = self.process()?.status()?.vmhwm.context("VmHWM")?;
        Ok(kib * 1024)
    }

    /// The counters once the filter has told Envoy of every request; it may do so with a delay.
    async fn settled_counters(&self) -> Result<BTreeMap<String, u64>> {
        let deadline = Instant::now() + TELLING;
        loop {
            let counted = self.counters().await;
            let ended = counted.get(COMPLETED).copied().unwrap_or_default();
            match judged(&self.setup.filter, &counted) {
                Some(judged) if judged != ended && Instant::now() < deadline => sleep(REST),
                Some(judged) if judged != ended => {
                    bail!("{:?}: {ended} requests ended, but {judged} were judged: {counted:#?}", self.setup)
                }
                Some(_) | None => return Ok(counted),
            }
        }
    }

    /// The filter's counters and Envoy's that tell how requests ended.
    async fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = self.envoy.envoy_stats("^http.ingress.downstream_rq").await;
        all.extend(self.envoy.envoy_stats("^wasmcustom").await);
        all.extend(self.envoy.envoy_stats("jwt_authn").await);
        all
    }

    fn load(&mut self, seconds: u64) -> Result<Outcome> {
        let outcome = self.plan(seconds).run(&self.setup.cores.load)?;
        let answered = usize::try_from(outcome.requests)?;
        if self.setup.every() == 0 {
            self.again += answered;
        } else {
            // Those that nobody waited for any more were sent all the same, and wrk asks its script for one that it drops.
            let fresh = (answered + 2 * self.setup.connections + 1).div_ceil(self.setup.every());
            self.fresh += fresh;
            self.pace = fresh as f64 / seconds as f64;
        }
        Ok(outcome)
    }

    fn plan(&self, seconds: u64) -> Load<'_> {
        let tokens = if self.setup.stream == Stream::Forged { &self.pool.forged } else { &self.pool.valid };
        Load {
            url: self.envoy.url(&self.setup.path),
            tokens,
            take: if self.setup.every() == 0 { self.setup.repeated() } else { self.pool.count },
            repeated: self.setup.repeated(),
            every: self.setup.every(),
            fresh: self.fresh,
            again: self.again,
            // Another one each time, and none in any other stream.
            seed: if matches!(self.setup.stream, Stream::Drawn(_)) { self.again + 1 } else { 0 },
            connections: self.setup.connections,
            seconds,
            body_bytes: self.setup.body_bytes,
            pause_ms: 0,
        }
    }

    /// Replaces an Envoy whose stream of new tokens would begin again: it remembers them.
    async fn renew_if_used_up(&mut self, ground: &Ground, seconds: u64) -> Result<()> {
        if self.setup.every() == 0 || !self.setup.remembers() {
            return Ok(());
        }
        let needed = self.pace * FASTER * seconds as f64;
        if self.fresh as f64 + needed < (self.pool.count - self.setup.repeated()) as f64 {
            return Ok(());
        }
        self.envoy = spawn(ground, &self.setup).await?;
        self.fresh = 0;
        self.become_ready().await?;
        self.warm_up()
    }

    async fn become_ready(&self) -> Result<()> {
        let token = match self.setup.stream {
            // A new one must stay new.
            Stream::New | Stream::OneNewIn(_) => &self.pool.last,
            Stream::Repeated(_) | Stream::Drawn(_) | Stream::Forged => &self.pool.first,
        };
        until(&format!("a right token passes {:?}", self.setup.filter), async || {
            let answer = self.envoy.ingress().send(Request::get(&self.setup.path).bearer(token)).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        let documents = u64::try_from(self.setup.filter.documents())?;
        until(&format!("{documents} documents are fetched"), async || {
            (self.envoy.stat("keys.fetch_ok").await >= documents).then_some(())
        })
        .await;
        Ok(())
    }

    /// How many requests ended, if all of them ended as they should.
    fn check(&self, counted: &BTreeMap<String, u64>, outcome: &Outcome) -> Result<u64> {
        let expected = self.setup.expected();
        let count = |name: &str| counted.get(name).copied().unwrap_or_default();
        let all = count(COMPLETED);
        let class = format!("http.ingress.downstream_rq_{}xx", expected.status / 100);
        let fault = |what: &str| anyhow!("{what}: {:?}\n{outcome:?}\n{counted:#?}", self.setup);
        ensure!(count(&class) == all && all >= outcome.requests, fault("not every answer has the status expected"));
        let refused = if expected.status >= 400 { outcome.requests } else { 0 };
        ensure!(outcome.refused == refused, fault("wrk saw other answers"));
        match (&self.setup.filter, expected.status) {
            (Filter::Gate(_), 200) => ensure!(count("wasmcustom.entra_gate.allowed") == all, fault("not all allowed")),
            (Filter::Gate(_), _) => {
                let refused = count("wasmcustom.entra_gate.refused.signature_invalid");
                ensure!(refused == all, fault("not all refused for their signature"));
            }
            (Filter::JwtAuthn { .. }, 200) => {
                ensure!(count("http.ingress.jwt_authn.allowed") == all, fault("not all allowed"));
            }
            (Filter::JwtAuthn { .. }, _) => {
                ensure!(count("http.ingress.jwt_authn.denied") == all, fault("not all denied"));
            }
            (Filter::None | Filter::Empty | Filter::Naive, _) => {}
        }
        if let Some((least, most)) = expected.remembered {
            let share = remembered(&self.setup.filter, counted).ok_or_else(|| fault("no word of a memory"))?;
            ensure!(least <= share && share <= most, fault(&format!("{share} of the tokens were remembered")));
        }
        Ok(all)
    }

    /// Waits until what is still under way is done.
    fn come_to_rest(&self) -> Result<()> {
        let mut last = self.cpu()?;
        loop {
            sleep(REST);
            let now = self.cpu()?;
            if now - last < AT_REST {
                return Ok(());
            }
            last = now;
        }
    }
}

async fn spawn(ground: &Ground, setup: &Setup) -> Result<Envoy> {
    let log = match setup.log {
        Log::Info => "info",
        Log::Warning => "warning",
    };
    let arguments = ["--concurrency", &setup.workers.to_string(), "--log-level", log];
    let bootstrap = setup.bootstrap(ground.entra.addr());
    ground.start(on_cores, &setup.cores.envoy, &arguments, &bootstrap).await
}

fn difference(after: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let since = |(name, value): (&String, &u64)| {
        let grown = value.saturating_sub(before.get(name).copied().unwrap_or_default());
        (grown > 0).then(|| (name.clone(), grown))
    };
    after.iter().filter_map(since).collect()
}

/// How many requests the filter says that it judged, if it does.
fn judged(filter: &Filter, counted: &BTreeMap<String, u64>) -> Option<u64> {
    let verdicts: &[&str] = match filter {
        Filter::Gate(_) => &["entra_gate.allowed", "entra_gate.anonymous", "entra_gate.refused."],
        Filter::JwtAuthn { .. } => &["jwt_authn.allowed", "jwt_authn.denied"],
        Filter::None | Filter::Empty | Filter::Naive => return None,
    };
    let is_verdict = |name: &str| verdicts.iter().any(|verdict| name.contains(verdict));
    Some(counted.iter().filter(|(name, _)| is_verdict(name)).map(|(_, value)| value).sum())
}

/// The share of the judged tokens that were remembered.
fn remembered(filter: &Filter, counted: &BTreeMap<String, u64>) -> Option<f64> {
    let (hit, miss) = match filter {
        Filter::Gate(_) => ("wasmcustom.entra_gate.token_cache.hit", "wasmcustom.entra_gate.token_cache.miss"),
        Filter::JwtAuthn { cache: true } => {
            ("http.ingress.jwt_authn.jwt_cache_hit", "http.ingress.jwt_authn.jwt_cache_miss")
        }
        Filter::JwtAuthn { cache: false } | Filter::None | Filter::Empty | Filter::Naive => return None,
    };
    let [hit, miss] = [hit, miss].map(|name| counted.get(name).copied().unwrap_or_default() as f64);
    (hit + miss > 0.0).then(|| hit / (hit + miss))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counted(entries: &[(&str, u64)]) -> BTreeMap<String, u64> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn only_what_grew_counts() {
        let before = counted(&[("a", 1), ("b", 2)]);
        let after = counted(&[("a", 4), ("b", 2), ("c", 5)]);
        assert_eq!(difference(&after, &before), counted(&[("a", 3), ("c", 5)]));
    }

    #[test]
    fn every_verdict_counts_as_judged() {
        let counted = counted(&[
            ("http.ingress.downstream_rq_completed", 9),
            ("wasmcustom.entra_gate.allowed", 2),
            ("wasmcustom.entra_gate.refused.token_expired", 3),
            ("wasmcustom.entra_gate.refused.signature_invalid", 4),
            ("wasmcustom.entra_gate.token_cache.hit", 5),
        ]);
        assert_eq!(judged(&Filter::Gate(json!({})), &counted), Some(9));
        assert_eq!(judged(&Filter::None, &counted), None);
    }

    #[test]
    fn the_share_of_remembered_tokens_is_that_of_the_filter_asked() {
        let counted = counted(&[
            ("wasmcustom.entra_gate.token_cache.hit", 9),
            ("wasmcustom.entra_gate.token_cache.miss", 1),
            ("http.ingress.jwt_authn.jwt_cache_miss", 5),
        ]);
        assert_eq!(remembered(&Filter::Gate(json!({})), &counted), Some(0.9));
        assert_eq!(remembered(&Filter::JwtAuthn { cache: true }, &counted), Some(0.0));
        assert_eq!(remembered(&Filter::JwtAuthn { cache: false }, &counted), None);
    }
}
