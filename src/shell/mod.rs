//! The shell: Envoy's callbacks in, the core's decisions out, their effects applied. The only code that knows the host.
//!
//! Nothing is resumed that the judge did not allow; nothing is answered twice; shared fetches leave from the root
//! context, so that no client owns one.

mod body;
mod call;
mod desk;
mod effects;
mod feeder;
mod fetches;
mod gate;
pub mod host;
mod inquirer;
mod meters;
mod registrar;
mod relay;
mod root;
mod session;
mod shared;
mod vault;
mod waiting;

use proxy_wasm::traits::RootContext;

/// A plugin in a worker, before it is configured: for the entry point, or for that of a filter that stands around this one.
#[must_use]
pub fn root(context: u32) -> Box<dyn RootContext> {
    Box::new(root::Root::new(context))
}

/// The SDK's entry point is an `extern` function, which is unsafe by the language's rules; its body is safe.
#[cfg(feature = "entry")]
#[allow(unsafe_code, missing_docs, unreachable_pub, reason = "expanded from the SDK's macro")]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(super::root);
    }}
}
