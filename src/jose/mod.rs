//! JOSE, strictly: JSON without duplicates, compact JWS and JWE, JWK sets and signatures.
//!
//! Knows nothing of Entra, Envoy or policy. Follows RFC 7515, RFC 7516, RFC 7517, RFC 7518 and RFC 8725.

pub mod algorithm;
pub mod certificate;
pub mod compact;
pub mod json;
pub mod jwe;
pub mod jwk;
pub mod signature;
pub mod signing;
