//! The documents against the code: no member, reason or metric may be missing from them, or be invented by them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::Path;

use entra_gate::judge::refusal::Reason;
use entra_gate::judge::trace::Check;
use entra_gate::registration::reply::Outcome;
use entra_gate::signals;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in the first column of the tables under a heading that have this header row.
fn rows<'a>(text: &'a str, heading: &str, header: &str) -> BTreeSet<&'a str> {
    let section = text.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let table = section.split(header).nth(1).unwrap_or_else(|| panic!("{heading}: no table {header}"));
    let table = table.trim_start_matches('\n').lines().take_while(|line| line.starts_with('|'));
    table.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_reference_lists_the_members_that_exist_and_no_others() {
    let text = document("docs/configuration.md");
    for (place, members) in entra_gate::config::members() {
        let heading = if place.is_empty() { "The document".to_owned() } else { format!("`{place}`") };
        let documented = rows(&text, &heading, "| member | type | default | meaning |");
        assert_eq!(documented, members.iter().copied().collect(), "{heading}");
    }
}

#[test]
fn operations_lists_every_reason_and_metric() {
    let text = document("docs/operations.md");
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(rows(&text, "Reasons", "| reason | status | who acts |"), reasons);
    let metrics = [
        "entra_gate.registration.<outcome>",
        signals::ALLOWED,
        signals::ANONYMOUS,
        signals::INQUIRIES_ANSWERED,
        signals::INQUIRIES_FAILED,
        signals::INQUIRIES_UNCHECKED,
        signals::KEYS_AGE_SECONDS,
        signals::KEYS_FETCH_FAILED,
        signals::KEYS_FETCH_OK,
        signals::KEYS_SKIPPED,
        signals::REVOCATION_AGE_SECONDS,
        signals::REVOCATION_ENTRIES,
        signals::REVOCATION_FEED_FAILED,
        signals::REVOCATION_HITS,
        signals::REVOCATION_SEQUENCE,
        signals::TOKEN_CACHE_HIT,
        signals::TOKEN_CACHE_MISS,
        signals::TOKEN_REQUESTS_FAILED,
        signals::TOKEN_REQUESTS_PASSED,
        signals::WAITING,
        "entra_gate.refused.<reason>",
    ];
    assert_eq!(rows(&text, "Metrics", "| metric | kind | meaning |"), metrics.into_iter().collect());
    let outcomes: BTreeSet<&str> = Outcome::ALL.iter().map(|outcome| outcome.code()).collect();
    assert_eq!(rows(&text, "Registration", "| outcome | status | who acts |"), outcomes);
}

#[test]
fn the_diagnosis_page_lists_every_check_in_its_order() {
    let text = document("docs/diagnosis.md");
    let table = text.split("| name | what is checked |").nth(1).unwrap().trim_start_matches('\n');
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let names: Vec<&str> = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(names, Check::ALL.iter().map(|check| check.name()).collect::<Vec<_>>());
}

#[test]
fn documents_name_only_files_that_exist() {
    for name in [
        "README.md",
        "CHANGELOG.md",
        "docs/attacks.md",
        "docs/authorization-server.md",
        "docs/command.md",
        "docs/configuration.md",
        "docs/design.md",
        "docs/diagnosis.md",
        "docs/feed.md",
        "docs/migration.md",
        "docs/operations.md",
        "docs/performance.md",
        "docs/registration.md",
    ] {
        let text = document(name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name).parent().unwrap().to_path_buf();
            assert!(folder.join(file).exists(), "{name} links to {file}");
        }
    }
}

/// What each of the four kinds of configuration can hold, as their own references list it.
const ELEMENTS: [(&str, &[&str]); 4] = [
    (
        "From `validate-azure-ad-token`",
        &[
            "tenant-id",
            "authentication-endpoint",
            "header-name",
            "query-parameter-name",
            "token-value",
            "failed-validation-httpcode",
            "failed-validation-error-message",
            "output-token-variable-name",
            "backend-application-ids",
            "client-application-ids",
            "audiences",
            "required-claims",
            "decryption-keys",
        ],
    ),
    (
        "From `validate-jwt`",
        &[
            "header-name",
            "query-parameter-name",
            "token-value",
            "failed-validation-httpcode",
            "failed-validation-error-message",
            "require-expiration-time",
            "require-scheme",
            "require-signed-tokens",
            "clock-skew",
            "output-token-variable-name",
            "openid-config",
            "issuer-signing-keys",
            "decryption-keys",
            "audiences",
            "issuers",
            "required-claims",
        ],
    ),
    (
        "From `jwt_authn`",
        &[
            "issuer",
            "audiences",
            "subjects",
            "require_expiration",
            "max_lifetime",
            "remote_jwks",
            "remote_jwks.cache_duration",
            "remote_jwks.async_fetch",
            "remote_jwks.retry_policy",
            "local_jwks",
            "forward",
            "from_headers",
            "from_params",
            "from_cookies",
            "forward_payload_header",
            "pad_forward_payload_header",
            "payload_in_metadata",
            "normalize_payload_in_metadata",
            "header_in_metadata",
            "failed_status_in_metadata",
            "claim_to_headers",
            "clear_route_cache",
            "clock_skew_seconds",
            "jwt_cache_config",
            "rules",
            "provider_name",
            "provider_and_audiences",
            "requires_any",
            "requires_all",
            "allow_missing",
            "allow_missing_or_failed",
            "extract_only_without_validation",
            "requirement_map",
            "filter_state_rules",
            "bypass_cors_preflight",
            "strip_failure_response",
            "stat_prefix",
            "PerRouteConfig",
        ],
    ),
    (
        "From Istio's RequestAuthentication",
        &[
            "selector",
            "targetRefs",
            "issuer",
            "audiences",
            "jwksUri",
            "jwks",
            "fromHeaders",
            "fromParams",
            "fromCookies",
            "outputPayloadToHeader",
            "outputClaimToHeaders",
            "forwardOriginalToken",
            "timeout",
            "spaceDelimitedClaims",
            "requestPrincipals",
            "request.auth.claims",
        ],
    ),
];

#[test]
fn every_element_of_what_people_come_from_has_its_row() {
    let text = document("docs/migration.md");
    for (heading, elements) in ELEMENTS {
        let named = rows(&text, heading, "| element | here | what differs | shown by |");
        for element in elements {
            assert!(named.contains(element), "{heading} says nothing of {element}");
        }
    }
}

#[test]
fn every_row_of_the_migration_page_names_tests_that_exist() {
    let text = document("docs/migration.md");
    let mut shown = 0;
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, here, _, tests] = cells.as_slice() else { panic!("{line}: {} cells", cells.len()) };
        if *here == "\u{2013}" {
            assert_eq!(*tests, "\u{2013}", "{line}: nothing can be shown of what is not there");
            continue;
        }
        let names: Vec<&str> = tests.split(", ").collect();
        for name in names {
            let (file, function) = name.trim_matches('`').split_once("::").unwrap_or_else(|| panic!("{line}: {name}"));
            let source = document(&format!("tests/envoy/tests/{file}.rs"));
            assert!(source.contains(&format!("async fn {function}(")), "{line}: no {name}");
            shown += 1;
        }
    }
    assert!(shown > 50, "{shown}");
}
