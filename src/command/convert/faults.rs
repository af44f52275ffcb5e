//! Why something cannot be converted: every reason, each with its place.

use crate::located::{Fault, Position};

/// The reasons found so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// Notes one. Always none, so that a reader can end with it.
    pub(super) fn note<T>(&mut self, at: Position, message: impl Into<String>) -> Option<T> {
        self.0.push(Fault::new(at, message));
        None
    }

    /// A line for each, in the order of the file.
    pub(super) fn told(mut self, file: &str) -> Vec<String> {
        self.0.sort_by_key(|fault| fault.at);
        self.0.dedup();
        self.0.into_iter().map(|Fault { at, message }| format!("{file}:{at}: {message}")).collect()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

/// `one of a, b`, or the nearest of them.
pub(super) fn expected(found: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(found, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min();
    match nearest {
        Some((_, nearest)) => format!("expected `{nearest}`, perhaps"),
        None => format!("expected one of {}", known.join(", ")),
    }
}
