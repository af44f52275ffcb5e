//! Where tokens may be, which keys verify and open them, and what a configuration may say of both.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/gate.rs"]
mod gate;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use entra_gate::config;
use entra_gate::judge::refusal::{IssuerHint, Refusal};
use entra_gate::judge::verdict::{Recall, Verdict};
use gate::{Gate, SECRET, environment};
use mock_entra::Encryption;
use serde_json::{Value, json};

const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";

fn provider(changes: &Value) -> Value {
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

/// An OpenID provider with inline keys: what it needs is in `changes`.
fn inline(changes: &Value) -> Value {
    let mut oidc = json!({"kind": "oidc", "tenants": null, "upstream": null, "issuers": ["https://idp.example.com"]});
    for (name, value) in changes.as_object().unwrap() {
        oidc[name] = value.clone();
    }
    provider(&oidc)
}

fn gate_of(provider: &Value) -> Gate {
    Gate::new(&json!({"providers": {"p": provider}}))
}

fn mistakes(provider: &Value) -> Vec<String> {
    let document = json!({"providers": {"p": provider}}).to_string();
    let mistakes = config::compile_with(document.as_bytes(), &environment).err().unwrap_or_default();
    mistakes.iter().map(ToString::to_string).collect()
}

/// Holds configurations to the mistake that each makes.
fn assert_mistakes(rows: &[(Value, &str)]) {
    for (provider, mistake) in rows {
        let all = mistakes(provider);
        assert!(all.iter().any(|found| found.starts_with(mistake)), "{provider}\n{mistake}\n{all:#?}");
    }
}

impl Gate {
    fn outcome(&self, target: &str, headers: &[(&str, &str)]) -> &'static str {
        self.refusal(target, headers).map_or("passes", |refusal| refusal.reason().code())
    }

    fn refusal(&self, target: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        match self.judge_request(target, headers).verdict {
            Verdict::Allow(_) => None,
            Verdict::Refuse(refusal) => Some(refusal),
            Verdict::Ask(ask) => Some(ask.otherwise),
            Verdict::Lack(lack) => Some(lack.otherwise),
        }
    }

    fn outcome_of(&self, request: &Value) -> &'static str {
        self.outcome_of_token(&self.mint(request))
    }

    fn outcome_of_token(&self, token: &str) -> &'static str {
        self.outcome("/", &[("authorization", &format!("Bearer {token}"))])
    }
}

#[test]
fn a_token_counts_only_where_it_may_be() {
    for (source, target, header) in [
        (json!({"header": "authorization", "scheme": "Bearer"}), "/", Some(("authorization", "bearer {}"))),
        (json!({"header": "Authorization", "scheme": "JWT"}), "/", Some(("authorization", "jwt {}"))),
        (json!({"header": "X-Token"}), "/", Some(("x-token", "{}"))),
        (json!({"header": "x-token", "scheme": "Token"}), "/", Some(("x-token", "Token {}"))),
        (json!({"query": "access_token"}), "/?a=b&access_token={}", None),
        (json!({"cookie": "__Host-session"}), "/", Some(("cookie", "a=b; __Host-session={}"))),
    ] {
        let gate = gate_of(&provider(&json!({"token_sources": [source]})));
        let send = |token: &str| {
            let value = header.map(|(name, value)| (name, value.replace("{}", token)));
            let headers: Vec<(&str, &str)> = value.iter().map(|(name, value)| (*name, value.as_str())).collect();
            gate.outcome(&target.replace("{}", token), &headers)
        };
        assert_eq!(send(&gate.mint(&json!({}))), "passes", "{source}");
        assert_eq!(send(&gate.mint(&json!({"expires_in": -600}))), "token_expired", "{source}");
        assert_eq!(send(&gate.mint(&json!({"signature": "corrupt"}))), "signature_invalid", "{source}");
        assert_eq!(gate.outcome("/", &[]), "token_missing", "{source}");
        if source["scheme"] != "Bearer" {
            assert_eq!(gate.outcome_of(&json!({})), "token_missing", "{source}");
        }
    }
}

#[test]
fn two_tokens_are_refused_even_if_both_are_good() {
    let sources = json!([{"header": "authorization", "scheme": "Bearer"}, {"query": "access_token"}, {"cookie": "t"}]);
    let gate = gate_of(&provider(&json!({"token_sources": sources})));
    let token = gate.mint(&json!({}));
    let (bearer, cookie, target) = (format!("Bearer {token}"), format!("t={token}"), format!("/?access_token={token}"));
    for (target, headers) in [
        (target.as_str(), vec![("authorization", bearer.as_str())]),
        (target.as_str(), vec![("cookie", cookie.as_str())]),
        ("/", vec![("authorization", bearer.as_str()), ("cookie", cookie.as_str())]),
        ("/?Access_Token=x", vec![("authorization", bearer.as_str())]),
    ] {
        assert_eq!(gate.outcome(target, &headers), "request_malformed", "{target} {headers:?}");
    }
    assert_eq!(gate.outcome(&target, &[("cookie", "u=x")]), "passes");
}

#[test]
fn a_source_is_for_the_providers_that_name_it() {
    let staff = provider(&json!({}));
    let customers = json!({
        "kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS], "audiences": [ORDERS],
        "upstream": {"cluster": "entra"}, "token_sources": [{"cookie": "session"}],
    });
    let gate = Gate::new(&json!({
        "providers": {"staff": staff, "customers": customers},
        "rules": [
            {"match": {"prefix": "/staff"}, "require": {"providers": ["staff"]}},
            {"match": {"prefix": "/mixed"}, "allow": "optional"},
        ],
    }));
    let (staff, customer) = (gate.mint(&json!({})), gate.mint(&json!({"kind": "external_id"})));
    let send = |path: &str, source: &str, token: &str| match source {
        "cookie" => gate.refusal(path, &[("cookie", &format!("session={token}"))]),
        _ => gate.refusal(path, &[("authorization", &format!("Bearer {token}"))]),
    };
    for path in ["/", "/mixed"] {
        assert_eq!(send(path, "header", &staff), None, "{path}");
        assert_eq!(send(path, "cookie", &customer), None, "{path}");
        for (source, token) in [("cookie", &staff), ("header", &customer)] {
            let Some(Refusal::IssuerNotAllowed(fault)) = send(path, source, token) else {
                panic!("a token from another provider's source passes at {path}");
            };
            assert!(matches!(fault.hint, IssuerHint::OtherSource { .. }), "{:?}", fault.hint);
        }
    }
    assert!(send("/staff", "cookie", &customer).is_some());
    // Another rule's source counts as well: the upstream might read it.
    let both = [("authorization", format!("Bearer {staff}")), ("cookie", format!("session={customer}"))];
    let both: Vec<(&str, &str)> = both.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(gate.outcome("/staff", &both), "request_malformed");
}

#[test]
fn a_remembered_token_is_remembered_where_it_was() {
    let cookie = json!([{"cookie": "session"}]);
    let bearer = provider(&json!({"audiences": ["api://a"]}));
    let mut gate = Gate::new(&json!({"providers": {
        "bearer": bearer,
        "cookie": provider(&json!({"token_sources": cookie})),
    }}));
    let token = gate.mint(&json!({}));
    let by_cookie = format!("session={token}");
    let headers = [("cookie", by_cookie.as_str())];
    let first = gate.judge_request("/", &headers);
    let Verdict::Allow(grant) = &first.verdict else { panic!("a good token must pass") };
    gate.memory.remember(&token, grant.facts().unwrap());
    assert_eq!(gate.judge_request("/", &headers).recall, Recall::Hit);
    let moved = gate.judge_request("/", &[("authorization", &format!("Bearer {token}"))]);
    assert_eq!(moved.recall, Recall::Miss);
    assert!(matches!(moved.verdict, Verdict::Refuse(_)));
}

#[test]
fn what_is_missing_is_told_with_its_place() {
    let gate = gate_of(&provider(&json!({"token_sources": [{"header": "x-token"}, {"cookie": "session"}]})));
    let refusal = gate.refusal("/", &[]).unwrap();
    let sentence = "No token was sent. Send an access token of this API as x-token: <token>, or in the cookie session.";
    assert_eq!(refusal.sentence(), sentence);
    let usual = gate_of(&provider(&json!({}))).refusal("/", &[]).unwrap();
    assert!(usual.sentence().ends_with("as Authorization: Bearer <token>."), "{}", usual.sentence());
}

#[test]
fn sources_are_held_to_what_http_can_carry() {
    let of = |sources: Value| provider(&json!({"token_sources": sources}));
    assert_mistakes(&[
        (of(json!([])), "providers.p.token_sources: found an empty list"),
        (of(json!([{}])), "providers.p.token_sources[0]: found not one place"),
        (of(json!([{"header": "x-a", "query": "b"}])), "providers.p.token_sources[0]: found not one place"),
        (of(json!([{"header": "host"}])), "providers.p.token_sources[0].header"),
        (of(json!([{"header": "Cookie"}])), "providers.p.token_sources[0].header"),
        (of(json!([{"header": ":path"}])), "providers.p.token_sources[0].header"),
        (of(json!([{"header": "a b"}])), "providers.p.token_sources[0].header"),
        (of(json!([{"header": "x-a", "scheme": "a b"}])), "providers.p.token_sources[0].scheme"),
        (of(json!([{"query": "a=b"}])), "providers.p.token_sources[0].query"),
        (of(json!([{"query": "a%62"}])), "providers.p.token_sources[0].query"),
        (of(json!([{"query": "a", "scheme": "Bearer"}])), "providers.p.token_sources[0].scheme"),
        (of(json!([{"cookie": "a;b"}])), "providers.p.token_sources[0].cookie"),
        (
            of(json!([{"cookies": "a"}])),
            "providers.p.token_sources[0].cookies: found an unknown member, expected `cookie`",
        ),
        (of(json!([{"query": "a"}, {"query": "a"}])), "providers.p.token_sources[1]: found a source that is already"),
        (
            of(
                json!([{"header": "authorization", "scheme": "Bearer"}, {"header": "Authorization", "scheme": "bearer"}]),
            ),
            "providers.p.token_sources[1]: found a source that is already",
        ),
        (
            of(json!([{"header": "x-a"}, {"header": "x-a", "scheme": "b"}])),
            "providers.p.token_sources[1]: found a header that is read both",
        ),
    ]);
    assert!(
        mistakes(&of(json!([{"header": "authorization", "scheme": "Bearer"}, {"header": "authorization"}]))).is_empty()
    );
    let mut document = json!({"providers": {"p": of(json!([{"header": "x-token"}]))}});
    document["forward"] = json!({"payload_header": "X-Token"});
    let mistakes = config::compile(document.to_string().as_bytes()).err().unwrap();
    assert!(mistakes[0].to_string().starts_with("forward: found a header for claims"), "{mistakes:?}");
}

/// The key document of the mock's OpenID provider.
fn published() -> Vec<Value> {
    let document = mock_entra::Directory::new().document("idp.example.com", "/keys").unwrap();
    document["keys"].as_array().unwrap().clone()
}

/// The published RSA key with these members alone, and others.
fn rsa(members: &[&str], more: Value) -> Value {
    let published = &published()[0];
    let mut key = json!({});
    for name in members {
        key[*name] = published[*name].clone();
    }
    for (name, value) in more.as_object().unwrap() {
        key[name.as_str()] = value.clone();
    }
    key
}

fn of_keys(keys: Value) -> Value {
    inline(&json!({"jwks": {"keys": keys}}))
}

fn certificate(name: &str) -> String {
    let file = format!("{}/tests/mock-entra/keys/{name}.crt.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(file).unwrap()
}

/// The same number as Azure API Management's policies write it.
fn standard(key: &Value, name: &str) -> Value {
    STANDARD.encode(URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap()).into()
}

#[test]
fn a_key_may_be_given_in_every_form_in_which_people_have_it() {
    let published = &published()[0];
    let pem = certificate("oidc");
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    for (form, key) in [
        ("JWK", published.clone()),
        ("modulus and exponent", rsa(&["kty", "kid", "n", "e"], json!({}))),
        (
            "standard base64",
            rsa(&["kty", "kid"], json!({"n": standard(published, "n"), "e": standard(published, "e")})),
        ),
        ("certificate", rsa(&["kid"], json!({"x5c": [der]}))),
        ("certificate, PEM", rsa(&["kty", "kid"], json!({"x5c": [pem]}))),
        ("certificate without kid", json!({"x5c": [pem]})),
        ("key and certificate", rsa(&["kty", "kid", "n", "e"], json!({"x5c": [der]}))),
        ("no kid", rsa(&["kty", "n", "e"], json!({}))),
    ] {
        let gate = gate_of(&of_keys(json!([key])));
        assert_eq!(gate.outcome_of(&json!({"kind": "oidc"})), "passes", "{form}");
        assert_eq!(gate.outcome_of(&json!({"kind": "oidc", "signature": "corrupt"})), "signature_invalid", "{form}");
        let stranger = gate.outcome_of(&json!({"kind": "oidc", "key": "stranger"}));
        let expected = if key.get("kid").is_some() { "key_unknown" } else { "signature_invalid" };
        assert_eq!(stranger, expected, "{form}");
    }
}

#[test]
fn a_p256_key_may_come_by_its_coordinates() {
    let ec = published().into_iter().find(|key| key["kty"] == "EC").unwrap();
    let gate = gate_of(&inline(&json!({"algorithms": ["ES256"], "jwks": {"keys": [ec]}})));
    assert_eq!(gate.outcome_of(&json!({"kind": "oidc", "alg": "ES256"})), "passes");
    assert_eq!(gate.outcome_of(&json!({"kind": "oidc", "key": "ec-stranger"})), "key_unknown");
}

#[test]
fn keys_without_kid_are_tried_where_no_other_is_named() {
    let nameless = |name: &str| json!({"x5c": [certificate(name)]});
    let named = rsa(&["kty", "kid", "n", "e"], json!({}));
    let gate = gate_of(&of_keys(json!([nameless("v1"), nameless("v2"), nameless("both"), named])));
    let oidc = |more: Value| {
        let mut request = json!({"kind": "oidc"});
        for (name, value) in more.as_object().unwrap() {
            request[name.as_str()] = value.clone();
        }
        gate.outcome_of(&request)
    };
    for key in ["v1", "v2", "both"] {
        assert_eq!(oidc(json!({"key": key})), "passes", "{key}, with a kid that nobody has");
        assert_eq!(oidc(json!({"key": key, "header": {"kid": null}})), "passes", "{key}, without kid");
    }
    assert_eq!(oidc(json!({})), "passes");
    assert_eq!(
        oidc(json!({"header": {"kid": null}})),
        "signature_invalid",
        "a key with a kid is tried by its kid alone"
    );
    assert_eq!(oidc(json!({"key": "stranger"})), "signature_invalid");
    // A name that is here is meant.
    let kid = published()[0]["kid"].clone();
    assert_eq!(oidc(json!({"key": "v1", "header": {"kid": kid}})), "signature_invalid");
    assert_eq!(oidc(json!({"header": {"kid": ""}})), "token_malformed");
    // Where every key has a name, a token must name one.
    let named = gate_of(&of_keys(json!([rsa(&["kty", "kid", "n", "e"], json!({}))])));
    assert_eq!(named.outcome_of(&json!({"kind": "oidc", "header": {"kid": null}})), "token_malformed");
}

#[test]
fn a_token_that_was_verified_without_kid_is_remembered() {
    let mut gate = gate_of(&of_keys(json!([{"x5c": [certificate("v1")]}, {"x5c": [certificate("oidc")]}])));
    let token = gate.mint(&json!({"kind": "oidc", "header": {"kid": null}}));
    let authorization = format!("Bearer {token}");
    let first = gate.judge("/", Some(&authorization));
    let Verdict::Allow(grant) = &first.verdict else { panic!("a good token must pass") };
    gate.memory.remember(&token, grant.facts().unwrap());
    assert_eq!(gate.judge("/", Some(&authorization)).recall, Recall::Hit);
}

#[test]
fn inline_keys_are_held_to_their_form_and_mistakes_show_no_secret() {
    let key = |more: Value| of_keys(json!([rsa(&["kty", "kid", "n", "e"], more)]));
    let place = |member: &str| format!("providers.p.jwks.keys[0]{member}: found ");
    let nameless = json!({"x5c": [certificate("v1")]});
    for (provider, mistake) in [
        (of_keys(json!([1])), place("") + "1, expected an object"),
        (of_keys(json!([{}])), place(".kty") + "nothing"),
        (of_keys(json!([{"kty": "OKP"}])), place(".kty") + "\"OKP\", expected one of RSA, EC, oct"),
        (of_keys(json!([{"kty": "RSA", "n": "AQAB"}])), place(".e") + "nothing"),
        (of_keys(json!([{"kty": "RSA", "n": "AQAB", "e": "AQAB"}])), place("") + "an RSA key that cannot be used"),
        (of_keys(json!([{"kty": "RSA", "n": "*", "e": "AQAB"}])), place(".n") + "\"*\""),
        (of_keys(json!([{"kty": "EC", "crv": "P-384", "x": "AQAB", "y": "AQAB"}])), place(".crv") + "\"P-384\""),
        (of_keys(json!([{"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"}])), place("") + "no point"),
        (of_keys(json!([{"x5c": ["AQAB"]}])), place(".x5c") + "no certificate"),
        (of_keys(json!([{"x5c": []}])), place(".x5c") + "an empty list"),
        (of_keys(json!([{"x5c": [certificate("weak")]}])), place(".x5c") + "no certificate of a usable key"),
        (key(json!({"x5c": [certificate("v1")]})), place(".x5c") + "a certificate of another key"),
        (key(json!({"d": "c2VjcmV0"})), place(".d") + "a private key"),
        (key(json!({"use": "enc"})), place(".use") + "\"enc\""),
        (key(json!({"key_ops": ["sign"]})), place(".key_ops") + "a list"),
        (key(json!({"alg": "ES256"})), place(".alg") + "ES256"),
        (key(json!({"alg": "none"})), place(".alg") + "\"none\""),
        (key(json!({"kid": ""})), place(".kid") + "\"\""),
        (
            of_keys(json!([nameless, nameless, nameless, nameless, nameless])),
            "providers.p.jwks.keys: found too many keys without kid".into(),
        ),
    ] {
        let all = mistakes(&provider);
        assert!(all.iter().any(|found| found.starts_with(&mistake)), "{provider}\n{mistake}\n{all:#?}");
        assert!(!all.iter().any(|found| found.contains("c2VjcmV0")), "{all:?}");
    }
}

#[test]
fn a_shared_secret_verifies_where_it_is_configured() {
    let kid = json!({"kid": "shared"});
    let hs256 = |secret: &str| json!({"kind": "oidc", "alg": "HS256", "secret": secret, "header": kid});
    for key in [
        json!({"kty": "oct", "kid": "shared", "k": SECRET}),
        json!({"kty": "oct", "kid": "shared", "k_env": "SECRET"}),
        json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": SECRET}),
        json!({"kty": "oct", "k": SECRET}),
    ] {
        let gate = gate_of(&inline(&json!({"algorithms": ["HS256"], "jwks": {"keys": [key]}})));
        assert_eq!(gate.outcome_of(&hs256(SECRET)), "passes", "{key}");
        let other = URL_SAFE_NO_PAD.encode([7; 32]);
        assert_eq!(gate.outcome_of(&hs256(&other)), "signature_invalid", "{key}");
        assert_eq!(gate.outcome_of(&json!({"kind": "oidc"})), "algorithm_not_allowed", "{key}");
        assert_eq!(gate.outcome_of(&json!({"kind": "oidc", "alg": "none"})), "algorithm_not_allowed", "{key}");
        // Part of a MAC is none.
        let token = gate.mint(&hs256(SECRET));
        let (signed, mac) = token.rsplit_once('.').unwrap();
        let mac = URL_SAFE_NO_PAD.decode(mac).unwrap();
        for part in [&mac[..16], &mac[..31], &[]] {
            let part = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(part));
            assert_ne!(gate.outcome_of_token(&part), "passes");
        }
    }
}

#[test]
fn secrets_and_public_keys_stay_apart() {
    let oct = json!({"kty": "oct", "kid": "shared", "k": SECRET});
    let public = rsa(&["kty", "kid", "n", "e"], json!({}));
    let with = |algorithms: Value, keys: Value| inline(&json!({"algorithms": algorithms, "jwks": {"keys": keys}}));
    let workforce = provider(&json!({"algorithms": ["HS256"], "jwks": {"keys": [oct]}, "upstream": null}));
    let fetched = provider(&json!({
        "kind": "oidc", "tenants": null, "algorithms": ["HS256"],
        "metadata_url": "https://idp.example.com/.well-known/openid-configuration",
    }));
    let short = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 31])});
    assert_mistakes(&[
        (with(json!(["HS256", "RS256"]), json!([oct])), "providers.p.algorithms[0]: found HS256, expected HS256 alone"),
        (
            with(json!(["RS256", "HS256"]), json!([public])),
            "providers.p.algorithms[1]: found HS256, expected HS256 alone",
        ),
        (with(json!(["HS256"]), json!([public])), "providers.p.algorithms[0]: found HS256, expected an inline `jwks`"),
        (
            with(json!(["HS256"]), json!([oct, public])),
            "providers.p.algorithms[0]: found HS256, expected an inline `jwks`",
        ),
        (with(json!(["RS256"]), json!([public, oct])), "providers.p.jwks: found a secret (oct)"),
        (workforce, "providers.p.algorithms[0]: found HS256, expected an algorithm with public keys"),
        (fetched, "providers.p.algorithms[0]: found HS256, expected an inline `jwks`"),
        (with(json!(["HS256"]), json!([short])), "providers.p.jwks.keys[0].k: found a secret that cannot be used"),
        (with(json!(["HS256"]), json!([{"kty": "oct"}])), "providers.p.jwks.keys[0]: found not one secret"),
        (
            with(json!(["HS256"]), json!([{"kty": "oct", "k_env": "UNSET"}])),
            "providers.p.jwks.keys[0].k_env: found UNSET, which is not set",
        ),
    ]);
    for secret in [json!({"kty": "oct", "k": "too-short-c2VjcmV0"}), json!({"kty": "oct", "k_env": "c2Vj/cmV0=="})] {
        let all = mistakes(&with(json!(["HS256"]), json!([secret])));
        assert!(!all.is_empty() && !all.iter().any(|mistake| mistake.contains("c2Vj")), "{all:?}");
    }
}

#[test]
fn a_secret_in_a_fetched_document_is_no_key() {
    let document = json!({"keys": [{"kty": "oct", "kid": "shared", "k": SECRET}]}).to_string();
    assert!(entra_gate::jose::jwk::KeySet::read(document.as_bytes()).is_err());
}

#[test]
fn tokens_without_an_end_pass_only_where_that_is_said() {
    let keys = json!({"keys": [published()[0]]});
    let endless = json!({"kind": "oidc", "claims": {"exp": null}});
    let usual = gate_of(&inline(&json!({"jwks": keys})));
    assert_eq!(usual.outcome_of(&endless), "claim_missing");
    let mut lenient = gate_of(&inline(&json!({"jwks": keys, "require_expiration_time": false})));
    assert_eq!(lenient.outcome_of(&endless), "passes");
    assert_eq!(lenient.outcome_of(&json!({"kind": "oidc", "expires_in": -600})), "token_expired");
    // Remembered, it is still held to what it says.
    let token = lenient.mint(&json!({"kind": "oidc", "claims": {"exp": null, "nbf": gate::NOW - 10}}));
    let authorization = format!("Bearer {token}");
    let first = lenient.judge("/", Some(&authorization));
    let Verdict::Allow(grant) = &first.verdict else { panic!("must pass") };
    lenient.memory.remember(&token, grant.facts().unwrap());
    lenient.now += 10 * 365 * 86_400;
    assert_eq!(lenient.judge("/", Some(&authorization)).recall, Recall::Hit);
    lenient.now = gate::NOW - 600;
    assert_eq!(lenient.outcome_of_token(&token), "token_not_yet_valid");

    assert_mistakes(&[
        (provider(&json!({"require_expiration_time": false})), "providers.p.require_expiration_time: found false"),
        (
            inline(&json!({"jwks": keys, "require_expiration_time": false, "max_lifetime": "1h"})),
            "providers.p.require_expiration_time: found false, expected true beside `max_lifetime`",
        ),
        (
            inline(&json!({"jwks": keys, "require_expiration_time": "no"})),
            "providers.p.require_expiration_time: found \"no\"",
        ),
    ]);
    assert!(mistakes(&provider(&json!({"require_expiration_time": true}))).is_empty());
}

fn decrypting(keys: Value) -> Gate {
    gate_of(&provider(&json!({"decryption_keys": keys})))
}

#[test]
fn an_encrypted_token_is_opened_and_judged_like_any_other() {
    for keys in [
        json!([{"private_key_env": "ENCRYPTION_KEY"}]),
        json!([{"kid": "other", "private_key_env": "OTHER_KEY"}, {"private_key_env": "ENCRYPTION_KEY"}]),
        json!([{"private_key_env": "OTHER_KEY"}, {"private_key_env": "ENCRYPTION_KEY"}]),
    ] {
        let gate = decrypting(keys);
        for encrypt in [
            json!({}),
            json!({"alg": "RSA-OAEP-256"}),
            json!({"enc": "A128CBC-HS256"}),
            json!({"alg": "RSA-OAEP-256", "enc": "A128CBC-HS256"}),
            json!({"header": {"kid": null, "cty": null, "typ": null}}),
        ] {
            assert_eq!(gate.outcome_of(&json!({"encrypt": encrypt})), "passes", "{encrypt}");
        }
        for (token, reason) in [
            (json!({"expires_in": -600}), "token_expired"),
            (json!({"signature": "corrupt"}), "signature_invalid"),
            (json!({"alg": "none"}), "algorithm_not_allowed"),
            (json!({"audience": "api://other"}), "audience_not_allowed"),
            (json!({"header": {"cty": "JWT"}}), "token_type_not_allowed"),
            (json!({"raw_payload": "[]"}), "token_malformed"),
        ] {
            let mut token = token.clone();
            token["encrypt"] = json!({});
            assert_eq!(gate.outcome_of(&token), reason, "{token}");
        }
        // Tokens that are not encrypted are welcome as before.
        assert_eq!(gate.outcome_of(&json!({})), "passes");
    }
}

#[test]
fn a_kid_chooses_the_key_that_opens() {
    let gate = decrypting(json!([
        {"kid": "new", "private_key_env": "ENCRYPTION_KEY"},
        {"kid": "old", "private_key_env": "OTHER_KEY"},
    ]));
    let encrypted = |key: &str, kid: Value| gate.outcome_of(&json!({"encrypt": {"key": key, "header": {"kid": kid}}}));
    assert_eq!(encrypted("encryption", json!("new")), "passes");
    assert_eq!(encrypted("large", json!("old")), "passes");
    for (key, kid) in [("encryption", json!("old")), ("encryption", json!("x")), ("encryption", json!(null))] {
        assert_eq!(encrypted(key, kid), "token_malformed");
    }
}

#[test]
fn what_cannot_be_opened_is_refused_in_one_way() {
    let gate = decrypting(json!([{"private_key_env": "ENCRYPTION_KEY"}]));
    let token = gate.mint(&json!({"encrypt": {}}));
    let parts: Vec<&str> = token.split('.').collect();
    let mut refusals = Vec::new();
    for at in 1..5 {
        let mut changed: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let mut bytes = URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
        bytes[0] ^= 1;
        changed[at] = URL_SAFE_NO_PAD.encode(bytes);
        refusals.push(gate.refusal("/", &[("authorization", &format!("Bearer {}", changed.join(".")))]));
    }
    refusals.push(gate.refusal(
        "/",
        &[("authorization", &format!("Bearer {}", gate.mint(&json!({"encrypt": {"key": "stranger"}}))))],
    ));
    refusals.push(
        gate.refusal(
            "/",
            &[("authorization", &format!("Bearer {}", gate.mint(&json!({"encrypt": {"key": "large"}}))))],
        ),
    );
    assert_eq!(refusals[0].as_ref().map(|refusal| refusal.reason().code()), Some("token_malformed"));
    assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{refusals:?}");

    for (header, reason) in [
        (json!({"alg": "RSA1_5"}), "algorithm_not_allowed"),
        (json!({"alg": "dir"}), "algorithm_not_allowed"),
        (json!({"enc": "A128GCM"}), "algorithm_not_allowed"),
        (json!({"zip": "DEF"}), "token_malformed"),
        (json!({"crit": ["exp"]}), "token_malformed"),
        (json!({"typ": "logout+jwt"}), "token_type_not_allowed"),
        (json!({"cty": "json"}), "token_type_not_allowed"),
        (json!({"kid": 1}), "token_malformed"),
    ] {
        assert_eq!(gate.outcome_of(&json!({"encrypt": {"header": header}})), reason, "{header}");
    }
    // A token within a token within a token.
    let twice = Encryption::default().encrypt(&token).unwrap();
    assert_eq!(gate.outcome_of_token(&twice), "token_type_not_allowed");
    assert_eq!(gate.outcome_of_token(&Encryption::default().encrypt("plain text").unwrap()), "token_malformed");
}

#[test]
fn a_provider_without_keys_takes_no_encrypted_tokens() {
    let sealed =
        provider(&json!({"decryption_keys": [{"private_key_env": "ENCRYPTION_KEY"}], "audiences": ["api://a"]}));
    let gate = Gate::new(&json!({
        "providers": {"sealed": sealed, "plain": provider(&json!({}))},
        "rules": [{"match": {"prefix": "/plain"}, "require": {"providers": ["plain"]}}],
    }));
    let (encrypted, plain) = (gate.mint(&json!({"encrypt": {}})), gate.mint(&json!({})));
    let send = |path: &str, token: &str| gate.outcome(path, &[("authorization", &format!("Bearer {token}"))]);
    assert_eq!(send("/", &plain), "passes");
    assert_eq!(send("/", &encrypted), "audience_not_allowed", "what is encrypted for one provider is not another's");
    assert_eq!(send("/plain", &encrypted), "token_malformed");
    assert_eq!(gate_of(&provider(&json!({}))).outcome_of_token(&encrypted), "token_malformed");
}

#[test]
fn an_encrypted_token_is_remembered_by_its_own_text() {
    let mut gate = decrypting(json!([{"private_key_env": "ENCRYPTION_KEY"}]));
    let token = gate.mint(&json!({"encrypt": {}}));
    let authorization = format!("Bearer {token}");
    let first = gate.judge("/", Some(&authorization));
    let Verdict::Allow(grant) = &first.verdict else { panic!("must pass") };
    gate.memory.remember(&token, grant.facts().unwrap());
    assert_eq!(gate.judge("/", Some(&authorization)).recall, Recall::Hit);
    gate.now += 4_000;
    assert_eq!(gate.outcome_of_token(&token), "token_expired");
}

#[test]
fn decryption_keys_come_from_the_environment_and_are_never_shown() {
    let of = |keys: Value| provider(&json!({"decryption_keys": keys}));
    let place = |member: &str| format!("providers.p.decryption_keys[0]{member}: found ");
    for (keys, mistake) in [
        (json!([{}]), place(".private_key_env") + "nothing"),
        (json!([{"private_key_env": "UNSET"}]), place(".private_key_env") + "UNSET, which is not set"),
        (
            json!([{"private_key_env": "SECRET"}]),
            place(".private_key_env") + "SECRET, which holds no usable private key",
        ),
        (
            json!([{"private_key_env": "-----BEGIN PRIVATE KEY-----"}]),
            place(".private_key_env") + "no name of an environment",
        ),
        (json!([{"private_key_env": "ENCRYPTION_KEY", "kid": ""}]), place(".kid") + "\"\""),
        (json!([{"jwk": {"kty": "RSA"}}]), place(".jwk") + "an unknown member"),
        (json!([]), "providers.p.decryption_keys: found an empty list".into()),
    ] {
        let all = mistakes(&of(keys.clone()));
        assert!(all.iter().any(|found| found.starts_with(&mistake)), "{keys}\n{mistake}\n{all:#?}");
        assert!(!all.iter().any(|found| found.contains("BEGIN") || found.contains(SECRET)), "{all:?}");
    }
    let keys: Vec<Value> = (0..5).map(|at| json!({"private_key_env": format!("ENCRYPTION_KEY_{at}")})).collect();
    let all = mistakes(&of(json!(keys)));
    assert!(all.iter().any(|found| found.contains("more than 4 keys with the same kid")), "{all:#?}");
}
