//! The set: what the configuration revokes, and what the feed does.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use super::base::Base;
use super::entry::Entry;
use super::fingerprint::{Fingerprint, HashKey};
use super::known::Known;
use super::packed::Record;
use super::rule::Effect;
use super::subject::Subject;

/// What is revoked.
#[derive(Default)]
pub struct Revocations {
    /// Of the configuration, by canonical form.
    fixed: HashMap<Box<[u8]>, Known>,
    /// Of the feed.
    pub fed: Fed,
    /// Where canonical forms are written, so that no request needs new room for them.
    room: Cell<Vec<u8>>,
}

/// What the feed told. Recent entries are kept apart: they say all that is known of their subjects, so that what the base
/// says of those no longer matters.
#[derive(Default)]
pub struct Fed {
    /// The key of the fingerprints.
    pub key: HashKey,
    base: Base,
    recent: HashMap<Fingerprint, Known>,
    /// What will be recent once the base that is being loaded is complete.
    prepared: HashMap<Fingerprint, Known>,
    /// Whether the feed was ever loaded, and when it was last known to be current, in milliseconds since the epoch.
    pub confirmed_at: Option<u64>,
    /// Which state of the feed is held.
    pub sequence: u64,
}

impl Revocations {
    /// The set of these entries of the configuration, before anything was fed.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut set = Self::default();
        for entry in entries {
            let mut canonical = Vec::new();
            entry.subject.canonical(&mut canonical);
            let known = Known::from(&entry);
            set.fixed.entry(canonical.into()).and_modify(|other| *other = other.merge(known)).or_insert(known);
        }
        set
    }

    /// The strictest of the subjects' rules that revokes a token issued at `issued_at` (Unix seconds, `iat`), which the
    /// issuer back-dates by `backdate`. A token without `iat` cannot be shown to be newer: any `not_before` revokes it.
    #[must_use]
    pub fn find<'a>(
        &self,
        subjects: &'a [Subject],
        issued_at: Option<u64>,
        backdate: Duration,
        now: u64,
    ) -> Option<(&'a Subject, Effect)> {
        if self.fixed.is_empty() && self.fed.is_empty() {
            return None;
        }
        let issued_at = issued_at.map_or(0, |issued_at| issued_at.saturating_add(backdate.as_secs()));
        let mut room = self.room.take();
        let mut strictest: Option<(&Subject, Effect)> = None;
        for subject in subjects {
            room.clear();
            subject.canonical(&mut room);
            let fixed = if self.fixed.is_empty() { None } else { self.fixed.get(room.as_slice()).copied() };
            let known = [fixed, self.fed.get(self.fed.key.fingerprint_of(&room))].into_iter().flatten();
            // Effects, not rules: the feed does not lift what stands in the configuration.
            let effects = known.filter(|known| !known.is_over(now)).map(|known| known.rule.effect());
            if let Some(effect) = effects.max().filter(|effect| effect.revokes(issued_at))
                && strictest.is_none_or(|(_, other)| effect > other)
            {
                strictest = Some((subject, effect));
            }
        }
        self.room.set(room);
        strictest
    }
}

impl Fed {
    /// Nothing yet, under this key.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self { key, ..Self::default() }
    }

    /// All that is known of a fingerprint.
    #[must_use]
    pub fn get(&self, fingerprint: Fingerprint) -> Option<Known> {
        self.recent.get(&fingerprint).copied().or_else(|| self.base.get(fingerprint).map(Known::from))
    }

    /// Adds what was told of a fingerprint.
    pub fn add(&mut self, fingerprint: Fingerprint, told: Known, now: u64) {
        let known = told.merge_at(self.get(fingerprint), now);
        self.recent.insert(fingerprint, known);
    }

    /// The base.
    #[must_use]
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// What came since the base.
    #[must_use]
    pub fn recent(&self) -> &HashMap<Fingerprint, Known> {
        &self.recent
    }

    /// Puts records of a new base in the place of a range of the old one.
    pub fn replace(&mut self, first: Fingerprint, last: Fingerprint, records: &[Record]) {
        self.base.replace(first, last, records);
    }

    /// Begins to load another base under this key. One under the same key takes the old one's place bit by bit.
    pub fn begin(&mut self, key: HashKey) {
        if self.key != key {
            *self = Self { confirmed_at: self.confirmed_at, sequence: self.sequence, ..Self::new(key) };
        }
        self.prepared = HashMap::new();
    }

    /// Adds what was told since the base that is being loaded, which must be there by now.
    pub fn prepare(&mut self, fingerprint: Fingerprint, told: Known, now: u64) {
        let before = self.prepared.get(&fingerprint).copied();
        let before = before.or_else(|| self.base.get(fingerprint).map(Known::from));
        self.prepared.insert(fingerprint, told.merge_at(before, now));
    }

    /// Puts what was prepared in the place of what came since the base before.
    pub fn complete(&mut self) {
        self.recent = std::mem::take(&mut self.prepared);
    }

    /// How long ago it was known to be current, at a time in milliseconds since the epoch; none before it was loaded.
    #[must_use]
    pub fn age(&self, now: u64) -> Option<Duration> {
        self.confirmed_at.map(|confirmed_at| Duration::from_millis(now.saturating_sub(confirmed_at)))
    }

    /// How many entries are held. One of the base that came again since is counted twice until the next base.
    #[must_use]
    pub fn len(&self) -> usize {
        self.base.len().saturating_add(self.recent.len())
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::Rule;

    fn user() -> Subject {
        Subject::User { tenant: "t".into(), user: "u".into() }
    }

    fn tenant() -> Subject {
        Subject::Tenant { tenant: "t".into() }
    }

    fn entry(subject: Subject, rule: Rule) -> Entry {
        Entry { subject, rule, expires: None }
    }

    fn fed(entries: &[Entry], now: u64) -> Revocations {
        let mut set = Revocations::default();
        let key = set.fed.key;
        for entry in entries {
            set.fed.add(key.fingerprint(&entry.subject, &mut Vec::new()), Known::from(entry), now);
        }
        set
    }

    const BACKDATE: Duration = Duration::from_secs(300);

    #[test]
    fn a_token_from_before_is_revoked_and_one_from_after_is_not() {
        let entries = [entry(user(), Rule::not_before(1_000))];
        for set in [Revocations::new(entries.clone()), fed(&entries, 0)] {
            for (issued_at, revoked) in [(Some(699), true), (Some(700), false), (Some(701), false), (None, true)] {
                let (subjects, expected) = ([tenant(), user()], Effect::NotBefore(1_000));
                let found = set.find(&subjects, issued_at, BACKDATE, 0);
                assert_eq!(found, revoked.then_some((&subjects[1], expected)), "{issued_at:?}");
            }
            assert!(set.find(&[tenant()], Some(1), BACKDATE, 0).is_none());
        }
    }

    #[test]
    fn the_strictest_rule_stays_in_any_order() {
        let rules = [Rule::not_before(5), Rule::blocked(0), Rule::not_before(9)];
        for start in 0..3 {
            let entries: Vec<Entry> = (0..3).map(|at| entry(user(), rules[(start + at) % 3])).collect();
            for set in [Revocations::new(entries.clone()), fed(&entries, 0)] {
                assert!(set.find(&[user()], Some(u64::MAX), BACKDATE, 0).is_some());
            }
        }
    }

    #[test]
    fn the_strictest_subject_is_told() {
        let set = Revocations::new([entry(tenant(), Rule::not_before(10_000)), entry(user(), Rule::not_before(9_000))]);
        let found = |issued_at| {
            let subjects = [user(), tenant()];
            set.find(&subjects, Some(issued_at), BACKDATE, 0).map(|(subject, effect)| (subject.kind(), effect))
        };
        assert_eq!(found(5_000), Some(("tenant", Effect::NotBefore(10_000))));
        assert_eq!(found(9_699), Some(("tenant", Effect::NotBefore(10_000))));
        assert_eq!(found(9_700), None);
    }

    #[test]
    fn the_feed_does_not_lift_what_stands_in_the_configuration() {
        let lifted = Rule { unblocked_at: Some(20), ..Rule::blocked(0) };
        let mut set = fed(&[entry(user(), lifted)], 0);
        assert!(set.find(&[user()], Some(100), BACKDATE, 0).is_none());
        set.fixed = Revocations::new([entry(user(), Rule::blocked(0))]).fixed;
        assert_eq!(set.find(&[user()], Some(100), BACKDATE, 0).map(|(_, effect)| effect), Some(Effect::Blocked));
    }

    #[test]
    fn entries_are_forgotten_in_time() {
        let expiring = |rule, expires| Entry { expires: Some(expires), ..entry(user(), rule) };
        let entries = [expiring(Rule::blocked(0), 100)];
        for set in [Revocations::new(entries.clone()), fed(&entries, 0)] {
            for (now, revoked) in [(99, true), (100, false), (101, false)] {
                assert_eq!(set.find(&[user()], Some(50), BACKDATE, now).is_some(), revoked, "{now}");
            }
        }
        // A block that is over is not revived by what comes later.
        let mut set = fed(&entries, 0);
        let later = Known { rule: Rule::not_before(500), expires: Some(1_000) };
        set.fed.add(set.fed.key.fingerprint(&user(), &mut Vec::new()), later, 100);
        assert!(set.find(&[user()], Some(200), BACKDATE, 100).is_none());
        assert!(set.find(&[user()], Some(199), BACKDATE, 100).is_some());
    }

    #[test]
    fn recent_entries_hide_the_base_until_there_is_another() {
        let (mut set, user) = (Revocations::default(), user());
        let fingerprint = set.fed.key.fingerprint(&user, &mut Vec::new());
        let block = Known { rule: Rule::blocked(0), expires: Some(1_000) };
        set.fed.replace(0, u64::MAX, &[block.record(fingerprint).unwrap()]);
        let subjects = [user];
        let revoked = |set: &Revocations, now| set.find(&subjects, Some(90_000), BACKDATE, now).is_some();
        assert!(revoked(&set, 0));
        let lift = Known { rule: Rule { unblocked_at: Some(50), ..Rule::default() }, expires: Some(60) };
        set.fed.add(fingerprint, lift, 0);
        assert!(!revoked(&set, 0));
        // The lift lives as long as the block that it lifts.
        assert!(!revoked(&set, 61));
        // Another base says something else.
        set.fed.begin(set.fed.key);
        assert!(!revoked(&set, 0));
        set.fed.complete();
        assert!(revoked(&set, 0));
        set.fed.begin(set.fed.key);
        set.fed.prepare(fingerprint, lift, 0);
        assert!(revoked(&set, 0));
        set.fed.complete();
        assert!(!revoked(&set, 0));
    }
}
