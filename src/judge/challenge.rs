//! Claims challenges: what a client that declared `cp1` is told to ask its authority for, and who such a client is.
//!
//! Only ever part of a refusal. <https://learn.microsoft.com/entra/identity-platform/claims-challenge>

use serde_json::Value;

use super::claims::UnixSeconds;
use crate::entra::issuer::host_in;
use crate::jose::json::Object;
use crate::policy::provider::{Kind, Provider, Tenants};

/// The capability of a client that acts on claims challenges.
const CAPABILITY: &str = "cp1";

/// What the client has to get a new token with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimsChallenge {
    /// The tenant to sign in to; empty for the common endpoint.
    pub realm: String,
    /// The authorize endpoint of that tenant.
    pub authorization_uri: String,
    /// What the new token must bring.
    pub wanted: Wanted,
}

/// What a new token must bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This authentication context, in `acrs`.
    AuthContext(String),
    /// An `nbf` from this time on.
    NotBefore(UnixSeconds),
}

/// What a verified token says of the sign-in behind it and of the client that asked for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SignIn {
    /// `acrs`: the authentication contexts that the user satisfied.
    contexts: Vec<String>,
    /// Whether `xms_cc` declares that the client acts on claims challenges.
    acts_on_challenges: bool,
    /// Whether there was no user (`idtyp`): then no sign-in can be stepped up.
    app_only: bool,
}

impl SignIn {
    /// Reads it. Values of other types declare nothing: that can only refuse.
    pub(super) fn read(claims: &Object) -> Self {
        Self {
            contexts: texts(claims, "acrs").map(str::to_owned).collect(),
            acts_on_challenges: texts(claims, "xms_cc").any(|declared| declared.eq_ignore_ascii_case(CAPABILITY)),
            app_only: claims.get("idtyp").is_some_and(|kind| kind == "app"),
        }
    }

    /// Whether the user satisfied an authentication context. Contexts are opaque, and compared to the byte.
    pub(super) fn satisfies(&self, context: &str) -> bool {
        self.contexts.iter().any(|satisfied| satisfied == context)
    }

    /// The contexts that the user did satisfy.
    pub(super) fn contexts(&self) -> &[String] {
        &self.contexts
    }

    /// The challenge for a client that acts on it and can fulfil it.
    pub(super) fn challenge(&self, wanted: Wanted, party: &Party<'_>) -> Option<Box<ClaimsChallenge>> {
        let hopeless = self.app_only && matches!(wanted, Wanted::AuthContext(_));
        let (host, tenant) = party.sign_in().filter(|_| self.acts_on_challenges && !hopeless)?;
        Some(Box::new(ClaimsChallenge {
            realm: tenant.unwrap_or_default().to_owned(),
            // Without a version in it: libraries cut off this very ending to have the authority.
            authorization_uri: format!("https://{host}/{}/oauth2/authorize", tenant.unwrap_or("common")),
            wanted,
        }))
    }

    /// About how many bytes it takes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.contexts.iter().map(|context| size_of::<String>().saturating_add(context.len())).sum()
    }
}

/// Whose token it is.
pub(super) struct Party<'a> {
    pub(super) provider: &'a Provider,
    pub(super) issuer: &'a str,
    pub(super) tenant: Option<&'a str>,
}

impl<'a> Party<'a> {
    /// The host and the tenant to sign in to, none for the common endpoint; nothing where challenges are unknown.
    fn sign_in(&self) -> Option<(&'a str, Option<&'a str>)> {
        match (self.provider.kind, &self.provider.tenants) {
            (Kind::Workforce, Tenants::Only(_)) => Some((self.provider.cloud.login_host(), Some(self.tenant?))),
            (Kind::Workforce, Tenants::Any(_) | Tenants::Unknown) => Some((self.provider.cloud.login_host(), None)),
            (Kind::ExternalId, _) => Some((host_in(self.issuer)?, Some(self.tenant?))),
            (Kind::B2c | Kind::Oidc, _) => None,
        }
    }
}

/// The texts of a claim that is one text or a list of them.
fn texts<'a>(claims: &'a Object, claim: &str) -> impl Iterator<Item = &'a str> {
    let (one, several) = match claims.get(claim) {
        Some(Value::String(text)) => (Some(text.as_str()), None),
        Some(Value::Array(values)) => (None, Some(values)),
        _ => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sign_in(claims: &Value) -> SignIn {
        SignIn::read(claims.as_object().unwrap())
    }

    #[test]
    fn a_context_is_one_of_a_list_or_the_only_one() {
        for (acrs, satisfied) in [
            (json!(["c1"]), true),
            (json!(["c2", "c1"]), true),
            (json!("c1"), true),
            (json!([]), false),
            (json!(["c10", "C1", "c1 ", ""]), false),
            (json!("c1 c2"), false),
            (json!(["c2", 1, null, ["c1"], {"c1": "c1"}]), false),
            (json!({"c1": true}), false),
            (json!(true), false),
            (json!(1), false),
            (json!(null), false),
        ] {
            assert_eq!(sign_in(&json!({ "acrs": acrs })).satisfies("c1"), satisfied, "{acrs}");
        }
        assert!(!sign_in(&json!({})).satisfies("c1"));
    }

    #[test]
    fn a_capability_is_declared_in_any_letter_case() {
        for (xms_cc, declared) in [
            (json!(["cp1"]), true),
            (json!(["x", "CP1"]), true),
            (json!("cp1"), true),
            (json!("Cp1"), true),
            (json!([]), false),
            (json!(["cp10", "cp"]), false),
            (json!([["cp1"], 1, null]), false),
            (json!({"cp1": true}), false),
            (json!(true), false),
            (json!(null), false),
        ] {
            assert_eq!(sign_in(&json!({ "xms_cc": xms_cc })).acts_on_challenges, declared, "{xms_cc}");
        }
        assert!(!sign_in(&json!({})).acts_on_challenges);
    }
}
