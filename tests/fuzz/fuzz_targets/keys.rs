//! Whatever an identity provider sends as keys: usable ones, or a fault.
#![no_main]

use entra_gate::jose::jwk::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &[u8]| {
    if let Ok(keys) = KeySet::read(document) {
        assert!(!keys.is_empty());
    }
});
