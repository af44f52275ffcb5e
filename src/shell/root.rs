//! The root context: configuration, the tick, and the answers to fetches.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};

use super::feeder::Feeder;
use super::fetches::Fetches;
use super::gate::Gate;
use super::host;
use super::meters::Meters;
use super::session::Session;
use crate::config;

/// Before the first tick: clusters may not exist while the plugin is configured.
const TICK_FIRST: Duration = Duration::from_millis(1);

/// One plugin in one worker.
#[derive(Default)]
pub(super) struct Root {
    gate: Option<Rc<Gate>>,
    fetches: Fetches,
    feeder: Option<Feeder>,
}

impl Root {
    /// Gives the revocation feed its turn; whether there is more to do at once.
    fn feed(&mut self, gate: &Gate) -> bool {
        match (&mut self.feeder, gate.feed()) {
            (Some(feeder), Some(feed)) => feeder.turn(feed, gate),
            (Some(_) | None, _) => false,
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(gate) = self.gate.clone() else {
            return;
        };
        let gate = &*gate;
        if let (Some(feeder), Some(feed)) = (&mut self.feeder, gate.feed())
            && feeder.receive(feed, gate, token, headers, body_size)
        {
            let is_busy = self.feed(gate);
            gate.set_tick(is_busy);
            return;
        }
        if gate.receive_relayed(token, headers, body_size) {
            return;
        }
        if self.fetches.receive(gate, token, headers, body_size) {
            gate.load_shared();
            gate.answer_waiters();
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let document =
            hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten().unwrap_or_default();
        let policy = match config::compile_with(&document, &|name| std::env::var(name).ok()) {
            Ok(policy) => policy,
            Err(mistakes) => {
                for mistake in mistakes {
                    host::log(LogLevel::Error, || format!("configuration: {mistake}"));
                }
                return false;
            }
        };
        let Some(meters) = Meters::define() else {
            return false;
        };
        let gate = Gate::new(policy, meters);
        self.feeder = gate.feed().map(|feed| Feeder::new(feed, &gate));
        self.gate = Some(Rc::new(gate));
        hostcalls::set_tick_period(TICK_FIRST).is_ok()
    }

    fn on_tick(&mut self) {
        let Some(gate) = self.gate.clone() else {
            return;
        };
        gate.load_shared();
        // Calls first: who answers a request acts in its name from then on, and a call would end with its stream.
        self.fetches.start_due(&gate);
        let is_busy = self.feed(&gate);
        let ended = gate.send_relayed();
        gate.answer_relayed(ended);
        gate.answer_waiters();
        gate.tell_age();
        gate.meters.tell();
        gate.set_tick(is_busy);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Session::new(context, self.gate.clone())))
    }
}
