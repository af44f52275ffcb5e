//! Waiting for what is not instant.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything here takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(90);
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// Looks until there is something to see.
///
/// # Panics
/// At the deadline, with what was waited for.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_at(BETWEEN_LOOKS, what, look).await
}

/// The same, with this pause between looks, where they cost what is measured.
///
/// # Panics
/// At the deadline, with what was waited for.
pub async fn until_at<T>(between_looks: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(between_looks).await;
    }
}
