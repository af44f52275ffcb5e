//! The revocation service: who is revoked, on disk, and the feed that tells gates of it.

mod api;
mod arguments;
mod asked;
mod callers;
pub(crate) mod clock;
mod feed;
mod holders;
mod metrics;
mod server;
mod signing;
mod sources;
mod standing;
mod store;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
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
use self::server::Server;
use self::signing::{KeyRing, Made};
use self::sources::Sources;
pub(crate) use self::sources::mistakes as mistakes_of_sources;
use self::standing::{Lifetimes, Time};
use self::store::{Line, Stamp, Store};
use crate::documents::{Action, Actor};
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
    let file = arguments.database.file().display().to_string();
    let database = |error: sqlx::Error| Failure::here(format!("the database {file}"), error);
    let store = Store::open(&arguments.database).await.map_err(database)?;
    let stamp = || Stamp { at: clock::millis(), by: Actor::Service, request_id: Uuid::new_v4().to_string() };
    if let Some(sequence) = arguments.sequence_at_least
        && store.advance(sequence, &stamp()).await.map_err(database)?
    {
        warn!(sequence, "the sequence was moved on");
    }
    let keys = Arc::new(RwLock::new(open_keys(&arguments, &store, &stamp()).await?));
    let publisher = Publisher::open(arguments.issuer.clone(), arguments.packed_from, Arc::clone(&keys), &store);
    let feed = publisher.await.map_err(database)?;
    let service = Arc::new(Service { store, feed, keys, callers, lifetimes, metrics: Metrics::new(), sources });
    service.callers.follow(&service.store).await.map_err(database)?;
    run(&arguments, &service).await?;
    service.store.close().await;
    info!("stopped");
    Ok(())
}

async fn run(arguments: &Serve, service: &Arc<Service>) -> Result<(), Failure> {
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
    let running: Vec<_> = servers.into_iter().map(|server| tokio::spawn(server.run(ended.clone()))).collect();
    told_to_end().await?;
    info!("stopping");
    service.feed.close();
    end.send_replace(true);
    for server in running {
        // A server that panicked has stopped, too.
        let _ = server.await;
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
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
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

async fn open_keys(arguments: &Serve, store: &Store, stamp: &Stamp) -> Result<KeyRing, Failure> {
    let place = arguments.keys.clone().unwrap_or_else(|| {
        let mut name = OsString::from(arguments.database.file());
        name.push(".keys");
        PathBuf::from(name)
    });
    let fault = |fault| Failure::here("the signing keys", fault);
    let mut keys = KeyRing::open(&place).map_err(fault)?;
    if keys.is_empty() {
        let made = spawn_blocking(Made::new).await.map_err(|error| Failure::here("the signing keys", error))?;
        let made = made.map_err(fault)?;
        let kid = made.kid();
        let line = Line { key: Some(&kid), ..Line::new(Action::KeyAdd, "the first key") };
        store.note(&line, stamp).await.map_err(|error| Failure::here("the database", error))?;
        keys.add(made, stamp.seconds(), stamp.seconds()).map_err(fault)?;
        info!(kid, folder = %place.display(), "a signing key was made");
    }
    Ok(keys)
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
