use serde_json::json;

use super::*;
use crate::entra::TokenVersion;
use crate::feed::source::{Feed, WhenStale};
use crate::keys::document::Document;
use crate::policy::forward::State;
use crate::revocation::Effect;

const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";

fn provider(changes: Value) -> Value {
    let mut provider = json!({"tenants": [TENANT], "audiences": ["api://orders"], "upstream": {"cluster": "entra"}});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            provider.as_object_mut().unwrap().remove(name);
        } else {
            provider[name] = value.clone();
        }
    }
    json!({"providers": {"p": provider}})
}

fn mistakes(document: &Value) -> Vec<String> {
    match compile(document.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

fn policy(document: &Value) -> Policy {
    compile(document.to_string().as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// Issuer, version and metadata address of each authority.
fn authorities(changes: Value) -> Vec<(String, Option<TokenVersion>, String)> {
    let policy = policy(&provider(changes));
    let address = |document: &Option<Document>| document.as_ref().map(|document| document.metadata.to_string());
    policy.providers.all()[0]
        .authorities
        .iter()
        .map(|authority| {
            let document = address(&policy.documents[authority.document.0]).unwrap_or_default();
            (authority.issuer.as_str().to_owned(), authority.version, document)
        })
        .collect()
}

fn expected(rows: &[(&str, Option<TokenVersion>, &str)]) -> Vec<(String, Option<TokenVersion>, String)> {
    rows.iter().map(|(issuer, version, address)| ((*issuer).into(), *version, (*address).into())).collect()
}

const V1: Option<TokenVersion> = Some(TokenVersion::V1);
const V2: Option<TokenVersion> = Some(TokenVersion::V2);

#[test]
fn a_workforce_tenant_has_two_issuers_with_a_document_each() {
    let all = authorities(json!({}));
    assert_eq!(
        all,
        expected(&[
            (
                &format!("https://sts.windows.net/{TENANT}/"),
                V1,
                &format!("https://login.microsoftonline.com/{TENANT}/.well-known/openid-configuration")
            ),
            (
                &format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
                V2,
                &format!("https://login.microsoftonline.com/{TENANT}/v2.0/.well-known/openid-configuration")
            ),
        ])
    );
}

#[test]
fn national_clouds_have_their_own_hosts() {
    let issuers = |cloud: &str| -> Vec<String> {
        authorities(json!({"cloud": cloud})).into_iter().map(|(issuer, _, _)| issuer.replace(TENANT, "T")).collect()
    };
    assert_eq!(issuers("us_government"), ["https://sts.windows.net/T/", "https://login.microsoftonline.us/T/v2.0"]);
    assert_eq!(
        issuers("china"),
        ["https://sts.chinacloudapi.cn/T/", "https://login.partner.microsoftonline.cn/T/v2.0"]
    );
}

#[test]
fn any_tenant_is_a_template_with_a_shared_document() {
    let well_known = |path: &str| format!("https://login.microsoftonline.com/{path}/.well-known/openid-configuration");
    let of =
        |personal: bool| authorities(json!({"tenants": "any", "token_versions": [2], "personal_accounts": personal}));
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    assert_eq!(of(false), expected(&[(template, V2, &well_known("organizations/v2.0"))]));
    assert_eq!(of(true), expected(&[(template, V2, &well_known("common/v2.0"))]));
    assert_eq!(
        authorities(json!({"tenants": "any", "token_versions": [1]})),
        expected(&[("https://sts.windows.net/{tenantid}/", V1, &well_known("common"))])
    );
}

#[test]
fn external_id_has_metadata_on_the_name_host_and_its_issuer_on_the_id_host() {
    let of = |domain: &str| authorities(json!({"kind": "external_id", "domain": domain, "token_versions": [2]}));
    let issuer = format!("https://{TENANT}.ciamlogin.com/{TENANT}/v2.0");
    let address = |host: &str| format!("https://{host}/{TENANT}/v2.0/.well-known/openid-configuration");
    assert_eq!(of("contoso"), expected(&[(&issuer, V2, &address("contoso.ciamlogin.com"))]));
    assert_eq!(of("login.contoso.example"), expected(&[(&issuer, V2, &address("login.contoso.example"))]));
}

#[test]
fn b2c_has_a_document_for_each_policy_and_both_issuer_forms() {
    let all = authorities(json!({"kind": "b2c", "domain": "contoso", "policies": ["B2C_1_a", "B2C_1_b"]}));
    let address = |policy: &str| {
        format!("https://contoso.b2clogin.com/contoso.onmicrosoft.com/{policy}/v2.0/.well-known/openid-configuration")
    };
    let plain = format!("https://contoso.b2clogin.com/{TENANT}/v2.0/");
    let tfp = |policy: &str| format!("https://contoso.b2clogin.com/tfp/{TENANT}/{policy}/v2.0/");
    assert_eq!(
        all,
        expected(&[
            (&plain, None, &address("B2C_1_a")),
            (&tfp("B2C_1_a"), None, &address("B2C_1_a")),
            (&tfp("b2c_1_a"), None, &address("B2C_1_a")),
            (&plain, None, &address("B2C_1_b")),
            (&tfp("B2C_1_b"), None, &address("B2C_1_b")),
            (&tfp("b2c_1_b"), None, &address("B2C_1_b")),
        ])
    );
}

#[test]
fn an_oidc_issuer_follows_from_the_metadata_address() {
    let address = "https://idp.example.com/.well-known/openid-configuration";
    let all = authorities(json!({"kind": "oidc", "tenants": null, "metadata_url": address}));
    assert_eq!(
        all,
        expected(&[("https://idp.example.com", None, address), ("https://idp.example.com/", None, address)])
    );
}

#[test]
fn an_application_key_is_asked_for_by_appid() {
    let all = authorities(json!({"app_id": "AAAAAAAA-0000-4000-8000-000000000001", "token_versions": [2]}));
    assert!(all[0].2.ends_with("/v2.0/.well-known/openid-configuration?appid=aaaaaaaa-0000-4000-8000-000000000001"));
}

#[test]
fn one_shared_document_can_serve_listed_tenants() {
    let address = "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration";
    let document = provider(json!({"metadata_url": address}));
    let policy = policy(&document);
    let shared = policy.documents[0].as_ref().unwrap();
    let pins: Vec<&str> = shared.issuers.iter().map(|issuer| issuer.as_str()).collect();
    assert_eq!(policy.documents.len(), 1);
    assert!(pins.contains(&"https://login.microsoftonline.com/{tenantid}/v2.0"), "{pins:?}");
    let authorities = &policy.providers.all()[0].authorities;
    assert_eq!((authorities.len(), authorities[0].version), (1, V2));
}

#[test]
fn equal_documents_of_two_providers_are_fetched_once() {
    let mut document = provider(json!({}));
    document["providers"]["q"] = document["providers"]["p"].clone();
    assert_eq!(policy(&document).documents.len(), 2);
}

#[test]
fn all_mistakes_are_told_at_once_with_path_finding_and_expectation() {
    let document = json!({
        "providers": {
            "p": {"tenants": ["contoso"], "cloud": "publik", "audience": ["a"], "audiences": [], "upstream": {"cluster": ""}, "clock_skew": "5 parsecs"},
            "q": {"kind": "saml", "tenants": [TENANT], "audiences": ["a"], "upstream": {"cluster": "c", "timeout": 5}},
        },
        "rules": [
            {"match": {"path": "healthz"}, "allow": "anonymous"},
            {"match": {"prefix": "/a", "path": "/b"}, "require": {"providers": ["r"]}},
            {"match": {"regex": "("}, "allow": "nobody", "require": {}},
        ],
        "responses": {"detail": "all"},
        "extra": 1,
    });
    let all = mistakes(&document);
    for start in [
        "extra: found an unknown member",
        "providers.p.audience: found an unknown member, expected `audiences`, perhaps",
        "providers.p.audiences: found an empty list",
        "providers.p.tenants[0]: found \"contoso\", expected a GUID",
        "providers.p.upstream.cluster: found \"\"",
        "providers.p.clock_skew: found \"5 parsecs\", expected a duration",
        "providers.p.cloud: found \"publik\"",
        "rules[1].match: found",
        "rules[1].require.providers[0]: found \"r\", expected a provider's name: one of p, q",
        "providers.q.kind: found \"saml\", expected one of workforce, external_id, b2c, oidc",
        "providers.q.upstream.timeout: found 5, expected a duration",
        "rules[0].match.path: found \"healthz\"",
        "rules[1].match: found several of path, prefix and regex",
        "rules[2].match.regex: found \"(\", expected a regular expression",
        "rules[2]: found both `allow` and `require`",
        "responses.detail: found \"all\"",
    ] {
        assert!(all.iter().any(|mistake| mistake.starts_with(start)), "{start}\n{all:#?}");
    }
}

#[test]
fn contradictions_are_mistakes() {
    for (changes, path) in [
        (json!({"personal_accounts": true}), "providers.p.personal_accounts: found true"),
        (json!({"domain": "contoso"}), "providers.p.domain"),
        (json!({"policies": ["B2C_1_a"]}), "providers.p.policies"),
        (json!({"issuers": ["https://x/"]}), "providers.p.issuers"),
        (json!({"kind": "external_id", "domain": "c", "tenants": "any"}), "providers.p.tenants"),
        (json!({"kind": "external_id", "domain": "c", "tenants": [TENANT, TENANT]}), "providers.p.tenants"),
        (
            json!({"kind": "external_id", "domain": "c", "issuers": ["https://{tenantid}.example/"]}),
            "providers.p.issuers[0]: found \"https://{tenantid}.example/\", expected an exact issuer",
        ),
        (json!({"kind": "external_id"}), "providers.p.domain: found nothing"),
        (json!({"kind": "b2c", "domain": "c"}), "providers.p.policies: found nothing"),
        (json!({"kind": "b2c", "domain": "c", "policies": ["a/b"]}), "providers.p.policies[0]"),
        (json!({"kind": "oidc"}), "providers.p.tenants"),
        (json!({"kind": "oidc", "tenants": null}), "providers.p.metadata_url: found nothing"),
        (json!({"jwks": {"keys": []}, "upstream": null}), "providers.p.jwks.keys: found an empty list"),
        (json!({"upstream": null}), "providers.p.upstream: found nothing"),
        (json!({"audiences": null}), "providers.p.audiences: found nothing"),
        (json!({"keys": {"refresh": "2h", "max_age": "1h"}}), "providers.p.keys.max_age"),
        (json!({"algorithms": ["none"]}), "providers.p.algorithms[0]"),
        (json!({"algorithms": ["HS256"]}), "providers.p.algorithms[0]"),
        (json!({"token_versions": [3]}), "providers.p.token_versions[0]"),
        (json!({"metadata_url": "http://login.microsoftonline.com/x"}), "providers.p.metadata_url"),
        (json!({"required_claims": []}), "providers.p.required_claims: found an empty list"),
        (json!({"decryption_keys": []}), "providers.p.decryption_keys: found an empty list"),
    ] {
        let all = mistakes(&provider(changes.clone()));
        assert!(all.iter().any(|mistake| mistake.starts_with(path)), "{changes}\n{path}\n{all:#?}");
    }
}

#[test]
fn what_is_no_configuration_is_told_apart() {
    for (document, part) in [
        ("", "found no configuration"),
        ("{", "not JSON (line 1, column 1)"),
        (r#"{"providers": {}, "providers": {}}"#, "appears twice"),
        ("{}", "providers: found nothing"),
        ("\x08\x01", "neither JSON text nor a protobuf Struct"),
    ] {
        let all = compile(document.as_bytes()).err().unwrap();
        assert!(all[0].to_string().contains(part), "{document:?}: {all:?}");
    }
}

#[test]
fn headers_must_be_free_and_distinct() {
    for (forward, path) in [
        (json!({"payload_header": "Authorization"}), "forward.payload_header"),
        (json!({"payload_header": ":path"}), "forward.payload_header"),
        (
            json!({"payload_header": "x-a", "claim_headers": [{"header": "X-A", "claim": "oid"}]}),
            "forward: found one header",
        ),
        (json!({"claim_headers": [{"header": "x-a", "claim": "a..b"}]}), "forward.claim_headers[0].claim"),
        (json!({"claim_headers": [{"header": "x-a"}]}), "forward.claim_headers[0].claim: found nothing"),
        (json!({"filter_state": []}), "forward.filter_state: found an empty list"),
        (json!({"filter_state": ["tenants"]}), "forward.filter_state[0]: found \"tenants\", expected one of"),
    ] {
        let mut document = provider(json!({}));
        document["forward"] = forward;
        let all = mistakes(&document);
        assert!(all.iter().any(|mistake| mistake.starts_with(path)), "{path}\n{all:#?}");
    }
}

#[test]
fn a_struct_means_the_same_as_json() {
    use prost::Message as _;
    use prost_types::value::Kind;
    let text = |text: &str| prost_types::Value { kind: Some(Kind::StringValue(text.into())) };
    let list = |values| prost_types::Value { kind: Some(Kind::ListValue(prost_types::ListValue { values })) };
    let object = |members: Vec<(&str, prost_types::Value)>| prost_types::Struct {
        fields: members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    let nested = |members| prost_types::Value { kind: Some(Kind::StructValue(object(members))) };
    let two = prost_types::Value { kind: Some(Kind::NumberValue(2.0)) };
    let document = object(vec![(
        "providers",
        nested(vec![(
            "p",
            nested(vec![
                ("tenants", list(vec![text(TENANT)])),
                ("audiences", list(vec![text("api://orders")])),
                ("token_versions", list(vec![two])),
                ("upstream", nested(vec![("cluster", text("entra"))])),
            ]),
        )]),
    )]);
    let policy = compile(&document.encode_to_vec()).ok().unwrap();
    assert_eq!(policy.providers.all()[0].authorities.len(), 1);
}

#[test]
fn revocation_entries_name_one_subject_and_one_rule() {
    let with = |entry: Value| {
        let mut document = provider(json!({}));
        document["revocation"] = json!({"entries": [entry]});
        mistakes(&document)
    };
    assert!(with(json!({"tenant": TENANT, "not_before": 1_760_000_000})).is_empty());
    assert!(with(json!({"tenant": TENANT, "user": "u", "blocked": true})).is_empty());
    for entry in [
        json!({"tenant": TENANT}),
        json!({"tenant": TENANT, "user": "u", "session": "s", "blocked": true}),
        json!({"user": "u", "blocked": true}),
        json!({"tenant": TENANT, "blocked": false}),
        json!({"tenant": TENANT, "blocked": true, "not_before": 1}),
    ] {
        assert_eq!(with(entry.clone()).len(), 1, "{entry}");
    }
}

#[test]
fn the_filter_state_holds_the_identity_unless_told_otherwise() {
    let states = |forward: Value| {
        let mut document = provider(json!({}));
        document["forward"] = forward;
        policy(&document).forward.filter_state
    };
    assert_eq!(policy(&provider(json!({}))).forward.filter_state, State::IDENTITY);
    assert_eq!(states(json!({"authorization": "remove"})), State::IDENTITY);
    assert_eq!(states(json!({"filter_state": "none"})), []);
    assert_eq!(states(json!({"filter_state": ["payload", "tenant"]})), [State::Payload, State::Tenant]);
}

/// A feed with everything that is required, and these changes.
fn feed(changes: &Value) -> Value {
    let mut feed = json!({
        "url": "https://revocations.example/v1/feed",
        "cluster": "revocations",
        "keys": {"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "1",
            "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
        }]},
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            feed.as_object_mut().unwrap().remove(name);
        } else {
            feed[name] = value.clone();
        }
    }
    let mut document = provider(json!({}));
    document["revocation"] = json!({"feed": feed});
    document
}

#[test]
fn a_feed_has_defaults() {
    let revocation = policy(&feed(&json!({}))).revocation.unwrap();
    assert!(revocation.entries.is_empty());
    let Feed { interval, timeout, long_poll, max_staleness, when_stale, keys, url, cluster } = revocation.feed.unwrap();
    let seconds = [interval, timeout, long_poll, max_staleness].map(|duration| duration.as_secs());
    assert_eq!((seconds, when_stale), ([1, 2, 0, 300], WhenStale::Deny));
    assert_eq!((keys.keys().len(), cluster.as_str()), (1, "revocations"));
    assert_eq!(url.to_string(), "https://revocations.example/v1/feed");
}

#[test]
fn a_feed_asks_for_what_came_since() {
    let path = |changes: Value| {
        let feed = policy(&feed(&changes)).revocation.unwrap().feed.unwrap();
        feed.path(7, feed.long_poll)
    };
    assert_eq!(path(json!({})), "/v1/feed?since=7");
    assert_eq!(path(json!({"url": "https://r.example/feed?set=eu"})), "/feed?set=eu&since=7");
    assert_eq!(path(json!({"long_poll": "30s"})), "/v1/feed?since=7&wait=30");
}

#[test]
fn a_feed_that_cannot_be_meant_is_refused() {
    let private = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": "AA", "y": "AA", "d": "AA"}]});
    for (changes, path) in [
        (json!({"url": null}), "revocation.feed.url"),
        (json!({"url": "http://revocations.example/feed"}), "revocation.feed.url"),
        (json!({"cluster": null}), "revocation.feed.cluster"),
        (json!({"keys": null}), "revocation.feed.keys"),
        (json!({"keys": {"keys": []}}), "revocation.feed.keys"),
        (json!({"keys": []}), "revocation.feed.keys"),
        (json!({ "keys": private }), "revocation.feed.keys"),
        (json!({"interval": "100ms"}), "revocation.feed.interval"),
        (json!({"interval": 1}), "revocation.feed.interval"),
        (json!({"timeout": "0s"}), "revocation.feed.timeout"),
        (json!({"long_poll": "1500ms"}), "revocation.feed.long_poll"),
        (json!({"max_staleness": "2d"}), "revocation.feed.max_staleness"),
        (json!({"max_staleness": "3s"}), "revocation.feed.max_staleness"),
        (json!({"interval": "10m"}), "revocation.feed.max_staleness"),
        (json!({"long_poll": "2m", "max_staleness": "2m"}), "revocation.feed.max_staleness"),
        (json!({"when_stale": "ignore"}), "revocation.feed.when_stale"),
        (json!({"stale": "deny"}), "revocation.feed.stale"),
    ] {
        let found = mistakes(&feed(&changes));
        assert!(found.len() == 1 && found[0].starts_with(&format!("{path}: ")), "{changes}: {found:?}");
    }
    let mut document = provider(json!({}));
    document["revocation"] = json!({});
    assert_eq!(mistakes(&document).len(), 1);
}

#[test]
fn entries_may_end_and_be_lifted() {
    let mut document = provider(json!({}));
    let entry =
        json!({"tenant": TENANT.to_uppercase(), "user": "u", "blocked": true, "unblocked_at": 9, "expires": 99});
    document["revocation"] = json!({"entries": [entry]});
    let entries = policy(&document).revocation.unwrap().entries;
    assert_eq!((entries[0].rule.effect(), entries[0].expires), (Effect::NotBefore(9), Some(99)));
    assert_eq!(entries[0].subject.members(), [("tenant", TENANT), ("user", "u")]);
    document["revocation"]["entries"][0]["expires"] = json!(1_760_000_000_000_u64);
    assert_eq!(mistakes(&document).len(), 1);
}

/// The mistakes of a provider, with a variable that holds a secret.
fn mistakes_of(changes: Value) -> Vec<String> {
    let environment = |name: &str| (name == "SECRET").then(|| "a-worthless-secret".to_owned());
    let compiled = compile_with(provider(changes).to_string().as_bytes(), &environment);
    compiled.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn oidc(changes: Value) -> Value {
    let metadata = "https://idp.example/.well-known/openid-configuration";
    let mut provider = json!({"kind": "oidc", "tenants": null, "metadata_url": metadata});
    provider.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    provider
}

#[test]
fn whoever_is_asked_about_tokens_is_named_whole() {
    let good = json!({
        "url": "https://idp.example/introspect", "cluster": "idp", "client_id": "gate", "client_secret_env": "SECRET",
    });
    let introspection = |name: &str, value: Value| {
        let mut settings = good.clone();
        match value {
            Value::Null => settings.as_object_mut().unwrap().remove(name),
            value => settings.as_object_mut().unwrap().insert(name.to_owned(), value),
        };
        mistakes_of(oidc(json!({ "introspection": settings })))
    };
    assert_eq!(introspection("timeout", json!("1s")), Vec::<String>::new());
    for (name, value, start) in [
        ("url", Value::Null, "providers.p.introspection.url: found nothing"),
        ("url", json!("http://idp.example/introspect"), "providers.p.introspection.url: found"),
        ("cluster", Value::Null, "providers.p.introspection.cluster: found nothing"),
        ("client_id", Value::Null, "providers.p.introspection.client_id: found nothing"),
        ("client_secret_env", Value::Null, "providers.p.introspection.client_secret_env: found nothing"),
        (
            "client_secret_env",
            json!("OTHER"),
            "providers.p.introspection.client_secret_env: found OTHER, which is not set",
        ),
        ("client_secret", json!("x"), "providers.p.introspection.client_secret: found an unknown member"),
        ("cache", json!("0s"), "providers.p.introspection.cache: found \"0s\", expected a duration from 1s"),
        ("tokens", json!("some"), "providers.p.introspection.tokens: found \"some\", expected one of all, opaque"),
        (
            "on_failure",
            json!("pass"),
            "providers.p.introspection.on_failure: found \"pass\", expected one of deny, allow",
        ),
        ("authentication", json!("none"), "providers.p.introspection.authentication: found"),
    ] {
        let all = introspection(name, value);
        assert!(all.len() == 1 && all[0].starts_with(start), "{start}: {all:?}");
    }
    let of_entra = mistakes_of(json!({ "introspection": good }));
    assert!(of_entra[0].contains("it is for kind oidc"), "{of_entra:?}");
}

#[test]
fn tokens_for_graph_are_accepted_from_named_clients_alone() {
    let graph = |changes: Value| {
        let mut members = json!({"client_applications": ["c"], "graph_tokens": {"cluster": "graph"}});
        members.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        members
    };
    let settings = |changes: Value| {
        let policy = policy(&provider(graph(changes)));
        let graph = policy.providers.all()[0].graph_tokens.clone().unwrap();
        (graph.upstream.address.to_string(), graph.audiences[1].clone())
    };
    for (changes, host) in [
        (json!({}), "graph.microsoft.com"),
        (json!({"cloud": "us_government"}), "graph.microsoft.us"),
        (json!({"cloud": "china"}), "microsoftgraph.chinacloudapi.cn"),
        (
            json!({"cloud": "us_government", "graph_tokens": {"cluster": "g", "graph_url": "https://dod-graph.microsoft.us"}}),
            "dod-graph.microsoft.us",
        ),
    ] {
        assert_eq!(settings(changes), (format!("https://{host}/oidc/userinfo"), format!("https://{host}/")));
    }
    for (changes, start) in [
        (
            graph(json!({"client_applications": null})),
            "providers.p.client_applications: found nothing, expected the clients",
        ),
        (graph(json!({"graph_tokens": {}})), "providers.p.graph_tokens.cluster: found nothing"),
        (
            graph(json!({"graph_tokens": {"cluster": "g", "graph_url": "https://graph.example/v1.0"}})),
            "providers.p.graph_tokens.graph_url: found",
        ),
        (
            graph(json!({"graph_tokens": {"cluster": "g", "on_failure": "allow"}})),
            "providers.p.graph_tokens.on_failure: found an unknown member",
        ),
        (oidc(graph(json!({}))), "providers.p.graph_tokens: found this member, expected no `graph_tokens`"),
    ] {
        let all = mistakes_of(changes);
        assert!(all.len() == 1 && all[0].starts_with(start), "{start}: {all:?}");
    }
}

#[test]
fn status_lists_are_named() {
    let lists = |members: Value| mistakes_of(oidc(json!({ "status_lists": members })));
    let uris = json!(["https://status.example/lists/", "https://status.example/one"]);
    assert_eq!(lists(json!({"uris": uris, "cluster": "status"})), Vec::<String>::new());
    assert_eq!(mistakes_of(json!({"status_lists": {"uris": uris, "cluster": "status"}})), Vec::<String>::new());
    let secret = json!({"keys": [{"kty": "oct", "kid": "a", "k": "d29ydGhsZXNzLXNlY3JldC1vZi0zMi1ieXRlcy1sb25n"}]});
    for (members, start) in [
        (json!({"cluster": "status"}), "providers.p.status_lists.uris: found nothing"),
        (json!({"cluster": "status", "uris": []}), "providers.p.status_lists.uris: found an empty list"),
        (json!({"cluster": "status", "uris": ["http://x/"]}), "providers.p.status_lists.uris[0]: found"),
        (json!({"cluster": "status", "uris": ["*"]}), "providers.p.status_lists.uris[0]: found"),
        (json!({"uris": uris}), "providers.p.status_lists.cluster: found nothing"),
        (
            json!({"uris": uris, "cluster": "status", "jwks": secret}),
            "providers.p.status_lists.jwks: found a key that could never verify a list",
        ),
    ] {
        let all = lists(members);
        assert!(all.len() == 1 && all[0].starts_with(start), "{start}: {all:?}");
    }
}
