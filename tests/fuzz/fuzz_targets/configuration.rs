//! Whatever arrives as configuration: a policy, or mistakes that can be told.
#![no_main]

use entra_gate::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &[u8]| {
    match config::compile(document) {
        Ok(policy) => assert!(!policy.providers.all().is_empty()),
        Err(mistakes) => assert!(!mistakes.is_empty()),
    }
});
