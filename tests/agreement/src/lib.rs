//! Runs every vector of its configuration through the host's `verify_signature` and through our own verifier, inside
//! the host, and refuses to start if they ever differ from each other or from what the vector expects.
#![cfg(target_arch = "wasm32")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::jwk::KeySet;
use entra_gate::jose::signature::{Signatures, Software};
use entra_gate::shell::host::HostSignatures;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};
use serde_json::Value;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root) });
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let document =
            hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten().unwrap_or_default();
        let vectors: Vec<Value> = serde_json::from_slice(&document).unwrap_or_default();
        let differing: Vec<String> = vectors.iter().filter_map(difference).collect();
        for line in &differing {
            let _ = hostcalls::log(LogLevel::Error, line);
        }
        let line = format!("agreement: {} of {} vectors", vectors.len() - differing.len(), vectors.len());
        let _ = hostcalls::log(LogLevel::Info, &line);
        differing.is_empty() && !vectors.is_empty()
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// A vector: `{"name", "alg", "jwk", "message", "signature", "valid"}`, bytes in base64.
fn difference(vector: &Value) -> Option<String> {
    let name = vector["name"].as_str().unwrap_or_default();
    let bytes = |member: &str| STANDARD.decode(vector[member].as_str()?).ok();
    let (Some(message), Some(signature)) = (bytes("message"), bytes("signature")) else {
        return Some(format!("{name}: not a vector"));
    };
    let algorithm = vector["alg"].as_str().and_then(Algorithm::from_name)?;
    let keys = KeySet::read(serde_json::json!({"keys": [vector["jwk"]]}).to_string().as_bytes());
    let Some(key) = keys.as_ref().ok().and_then(|keys| keys.with_kid("k").next()) else {
        return Some(format!("{name}: no usable key"));
    };
    let host = HostSignatures.verify(algorithm, &key.material, &message, &signature);
    let ours = Software.verify(algorithm, &key.material, &message, &signature);
    let expected = vector["valid"].as_bool();
    (host != ours || Some(ours) != expected).then(|| format!("{name}: host {host}, ours {ours}, expected {expected:?}"))
}
