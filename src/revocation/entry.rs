//! An entry of a feed or of a configuration, and its JSON form.

use serde_json::{Map, Value};

use super::rule::{Rule, Time};
use super::subject::Subject;
use crate::jose::json::Object;

/// One subject and its rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Whom it is about.
    pub subject: Subject,
    /// What is known of them.
    pub rule: Rule,
    /// When it may be forgotten, in Unix seconds; none for never.
    pub expires: Option<Time>,
}

/// Why an object is no entry. Carries nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFault {
    /// There is neither `not_before` nor `blocked: true` nor `unblocked_at`.
    NoRule,
    /// The subject members name no single subject.
    Subject,
    /// A member has the wrong type, is empty or out of range.
    Type(&'static str),
}

/// The members that name a subject.
pub const SUBJECT_MEMBERS: [&str; 7] = ["client", "issuer", "session", "subject", "tenant", "token", "user"];

/// Longest text of a subject, in bytes. Identifiers of Entra have 36; an issuer is an address.
pub const MAX_TEXT_BYTES: usize = 2_048;

impl Entry {
    /// Reads the JSON form. Unknown members are ignored: they are remarks.
    ///
    /// # Errors
    /// What keeps it from being an entry.
    pub fn read(members: &Object) -> Result<Self, EntryFault> {
        let mut named: Vec<(&str, &str)> = Vec::with_capacity(2);
        for name in SUBJECT_MEMBERS {
            match members.get(name) {
                None => {}
                Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_TEXT_BYTES => {
                    named.push((name, text))
                }
                Some(_) => return Err(EntryFault::Type(name)),
            }
        }
        let subject = Subject::from_members(&named).ok_or(EntryFault::Subject)?;
        let not_before = time(members, "not_before")?;
        let blocked = match members.get("blocked") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(EntryFault::Type("blocked")),
        };
        let rule = Rule {
            not_before,
            blocked_since: blocked.then(|| not_before.unwrap_or(0)),
            unblocked_at: time(members, "unblocked_at")?,
        };
        if rule == Rule::default() {
            return Err(EntryFault::NoRule);
        }
        Ok(Self { subject, rule, expires: time(members, "expires")? })
    }

    /// The JSON form. A block's time is told as its `not_before`; of a rule with both, and another `not_before`, two
    /// entries tell what is known.
    #[must_use]
    pub fn to_json(&self) -> Vec<Value> {
        let Rule { not_before, blocked_since, unblocked_at } = self.rule;
        let object = |not_before: Option<Time>, blocked: bool, unblocked_at: Option<Time>| {
            let mut members = Map::new();
            members.extend(self.subject.members().into_iter().map(|(name, text)| (name.to_owned(), text.into())));
            members.extend(not_before.map(|time| ("not_before".to_owned(), time.into())));
            if blocked {
                members.insert("blocked".to_owned(), true.into());
            }
            members.extend(unblocked_at.map(|time| ("unblocked_at".to_owned(), time.into())));
            members.extend(self.expires.map(|time| ("expires".to_owned(), time.into())));
            Value::Object(members)
        };
        let since = blocked_since.filter(|since| *since > 0);
        match (blocked_since, not_before) {
            (None, _) => vec![object(not_before, false, unblocked_at)],
            (Some(_), None) => vec![object(since, true, unblocked_at)],
            (Some(_), Some(_)) if not_before == since => vec![object(since, true, unblocked_at)],
            (Some(_), Some(_)) => vec![object(since, true, unblocked_at), object(not_before, false, None)],
        }
    }
}

fn time(members: &Object, name: &'static str) -> Result<Option<Time>, EntryFault> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64().and_then(|time| Time::try_from(time).ok()) {
            Some(time) => Ok(Some(time)),
            None => Err(EntryFault::Type(name)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Entry, EntryFault> {
        Entry::read(value.as_object().unwrap())
    }

    #[test]
    fn entries_are_read() {
        let entry = read(json!({"tenant": "t", "user": "u", "not_before": 5, "expires": 9, "reason": "left"})).unwrap();
        let subject = Subject::User { tenant: "t".into(), user: "u".into() };
        assert_eq!(entry, Entry { subject, rule: Rule::not_before(5), expires: Some(9) });
        let rule = |value| read(value).map(|entry| entry.rule);
        assert_eq!(rule(json!({"tenant": "t", "blocked": true})), Ok(Rule::blocked(0)));
        let both = Rule { not_before: Some(7), ..Rule::blocked(7) };
        assert_eq!(rule(json!({"tenant": "t", "blocked": true, "not_before": 7})), Ok(both));
        let lifted = Rule { unblocked_at: Some(8), ..Rule::blocked(0) };
        assert_eq!(rule(json!({"tenant": "t", "blocked": true, "unblocked_at": 8})), Ok(lifted));
        assert_eq!(rule(json!({"tenant": "t", "blocked": false, "not_before": 1})), Ok(Rule::not_before(1)));
    }

    #[test]
    fn what_is_no_entry_is_refused_and_not_guessed_at() {
        for (value, fault) in [
            (json!({}), EntryFault::Subject),
            (json!({"user": "u", "blocked": true}), EntryFault::Subject),
            (json!({"tenant": "t", "user": "u", "client": "c", "blocked": true}), EntryFault::Subject),
            (json!({"tenant": "", "blocked": true}), EntryFault::Type("tenant")),
            (json!({"tenant": 1, "blocked": true}), EntryFault::Type("tenant")),
            (json!({"tenant": "t", "user": null, "blocked": true}), EntryFault::Type("user")),
            (json!({"tenant": "t", "user": "u".repeat(MAX_TEXT_BYTES + 1), "blocked": true}), EntryFault::Type("user")),
            (json!({"tenant": "t"}), EntryFault::NoRule),
            (json!({"tenant": "t", "blocked": false}), EntryFault::NoRule),
            (json!({"tenant": "t", "blocked": "true"}), EntryFault::Type("blocked")),
            (json!({"tenant": "t", "not_before": "5"}), EntryFault::Type("not_before")),
            (json!({"tenant": "t", "not_before": -5}), EntryFault::Type("not_before")),
            (json!({"tenant": "t", "not_before": 5.5}), EntryFault::Type("not_before")),
            // Milliseconds by mistake would revoke every token for ever.
            (json!({"tenant": "t", "not_before": 1_760_000_000_000_u64}), EntryFault::Type("not_before")),
            (json!({"tenant": "t", "blocked": true, "expires": []}), EntryFault::Type("expires")),
            (json!({"tenant": "t", "blocked": true, "unblocked_at": {}}), EntryFault::Type("unblocked_at")),
        ] {
            assert_eq!(read(value.clone()), Err(fault), "{value}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let times = [None, Some(0), Some(1), Some(7), Some(Time::MAX)];
        let subject = Subject::Pairwise { issuer: "https://i/\"\\\n".into(), subject: "ü".into() };
        for not_before in times {
            for blocked_since in times {
                for unblocked_at in times {
                    let rule = Rule { not_before, blocked_since, unblocked_at };
                    if rule == Rule::default() {
                        continue;
                    }
                    let entry = Entry { subject: subject.clone(), rule, expires: Some(9) };
                    let read_again: Vec<Entry> =
                        entry.to_json().into_iter().map(|value| read(value).unwrap()).collect();
                    let merged = read_again.iter().fold(Rule::default(), |rule, entry| rule.merge(entry.rule));
                    // A block's time is also a time before which tokens are revoked, which a block does anyway.
                    assert_eq!(merged.effect(), rule.effect(), "{rule:?}");
                    assert_eq!(merged.blocked_since, rule.blocked_since, "{rule:?}");
                    assert!(read_again.iter().all(|read| read.subject == subject && read.expires == Some(9)));
                }
            }
        }
    }
}
