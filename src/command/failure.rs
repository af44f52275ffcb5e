//! Why the command ends badly: a sentence for people, an exit code for scripts. Never holds a credential.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Something on this machine.
    Here = 1,
    /// Whoever wrote the command line.
    Usage = 2,
    /// Whoever gave the credential.
    Credential = 3,
    /// Whoever runs the service.
    Service = 4,
    /// Whoever asked for something that cannot be.
    Request = 5,
    /// Whoever wrote the file.
    Document = 6,
    /// Whoever can give the keys that are lacking.
    Undecided = 7,
}

/// A bad end.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: Cause,
    message: String,
}

impl Failure {
    /// A file, the database, a port.
    pub(crate) fn here(what: impl Display, error: impl Display) -> Self {
        Self { cause: Cause::Here, message: format!("{what}: {error}") }
    }

    /// The command line, or the environment that stands in for it.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { cause: Cause::Usage, message: message.to_string() }
    }

    /// No credential, or one that was refused.
    pub(crate) fn credential(message: impl Display) -> Self {
        Self { cause: Cause::Credential, message: message.to_string() }
    }

    /// No answer, or one that says that there is none now.
    pub(crate) fn service(message: impl Display) -> Self {
        Self { cause: Cause::Service, message: message.to_string() }
    }

    /// A request that the service refused.
    pub(crate) fn request(message: impl Display) -> Self {
        Self { cause: Cause::Request, message: message.to_string() }
    }

    /// A file that is wrong.
    pub(crate) fn document(message: impl Display) -> Self {
        Self { cause: Cause::Document, message: message.to_string() }
    }

    /// Nothing can be said without something that was not given.
    pub(crate) fn undecided(message: impl Display) -> Self {
        Self { cause: Cause::Undecided, message: message.to_string() }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        // Where standard error is closed, the exit code is all that is left.
        let _ = writeln!(std::io::stderr().lock(), "entra-gate: {}", self.message);
        ExitCode::from(self.cause as u8)
    }
}
