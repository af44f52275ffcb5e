//! The decision, by behaviour: tokens as Entra issues them, and every way in which they can be wrong.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/gate.rs"]
mod gate;
#[path = "decision/inquiry.rs"]
mod inquiry;

use entra_gate::judge::refusal::Refusal;
use entra_gate::judge::verdict::{Grant, Recall, Verdict, Want};
use entra_gate::revocation::{Entry, Rule, Subject};
use gate::{Gate, NOW};
use serde_json::{Value, json};

const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const FABRIKAM: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";
const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
const B2C: &str = "775527ff-9a37-4307-8b3d-cc311f58d925";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";

fn provider(changes: Value) -> Value {
    let mut provider =
        json!({"tenants": [CONTOSO], "audiences": [ORDERS, "api://orders"], "upstream": {"cluster": "entra"}});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            provider.as_object_mut().unwrap().remove(name);
        } else {
            provider[name] = value.clone();
        }
    }
    provider
}

impl Gate {
    /// What becomes of a minted token: who passes, or why not.
    fn try_token(&self, path: &str, request: &Value) -> Result<Grant, Refusal> {
        let token = self.mint(request);
        match self.judge(path, Some(&format!("Bearer {token}"))).verdict {
            Verdict::Allow(grant) => Ok(grant),
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Ask(ask) => Err(ask.otherwise),
            Verdict::Lack(lack) => Err(lack.otherwise),
        }
    }

    /// The reason's code, or `passes`.
    fn outcome(&self, request: &Value) -> &'static str {
        self.outcome_at("/", request)
    }

    fn outcome_at(&self, path: &str, request: &Value) -> &'static str {
        self.try_token(path, request).map_or_else(|refusal| refusal.reason().code(), |_| "passes")
    }
}

fn gate_of(changes: Value) -> Gate {
    Gate::new(&json!({"providers": {"p": provider(changes)}}))
}

fn gate() -> Gate {
    gate_of(json!({}))
}

#[test]
fn every_kind_of_provider_lets_its_own_tokens_pass() {
    for (name, changes, token) in [
        ("workforce v2", json!({}), json!({"version": 2})),
        ("workforce v1", json!({}), json!({"version": 1})),
        ("app-only", json!({}), json!({"roles": ["Orders.Read.All"]})),
        ("several tenants", json!({"tenants": [FABRIKAM, CONTOSO]}), json!({})),
        ("any tenant", json!({"tenants": "any"}), json!({"tenant": FABRIKAM})),
        ("any tenant, v1", json!({"tenants": "any"}), json!({"tenant": FABRIKAM, "version": 1})),
        (
            "personal accounts",
            json!({"tenants": "any", "personal_accounts": true}),
            json!({"tenant": PERSONAL, "key": "msa"}),
        ),
        ("us_government v2", json!({"cloud": "us_government"}), json!({"cloud": "us_government"})),
        ("us_government v1", json!({"cloud": "us_government"}), json!({"cloud": "us_government", "version": 1})),
        ("china v2", json!({"cloud": "china"}), json!({"cloud": "china"})),
        ("china v1", json!({"cloud": "china"}), json!({"cloud": "china", "version": 1})),
        (
            "external_id",
            json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]}),
            json!({"kind": "external_id"}),
        ),
        (
            "external_id, custom host",
            json!({"kind": "external_id", "domain": "login.contoso-customers.example", "tenants": [CUSTOMERS]}),
            json!({"kind": "external_id"}),
        ),
        (
            "b2c",
            json!({"kind": "b2c", "domain": "contosob2c", "tenants": [B2C], "policies": ["B2C_1_signin", "B2C_1_susi"]}),
            json!({"kind": "b2c", "policy": "B2C_1_susi"}),
        ),
        (
            "b2c, tfp issuer",
            json!({"kind": "b2c", "domain": "contosob2c", "tenants": [B2C], "policies": ["B2C_1_tfp"]}),
            json!({"kind": "b2c", "policy": "B2C_1_tfp"}),
        ),
        (
            "oidc",
            json!({
                "kind": "oidc",
                "tenants": null,
                "metadata_url": "https://idp.example.com/.well-known/openid-configuration",
            }),
            json!({"kind": "oidc"}),
        ),
        ("claims-mapping key", json!({"app_id": "aaaaaaaa-0000-4000-8000-000000000001"}), json!({"key": "app"})),
        (
            "tenants of one shared document",
            json!({
                "tenants": [CONTOSO, FABRIKAM],
                "metadata_url": "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
            }),
            json!({"tenant": FABRIKAM}),
        ),
    ] {
        let gate = gate_of(changes);
        assert_eq!(gate.outcome(&token), "passes", "{name}: {:?}", gate.try_token("/", &token).err());
    }
}

#[test]
fn each_selectable_algorithm_verifies() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256"] {
        let gate = gate_of(json!({"algorithms": [algorithm]}));
        assert_eq!(gate.outcome(&json!({"alg": algorithm})), "passes", "{algorithm}");
        let pinned = if algorithm == "RS256" { "RS512" } else { "RS256" };
        assert_eq!(gate.outcome(&json!({"alg": pinned})), "algorithm_not_allowed", "{algorithm}");
    }
    let metadata = "https://idp.example.com/.well-known/openid-configuration";
    let gate = gate_of(json!({"kind": "oidc", "tenants": null, "metadata_url": metadata, "algorithms": ["ES256"]}));
    assert_eq!(gate.outcome(&json!({"kind": "oidc", "alg": "ES256", "key": "ec"})), "passes");
}

#[test]
fn a_wrong_token_is_refused_with_its_reason() {
    let other = "99999999-8888-4777-8666-555555555555";
    for (token, reason) in [
        (json!({"expires_in": -120}), "token_expired"),
        (json!({"claims": {"nbf": NOW + 3_600}}), "token_not_yet_valid"),
        (json!({"audience": "api://other"}), "audience_not_allowed"),
        (json!({"audience": "api://orders/"}), "audience_not_allowed"),
        (json!({"claims": {"aud": []}}), "audience_not_allowed"),
        (json!({"claims": {"aud": 1}}), "token_malformed"),
        (json!({"claims": {"aud": null}}), "claim_missing"),
        (json!({"tenant": FABRIKAM}), "tenant_not_allowed"),
        (json!({"tenant": PERSONAL, "key": "msa"}), "tenant_not_allowed"),
        (json!({"kind": "external_id"}), "issuer_not_allowed"),
        (json!({"kind": "b2c"}), "issuer_not_allowed"),
        (json!({"kind": "oidc"}), "issuer_not_allowed"),
        (json!({"cloud": "us_government"}), "issuer_not_allowed"),
        (json!({"claims": {"iss": null}}), "claim_missing"),
        (json!({"claims": {"iss": ["https://a/", "https://b/"]}}), "token_malformed"),
        (json!({"claims": {"tid": FABRIKAM}}), "issuer_not_allowed"),
        (json!({"claims": {"tid": "{tenantid}"}}), "issuer_not_allowed"),
        (json!({"claims": {"TID": FABRIKAM}}), "token_malformed"),
        (json!({"claims": {"ver": "1.0"}}), "issuer_not_allowed"),
        (json!({"claims": {"ver": 2}}), "token_malformed"),
        (json!({"claims": {"ver": null}}), "claim_missing"),
        (json!({"claims": {"appid": other}}), "claim_not_allowed"),
        (json!({"claims": {"azp": null}}), "claim_missing"),
        (json!({"claims": {"azp": null, "nonce": "n", "scp": null}}), "token_type_not_allowed"),
        (json!({"claims": {"exp": null}}), "claim_missing"),
        (json!({"claims": {"exp": (NOW + 600).to_string()}}), "token_malformed"),
        (json!({"alg": "none"}), "algorithm_not_allowed"),
        (json!({"alg": "HS256"}), "algorithm_not_allowed"),
        (json!({"alg": "none", "signature": "empty"}), "algorithm_not_allowed"),
        (json!({"header": {"alg": "rs256"}}), "algorithm_not_allowed"),
        (json!({"header": {"alg": "PS256"}}), "algorithm_not_allowed"),
        (json!({"header": {"typ": "secevent+jwt"}}), "token_type_not_allowed"),
        (json!({"header": {"typ": "application/logout+jwt"}}), "token_type_not_allowed"),
        (json!({"header": {"cty": "JWT"}}), "token_type_not_allowed"),
        (json!({"header": {"crit": ["exp"]}}), "token_malformed"),
        (json!({"header": {"kid": null}}), "token_malformed"),
        (json!({"header": {"kid": "unknown"}}), "key_unknown"),
        (json!({"key": "stranger"}), "key_unknown"),
        (json!({"key": "app"}), "key_unknown"),
        (json!({"version": 1, "key": "v2"}), "key_unknown"),
        (json!({"version": 2, "key": "v1"}), "key_unknown"),
        (json!({"signature": "corrupt"}), "signature_invalid"),
        (json!({"signature": "empty"}), "token_malformed"),
        (json!({"signature": "strip"}), "token_malformed"),
        (json!({"raw_payload": "{\"aud\":1,\"aud\":2}"}), "token_malformed"),
        (json!({"raw_payload": "[]"}), "token_malformed"),
        (json!({"raw_header": "{"}), "token_malformed"),
    ] {
        assert_eq!(gate().outcome(&token), reason, "{token}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "APPLICATION/JWT"] {
        assert_eq!(gate().outcome(&json!({"header": {"typ": typ}})), "passes", "{typ}");
    }
}

#[test]
fn a_key_signs_only_for_the_issuer_and_cloud_that_it_is_bound_to() {
    let any = json!({"tenants": "any", "personal_accounts": true});
    // The key of personal accounts in the shared document must not speak for an organization.
    assert_eq!(gate_of(any.clone()).outcome(&json!({"key": "msa"})), "key_not_allowed");
    assert_eq!(gate_of(any).outcome(&json!({"tenant": PERSONAL})), "passes");

    let mut directory = mock_entra::Directory::new();
    let foreign = json!({"add": {"key": "large", "jwk": {"cloud_instance_name": "microsoftonline.us"}}});
    assert!(directory.change_keys(&serde_json::from_value(foreign).unwrap()).is_ok());
    let gate = Gate::with(directory, &json!({"providers": {"p": provider(json!({}))}}));
    assert_eq!(gate.outcome(&json!({"key": "large"})), "key_not_allowed");
}

#[test]
fn versions_are_accepted_as_configured_and_named_when_not() {
    let only_v2 = gate_of(json!({"token_versions": [2]}));
    assert_eq!(only_v2.outcome(&json!({"version": 1})), "token_version_not_allowed");
    let sentence = only_v2.try_token("/", &json!({"version": 1})).unwrap_err().sentence();
    assert!(sentence.contains("requestedAccessTokenVersion to 2"), "{sentence}");
    let only_v1 = gate_of(json!({"token_versions": [1]}));
    assert_eq!(only_v1.outcome(&json!({"version": 2})), "token_version_not_allowed");
    assert_eq!(only_v1.outcome(&json!({"version": 1})), "passes");
}

#[test]
fn a_shared_document_needs_a_tenant_that_fits() {
    let any = gate_of(json!({"tenants": "any"}));
    assert_eq!(any.outcome(&json!({"claims": {"tid": null}})), "claim_missing");
    for tid in [json!(FABRIKAM), json!("{tenantid}"), json!("common"), json!("")] {
        assert_eq!(any.outcome(&json!({"claims": {"tid": tid}})), "issuer_not_allowed", "{tid}");
    }
}

#[test]
fn clients_are_accepted_as_configured() {
    let daemon = "aaaaaaaa-0000-4000-8000-000000000001";
    let gate = gate_of(json!({"client_applications": [daemon]}));
    for version in [1, 2] {
        assert_eq!(gate.outcome(&json!({"version": version, "client": daemon})), "passes");
        assert_eq!(gate.outcome(&json!({"version": version, "client": ORDERS})), "client_not_allowed");
    }
    // A v1 token names its client in appid: azp is not looked at.
    assert_eq!(gate.outcome(&json!({"version": 1, "claims": {"appid": null, "azp": daemon}})), "claim_missing");
}

#[test]
fn the_sentence_names_the_mistake() {
    let sentence = |changes: Value, token: Value| gate_of(changes).try_token("/", &token).unwrap_err().sentence();
    for (changes, token, part) in [
        (json!({}), json!({"kind": "external_id"}), "External ID (CIAM)"),
        (json!({}), json!({"kind": "b2c"}), "Azure AD B2C"),
        (
            json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]}),
            json!({}),
            "workforce token (Entra ID); this route accepts External ID tokens",
        ),
        (json!({}), json!({"cloud": "us_government"}), "another Microsoft cloud (us_government)"),
        (json!({}), json!({"audience": "https://graph.microsoft.com"}), "Microsoft Graph"),
        (json!({"audiences": [ORDERS]}), json!({"audience": format!("api://{ORDERS}")}), "in another form"),
        (json!({}), json!({"tenant": PERSONAL, "key": "msa"}), "personal Microsoft account"),
        (
            json!({}),
            json!({"claims": {"iss": format!("https://login.microsoftonline.com/{CONTOSO}/v2.0/")}}),
            "only in spelling",
        ),
        (json!({}), json!({"claims": {"iss": "https://login.microsoftonline.com/{tenantid}/v2.0"}}), "placeholder"),
        (
            json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]}),
            json!({
                "kind": "external_id",
                "claims": {"iss": format!("https://contosocustomers.ciamlogin.com/{CUSTOMERS}/v2.0")},
            }),
            "not on its tenant's ID host",
        ),
        (json!({}), json!({"claims": {"tid": FABRIKAM}}), "contradicts itself: its tid"),
    ] {
        let said = sentence(changes, token.clone());
        assert!(said.contains(part), "{token}: {said}");
    }
}

#[test]
fn another_openid_provider_may_use_claims_of_entra_s_names() {
    let metadata = "https://idp.example.com/.well-known/openid-configuration";
    let gate = gate_of(json!({"kind": "oidc", "tenants": null, "metadata_url": metadata}));
    assert_eq!(gate.outcome(&json!({"kind": "oidc", "claims": {"ver": 1}})), "passes");
    assert_eq!(gate.outcome(&json!({"kind": "oidc", "claims": {"azp": null}})), "passes");
}

#[test]
fn two_providers_may_share_an_issuer() {
    let gate = Gate::new(&json!({"providers": {
        "orders": provider(json!({"audiences": ["api://orders"]})),
        "stock": provider(json!({"audiences": ["api://stock"]})),
    }}));
    for (audience, outcome) in
        [("api://orders", "passes"), ("api://stock", "passes"), ("api://x", "audience_not_allowed")]
    {
        assert_eq!(gate.outcome(&json!({"audience": audience})), outcome);
    }
    let granted = gate.try_token("/", &json!({"audience": "api://stock"})).unwrap();
    assert_eq!(granted.identity().unwrap().provider, "stock");
}

#[test]
fn a_rule_decides_which_providers_count() {
    let gate = Gate::new(&json!({
        "providers": {
            "workforce": provider(json!({})),
            "customers": provider(json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]})),
        },
        "rules": [
            {"match": {"path": "/healthz"}, "allow": "anonymous"},
            {"match": {"prefix": "/maybe"}, "allow": "optional"},
            {"match": {"prefix": "/customers"}, "require": {"providers": ["customers"]}},
            {"match": {"prefix": "/either"}, "require": {"providers": ["customers", "workforce"]}},
        ],
    }));
    let ciam = json!({"kind": "external_id"});
    assert_eq!(gate.outcome_at("/customers/1", &ciam), "passes");
    assert_eq!(gate.outcome_at("/customers/1", &json!({})), "issuer_not_allowed");
    assert_eq!(gate.outcome_at("/either", &ciam), "passes");
    assert_eq!(gate.outcome_at("/either", &json!({})), "passes");
    assert_eq!(gate.outcome_at("/other", &ciam), "passes");
    // Both readings of this path must be satisfied, and no provider satisfies both.
    assert_eq!(gate.outcome_at("/maybe/../customers", &json!({})), "issuer_not_allowed");
    assert_eq!(gate.outcome_at("/healthz", &json!({"signature": "corrupt"})), "passes");
    assert_eq!(gate.outcome_at("/maybe", &json!({"signature": "corrupt"})), "signature_invalid");
    let without_token = |path: &str| match gate.judge(path, None).verdict {
        Verdict::Allow(grant) => grant.identity().map_or("anonymous", |_| "somebody"),
        Verdict::Refuse(refusal) => refusal.reason().code(),
        Verdict::Ask(_) | Verdict::Lack(_) => "lack",
    };
    for (path, outcome) in
        [("/healthz", "anonymous"), ("/maybe", "anonymous"), ("/customers", "token_missing"), ("/", "token_missing")]
    {
        assert_eq!(without_token(path), outcome, "{path}");
    }
    let basic = gate.judge("/maybe", Some("Basic dTpw"));
    assert!(matches!(basic.verdict, Verdict::Allow(_)), "another scheme is no token");
    let malformed = gate.judge("/maybe", Some("Bearer a,Bearer b"));
    assert!(matches!(malformed.verdict, Verdict::Refuse(Refusal::RequestMalformed(_))));
}

#[test]
fn b2c_policies_do_not_speak_for_each_other() {
    let gate = gate_of(json!({"kind": "b2c", "domain": "contosob2c", "tenants": [B2C], "policies": ["B2C_1_signin"]}));
    assert_eq!(gate.outcome(&json!({"kind": "b2c", "policy": "B2C_1_signin"})), "passes");
    assert_eq!(gate.outcome(&json!({"kind": "b2c", "policy": "B2C_1_susi"})), "claim_not_allowed");
    let claims = json!({"tfp": "B2C_1_signin"});
    assert_eq!(gate.outcome(&json!({"kind": "b2c", "policy": "B2C_1_susi", "claims": claims})), "key_unknown");
    assert_eq!(gate.outcome(&json!({"kind": "b2c", "claims": {"tfp": null}})), "claim_missing");
}

#[test]
fn what_is_lacking_is_said_instead_of_guessed() {
    let mut gate = gate();
    let token = format!("Bearer {}", gate.mint(&json!({"header": {"kid": "unknown"}})));
    let Verdict::Lack(lack) = gate.judge("/", Some(&token)).verdict else { panic!("must lack a key") };
    assert_eq!((lack.want, lack.otherwise.reason().code()), (Want::Kid, "key_unknown"));

    gate.keys = gate.policy.key_store();
    let token = format!("Bearer {}", gate.mint(&json!({})));
    let Verdict::Lack(lack) = gate.judge("/", Some(&token)).verdict else { panic!("must lack all keys") };
    assert_eq!((lack.want, lack.otherwise.reason().code()), (Want::Any, "keys_unavailable"));
    // What can be refused without keys is refused without them.
    assert_eq!(gate.outcome(&json!({"expires_in": -120})), "token_expired");
}

#[test]
fn keys_are_used_until_their_greatest_age() {
    let mut gate = gate_of(json!({"keys": {"max_age": "2h"}}));
    gate.now = NOW + 7_200;
    assert_eq!(gate.outcome(&json!({})), "passes");
    gate.now = NOW + 7_201;
    assert_eq!(gate.outcome(&json!({})), "keys_unavailable");
}

#[test]
fn a_removed_key_no_longer_verifies_and_a_new_one_does() {
    let mut gate = gate();
    let change = |gate: &mut Gate, change: Value| {
        assert!(gate.directory.change_keys(&serde_json::from_value(change).unwrap()).is_ok());
    };
    let old = format!("Bearer {}", gate.mint(&json!({})));
    change(&mut gate, json!({"rotate": true}));
    assert_eq!(gate.outcome(&json!({})), "key_unknown");
    gate.fetch();
    assert_eq!(gate.outcome(&json!({})), "passes");
    assert!(matches!(gate.judge("/", Some(&old)).verdict, Verdict::Allow(_)));
    change(&mut gate, json!({"remove_old": true}));
    gate.fetch();
    assert!(matches!(gate.judge("/", Some(&old)).verdict, Verdict::Lack(_)));
}

#[test]
fn the_upstream_is_told_what_is_configured_and_nothing_else() {
    let mut configuration = json!({"providers": {"p": provider(json!({}))}});
    configuration["forward"] = json!({
        "payload_header": "X-Entra-Payload",
        "claim_headers": [
            {"header": "x-oid", "claim": "oid"},
            {"header": "x-nested", "claim": "a.b"},
            {"header": "x-absent", "claim": "absent"},
            {"header": "x-split", "claim": "split"},
        ],
    });
    let gate = Gate::new(&configuration);
    let claims = json!({"oid": "o", "a": {"b": 7}, "split": "a\r\nx-oid: admin", "uti": "u"});
    let grant = gate.try_token("/", &json!({"claims": claims})).unwrap();
    let header = |name: &str| grant.headers().iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!((header("x-oid"), header("x-nested")), (Some("o"), Some("7")));
    assert_eq!((header("x-absent"), header("x-split")), (None, None));
    assert!(header("x-entra-payload").is_some_and(|payload| payload.starts_with("ey")));
    let identity = grant.identity().unwrap();
    assert_eq!((identity.tenant.as_deref(), identity.subject.as_deref()), (Some(CONTOSO), Some("o")));
    assert_eq!(identity.token_id.as_deref(), Some("u"));
    let payload = header("x-entra-payload").unwrap();
    assert!(!format!("{grant:?}").contains(payload), "{grant:?}");
}

#[test]
fn the_break_glass_list_refuses_what_it_names() {
    let with = |entry: Value, token: Value| {
        let gate = Gate::new(&json!({
            "providers": {"p": provider(json!({}))},
            "revocation": {"entries": [entry]},
        }));
        gate.outcome(&token)
    };
    let tenant_from = |time: i64| json!({"tenant": CONTOSO, "not_before": time});
    // The mock back-dates iat by 300 s, as Entra does: the token was issued now.
    for (time, outcome) in [(NOW + 1, "token_revoked"), (NOW, "passes"), (NOW - 1, "passes")] {
        assert_eq!(with(tenant_from(time), json!({})), outcome, "{time}");
    }
    let user = json!({"tenant": CONTOSO, "user": "u", "blocked": true});
    assert_eq!(with(user.clone(), json!({"claims": {"oid": "u"}})), "token_revoked");
    assert_eq!(with(user.clone(), json!({"claims": {"oid": "v"}})), "passes");
    assert_eq!(with(user.clone(), json!({"claims": {"oid": "u"}, "signature": "corrupt"})), "signature_invalid");
    assert_eq!(with(user, json!({"claims": {"uti": null}})), "claim_missing");
}

/// A gate that remembers a token, and the token.
fn remembering(configuration: &Value) -> (Gate, String) {
    let mut gate = Gate::new(configuration);
    let authorization = format!("Bearer {}", gate.mint(&json!({})));
    let judgement = gate.judge("/", Some(&authorization));
    assert_eq!(judgement.recall, Recall::Miss);
    let Verdict::Allow(grant) = judgement.verdict else { panic!("the token is good") };
    gate.memory.remember(authorization.strip_prefix("Bearer ").unwrap(), grant.facts().unwrap());
    let again = gate.judge("/", Some(&authorization));
    assert_eq!(again.recall, Recall::Hit);
    assert!(matches!(again.verdict, Verdict::Allow(ref same) if *same == grant));
    (gate, authorization)
}

fn told(judgement: &entra_gate::judge::verdict::Judgement) -> (Recall, &'static str) {
    let outcome = match &judgement.verdict {
        Verdict::Allow(_) => "passes",
        Verdict::Ask(ask) => ask.otherwise.reason().code(),
        Verdict::Lack(lack) => lack.otherwise.reason().code(),
        Verdict::Refuse(refusal) => refusal.reason().code(),
    };
    (judgement.recall, outcome)
}

#[test]
fn a_remembered_token_expires_all_the_same() {
    let (mut gate, authorization) = remembering(&json!({"providers": {"p": provider(json!({}))}}));
    gate.now = NOW + 3_600 + 59;
    gate.keys = gate.policy.key_store();
    gate.fetch();
    assert_eq!(told(&gate.judge("/", Some(&authorization))), (Recall::Hit, "passes"));
    gate.now = NOW + 3_600 + 60;
    assert_eq!(told(&gate.judge("/", Some(&authorization))), (Recall::Miss, "token_expired"));
}

#[test]
fn a_remembered_token_falls_with_its_key() {
    let (mut gate, authorization) = remembering(&json!({"providers": {"p": provider(json!({}))}}));
    let change = |gate: &mut Gate, change: Value| {
        assert!(gate.directory.change_keys(&serde_json::from_value(change).unwrap()).is_ok());
        gate.fetch();
    };
    change(&mut gate, json!({"rotate": true}));
    assert_eq!(told(&gate.judge("/", Some(&authorization))), (Recall::Hit, "passes"));
    change(&mut gate, json!({"remove_old": true}));
    assert_eq!(told(&gate.judge("/", Some(&authorization))), (Recall::Miss, "key_unknown"));
    gate.keys = gate.policy.key_store();
    assert_eq!(told(&gate.judge("/", Some(&authorization))), (Recall::Miss, "keys_unavailable"));
}

#[test]
fn a_remembered_token_passes_only_where_its_provider_does() {
    let (gate, authorization) = remembering(&json!({
        "providers": {
            "workforce": provider(json!({})),
            "customers": provider(json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]})),
        },
        "rules": [{"match": {"prefix": "/customers"}, "require": {"providers": ["customers"]}}],
    }));
    assert_eq!(told(&gate.judge("/x", Some(&authorization))), (Recall::Hit, "passes"));
    assert_eq!(told(&gate.judge("/customers", Some(&authorization))), (Recall::Miss, "issuer_not_allowed"));
}

#[test]
fn a_remembered_token_is_still_revoked() {
    let entry = json!({"tenant": FABRIKAM, "blocked": true});
    let configuration = json!({"providers": {"p": provider(json!({}))}, "revocation": {"entries": [entry]}});
    let (mut gate, authorization) = remembering(&configuration);
    let tenant = Subject::Tenant { tenant: CONTOSO.into() };
    gate.policy.revocation.as_mut().unwrap().entries.push(Entry {
        subject: tenant,
        rule: Rule::blocked(0),
        expires: None,
    });
    assert_eq!(told(&gate.judge("/", Some(&authorization))), (Recall::Hit, "token_revoked"));
}

#[test]
fn without_a_current_feed_nobody_passes_who_is_not_known_to_be_revoked() {
    let feed = json!({
        "url": "https://revocations.example/feed",
        "cluster": "revocations",
        "keys": {"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "1",
            "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
        }]},
    });
    for (when_stale, stale) in [("deny", "revocation_unavailable"), ("allow", "passes")] {
        let mut feed = feed.clone();
        feed["when_stale"] = when_stale.into();
        let revocation = json!({"feed": feed, "entries": [{"tenant": FABRIKAM, "blocked": true}]});
        let mut gate = Gate::new(&json!({"providers": {"p": provider(json!({"tenants": [CONTOSO, FABRIKAM]}))},
            "revocation": revocation}));
        let token = format!("Bearer {}", gate.mint(&json!({})));
        let revoked = format!("Bearer {}", gate.mint(&json!({"tenant": FABRIKAM})));
        let mut outcomes = |confirmed_at: Option<i64>| {
            gate.confirmed_at = confirmed_at.map(|seconds| u64::try_from(seconds).unwrap() * 1_000);
            [&token, &revoked].map(|token| told(&gate.judge("/", Some(token))).1)
        };
        assert_eq!(outcomes(None), ["revocation_unavailable", "token_revoked"]);
        assert_eq!(outcomes(Some(NOW)), ["passes", "token_revoked"]);
        assert_eq!(outcomes(Some(NOW - 300)), ["passes", "token_revoked"]);
        assert_eq!(outcomes(Some(NOW - 301)), [stale, "token_revoked"]);
        // A clock that was set back makes nothing old.
        assert_eq!(outcomes(Some(NOW + 9_999)), ["passes", "token_revoked"]);
    }
}

#[test]
fn only_the_very_token_is_remembered() {
    let (gate, authorization) = remembering(&json!({"providers": {"p": provider(json!({}))}}));
    let (signed, signature) = authorization.rsplit_once('.').unwrap();
    for other in
        [format!("{authorization}A"), format!("{signed}.{}", signature.replace('A', "B")), format!("{signed}.")]
    {
        if other != authorization {
            assert_eq!(gate.judge("/", Some(&other)).recall, Recall::Miss, "{other}");
        }
    }
    // Scheme and white space are not part of it.
    let spaced = authorization.replace("Bearer ", "bearer  ");
    assert_eq!(told(&gate.judge("/", Some(&spaced))), (Recall::Hit, "passes"));
}

#[test]
fn a_flood_of_tokens_neither_grows_memory_nor_pushes_out_what_is_hot() {
    let (mut gate, authorization) = remembering(&json!({"providers": {"p": provider(json!({}))}}));
    let token = authorization.strip_prefix("Bearer ").unwrap().to_owned();
    let facts = std::rc::Rc::clone(gate.memory.recall(token.as_bytes()).unwrap());
    for number in 0..50_000 {
        gate.memory.remember(format!("{token}{number}"), &facts);
        if number % 100 == 0 {
            assert!(gate.memory.recall(token.as_bytes()).is_some(), "{number}");
        }
    }
    assert!(gate.memory.len() <= 10_000, "{}", gate.memory.len());
    gate.memory.remember("x".repeat(8 * 1024 + 1), &facts);
    assert!(gate.memory.recall("x".repeat(8 * 1024 + 1).as_bytes()).is_none());
}

#[test]
fn claims_of_every_type_never_pass_by_accident_and_never_panic() {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!([[]]),
    ];
    let gate = gate();
    for claim in ["iss", "aud", "exp", "nbf", "ver", "tid", "azp", "sub", "oid", "uti", "iat", "appid", "tfp"] {
        for value in &values {
            // RFC 7396: null removes, so these are the cases of absence and of every other type.
            let outcome = gate.outcome(&json!({"claims": {claim: value}}));
            let harmless = matches!(
                (claim, value),
                ("nbf" | "iat", Value::Null | Value::Number(_)) | ("tid", Value::Null) | ("tfp", _)
            ) || (matches!(claim, "sub" | "oid" | "uti" | "appid")
                && (value.is_null() || value.is_string()))
                || (claim, value) == ("azp", &json!("x"));
            if outcome == "passes" {
                assert!(harmless, "{claim} {value}");
            }
        }
    }
}
