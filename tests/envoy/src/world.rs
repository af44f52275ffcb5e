//! Envoy with the filter, between a client and an upstream, with Entra beside it.

use std::net::SocketAddr;

use mock_entra::MockEntra;
use serde_json::Value;

use crate::bootstrap::Options;
use crate::contract::assert_refusal;
use crate::entra::Entra;
use crate::envoy::{Envoy, NotStarted, wasm};
use crate::http::{Answer, Origin, Request};
use crate::upstream::Upstream;

/// What Envoy needs around it.
#[derive(Debug)]
pub struct Surroundings {
    /// The identity provider.
    pub entra: Entra,
    /// What is protected.
    pub upstream: Upstream,
    servers: (MockEntra, mock_entra::Upstream),
}

/// All of it.
#[derive(Debug)]
pub struct World {
    /// The gate.
    pub envoy: Envoy,
    /// The identity provider.
    pub entra: Entra,
    /// What is protected.
    pub upstream: Upstream,
    _servers: (MockEntra, mock_entra::Upstream),
}

impl Surroundings {
    /// On any free ports.
    pub async fn start() -> Self {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        Self::start_on(any, any).await
    }

    /// On these ports.
    ///
    /// # Panics
    /// When they are taken.
    pub async fn start_on(entra: SocketAddr, upstream: SocketAddr) -> Self {
        let entra = MockEntra::start(entra).await.expect("the mock of Entra starts");
        let upstream = mock_entra::Upstream::start(upstream).await.expect("the upstream starts");
        Self {
            entra: Entra::at(Origin::new(entra.addr())),
            upstream: Upstream::at(Origin::new(upstream.addr())),
            servers: (entra, upstream),
        }
    }

    /// The clusters that the tests' configuration names.
    #[must_use]
    pub fn clusters(&self) -> [(&'static str, SocketAddr); 2] {
        let (entra, upstream) = &self.servers;
        [("entra", entra.addr()), ("upstream", upstream.addr())]
    }

    /// Adds Envoy.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn try_with_envoy(self, options: &Options) -> Result<World, NotStarted> {
        let clusters: Vec<_> = self.clusters().into_iter().chain(options.clusters.iter().copied()).collect();
        let bootstrap = options.bootstrap(&wasm(), &clusters);
        let envoy = Envoy::start(&options.release, &bootstrap, options.workers, &options.environment).await?;
        Ok(self.with(envoy))
    }

    /// Adds Envoy.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn with_envoy(self, options: &Options) -> World {
        self.try_with_envoy(options).await.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Adds an Envoy that runs already.
    #[must_use]
    pub fn with(self, envoy: Envoy) -> World {
        World { envoy, entra: self.entra, upstream: self.upstream, _servers: self.servers }
    }
}

impl World {
    /// Starts everything.
    pub async fn start(options: &Options) -> Self {
        Surroundings::start().await.with_envoy(options).await
    }

    /// What Envoy logs when it refuses this configuration.
    ///
    /// # Panics
    /// When it takes it.
    pub async fn refused_configuration(options: &Options) -> String {
        match Surroundings::start().await.try_with_envoy(options).await {
            Ok(_) => panic!("Envoy started with {}", options.configuration),
            Err(NotStarted { status: None, log }) => panic!("Envoy hangs with {}: {log}", options.configuration),
            Err(NotStarted { status: Some(_), log }) => log,
        }
    }

    /// A token; members as in the mock's README.
    pub async fn mint(&self, request: Value) -> String {
        self.entra.mint(request).await
    }

    /// The gate's answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn send(&self, request: Request) -> Answer {
        let line = request.line();
        self.envoy.ingress().send(request).await.unwrap_or_else(|error| panic!("{line}: {error}\n{}", self.envoy.log()))
    }

    /// The gate's answer to a request with a token.
    pub async fn call(&self, path: &str, token: &str) -> Answer {
        self.send(Request::get(path).bearer(token)).await
    }

    /// A token like this passes.
    pub async fn assert_passes(&self, path: &str, token: Value) -> Answer {
        let minted = self.mint(token.clone()).await;
        let answer = self.call(path, &minted).await;
        assert_eq!(answer.status, 200, "{path} {token}: {}", answer.text());
        answer
    }

    /// The request is refused as the reason promises, and the upstream hears nothing of it.
    pub async fn assert_refused(&self, request: Request, reason: &str) -> Answer {
        let before = self.upstream.count().await;
        let answer = self.send(request).await;
        assert_refusal(&answer, reason);
        assert_eq!(self.upstream.count().await, before, "the upstream was asked");
        answer
    }

    /// A request with this token is refused, and the token is told to nobody.
    pub async fn assert_token_refused(&self, path: &str, token: &str, reason: &str) -> Answer {
        let answer = self.assert_refused(Request::get(path).bearer(token), reason).await;
        assert_untold(token, "the answer", &format!("{:?}{}", answer.headers, answer.text()));
        self.assert_untold(token).await;
        answer
    }

    /// No part of the token is in a log or a statistic.
    pub async fn assert_untold(&self, token: &str) {
        assert_untold(token, "the log", &self.envoy.log());
        let access_log = Value::Array(self.envoy.access_log()).to_string();
        assert_untold(token, "the access log", &access_log);
        assert_untold(token, "the statistics", &self.envoy.ask("/stats").await.text());
    }
}

fn assert_untold(token: &str, place: &str, text: &str) {
    /// Shorter segments may be anywhere by chance.
    const TELLING: usize = 24;
    // The header is the same in many tokens, and no secret.
    for segment in token.split('.').skip(1).filter(|segment| segment.len() >= TELLING) {
        let found = text.find(segment);
        assert!(found.is_none(), "{place} holds a part of a token: {segment}");
    }
}
