//! How workers write down what they share: small protobuf records, read back with the same care as a fetched document.

use prost::Message;

use super::discovery::{FetchFault, MAX_BODY_BYTES, Metadata};
use super::document::Document;
use super::freshness::{Millis, Progress};
use super::store::Held;
use crate::jose::jwk::KeySet;

/// The bodies of one successful fetch. Every worker reads them itself, pins included.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Fetched {
    /// When, in milliseconds since the epoch.
    #[prost(uint64, tag = "1")]
    pub fetched_at: Millis,
    /// The metadata document.
    #[prost(bytes = "vec", tag = "2")]
    pub metadata: Vec<u8>,
    /// The key document.
    #[prost(bytes = "vec", tag = "3")]
    pub keys: Vec<u8>,
}

impl Fetched {
    /// The keys, ready to be used.
    ///
    /// # Errors
    /// What is wrong with either body.
    pub fn read(&self, document: &Document) -> Result<Held, FetchFault> {
        if self.metadata.len() > MAX_BODY_BYTES || self.keys.len() > MAX_BODY_BYTES {
            return Err(FetchFault::BodyTooLarge);
        }
        let metadata = Metadata::read(document, &self.metadata)?;
        let keys = KeySet::read(&self.keys).map_err(FetchFault::Keys)?;
        Ok(Held {
            issuer: Some(metadata.issuer),
            cloud_instance_name: metadata.cloud_instance_name,
            address: Some(metadata.jwks_uri),
            keys,
            fetched_at: Some(self.fetched_at),
            max_age: document.max_age,
        })
    }

    /// The record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads a record; none if it is no such.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ProgressRecord {
    /// The format; written so that no record is empty, which would read like none at all.
    #[prost(uint32, tag = "15")]
    format: u32,
    #[prost(uint64, tag = "1")]
    outcomes: u64,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(uint32, tag = "3")]
    failures: u32,
    #[prost(uint64, tag = "4")]
    fetched_at: u64,
    #[prost(uint64, tag = "5")]
    started_at: u64,
    #[prost(uint64, tag = "6")]
    unknown_kid_at: u64,
    #[prost(uint64, tag = "7")]
    lease_until: u64,
}

impl Progress {
    /// The record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { outcomes, generation, failures, fetched_at, started_at, unknown_kid_at, lease_until } = *self;
        let format = 1;
        ProgressRecord { format, outcomes, generation, failures, fetched_at, started_at, unknown_kid_at, lease_until }
            .encode_to_vec()
    }

    /// Reads a record; a fresh start if it is no such.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let record = ProgressRecord::decode(bytes).unwrap_or_default();
        let ProgressRecord {
            outcomes, generation, failures, fetched_at, started_at, unknown_kid_at, lease_until, ..
        } = record;
        Self { outcomes, generation, failures, fetched_at, started_at, unknown_kid_at, lease_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_its_record() {
        let progress = Progress {
            outcomes: 3,
            generation: 2,
            failures: 1,
            fetched_at: 1_700_000_000_000,
            started_at: 1_700_000_000_001,
            unknown_kid_at: 5,
            lease_until: u64::MAX,
        };
        assert_eq!(Progress::from_bytes(&progress.to_bytes()), progress);
        assert_eq!(Progress::from_bytes(&Progress::default().to_bytes()), Progress::default());
        assert!(!Progress::default().to_bytes().is_empty());
    }
}
