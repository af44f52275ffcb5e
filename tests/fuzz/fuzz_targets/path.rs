//! Whatever a client sends as path: what is closed stays closed, however it is spelled.
#![no_main]

use entra_gate::policy::requirement::Requirement;
use entra_gate::policy::rules::{Demand, Matcher, PathMatcher, Rule, Rules, Selection};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|target: &str| {
    let rule = |path: &str, demand| Rule {
        matcher: Matcher { path: Some(PathMatcher::Prefix(path.to_owned())), ..Matcher::default() },
        demand,
    };
    let rules =
        Rules::new(vec![rule("/open/closed", Demand::Token(Requirement::default())), rule("/open", Demand::Anonymous)]);
    if rules.select("GET", "h", target) == Selection::Anonymous {
        let path = target.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        assert!(path.starts_with("/open") && !path.starts_with("/open/closed"));
        // No open path climbs out.
        assert!(!path.split('/').any(|segment| segment == "..") || path.contains("/open"));
    }
});
