//! What is asked of others about a token, after all that the token says itself, and what follows from their answers.
//!
//! Nobody is asked about a token that is refused anyway, but for its signature where that is what is asked.

use std::borrow::Cow;
use std::rc::Rc;

use super::attempt::{Attempt, Halt};
use super::facts::{Facts, Signer};
use super::refusal::{IssuerHint, Refusal, TokenFault};
use super::trace::{Check, Outcome, Recorder, Told, outcome};
use super::verdict::{Ask, Seen};
use super::{Given, claims, excerpt, issuer, note, tenant_claim};
use crate::inquiry::introspection::Active;
use crate::inquiry::source::{GraphTokens, OnFailure, Tokens};
use crate::inquiry::status_list::Reference;
use crate::inquiry::userinfo::Confirmed;
use crate::inquiry::{Fault, Kind, Question, Said, Word};
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::{Malformed, Segment, Signed, Unverified};
use crate::jose::json::Object;
use crate::keys::freshness::Millis;
use crate::policy::provider::Provider;
use crate::policy::requirement::Requirement;

/// What revokes a token by its status.
const BY_STATUS_LIST: &str = "status list";

/// Claims that are believed, each with the proof that they may be.
pub(super) enum Believed<'a> {
    /// Microsoft Graph takes the token, and names its `sub`.
    ByGraph(&'a Unverified<'a>, Confirmed),
    /// Their authorization server told them.
    Told(&'a Active),
    /// Their signature is good.
    Signed(Signed<'a>, Signer),
}

impl Believed<'_> {
    pub(super) fn claims(&self) -> &Object {
        match self {
            Self::ByGraph(token, _) => &token.claims,
            Self::Signed(signed, _) => signed.claims(),
            Self::Told(active) => active.claims(),
        }
    }

    /// base64url of the claims.
    pub(super) fn payload(&self) -> Cow<'_, str> {
        match self {
            Self::ByGraph(token, _) => Cow::Borrowed(token.payload()),
            Self::Signed(signed, _) => Cow::Borrowed(signed.payload()),
            Self::Told(active) => Cow::Owned(active.payload()),
        }
    }

    /// Whether its permissions are for somebody else's API.
    pub(super) fn is_for_graph(&self) -> bool {
        matches!(self, Self::ByGraph(..))
    }

    /// What is looked for again whenever the token is remembered.
    pub(super) fn into_signer(self) -> Option<Signer> {
        match self {
            Self::Signed(_, signer) => Some(signer),
            Self::ByGraph(..) | Self::Told(_) => None,
        }
    }
}

impl<'a> Attempt<'a> {
    /// Why the token's claims may be believed, and how long that counts where somebody said so.
    pub(super) fn believe(&self) -> Result<(Believed<'_>, Option<Millis>), (super::attempt::Stage, Halt)> {
        if let Some(active) = self.told_of {
            return Ok((Believed::Told(active), None));
        }
        if self.graph_bound().is_some() {
            let word = self.word(Check::Userinfo, Kind::Userinfo, self.text)?;
            let confirmed = self.step(Check::Userinfo, self.confirm(word))?;
            return Ok((Believed::ByGraph(self.token, confirmed), Some(word.until)));
        }
        let keys = self.keys()?;
        let (signed, key) = self.step(Check::Signature, self.verify(&keys))?;
        let signer = Signer { key: Rc::clone(key), algorithm: self.algorithm };
        Ok((Believed::Signed(signed, signer), None))
    }

    /// How the provider takes tokens for Microsoft Graph, if this is one: its audience is Graph, and the `nonce` in its
    /// header keeps everybody else from verifying it.
    pub(super) fn graph_bound(&self) -> Option<&'a GraphTokens> {
        let settings = self.provider.graph_tokens.as_ref()?;
        let audience = self.token.claims.get("aud").and_then(serde_json::Value::as_str)?;
        let is_for_graph = self.token.header.has_nonce && settings.audiences.iter().any(|known| known == audience);
        (is_for_graph && self.told_of.is_none()).then_some(settings)
    }

    /// Asks about a token that is good so far: whether it is still active, and its status.
    pub(super) fn inquire(&self, facts: &mut Facts) -> Result<(), (super::attempt::Stage, Halt)> {
        let introspection = self.provider.introspection.as_ref();
        let asks = introspection.filter(|settings| settings.tokens == Tokens::All && self.told_of.is_none());
        if let Some(settings) = asks {
            let word = self.word(Check::Introspection, Kind::Introspection, self.text)?;
            let checked = self.check_active(word).map(|active| self.check_told(active));
            let unchecked = self.settle(Check::Introspection, checked, settings.on_failure)?;
            facts.count_until(word.until, unchecked);
        }
        let Some(settings) = &self.provider.status_lists else {
            return Ok(());
        };
        let reference = Reference::read(&self.token.claims)
            .map_err(|expected| Refusal::TokenMalformed(TokenFault::ClaimType { claim: "status", expected }));
        let reference = reference.and_then(|reference| match reference {
            Some(reference) if !settings.allowed.iter().any(|allowed| allowed.admits(&reference.uri)) => {
                let allowed: Vec<String> = settings.allowed.iter().map(ToString::to_string).collect();
                let (found, expected) = (excerpt(&reference.uri), format!("a list of [{}]", allowed.join(", ")));
                Err(Refusal::ClaimNotAllowed { claim: "status", found, expected })
            }
            reference => Ok(reference),
        });
        let Some(reference) = reference.map_err(|refusal| self.failed(Check::Status, refusal))? else {
            return Ok(());
        };
        let word = self.word(Check::Status, Kind::StatusList, &reference.uri)?;
        let unchecked = self.settle(Check::Status, self.check_status(word, &reference), settings.on_failure)?;
        facts.count_until(word.until, unchecked);
        Ok(())
    }

    /// The outcome of what was asked: whether the token passes unchecked.
    fn settle(
        &self,
        check: Check,
        checked: Result<Result<(), Refusal>, Refusal>,
        on_failure: OnFailure,
    ) -> Result<bool, (super::attempt::Stage, Halt)> {
        match checked {
            Ok(checked) => self.step(check, checked).map(|()| false),
            Err(refusal) if is_lack(&refusal) && on_failure == OnFailure::Allow => {
                self.tell(check, Outcome::Lacking);
                Ok(true)
            }
            Err(refusal) => Err(self.failed(check, refusal)),
        }
    }

    /// What counts as the answer, or that somebody has to be asked.
    fn word(&self, check: Check, kind: Kind, about: &str) -> Result<&'a Rc<Word>, (super::attempt::Stage, Halt)> {
        let question = self.question(kind, about);
        self.given.heard.word(&question, self.given.now).ok_or_else(|| {
            self.tell(check, Outcome::Lacking);
            let otherwise = lack(&question, &Fault::Busy, self.given.now, self.given);
            (super::attempt::stage(check), Halt::Ask(Box::new(Ask { question, otherwise })))
        })
    }

    pub(super) fn question(&self, kind: Kind, about: &str) -> Question {
        let (provider, document) = (self.place.provider, self.authority.document);
        Question { kind, provider, document, about: about.to_owned() }
    }

    fn check_active(&self, word: &'a Word) -> Result<&'a Active, Refusal> {
        active(word, &self.question(Kind::Introspection, self.text), self.given)
    }

    /// The answer must be about this token: a server that repeats claims repeats these.
    fn check_told(&self, active: &Active) -> Result<(), Refusal> {
        for claim in ["iss", "sub"] {
            let (own, told) = (claims::text(&self.token.claims, claim)?, claims::text(active.claims(), claim)?);
            if let (Some(own), Some(told)) = (own, told)
                && own != told
            {
                return Err(Refusal::ClaimNotAllowed { claim, found: excerpt(own), expected: excerpt(told) });
            }
        }
        Ok(())
    }

    fn check_status(&self, word: &Word, reference: &Reference) -> Result<Result<(), Refusal>, Refusal> {
        let question = || self.question(Kind::StatusList, &reference.uri);
        let list = match &word.said {
            Said::Listed(list) => list,
            Said::Nothing(fault) => return Err(lack(&question(), fault, word.until, self.given)),
            Said::Active(_) | Said::Inactive | Said::Refused(_) | Said::Taken(_) => {
                return Err(lack(&question(), &Fault::Unreadable, word.until, self.given));
            }
        };
        Ok(match list.status(reference.index) {
            Some(0) => Ok(()),
            Some(_) => Err(Refusal::TokenRevoked { subject: BY_STATUS_LIST, challenge: None }),
            None => Err(Refusal::ClaimNotAllowed {
                claim: "status",
                found: format!("idx {}", reference.index),
                expected: format!("a place in the list of {}", list.len()),
            }),
        })
    }

    fn confirm(&self, word: &Word) -> Result<Confirmed, Refusal> {
        let question = || self.question(Kind::Userinfo, self.text);
        match &word.said {
            Said::Taken(subject) => {
                let sub = claims::text(&self.token.claims, "sub")?;
                let told = |told: &str| Refusal::ClaimNotAllowed {
                    claim: "sub",
                    found: excerpt(sub.unwrap_or_default()),
                    expected: excerpt(told),
                };
                subject.confirm(sub).map_err(told)
            }
            Said::Refused(status) => {
                Err(Refusal::TokenInactive { by: self.given.policy.asked(&question()), status: Some(*status) })
            }
            Said::Nothing(fault) => Err(lack(&question(), fault, word.until, self.given)),
            Said::Active(_) | Said::Inactive | Said::Listed(_) => {
                Err(lack(&question(), &Fault::Unreadable, word.until, self.given))
            }
        }
    }

    /// What was said, in words.
    pub(super) fn said(&self, kind: Kind, about: &str) -> String {
        let word = self.given.heard.word(&self.question(kind, about), self.given.now);
        match word.map(|word| &word.said) {
            None => "not asked yet".to_owned(),
            Some(Said::Active(_)) => "active".to_owned(),
            Some(Said::Inactive) => "not active".to_owned(),
            Some(Said::Listed(list)) => format!("a list of {}", list.len()),
            Some(Said::Nothing(fault)) => fault.to_string(),
            Some(Said::Refused(status)) => format!("status {status}"),
            Some(Said::Taken(_)) => "taken".to_owned(),
        }
    }
}

/// The provider that is asked about a token that is no JWT. Such a token does not say whose it is: where several could
/// be asked, nobody is, for a token is not to be shown to other servers than its own.
pub(super) fn introspecting(form: Malformed, accepts: &dyn Fn(usize) -> bool, given: &Given<'_>) -> Option<usize> {
    let is_opaque =
        matches!(form, Malformed::Segments | Malformed::Base64(Segment::Header) | Malformed::Json(Segment::Header, _));
    let all = given.policy.providers.all().iter().enumerate();
    let mut asked = all.filter(|(at, provider)| provider.introspection.is_some() && accepts(*at)).map(|(at, _)| at);
    match (asked.next(), asked.next()) {
        (Some(only), None) if is_opaque => Some(only),
        _ => None,
    }
}

/// Whether a remembered token would be asked about where it is used now, if it was asked about: it passes nowhere where a
/// new one would not.
pub(super) fn may_be_recalled(facts: &Facts, accepts: &dyn Fn(usize) -> bool, given: &Given<'_>) -> bool {
    let at = facts.place.provider;
    let is_opaque = || given.policy.providers.all().get(at).is_some_and(|provider| provider.introspection.is_some());
    facts.key.is_some() || !is_opaque() || introspecting(Malformed::Segments, accepts, given) == Some(at)
}

/// Judges a token that is no JWT: by the claims that its authorization server tells, as if they were its own.
pub(super) fn judge_opaque(
    text: &str,
    at: usize,
    requirements: &[&Requirement],
    given: &Given<'_>,
    seen: &mut Seen,
    recorder: Recorder<'_>,
) -> Result<Facts, Halt> {
    let provider = given.policy.providers.all().get(at);
    let first = provider.and_then(|provider| Some((provider, provider.authorities.first()?)));
    let Some((provider, first)) = first else {
        return Err(Refusal::TokenMalformed(TokenFault::Form(Malformed::Segments)).into());
    };
    seen.provider = Some(provider.name.clone());
    let question =
        Question { kind: Kind::Introspection, provider: at, document: first.document, about: text.to_owned() };
    let tell = |outcome: Outcome, found: String| {
        let expected = format!("active, by {}", given.policy.asked(&question));
        let told = || Some(Told { expected: expected.clone(), found: found.clone() });
        recorder.check(Check::Introspection, Some(&provider.name), outcome, &told);
    };
    let Some(word) = given.heard.word(&question, given.now) else {
        tell(Outcome::Lacking, "not asked yet".to_owned());
        let otherwise = lack(&question, &Fault::Busy, given.now, given);
        return Err(Halt::Ask(Box::new(Ask { question, otherwise })));
    };
    let active = active(word, &question, given);
    tell(outcome(&active), active.as_ref().err().map_or_else(|| "active".to_owned(), Refusal::detail));
    let active = active?;
    let token = Unverified::opaque(active.claims().clone());
    recorder.token(&token, false, given);
    let judged = judge_told(&token, text, active, (at, provider), requirements, given, recorder);
    let mut facts = judged.inspect_err(|_| note(&token, seen))?;
    facts.count_until(word.until, false);
    Ok(facts)
}

fn judge_told(
    token: &Unverified<'_>,
    text: &str,
    active: &Active,
    (at, provider): (usize, &Provider),
    requirements: &[&Requirement],
    given: &Given<'_>,
    recorder: Recorder<'_>,
) -> Result<Facts, Halt> {
    let own = provider.authorities.first().map_or("", |authority| authority.issuer.as_str());
    // It need not say so: it was asked as that issuer's server.
    let iss = claims::text(&token.claims, "iss")?.unwrap_or(own);
    let tid = tenant_claim(&token.claims)?;
    let place = given.policy.providers.candidates(iss, tid).find(|place| place.provider == at);
    let Some((place, (provider, authority))) = place.and_then(|place| Some((place, given.policy.providers.at(place)?)))
    else {
        let refusal = issuer::fault(iss, &[provider], IssuerHint::Unknown);
        recorder.check(Check::Issuer, Some(&provider.name), Outcome::Failed, &|| {
            Some(Told { expected: own.to_owned(), found: excerpt(iss) })
        });
        return Err(refusal.into());
    };
    // Nothing is verified with it.
    let algorithm = provider.algorithms.first().copied().unwrap_or(Algorithm::Rs256);
    let told_of = Some(active);
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
    attempt.run().map_err(|(_, halt)| halt)
}

/// What the server says of an active token.
fn active<'a>(word: &'a Word, question: &Question, given: &Given<'_>) -> Result<&'a Active, Refusal> {
    match &word.said {
        Said::Active(active) => Ok(active),
        Said::Inactive => Err(Refusal::TokenInactive { by: given.policy.asked(question), status: None }),
        Said::Nothing(fault) => Err(lack(question, fault, word.until, given)),
        Said::Listed(_) | Said::Refused(_) | Said::Taken(_) => {
            Err(lack(question, &Fault::Unreadable, word.until, given))
        }
    }
}

/// The answer to a request about whose token nobody says anything.
pub(super) fn lack(question: &Question, fault: &Fault, until: Millis, given: &Given<'_>) -> Refusal {
    let (from, fault) = (given.policy.asked(question), fault.clone());
    let retry_after = until.saturating_sub(given.now).div_ceil(1_000).max(1);
    match question.kind {
        Kind::Introspection | Kind::Userinfo => Refusal::IntrospectionUnavailable { from, fault, retry_after },
        Kind::StatusList => Refusal::StatusUnavailable { list: excerpt(&from), fault, retry_after },
    }
}

/// Whether a refusal is the gate's own lack, and not the token's fault.
fn is_lack(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::IntrospectionUnavailable { .. } | Refusal::StatusUnavailable { .. })
}
