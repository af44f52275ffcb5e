//! Reading what holds, what happened, and what the feed has to tell.

use entra_gate::revocation::{Entry, Rule, Subject};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments as _, Row as _};

use super::{Store, safe};
use crate::documents::{Action, Actor, Event, Members, Revocation, Selection};
use crate::service::standing::{Standing, Time};

/// How many rows are read at a time.
const BATCH: u32 = 10_000;

/// How far the feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last change.
    pub(crate) sequence: u64,
    /// Whoever has seen less needs a snapshot.
    pub(crate) complete_from: u64,
}

/// What holds for a subject, and who said so last.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Whom.
    pub(crate) subject: Subject,
    /// What.
    pub(crate) standing: Standing,
    /// Where the last change is in the feed.
    pub(crate) sequence: u64,
    /// When it was; Unix milliseconds.
    pub(crate) at: u64,
    /// Who.
    pub(crate) by: Actor,
    /// Why.
    pub(crate) reason: String,
}

/// Which subjects are asked for: those that have all of these.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    realm: Option<String>,
    kind: Option<&'static str>,
    name: Option<String>,
}

impl Filter {
    /// The filter of a selection; none if no subject can have all of its members.
    pub(crate) fn of(selection: &Selection) -> Option<Self> {
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_ascii_lowercase());
        let Selection { tenant, user, session, client, issuer, token, subject, .. } = selection;
        let realm = match (tenant, issuer) {
            (Some(_), Some(_)) => return None,
            (Some(_), None) => lower(tenant),
            (None, issuer) => issuer.clone(),
        };
        let named = [
            ("user", lower(user)),
            ("session", session.clone()),
            ("client", lower(client)),
            ("token", token.clone()),
            ("subject", subject.clone()),
        ];
        let mut named = named.into_iter().filter_map(|(kind, name)| Some((kind, name?)));
        let (kind, name) = named.next().unzip();
        named.next().is_none().then_some(Self { realm, kind, name })
    }

    fn restrict(&self, query: &mut Query, table: &str) -> Result<(), sqlx::Error> {
        for (column, value) in [("realm", self.realm.as_deref()), ("kind", self.kind), ("name", self.name.as_deref())] {
            if let Some(value) = value {
                query.text(value, &format!(" AND {table}.{column} = "))?;
            }
        }
        Ok(())
    }
}

/// A query that is put together. sqlx's own builder does not number the places, as PostgreSQL wants it.
struct Query {
    sql: String,
    arguments: AnyArguments,
}

impl Query {
    fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), arguments: AnyArguments::default() }
    }

    /// A condition that ends in a text.
    fn text(&mut self, value: &str, condition: &str) -> Result<(), sqlx::Error> {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        self.place(condition);
        Ok(())
    }

    /// A condition that ends in a number.
    fn number(&mut self, value: i64, condition: &str) -> Result<(), sqlx::Error> {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        self.place(condition);
        Ok(())
    }

    fn place(&mut self, condition: &str) {
        self.sql.push_str(condition);
        self.sql.push('$');
        self.sql.push_str(&self.arguments.len().to_string());
    }

    async fn fetch(self, store: &Store) -> Result<Vec<AnyRow>, sqlx::Error> {
        sqlx::query_with(safe(self.sql), self.arguments).fetch_all(&store.readers).await
    }
}

impl Store {
    /// How far the feed is.
    pub(crate) async fn head(&self) -> Result<Head, sqlx::Error> {
        head(&mut *self.readers.acquire().await?).await
    }

    /// How many revocations are held.
    pub(crate) async fn count(&self) -> Result<u64, sqlx::Error> {
        held(&mut *self.readers.acquire().await?).await
    }

    /// What changed after a place in the feed, and how far the feed is; the newest changes are left out beyond `most`.
    pub(crate) async fn changed_after(&self, since: u64, most: u32) -> Result<(Head, Vec<(u64, Entry)>), sqlx::Error> {
        // Both from one state of the database.
        let mut transaction = self.read().await?;
        let head = head(&mut transaction).await?;
        let rows = sqlx::query(
            "SELECT kind, realm, name, not_before, blocked_since, unblocked_at, expires, sequence FROM revocations \
             WHERE sequence > $1 ORDER BY sequence LIMIT $2",
        )
        .bind(signed(since))
        .bind(i64::from(most))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let entries = rows.iter().map(|row| {
            let Standing { rule, expires } = read_standing(row)?;
            Ok((unsigned(row, "sequence")?, Entry { subject: read_subject(row)?, rule, expires }))
        });
        Ok((head, entries.collect::<Result<_, sqlx::Error>>()?))
    }

    /// Everything that changed after a place in the feed, and the place that this leads to.
    pub(crate) async fn after(&self, mut since: u64) -> Result<(u64, Vec<Entry>), sqlx::Error> {
        let mut entries = Vec::new();
        loop {
            let (head, batch) = self.changed_after(since, BATCH).await?;
            let full = batch.len() >= BATCH as usize;
            since = batch.last().map_or(since, |(sequence, _)| *sequence);
            entries.extend(batch.into_iter().map(|(_, entry)| entry));
            // What changed after it was read has moved to the end, and comes again.
            if !full {
                return Ok((head.sequence, entries));
            }
        }
    }

    /// What holds for some, the latest changes first.
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        before: Option<u64>,
        now: Time,
        most: u32,
    ) -> Result<Vec<Known>, sqlx::Error> {
        let mut query = Query::new(KNOWN);
        query.number(i64::from(now), " WHERE coalesce(r.expires, 4294967296) > ")?;
        filter.restrict(&mut query, "r")?;
        if let Some(before) = before {
            query.number(signed(before), " AND r.sequence < ")?;
        }
        query.number(i64::from(most), " ORDER BY r.sequence DESC LIMIT ")?;
        query.fetch(self).await?.iter().map(read_known).collect()
    }

    /// What happened, the latest first.
    pub(crate) async fn history(
        &self,
        filter: &Filter,
        before: Option<u64>,
        most: u32,
    ) -> Result<Vec<Event>, sqlx::Error> {
        let mut query = Query::new("SELECT * FROM audit AS a WHERE true");
        filter.restrict(&mut query, "a")?;
        if let Some(before) = before {
            query.number(signed(before), " AND a.id < ")?;
        }
        query.number(i64::from(most), " ORDER BY a.id DESC LIMIT ")?;
        query.fetch(self).await?.iter().map(read_event).collect()
    }
}

/// Who changed it last is where the audit has the same place in the sequence.
const KNOWN: &str = "SELECT r.kind, r.realm, r.name, r.not_before, r.blocked_since, r.unblocked_at, r.expires, \
     r.sequence, a.at, a.actor, a.reason FROM revocations AS r JOIN audit AS a ON a.sequence = r.sequence";

async fn head(connection: &mut AnyConnection) -> Result<Head, sqlx::Error> {
    let row = sqlx::query("SELECT sequence, complete_from FROM feed").fetch_one(connection).await?;
    Ok(Head { sequence: unsigned(&row, 0)?, complete_from: unsigned(&row, 1)? })
}

/// How many revocations are held.
pub(super) async fn held(connection: &mut AnyConnection) -> Result<u64, sqlx::Error> {
    unsigned(&sqlx::query("SELECT held FROM feed").fetch_one(connection).await?, 0)
}

/// What holds for a subject.
pub(super) async fn standing(
    subject: &Subject,
    connection: &mut AnyConnection,
) -> Result<Option<Standing>, sqlx::Error> {
    let (kind, realm, name) = place(subject);
    let row = sqlx::query(
        "SELECT not_before, blocked_since, unblocked_at, expires FROM revocations \
         WHERE kind = $1 AND realm = $2 AND name = $3",
    )
    .bind(kind)
    .bind(realm)
    .bind(name)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_standing).transpose()
}

/// What holds for a subject, and who said so last.
pub(super) async fn known(subject: &Subject, connection: &mut AnyConnection) -> Result<Option<Known>, sqlx::Error> {
    let (kind, realm, name) = place(subject);
    let query = sqlx::query(safe(format!("{KNOWN} WHERE r.kind = $1 AND r.realm = $2 AND r.name = $3")));
    query.bind(kind).bind(realm).bind(name).fetch_optional(connection).await?.as_ref().map(read_known).transpose()
}

/// Where a subject is kept: its kind, its tenant or issuer, its name in it.
pub(super) fn place(subject: &Subject) -> (&'static str, String, String) {
    let members = subject.members();
    let text = |at: usize| members.get(at).map(|(_, text)| (*text).to_owned()).unwrap_or_default();
    (subject.kind(), text(0), text(1))
}

fn read_subject(row: &AnyRow) -> Result<Subject, sqlx::Error> {
    let (kind, realm, name): (&str, &str, &str) = (row.try_get("kind")?, row.try_get("realm")?, row.try_get("name")?);
    let subject = match kind {
        "tenant" => Subject::from_members(&[("tenant", realm)]),
        "client" | "session" | "user" => Subject::from_members(&[("tenant", realm), (kind, name)]),
        _ => Subject::from_members(&[("issuer", realm), (kind, name)]),
    };
    subject.ok_or_else(|| wrong("kind"))
}

fn read_standing(row: &AnyRow) -> Result<Standing, sqlx::Error> {
    let rule = Rule {
        not_before: time(row, "not_before")?,
        blocked_since: time(row, "blocked_since")?,
        unblocked_at: time(row, "unblocked_at")?,
    };
    Ok(Standing { rule, expires: time(row, "expires")? })
}

fn read_known(row: &AnyRow) -> Result<Known, sqlx::Error> {
    Ok(Known {
        subject: read_subject(row)?,
        standing: read_standing(row)?,
        sequence: unsigned(row, "sequence")?,
        at: unsigned(row, "at")?,
        by: read_actor(row)?,
        reason: row.try_get("reason")?,
    })
}

fn read_event(row: &AnyRow) -> Result<Event, sqlx::Error> {
    let kind: Option<&str> = row.try_get("kind")?;
    let members = match kind {
        None => Members::default(),
        Some(_) => Members::of(&read_subject(row)?),
    };
    let sequence: Option<i64> = row.try_get("sequence")?;
    Ok(Event {
        id: unsigned(row, "id")?,
        at: unsigned(row, "at")?,
        by: read_actor(row)?,
        action: Action::of_word(row.try_get("action")?).ok_or_else(|| wrong("action"))?,
        members,
        key: row.try_get("key")?,
        not_before: time(row, "not_before")?.map(u64::from),
        blocked: unsigned(row, "blocked")? != 0,
        reason: row.try_get("reason")?,
        changed: unsigned(row, "changed")? != 0,
        sequence: sequence.map(|sequence| u64::try_from(sequence).unwrap_or(0)),
        request_id: row.try_get("request_id")?,
    })
}

pub(super) fn read_actor(row: &AnyRow) -> Result<Actor, sqlx::Error> {
    serde_json::from_str(row.try_get("actor")?).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn time(row: &AnyRow, column: &str) -> Result<Option<Time>, sqlx::Error> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| Time::try_from(value).map_err(|error| sqlx::Error::Decode(error.into()))).transpose()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned<I: sqlx::ColumnIndex<AnyRow> + std::fmt::Debug>(
    row: &AnyRow,
    column: I,
) -> Result<u64, sqlx::Error> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A row that this program never wrote.
fn wrong(column: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{column} holds what this program does not know").into())
}

impl From<Known> for Revocation {
    fn from(known: Known) -> Self {
        let Standing { rule, expires } = known.standing;
        let blocked = rule.effect() == entra_gate::revocation::Effect::Blocked;
        Self {
            members: Members::of(&known.subject),
            not_before: rule.not_before.map(u64::from),
            blocked,
            unblocked_at: rule.unblocked_at.filter(|_| !blocked).map(u64::from),
            expires: expires.map(u64::from),
            sequence: known.sequence,
            changed_at: known.at / 1_000,
            by: known.by,
            reason: known.reason,
        }
    }
}
