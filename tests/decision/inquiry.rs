//! What others say of a token: opaque tokens, tokens for Microsoft Graph, status lists. Asked and answered without a network.

use entra_gate::inquiry::{Fault, Kind, Response, Word};
use entra_gate::jose::signature::Software;
use entra_gate::judge::explain;
use entra_gate::judge::trace::{Check, Outcome};
use entra_gate::judge::verdict::{Judgement, Recall, Verdict};
use mock_entra::{ListRequest, Told};
use serde_json::{Value, json};

use super::gate::{Gate, NOW};

const OIDC: &str = "https://idp.example.com/.well-known/openid-configuration";
const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";
const DAEMON: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
const LIST: &str = "https://status.example.com/lists/1";

fn oidc(members: Value) -> Value {
    let mut provider = json!({
        "kind": "oidc", "metadata_url": OIDC, "audiences": [ORDERS], "upstream": {"cluster": "entra"},
    });
    provider.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    provider
}

fn introspection(members: Value) -> Value {
    let mut settings = json!({
        "url": "https://idp.example.com/introspect", "cluster": "entra", "client_id": "gate",
        "client_secret_env": "INTROSPECTION_SECRET",
    });
    settings.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    settings
}

/// One provider and one rule for everything.
fn gate(provider: Value, rest: Value) -> Gate {
    let mut configuration = json!({"providers": {"p": provider}});
    configuration.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    Gate::new(&configuration)
}

fn introspecting(members: Value, rest: Value) -> Gate {
    gate(oidc(json!({"introspection": introspection(members)})), rest)
}

/// A gate that takes tokens for Graph.
fn graph(rest: Value) -> Gate {
    let provider = json!({
        "tenants": [CONTOSO], "audiences": [ORDERS], "upstream": {"cluster": "entra"},
        "client_applications": [DAEMON], "graph_tokens": {"cluster": "graph"},
    });
    gate(provider, rest)
}

fn graph_token(gate: &Gate, changes: &Value) -> String {
    let mut request = json!({"audience": GRAPH, "version": 1, "graph_bound": true, "scopes": "openid User.Read"});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    gate.mint(&request)
}

/// A gate for tokens with a status.
fn listing(members: Value) -> Gate {
    let mut settings = json!({"uris": ["https://status.example.com/lists/"], "cluster": "status"});
    settings.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    gate(oidc(json!({ "status_lists": settings })), json!({}))
}

fn with_status(gate: &Gate, index: u64) -> String {
    gate.mint(&json!({"kind": "oidc", "claims": {"status": {"status_list": {"idx": index, "uri": LIST}}}}))
}

fn list(gate: &mut Gate, members: Value) {
    let request: ListRequest = serde_json::from_value(members).unwrap();
    gate.directory.list(request);
}

fn tell(gate: &mut Gate, token: &str, answer: &Value) {
    gate.directory.tell(Told { token: token.to_owned(), answer: answer.clone() });
}

/// An answer about an opaque token that lets it pass.
fn active(changes: &Value) -> Value {
    let mut answer = json!({
        "active": true, "iss": "https://idp.example.com", "aud": ORDERS, "client_id": "their-app", "sub": "somebody",
        "scope": "read write", "exp": NOW + 600, "iat": NOW, "jti": "one",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => answer.as_object_mut().unwrap().remove(name),
            value => answer.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    answer
}

/// What the far end says.
type FarEnd<'a> = &'a dyn Fn(Kind) -> Option<Response>;

/// Answers what is asked, as the shell does, until nothing is asked any more. Says how often somebody was.
fn ask(gate: &mut Gate, path: &str, token: &str, far_end: FarEnd<'_>) -> (Judgement, usize) {
    let authorization = format!("Bearer {token}");
    let now = u64::try_from(gate.now).unwrap() * 1_000;
    for asked in 0..5 {
        let judgement = gate.judge(path, Some(&authorization));
        let Verdict::Ask(ask) = judgement.verdict else {
            if let (Verdict::Allow(grant), Recall::Miss) = (&judgement.verdict, judgement.recall) {
                gate.memory.remember(token, grant.facts().unwrap());
            }
            return (judgement, asked);
        };
        assert_eq!(ask.otherwise.retry_after(), Some(1));
        assert!(gate.heard.ask(&ask.question));
        let call = gate.policy.call(&ask.question).unwrap();
        let response = far_end(ask.question.kind).unwrap_or_else(|| {
            let header =
                |name: &str| call.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
            let (status, body) = match ask.question.kind {
                Kind::Introspection => {
                    let form = call.form.as_deref().unwrap_or_default();
                    let (status, body) = gate.directory.introspect(header("authorization"), form.as_bytes());
                    (status, body.to_string())
                }
                Kind::StatusList => {
                    let list = gate.directory.status_list(call.address.authority(), call.address.path(), gate.now);
                    list.map_or((404, String::new()), |list| (200, list))
                }
                Kind::Userinfo => {
                    let (status, body) = gate.directory.userinfo(header("authorization"), gate.now);
                    (status, body.to_string())
                }
            };
            Response { status, retry_after: None, body: body.into_bytes() }
        });
        let word = gate.policy.understand(&ask.question, &response, &gate.keys, &Software, now).unwrap();
        gate.heard.hear(ask.question, word, now);
    }
    panic!("there is no end to what is asked");
}

fn honest(_: Kind) -> Option<Response> {
    None
}

/// The reason's code, or `passes`; and how often somebody was asked.
fn outcome(gate: &mut Gate, path: &str, token: &str) -> (&'static str, usize) {
    told(ask(gate, path, token, &honest))
}

fn told((judgement, asked): (Judgement, usize)) -> (&'static str, usize) {
    let outcome = match judgement.verdict {
        Verdict::Allow(_) => "passes",
        Verdict::Ask(_) | Verdict::Lack(_) => "lacks",
        Verdict::Refuse(refusal) => refusal.reason().code(),
    };
    (outcome, asked)
}

#[test]
fn an_opaque_token_is_judged_by_what_its_server_says() {
    let rest = json!({"rules": [
        {"match": {"path": "/read"}, "require": {"scopes": ["read"]}},
        {"match": {"path": "/admin"}, "require": {"scopes": ["admin"]}},
        {"match": {"path": "/claims"}, "require": {"claims": [{"name": "sub", "values": ["somebody"]}]}},
        {"match": {"path": "/app"}, "require": {"client_applications": ["other-app"]}},
    ]});
    for (changes, path, expected) in [
        (json!({}), "/", "passes"),
        (json!({}), "/read", "passes"),
        (json!({}), "/admin", "scope_insufficient"),
        (json!({}), "/claims", "passes"),
        (json!({}), "/app", "client_not_allowed"),
        (json!({"client_id": "other-app"}), "/app", "passes"),
        (json!({"aud": "other"}), "/", "audience_not_allowed"),
        (json!({"aud": ["other", ORDERS]}), "/", "passes"),
        (json!({"aud": null}), "/", "claim_missing"),
        (json!({"iss": null}), "/", "passes"),
        (json!({"iss": "https://idp.example.com/"}), "/", "passes"),
        (json!({"iss": "https://evil.example"}), "/", "issuer_not_allowed"),
        (json!({"iss": 1}), "/", "token_malformed"),
        (json!({"exp": null}), "/", "claim_missing"),
        (json!({"exp": NOW - 60}), "/", "token_expired"),
        (json!({"exp": NOW - 59}), "/", "passes"),
        (json!({"exp": "soon"}), "/", "token_malformed"),
        (json!({"nbf": NOW + 61}), "/", "token_not_yet_valid"),
        (json!({"active": false}), "/", "token_inactive"),
    ] {
        let mut gate = introspecting(json!({}), rest.clone());
        tell(&mut gate, "opaque-token", &active(&changes));
        assert_eq!(outcome(&mut gate, path, "opaque-token"), (expected, 1), "{changes} {path}");
    }
}

#[test]
fn what_is_told_of_an_opaque_token_reaches_the_upstream_and_the_revocation_list() {
    let rest = json!({
        "forward": {"payload_header": "x-payload", "claim_headers": [{"header": "x-sub", "claim": "sub"}]},
        "revocation": {"entries": [{"issuer": "https://idp.example.com", "token": "stolen", "blocked": true}]},
    });
    let mut gate = introspecting(json!({}), rest);
    tell(&mut gate, "good", &active(&json!({})));
    tell(&mut gate, "stolen", &active(&json!({"jti": "stolen"})));
    tell(&mut gate, "nameless", &active(&json!({"jti": null})));
    let (Judgement { verdict, .. }, _) = ask(&mut gate, "/", "good", &honest);
    let Verdict::Allow(grant) = verdict else { panic!("{verdict:?}") };
    let header = |name: &str| grant.headers().iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    assert_eq!(header("x-sub").as_deref(), Some("somebody"));
    let payload = header("x-payload").unwrap();
    let payload: Value = serde_json::from_str(&entra_gate::jose::compact::payload_text(&payload).unwrap()).unwrap();
    assert_eq!(payload, active(&json!({})));
    let identity = grant.identity().unwrap();
    assert_eq!((identity.subject.as_deref(), identity.client.as_deref()), (Some("somebody"), Some("their-app")));
    assert_eq!(outcome(&mut gate, "/", "stolen").0, "token_revoked");
    assert_eq!(outcome(&mut gate, "/", "nameless").0, "claim_missing");
}

#[test]
fn an_answer_serves_the_very_token_until_it_is_too_old() {
    let mut gate = introspecting(json!({"cache": "30s"}), json!({}));
    tell(&mut gate, "good", &active(&json!({})));
    assert_eq!(outcome(&mut gate, "/", "good"), ("passes", 1));
    for (later, asked) in [(0, 0), (29, 0), (30, 1), (31, 0)] {
        gate.now = NOW + later;
        assert_eq!(outcome(&mut gate, "/", "good"), ("passes", asked), "{later}");
    }
    // The server changes its mind: heard within the time that an answer counts.
    tell(&mut gate, "good", &json!({"active": false}));
    gate.now = NOW + 59;
    assert_eq!(outcome(&mut gate, "/", "good"), ("passes", 0));
    gate.now = NOW + 60;
    assert_eq!(outcome(&mut gate, "/", "good"), ("token_inactive", 1));
    assert_eq!(outcome(&mut gate, "/", "good"), ("token_inactive", 0));
    // Another spelling is another token.
    for other in ["gooD", "good=", "goo"] {
        assert_eq!(outcome(&mut gate, "/", other), ("token_inactive", 1), "{other}");
    }
    // Bad news count less long.
    tell(&mut gate, "good", &active(&json!({})));
    gate.now = NOW + 64;
    assert_eq!(outcome(&mut gate, "/", "good"), ("token_inactive", 0));
    gate.now = NOW + 65;
    assert_eq!(outcome(&mut gate, "/", "good"), ("passes", 1));
}

#[test]
fn no_answer_outlives_its_token() {
    let mut gate = introspecting(json!({"cache": "1h"}), json!({}));
    tell(&mut gate, "short", &active(&json!({"exp": NOW + 10})));
    assert_eq!(outcome(&mut gate, "/", "short"), ("passes", 1));
    gate.now = NOW + 9;
    assert_eq!(outcome(&mut gate, "/", "short"), ("passes", 0));
    gate.now = NOW + 10;
    tell(&mut gate, "short", &json!({"active": false}));
    assert_eq!(outcome(&mut gate, "/", "short"), ("token_inactive", 1));
}

#[test]
fn a_token_that_no_server_is_asked_about_is_malformed_as_ever() {
    let two = json!({"providers": {
        "one": oidc(json!({"introspection": introspection(json!({}))})),
        "two": oidc(json!({"introspection": introspection(json!({}))})),
        "none": oidc(json!({})),
        "elsewhere": oidc(json!({"introspection": introspection(json!({})), "token_sources": [{"header": "x-token"}]})),
    }, "rules": [
        {"match": {"path": "/one"}, "require": {"providers": ["one"]}},
        {"match": {"path": "/both"}, "require": {"providers": ["one", "two"]}},
        {"match": {"path": "/none"}, "require": {"providers": ["none"]}},
        {"match": {"path": "/elsewhere"}, "require": {"providers": ["elsewhere"]}},
    ]});
    let mut gate = Gate::new(&two);
    tell(&mut gate, "opaque", &active(&json!({})));
    assert_eq!(outcome(&mut gate, "/one", "opaque"), ("passes", 1));
    // It does not say whose it is: no server is shown another's token.
    for path in ["/both", "/none", "/elsewhere", "/"] {
        assert_eq!(outcome(&mut gate, path, "opaque"), ("token_malformed", 0), "{path}");
    }
    // What was meant to be a JWT and is damaged is not asked about either.
    let jwt = gate.mint(&json!({"kind": "oidc"}));
    let [header, payload, signature] = jwt.split('.').collect::<Vec<_>>().try_into().unwrap();
    for damaged in [
        format!("{header}.{payload}="),
        format!("{header}.{payload}.{signature}.x.y"),
        format!("{header}.{}.{signature}", payload.get(1..).unwrap()),
        "x".repeat(33 * 1024),
    ] {
        let (outcome, asked) = outcome(&mut gate, "/one", &damaged);
        let is_opaque = damaged.split('.').count() < 3;
        assert_eq!(
            (outcome, asked),
            if is_opaque && damaged.len() < 32 * 1024 { ("token_inactive", 1) } else { ("token_malformed", 0) }
        );
    }
}

#[test]
fn a_jwt_of_such_a_provider_is_verified_and_then_asked_about() {
    let mut gate = introspecting(json!({}), json!({}));
    let good = gate.mint(&json!({"kind": "oidc"}));
    assert_eq!(outcome(&mut gate, "/", &good), ("passes", 1));
    assert_eq!(outcome(&mut gate, "/", &good), ("passes", 0));
    let revoked = gate.mint(&json!({"kind": "oidc", "claims": {"jti": "r"}}));
    tell(&mut gate, &revoked, &json!({"active": false}));
    assert_eq!(outcome(&mut gate, "/", &revoked), ("token_inactive", 1));
    // Nobody is asked about a token that is refused anyway.
    for request in [
        json!({"kind": "oidc", "signature": "corrupt"}),
        json!({"kind": "oidc", "expires_in": -120}),
        json!({"kind": "oidc", "audience": "other"}),
        json!({"kind": "oidc", "claims": {"iss": "https://evil.example"}}),
    ] {
        let token = gate.mint(&request);
        let (outcome, asked) = outcome(&mut gate, "/", &token);
        assert!(outcome != "passes" && asked == 0, "{request}: {outcome}, {asked}");
    }
    // An answer about another token is none about this one.
    for (claim, reason) in [("iss", "claim_not_allowed"), ("sub", "claim_not_allowed"), ("aud", "passes")] {
        let token = gate.mint(&json!({"kind": "oidc", "claims": {"jti": claim}}));
        tell(&mut gate, &token, &json!({"active": true, claim: "other"}));
        assert_eq!(outcome(&mut gate, "/", &token).0, reason, "{claim}");
    }
    let mut opaque_only = introspecting(json!({"tokens": "opaque"}), json!({}));
    let good = opaque_only.mint(&json!({"kind": "oidc"}));
    assert_eq!(outcome(&mut opaque_only, "/", &good), ("passes", 0));
    tell(&mut opaque_only, "opaque", &active(&json!({})));
    assert_eq!(outcome(&mut opaque_only, "/", "opaque"), ("passes", 1));
}

fn failing(status: u16, body: &'static str) -> impl Fn(Kind) -> Option<Response> {
    move |_| Some(Response { status, retry_after: None, body: body.into() })
}

#[test]
fn without_an_answer_the_gate_says_503_or_what_the_policy_says() {
    for (status, body) in [
        (504, "upstream request timeout"),
        (500, ""),
        (401, r#"{"error":"invalid_client"}"#),
        (302, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, r#"{"active":"true"}"#),
    ] {
        let far_end = failing(status, body);
        for on_failure in ["deny", "allow"] {
            let mut gate = introspecting(json!({ "on_failure": on_failure }), json!({}));
            let jwt = gate.mint(&json!({"kind": "oidc"}));
            let (judgement, asked) = ask(&mut gate, "/", &jwt, &far_end);
            assert_eq!(asked, 1);
            if on_failure == "allow" {
                // Its own signature is good, and it is counted.
                let Verdict::Allow(grant) = &judgement.verdict else { panic!("{judgement:?}") };
                assert!(grant.facts().unwrap().is_unchecked());
            } else {
                let Verdict::Refuse(refusal) = &judgement.verdict else { panic!("{judgement:?}") };
                assert_eq!(refusal.reason().code(), "introspection_unavailable");
                assert_eq!(refusal.retry_after(), Some(1));
            }
            // Nothing else vouches for an opaque token.
            assert_eq!(told(ask(&mut gate, "/", "opaque", &far_end)), ("introspection_unavailable", 1));
            // For a second nobody asks again, then somebody does, and what comes then counts.
            assert_eq!(outcome(&mut gate, "/", "opaque"), ("introspection_unavailable", 0));
            gate.now = NOW + 1;
            tell(&mut gate, "opaque", &active(&json!({})));
            assert_eq!(outcome(&mut gate, "/", "opaque"), ("passes", 1));
            let (judgement, asked) = ask(&mut gate, "/", &jwt, &honest);
            let Verdict::Allow(grant) = &judgement.verdict else { panic!("{judgement:?}") };
            assert_eq!((asked, grant.facts().unwrap().is_unchecked()), (1, false));
        }
    }
}

#[test]
fn a_failure_takes_nothing_away_that_is_known() {
    let mut gate = introspecting(json!({}), json!({}));
    tell(&mut gate, "known", &active(&json!({})));
    assert_eq!(outcome(&mut gate, "/", "known"), ("passes", 1));
    assert_eq!(told(ask(&mut gate, "/", "new", &failing(500, ""))), ("introspection_unavailable", 1));
    assert_eq!(outcome(&mut gate, "/", "known"), ("passes", 0));
}

#[test]
fn a_token_for_graph_is_vouched_for_by_graph_alone() {
    let mut gate = graph(json!({}));
    for (changes, expected, asked) in [
        (json!({}), "passes", 1),
        (json!({"audience": "https://graph.microsoft.com"}), "passes", 1),
        (json!({"audience": "https://graph.microsoft.com/"}), "passes", 1),
        (json!({"version": 2}), "passes", 1),
        // Another cloud's, or somebody else's altogether.
        (json!({"audience": "https://graph.microsoft.us"}), "audience_not_allowed", 0),
        (json!({"audience": "https://management.azure.com"}), "audience_not_allowed", 0),
        (json!({"claims": {"aud": [GRAPH]}}), "audience_not_allowed", 0),
        // Every other check holds, and comes first.
        (json!({"client": "bbbbbbbb-0000-4000-8000-000000000002"}), "client_not_allowed", 0),
        (json!({"expires_in": -120}), "token_expired", 0),
        (json!({"tenant": "fabrikam"}), "tenant_not_allowed", 0),
        // What Graph does not take.
        (json!({"signature": "corrupt"}), "token_inactive", 1),
        (json!({"scopes": "User.Read"}), "token_inactive", 1),
    ] {
        let token = graph_token(&gate, &changes);
        assert_eq!(outcome(&mut gate, "/", &token), (expected, asked), "{changes}");
    }
    // Without the nonce it is no token that only Graph can verify.
    let plain = gate.mint(&json!({"audience": GRAPH, "version": 1, "scopes": "openid"}));
    assert_eq!(outcome(&mut gate, "/", &plain), ("audience_not_allowed", 0));
    // With a nonce and this API's audience its signature is what it always was.
    let ours = gate.mint(&json!({"graph_bound": true}));
    assert_eq!(outcome(&mut gate, "/", &ours), ("signature_invalid", 0));
    let ours = gate.mint(&json!({}));
    assert_eq!(outcome(&mut gate, "/", &ours), ("passes", 0));
}

#[test]
fn without_the_option_a_token_for_graph_is_called_that() {
    let provider = json!({"tenants": [CONTOSO], "audiences": [ORDERS], "upstream": {"cluster": "entra"}});
    let mut gate = gate(provider, json!({}));
    let token = graph_token(&gate, &json!({}));
    let (judgement, asked) = ask(&mut gate, "/", &token, &honest);
    let Verdict::Refuse(refusal) = judgement.verdict else { panic!("{judgement:?}") };
    assert_eq!((refusal.reason().code(), asked), ("audience_not_allowed", 0));
    assert!(refusal.sentence().contains("Microsoft Graph"));
}

#[test]
fn graph_s_answer_must_be_about_the_same_user_and_counts_a_while() {
    let mut gate = graph(json!({}));
    let token = graph_token(&gate, &json!({}));
    let other = |_| Some(Response { status: 200, retry_after: None, body: br#"{"sub":"somebody else"}"#.to_vec() });
    let (judgement, _) = ask(&mut gate, "/", &token, &other);
    let Verdict::Refuse(refusal) = judgement.verdict else { panic!("{judgement:?}") };
    assert_eq!((refusal.reason().code(), refusal.detail().contains("somebody else")), ("claim_not_allowed", true));
    gate.now = NOW + 60;
    assert_eq!(outcome(&mut gate, "/", &token), ("passes", 1));
    gate.now = NOW + 119;
    assert_eq!(outcome(&mut gate, "/", &token), ("passes", 0));
    gate.now = NOW + 120;
    assert_eq!(told(ask(&mut gate, "/", &token, &failing(503, ""))), ("introspection_unavailable", 1));
    // One byte more or less is another token.
    let another = format!("{token}A");
    gate.now = NOW + 121;
    assert_eq!(outcome(&mut gate, "/", &another), ("token_inactive", 1));
}

#[test]
fn what_graph_may_be_asked_for_is_no_permission_here() {
    let rest = json!({"rules": [
        {"match": {"path": "/scope"}, "require": {"scopes": ["User.Read"]}},
        {"match": {"path": "/role"}, "require": {"user_roles": ["Reader"]}},
        {"match": {"path": "/claim"}, "require": {"claims": [{"name": "scp", "separator": " ", "match": "any", "values": ["User.Read"]}]}},
        {"match": {"path": "/any"}, "require": {"token_kinds": ["user"]}},
    ]});
    let mut gate = graph(rest);
    let token = graph_token(&gate, &json!({"claims": {"roles": ["Reader"]}}));
    for (path, expected) in
        [("/scope", "scope_insufficient"), ("/role", "role_insufficient"), ("/claim", "passes"), ("/any", "passes")]
    {
        assert_eq!(outcome(&mut gate, path, &token).0, expected, "{path}");
    }
}

#[test]
fn keys_are_not_needed_where_graph_vouches() {
    let mut gate = graph(json!({}));
    gate.keys = gate.policy.key_store();
    let token = graph_token(&gate, &json!({}));
    assert_eq!(outcome(&mut gate, "/", &token), ("passes", 1));
    assert_eq!(outcome(&mut gate, "/", &token), ("passes", 0));
}

#[test]
fn a_status_is_looked_up_in_the_list_that_the_token_names() {
    let mut gate = listing(json!({}));
    list(&mut gate, json!({"bits": 2, "bytes": 250, "set": {"7": 1, "8": 2, "9": 3}}));
    for (index, expected) in [
        (0, "passes"),
        (6, "passes"),
        (7, "token_revoked"),
        (8, "token_revoked"),
        (9, "token_revoked"),
        (999, "passes"),
        (1_000, "claim_not_allowed"),
        (u64::MAX, "claim_not_allowed"),
    ] {
        let token = with_status(&gate, index);
        // One list serves them all.
        assert_eq!(outcome(&mut gate, "/", &token), (expected, usize::from(index == 0)), "{index}");
    }
    // Looked at last: who is refused anyway learns nothing of it.
    let expired =
        json!({"kind": "oidc", "expires_in": -120, "claims": {"status": {"status_list": {"idx": 7, "uri": LIST}}}});
    let expired = gate.mint(&expired);
    assert_eq!(outcome(&mut gate, "/", &expired).0, "token_expired");
    // Other tokens have no status.
    for claims in [json!({}), json!({"status": {"other": 1}})] {
        let token = gate.mint(&json!({"kind": "oidc", "claims": claims}));
        assert_eq!(outcome(&mut gate, "/", &token), ("passes", 0));
    }
    let wrong = gate.mint(&json!({"kind": "oidc", "claims": {"status": {"status_list": {"idx": "0", "uri": LIST}}}}));
    assert_eq!(outcome(&mut gate, "/", &wrong), ("token_malformed", 0));
}

#[test]
fn an_address_outside_the_list_is_never_asked() {
    let mut gate = listing(json!({}));
    for uri in [
        "https://evil.example/lists/1",
        "https://status.example.com/other",
        "https://status.example.com/lists/../admin",
        "http://status.example.com/lists/1",
        "https://status.example.com@evil.example/lists/1",
        "",
    ] {
        let token = gate.mint(&json!({"kind": "oidc", "claims": {"status": {"status_list": {"idx": 1, "uri": uri}}}}));
        assert_eq!(outcome(&mut gate, "/", &token), ("claim_not_allowed", 0), "{uri}");
    }
}

#[test]
fn a_list_is_asked_for_again_when_it_is_old_and_a_revoked_token_stops_then() {
    let mut gate = listing(json!({"cache": "5m"}));
    list(&mut gate, json!({"claims": {"ttl": 60}}));
    let token = with_status(&gate, 7);
    assert_eq!(outcome(&mut gate, "/", &token), ("passes", 1));
    list(&mut gate, json!({"claims": {"ttl": 60}, "set": {"7": 1}}));
    gate.now = NOW + 59;
    assert_eq!(outcome(&mut gate, "/", &token), ("passes", 0));
    gate.now = NOW + 60;
    assert_eq!(outcome(&mut gate, "/", &token), ("token_revoked", 1));
}

#[test]
fn a_list_that_cannot_be_believed_is_none() {
    for (members, detail) in [
        (json!({"corrupt": true}), "signature"),
        (json!({"key": "stranger"}), "no key"),
        (json!({"header": {"typ": "JWT"}}), "typ"),
        (json!({"claims": {"sub": "https://status.example.com/lists/2"}}), "sub"),
        (json!({"expires_in": -1}), "exp"),
        (json!({"bytes": 5 << 20}), "too large"),
    ] {
        for (on_failure, expected) in [("deny", "revocation_unavailable"), ("allow", "passes")] {
            let mut gate = listing(json!({ "on_failure": on_failure }));
            list(&mut gate, members.clone());
            let token = with_status(&gate, 7);
            let (judgement, asked) = ask(&mut gate, "/", &token, &honest);
            if let Verdict::Refuse(refusal) = &judgement.verdict {
                assert!(refusal.detail().contains(detail), "{}", refusal.detail());
                assert_eq!(refusal.retry_after(), Some(1));
            }
            assert_eq!(told((judgement, asked)), (expected, 1), "{members}");
        }
    }
    let mut gate = listing(json!({}));
    let token = with_status(&gate, 7);
    assert_eq!(outcome(&mut gate, "/", &token), ("revocation_unavailable", 1));
}

#[test]
fn keys_for_lists_may_be_given_and_then_no_others_count() {
    let ec = {
        let set = Gate::new(&json!({"providers": {"p": oidc(json!({}))}})).directory;
        let keys = set.document("idp.example.com", "/keys").unwrap();
        keys["keys"].as_array().unwrap().iter().find(|key| key["kty"] == "EC").unwrap().clone()
    };
    let settings = json!({"uris": [LIST], "cluster": "status", "jwks": {"keys": [ec]}});
    let provider = oidc(json!({"algorithms": ["RS256", "ES256"], "status_lists": settings}));
    let mut gate = gate(provider, json!({}));
    list(&mut gate, json!({"key": "ec"}));
    let token = with_status(&gate, 7);
    assert_eq!(outcome(&mut gate, "/", &token), ("passes", 1));
    gate.now = NOW + 300;
    list(&mut gate, json!({"key": "oidc"}));
    assert_eq!(outcome(&mut gate, "/", &token), ("revocation_unavailable", 1));
}

#[test]
fn who_asks_for_quiet_is_left_alone() {
    let mut gate = introspecting(json!({}), json!({}));
    tell(&mut gate, "known", &active(&json!({})));
    assert_eq!(outcome(&mut gate, "/", "known"), ("passes", 1));
    let Verdict::Ask(ask) = gate.judge("/", Some("Bearer one")).verdict else { panic!("nobody is asked") };
    let now = u64::try_from(NOW).unwrap() * 1_000;
    gate.heard.quieten(&ask.question, Word::none(Fault::Status(429), now, Some(7)), now);
    for (token, expected) in
        [("one", "introspection_unavailable"), ("two", "introspection_unavailable"), ("known", "passes")]
    {
        assert_eq!(outcome(&mut gate, "/", token), (expected, 0), "{token}");
    }
    let Verdict::Refuse(refusal) = gate.judge("/", Some("Bearer one")).verdict else { panic!("it is not told") };
    assert_eq!(refusal.retry_after(), Some(7));
}

#[test]
fn a_trace_tells_who_was_asked_and_what_was_said_and_no_token() {
    let mut introspecting = introspecting(json!({}), json!({}));
    tell(&mut introspecting, "opaque-secret-token", &active(&json!({})));
    let mut listing = listing(json!({}));
    list(&mut listing, json!({"set": {"7": 1}}));
    let (jwt, revoked) = (introspecting.mint(&json!({"kind": "oidc"})), with_status(&listing, 7));
    let graph = graph(json!({}));
    let for_graph = graph_token(&graph, &json!({}));
    for (mut gate, token, check, last) in [
        (introspecting, "opaque-secret-token".to_owned(), Check::Introspection, Outcome::Passed),
        (self::introspecting(json!({}), json!({})), jwt, Check::Introspection, Outcome::Passed),
        (listing, revoked, Check::Status, Outcome::Failed),
        (graph, for_graph, Check::Userinfo, Outcome::Passed),
    ] {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let outcome_of = |gate: &Gate| {
            let (_, trace) = gate.ask("/", &headers, explain);
            for part in token.split('.').filter(|part| part.len() > 15) {
                assert!(!format!("{trace:?}").contains(part), "{trace:?}");
            }
            let step = trace.checks.iter().rev().find(|step| step.check == check).cloned();
            step.map(|step| (step.outcome, step.expected, step.found))
        };
        assert_eq!(outcome_of(&gate).map(|told| told.0), Some(Outcome::Lacking), "{check:?}");
        ask(&mut gate, "/", &token, &honest);
        assert_eq!(outcome_of(&gate).map(|told| told.0), Some(last), "{check:?} {:?}", outcome_of(&gate));
    }
}
