//! What sources tell: what follows from it, that it was taken, and how far the source is, in one transaction.

use entra_gate::revocation::{Effect, Subject};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::changes::{Change, ChangeFault, Done, apply_one};
use super::reading::{self, place};
use super::{Line, SourceState, Stamp, Store, sources};
use crate::documents::{Action, Actor};
use crate::service::holders::{Asked, Holders, Request};
use crate::service::standing::{Lifetimes, Moment, Time, Wish};

/// What a source has to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The source.
    pub(crate) source: String,
    /// The event, and until when it is to be known again; none for what can come again.
    pub(crate) event: Option<(String, Time)>,
    /// What shall hold.
    pub(crate) changes: Vec<Change>,
    /// What nothing follows from, for the audit.
    pub(crate) remarks: Vec<String>,
    /// How far the source is then, if that changes.
    pub(crate) state: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// It was taken before; nothing was done.
    Again,
    /// Of how many wishes something changed.
    Taken { changed: usize, unchanged: usize },
}

impl Store {
    /// Takes what a source tells, all of it or nothing. What this returns is on disk.
    pub(crate) async fn hear(&self, told: &Told, at: u64, lifetimes: Lifetimes) -> Result<Heard, ChangeFault> {
        let event = told.event.as_ref().map(|(event, _)| event.clone());
        let by = Actor::Source { name: told.source.clone(), event: event.clone() };
        let stamp = Stamp { at, by, request_id: event.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()) };
        let moment = Moment { now: Time::try_from(stamp.seconds()).unwrap_or(Time::MAX), lifetimes };
        let mut transaction = self.write().await?;
        if let Some((event, forget_at)) = &told.event
            && !is_new(&told.source, event, *forget_at, &mut transaction).await?
        {
            return Ok(Heard::Again);
        }
        let (mut changed, mut unchanged) = (0_usize, 0_usize);
        for change in &told.changes {
            let done = hear_one(change, &told.source, event.is_some(), &stamp, &moment, &mut transaction).await?;
            if done.is_some_and(|done| done.changed) {
                changed = changed.saturating_add(1);
            } else {
                unchanged = unchanged.saturating_add(1);
            }
        }
        for remark in &told.remarks {
            let line = Line { changed: false, ..Line::new(Action::Signal, remark) };
            line.write(&stamp, &mut transaction).await?;
        }
        if let Some(state) = &told.state {
            sources::write(SourceState { name: &told.source, value: state }, &mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(Heard::Taken { changed, unchanged })
    }
}

/// Forgets events that can no longer come again.
pub(super) async fn forget_events(before: Time, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM source_events WHERE forget_at < $1").bind(i64::from(before)).execute(connection).await?;
    Ok(())
}

/// Notes that an event was taken; whether it was not before.
async fn is_new(
    source: &str,
    event: &str,
    forget_at: Time,
    connection: &mut AnyConnection,
) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query(
        "INSERT INTO source_events (source, event, forget_at) VALUES ($1, $2, $3) ON CONFLICT (source, event) DO NOTHING",
    )
    .bind(source)
    .bind(event)
    .bind(i64::from(forget_at))
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() > 0)
}

/// Does what a source wishes. Where nothing changes and nobody is told by an event, the audit is spared: a directory that
/// is read anew tells of everybody again.
async fn hear_one(
    change: &Change,
    source: &str,
    told_by_event: bool,
    stamp: &Stamp,
    moment: &Moment,
    connection: &mut AnyConnection,
) -> Result<Option<Done>, ChangeFault> {
    let standing = reading::standing(&change.subject, connection).await?;
    let blocked = standing.is_some_and(|standing| standing.rule.effect() == Effect::Blocked);
    let since = standing.and_then(|standing| standing.rule.blocked_since).unwrap_or_default();
    match change.wish {
        Wish::Lift if !blocked && !told_by_event => return Ok(None),
        Wish::Lift => {
            let requests = requests(&change.subject, since, connection).await?;
            let holders = Holders::after(&requests);
            if blocked && !holders.holds(source) && !told_by_event {
                return Ok(None);
            }
            if blocked && (!holders.holds(source) || holders.others(source)) {
                let reason = format!("{}; others hold the block", change.reason);
                let line = Line { subject: Some(&change.subject), changed: false, ..Line::new(Action::Lift, &reason) };
                line.write(stamp, connection).await?;
                return Ok(None);
            }
        }
        Wish::Block | Wish::BlockUntil(_) if blocked && !told_by_event => {
            let is_news = moment.grant(change.wish, &change.subject, standing).is_some()
                || !Holders::after(&requests(&change.subject, since, connection).await?).holds(source);
            if !is_news {
                return Ok(None);
            }
        }
        Wish::NotBefore(_) if !told_by_event => {
            if moment.grant(change.wish, &change.subject, standing).is_none() {
                return Ok(None);
            }
        }
        Wish::Block | Wish::BlockUntil(_) | Wish::NotBefore(_) => {}
    }
    apply_one(change, stamp, moment, connection).await.map(Some)
}

/// What was asked about the block that a subject has had since then, the oldest first. Blocks from before have ended or
/// were forgotten, and nobody holds them any more.
async fn requests(subject: &Subject, since: Time, connection: &mut AnyConnection) -> Result<Vec<Request>, sqlx::Error> {
    // A block that follows a lift within a second begins a little later than it was asked for.
    const LEEWAY: Time = 60;
    let since = i64::from(since.saturating_sub(LEEWAY)).saturating_mul(1_000);
    let (kind, realm, name) = place(subject);
    let rows = sqlx::query(
        "SELECT actor, action, changed FROM audit WHERE realm = $1 AND name = $2 AND kind = $3 \
         AND at >= $4 AND (blocked <> 0 OR action = 'lift') ORDER BY id",
    )
    .bind(realm)
    .bind(name)
    .bind(kind)
    .bind(since)
    .fetch_all(connection)
    .await?;
    let read = |row: &AnyRow| {
        let asked = match Action::of_word(row.try_get("action")?) {
            Some(Action::Lift) => Asked::Lift,
            _ => Asked::Block,
        };
        Ok(Request { by: reading::read_actor(row)?, asked, changed: row.try_get::<i64, _>("changed")? != 0 })
    };
    rows.iter().map(read).collect()
}
