//! entra-gate: Microsoft Entra ID tokens judged at Envoy's edge.
//!
//! A pure core and a thin shell. From the ground up, each may use what stands above it in this list:
//!
//! * [`jose`]: JSON, compact JWS, JWK sets, signatures, strictly and without any knowledge of Entra.
//! * [`entra`]: clouds, tenants, issuer templates.
//! * [`revocation`]: what is revoked.
//! * [`keys`]: which keys are held, where they come from, when to ask again.
//! * [`feed`]: the revocation feed's documents, and when to ask for the next.
//! * [`inquiry`]: what others are asked about tokens, and what their answers mean.
//! * [`policy`]: the compiled configuration.
//! * [`judge`]: the decision: request, policy, keys, revocations and time in; allow, refuse or «I lack these keys» out.
//! * [`answer`] and [`signals`]: what the client and the operator are told.
//! * [`registration`]: OAuth clients that register, by Microsoft Graph.
//! * [`config`]: from the plugin configuration to a policy.
//! * `shell`: the only part that knows Envoy; it exists in the wasm target alone, where alone its SDK is a dependency.

pub mod answer;
pub mod config;
pub mod entra;
pub mod feed;
pub mod inquiry;
pub mod jose;
pub mod judge;
pub mod keys;
pub mod policy;
pub mod registration;
pub mod revocation;
#[cfg(target_arch = "wasm32")]
pub mod shell;
pub mod signals;
