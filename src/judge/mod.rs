//! The decision: one function of the request's facts, the policy, the keys, the revocations and the time.
//!
//! It answers «allow», «refuse», or «I lack these keys». It never fetches, waits, logs or reads a clock; a request that
//! waited is judged again from the start. Cheap checks come before the signature; nothing is allowed before it.

mod attempt;
pub mod bearer;
pub mod challenge;
pub mod claims;
pub mod diagnosis;
mod encryption;
pub mod facts;
mod inquiry;
pub mod issuer;
pub mod memory;
pub mod permissions;
pub mod refusal;
pub mod request;
pub mod requirement;
mod told;
pub mod trace;
pub mod verdict;

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;

use self::attempt::{Attempt, Halt, Stage, is_for_graph, is_marked_as_id_token};
use self::bearer::Credential;
use self::facts::Facts;
use self::inquiry::{introspecting, judge_opaque, may_be_recalled};
use self::memory::Memory;
use self::refusal::{AudienceHint, IssuerHint, Refusal, RequestFault, TokenFault, TypeFault};
use self::request::Request;
use self::trace::{Check, Outcome, Recorder, Told, Trace, outcome};
use self::verdict::{Grant, Judgement, Recall, Seen, Verdict};
use crate::inquiry::heard::Heard;
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::Unverified;
use crate::jose::json::Object;
use crate::jose::signature::Signatures;
use crate::keys::freshness::Millis;
use crate::keys::store::KeyStore;
use crate::policy::provider::{Place, Provider};
use crate::policy::requirement::Requirement;
use crate::policy::rules::{Numbered, Selection, WithoutToken};
use crate::policy::sources::Source;
use crate::policy::{Policy, Preflights};
use crate::revocation::Revocations;

/// All that a decision depends on beside the request.
pub struct Given<'a> {
    /// What is configured.
    pub policy: &'a Policy,
    /// What keys are held.
    pub keys: &'a KeyStore,
    /// What is revoked.
    pub revocations: &'a Revocations,
    /// Which tokens were verified before.
    pub memory: &'a Memory,
    /// What others said of tokens.
    pub heard: &'a Heard,
    /// The time, in milliseconds since the Unix epoch.
    pub now: Millis,
    /// Who verifies signatures.
    pub signatures: &'a dyn Signatures,
}

impl Given<'_> {
    fn seconds(&self) -> u64 {
        self.now / 1_000
    }
}

/// Judges a request.
#[must_use]
pub fn judge(request: &Request, given: &Given<'_>) -> Judgement {
    judge_telling(request, given, Recorder(None))
}

/// The same, by the same code, with what it did. A token that is remembered is judged whole: that says more, and ends
/// alike.
#[must_use]
pub fn explain(request: &Request, given: &Given<'_>) -> (Judgement, Trace) {
    let trace = RefCell::new(Trace::default());
    let judgement = judge_telling(request, given, Recorder(Some(&trace)));
    (judgement, trace.into_inner())
}

fn judge_telling(request: &Request, given: &Given<'_>, recorder: Recorder<'_>) -> Judgement {
    let (mut seen, mut recall) = (Seen::default(), Recall::None);
    recorder.request(request, given.seconds());
    let verdict = match decide(request, given, &mut seen, &mut recall, recorder) {
        Ok(facts) => Verdict::Allow(Grant { facts }),
        Err(Halt::Ask(ask)) => Verdict::Ask(*ask),
        Err(Halt::Lack(lack)) => Verdict::Lack(*lack),
        Err(Halt::Refuse(refusal)) => Verdict::Refuse(refusal),
    };
    Judgement { verdict, seen, recall }
}

/// The facts of the token that lets the request pass, or none where it needs no token.
fn decide(
    request: &Request,
    given: &Given<'_>,
    seen: &mut Seen,
    recall: &mut Recall,
    recorder: Recorder<'_>,
) -> Result<Option<Rc<Facts>>, Halt> {
    let refused = |check: Check| move |refusal: &Refusal| tell_refusal(recorder, check, refusal);
    if request.preflight && given.policy.preflights == Preflights::Pass {
        tell(recorder, Check::Preflight, "OPTIONS with origin and access-control-request-method", "");
        return Ok(None);
    }
    let mut tell_rule = |path: &str, rule: Option<Numbered<'_>>| recorder.rule(path, rule);
    let selection =
        given.policy.rules.select_telling(&request.method, &request.authority, &request.path, &mut tell_rule);
    let (requirements, without_token) = match selection {
        Selection::Anonymous => return Ok(None),
        Selection::Token { requirements, without_token } => (requirements, without_token),
        Selection::Unreadable => {
            return Err(Refusal::RequestMalformed(RequestFault::Path)).inspect_err(refused(Check::Path))?;
        }
    };
    let sources = &given.policy.sources;
    let found = bearer::find(&request.carried, sources).inspect_err(refused(Check::Credential))?;
    let Some(Credential { bytes, source }) = found else {
        return match without_token {
            WithoutToken::Passes => Ok(None),
            WithoutToken::Refused => {
                Err(Refusal::TokenMissing { usage: sources.usage() }).inspect_err(refused(Check::Credential))?
            }
        };
    };
    let comes_from = |provider: usize| {
        given.policy.providers.all().get(provider).is_some_and(|provider| provider.sources.contains(&source))
    };
    *recall = Recall::Miss;
    let fits_rule = |provider: usize| requirements.iter().all(|requirement| requirement.accepts(provider));
    let accepts = |provider: usize| fits_rule(provider) && comes_from(provider);
    let still_good = |facts: &&Rc<Facts>| {
        comes_from(facts.place.provider)
            && facts.are_admitted(&requirements, given)
            && facts.still_hold(given)
            && may_be_recalled(facts, &accepts, given)
    };
    let remembered = given.memory.recall(bytes).filter(still_good);
    let is_remembered = remembered.is_some();
    if let Some(facts) = remembered.filter(|_| !recorder.is_on()) {
        *recall = Recall::Hit;
        let uses = facts
            .check_revocation(given)
            .and_then(|()| facts.check_permissions(&requirements))
            .and_then(|()| facts.check_sign_in(&requirements, given));
        uses.inspect_err(|_| *seen = facts.seen())?;
        return Ok(Some(Rc::clone(facts)));
    }
    // What is remembered is of the right form: only others are looked at byte by byte.
    let text = bearer::b64token(bytes).inspect_err(refused(Check::Credential))?;
    if recorder.is_on() {
        let place = sources.all().nth(source).map_or_else(String::new, Source::usage);
        tell(recorder, Check::Credential, ONE_TOKEN, &place);
        recorder.found(place, is_remembered);
    }
    let opened = encryption::open(text, &accepts, given.policy, seen).inspect_err(refused(Check::Form))?;
    let token = match Unverified::read(opened.text()) {
        Ok(token) => token,
        Err(form) => {
            let is_plain = |provider: usize| accepts(provider) && !opened.was_encrypted();
            let Some(provider) = introspecting(form, &is_plain, given) else {
                return Err(opened.fault(form)).inspect_err(refused(Check::Form))?;
            };
            tell(recorder, Check::Form, "a token of its authorization server's own form", "one");
            let facts = judge_opaque(text, provider, &requirements, given, seen, recorder)?;
            return Ok(Some(Rc::new(facts)));
        }
    };
    recorder.token(&token, opened.was_encrypted(), given);
    tell(recorder, Check::Form, FORM, if opened.was_encrypted() { "one within a JWE" } else { "one" });
    let accepts = |provider: usize| accepts(provider) && opened.is_for(provider, given.policy);
    let judged = judge_token(&token, text, &requirements, &accepts, given, seen, recorder);
    let facts = judged.inspect_err(|_| note(&token, seen))?;
    Ok(Some(Rc::new(facts)))
}

fn judge_token(
    token: &Unverified<'_>,
    text: &str,
    requirements: &[&Requirement],
    accepts: &dyn Fn(usize) -> bool,
    given: &Given<'_>,
    seen: &mut Seen,
    recorder: Recorder<'_>,
) -> Result<Facts, Halt> {
    let refused = |check: Check| move |refusal: &Refusal| tell_refusal(recorder, check, refusal);
    let algorithm = Algorithm::from_name(&token.header.alg)
        .ok_or_else(|| unknown_algorithm(&token.header.alg, given.policy, accepts))
        .inspect_err(refused(Check::Algorithm))?;
    let typed = check_type(token);
    recorder.check(Check::Type, None, outcome(&typed), &|| Some(type_told(token)));
    typed?;
    let iss = claims::text(&token.claims, "iss")
        .and_then(|iss| iss.ok_or(Refusal::ClaimMissing { claim: "iss" }))
        .inspect_err(refused(Check::Issuer))?;
    let tid = tenant_claim(&token.claims).inspect_err(refused(Check::Tenant))?;

    let mut farthest: Option<(Stage, Halt)> = None;
    for place in given.policy.providers.candidates(iss, tid).filter(|place| accepts(place.provider)) {
        let Some((provider, authority)) = given.policy.providers.at(place) else { continue };
        let told_of = None;
        let attempt = Attempt {
            token,
            text,
            told_of,
            iss,
            tid,
            algorithm,
            place,
            provider,
            authority,
            requirements,
            given,
            recorder,
        };
        let (stage, halt) = match attempt.run() {
            Ok(facts) => return Ok(facts),
            Err(failure) => failure,
        };
        if farthest.as_ref().is_none_or(|(other, _)| *other < stage) {
            seen.provider = Some(provider.name.clone());
            farthest = Some((stage, halt));
        }
        // Every further provider would cost another signature: whoever sends a forged token does not get that, and what a
        // token permits is the same for all of them.
        if matches!(stage, Stage::Signature | Stage::Permission) {
            break;
        }
    }
    let fits_rule = |provider: usize| requirements.iter().all(|requirement| requirement.accepts(provider));
    if let Some((_, halt)) = farthest {
        return Err(halt);
    }
    let refusal = mistaken(token, wrong_issuer(iss, tid, given.policy, &fits_rule), given.policy, &fits_rule);
    let mistaken_for = [
        (matches!(refusal, Refusal::AudienceNotAllowed { .. }), Check::Audience),
        (matches!(refusal, Refusal::TokenTypeNotAllowed(_)), Check::Client),
    ];
    if let Some((_, check)) = mistaken_for.into_iter().find(|(is_this, _)| *is_this) {
        tell_refusal(recorder, check, &refusal);
        return Err(refusal.into());
    }
    recorder.check(Check::Issuer, None, Outcome::Failed, &|| {
        let issuers = accepted(given.policy, &fits_rule).into_iter().flat_map(|provider| &provider.authorities);
        let mut issuers: Vec<&str> = issuers.map(|authority| authority.issuer.as_str()).take(MOST_ISSUERS).collect();
        issuers.dedup();
        Some(Told { expected: format!("one of [{}]", issuers.join(", ")), found: excerpt(iss) })
    });
    Err(refusal.into())
}

/// What a compact JWS is called where one is expected.
const FORM: &str = "a compact JWS";
/// What is looked for in a request.
const ONE_TOKEN: &str = "one access token";
/// Most issuers that a trace lists.
const MOST_ISSUERS: usize = 8;

/// A check that passed outside any attempt.
fn tell(recorder: Recorder<'_>, check: Check, expected: &str, found: &str) {
    let told = || Some(Told { expected: expected.to_owned(), found: found.to_owned() });
    recorder.check(check, None, Outcome::Passed, &told);
}

/// A check that failed before there was an attempt.
fn tell_refusal(recorder: Recorder<'_>, check: Check, refusal: &Refusal) {
    recorder.check(check, None, Outcome::Failed, &|| {
        let expected = if check == Check::Credential {
            ONE_TOKEN
        } else if check == Check::Form {
            FORM
        } else {
            ""
        };
        Some(Told { expected: expected.to_owned(), found: refusal.detail() })
    });
}

fn type_told(token: &Unverified<'_>) -> Told {
    let member = |value: &Option<String>| value.as_deref().map_or("absent".to_owned(), excerpt);
    let found = format!("typ {}, cty {}", member(&token.header.typ), member(&token.header.cty));
    Told { expected: "typ JWT or at+jwt, if any; no cty".to_owned(), found }
}

/// A token of the other version may be another mistake altogether: most tokens for Microsoft Graph are v1, and so are
/// many ID tokens. A change of the API's registration would not help.
fn mistaken(token: &Unverified<'_>, refusal: Refusal, policy: &Policy, fits_rule: &dyn Fn(usize) -> bool) -> Refusal {
    let Refusal::TokenVersionNotAllowed { found, provider, .. } = refusal else {
        return refusal;
    };
    let audiences = claims::audiences(&token.claims).unwrap_or_default();
    let cut = || audiences.iter().take(5).map(|audience| excerpt(audience)).collect::<Vec<String>>();
    if is_for_graph(token, &audiences) {
        let expected =
            accepted(policy, fits_rule).into_iter().flat_map(|provider| provider.audiences.clone()).collect();
        return Refusal::AudienceNotAllowed { found: cut(), expected, hint: AudienceHint::Graph };
    }
    if is_marked_as_id_token(&token.claims) {
        return Refusal::TokenTypeNotAllowed(TypeFault::IdToken);
    }
    Refusal::TokenVersionNotAllowed { found, provider, audience: cut().join(", ") }
}

fn unknown_algorithm(found: &str, policy: &Policy, accepts: &dyn Fn(usize) -> bool) -> Refusal {
    let mut allowed: Vec<Algorithm> =
        accepted(policy, accepts).into_iter().flat_map(|provider| provider.algorithms.clone()).collect();
    allowed.dedup();
    Refusal::AlgorithmNotAllowed { found: excerpt(found), allowed }
}

fn wrong_issuer(iss: &str, tid: Option<&str>, policy: &Policy, fits_rule: &dyn Fn(usize) -> bool) -> Refusal {
    let provider = |place: Place| Some(policy.providers.at(place)?.0.name.clone());
    let candidates = || policy.providers.candidates(iss, tid);
    // Accepted by the rule, and yet not tried: it is where the token was, or how it was encrypted.
    if let Some(provider) = candidates().find(|place| fits_rule(place.provider)).and_then(provider) {
        return issuer::fault(iss, &accepted(policy, fits_rule), IssuerHint::OtherSource { provider });
    }
    let mut refusal = issuer::wrong(iss, tid, &accepted(policy, fits_rule));
    if let Refusal::IssuerNotAllowed(fault) = &mut refusal
        && let (IssuerHint::Unknown, Some(provider)) = (&fault.hint, candidates().find_map(provider))
    {
        fault.hint = IssuerHint::OtherRule { provider };
    }
    refusal
}

/// The providers that the rule accepts.
fn accepted<'a>(policy: &'a Policy, accepts: &dyn Fn(usize) -> bool) -> Vec<&'a Provider> {
    let all = policy.providers.all().iter().enumerate();
    all.filter(|(at, _)| accepts(*at)).map(|(_, provider)| provider).collect()
}

/// `cty` of a token within a token, `typ` of another kind of token.
fn check_type(token: &Unverified<'_>) -> Result<(), Refusal> {
    check_kind(token.header.typ.as_deref())?;
    if token.header.cty.is_some() {
        return Err(Refusal::TokenTypeNotAllowed(TypeFault::Nested));
    }
    Ok(())
}

/// `typ` of an access token, or none (RFC 8725 section 3.11, RFC 9068 section 2.1).
fn check_kind(typ: Option<&str>) -> Result<(), Refusal> {
    if let Some(typ) = typ {
        let plain = typ
            .get(..12)
            .filter(|prefix| prefix.eq_ignore_ascii_case("application/"))
            .map_or(Some(typ), |_| typ.get(12..));
        let accepted = plain.is_some_and(|typ| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt"));
        if !accepted {
            return Err(Refusal::TokenTypeNotAllowed(TypeFault::Typ(excerpt(typ))));
        }
    }
    Ok(())
}

/// `tid`, in one spelling only: two would name two tenants (IDX40011 of Microsoft.IdentityModel).
fn tenant_claim(claims: &Object) -> Result<Option<&str>, Refusal> {
    let other_spelling = claims.keys().any(|name| name != "tid" && name.eq_ignore_ascii_case("tid"));
    if other_spelling {
        return Err(Refusal::TokenMalformed(TokenFault::ClaimSpellings { claim: "tid" }));
    }
    claims::text(claims, "tid")
}

fn note(token: &Unverified<'_>, seen: &mut Seen) {
    let text =
        |names: &[&str]| names.iter().find_map(|name| token.claims.get(*name)).and_then(Value::as_str).map(excerpt);
    seen.issuer = text(&["iss"]);
    seen.tenant = text(&["tid"]);
    seen.client = text(&["azp", "appid"]);
    seen.token_id = text(&["uti", "jti"]);
    seen.kid = token.header.kid.as_deref().map(excerpt);
}

/// As much of a token's text as a log line should hold.
fn excerpt(text: &str) -> String {
    const MOST_CHARACTERS: usize = 200;
    let end = text.char_indices().nth(MOST_CHARACTERS).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default().to_owned()
}
