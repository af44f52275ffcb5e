//! The feed's pages in a shared database, where every process that answers gates finds those that another has packed.

use sqlx::{AnyConnection, Row as _};

use super::Store;
use super::reading::unsigned;

/// Everything up to a place of the feed, but for its pages.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    /// The place.
    pub(crate) sequence: u64,
    /// The names of the pages, as the feed's JSON.
    pub(crate) paging: String,
    /// What does not fit into pages, as the feed's JSON.
    pub(crate) rest: String,
}

impl Store {
    /// The newest packing, if it is one of after this place.
    pub(crate) async fn packing_after(&self, sequence: Option<u64>) -> Result<Option<Packing>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT sequence, paging, rest FROM packings WHERE sequence > $1 ORDER BY sequence DESC LIMIT 1",
        );
        let after = sequence.map_or(-1, |sequence| i64::try_from(sequence).unwrap_or(i64::MAX));
        let row = row.bind(after).fetch_optional(&self.readers).await?;
        let read = |row: sqlx::any::AnyRow| {
            let sequence = unsigned(&row, "sequence")?;
            Ok(Packing { sequence, paging: row.try_get("paging")?, rest: row.try_get("rest")? })
        };
        row.map(read).transpose()
    }

    /// A page, by its name.
    pub(crate) async fn page(&self, name: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        let row =
            sqlx::query("SELECT body FROM pages WHERE name = $1").bind(name).fetch_optional(&self.readers).await?;
        row.map(|row| row.try_get(0)).transpose()
    }

    /// Keeps a packing, and of the older ones so many that there are `generations`. If another process has kept one of
    /// this place or a later one, that is the one that counts, and this one is dropped.
    pub(crate) async fn keep_packing<'a>(
        &self,
        packing: &Packing,
        pages: impl Iterator<Item = (&'a str, &'a [u8])> + Send,
        generations: usize,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.writer.begin().await?;
        let sequence = i64::try_from(packing.sequence).unwrap_or(i64::MAX);
        let kept = sqlx::query(
            "INSERT INTO packings (sequence, paging, rest) SELECT $1, $2, $3 \
             WHERE NOT EXISTS (SELECT 1 FROM packings WHERE sequence >= $1) ON CONFLICT DO NOTHING",
        )
        .bind(sequence)
        .bind(packing.paging.as_str())
        .bind(packing.rest.as_str())
        .execute(&mut *transaction)
        .await?;
        if kept.rows_affected() == 0 {
            return Ok(false);
        }
        for (name, body) in pages {
            put_page(name, sequence, body, &mut transaction).await?;
        }
        let generations = i64::try_from(generations).unwrap_or(i64::MAX);
        sqlx::query(
            "DELETE FROM packings WHERE sequence NOT IN (SELECT sequence FROM packings ORDER BY sequence DESC LIMIT $1)",
        )
        .bind(generations)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// Names are digests: a page that is there already is the same.
async fn put_page(name: &str, packing: i64, body: &[u8], connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO pages (name, packing, body) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET packing = excluded.packing",
    )
    .bind(name)
    .bind(packing)
    .bind(body)
    .execute(connection)
    .await?;
    Ok(())
}
