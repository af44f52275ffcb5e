//! One request: judged when its headers arrive, at once or after a wait.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::effects;
use super::gate::{Fate, Gate};
use super::host::{request_header, request_text};
use crate::judge::request::Request;

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
        effects::strip(&gate.policy);
        // Every read is a call to the host: what no rule looks at is not read.
        let rules = &gate.policy.rules;
        let text = |name, needed| if needed { request_text(name) } else { String::new() };
        let request = Request {
            method: text(":method", rules.look_at_method()),
            authority: text(":authority", rules.look_at_host()),
            path: text(":path", !rules.is_empty()),
            authorization: request_header("authorization"),
        };
        match gate.receive(self.context, request) {
            Fate::Goes => Action::Continue,
            Fate::Answered => Action::Pause,
            Fate::Waits => {
                self.state = State::Waiting;
                Action::Pause
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (State::Waiting, Some(gate)) = (self.state, &self.gate) {
            gate.forget(self.context);
        }
    }
}
