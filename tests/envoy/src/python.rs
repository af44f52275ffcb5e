//! Python programs with packages from PyPI: clients that others have written.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::envoy::repository;

/// Python with a package, installed into `.tools/` unless it is there: the package's name, which is also its module's,
/// and its version if it matters.
///
/// # Panics
/// When it cannot be installed.
#[must_use]
pub fn with(package: &str, version: Option<&str>) -> PathBuf {
    let requirement = version.map_or_else(|| package.to_owned(), |version| format!("{package}=={version}"));
    with_all(package, &[&requirement])
}

/// Python with some packages, installed into `.tools/` unless a module of the first is there.
///
/// # Panics
/// When they cannot be installed.
#[must_use]
pub fn with_all(module: &str, requirements: &[&str]) -> PathBuf {
    let name = requirements.first().map(|first| first.replace("==", "-").replace(['[', ']'], "_"));
    let tools = repository().join(".tools");
    let place = tools.join(name.unwrap_or_default());
    let python = place.join("bin/python");
    // Tests that need the same one run beside each other, in one process and in several.
    fs::create_dir_all(&tools).expect("a place for tools");
    let turn = File::create(place.with_added_extension("lock")).expect("a lock beside the environment");
    turn.lock().expect("the environment's lock");
    if !succeeds(Command::new(&python).args(["-c", &format!("import {module}")])) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place));
        let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&python).args(quiet).args(requirements));
    }
    python
}

/// What a program of the repository prints.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn print(python: &Path, program: &str, arguments: &[&str]) -> String {
    run(Command::new(python).arg(repository().join(program)).args(arguments))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {told}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
