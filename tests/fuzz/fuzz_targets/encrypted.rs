//! Whatever a client sends as encrypted token: taken apart and not opened, or refused.
#![no_main]

use std::sync::LazyLock;

use entra_gate::jose::jwe::{DecryptionKey, Encrypted, is_encrypted};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<Option<DecryptionKey>> =
    LazyLock::new(|| DecryptionKey::read(None, include_str!("../../mock-entra/keys/encryption.key.pem")));

fuzz_target!(|token: &str| {
    let Some(key) = KEY.as_ref() else { panic!("the fixture is a key") };
    if let Ok(encrypted) = Encrypted::read(token) {
        assert!(is_encrypted(token));
        assert!(encrypted.open(key).is_none());
    }
});
