//! Which URLs were asked, and how often.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::question::without_port;

/// Requests by host and path.
#[derive(Debug, Default)]
pub struct RequestLog(BTreeMap<(String, String), u64>);

/// How often one URL was asked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RequestCount {
    /// Without its port.
    pub host: String,
    /// With its query.
    pub path: String,
    /// How often.
    pub count: u64,
}

impl RequestLog {
    pub(crate) fn record(&mut self, host: &str, path_and_query: &str) {
        let url = (without_port(host).to_ascii_lowercase(), path_and_query.to_owned());
        *self.0.entry(url).or_default() += 1;
    }

    /// Forgets all.
    pub fn reset(&mut self) {
        self.0.clear();
    }

    /// All URLs, sorted.
    pub fn counts(&self) -> Vec<RequestCount> {
        let count = |((host, path), count): (&(String, String), &u64)| RequestCount {
            host: host.clone(),
            path: path.clone(),
            count: *count,
        };
        self.0.iter().map(count).collect()
    }

    /// The number of all requests.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}
