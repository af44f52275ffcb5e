//! JOSE, strictly: JSON without duplicates, compact JWS, JWK sets and signatures.
//!
//! Knows nothing of Entra, Envoy or policy. Follows RFC 7515, RFC 7517, RFC 7518 and RFC 8725.

pub mod algorithm;
pub mod compact;
pub mod json;
pub mod jwk;
pub mod signature;
