//! Several set-ups measured in alternation: a round of each, then the next round, each beginning with another one.
//!
//! What disturbs the machine for a while then disturbs all of them, and ratios within a round stay what they are.

use anyhow::{Context as _, Result};

use crate::machine::{Usage, load_average};
use crate::setup::Setup;
use crate::statistics::Spread;
use crate::subject::{Ground, Sample, Subject};
use crate::tokens::Pools;

/// A share of the machine that others use is a disturbance from here on.
pub const DISTURBING: f64 = 0.03;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Rounds.
    pub rounds: usize,
    /// Seconds that each set-up is loaded in each round.
    pub seconds: u64,
}

/// One set-up after a race.
#[derive(Clone, Debug)]
pub struct Runner {
    /// A sample of each round.
    pub samples: Vec<Sample>,
    /// The most memory that the process has had, in bytes.
    pub peak_memory: u64,
}

impl Runner {
    /// CPU time for a request in each round, in microseconds.
    pub fn cpu(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.cpu_us).collect()
    }

    /// Where some quantity of the samples lies.
    pub fn spread(&self, quantity: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(quantity))
    }
}

/// Runs a race of named set-ups. The runners come back in their order, with the share of the machine that others used.
pub async fn run(
    ground: &Ground,
    pools: &mut Pools,
    title: &str,
    setups: &[(String, Setup)],
    length: Length,
) -> Result<(Vec<Runner>, f64)> {
    eprintln!("{title}: starting {} Envoys", setups.len());
    let mut subjects = Vec::new();
    for (name, setup) in setups {
        let pool = pools.of(setup)?;
        subjects.push(Subject::start(ground, setup, &pool).await.with_context(|| name.clone())?);
    }
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); subjects.len()];
    let before = usage(&subjects)?;
    for round in 0..length.rounds {
        let mut told = Vec::new();
        for at in 0..subjects.len() {
            let at = (at + round) % subjects.len();
            let name = &setups[at].0;
            let sample = subjects[at].round(ground, length.seconds).await.with_context(|| name.clone())?;
            samples[at].push(sample);
            told.push((at, format!("{name} {:.1}", sample.cpu_us)));
        }
        told.sort();
        let told: Vec<String> = told.into_iter().map(|(_, text)| text).collect();
        eprintln!("{title}: round {} of {}, µs: {}", round + 1, length.rounds, told.join(", "));
    }
    let others = usage(&subjects)?.others_since(&before);
    if others > DISTURBING {
        eprintln!(
            "WARNING: others used {:.0} % of the machine meanwhile (load average {})",
            others * 100.0,
            load_average()
        );
    }
    let finished = samples.into_iter().zip(&subjects);
    let runners = finished.map(|(samples, subject)| Ok(Runner { samples, peak_memory: subject.peak_memory()? }));
    Ok((runners.collect::<Result<_>>()?, others))
}

fn usage(subjects: &[Subject]) -> Result<Usage> {
    let used: Vec<_> = subjects.iter().map(Subject::cpu).collect::<Result<_>>()?;
    Usage::now(used.iter().map(std::time::Duration::as_secs_f64).sum())
}
