//! What the workers of a bridge share: the sealed token for Graph, who may ask for the next one, and the rate limit.

use proxy_wasm::hostcalls;

use super::host;
use crate::keys::freshness::{Millis, millis};
use crate::policy::registration::Registration;
use crate::registration::login::GraphToken;
use crate::registration::rate::Bucket;
use crate::registration::seal;

/// How often an update is tried again when another worker was faster.
const UPDATE_ATTEMPTS: u32 = 16;
/// How long after a failure nobody asks.
const PAUSE_AFTER_FAILURE: Millis = 2_000;

pub(super) struct Vault {
    token: String,
    lease: String,
    rate: String,
}

impl Vault {
    /// The places of a bridge. The first VM of the process writes them before any worker exists: compare-and-swap cannot
    /// elect among workers that find none.
    pub(super) fn new(settings: &Registration) -> Self {
        let prefix = format!("entra_gate.registration/{}{}", settings.client_id, settings.path);
        let place = |name: &str| format!("{prefix}/{name}");
        let vault = Self { token: place("token"), lease: place("lease"), rate: place("rate") };
        for key in [&vault.lease, &vault.rate] {
            if matches!(hostcalls::get_shared_data(key), Ok((None, _))) {
                let _ = hostcalls::set_shared_data(key, Some(&0_u64.to_be_bytes()), None);
            }
        }
        vault
    }

    /// The token that some worker got, if it can be opened here.
    pub(super) fn get(&self, settings: &Registration) -> Option<GraphToken> {
        let sealed = hostcalls::get_shared_data(&self.token).ok()?.0?;
        seal::open(&sealed, settings)
    }

    /// Shares a token, and lets others ask again.
    pub(super) fn put(&self, token: &GraphToken, settings: &Registration) {
        let random = [host::random().to_be_bytes(), host::random().to_be_bytes()].concat();
        let nonce = random.get(..12).and_then(|nonce| nonce.try_into().ok());
        if let Some(sealed) = nonce.and_then(|nonce| seal::seal(token, settings, nonce)) {
            let _ = hostcalls::set_shared_data(&self.token, Some(&sealed), None);
        }
        let _ = hostcalls::set_shared_data(&self.lease, Some(&0_u64.to_be_bytes()), None);
    }

    /// Takes a token away from all that Graph refused.
    pub(super) fn reject(&self, token: &str, settings: &Registration) {
        if self.get(settings).is_some_and(|held| held.text == token) {
            let _ = hostcalls::set_shared_data(&self.token, Some(&[]), None);
        }
    }

    /// Takes the asking upon this worker, unless another one asks.
    pub(super) fn claim(&self, settings: &Registration, now: Millis) -> bool {
        let (until, cas) = time(&self.lease);
        let end = now.saturating_add(millis(settings.login.timeout)).saturating_add(1_000);
        until <= now && hostcalls::set_shared_data(&self.lease, Some(&end.to_be_bytes()), cas).is_ok()
    }

    /// Nobody is to ask again at once.
    pub(super) fn fail(&self, now: Millis) {
        let end = now.saturating_add(PAUSE_AFTER_FAILURE);
        let _ = hostcalls::set_shared_data(&self.lease, Some(&end.to_be_bytes()), None);
    }

    /// Draws one from the rate limit.
    ///
    /// # Errors
    /// There is none: how long until there is.
    pub(super) fn draw(&self, settings: &Registration, now: Millis) -> Result<(), Millis> {
        for _ in 0..UPDATE_ATTEMPTS {
            let (full, cas) = time(&self.rate);
            let bucket = Bucket(full).take(settings.rate, now)?;
            if hostcalls::set_shared_data(&self.rate, Some(&bucket.to_bytes()), cas).is_ok() {
                return Ok(());
            }
        }
        // All others were faster, sixteen times.
        Err(1_000)
    }
}

fn time(key: &str) -> (Millis, Option<u32>) {
    let (bytes, cas) = hostcalls::get_shared_data(key).unwrap_or_default();
    (bytes.map_or(0, |bytes| Bucket::from_bytes(&bytes).0), cas)
}
