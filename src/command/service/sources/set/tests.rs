//! The specifications' own examples, and each way to get a SET wrong.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::service::standing::Lifetimes;

const NOW: u64 = 1_760_000_000;
const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const USER: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
const IDP: &str = "https://idp.example.com/123456789/";

fn lifetimes() -> Lifetimes {
    Lifetimes { token: Duration::from_secs(86_400), session: Duration::from_secs(90 * 86_400) }
}

fn mapping() -> Mapping {
    Mapping {
        tenant: Guid::parse(TENANT),
        subject_issuers: vec![IDP.into(), "https://idp.example.com/".into(), "https://idp.example.com/3456790/".into()],
        sub: Sub::Subject,
        opaque: Some(Opaque::Session),
        credential_changes: vec![CredentialChange::Delete, CredentialChange::Revoke, CredentialChange::Update],
    }
}

fn taken(claims: &Value, mapping: &Mapping, now: u64) -> Result<Signal, SetFault> {
    read(claims.as_object().unwrap(), mapping, &Clock { now, lifetimes: lifetimes() })
}

/// A SET of one event about a subject.
fn set(event: &str, members: Value, subject: Value) -> Value {
    json!({"iss": IDP, "jti": "j", "iat": NOW, "aud": "a", "sub_id": subject, "events": {event: members}})
}

fn caep(event: &str) -> String {
    format!("{CAEP}{event}")
}

fn risc(event: &str) -> String {
    format!("{RISC}{event}")
}

fn iss_sub() -> Value {
    json!({"format": "iss_sub", "iss": IDP, "sub": "s"})
}

fn pairwise() -> Subject {
    Subject::Pairwise { issuer: IDP.into(), subject: "s".into() }
}

fn not_before(time: u64) -> Wish {
    Wish::NotBefore(u32::try_from(time).unwrap())
}

#[test]
fn the_examples_of_caep_are_taken() {
    // CAEP 1.0, section 3.1.2: an opaque session, at its time.
    let first = json!({
        "iss": "https://idp.example.com/123456789/",
        "jti": "24c63fb56e5a2d77a6b512616ca9fa24",
        "iat": 1_615_305_159,
        "aud": "https://sp.example.com/caep",
        "txn": "8675309",
        "sub_id": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
        "events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {"event_timestamp": 1_615_304_991}}
    });
    let then = 1_615_305_160;
    let session = Subject::Session { tenant: TENANT.into(), session: "dMTlD|1600802906337.16|16008.16".into() };
    let signal = taken(&first, &mapping(), then).unwrap();
    assert_eq!(signal.event.as_deref(), Some("24c63fb56e5a2d77a6b512616ca9fa24"));
    assert_eq!(signal.at, Some(1_615_304_991));
    let reason = "session-revoked".to_owned();
    assert_eq!(signal.deeds, [Deed { subject: session.clone(), wish: Wish::Block, reason }]);
    // The second: session, user and tenant together. The specification's tenant is no GUID, so it is nobody's here.
    let mut second = first.clone();
    second["sub_id"] = json!({
        "format": "complex",
        "session": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
        "user": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "99beb27c-c1c2-4955-882a-e0dc4996fcbc"},
        "tenant": {"format": "opaque", "id": "123456789"}
    });
    second["events"] = json!({
        "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
            "initiating_entity": "policy",
            "reason_admin": {"en": "Landspeed Policy Violation: C076E82F"},
            "reason_user": {"en": "Access attempt from multiple regions.", "es-410": "Intento de acceso desde varias regiones."},
            "event_timestamp": 1_615_304_991
        }
    });
    let foreign = taken(&second, &mapping(), then).unwrap();
    assert!(foreign.deeds.is_empty() && matches!(foreign.remarks.as_slice(), [Remark::Unmapped(_)]), "{foreign:?}");
    second["sub_id"]["tenant"]["id"] = json!(TENANT);
    let signal = taken(&second, &mapping(), then).unwrap();
    let reason = "session-revoked: Landspeed Policy Violation: C076E82F".to_owned();
    assert_eq!(signal.deeds, [Deed { subject: session, wish: Wish::Block, reason }]);
    // The third: user and device. Without the device it would be about the user's other devices as well.
    let mut third = second.clone();
    third["sub_id"] = json!({
        "format": "complex",
        "user": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "jane.smith@example.com"},
        "device": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "e9297990-14d2-42ec-a4a9-4036db86509a"},
        "tenant": {"format": "opaque", "id": TENANT}
    });
    let signal = taken(&third, &mapping(), then).unwrap();
    assert!(signal.deeds.is_empty());
    let [Remark::Unmapped(why)] = signal.remarks.as_slice() else { panic!("{signal:?}") };
    assert!(why.contains("device"), "{why}");
    // Section 3.2.2: claims that change are not this service's.
    let mut claims = first.clone();
    claims["sub_id"] = json!({"format": "jwt_id", "iss": IDP, "jti": "f61t6e20zdo3px56gepu8rzlsp4c1dpc0fx7"});
    claims["events"] = json!({"https://schemas.openid.net/secevent/caep/event-type/token-claims-change": {
        "event_timestamp": 1_615_304_991, "claims": {"role": "ro-admin"}
    }});
    let signal = taken(&claims, &mapping(), then).unwrap();
    assert!(signal.deeds.is_empty() && matches!(signal.remarks.as_slice(), [Remark::Idle(_)]));
}

#[test]
fn the_examples_of_risc_are_taken() {
    // RISC 1.0, sections 2.3 and 2.7.
    let disabled = json!({
        "iss": "https://idp.example.com/",
        "jti": "756E69717565206964656E746966696572",
        "iat": 1_508_184_845,
        "aud": "636C69656E745F6964",
        "sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/", "sub": "7375626A656374"},
        "events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {"reason": "hijacking"}}
    });
    let then = 1_508_184_846;
    let subject = Subject::Pairwise { issuer: "https://idp.example.com/".into(), subject: "7375626A656374".into() };
    let reason = "account-disabled: hijacking".to_owned();
    let deed = Deed { subject, wish: Wish::Block, reason };
    assert_eq!(taken(&disabled, &mapping(), then).unwrap().deeds, [deed]);
    let mut compromised = disabled.clone();
    compromised["sub_id"] =
        json!({"format": "iss_sub", "iss": "https://idp.example.com/3456790/", "sub": "joe.smith@example.com"});
    compromised["events"] = json!({
        "https://schemas.openid.net/secevent/risc/event-type/credential-compromise": {"credential_type": "password"}
    });
    let signal = taken(&compromised, &mapping(), then).unwrap();
    assert_eq!(signal.deeds[0].wish, not_before(1_508_184_846));
    let mut by_email = disabled.clone();
    by_email["sub_id"] = json!({"format": "email", "email": "foo@example.com"});
    let signal = taken(&by_email, &mapping(), then).unwrap();
    assert!(signal.deeds.is_empty() && matches!(signal.remarks.as_slice(), [Remark::Unmapped(_)]));
    let mut required = disabled;
    required["events"] = json!({
        "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required": {}
    });
    assert!(taken(&required, &mapping(), then).unwrap().deeds.is_empty());
}

#[test]
fn each_event_asks_for_what_it_means() {
    let session = json!({"format": "opaque", "id": "sid"});
    let token = json!({"format": "jwt_id", "iss": IDP, "jti": "t"});
    let purged = Wish::BlockUntil(lifetimes().last_session_of(u32::try_from(NOW).unwrap()));
    let change = |kind: &str| json!({"credential_type": "password", "change_type": kind});
    for (event, members, subject, wish) in [
        (caep("session-revoked"), json!({}), iss_sub(), Some(not_before(NOW + 1))),
        (caep("session-revoked"), json!({"event_timestamp": NOW - 60}), iss_sub(), Some(not_before(NOW - 59))),
        (caep("session-revoked"), json!({"event_timestamp": NOW + 200}), iss_sub(), Some(not_before(NOW + 1))),
        (caep("session-revoked"), json!({"event_timestamp": NOW - 100_000}), iss_sub(), None),
        (caep("session-revoked"), json!({}), session.clone(), Some(Wish::Block)),
        (caep("session-revoked"), json!({"event_timestamp": NOW - 100_000}), session, Some(Wish::Block)),
        (caep("session-revoked"), json!({}), token, Some(Wish::Block)),
        (caep("credential-change"), change("revoke"), iss_sub(), Some(not_before(NOW + 1))),
        (caep("credential-change"), change("update"), iss_sub(), Some(not_before(NOW + 1))),
        (caep("credential-change"), change("delete"), iss_sub(), Some(not_before(NOW + 1))),
        (caep("credential-change"), change("create"), iss_sub(), None),
        (caep("risk-level-change"), json!({}), iss_sub(), None),
        (risc("account-disabled"), json!({}), iss_sub(), Some(Wish::Block)),
        (risc("account-enabled"), json!({}), iss_sub(), Some(Wish::Lift)),
        (risc("account-purged"), json!({}), iss_sub(), Some(purged)),
        (risc("credential-compromise"), json!({"credential_type": "pin"}), iss_sub(), Some(not_before(NOW + 1))),
        (risc("sessions-revoked"), json!({}), iss_sub(), Some(not_before(NOW + 1))),
        (risc("identifier-changed"), json!({}), iss_sub(), None),
        ("https://example.com/event".to_owned(), json!({}), iss_sub(), None),
    ] {
        let signal = taken(&set(&event, members.clone(), subject.clone()), &mapping(), NOW).unwrap();
        let wishes: Vec<Wish> = signal.deeds.iter().map(|deed| deed.wish).collect();
        assert_eq!(wishes, wish.into_iter().collect::<Vec<_>>(), "{event} {members} {subject}");
        assert_eq!(signal.remarks.len(), usize::from(wish.is_none()), "{event}");
    }
}

#[test]
fn subjects_are_mapped_by_what_the_source_says_they_are() {
    let tenant = || TENANT.to_owned();
    let user = Subject::User { tenant: tenant(), user: USER.into() };
    let session = Subject::Session { tenant: tenant(), session: "sid".into() };
    let client = Subject::Client { tenant: tenant(), client: USER.into() };
    let opaque = |id: &str| json!({"format": "opaque", "id": id});
    let as_users = Mapping { sub: Sub::User, opaque: Some(Opaque::User), ..mapping() };
    let as_clients = Mapping { opaque: Some(Opaque::Client), ..mapping() };
    let nowhere = Mapping { tenant: None, opaque: None, ..mapping() };
    let of_user = json!({"format": "iss_sub", "iss": IDP, "sub": USER.to_uppercase()});
    let complex = |members: Value| {
        let mut complex = members;
        complex["format"] = json!("complex");
        complex
    };
    for (mapping, subject, mapped) in [
        (&mapping(), iss_sub(), Some(&pairwise())),
        (&as_users, of_user.clone(), Some(&user)),
        (&as_users, iss_sub(), None),
        (&as_users, opaque(USER), Some(&user)),
        (&as_users, opaque("nobody"), None),
        (&as_clients, opaque(USER), Some(&client)),
        (&mapping(), opaque("sid"), Some(&session)),
        (&nowhere, opaque("sid"), None),
        (&nowhere, iss_sub(), Some(&pairwise())),
        (
            &mapping(),
            json!({"format": "aliases", "identifiers": [{"format": "email", "email": "a@b"}, iss_sub()]}),
            Some(&pairwise()),
        ),
        (&mapping(), json!({"format": "aliases", "identifiers": [{"format": "email", "email": "a@b"}]}), None),
        (&mapping(), json!({"format": "phone_number", "phone_number": "+1"}), None),
        (&mapping(), json!({"format": "saml_assertion_id", "issuer": IDP, "assertion_id": "_a"}), None),
        (&mapping(), complex(json!({"user": opaque(USER)})), Some(&user)),
        (&mapping(), complex(json!({"user": opaque(USER), "tenant": opaque(TENANT)})), Some(&user)),
        (&mapping(), complex(json!({"user": opaque(USER), "session": opaque("sid")})), Some(&session)),
        (&mapping(), complex(json!({"session": opaque("sid"), "tenant": opaque(TENANT)})), Some(&session)),
        (&mapping(), complex(json!({"application": opaque(USER)})), Some(&client)),
        (&mapping(), complex(json!({"application": opaque(USER), "user": opaque(USER)})), None),
        (&mapping(), complex(json!({"user": opaque(USER), "session": iss_sub()})), None),
        // Everybody: never by a signal.
        (&mapping(), complex(json!({"tenant": opaque(TENANT)})), None),
        (&mapping(), complex(json!({"tenant": opaque(USER), "user": opaque(USER)})), None),
        (&mapping(), complex(json!({"user": opaque(USER), "group": opaque("g")})), None),
        (&nowhere, complex(json!({"user": opaque(USER)})), None),
        (&mapping(), complex(json!({"user": {"format": "email", "email": "a@b"}})), None),
    ] {
        let signal = taken(&set(&caep("session-revoked"), json!({}), subject.clone()), mapping, NOW).unwrap();
        let named: Vec<&Subject> = signal.deeds.iter().map(|deed| &deed.subject).collect();
        assert_eq!(named, mapped.into_iter().collect::<Vec<_>>(), "{subject}");
        let unmapped = signal.remarks.iter().filter(|remark| matches!(remark, Remark::Unmapped(_))).count();
        assert_eq!(unmapped, usize::from(mapped.is_none()), "{subject}");
    }
}

#[test]
fn each_malformed_set_has_its_error() {
    let good = set(&caep("session-revoked"), json!({}), iss_sub());
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let about = |subject: Value| with("sub_id", subject);
    let event = |event: &str, members: Value| set(event, members, iss_sub());
    use Code::{AccessDenied, InvalidRequest};
    for (claims, code, told) in [
        (without("jti"), InvalidRequest, "jti"),
        (with("jti", json!("")), InvalidRequest, "jti"),
        (with("jti", json!("j".repeat(256))), InvalidRequest, "jti"),
        (without("iat"), InvalidRequest, "iat"),
        (with("iat", json!("now")), InvalidRequest, "iat"),
        (with("iat", json!(NOW + 301)), InvalidRequest, "yet to come"),
        (with("iat", json!(NOW - OLDEST - 1)), InvalidRequest, "seven days"),
        (with("exp", json!(NOW + 60)), InvalidRequest, "exp"),
        (with("sub", json!("s")), InvalidRequest, "sub"),
        (without("events"), InvalidRequest, "events"),
        (with("events", json!({})), InvalidRequest, "events"),
        (with("events", json!([caep("session-revoked")])), InvalidRequest, "events"),
        (with("events", json!({caep("session-revoked"): null})), InvalidRequest, "events"),
        (without("sub_id"), InvalidRequest, "sub_id"),
        (about(json!("s")), InvalidRequest, "sub_id"),
        (about(json!({})), InvalidRequest, "format"),
        (about(json!({"format": "iss_sub", "iss": IDP})), InvalidRequest, "sub"),
        (about(json!({"format": "opaque"})), InvalidRequest, "id"),
        (about(json!({"format": "jwt_id", "iss": IDP, "jti": 5})), InvalidRequest, "jti"),
        (about(json!({"format": "complex"})), InvalidRequest, "complex"),
        (about(json!({"format": "complex", "user": "u"})), InvalidRequest, "object"),
        (about(json!({"format": "aliases"})), InvalidRequest, "identifiers"),
        (about(json!({"format": "iss_sub", "iss": "https://other.example", "sub": "s"})), AccessDenied, "issuer"),
        (about(json!({"format": "jwt_id", "iss": "https://other.example", "jti": "t"})), AccessDenied, "issuer"),
        (event(&caep("session-revoked"), json!({"event_timestamp": "now"})), InvalidRequest, "event_timestamp"),
        // Milliseconds, as an older draft's examples had them.
        (
            event(&caep("session-revoked"), json!({"event_timestamp": 1_615_304_991_643_u64})),
            InvalidRequest,
            "event_timestamp",
        ),
        (event(&caep("credential-change"), json!({"change_type": "revoke"})), InvalidRequest, "credential_type"),
        (
            event(&caep("credential-change"), json!({"credential_type": "pin", "change_type": "lost"})),
            InvalidRequest,
            "change_type",
        ),
    ] {
        let fault = taken(&claims, &mapping(), NOW).unwrap_err();
        assert_eq!(fault.code, code, "{claims} {fault:?}");
        assert!(fault.description.contains(told), "{claims} {fault:?}");
    }
    assert!(taken(&with("iat", json!(NOW + 300)), &mapping(), NOW).is_ok());
    assert!(taken(&with("iat", json!(NOW - OLDEST)), &mapping(), NOW).is_ok());
}

#[test]
fn a_verification_event_is_no_revocation() {
    let claims =
        set(&format!("{SSF}verification"), json!({"state": "s\u{7}1"}), json!({"format": "opaque", "id": "stream"}));
    let signal = taken(&claims, &mapping(), NOW).unwrap();
    assert_eq!(signal.remarks, [Remark::Verified(Some("s 1".to_owned()))]);
    assert!(signal.deeds.is_empty());
}

#[test]
fn several_events_of_one_set_are_one_signal() {
    let mut claims = set(&caep("session-revoked"), json!({}), iss_sub());
    claims["events"][risc("account-disabled")] = json!({});
    assert_eq!(taken(&claims, &mapping(), NOW).unwrap().deeds.len(), 2);
}

#[test]
fn what_a_transmitter_says_is_cleaned_before_it_is_told() {
    let long = format!("a\nb{}", "c".repeat(1_000));
    let claims = set(&risc("account-disabled"), json!({"reason_admin": {"de": long}}), iss_sub());
    let reason = &taken(&claims, &mapping(), NOW).unwrap().deeds[0].reason;
    assert!(reason.starts_with("account-disabled: a bccc") && reason.len() < 250, "{reason}");
}
