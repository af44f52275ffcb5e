//! One request: judged when its headers arrive, at once or after a wait.

use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::body::{Body, Collector};
use super::effects;
use super::gate::{Fate, Gate};
use super::host::{self, request_header, request_text};
use super::relay::MOST_FORM_BYTES;
use crate::judge::request::Request;
use crate::policy::{Policy, Preflights};
use crate::registration::limits::MAX_BODY_BYTES;
use crate::registration::route::Purpose;

/// A stream.
pub(super) struct Session {
    context: u32,
    /// None if the plugin has no usable configuration: then nothing passes.
    gate: Option<Rc<Gate>>,
    state: State,
}

/// What becomes of the rest of a request, whose body may come while its headers are held back.
enum State {
    /// It is collected: a token request.
    Collecting(Collector),
    /// It goes on.
    Goes,
    /// It is held back: nothing was decided yet, or the request was answered here.
    Held,
    /// It is collected for the registration bridge.
    Registering(Collector),
    /// It is held back until this is set.
    Waiting(Rc<Cell<bool>>),
}

impl Session {
    pub(super) fn new(context: u32, gate: Option<Rc<Gate>>) -> Self {
        Self { context, gate, state: State::Held }
    }

    /// What becomes of what follows the headers. `read` takes it in, if it is collected.
    fn proceed(&mut self, read: impl FnOnce(&mut Collector) -> Body) -> Action {
        let body = match &mut self.state {
            State::Goes => return Action::Continue,
            State::Waiting(goes) if goes.get() => return Action::Continue,
            State::Held | State::Waiting(_) => return Action::Pause,
            State::Collecting(collector) | State::Registering(collector) => read(collector),
        };
        if !matches!(body, Body::Partial)
            && let Some(gate) = &self.gate
        {
            match self.state {
                State::Registering(_) => gate.collect(self.context, body),
                State::Collecting(_) | State::Goes | State::Held | State::Waiting(_) => gate.relay(self.context, body),
            }
            self.state = State::Held;
        }
        Action::Pause
    }
}

impl Context for Session {}

impl HttpContext for Session {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some(gate) = &self.gate else {
            let _ = hostcalls::send_http_response(503, vec![], None);
            return Action::Pause;
        };
        let wish = effects::take_wish(&gate.policy);
        effects::strip(&gate.policy);
        // Every read is a call to the host: what nothing looks at is not read.
        let Policy { rules, preflights, resource, authorization_server, registration, sources, .. } = &gate.policy;
        let text = |name, needed| if needed { request_text(name) } else { String::new() };
        let tells = resource.is_some() || authorization_server.is_some() || registration.is_some();
        let reads_path = !rules.is_empty() || tells || sources.read_queries();
        let mut path = if reads_path { request_header(":path").unwrap_or_default() } else { Vec::new() };
        let carried = effects::take(&gate.policy, &mut path);
        let path = host::text(path);
        let is_for_gate = resource.as_ref().is_some_and(|resource| resource.document_at(&path).is_some())
            || authorization_server.as_ref().is_some_and(|server| server.place(&path).is_some());
        let look_for_preflights = *preflights == Preflights::Pass;
        let is_below = registration.as_ref().is_some_and(|settings| path.starts_with(&settings.path));
        let method = text(":method", rules.look_at_method() || look_for_preflights || is_for_gate || is_below);
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
                gate.receive_registration(self.context, settings, purpose, request, wish, end_of_stream)
            }
            None => gate.receive(self.context, request, wish),
        };
        self.state = match fate {
            Fate::Answered => State::Held,
            Fate::Collected if end_of_stream => {
                gate.relay(self.context, Body::Whole(Vec::new()));
                State::Held
            }
            Fate::Collected => State::Collecting(Collector::new(MOST_FORM_BYTES)),
            Fate::Goes => State::Goes,
            Fate::Registers => State::Registering(Collector::new(MAX_BODY_BYTES)),
            Fate::Waits(goes) => State::Waiting(goes),
        };
        if matches!(self.state, State::Goes) { Action::Continue } else { Action::Pause }
    }

    fn on_http_request_body(&mut self, arrived: usize, end_of_stream: bool) -> Action {
        self.proceed(|collector| collector.data(arrived, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.proceed(|collector| collector.end())
    }
}

/// What browsers ask before a request to another origin (Fetch standard, CORS-preflight request).
fn is_preflight(method: &str) -> bool {
    let sent = |name| request_header(name).is_some_and(|value| !value.is_empty());
    method == "OPTIONS" && sent("origin") && sent("access-control-request-method")
}

impl Drop for Session {
    fn drop(&mut self) {
        match (&self.state, &self.gate) {
            (State::Collecting(_) | State::Held | State::Registering(_) | State::Waiting(_), Some(gate)) => {
                gate.forget(self.context)
            }
            (State::Goes, _) | (_, None) => {}
        }
    }
}
