//! Who may use whom, read from the sources: arrows point down, only the shell knows the host, and nothing uses the command.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up: a module uses only those before it, and itself.
const LAYERS: [&str; 12] = [
    "jose",
    "entra",
    "revocation",
    "keys",
    "feed",
    "inquiry",
    "policy",
    "judge",
    "answer",
    "registration",
    "signals",
    "config",
];

fn sources(place: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each source file with its module, without its tests and comments.
fn modules() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files
        .into_iter()
        .map(|file| {
            let inside = file.strip_prefix(&src).unwrap();
            let first = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
            let text = fs::read_to_string(&file).unwrap();
            let is_test = file.file_name().is_some_and(|name| name == "tests.rs");
            let production = if is_test { "" } else { text.split("#[cfg(test)]").next().unwrap_or_default() };
            let code: Vec<&str> = production.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (first, file, code.join("\n"))
        })
        .collect()
}

#[test]
fn arrows_point_down() {
    for (module, file, text) in modules() {
        let Some(own) = LAYERS.iter().position(|layer| *layer == module) else { continue };
        for (at, layer) in LAYERS.iter().enumerate().filter(|(at, _)| *at > own) {
            assert!(!text.contains(&format!("crate::{layer}")), "{} uses {layer} ({at} above {own})", file.display());
        }
        assert!(!text.contains("crate::shell"), "{} uses the shell", file.display());
    }
}

#[test]
fn below_the_shell_there_is_no_host_no_clock_and_no_log() {
    for (module, file, text) in modules() {
        if module == "shell" || module == "lib" || module == "command" {
            continue;
        }
        for forbidden in ["proxy_wasm", "SystemTime", "Instant", "log::", "std::env", "std::fs", "unsafe "] {
            assert!(!text.contains(forbidden), "{} holds {forbidden}", file.display());
        }
    }
}

#[test]
fn the_command_stands_apart() {
    for (module, file, text) in modules() {
        if module != "command" {
            // It is a program of its own: the library cannot even tell whether it is built.
            for forbidden in ["crate::command", "feature = \"command\""] {
                assert!(!text.contains(forbidden), "{} uses the command", file.display());
            }
            continue;
        }
        for forbidden in ["proxy_wasm", "entra_gate::shell", "unsafe "] {
            assert!(!text.contains(forbidden), "{} holds {forbidden}", file.display());
        }
        // Below the handlers time is an argument.
        let may_know_the_time = file.ends_with("service/clock.rs");
        assert!(may_know_the_time || !text.contains("SystemTime"), "{} reads the clock", file.display());
    }
}

#[test]
fn nothing_on_the_request_path_may_panic() {
    for (_, file, text) in modules() {
        for forbidden in [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!("] {
            assert!(!text.contains(forbidden), "{} holds {forbidden}", file.display());
        }
    }
}
