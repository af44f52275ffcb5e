//! One token against one authority of one provider: every check in order, up to the verified facts.

use std::cell::Cell;
use std::rc::Rc;

use super::challenge::SignIn;
use super::claims::{self, Times};
use super::facts::{Binding, Facts, named};
use super::inquiry::Believed;
use super::issuer;
use super::permissions::HeldPermissions;
use super::refusal::{AudienceHint, IssuerHint, MissingKey, Refusal, TokenFault, TypeFault};
use super::requirement::check_claims;
use super::trace::{Check, Outcome, Recorder, outcome};
use super::verdict::{Ask, Identity, Lack, Want};
use super::{Given, excerpt};
use crate::entra::issuer::tenant_in;
use crate::entra::{PERSONAL_ACCOUNTS, TokenVersion};
use crate::inquiry::introspection::Active;
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::{Malformed, Signed, Unverified, payload_text};
use crate::jose::json::Object;
use crate::jose::jwk::Key;
use crate::keys::store::Held;
use crate::policy::forward::{State, header_value};
use crate::policy::provider::{Authority, Kind, PersonalAccounts, Place, Provider, Tenants};
use crate::policy::requirement::Requirement;
use crate::revocation::Subject;

/// Why a judgement stops.
pub(super) enum Halt {
    Ask(Box<Ask>),
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
    /// The token as the client sent it.
    pub(super) text: &'a str,
    /// What its authorization server told of an opaque token; none: the token speaks for itself.
    pub(super) told_of: Option<&'a Active>,
    pub(super) iss: &'a str,
    pub(super) tid: Option<&'a str>,
    pub(super) algorithm: Algorithm,
    pub(super) place: Place,
    pub(super) provider: &'a Provider,
    pub(super) authority: &'a Authority,
    /// What the rules ask, all of which must hold.
    pub(super) requirements: &'a [&'a Requirement],
    pub(super) given: &'a Given<'a>,
    pub(super) recorder: Recorder<'a>,
}

impl Attempt<'_> {
    /// All checks, the signature after the cheap ones and nothing allowed before it.
    pub(super) fn run(&self) -> Result<Facts, (Stage, Halt)> {
        let (claims, provider, now) = (&self.token.claims, self.provider, self.given.seconds());
        // The authority was found by it.
        self.tell(Check::Issuer, Outcome::Passed);
        // Version, tenant and policy: `iss`, `tid`, `ver` and `tfp` must tell one story.
        self.step(Check::Version, self.check_version())?;
        self.step(Check::Tenant, self.check_tenant())?;
        self.step(Check::Policy, self.check_policy())?;
        if self.told_of.is_none() {
            self.step(Check::Algorithm, self.check_algorithm())?;
        }
        let times = Times::read(claims, provider.expiry);
        let unexpired = times.and_then(|times| times.check_expiry(now, provider.clock_skew).map(|()| times));
        let times = self.step(Check::Expiry, unexpired)?;
        self.step(Check::NotBefore, times.check_not_before(now, provider.clock_skew))?;
        self.step(Check::Lifetime, times.check_lifetime(provider.max_lifetime))?;
        let client = self.client().map_err(|refusal| self.failed(Check::Client, refusal))?;
        self.step(Check::Audience, self.check_audience(client))?;
        self.step(Check::Client, self.check_client(client))?;
        self.step(Check::Claims, check_claims(&provider.required_claims, claims))?;
        let mut requirements = self.requirements.iter();
        self.step(Check::Rule, requirements.try_for_each(|asks| asks.admit(claims, client, provider)))?;
        let (believed, until) = self.believe()?;
        let mut facts = self.step(Check::Identity, self.facts(believed, times, client))?;
        facts.until = until;
        self.step(Check::Revocation, facts.check_revocation(self.given))?;
        self.inquire(&mut facts)?;
        // Last, because 403 says that the token is good.
        self.step(Check::Permissions, facts.check_permissions(self.requirements))?;
        self.step(Check::AuthContext, facts.check_sign_in(self.requirements, self.given))?;
        Ok(facts)
    }

    /// The result of a check, told.
    pub(super) fn step<T>(&self, check: Check, result: Result<T, Refusal>) -> Result<T, (Stage, Halt)> {
        self.tell(check, outcome(&result));
        result.map_err(|refusal| (stage(check), Halt::Refuse(refusal)))
    }

    /// The failure of a check, told.
    pub(super) fn failed(&self, check: Check, refusal: Refusal) -> (Stage, Halt) {
        self.tell(check, Outcome::Failed);
        (stage(check), Halt::Refuse(refusal))
    }

    pub(super) fn tell(&self, check: Check, outcome: Outcome) {
        self.recorder.check(check, Some(&self.provider.name), outcome, &|| self.told(check));
    }

    /// `ver`. Where there are no versions it is somebody else's claim and may be anything.
    fn check_version(&self) -> Result<(), Refusal> {
        let Some(version) = self.authority.version else {
            return Ok(());
        };
        let ver = claims::text(&self.token.claims, "ver")?.ok_or(Refusal::ClaimMissing { claim: "ver" })?;
        if ver == version.claim() { Ok(()) } else { Err(self.inconsistent("ver", ver)) }
    }

    fn inconsistent(&self, claim: &'static str, found: &str) -> Refusal {
        issuer::fault(self.iss, &[self.provider], IssuerHint::Inconsistent { claim, found: excerpt(found) })
    }

    fn check_tenant(&self) -> Result<(), Refusal> {
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
                        return Err(self.inconsistent("tid", tid));
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
        Ok(())
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
            Some(TokenVersion::V2) => azp.or(appid),
            // What an authorization server calls it (RFC 7662 section 2.2).
            None if self.told_of.is_some() => azp.or(appid).or(claims::text(claims, "client_id")?),
            None => azp.or(appid),
        };
        Ok(client.filter(|client| !client.is_empty()))
    }

    fn check_audience(&self, client: Option<&str>) -> Result<(), Refusal> {
        if self.graph_bound().is_some() {
            return Ok(());
        }
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
        let bare = |audience: &str| audience.trim_end_matches('/').trim_start_matches("api://").to_ascii_lowercase();
        let expected: Vec<String> = self.provider.audiences.iter().map(|audience| bare(audience)).collect();
        if is_for_graph(self.token, found) {
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
    pub(super) fn keys(&self) -> Result<Vec<&Rc<Key>>, (Stage, Halt)> {
        let document = self.authority.document;
        let kid = self.token.header.kid.as_deref();
        let is_fetched = matches!(self.given.policy.documents.get(document.0), Some(Some(_)));
        let without_kid = || self.failed(Check::KeyId, Refusal::TokenMalformed(TokenFault::Form(Malformed::KeyId)));
        // Keys that are fetched have names; no fetch would help.
        if is_fetched && kid.is_none() {
            return Err(without_kid());
        }
        let Some(held) = self.held() else {
            let otherwise = Refusal::KeysUnavailable { document: self.document(), retry_after: 1 };
            return Err(self.lacking(Check::Keys, Want::Any, otherwise));
        };
        self.tell(Check::Keys, Outcome::Passed);
        let binding = Binding { iss: self.iss, tid: self.tid, authority: self.authority, provider: self.provider };
        self.step(Check::StatedIssuer, binding.check_stated_issuer(held))?;
        let keys: Vec<&Rc<Key>> = held.candidates(kid, self.algorithm).collect();
        if keys.is_empty() {
            let kid = excerpt(kid.ok_or_else(without_kid)?);
            let missing = MissingKey {
                kid,
                document: self.key_document(),
                provider: self.provider.kind,
                keys: held.keys.len(),
                age: held.age(self.given.now).map(|age| age.as_secs()),
                next_refresh: None,
            };
            return Err(self.lacking(Check::KeyId, Want::Kid, Refusal::KeyUnknown(Box::new(missing))));
        }
        self.tell(Check::KeyId, Outcome::Passed);
        let mut candidates = keys.iter();
        self.step(Check::Key, candidates.try_for_each(|key| binding.check_key(key, self.algorithm, held)))?;
        self.recorder.key(&|| self.key_told());
        Ok(keys)
    }

    fn lacking(&self, check: Check, want: Want, otherwise: Refusal) -> (Stage, Halt) {
        self.tell(check, Outcome::Lacking);
        (stage(check), Halt::Lack(Box::new(Lack { document: self.authority.document, want, otherwise })))
    }

    /// The keys of the authority, if they are held and young enough.
    pub(super) fn held(&self) -> Option<&Held> {
        self.given.keys.get(self.authority.document, self.given.now)
    }

    /// Where the authority's keys begin: its metadata.
    pub(super) fn document(&self) -> String {
        let fetched = self.given.policy.documents.get(self.authority.document.0).and_then(Option::as_ref);
        fetched.map_or_else(|| "the inline jwks".to_owned(), |document| document.metadata.to_string())
    }

    /// Where the keys themselves are, as far as that is known.
    pub(super) fn key_document(&self) -> String {
        let address = self.held().and_then(|held| held.address.as_ref());
        address.map_or_else(|| self.document(), ToString::to_string)
    }

    /// The verified claims, and the key that verified them.
    pub(super) fn verify<'k>(&self, keys: &[&'k Rc<Key>]) -> Result<(Signed<'_>, &'k Rc<Key>), Refusal> {
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
    fn facts(&self, believed: Believed<'_>, times: Times, client: Option<&str>) -> Result<Facts, Refusal> {
        let claims = believed.claims();
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
        let mut permissions = if asked.permissions {
            HeldPermissions::read(claims, self.provider.kind)
        } else {
            Ok(HeldPermissions::unread(self.provider.kind))
        };
        // What Graph may be asked for by the token says nothing of this API, however it is called.
        if let Ok(held) = &mut permissions
            && believed.is_for_graph()
        {
            held.scopes.clear();
            held.roles.clear();
        }
        let forward = &self.given.policy.forward;
        let mut headers = Vec::with_capacity(forward.claim_headers.len().saturating_add(1));
        if let Some(header) = &forward.payload_header {
            headers.push((header.clone(), believed.payload().into_owned()));
        }
        for claim_header in &forward.claim_headers {
            if let Some(value) = claim_header.claim.find(claims).and_then(header_value) {
                headers.push((claim_header.header.clone(), value));
            }
        }
        let is_asked = forward.filter_state.contains(&State::Payload);
        let payload = is_asked.then(|| payload_text(&believed.payload())).flatten();
        Ok(Facts {
            place: self.place,
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
            until: None,
            unchecked: false,
            key: believed.into_signer(),
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

/// What a failed check says of how far the token came.
pub(super) fn stage(check: Check) -> Stage {
    match check {
        Check::Algorithm
        | Check::Credential
        | Check::Form
        | Check::Issuer
        | Check::Path
        | Check::Policy
        | Check::Preflight
        | Check::Tenant
        | Check::Type
        | Check::Version => Stage::Authority,
        Check::Expiry | Check::Lifetime | Check::NotBefore => Stage::Times,
        Check::Audience => Stage::Audience,
        Check::Client => Stage::Client,
        Check::Claims => Stage::Claims,
        Check::Rule => Stage::Rule,
        Check::Key | Check::KeyId | Check::Keys | Check::StatedIssuer => Stage::Key,
        Check::Signature | Check::Userinfo => Stage::Signature,
        Check::Identity | Check::Introspection | Check::Revocation | Check::Status => Stage::Grant,
        Check::AuthContext | Check::Permissions => Stage::Permission,
    }
}

/// Tokens for Microsoft Graph and Azure Resource Manager: by their audience, or by a `nonce` in the header, with which
/// nobody else can verify them (entra diagnosis 3).
pub(super) fn is_for_graph(token: &Unverified<'_>, audiences: &[&str]) -> bool {
    const GRAPH: [&str; 5] = [
        "00000003-0000-0000-c000-000000000000",
        "00000002-0000-0000-c000-000000000000",
        "https://graph.microsoft.com",
        "https://graph.windows.net",
        "https://management.azure.com",
    ];
    token.header.has_nonce || audiences.iter().any(|audience| GRAPH.contains(&audience.trim_end_matches('/')))
}

/// Whether a token has what only ID tokens have.
pub(super) fn is_marked_as_id_token(claims: &Object) -> bool {
    ["nonce", "at_hash", "c_hash"].iter().any(|claim| claims.contains_key(*claim))
}

/// ID tokens carry `nonce`, `at_hash` or `c_hash`, or neither a client nor a permission (entra diagnosis 5).
fn looks_like_id_token(claims: &Object, client: Option<&str>) -> bool {
    let has = |claim: &str| claims.contains_key(claim);
    is_marked_as_id_token(claims) || (client.is_none() && !has("scp") && !has("roles"))
}
