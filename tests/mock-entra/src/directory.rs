//! The state of the mock and what it answers, without network or clock.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::documents;
use crate::graph::{Graph, GraphAnswer, GraphCall, GraphKnobs};
use crate::publication::{KeyChange, NothingLeft, Publication};
use crate::question::{Question, Resource};
use crate::sign_in::{Code, RefreshToken};
use crate::token::{self, MintError, Minted, TokenRequest};

/// Tenants, applications and keys; what a client may read of them, and tokens.
#[derive(Debug, Default)]
pub struct Directory {
    pub(crate) publication: Publication,
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) refresh_tokens: HashMap<String, RefreshToken>,
    /// IDs of client assertions that were used.
    pub(crate) assertions: HashSet<String>,
    pub(crate) graph: Graph,
}

impl Directory {
    /// With the keys as they are before any rollover.
    pub fn new() -> Self {
        Self::default()
    }

    /// The metadata or key document at a URL, if there is one.
    pub fn document(&self, host: &str, path_and_query: &str) -> Option<Value> {
        let question = Question::of_url(host, path_and_query)?;
        match question.resource {
            Resource::Keys => Some(documents::keys(&question, &self.publication)),
            Resource::Metadata => Some(documents::metadata(&question)),
            Resource::Authorize | Resource::Token => None,
        }
    }

    /// Mints a token; `now` is in Unix seconds.
    pub fn mint(&self, request: &TokenRequest, now: i64) -> Result<Minted, MintError> {
        token::mint(&self.publication, request, now)
    }

    /// Changes the published keys of all documents.
    pub fn change_keys(&mut self, change: &KeyChange) -> Result<(), NothingLeft> {
        self.publication.change(change)
    }

    /// Which keys are published beside or instead of the original ones.
    pub fn published_keys(&self) -> Value {
        self.publication.summary()
    }

    /// Answers a call to Microsoft Graph; `now` is in Unix seconds.
    pub fn graph(&mut self, call: &GraphCall<'_>, now: i64) -> GraphAnswer {
        self.graph.answer(call, now)
    }

    /// Changes what is wrong with Graph.
    pub fn turn_graph(&mut self, knobs: GraphKnobs) {
        self.graph.turn(knobs);
    }

    /// What Graph holds.
    pub fn graph_objects(&self) -> Value {
        self.graph.summary()
    }
}
