//! entra-gate as it is, with one way more to lose its virtual machine: a request with `x-trap`, once it has been judged.
//! What Envoy does then, and what the filter knows in the machine that follows, cannot be seen without a real trap.
#![cfg(target_arch = "wasm32")]

use entra_gate::shell;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MapType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|context| -> Box<dyn RootContext> { Box::new(Root(shell::root(context))) });
}}

struct Root(Box<dyn RootContext>);

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, trailers: usize) {
        self.0.on_http_call_response(token, headers, body_size, trailers);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        self.0.on_configure(size)
    }

    fn on_tick(&mut self) {
        self.0.on_tick();
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Session(self.0.create_http_context(context)?)))
    }

    fn get_type(&self) -> Option<ContextType> {
        self.0.get_type()
    }
}

struct Session(Box<dyn HttpContext>);

impl Context for Session {}

impl HttpContext for Session {
    fn on_http_request_headers(&mut self, count: usize, end_of_stream: bool) -> Action {
        let action = self.0.on_http_request_headers(count, end_of_stream);
        if matches!(hostcalls::get_map_value(MapType::HttpRequestHeaders, "x-trap"), Ok(Some(_))) {
            core::arch::wasm32::unreachable();
        }
        action
    }
}
