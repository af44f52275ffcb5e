//! One request: judged when its headers arrive, at once or after a wait.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::effects;
use super::gate::{Fate, Gate};
use super::host::{self, request_header, request_text};
use crate::judge::request::Request;
use crate::policy::{Policy, Preflights};

/// A stream.
pub(super) struct Session {
    context: u32,
    /// None if the plugin has no usable configuration: then nothing passes.
    gate: Option<Rc<Gate>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Settled,
    Waiting,
}

impl Session {
    pub(super) fn new(context: u32, gate: Option<Rc<Gate>>) -> Self {
        Self { context, gate, state: State::Settled }
    }
}

impl Context for Session {}

impl HttpContext for Session {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(gate) = &self.gate else {
            let _ = hostcalls::send_http_response(503, vec![], None);
            return Action::Pause;
        };
        let wish = effects::take_wish(&gate.policy);
        effects::strip(&gate.policy);
        // Every read is a call to the host: what nothing looks at is not read.
        let Policy { rules, preflights, resource, sources, .. } = &gate.policy;
        let text = |name, needed| if needed { request_text(name) } else { String::new() };
        let reads_path = !rules.is_empty() || resource.is_some() || sources.read_queries();
        let mut path = if reads_path { request_header(":path").unwrap_or_default() } else { Vec::new() };
        let carried = effects::take(&gate.policy, &mut path);
        let path = host::text(path);
        let is_for_metadata = resource.as_ref().is_some_and(|resource| resource.document_at(&path).is_some());
        let look_for_preflights = *preflights == Preflights::Pass;
        let method = text(":method", rules.look_at_method() || look_for_preflights || is_for_metadata);
        let request = Request {
            preflight: look_for_preflights && is_preflight(&method),
            method,
            authority: text(":authority", rules.look_at_host()),
            path,
            carried,
        };
        match gate.receive(self.context, request, wish) {
            Fate::Goes => Action::Continue,
            Fate::Answered => Action::Pause,
            Fate::Waits => {
                self.state = State::Waiting;
                Action::Pause
            }
        }
    }
}

/// What browsers ask before a request to another origin (Fetch standard, CORS-preflight request).
fn is_preflight(method: &str) -> bool {
    let sent = |name| request_header(name).is_some_and(|value| !value.is_empty());
    method == "OPTIONS" && sent("origin") && sent("access-control-request-method")
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (State::Waiting, Some(gate)) = (self.state, &self.gate) {
            gate.forget(self.context);
        }
    }
}
