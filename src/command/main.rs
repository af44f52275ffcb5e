//! The native command `entra-gate`, for people and for the control plane.
//!
//! It may use every pure layer of the library; nothing uses it. It never prints a credential.

mod check;
mod convert;
mod documents;
mod explain;
mod failure;
mod fetching;
mod http;
mod input;
mod located;
mod output;
mod plugins;
mod revocations;
mod service;
mod wording;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use self::failure::Failure;

/// Microsoft Entra ID at Envoy's edge: the command beside the filter.
#[derive(Parser)]
#[command(name = "entra-gate", version, arg_required_else_help = true, after_long_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mistakes of a configuration, each with its line and column
    Check(check::Check),
    /// Policies of other gateways as a configuration of this one
    #[command(subcommand, arg_required_else_help = true)]
    Convert(Box<convert::Command>),
    /// Who is revoked: the service that says so, and its clients
    #[command(subcommand, arg_required_else_help = true)]
    Revocations(Box<revocations::Command>),
    /// Why a token is refused, or passes: the filter's own decision, step by step
    #[command(after_long_help = explain::EXAMPLES)]
    Explain(Box<explain::Arguments>),
    /// Completions for a shell, on standard output
    #[command(after_long_help = "Example:\n  source <(entra-gate completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  something here failed: a file, the database, a port
  2  the command line is wrong
  3  the credential was refused, or there is none; explain: the token is refused
  4  the service does not answer, or says that it cannot now
  5  the service refused the request: what was asked is wrong, or there is nothing to lift
  6  the file is wrong: `check` found mistakes, or `convert` what cannot be kept safely
  7  explain: it cannot be told without keys";

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(check) => check::run(&check),
        Command::Convert(command) => convert::run(&command),
        Command::Revocations(command) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            runtime.map_err(|error| Failure::here("cannot start", error))?.block_on(revocations::run(*command))
        }
        Command::Explain(arguments) => explain::run(*arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "entra-gate", &mut script);
            output::write(&script)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn completions_know_every_command() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "entra-gate", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["check", "convert", "apim", "jwt-authn", "certificate", "audience", "revocations"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn every_exit_code_is_documented() {
        let page = include_str!("../../docs/command.md");
        for line in EXIT_CODES.lines().skip(1) {
            let code = line.split_whitespace().next().unwrap();
            assert!(page.contains(&format!("\n| {code} | ")), "{line}");
        }
    }
}
