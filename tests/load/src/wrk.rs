//! The load: wrk, on its own core, with a script that sends a token with each request.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use envoy_tests::Envoy;
use envoy_tests::envoy::repository;
use serde::Deserialize;
use tokio::task::JoinHandle;

use crate::machine::first_on_cores;
use crate::setup::{REPEATED, Setup};
use crate::tokens::Pool;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// Where to.
    pub url: String,
    /// The file of tokens.
    pub tokens: &'a Path,
    /// How many of its tokens are taken.
    pub take: usize,
    /// How many of these are repeated in turn.
    pub repeated: usize,
    /// Every how many requests a fresh one is sent instead; 0 for never.
    pub every: usize,
    /// How many fresh ones were sent before.
    pub fresh: usize,
    /// How many repeated ones were sent before.
    pub again: usize,
    /// 0 if these are sent in their turn; else they are drawn at random.
    pub seed: usize,
    /// Connections that are kept busy.
    pub connections: usize,
    /// For how long.
    pub seconds: u64,
    /// The length of each request's body; 0: it has none.
    pub body_bytes: usize,
    /// Milliseconds that a connection waits from an answer to the next request, on average; 0: it does not.
    pub pause_ms: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Outcome {
    /// Answers that were received.
    pub requests: u64,
    /// In how many microseconds.
    pub duration_us: u64,
    /// Latency of half of the requests, in microseconds.
    pub p50_us: u64,
    /// Of 90 %.
    pub p90_us: u64,
    /// Of 99 %.
    pub p99_us: u64,
    /// Answers with a status of 400 and above.
    pub refused: u64,
    /// Connections, requests and answers that failed.
    pub broken: u64,
}

/// Sends tokens that are remembered to an Envoy for a while, beside which other things happen; `pause_ms` as in [`Load`].
pub fn window(envoy: &Envoy, setup: &Setup, pool: &Pool, seconds: u64, pause_ms: usize) -> JoinHandle<Result<Outcome>> {
    let (url, tokens) = (envoy.url(&setup.path), pool.valid.clone());
    let (connections, cores) = (setup.connections, setup.cores.load.clone());
    tokio::task::spawn_blocking(move || {
        let load = Load {
            url,
            tokens: &tokens,
            take: REPEATED,
            repeated: REPEATED,
            every: 0,
            fresh: 0,
            again: 0,
            seed: 0,
            connections,
            seconds,
            body_bytes: 0,
            pause_ms,
        };
        load.run(&cores)
    })
}

impl Load<'_> {
    /// Sends it from these cores.
    pub fn run(&self, cores: &str) -> Result<Outcome> {
        let output = first_on_cores(cores, "wrk".as_ref())
            .args(["--threads", "1", "--latency", "--script"])
            .arg(repository().join("tests/load/src/load.lua"))
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args([&self.url, "--"])
            .arg(self.tokens)
            .args(
                [
                    self.take,
                    self.repeated,
                    self.every,
                    self.fresh,
                    self.again,
                    self.seed,
                    self.body_bytes,
                    self.pause_ms,
                ]
                .map(|number| number.to_string()),
            )
            .output()
            .context("wrk cannot be run: `envoy/setup/wrk.sh` installs it")?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk: {told}{}", String::from_utf8_lossy(&output.stderr));
        let outcome = parse(&told)?;
        ensure!(outcome.broken == 0, "{} requests of {} broke: {told}", outcome.broken, outcome.requests);
        ensure!(outcome.requests > 0, "nothing was answered: {told}");
        Ok(outcome)
    }
}

/// The version of wrk, as it tells it.
pub fn version() -> Result<String> {
    let output = std::process::Command::new("wrk").arg("--version").output().context("wrk cannot be run")?;
    // wrk debian/4.1.0-3+b2 [epoll] Copyright …
    let told = String::from_utf8_lossy(&output.stdout);
    Ok(told.split_whitespace().nth(1).unwrap_or("unknown").to_owned())
}

fn parse(told: &str) -> Result<Outcome> {
    let line = told.lines().find(|line| line.starts_with('{')).with_context(|| format!("wrk told nothing: {told}"))?;
    serde_json::from_str(line).with_context(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_line_is_found_below_wrks_own() {
        let told = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 2 connections\nRequests/sec: 896.21\n\
                    {\"requests\":901,\"duration_us\":1005348,\"p50_us\":1570,\"p90_us\":4769,\"p99_us\":7584,\
                    \"refused\":7,\"broken\":0}\n";
        let outcome = parse(told).unwrap();
        assert_eq!((outcome.requests, outcome.p99_us, outcome.refused), (901, 7584, 7));
    }

    #[test]
    fn a_run_without_the_scripts_line_is_no_result() {
        assert!(parse("unable to connect to 127.0.0.1:1 Connection refused\n").is_err());
    }
}
