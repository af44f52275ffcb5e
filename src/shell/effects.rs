//! From a verdict to what happens to the request, now or after a wait: the same lines for both.

use proxy_wasm::hostcalls;
use proxy_wasm::types::{LogLevel, MapType};

use super::host;
use super::meters::Meters;
use crate::answer::{Answer, answer};
use crate::judge::refusal::Refusal;
use crate::judge::verdict::{Grant, Seen};
use crate::policy::Policy;
use crate::policy::forward::Authorization;
use crate::signals;

/// Takes off the headers that only the filter may set, before anything else is looked at.
pub(super) fn strip(policy: &Policy) {
    for name in &policy.forward.owned_headers {
        let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
    }
}

/// Prepares the request of the effective context for the upstream. The caller lets it go on.
pub(super) fn allow(grant: &Grant, policy: &Policy, meters: &Meters) {
    if policy.forward.authorization == Authorization::Remove {
        let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, "authorization");
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
        Some(_) => meters.allowed(),
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

/// Sends an answer of the filter's own to the request of the effective context. The caller must not let it go on.
pub(super) fn send(answer: &Answer) {
    let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _ = hostcalls::send_http_response(u32::from(answer.status), headers, Some(answer.body.as_bytes()));
}
