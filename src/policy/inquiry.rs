//! Which call answers a question, and what it brought: by the provider's settings.

use std::time::Duration;

use super::Policy;
use crate::inquiry::{Call, Kind, Question, Response, Word, introspection, status_list, userinfo};
use crate::jose::signature::Signatures;
use crate::keys::freshness::Millis;
use crate::keys::store::KeyStore;

impl Policy {
    /// The call that answers a question; none if nobody is configured to be asked.
    #[must_use]
    pub fn call(&self, question: &Question) -> Option<Call> {
        let provider = self.providers.all().get(question.provider)?;
        match question.kind {
            Kind::Introspection => Some(introspection::call(provider.introspection.as_ref()?, &question.about)),
            Kind::StatusList => status_list::call(provider.status_lists.as_ref()?, &question.about),
            Kind::Userinfo => Some(userinfo::call(provider.graph_tokens.as_ref()?, &question.about)),
        }
    }

    /// How long the answer to a question may take.
    #[must_use]
    pub fn patience(&self, question: &Question) -> Option<Duration> {
        let provider = self.providers.all().get(question.provider)?;
        Some(match question.kind {
            Kind::Introspection => provider.introspection.as_ref()?.upstream.timeout,
            Kind::StatusList => provider.status_lists.as_ref()?.timeout,
            Kind::Userinfo => provider.graph_tokens.as_ref()?.upstream.timeout,
        })
    }

    /// What an answer means.
    #[must_use]
    pub fn understand(
        &self,
        question: &Question,
        response: &Response,
        keys: &KeyStore,
        signatures: &dyn Signatures,
        now: Millis,
    ) -> Option<Word> {
        let provider = self.providers.all().get(question.provider)?;
        match question.kind {
            Kind::Introspection => Some(introspection::understand(provider.introspection.as_ref()?, response, now)),
            Kind::StatusList => {
                let settings = provider.status_lists.as_ref()?;
                let held = || keys.get(question.document, now).map(|held| &held.keys);
                let keys = settings.keys.as_ref().or_else(held);
                let algorithms = &provider.algorithms;
                let signers = keys.map(|keys| status_list::Signers { algorithms, keys, signatures });
                Some(status_list::understand(settings, &question.about, response, signers.as_ref(), now))
            }
            Kind::Userinfo => Some(userinfo::understand(provider.graph_tokens.as_ref()?, response, now)),
        }
    }

    /// Who is asked, for people.
    #[must_use]
    pub fn asked(&self, question: &Question) -> String {
        let provider = self.providers.all().get(question.provider);
        let address = match question.kind {
            Kind::Introspection => {
                provider.and_then(|provider| Some(&provider.introspection.as_ref()?.upstream.address))
            }
            Kind::StatusList => return question.about.clone(),
            Kind::Userinfo => provider.and_then(|provider| Some(&provider.graph_tokens.as_ref()?.upstream.address)),
        };
        address.map_or_else(String::new, ToString::to_string)
    }
}
