//! One token against one authority of one provider: every check in order, up to the verified facts.

use std::cell::Cell;
use std::rc::Rc;

use super::challenge::SignIn;
use super::claims::{self, Times};
use super::facts::{Binding, Facts, Signer, named};
use super::issuer;
use super::permissions::HeldPermissions;
use super::refusal::{AudienceHint, IssuerHint, Refusal, TokenFault, TypeFault};
use super::requirement::check_claims;
use super::verdict::{Identity, Lack, Want};
use super::{Given, excerpt};
use crate::entra::issuer::tenant_in;
use crate::entra::{PERSONAL_ACCOUNTS, TokenVersion};
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::{Malformed, Signed, Unverified};
use crate::jose::json::Object;
use crate::jose::jwk::Key;
use crate::policy::forward::{State, header_value};
use crate::policy::provider::{Authority, Kind, PersonalAccounts, Place, Provider, Tenants};
use crate::policy::requirement::Requirement;
use crate::revocation::Subject;

/// Why a judgement stops.
pub(super) enum Halt {
    Lack(Box<Lack>),
    Refuse(Refusal),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// The check that a token failed with one provider, in their order: the farthest is the one worth telling about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Authority,
    Times,
    Audience,
    Client,
    Claims,
    Rule,
    Key,
    Signature,
    Grant,
    Permission,
}

/// One token against one authority.
pub(super) struct Attempt<'a> {
    pub(super) token: &'a Unverified<'a>,
    pub(super) iss: &'a str,
    pub(super) tid: Option<&'a str>,
    pub(super) algorithm: Algorithm,
    pub(super) place: Place,
    pub(super) provider: &'a Provider,
    pub(super) authority: &'a Authority,
    /// What the rules ask, all of which must hold.
    pub(super) requirements: &'a [&'a Requirement],
    pub(super) given: &'a Given<'a>,
}

impl Attempt<'_> {
    /// All checks, the signature after the cheap ones and nothing allowed before it.
    pub(super) fn run(&self) -> Result<Facts, (Stage, Halt)> {
        let at = |stage: Stage| move |refusal: Refusal| (stage, Halt::Refuse(refusal));
        let (claims, provider) = (&self.token.claims, self.provider);
        self.check_authority().map_err(at(Stage::Authority))?;
        self.check_algorithm().map_err(at(Stage::Authority))?;
        let times = Times::read(claims, provider.expiry).map_err(at(Stage::Times))?;
        times.check(self.given.seconds(), provider.clock_skew, provider.max_lifetime).map_err(at(Stage::Times))?;
        let client = self.client().map_err(at(Stage::Audience))?;
        self.check_audience(client).map_err(at(Stage::Audience))?;
        self.check_client(client).map_err(at(Stage::Client))?;
        check_claims(&provider.required_claims, claims).map_err(at(Stage::Claims))?;
        for requirement in self.requirements {
            requirement.admit(claims, client, provider).map_err(at(Stage::Rule))?;
        }
        let keys = self.keys().map_err(|halt| (Stage::Key, halt))?;
        let (signed, key) = self.verify(&keys).map_err(at(Stage::Signature))?;
        let facts = self.facts(&signed, key, times, client).map_err(at(Stage::Grant))?;
        facts.check_revocation(self.given).map_err(at(Stage::Grant))?;
        // Last, because 403 says that the token is good.
        facts.check_permissions(self.requirements).map_err(at(Stage::Permission))?;
        facts.check_sign_in(self.requirements, self.given).map_err(at(Stage::Permission))?;
        Ok(facts)
    }

    /// Version, tenant and policy: `iss`, `tid`, `ver` and `tfp` must tell one story.
    fn check_authority(&self) -> Result<(), Refusal> {
        let inconsistent = |claim| issuer::fault(self.iss, &[self.provider], IssuerHint::Inconsistent { claim });
        // Where there are no versions, `ver` is somebody else's claim and may be anything.
        if let Some(version) = self.authority.version {
            let ver = claims::text(&self.token.claims, "ver")?.ok_or(Refusal::ClaimMissing { claim: "ver" })?;
            if ver != version.claim() {
                return Err(inconsistent("ver"));
            }
        }
        match &self.provider.tenants {
            Tenants::Any(personal) => {
                // Without `tid` there is no template to hold the issuer against, so it is never absent here.
                let tid = self.tid.ok_or(Refusal::ClaimMissing { claim: "tid" })?;
                if tid == PERSONAL_ACCOUNTS && *personal == PersonalAccounts::Refused {
                    return Err(Refusal::TenantNotAllowed { found: tid.to_owned(), allowed: Vec::new() });
                }
            }
            Tenants::Only(tenants) => {
                let of_issuer = tenant_in(self.iss);
                if let Some(tid) = self.tid {
                    if of_issuer.is_some_and(|tenant| tenant != tid) {
                        return Err(inconsistent("tid"));
                    }
                    if !tenants.iter().any(|tenant| tenant.as_str() == tid) {
                        return Err(Refusal::TenantNotAllowed {
                            found: excerpt(tid),
                            allowed: tenants.iter().map(ToString::to_string).collect(),
                        });
                    }
                }
            }
            Tenants::Unknown => {}
        }
        self.check_policy()
    }

    /// A B2C token belongs to the policy that it names; each policy has its own keys.
    fn check_policy(&self) -> Result<(), Refusal> {
        let Some(policy) = &self.authority.policy else {
            return Ok(());
        };
        let claims = &self.token.claims;
        let named = match claims::text(claims, "tfp")? {
            Some(tfp) => Some(tfp),
            None => claims::text(claims, "acr")?,
        };
        let named = named.ok_or(Refusal::ClaimMissing { claim: "tfp" })?;
        if named.eq_ignore_ascii_case(policy) {
            Ok(())
        } else {
            Err(Refusal::ClaimNotAllowed { claim: "tfp", found: excerpt(named), expected: policy.clone() })
        }
    }

    fn check_algorithm(&self) -> Result<(), Refusal> {
        if self.provider.algorithms.contains(&self.algorithm) {
            Ok(())
        } else {
            let allowed = self.provider.algorithms.clone();
            Err(Refusal::AlgorithmNotAllowed { found: self.algorithm.name().to_owned(), allowed })
        }
    }

    /// The client application: `appid` in v1 tokens, `azp` in others. Two different ones would be two revocation keys.
    fn client(&self) -> Result<Option<&str>, Refusal> {
        let claims = &self.token.claims;
        let (azp, appid) = (claims::text(claims, "azp")?, claims::text(claims, "appid")?);
        if let (Some(azp), Some(appid)) = (azp, appid)
            && azp != appid
        {
            return Err(Refusal::ClaimNotAllowed { claim: "azp", found: excerpt(azp), expected: excerpt(appid) });
        }
        let client = match self.authority.version {
            Some(TokenVersion::V1) => appid,
            Some(TokenVersion::V2) | None => azp.or(appid),
        };
        Ok(client.filter(|client| !client.is_empty()))
    }

    fn check_audience(&self, client: Option<&str>) -> Result<(), Refusal> {
        let found = claims::audiences(&self.token.claims)?;
        let expected = &self.provider.audiences;
        if found.iter().any(|audience| expected.iter().any(|known| known == audience)) {
            return Ok(());
        }
        let hint = self.audience_hint(&found, client);
        let found = found.into_iter().take(5).map(excerpt).collect();
        Err(Refusal::AudienceNotAllowed { found, expected: expected.clone(), hint })
    }

    fn audience_hint(&self, found: &[&str], client: Option<&str>) -> AudienceHint {
        const GRAPH: [&str; 5] = [
            "00000003-0000-0000-c000-000000000000",
            "00000002-0000-0000-c000-000000000000",
            "https://graph.microsoft.com",
            "https://graph.windows.net",
            "https://management.azure.com",
        ];
        let bare = |audience: &str| audience.trim_end_matches('/').trim_start_matches("api://").to_ascii_lowercase();
        let expected: Vec<String> = self.provider.audiences.iter().map(|audience| bare(audience)).collect();
        if self.token.header.has_nonce || found.iter().any(|audience| GRAPH.contains(&audience.trim_end_matches('/'))) {
            AudienceHint::Graph
        } else if found.iter().any(|audience| expected.contains(&bare(audience))) {
            AudienceHint::Form
        } else if looks_like_id_token(&self.token.claims, client) {
            AudienceHint::IdToken
        } else {
            AudienceHint::Other
        }
    }

    /// Access tokens of Entra name their client; ID tokens do not.
    fn check_client(&self, client: Option<&str>) -> Result<(), Refusal> {
        if client.is_none() && self.provider.kind != Kind::Oidc {
            if looks_like_id_token(&self.token.claims, client) {
                return Err(Refusal::TokenTypeNotAllowed(TypeFault::IdToken));
            }
            let claim = if self.authority.version == Some(TokenVersion::V1) { "appid" } else { "azp" };
            return Err(Refusal::ClaimMissing { claim });
        }
        let Some(accepted) = &self.provider.client_applications else {
            return Ok(());
        };
        match client {
            Some(client) if accepted.iter().any(|known| known == client) => Ok(()),
            Some(client) => Err(Refusal::ClientNotAllowed { found: excerpt(client), expected: accepted.clone() }),
            None => Err(Refusal::ClaimMissing { claim: "azp" }),
        }
    }

    /// The keys that may have signed the token: the one that it names, or a few that have no names. Never none.
    fn keys(&self) -> Result<Vec<&Rc<Key>>, Halt> {
        let document = self.authority.document;
        let kid = self.token.header.kid.as_deref();
        let fetched = self.given.policy.documents.get(document.0).and_then(Option::as_ref);
        let without_kid = || Refusal::TokenMalformed(TokenFault::Form(Malformed::KeyId));
        // Keys that are fetched have names; no fetch would help.
        if fetched.is_some() && kid.is_none() {
            return Err(without_kid().into());
        }
        let address = || fetched.map_or_else(|| "the inline jwks".to_owned(), |document| document.metadata.to_string());
        let Some(held) = self.given.keys.get(document, self.given.now) else {
            let otherwise = Refusal::KeysUnavailable { document: address(), retry_after: 1 };
            return Err(Halt::Lack(Box::new(Lack { document, want: Want::Any, otherwise })));
        };
        let binding = Binding { iss: self.iss, tid: self.tid, authority: self.authority, provider: self.provider };
        binding.check_stated_issuer(held)?;
        let keys: Vec<&Rc<Key>> = held.candidates(kid, self.algorithm).collect();
        if keys.is_empty() {
            let kid = kid.ok_or_else(without_kid)?;
            let age = held.age(self.given.now).map(|age| age.as_secs());
            let otherwise = Refusal::KeyUnknown { kid: excerpt(kid), document: address(), keys: held.keys.len(), age };
            return Err(Halt::Lack(Box::new(Lack { document, want: Want::Kid, otherwise })));
        }
        for key in &keys {
            binding.check_key(key, self.algorithm, held)?;
        }
        Ok(keys)
    }

    /// The verified claims, and the key that verified them.
    fn verify<'k>(&self, keys: &[&'k Rc<Key>]) -> Result<(Signed<'_>, &'k Rc<Key>), Refusal> {
        for key in keys {
            match self.token.verify(self.algorithm, &key.material, self.given.signatures) {
                Ok(signed) => return Ok((signed, key)),
                Err(Some(form)) => return Err(Refusal::TokenMalformed(TokenFault::Form(form))),
                Err(None) => {}
            }
        }
        let kid = keys.first().map_or_else(String::new, |key| named(key));
        Err(Refusal::SignatureInvalid { kid })
    }

    /// What is kept and told of the token.
    fn facts(&self, signed: &Signed<'_>, key: &Rc<Key>, times: Times, client: Option<&str>) -> Result<Facts, Refusal> {
        let claims = signed.claims();
        let text = |claim: &'static str| Ok::<_, Refusal>(claims::text(claims, claim)?.map(str::to_owned));
        let token_id = text("uti")?.or(text("jti")?);
        let user = text("oid")?;
        let identity = Identity {
            provider: self.provider.name.clone(),
            tenant: self.tid.or_else(|| tenant_in(self.iss)).map(str::to_owned),
            subject: user.clone().or(text("sub")?),
            client: client.map(str::to_owned),
            token_id,
        };
        let asked = self.given.policy.rules.asked();
        let mut kept = Object::new();
        for name in &asked.claims {
            if let Some(value) = claims.get(name) {
                kept.insert(name.clone(), value.clone());
            }
        }
        let permissions = if asked.permissions {
            HeldPermissions::read(claims, self.provider.kind)
        } else {
            Ok(HeldPermissions::unread(self.provider.kind))
        };
        let forward = &self.given.policy.forward;
        let mut headers = Vec::with_capacity(forward.claim_headers.len().saturating_add(1));
        if let Some(header) = &forward.payload_header {
            headers.push((header.clone(), signed.payload().to_owned()));
        }
        for claim_header in &forward.claim_headers {
            if let Some(value) = claim_header.claim.find(claims).and_then(header_value) {
                headers.push((claim_header.header.clone(), value));
            }
        }
        let payload = forward.filter_state.contains(&State::Payload).then(|| signed.payload_text()).flatten();
        Ok(Facts {
            place: self.place,
            key: Signer { key: Rc::clone(key), algorithm: self.algorithm },
            edition: Cell::new(self.given.keys.edition()),
            issuer: self.iss.to_owned(),
            tid: self.tid.map(str::to_owned),
            times,
            subjects: self.subjects(claims, &identity, user)?,
            identity,
            headers,
            claims: kept,
            permissions,
            payload,
            sign_in: SignIn::read(claims),
        })
    }

    /// By whom the token can be revoked.
    fn subjects(&self, claims: &Object, identity: &Identity, user: Option<String>) -> Result<Vec<Subject>, Refusal> {
        let Some(policy) = &self.given.policy.revocation else {
            return Ok(Vec::new());
        };
        if identity.token_id.is_none() && policy.require_token_id {
            let claim = if self.provider.kind == Kind::Oidc { "jti" } else { "uti" };
            return Err(Refusal::ClaimMissing { claim });
        }
        let text = |claim: &'static str| Ok::<_, Refusal>(claims::text(claims, claim)?.map(str::to_owned));
        let (session, pairwise) = (text("sid")?, text("sub")?);
        let issuer = || self.iss.to_owned();
        let mut subjects = Vec::with_capacity(6);
        if let Some(tenant) = &identity.tenant {
            let tenant = || tenant.clone();
            subjects.push(Subject::Tenant { tenant: tenant() });
            subjects.extend(user.map(|user| Subject::User { tenant: tenant(), user }));
            subjects.extend(session.map(|session| Subject::Session { tenant: tenant(), session }));
            let client = identity.client.clone();
            subjects.extend(client.map(|client| Subject::Client { tenant: tenant(), client }));
        }
        subjects.extend(identity.token_id.clone().map(|token| Subject::Token { issuer: issuer(), token }));
        subjects.extend(pairwise.map(|subject| Subject::Pairwise { issuer: issuer(), subject }));
        Ok(subjects)
    }
}

/// ID tokens carry `nonce`, `at_hash` or `c_hash`, or neither a client nor a permission (entra diagnosis 5).
fn looks_like_id_token(claims: &Object, client: Option<&str>) -> bool {
    let has = |claim: &str| claims.contains_key(claim);
    has("nonce") || has("at_hash") || has("c_hash") || (client.is_none() && !has("scp") && !has("roles"))
}
