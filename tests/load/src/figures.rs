//! The figures to reach, and what was found of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::memory::VmMemory;
use crate::race::Runner;
use crate::revocation::Revocation;
use crate::statistics::Spread;

/// Ratios of CPU time for a request: key, what it is, whose, against whose, at most.
const RATIOS: [(&str, &str, &str, &str, f64); 8] = [
    ("hot_to_jwt_authn", "hot, against `jwt_authn`'s default", "hot", "jwt_authn", 0.55),
    ("hot_to_cached", "hot, against `jwt_authn` with its cache", "hot", "jwt_authn_cached", 1.20),
    ("hot_to_empty", "hot, against an empty wasm filter", "hot", "empty", 1.08),
    (
        "bare_to_cached",
        "hot without filter state, against `jwt_authn` with its cache",
        "bare",
        "jwt_authn_cached",
        1.20,
    ),
    ("bare_to_empty", "hot without filter state, against an empty wasm filter", "bare", "empty", 1.08),
    ("new_to_jwt_authn", "new token each time, against `jwt_authn`'s default", "new", "jwt_authn_new", 0.90),
    (
        "forged_to_jwt_authn",
        "forged token each time, against `jwt_authn` on the same",
        "forged",
        "jwt_authn_forged",
        0.95,
    ),
    ("new_to_naive", "new token each time, against the naive wasm filter", "new", "naive", 0.09),
];
/// Growth of the cost of a remembered token, from the least size to the greatest: key, what it is, series, at most.
const GROWTHS: [(&str, &str, &str, f64); 3] = [
    ("growth_providers", "hot at 100 providers, against 1", "providers", 1.05),
    ("growth_rules", "hot at 1,000 rules, against 1", "rules", 1.05),
    ("growth_keys", "hot at 100 keys, against 1", "keys", 1.05),
];
const VM_IDLE_MIB: f64 = 8.0;
const VM_FULL_MIB: f64 = 40.0;
const MODULE_KB: f64 = 700.0;

/// What a figure counts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A ratio of CPU time for a request.
    Ratio,
    /// MiB.
    Mib,
    /// Thousands of bytes.
    Kb,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Ns,
    /// Milliseconds.
    Ms,
}

/// A figure to reach.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figure {
    /// Its name.
    pub key: String,
    /// What it says.
    pub title: String,
    /// What it counts.
    pub unit: Unit,
    /// What was promised.
    pub at_most: f64,
    /// What was found.
    pub found: Spread,
}

impl Figure {
    /// Whether the median keeps the promise.
    pub fn reached(&self) -> bool {
        self.found.median <= self.at_most
    }

    /// A value as it is printed.
    pub fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Ratio if self.at_most < 0.1 => format!("{value:.3}"),
            Unit::Ratio => format!("{value:.2}"),
            Unit::Mib => format!("{value:.1} MiB"),
            Unit::Kb => format!("{value:.0} KB"),
            Unit::Bytes => format!("{value:.1} bytes"),
            Unit::Ns => format!("{value:.0} ns"),
            Unit::Ms => format!("{value:.2} ms"),
        }
    }
}

/// Whether a figure is about this variant.
pub fn is_about(variant: &str) -> bool {
    RATIOS.into_iter().any(|(_, _, this, that, _)| variant == this || variant == that)
}

/// Those between variants that were all measured.
pub fn of_comparison(runners: &BTreeMap<&str, &Runner>) -> Vec<Figure> {
    let figure = |(key, title, this, that, at_most): (&str, &str, &str, &str, f64)| {
        let found = Spread::of_ratios(&runners.get(this)?.cpu(), &runners.get(that)?.cpu());
        Some(Figure { key: key.to_owned(), title: title.to_owned(), unit: Unit::Ratio, at_most, found })
    };
    RATIOS.into_iter().filter_map(figure).collect()
}

/// The one of a series whose ends were measured, if there is one.
pub fn of_growth(series: &str, first: &Runner, last: &Runner) -> Option<Figure> {
    let (key, title, _, at_most) = GROWTHS.into_iter().find(|(_, _, of, _)| *of == series)?;
    let found = Spread::of_ratios(&last.cpu(), &first.cpu());
    Some(Figure { key: key.to_owned(), title: title.to_owned(), unit: Unit::Ratio, at_most, found })
}

/// Those of a worker's VM.
pub fn of_memory(memory: &VmMemory) -> [Figure; 2] {
    let figure = |key: &str, title: &str, at_most, found| Figure {
        key: key.to_owned(),
        title: title.to_owned(),
        unit: Unit::Mib,
        at_most,
        found,
    };
    [
        figure("vm_idle", "memory of a worker's VM, idle", VM_IDLE_MIB, memory.idle),
        figure("vm_full", "memory of a worker's VM, 10,000 remembered tokens of 2 KB", VM_FULL_MIB, memory.full),
    ]
}

/// Those of a million revocations.
pub fn of_revocation(found: &Revocation) -> [Figure; 4] {
    let figure = |key: &str, title: &str, unit, at_most, found| Figure {
        key: key.to_owned(),
        title: title.to_owned(),
        unit,
        at_most,
        found,
    };
    let lookup = found.inside.hit_ns.max(found.inside.miss_ns);
    [
        figure(
            "revocation_bytes",
            "memory of a worker for each of 1,000,000 revocations",
            Unit::Bytes,
            16.0,
            Spread::of([found.inside.linear_memory_for_each]),
        ),
        figure("revocation_lookup", "a lookup among them, in wasm", Unit::Ns, 1_000.0, Spread::of([lookup])),
        figure(
            "revocation_stall",
            "the longest turn of the event loop while they are loaded",
            Unit::Ms,
            10.0,
            Spread::of([found.longest_turn_ms]),
        ),
        figure("revocation_p99", "p99 of requests while they are loaded, against not", Unit::Ratio, 1.05, found.p99),
    ]
}

/// The one of the module.
pub fn of_module(bytes: u64) -> Figure {
    let found = Spread::of([bytes as f64 / 1_000.0]);
    Figure { key: "module".to_owned(), title: "the module".to_owned(), unit: Unit::Kb, at_most: MODULE_KB, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_reached_at_its_boundary_and_not_above() {
        assert!(of_module(700_000).reached());
        assert!(!of_module(700_001).reached());
    }

    #[test]
    fn small_ratios_are_shown_finely_enough_to_be_judged() {
        let figure = |at_most, median| {
            Figure { at_most, unit: Unit::Ratio, found: Spread::of([median]), ..of_module(0) }.show(median)
        };
        assert_eq!(figure(0.09, 0.0914), "0.091");
        assert_eq!(figure(1.05, 1.0449), "1.04");
    }
}
