//! Step-up and claims challenges: what a good token's sign-in must satisfy, and how its client learns of it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/gate.rs"]
mod gate;

use entra_gate::judge::challenge::{ClaimsChallenge, Wanted};
use entra_gate::judge::refusal::Refusal;
use entra_gate::judge::verdict::{Recall, Verdict};
use gate::{Gate, NOW};
use serde_json::{Value, json};

const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const FABRIKAM: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";
const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
const B2C: &str = "775527ff-9a37-4307-8b3d-cc311f58d925";
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";
const IDP: &str = "https://idp.example.com/.well-known/openid-configuration";

/// A gate whose `/staff` asks for context c1 and whose `/staff/pay` asks for c2.
fn gate(provider: &Value) -> Gate {
    let mut whole = json!({"audiences": [ORDERS, "api://orders"], "upstream": {"cluster": "entra"}});
    whole.as_object_mut().unwrap().extend(provider.as_object().unwrap().clone());
    Gate::new(&json!({
        "providers": {"p": whole},
        "rules": [
            {"match": {"prefix": "/staff/pay"}, "require": {"auth_context": "c2"}},
            {"match": {"prefix": "/staff"}, "require": {"auth_context": "c1"}},
        ],
        "revocation": {"entries": [
            {"tenant": CONTOSO, "user": "blocked", "blocked": true},
            {"tenant": CONTOSO, "user": "stale", "not_before": NOW + 1},
        ]},
    }))
}

fn workforce() -> Gate {
    gate(&json!({"tenants": [CONTOSO]}))
}

/// Why a token with these claims does not pass; nothing if it does.
fn refusal(gate: &Gate, path: &str, request: &Value) -> Option<Refusal> {
    match gate.judge(path, Some(&format!("Bearer {}", gate.mint(request)))).verdict {
        Verdict::Allow(_) => None,
        Verdict::Ask(ask) => Some(ask.otherwise),
        Verdict::Lack(lack) => Some(lack.otherwise),
        Verdict::Refuse(refusal) => Some(refusal),
    }
}

fn reason(gate: &Gate, path: &str, request: &Value) -> &'static str {
    refusal(gate, path, request).map_or("passes", |refusal| refusal.reason().code())
}

fn challenge(gate: &Gate, path: &str, request: &Value) -> Option<ClaimsChallenge> {
    refusal(gate, path, request).expect("a refusal").claims_challenge().cloned()
}

#[test]
fn a_rule_asks_for_its_context_and_other_rules_do_not() {
    let gate = workforce();
    for (acrs, orders, staff, pay) in [
        (json!(["c1"]), "passes", "passes", "step_up_required"),
        (json!(["c2"]), "passes", "step_up_required", "passes"),
        (json!(["c1", "c2"]), "passes", "passes", "passes"),
        (json!("c1"), "passes", "passes", "step_up_required"),
        (json!([]), "passes", "step_up_required", "step_up_required"),
        (json!(null), "passes", "step_up_required", "step_up_required"),
        (json!({"c1": true}), "passes", "step_up_required", "step_up_required"),
    ] {
        let token = json!({"claims": {"acrs": acrs}});
        let reasons = ["/orders", "/staff", "/staff/pay"].map(|path| reason(&gate, path, &token));
        assert_eq!(reasons, [orders, staff, pay], "{acrs}");
    }
}

#[test]
fn a_path_of_two_readings_needs_both_contexts() {
    let gate = workforce();
    let path = "/staff/%2e%2e/staff/x/../pay";
    assert_eq!(reason(&gate, path, &json!({"claims": {"acrs": ["c2"]}})), "step_up_required");
    assert_eq!(reason(&gate, path, &json!({"claims": {"acrs": ["c1"]}})), "step_up_required");
    assert_eq!(reason(&gate, path, &json!({"claims": {"acrs": ["c1", "c2"]}})), "passes");
}

#[test]
fn nothing_is_asked_of_a_token_that_is_not_good() {
    let gate = workforce();
    for (token, expected) in [
        (json!({"signature": "corrupt"}), "signature_invalid"),
        (json!({"expires_in": -600}), "token_expired"),
        (json!({"audience": "other"}), "audience_not_allowed"),
        (json!({"claims": {"oid": "blocked", "xms_cc": null}}), "token_revoked"),
    ] {
        let mut token = token;
        token["claims"]["xms_cc"] = json!(["cp1"]);
        let refusal = refusal(&gate, "/staff", &token).unwrap();
        assert_eq!(refusal.reason().code(), expected);
        assert_eq!(refusal.claims_challenge().is_some(), expected == "token_revoked");
    }
}

#[test]
fn only_a_client_that_declared_it_is_challenged() {
    let gate = workforce();
    for (xms_cc, challenged) in [
        (json!(["cp1"]), true),
        (json!("CP1"), true),
        (json!(["other"]), false),
        (json!([1]), false),
        (json!(null), false),
    ] {
        for (path, oid) in [("/staff", "u"), ("/orders", "blocked"), ("/orders", "stale")] {
            let token = json!({"claims": {"xms_cc": xms_cc, "oid": oid}});
            assert_eq!(challenge(&gate, path, &token).is_some(), challenged, "{path} {oid} {xms_cc}");
        }
    }
}

#[test]
fn a_token_without_a_user_cannot_be_stepped_up() {
    let gate = workforce();
    let app = |oid: &str| json!({"roles": ["Orders.Read.All"], "claims": {"xms_cc": ["cp1"], "oid": oid}});
    assert_eq!(challenge(&gate, "/staff", &app("service")), None);
    // But it can be replaced by a newer one.
    assert!(challenge(&gate, "/staff", &app("stale")).is_some());
}

#[test]
fn the_challenge_names_the_context_or_the_time() {
    let gate = workforce();
    let wanted = |path: &str, oid: &str| {
        challenge(&gate, path, &json!({"claims": {"xms_cc": ["cp1"], "oid": oid}})).unwrap().wanted
    };
    assert_eq!(wanted("/staff", "u"), Wanted::AuthContext("c1".into()));
    assert_eq!(wanted("/staff/pay", "u"), Wanted::AuthContext("c2".into()));
    let now = u64::try_from(NOW).unwrap();
    assert_eq!(wanted("/orders", "stale"), Wanted::NotBefore(now + 1));
    assert_eq!(wanted("/orders", "blocked"), Wanted::NotBefore(now));
}

#[test]
fn the_address_fits_cloud_and_tenant() {
    let contoso = json!([CONTOSO]);
    for (name, provider, token, expected) in [
        ("public", json!({"tenants": contoso}), json!({}), Some(("login.microsoftonline.com", CONTOSO))),
        ("v1", json!({"tenants": contoso}), json!({"version": 1}), Some(("login.microsoftonline.com", CONTOSO))),
        (
            "one of several tenants",
            json!({"tenants": [CONTOSO, FABRIKAM]}),
            json!({"tenant": FABRIKAM}),
            Some(("login.microsoftonline.com", FABRIKAM)),
        ),
        ("any tenant", json!({"tenants": "any"}), json!({}), Some(("login.microsoftonline.com", ""))),
        (
            "us_government",
            json!({"tenants": contoso, "cloud": "us_government"}),
            json!({"cloud": "us_government"}),
            Some(("login.microsoftonline.us", CONTOSO)),
        ),
        (
            "china, v1",
            json!({"tenants": contoso, "cloud": "china"}),
            json!({"cloud": "china", "version": 1}),
            Some(("login.partner.microsoftonline.cn", CONTOSO)),
        ),
        (
            "external_id",
            json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]}),
            json!({"kind": "external_id"}),
            Some(("3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f.ciamlogin.com", CUSTOMERS)),
        ),
        (
            "b2c",
            json!({"kind": "b2c", "domain": "contosob2c", "tenants": [B2C], "policies": ["B2C_1_signin"]}),
            json!({"kind": "b2c"}),
            None,
        ),
        ("oidc", json!({"kind": "oidc", "metadata_url": IDP}), json!({"kind": "oidc"}), None),
    ] {
        let gate = gate(&provider);
        let mut token = token;
        token["claims"] = json!({"xms_cc": ["cp1"], "uti": "u", "jti": "u"});
        let found = challenge(&gate, "/staff", &token).map(|challenge| (challenge.authorization_uri, challenge.realm));
        let expected = expected.map(|(host, realm)| {
            let tenant = if realm.is_empty() { "common" } else { realm };
            (format!("https://{host}/{tenant}/oauth2/authorize"), realm.to_owned())
        });
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_remembered_token_is_asked_for_its_context_all_the_same() {
    let mut gate = workforce();
    let token = gate.mint(&json!({"claims": {"acrs": ["c1"], "xms_cc": "cp1"}}));
    let authorization = format!("Bearer {token}");
    let Verdict::Allow(grant) = gate.judge("/staff", Some(&authorization)).verdict else { panic!("the token is good") };
    gate.memory.remember(&token, grant.facts().unwrap());
    let again = gate.judge("/staff", Some(&authorization));
    assert!(again.recall == Recall::Hit && matches!(again.verdict, Verdict::Allow(_)));
    let other = gate.judge("/staff/pay", Some(&authorization));
    assert_eq!(other.recall, Recall::Hit);
    let Verdict::Refuse(refusal) = other.verdict else { panic!("the token lacks c2") };
    assert_eq!(refusal.claims_challenge().unwrap().wanted, Wanted::AuthContext("c2".into()));
    assert_eq!(other.seen.tenant.as_deref(), Some(CONTOSO));
}
