//! The file that says whose tokens are accepted, and for what: providers as in the filter's configuration, and roles.

use std::collections::BTreeMap;
use std::path::Path;

use entra_gate::config;
use entra_gate::policy::Policy;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Scope;
use crate::failure::Failure;

/// The cluster of providers that name none.
const DIRECT: &str = "direct";

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `providers`")]
struct Document {
    providers: Map<String, Value>,
    #[serde(default)]
    roles: Roles,
    /// Where the clusters of `upstream` are; others are wherever the address says.
    #[serde(default)]
    clusters: BTreeMap<String, String>,
}

/// Which app roles may do what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Roles {
    read: Vec<String>,
    manage: Vec<String>,
    keys: Vec<String>,
}

impl Default for Roles {
    fn default() -> Self {
        let one = |role: &str| vec![role.to_owned()];
        Self { read: one("Revocations.Read"), manage: one("Revocations.Manage"), keys: one("Revocations.Keys") }
    }
}

impl Roles {
    /// The roles of which one is enough. Whoever may change something may see it.
    fn of(&self, scope: Scope) -> Vec<&str> {
        let all: Vec<&Vec<String>> = match scope {
            Scope::Keys => vec![&self.keys],
            Scope::Manage => vec![&self.manage],
            Scope::Read => vec![&self.read, &self.manage, &self.keys],
        };
        all.into_iter().flatten().map(String::as_str).collect()
    }
}

/// Who may call, compiled.
pub(super) struct Configuration {
    /// The document for the core; policies do not leave their thread, so it is compiled where it is used.
    document: String,
    /// Where requests for these clusters go; others go to the address's own host.
    pub(super) clusters: BTreeMap<String, Url>,
}

impl Configuration {
    /// Reads the file. Every mistake of the providers is told.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let fault = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| Failure::here(file.display(), error))?;
        let Document { mut providers, roles, clusters } =
            serde_yaml_ng::from_str(&text).map_err(|error| fault(&error))?;
        for provider in providers.values_mut().filter_map(Value::as_object_mut) {
            if !provider.contains_key("upstream") && !provider.contains_key("jwks") {
                provider.insert("upstream".to_owned(), json!({ "cluster": DIRECT }));
            }
        }
        for (name, roles) in [("read", &roles.read), ("manage", &roles.manage), ("keys", &roles.keys)] {
            if roles.is_empty() || roles.iter().any(String::is_empty) {
                return Err(fault(&format!("roles.{name}: found no name, expected the names of app roles")));
            }
        }
        let address = |(name, address): (String, String)| match Url::parse(&address) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok((name, url)),
            Ok(_) | Err(_) => {
                Err(fault(&format!("clusters.{name}: found {address:?}, expected an http or https address")))
            }
        };
        let clusters = clusters.into_iter().map(address).collect::<Result<_, _>>()?;
        if let Some((name, _)) = providers.iter().find(|(_, provider)| provider.get("tenants") == Some(&json!("any"))) {
            // Whoever administers a tenant hands out its app roles, ours included.
            let expected = "expected the tenants whose administrators may appoint callers";
            return Err(fault(&format!("providers.{name}.tenants: found `any`, {expected}")));
        }
        for (name, provider) in &providers {
            for member in ["graph_tokens", "introspection", "status_lists"] {
                if provider.get(member).is_some() {
                    let expected = "expected none: the service asks nobody about its callers' tokens";
                    return Err(fault(&format!("providers.{name}.{member}: found this member, {expected}")));
                }
            }
        }
        // A path for each scope: so the core itself judges whether a token's roles are enough, an application's and a user's.
        let rule = |scope: Scope| {
            let roles = roles.of(scope);
            json!({ "match": { "path": scope.path() }, "require": { "app_roles": roles, "user_roles": roles } })
        };
        let rules = [Scope::Keys, Scope::Manage, Scope::Read].map(rule);
        let document = json!({ "providers": providers, "rules": rules }).to_string();
        let configuration = Self { document, clusters };
        let mistakes = configuration.compile().err().unwrap_or_default();
        if mistakes.is_empty() {
            return Ok(configuration);
        }
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
        Err(fault(&lines.concat()))
    }

    /// The policy.
    pub(super) fn compile(&self) -> Result<Policy, Vec<config::Mistake>> {
        config::compile(self.document.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "providers: { staff: { tenants: [8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b], audiences: [api://r] } }";

    fn read(text: &str) -> Result<Configuration, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Configuration::read(file.path()).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn roles_have_defaults_and_changing_implies_seeing() {
        let roles = Roles::default();
        assert_eq!(roles.of(Scope::Manage), ["Revocations.Manage"]);
        assert_eq!(roles.of(Scope::Read), ["Revocations.Read", "Revocations.Manage", "Revocations.Keys"]);
        assert!(read(&format!("{GOOD}\nroles: {{ manage: [A, B] }}")).is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, told) in [
            ("providers: {}", "providers"),
            ("nothing", "providers"),
            (&GOOD.replace("tenants", "tenant"), "providers.staff.tenant: found an unknown member"),
            (&GOOD.replace("[8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b]", "any"), "providers.staff.tenants: found `any`"),
            (&GOOD.replace("audiences", "audience"), "providers.staff.audience"),
            (
                &GOOD.replace("audiences:", "graph_tokens: {}, audiences:"),
                "providers.staff.graph_tokens: found this member",
            ),
            (&format!("{GOOD}\nrole: 1"), "role"),
            (&format!("{GOOD}\nroles: {{ manage: [\"\"] }}"), "roles.manage"),
            (&format!("{GOOD}\nroles: {{ read: [] }}"), "roles.read"),
            (&format!("{GOOD}\nclusters: {{ entra: \"ftp://x\" }}"), "clusters.entra"),
        ] {
            let failure = read(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(failure.contains(told), "{text}: {failure}");
        }
    }
}
