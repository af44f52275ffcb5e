//! The one place where the service reads the clock; everything below takes the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use entra_gate::keys::freshness;

/// Milliseconds since the Unix epoch.
pub(crate) fn millis() -> u64 {
    // A clock before 1970 is no clock: everything is then older than it.
    freshness::millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Seconds since the Unix epoch.
pub(crate) fn seconds() -> u64 {
    millis() / 1_000
}
