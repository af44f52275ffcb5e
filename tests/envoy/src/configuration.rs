//! The plugin's configuration, as the tests write it.

use serde_json::{Value, json};

use crate::bootstrap::merge;
use crate::token::{CONTOSO, ORDERS};

/// A provider for the orders API whose metadata and keys come by the cluster `entra`.
#[must_use]
pub fn provider(members: &Value) -> Value {
    let mut provider = json!({
        "audiences": [ORDERS, "api://orders"],
        "upstream": {"cluster": "entra", "timeout": "5s"},
    });
    merge(&mut provider, members);
    provider
}

/// Only the workforce provider of contoso, with these members besides.
#[must_use]
pub fn workforce(members: &Value) -> Value {
    let mut provider = provider(&json!({"tenants": [CONTOSO]}));
    merge(&mut provider, members);
    json!({"providers": {"workforce": provider}})
}

/// A provider of each of these names, and a rule that sends `/<name>` to it.
#[must_use]
pub fn by_path(providers: &Value) -> Value {
    let providers = providers.as_object().expect("providers by name");
    let all: serde_json::Map<String, Value> =
        providers.iter().map(|(name, members)| (name.clone(), provider(members))).collect();
    let rules: Vec<Value> = providers
        .keys()
        .map(|name| json!({"match": {"path": format!("/{name}")}, "require": {"providers": [name]}}))
        .collect();
    json!({"providers": all, "rules": rules})
}
