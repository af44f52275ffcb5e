//! The state of the mock and what it answers, without network or clock.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::changes::DirectoryChange;
use crate::documents;
use crate::graph::{Graph, GraphAnswer, GraphCall, GraphKnobs};
use crate::inquiry::{self, Inquiries, ListRequest, Told};
use crate::publication::{KeyChange, NothingLeft, Publication};
use crate::question::{Question, Resource};
use crate::sign_in::{Code, RefreshToken};
use crate::signals::{self, SetRequest, Stream};
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
    pub(crate) inquiries: Inquiries,
    pub(crate) stream: Stream,
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

    /// From now on this is said of a token.
    pub fn tell(&mut self, told: Told) {
        self.inquiries.tell(told);
    }

    /// The status and body with which `/introspect` answers this form.
    pub fn introspect(&self, authorization: Option<&str>, form: &[u8]) -> (u16, Value) {
        self.inquiries.introspect(authorization, form)
    }

    /// The status and body with which Graph's `oidc/userinfo` answers; `now` is in Unix seconds.
    pub fn userinfo(&self, authorization: Option<&str>, now: i64) -> (u16, Value) {
        inquiry::userinfo(authorization, now)
    }

    /// The status list at a URL, if there is one; `now` is in Unix seconds.
    pub fn status_list(&self, host: &str, path: &str, now: i64) -> Option<String> {
        self.inquiries.status_list(host, path, now)
    }

    /// From now on this list is served.
    pub fn list(&mut self, list: ListRequest) {
        self.inquiries.list(list);
    }

    /// Changes users and service principals.
    pub fn change_directory(&mut self, change: &DirectoryChange) {
        self.graph.change(change);
    }

    /// Makes a security event token; `now` is in Unix seconds.
    pub fn set(&self, request: &SetRequest, now: i64) -> Result<Minted, MintError> {
        self.mint(&request.token(now), now)
    }

    /// Holds a security event token for whoever polls.
    pub fn hold(&mut self, set: &Minted) {
        self.stream.hold(set.claims["jti"].as_str().unwrap_or_default(), &set.access_token);
    }

    /// What waits for whoever polls, and what was said of the rest.
    pub fn stream(&self) -> Value {
        self.stream.summary()
    }

    /// Makes a logout token; its members are replaced by those of `changes`.
    pub fn logout_token(&self, changes: &TokenRequest, now: i64) -> Result<Minted, MintError> {
        self.mint(&signals::logout_token(changes, now), now)
    }

    /// What Graph holds.
    pub fn graph_objects(&self) -> Value {
        self.graph.summary()
    }
}
