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
use crate::registration::route::Purpose;

/// A stream.
pub(super) struct Session {
    context: u32,
    /// None if the plugin has no usable configuration: then nothing passes.
    gate: Option<Rc<Gate>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Answered here, or not judged at all.
    Held,
    /// It goes on to the upstream.
    Passed,
    /// Whoever waits for it says.
    Waiting,
}

impl Session {
    pub(super) fn new(context: u32, gate: Option<Rc<Gate>>) -> Self {
        Self { context, gate, state: State::Held }
    }
}

impl Context for Session {}

impl HttpContext for Session {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some(gate) = &self.gate else {
            let _ = hostcalls::send_http_response(503, vec![], None);
            return Action::Pause;
        };
        effects::strip(&gate.policy);
        // Every read is a call to the host: what nothing looks at is not read.
        let Policy { rules, preflights, resource, registration, sources, .. } = &gate.policy;
        let text = |name, needed| if needed { request_text(name) } else { String::new() };
        let reads_path = !rules.is_empty() || resource.is_some() || registration.is_some() || sources.read_queries();
        let mut path = if reads_path { request_header(":path").unwrap_or_default() } else { Vec::new() };
        let carried = effects::take(&gate.policy, &mut path);
        let path = host::text(path);
        let is_for_metadata = resource.as_ref().is_some_and(|resource| resource.document_at(&path).is_some());
        let look_for_preflights = *preflights == Preflights::Pass;
        let is_below = registration.as_ref().is_some_and(|settings| path.starts_with(&settings.path));
        let looks_at_method = rules.look_at_method() || look_for_preflights || is_for_metadata || is_below;
        let method = text(":method", looks_at_method);
        let for_bridge = registration.as_ref().filter(|_| is_below).and_then(|settings| {
            let purpose = Purpose::of(&method, &path, settings)?;
            Some((settings, purpose))
        });
        let request = Request {
            preflight: look_for_preflights && is_preflight(&method),
            method,
            authority: text(":authority", rules.look_at_host()),
            path,
            carried,
        };
        let fate = match for_bridge {
            Some((settings, purpose)) => {
                gate.receive_registration(self.context, settings, purpose, request, end_of_stream)
            }
            None => gate.receive(self.context, request),
        };
        self.state = match fate {
            Fate::Answered => State::Held,
            Fate::Goes => State::Passed,
            Fate::Waits => State::Waiting,
        };
        self.action()
    }

    /// Where Envoy delivers bodies of requests that are held back (`allow_on_headers_stop_iteration`), to go on with the
    /// body would let the request pass.
    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if let (State::Waiting, Some(gate)) = (self.state, &self.gate) {
            gate.collect(self.context, size, end_of_stream);
        }
        self.action()
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if let (State::Waiting, Some(gate)) = (self.state, &self.gate) {
            gate.collect(self.context, 0, true);
        }
        self.action()
    }
}

impl Session {
    /// Only what was allowed goes on.
    fn action(&mut self) -> Action {
        let was_released = |gate: &Rc<Gate>| gate.was_released(self.context);
        if self.state == State::Waiting && self.gate.as_ref().is_some_and(was_released) {
            self.state = State::Passed;
            // It is looked at once.
            if let Some(gate) = &self.gate {
                gate.forget(self.context);
            }
        }
        match self.state {
            State::Held | State::Waiting => Action::Pause,
            State::Passed => Action::Continue,
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
