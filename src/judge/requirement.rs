//! What providers and rules ask of a token beyond its being good. Every check reads either all of a token's claims or what
//! is kept of them, and says the same of both: a remembered token passes nowhere where a new one would not.

use serde_json::Value;

use super::permissions::HeldPermissions;
use super::refusal::{AudienceHint, Reason, Refusal, TokenFault};
use super::{claims, excerpt};
use crate::jose::json::Object;
use crate::policy::claim::{Condition, Needs, RequiredClaim, Unmet};
use crate::policy::provider::Provider;
use crate::policy::requirement::Requirement;

/// A required claim that is not as required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFault {
    /// Its name, as configured.
    pub claim: String,
    /// Its value as JSON, cut short; none if it is missing, null or empty.
    pub found: Option<String>,
    /// What would be accepted.
    pub expected: String,
    /// Why it is probably so.
    pub hint: ClaimHint,
}

/// Why a claim is probably not as required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimHint {
    /// Nothing is known.
    Other,
    /// The user is in more groups than a token holds: it has a link in their place.
    Overage,
}

impl Requirement {
    pub(super) fn accepts(&self, provider: usize) -> bool {
        self.providers.as_ref().is_none_or(|accepted| accepted.contains(&provider))
    }

    /// Audience, client and claims: the rule narrows what the token's provider accepts.
    pub(super) fn admit(&self, claims: &Object, client: Option<&str>, provider: &Provider) -> Result<(), Refusal> {
        self.check_audience(claims, provider)?;
        self.check_client(client)?;
        check_claims(&self.claims, claims)
    }

    /// Whether the token carries the permissions that the rule asks for.
    pub(super) fn permit(&self, held: &Result<HeldPermissions, TokenFault>) -> Result<(), Refusal> {
        let Some(required) = &self.permissions else {
            return Ok(());
        };
        let held = held.as_ref().map_err(|fault| Refusal::TokenMalformed(*fault))?;
        held.check(required).map_err(Refusal::Insufficient)
    }

    fn check_audience(&self, claims: &Object, provider: &Provider) -> Result<(), Refusal> {
        let Some(accepted) = &self.audiences else {
            return Ok(());
        };
        let is_accepted = |audience: &str| {
            accepted.iter().any(|known| known == audience) && provider.audiences.iter().any(|known| known == audience)
        };
        let holds = match claims.get("aud") {
            Some(Value::String(audience)) => is_accepted(audience),
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).any(is_accepted),
            _ => false,
        };
        if holds {
            return Ok(());
        }
        let found = claims::audiences(claims)?.into_iter().take(5).map(excerpt).collect();
        Err(Refusal::AudienceNotAllowed { found, expected: accepted.clone(), hint: AudienceHint::OtherRule })
    }

    fn check_client(&self, client: Option<&str>) -> Result<(), Refusal> {
        match (&self.client_applications, client) {
            (None, _) => Ok(()),
            (Some(accepted), Some(client)) if accepted.iter().any(|known| known == client) => Ok(()),
            (Some(accepted), Some(client)) => {
                Err(Refusal::ClientNotAllowed { found: excerpt(client), expected: accepted.clone() })
            }
            (Some(_), None) => Err(Refusal::ClaimMissing { claim: "azp" }),
        }
    }
}

/// Holds claims to conditions, all of them.
pub(super) fn check_claims(required: &[RequiredClaim], claims: &Object) -> Result<(), Refusal> {
    for required in required {
        required.check(claims).map_err(|unmet| Refusal::RequiredClaim(ClaimFault::of(required, unmet, claims)))?;
    }
    Ok(())
}

/// What a claim must hold, in words.
pub(super) fn wanted(required: &RequiredClaim) -> String {
    match &required.condition {
        Condition::Present => "any value".to_owned(),
        Condition::Values { needs, values, .. } => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            let needs = match needs {
                Needs::All => "all of",
                Needs::Any => "any of",
            };
            format!("{needs} [{}]", values.join(", "))
        }
    }
}

impl ClaimFault {
    fn of(required: &RequiredClaim, unmet: Unmet<'_>, claims: &Object) -> Self {
        let claim = required.claim.as_str().to_owned();
        let expected = wanted(required);
        // Microsoft's access token claims reference, «groups overage claim».
        let links = claims.get("_claim_names").and_then(Value::as_object);
        let is_overage = links.is_some_and(|links| links.contains_key(&claim))
            || (claim == "groups" && claims.get("hasgroups") == Some(&Value::Bool(true)));
        let (found, hint) = match unmet {
            Unmet::Missing if is_overage => (None, ClaimHint::Overage),
            Unmet::Missing => (None, ClaimHint::Other),
            Unmet::Other(value) => (Some(excerpt(&value.to_string())), ClaimHint::Other),
        };
        Self { claim, found, expected, hint }
    }

    /// The stable word.
    #[must_use]
    pub fn reason(&self) -> Reason {
        if self.found.is_some() { Reason::ClaimNotAllowed } else { Reason::ClaimMissing }
    }

    /// What a developer must change.
    #[must_use]
    pub fn sentence(&self) -> String {
        let claim = &self.claim;
        match (self.hint, &self.found) {
            (ClaimHint::Overage, _) => format!(
                "The user has more {claim} than a token holds, so it has a link in place of the {claim} claim (overage). \
                 Have only the groups that are assigned to the application emitted, or use app roles."
            ),
            (ClaimHint::Other, None) => format!("The token has no {claim} claim, which is required here."),
            (ClaimHint::Other, Some(_)) => format!("The token's {claim} claim does not hold what is required here."),
        }
    }

    /// What was found and what was expected.
    #[must_use]
    pub fn detail(&self) -> String {
        let Self { claim, found, expected, hint } = self;
        match (found, hint) {
            (Some(found), _) => format!("{claim} {found}, expected {expected}"),
            (None, ClaimHint::Overage) => format!("no {claim} but a link (overage), expected {expected}"),
            (None, ClaimHint::Other) => format!("no {claim}, expected {expected}"),
        }
    }
}
