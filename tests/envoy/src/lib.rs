//! Real Envoy with the filter, a mock of Entra ID and an upstream, started for a test or for the tour.
//!
//! [`World`] is all three. The mock and the upstream are only ever spoken to over HTTP, so that they may run elsewhere.

pub mod bootstrap;
pub mod challenge;
pub mod configuration;
pub mod contract;
pub mod entra;
pub mod envoy;
pub mod example;
pub mod feed;
pub mod http;
pub mod patience;
pub mod published;
pub mod python;
pub mod renewal;
pub mod revocations;
pub mod suite;
pub mod token;
pub mod upstream;
pub mod world;

pub use entra::Entra;
pub use envoy::{Envoy, Release};
pub use http::{Answer, Origin, Request};
pub use suite::Suite;
pub use upstream::Upstream;
pub use world::World;
