//! The shell: Envoy's callbacks in, the core's decisions out, their effects applied. The only code that knows the host.
//!
//! Nothing is resumed that the judge did not allow; nothing is answered twice; shared fetches leave from the root
//! context, so that no client owns one.

#![cfg_attr(not(feature = "entry"), allow(dead_code, reason = "only the entry point uses most of it"))]

mod body;
mod desk;
mod effects;
mod feeder;
mod fetches;
mod gate;
pub mod host;
mod meters;
mod registrar;
mod relay;
mod root;
mod session;
mod shared;
mod vault;
mod waiting;

/// The SDK's entry point is an `extern` function, which is unsafe by the language's rules; its body is safe.
#[cfg(feature = "entry")]
#[allow(unsafe_code, missing_docs, unreachable_pub, reason = "expanded from the SDK's macro")]
mod entry {
    use proxy_wasm::traits::RootContext;

    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|context| -> Box<dyn RootContext> { Box::new(super::root::Root::new(context)) });
    }}
}
