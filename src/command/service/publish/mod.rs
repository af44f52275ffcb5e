//! Publishing: the signed feed as objects that anything can serve, so that a fleet of gates asks an object store or a CDN
//! and not this service.
//!
//! Pages are named by their digests and never change. The head is small and replaced last: it names the pages, and holds
//! everything that changed since a state that gates had some time ago (`changes_since`, docs/feed.md), so that whoever
//! follows it fetches nothing else. What was published is all that is remembered: whoever goes on begins with reading it.

mod depot;
mod round;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};
use uuid::Uuid;

use self::depot::DepotFault;
pub(crate) use self::depot::Destination;
pub(crate) use self::round::Press;
use self::round::RoundFault;
use super::arguments::LogFormat;
use super::metrics::Metrics;
use super::signing::Keys;
use super::store::{Address, Store};
use super::{clock, keys_place, log, told_to_end};
use crate::failure::Failure;

/// The shortest time from one head to the next: object stores bear one write of an object each second.
const PAUSE: Duration = Duration::from_secs(1);
/// After a failure.
const BREATH: Duration = Duration::from_secs(3);
/// How often old pages are looked for.
const CLEANING: u64 = 600;
/// How long an instance that publishes is waited for by the others, in milliseconds.
const LEASE: u64 = 15_000;

const EXAMPLES: &str =
    "Credentials and endpoints come from the environment, as for the stores' own tools: AWS_ACCESS_KEY_ID, \
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT, web identity and instance profiles; AZURE_STORAGE_ACCOUNT_NAME, \
AZURE_STORAGE_ACCOUNT_KEY, AZURE_CLIENT_ID, workload identity and managed identities.

Examples:
  entra-gate revocations publish --to file:///srv/revocations
  entra-gate revocations publish --database postgres://entra_gate@db.example/revocations --to s3://revocations/prod
  entra-gate revocations publish --to az://revocations/prod --pages-at /prod";

/// `publish`
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Publish {
    /// The database of the service
    #[arg(long, value_name = "URL", default_value = "sqlite:entra-gate-revocations.db", value_parser = Address::parse,
        env = "ENTRA_GATE_REVOCATIONS_DATABASE", hide_env_values = true)]
    database: Address,
    /// The folder of the signing keys; by default beside the database's file, named after it with .keys
    #[arg(long, value_name = "FOLDER", env = "ENTRA_GATE_REVOCATIONS_KEYS")]
    keys: Option<std::path::PathBuf>,
    /// `iss` of the feed's documents
    #[arg(long, value_name = "NAME", default_value = "entra-gate", env = "ENTRA_GATE_REVOCATIONS_ISSUER")]
    issuer: String,
    /// Where to: file:///FOLDER, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL", value_parser = Destination::parse, env = "ENTRA_GATE_REVOCATIONS_PUBLISH")]
    to: Destination,
    #[command(flatten)]
    terms: Terms,
    /// Ends when everything that holds now is published
    #[arg(long)]
    once: bool,
    /// How the log is written, on standard error
    #[arg(long, value_enum, default_value_t, env = "ENTRA_GATE_LOG_FORMAT")]
    log: LogFormat,
}

/// How it is published.
#[derive(Args, Clone)]
#[command(next_help_heading = "What is published")]
pub(crate) struct Terms {
    /// The path at which gates find the folder of the pages; by default that of the store itself
    #[arg(long, value_name = "PATH", value_parser = path, env = "ENTRA_GATE_REVOCATIONS_PAGES_AT")]
    pages_at: Option<String>,
    /// How long a head is good for: gates take one that nobody signs anew for stale
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = validity, env = "ENTRA_GATE_REVOCATIONS_VALID_FOR")]
    valid_for: Duration,
    /// How long pages that no head names any more are kept
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = grace, env = "ENTRA_GATE_REVOCATIONS_PAGES_KEPT")]
    pages_kept: Duration,
}

/// What is published where, and by which keys.
pub(crate) struct Publication {
    pub(crate) to: Destination,
    pub(crate) terms: Terms,
    pub(crate) issuer: String,
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
}

/// Publishes until it is told to end.
pub(crate) async fn publish(arguments: Publish) -> Result<(), Failure> {
    log(arguments.log);
    let Publish { database, keys, issuer, to, terms, once, .. } = arguments;
    let place = keys_place(&database, keys.as_deref())?;
    let fault = |error: sqlx::Error| Failure::here(format!("the database {database}"), error);
    let store = Store::open(&database).await.map_err(fault)?;
    let keys = Keys::read(place, &store).await.map_err(|fault| Failure::here("the signing keys", fault))?;
    if keys.ring().is_empty() {
        return Err(Failure::here("the signing keys", "there is none yet: start the service first"));
    }
    let publication = Publication { to, terms, issuer, store: store.clone(), keys: Arc::new(keys) };
    let mut press = Press::open(publication)?;
    if once {
        press.depot().hold().map_err(|fault| Failure::here("not published", fault))?;
        press.round(clock::seconds()).await.map_err(|fault| Failure::here("not published", fault))?;
    } else {
        let (_end, ended) = watch::channel(false);
        tokio::select! {
            () = run(press, None, ended) => {}
            told = told_to_end() => told?,
        }
        info!("stopped");
    }
    store.close().await;
    Ok(())
}

/// Publishes what changes, until the end is announced.
pub(crate) async fn run(mut press: Press, metrics: Option<&Metrics>, mut ended: watch::Receiver<bool>) {
    let to = press.publication().to.to_string();
    let (me, store) = (Uuid::new_v4().to_string(), press.publication().store.clone());
    let mut news = store.news();
    let mut cleaned = clock::seconds();
    info!(to, "publishing");
    loop {
        let outcome = turn(&mut press, &store, &to, &me).await;
        let pause = match &outcome {
            Ok(published) => {
                if let (Some(metrics), Some(sequence)) = (metrics, published) {
                    metrics.published(*sequence);
                }
                PAUSE
            }
            Err(RoundFault::Depot(DepotFault::Overtaken)) => PAUSE,
            Err(fault) => {
                if let Some(metrics) = metrics {
                    metrics.not_published();
                }
                warn!(%fault, to, "not published");
                BREATH
            }
        };
        if outcome.is_ok_and(|published| published.is_some()) && clock::seconds() >= cleaned.saturating_add(CLEANING) {
            cleaned = clock::seconds();
            press.clean(cleaned).await;
        }
        tokio::select! {
            _ = ended.wait_for(|end| *end) => return,
            () = sleep(pause) => {}
        }
        // What happened during the pause is not lost: it is looked for in any case.
        tokio::select! {
            _ = ended.wait_for(|end| *end) => return,
            () = news.next() => {}
            () = sleep(super::LOOK) => {}
        }
    }
}

/// One round, if this process is the one that publishes; the sequence that is out then.
async fn turn(press: &mut Press, store: &Store, to: &str, me: &str) -> Result<Option<u64>, RoundFault> {
    press.depot().hold()?;
    let now = clock::millis();
    if store.is_shared() && !store.hold_source(&format!("publish {to}"), me, now, now.saturating_add(LEASE)).await? {
        press.forget();
        return Ok(None);
    }
    press.round(now / 1_000).await.map(Some)
}

fn validity(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(10), Duration::from_secs(86_400), "10s to 1d")
}

fn grace(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(60), Duration::from_secs(30 * 86_400), "1m to 30d")
}

fn between(text: &str, least: Duration, most: Duration, expected: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| (least..=most).contains(duration));
    duration.ok_or_else(|| format!("expected {expected}"))
}

/// An absolute path without a slash at its end; empty for the root.
fn path(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte));
    if text.starts_with('/') && !text.starts_with("//") && is_plain {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("expected an absolute path, such as /revocations".to_owned())
    }
}
