//! A wrong configuration never serves a request: Envoy does not start, and its log says everything that is wrong.

use std::process::ExitCode;

use envoy_tests::bootstrap::{Delivery, Options, merge};
use envoy_tests::configuration::{provider, workforce};
use envoy_tests::token::{CONTOSO, ORDERS};
use envoy_tests::{Release, Request, Suite, World, behaviours};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let everywhere = behaviours![all_mistakes_are_told_at_once, both_deliveries_mean_the_same];
    let newest = behaviours![
        lists_that_would_mean_anything_are_refused,
        unknown_members_name_the_nearest_known_one,
        contradictions_are_refused,
        values_out_of_range_are_refused,
        text_that_is_no_configuration_is_refused,
        numbers_of_a_struct_are_numbers,
    ];
    let releases = Release::all();
    Suite::new().alone(&releases, everywhere).alone(&releases[..1], newest).run()
}

/// The mistakes, in the form that the log promises: path, what was found, what was expected.
async fn mistakes(options: &Options) -> Vec<(String, String, String)> {
    let log = World::refused_configuration(options).await;
    let mut mistakes: Vec<(String, String, String)> = log
        .lines()
        .filter_map(|line| {
            let (_, mistake) = line.split_once("configuration: ")?;
            assert!(line.contains("[error]"), "{line}");
            let (path, rest) = mistake.split_once(": found ").unwrap_or_else(|| panic!("{line}"));
            let (found, expected) = rest.split_once(", expected ").unwrap_or_else(|| panic!("{line}"));
            Some((path.to_owned(), found.to_owned(), expected.to_owned()))
        })
        .collect();
    mistakes.sort();
    mistakes.dedup();
    assert!(!mistakes.is_empty(), "{log}");
    mistakes
}

fn paths(mistakes: &[(String, String, String)]) -> Vec<&str> {
    mistakes.iter().map(|(path, _, _)| path.as_str()).collect()
}

fn full_of_mistakes() -> Value {
    json!({
        "providers": {
            "workforce": {
                "tenants": ["contoso"],
                "audience": [ORDERS],
                "upstream": {"cluster": "entra", "timeout": "5 parsecs"},
                "cloud": "publik",
                "algorithms": ["HS512"],
                "clock_skew": 60,
            },
        },
        "rules": [
            {"match": {"path": "healthz"}, "allow": "anonymous"},
            {"match": {"prefix": "/"}, "require": {"providers": ["workforc"]}},
        ],
        "responses": {"detail": "everything"},
        "forwards": {},
    })
}

async fn all_mistakes_are_told_at_once(release: &Release) {
    let mistakes = mistakes(&Options::new(release, full_of_mistakes())).await;
    let paths = paths(&mistakes);
    for path in [
        "providers.workforce.tenants[0]",
        "providers.workforce.audience",
        "providers.workforce.audiences",
        "providers.workforce.upstream.timeout",
        "providers.workforce.cloud",
        "providers.workforce.algorithms[0]",
        "providers.workforce.clock_skew",
        "rules[0].match.path",
        "rules[1].require.providers[0]",
        "responses.detail",
        "forwards",
    ] {
        assert!(paths.contains(&path), "{path} is not among {mistakes:#?}");
    }
}

async fn both_deliveries_mean_the_same(release: &Release) {
    let wrong = Options::new(release, full_of_mistakes());
    let as_text = Options { delivery: Delivery::StringValue, ..wrong.clone() };
    assert_eq!(mistakes(&wrong).await, mistakes(&as_text).await);

    let mut configuration = workforce(&json!({"token_versions": [1, 2], "personal_accounts": false}));
    let rest = json!({
        "rules": [{"match": {"path": "/healthz", "methods": ["GET"]}, "allow": "anonymous"}],
        "responses": {"unauthorized_status": 403},
    });
    merge(&mut configuration, &rest);
    for delivery in [Delivery::Struct, Delivery::StringValue] {
        let world = World::start(&Options { delivery, ..Options::new(release, configuration.clone()) }).await;
        world.assert_passes("/orders", json!({})).await;
        world.assert_passes("/orders", json!({"version": 1})).await;
        assert_eq!(world.send(Request::get("/healthz")).await.status, 200, "{delivery:?}");
        assert_eq!(world.send(Request::get("/orders")).await.status, 403, "{delivery:?}");
    }
}

async fn only_mistake(release: &Release, configuration: Value) -> (String, String, String) {
    let mut mistakes = mistakes(&Options::new(release, configuration)).await;
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    mistakes.remove(0)
}

/// A provider for each set of members, named by its number, and what is told to be wrong with each: its path within the
/// provider.
async fn of_providers(release: &Release, all: &[Value]) -> Vec<String> {
    let mut configuration = json!({"providers": {}});
    for (number, members) in all.iter().enumerate() {
        let mut provider = provider(&json!({"tenants": [CONTOSO]}));
        merge(&mut provider, members);
        configuration["providers"][number.to_string()] = provider;
    }
    let mistakes = mistakes(&Options::new(release, configuration)).await;
    assert_eq!(mistakes.len(), all.len(), "{mistakes:#?}");
    let within = |number: usize| {
        let prefix = format!("providers.{number}.");
        let path = mistakes.iter().find_map(|(path, _, _)| path.strip_prefix(&prefix));
        path.unwrap_or_else(|| panic!("nothing wrong with {}: {mistakes:#?}", all[number])).to_owned()
    };
    (0..all.len()).map(within).collect()
}

async fn lists_that_would_mean_anything_are_refused(release: &Release) {
    let lists = ["audiences", "tenants", "client_applications", "token_versions", "algorithms"];
    assert_eq!(of_providers(release, &lists.map(|member| json!({member: []}))).await, lists);
    let mut nothing = workforce(&json!({}));
    nothing["rules"] = json!([
        {"match": {}, "allow": "anonymous"},
        {"match": {"methods": []}, "allow": "anonymous"},
        {"match": {"prefix": "/"}, "require": {"providers": []}},
    ]);
    let mistakes = mistakes(&Options::new(release, nothing)).await;
    assert_eq!(paths(&mistakes), ["rules[0].match", "rules[1].match.methods", "rules[2].require.providers"]);
    assert_eq!(only_mistake(release, json!({"providers": {}})).await.0, "providers");
}

async fn unknown_members_name_the_nearest_known_one(release: &Release) {
    let (path, _, expected) = only_mistake(release, workforce(&json!({"client_aplications": ["x"]}))).await;
    assert_eq!(path, "providers.workforce.client_aplications");
    assert!(expected.contains("client_applications"), "{expected}");
    let mut rules = workforce(&json!({}));
    rules["rules"] = json!([{"match": {"prefix": "/"}, "require": {"providers": ["workforc"]}}]);
    let (path, found, expected) = only_mistake(release, rules).await;
    assert_eq!(path, "rules[0].require.providers[0]");
    assert!(found.contains("workforc") && expected.contains("workforce"), "{found}, {expected}");
}

async fn contradictions_are_refused(release: &Release) {
    let providers = [
        json!({"personal_accounts": true}),
        json!({"keys": {"refresh": "2h", "max_age": "1h"}}),
        json!({"policies": ["B2C_1_signin"]}),
    ];
    assert_eq!(of_providers(release, &providers).await, ["personal_accounts", "keys.max_age", "policies"]);
    let mut both = workforce(&json!({}));
    both["rules"] = json!([{"match": {"prefix": "/"}, "allow": "anonymous", "require": {"providers": ["workforce"]}}]);
    let header = json!({"header": "x-entra-oid", "claim": "oid"});
    both["forward"] = json!({"claim_headers": [header, header]});
    assert_eq!(paths(&mistakes(&Options::new(release, both)).await), ["forward", "rules[0]"]);
}

async fn values_out_of_range_are_refused(release: &Release) {
    let providers = [
        json!({"keys": {"refresh": "500ms"}}),
        json!({"keys": {"refresh": "0s"}}),
        json!({"keys": {"refresh": "-1s"}}),
        json!({"keys": {"unknown_kid_cooldown": "1ms"}}),
        json!({"keys": {"max_age": "10000d"}}),
        json!({"upstream": {"timeout": "0s"}}),
        json!({"metadata_url": "http://login.example/v2.0/.well-known/openid-configuration"}),
    ];
    let paths = of_providers(release, &providers).await;
    let expected = [
        "keys.refresh",
        "keys.refresh",
        "keys.refresh",
        "keys.unknown_kid_cooldown",
        "keys.max_age",
        "upstream.timeout",
        "metadata_url",
    ];
    assert_eq!(paths, expected);
}

async fn text_that_is_no_configuration_is_refused(release: &Release) {
    for configuration in [json!("providers"), json!(["providers"])] {
        let options = Options { delivery: Delivery::StringValue, ..Options::new(release, configuration.clone()) };
        let log = World::refused_configuration(&options).await;
        assert!(log.contains("configuration: "), "{configuration}: {log}");
    }
    World::refused_configuration(&Options::new(release, json!({}))).await;
}

async fn numbers_of_a_struct_are_numbers(release: &Release) {
    // Every number of a Struct is a double: 401 arrives as 401.0.
    let mut configuration = json!({"providers": {"workforce": provider(&json!({"tenants": [CONTOSO]}))}});
    configuration["responses"] = json!({"unauthorized_status": 401.5});
    assert_eq!(only_mistake(release, configuration.clone()).await.0, "responses.unauthorized_status");
    configuration["responses"] = json!({"unauthorized_status": 451});
    let world = World::start(&Options::new(release, configuration)).await;
    assert_eq!(world.send(Request::get("/orders")).await.status, 451);
}
