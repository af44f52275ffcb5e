//! A trace as JSON, for those who may see one: the operator's explain request, and the command. The shape is documented in
//! docs/diagnosis.md; members are added to it, never changed.
//!
//! Holds what the trace holds, and no more: neither a token nor a signature, neither a key nor a secret.

use serde_json::{Map, Value, json};

use super::{Answer, answer};
use crate::judge::refusal::Refusal;
use crate::judge::trace::{KeyTold, Trace};
use crate::judge::verdict::{Grant, Identity};
use crate::policy::Responses;

/// How a judgement ended.
pub enum End<'a> {
    /// The request would pass.
    Allow(&'a Grant),
    /// It would be refused.
    Refuse(&'a Refusal),
    /// Without keys nothing can be said. What they are wanted of.
    Undecided(&'a str),
}

/// The answer to an explain request. It is sent instead of the request's own.
#[must_use]
pub fn explanation(trace: &Trace, end: &End<'_>, responses: &Responses) -> Answer {
    let headers = vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
    Answer { status: 200, headers, body: document(trace, end, responses).to_string() }
}

/// The trace and its end.
#[must_use]
pub fn document(trace: &Trace, end: &End<'_>, responses: &Responses) -> Value {
    let mut members = Map::new();
    members.insert("at".to_owned(), trace.at.into());
    members.insert("request".to_owned(), request(trace));
    let rules = trace.rules.iter().map(|reading| {
        let rule = reading.rule.map(|at| format!("rules[{at}]"));
        json!({"path": reading.path, "rule": rule, "matches": reading.matches})
    });
    members.insert("rules".to_owned(), rules.collect());
    if let Some(token) = &trace.token {
        let told = json!({
            "source": token.source,
            "encrypted": token.encrypted,
            "remembered": token.remembered,
            "header": token.header,
            "claims": token.claims,
            "other_claims": token.others,
        });
        members.insert("token".to_owned(), told);
    }
    let checks = trace.checks.iter().map(|step| {
        json!({
            "check": step.check.name(),
            "provider": step.provider,
            "expected": step.expected,
            "found": step.found,
            "outcome": step.outcome.name(),
        })
    });
    members.insert("checks".to_owned(), checks.collect());
    if let Some(key) = &trace.key {
        members.insert("key".to_owned(), chosen(key));
    }
    if !trace.waited_for.is_empty() {
        members.insert("waited_for".to_owned(), trace.waited_for.clone().into());
    }
    members.insert("verdict".to_owned(), verdict(end, responses));
    Value::Object(members)
}

fn request(trace: &Trace) -> Value {
    let texts = [("method", &trace.method), ("host", &trace.host), ("path", &trace.path)];
    // What nothing looks at was not read.
    let read = texts.into_iter().filter(|(_, text)| !text.is_empty());
    read.map(|(name, text)| (name.to_owned(), text.as_str().into())).collect::<Map<String, Value>>().into()
}

fn chosen(key: &KeyTold) -> Value {
    json!({
        "provider": key.provider,
        "kid": key.kid,
        "alg": key.algorithm.name(),
        "metadata": key.metadata,
        "document": key.document,
        "keys": key.keys,
        "age_seconds": key.age,
        "max_age_seconds": key.max_age,
    })
}

fn verdict(end: &End<'_>, responses: &Responses) -> Value {
    match end {
        End::Allow(grant) => match grant.identity() {
            Some(identity) => {
                let Identity { provider, tenant, subject, client, token_id } = identity;
                json!({
                    "outcome": "allowed",
                    "provider": provider,
                    "tenant": tenant,
                    "subject": subject,
                    "client": client,
                    "token_id": token_id,
                })
            }
            None => json!({"outcome": "allowed", "anonymous": true}),
        },
        End::Refuse(refusal) => json!({
            "outcome": "refused",
            "status": answer(refusal, responses).status,
            "reason": refusal.reason().code(),
            "error_description": refusal.sentence(),
            "detail": refusal.detail(),
        }),
        End::Undecided(wanted) => json!({"outcome": "undecided", "wanted": wanted}),
    }
}
