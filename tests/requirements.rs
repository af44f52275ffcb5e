//! What providers and rules ask of a good token: every kind of requirement, held against claims of every JSON type.
//!
//! Signatures are not looked at here, so that tables may have thousands of rows; `decision.rs` has those.
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
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::answer::{Answer, answer};
use entra_gate::inquiry::heard::Heard;
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::jwk::KeyMaterial;
use entra_gate::jose::signature::Signatures;
use entra_gate::judge::memory::Memory;
use entra_gate::judge::refusal::Refusal;
use entra_gate::judge::request::Request;
use entra_gate::judge::verdict::{Judgement, Recall, Verdict};
use entra_gate::judge::{Given, judge};
use entra_gate::policy::sources::Carried;
use entra_gate::revocation::Revocations;
use gate::{Gate, NOW};
use serde_json::{Map, Value, json};

const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
const B2C: &str = "775527ff-9a37-4307-8b3d-cc311f58d925";
const ORDERS: &str = "11111111-2222-4333-8444-555555555555";
const DAEMON: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const PUBLIC: &str = "bbbbbbbb-0000-4000-8000-000000000002";

/// Takes every signature for a good one.
struct Trusting;

impl Signatures for Trusting {
    fn verify(&self, _: Algorithm, _: &KeyMaterial, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

/// A gate, and a token that it would let pass, to be changed claim by claim.
struct Bench {
    gate: Gate,
    header: String,
    claims: Map<String, Value>,
}

impl Bench {
    fn new(configuration: &Value, token: &Value) -> Self {
        let gate = Gate::new(configuration);
        let token = gate.mint(token);
        let segments: Vec<&str> = token.split('.').collect();
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segments[1]).unwrap()).unwrap();
        Self { header: segments[0].to_owned(), claims, gate }
    }

    /// The token with these claims in place of its own; `None` removes.
    fn token(&self, changes: &[(&str, Option<Value>)]) -> String {
        let mut claims = self.claims.clone();
        for (name, value) in changes {
            match value {
                Some(value) => claims.insert((*name).to_owned(), value.clone()),
                None => claims.remove(*name),
            };
        }
        self.token_of(&Value::Object(claims).to_string())
    }

    fn token_of(&self, claims: &str) -> String {
        format!("{}.{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode("signed"))
    }

    fn judge(&self, path: &str, token: &str, memory: &Memory) -> Judgement {
        let request = Request {
            method: "GET".into(),
            authority: "api.example".into(),
            path: path.into(),
            preflight: false,
            carried: Carried { headers: vec![Some(format!("Bearer {token}").into_bytes())], parameters: Vec::new() },
        };
        let given = Given {
            policy: &self.gate.policy,
            keys: &self.gate.keys,
            revocations: &Revocations::default(),
            memory,
            heard: &Heard::default(),
            now: u64::try_from(NOW).unwrap() * 1_000,
            signatures: &Trusting,
        };
        judge(&request, &given)
    }

    /// What becomes of the token where it is new.
    fn fresh(&self, path: &str, token: &str) -> Result<(), Refusal> {
        outcome(self.judge(path, token, &Memory::default()))
    }

    /// What becomes of the token where it was remembered elsewhere, by a rule that asks nothing; none if it passes nowhere.
    fn remembered(&self, token: &str) -> Option<Memory> {
        let Verdict::Allow(grant) = self.judge("/open", token, &Memory::default()).verdict else { return None };
        let mut memory = Memory::default();
        memory.remember(token, grant.facts().unwrap());
        assert_eq!(self.judge("/open", token, &memory).recall, Recall::Hit);
        Some(memory)
    }

    fn code(&self, path: &str, token: &str) -> &'static str {
        self.fresh(path, token).map_or_else(|refusal| refusal.reason().code(), |()| "passes")
    }

    fn answer(&self, path: &str, token: &str) -> Answer {
        answer(&self.fresh(path, token).unwrap_err(), &self.gate.policy.responses)
    }
}

fn outcome(judgement: Judgement) -> Result<(), Refusal> {
    match judgement.verdict {
        Verdict::Allow(_) => Ok(()),
        Verdict::Ask(ask) => panic!("{ask:?}"),
        Verdict::Lack(lack) => panic!("{lack:?}"),
        Verdict::Refuse(refusal) => Err(refusal),
    }
}

fn provider(kind: &str, changes: Value) -> Value {
    let mut provider = match kind {
        "workforce" => json!({"tenants": [CONTOSO]}),
        "external_id" => json!({"tenants": [CUSTOMERS], "domain": "contosocustomers"}),
        "b2c" => json!({"tenants": [B2C], "domain": "contosob2c", "policies": ["B2C_1_signin"]}),
        _ => json!({"metadata_url": "https://idp.example.com/.well-known/openid-configuration"}),
    };
    provider["kind"] = json!(kind);
    provider["audiences"] = json!([ORDERS, "api://orders"]);
    provider["upstream"] = json!({"cluster": "entra"});
    for (name, value) in changes.as_object().unwrap() {
        provider[name] = value.clone();
    }
    provider
}

/// Rules by name: `/name` asks that of a token, and everything else asks nothing.
fn configuration(provider: &Value, rules: &[(&str, Value)]) -> Value {
    let rules: Vec<Value> = rules
        .iter()
        .map(|(name, require)| json!({"match": {"path": format!("/{name}")}, "require": require}))
        .collect();
    json!({"providers": {"p": provider}, "rules": rules})
}

fn bench_of(rules: &[(&str, Value)]) -> Bench {
    Bench::new(&configuration(&provider("workforce", json!({})), rules), &json!({}))
}

/// What a claim can hold: nothing at all, and values of every JSON type.
fn every_value() -> Vec<Option<Value>> {
    let texts = ["", " ", "/", "1", "true", "null", "Orders.Read", "orders.read", "Orders.Read ", " Orders.Read"];
    let more = ["Orders.Read Orders.Write", "Orders.Read\tOrders.Write", "Orders.Write", "Reader", "Orders.Read.All"];
    let others = ["app", "user", "App", "\u{0}", "Orders.Read\u{0}", "api://orders/Orders.Read", ORDERS, DAEMON];
    let texts = texts.into_iter().chain(more).chain(others).map(|text| json!(text));
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!([]),
        json!([null]),
        json!([""]),
        json!(["Orders.Read"]),
        json!(["Orders.Read.All"]),
        json!(["Reader"]),
        json!(["Orders.Read", "Orders.Write", "Orders.Read.All", "Reader", "app", "user", ORDERS, DAEMON]),
        json!(["Orders.Read Orders.Write"]),
        json!(["Orders.Read.All", 1]),
        json!(["Reader", null]),
        json!([["Orders.Read", "Reader", "Orders.Read.All"]]),
        json!([{"Reader": "Reader"}]),
        json!([1]),
        json!([true]),
        json!(["1"]),
        json!({}),
        json!({"0": "Reader"}),
        json!({"Orders.Read": true}),
        json!({"value": ["Orders.Read", "Reader", "Orders.Read.All"]}),
    ];
    std::iter::once(None).chain(values.into_iter().chain(texts).map(Some)).collect()
}

fn contains(value: &Option<Value>, name: &str, separated: bool) -> bool {
    match value {
        Some(Value::String(text)) if separated => text.split(' ').any(|part| part == name),
        Some(Value::String(text)) => text == name,
        Some(Value::Array(elements)) => elements.iter().any(|element| element == name),
        _ => false,
    }
}

const PERMISSIONS: [(&str, &str); 13] = [
    ("scopes", r#"{"scopes": ["Orders.Read", "Orders.Admin"]}"#),
    ("all-scopes", r#"{"scopes": ["Orders.Read", "Orders.Write"], "scopes_match": "all"}"#),
    ("app-roles", r#"{"app_roles": ["Orders.Read.All", "Orders.Admin.All"]}"#),
    ("user-roles", r#"{"user_roles": ["Reader", "Writer"]}"#),
    ("scopes-or-app-roles", r#"{"scopes": ["Orders.Read"], "app_roles": ["Orders.Read.All"]}"#),
    ("scopes-and-user-roles", r#"{"scopes": ["Orders.Read"], "user_roles": ["Reader"]}"#),
    ("user-roles-or-app-roles", r#"{"user_roles": ["Reader"], "app_roles": ["Orders.Read.All"]}"#),
    ("everything", r#"{"scopes": ["Orders.Read"], "user_roles": ["Reader"], "app_roles": ["Orders.Read.All"]}"#),
    ("users", r#"{"token_kinds": ["user"]}"#),
    ("apps", r#"{"token_kinds": ["app"]}"#),
    ("either", r#"{"token_kinds": ["user", "app"]}"#),
    ("users-with-scopes", r#"{"token_kinds": ["user"], "scopes": ["Orders.Read"]}"#),
    ("apps-with-roles", r#"{"token_kinds": ["app"], "app_roles": ["Orders.Read.All"]}"#),
];

fn permission_rules() -> Vec<(&'static str, Value)> {
    PERMISSIONS.iter().map(|(name, require)| (*name, serde_json::from_str(require).unwrap())).collect()
}

/// The table of the reference: which tokens pass under which permissions.
fn passes_by_the_table(rule: &str, kind: Option<&str>, scp: &Option<Value>, roles: &Option<Value>) -> bool {
    let (user, app) = (kind == Some("user"), kind == Some("app"));
    let scope = |name: &str| contains(scp, name, true);
    let role = |name: &str| contains(roles, name, false);
    match rule {
        "scopes" | "users-with-scopes" => user && scope("Orders.Read"),
        "all-scopes" => user && scope("Orders.Read") && scope("Orders.Write"),
        "app-roles" | "apps-with-roles" => app && role("Orders.Read.All"),
        "user-roles" => user && role("Reader"),
        "scopes-or-app-roles" => (user && scope("Orders.Read")) || (app && role("Orders.Read.All")),
        "scopes-and-user-roles" => user && scope("Orders.Read") && role("Reader"),
        "user-roles-or-app-roles" => (user && role("Reader")) || (app && role("Orders.Read.All")),
        "everything" => (user && scope("Orders.Read") && role("Reader")) || (app && role("Orders.Read.All")),
        "users" => user,
        "apps" => app,
        "either" => true,
        _ => panic!("{rule} is not in the table"),
    }
}

/// `idtyp`, and what it says where it says something.
const IDTYP: [(Option<&str>, Option<&str>); 6] = [
    (None, None),
    (Some(""), None),
    (Some("app"), Some("app")),
    (Some("user"), Some("user")),
    (Some("App"), Some("neither")),
    (Some("device"), Some("neither")),
];

/// Every shape of token against every rule, new and remembered.
#[test]
fn permissions_grant_what_the_table_says_and_nothing_else() {
    let bench = bench_of(&permission_rules());
    let texts = ["", "/", " / ", "Orders.Read", "Orders.Write Orders.Read", "orders.read", "Orders.ReadWrite"];
    let scopes: Vec<Option<Value>> = std::iter::once(None)
        .chain(texts.into_iter().map(|text| Some(json!(text))))
        .chain([json!([]), json!(["/"]), json!(["Orders.Read"]), json!(["Orders.Read Orders.Write"])].map(Some))
        .collect();
    let roles = [
        None,
        Some(json!([])),
        Some(json!(["Orders.Read.All"])),
        Some(json!(["Reader"])),
        Some(json!(["x", "Orders.Read.All", "Reader"])),
        Some(json!(["orders.read.all", "reader"])),
        Some(json!(["Orders.Read"])),
        Some(json!("Reader")),
        Some(json!("Orders.Read.All Reader")),
    ];
    let subjects = [("o", Some("s")), ("o", Some("o")), ("o", None)];
    let mut decisions = 0;
    for (idtyp, told) in IDTYP {
        for scp in &scopes {
            for roles in &roles {
                for (oid, sub) in subjects {
                    for acr in [Some("0"), Some("1")] {
                        let text = |text: Option<&str>| text.map(Value::from);
                        let token = bench.token(&[
                            ("idtyp", text(idtyp)),
                            ("scp", scp.clone()),
                            ("roles", roles.clone()),
                            ("oid", Some(json!(oid))),
                            ("sub", text(sub)),
                            ("azpacr", text(acr)),
                        ]);
                        let has_scope = match scp {
                            Some(Value::String(text)) => text.split(' ').any(|name| !matches!(name, "" | "/")),
                            Some(Value::Array(names)) => names.iter().any(|name| name != "" && name != "/"),
                            _ => false,
                        };
                        let kind = match told {
                            Some(told) => Some(told).filter(|told| *told != "neither"),
                            None if has_scope => Some("user"),
                            None if sub == Some(oid) && acr != Some("0") => Some("app"),
                            None => None,
                        };
                        let memory = bench.remembered(&token).expect("the token is good");
                        for (rule, _) in PERMISSIONS {
                            let path = format!("/{rule}");
                            let expected = passes_by_the_table(rule, kind, scp, roles);
                            let judgement = bench.judge(&path, &token, &memory);
                            let known = (judgement.recall, outcome(judgement));
                            let what = || format!("{rule}: {idtyp:?} {scp:?} {roles:?} {oid} {sub:?} {acr:?}");
                            assert_eq!(known.1.is_ok(), expected, "{}", what());
                            assert_eq!(known.0, Recall::Hit, "{}", what());
                            decisions += 1;
                            // Judging all of them twice would take minutes.
                            if decisions % 7 == 0 {
                                assert_eq!(bench.fresh(&path, &token), known.1, "{}", what());
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(decisions > 50_000, "{decisions}");
}

/// Claims of every JSON type in every place that a rule looks at: what is refused when new is refused when remembered, for
/// the same reason, and only what the rule names passes.
#[test]
fn claims_of_every_type_turn_no_refusal_into_a_pass() {
    const CLAIMS: [&str; 5] = ["groups", "roles", "scp", "idtyp", "deep.inside"];
    let mut rules = permission_rules();
    for (name, condition) in [
        ("text", json!({"values": ["Reader"]})),
        ("texts", json!({"values": ["Orders.Read", "Orders.Write"], "separator": " "})),
        ("either", json!({"values": ["Reader", "Orders.Read"], "match": "any"})),
        ("number", json!({"values": [1]})),
        ("flag", json!({"values": [true]})),
        ("mixed", json!({"values": [1, "1", true, "true"], "match": "any"})),
        ("present", json!({})),
    ] {
        for claim in CLAIMS {
            let mut condition = condition.clone();
            condition["name"] = json!(claim);
            rules.push((format!("{name}:{claim}").leak(), json!({"claims": [condition]})));
        }
    }
    rules.push(("audience", json!({"audiences": ["api://orders"]})));
    rules.push(("client", json!({"client_applications": [DAEMON]})));
    let bench = bench_of(&rules);
    let mut decisions = 0;
    for claim in ["scp", "roles", "idtyp", "groups", "deep", "aud", "azp", "oid", "sub", "azpacr", "appidacr"] {
        for value in every_value() {
            // As the only odd claim of a user's token, and of one whose kind follows from the others.
            for base in [vec![], vec![("scp", None), ("oid", Some(json!("o"))), ("sub", Some(json!("o")))]] {
                let mut changes = base;
                let nested = value.clone().map(|value| json!({ "inside": value }));
                changes.push((claim, if claim == "deep" { nested } else { value.clone() }));
                let token = bench.token(&changes);
                let memory = bench.remembered(&token);
                for (rule, _) in &rules {
                    // Rules about other claims say the same for every value of this one.
                    let about = rule.split_once(':').map(|(_, claim)| claim).filter(|about| CLAIMS.contains(about));
                    if about.is_some_and(|about| about.split('.').next() != Some(claim)) {
                        continue;
                    }
                    let path = format!("/{rule}");
                    let fresh = bench.fresh(&path, &token);
                    decisions += 1;
                    let what = || format!("{rule}: {claim} {value:?}");
                    match &memory {
                        Some(memory) => assert_eq!(outcome(bench.judge(&path, &token, memory)), fresh, "{}", what()),
                        None => assert!(fresh.is_err(), "{}", what()),
                    }
                    if let (Some((condition, _)), true) = (rule.split_once(':'), about.is_some()) {
                        let is = |wanted: Value| {
                            let one = |value: &Value| *value == wanted || (wanted == json!(1) && *value == json!(1.0));
                            value.as_ref().is_some_and(|value| {
                                one(value) || value.as_array().is_some_and(|all| all.iter().any(one))
                            })
                        };
                        let expected = match condition {
                            "text" => is(json!("Reader")),
                            "texts" => ["Orders.Read", "Orders.Write"].iter().all(|name| contains(&value, name, true)),
                            "number" => is(json!(1)),
                            "flag" => is(json!(true)),
                            "mixed" => [json!(1), json!("1"), json!(true), json!("true")].into_iter().any(is),
                            "either" => [json!("Reader"), json!("Orders.Read")].into_iter().any(is),
                            _ => {
                                !matches!(&value, None | Some(Value::Null))
                                    && ![json!(""), json!([]), json!({})].contains(value.as_ref().unwrap())
                            }
                        };
                        assert_eq!(fresh.is_ok(), expected && memory.is_some(), "{}", what());
                    }
                }
            }
        }
    }
    assert!(decisions > 20_000, "{decisions}");
}

#[test]
fn every_kind_of_provider_tells_users_from_applications_in_its_own_way() {
    for (kind, same_subject, scope_alone) in [
        // What a token with `oid` equal to `sub` and no scope is, and one with a scope and no `idtyp`.
        ("workforce", "app", "user"),
        ("external_id", "app", "user"),
        ("b2c", "untold", "user"),
        ("oidc", "untold", "untold"),
    ] {
        let provider = provider(kind, json!({}));
        let rules = [("users", json!({"token_kinds": ["user"]})), ("apps", json!({"token_kinds": ["app"]}))];
        let bench = Bench::new(&configuration(&provider, &rules), &json!({"kind": kind}));
        let told = |changes: &[(&str, Option<Value>)]| {
            let token = bench.token(changes);
            match (bench.code("/users", &token), bench.code("/apps", &token)) {
                ("passes", "token_kind_not_allowed") => "user",
                ("token_kind_not_allowed", "passes") => "app",
                ("token_kind_not_allowed", "token_kind_not_allowed") => "untold",
                other => panic!("{kind}: {other:?}"),
            }
        };
        let (o, s, scope) = (Some(json!("o")), Some(json!("s")), Some(json!("Orders.Read")));
        let with = |idtyp: Option<&str>, sub: &Option<Value>, scp: &Option<Value>| {
            told(&[("idtyp", idtyp.map(Value::from)), ("oid", o.clone()), ("sub", sub.clone()), ("scp", scp.clone())])
        };
        for (sub, scp) in [(&o, &None), (&o, &scope), (&s, &None), (&s, &scope)] {
            assert_eq!(with(Some("app"), sub, scp), "app", "{kind}");
            assert_eq!(with(Some("user"), sub, scp), "user", "{kind}");
            assert_eq!(with(Some("device"), sub, scp), "untold", "{kind}");
        }
        assert_eq!(with(None, &o, &None), same_subject, "{kind}");
        assert_eq!(with(None, &s, &None), "untold", "{kind}");
        assert_eq!(with(None, &s, &scope), scope_alone, "{kind}");
        assert_eq!(with(None, &o, &scope), scope_alone, "{kind}");
    }
}

#[test]
fn a_public_client_has_no_token_of_its_own() {
    for (version, claim) in [(1, "appidacr"), (2, "azpacr")] {
        let rules = [("apps", json!({"token_kinds": ["app"]}))];
        let configuration = configuration(&provider("workforce", json!({})), &rules);
        let bench = Bench::new(&configuration, &json!({"version": version, "roles": ["x"], "claims": {"idtyp": null}}));
        for (value, code) in [("0", "token_kind_not_allowed"), ("1", "passes"), ("2", "passes")] {
            assert_eq!(bench.code("/apps", &bench.token(&[(claim, Some(json!(value)))])), code, "{claim} {value}");
        }
        assert_eq!(bench.code("/apps", &bench.token(&[(claim, Some(json!(0)))])), "token_malformed");
    }
}

#[test]
fn other_providers_grant_scopes_to_anybody() {
    let rules = [
        ("scopes", json!({"scopes": ["Orders.Read"]})),
        ("uri", json!({"scopes": ["https://api.example/read"]})),
        ("roles", json!({"user_roles": ["Reader"]})),
        ("both", json!({"scopes": ["Orders.Read"], "user_roles": ["Reader"]})),
    ];
    let bench = Bench::new(&configuration(&provider("oidc", json!({})), &rules), &json!({"kind": "oidc"}));
    for (changes, path, code) in [
        (vec![("scope", Some(json!("Orders.Read x")))], "/scopes", "passes"),
        (vec![("scope", Some(json!("https://api.example/read")))], "/uri", "passes"),
        (vec![("scope", None), ("scp", Some(json!(["Orders.Read"])))], "/scopes", "passes"),
        (vec![("scope", Some(json!("x")))], "/scopes", "scope_insufficient"),
        // `scp` is the more specific one.
        (vec![("scope", Some(json!("Orders.Read"))), ("scp", Some(json!("x")))], "/scopes", "scope_insufficient"),
        (vec![("idtyp", Some(json!("app")))], "/scopes", "passes"),
        (vec![("roles", Some(json!(["Reader"])))], "/roles", "token_kind_not_allowed"),
        (vec![("roles", Some(json!(["Reader"]))), ("idtyp", Some(json!("user")))], "/roles", "passes"),
        (vec![("roles", Some(json!(["Reader"])))], "/both", "token_kind_not_allowed"),
        (vec![("roles", Some(json!(["Reader"]))), ("idtyp", Some(json!("user")))], "/both", "passes"),
    ] {
        let token = bench.token(&changes);
        assert_eq!(bench.code(path, &token), code, "{path} {changes:?}");
    }
    // Entra's own tokens are not held to `scope`.
    let bench = bench_of(&[("scopes", json!({"scopes": ["Orders.Read"]}))]);
    let token = bench.token(&[("scp", None), ("scope", Some(json!("Orders.Read"))), ("idtyp", Some(json!("user")))]);
    assert_eq!(bench.code("/scopes", &token), "scope_insufficient");
}

#[test]
fn the_answer_names_what_to_ask_for() {
    let bench = bench_of(&permission_rules());
    let app = [("scp", None), ("idtyp", Some(json!("app"))), ("roles", Some(json!(["Other.All"])))];
    let untold = [("scp", None), ("idtyp", None), ("roles", None)];
    let user = [("scp", Some(json!("Orders.Write"))), ("roles", Some(json!(["Other"])))];
    for (path, changes, reason, scope, part) in [
        ("/scopes", user.as_slice(), "scope_insufficient", "Orders.Read Orders.Admin", "Orders.Read or Orders.Admin"),
        (
            "/all-scopes",
            &user,
            "scope_insufficient",
            "Orders.Read Orders.Write",
            "lacks the delegated permission Orders.Read, which must be in its scp. Request the scope",
        ),
        (
            "/app-roles",
            &app,
            "role_insufficient",
            "Orders.Read.All Orders.Admin.All",
            "The application lacks the application permission Orders.Read.All or Orders.Admin.All",
        ),
        ("/user-roles", &user, "role_insufficient", "Reader Writer", "The user lacks the app role Reader or Writer"),
        (
            "/scopes",
            &app,
            "token_kind_not_allowed",
            "Orders.Read Orders.Admin",
            "this route accepts users' tokens (delegated). Sign a user in: the route asks for Orders.Read or Orders.Admin.",
        ),
        (
            "/app-roles",
            &user,
            "token_kind_not_allowed",
            "Orders.Read.All Orders.Admin.All",
            "accepts app-only tokens. Get one by client credentials: the route asks for Orders.Read.All or Orders.Admin.All.",
        ),
        ("/scopes", &untold, "token_kind_not_allowed", "Orders.Read Orders.Admin", "Add the optional claim idtyp"),
        (
            "/scopes-or-app-roles",
            &app,
            "role_insufficient",
            "Orders.Read.All",
            "application permission Orders.Read.All",
        ),
        ("/scopes-or-app-roles", &user, "scope_insufficient", "Orders.Read", "delegated permission Orders.Read"),
    ] {
        let answer = bench.answer(path, &bench.token(changes));
        let header =
            |name: &str| answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let description = body["error_description"].as_str().unwrap();
        assert_eq!((answer.status, &body["reason"]), (403, &json!(reason)), "{path}");
        assert_eq!(body["error"], "insufficient_scope");
        assert!(description.contains(part), "{path}: {description}");
        assert_eq!(
            header("www-authenticate").unwrap(),
            format!(
                "Bearer realm=\"\", error=\"insufficient_scope\", error_description=\"{description}\", scope=\"{scope}\""
            )
        );
        assert_eq!(header("cache-control"), Some("no-store"));
    }
    // Nothing is named where nothing is asked for but a kind.
    let answer = bench.answer("/users", &bench.token(&app));
    assert!(!format!("{:?}", answer.headers).contains("scope="), "{answer:?}");
}

#[test]
fn required_claims_of_the_provider_hold_on_every_route() {
    let required = json!([
        {"name": "groups", "match": "any", "values": ["g1", "g2"]},
        {"name": "entitlements", "values": ["read", "write"], "separator": ","},
        {"name": "acct", "values": [0]},
        {"name": "address.country", "values": ["DE"]},
        {"name": "email"},
    ]);
    let provider = provider("workforce", json!({"required_claims": required}));
    let bench = Bench::new(
        &json!({"providers": {"p": provider}, "rules": [{"match": {"prefix": "/maybe"}, "allow": "optional"}]}),
        &json!({"claims": {
            "groups": ["g2"], "entitlements": "write,read,x", "acct": 0, "address": {"country": "DE"}, "email": "a@b",
        }}),
    );
    for path in ["/", "/maybe"] {
        assert_eq!(bench.code(path, &bench.token(&[])), "passes");
        for (claim, value, code) in [
            ("groups", None, "claim_missing"),
            ("groups", Some(json!(["g3"])), "claim_not_allowed"),
            ("groups", Some(json!([["g1"]])), "claim_not_allowed"),
            ("entitlements", Some(json!("read")), "claim_not_allowed"),
            ("entitlements", Some(json!("read, write")), "claim_not_allowed"),
            ("entitlements", Some(json!(["read", "write"])), "passes"),
            ("acct", Some(json!("0")), "claim_not_allowed"),
            ("acct", Some(json!(false)), "claim_not_allowed"),
            ("acct", Some(json!(null)), "claim_missing"),
            ("acct", Some(json!(0.0)), "passes"),
            ("address", Some(json!({"country": "FR"})), "claim_not_allowed"),
            ("address", Some(json!("DE")), "claim_missing"),
            ("address", Some(json!([{"country": "DE"}])), "claim_missing"),
            ("email", Some(json!("")), "claim_missing"),
        ] {
            let token = bench.token(&[(claim, value.clone())]);
            assert_eq!(bench.code(path, &token), code, "{claim} {value:?}");
        }
    }
    let answer = bench.answer("/", &bench.token(&[("groups", None)]));
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("The token has no groups claim, which is required here."), "{}", answer.body);
    let overage = [("groups", None), ("_claim_names", Some(json!({"groups": "src1"})))];
    let answer = bench.answer("/", &bench.token(&overage));
    assert!(answer.body.contains("overage") && answer.body.contains("claim_missing"), "{}", answer.body);
    let refusal = bench.fresh("/", &bench.token(&[("acct", Some(json!("0")))])).unwrap_err();
    assert_eq!(refusal.detail(), r#"acct "0", expected all of [0]"#);
}

#[test]
fn a_rule_narrows_audiences_and_clients() {
    let rules = [
        ("uri", json!({"audiences": ["api://orders"]})),
        ("both", json!({"audiences": ["api://orders", ORDERS]})),
        ("daemon", json!({"client_applications": [DAEMON]})),
    ];
    let bench = bench_of(&rules);
    for (path, claim, value, code) in [
        ("/uri", "aud", json!("api://orders"), "passes"),
        ("/uri", "aud", json!(ORDERS), "audience_not_allowed"),
        ("/uri", "aud", json!([ORDERS, "api://orders"]), "passes"),
        ("/uri", "aud", json!([ORDERS, "api://other"]), "audience_not_allowed"),
        ("/uri", "aud", json!("api://other"), "audience_not_allowed"),
        ("/both", "aud", json!(ORDERS), "passes"),
        ("/daemon", "azp", json!(DAEMON), "passes"),
        ("/daemon", "azp", json!(PUBLIC), "client_not_allowed"),
        ("/open", "azp", json!(PUBLIC), "passes"),
    ] {
        let token = bench.token(&[(claim, Some(value.clone()))]);
        assert_eq!(bench.code(path, &token), code, "{path} {value}");
        if let Some(memory) = bench.remembered(&token) {
            assert_eq!(outcome(bench.judge(path, &token, &memory)), bench.fresh(path, &token), "{path} {value}");
        }
    }
    let refusal = bench.fresh("/uri", &bench.token(&[])).unwrap_err();
    assert!(refusal.sentence().contains("not on this route"), "{}", refusal.sentence());
}

#[test]
fn a_rule_cannot_widen_what_one_of_its_providers_accepts() {
    let orders = provider("workforce", json!({"audiences": ["api://orders"]}));
    let stock = provider("workforce", json!({"audiences": ["api://stock"], "required_claims": [{"name": "stock"}]}));
    let bench = Bench::new(
        &json!({
            "providers": {"orders": orders, "stock": stock},
            "rules": [
                {"match": {"path": "/stock"}, "require": {"audiences": ["api://stock"]}},
                {"match": {"path": "/orders"}, "require": {"providers": ["orders"]}},
                {"match": {"path": "/either"}, "require": {"providers": ["orders", "stock"]}},
            ],
        }),
        &json!({"audience": "api://orders"}),
    );
    let with = |audience: Value, stock: Option<Value>| bench.token(&[("aud", Some(audience)), ("stock", stock)]);
    for (path, audience, claim, code) in [
        ("/stock", json!("api://stock"), Some(json!(1)), "passes"),
        ("/stock", json!("api://stock"), None, "claim_missing"),
        ("/stock", json!("api://orders"), Some(json!(1)), "audience_not_allowed"),
        // The provider that takes the token for its own audience does not take it for the other's.
        ("/stock", json!(["api://orders", "api://stock"]), None, "audience_not_allowed"),
        ("/stock", json!(["api://orders", "api://stock"]), Some(json!(1)), "passes"),
        ("/orders", json!("api://stock"), Some(json!(1)), "audience_not_allowed"),
        ("/orders", json!("api://orders"), None, "passes"),
        ("/either", json!("api://orders"), None, "passes"),
        ("/either", json!("api://stock"), Some(json!(1)), "passes"),
        ("/either", json!("api://stock"), None, "claim_missing"),
    ] {
        assert_eq!(bench.code(path, &with(audience.clone(), claim.clone())), code, "{path} {audience} {claim:?}");
    }
}

#[test]
fn a_path_of_several_readings_needs_what_all_of_them_ask() {
    let rules = json!([
        {"match": {"prefix": "/maybe"}, "allow": "optional"},
        {"match": {"prefix": "/read"}, "require": {"scopes": ["Orders.Read"]}},
        {"match": {"prefix": "/write"}, "require": {"scopes": ["Orders.Write"], "claims": [{"name": "groups"}]}},
    ]);
    let configuration = json!({"providers": {"p": provider("workforce", json!({}))}, "rules": rules});
    let bench = Bench::new(&configuration, &json!({}));
    let token = |scp: &str, groups: Option<Value>| bench.token(&[("scp", Some(json!(scp))), ("groups", groups)]);
    let (read, write) = (token("Orders.Read", None), token("Orders.Write", Some(json!(["g"]))));
    let both = token("Orders.Read Orders.Write", Some(json!(["g"])));
    for (path, [read_code, write_code, both_code]) in [
        ("/maybe", ["passes", "passes", "passes"]),
        ("/read", ["passes", "scope_insufficient", "passes"]),
        ("/write", ["claim_missing", "passes", "passes"]),
        ("/maybe/../write", ["claim_missing", "passes", "passes"]),
        ("/maybe/..%2fread", ["passes", "scope_insufficient", "passes"]),
        ("/read/../write", ["claim_missing", "scope_insufficient", "passes"]),
        ("/read/%2e%2e/write", ["claim_missing", "scope_insufficient", "passes"]),
    ] {
        for (token, code) in [(&read, read_code), (&write, write_code), (&both, both_code)] {
            assert_eq!(bench.code(path, token), code, "{path}");
            let memory = bench.remembered(token).unwrap();
            assert_eq!(outcome(bench.judge(path, token, &memory)), bench.fresh(path, token), "{path}");
        }
    }
}

#[test]
fn a_token_is_refused_for_itself_before_its_permissions() {
    let bench = bench_of(&[("scopes", json!({"scopes": ["Other"]}))]);
    let token = |name, value| bench.token(&[(name, Some(value))]);
    for (token, code) in [
        (token("exp", json!(NOW - 600)), "token_expired"),
        (token("aud", json!("api://other")), "audience_not_allowed"),
        (bench.token(&[]), "scope_insufficient"),
    ] {
        assert_eq!(bench.code("/scopes", &token), code);
    }
    // A forged one is told nothing of permissions.
    let forged = bench.gate.mint(&json!({"signature": "corrupt"}));
    let judgement = bench.gate.judge("/scopes", Some(&format!("Bearer {forged}")));
    assert_eq!(outcome(judgement).unwrap_err().reason().code(), "signature_invalid");
}

#[test]
fn what_is_kept_for_the_rules_is_weighed() {
    let weight = |rules: &[(&str, Value)], token: &Value| {
        let bench = Bench::new(&configuration(&provider("workforce", json!({})), rules), token);
        let Verdict::Allow(grant) = bench.judge("/open", &bench.token(&[]), &Memory::default()).verdict else {
            panic!("the token is good")
        };
        grant.facts().unwrap().weight()
    };
    let groups: Vec<String> = (0..100).map(|number| format!("{number:036}")).collect();
    let token = json!({"claims": {"groups": groups, "scp": "a ".repeat(100)}});
    let nothing = weight(&[("x", json!({}))], &token);
    let claims = weight(&[("g", json!({"claims": [{"name": "groups"}]}))], &token);
    let scopes = weight(&[("s", json!({"scopes": ["a"]}))], &token);
    assert!(claims >= nothing + 100 * 36, "{nothing} {claims}");
    assert!(scopes >= nothing + 100 * 24, "{nothing} {scopes}");
}
