//! The twelve mistakes, and a few more: what the client is told, what the operator reads and what the trace shows, from a
//! run. It is docs/diagnosis.md; `make diagnosis` writes it anew.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/gate.rs"]
mod gate;

use std::path::Path;

use entra_gate::answer::answer;
use entra_gate::answer::explanation::{End, document};
use entra_gate::judge::explain;
use entra_gate::judge::refusal::Refusal;
use entra_gate::judge::trace::{Check, Outcome, Trace};
use entra_gate::judge::verdict::{Judgement, Seen, Verdict, Want};
use entra_gate::keys::freshness::{Cause, Progress};
use entra_gate::signals::refusal_line;
use gate::{Gate, NOW};
use serde_json::{Value, json};

const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const FABRIKAM: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";
const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";
const OTHER_CLIENT: &str = "bbbbbbbb-0000-4000-8000-000000000002";

/// A mistake.
struct Mistake {
    title: &'static str,
    /// What differs from the usual provider.
    provider: Value,
    /// What the rule asks, if there is one.
    require: Option<Value>,
    /// The token, as the mock is asked for it.
    token: Value,
    reason: &'static str,
    /// What the sentence must name.
    names: &'static str,
}

fn mistake(title: &'static str, provider: Value, token: Value, reason: &'static str, names: &'static str) -> Mistake {
    Mistake { title, provider, require: None, token, reason, names }
}

fn customers() -> Value {
    json!({"kind": "external_id", "domain": "contosocustomers", "tenants": [CUSTOMERS]})
}

fn mistakes() -> Vec<Mistake> {
    let v2 = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    vec![
        mistake(
            "1. A v1 token where v2 is expected",
            json!({"token_versions": [2]}),
            json!({"version": 1}),
            "token_version_not_allowed",
            "requestedAccessTokenVersion to 2",
        ),
        mistake(
            "2. A v2 token where v1 is expected",
            json!({"token_versions": [1]}),
            json!({"version": 2}),
            "token_version_not_allowed",
            "Add 2 to token_versions",
        ),
        mistake(
            "3. A token for Microsoft Graph",
            json!({"token_versions": [2]}),
            json!({"version": 1, "audience": "https://graph.microsoft.com"}),
            "audience_not_allowed",
            "Request a scope of this API",
        ),
        mistake(
            "4. The audience in another form",
            json!({"audiences": [ORDERS]}),
            json!({"audience": format!("api://{ORDERS}")}),
            "audience_not_allowed",
            "Configure both forms as audiences",
        ),
        mistake(
            "5. An ID token",
            json!({}),
            json!({"audience": OTHER_CLIENT, "claims": {"azp": null, "scp": null, "nonce": "n"}}),
            "audience_not_allowed",
            "Send the access token",
        ),
        mistake(
            "6. Another tenant",
            json!({}),
            json!({"tenant": FABRIKAM}),
            "tenant_not_allowed",
            "Sign in to the right tenant",
        ),
        mistake(
            "6. A personal Microsoft account",
            json!({}),
            json!({"tenant": PERSONAL, "key": "msa"}),
            "tenant_not_allowed",
            "personal Microsoft account",
        ),
        mistake(
            "7. `iss` and `tid` of different tenants",
            json!({}),
            json!({"claims": {"tid": FABRIKAM}}),
            "issuer_not_allowed",
            "contradicts itself: its tid",
        ),
        mistake(
            "8. An External ID (CIAM) token where a workforce token is expected",
            json!({}),
            json!({"kind": "external_id"}),
            "issuer_not_allowed",
            "Configure a provider of kind external_id",
        ),
        mistake(
            "8. A workforce token where an External ID token is expected",
            customers(),
            json!({}),
            "issuer_not_allowed",
            "Configure a provider of kind workforce",
        ),
        mistake(
            "8. An External ID token with the tenant's name in its issuer",
            customers(),
            json!({
                "kind": "external_id",
                "claims": {"iss": format!("https://contosocustomers.ciamlogin.com/{CUSTOMERS}/v2.0")},
            }),
            "issuer_not_allowed",
            "https://<tenant ID>.ciamlogin.com/<tenant ID>/v2.0",
        ),
        mistake(
            "9. An issuer with a slash too many",
            json!({}),
            json!({"claims": {"iss": format!("{}/", v2(CONTOSO))}}),
            "issuer_not_allowed",
            "a trailing slash",
        ),
        mistake(
            "10. Another cloud",
            json!({}),
            json!({"cloud": "us_government"}),
            "issuer_not_allowed",
            "another Microsoft cloud (us_government)",
        ),
        mistake("11. An unknown key", json!({}), json!({"key": "app"}), "key_unknown", "needs app_id in the provider"),
        mistake(
            "12. A key of another issuer",
            json!({"tenants": "any", "personal_accounts": true}),
            json!({"key": "msa"}),
            "key_not_allowed",
            "from the authority of its own tenant",
        ),
        mistake(
            "12. An issuer that is still a template",
            json!({"tenants": "any"}),
            json!({"claims": {"iss": v2("{tenantid}")}}),
            "issuer_not_allowed",
            "have the accepted tenants configured",
        ),
        mistake("An expired token", json!({}), json!({"expires_in": -120}), "token_expired", "Get a new one"),
        mistake(
            "A token from the future",
            json!({}),
            json!({"claims": {"nbf": NOW + 3_600}}),
            "token_not_yet_valid",
            "Check the clocks",
        ),
        mistake(
            "A client that may not call",
            json!({"client_applications": [OTHER_CLIENT]}),
            json!({}),
            "client_not_allowed",
            "client_applications",
        ),
        Mistake {
            require: Some(json!({"scopes": ["Orders.Write"]})),
            ..mistake("A scope that is missing", json!({}), json!({}), "scope_insufficient", "Orders.Write")
        },
        Mistake {
            require: Some(json!({"app_roles": ["Orders.Read.All"]})),
            ..mistake(
                "A role that is missing",
                json!({}),
                json!({"roles": ["Stock.Read.All"]}),
                "role_insufficient",
                "Orders.Read.All",
            )
        },
    ]
}

impl Mistake {
    fn configuration(&self) -> Value {
        let mut provider =
            json!({"tenants": [CONTOSO], "audiences": [ORDERS, "api://orders"], "upstream": {"cluster": "entra"}});
        for (name, value) in self.provider.as_object().unwrap() {
            provider[name] = value.clone();
        }
        let mut configuration = json!({"providers": {"p": provider}});
        if let Some(require) = &self.require {
            configuration["rules"] = json!([{"match": {"prefix": "/orders"}, "require": require}]);
        }
        configuration
    }

    fn make(&self) -> Made {
        let mut gate = Gate::new(&self.configuration());
        let mut request = self.token.clone();
        request["claims"]["uti"] = "the-token".into();
        let token = gate.mint(&request);
        // Keys have an age.
        gate.now += 300;
        if request["expires_in"].is_null() && self.reason != "token_not_yet_valid" {
            gate.now = NOW + 300;
        } else {
            gate.now = NOW;
        }
        let headers = [("authorization", format!("Bearer {token}"))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (judgement, trace) = gate.ask("/orders", &headers, explain);
        let Judgement { verdict, seen, .. } = judgement;
        let refusal = match verdict {
            Verdict::Allow(_) => panic!("{}: passes", self.title),
            Verdict::Ask(ask) => ask.otherwise,
            Verdict::Refuse(refusal) => refusal,
            // As the shell ends it: keys were fetched on time, and another unknown key asked ten seconds ago.
            Verdict::Lack(lack) => {
                let document = gate.policy.documents[lack.document.0].clone().unwrap();
                let now = u64::try_from(gate.now).unwrap() * 1_000;
                let progress = Progress::default().started(&document, now - 300_000, Cause::Schedule);
                let progress = progress.succeeded(now - 300_000).started(&document, now - 10_000, Cause::UnknownKid);
                lack.give_up(&progress.succeeded(now - 9_900), &document, now, 0)
            }
        };
        Made { gate, token, trace, seen, refusal }
    }
}

struct Made {
    gate: Gate,
    token: String,
    trace: Trace,
    seen: Seen,
    refusal: Refusal,
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn section(mistake: &Mistake, made: &Made) -> String {
    let Made { gate, trace, seen, refusal, .. } = made;
    let answer = answer(refusal, &gate.policy.responses);
    let mut asked = Vec::new();
    if mistake.provider != json!({}) {
        asked.push(format!("provider `{}`", mistake.provider));
    }
    asked.extend(mistake.require.as_ref().map(|require| format!("rule `{require}`")));
    asked.push(format!("token `{}`", mistake.token));
    let mut text = format!("\n## {}\n\n{}\n\n", mistake.title, asked.join("; "));
    text.push_str("| | |\n|---|---|\n");
    // What stands in angle brackets is no HTML.
    let told = cell(&refusal.sentence()).replace('<', "\\<");
    text.push_str(&format!("| the client | {} `{}`: {told} |\n", answer.status, refusal.reason().code()));
    text.push_str(&format!("| the operator | {} |\n", code(&refusal_line(refusal, seen))));
    text.push_str("\n| check | expected | found | outcome |\n|---|---|---|---|\n");
    for step in &trace.checks {
        let (expected, found) = (code(&step.expected), code(&step.found));
        text.push_str(&format!("| {} | {expected} | {found} | {} |\n", step.check.name(), step.outcome.name()));
    }
    text
}

const MARK: &str = "<!-- From here on this page is written by `make diagnosis`. -->\n";

#[test]
fn the_page_shows_what_happens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, written) = page.split_once(MARK).expect("the mark after which the page is generated");
    let sections: String = mistakes().iter().map(|mistake| section(mistake, &mistake.make())).collect();
    if std::env::var_os("ENTRA_GATE_WRITE").is_some() {
        std::fs::write(&path, format!("{head}{MARK}{sections}")).unwrap();
        return;
    }
    for (line, (expected, found)) in sections.lines().zip(written.lines()).enumerate() {
        assert_eq!(found, expected, "docs/diagnosis.md, line {line} after the mark: run `make diagnosis`");
    }
    assert_eq!(written.len(), sections.len(), "docs/diagnosis.md: run `make diagnosis`");
}

#[test]
fn every_mistake_has_its_reason_and_a_sentence_that_names_the_fix() {
    for mistake in mistakes() {
        let made = mistake.make();
        assert_eq!(made.refusal.reason().code(), mistake.reason, "{}", mistake.title);
        let sentence = made.refusal.sentence();
        assert!(sentence.contains(mistake.names), "{}: {sentence}", mistake.title);
    }
}

#[test]
fn the_operator_reads_more_than_the_client() {
    let detail = |title: &str| {
        let all = mistakes();
        all.iter().find(|mistake| mistake.title.starts_with(title)).unwrap().make().refusal.detail()
    };
    for (title, parts) in [
        ("1.", vec!["version 1", "aud api://orders"]),
        ("3.", vec!["https://graph.microsoft.com", ORDERS]),
        ("4.", vec!["form only", ORDERS]),
        ("7.", vec![FABRIKAM, CONTOSO]),
        (
            "11.",
            vec![
                "discovery/v2.0/keys",
                "300 s old",
                "the last refresh was good",
                "may refresh them in 21 s",
                "claims mapping",
            ],
        ),
        ("12. A key", vec![PERSONAL, CONTOSO]),
        ("An expired", vec!["120 s ago", "skew 60 s"]),
        ("A token from", vec!["in 3600 s", "skew 60 s"]),
        ("A client", vec!["azp or appid aaaaaaaa", OTHER_CLIENT]),
        ("A scope", vec!["Orders.Read", "Orders.Write"]),
        ("A role", vec!["Stock.Read.All", "Orders.Read.All"]),
    ] {
        let detail = detail(title);
        for part in parts {
            assert!(detail.contains(part), "{title} {part}: {detail}");
        }
    }
}

/// Requests of every kind, good ones too.
fn requests() -> Vec<(Gate, Vec<String>)> {
    let ready = |configuration: Value, tokens: Vec<Value>| {
        let gate = Gate::new(&configuration);
        let tokens = tokens.iter().map(|token| gate.mint(token)).collect();
        (gate, tokens)
    };
    let mut all: Vec<(Gate, Vec<String>)> = mistakes()
        .iter()
        .map(|mistake| {
            let made = mistake.make();
            (made.gate, vec![made.token])
        })
        .collect();
    all.push(ready(
        json!({
            "providers": {
                "workforce": {
                    "tenants": [CONTOSO],
                    "audiences": ["api://orders", ORDERS],
                    "upstream": {"cluster": "entra"},
                    "max_lifetime": "2h",
                    "required_claims": [{"name": "azpacr", "values": ["1"]}],
                },
                "customers": {
                    "kind": "external_id",
                    "domain": "contosocustomers",
                    "tenants": [CUSTOMERS],
                    "audiences": ["api://orders", ORDERS],
                    "upstream": {"cluster": "entra"},
                },
            },
            "rules": [{
                "match": {"prefix": "/orders", "methods": ["GET"]},
                "require": {"scopes": ["Orders.Read"], "claims": [{"name": "tid"}]},
            }],
            "revocation": {"entries": [{"tenant": CONTOSO, "user": "gone", "blocked": true}]},
        }),
        vec![
            json!({}),
            json!({"version": 1}),
            json!({"kind": "external_id"}),
            json!({"claims": {"oid": "gone"}}),
            json!({"signature": "corrupt"}),
            json!({"header": {"kid": null}}),
            json!({"header": {"typ": "other"}}),
            json!({"raw_payload": "[]"}),
            json!({"alg": "none"}),
            json!({"claims": {"iss": null}}),
            json!({"claims": {"azpacr": "2"}}),
            json!({"claims": {"exp": "soon"}}),
            json!({"roles": ["Orders.Read.All"]}),
        ],
    ));
    all
}

#[test]
fn explaining_decides_as_judging_does() {
    for (gate, tokens) in requests() {
        for token in tokens {
            let authorization = format!("Bearer {token}");
            let headers = [("authorization", authorization.as_str())];
            let judged = gate.judge("/orders", Some(&authorization));
            let (explained, trace) = gate.ask("/orders", &headers, explain);
            assert_eq!(format!("{:?}", explained.verdict), format!("{:?}", judged.verdict));
            assert_eq!(explained.seen, judged.seen);
            // The checks end as the verdict does.
            let last = trace.checks.last().unwrap().outcome;
            let expected = match judged.verdict {
                Verdict::Allow(_) => Outcome::Passed,
                Verdict::Ask(_) | Verdict::Lack(_) => Outcome::Lacking,
                Verdict::Refuse(_) => Outcome::Failed,
            };
            assert_eq!(last, expected, "{:?} {:?}", judged.verdict, trace.checks);
            let broken = trace.checks.iter().filter(|step| step.outcome != Outcome::Passed).count();
            assert_eq!(broken, usize::from(expected != Outcome::Passed), "{:?}", trace.checks);
        }
    }
}

#[test]
fn a_trace_holds_neither_the_token_nor_its_signature() {
    for (gate, tokens) in requests() {
        for token in tokens {
            let authorization = format!("Bearer {token}");
            let (Judgement { verdict, .. }, trace) = gate.ask("/orders", &[("authorization", &authorization)], explain);
            let responses = &gate.policy.responses;
            let told = match &verdict {
                Verdict::Allow(grant) => document(&trace, &End::Allow(grant), responses),
                Verdict::Ask(ask) => document(&trace, &End::Refuse(&ask.otherwise), responses),
                Verdict::Lack(lack) => document(&trace, &End::Refuse(&lack.otherwise), responses),
                Verdict::Refuse(refusal) => document(&trace, &End::Refuse(refusal), responses),
            };
            let told = format!("{told}{trace:?}");
            for part in token.split('.').filter(|part| part.len() > 20) {
                assert!(!told.contains(part), "{part} in {told}");
            }
            // What people are called is nobody's business here.
            assert!(!told.contains("Abe Lincoln"), "{told}");
        }
    }
}

#[test]
fn a_passing_token_is_traced_through_every_check() {
    let (gate, tokens) = requests().pop().unwrap();
    let authorization = format!("Bearer {}", tokens[0]);
    let (Judgement { verdict, .. }, trace) = gate.ask("/orders?x=1", &[("authorization", &authorization)], explain);
    let Verdict::Allow(grant) = verdict else { panic!("{verdict:?}") };
    let names: Vec<&str> = trace.checks.iter().map(|step| step.check.name()).collect();
    assert_eq!(
        names,
        [
            "credential",
            "form",
            "type",
            "issuer",
            "version",
            "tenant",
            "algorithm",
            "expiry",
            "not_before",
            "lifetime",
            "audience",
            "client",
            "claims",
            "rule",
            "keys",
            "stated_issuer",
            "kid",
            "key",
            "signature",
            "identity",
            "revocation",
            "permissions",
        ]
    );
    let told = document(&trace, &End::Allow(&grant), &gate.policy.responses);
    assert_eq!(told["request"], json!({"method": "GET", "host": "api.example", "path": "/orders"}));
    let rule = json!({"path": "/orders", "rule": "rules[0]", "matches": "prefix /orders, methods [GET]"});
    assert_eq!(told["rules"], json!([rule]));
    assert_eq!(told["token"]["source"], "as Authorization: Bearer <token>");
    assert_eq!(told["token"]["claims"]["aud"], ORDERS);
    assert_eq!(told["token"]["header"]["alg"], "RS256");
    assert_eq!(told["key"]["provider"], "workforce");
    assert_eq!(told["key"]["age_seconds"], 0);
    assert!(told["key"]["document"].as_str().unwrap().ends_with("/discovery/v2.0/keys"), "{told}");
    assert_eq!(told["verdict"]["outcome"], "allowed");
    assert_eq!(told["verdict"]["client"], told["token"]["claims"]["azp"]);
}

#[test]
fn a_remembered_token_is_traced_whole_and_said_to_be_remembered() {
    let (mut gate, tokens) = requests().pop().unwrap();
    let authorization = format!("Bearer {}", tokens[0]);
    let headers = [("authorization", authorization.as_str())];
    let (first, before) = gate.ask("/orders", &headers, explain);
    let Verdict::Allow(grant) = first.verdict else { panic!("the token is good") };
    gate.memory.remember(&tokens[0], grant.facts().unwrap());
    let (_, after) = gate.ask("/orders", &headers, explain);
    assert_eq!((before.token.unwrap().remembered, after.token.unwrap().remembered), (false, true));
    assert_eq!(before.checks, after.checks);
}

#[test]
fn without_keys_everything_before_the_signature_is_traced() {
    let (mut gate, tokens) = requests().pop().unwrap();
    gate.keys = gate.policy.key_store();
    let authorization = format!("Bearer {}", tokens[0]);
    let (Judgement { verdict, .. }, trace) = gate.ask("/orders", &[("authorization", &authorization)], explain);
    let Verdict::Lack(lack) = verdict else { panic!("no keys are held") };
    assert_eq!(lack.want, Want::Any);
    let last = trace.checks.last().unwrap();
    assert_eq!((last.check, last.outcome), (Check::Keys, Outcome::Lacking));
    assert!(trace.checks.iter().any(|step| step.check == Check::Rule));
}
