//! The root context: configuration, the tick, and the answers to fetches.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};

use super::feeder::Feeder;
use super::fetches::Fetches;
use super::gate::{Gate, Pace};
use super::host::{self, HostSignatures};
use super::inquirer;
use super::meters::Meters;
use super::registrar::Registrar;
use super::session::Session;
use crate::config;
use crate::keys::freshness::Millis;
use crate::policy::registration::Credential;

/// Before the first tick: clusters may not exist while the plugin is configured.
const TICK_FIRST: Duration = Duration::from_millis(1);

/// Ticks that come sooner after each other are for the revocation feed alone. Nothing else is in such a hurry.
const ROUND: Millis = 5;

/// One plugin in one worker.
#[derive(Default)]
pub(super) struct Root {
    /// The context itself.
    context: u32,
    /// When everything had its turn.
    round_at: Millis,
    gate: Option<Rc<Gate>>,
    fetches: Fetches,
    feeder: Option<Feeder>,
    registrar: Option<Registrar>,
}

impl Root {
    pub(super) fn new(context: u32) -> Self {
        Self { context, ..Self::default() }
    }

    /// Gives all that goes on beside requests its turn.
    fn turn(&mut self, gate: &Gate) {
        let is_feeding = match (&mut self.feeder, gate.feed()) {
            (Some(feeder), Some(feed)) => feeder.turn(feed, gate),
            (Some(_) | None, _) => false,
        };
        let is_registering = match (&mut self.registrar, &gate.policy.registration) {
            (Some(registrar), Some(settings)) => registrar.turn(gate, settings),
            (Some(_) | None, _) => false,
        };
        gate.set_tick(match (is_feeding, is_registering) {
            (true, _) => Pace::Busy,
            (false, true) => Pace::Soon,
            (false, false) => Pace::Calm,
        });
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
            self.turn(gate);
            return;
        }
        if let (Some(registrar), Some(settings)) = (&mut self.registrar, &gate.policy.registration)
            && registrar.receive(gate, settings, token, headers, body_size)
        {
            // What follows from it has its turn, so that many answers at once are not one long stay of the event loop.
            gate.set_tick(Pace::Soon);
            return;
        }
        if gate.receive_relayed(token, headers, body_size) {
            return;
        }
        if inquirer::receive(gate, token, headers, body_size) {
            gate.answer_waiters();
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
        if let Some(registration) = &policy.registration
            && let Credential::Certificate(certificate) = &registration.credential
            && !certificate.signs(host::sign, &HostSignatures)
        {
            host::log(LogLevel::Error, || {
                "configuration: registration.client_certificate: found a private key by which this host makes no \
                 signature that the certificate verifies, expected the certificate's own, and Envoy 1.37 or later, \
                 whose function `sign` nothing restricts"
                    .to_owned()
            });
            return false;
        }
        let Some(meters) = Meters::define() else {
            return false;
        };
        let gate = Gate::new(policy, meters, self.context);
        self.feeder = gate.feed().map(|feed| Feeder::new(feed, &gate));
        self.registrar = gate.policy.registration.as_ref().map(Registrar::new);
        self.gate = Some(Rc::new(gate));
        hostcalls::set_tick_period(TICK_FIRST).is_ok()
    }

    fn on_tick(&mut self) {
        let Some(gate) = self.gate.clone() else {
            return;
        };
        let now = host::now();
        // A clock that was set back ends the pause.
        if now.abs_diff(self.round_at) >= ROUND {
            self.round_at = now;
            gate.load_shared();
            self.fetches.start_due(&gate);
            inquirer::send_due(&gate);
            gate.turn_relay();
            gate.answer_waiters();
            gate.tell_age();
            gate.meters.tell();
        }
        self.turn(&gate);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Session::new(context, self.gate.clone())))
    }
}
