//! What a judgement can be, and what it lets out.

use std::rc::Rc;

use super::facts::Facts;
use super::refusal::Refusal;
use crate::inquiry::Question;
use crate::keys::document::{Document, DocumentId};
use crate::keys::freshness::{Millis, Progress, Prospect};
use crate::policy::forward::State;

/// The four words of the judge.
#[derive(Debug)]
pub enum Verdict {
    /// The request passes.
    Allow(Grant),
    /// Somebody has to be asked about the token; with the answer the question is to be asked again.
    Ask(Ask),
    /// Keys are lacking; with them the question is to be asked again.
    Lack(Lack),
    /// The request is answered here.
    Refuse(Refusal),
}

/// What somebody has to be asked.
#[derive(Debug)]
pub struct Ask {
    /// What, and about what.
    pub question: Question,
    /// The answer if there is none.
    pub otherwise: Refusal,
}

/// What a judgement lacks.
#[derive(Debug)]
pub struct Lack {
    /// Whose keys.
    pub document: DocumentId,
    /// Which of them.
    pub want: Want,
    /// The answer if they cannot be had.
    pub otherwise: Refusal,
}

/// What a request that lacks keys should do.
#[derive(Debug)]
pub enum Outlook {
    /// Wait for the fetch that runs or is about to start.
    Wait,
    /// Take this answer.
    Refuse(Refusal),
}

impl Lack {
    /// Whether waiting helps, from what all workers know about the document's fetching.
    #[must_use]
    pub fn outlook(self, progress: &Progress, document: &Document, now: Millis, jitter: u8) -> Outlook {
        match self.prospect(progress, document, now, jitter) {
            Prospect::Soon => Outlook::Wait,
            Prospect::NotBefore(_) => Outlook::Refuse(self.give_up(progress, document, now, jitter)),
        }
    }

    /// The answer when waiting has not helped, or would not. As long as the provider does not answer, an unknown key may
    /// be a good one: that is the gate's lack, not the token's fault.
    #[must_use]
    pub fn give_up(self, progress: &Progress, document: &Document, now: Millis, jitter: u8) -> Refusal {
        let prospect = self.prospect(progress, document, now, jitter);
        if self.want == Want::Kid && progress.failures == 0 {
            return match self.otherwise {
                Refusal::KeyUnknown(mut missing) => {
                    missing.next_refresh = Some(match prospect {
                        Prospect::NotBefore(pause) => pause.as_secs().saturating_add(1),
                        Prospect::Soon => 0,
                    });
                    Refusal::KeyUnknown(missing)
                }
                other => other,
            };
        }
        let retry_after = match prospect {
            Prospect::NotBefore(pause) => pause.as_secs().saturating_add(1),
            Prospect::Soon => 1,
        };
        Refusal::KeysUnavailable { document: document.metadata.to_string(), retry_after }
    }

    fn prospect(&self, progress: &Progress, document: &Document, now: Millis, jitter: u8) -> Prospect {
        match self.want {
            Want::Any => progress.prospect_of_any(document, now, jitter),
            Want::Kid => progress.prospect_of_unknown_kid(document, now),
        }
    }
}

/// Which keys are lacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Any: none are held, or they are too old.
    Any,
    /// The one that the token names.
    Kid,
}

/// The permission to pass, and all that is told of the token. Only the judge can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub(super) facts: Option<Rc<Facts>>,
}

impl Grant {
    /// The facts of the token; none for a request without one.
    #[must_use]
    pub fn facts(&self) -> Option<&Rc<Facts>> {
        self.facts.as_ref()
    }

    /// Who was let in; none for a request without a token.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.facts.as_ref().map(|facts| &facts.identity)
    }

    /// A fact for the filter state, if the token has it; the payload only where it is asked for.
    #[must_use]
    pub fn state(&self, state: State) -> Option<&str> {
        let facts = self.facts.as_ref()?;
        let Identity { provider, tenant, subject, client, token_id } = &facts.identity;
        match state {
            State::Client => client.as_deref(),
            State::Payload => facts.payload.as_deref(),
            State::Provider => Some(provider),
            State::Subject => subject.as_deref(),
            State::Tenant => tenant.as_deref(),
            State::TokenId => token_id.as_deref(),
        }
    }

    /// The headers for the upstream.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        self.facts.as_ref().map_or(&[], |facts| &facts.headers)
    }
}

/// The verified facts that access logs and later filters read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The provider's name in the configuration.
    pub provider: String,
    /// `tid`, or the tenant of the issuer.
    pub tenant: Option<String>,
    /// `oid`, else `sub`.
    pub subject: Option<String>,
    /// `azp` or `appid`.
    pub client: Option<String>,
    /// `uti`, else `jti`.
    pub token_id: Option<String>,
}

/// What was seen of a token, for the log line of a refusal. Unverified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The provider that was tried.
    pub provider: Option<String>,
    /// `iss`
    pub issuer: Option<String>,
    /// `tid`
    pub tenant: Option<String>,
    /// `azp` or `appid`
    pub client: Option<String>,
    /// `kid`
    pub kid: Option<String>,
    /// `uti` or `jti`
    pub token_id: Option<String>,
}

/// Whether a token was remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// It was, and what was verified once still held.
    Hit,
    /// It was not, or no longer holds.
    Miss,
    /// There was no token.
    None,
}

/// A verdict and what was seen on the way to it.
#[derive(Debug)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: Seen,
    /// Whether the token was remembered.
    pub recall: Recall,
}
