//! The set.

use std::collections::HashMap;
use std::time::Duration;

use super::entry::Entry;
use super::rule::Rule;
use super::subject::Subject;

/// What is revoked.
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
        let rule = self.rules.entry(entry.subject).or_default();
        *rule = rule.merge(entry.rule);
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first of the subjects that revokes a token issued at `issued_at` (Unix seconds, `iat`), which the issuer
    /// back-dates by `backdate`. A token without `iat` cannot be shown to be newer: any `not_before` revokes it.
    #[must_use]
    pub fn find<'a>(&self, subjects: &'a [Subject], issued_at: Option<u64>, backdate: Duration) -> Option<&'a Subject> {
        let issued_at = issued_at.map_or(0, |issued_at| issued_at.saturating_add(backdate.as_secs()));
        subjects.iter().find(|subject| self.rules.get(subject).is_some_and(|rule| rule.effect().revokes(issued_at)))
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

    fn entry(subject: Subject, rule: Rule) -> Entry {
        Entry { subject, rule, expires: None }
    }

    const BACKDATE: Duration = Duration::from_secs(300);

    #[test]
    fn a_token_from_before_is_revoked_and_one_from_after_is_not() {
        let set = Revocations::new([entry(user(), Rule::not_before(1_000))]);
        for (issued_at, revoked) in [(Some(699), true), (Some(700), false), (Some(701), false), (None, true)] {
            assert_eq!(set.find(&[tenant(), user()], issued_at, BACKDATE).is_some(), revoked, "{issued_at:?}");
        }
        assert!(set.find(&[tenant()], Some(1), BACKDATE).is_none());
    }

    #[test]
    fn the_strictest_rule_stays_in_any_order() {
        let rules = [Rule::not_before(5), Rule::blocked(0), Rule::not_before(9)];
        for start in 0..3 {
            let entries = (0..3).map(|at| entry(user(), rules[(start + at) % 3]));
            assert!(Revocations::new(entries).find(&[user()], Some(u64::MAX), BACKDATE).is_some());
        }
        let newer_tenant =
            Revocations::new([entry(tenant(), Rule::not_before(10_000)), entry(user(), Rule::not_before(1))]);
        assert_eq!(newer_tenant.find(&[user(), tenant()], Some(5_000), BACKDATE), Some(&tenant()));
    }
}
