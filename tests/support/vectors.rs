//! Foreign test vectors: read from beside the checkout, never copied into it.

use std::path::PathBuf;

use libtest_mimic::Trial;
use serde_json::Value;

/// Reads a vector file, from `ENTRA_GATE_VECTORS` or `../shared/vectors`.
pub(crate) fn read(name: &str) -> Option<Value> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    let folder = std::env::var_os("ENTRA_GATE_VECTORS").map_or(beside, PathBuf::from);
    let text = std::fs::read(folder.join(name)).ok()?;
    Some(serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// A trial that says that it was skipped, and why.
pub(crate) fn skipped(name: &str, why: &str) -> Trial {
    let name = format!("{name} [skipped: {why}]");
    Trial::test(name, || Ok(())).with_ignored_flag(true)
}
