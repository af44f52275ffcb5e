//! `docs/performance.json`: what runs found, for people's tables and for later runs to be held against. A whole run, and
//! beside it the parts that have runs of their own.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use envoy_tests::envoy::repository;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::figures::Figure;
use crate::machine::Machine;
use crate::memory::VmMemory;
use crate::race::Runner;
use crate::revocation::Revocation;
use crate::statistics::Spread;

/// A run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// What it ran on.
    pub machine: Machine,
    /// What ran.
    pub versions: Versions,
    /// What was typed.
    pub command: String,
    /// Rounds of the comparison, and seconds that each variant was loaded in each.
    pub rounds: usize,
    pub seconds: u64,
    /// The share of the machine that others used, at most, in any part of the run.
    pub others: f64,
    /// The figures to reach.
    pub figures: Vec<Figure>,
    /// The comparison.
    pub variants: Vec<VariantRecord>,
    /// How cost grows.
    pub growth: Vec<SeriesRecord>,
    /// A worker's VM.
    pub memory: Option<VmMemory>,
    /// A million revocations.
    pub revocation: Option<Revocation>,
}

/// What ran.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Versions {
    /// Envoy.
    pub envoy: String,
    /// The load generator.
    pub wrk: String,
    /// Bytes of the filter.
    pub module_bytes: u64,
}

/// One of those that were compared.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct VariantRecord {
    /// Its name.
    pub key: String,
    /// What it is.
    pub title: String,
    /// What was found.
    #[serde(flatten)]
    pub cost: Cost,
    /// The most memory of the whole process, in MiB.
    pub peak_memory_mib: f64,
}

/// What requests cost.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Cost {
    /// CPU time of the whole Envoy for a request, in microseconds.
    pub cpu_us: Spread,
    /// Requests in a second.
    pub rate: f64,
    /// Latency, in microseconds.
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    /// The share of tokens that were remembered, where the filter tells.
    pub remembered: Option<f64>,
}

/// One quantity that grows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SeriesRecord {
    /// Its name.
    pub key: String,
    /// What grows.
    pub axis: String,
    /// What was measured as it grew.
    pub lines: Vec<LineRecord>,
}

/// Something measured at each size.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LineRecord {
    /// What it is.
    pub title: String,
    /// What was found.
    pub points: Vec<PointRecord>,
}

/// What was found at one size.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct PointRecord {
    /// The size.
    pub size: usize,
    /// What was found there.
    #[serde(flatten)]
    pub cost: Cost,
}

impl Cost {
    /// Medians of a runner's rounds.
    pub fn of(runner: &Runner) -> Self {
        let remembered: Vec<f64> = runner.samples.iter().filter_map(|sample| sample.remembered).collect();
        Self {
            cpu_us: runner.spread(|sample| sample.cpu_us),
            rate: runner.spread(|sample| sample.rate).median,
            p50_us: runner.spread(|sample| sample.outcome.p50_us as f64).median,
            p90_us: runner.spread(|sample| sample.outcome.p90_us as f64).median,
            p99_us: runner.spread(|sample| sample.outcome.p99_us as f64).median,
            remembered: (!remembered.is_empty()).then(|| Spread::of(remembered).median),
        }
    }
}

impl Record {
    /// Where it is kept.
    pub fn file() -> PathBuf {
        repository().join("docs/performance.json")
    }

    /// The one that is kept, if there is one. Before the first whole run there may be parts alone.
    pub fn kept() -> Result<Option<Self>> {
        let all = everything()?;
        if !all.contains_key("machine") {
            return Ok(None);
        }
        serde_json::from_value(all.into()).with_context(|| Self::file().display().to_string()).map(Some)
    }

    /// Keeps it, beside the parts.
    pub fn keep(&self) -> Result<()> {
        let mut all = everything()?;
        all.extend(serde_json::to_value(self)?.as_object().cloned().unwrap_or_default());
        keep_everything(all)
    }
}

/// A part of the file that has runs of its own, `make bench ONLY=<name>`, if one is recorded.
pub fn kept_part<T: DeserializeOwned>(name: &str) -> Result<Option<T>> {
    let part = everything()?.remove(name).map(serde_json::from_value);
    part.transpose().with_context(|| format!("{} of {}", name, Record::file().display()))
}

/// Keeps a part, beside everything else.
pub fn keep_part(name: &str, part: &impl Serialize) -> Result<()> {
    let mut all = everything()?;
    all.insert(name.to_owned(), serde_json::to_value(part)?);
    keep_everything(all)
}

fn everything() -> Result<Map<String, Value>> {
    let file = Record::file();
    if !file.exists() {
        return Ok(Map::new());
    }
    serde_json::from_str(&fs::read_to_string(&file)?).with_context(|| file.display().to_string())
}

/// With numbers of a length that people can read.
fn keep_everything(all: Map<String, Value>) -> Result<()> {
    let mut value = all.into();
    round(&mut value);
    Ok(fs::write(Record::file(), serde_json::to_string_pretty(&value)? + "\n")?)
}

/// Rounds all fractions to four digits after the point.
fn round(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(members) => members.values_mut().for_each(round),
        Value::Number(number) if number.is_f64() => {
            if let Some(rounded) = number.as_f64().map(|number| (number * 1e4).round() / 1e4) {
                *value = rounded.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fractions_are_rounded_and_whole_numbers_are_left() {
        let mut value = json!({"a": [1.234_567, 7], "b": {"c": 0.1, "d": "1.234567"}});
        round(&mut value);
        assert_eq!(value, json!({"a": [1.2346, 7], "b": {"c": 0.1, "d": "1.234567"}}));
    }
}
