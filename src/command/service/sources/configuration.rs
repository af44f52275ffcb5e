//! The file that says which sources feed the set. Every mistake is told at once, with its place in the file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use entra_gate::config::Mistake;
use entra_gate::config::node::{Members, Node};
use entra_gate::entra::cloud::Cloud;
use entra_gate::entra::guid::Guid;
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::keys::document::Address;
use reqwest::Url;
use serde_json::Value;

use super::certificate::Certificate;
use super::directory::{Collection, Start};
use super::token::{Keys, Trust, Typing, keys};
use super::{logout, set};
use crate::failure::Failure;
use crate::input::Input;
use crate::located;

/// The members of the whole file and of each kind, for the reference to be held against.
pub(crate) const MEMBERS: [&str; 2] = ["hosts", "sources"];
const SHARED: [&str; 2] = ["dry_run", "kind"];
const TRUST: [&str; 6] = ["algorithms", "audiences", "issuer", "jwks", "jwks_url", "metadata_url"];
pub(crate) const GRAPH: [&str; 8] =
    ["certificate", "client_id", "client_secret_env", "cloud", "collections", "interval", "start", "tenant"];
pub(crate) const SIGNALS: [&str; 7] =
    ["credential_changes", "opaque", "poll", "push", "sub", "subject_issuers", "tenant"];
pub(crate) const LOGOUT: [&str; 2] = ["require_type", "tenant"];
pub(crate) const CERTIFICATE: [&str; 2] = ["certificate_file", "key_file"];
pub(crate) const PUSH: [&str; 1] = ["authorization_env"];
pub(crate) const POLL: [&str; 5] = ["authorization_env", "interval", "max_events", "url", "wait"];

/// The shortest time between two questions.
const SHORTEST: Duration = Duration::from_millis(200);
/// Longest name of a source.
const MOST_NAME: usize = 64;

/// All sources.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) sources: Vec<Source>,
    /// Where requests to a host really go: a proxy, or a test.
    pub(crate) hosts: BTreeMap<String, Url>,
}

/// A source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// Whether it only tells what it would do.
    pub(crate) dry_run: bool,
    pub(crate) kind: Kind,
}

/// What kind of source it is.
#[derive(Debug)]
pub(crate) enum Kind {
    BackChannelLogout(Box<Logout>),
    Graph(Box<Graph>),
    SharedSignals(Box<Signals>),
}

impl Kind {
    /// The word of the file.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::BackChannelLogout(_) => "backchannel_logout",
            Self::Graph(_) => "graph",
            Self::SharedSignals(_) => "shared_signals",
        }
    }
}

/// Microsoft Graph.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) tenant: Guid,
    pub(crate) cloud: Cloud,
    pub(crate) client: Guid,
    pub(crate) credential: Credential,
    pub(crate) interval: Duration,
    pub(crate) start: Start,
    pub(crate) collections: Vec<Collection>,
}

/// How a client of Entra says who it is.
#[derive(Debug)]
pub(crate) enum Credential {
    Certificate(Box<Certificate>),
    Secret(Secret),
}

/// A secret, which is never shown.
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// Here.
    Inline(InlineKeys),
    /// In a JWK set at this address.
    Jwks(Address),
    /// In a JWK set that this document names, if it states this issuer.
    Metadata(Address),
}

/// Keys of the file.
#[derive(Clone)]
pub(crate) struct InlineKeys(pub(crate) Keys);

impl std::fmt::Debug for InlineKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} keys", self.0.len())
    }
}

/// A transmitter of Shared Signals.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) trust: Trust,
    pub(crate) keys: KeySource,
    pub(crate) mapping: set::Mapping,
    pub(crate) push: Option<Push>,
    pub(crate) poll: Option<Poll>,
}

/// The transmitter comes.
#[derive(Debug)]
pub(crate) struct Push {
    /// `Authorization`, to the byte.
    pub(crate) authorization: Secret,
}

/// We ask.
#[derive(Debug)]
pub(crate) struct Poll {
    pub(crate) url: Address,
    pub(crate) authorization: Secret,
    pub(crate) interval: Duration,
    pub(crate) max_events: u64,
    pub(crate) wait: Duration,
}

/// An OpenID provider that tells of logouts.
#[derive(Debug)]
pub(crate) struct Logout {
    pub(crate) trust: Trust,
    pub(crate) keys: KeySource,
    pub(crate) mapping: logout::Mapping,
}

impl Configuration {
    /// Reads the file; `environment` gives the values of the variables that it names.
    pub(crate) fn read(file: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        Self::of_text(&Input::read(file)?, environment)
    }

    fn of_text(input: &Input, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let at = |position: located::Position, message: &str| format!("{}:{position}: {message}", input.name);
        let documents = located::read(&input.text).map_err(|fault| Failure::usage(at(fault.at, &fault.message)))?;
        let [document] = documents.as_slice() else {
            return Err(Failure::usage(at(located::Position::START, "expected one document with `sources`")));
        };
        Self::of_document(&document.json(), environment).map_err(|mistakes| {
            let told = mistakes.iter().map(|mistake| at(document.position(&mistake.path), &mistake.to_string()));
            Failure::usage(told.collect::<Vec<_>>().join("\n"))
        })
    }

    /// Reads the document; every mistake, never none.
    pub(crate) fn of_document(value: &Value, environment: Environment<'_>) -> Result<Self, Vec<Mistake>> {
        let mistakes = RefCell::new(Vec::new());
        let read = read(&Node::root(value, &mistakes), environment);
        match (read, mistakes.into_inner()) {
            (Some(configuration), mistakes) if mistakes.is_empty() => Ok(configuration),
            (_, mistakes) => Err(mistakes),
        }
    }
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

fn read(root: &Node<'_>, environment: Environment<'_>) -> Option<Configuration> {
    let members = root.object(&MEMBERS)?;
    let hosts = members.optional("hosts", hosts);
    let sources = members.required("sources").and_then(|node| {
        // Every source is read, so that all mistakes are told.
        let all: Vec<Option<Source>> =
            node.entries()?.into_iter().map(|(name, node)| source(name, &node, environment)).collect();
        all.into_iter().collect()
    });
    Some(Configuration { sources: sources?, hosts: hosts?.unwrap_or_default() })
}

fn hosts(node: &Node<'_>) -> Option<BTreeMap<String, Url>> {
    let mut hosts = BTreeMap::new();
    for (host, node) in node.entries()? {
        let url = node.json().as_str().and_then(|text| Url::parse(text).ok());
        match url.filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/") {
            Some(url) => drop(hosts.insert(host.to_ascii_lowercase(), url)),
            None => return node.mistake("an http or https address without a path"),
        }
    }
    Some(hosts)
}

fn source(name: &str, node: &Node<'_>, environment: Environment<'_>) -> Option<Source> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !plain || name.len() > MOST_NAME {
        return node.mistake_of(
            "a name with other characters",
            "letters, digits, - and _, at most 64: it is part of an address",
        );
    }
    let kinds = [("backchannel_logout", 0), ("graph", 1), ("shared_signals", 2)];
    let kind = node.open_object()?.required("kind")?.choice(&kinds)?;
    let known: Vec<&str> = match kind {
        0 => [&SHARED[..], &TRUST, &LOGOUT].concat(),
        1 => [&SHARED[..], &GRAPH].concat(),
        _ => [&SHARED[..], &TRUST, &SIGNALS].concat(),
    };
    let members = node.object(&known)?;
    let dry_run = members.optional("dry_run", Node::flag);
    let kind = match kind {
        0 => logout(&members).map(|logout| Kind::BackChannelLogout(Box::new(logout))),
        1 => graph(&members, environment).map(|graph| Kind::Graph(Box::new(graph))),
        _ => signals(&members, environment).map(|signals| Kind::SharedSignals(Box::new(signals))),
    };
    Some(Source { name: name.to_owned(), dry_run: dry_run?.unwrap_or(false), kind: kind? })
}

fn graph(members: &Members<'_>, environment: Environment<'_>) -> Option<Graph> {
    let tenant = members.required("tenant").and_then(|node| node.guid());
    let client = members.required("client_id").and_then(|node| node.guid());
    let clouds = Cloud::ALL.map(|cloud| (cloud.name(), cloud));
    let cloud = members.optional("cloud", |node| node.choice(&clouds));
    let credential = credential(members, environment);
    let interval = members.optional("interval", |node| node.duration(SHORTEST..=seconds(3_600)));
    let starts = [("everything", Start::Everything), ("now", Start::Now)];
    let start = members.optional("start", |node| node.choice(&starts));
    let all = [Collection::Users, Collection::ServicePrincipals];
    let words = [("users", Collection::Users), ("service_principals", Collection::ServicePrincipals)];
    let collections = members.optional("collections", |node| node.list(|node| node.choice(&words)));
    let mut collections = collections?.unwrap_or_else(|| all.to_vec());
    collections.sort();
    collections.dedup();
    Some(Graph {
        tenant: tenant?,
        client: client?,
        cloud: cloud?.unwrap_or(Cloud::Public),
        credential: credential?,
        interval: interval?.unwrap_or(seconds(30)),
        start: start?.unwrap_or(Start::Everything),
        collections,
    })
}

fn credential(members: &Members<'_>, environment: Environment<'_>) -> Option<Credential> {
    match (members.get("client_secret_env"), members.get("certificate")) {
        (Some(node), None) => Some(Credential::Secret(secret(&node, environment)?)),
        (None, Some(node)) => {
            let parts = node.object(&CERTIFICATE)?;
            let file = |name: &str| {
                let node = parts.required(name)?;
                let path = node.text()?;
                match std::fs::read(path) {
                    Ok(bytes) => Some(bytes),
                    Err(error) => node.mistake_of(&format!("{path:?}: {error}"), "a file that can be read"),
                }
            };
            let (certificate, key) = (file("certificate_file"), file("key_file"));
            match Certificate::read(&certificate?, &key?) {
                Ok(certificate) => Some(Credential::Certificate(Box::new(certificate))),
                Err(fault) => node.mistake_of(fault, "a certificate and its RSA key of 2048 to 4096 bits, both PEM"),
            }
        }
        _ => members.node().mistake_of("not one credential", "`client_secret_env` or `certificate`"),
    }
}

/// `kind` is the type that the tokens state.
fn trust(
    members: &Members<'_>,
    kind: &'static str,
    typing: Typing,
    well_known: WellKnown,
) -> Option<(Trust, KeySource)> {
    let issuer = members.required("issuer").and_then(|node| match node.json().as_str().and_then(Address::parse) {
        Some(_) => node.text(),
        None => node.mistake("the issuer's https address, exactly as it stands in `iss`"),
    });
    let audiences = members.required("audiences").and_then(|node| node.list(|node| node.text().map(str::to_owned)));
    // Secrets are not shared with whoever sends events to many.
    let choices: Vec<(&str, Algorithm)> = Algorithm::ALL
        .into_iter()
        .filter(|algorithm| *algorithm != Algorithm::Hs256)
        .map(|algorithm| (algorithm.name(), algorithm))
        .collect();
    let algorithms = members.optional("algorithms", |node| node.list(|node| node.choice(&choices)));
    let address = |node: &Node<'_>| match node.json().as_str().and_then(Address::parse) {
        Some(address) => Some(address),
        None => node.mistake("an absolute https address"),
    };
    let keys = match (members.get("jwks"), members.get("jwks_url"), members.get("metadata_url")) {
        (None, None, None) => issuer.and_then(|issuer| Address::parse(&well_known(issuer))).map(KeySource::Metadata),
        (Some(node), None, None) => match keys(node.json().to_string().as_bytes()) {
            Ok(keys) => Some(KeySource::Inline(InlineKeys(keys))),
            Err(_) => {
                node.mistake_of("no key that can be used", "a JWK set with `kid`s: RSA of 2048 to 4096 bits, or P-256")
            }
        },
        (None, Some(node), None) => address(&node).map(KeySource::Jwks),
        (None, None, Some(node)) => address(&node).map(KeySource::Metadata),
        _ => members.node().mistake_of("several places for keys", "`jwks`, `jwks_url` or `metadata_url`"),
    };
    let trust = Trust {
        issuer: issuer?.to_owned(),
        audiences: audiences?,
        algorithms: algorithms?.unwrap_or_else(|| vec![Algorithm::Rs256]),
        kind,
        typing,
    };
    Some((trust, keys?))
}

/// Where an issuer's metadata is.
type WellKnown = fn(&str) -> String;

/// Shared Signals 1.0 section 7.2: between the host and the path.
fn of_transmitter(issuer: &str) -> String {
    let rest = issuer.strip_prefix("https://").unwrap_or(issuer);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let separator = if path.is_empty() { "" } else { "/" };
    format!("https://{host}/.well-known/ssf-configuration{separator}{path}")
}

/// OpenID Connect Discovery 1.0 section 4: after the path.
fn of_provider(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

fn signals(members: &Members<'_>, environment: Environment<'_>) -> Option<Signals> {
    let trust = trust(members, "secevent+jwt", Typing::Strict, of_transmitter);
    let tenant = members.optional("tenant", Node::guid);
    let subs = [("subject", set::Sub::Subject), ("user", set::Sub::User)];
    let sub = members.optional("sub", |node| node.choice(&subs));
    let opaques = [("client", set::Opaque::Client), ("session", set::Opaque::Session), ("user", set::Opaque::User)];
    let opaque = members.optional("opaque", |node| node.choice(&opaques));
    let issuers = members.optional("subject_issuers", |node| node.list(|node| node.text().map(str::to_owned)));
    let changes =
        members.optional("credential_changes", |node| node.list(|node| node.choice(&set::CredentialChange::ALL)));
    let push = members.optional("push", |node| {
        let members = node.object(&PUSH)?;
        Some(Push { authorization: authorization(&members, environment)? })
    });
    let poll = members.optional("poll", |node| poll(node, environment));
    let (tenant, sub, opaque, push, poll) = (tenant?, sub?.unwrap_or(set::Sub::Subject), opaque?, push?, poll?);
    if tenant.is_none() && (sub == set::Sub::User || opaque.is_some()) {
        return members.at("tenant").mistake_of("nothing", "the tenant that these users, sessions or clients are in");
    }
    if push.is_none() && poll.is_none() {
        return members.node().mistake_of("neither `push` nor `poll`", "one of them, or both");
    }
    let (trust, keys) = trust?;
    let subject_issuers = issuers?.unwrap_or_else(|| vec![trust.issuer.clone()]);
    use set::CredentialChange::{Delete, Revoke, Update};
    let credential_changes = changes?.unwrap_or_else(|| vec![Delete, Revoke, Update]);
    let mapping = set::Mapping { tenant, subject_issuers, sub, opaque, credential_changes };
    Some(Signals { trust, keys, mapping, push, poll })
}

fn poll(node: &Node<'_>, environment: Environment<'_>) -> Option<Poll> {
    let members = node.object(&POLL)?;
    let url = members.required("url").and_then(|node| match node.json().as_str().and_then(Address::parse) {
        Some(address) => Some(address),
        None => node.mistake("an absolute https address"),
    });
    let authorization = authorization(&members, environment);
    let interval = members.optional("interval", |node| node.duration(SHORTEST..=seconds(3_600)));
    let max_events = members.optional("max_events", |node| node.integer(1..=1_000));
    let wait = members.optional("wait", |node| node.duration(Duration::ZERO..=seconds(300)));
    Some(Poll {
        url: url?,
        authorization: authorization?,
        interval: interval?.unwrap_or(seconds(10)),
        max_events: max_events?.unwrap_or(100),
        wait: wait?.unwrap_or(Duration::ZERO),
    })
}

fn logout(members: &Members<'_>) -> Option<Logout> {
    let require = members.optional("require_type", Node::flag);
    let typing = if require == Some(Some(false)) { Typing::Lax } else { Typing::Strict };
    let trust = trust(members, "logout+jwt", typing, of_provider);
    let tenant = members.optional("tenant", Node::guid)?;
    require?;
    let (trust, keys) = trust?;
    let mapping = logout::Mapping { issuer: trust.issuer.clone(), tenant };
    Some(Logout { trust, keys, mapping })
}

fn authorization(members: &Members<'_>, environment: Environment<'_>) -> Option<Secret> {
    let node = members.required("authorization_env")?;
    let secret = secret(&node, environment)?;
    // What a header cannot hold would never be sent, and never be met.
    let fits = secret.0.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if fits {
        Some(secret)
    } else {
        node.mistake_of("a variable with other characters", "the whole value of Authorization, printable ASCII")
    }
}

/// The value of the variable that is named here, which is never shown; neither is what stands here, which may be the secret.
fn secret(node: &Node<'_>, environment: Environment<'_>) -> Option<Secret> {
    let name = node.json().as_str().unwrap_or_default();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !plain || name.starts_with(|first: char| first.is_ascii_digit()) {
        return node.mistake_of("no name of an environment variable", "one of letters, digits and _");
    }
    match environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()) {
        Some(value) => Some(Secret(value)),
        None => node
            .mistake_of(&format!("{name}, which is not set"), "a variable of the service's environment, with a value"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests;
