//! How the service is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::publish::{Destination, Terms};
use super::store::Address;

const EXAMPLES: &str =
    "The bootstrap key, which may do everything, is read from ENTRA_GATE_REVOCATIONS_BOOTSTRAP_KEY; \
what seals signing keys in PostgreSQL, from ENTRA_GATE_REVOCATIONS_KEYS_SECRET; what is logged, from ENTRA_GATE_LOG (info).

Examples:
  ENTRA_GATE_REVOCATIONS_BOOTSTRAP_KEY=$(openssl rand -base64 33) entra-gate revocations serve
  entra-gate revocations serve --database sqlite:/var/lib/entra-gate/revocations.db --config callers.yaml
  entra-gate revocations serve --database postgres://entra_gate@db.example/revocations --config callers.yaml
  entra-gate revocations serve --config callers.yaml --listen 127.0.0.1:8480 --feed-listen 0.0.0.0:8481
  entra-gate revocations serve --config callers.yaml --sources sources.yaml";

/// How the service is started.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Serve {
    /// The database: sqlite:FILE, made if there is none, or postgres://USER@HOST/DATABASE, for several instances.
    /// PostgreSQL's password is better given as PGPASSWORD, and its other settings as the environment of psql
    #[arg(long, value_name = "URL", default_value = "sqlite:entra-gate-revocations.db", value_parser = Address::parse,
        env = "ENTRA_GATE_REVOCATIONS_DATABASE", hide_env_values = true)]
    pub(super) database: Address,
    /// The folder of the signing keys; by default beside the database's file, named after it with .keys. In PostgreSQL
    /// they are in the database, sealed under ENTRA_GATE_REVOCATIONS_KEYS_SECRET
    #[arg(long, value_name = "FOLDER", env = "ENTRA_GATE_REVOCATIONS_KEYS")]
    pub(super) keys: Option<PathBuf>,
    /// Whose tokens are accepted, and with which roles
    #[arg(long, value_name = "FILE", env = "ENTRA_GATE_REVOCATIONS_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Which sources feed the service: the directory, Shared Signals, logouts
    #[arg(long, value_name = "FILE", env = "ENTRA_GATE_REVOCATIONS_SOURCES")]
    pub(super) sources: Option<PathBuf>,
    /// Where the API listens. Plain HTTP: put TLS in front of what is not loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8480", env = "ENTRA_GATE_REVOCATIONS_LISTEN")]
    pub(super) listen: SocketAddr,
    /// Where gates ask for the feed; by default with the API
    #[arg(long, value_name = "ADDRESS", env = "ENTRA_GATE_REVOCATIONS_FEED_LISTEN")]
    pub(super) feed_listen: Option<SocketAddr>,
    /// `iss` of the feed's documents
    #[arg(long, value_name = "NAME", default_value = "entra-gate", env = "ENTRA_GATE_REVOCATIONS_ISSUER")]
    pub(super) issuer: String,
    /// The longest life of an access token: a revocation is kept so long
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime,
        env = "ENTRA_GATE_REVOCATIONS_TOKEN_LIFETIME")]
    pub(super) token_lifetime: Duration,
    /// How long a session can be refreshed: the block of a session is kept so long
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = lifetime,
        env = "ENTRA_GATE_REVOCATIONS_SESSION_LIFETIME")]
    pub(super) session_lifetime: Duration,
    /// From how many revocations on snapshots are packed into pages
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=50_000),
        env = "ENTRA_GATE_REVOCATIONS_PACKED_FROM")]
    pub(super) packed_from: u64,
    /// Publishes the feed as well, to file:///FOLDER, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX: see `publish --help`
    #[arg(long, value_name = "URL", value_parser = Destination::parse, env = "ENTRA_GATE_REVOCATIONS_PUBLISH")]
    pub(super) publish: Option<Destination>,
    #[command(flatten)]
    pub(super) published: Terms,
    /// Moves the sequence on, once: after the database was restored from a copy, beyond what any gate has seen
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..1 << 53))]
    pub(super) sequence_at_least: Option<u64>,
    /// How the log is written, on standard error
    #[arg(long, value_enum, default_value_t, env = "ENTRA_GATE_LOG_FORMAT")]
    pub(super) log: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// An object for each line
    Json,
    /// For people
    #[default]
    Text,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|_| "expected a duration, such as 90m or 24h")?;
    let fits = (Duration::from_secs(60)..=Duration::from_secs(366 * 86_400)).contains(&duration);
    if fits { Ok(duration) } else { Err("expected 1m to 366d".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_bounds() {
        assert_eq!(lifetime("90m"), Ok(Duration::from_secs(5_400)));
        for wrong in ["59s", "367d", "1", "", "-1h"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
