//! The revocation service: who is revoked, on disk, and the feed that tells gates of it.

mod api;
mod arguments;
mod asked;
mod callers;
pub(crate) mod clock;
mod feed;
mod holders;
mod metrics;
mod publish;
mod server;
mod signing;
mod sources;
mod standing;
mod store;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use self::api::{Gates, Routers, Service};
use self::arguments::LogFormat;
pub(crate) use self::arguments::Serve;
use self::callers::Callers;
use self::feed::Publisher;
use self::metrics::Metrics;
use self::publish::{Press, Publication};
pub(crate) use self::publish::{Publish, publish};
use self::server::Server;
use self::signing::{KEYS_SECRET, Keys, Place, Sealer};
use self::sources::Sources;
pub(crate) use self::sources::mistakes as mistakes_of_sources;
use self::standing::{Lifetimes, Time};
use self::store::{Address, Stamp, Store};
use crate::documents::Actor;
use crate::failure::Failure;

/// The environment variable of the bootstrap key.
pub(crate) const BOOTSTRAP_KEY: &str = "ENTRA_GATE_REVOCATIONS_BOOTSTRAP_KEY";

/// How often the database is asked for changes that another process made.
const LOOK: Duration = Duration::from_millis(500);
/// How often what has expired is forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// Runs the service until it is told to end.
pub(crate) async fn serve(arguments: Serve) -> Result<(), Failure> {
    log(arguments.log);
    let key = std::env::var(BOOTSTRAP_KEY).ok().filter(|key| !key.is_empty());
    let callers = Callers::open(arguments.config.as_deref(), key.as_deref())?;
    let sources = Sources::open(arguments.sources.as_deref())?;
    let lifetimes = Lifetimes { token: arguments.token_lifetime, session: arguments.session_lifetime };
    let place = keys_place(&arguments.database, arguments.keys.as_deref())?;
    let database = |error: sqlx::Error| Failure::here(format!("the database {}", arguments.database), error);
    let store = Store::open(&arguments.database).await.map_err(database)?;
    let stamp = || Stamp { at: clock::millis(), by: Actor::Service, request_id: Uuid::new_v4().to_string() };
    if let Some(sequence) = arguments.sequence_at_least
        && store.advance(sequence, &stamp()).await.map_err(database)?
    {
        warn!(sequence, "the sequence was moved on");
    }
    let keys = Keys::open(place, &store, &stamp()).await.map_err(|fault| Failure::here("the signing keys", fault))?;
    let keys = Arc::new(keys);
    let publisher = Publisher::open(arguments.issuer.clone(), arguments.packed_from, Arc::clone(&keys), &store);
    let feed = publisher.await.map_err(database)?;
    let service = Arc::new(Service { store, feed, keys, callers, lifetimes, metrics: Metrics::new(), sources });
    service.callers.follow(&service.store).await.map_err(database)?;
    let publication = arguments.publish.clone().map(|to| Publication {
        to,
        terms: arguments.published.clone(),
        issuer: arguments.issuer.clone(),
        store: service.store.clone(),
        keys: Arc::clone(&service.keys),
    });
    let press = publication.map(Press::open).transpose()?;
    run(&arguments, &service, press).await?;
    service.store.close().await;
    info!("stopped");
    Ok(())
}

async fn run(arguments: &Serve, service: &Arc<Service>, press: Option<Press>) -> Result<(), Failure> {
    let bind = async |address, router| {
        let bound = Server::bind(address, router).await.and_then(|server| Ok((server.address()?, server)));
        bound.map_err(|error| Failure::here(format!("cannot listen on {address}"), error))
    };
    let (end, ended) = watch::channel(false);
    let mut servers = Vec::new();
    // One line for each, on which scripts wait.
    let gates = if arguments.feed_listen.is_some() { Gates::Apart } else { Gates::WithApi };
    match api::routers(service, gates) {
        Routers::Together(router) => {
            let (address, server) = bind(arguments.listen, router).await?;
            info!(%address, "listening");
            servers.push(server);
        }
        Routers::Apart { api, feed } => {
            let (address, server) = bind(arguments.listen, api).await?;
            let (feed_address, feed_server) = bind(arguments.feed_listen.unwrap_or(arguments.listen), feed).await?;
            info!(%address, "listening");
            info!(address = %feed_address, "listening for the feed");
            servers.extend([server, feed_server]);
        }
    }
    let upkeep = upkeep(Arc::clone(service));
    let sources = Sources::start(service);
    let publishing = press.map(|press| {
        let (service, ended) = (Arc::clone(service), ended.clone());
        tokio::spawn(async move { publish::run(press, Some(&service.metrics), ended).await })
    });
    let running: Vec<_> = servers.into_iter().map(|server| tokio::spawn(server.run(ended.clone()))).collect();
    told_to_end().await?;
    info!("stopping");
    service.feed.close();
    end.send_replace(true);
    for running in running.into_iter().chain(publishing) {
        // What panicked has stopped, too.
        let _ = running.await;
    }
    upkeep.abort();
    for source in sources {
        // What it had begun to write is written whole or not at all.
        source.abort();
    }
    Ok(())
}

/// Looks after what changes by itself.
fn upkeep(service: Arc<Service>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (mut look, mut forget) = (interval(LOOK), interval(FORGET));
        let mut news = service.store.news();
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = news.next() => service.notice().await,
                _ = look.tick() => service.notice().await,
                _ = forget.tick() => {
                    let now = Time::try_from(clock::seconds()).unwrap_or(Time::MAX);
                    match service.store.forget_expired(now).await {
                        Ok(0) => {}
                        Ok(forgotten) => info!(forgotten, "expired revocations were forgotten"),
                        Err(error) => warn!(%error, "expired revocations were not forgotten"),
                    }
                    if let Err(fault) = service.feed.repack(&service.store).await {
                        warn!(?fault, "the feed's pages were not packed anew");
                    }
                }
            }
        }
    })
}

/// Where the signing keys are kept.
fn keys_place(database: &Address, folder: Option<&Path>) -> Result<Place, Failure> {
    let secret = std::env::var(KEYS_SECRET).ok().filter(|secret| !secret.is_empty());
    match (database.file(), folder) {
        (Some(_), Some(folder)) => Ok(Place::Folder(folder.to_owned())),
        (Some(file), None) => {
            let mut name = OsString::from(file);
            name.push(".keys");
            Ok(Place::Folder(PathBuf::from(name)))
        }
        (None, Some(_)) => Err(Failure::usage(
            "--keys: with PostgreSQL the signing keys are in the database, where every instance finds them",
        )),
        (None, None) => {
            let sealer = secret.as_deref().and_then(Sealer::new).ok_or_else(|| {
                Failure::usage(format!(
                    "with PostgreSQL the signing keys are sealed in the database: give {KEYS_SECRET}, at least 32 \
                     characters, such as those of `openssl rand -base64 33`, the same to every instance"
                ))
            })?;
            Ok(Place::Database(sealer))
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("ENTRA_GATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}

async fn told_to_end() -> Result<(), Failure> {
    let fault = |error| Failure::here("cannot wait for signals", error);
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(fault)?, signal(SignalKind::terminate()).map_err(fault)?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
