//! Which tokens pass and which do not, by kind of provider.

use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::configuration::by_path;
use envoy_tests::token::{
    B2C, CONTOSO, CUSTOMERS, DAEMON, FABRIKAM, LEGACY, ORDERS, PUBLIC, encode, parts, with_signature, with_unused_bits,
};
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

const SOMEBODYS_TENANT: &str = "0f7e2d5c-4b3a-4291-8877-665544332211";

fn options(release: &Release) -> Options {
    let configuration = by_path(&json!({
        "workforce": {"tenants": [CONTOSO]},
        "v1": {"tenants": [CONTOSO], "token_versions": [1]},
        "v2": {"tenants": [CONTOSO], "token_versions": [2]},
        "partners": {"tenants": "any"},
        "everybody": {"tenants": "any", "personal_accounts": true},
        "customers": {"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]},
        "branded": {"kind": "external_id", "domain": "login.contoso-customers.example", "tenants": [CUSTOMERS]},
        "b2c": {"kind": "b2c", "domain": "contosob2c", "tenants": [B2C], "policies": ["B2C_1_signin", "B2C_1_susi"]},
        "b2c-signin": {"kind": "b2c", "domain": "contosob2c", "tenants": [B2C], "policies": ["B2C_1_signin"]},
        "b2c-tfp": {"kind": "b2c", "domain": "contosob2c", "tenants": [B2C], "policies": ["b2c_1_tfp"]},
        "oidc": {
            "kind": "oidc",
            "metadata_url": "https://idp.example.com/.well-known/openid-configuration",
            "algorithms": ["RS256", "PS256", "ES256"],
        },
        "government": {"cloud": "us_government", "tenants": [CONTOSO]},
        "china": {"cloud": "china", "tenants": [CONTOSO]},
        "mapped": {"tenants": [CONTOSO], "app_id": ORDERS},
        "daemon": {"tenants": [CONTOSO], "client_applications": [DAEMON]},
        "short": {"tenants": [CONTOSO], "max_lifetime": "2h"},
    }));
    Options::new(release, configuration)
}

fn main() -> ExitCode {
    let shared = behaviours![
        workforce_tokens_of_both_versions_pass,
        any_organization_passes_where_tenants_are_any,
        personal_accounts_pass_only_where_they_are_accepted,
        external_id_tokens_pass_by_name_and_by_custom_host,
        b2c_tokens_pass_with_either_form_of_issuer,
        tokens_of_another_openid_provider_pass_in_each_algorithm,
        tokens_of_national_clouds_pass_where_they_belong,
        tokens_signed_by_an_application_key_pass_with_app_id,
        long_and_unknown_claims_pass,
        token_missing,
        times_out_of_range_are_refused,
        times_within_the_clock_skew_pass,
        lifetimes_over_the_limit_are_refused,
        other_audiences_are_refused,
        nearly_right_audiences_are_refused,
        external_id_tokens_on_a_workforce_route_are_named_as_such,
        workforce_tokens_on_an_external_id_route_are_named_as_such,
        tokens_of_another_cloud_are_refused,
        issuers_that_are_nearly_right_are_refused,
        other_tenants_are_refused,
        contradictions_between_issuer_and_tenant_are_refused,
        the_other_token_version_is_refused,
        forged_signatures_are_refused,
        unsigned_tokens_are_refused,
        the_public_key_is_no_hmac_secret,
        algorithms_that_are_not_configured_are_refused,
        misspelt_algorithms_are_refused,
        other_types_of_tokens_are_refused,
        id_tokens_are_refused,
        unknown_keys_are_refused,
        keys_bound_to_another_issuer_are_refused,
        keys_of_another_policy_or_cloud_are_refused,
        addresses_in_a_token_are_never_asked,
        other_clients_are_refused,
        two_different_clients_in_one_token_are_refused,
        duplicate_members_are_refused,
        claims_of_the_wrong_type_are_refused,
        missing_claims_are_refused,
        claims_in_other_letters_are_not_read,
        critical_extensions_are_refused,
        key_ids_of_the_wrong_type_are_refused,
        other_numbers_of_segments_are_refused,
        other_spellings_of_a_good_token_are_refused,
        deep_nesting_is_refused,
        text_that_is_not_unicode_is_refused,
    ];
    Suite::new().shared(&Release::all(), options, shared).run()
}

/// The token is refused as promised, and the next good one passes.
async fn refused(world: &World, path: &str, token: Value, reason: &str) -> Answer {
    let minted = world.mint(token.clone()).await;
    text_refused(world, path, &minted, reason).await
}

async fn text_refused(world: &World, path: &str, token: &str, reason: &str) -> Answer {
    let answer = world.assert_token_refused(path, token, reason).await;
    world.assert_passes("/workforce", json!({})).await;
    answer
}

fn description(answer: &Answer) -> String {
    answer.json()["error_description"].as_str().unwrap_or_default().to_owned()
}

async fn workforce_tokens_of_both_versions_pass(world: &World) {
    for path in ["/workforce", "/v2", "/partners", "/everybody", "/mapped"] {
        world.assert_passes(path, json!({})).await;
        world.assert_passes(path, json!({"roles": ["Orders.Read.All"]})).await;
    }
    for path in ["/workforce", "/v1", "/partners", "/everybody", "/mapped"] {
        world.assert_passes(path, json!({"version": 1})).await;
        world.assert_passes(path, json!({"version": 1, "audience": "api://orders"})).await;
    }
}

async fn any_organization_passes_where_tenants_are_any(world: &World) {
    for tenant in [CONTOSO, FABRIKAM, SOMEBODYS_TENANT] {
        for version in [1, 2] {
            world.assert_passes("/partners", json!({"tenant": tenant, "version": version})).await;
        }
    }
}

async fn personal_accounts_pass_only_where_they_are_accepted(world: &World) {
    let personal = json!({"tenant": "9188040d-6c67-4c5b-b112-36a304b66dad"});
    world.assert_passes("/everybody", personal.clone()).await;
    let answer = refused(world, "/partners", personal.clone(), "tenant_not_allowed").await;
    assert!(description(&answer).contains("personal Microsoft account"), "{answer:?}");
    refused(world, "/workforce", personal, "tenant_not_allowed").await;
}

async fn external_id_tokens_pass_by_name_and_by_custom_host(world: &World) {
    for path in ["/customers", "/branded"] {
        world.assert_passes(path, json!({"kind": "external_id"})).await;
        world.assert_passes(path, json!({"kind": "external_id", "version": 1})).await;
    }
}

async fn b2c_tokens_pass_with_either_form_of_issuer(world: &World) {
    world.assert_passes("/b2c", json!({"kind": "b2c", "policy": "B2C_1_signin"})).await;
    world.assert_passes("/b2c", json!({"kind": "b2c", "policy": "B2C_1_susi"})).await;
    world.assert_passes("/b2c-tfp", json!({"kind": "b2c", "policy": "B2C_1_tfp"})).await;
}

async fn tokens_of_another_openid_provider_pass_in_each_algorithm(world: &World) {
    for algorithm in ["RS256", "PS256", "ES256"] {
        world.assert_passes("/oidc", json!({"kind": "oidc", "alg": algorithm})).await;
    }
}

async fn tokens_of_national_clouds_pass_where_they_belong(world: &World) {
    for version in [1, 2] {
        world.assert_passes("/government", json!({"cloud": "us_government", "version": version})).await;
        world.assert_passes("/china", json!({"cloud": "china", "version": version})).await;
    }
}

async fn tokens_signed_by_an_application_key_pass_with_app_id(world: &World) {
    world.assert_passes("/mapped", json!({"key": "app"})).await;
    refused(world, "/workforce", json!({"key": "app"}), "key_unknown").await;
    assert!(world.entra.asked(&format!("appid={ORDERS}")).await > 0);
}

async fn long_and_unknown_claims_pass(world: &World) {
    let claims = json!({"note": "x".repeat(8_000), "groups": vec![SOMEBODYS_TENANT; 200], "xms_new": {"a": [1, null]}});
    world.assert_passes("/workforce", json!({"claims": claims})).await;
}

async fn token_missing(world: &World) {
    world.assert_refused(Request::get("/workforce"), "token_missing").await;
    world.assert_refused(Request::get("/somewhere/else"), "token_missing").await;
}

async fn times_out_of_range_are_refused(world: &World) {
    refused(world, "/workforce", json!({"expires_in": -61, "issued_ago": 3661}), "token_expired").await;
    refused(world, "/workforce", json!({"expires_in": -7200, "issued_ago": 10_800}), "token_expired").await;
    refused(world, "/workforce", json!({"issued_ago": -120}), "token_not_yet_valid").await;
    // No overflow makes them pass.
    for exp in [0, 1] {
        refused(world, "/workforce", json!({"claims": {"exp": exp}}), "token_expired").await;
    }
    refused(world, "/workforce", json!({"claims": {"nbf": u64::MAX}}), "token_not_yet_valid").await;
}

async fn times_within_the_clock_skew_pass(world: &World) {
    world.assert_passes("/workforce", json!({"expires_in": -30, "issued_ago": 3600})).await;
    world.assert_passes("/workforce", json!({"issued_ago": -30})).await;
    world.assert_passes("/workforce", json!({"claims": {"exp": 9_999_999_999_u64}})).await;
}

async fn lifetimes_over_the_limit_are_refused(world: &World) {
    world.assert_passes("/short", json!({"issued_ago": 300, "expires_in": 6_900})).await;
    let long = json!({"issued_ago": 300, "expires_in": 315_360_000});
    world.assert_passes("/workforce", long.clone()).await;
    refused(world, "/short", long, "token_lifetime_too_long").await;
}

async fn other_audiences_are_refused(world: &World) {
    refused(world, "/workforce", json!({"audience": LEGACY, "version": 2}), "audience_not_allowed").await;
    let answer =
        refused(world, "/workforce", json!({"audience": "https://graph.microsoft.com"}), "audience_not_allowed").await;
    assert!(description(&answer).contains("Microsoft Graph"), "{answer:?}");
    let answer =
        refused(world, "/workforce", json!({"audience": format!("api://{ORDERS}")}), "audience_not_allowed").await;
    assert!(description(&answer).contains("another form"), "{answer:?}");
}

async fn nearly_right_audiences_are_refused(world: &World) {
    for audience in [
        format!("{ORDERS}.evil"),
        format!("{ORDERS}/"),
        format!(" {ORDERS}"),
        "api://orders/".into(),
        "API://orders".into(),
        "https://orders".into(),
        String::new(),
    ] {
        refused(world, "/workforce", json!({"audience": audience}), "audience_not_allowed").await;
    }
    refused(world, "/workforce", json!({"claims": {"aud": []}}), "audience_not_allowed").await;
    world.assert_passes("/workforce", json!({"claims": {"aud": ["https://other.example", ORDERS]}})).await;
}

async fn external_id_tokens_on_a_workforce_route_are_named_as_such(world: &World) {
    let answer = refused(world, "/workforce", json!({"kind": "external_id"}), "issuer_not_allowed").await;
    assert!(description(&answer).contains("External ID (CIAM)"), "{answer:?}");
}

async fn workforce_tokens_on_an_external_id_route_are_named_as_such(world: &World) {
    let answer = refused(world, "/customers", json!({}), "issuer_not_allowed").await;
    assert!(description(&answer).contains("workforce token"), "{answer:?}");
}

async fn tokens_of_another_cloud_are_refused(world: &World) {
    let answer = refused(world, "/workforce", json!({"cloud": "us_government"}), "issuer_not_allowed").await;
    assert!(description(&answer).contains("another Microsoft cloud"), "{answer:?}");
    refused(world, "/china", json!({}), "issuer_not_allowed").await;
    // Azure Government shares the issuer of v1 tokens with the public cloud: the keys separate them.
    refused(world, "/workforce", json!({"cloud": "us_government", "version": 1}), "key_unknown").await;
}

async fn issuers_that_are_nearly_right_are_refused(world: &World) {
    let right = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    for issuer in [
        format!("{right}/"),
        right.replace("login", "LOGIN"),
        right.replace(".com/", ".com:443/"),
        right.replace("https", "http"),
        right.replace("login.microsoftonline.com", "login.windows.net"),
        right.replace("login.microsoftonline.com", "login.microsoftonline.com.evil.example"),
        right.replace("login", "evil@login"),
        format!("{right}?"),
        right.replace(CONTOSO, "common"),
        right.replace(CONTOSO, "{tenantid}"),
        "https://evil.example".into(),
        String::new(),
    ] {
        for path in ["/workforce", "/partners"] {
            refused(world, path, json!({"claims": {"iss": issuer}}), "issuer_not_allowed").await;
        }
    }
}

async fn other_tenants_are_refused(world: &World) {
    for version in [1, 2] {
        refused(world, "/workforce", json!({"tenant": FABRIKAM, "version": version}), "tenant_not_allowed").await;
    }
    refused(world, "/customers", json!({"kind": "external_id", "tenant": SOMEBODYS_TENANT}), "tenant_not_allowed")
        .await;
}

async fn contradictions_between_issuer_and_tenant_are_refused(world: &World) {
    for tenant in [FABRIKAM, "{tenantid}", "common", "x/y", ""] {
        for path in ["/workforce", "/partners"] {
            let token = json!({"claims": {"tid": tenant}});
            refused(world, path, token, "issuer_not_allowed").await;
        }
    }
}

async fn the_other_token_version_is_refused(world: &World) {
    let answer = refused(world, "/v2", json!({"version": 1}), "token_version_not_allowed").await;
    assert!(description(&answer).contains("requestedAccessTokenVersion"), "{answer:?}");
    refused(world, "/v1", json!({}), "token_version_not_allowed").await;
    // `ver` and the issuer must tell the same.
    refused(world, "/workforce", json!({"claims": {"ver": "1.0"}}), "issuer_not_allowed").await;
}

async fn forged_signatures_are_refused(world: &World) {
    refused(world, "/workforce", json!({"signature": "corrupt"}), "signature_invalid").await;
    let kid = world.entra.kid(json!({})).await;
    let forged = json!({"key": "stranger", "header": {"kid": kid}});
    for path in ["/workforce", "/partners", "/everybody"] {
        refused(world, path, forged.clone(), "signature_invalid").await;
    }
    let good = world.mint(json!({})).await;
    for changed in [
        with_signature(&good, |signature| signature.truncate(255)),
        with_signature(&good, |signature| signature.push(0)),
        with_signature(&good, |signature| signature.insert(0, 0)),
        with_signature(&good, |signature| signature.fill(0)),
        with_signature(&good, |signature| signature.fill(0xff)),
        with_signature(&good, |signature| *signature = [vec![0; 255], vec![1]].concat()),
    ] {
        text_refused(world, "/workforce", &changed, "signature_invalid").await;
    }
    // Somebody else's claims under a good signature.
    let [header, payload, _] = parts(&good);
    let other = world.mint(json!({"roles": ["Orders.Read.All"]})).await;
    let [_, other_payload, signature] = parts(&other);
    assert_ne!(payload, other_payload);
    text_refused(world, "/workforce", &format!("{header}.{payload}.{signature}"), "signature_invalid").await;
    // ECDSA: r and s of nothing (CVE-2022-21449).
    let ecdsa = world.mint(json!({"kind": "oidc", "alg": "ES256"})).await;
    for changed in [
        with_signature(&ecdsa, |signature| signature.fill(0)),
        with_signature(&ecdsa, |signature| signature[..32].fill(0)),
        with_signature(&ecdsa, |signature| signature[32..].fill(0)),
        with_signature(&ecdsa, |signature| signature.truncate(63)),
    ] {
        text_refused(world, "/oidc", &changed, "signature_invalid").await;
    }
}

async fn unsigned_tokens_are_refused(world: &World) {
    for name in ["none", "None", "NONE", "nOnE"] {
        for signature in [json!(null), json!("empty")] {
            let token = json!({"alg": "none", "header": {"alg": name}, "signature": signature});
            refused(world, "/workforce", token, "algorithm_not_allowed").await;
        }
    }
    // With the signature of the good token kept.
    refused(world, "/workforce", json!({"header": {"alg": "none"}}), "algorithm_not_allowed").await;
    refused(world, "/workforce", json!({"signature": "empty"}), "token_malformed").await;
    refused(world, "/workforce", json!({"signature": "strip"}), "token_malformed").await;
}

async fn the_public_key_is_no_hmac_secret(world: &World) {
    for path in ["/workforce", "/oidc"] {
        let kind = if path == "/oidc" { "oidc" } else { "workforce" };
        refused(world, path, json!({"kind": kind, "alg": "HS256"}), "algorithm_not_allowed").await;
    }
}

async fn algorithms_that_are_not_configured_are_refused(world: &World) {
    for algorithm in ["RS384", "RS512", "PS256"] {
        refused(world, "/workforce", json!({"alg": algorithm}), "algorithm_not_allowed").await;
    }
    refused(world, "/workforce", json!({"alg": "ES256"}), "algorithm_not_allowed").await;
    // A key that says what it is for is not used for anything else.
    refused(world, "/oidc", json!({"kind": "oidc", "key": "oidc", "alg": "PS256"}), "key_not_allowed").await;
    refused(world, "/oidc", json!({"kind": "oidc", "key": "oidc-pss", "alg": "RS256"}), "key_not_allowed").await;
    // The header says one algorithm, the signature is of another.
    refused(
        world,
        "/oidc",
        json!({"kind": "oidc", "key": "oidc", "alg": "PS256", "header": {"alg": "RS256"}}),
        "signature_invalid",
    )
    .await;
}

async fn misspelt_algorithms_are_refused(world: &World) {
    for algorithm in ["rs256", "RS256 ", "RS256\0", "", "RS256,none"] {
        refused(world, "/workforce", json!({"header": {"alg": algorithm}}), "algorithm_not_allowed").await;
    }
    refused(world, "/workforce", json!({"header": {"alg": ["RS256"]}}), "token_malformed").await;
    // `Alg` is not `alg`.
    refused(world, "/workforce", json!({"header": {"alg": null, "Alg": "RS256"}}), "token_malformed").await;
}

async fn other_types_of_tokens_are_refused(world: &World) {
    for typ in ["dpop+jwt", "logout+jwt", "revocations+jwt", "application/secevent+jwt", ""] {
        refused(world, "/workforce", json!({"header": {"typ": typ}}), "token_type_not_allowed").await;
    }
    refused(world, "/workforce", json!({"header": {"cty": "JWT"}}), "token_type_not_allowed").await;
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        world.assert_passes("/workforce", json!({"header": {"typ": typ}})).await;
    }
}

async fn id_tokens_are_refused(world: &World) {
    let id_token = json!({"azp": null, "azpacr": null, "scp": null, "nonce": "n-0S6_WzA2Mj"});
    let answer = refused(world, "/workforce", json!({"claims": id_token}), "token_type_not_allowed").await;
    assert!(description(&answer).contains("ID token"), "{answer:?}");
    let of_client = json!({"audience": PUBLIC, "claims": id_token});
    let answer = refused(world, "/workforce", of_client, "audience_not_allowed").await;
    assert!(description(&answer).contains("ID token"), "{answer:?}");
}

async fn unknown_keys_are_refused(world: &World) {
    for path in ["/workforce", "/partners"] {
        refused(world, path, json!({"key": "stranger"}), "key_unknown").await;
    }
    refused(world, "/customers", json!({"kind": "external_id", "key": "stranger"}), "key_unknown").await;
    refused(world, "/oidc", json!({"kind": "oidc", "key": "ec-stranger"}), "key_unknown").await;
    refused(world, "/workforce", json!({"header": {"kid": "../../../../dev/null"}}), "key_unknown").await;
}

async fn keys_bound_to_another_issuer_are_refused(world: &World) {
    for tenant in [CONTOSO, FABRIKAM] {
        refused(world, "/everybody", json!({"tenant": tenant, "key": "msa"}), "key_not_allowed").await;
    }
    // Where personal accounts are not accepted, their keys are not even asked for.
    refused(world, "/partners", json!({"key": "msa"}), "key_unknown").await;
}

async fn keys_of_another_policy_or_cloud_are_refused(world: &World) {
    let other_policy = json!({"kind": "b2c", "policy": "B2C_1_signin", "key": "b2c-susi"});
    refused(world, "/b2c", other_policy.clone(), "key_unknown").await;
    refused(world, "/b2c-signin", other_policy, "key_unknown").await;
    let answer =
        refused(world, "/b2c-signin", json!({"kind": "b2c", "policy": "B2C_1_susi"}), "claim_not_allowed").await;
    assert!(description(&answer).contains("tfp"), "{answer:?}");
    refused(world, "/workforce", json!({"key": "ciam"}), "key_unknown").await;
    refused(world, "/customers", json!({"kind": "external_id", "key": "v2"}), "key_unknown").await;
}

async fn addresses_in_a_token_are_never_asked(world: &World) {
    let kid = world.entra.kid(json!({})).await;
    for name in ["jku", "x5u"] {
        for address in ["https://attacker.example/keys", "https://login.microsoftonline.com@attacker.example/keys"] {
            let header = json!({"kid": kid, name: address});
            refused(world, "/workforce", json!({"key": "stranger", "header": header}), "signature_invalid").await;
        }
    }
    // A key in the header is no key of the issuer's.
    let own = json!({"kid": kid, "jwk": {"kty": "oct", "k": "c2VjcmV0"}});
    refused(world, "/workforce", json!({"key": "stranger", "header": own}), "signature_invalid").await;
    assert_eq!(world.entra.asked("attacker.example").await, 0);
}

async fn other_clients_are_refused(world: &World) {
    world.assert_passes("/daemon", json!({})).await;
    world.assert_passes("/daemon", json!({"version": 1})).await;
    for version in [1, 2] {
        refused(world, "/daemon", json!({"client": PUBLIC, "version": version}), "client_not_allowed").await;
        world.assert_passes("/workforce", json!({"client": PUBLIC, "version": version})).await;
    }
    // The claim of the other version is not the client.
    refused(world, "/daemon", json!({"claims": {"azp": PUBLIC, "client_id": DAEMON}}), "client_not_allowed").await;
}

async fn two_different_clients_in_one_token_are_refused(world: &World) {
    refused(world, "/workforce", json!({"claims": {"azp": PUBLIC, "appid": DAEMON}}), "claim_not_allowed").await;
    world.assert_passes("/workforce", json!({"claims": {"azp": DAEMON, "appid": DAEMON}})).await;
}

async fn duplicate_members_are_refused(world: &World) {
    let kid = world.entra.kid(json!({})).await;
    for header in [
        format!(r#"{{"alg":"RS256","alg":"RS256","kid":"{kid}"}}"#),
        format!(r#"{{"\u0061lg":"none","alg":"RS256","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"RS256","kid":"x","kid":"{kid}"}}"#),
    ] {
        refused(world, "/workforce", json!({"raw_header": header}), "token_malformed").await;
    }
    let minted = world.mint(json!({})).await;
    let claims = String::from_utf8(envoy_tests::token::decode(parts(&minted)[1])).expect("claims are text");
    let inner = claims.strip_prefix('{').expect("claims are an object");
    world.assert_passes("/workforce", json!({"raw_payload": claims})).await;
    for twice in [r#""exp":9999999999"#, r#""tid":"x""#, r#""\u0061ud":"x""#, r#""iss":"https://evil.example""#] {
        let payload = format!("{{{twice},{inner}");
        refused(world, "/workforce", json!({"raw_payload": payload}), "token_malformed").await;
    }
    let nested = format!(r#"{{"a":{{"b":1,"b":2}},{inner}"#);
    refused(world, "/workforce", json!({"raw_payload": nested}), "token_malformed").await;
    for broken in ["", "null", "[]", "{}x", r#"{"a":1"#, "{'a':1}", r#"{"a":1,}"#] {
        refused(world, "/workforce", json!({"raw_payload": broken}), "token_malformed").await;
    }
}

async fn claims_of_the_wrong_type_are_refused(world: &World) {
    let minted = world.mint(json!({})).await;
    let claims: Value = serde_json::from_slice(&envoy_tests::token::decode(parts(&minted)[1])).expect("claims");
    let mut cases = Vec::new();
    for claim in ["exp", "nbf", "iat"] {
        // `null` cannot be merged over: there it means «remove».
        cases.extend(
            ["9999999999".into(), json!(null), json!(true), json!([]), json!({}), json!(-1)]
                .map(|value| (claim, value)),
        );
    }
    for claim in ["iss", "tid", "ver", "azp"] {
        cases.extend([json!([claims[claim]]), json!(null), json!(7), json!({})].map(|value| (claim, value)));
    }
    cases.extend([json!(null), json!(1), json!({"0": ORDERS}), json!([ORDERS, 1])].map(|value| ("aud", value)));
    for (claim, value) in cases {
        let mut claims = claims.clone();
        claims[claim] = value;
        refused(world, "/workforce", json!({"raw_payload": claims.to_string()}), "token_malformed").await;
    }
}

async fn missing_claims_are_refused(world: &World) {
    for claim in ["exp", "aud", "iss", "ver"] {
        refused(world, "/workforce", json!({"claims": {claim: null}}), "claim_missing").await;
    }
    refused(world, "/partners", json!({"claims": {"tid": null}}), "claim_missing").await;
}

async fn claims_in_other_letters_are_not_read(world: &World) {
    refused(world, "/workforce", json!({"claims": {"aud": null, "Aud": ORDERS}}), "claim_missing").await;
    refused(world, "/workforce", json!({"claims": {"exp": null, "EXP": 9_999_999_999_u64}}), "claim_missing").await;
    // Two spellings of the tenant would name two tenants.
    refused(world, "/workforce", json!({"claims": {"TID": FABRIKAM}}), "token_malformed").await;
}

async fn critical_extensions_are_refused(world: &World) {
    for crit in [json!([]), json!(["exp"]), json!(["alg"]), json!(["b64"]), json!("exp"), json!(["x"])] {
        refused(world, "/workforce", json!({"header": {"crit": crit}}), "token_malformed").await;
    }
    refused(world, "/workforce", json!({"header": {"b64": false, "crit": ["b64"]}}), "token_malformed").await;
    refused(world, "/workforce", json!({"header": {"b64": false}}), "token_malformed").await;
}

async fn key_ids_of_the_wrong_type_are_refused(world: &World) {
    for kid in [json!(null), json!(7), json!([]), json!({}), json!(""), json!("k".repeat(5_000))] {
        refused(world, "/workforce", json!({"header": {"kid": kid}}), "token_malformed").await;
    }
    refused(world, "/workforce", json!({"raw_header": r#"{"alg":"RS256","kid":null}"#}), "token_malformed").await;
}

async fn other_numbers_of_segments_are_refused(world: &World) {
    let good = world.mint(json!({})).await;
    let [header, payload, signature] = parts(&good);
    for text in [
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{good}.{signature}"),
        format!("{good}.{signature}.{signature}"),
        format!(".{good}"),
        format!("{good}."),
        format!("{header}..{payload}.{signature}"),
        format!("{header}.{payload}..{signature}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        "..".to_owned(),
        "opaque-token".to_owned(),
    ] {
        text_refused(world, "/workforce", &text, "token_malformed").await;
    }
}

async fn other_spellings_of_a_good_token_are_refused(world: &World) {
    let good = world.mint(json!({})).await;
    let [header, payload, signature] = parts(&good);
    for text in [
        with_unused_bits(&good),
        format!("{good}="),
        format!("{good}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{signature}AAA"),
        format!("{header}.{payload}.+{}", &signature[1..]),
    ] {
        text_refused(world, "/workforce", &text, "token_malformed").await;
    }
}

async fn deep_nesting_is_refused(world: &World) {
    let depth = 10_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let text = format!("{}.{}.AAAA", encode(r#"{"alg":"RS256","kid":"k"}"#), encode(format!(r#"{{"a":{deep}}}"#)));
    text_refused(world, "/workforce", &text, "token_malformed").await;
    let text = format!("{}.e30.AAAA", encode(format!(r#"{{"alg":"RS256","kid":"k","a":{deep}}}"#)));
    text_refused(world, "/workforce", &text, "token_malformed").await;
    world.envoy.assert_sound().await;
}

async fn text_that_is_not_unicode_is_refused(world: &World) {
    refused(world, "/workforce", json!({"raw_payload": r#"{"iss":"\ud800"}"#}), "token_malformed").await;
    for bytes in [&b"{\"iss\":\"\xff\xfe\"}"[..], b"{\"iss\":\"\xc0\xaf\"}", b"\xef\xbb\xbf{}"] {
        let text = format!("{}.{}.AAAA", encode(r#"{"alg":"RS256","kid":"k"}"#), encode(bytes));
        text_refused(world, "/workforce", &text, "token_malformed").await;
    }
    world.envoy.assert_sound().await;
}
