//! The signing keys of a shared database. What is here is sealed: see `signing`.

use sqlx::{AnyConnection, Row as _};

use super::reading::unsigned;
use super::{Line, Stamp, Store};

/// A key as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) kid: String,
    /// Unix seconds.
    pub(crate) created: u64,
    /// Unix seconds.
    pub(crate) signs_from: u64,
    /// The private key, which the database cannot read.
    pub(crate) sealed: String,
}

/// What becomes of the keys.
pub(crate) enum KeyChange {
    /// One is new.
    Add(KeyRow),
    /// One is taken away.
    Remove(String),
    /// All is as it should be.
    Nothing,
}

impl Store {
    /// The keys.
    pub(crate) async fn signing_keys(&self) -> Result<Vec<KeyRow>, sqlx::Error> {
        read(&mut *self.readers.acquire().await?).await
    }

    /// Changes the keys and writes it into the audit, or neither. What is to change is decided while nobody else
    /// changes anything; what the keys are then.
    pub(crate) async fn change_signing_keys<E: From<sqlx::Error>>(
        &self,
        line: &Line<'_>,
        stamp: &Stamp,
        decide: impl FnOnce(&[KeyRow]) -> Result<KeyChange, E> + Send,
    ) -> Result<Vec<KeyRow>, E> {
        let mut transaction = self.write().await?;
        let change = decide(&read(&mut transaction).await?)?;
        match &change {
            KeyChange::Add(row) => {
                sqlx::query("INSERT INTO signing_keys (kid, created, signs_from, sealed) VALUES ($1, $2, $3, $4)")
                    .bind(row.kid.as_str())
                    .bind(i64::try_from(row.created).unwrap_or(i64::MAX))
                    .bind(i64::try_from(row.signs_from).unwrap_or(i64::MAX))
                    .bind(row.sealed.as_str())
                    .execute(&mut *transaction)
                    .await?;
            }
            KeyChange::Remove(kid) => {
                sqlx::query("DELETE FROM signing_keys WHERE kid = $1")
                    .bind(kid.as_str())
                    .execute(&mut *transaction)
                    .await?;
            }
            KeyChange::Nothing => {}
        }
        if !matches!(change, KeyChange::Nothing) {
            line.write(stamp, &mut transaction).await?;
        }
        let now = read(&mut transaction).await?;
        transaction.commit().await?;
        Ok(now)
    }
}

async fn read(connection: &mut AnyConnection) -> Result<Vec<KeyRow>, sqlx::Error> {
    let rows = sqlx::query("SELECT kid, created, signs_from, sealed FROM signing_keys").fetch_all(connection).await?;
    let row = |row| {
        Ok(KeyRow {
            kid: sqlx::any::AnyRow::try_get(row, "kid")?,
            created: unsigned(row, "created")?,
            signs_from: unsigned(row, "signs_from")?,
            sealed: row.try_get("sealed")?,
        })
    };
    rows.iter().map(row).collect()
}
