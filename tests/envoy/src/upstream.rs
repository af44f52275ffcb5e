//! The upstream that echoes, and what it saw.

use serde_json::Value;

use crate::http::{Answer, Origin, Request};

/// A running upstream.
#[derive(Clone, Debug)]
pub struct Upstream(Origin);

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Echo(Value);

impl Upstream {
    /// The upstream at an address.
    #[must_use]
    pub fn at(origin: Origin) -> Self {
        Self(origin)
    }

    /// How many requests it has seen.
    pub async fn count(&self) -> u64 {
        let answer = self.0.send(Request::get("/_upstream/count")).await.expect("the upstream answers");
        answer.json()["count"].as_u64().expect("a number")
    }
}

impl Echo {
    /// What the upstream says it saw.
    ///
    /// # Panics
    /// When the answer is not the upstream's.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = answer.json();
        assert!(seen["headers"].is_object(), "not the upstream's answer: {answer:?}");
        Self(seen)
    }

    /// The path, with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0["path"].as_str().expect("a path")
    }

    /// The values of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        let values = self.0["headers"][name].as_array();
        values.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The names of all headers.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0["headers"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }
}
