//! The generated parts of `docs/performance.md`: what stands between its markers. The prose around is by hand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use envoy_tests::envoy::repository;

use crate::machine::Machine;
use crate::plot;
use crate::race::DISTURBING;
use crate::record::{Cost, Record, Versions};
use crate::report;

/// Writes the parts that a run makes anew, and the plots. `core` is what the benchmarks of the core printed.
pub fn write(record: &Record, core: Option<&str>) -> Result<()> {
    let docs = repository().join("docs");
    plot::comparison(record, &docs.join("performance-comparison.svg"))?;
    plot::growth(record, &docs.join("performance-growth.svg"))?;
    let file = path(&docs);
    let mut text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    for (name, part) in [
        ("run", run(record)),
        ("figures", figures(record)),
        ("comparison", comparison(record)),
        ("growth", growth(record)),
    ] {
        text = replaced(&text, name, &part)?;
    }
    text = replaced(&text, "memory", &memory(record))?;
    text = replaced(&text, "revocation", &record.revocation.as_ref().map_or_else(String::new, report::revocation))?;
    if let Some(core) = core {
        text = replaced(&text, "core", &format!("```text\n{}\n```\n", core.trim_end()))?;
    }
    Ok(fs::write(file, text)?)
}

/// Writes what stands between the markers of a part that has runs of its own.
pub fn write_part(name: &str, part: &str) -> Result<()> {
    let file = path(&repository().join("docs"));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(fs::write(file, replaced(&text, name, part)?)?)
}

fn path(docs: &Path) -> PathBuf {
    docs.join("performance.md")
}

/// The text with another part between the markers of that name.
fn replaced(text: &str, name: &str, part: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no marker {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no marker {end}"))?;
    Ok(format!("{before}{begin}\n{part}\n{end}{after}"))
}

/// What was measured where, by what, and beside how much else.
pub fn head(machine: &Machine, versions: &Versions, command: &str, others: f64) -> String {
    let quiet = if others > DISTURBING { "**the figures are disturbed**" } else { "quiet" };
    format!(
        "| | |\n|---|---|\n\
         | machine | {machine} |\n\
         | versions | Envoy {}, wrk {}, a module of {} bytes |\n\
         | command | `{command}` |\n\
         | what else ran | at most {:.1} % of the machine: {quiet} |\n",
        versions.envoy,
        versions.wrk,
        versions.module_bytes,
        others * 100.0,
    )
}

fn run(record: &Record) -> String {
    let Record { machine, versions, command, rounds, seconds, others, .. } = record;
    let rounds = format!("| rounds | {rounds} of {seconds} s for each variant, two thirds as many for each growth |\n");
    head(machine, versions, command, *others) + &rounds
}

fn figures(record: &Record) -> String {
    let mut text = "| what | at most | found | quartiles | |\n|---|---|---|---|---|\n".to_owned();
    for figure in &record.figures {
        let found = &figure.found;
        let verdict = if figure.reached() { "reached" } else { "**not reached**" };
        text += &format!(
            "| {} | {} | {} | {} – {} | {verdict} |\n",
            figure.title,
            figure.show(figure.at_most),
            figure.show(found.median),
            figure.show(found.lower_quartile),
            figure.show(found.upper_quartile),
        );
    }
    text
}

fn comparison(record: &Record) -> String {
    let mut text = "| variant | µs CPU | quartiles | least – most | requests/s | p50 | p90 | p99, ms | peak, MiB |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for variant in &record.variants {
        let Cost { cpu_us, rate, p50_us, p90_us, p99_us, .. } = variant.cost;
        let [p50, p90, p99] = [p50_us, p90_us, p99_us].map(|latency| latency / 1_000.0);
        text += &format!(
            "| {} | {:.1} | {:.1} – {:.1} | {:.1} – {:.1} | {rate:.0} | {p50:.1} | {p90:.1} | {p99:.1} | {:.0} |\n",
            variant.title,
            cpu_us.median,
            cpu_us.lower_quartile,
            cpu_us.upper_quartile,
            cpu_us.min,
            cpu_us.max,
            variant.peak_memory_mib,
        );
    }
    text
}

fn growth(record: &Record) -> String {
    let mut text = "| what grows | | size | µs CPU | quartiles | requests/s | p50, ms | p99, ms | remembered |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for series in &record.growth {
        for line in &series.lines {
            for (at, point) in line.points.iter().enumerate() {
                let Cost { cpu_us, rate, p50_us, p99_us, remembered, .. } = point.cost;
                let (axis, title) = if at == 0 { (series.axis.as_str(), line.title.as_str()) } else { ("", "") };
                text += &format!(
                    "| {axis} | {title} | {} | {:.1} | {:.1} – {:.1} | {rate:.0} | {:.1} | {:.1} | {} |\n",
                    point.size,
                    cpu_us.median,
                    cpu_us.lower_quartile,
                    cpu_us.upper_quartile,
                    p50_us / 1_000.0,
                    p99_us / 1_000.0,
                    remembered.map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default(),
                );
            }
        }
    }
    text
}

fn memory(record: &Record) -> String {
    let Some(memory) = &record.memory else { return String::new() };
    format!(
        "| MiB of a worker's VM | before any request | 10,000 remembered tokens of {} bytes |\n|---|---|---|\n\
         | all that it adds to the process (quartiles) | {:.1} ({:.1} – {:.1}) | {:.1} ({:.1} – {:.1}) |\n\
         | its linear memory | {:.1} | {:.1} |\n",
        memory.token_bytes,
        memory.idle.median,
        memory.idle.lower_quartile,
        memory.idle.upper_quartile,
        memory.full.median,
        memory.full.lower_quartile,
        memory.full.upper_quartile,
        memory.idle_linear,
        memory.full_linear,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{latency, registration};

    const TEXT: &str = "By hand.\n<!-- run: generated -->\n\nold\n\n<!-- run: end -->\nBy hand too.\n";

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let text = replaced(TEXT, "run", "new\n").unwrap();
        assert_eq!(text, TEXT.replace("old", "new"));
        assert_eq!(replaced(&text, "run", "new\n").unwrap(), text);
    }

    #[test]
    fn a_missing_marker_is_an_error() {
        assert!(replaced(TEXT, "figures", "new").is_err());
        assert!(replaced(&TEXT.replace("end", "and"), "run", "new").is_err());
    }

    #[test]
    fn the_document_has_all_markers() {
        let text = fs::read_to_string(path(&repository().join("docs"))).unwrap();
        for name in [
            "run",
            "figures",
            "comparison",
            "growth",
            "memory",
            "revocation",
            "core",
            latency::PART,
            registration::PART,
        ] {
            replaced(&text, name, "").unwrap();
        }
    }
}
