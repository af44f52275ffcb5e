//! From a verdict to what happens to the request, now or after a wait: the same lines for both.

use proxy_wasm::hostcalls;
use proxy_wasm::types::{LogLevel, MapType};

use super::host;
use super::meters::Meters;
use crate::answer::explanation::{End, explanation};
use crate::answer::{Answer, answer};
use crate::judge::refusal::Refusal;
use crate::judge::trace::Trace;
use crate::judge::verdict::{Grant, Seen};
use crate::policy::Policy;
use crate::policy::forward::Authorization;
use crate::policy::sources::{Carried, Source};
use crate::signals;

/// Takes off the headers that only the filter may set, before anything else is looked at.
pub(super) fn strip(policy: &Policy) {
    for name in &policy.forward.owned_headers {
        let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
    }
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To pass.
    Pass,
    /// To be told why it would or would not, by somebody who may know.
    Why,
}

/// Takes the explain header off. With a wrong secret, or several, it is an ordinary request.
pub(super) fn take_wish(policy: &Policy) -> Wish {
    let Some(explain) = &policy.explain else {
        return Wish::Pass;
    };
    let value = host::request_header_values(&explain.header);
    // Always: an empty one reads as none.
    let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, &explain.header);
    if value.is_some_and(|value| explain.admits(&value)) { Wish::Why } else { Wish::Pass }
}

/// Reads what the request carries where tokens may be, and its path, from which tokens are taken off: nobody after the
/// filter sees them, the access log included.
pub(super) fn take(policy: &Policy, path: &mut Vec<u8>) -> Carried {
    let headers = policy.sources.headers().iter().map(|name| credential_header(name)).collect();
    let mut parameters = Vec::new();
    if let Some((rest, taken)) = policy.sources.take_parameters(path) {
        let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, ":path", Some(&rest));
        (*path, parameters) = (rest, taken);
    }
    Carried { headers, parameters }
}

fn credential_header(name: &str) -> Option<Vec<u8>> {
    match name {
        // Envoy has joined repeated ones already.
        "authorization" => host::request_header(name),
        "cookie" => host::request_cookies(),
        _ => host::request_header_values(name),
    }
}

/// Takes credentials off the headers; those in the query are gone already.
fn take_off(policy: &Policy) {
    for source in policy.sources.all() {
        match source {
            Source::Header { name, .. } => {
                let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
            }
            Source::Cookie(_) | Source::Query(_) => {}
        }
    }
    if policy.sources.all().any(|source| matches!(source, Source::Cookie(_)))
        && let Some(header) = host::request_cookies()
    {
        let left = policy.sources.without_cookies(&header);
        let _ = match left {
            Some(left) => hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, "cookie", Some(&left)),
            None => hostcalls::remove_map_value(MapType::HttpRequestHeaders, "cookie"),
        };
    }
}

/// Prepares the request of the effective context for the upstream. The caller lets it go on.
pub(super) fn allow(grant: &Grant, policy: &Policy, meters: &Meters) {
    if policy.forward.authorization == Authorization::Remove {
        take_off(policy);
    }
    for (name, value) in grant.headers() {
        let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value.as_bytes()));
    }
    for state in &policy.forward.filter_state {
        if let Some(value) = grant.state(*state) {
            let _ = hostcalls::set_property(vec![signals::state(*state)], Some(value.as_bytes()));
        }
    }
    match grant.facts() {
        Some(facts) => meters.allowed(facts.is_unchecked()),
        None => meters.anonymous(),
    }
    // A route may have been chosen by headers that are gone now, or may be meant to be chosen by what was just set.
    if policy.forward.clear_route_cache {
        let _ = hostcalls::call_foreign_function("clear_route_cache", None);
    }
}

/// Answers the request of the effective context. The caller must not let it go on.
pub(super) fn refuse(refusal: &Refusal, seen: &Seen, policy: &Policy, meters: &Meters) {
    let reason = refusal.reason();
    meters.refused(reason);
    host::log(LogLevel::Info, || signals::refusal_line(refusal, seen));
    let _ = hostcalls::set_property(vec![signals::STATE_REASON], Some(reason.code().as_bytes()));
    send(&answer(refusal, &policy.responses));
}

/// Answers an explain request of the effective context. The caller must not let it go on.
pub(super) fn tell_why(trace: &Trace, end: &End<'_>, policy: &Policy) {
    host::log(LogLevel::Info, || {
        let verdict = match end {
            End::Allow(_) => "allowed",
            End::Refuse(refusal) => refusal.reason().code(),
            End::Undecided(_) => "undecided",
        };
        format!("explained verdict={verdict}")
    });
    send(&explanation(trace, end, &policy.responses));
}

/// Sends an answer of the filter's own to the request of the effective context. The caller must not let it go on.
pub(super) fn send(answer: &Answer) {
    let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _ = hostcalls::send_http_response(u32::from(answer.status), headers, Some(answer.body.as_bytes()));
}
