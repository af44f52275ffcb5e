//! What workers tell each other about one document, in Envoy's shared data: a small record of its fetching, and the
//! bodies. Shared data is a cache of the process, not an authority: what is read from it is held to the pins again.

use proxy_wasm::hostcalls;

use crate::keys::document::Document;
use crate::keys::freshness::{Cause, Millis, Progress};
use crate::keys::record::Fetched;

/// How often an update is tried again when another worker was faster.
const UPDATE_ATTEMPTS: u32 = 16;

/// A document's place in shared data.
pub(super) struct Shared {
    progress_key: String,
    fetched_key: String,
}

impl Shared {
    /// The place of a document. The first VM of the process writes its record before any worker exists: compare-and-swap
    /// cannot elect among workers that find none.
    pub(super) fn new(document: &Document) -> Self {
        let shared = Self {
            progress_key: format!("entra_gate.progress/{}", document.metadata),
            fetched_key: format!("entra_gate.keys/{}", document.metadata),
        };
        if matches!(hostcalls::get_shared_data(&shared.progress_key), Ok((None, _))) {
            let fresh = Progress::default().to_bytes();
            let _ = hostcalls::set_shared_data(&shared.progress_key, Some(&fresh), None);
        }
        shared
    }

    /// How the fetching stands.
    pub(super) fn progress(&self) -> Progress {
        self.read().0
    }

    /// The bodies of the last good fetch.
    pub(super) fn fetched(&self) -> Option<Fetched> {
        let (bytes, _) = hostcalls::get_shared_data(&self.fetched_key).ok()?;
        Fetched::from_bytes(&bytes?)
    }

    /// Takes the fetching upon this worker, if it is due and nobody else is faster.
    pub(super) fn claim(&self, document: &Document, now: Millis, wanted: bool, jitter: u8) -> Option<Cause> {
        let (progress, cas) = self.read();
        let cause = progress.due(document, now, wanted, jitter)?;
        let started = progress.started(document, now, cause).to_bytes();
        hostcalls::set_shared_data(&self.progress_key, Some(&started), cas).ok()?;
        Some(cause)
    }

    /// Publishes a good fetch: the bodies first, then the news of them.
    pub(super) fn succeed(&self, fetched: &Fetched) {
        let _ = hostcalls::set_shared_data(&self.fetched_key, Some(&fetched.to_bytes()), None);
        self.update(|progress| progress.succeeded(fetched.fetched_at));
    }

    /// Publishes a fetch that failed.
    pub(super) fn fail(&self) {
        self.update(Progress::failed);
    }

    fn read(&self) -> (Progress, Option<u32>) {
        let (bytes, cas) = hostcalls::get_shared_data(&self.progress_key).unwrap_or_default();
        (bytes.map_or_else(Progress::default, |bytes| Progress::from_bytes(&bytes)), cas)
    }

    fn update(&self, change: impl Fn(Progress) -> Progress) {
        for _ in 0..UPDATE_ATTEMPTS {
            let (progress, cas) = self.read();
            if hostcalls::set_shared_data(&self.progress_key, Some(&change(progress).to_bytes()), cas).is_ok() {
                return;
            }
        }
    }
}
