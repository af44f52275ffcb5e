//! Which keys stand in which document, and how that changes.
//!
//! Follows Microsoft's «Signing key rollover in the Microsoft identity platform».

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::authority::{Authority, CONTOSO_CUSTOMERS, Cloud, Tenancy, Version};
use crate::keyring::Key;

/// In the order in which they become current.
const SUCCESSORS: [&str; 3] = ["next-1", "next-2", "next-3"];

/// A change of the published keys; parts are applied in the order of the fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyChange {
    /// Back to the start.
    pub reset: bool,
    /// Published beside the others, never current.
    pub add: Option<AddedKey>,
    /// A new key appears and becomes current; the old ones stay.
    pub rotate: bool,
    /// All but the current rotated key vanish.
    pub remove_old: bool,
}

/// A fixture to publish: its name, or its name and members merged over its JWK (RFC 7396).
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "AddedKeyForm")]
pub struct AddedKey {
    /// The fixture's name.
    pub key: String,
    /// Merged over the JWK; `null` removes.
    pub jwk: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AddedKeyForm {
    Name(String),
    Patched {
        key: String,
        #[serde(default)]
        jwk: Map<String, Value>,
    },
}

impl From<AddedKeyForm> for AddedKey {
    fn from(form: AddedKeyForm) -> Self {
        match form {
            AddedKeyForm::Name(key) => Self { key, jwk: Map::new() },
            AddedKeyForm::Patched { key, jwk } => Self { key, jwk },
        }
    }
}

/// Why a change of keys was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NothingLeft {
    /// `remove_old` before any rotation would leave no key at all.
    NoSuccessor,
    /// All successors have been used; reset first.
    NoMoreSuccessors,
    /// `add` names no fixture.
    UnknownKey(String),
}

impl fmt::Display for NothingLeft {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMoreSuccessors => write!(formatter, "no key is left to rotate to; reset first"),
            Self::NoSuccessor => write!(formatter, "nothing was rotated yet, so every key is current"),
            Self::UnknownKey(name) => write!(formatter, "no fixture key is named {name:?}"),
        }
    }
}

impl std::error::Error for NothingLeft {}

/// The state of the rollover, the same for all documents.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    originals_removed: bool,
    /// Successors that are still published.
    rotated: Vec<&'static str>,
    rotations: usize,
    added: Vec<(&'static str, Value)>,
}

/// A key as one document shows it.
pub(crate) struct Published<'a> {
    pub(crate) key: &'static Key,
    pub(crate) patch: Option<&'a Value>,
}

impl Publication {
    pub(crate) fn change(&mut self, change: &KeyChange) -> Result<(), NothingLeft> {
        if change.reset {
            *self = Self::default();
        }
        if let Some(added) = &change.add {
            let key = Key::named(&added.key).ok_or_else(|| NothingLeft::UnknownKey(added.key.clone()))?;
            self.added.push((key.name, Value::Object(added.jwk.clone())));
        }
        if change.rotate {
            let next = SUCCESSORS.get(self.rotations).ok_or(NothingLeft::NoMoreSuccessors)?;
            self.rotations += 1;
            self.rotated.push(next);
        }
        if change.remove_old {
            let current = self.rotated.last().copied().ok_or(NothingLeft::NoSuccessor)?;
            self.rotated = vec![current];
            self.added.clear();
            self.originals_removed = true;
        }
        Ok(())
    }

    pub(crate) fn summary(&self) -> Value {
        let kids = |names: &[&str]| -> Vec<Value> {
            let keys = names.iter().filter_map(|name| Key::named(name));
            keys.map(|key| json!({"key": key.name, "kid": key.kid})).collect()
        };
        let added: Vec<_> = self.added.iter().map(|(name, _)| *name).collect();
        json!({"originals": !self.originals_removed, "rotated": kids(&self.rotated), "added": kids(&added)})
    }

    /// The key that signs for an authority now.
    pub(crate) fn current(&self, authority: &Authority, version: Version) -> &'static str {
        self.rotated.last().copied().unwrap_or_else(|| originals(authority, version)[0])
    }

    pub(crate) fn of(&self, authority: &Authority, version: Version, with_app_key: bool) -> Vec<Published<'_>> {
        let originals = if self.originals_removed { &[][..] } else { originals(authority, version) };
        let app = with_app_key.then_some("app");
        let plain = originals.iter().chain(&self.rotated).copied().chain(app).map(|name| (name, None));
        let added = self.added.iter().map(|(name, patch)| (*name, Some(patch)));
        let published = |(name, patch)| Key::named(name).map(|key| Published { key, patch });
        plain.chain(added).filter_map(published).collect()
    }
}

/// What a document holds before any rollover; the first is current.
fn originals(authority: &Authority, version: Version) -> &'static [&'static str] {
    let tenancy = match authority {
        Authority::B2c { policy } => return policy.key,
        Authority::ExternalId { .. } => return &["ciam", "both"],
        Authority::Oidc => return &["oidc", "oidc-pss", "ec"],
        Authority::Workforce { cloud: Cloud::China, .. } => return &["china"],
        Authority::Workforce { cloud: Cloud::UsGovernment, .. } => return &["us-gov"],
        Authority::Workforce { cloud: Cloud::Public, tenancy } => tenancy,
    };
    match (tenancy, version) {
        // The workforce host answers for External ID tenants too, but with a subset of their keys.
        (Tenancy::One(tenant), _) if tenant == CONTOSO_CUSTOMERS => &["both"],
        (Tenancy::Common, Version::V2) => &["v2", "both", "msa"],
        (Tenancy::Consumers, Version::V2) => &["msa"],
        (_, Version::V2) => &["v2", "both"],
        (_, Version::V1) => &["v1", "both"],
    }
}
