//! What is compared in one run: entra-gate beside what one would have without it.

use serde_json::json;

use envoy_tests::configuration::workforce;

use crate::setup::{Filter, Log, REPEATED, Setup, Stream, some_rules};

/// One of those that are compared.
pub struct Variant {
    /// Its name in `performance.json`.
    pub key: &'static str,
    /// What it is.
    pub title: &'static str,
    pub setup: Setup,
}

/// All of them, in the order of the table.
pub fn all() -> Vec<Variant> {
    let gate = || Filter::Gate(workforce(&json!({})));
    let mut untold = workforce(&json!({}));
    untold["forward"] = json!({"filter_state": "none"});
    let bare = Filter::Gate(untold);
    let native = Filter::JwtAuthn { cache: false };
    let repeated = Stream::Repeated(REPEATED);
    let variant = |key, title, filter, stream| Variant { key, title, setup: Setup::new(filter, stream) };
    let mut unlogged =
        variant("forged_unlogged", "entra-gate, forged tokens, log level warning", gate(), Stream::Forged);
    unlogged.setup.log = Log::Warning;
    vec![
        variant("none", "no filter", Filter::None, repeated),
        variant("empty", "wasm filter that does nothing", Filter::Empty, repeated),
        variant("jwt_authn_cached", "`jwt_authn` with `jwt_cache_config`", Filter::JwtAuthn { cache: true }, repeated),
        variant("hot", "entra-gate, remembered tokens", gate(), repeated),
        variant("bare", "entra-gate, remembered tokens, `filter_state: none`", bare, repeated),
        variant("hot_rules", "entra-gate, remembered tokens, four rules", Filter::Gate(some_rules()), repeated),
        variant("mixed", "entra-gate, 90 % remembered, 10 % new", gate(), Stream::OneNewIn(10)),
        variant("jwt_authn", "`jwt_authn`, its default, repeated tokens", native.clone(), repeated),
        variant("jwt_authn_new", "`jwt_authn`, its default, new tokens", native.clone(), Stream::New),
        variant("new", "entra-gate, new tokens", gate(), Stream::New),
        variant("jwt_authn_forged", "`jwt_authn`, forged tokens", native, Stream::Forged),
        variant("forged", "entra-gate, forged tokens", gate(), Stream::Forged),
        unlogged,
        variant("naive", "jwt-simple alone in wasm, new tokens", Filter::Naive, Stream::New),
    ]
}
