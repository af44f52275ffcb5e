use std::time::Duration;

use entra_gate::revocation::{Effect, Subject};

use super::changes::Done;
use super::*;
use crate::documents::{Action, Actor, Members, Selection};
use crate::service::standing::{Lifetimes, Wish};

const NOW: u64 = 1_760_000_000;
const LIFETIMES: Lifetimes =
    Lifetimes { token: Duration::from_secs(86_400), session: Duration::from_secs(90 * 86_400) };
const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";

async fn store() -> (tempfile::TempDir, Store) {
    let place = tempfile::tempdir().unwrap();
    let store = open(&place).await;
    (place, store)
}

async fn open(place: &tempfile::TempDir) -> Store {
    Store::open(&Address::File(place.path().join("revocations.db"))).await.unwrap()
}

fn stamp(at: u64) -> Stamp {
    Stamp { at: at * 1_000, by: Actor::Bootstrap, request_id: "r".to_owned() }
}

fn user(number: u32) -> Subject {
    Subject::User { tenant: TENANT.into(), user: format!("{number:08x}-0000-4000-8000-000000000000") }
}

fn change(subject: Subject, wish: Wish) -> Change {
    Change { subject, wish, reason: "why".to_owned() }
}

const THEN: Wish = Wish::NotBefore(1_760_000_001);

async fn apply(store: &Store, subject: Subject, wish: Wish, at: u64) -> Done {
    store.apply(&[change(subject, wish)], &stamp(at), LIFETIMES).await.unwrap().remove(0)
}

#[tokio::test]
async fn changes_take_their_place_in_the_sequence_and_survive_reopening() {
    let (place, store) = store().await;
    assert_eq!(store.head().await.unwrap(), Head { sequence: 0, complete_from: 0 });
    for number in 1..=3 {
        let done = apply(&store, user(number), THEN, NOW).await;
        assert!(done.changed);
        assert_eq!(done.known.unwrap().sequence, u64::from(number));
    }
    store.close().await;
    let store = open(&place).await;
    let (head, entries) = store.changed_after(1, 10).await.unwrap();
    assert_eq!(head.sequence, 3);
    let told: Vec<(u64, Subject)> = entries.into_iter().map(|(sequence, entry)| (sequence, entry.subject)).collect();
    assert_eq!(told, [(2, user(2)), (3, user(3))]);
}

#[tokio::test]
async fn what_is_revoked_already_keeps_its_place_but_is_audited() {
    let (_place, store) = store().await;
    apply(&store, user(1), THEN, NOW).await;
    let again = apply(&store, user(1), THEN, NOW).await;
    assert!(!again.changed);
    assert_eq!(again.known.unwrap().sequence, 1);
    assert_eq!(store.head().await.unwrap().sequence, 1);
    let events = store.history(&Filter::default(), None, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.id, event.changed, event.sequence)).collect();
    assert_eq!(told, [(2, false, None), (1, true, Some(1))]);
}

#[tokio::test]
async fn several_changes_are_one_or_none() {
    let (_place, store) = store().await;
    let both = [change(user(1), THEN), change(user(2), Wish::Block), change(user(1), Wish::Block)];
    let done = store.apply(&both, &stamp(NOW), LIFETIMES).await.unwrap();
    let places: Vec<u64> = done.into_iter().map(|done| done.known.unwrap().sequence).collect();
    assert_eq!(places, [1, 2, 3]);
    let (_, entries) = store.changed_after(0, 10).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|(_, entry)| entry.rule.effect() == Effect::Blocked));
}

#[tokio::test]
async fn the_audit_and_the_sequence_cannot_be_rewritten() {
    let (_place, store) = store().await;
    apply(&store, user(1), THEN, NOW).await;
    for statement in [
        "UPDATE audit SET reason = 'other'",
        "DELETE FROM audit",
        "REPLACE INTO audit SELECT * FROM audit LIMIT 1",
        "INSERT OR REPLACE INTO audit (at, actor, action, blocked, reason, changed, sequence, request_id) \
         SELECT at, actor, action, blocked, 'other', changed, sequence, request_id FROM audit WHERE sequence > 0",
        "REPLACE INTO feed VALUES (1, 0, 0, 0)",
        "UPDATE feed SET sequence = 0",
        "DELETE FROM feed",
        "INSERT INTO feed VALUES (2, 0, 0, 0)",
    ] {
        assert!(sqlx::query(statement).execute(&store.writer).await.is_err(), "{statement}");
    }
    assert_eq!(store.history(&Filter::default(), None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn subjects_come_back_as_they_went() {
    let (_place, store) = store().await;
    let (tenant, issuer) = (TENANT.to_owned(), "https://i/\"'%;".to_owned());
    let subjects = [
        Subject::Tenant { tenant: tenant.clone() },
        Subject::Client { tenant: tenant.clone(), client: "c".into() },
        Subject::Session { tenant: tenant.clone(), session: "S".into() },
        Subject::User { tenant, user: "u".into() },
        Subject::Token { issuer: issuer.clone(), token: "t".into() },
        Subject::Pairwise { issuer, subject: "t".into() },
    ];
    for subject in &subjects {
        apply(&store, subject.clone(), Wish::Block, NOW).await;
    }
    let (_, entries) = store.changed_after(0, 10).await.unwrap();
    assert!(entries.iter().map(|(_, entry)| &entry.subject).eq(&subjects));
    for subject in &subjects {
        let Members { tenant, user, session, client, issuer, token, subject: sub } = Members::of(subject);
        let selection =
            Selection { tenant, user, session, client, issuer, token, subject: sub, ..Selection::default() };
        let filter = Filter::of(&selection).unwrap();
        let held = store.list(&filter, None, 1_760_000_000, 10).await.unwrap();
        assert!(held.iter().any(|known| known.subject == *subject), "{subject:?}");
        let only_it = matches!(subject, Subject::Tenant { .. }) || held.len() == 1;
        assert!(only_it, "{subject:?}");
    }
}

#[tokio::test]
async fn what_has_expired_is_forgotten_after_a_grace() {
    let (_place, store) = store().await;
    let done = apply(&store, user(1), THEN, NOW).await;
    let expires = done.known.unwrap().standing.expires.unwrap();
    apply(&store, user(2), Wish::Block, NOW).await;
    assert_eq!(store.list(&Filter::default(), None, expires - 1, 10).await.unwrap().len(), 2);
    assert_eq!(store.list(&Filter::default(), None, expires, 10).await.unwrap().len(), 1);
    assert_eq!(store.forget_expired(expires + 3_600).await.unwrap(), 0);
    assert_eq!(store.forget_expired(expires + 3_601).await.unwrap(), 1);
    assert_eq!(store.count().await.unwrap(), 1);
    // Who saw the first change forgets it alone: nobody needs a snapshot.
    assert_eq!(store.head().await.unwrap(), Head { sequence: 2, complete_from: 0 });
}

#[tokio::test]
async fn whoever_missed_a_forgotten_lift_needs_a_snapshot() {
    let (_place, store) = store().await;
    apply(&store, user(1), Wish::Block, NOW).await;
    let lifted = apply(&store, user(1), Wish::Lift, NOW).await;
    apply(&store, user(2), Wish::Block, NOW).await;
    let expires = lifted.known.unwrap().standing.expires.unwrap();
    store.forget_expired(expires + 3_601).await.unwrap();
    assert_eq!(store.head().await.unwrap(), Head { sequence: 3, complete_from: 2 });
}

#[tokio::test]
async fn a_restored_database_moves_on_and_asks_for_snapshots() {
    let (_place, store) = store().await;
    apply(&store, user(1), THEN, NOW).await;
    assert!(store.advance(100, &stamp(NOW)).await.unwrap());
    assert!(!store.advance(50, &stamp(NOW)).await.unwrap());
    assert_eq!(store.head().await.unwrap(), Head { sequence: 100, complete_from: 100 });
    assert_eq!(apply(&store, user(2), THEN, NOW).await.known.unwrap().sequence, 101);
    let events = store.history(&Filter::default(), None, 10).await.unwrap();
    assert_eq!(events[1].action, Action::Sequence);
}

#[tokio::test]
async fn a_full_database_takes_no_further_subject_but_every_change_of_those_it_has() {
    let (_place, store) = store().await;
    apply(&store, user(1), THEN, NOW).await;
    apply(&store, user(2), Wish::Block, NOW).await;
    assert_eq!(store.count().await.unwrap(), 2);
    let full = i64::try_from(MOST_HELD).unwrap();
    sqlx::query("UPDATE feed SET held = $1").bind(full).execute(&store.writer).await.unwrap();
    let refused = store.apply(&[change(user(3), THEN)], &stamp(NOW), LIFETIMES).await;
    assert!(matches!(refused, Err(ChangeFault::Full)));
    assert!(apply(&store, user(1), Wish::Block, NOW).await.changed);
    assert!(apply(&store, user(2), Wish::Lift, NOW).await.changed);
    assert_eq!(store.history(&Filter::default(), None, 10).await.unwrap().len(), 4);
    assert_eq!(store.head().await.unwrap().sequence, 4);
}

#[tokio::test]
async fn the_database_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, store) = store().await;
    apply(&store, user(1), THEN, NOW).await;
    for entry in place.path().read_dir().unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let (_place, store) = store().await;
    for number in 0..5 {
        apply(&store, user(number), THEN, NOW).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.list(&Filter::default(), before, 1_760_000_000, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.sequence);
        seen.extend(page.into_iter().map(|known| known.sequence));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let older = store.history(&Filter::default(), Some(3), 10).await.unwrap();
    assert_eq!(older.iter().map(|event| event.id).collect::<Vec<_>>(), [2, 1]);
}

fn told(source: &str, event: Option<&str>, changes: Vec<Change>) -> Told {
    let event = event.map(|event| (event.to_owned(), 1_760_000_100));
    Told { source: source.to_owned(), event, changes, ..Told::default() }
}

async fn hear(store: &Store, told: &Told, at: u64) -> Heard {
    store.hear(told, at * 1_000, LIFETIMES).await.unwrap()
}

#[tokio::test]
async fn an_event_is_taken_once_with_its_state_and_its_remarks() {
    let (place, store) = store().await;
    let event = Told {
        remarks: vec!["unmapped".to_owned()],
        state: Some("{\"a\":1}".to_owned()),
        ..told("okta", Some("jti-1"), vec![change(user(1), Wish::Block)])
    };
    assert!(matches!(hear(&store, &event, NOW).await, Heard::Taken { changed: 1, unchanged: 0 }));
    assert!(matches!(hear(&store, &event, NOW).await, Heard::Again));
    // Another source has events of its own.
    let other = Told { source: "other".to_owned(), ..event.clone() };
    assert!(matches!(hear(&store, &other, NOW).await, Heard::Taken { changed: 0, unchanged: 1 }));
    store.close().await;
    let store = open(&place).await;
    assert!(matches!(hear(&store, &event, NOW).await, Heard::Again));
    assert_eq!(store.source_state("okta").await.unwrap().as_deref(), Some("{\"a\":1}"));
    assert_eq!(store.source_state("nobody").await.unwrap(), None);
    let history = store.history(&Filter::default(), None, 10).await.unwrap();
    let by = |name: &str| Actor::Source { name: name.to_owned(), event: Some("jti-1".to_owned()) };
    let lines: Vec<_> = history.iter().rev().map(|event| (event.action, &event.by, event.changed)).collect();
    assert_eq!(
        lines,
        [
            (Action::Revoke, &by("okta"), true),
            (Action::Signal, &by("okta"), false),
            (Action::Revoke, &by("other"), false),
            (Action::Signal, &by("other"), false),
        ]
    );
    assert_eq!(history[0].request_id, "jti-1");
    // When it could no longer be sent again, it is forgotten.
    store.forget_expired(1_760_000_101).await.unwrap();
    assert!(matches!(hear(&store, &event, NOW).await, Heard::Taken { .. }));
}

#[tokio::test]
async fn a_source_lifts_only_its_own_block_and_only_alone() {
    let (_place, store) = store().await;
    let block = |source: &str| told(source, None, vec![change(user(1), Wish::BlockUntil(1_760_100_000))]);
    let lift = |source: &str| told(source, None, vec![change(user(1), Wish::Lift)]);
    let blocked = async || {
        let (_, entries) = store.changed_after(0, 10).await.unwrap();
        entries.iter().any(|(_, entry)| entry.rule.effect() == Effect::Blocked)
    };
    let mut at = NOW;
    // Nobody's: nothing is there to lift, and nothing is told of it.
    hear(&store, &lift("a"), at).await;
    assert_eq!(store.history(&Filter::default(), None, 10).await.unwrap().len(), 0);
    // A person's block is not a source's to lift.
    apply(&store, user(1), Wish::Block, at).await;
    hear(&store, &lift("a"), at + 1).await;
    assert!(blocked().await);
    // Both want it; the source takes its part back.
    hear(&store, &block("a"), at + 2).await;
    hear(&store, &lift("a"), at + 3).await;
    assert!(blocked().await);
    assert!(apply(&store, user(1), Wish::Lift, at + 4).await.changed);
    assert!(!blocked().await);
    // Two sources.
    at += 10;
    hear(&store, &block("a"), at).await;
    hear(&store, &block("b"), at + 1).await;
    hear(&store, &lift("a"), at + 2).await;
    assert!(blocked().await);
    hear(&store, &lift("b"), at + 3).await;
    assert!(!blocked().await);
    // A person who joins in keeps it.
    at += 10;
    hear(&store, &block("a"), at).await;
    apply(&store, user(1), Wish::Block, at + 1).await;
    hear(&store, &lift("a"), at + 2).await;
    assert!(blocked().await);
}

#[tokio::test]
async fn whoever_held_a_block_that_was_forgotten_holds_the_next_one_no_more() {
    let (_place, store) = store().await;
    let expires = 1_760_000_600;
    hear(&store, &told("dir", None, vec![change(user(1), Wish::BlockUntil(expires))]), NOW).await;
    assert_eq!(store.forget_expired(expires + 3_601).await.unwrap(), 1);
    let later = u64::from(expires) + 4_000;
    hear(&store, &told("okta", Some("disabled"), vec![change(user(1), Wish::Block)]), later).await;
    let lift = hear(&store, &told("okta", Some("enabled"), vec![change(user(1), Wish::Lift)]), later + 1).await;
    assert!(matches!(lift, Heard::Taken { changed: 1, unchanged: 0 }), "{lift:?}");
}

#[tokio::test]
async fn a_directory_that_is_read_anew_changes_nothing_and_tells_nothing() {
    let (_place, store) = store().await;
    let page = told("dir", None, vec![change(user(1), Wish::BlockUntil(1_760_100_000)), change(user(2), THEN)]);
    assert!(matches!(hear(&store, &page, NOW).await, Heard::Taken { changed: 2, unchanged: 0 }));
    assert!(matches!(hear(&store, &page, NOW + 60).await, Heard::Taken { changed: 0, unchanged: 2 }));
    assert_eq!(store.history(&Filter::default(), None, 10).await.unwrap().len(), 2);
    assert_eq!(store.head().await.unwrap().sequence, 2);
}
