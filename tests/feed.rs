//! The feed from a service's log to every worker's set: what is told arrives everywhere, whatever goes wrong on the way.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/feed.rs"]
mod support;

use std::collections::BTreeSet;

use entra_gate::feed::board::Board as _;
use entra_gate::feed::parts::Part;
use entra_gate::feed::reader::BodyFault;
use entra_gate::feed::work::{End, FeedFault};
use entra_gate::feed::worker::Answer;
use entra_gate::revocation::{Entry, Rule};

use support::{Dice, Envoy, NOW, Service, feed, sign, user};

const SECOND: u32 = NOW as u32;

fn block(at: u64) -> Entry {
    Entry { subject: user(at), rule: Rule::blocked(0), expires: None }
}

/// Any entry about one of so many users.
fn any(dice: &mut Dice, users: u64) -> Entry {
    let time = SECOND - 1_000 + u32::try_from(dice.below(2_000)).unwrap();
    let rule = match dice.below(5) {
        0 => Rule::blocked(0),
        1 => Rule::blocked(time),
        2 => Rule { unblocked_at: Some(time), ..Rule::default() },
        _ => Rule::not_before(time),
    };
    Entry { subject: user(dice.below(users)), rule, expires: None }
}

/// Every worker revokes just what the service's log says.
fn check(envoy: &Envoy, service: &Service, users: u64) {
    let known = service.known();
    for at in 0..envoy.nodes.len() {
        assert!(envoy.nodes[at].set.fed.confirmed_at.is_some(), "worker {at} is not loaded");
        for subject in (0..users).map(user) {
            for issued_at in [0, NOW - 999, NOW - 1, NOW + 500, u64::MAX] {
                let expected = known.get(&subject).is_some_and(|known| known.rule.effect().revokes(issued_at));
                assert_eq!(envoy.revokes(at, &subject, issued_at), expected, "worker {at}, {subject:?}, {issued_at}");
            }
        }
    }
}

#[test]
fn a_revocation_reaches_every_worker_by_snapshot_and_by_delta() {
    let (mut envoy, mut service) = (Envoy::new(3, feed(&[1])), Service::new());
    service.log.extend([block(1), block(2)]);
    envoy.run(&mut service, 3);
    check(&envoy, &service, 5);
    assert_eq!(envoy.shared.now().generation.number, 1);
    service.log.push(block(3));
    envoy.run(&mut service, 12);
    check(&envoy, &service, 5);
    // It came as a delta: there is no other base.
    assert_eq!((envoy.shared.now().generation.number, envoy.shared.now().deltas), (1, 1));
    let asked: usize = envoy.nodes.iter().map(|node| node.ended.len()).sum();
    assert!(asked <= 3, "{asked} requests for one process in 1.5 s");
}

#[test]
fn an_empty_feed_is_a_feed() {
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    envoy.run(&mut service, 3);
    check(&envoy, &service, 3);
    service.log.push(block(1));
    envoy.run(&mut service, 12);
    check(&envoy, &service, 3);
}

#[test]
fn packed_snapshots_arrive_page_by_page_and_deltas_go_on_from_them() {
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    let mut dice = Dice::new(5);
    service.log.extend((0..9_000).map(|_| any(&mut dice, 12_000)));
    service.plain_most = 100;
    envoy.run(&mut service, 3);
    check(&envoy, &service, 12_000);
    assert!(service.pages.len() > 5);
    service.log.push(block(12_001));
    envoy.run(&mut service, 12);
    check(&envoy, &service, 12_003);
    // A plain snapshot under the key of the pages.
    service.plain_most = usize::MAX;
    service.first = 50;
    service.log.push(block(12_002));
    let standing = envoy.shared.now();
    let (_, mark) = envoy.shared.standing().unwrap();
    assert!(envoy.shared.swap(&entra_gate::feed::standing::Standing { snapshot_wanted: true, ..standing }, mark));
    envoy.run(&mut service, 12);
    check(&envoy, &service, 12_003);
}

#[test]
fn a_snapshot_in_parts_is_one_and_what_changes_between_them_is_asked_for_anew() {
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    service.log.extend((0..200).map(block));
    service.part_most = Some(1_000);
    envoy.run(&mut service, 3);
    check(&envoy, &service, 200);
    // Something new between the first part and the second, of which only the snapshot tells.
    service.log.push(block(201));
    service.first = service.sequence() - 1;
    envoy.now += 1_000;
    let ask = envoy.turn(0, 99).ask.expect("it is time");
    let first = service.answer(&ask);
    assert!(matches!(&first, Ok(Answer::Part { part, .. }) if part.first == 0 && part.total > 2_000), "{first:?}");
    envoy.answer(0, first);
    service.log.push(block(202));
    service.first += 1;
    let ask = envoy.turn(0, 99).ask.expect("the next part");
    assert_eq!((ask.range.as_deref(), ask.etag.as_deref()), (Some("bytes=1000-1049575"), None));
    let whole = service.answer(&ask);
    assert!(matches!(&whole, Ok(Answer::Body { .. })), "{whole:?}");
    envoy.answer(0, whole);
    while envoy.turn(0, 99).is_busy {}
    envoy.run(&mut service, 12);
    check(&envoy, &service, 203);
}

#[test]
fn a_part_that_was_not_asked_for_changes_nothing() {
    let (mut envoy, mut service) = (Envoy::new(1, feed(&[1])), Service::new());
    service.log.extend((0..20).map(block));
    envoy.run(&mut service, 3);
    let part = |first, total: usize, length| Answer::Part {
        part: Part { first, total, bytes: vec![b'A'; length] },
        etag: Some("\"part\"".into()),
    };
    let bad = [
        (part(1, 50, 10), FeedFault::Part),
        (part(0, 50, 0), FeedFault::Part),
        (part(0, 33 * 1024 * 1024, 10), FeedFault::Body(BodyFault::TooLarge)),
    ];
    for (answer, fault) in bad {
        envoy.now += 60_000;
        assert!(envoy.turn(0, 99).ask.is_some());
        envoy.answer(0, Ok(answer));
        assert_eq!(envoy.nodes[0].ended.pop_back(), Some(End::Failed(fault)));
    }
    // Parts of two documents are signed by nobody.
    envoy.now += 60_000;
    assert!(envoy.turn(0, 99).ask.is_some());
    envoy.answer(0, Ok(part(0, 50, 25)));
    assert!(envoy.turn(0, 99).ask.is_some());
    envoy.answer(0, Ok(part(25, 50, 25)));
    while envoy.turn(0, 99).is_busy {}
    let end = envoy.nodes[0].ended.pop_back();
    assert!(matches!(end, Some(End::Failed(FeedFault::Body(BodyFault::Token(_))))), "{end:?}");
    check(&envoy, &service, 20);
}

#[test]
fn a_snapshot_replaces_everything_and_gaps_are_closed_by_one() {
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    service.log.extend((0..20).map(block));
    envoy.run(&mut service, 3);
    check(&envoy, &service, 20);
    // The service has forgotten what it cannot tell as a delta, and one entry altogether.
    service.log.remove(4);
    service.first = 2;
    envoy.run(&mut service, 3);
    service.first = 30;
    envoy.run(&mut service, 12);
    check(&envoy, &service, 20);
    // A delta that builds on what nobody has.
    let (mut envoy, mut service) = (Envoy::new(1, feed(&[1])), Service::new());
    service.log.extend((0..5).map(block));
    envoy.run(&mut service, 2);
    service.log.extend((5..9).map(block));
    envoy.now += 1_000;
    envoy.turn(0, 9);
    envoy.answer(0, Ok(Answer::Body { body: service.delta(7), etag: None }));
    while envoy.turn(0, 9).is_busy {}
    assert_eq!(envoy.nodes[0].ended.back(), Some(&End::Failed(FeedFault::Gap { base: 7, held: 5 })));
    envoy.run(&mut service, 12);
    check(&envoy, &service, 9);
}

#[test]
fn a_head_that_tells_what_changed_is_followed_without_its_pages() {
    const USERS: u64 = 3_000;
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    let mut dice = Dice::new(9);
    service.log.extend((0..5_000).map(|_| any(&mut dice, USERS)));
    let head = service.head(5_000, 5_000, None);
    assert!(envoy.take(&service, &head) > 1);
    check(&envoy, &service, USERS);
    let first = envoy.shared.now().generation;
    // What it holds already costs it nothing.
    for news in 1..=5 {
        service.log.push(block(USERS + news));
        let head = service.head(5_000, 4_990, None);
        envoy.nodes.iter_mut().for_each(|node| node.ended.clear());
        assert_eq!(envoy.take(&service, &head), 0);
        check(&envoy, &service, USERS + 9);
        let end = envoy.nodes.iter_mut().find_map(|node| node.ended.pop_back()).unwrap();
        assert!(matches!(end, End::Appended { entries: 1, .. }), "{end:?}");
    }
    // Other pages are nothing to it, as long as the changes reach back to what it holds.
    service.log.push(block(USERS + 6));
    let head = service.head(service.log.len(), service.log.len() - 1, None);
    assert_eq!(envoy.take(&service, &head), 0);
    assert_eq!(envoy.shared.now().generation, first);
    check(&envoy, &service, USERS + 9);
    // Who has missed some needs the pages, and so does who begins.
    service.log.extend([block(USERS + 7), block(USERS + 8)]);
    let head = service.head(service.log.len() - 1, service.log.len() - 1, None);
    assert!(envoy.take(&service, &head) > 1);
    check(&envoy, &service, USERS + 9);
    let mut another = Envoy::new(1, feed(&[1]));
    let head = service.head(4_000, 4_990, None);
    assert!(another.take(&service, &head) > 1);
    check(&another, &service, USERS + 9);
    // Another signer begins anew.
    let mut rotated = Envoy::new(1, feed(&[1, 2]));
    let head = service.head(4_000, 4_990, None);
    rotated.take(&service, &head);
    service.signer = 2;
    service.log.push(block(1));
    let head = service.head(4_000, 4_990, None);
    assert!(rotated.take(&service, &head) > 1);
    check(&rotated, &service, USERS + 9);
}

#[test]
fn nothing_new_is_good_news_only_while_the_document_is_good() {
    let (mut envoy, mut service) = (Envoy::new(1, feed(&[1])), Service::new());
    service.log.push(block(1));
    let ask = |envoy: &mut Envoy| {
        envoy.nodes[0].asked = None;
        for _ in 0..100 {
            envoy.now += 1_000;
            if envoy.turn(0, 99).ask.is_some() {
                break;
            }
        }
        envoy.answer(0, Ok(Answer::NotModified));
        envoy.nodes[0].ended.pop_back().unwrap()
    };
    let head = service.head(1, 1, Some(NOW + 300));
    envoy.take(&service, &head);
    assert_eq!(ask(&mut envoy), End::Confirmed { expires: NOW + 300 });
    // As late as a clock that goes wrong by a minute bears.
    envoy.now = (NOW + 359) * 1_000 - 1_000;
    assert_eq!(ask(&mut envoy), End::Confirmed { expires: NOW + 300 });
    envoy.now = (NOW + 360) * 1_000;
    let expired = End::Failed(FeedFault::Body(entra_gate::feed::reader::BodyFault::Expired));
    assert_eq!(ask(&mut envoy), expired);
    assert!(envoy.revokes(0, &user(1), u64::MAX));
    // Signed anew, it is good again, although nothing has changed.
    let head = service.head(1, 1, Some(NOW + 900));
    envoy.now += 60_000;
    envoy.take(&service, &head);
    assert_eq!(envoy.nodes[0].ended.pop_back(), Some(End::Confirmed { expires: NOW + 900 }));
    assert_eq!(ask(&mut envoy), End::Confirmed { expires: NOW + 900 });
}

#[test]
fn what_is_no_answer_of_the_feed_changes_nothing_and_is_told() {
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    service.log.extend((0..9).map(block));
    envoy.run(&mut service, 2);
    let good = service.delta(9);
    service.log.push(block(9));
    let newer = service.delta(9);
    let text = String::from_utf8(newer.clone()).unwrap();
    let (head, signature) = text.rsplit_once('.').unwrap();
    let payload = service.claims(Some(9)).payload(&[], None);
    let older = {
        let claims = entra_gate::feed::document::Claims { sequence: 8, ..service.claims(None) };
        sign(1, &claims.payload(&[], None))
    };
    let bad: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"null".to_vec(),
        b"<!doctype html><p>It works!".to_vec(),
        b"{}".to_vec(),
        newer[..newer.len() / 2].to_vec(),
        newer[..newer.len() - 2].to_vec(),
        head.as_bytes().to_vec(),
        format!("{head}.").into_bytes(),
        format!("{head}.{}", "A".repeat(signature.len())).into_bytes(),
        format!("{text}.{signature}").into_bytes(),
        sign(2, &payload),
        older,
        sign(1, "null"),
        sign(1, "[]"),
        sign(1, "{}"),
        sign(1, &payload.replace("\"seq\":10", "\"seq\":10,\"seq\":10")),
        sign(1, &payload.replace("\"seq\":10", "\"seq\":\"10\"")),
        sign(1, &payload.replace("\"seq\":10", "\"seq\":-1")),
        sign(1, &payload.replace("\"seq\":10", "\"seq\":1e99")),
        sign(1, &payload.replace("\"base\":9", "\"base\":11")),
        sign(1, &payload.replace("\"base\":9", "\"base\":null")),
        sign(1, &payload.replace("\"iss\"", "\"iSs\"")),
        sign(1, &payload.replace("\"iat\"", "\"exp\":1,\"iat\"")),
        sign(1, &payload.replace("[]", "null")),
        sign(1, &payload.replace("[]", "[null]")),
        sign(1, &payload.replace("[]", "[{}]")),
        sign(1, &payload.replace("[]", r#"[{"tenant":"t","blocked":true},{"tenant":"t","blocked":1}]"#)),
        sign(1, &payload.replace("[]", r#"[{"tenant":"t","tenant":"t","blocked":true}]"#)),
        sign(1, &payload.replace("\"entries\"", "\"Entries\"")),
        sign(1, &payload.replace("\"entries\":[]", r#""\u0065ntries":[{"tenant":"t","blocked":true}]"#)),
        sign(1, &payload.replace("\"base\":9", "\"base\":9,\"packed\":{}")),
        sign(1, &payload.replace("\"base\":9", "\"base\":9,\"changes_since\":9")),
        sign(1, &payload.replace("\"base\":9", "\"changes_since\":11")),
        sign(1, &payload.replace("\"base\":9", "\"changes_since\":\"9\"")),
        sign(1, &payload.replace("\"base\":9,", "").replace("\"entries\"", "\"packed\":{\"format\":2},\"entries\"")),
        vec![b'A'; 33 * 1024 * 1024],
    ];
    let before = envoy.shared.now();
    for (at, body) in bad.into_iter().enumerate() {
        envoy.now += 60_000;
        let turn = envoy.turn(0, 99);
        assert!(turn.ask.is_some(), "{at}");
        envoy.answer(0, Ok(Answer::Body { body, etag: Some("\"bad\"".into()) }));
        while envoy.turn(0, 99).is_busy {}
        let end = envoy.nodes[0].ended.pop_back().unwrap_or_else(|| panic!("body {at}: no end"));
        assert!(matches!(end, End::Failed(_)), "body {at}: {end:?}");
        let standing = envoy.shared.now();
        assert_eq!(
            (standing.generation, standing.deltas, standing.sequence, &standing.etag, standing.confirmed_at),
            (before.generation, before.deltas, before.sequence, &before.etag, before.confirmed_at),
            "body {at}"
        );
        assert!(envoy.revokes(0, &user(8), u64::MAX) && envoy.revokes(1, &user(8), u64::MAX));
        assert!(!envoy.revokes(0, &user(9), u64::MAX));
    }
    // The same again, and what is newer, are good.
    for (body, sequence) in [(good, 9), (newer, 10)] {
        envoy.now += 60_000;
        envoy.turn(0, 99);
        envoy.answer(0, Ok(Answer::Body { body, etag: None }));
        while envoy.turn(0, 99).is_busy {}
        assert_eq!((envoy.shared.now().sequence, envoy.shared.now().failures), (sequence, 0));
    }
    assert!(envoy.revokes(0, &user(9), u64::MAX));
}

/// Gives a worker single steps, and answers from the service, until it has nothing more to do at once or this is so.
fn step_until(envoy: &mut Envoy, at: usize, service: &mut Service, so: impl Fn(&Envoy) -> bool) {
    for _ in 0..20_000 {
        if so(envoy) {
            return;
        }
        if let Some(ask) = envoy.nodes[at].asked.clone() {
            let answer = service.answer(&ask);
            envoy.answer(at, answer);
        }
        let turn = envoy.turn(at, 1);
        if !turn.is_busy && turn.ask.is_none() {
            return;
        }
    }
    panic!("worker {at} is still busy");
}

#[test]
fn news_waits_neither_for_a_base_that_is_made_nor_for_one_that_is_loaded() {
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    service.log.extend((0..9_000).map(block));
    envoy.run(&mut service, 3);
    // More than a thousand entries: worth a new base.
    service.log.extend((9_000..10_100).map(block));
    envoy.now += 1_000;
    step_until(&mut envoy, 0, &mut service, |envoy| envoy.shared.now().sequence == 10_100);
    for _ in 0..3 {
        assert!(envoy.turn(0, 1).is_busy, "it makes a base");
    }
    service.log.push(block(20_000));
    envoy.now += 1_000;
    step_until(&mut envoy, 0, &mut service, |envoy| envoy.revokes(0, &user(20_000), u64::MAX));
    assert_eq!(envoy.shared.now().generation.number, 1, "the base is not made yet");
    step_until(&mut envoy, 1, &mut service, |envoy| envoy.revokes(1, &user(20_000), u64::MAX));
    assert!(envoy.revokes(1, &user(20_000), u64::MAX));
    step_until(&mut envoy, 0, &mut service, |envoy| envoy.shared.now().generation.number == 2);
    let standing = envoy.shared.now();
    assert_eq!((standing.deltas, standing.new_deltas, standing.new_entries, standing.records), (1, 1, 1, 10_100));
    // Both load it, and what comes meanwhile is known before they are through.
    for at in [0, 1] {
        for _ in 0..3 {
            assert!(envoy.turn(at, 1).is_busy, "worker {at} loads the base");
        }
    }
    service.log.push(block(20_001));
    envoy.now += 1_000;
    for at in [0, 1] {
        step_until(&mut envoy, at, &mut service, |envoy| envoy.revokes(at, &user(20_001), u64::MAX));
        assert!(envoy.nodes[at].set.fed.sequence < 10_102, "worker {at} has not loaded everything");
        assert!(envoy.revokes(at, &user(20_001), u64::MAX));
    }
    envoy.run(&mut service, 12);
    check(&envoy, &service, 20_003);
    assert_eq!(envoy.shared.now().generation.number, 2);
}

#[test]
fn whatever_goes_wrong_the_end_is_right() {
    const USERS: u64 = 300;
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let (mut envoy, mut service) = (Envoy::new(3, feed(&[1, 2])), Service::new());
        let mut last_sequence = 0;
        let mut revoked: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); 3];
        for _ in 0..400 {
            envoy.now += dice.below(700);
            let at = usize::try_from(dice.below(3)).unwrap();
            match dice.below(60) {
                0 => {
                    envoy.restart(at);
                    revoked[at].clear();
                }
                1 => {
                    // Many at once: more than is added to what is held.
                    let count = dice.below(6_000);
                    service.log.extend((0..count).map(|_| any(&mut dice, 100_000)));
                }
                2 => service.signer = 1 + u8::try_from(dice.below(2)).unwrap(),
                3 => service.plain_most = [10, usize::MAX][usize::try_from(dice.below(2)).unwrap()],
                4 => {
                    let place = envoy.shared.values.borrow().keys().next().copied();
                    if let Some(place) = place {
                        envoy.shared.write(place, b"somebody else's");
                    }
                }
                5..=9 => service.log.push(any(&mut dice, USERS)),
                // Users beyond the others are blocked for ever.
                10 => service.log.push(block(USERS + dice.below(50))),
                11..=25 => {
                    if let Some(ask) = envoy.nodes[at].asked.clone() {
                        let answer = match dice.below(8) {
                            0 => Err(FeedFault::NoAnswer),
                            1 => Err(FeedFault::Status(503)),
                            2 => Ok(Answer::NotModified),
                            3 => Ok(Answer::Body { body: sign(3, "{}"), etag: None }),
                            _ => service.answer(&ask),
                        };
                        envoy.answer(at, answer);
                    }
                }
                _ => {
                    envoy.turn(at, 1 + dice.below(40));
                }
            }
            let sequence = envoy.shared.now().sequence;
            assert!(sequence >= last_sequence, "the sequence went back");
            last_sequence = sequence;
            for (at, revoked) in revoked.iter_mut().enumerate() {
                for user_id in USERS..USERS + 50 {
                    let is_revoked = envoy.revokes(at, &user(user_id), u64::MAX);
                    assert!(is_revoked || !revoked.contains(&user_id), "seed {seed}: {user_id} was revoked");
                    if is_revoked {
                        revoked.insert(user_id);
                    }
                }
            }
        }
        envoy.nodes.iter_mut().for_each(|node| node.asked = None);
        envoy.now += 60_000;
        envoy.run(&mut service, 40);
        check(&envoy, &service, USERS + 50);
    }
}

#[test]
fn room_is_the_same_after_ten_turnovers() {
    let (mut envoy, mut service) = (Envoy::new(2, feed(&[1])), Service::new());
    let mut sizes = Vec::new();
    for turnover in 0..11_u64 {
        for part in 0..10 {
            let expires = Some(u32::try_from(envoy.now / 1_000 + 60).unwrap());
            let fresh = (0..800).map(|at| Entry { expires, ..block(turnover * 20_000 + part * 2_000 + at) });
            service.log.extend(fresh);
            envoy.now += 4_800;
            envoy.run(&mut service, 12);
        }
        let fed = &envoy.nodes[1].set.fed;
        sizes.push((fed.base().bytes(), fed.recent().capacity(), envoy.shared.bytes()));
        assert!(envoy.revokes(1, &user(turnover * 20_000 + 18_799), u64::MAX));
        assert!(!envoy.revokes(1, &user((turnover.max(1) - 1) * 20_000 + 18_799), u64::MAX) || turnover == 0);
    }
    let most = |part: &[(usize, usize, usize)]| {
        part.iter().fold((0, 0, 0), |most, size| (most.0.max(size.0), most.1.max(size.1), most.2.max(size.2)))
    };
    let (early, late) = (most(&sizes[1..4]), most(&sizes[8..]));
    assert!(late.0 <= early.0 * 11 / 10 && late.1 <= early.1 && late.2 <= early.2 * 11 / 10, "{sizes:?}");
}
