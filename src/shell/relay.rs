//! Token requests on their way to Entra: the form is collected, sent by a call of the root context, and answered with
//! Entra's answer. Nothing of them is kept longer, and nothing of them is logged.

use std::cell::RefCell;

use super::body::Body;
use super::call::{Request, Response};
use super::host;
use crate::answer::Answer;
use crate::answer::authorization_server::passed;
use crate::keys::freshness::Millis;
use crate::policy::pass_through::{PassThrough, TokenFault};

/// The largest form: codes, refresh tokens and assertions of Entra's have a few KiB each.
pub(super) const MOST_FORM_BYTES: usize = 64 * 1024;
/// The largest answer.
const MOST_ANSWER_BYTES: usize = 256 * 1024;
/// Most token requests at once in one worker, those included whose clients hung up while Entra was asked.
const MOST_EXCHANGES: usize = 256;
/// How long a form may take to arrive.
const ARRIVAL: Millis = 10_000;
/// What of Entra's answer matters to a client. Cookies do not.
const PASSED_HEADERS: [&str; 4] = ["content-type", "retry-after", "www-authenticate", "x-ms-request-id"];

/// All of them in one worker.
#[derive(Default)]
pub(super) struct Relay {
    exchanges: RefCell<Vec<Exchange>>,
}

struct Exchange {
    /// The client's stream; none after it hung up.
    context: Option<u32>,
    stage: Stage,
}

enum Stage {
    /// The form is arriving.
    Arriving { deadline: Millis, headers: Vec<(&'static str, String)> },
    /// It is to be sent.
    Ready { form: String, headers: Vec<(&'static str, String)> },
    /// It was sent.
    Sent { token: u32 },
}

/// What became of a token request, and whose it was.
pub(super) struct Outcome {
    pub(super) context: u32,
    pub(super) result: Result<Answer, TokenFault>,
}

impl Relay {
    /// Begins with the headers of the active context's request.
    pub(super) fn begin(&self, context: u32) -> Result<(), TokenFault> {
        let text = |name| host::request_header(name).and_then(|value| String::from_utf8(value).ok());
        let is_form = |kind: &String| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        };
        if !text("content-type").as_ref().is_some_and(is_form) {
            return Err(TokenFault::BodyType);
        }
        let announced = text("content-length").and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > MOST_FORM_BYTES) {
            return Err(TokenFault::BodyTooLarge);
        }
        let mut exchanges = self.exchanges.borrow_mut();
        if exchanges.len() >= MOST_EXCHANGES {
            return Err(TokenFault::Busy);
        }
        // How a confidential client may authenticate (RFC 6749 section 2.3.1).
        let is_basic = |value: &String| value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "));
        let authorization = text("authorization").filter(is_basic).map(|value| ("authorization", value));
        // Entra redeems the codes of single-page applications for scripts alone (AADSTS9002327).
        let origin = text("origin").map(|value| ("origin", value));
        let headers = authorization.into_iter().chain(origin).collect();
        let deadline = host::now().saturating_add(ARRIVAL);
        exchanges.push(Exchange { context: Some(context), stage: Stage::Arriving { deadline, headers } });
        Ok(())
    }

    /// Takes the form of a context. It is sent with the next turn.
    pub(super) fn take(&self, context: u32, body: Body, pass_through: &PassThrough) -> Result<(), TokenFault> {
        let form = match body {
            Body::Partial => return Ok(()),
            Body::TooLarge => Err(TokenFault::BodyTooLarge),
            Body::Whole(form) => pass_through.token_request(&form),
        };
        let mut exchanges = self.exchanges.borrow_mut();
        let Some(at) = exchanges.iter().position(|exchange| exchange.context == Some(context)) else {
            // Its time was over.
            return Ok(());
        };
        let exchange = exchanges.swap_remove(at);
        if let Stage::Arriving { headers, .. } = exchange.stage {
            exchanges.push(Exchange { context: exchange.context, stage: Stage::Ready { form: form?, headers } });
        }
        Ok(())
    }

    /// Whether anything is to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.exchanges.borrow().iter().any(|exchange| matches!(exchange.stage, Stage::Ready { .. }))
    }

    /// Sends what is to be sent.
    /// Says which requests end here: those that could not be sent, and those whose form did not arrive.
    pub(super) fn turn(&self, pass_through: &PassThrough) -> Vec<Outcome> {
        let mut exchanges = self.exchanges.borrow_mut();
        if exchanges.is_empty() {
            return Vec::new();
        }
        let now = host::now();
        let mut ended = Vec::new();
        exchanges.retain_mut(|exchange| {
            let fault = match &exchange.stage {
                Stage::Arriving { deadline, .. } => (*deadline <= now).then_some(TokenFault::BodyLate),
                Stage::Ready { form, headers } => match send(pass_through, form, headers) {
                    Some(token) => {
                        exchange.stage = Stage::Sent { token };
                        None
                    }
                    None => Some(TokenFault::NotSent),
                },
                Stage::Sent { .. } => None,
            };
            let Some(fault) = fault else { return true };
            ended.extend(exchange.context.map(|context| Outcome { context, result: Err(fault) }));
            false
        });
        ended
    }

    /// Takes the answer to a call: none if it is another's, and nothing in it if nobody waits for it any more.
    pub(super) fn receive(&self, token: u32, headers: usize, body_size: usize) -> Option<Option<Outcome>> {
        let is_sent = |exchange: &Exchange| matches!(exchange.stage, Stage::Sent { token: sent } if sent == token);
        let mut exchanges = self.exchanges.borrow_mut();
        let at = exchanges.iter().position(is_sent)?;
        let exchange = exchanges.swap_remove(at);
        Some(exchange.context.map(|context| Outcome { context, result: answer(headers, body_size) }))
    }

    /// Forgets a stream that is gone.
    pub(super) fn forget(&self, context: u32) {
        let Ok(mut exchanges) = self.exchanges.try_borrow_mut() else { return };
        exchanges.retain_mut(|exchange| {
            if exchange.context != Some(context) {
                return true;
            }
            exchange.context = None;
            // A call cannot be taken back, and counts until it ends.
            matches!(exchange.stage, Stage::Sent { .. })
        });
    }
}

fn send(pass_through: &PassThrough, form: &str, headers: &[(&'static str, String)]) -> Option<u32> {
    let endpoint = &pass_through.token_endpoint;
    let mut all = vec![("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let request = Request {
        cluster: &pass_through.cluster,
        timeout: pass_through.timeout,
        method: "POST",
        authority: endpoint.authority(),
        path: endpoint.path(),
        headers: all,
        body: Some(form.as_bytes()),
    };
    request.send()
}

/// What a call brought.
fn answer(headers: usize, body_size: usize) -> Result<Answer, TokenFault> {
    let response = Response::arrived(headers, body_size).ok_or(TokenFault::NoAnswer)?;
    let status = response.status;
    if body_size > MOST_ANSWER_BYTES {
        return Err(TokenFault::Unusable { status });
    }
    let headers = PASSED_HEADERS.iter().filter_map(|name| Some((*name, response.header(name)?))).collect();
    passed(status, headers, response.body(MOST_ANSWER_BYTES))
}
