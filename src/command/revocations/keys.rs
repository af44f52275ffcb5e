//! `entra-gate revocations keys …`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, Connection};
use crate::documents::{KeyState, RetireRequest, RotateRequest, SigningKey, SigningKeys};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::wording::time;

/// What there is to do with the keys.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// The keys, in the order in which they sign
    #[command(after_long_help = "Example:\n  entra-gate revocations keys list --output json | jq -r '.keys[].kid'")]
    List(Connection),
    /// The public keys as a JWK set: what the filter's `revocation.feed.keys` takes
    #[command(after_long_help = "Example:\n  entra-gate revocations keys public > feed-keys.json")]
    Public(Connection),
    /// Make a key, publish it at once, sign with it later
    #[command(after_long_help = ROTATE_EXAMPLES)]
    Rotate(Rotate),
    /// Take a key that does not sign any more out of the published set, for good
    #[command(after_long_help = RETIRE_EXAMPLE)]
    Retire(Retire),
}

const ROTATE_EXAMPLES: &str =
    "Before the new key signs, every Envoy must know it: `revocation.feed.keys` must hold both.

Examples:
  entra-gate revocations keys rotate --signs-in 7d --reason 'yearly'
  # Somebody else has the old key
  entra-gate revocations keys rotate --signs-in 0s --reason 'key leaked'";

const RETIRE_EXAMPLE: &str = "Behind -- because a `kid` may begin with a hyphen.

Example:
  entra-gate revocations keys retire --reason 'yearly' -- mpwcwFWMbotg9A3O8JfP2b9smXUqvpRd9xXbdNalaaY";

/// `keys rotate`
#[derive(Args)]
pub(crate) struct Rotate {
    /// How long the key is only published
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    signs_in: Duration,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

/// `keys retire`
#[derive(Args)]
pub(crate) struct Retire {
    /// The key's `kid`
    kid: String,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

/// Does it.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(connection) => {
            let keys: SigningKeys = Client::new(&connection)?.get("/v1/signing-keys", &()).await?;
            tell(&keys, &connection)
        }
        Command::Public(connection) => {
            let keys: Value = Client::anonymous(&connection)?.get("/v1/keys", &()).await?;
            output::json(&keys)
        }
        Command::Rotate(Rotate { signs_in, reason, connection }) => {
            let request = RotateRequest { signs_in: Some(signs_in.as_secs()), reason };
            let key: SigningKey = Client::new(&connection)?.post("/v1/signing-keys", &request).await?;
            match connection.output {
                Format::Json => output::json(&key),
                Format::Table => output::line(&format!("Published: {}, signs from {}", key.kid, time(key.signs_from))),
            }
        }
        Command::Retire(Retire { kid, reason, connection }) => {
            let path = ["v1", "signing-keys", &kid];
            let keys: SigningKeys = Client::new(&connection)?.delete(&path, &RetireRequest { reason }).await?;
            tell(&keys, &connection)
        }
    }
}

fn tell(keys: &SigningKeys, connection: &Connection) -> Result<(), Failure> {
    match connection.output {
        Format::Json => output::json(keys),
        Format::Table => output::table(["kid", "state", "created", "signs from"], keys.keys.iter().map(row)),
    }
}

fn row(key: &SigningKey) -> [String; 4] {
    let state = match key.state {
        KeyState::Next => "next",
        KeyState::Old => "old",
        KeyState::Signing => "signing",
    };
    [key.kid.clone(), state.to_owned(), time(key.created), time(key.signs_from)]
}
