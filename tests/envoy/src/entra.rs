//! The mock of Entra ID, through its control API.

use serde_json::{Value, json};

use crate::http::{Answer, Origin, Request};

/// A running mock.
#[derive(Clone, Debug)]
pub struct Entra(Origin);

impl Entra {
    /// The mock at an address.
    #[must_use]
    pub fn at(origin: Origin) -> Self {
        Self(origin)
    }

    /// Where it is.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0
    }

    /// A token; members as in the mock's README.
    pub async fn mint(&self, request: Value) -> String {
        let minted = self.control(Request::post("/_mock/token", &request)).await;
        minted["access_token"].as_str().expect("a token").to_owned()
    }

    /// From now on this goes wrong.
    pub async fn fault(&self, rule: Value) {
        self.control(Request::post("/_mock/faults", &rule)).await;
    }

    /// Nothing goes wrong any more.
    pub async fn clear_faults(&self) {
        self.control(Request::delete("/_mock/faults")).await;
    }

    /// Changes what is wrong with Graph; members as in the mock's README.
    pub async fn graph(&self, knobs: Value) {
        self.control(Request::post("/_mock/graph", &knobs)).await;
    }

    /// Changes users and service principals; members as in the mock's README.
    pub async fn directory(&self, change: Value) {
        self.control(Request::post("/_mock/directory", &change)).await;
    }

    /// What Graph holds: `applications`, `deleted`, `service_principals`.
    pub async fn graph_objects(&self) -> Value {
        self.control(Request::get("/_mock/graph")).await
    }

    /// Changes what is published.
    pub async fn keys(&self, change: Value) {
        self.control(Request::post("/_mock/keys", &change)).await;
    }

    /// How often URLs were asked whose host and path contain this.
    pub async fn asked(&self, part: &str) -> u64 {
        let log = self.control(Request::get("/_mock/requests")).await;
        let requests = log["requests"].as_array().expect("an array").iter();
        requests
            .filter(|request| {
                let text = |member: &str| request[member].as_str().unwrap_or_default().to_owned();
                format!("{}{}", text("host"), text("path")).contains(part)
            })
            .filter_map(|request| request["count"].as_u64())
            .sum()
    }

    /// Forgets which URLs were asked.
    pub async fn forget_requests(&self) {
        self.control(Request::delete("/_mock/requests")).await;
    }

    /// A document as the public sees it.
    pub async fn document(&self, host: &str, path: &str) -> Value {
        let answer = self.ask(Request::get(path).header("host", host)).await;
        assert_eq!(answer.status, 200, "https://{host}{path}: {answer:?}");
        answer.json()
    }

    /// The `kid` of a key that signs tokens like this one.
    pub async fn kid(&self, request: Value) -> String {
        let minted = self.control(Request::post("/_mock/token", &request)).await;
        minted["header"]["kid"].as_str().expect("a kid").to_owned()
    }

    async fn control(&self, request: Request) -> Value {
        let line = request.line();
        let answer = self.ask(request).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
        if answer.body.is_empty() { json!({}) } else { answer.json() }
    }

    async fn ask(&self, request: Request) -> Answer {
        let line = request.line();
        self.0.send(request).await.unwrap_or_else(|error| panic!("the mock of Entra: {line}: {error}"))
    }
}
