//! The examples of docs/migration.md, as they stand there: each lets a good token pass and refuses a bad one.

use std::process::ExitCode;

use envoy_tests::{Release, Suite};

fn main() -> ExitCode {
    Suite::new().alone(&[Release::newest()], vec![]).run()
}
