//! What a run prints.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};

use crate::figures::Figure;
use crate::record::{Cost, SeriesRecord, VariantRecord};
use crate::revocation::Revocation;

/// Quartiles that are further apart than this share of the median tell little.
const WIDE: f64 = 0.08;

/// The comparison.
pub fn variants(variants: &[VariantRecord]) -> String {
    let mut table = table(&["", "µs CPU", "quartiles", "least–most", "requests/s", "p50", "p90", "p99 µs", "peak MiB"]);
    for VariantRecord { title, cost, peak_memory_mib, .. } in variants {
        let [p50, p90, p99] = [cost.p50_us, cost.p90_us, cost.p99_us].map(|latency| format!("{latency:.0}"));
        table.add_row([
            title.replace('`', ""),
            format!("{:.1}", cost.cpu_us.median),
            format!("{:.1}–{:.1}", cost.cpu_us.lower_quartile, cost.cpu_us.upper_quartile),
            format!("{:.1}–{:.1}", cost.cpu_us.min, cost.cpu_us.max),
            format!("{:.0}", cost.rate),
            p50,
            p90,
            p99,
            format!("{peak_memory_mib:.0}"),
        ]);
    }
    table.to_string()
}

/// How cost grows.
pub fn growth(series: &[SeriesRecord]) -> String {
    let mut table = table(&["", "", "µs CPU", "quartiles", "requests/s", "p50", "p99 µs", "remembered"]);
    for SeriesRecord { axis, lines, .. } in series {
        for line in lines {
            for point in &line.points {
                let Cost { cpu_us, rate, p50_us, p99_us, remembered, .. } = point.cost;
                table.add_row([
                    format!("{} {axis}", point.size),
                    line.title.clone(),
                    format!("{:.1}", cpu_us.median),
                    format!("{:.1}–{:.1}", cpu_us.lower_quartile, cpu_us.upper_quartile),
                    format!("{rate:.0}"),
                    format!("{p50_us:.0}"),
                    format!("{p99_us:.0}"),
                    remembered.map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default(),
                ]);
            }
        }
    }
    table.to_string()
}

/// The figures to reach, beside what was recorded of them.
pub fn figures(figures: &[Figure], recorded: &[Figure]) -> String {
    let mut table = table(&["", "at most", "recorded", "now", "quartiles", ""]);
    for figure in figures {
        let then = recorded.iter().find(|then| then.key == figure.key);
        let verdict = match (figure.reached(), figure.found.width() > WIDE) {
            (true, false) => "reached",
            (true, true) => "reached, but wide",
            (false, false) => "NOT reached",
            (false, true) => "NOT reached, but wide",
        };
        table.add_row([
            figure.title.replace('`', ""),
            figure.show(figure.at_most),
            then.map_or_else(|| "–".to_owned(), |then| figure.show(then.found.median)),
            figure.show(figure.found.median),
            format!("{}–{}", figure.show(figure.found.lower_quartile), figure.show(figure.found.upper_quartile)),
            verdict.to_owned(),
        ]);
    }
    table.to_string()
}

/// A million revocations, as a table of the document.
pub fn revocation(found: &Revocation) -> String {
    let Revocation {
        inside,
        load_ms,
        longest_turn_ms,
        turns,
        plain_answer_ms,
        p99,
        p99_us,
        p99_loading_us,
        feed_failed,
    } = found;
    let rows = [
        ("bytes for each entry: what holds them; growth of the linear memory", {
            format!("{:.1}; {:.1}", inside.bytes_for_each, inside.linear_memory_for_each)
        }),
        ("a lookup that finds, one that does not; all six of a request, ns", {
            format!("{:.0}, {:.0}; {:.0}", inside.hit_ns, inside.miss_ns, inside.find_ns)
        }),
        ("from a new snapshot to its being in force, fetched in pages, ms (quartiles)", {
            format!("{:.0} ({:.0} – {:.0})", load_ms.median, load_ms.lower_quartile, load_ms.upper_quartile)
        }),
        ("of this a worker's own loading, ms; its longest step, µs", {
            format!("{:.0}; {:.0}", inside.load_ms, inside.load_worst_us)
        }),
        ("turns of the event loop: how many; the longest, ms", format!("{turns}; {longest_turn_ms:.2}")),
        ("taking a part of a plain snapshot of 100,000 entries from the host, ms", format!("{plain_answer_ms:.2}")),
        ("longest steps, µs: a page; JSON; hashing; making a new base", {
            let steps = [inside.page_us, inside.parse_worst_us, inside.hash_us, inside.rewrite_worst_us];
            steps.map(|step| format!("{step:.0}")).join("; ")
        }),
        ("p99 of requests, µs: otherwise; while loading; ratio (quartiles)", {
            let quartiles = format!("{:.2} – {:.2}", p99.lower_quartile, p99.upper_quartile);
            format!("{:.0}; {:.0}; {:.2} ({quartiles})", p99_us.median, p99_loading_us.median, p99.median)
        }),
        ("answers of the feed that were refused meanwhile", feed_failed.to_string()),
    ];
    let rows: Vec<String> = rows.iter().map(|(what, value)| format!("| {what} | {value} |\n")).collect();
    format!("| {} revocations | |\n|---|---|\n{}", inside.entries, rows.concat())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
