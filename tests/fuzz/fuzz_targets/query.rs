//! Whatever a client sends as query or cookies: what carries a token is taken off, all of it, and nothing else.
#![no_main]

use entra_gate::policy::sources::{Source, Sources};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let sources = Sources::new(vec![Source::Query("access_token".to_owned()), Source::Cookie("session".to_owned())]);
    if let Some((rest, taken)) = sources.take_parameters(bytes) {
        assert!(!taken.is_empty() && rest.len() < bytes.len());
        assert!(sources.take_parameters(&rest).is_none());
        let path = |target: &[u8]| target.split(|byte| *byte == b'?').next().map(<[u8]>::to_vec);
        assert_eq!(path(&rest), path(bytes));
    }
    if let Some(left) = sources.without_cookies(bytes) {
        assert!(left.len() <= bytes.len());
        assert_eq!(sources.without_cookies(&left), Some(left));
    }
});
