//! What is revoked, in a database: one writer at a time, and a sequence that never goes back.
//!
//! SQLite for one process, PostgreSQL for several; the statements are the same but for a few. What this answers has been
//! written through to the disk before. A change, its place in the sequence and its line in the audit are one transaction,
//! and each transaction that writes holds the one row of `feed` until it is committed: the order of the sequence is the
//! order of commits, so a reader who sees a place sees all before it.

mod address;
mod audit;
mod changes;
mod hearing;
mod news;
mod pages;
mod reading;
mod signing_keys;
mod sources;

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Any, AnyPool, AssertSqlSafe, SqlSafeStr as _, SqlStr, Transaction};

pub(crate) use self::address::Address;
pub(crate) use self::audit::{Line, Stamp};
pub(crate) use self::changes::{Change, ChangeFault, MOST_HELD};
pub(crate) use self::hearing::{Heard, Told};
pub(crate) use self::pages::Packing;
pub(crate) use self::reading::{Filter, Head};
pub(crate) use self::signing_keys::{KeyChange, KeyRow};
pub(crate) use self::sources::SourceState;

/// Readers at a time. For SQLite each is a thread.
const READERS: u32 = 4;
/// Writers at a time of one process: of SQLite there can be one; the others of PostgreSQL wait at the row anyway.
const WRITERS: u32 = 2;
/// How long a connection to a server is waited for.
const CONNECTING: Duration = Duration::from_secs(5);

type Migrations<'a> = &'a [(i64, &'a str, &'a str)];
const SQLITE: Migrations<'_> = &[
    (1, "revocations", include_str!("sqlite/0001_revocations.sql")),
    (2, "sources", include_str!("sqlite/0002_sources.sql")),
    (3, "source events", include_str!("sqlite/0003_source_events.sql")),
];
const POSTGRES: Migrations<'_> = &[
    (1, "revocations", include_str!("postgres/0001_revocations.sql")),
    (2, "source events", include_str!("postgres/0002_source_events.sql")),
];

/// What holds for every connection to SQLite: written through before a commit is answered, and patience with the writer.
const SQLITE_SESSION: &str = "PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000";
/// What holds for every connection to PostgreSQL: written through, and nothing that hangs for long, least of all with the
/// row that everybody waits for, when a machine has gone without a word.
const POSTGRES_SESSION: &str = "SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') IN ('off', 'local'); \
     SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '10s'; SET statement_timeout = '60s'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// The database.
#[derive(Clone)]
pub(crate) struct Store {
    kind: Kind,
    writer: AnyPool,
    readers: AnyPool,
}

/// Whose database it is.
#[derive(Clone)]
enum Kind {
    /// One process's.
    Sqlite,
    /// Everybody's who connects so.
    Postgres(Box<PgConnectOptions>),
}

impl Store {
    /// Opens the database, makes it if it is a file that is not there, and brings it up to date.
    pub(crate) async fn open(address: &Address) -> Result<Self, sqlx::Error> {
        install_default_drivers();
        match address {
            Address::File(file) => {
                private(file)?;
                let url = Address::file_url(file)?;
                let writer = pool(1, SQLITE_SESSION).connect_with(options(&url)?).await?;
                sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&writer).await?;
                migrate(SQLITE, &writer).await?;
                let readers = pool(READERS, SQLITE_SESSION).connect_with(options(&format!("{url}?mode=ro"))?).await?;
                Ok(Self { kind: Kind::Sqlite, writer, readers })
            }
            Address::Server(url) => {
                let (url, found) = Address::server(url).map_err(|fault| sqlx::Error::Configuration(fault.into()))?;
                let pool = |most| pool(most, POSTGRES_SESSION).acquire_timeout(CONNECTING);
                let writer = pool(WRITERS).connect_with(options(&url)?).await?;
                migrate(POSTGRES, &writer).await?;
                let readers = pool(READERS).connect_with(options(&url)?).await?;
                Ok(Self { kind: Kind::Postgres(Box::new(found)), writer, readers })
            }
        }
    }

    /// Whether other processes may write to it, and answer gates out of it.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Postgres(_))
    }

    /// Ends all work and closes the connections.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that writes, alone from its first statement on.
    async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.kind {
            Kind::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres(_) => {
                // Each statement sees what was committed before it: the ones after the lock, all there is.
                let mut transaction = self.writer.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
                sqlx::query("SELECT sequence FROM feed FOR UPDATE").fetch_one(&mut *transaction).await?;
                Ok(transaction)
            }
        }
    }

    /// A transaction that reads one state of the database.
    async fn read(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.kind {
            Kind::Sqlite => self.readers.begin().await,
            Kind::Postgres(_) => self.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await,
        }
    }
}

fn options(url: &str) -> Result<AnyConnectOptions, sqlx::Error> {
    AnyConnectOptions::from_str(url)
}

fn pool(most: u32, session: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new().max_connections(most).after_connect(move |connection, _| {
        Box::pin(async move { sqlx::raw_sql(session).execute(connection).await.map(|_| ()) })
    })
}

/// Several processes that start at once take turns.
async fn migrate(migrations: Migrations<'_>, writer: &AnyPool) -> Result<(), sqlx::Error> {
    let migrations = migrations.iter().map(|(version, description, sql)| {
        let description = Cow::Owned((*description).to_owned());
        Migration::new(*version, description, MigrationType::Simple, safe((*sql).to_owned()), false)
    });
    Ok(Migrator::with_migrations(migrations.collect()).run(writer).await?)
}

/// A statement that was put together from texts of this program alone.
fn safe(sql: String) -> SqlStr {
    AssertSqlSafe(sql).into_sql_str()
}

/// Makes the database's file if there is none, for its owner alone: it names people and says why they were revoked.
fn private(file: &Path) -> Result<(), sqlx::Error> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
