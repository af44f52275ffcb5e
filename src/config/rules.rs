//! `rules`: which requests need what.

use super::node::Node;
use super::requirement::{self, Known};
use crate::policy::rules::{Demand, HostMatcher, Matcher, PathMatcher, Rule};

pub(super) const MEMBERS: [&str; 3] = ["allow", "match", "require"];
pub(super) const MATCH_MEMBERS: [&str; 5] = ["hosts", "methods", "path", "prefix", "regex"];

pub(super) fn compile(node: &Node<'_>, known: Known<'_>) -> Option<Vec<Rule>> {
    node.list(|node| rule(node, known))
}

fn rule(node: &Node<'_>, known: Known<'_>) -> Option<Rule> {
    let members = node.object(&MEMBERS)?;
    let matcher = members.required("match").and_then(|node| matcher(&node));
    let demand = match (members.get("allow"), members.get("require")) {
        (Some(allow), None) => allow
            .choice(&[("anonymous", 0), ("optional", 1)])
            .map(|open| if open == 0 { Demand::Anonymous } else { Demand::Optional }),
        (None, Some(require)) => requirement::compile(&require, known).map(Demand::Token),
        (Some(_), Some(_)) => node.mistake_of("both `allow` and `require`", "one of them"),
        (None, None) => node.mistake_of("neither `allow` nor `require`", "one of them"),
    };
    Some(Rule { matcher: matcher?, demand: demand? })
}

fn matcher(node: &Node<'_>) -> Option<Matcher> {
    let members = node.object(&MATCH_MEMBERS)?;
    let absolute = |node: &Node<'_>| {
        let text = node.text()?;
        if text.starts_with('/') && !text.contains(['?', '#']) {
            Some(text.to_owned())
        } else {
            node.mistake("a path that starts with / and has no query")
        }
    };
    let mut paths = Vec::new();
    if let Some(node) = members.get("path") {
        paths.push(absolute(&node).map(PathMatcher::Exact));
    }
    if let Some(node) = members.get("prefix") {
        paths.push(absolute(&node).map(PathMatcher::Prefix));
    }
    if let Some(node) = members.get("regex") {
        let compiled = node.text().and_then(|expression| match PathMatcher::regex(expression) {
            Ok(matcher) => Some(matcher),
            Err(error) => node.mistake(&format!("a regular expression ({error})")),
        });
        paths.push(compiled);
    }
    if paths.len() > 1 {
        return node.mistake_of("several of path, prefix and regex", "one of them");
    }
    let methods = members.optional("methods", |node| {
        node.list(|method| {
            let name = method.text()?;
            let token = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_');
            if token { Some(name.to_owned()) } else { method.mistake("a method in upper case, such as GET") }
        })
    });
    let hosts = members.optional("hosts", |node| {
        node.list(|host| match HostMatcher::parse(host.text()?) {
            Some(matcher) => Some(matcher),
            None => host.mistake("a host name, or *. and a host name"),
        })
    });
    if paths.is_empty() && members.get("methods").is_none() && members.get("hosts").is_none() {
        return node.mistake("at least one of path, prefix, regex, methods, hosts (prefix / matches everything)");
    }
    let path = match paths.pop() {
        Some(path) => Some(path?),
        None => None,
    };
    Some(Matcher { path, methods: methods?, hosts: hosts? })
}
