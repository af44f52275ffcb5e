//! What rules and providers ask of a good token: each requirement with a token that meets it and one that does not.

use std::process::ExitCode;

use envoy_tests::bootstrap::Options;
use envoy_tests::challenge::Challenge;
use envoy_tests::configuration::provider;
use envoy_tests::token::{CONTOSO, DAEMON, ORDERS, PUBLIC};
use envoy_tests::{Answer, Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn options(release: &Release) -> Options {
    let rule = |path: &str, require: Value| json!({"match": {"path": path}, "require": require});
    let entitled = json!({
        "tenants": [CONTOSO],
        "audiences": ["api://legacy"],
        "required_claims": [
            {"name": "groups", "match": "any", "values": ["g1", "g2"]},
            {"name": "entitlements", "values": ["read", "write"], "separator": ","},
            {"name": "address.country", "values": ["DE"]},
            {"name": "level", "values": [3]},
            {"name": "verified", "values": [true]},
        ],
    });
    let configuration = json!({
        "providers": {
            "orders": provider(&json!({"tenants": [CONTOSO]})),
            "entitled": provider(&entitled),
        },
        "rules": [
            rule("/scopes", json!({"scopes": ["Orders.Read", "Orders.Write"]})),
            rule("/all-scopes", json!({"scopes": ["Orders.Read", "Orders.Write"], "scopes_match": "all"})),
            rule("/app-roles", json!({"app_roles": ["Orders.Read.All"]})),
            rule("/user-roles", json!({"user_roles": ["Reader"]})),
            rule("/either", json!({"scopes": ["Orders.Read"], "app_roles": ["Orders.Read.All"]})),
            rule("/users", json!({"token_kinds": ["user"]})),
            rule("/apps", json!({"token_kinds": ["app"]})),
            rule("/claims", json!({"claims": [
                {"name": "department", "values": ["sales"]},
                {"name": "level", "values": [3]},
            ]})),
            rule("/audience", json!({"audiences": ["api://orders"]})),
            rule("/client", json!({"client_applications": [DAEMON]})),
            {"match": {"prefix": "/optional"}, "allow": "optional"},
        ],
    });
    Options::new(release, configuration)
}

fn main() -> ExitCode {
    let shared = behaviours![
        scopes_are_asked_of_users,
        app_roles_are_asked_of_applications,
        user_roles_are_asked_of_users,
        each_kind_of_token_needs_its_own_permission,
        kinds_of_tokens_are_told_apart,
        rules_ask_for_claims,
        rules_narrow_audiences_and_clients,
        providers_ask_for_claims_everywhere,
        a_remembered_token_passes_only_where_a_new_one_would,
    ];
    let alone = behaviours![details_can_be_withheld];
    let releases = Release::all();
    Suite::new().shared(&releases, options, shared).alone(&releases[..1], alone).run()
}

/// Refused with 403, and the challenge word for word.
async fn assert_forbidden(world: &World, path: &str, token: Value, reason: &str, scope: &str, description: &str) {
    let token = world.mint(token).await;
    for _ in 0..2 {
        let answer = world.assert_token_refused(path, &token, reason).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(
                format!(
                    "Bearer realm=\"\", error=\"insufficient_scope\", error_description=\"{description}\", \
                     scope=\"{scope}\""
                )
                .as_str()
            )
        );
        assert_eq!(answer.json()["error_description"], description);
        // From here on it is remembered: the answer stays the same.
        assert_eq!(world.call("/", &token).await.status, 200);
    }
}

const READ_OR_WRITE: &str = "The token lacks the delegated permission Orders.Read or Orders.Write, which must be in its scp. \
     Request the scope api://<application ID>/<permission>, and have it consented to.";
const WRITE: &str = "The token lacks the delegated permission Orders.Write, which must be in its scp. \
     Request the scope api://<application ID>/<permission>, and have it consented to.";
const READ_ALL: &str = "The application lacks the application permission Orders.Read.All, which must be in the token's roles. \
     Add it to the client's API permissions, have an administrator consent, and get a new token.";
const READER: &str = "The user lacks the app role Reader, which must be in the token's roles. \
     Assign it to the user or a group in the API's enterprise application, and get a new token.";

async fn scopes_are_asked_of_users(world: &World) {
    for version in [1, 2] {
        world.assert_passes("/scopes", json!({"version": version})).await;
    }
    world.assert_passes("/all-scopes", json!({"scopes": "Orders.Write x Orders.Read"})).await;
    let other = json!({"scopes": "Orders.Delete orders.read"});
    let both = "Orders.Read Orders.Write";
    assert_forbidden(world, "/scopes", other, "scope_insufficient", both, READ_OR_WRITE).await;
    assert_forbidden(world, "/all-scopes", json!({}), "scope_insufficient", both, WRITE).await;
    let app = "This is an app-only token (client credentials); this route accepts users' tokens (delegated). Sign a user in: \
               the route asks for Orders.Read or Orders.Write.";
    let daemon = json!({"roles": ["Orders.Read"]});
    assert_forbidden(world, "/scopes", daemon, "token_kind_not_allowed", both, app).await;
}

async fn app_roles_are_asked_of_applications(world: &World) {
    let role = "Orders.Read.All";
    for version in [1, 2] {
        world.assert_passes("/app-roles", json!({"version": version, "roles": ["x", role]})).await;
        // Without the optional claim, by its subject.
        let untold = json!({"version": version, "roles": [role], "claims": {"idtyp": null}});
        world.assert_passes("/app-roles", untold).await;
    }
    let other = json!({"roles": ["orders.read.all"]});
    assert_forbidden(world, "/app-roles", other, "role_insufficient", role, READ_ALL).await;
    let user = "This is a user's token (delegated); this route accepts app-only tokens. Get one by client credentials: the \
                route asks for Orders.Read.All.";
    let assigned = json!({"scopes": "Orders.Read", "roles": [role]});
    assert_forbidden(world, "/app-roles", assigned, "token_kind_not_allowed", role, user).await;
}

async fn user_roles_are_asked_of_users(world: &World) {
    world.assert_passes("/user-roles", json!({"scopes": "Orders.Read", "roles": ["Reader"]})).await;
    let other = json!({"scopes": "Orders.Read", "roles": ["reader", "Reader.All"]});
    assert_forbidden(world, "/user-roles", other, "role_insufficient", "Reader", READER).await;
    let app = "This is an app-only token (client credentials); this route accepts users' tokens (delegated). Sign a user in: \
               the route asks for Reader.";
    let daemon = json!({"roles": ["Reader"]});
    assert_forbidden(world, "/user-roles", daemon, "token_kind_not_allowed", "Reader", app).await;
}

async fn each_kind_of_token_needs_its_own_permission(world: &World) {
    world.assert_passes("/either", json!({})).await;
    world.assert_passes("/either", json!({"roles": ["Orders.Read.All"]})).await;
    let user = json!({"scopes": "x", "roles": ["Orders.Read.All"]});
    let read = "The token lacks the delegated permission Orders.Read, which must be in its scp. Request the scope \
                api://<application ID>/<permission>, and have it consented to.";
    assert_forbidden(world, "/either", user, "scope_insufficient", "Orders.Read", read).await;
    let app = json!({"roles": ["Orders.Read"]});
    assert_forbidden(world, "/either", app, "role_insufficient", "Orders.Read.All", READ_ALL).await;
}

async fn kinds_of_tokens_are_told_apart(world: &World) {
    world.assert_passes("/users", json!({})).await;
    world.assert_passes("/apps", json!({"roles": ["anything"]})).await;
    for (path, token) in [
        ("/users", json!({"roles": ["anything"]})),
        ("/apps", json!({})),
        // Neither `idtyp`, nor a scope, nor an application's subject.
        ("/users", json!({"scopes": null, "claims": {"idtyp": null, "sub": "other"}})),
        ("/apps", json!({"scopes": null, "claims": {"idtyp": null, "sub": "other"}})),
    ] {
        let token = world.mint(token).await;
        let answer = world.assert_token_refused(path, &token, "token_kind_not_allowed").await;
        // Nothing is asked for that a scope could name.
        assert_eq!(challenge(&answer).get("scope"), None, "{answer:?}");
    }
}

fn challenge(answer: &Answer) -> Challenge {
    Challenge::parse(answer.header("www-authenticate").expect("a challenge")).expect("a good one")
}

async fn rules_ask_for_claims(world: &World) {
    let with = |department: Value, level: Value| json!({"claims": {"department": department, "level": level}});
    for level in [json!(3), json!(3.0), json!([1, 3])] {
        world.assert_passes("/claims", with(json!("sales"), level)).await;
    }
    world.assert_passes("/claims", with(json!(["hr", "sales"]), json!(3))).await;
    for (token, reason, part) in [
        (with(json!(null), json!(3)), "claim_missing", "The token has no department claim"),
        (with(json!(""), json!(3)), "claim_missing", "The token has no department claim"),
        (with(json!("hr"), json!(3)), "claim_not_allowed", "The token's department claim does not hold"),
        (with(json!("sales hr"), json!(3)), "claim_not_allowed", "The token's department claim does not hold"),
        (with(json!([["sales"]]), json!(3)), "claim_not_allowed", "The token's department claim does not hold"),
        (with(json!("sales"), json!("3")), "claim_not_allowed", "The token's level claim does not hold"),
        (with(json!("sales"), json!(true)), "claim_not_allowed", "The token's level claim does not hold"),
        (with(json!("sales"), json!({"3": 3})), "claim_not_allowed", "The token's level claim does not hold"),
    ] {
        let minted = world.mint(token).await;
        let answer = world.assert_token_refused("/claims", &minted, reason).await;
        assert!(answer.text().contains(part), "{}", answer.text());
    }
}

async fn rules_narrow_audiences_and_clients(world: &World) {
    world.assert_passes("/audience", json!({"version": 1, "audience": "api://orders"})).await;
    let token = world.mint(json!({"audience": ORDERS})).await;
    assert_eq!(world.call("/", &token).await.status, 200);
    let answer = world.assert_token_refused("/audience", &token, "audience_not_allowed").await;
    assert!(answer.text().contains("not on this route"), "{}", answer.text());

    world.assert_passes("/client", json!({"client": DAEMON})).await;
    let token = world.mint(json!({"client": PUBLIC})).await;
    assert_eq!(world.call("/", &token).await.status, 200);
    world.assert_token_refused("/client", &token, "client_not_allowed").await;
}

async fn providers_ask_for_claims_everywhere(world: &World) {
    let with = |changes: Value| {
        let mut claims = json!({
            "groups": ["g2", "g9"], "entitlements": "write,read", "address": {"country": "DE"}, "level": 3, "verified": true,
        });
        claims.as_object_mut().expect("an object").extend(changes.as_object().expect("changes").clone());
        json!({"version": 1, "audience": "api://legacy", "claims": claims})
    };
    for path in ["/", "/optional"] {
        world.assert_passes(path, with(json!({}))).await;
        for (changes, reason) in [
            (json!({"groups": ["g9"]}), "claim_not_allowed"),
            (json!({"groups": null}), "claim_missing"),
            (json!({"entitlements": "read"}), "claim_not_allowed"),
            (json!({"address": {"country": "FR"}}), "claim_not_allowed"),
            (json!({"address": "DE"}), "claim_missing"),
            (json!({"level": "3"}), "claim_not_allowed"),
            (json!({"verified": "true"}), "claim_not_allowed"),
            (json!({"verified": 1}), "claim_not_allowed"),
        ] {
            let token = world.mint(with(changes)).await;
            world.assert_token_refused(path, &token, reason).await;
        }
    }
    let linked = json!({"groups": null, "_claim_names": {"groups": "src1"}});
    let token = world.mint(with(linked)).await;
    let answer = world.assert_token_refused("/", &token, "claim_missing").await;
    assert!(answer.text().contains("overage"), "{}", answer.text());
    // A request without a token passes where none is needed.
    assert_eq!(world.send(Request::get("/optional")).await.status, 200);
}

async fn a_remembered_token_passes_only_where_a_new_one_would(world: &World) {
    let token = world.mint(json!({"scopes": "Orders.Write", "claims": {"department": "sales"}})).await;
    for _ in 0..2 {
        for path in ["/", "/scopes", "/users", "/optional"] {
            assert_eq!(world.call(path, &token).await.status, 200, "{path}");
        }
        for (path, reason) in [
            ("/all-scopes", "scope_insufficient"),
            ("/app-roles", "token_kind_not_allowed"),
            ("/user-roles", "role_insufficient"),
            ("/claims", "claim_missing"),
            ("/audience", "audience_not_allowed"),
            // Both readings must be satisfied.
            ("/optional/../all-scopes", "scope_insufficient"),
        ] {
            world.assert_token_refused(path, &token, reason).await;
        }
    }
}

async fn details_can_be_withheld(release: &Release) {
    let rules = json!([{"match": {"prefix": "/"}, "require": {"scopes": ["Orders.Write"]}}]);
    let with = |detail: &str| {
        json!({
            "providers": {"orders": provider(&json!({"tenants": [CONTOSO]}))},
            "rules": rules,
            "responses": {"detail": detail},
        })
    };
    let world = World::start(&Options::new(release, with("none"))).await;
    let token = world.mint(json!({})).await;
    let answer = world.call("/", &token).await;
    assert_eq!((answer.status, answer.text().as_str()), (403, r#"{"error":"insufficient_scope"}"#));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"\", error=\"insufficient_scope\""));

    let world = World::start(&Options::new(release, with("full"))).await;
    let token = world.mint(json!({})).await;
    let answer = world.assert_token_refused("/", &token, "scope_insufficient").await;
    assert_eq!(answer.json()["detail"], "scp [Orders.Read], needed any of [Orders.Write]");
}
