//! Whatever a client sends as token: taken apart, or refused.
#![no_main]

use entra_gate::jose::compact::Unverified;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|token: &str| {
    if let Ok(unverified) = Unverified::read(token) {
        assert_eq!(token.split('.').count(), 3);
        assert!(
            !token.contains(['=', ' ', '\n'])
                || token.rsplit('.').next().is_some_and(|signature| signature.contains(['=', ' ', '\n']))
        );
        drop(unverified);
    }
});
