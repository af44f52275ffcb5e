//! Fetching: metadata, then keys, by calls that belong to the root context.

use std::collections::HashMap;

use proxy_wasm::types::LogLevel;

use super::call::{Request, Response};
use super::gate::Gate;
use super::host;
use super::shared::Shared;
use crate::keys::discovery::{FetchFault, MAX_BODY_BYTES, Metadata};
use crate::keys::document::{Address, Document, DocumentId};
use crate::keys::record::Fetched;

/// Most fetches that one worker has in flight: hundreds of tenants do not ask all at once.
const MOST_IN_FLIGHT: usize = 16;

/// The calls in flight, by their tokens.
#[derive(Default)]
pub(super) struct Fetches {
    calls: HashMap<u32, Call>,
}

struct Call {
    document: DocumentId,
    /// The metadata that is already here, while the keys are asked for.
    metadata: Option<Vec<u8>>,
}

impl Fetches {
    /// Starts the fetches that are due and not some other worker's.
    pub(super) fn start_due(&mut self, gate: &Gate) {
        for (id, cause) in gate.claim(MOST_IN_FLIGHT.saturating_sub(self.calls.len())) {
            let Some((document, _)) = gate.source(id) else { continue };
            host::log(LogLevel::Debug, || format!("fetching {}: {cause:?}", document.metadata));
            self.send(gate, id, &document.metadata, None);
        }
    }

    /// Takes the answer to a call; whether it ended a fetch. Answers to unknown calls are nobody's.
    pub(super) fn receive(&mut self, gate: &Gate, token: u32, headers: usize, body_size: usize) -> bool {
        let Some(call) = self.calls.remove(&token) else {
            return false;
        };
        let Some((document, shared)) = gate.source(call.document) else {
            return false;
        };
        let body = match answer(headers, body_size) {
            Ok(body) => body,
            Err(fault) => return fail(gate, document, shared, &fault),
        };
        let Some(metadata) = call.metadata else {
            return match Metadata::read(document, &body) {
                Ok(metadata) => !self.send(gate, call.document, &metadata.jwks_uri, Some(body)),
                Err(fault) => fail(gate, document, shared, &fault),
            };
        };
        let fetched = Fetched { fetched_at: host::now(), metadata, keys: body };
        match fetched.read(document) {
            Ok(held) => {
                gate.meters.fetched(held.keys.skipped());
                host::log(LogLevel::Info, || {
                    let (keys, skipped) = (held.keys.len(), held.keys.skipped());
                    format!("keys fetched: {} ({keys} usable, {skipped} skipped)", document.metadata)
                });
                shared.succeed(&fetched);
                true
            }
            Err(fault) => fail(gate, document, shared, &fault),
        }
    }

    /// Sends a request; whether it is under way.
    fn send(&mut self, gate: &Gate, id: DocumentId, address: &Address, metadata: Option<Vec<u8>>) -> bool {
        let Some((document, shared)) = gate.source(id) else {
            return false;
        };
        let request = Request {
            cluster: &document.cluster,
            timeout: document.timeout,
            method: "GET",
            authority: address.authority(),
            path: address.path(),
            headers: vec![("accept", "application/json")],
            body: None,
        };
        match request.send() {
            Some(token) => {
                self.calls.insert(token, Call { document: id, metadata });
                true
            }
            None => {
                fail(gate, document, shared, &FetchFault::NotSent);
                false
            }
        }
    }
}

/// Ends a fetch badly. What is held stays.
fn fail(gate: &Gate, document: &Document, shared: &Shared, fault: &FetchFault) -> bool {
    gate.meters.fetch_failed();
    host::log(LogLevel::Warn, || {
        format!("keys not fetched: {} by cluster {}: {fault}", document.metadata, document.cluster)
    });
    shared.fail();
    true
}

/// The body of a good answer.
fn answer(headers: usize, body_size: usize) -> Result<Vec<u8>, FetchFault> {
    let response = Response::arrived(headers, body_size).ok_or(FetchFault::NoAnswer)?;
    if response.status != 200 {
        return Err(FetchFault::Status(response.status));
    }
    if body_size > MAX_BODY_BYTES {
        return Err(FetchFault::BodyTooLarge);
    }
    Ok(response.body(MAX_BODY_BYTES))
}
