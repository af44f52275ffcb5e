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
        // Without rules nothing but the credentials matters: three reads less.
        let text = |name| if gate.policy.rules.is_empty() { String::new() } else { request_text(name) };
        let request = Request {
            method: text(":method"),
            authority: text(":authority"),
            path: text(":path"),
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
