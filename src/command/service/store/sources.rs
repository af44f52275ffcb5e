//! How far each source of revocations was read, and which process reads it now.

use sqlx::{AnyConnection, Row as _};

use super::Store;

/// How far a source was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceState<'a> {
    /// The source's name.
    pub(crate) name: &'a str,
    /// What it needs to go on: its own matter.
    pub(crate) value: &'a str,
}

impl Store {
    /// How far a source was read; none at the beginning.
    pub(crate) async fn source_state(&self, name: &str) -> Result<Option<String>, sqlx::Error> {
        let row = sqlx::query("SELECT state FROM sources WHERE name = $1").bind(name);
        let row = row.fetch_optional(&self.readers).await?;
        row.map_or(Ok(None), |row| row.try_get(0))
    }

    /// Takes or keeps a source for a time, so that of several processes one reads it; whether that is this one. Times
    /// are Unix milliseconds. Clocks that differ, or a process that stood still, can make it two for a while: what a
    /// source does must bear that.
    pub(crate) async fn hold_source(
        &self,
        name: &str,
        holder: &str,
        now: u64,
        until: u64,
    ) -> Result<bool, sqlx::Error> {
        let number = |time| i64::try_from(time).unwrap_or(i64::MAX);
        let mut transaction = self.write().await?;
        let taken = sqlx::query(
            "INSERT INTO sources (name, holder, held_until) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
             WHERE sources.held_until <= $4 OR sources.holder IS NULL OR sources.holder = excluded.holder",
        )
        .bind(name)
        .bind(holder)
        .bind(number(until))
        .bind(number(now))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(taken.rows_affected() > 0)
    }
}

/// Notes how far a source was read.
pub(super) async fn write(source: SourceState<'_>, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO sources (name, state) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET state = excluded.state",
    )
    .bind(source.name)
    .bind(source.value)
    .execute(connection)
    .await?;
    Ok(())
}
