//! What is revoked: one set, one rule.
//!
//! A token is revoked when any of its subjects is blocked, or when it was issued before the subject's `not_before`.
//! Entries merge by the strictest rule, in any order, any number of times.

use std::collections::HashMap;
use std::time::Duration;

/// Whom an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A client application in a tenant (`azp`, `appid`).
    Client {
        /// `tid`
        tenant: String,
        /// `azp` or `appid`
        client: String,
    },
    /// A pairwise subject of an issuer.
    Pairwise {
        /// `iss`
        issuer: String,
        /// `sub`
        subject: String,
    },
    /// A sign-in session in a tenant (`sid`).
    Session {
        /// `tid`
        tenant: String,
        /// `sid`
        session: String,
    },
    /// All tokens of a tenant.
    Tenant {
        /// `tid`
        tenant: String,
    },
    /// One token (`uti`, else `jti`).
    Token {
        /// `iss`
        issuer: String,
        /// `uti` or `jti`
        token: String,
    },
    /// A user or service principal in a tenant (`oid`).
    User {
        /// `tid`
        tenant: String,
        /// `oid`
        user: String,
    },
}

impl Subject {
    /// The word for the kind of subject.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client { .. } => "client",
            Self::Pairwise { .. } => "subject",
            Self::Session { .. } => "session",
            Self::Tenant { .. } => "tenant",
            Self::Token { .. } => "token",
            Self::User { .. } => "user",
        }
    }
}

/// From when on tokens of a subject are good again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Tokens issued earlier than this, in Unix seconds, are revoked.
    NotBefore(u64),
    /// All are. Stricter than any time, hence last.
    Blocked,
}

/// One subject and its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whom it is about.
    pub subject: Subject,
    /// What holds for them.
    pub rule: Rule,
}

/// The set.
#[derive(Default)]
pub struct Revocations {
    rules: HashMap<Subject, Rule>,
}

impl Revocations {
    /// The set of these entries.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut set = Self::default();
        for entry in entries {
            set.add(entry);
        }
        set
    }

    /// Adds an entry; the stricter rule stays.
    pub fn add(&mut self, entry: Entry) {
        let rule = self.rules.entry(entry.subject).or_insert(entry.rule);
        *rule = (*rule).max(entry.rule);
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first of the subjects that revokes a token issued at `issued_at` (Unix seconds, `iat`), which the issuer
    /// back-dates by `backdate`, and the rule for it. A token without `iat` cannot be shown to be newer: any
    /// `not_before` revokes it.
    #[must_use]
    pub fn find<'a>(
        &self,
        subjects: &'a [Subject],
        issued_at: Option<u64>,
        backdate: Duration,
    ) -> Option<(&'a Subject, Rule)> {
        let issued_at = issued_at.map_or(0, |issued_at| issued_at.saturating_add(backdate.as_secs()));
        subjects.iter().find_map(|subject| match *self.rules.get(subject)? {
            Rule::NotBefore(not_before) if issued_at >= not_before => None,
            rule => Some((subject, rule)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Subject {
        Subject::User { tenant: "t".into(), user: "u".into() }
    }

    fn tenant() -> Subject {
        Subject::Tenant { tenant: "t".into() }
    }

    const BACKDATE: Duration = Duration::from_secs(300);

    #[test]
    fn a_token_from_before_is_revoked_and_one_from_after_is_not() {
        let set = Revocations::new([Entry { subject: user(), rule: Rule::NotBefore(1_000) }]);
        for (issued_at, revoked) in [(Some(699), true), (Some(700), false), (Some(701), false), (None, true)] {
            assert_eq!(set.find(&[tenant(), user()], issued_at, BACKDATE).is_some(), revoked, "{issued_at:?}");
        }
        assert!(set.find(&[tenant()], Some(1), BACKDATE).is_none());
    }

    #[test]
    fn the_strictest_rule_stays_in_any_order() {
        let rules = [Rule::NotBefore(5), Rule::Blocked, Rule::NotBefore(9)];
        for start in 0..3 {
            let entries = (0..3).map(|at| Entry { subject: user(), rule: rules[(start + at) % 3] });
            assert!(Revocations::new(entries).find(&[user()], Some(u64::MAX), BACKDATE).is_some());
        }
        let newer_tenant = Revocations::new([
            Entry { subject: tenant(), rule: Rule::NotBefore(10_000) },
            Entry { subject: user(), rule: Rule::NotBefore(1) },
        ]);
        assert_eq!(
            newer_tenant.find(&[user(), tenant()], Some(5_000), BACKDATE),
            Some((&tenant(), Rule::NotBefore(10_000)))
        );
    }
}
