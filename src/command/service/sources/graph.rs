//! Microsoft Graph, asked again and again: one round after the other over the delta queries, from where the last one ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entra_gate::jose::json;
use entra_gate::keys::document::Address;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{info, warn};
use uuid::Uuid;

use super::attempt::{Fault, Pauses};
use super::configuration::{Credential, Graph, Kind};
use super::directory::{self, Answered, Collection, Next, Start};
use super::signal::Signal;
use super::{Feeding, store_fault, take, time_of};
use crate::service::api::Service;
use crate::service::clock;

/// How long a request may take. A page of a thousand users takes Graph some seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest page: a thousand objects of four members take 300 KiB.
const MOST_PAGE: usize = 16 << 20;
/// Largest answer of the token endpoint.
const MOST_TOKEN: usize = 64 << 10;
/// How long before its end a token is replaced.
const MARGIN: Duration = Duration::from_secs(300);
/// How often a link may be answered 400 before everything is read again.
const MOST_REFUSALS: u32 = 3;

/// What is kept: from where each collection goes on, for this tenant in this cloud.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    tenant: String,
    cloud: String,
    links: BTreeMap<String, String>,
}

struct Walk {
    service: Arc<Service>,
    feeding: Arc<Feeding>,
    state: State,
    token: Option<(String, Instant)>,
    /// How often in a row a link was refused.
    refusals: BTreeMap<Collection, u32>,
}

/// Runs until the service ends.
pub(super) async fn run(service: Arc<Service>, feeding: Arc<Feeding>) {
    let Kind::Graph(graph) = &feeding.source.kind else { return };
    let mut walk = Walk {
        service: Arc::clone(&service),
        feeding: Arc::clone(&feeding),
        state: State::default(),
        token: None,
        refusals: BTreeMap::new(),
    };
    let (mut is_read, mut pauses) = (false, Pauses::new(graph.interval));
    loop {
        let wait = match walk.turn(graph, &mut is_read).await {
            Ok(()) => {
                feeding.succeeded();
                pauses.succeeded()
            }
            Err(Fault { why, wait }) => {
                feeding.failed(&service, &why);
                pauses.failed(wait)
            }
        };
        if is_read {
            // Nobody else asks meanwhile. If that cannot be noted, somebody may, which is no harm.
            let _ = feeding.asks(&service, wait).await;
        }
        tokio::time::sleep(wait).await;
    }
}

impl Walk {
    /// A round, if it is this process's turn; `is_read`: whether it was so the last time, and knows where it is.
    async fn turn(&mut self, graph: &Graph, is_read: &mut bool) -> Result<(), Fault> {
        let asks = self.feeding.asks(&self.service, PATIENCE).await;
        if !asks.map_err(|_| Fault::new("the database failed"))? {
            *is_read = false;
            return Ok(());
        }
        if !*is_read {
            self.remember(graph).await?;
            *is_read = true;
        }
        self.round(graph).await
    }

    /// Where the last run ended. A rehearsal begins anew and keeps nothing.
    async fn remember(&mut self, graph: &Graph) -> Result<(), Fault> {
        let (tenant, cloud) = (graph.tenant.to_string(), graph.cloud.name().to_owned());
        self.state = State { tenant, cloud, links: BTreeMap::new() };
        if self.feeding.source.dry_run {
            return Ok(());
        }
        let kept = self.service.store.source_state(self.feeding.name()).await;
        let kept = kept.map_err(|_| Fault::new("the database failed"))?;
        match kept.and_then(|kept| serde_json::from_str::<State>(&kept).ok()) {
            Some(kept) if kept.tenant == self.state.tenant && kept.cloud == self.state.cloud => self.state = kept,
            // Another tenant's links are of no use.
            Some(_) | None => {}
        }
        Ok(())
    }

    /// One round over everything that is followed. What fails for one collection does not keep another from being read.
    async fn round(&mut self, graph: &Graph) -> Result<(), Fault> {
        let mut outcome = Ok(());
        for collection in graph.collections.iter().copied() {
            match self.collection(collection, graph).await {
                Ok(()) => {}
                // Whoever asks for patience means all requests.
                Err(fault @ Fault { wait: Some(_), .. }) => return Err(fault),
                Err(fault) => {
                    outcome = outcome.and(Err(Fault::new(format!("{}: {}", collection.name(), fault.why))));
                }
            }
        }
        outcome
    }

    async fn collection(&mut self, collection: Collection, graph: &Graph) -> Result<(), Fault> {
        let host = graph.cloud.graph_host();
        let mut start = graph.start;
        loop {
            let kept = self.state.links.get(collection.name());
            let kept = kept.and_then(|text| directory::link(text, collection, host));
            let is_link = kept.is_some();
            let address = kept.or_else(|| directory::first(collection, start, host));
            let address = address.ok_or_else(|| Fault::new("the first question has no address"))?;
            let (answer, body) = self.ask(&address, graph).await?;
            match answer {
                Answered::Page => {}
                Answered::Gone if is_link => {
                    self.anew(collection);
                    start = Start::Everything;
                    continue;
                }
                Answered::Failed(400) if is_link => {
                    let refusals = self.refusals.entry(collection).or_default();
                    *refusals = refusals.saturating_add(1);
                    if *refusals >= MOST_REFUSALS {
                        self.anew(collection);
                    }
                    return Err(Fault::new("status 400"));
                }
                Answered::Forbidden => {
                    return Err(Fault::new("status 403: the application permission is not granted"));
                }
                Answered::Throttled(seconds) => {
                    let wait = Some(seconds.map_or(graph.interval.max(MIN_WAIT), Duration::from_secs));
                    return Err(Fault { why: "too many requests, or Graph is not available".to_owned(), wait });
                }
                Answered::Gone => return Err(Fault::new("status 410 to a first question")),
                Answered::Unauthorized => return Err(Fault::new("status 401: the token is refused")),
                Answered::Failed(status) => return Err(Fault::new(format!("status {status}"))),
            }
            // A long round is still this process's.
            let _ = self.feeding.asks(&self.service, PATIENCE).await;
            let clock = time_of(&self.service);
            let page = directory::page(&body, collection, (&graph.tenant, host), &clock);
            let page = page.map_err(|fault| Fault::new(fault.to_string()))?;
            self.refusals.remove(&collection);
            if page.unreadable > 0 {
                warn!(
                    source = self.feeding.name(),
                    objects = page.unreadable,
                    "objects without an identifier were left out"
                );
            }
            let (next, is_done) = match page.next {
                Next::More(next) => (next, false),
                Next::Round(next) => (next, true),
            };
            let known = self.state.links.insert(collection.name().to_owned(), next.clone());
            let signal = Signal { deeds: page.deeds, ..Signal::default() };
            // A link that has not changed need not be written again.
            let is_news = known.as_ref() != Some(&next) || !signal.deeds.is_empty();
            let state = serde_json::to_string(&self.state).ok().filter(|_| is_news);
            if let Err(fault) = take(&self.service, &self.feeding, signal, 0, state).await {
                // What was not taken is asked for again.
                match known {
                    Some(known) => drop(self.state.links.insert(collection.name().to_owned(), known)),
                    None => drop(self.state.links.remove(collection.name())),
                }
                return Err(Fault::new(store_fault(&fault)));
            }
            if page.objects > 0 {
                info!(
                    source = self.feeding.name(),
                    collection = collection.name(),
                    objects = page.objects,
                    "changes read"
                );
            }
            if is_done {
                return Ok(());
            }
        }
    }

    /// Everything must be read again. No entry goes because of that: what is no longer told stays until it ends.
    fn anew(&mut self, collection: Collection) {
        warn!(
            source = self.feeding.name(),
            collection = collection.name(),
            "the place in the directory's changes was lost: everything is read again"
        );
        self.state.links.remove(collection.name());
        self.refusals.remove(&collection);
    }

    async fn ask(&mut self, address: &Address, graph: &Graph) -> Result<(Answered, Vec<u8>), Fault> {
        let fault = |fault: super::web::WebFault| Fault::new(fault.to_string());
        let mut is_second = false;
        loop {
            let token = self.token(graph).await?;
            let request = self.feeding.web.request(Method::GET, address, PATIENCE).map_err(fault)?;
            let request = request.bearer_auth(token).header(ACCEPT, "application/json");
            let reply = self.feeding.web.send(request, MOST_PAGE).await.map_err(fault)?;
            let answer = directory::answered(reply.status, reply.retry_after.as_deref(), &reply.body);
            if answer == Answered::Unauthorized {
                self.token = None;
                if !is_second {
                    is_second = true;
                    continue;
                }
            }
            return Ok((answer, reply.body));
        }
    }

    /// A token for Graph, which is kept until shortly before it ends.
    async fn token(&mut self, graph: &Graph) -> Result<String, Fault> {
        if let Some((token, good_until)) = &self.token
            && Instant::now() < *good_until
        {
            return Ok(token.clone());
        }
        let text = format!("https://{}/{}/oauth2/v2.0/token", graph.cloud.login_host(), graph.tenant);
        let endpoint = Address::parse(&text).ok_or_else(|| Fault::new("the token endpoint has no address"))?;
        let fault = |fault: super::web::WebFault| Fault::new(format!("the token endpoint: {fault}"));
        let request = self.feeding.web.request(Method::POST, &endpoint, PATIENCE).map_err(fault)?;
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(graph, &text)?);
        let asked_at = Instant::now();
        let reply = self.feeding.web.send(request, MOST_TOKEN).await.map_err(fault)?;
        let document = json::object(&reply.body).unwrap_or_default();
        if reply.status != 200 {
            let answered = directory::answered(reply.status, reply.retry_after.as_deref(), &[]);
            let wait = match answered {
                Answered::Throttled(seconds) => seconds.map(Duration::from_secs),
                _ => None,
            };
            // Entra's number says what is wrong; its sentences are long and name things.
            let code = document.get("error_codes").and_then(|codes| codes.get(0)).and_then(Value::as_u64);
            let code = code.map_or(String::new(), |code| format!(", AADSTS{code}"));
            return Err(Fault { why: format!("the token endpoint answers {}{code}", reply.status), wait });
        }
        let token = document.get("access_token").and_then(Value::as_str);
        let token = token.ok_or_else(|| Fault::new("the token endpoint answers without a token"))?.to_owned();
        let lifetime = document.get("expires_in").and_then(Value::as_u64).map_or(MARGIN, Duration::from_secs);
        // A short one is used for half its life.
        let good_for = lifetime.saturating_sub(MARGIN).max(lifetime.checked_div(2).unwrap_or_default());
        self.token = Some((token.clone(), asked_at.checked_add(good_for).unwrap_or(asked_at)));
        Ok(token)
    }
}

/// What the token endpoint is asked (RFC 6749 section 4.4).
fn form(graph: &Graph, endpoint: &str) -> Result<String, Fault> {
    let client = graph.client.to_string();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials").append_pair("client_id", &client);
    form.append_pair("scope", &format!("https://{}/.default", graph.cloud.graph_host()));
    match &graph.credential {
        Credential::Secret(secret) => {
            form.append_pair("client_secret", &secret.0);
        }
        Credential::Certificate(certificate) => {
            let assertion = certificate.assertion(&client, endpoint, &Uuid::new_v4().to_string(), clock::seconds());
            let assertion = assertion.ok_or_else(|| Fault::new("the certificate's key does not sign"))?;
            form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            form.append_pair("client_assertion", &assertion);
        }
    }
    Ok(form.finish())
}

/// The least time after Graph asked for patience without saying how much.
const MIN_WAIT: Duration = Duration::from_secs(10);
