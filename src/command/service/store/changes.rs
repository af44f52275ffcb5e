//! Changing what holds: each change with its place in the sequence and its line in the audit, or not at all.

use entra_gate::revocation::Subject;
use sqlx::{AnyConnection, Row as _};

use super::reading::{self, Known, place};
use super::{Line, Stamp, Store, hearing};
use crate::documents::Action;
use crate::service::standing::{Lifetimes, Moment, Standing, Time, Wish};

/// A change that is wished for.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Of whom.
    pub(crate) subject: Subject,
    /// What.
    pub(crate) wish: Wish,
    /// Why.
    pub(crate) reason: String,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// What holds now; none where a lift found nobody.
    pub(crate) known: Option<Known>,
}

/// Why changes were not made; none of them was.
#[derive(Debug)]
pub(crate) enum ChangeFault {
    /// The database failed. Whether the changes were made is not known.
    Database(sqlx::Error),
    /// There is no room for another revocation.
    Full,
}

impl From<sqlx::Error> for ChangeFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Most revocations: gates refuse a feed of more than 2,000,000 entries, those that are told twice included.
pub(crate) const MOST_HELD: u64 = 1_900_000;
/// Clocks differ: what has expired here may matter elsewhere a little longer.
const GRACE: Time = 3_600;

impl Store {
    /// Does all of these changes, or none. What this returns is on disk.
    pub(crate) async fn apply(
        &self,
        changes: &[Change],
        stamp: &Stamp,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Done>, ChangeFault> {
        let moment = Moment { now: Time::try_from(stamp.seconds()).unwrap_or(Time::MAX), lifetimes };
        let mut transaction = self.write().await?;
        let mut all = Vec::with_capacity(changes.len());
        for change in changes {
            all.push(apply_one(change, stamp, &moment, &mut transaction).await?);
        }
        transaction.commit().await?;
        Ok(all)
    }

    /// Notes something that changed elsewhere.
    pub(crate) async fn note(&self, line: &Line<'_>, stamp: &Stamp) -> Result<(), sqlx::Error> {
        let mut transaction = self.write().await?;
        line.write(stamp, &mut transaction).await?;
        transaction.commit().await
    }

    /// Forgets what can no longer matter: how many revocations.
    pub(crate) async fn forget_expired(&self, now: Time) -> Result<u64, sqlx::Error> {
        let mut transaction = self.write().await?;
        let before = now.saturating_sub(GRACE);
        // Whoever has seen the block but not its lift would keep the block for ever.
        let before = i64::from(before);
        sqlx::query(
            "UPDATE feed SET complete_from = \
                 (SELECT max(sequence) FROM revocations WHERE expires < $1 AND unblocked_at IS NOT NULL) \
             WHERE complete_from < \
                 (SELECT max(sequence) FROM revocations WHERE expires < $1 AND unblocked_at IS NOT NULL)",
        )
        .bind(before)
        .execute(&mut *transaction)
        .await?;
        let gone =
            sqlx::query("DELETE FROM revocations WHERE expires < $1").bind(before).execute(&mut *transaction).await?;
        hearing::forget_events(now, &mut transaction).await?;
        transaction.commit().await?;
        Ok(gone.rows_affected())
    }

    /// Moves the sequence on to at least this, for a database that was restored from a copy: whoever has seen later
    /// changes gets a snapshot. Whether it moved.
    pub(crate) async fn advance(&self, sequence: u64, stamp: &Stamp) -> Result<bool, sqlx::Error> {
        let sequence = i64::try_from(sequence).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let mut transaction = self.write().await?;
        let moved = sqlx::query("UPDATE feed SET sequence = $1, complete_from = $1 WHERE sequence < $1")
            .bind(sequence)
            .execute(&mut *transaction)
            .await?
            .rows_affected()
            > 0;
        if moved {
            let line = Line { sequence: Some(sequence), ..Line::new(Action::Sequence, "--sequence-at-least") };
            line.write(stamp, &mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(moved)
    }
}

pub(super) async fn apply_one(
    change: &Change,
    stamp: &Stamp,
    moment: &Moment,
    connection: &mut AnyConnection,
) -> Result<Done, ChangeFault> {
    let Change { subject, wish, reason } = change;
    let before = reading::standing(subject, connection).await?;
    let granted = moment.grant(*wish, subject, before);
    if before.is_none() && granted.is_some() && reading::held(connection).await? >= MOST_HELD {
        return Err(ChangeFault::Full);
    }
    let sequence = match granted {
        Some(standing) => Some(put(subject, standing, connection).await?),
        None => None,
    };
    let action = match wish {
        Wish::Block | Wish::BlockUntil(_) | Wish::NotBefore(_) => Action::Revoke,
        Wish::Lift => Action::Lift,
    };
    let not_before = match wish {
        Wish::NotBefore(time) => Some(*time),
        Wish::Block | Wish::BlockUntil(_) | Wish::Lift => None,
    };
    let line = Line {
        subject: Some(subject),
        not_before,
        blocked: matches!(wish, Wish::Block | Wish::BlockUntil(_)),
        changed: granted.is_some(),
        sequence,
        ..Line::new(action, reason)
    };
    line.write(stamp, connection).await?;
    Ok(Done { changed: granted.is_some(), known: reading::known(subject, connection).await? })
}

/// Writes what holds, at the next place of the sequence.
async fn put(subject: &Subject, standing: Standing, connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    let sequence: i64 = sqlx::query("UPDATE feed SET sequence = sequence + 1 RETURNING sequence")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let (kind, realm, name) = place(subject);
    let Standing { rule, expires } = standing;
    sqlx::query(
        "INSERT INTO revocations (kind, realm, name, not_before, blocked_since, unblocked_at, expires, sequence) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (kind, realm, name) DO UPDATE SET \
         not_before = excluded.not_before, blocked_since = excluded.blocked_since, \
         unblocked_at = excluded.unblocked_at, expires = excluded.expires, sequence = excluded.sequence",
    )
    .bind(kind)
    .bind(realm)
    .bind(name)
    .bind(rule.not_before.map(i64::from))
    .bind(rule.blocked_since.map(i64::from))
    .bind(rule.unblocked_at.map(i64::from))
    .bind(expires.map(i64::from))
    .bind(sequence)
    .execute(connection)
    .await?;
    Ok(sequence)
}
