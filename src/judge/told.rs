//! What an attempt's checks expected and found, in words: one table. Reads what the checks read, and decides nothing.

use std::rc::Rc;

use super::attempt::Attempt;
use super::excerpt;
use super::facts::named;
use super::permissions::asked_for;
use super::requirement::wanted;
use super::trace::{Check, KeyTold, Told, shown, shown_all};
use crate::entra::TokenVersion;
use crate::inquiry::Kind as Asked;
use crate::inquiry::status_list::Reference;
use crate::jose::jwk::Key;
use crate::keys::store::Held;
use crate::policy::claim::RequiredClaim;
use crate::policy::provider::{Kind, PersonalAccounts, Stated, Tenants};

impl Attempt<'_> {
    /// None where the configuration asks nothing.
    pub(super) fn told(&self, check: Check) -> Option<Told> {
        let claims = &self.token.claims;
        let (expected, found) = match check {
            Check::Algorithm => (
                one_of(self.provider.algorithms.iter().map(|algorithm| algorithm.name())),
                excerpt(&self.token.header.alg),
            ),
            Check::Audience => match self.graph_bound() {
                Some(settings) => (one_of(&settings.audiences), shown(claims, "aud")),
                None => (one_of(&self.provider.audiences), shown(claims, "aud")),
            },
            Check::AuthContext => {
                let contexts: Vec<&str> =
                    self.requirements.iter().filter_map(|requirement| requirement.auth_context.as_deref()).collect();
                (some(&contexts)?.join(" and "), shown(claims, "acrs"))
            }
            Check::Claims => self.claims(some(&self.provider.required_claims)?.iter().collect()),
            Check::Client => {
                let clients = self.provider.client_applications.as_ref();
                let any = if self.provider.kind == Kind::Oidc { "any or none" } else { "any" };
                let names: &[&str] = match self.authority.version {
                    Some(TokenVersion::V1) => &["appid"],
                    Some(TokenVersion::V2) => &["azp"],
                    None => &["azp", "appid"],
                };
                (clients.map_or_else(|| any.to_owned(), one_of), shown_all(claims, names))
            }
            Check::Expiry => {
                let exp = shown(claims, "exp");
                let left = claims.get("exp").and_then(serde_json::Value::as_u64).map(|exp| delta(exp, self.now()));
                (
                    format!("after {} (skew {} s)", self.now(), self.provider.clock_skew.as_secs()),
                    left.map_or(exp.clone(), |left| format!("{exp} ({left})")),
                )
            }
            Check::Identity => (String::new(), shown_all(claims, &["oid", "sub", "sid", "uti", "jti"])),
            Check::Introspection => {
                let asked = self.given.policy.asked(&self.question(Asked::Introspection, self.text));
                (format!("active, by {asked}"), self.said(Asked::Introspection, self.text))
            }
            Check::Issuer => (self.authority.issuer.as_str().to_owned(), excerpt(self.iss)),
            Check::Key => {
                let (held, key) = self.chosen()?;
                let issuer = key.issuer.as_deref().map_or("any issuer".to_owned(), excerpt);
                let cloud = key.cloud_instance_name.as_deref().map_or(String::new(), |cloud| {
                    let expected = held.cloud_instance_name.as_deref().unwrap_or("any");
                    format!(", cloud {} (metadata: {})", excerpt(cloud), excerpt(expected))
                });
                (format!("a key that may sign with {} for iss", self.algorithm.name()), format!("for {issuer}{cloud}"))
            }
            Check::KeyId => (
                format!("a key of {}", self.key_document()),
                self.token.header.kid.as_deref().map_or("no kid".to_owned(), excerpt),
            ),
            Check::Keys => (
                format!("keys of {}", self.document()),
                match self.held() {
                    Some(held) => match held.age(self.given.now) {
                        Some(age) => format!(
                            "{} keys, {} s old, at most {} s",
                            held.keys.len(),
                            age.as_secs(),
                            held.max_age.as_secs()
                        ),
                        None => format!("{} keys, inline", held.keys.len()),
                    },
                    None => "none, or too old".to_owned(),
                },
            ),
            Check::Lifetime => {
                let longest = self.provider.max_lifetime?;
                (format!("exp - iat at most {} s", longest.as_secs()), shown_all(claims, &["exp", "iat"]))
            }
            Check::NotBefore => {
                let nbf = shown(claims, "nbf");
                let left = claims.get("nbf").and_then(serde_json::Value::as_u64).map(|nbf| delta(nbf, self.now()));
                (
                    format!("not after {} (skew {} s)", self.now(), self.provider.clock_skew.as_secs()),
                    left.map_or(nbf.clone(), |left| format!("{nbf} ({left})")),
                )
            }
            Check::Permissions => {
                let asked: Vec<String> = self
                    .requirements
                    .iter()
                    .filter_map(|requirement| requirement.permissions.as_ref())
                    .map(asked_for)
                    .collect();
                (some(&asked)?.join(" and "), shown_all(claims, &["idtyp", "scp", "scope", "roles"]))
            }
            Check::Policy => (self.authority.policy.clone()?, shown_all(claims, &["tfp", "acr"])),
            Check::Revocation => {
                let policy = self.given.policy.revocation.as_ref()?;
                let feed = policy.feed.as_ref();
                let expected = feed.map_or("not revoked".to_owned(), |feed| {
                    format!("not revoked by entries or a feed at most {} s old", feed.max_staleness.as_secs())
                });
                let age = self.given.revocations.fed.age(self.given.now);
                let age = age.map_or("nothing loaded from the feed".to_owned(), |age| {
                    format!("the feed was current {} s ago", age.as_secs())
                });
                (expected, if feed.is_some() { age } else { shown_all(claims, &["iat", "oid", "sid", "uti"]) })
            }
            Check::Rule => {
                let mut asked = Vec::new();
                let mut all: Vec<&RequiredClaim> = Vec::new();
                for requirement in self.requirements {
                    asked.extend(requirement.audiences.as_ref().map(|known| format!("aud {}", one_of(known))));
                    asked.extend(
                        requirement.client_applications.as_ref().map(|known| format!("client {}", one_of(known))),
                    );
                    all.extend(&requirement.claims);
                }
                let (expected, found) = self.claims(all);
                asked.extend(Some(expected).filter(|expected| !expected.is_empty()));
                let found = Some(found).filter(|found| !found.is_empty());
                let shown = shown_all(claims, &["aud", "azp", "appid"]);
                (some(&asked)?.join(", "), found.map_or(shown.clone(), |found| format!("{shown}, {found}")))
            }
            Check::Signature => (
                format!("of key {}", self.chosen().map_or_else(String::new, |(_, key)| named(key))),
                self.algorithm.name().to_owned(),
            ),
            Check::Status => match Reference::read(claims) {
                Ok(reference) => {
                    let Reference { index, uri } = reference?;
                    let said = self.said(Asked::StatusList, &uri);
                    ("valid".to_owned(), format!("idx {index} of {}: {said}", excerpt(&uri)))
                }
                Err(expected) => (expected.to_owned(), shown(claims, "status")),
            },
            Check::StatedIssuer => {
                let held = self.held()?;
                match self.authority.stated {
                    Stated::ByMetadata => (excerpt(held.issuer.as_ref()?.as_str()), excerpt(self.iss)),
                    Stated::ByConfiguration => return None,
                }
            }
            Check::Tenant => {
                let expected = match &self.provider.tenants {
                    Tenants::Any(PersonalAccounts::Accepted) => "any organization or personal account".to_owned(),
                    Tenants::Any(PersonalAccounts::Refused) => "any organization".to_owned(),
                    Tenants::Only(tenants) => one_of(tenants.iter().map(|tenant| tenant.as_str())),
                    Tenants::Unknown => return None,
                };
                (expected, self.tid.map_or_else(|| "no tid".to_owned(), excerpt))
            }
            Check::Userinfo => {
                let asked = self.given.policy.asked(&self.question(Asked::Userinfo, self.text));
                let (sub, said) = (shown(claims, "sub"), self.said(Asked::Userinfo, self.text));
                (format!("taken by {asked} as that of sub {sub}"), said)
            }
            Check::Version => (self.authority.version?.claim().to_owned(), shown(claims, "ver")),
            // These are not an attempt's.
            Check::Credential | Check::Form | Check::Path | Check::Preflight | Check::Type => return None,
        };
        Some(Told { expected, found })
    }

    /// The key that was chosen, and where it is from.
    pub(super) fn key_told(&self) -> Option<KeyTold> {
        let (held, key) = self.chosen()?;
        let fetched = self.given.policy.documents.get(self.authority.document.0)?.as_ref();
        Some(KeyTold {
            provider: self.provider.name.clone(),
            kid: named(key),
            algorithm: self.algorithm,
            metadata: fetched.map(|document| document.metadata.to_string()),
            document: held.address.as_ref().map(ToString::to_string),
            keys: held.keys.len(),
            age: held.age(self.given.now).map(|age| age.as_secs()),
            max_age: fetched.map(|document| document.max_age.as_secs()),
        })
    }

    fn chosen(&self) -> Option<(&Held, &Rc<Key>)> {
        let held = self.held()?;
        Some((held, held.candidates(self.token.header.kid.as_deref(), self.algorithm).next()?))
    }

    fn now(&self) -> u64 {
        self.given.seconds()
    }

    fn claims(&self, required: Vec<&RequiredClaim>) -> (String, String) {
        let expected: Vec<String> =
            required.iter().map(|required| format!("{} {}", required.claim.as_str(), wanted(required))).collect();
        let found: Vec<String> = required
            .iter()
            .map(|required| {
                let value = required.claim.find(&self.token.claims);
                format!(
                    "{} {}",
                    required.claim.as_str(),
                    value.map_or("absent".to_owned(), |value| excerpt(&value.to_string()))
                )
            })
            .collect();
        (expected.join(", "), found.join(", "))
    }
}

fn one_of(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    match names.as_slice() {
        [only] => only.clone(),
        names => format!("one of [{}]", names.join(", ")),
    }
}

fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

fn delta(time: u64, now: u64) -> String {
    match time.checked_sub(now) {
        Some(left) => format!("in {left} s"),
        None => format!("{} s ago", now.saturating_sub(time)),
    }
}
