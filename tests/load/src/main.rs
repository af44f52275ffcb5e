//! `make bench`: what a request costs in a real Envoy, with entra-gate and with what one would have without it.
//!
//! The whole run writes `docs/performance.json`; the quick one holds the same figures against it and writes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use envoy_tests::Release;
use envoy_tests::envoy::wasm;
use mock_entra::MockEntra;

use crate::figures::Figure;
use crate::growth::Series;
use crate::machine::Machine;
use crate::race::{Length, Runner};
use crate::record::{Cost, LineRecord, PointRecord, Record, SeriesRecord, VariantRecord, Versions};
use crate::setup::Setup;
use crate::subject::Ground;
use crate::tokens::Pools;

mod document;
mod figures;
mod growth;
mod latency;
mod machine;
mod memory;
mod plot;
mod race;
mod record;
mod registration;
mod report;
mod revocation;
mod setup;
mod statistics;
mod subject;
mod tokens;
mod told;
mod variants;
mod wrk;

/// Loads a real Envoy and tells what a request costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Under five minutes: what figures are about, in fewer and shorter rounds; nothing is written.
    #[arg(long)]
    quick: bool,
    /// Where signed tokens are kept between runs.
    #[arg(long, default_value = "target/bench")]
    place: PathBuf,
    /// Rounds of the comparison; a growth has two thirds of them.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each is loaded in each round.
    #[arg(long)]
    seconds: Option<u64>,
    /// What the benchmarks of the core printed, for the document.
    #[arg(long)]
    core: Option<PathBuf>,
    /// Measure nothing: write the document and its plots from `docs/performance.json`.
    #[arg(long)]
    redraw: bool,
    /// Only these: variants, growths, `memory`, `revocation`, or parts. Then nothing is written but of parts, if they are all.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// All but these.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
}

/// The parts that are recorded by themselves.
const PARTS: [&str; 2] = [latency::PART, registration::PART];

/// A run in progress.
struct Run {
    arguments: Arguments,
    ground: Ground,
    pools: Pools,
    length: Length,
    /// The most that others used in any part.
    others: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let core = arguments.core.as_deref().map(fs::read_to_string).transpose()?;
    if arguments.redraw {
        latency::redraw()?;
        registration::redraw()?;
        let record = Record::kept()?.context("no whole run is recorded yet")?;
        return document::write(&record, core.as_deref());
    }
    // Before there are other threads: they do as the one that starts them.
    machine::keep_off_the_first_core()?;
    tokio::runtime::Runtime::new()?.block_on(bench(arguments, core.as_deref()))
}

async fn bench(arguments: Arguments, core: Option<&str>) -> Result<()> {
    let machine = Machine::here()?;
    let quick = arguments.quick;
    let length = Length {
        rounds: arguments.rounds.unwrap_or(if quick { 3 } else { 15 }),
        seconds: arguments.seconds.unwrap_or(if quick { 1 } else { 2 }),
    };
    let ground = Ground { release: Release::newest(), entra: MockEntra::start(([127, 0, 0, 1], 0).into()).await? };
    let versions = Versions {
        envoy: ground.release.version.clone(),
        wrk: wrk::version()?,
        module_bytes: fs::metadata(wasm())?.len(),
    };
    eprintln!("{machine}; Envoy {}, wrk {}; load average {}", versions.envoy, versions.wrk, machine::load_average());
    let pools = Pools::at(arguments.place.clone(), if quick { 40_000 } else { 100_000 });
    let mut run = Run { arguments, ground, pools, length, others: 0.0 };

    let is_part = |name: &String| PARTS.contains(&name.as_str());
    let only = &run.arguments.only;
    let only_parts = !only.is_empty() && only.iter().all(is_part);
    // A quick run leaves parts out unless it is about them.
    if run.chosen(latency::PART) && (!quick || only_parts) {
        latency::bench(&run.ground, &machine, &versions, quick).await?;
    }
    if run.chosen(registration::PART) && (!quick || only_parts) {
        let Run { ground, pools, length, .. } = &mut run;
        registration::bench(ground, pools, &machine, &versions, *length, quick).await?;
    }
    if only_parts {
        return Ok(());
    }
    let (variants, mut figures) = run.compare().await?;
    let mut growth = run.grow("growth", growth::promised(), &mut figures).await?;
    if !quick {
        growth.extend(run.grow("more growth", growth::others(), &mut figures).await?);
    }
    let memory = if run.chosen("memory") {
        let memory = memory::measure(&run.ground, &mut run.pools, if quick { 2 } else { 7 }).await?;
        figures.extend(figures::of_memory(&memory));
        Some(memory)
    } else {
        None
    };
    let revocation = if !quick && run.chosen("revocation") {
        let found = revocation::measure(&run.ground, &mut run.pools).await?;
        figures.extend(figures::of_revocation(&found));
        Some(found)
    } else {
        None
    };
    figures.push(figures::of_module(versions.module_bytes));

    let kept = Record::kept()?;
    println!("{}", report::variants(&variants));
    println!("{}", report::growth(&growth));
    if let Some(memory) = &memory {
        println!(
            "linear memory of a worker's VM: {:.1} MiB idle, {:.1} MiB full",
            memory.idle_linear, memory.full_linear
        );
    }
    if let Some(found) = &revocation {
        println!("{}", report::revocation(found));
    }
    println!("{}", report::figures(&figures, kept.as_ref().map_or(&[], |kept| &kept.figures)));
    if run.others > race::DISTURBING {
        println!("WARNING: others used up to {:.0} % of the machine: these figures are disturbed.", run.others * 100.0);
    }
    if !quick && run.arguments.only.is_empty() {
        let Length { rounds, seconds } = length;
        let command = "make bench".to_owned();
        let others = run.others;
        let record = Record {
            machine,
            versions,
            command,
            rounds,
            seconds,
            others,
            figures,
            variants,
            growth,
            memory,
            revocation,
        };
        record.keep()?;
        document::write(&record, core)?;
        println!("written: docs/performance.md, its plots, and docs/performance.json");
    }
    Ok(())
}

impl Run {
    fn chosen(&self, name: &str) -> bool {
        let Arguments { only, without, .. } = &self.arguments;
        let is_in = |names: &[String]| names.iter().any(|listed| listed == name);
        (only.is_empty() || is_in(only)) && !is_in(without)
    }

    async fn race(&mut self, title: &str, setups: &[(String, Setup)], length: Length) -> Result<Vec<Runner>> {
        if setups.is_empty() {
            return Ok(Vec::new());
        }
        let (runners, others) = race::run(&self.ground, &mut self.pools, title, setups, length).await?;
        self.others = self.others.max(others);
        Ok(runners)
    }

    async fn compare(&mut self) -> Result<(Vec<VariantRecord>, Vec<Figure>)> {
        let measured =
            |key: &str| self.chosen(key) && (!self.arguments.quick || key == "none" || figures::is_about(key));
        let variants: Vec<_> = variants::all().into_iter().filter(|variant| measured(variant.key)).collect();
        let setups: Vec<_> = variants.iter().map(|variant| (variant.key.to_owned(), variant.setup.clone())).collect();
        let runners = self.race("comparison", &setups, self.length).await?;
        let by_key: BTreeMap<&str, &Runner> = variants.iter().map(|variant| variant.key).zip(&runners).collect();
        let figures = figures::of_comparison(&by_key);
        let record = |(variant, runner): (&variants::Variant, &Runner)| VariantRecord {
            key: variant.key.to_owned(),
            title: variant.title.to_owned(),
            cost: Cost::of(runner),
            peak_memory_mib: runner.peak_memory as f64 / f64::from(1 << 20),
        };
        Ok((variants.iter().zip(&runners).map(record).collect(), figures))
    }

    /// Measures series, each in a race of its own, and adds the figures that are promised of them.
    async fn grow(&mut self, title: &str, all: Vec<Series>, figures: &mut Vec<Figure>) -> Result<Vec<SeriesRecord>> {
        let rounds = if self.arguments.quick { self.length.rounds } else { (self.length.rounds * 2).div_ceil(3) };
        let mut records = Vec::new();
        for series in all {
            if !self.chosen(series.key) {
                continue;
            }
            let series = if self.arguments.quick { series.ends() } else { series };
            let points = series.lines.iter().flat_map(|line| &line.points);
            let setups: Vec<_> = points.map(|(size, setup)| (size.to_string(), setup.clone())).collect();
            let title = format!("{title}, {}", series.axis);
            let runners = self.race(&title, &setups, Length { rounds, ..self.length }).await?;
            if let (Some(first), Some(last)) = (runners.first(), runners.last()) {
                figures.extend(figures::of_growth(series.key, first, last));
            }
            let mut costs = runners.iter().map(Cost::of);
            let lines = series.lines.iter().map(|line| LineRecord {
                title: line.title.to_owned(),
                points: line
                    .points
                    .iter()
                    .zip(&mut costs)
                    .map(|((size, _), cost)| PointRecord { size: *size, cost })
                    .collect(),
            });
            records.push(SeriesRecord {
                key: series.key.to_owned(),
                axis: series.axis.to_owned(),
                lines: lines.collect(),
            });
        }
        Ok(records)
    }
}
