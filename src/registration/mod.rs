//! The registration bridge: RFC 7591 and 7592 in, Microsoft Graph out. No host, no clock, no state between requests.
//!
//! * [`route`]: which request is for it. [`access`]: who may.
//! * [`metadata`]: what a client asks for. [`graph`]: what it becomes in the directory, and back. [`limits`]: how much.
//! * [`chain`]: the calls that make it so, as a state machine: what was heard in, what to do out.
//! * [`reply`]: what the client is told. [`token`]: registration access tokens.
//! * [`login`]: the token for Graph. [`seal`]: how workers share it. [`rate`]: how often at most.

pub mod access;
pub mod chain;
pub mod graph;
pub mod limits;
pub mod login;
pub mod metadata;
pub mod rate;
pub mod reply;
pub mod route;
pub mod seal;
pub mod token;
