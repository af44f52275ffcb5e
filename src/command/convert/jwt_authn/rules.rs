//! `rules`: which requests need whose tokens, and so which audiences each provider accepts.

use serde_yaml_ng::Value;

use super::provider::Provider;
use super::reading::Reader;
use crate::convert::draft::{Draft, Section, list};
use crate::located::{Entry, Node, Position, lower_camel};

const RULE: [&str; 3] = ["match", "requirement_name", "requires"];
const MATCH: [&str; 6] = ["case_sensitive", "headers", "path", "path_separated_prefix", "prefix", "safe_regex"];
/// What a route's match may have besides, and a rule here has not.
const NOT_HERE: [&str; 9] = [
    "connect_matcher",
    "cookies",
    "dynamic_metadata",
    "filter_state",
    "grpc",
    "path_match_policy",
    "query_parameters",
    "runtime_fraction",
    "tls_context",
];
const REQUIREMENT: [&str; 7] = [
    "allow_missing",
    "allow_missing_or_failed",
    "extract_only_without_validation",
    "provider_and_audiences",
    "provider_name",
    "requires_all",
    "requires_any",
];

/// What a rule asks: any of these providers, each with audiences of its own, if they are not the provider's.
#[derive(Default)]
struct Demand {
    providers: Vec<(String, Option<Vec<String>>)>,
    allows_missing: bool,
}

struct Rule {
    at: Position,
    matcher: Section,
    demand: Option<Demand>,
}

pub(super) fn convert(filter: &Node, providers: &mut [Provider], reader: &mut Reader<'_>, draft: &mut Draft) {
    let names: Vec<String> = providers.iter().map(|provider| provider.section.name.clone()).collect();
    let items = filter.field("rules").map(Node::items).unwrap_or_default();
    let map = filter.field("requirement_map").map(Node::entries).unwrap_or_default();
    let rules: Vec<Rule> = items.iter().filter_map(|item| rule(item, &names, map, reader)).collect();

    let accepted = audiences(providers, &rules, filter.at, reader);
    for (rule, item) in rules.iter().zip(items) {
        if let Some(section) = section(rule, item, providers, &names, &accepted, reader) {
            draft.rules.push(section);
        }
    }
    for (provider, accepted) in providers.iter_mut().zip(accepted) {
        provider.section.set("audiences", list(accepted));
    }
    if items.is_empty() {
        draft
            .about_rules
            .push("There, without rules, no request was looked at. Here every request needs a token.".to_owned());
    } else if !rules.iter().any(|rule| is_everything(&rule.matcher)) {
        draft.about_rules.push(
            "What no rule names needs a token here; there it passed without one. To let it pass, add: - { match: { prefix: / }, allow: anonymous }"
                .to_owned(),
        );
    }
    draft.about_rules.extend(map.first().map(|_| "requirement_map: each rule holds what it referred to.".to_owned()));
}

fn is_everything(matcher: &Section) -> bool {
    matcher.members.len() == 1 && matcher.members.get("prefix") == Some(&Value::from("/"))
}

fn rule(item: &Node, names: &[String], map: &[Entry], reader: &mut Reader<'_>) -> Option<Rule> {
    reader.only_members(item, "a rule", &RULE);
    let matcher = match item.field("match") {
        Some(node) => matcher(node, reader),
        None => reader.fault(item.at, "a rule without match, expected one"),
    };
    let demand = match (item.field("requires"), item.field("requirement_name")) {
        (None, None) => None,
        (Some(node), None) => Some(demand(node, names, reader)?),
        (None, Some(name)) => {
            let found = map.iter().find(|entry| Some(entry.name.as_str()) == name.text());
            match found {
                Some(entry) => Some(demand(&entry.value, names, reader)?),
                None => {
                    return reader.fault(
                        name.at,
                        format!("requirement_name: found {}, expected a name of requirement_map", name.json()),
                    );
                }
            }
        }
        (Some(_), Some(name)) => {
            return reader.fault(name.at, "both requires and requirement_name, expected one of them");
        }
    };
    Some(Rule { at: item.at, matcher: matcher?, demand })
}

fn demand(node: &Node, names: &[String], reader: &mut Reader<'_>) -> Option<Demand> {
    reader.only_members(node, "a requirement", &REQUIREMENT);
    let [entry] = node.entries() else {
        // Without any: there the requirement is always satisfied.
        return if node.entries().is_empty() {
            reader.fault(node.at, "an empty requirement, expected one of provider_name, provider_and_audiences, requires_any, allow_missing")
        } else {
            reader.fault(node.at, "several requirements in one, expected requires_any around them")
        };
    };
    let provider = |node: &Node, reader: &mut Reader<'_>| match node.text() {
        Some(name) if names.iter().any(|known| known == name) => Some(name.to_owned()),
        _ => reader.fault(node.at, format!("found the provider {}, expected one of {}", node.json(), names.join(", "))),
    };
    let (at, value) = (entry.at, &entry.value);
    let name = REQUIREMENT.into_iter().find(|known| entry.name == *known || entry.name == lower_camel(known));
    match name.unwrap_or_default() {
        "allow_missing" => Some(Demand { allows_missing: true, ..Demand::default() }),
        "allow_missing_or_failed" => {
            reader.fault(at, "allow_missing_or_failed: a bad token is never let through. `allow: anonymous` looks at none, `allow: optional` at those that are sent")
        }
        "extract_only_without_validation" => reader.fault(at, "extract_only_without_validation: nothing unverified is ever forwarded"),
        "provider_and_audiences" => {
            reader.only_members(value, "provider_and_audiences", &["audiences", "provider_name"]);
            let audiences: Vec<String> = reader.texts(value, "audiences").into_iter().map(|audience| audience.text).collect();
            let Some(name) = value.field("provider_name") else {
                return reader.fault(value.at, "provider_and_audiences without provider_name, expected one");
            };
            let name = provider(name, reader)?;
            if audiences.is_empty() {
                return reader.fault(value.at, "provider_and_audiences without audiences: there any passes. Expected this API's");
            }
            Some(Demand { providers: vec![(name, Some(audiences))], allows_missing: false })
        }
        "provider_name" => Some(Demand { providers: vec![(provider(value, reader)?, None)], allows_missing: false }),
        name @ ("requires_all" | "requires_any") => {
            reader.only_members(value, name, &["requirements"]);
            let all = value.field("requirements").map(Node::items).unwrap_or_default();
            if all.is_empty() {
                return reader.fault(value.at, format!("{name} without requirements, expected some"));
            }
            if name == "requires_all" && all.len() > 1 {
                return reader.fault(at, "requires_all: a request has one token here. Put a second filter of this kind, with a vm_id and token_sources of its own, behind the first");
            }
            let mut together = Demand::default();
            for one in all {
                let one = demand(one, names, reader)?;
                together.allows_missing = together.allows_missing || one.allows_missing;
                together.providers.extend(one.providers);
            }
            Some(together)
        }
        _ => None,
    }
}

/// The audiences of each provider: its own, and those that rules accept in their place.
fn audiences(providers: &[Provider], rules: &[Rule], at: Position, reader: &mut Reader<'_>) -> Vec<Vec<String>> {
    let asked = |name: &str| -> Vec<&Option<Vec<String>>> {
        let demands = rules.iter().filter_map(|rule| rule.demand.as_ref());
        demands
            .flat_map(|demand| &demand.providers)
            .filter(|(known, _)| known == name)
            .map(|(_, audiences)| audiences)
            .collect()
    };
    let mut all = Vec::new();
    for provider in providers {
        let asked = asked(&provider.section.name);
        let mut accepted = own(provider, reader);
        if accepted.is_empty() && (asked.is_empty() || asked.iter().any(|audiences| audiences.is_none())) {
            let message = format!(
                "provider {} has no audiences: a token for any API passes there, here never. Say which API this is: --audience api://…",
                provider.section.name
            );
            reader.fault::<()>(provider.at.max(at), message);
        }
        for audience in asked.into_iter().flatten().flatten() {
            if !accepted.contains(audience) {
                accepted.push(audience.clone());
            }
        }
        all.push(accepted);
    }
    all
}

fn own(provider: &Provider, reader: &Reader<'_>) -> Vec<String> {
    if provider.audiences.is_empty() { reader.options.audiences.clone() } else { provider.audiences.clone() }
}

fn section(
    rule: &Rule,
    item: &Node,
    providers: &[Provider],
    names: &[String],
    accepted: &[Vec<String>],
    reader: &mut Reader<'_>,
) -> Option<Section> {
    let mut section = Section::default();
    section.set("match", Value::Mapping(rule.matcher.members.clone()));
    let Some(demand) = &rule.demand else {
        section.set("allow", "anonymous");
        return Some(section);
    };
    let narrowed = demand.providers.iter().any(|(_, audiences)| audiences.is_some());
    if demand.allows_missing {
        let all = demand.providers.is_empty()
            || names.iter().all(|name| demand.providers.iter().any(|(known, _)| known == name));
        if !all || narrowed {
            return reader.fault(rule.at, "allow_missing beside some providers or audiences: `allow: optional` accepts the tokens of every provider");
        }
        section.set("allow", "optional");
        return Some(section);
    }
    let mut require = Section::default();
    let mut listed: Vec<String> = Vec::new();
    for (name, _) in &demand.providers {
        if !listed.contains(name) {
            listed.push(name.clone());
        }
    }
    // What each may accept here, and what the rule would let it accept.
    let mut together: Vec<String> = Vec::new();
    let mut effective: Vec<(usize, Vec<String>)> = Vec::new();
    for name in &listed {
        let Some(at) = names.iter().position(|known| known == name) else { continue };
        let mut wanted: Vec<String> = Vec::new();
        for (_, audiences) in demand.providers.iter().filter(|(known, _)| known == name) {
            let own = providers.get(at).map(|provider| own(provider, reader)).unwrap_or_default();
            wanted.extend(audiences.clone().unwrap_or(own));
        }
        wanted.iter().for_each(|audience| {
            if !together.contains(audience) {
                together.push(audience.clone())
            }
        });
        effective.push((at, wanted));
    }
    let is_narrower = effective
        .iter()
        .any(|(at, wanted)| accepted.get(*at).is_some_and(|all| all.iter().any(|one| !wanted.contains(one))));
    for (at, wanted) in &effective {
        let widened =
            accepted.get(*at).and_then(|all| all.iter().find(|one| together.contains(one) && !wanted.contains(one)));
        if let Some(widened) = widened {
            let name = names.get(*at).map(String::as_str).unwrap_or_default();
            return reader.fault(item.at, format!("a rule that accepts the audience {widened} of one provider and not of {name}: write a rule for each"));
        }
    }
    require.set_list("providers", listed);
    if is_narrower {
        require.set_list("audiences", together);
    }
    section.set("require", Value::Mapping(require.members));
    Some(section)
}

fn matcher(node: &Node, reader: &mut Reader<'_>) -> Option<Section> {
    for name in NOT_HERE {
        if let Some(found) = node.field(name) {
            return reader.fault(found.at, format!("match.{name}: rules look at path, method and host alone"));
        }
    }
    reader.only_members(node, "match", &MATCH);
    if let Some(case) = node.field("case_sensitive").filter(|case| case.flag() != Some(true)) {
        return reader.fault(case.at, "case_sensitive false: paths are matched by their letters. Write a regex");
    }
    let mut section = Section::default();
    let mut paths = 0_u32;
    for (member, name) in
        [("prefix", "prefix"), ("path", "path"), ("path_separated_prefix", "regex"), ("safe_regex", "regex")]
    {
        let Some(value) = node.field(member) else { continue };
        paths = paths.saturating_add(1);
        let text = match member {
            "safe_regex" => {
                reader.only_members(value, "safe_regex", &["google_re2", "regex"]);
                value.field("regex").and_then(Node::text).map(str::to_owned)
            }
            "path_separated_prefix" => value.text().map(|prefix| format!("{}(/.*)?", regex_lite::escape(prefix))),
            _ => value.text().map(|path| if path.is_empty() { "/".to_owned() } else { path.to_owned() }),
        };
        match text {
            Some(text) => section.set(name, text),
            None => {
                drop(reader.fault::<()>(value.at, format!("match.{member}: found {}, expected a path", value.json())))
            }
        }
    }
    if paths != 1 {
        return reader.fault(node.at, "match: expected one of prefix, path, path_separated_prefix, safe_regex");
    }
    for header in node.field("headers").map(Node::items).unwrap_or_default() {
        reader.only_members(header, "match.headers", &["exact_match", "name", "string_match"]);
        let exact = header.field("exact_match").or_else(|| {
            let matcher = header.field("string_match")?;
            if let [_] = matcher.entries() { matcher.field("exact") } else { None }
        });
        let member = match header.field("name").and_then(Node::text) {
            Some(":method") => Some("methods"),
            Some(":authority" | "host") => Some("hosts"),
            _ => None,
        };
        match (member, exact.and_then(Node::text)) {
            (Some(member), Some(value)) if section.members.get(member).is_none() => {
                section.set_list(member, vec![value])
            }
            _ => {
                let message = "match.headers: rules look at path, method and host alone: expected :method or :authority, each once, with an exact value";
                reader.fault::<()>(header.at, message);
            }
        }
    }
    Some(section)
}
