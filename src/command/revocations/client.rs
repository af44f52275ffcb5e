//! The client of the service's API: the credential goes nowhere else, and is never shown.

use std::error::Error as _;
use std::fs::File;
use std::io::{Read as _, stdin};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::documents::Problem;
use crate::failure::Failure;
use crate::http;
use crate::output::Format;
use crate::service::BOOTSTRAP_KEY;

/// The environment variable of the credential.
const TOKEN: &str = "ENTRA_GATE_REVOCATIONS_TOKEN";
/// Longest credential, in bytes; a token of Entra has up to 12 KiB.
const MOST_CREDENTIAL: u64 = 64 * 1024;

/// How the service is reached.
#[derive(Args)]
#[command(next_help_heading = "Service")]
pub(crate) struct Connection {
    /// The service
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8480", value_parser = Url::parse,
        env = "ENTRA_GATE_REVOCATIONS_URL")]
    url: Url,
    /// A file with the token or the bootstrap key; - is standard input. By default it is in the environment, in
    /// ENTRA_GATE_REVOCATIONS_TOKEN or ENTRA_GATE_REVOCATIONS_BOOTSTRAP_KEY
    #[arg(long, value_name = "FILE")]
    credential: Option<PathBuf>,
    /// Send the credential without TLS to another machine: only where the network itself is encrypted
    #[arg(long, env = "ENTRA_GATE_REVOCATIONS_PLAIN_HTTP")]
    plain_http: bool,
    /// How long the service may take
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// A client.
pub(super) struct Client<'a> {
    connection: &'a Connection,
    client: reqwest::Client,
    authorization: Option<HeaderValue>,
}

impl<'a> Client<'a> {
    /// A client with a credential.
    pub(super) fn new(connection: &'a Connection) -> Result<Self, Failure> {
        if connection.url.scheme() != "https" && !connection.plain_http && !is_loopback(&connection.url) {
            return Err(Failure::usage(
                "the credential would go to another machine without TLS: use an https address, or say --plain-http",
            ));
        }
        let credential = connection.credential()?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {credential}"))
            .map_err(|_| Failure::credential("the credential holds characters that no token has"))?;
        authorization.set_sensitive(true);
        Ok(Self { authorization: Some(authorization), ..Self::anonymous(connection)? })
    }

    /// A client without one.
    pub(super) fn anonymous(connection: &'a Connection) -> Result<Self, Failure> {
        let client = http::client().map_err(|error| Failure::here("cannot make an HTTP client", error))?;
        Ok(Self { connection, client, authorization: None })
    }

    /// Asks.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, Failure> {
        self.send(self.request(Method::GET, self.url(path)?).query(query)).await
    }

    /// Asks for something to be done.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.send(self.request(Method::POST, self.url(path)?).json(body)).await
    }

    /// Asks for something to be taken away; the path in parts, for they may hold anything.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Failure> {
        let mut url = self.url("/")?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.send(self.request(Method::DELETE, url).json(body)).await
    }

    /// A path under the service's own, which may be a prefix.
    fn url(&self, path: &str) -> Result<Url, Failure> {
        let base = &self.connection.url;
        let url = Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/')));
        let url = url.ok().filter(|_| base.query().is_none() && base.fragment().is_none());
        url.ok_or_else(|| Failure::usage(format!("{base} is no address of a service")))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url).timeout(self.connection.timeout);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let url = &self.connection.url;
        let unreached = |error: reqwest::Error| {
            // The address is told once, and as it was given.
            let error = error.without_url();
            let mut told = error.to_string();
            let mut cause = error.source();
            while let Some(deeper) = cause {
                told.push_str(&format!(": {deeper}"));
                cause = deeper.source();
            }
            Failure::service(format!("{url} does not answer: {told}"))
        };
        let answer = request.send().await.map_err(unreached)?;
        if !answer.status().is_success() {
            return Err(refused(answer, url).await);
        }
        let body = answer.bytes().await.map_err(unreached)?;
        serde_json::from_slice(&body)
            .map_err(|_| Failure::service(format!("{url} answers what no revocation service answers")))
    }
}

impl Connection {
    fn credential(&self) -> Result<String, Failure> {
        let text = match &self.credential {
            Some(file) => {
                let mut text = String::new();
                let read = if file.as_os_str() == "-" {
                    stdin().lock().take(MOST_CREDENTIAL).read_to_string(&mut text)
                } else {
                    File::open(file).and_then(|file| file.take(MOST_CREDENTIAL).read_to_string(&mut text))
                };
                read.map_err(|error| Failure::here(format!("the credential in {}", file.display()), error))?;
                text
            }
            None => [TOKEN, BOOTSTRAP_KEY].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default(),
        };
        match text.trim() {
            "" => Err(Failure::credential(format!(
                "there is no credential: set {TOKEN} to a token or to the bootstrap key, or give --credential FILE"
            ))),
            text => Ok(text.to_owned()),
        }
    }
}

/// Why the service refused, in its own words.
async fn refused(answer: Response, url: &Url) -> Failure {
    let status = answer.status();
    let problem: Option<Problem> = match answer.bytes().await {
        Ok(body) => serde_json::from_slice(&body).ok(),
        Err(_) => None,
    };
    let told = problem.map_or_else(|| format!("{url} answers {status}"), |problem| tell(&problem));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::credential(told),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Failure::service(told),
        _ => Failure::request(told),
    }
}

fn tell(problem: &Problem) -> String {
    let mistakes = problem.mistakes.iter().map(|mistake| {
        let place = if mistake.path.is_empty() { "the request" } else { &mistake.path };
        format!("\n  {place}: found {}, expected {}", mistake.found, mistake.expected)
    });
    format!("{} ({}){}", problem.detail, problem.reason, mistakes.collect::<String>())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for (url, expected) in [
            ("http://127.0.0.1:8480", true),
            ("http://127.1.2.3/", true),
            ("http://[::1]:8480", true),
            ("http://localhost:8480", true),
            ("http://localhost.evil.example", false),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.evil.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
