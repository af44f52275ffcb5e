//! What is revoked, on disk: one SQLite file, one writer, and a sequence that never goes back.
//!
//! What this answers has been written through to the disk before (`synchronous=FULL`). A change, its place in the
//! sequence and its line in the audit are one transaction.

mod audit;
mod changes;
mod hearing;
mod reading;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlitePool};

pub(crate) use self::audit::{Line, Stamp};
pub(crate) use self::changes::{Change, ChangeFault, MOST_HELD};
pub(crate) use self::hearing::{Heard, Told};
pub(crate) use self::reading::{Filter, Head};

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(PathBuf);

impl Address {
    /// Reads `sqlite:<file>`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file = text.strip_prefix("sqlite:").ok_or("expected sqlite:<file>, such as sqlite:revocations.db")?;
        let file = file.strip_prefix("//").unwrap_or(file);
        if file.is_empty() || file.starts_with(':') || file.contains(['?', '\0']) {
            return Err("expected the name of a file after sqlite:".to_owned());
        }
        Ok(Self(PathBuf::from(file)))
    }

    /// The database's file.
    pub(crate) fn file(&self) -> &Path {
        &self.0
    }
}

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(5);
/// Readers at a time; each is a thread.
const READERS: u32 = 4;

const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "revocations", include_str!("sqlite/0001_revocations.sql")),
    (2, "sources", include_str!("sqlite/0002_sources.sql")),
    (3, "source events", include_str!("sqlite/0003_source_events.sql")),
];

/// The database.
#[derive(Clone)]
pub(crate) struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the database, makes it if there is none, and brings it up to date.
    pub(crate) async fn open(address: &Address) -> Result<Self, sqlx::Error> {
        private(address.file())?;
        let options = SqliteConnectOptions::new()
            .filename(address.file())
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
            let sql = AssertSqlSafe(*sql).into_sql_str();
            Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
        });
        Migrator::with_migrations(migrations.collect()).run(&writer).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { writer, readers })
    }

    /// Ends all work and closes the files.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
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
