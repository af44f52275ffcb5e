//! The audit: written with every change, never rewritten. The database's own triggers see to that.

use entra_gate::revocation::Subject;
use sqlx::AnyConnection;

use super::reading::place;
use crate::documents::{Action, Actor};

/// Who asks, when, and by which request.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// Unix milliseconds.
    pub(crate) at: u64,
    /// Who.
    pub(crate) by: Actor,
    /// The `x-request-id`.
    pub(crate) request_id: String,
}

impl Stamp {
    /// Unix seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.at / 1_000
    }
}

/// A line of the audit, but for its stamp.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    /// What was done.
    pub(crate) action: Action,
    /// To whom.
    pub(crate) subject: Option<&'a Subject>,
    /// To which signing key.
    pub(crate) key: Option<&'a str>,
    /// What was asked for.
    pub(crate) not_before: Option<u32>,
    /// Whether a block was asked for.
    pub(crate) blocked: bool,
    /// Why.
    pub(crate) reason: &'a str,
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// Where the change is in the feed.
    pub(crate) sequence: Option<i64>,
}

impl Line<'_> {
    /// A line about nobody.
    pub(crate) fn new(action: Action, reason: &str) -> Line<'_> {
        let (subject, key, not_before, sequence) = (None, None, None, None);
        Line { action, subject, key, not_before, blocked: false, reason, changed: true, sequence }
    }

    /// Writes it.
    pub(super) async fn write(&self, stamp: &Stamp, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        let (kind, realm, name) = match self.subject.map(place) {
            Some((kind, realm, name)) => (Some(kind), Some(realm), Some(name)),
            None => (None, None, None),
        };
        sqlx::query(
            "INSERT INTO audit (at, actor, action, kind, realm, name, key, not_before, blocked, reason, changed, \
             sequence, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(i64::try_from(stamp.at).unwrap_or(i64::MAX))
        .bind(serde_json::to_string(&stamp.by).map_err(|error| sqlx::Error::Encode(error.into()))?)
        .bind(self.action.word())
        .bind(kind)
        .bind(realm)
        .bind(name)
        .bind(self.key)
        .bind(self.not_before.map(i64::from))
        .bind(i64::from(self.blocked))
        .bind(self.reason)
        .bind(i64::from(self.changed))
        .bind(self.sequence)
        .bind(stamp.request_id.as_str())
        .execute(connection)
        .await?;
        Ok(())
    }
}

impl Action {
    const ALL: [Self; 6] = [Self::KeyAdd, Self::KeyRetire, Self::Lift, Self::Revoke, Self::Sequence, Self::Signal];

    /// The word in the audit and in the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::KeyAdd => "key_add",
            Self::KeyRetire => "key_retire",
            Self::Lift => "lift",
            Self::Revoke => "revoke",
            Self::Sequence => "sequence",
            Self::Signal => "signal",
        }
    }

    /// The action of a word.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }
}
