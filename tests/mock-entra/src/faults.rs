//! Faults: what an issuer, or the way to it, does on a bad day.

use serde::Deserialize;
use serde_json::Value;

use crate::question::without_port;

/// A fault and the requests it befalls.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultRule {
    /// Without its port; by default any.
    pub host: Option<String>,
    /// A part of path and query; by default any.
    pub path_contains: Option<String>,
    /// How often; by default for ever.
    pub times: Option<u32>,
    /// What happens.
    pub fault: Fault,
}

/// What happens to an answer. Members may be combined.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// The answer is late.
    pub delay_ms: u64,
    /// Another status.
    pub status: Option<u16>,
    /// The value of `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// Another body.
    pub body: Option<String>,
    /// The content type of that body.
    pub content_type: Option<String>,
    /// Merged into the JSON answer (RFC 7396).
    pub json_patch: Option<Value>,
    /// The answer is padded with spaces to this many bytes.
    pub oversize_bytes: Option<usize>,
    /// The whole length is announced, half is sent.
    pub truncate: bool,
    /// The connection is closed without an answer.
    pub reset: bool,
}

/// The faults in force, oldest first.
#[derive(Debug, Default)]
pub struct Faults(Vec<FaultRule>);

impl Faults {
    /// Adds a rule after the others.
    pub fn add(&mut self, rule: FaultRule) {
        self.0.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that befalls this request; used-up rules disappear.
    pub(crate) fn take(&mut self, host: &str, path_and_query: &str) -> Option<Fault> {
        let position = self.0.iter().position(|rule| rule.befalls(host, path_and_query))?;
        match &mut self.0[position].times {
            None => Some(self.0[position].fault.clone()),
            Some(1) => Some(self.0.remove(position).fault),
            Some(times) => {
                *times -= 1;
                Some(self.0[position].fault.clone())
            }
        }
    }
}

impl FaultRule {
    fn befalls(&self, host: &str, path_and_query: &str) -> bool {
        self.times != Some(0)
            && self.host.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(without_port(host)))
            && self.path_contains.as_ref().is_none_or(|part| path_and_query.contains(part))
    }
}
