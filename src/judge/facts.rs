//! What is kept of a verified token: enough to judge it again without its text and its signature.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value;

use super::Given;
use super::challenge::{ClaimsChallenge, Party, SignIn, Wanted};
use super::claims::Times;
use super::permissions::HeldPermissions;
use super::refusal::{IssuerHint, KeyFault, Refusal, TokenFault};
use super::verdict::{Identity, Seen};
use super::{excerpt, issuer};
use crate::entra::issuer::{Issuer, key_may_sign};
use crate::feed::source::WhenStale;
use crate::jose::algorithm::Algorithm;
use crate::jose::json::Object;
use crate::jose::jwk::Key;
use crate::keys::freshness::Millis;
use crate::keys::store::{Edition, Held};
use crate::policy::RevocationPolicy;
use crate::policy::provider::{Authority, Place, Provider, Stated};
use crate::policy::requirement::Requirement;
use crate::revocation::{Effect, Subject};

/// The verified facts of a token. Made by an attempt whose signature was good, and by nothing else.
#[derive(PartialEq, Eq)]
pub struct Facts {
    pub(super) place: Place,
    /// None where somebody else vouches for the token.
    pub(super) key: Option<Signer>,
    /// The edition of the keys that last held the key.
    pub(super) edition: Cell<Edition>,
    pub(super) issuer: String,
    pub(super) tid: Option<String>,
    pub(super) times: Times,
    pub(super) identity: Identity,
    pub(super) headers: Vec<(String, String)>,
    /// The payload, where the filter state is to hold it.
    pub(super) payload: Option<String>,
    pub(super) sign_in: SignIn,
    /// By whom it could be revoked; empty without revocation.
    pub(super) subjects: Vec<Subject>,
    /// Those claims that some rule looks at.
    pub(super) claims: Object,
    /// The permissions, if some rule looks at them; or why they cannot be read.
    pub(super) permissions: Result<HeldPermissions, TokenFault>,
    /// When what others said of the token no longer counts; none: nobody was asked.
    pub(super) until: Option<Millis>,
    /// Whether it passes although who should have been asked did not answer.
    pub(super) unchecked: bool,
}

/// The key and algorithm that a token was verified with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Signer {
    pub(super) key: Rc<Key>,
    pub(super) algorithm: Algorithm,
}

/// Neither claims nor headers are shown: the payload is a part of the token.
impl std::fmt::Debug for Facts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (provider, kid) = (&self.identity.provider, self.key.as_ref().map(|signer| &signer.key.kid));
        formatter.debug_struct("Facts").field("provider", provider).field("kid", &kid).finish_non_exhaustive()
    }
}

impl Facts {
    /// Whether what was verified once still holds: the key is there and unchanged and may still sign, and the token is
    /// in its time. If not, the whole token is judged again, and that says why.
    pub(super) fn still_hold(&self, given: &Given<'_>) -> bool {
        let Some((provider, authority)) = given.policy.providers.at(self.place) else {
            return false;
        };
        if self.times.check(given.seconds(), provider.clock_skew, provider.max_lifetime).is_err()
            || self.until.is_some_and(|until| given.now >= until)
        {
            return false;
        }
        let Some(Signer { key, algorithm }) = &self.key else {
            return true;
        };
        let edition = given.keys.edition();
        if self.edition.get() == edition && given.keys.get(authority.document, given.now).is_some() {
            return true;
        }
        let binding = Binding { iss: &self.issuer, tid: self.tid.as_deref(), authority, provider };
        let key_holds = given.keys.get(authority.document, given.now).is_some_and(|held| {
            held.candidates(key.kid.as_deref(), *algorithm).any(|known| Rc::ptr_eq(known, key) || known == key)
                && binding.check_stated_issuer(held).is_ok()
                && binding.check_key(key, *algorithm, held).is_ok()
        });
        if key_holds {
            self.edition.set(edition);
        }
        key_holds
    }

    /// What was said of the token counts no longer than this.
    pub(super) fn count_until(&mut self, until: Millis, unchecked: bool) {
        self.until = Some(self.until.map_or(until, |known| known.min(until)));
        self.unchecked |= unchecked;
    }

    /// Whether it passes although who should have been asked did not answer.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        self.unchecked
    }

    /// Whether these rules take the token at all. If not, the whole token is judged again, and that says why.
    pub(super) fn are_admitted(&self, requirements: &[&Requirement], given: &Given<'_>) -> bool {
        let Some((provider, _)) = given.policy.providers.at(self.place) else {
            return false;
        };
        requirements.iter().all(|requirement| {
            requirement.accepts(self.place.provider)
                && requirement.admit(&self.claims, self.identity.client.as_deref(), provider).is_ok()
        })
    }

    /// Whether the token may do what it is used for.
    pub(super) fn check_permissions(&self, requirements: &[&Requirement]) -> Result<(), Refusal> {
        requirements.iter().try_for_each(|requirement| requirement.permit(&self.permissions))
    }

    /// The last word, at every use.
    pub(super) fn check_revocation(&self, given: &Given<'_>) -> Result<(), Refusal> {
        let Some(policy) = &given.policy.revocation else {
            return Ok(());
        };
        let (backdate, now) = (policy.issued_at_backdate, given.seconds());
        match given.revocations.find(&self.subjects, self.times.issued_at, backdate, now) {
            Some((subject, effect)) => {
                let from = match effect {
                    Effect::NotBefore(from) => from.into(),
                    Effect::Blocked => now,
                };
                let challenge = self.challenge(Wanted::NotBefore(from), given);
                Err(Refusal::TokenRevoked { subject: subject.kind(), challenge })
            }
            None => check_feed(policy, given),
        }
    }

    /// Whether the sign-in is as strong as the rules ask.
    pub(super) fn check_sign_in(&self, requirements: &[&Requirement], given: &Given<'_>) -> Result<(), Refusal> {
        let mut contexts = requirements.iter().filter_map(|requirement| requirement.auth_context.as_deref());
        let Some(context) = contexts.find(|context| !self.sign_in.satisfies(context)) else {
            return Ok(());
        };
        Err(Refusal::StepUpRequired {
            context: context.to_owned(),
            found: self.sign_in.contexts().to_vec(),
            challenge: self.challenge(Wanted::AuthContext(context.to_owned()), given),
        })
    }

    fn challenge(&self, wanted: Wanted, given: &Given<'_>) -> Option<Box<ClaimsChallenge>> {
        let (provider, _) = given.policy.providers.at(self.place)?;
        let party = Party { provider, issuer: &self.issuer, tenant: self.identity.tenant.as_deref() };
        self.sign_in.challenge(wanted, &party)
    }

    /// What a log line tells of the token.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            provider: Some(self.identity.provider.clone()),
            issuer: Some(excerpt(&self.issuer)),
            tenant: self.identity.tenant.as_deref().map(excerpt),
            client: self.identity.client.as_deref().map(excerpt),
            kid: self.key.as_ref().and_then(|signer| signer.key.kid.as_deref()).map(excerpt),
            token_id: self.identity.token_id.as_deref().map(excerpt),
        }
    }

    /// About how many bytes the facts take, beside the token's text.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// A short text and what holds it.
        const TEXT: usize = 64;
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + TEXT).sum();
        let claims: usize = self.claims.iter().map(|(name, value)| name.len() + TEXT + value_weight(value)).sum();
        let names = self.permissions.iter().flat_map(HeldPermissions::names).map(|name| name.len() + TEXT);
        let asked = claims + names.sum::<usize>();
        let payload = self.payload.as_ref().map_or(0, String::len);
        let texts = self.issuer.len() + payload + self.sign_in.weight() + headers;
        size_of::<Self>() + texts + 6 * TEXT + self.subjects.len() * 3 * TEXT + asked
    }
}

fn value_weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Array(elements) => elements.iter().map(value_weight).sum(),
            Value::Bool(_) | Value::Null | Value::Number(_) => 0,
            // A member's name is a text of its own, and a tree has inner room.
            Value::Object(members) => {
                members.iter().map(|(name, value)| name.len() + 4 * size_of::<String>() + value_weight(value)).sum()
            }
            Value::String(text) => text.len(),
        }
}

/// How a key is told of.
pub(super) fn named(key: &Key) -> String {
    key.kid.as_deref().map_or_else(|| "without kid".to_owned(), excerpt)
}

/// Whether it can be said that a token is not revoked: what was known before stays in force either way.
fn check_feed(policy: &RevocationPolicy, given: &Given<'_>) -> Result<(), Refusal> {
    let Some(feed) = &policy.feed else {
        return Ok(());
    };
    let age = given.revocations.fed.age(given.now);
    let known = age.is_some_and(|age| age <= feed.max_staleness || feed.when_stale == WhenStale::Allow);
    if known {
        return Ok(());
    }
    let (age, retry_after) = (age.map(|age| age.as_secs()), feed.interval.as_secs().saturating_add(1));
    Err(Refusal::RevocationUnavailable { feed: feed.url.to_string(), age, retry_after })
}

/// What ties a token to a document and its keys.
pub(super) struct Binding<'a> {
    pub(super) iss: &'a str,
    pub(super) tid: Option<&'a str>,
    pub(super) authority: &'a Authority,
    pub(super) provider: &'a Provider,
}

impl Binding<'_> {
    /// Metadata states which of the issuers that could be derived is the real one.
    pub(super) fn check_stated_issuer(&self, held: &Held) -> Result<(), Refusal> {
        let confirmed = match (&held.issuer, self.authority.stated) {
            (Some(stated), Stated::ByMetadata) => stated.admits(self.iss, self.tid),
            (None, _) | (_, Stated::ByConfiguration) => true,
        };
        if confirmed {
            return Ok(());
        }
        let stated = held.issuer.as_ref().map_or_else(String::new, |stated| excerpt(stated.as_str()));
        Err(issuer::fault(self.iss, &[self.provider], IssuerHint::NotAsStated { stated }))
    }

    /// Whether a key of the document may have signed the token.
    pub(super) fn check_key(&self, key: &Key, algorithm: Algorithm, held: &Held) -> Result<(), Refusal> {
        let kid = || named(key);
        let bound_elsewhere = key.algorithm.is_some_and(|bound| bound != algorithm);
        if bound_elsewhere || !key.material.fits(algorithm) {
            return Err(Refusal::KeyNotAllowed(KeyFault::Algorithm { kid: kid() }));
        }
        if let Some(bound_to) = &key.issuer {
            let key_issuer = Issuer::new(bound_to.as_str());
            let document_issuer = held.issuer.as_ref().unwrap_or(&self.authority.issuer);
            if !key_may_sign(&key_issuer, document_issuer, self.iss, self.tid) {
                let found = excerpt(self.iss);
                return Err(Refusal::KeyNotAllowed(KeyFault::Issuer {
                    kid: kid(),
                    bound_to: excerpt(bound_to),
                    found,
                }));
            }
        }
        // Compared only where both sides say something (IDX40012 of Microsoft.IdentityModel).
        if let (Some(found), Some(expected)) = (&key.cloud_instance_name, &held.cloud_instance_name)
            && found != expected
        {
            return Err(Refusal::KeyNotAllowed(KeyFault::Cloud {
                kid: kid(),
                found: excerpt(found),
                expected: excerpt(expected),
            }));
        }
        Ok(())
    }
}
