//! The documents against the code: no member, reason or metric may be missing from them, or be invented by them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::Path;

use entra_gate::judge::refusal::Reason;
use entra_gate::signals;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in the first column of the tables under a heading that have this header row.
fn rows<'a>(text: &'a str, heading: &str, header: &str) -> BTreeSet<&'a str> {
    let section = text.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let table = section.split(header).nth(1).unwrap_or_else(|| panic!("{heading}: no table {header}"));
    let table = table.trim_start_matches('\n').lines().take_while(|line| line.starts_with('|'));
    table.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_reference_lists_the_members_that_exist_and_no_others() {
    let text = document("docs/configuration.md");
    for (place, members) in entra_gate::config::members() {
        let heading = if place.is_empty() { "The document".to_owned() } else { format!("`{place}`") };
        let documented = rows(&text, &heading, "| member | type | default | meaning |");
        assert_eq!(documented, members.iter().copied().collect(), "{heading}");
    }
}

#[test]
fn operations_lists_every_reason_and_metric() {
    let text = document("docs/operations.md");
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(rows(&text, "Reasons", "| reason | status | who acts |"), reasons);
    let metrics = [
        signals::ALLOWED,
        signals::ANONYMOUS,
        signals::KEYS_AGE_SECONDS,
        signals::KEYS_FETCH_FAILED,
        signals::KEYS_FETCH_OK,
        signals::KEYS_SKIPPED,
        signals::TOKEN_CACHE_HIT,
        signals::TOKEN_CACHE_MISS,
        signals::WAITING,
        "entra_gate.refused.<reason>",
    ];
    assert_eq!(rows(&text, "Metrics", "| metric | kind | meaning |"), metrics.into_iter().collect());
}

#[test]
fn documents_name_only_files_that_exist() {
    for name in [
        "README.md",
        "CHANGELOG.md",
        "docs/attacks.md",
        "docs/configuration.md",
        "docs/design.md",
        "docs/operations.md",
    ] {
        let text = document(name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name).parent().unwrap().to_path_buf();
            assert!(folder.join(file).exists(), "{name} links to {file}");
        }
    }
}
