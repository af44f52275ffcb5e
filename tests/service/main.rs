//! The revocation service as its users meet it: the built command, over HTTP, and the feed read by the filter's own reader.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod api;
mod callers;
mod command;
mod crash;
mod feed;
mod fleet;
mod keys;
mod postgres;
mod publish;
mod sources;
mod support;
