//! Shared Signals by poll (RFC 8936): a transmitter is asked for SETs, each of which is acknowledged after it is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entra_gate::jose::json;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::Feeding;
use super::attempt::{Fault, Pauses};
use super::configuration::{Kind, Poll, Signals};
use super::receiving::{Outcome, refused, take_set};
use crate::service::api::Service;

/// How long an answer that waits for nothing may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer: a thousand SETs of some 2 KiB are the most that may be asked for.
const MOST_BODY: usize = 8 << 20;
/// An answer without events that comes sooner did not wait for any.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// Most events that a rehearsal remembers.
const MOST_REHEARSED: usize = 10_000;

/// What the transmitter is to be told with the next question.
#[derive(Debug, Default, PartialEq)]
struct Owed {
    /// What is on disk.
    acknowledged: BTreeSet<String>,
    /// What is not acceptable, and why.
    errors: BTreeMap<String, Value>,
}

impl Owed {
    fn is_empty(&self) -> bool {
        self.acknowledged.is_empty() && self.errors.is_empty()
    }

    /// The next question.
    fn question(&self, poll: &Poll, returns: Returns) -> Value {
        let mut question = Map::new();
        question.insert("maxEvents".to_owned(), poll.max_events.into());
        question.insert("returnImmediately".to_owned(), (returns == Returns::AtOnce).into());
        if !self.acknowledged.is_empty() {
            question.insert("ack".to_owned(), json!(self.acknowledged));
        }
        if !self.errors.is_empty() {
            question.insert("setErrs".to_owned(), json!(self.errors));
        }
        Value::Object(question)
    }
}

/// When an answer comes that has no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    AtOnce,
    /// When there is news, or the transmitter's patience ends.
    Late,
}

/// Runs until the service ends.
pub(super) async fn run(service: Arc<Service>, feeding: Arc<Feeding>) {
    let Kind::SharedSignals(signals) = &feeding.source.kind else { return };
    let Some(poll) = &signals.poll else { return };
    let (mut owed, mut rehearsed, mut pauses) = (Owed::default(), BTreeSet::new(), Pauses::new(poll.interval));
    loop {
        let patience = PATIENCE.saturating_add(poll.wait);
        let wait = match turn(&service, &feeding, patience).await {
            Ok(true) => ask(&service, &feeding, signals, poll, &mut owed, &mut rehearsed).await,
            // Another process asks.
            Ok(false) => {
                feeding.succeeded();
                owed = Owed::default();
                Ok(Then::Wait)
            }
            Err(fault) => Err(fault),
        };
        let wait = match wait {
            Ok(Then::AskAtOnce) => {
                let _ = pauses.succeeded();
                continue;
            }
            Ok(Then::Wait) => pauses.succeeded(),
            Err(Fault { why, wait }) => {
                feeding.failed(&service, &why);
                pauses.failed(wait)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Whether it is this process's turn to ask.
async fn turn(service: &Service, feeding: &Feeding, patience: Duration) -> Result<bool, Fault> {
    feeding.asks(service, patience).await.map_err(|_| Fault::new("the database failed"))
}

/// When to ask again.
enum Then {
    AskAtOnce,
    Wait,
}

async fn ask(
    service: &Service,
    feeding: &Feeding,
    signals: &Signals,
    poll: &Poll,
    owed: &mut Owed,
    rehearsed: &mut BTreeSet<String>,
) -> Result<Then, Fault> {
    let is_rehearsal = feeding.source.dry_run;
    // What is owed is told at once, and so is what a rehearsal never acknowledges.
    let returns = if poll.wait.is_zero() || !owed.is_empty() || is_rehearsal { Returns::AtOnce } else { Returns::Late };
    let patience = if returns == Returns::AtOnce { PATIENCE } else { PATIENCE.saturating_add(poll.wait) };
    let question = owed.question(poll, returns).to_string();
    let fault = |fault: super::web::WebFault| Fault::new(fault.to_string());
    let request = feeding.web.request(Method::POST, &poll.url, patience).map_err(fault)?;
    let request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
    let request = request.header(AUTHORIZATION, &poll.authorization.0).body(question);
    let asked = Instant::now();
    let reply = feeding.web.send(request, MOST_BODY).await.map_err(fault)?;
    match reply.status {
        200 => {}
        429 | 503 => {
            let seconds = reply.retry_after.and_then(|text| text.trim().parse().ok());
            let wait = Some(seconds.map_or(poll.interval, Duration::from_secs));
            return Err(Fault { why: "the transmitter is not available, or asked too often".to_owned(), wait });
        }
        401 | 403 => return Err(Fault::new("the transmitter refuses the Authorization header")),
        status => return Err(Fault::new(format!("status {status}"))),
    }
    let (sets, is_more) = answer(&reply.body).ok_or_else(|| Fault::new("the answer is no list of SETs"))?;
    // It has heard what it was told.
    let owes = !owed.is_empty();
    *owed = Owed::default();
    let mut is_late = false;
    for (jti, set) in &sets {
        if is_rehearsal && !(rehearsed.len() < MOST_REHEARSED && rehearsed.insert(jti.clone())) {
            continue;
        }
        let set = set.as_str().unwrap_or_default();
        match take_set(service, feeding, signals, set, Some(jti)).await {
            Ok(()) => drop(owed.acknowledged.insert(jti.clone())),
            Err(Outcome::Refused(fault)) => {
                refused(service, feeding, fault.code.word());
                let error = json!({"err": fault.code.word(), "description": fault.description});
                owed.errors.insert(jti.clone(), error);
            }
            // Neither acknowledged nor refused: it comes again.
            Err(Outcome::Unavailable) => is_late = true,
        }
    }
    if is_rehearsal {
        *owed = Owed::default();
        feeding.succeeded();
        return Ok(Then::Wait);
    }
    if is_late {
        return Err(Fault::new(feeding.pulse.beat().failing.unwrap_or_else(|| "an event was not taken".to_owned())));
    }
    if !is_more {
        feeding.succeeded();
    }
    // Whoever does not wait although it may is not asked without a pause.
    let waited = returns == Returns::Late && (!sets.is_empty() || asked.elapsed() >= LEAST_WAIT);
    let at_once = !owed.is_empty() || is_more || waited || (owes && !poll.wait.is_zero());
    Ok(if at_once { Then::AskAtOnce } else { Then::Wait })
}

/// The SETs of an answer by their `jti`, and whether there are more.
fn answer(body: &[u8]) -> Option<(Map<String, Value>, bool)> {
    let mut members = json::object(body).ok()?;
    let is_more = match members.get("moreAvailable") {
        None => false,
        Some(value) => value.as_bool()?,
    };
    match members.remove("sets") {
        Some(Value::Object(sets)) => Some((sets, is_more)),
        // RFC 8936 section 2.3 wants it even when it is empty; nobody is hurt if it is not there.
        None => Some((Map::new(), is_more)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use entra_gate::keys::document::Address;

    use super::super::configuration::Secret;
    use super::*;

    #[test]
    fn an_answer_holds_sets_by_their_identifier() {
        // The example of RFC 8936 section 2.5, with its SETs cut short.
        let body = json!({"sets": {"4d3559ec67504aaba65d40b0363faad8": "eyJhbGciOiJub25lIn0.", "3d0c3cf797584bd193bd0fb1bd4e7d30": "eyJhbGciOiJub25lIn0."}});
        let (sets, is_more) = answer(body.to_string().as_bytes()).unwrap();
        assert_eq!((sets.len(), is_more), (2, false));
        assert!(answer(br#"{"sets":{},"moreAvailable":true}"#).unwrap().1);
        assert!(answer(b"{}").unwrap().0.is_empty());
        for body in ["", "[]", r#"{"sets":[]}"#, r#"{"sets":{},"moreAvailable":1}"#, r#"{"sets":{"a":"b","a":"c"}}"#] {
            assert_eq!(answer(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_question_tells_what_is_owed() {
        let poll = Poll {
            url: Address::parse("https://t.example/poll").unwrap(),
            authorization: Secret(String::new()),
            interval: Duration::from_secs(1),
            max_events: 5,
            wait: Duration::ZERO,
        };
        let mut owed = Owed::default();
        assert_eq!(owed.question(&poll, Returns::Late), json!({"maxEvents": 5, "returnImmediately": false}));
        owed.acknowledged.insert("a".to_owned());
        owed.errors.insert("b".to_owned(), json!({"err": "invalid_key", "description": "d"}));
        assert_eq!(
            owed.question(&poll, Returns::AtOnce),
            json!({
                "maxEvents": 5, "returnImmediately": true, "ack": ["a"],
                "setErrs": {"b": {"err": "invalid_key", "description": "d"}},
            })
        );
    }
}
