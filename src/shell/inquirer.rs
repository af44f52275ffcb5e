//! Asking others about tokens, by calls that belong to the root context: each question once at a time in a worker.

use proxy_wasm::types::LogLevel;

use super::call;
use super::gate::Gate;
use super::host::{self, HostSignatures};
use crate::inquiry::{Call, Fault, Question, Response, Said, Word};
use crate::keys::freshness::Millis;

/// Sends what is to be sent.
pub(super) fn send_due(gate: &Gate) {
    let now = host::now();
    let due = gate.heard.borrow().due(now);
    for question in due {
        match gate.policy.call(&question).and_then(|call| send(&call)) {
            Some(call) => gate.heard.borrow_mut().sent(&question, call, now),
            None => hear(gate, question, Word::none(Fault::NotSent, now, None), now),
        }
    }
}

/// Takes the answer to a call; whether it was to a question.
pub(super) fn receive(gate: &Gate, call: u32, headers: usize, body_size: usize) -> bool {
    let Some(question) = gate.heard.borrow().asked_by(call) else {
        return false;
    };
    let now = host::now();
    let word = match response(&question, headers, body_size) {
        Err(fault) => Word::none(fault, now, None),
        Ok(response) => {
            let word = gate.policy.understand(&question, &response, &gate.keys.borrow(), &HostSignatures, now);
            if response.asks_for_quiet() {
                let quiet = Word::none(Fault::Status(response.status), now, response.retry_after);
                gate.heard.borrow_mut().quieten(&question, quiet, now);
            }
            word.unwrap_or_else(|| Word::none(Fault::NotSent, now, None))
        }
    };
    hear(gate, question, word, now);
    true
}

fn hear(gate: &Gate, question: Question, word: Word, now: Millis) {
    match &word.said {
        Said::Nothing(fault) => {
            gate.meters.unanswered();
            gate.want_keys_of(&question, fault);
            host::log(LogLevel::Warn, || format!("no answer about a token: {}: {fault}", gate.policy.asked(&question)));
        }
        Said::Active(_) | Said::Inactive | Said::Listed(_) | Said::Refused(_) | Said::Taken(_) => {
            gate.meters.answered();
        }
    }
    gate.heard.borrow_mut().hear(question, word, now);
}

fn send(call: &Call) -> Option<u32> {
    let request = call::Request {
        cluster: &call.cluster,
        timeout: call.timeout,
        method: call.method,
        authority: call.address.authority(),
        path: call.address.path(),
        headers: call.headers.iter().map(|(name, value)| (*name, value.as_str())).collect(),
        body: call.form.as_ref().map(String::as_bytes),
    };
    request.send()
}

/// What a call brought.
fn response(question: &Question, headers: usize, body_size: usize) -> Result<Response, Fault> {
    let response = call::Response::arrived(headers, body_size).ok_or(Fault::NoAnswer)?;
    let most = question.kind.most_bytes();
    if body_size > most {
        return Err(Fault::BodyTooLarge);
    }
    let retry_after = response.number("retry-after");
    Ok(Response { status: response.status, retry_after, body: response.body(most) })
}
