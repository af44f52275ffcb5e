//! What is given: a configuration, a token, keys; and the question to the core that they make up.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use entra_gate::config;
use entra_gate::inquiry::heard::Heard;
use entra_gate::jose::json;
use entra_gate::jose::jwk::KeySet;
use entra_gate::jose::signature::Software;
use entra_gate::judge::memory::Memory;
use entra_gate::judge::refusal::{IssuerHint, Refusal};
use entra_gate::judge::request::Request;
use entra_gate::judge::trace::Trace;
use entra_gate::judge::verdict::{Judgement, Verdict};
use entra_gate::judge::{Given, explain};
use entra_gate::keys::document::DocumentId;
use entra_gate::keys::store::{Held, KeyStore};
use entra_gate::policy::Policy;
use entra_gate::policy::sources::{Carried, Parameter, Source as Place};
use entra_gate::revocation::Revocations;
use serde_json::Value;

use crate::failure::Failure;

/// Whether a file is standard input.
pub(super) fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

fn read(file: &Path) -> std::io::Result<String> {
    if !is_standard_input(file) {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

/// The policy that a file holds: a plugin's configuration alone, YAML or JSON. Every mistake is told.
pub(super) fn policy(file: &Path) -> Result<Policy, Failure> {
    let fault = |told: &str| Failure::usage(format!("{}: {told}", file.display()));
    let text = read(file).map_err(|error| Failure::here(file.display(), error))?;
    let document = if text.trim_start().starts_with('{') && json::object(text.trim().as_bytes()).is_ok() {
        serde_json::from_str(&text).map_err(|error| fault(&error.to_string()))?
    } else {
        // Into its own value first, which refuses names that appear twice.
        let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).map_err(|error| fault(&error.to_string()))?;
        serde_json::to_value(yaml).map_err(|error| fault(&error.to_string()))?
    };
    compile(document).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
        fault(&lines.concat())
    })
}

fn compile(mut document: Value) -> Result<Policy, Vec<config::Mistake>> {
    // Whoever runs the command needs no leave to see why.
    if let Some(members) = document.as_object_mut() {
        members.remove("explain");
    }
    config::compile_with(document.to_string().as_bytes(), &|name| std::env::var(name).ok())
}

/// The token that a file holds, alone or as it stood in a header.
pub(super) fn token(file: &Path) -> Result<String, Failure> {
    // Somebody may have written the token itself: then neither it nor an error about it is told.
    if file.to_string_lossy().matches('.').count() >= 2 && file.to_string_lossy().starts_with("ey") {
        return Err(Failure::usage("--token names the file that holds the token, or is - for standard input"));
    }
    let text = read(file).map_err(|error| Failure::here("the token's file", error))?;
    let token = bare(&text);
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Failure::usage("the token's file must hold one token, and nothing else"));
    }
    Ok(token.to_owned())
}

fn bare(text: &str) -> &str {
    let mut text = text.trim();
    for prefix in ["authorization:", "bearer "] {
        if let Some((start, rest)) = text.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            text = rest.trim_start();
        }
    }
    text
}

/// The keys that a file holds.
pub(super) fn keys(file: &Path) -> Result<KeySet, Failure> {
    let text = read(file).map_err(|error| Failure::here(file.display(), error))?;
    let told = "found no JWK set with a usable key, expected what is at the metadata's jwks_uri";
    KeySet::read(text.as_bytes()).map_err(|_| Failure::usage(format!("{}: {told}", file.display())))
}

/// The request that the token came with.
pub(super) struct Source {
    pub(super) token: String,
    pub(super) path: String,
    pub(super) method: String,
    pub(super) host: String,
}

/// All that the core is asked about.
pub(super) struct Question<'a> {
    pub(super) policy: &'a Policy,
    source: Source,
    keys: KeyStore,
    revocations: Revocations,
    seconds: u64,
}

impl<'a> Question<'a> {
    pub(super) fn new(policy: &'a Policy, source: Source, seconds: u64) -> Self {
        let entries = policy.revocation.as_ref().map(|revocation| revocation.entries.clone()).unwrap_or_default();
        let mut revocations = Revocations::new(entries);
        // The feed is not asked: what it says is not known, and the rest is worth showing.
        revocations.fed.confirmed_at = Some(seconds.saturating_mul(1_000));
        Self { policy, source, keys: policy.key_store(), revocations, seconds }
    }

    /// The time of the question.
    pub(super) fn millis(&self) -> u64 {
        self.seconds.saturating_mul(1_000)
    }

    /// Keys for every document: which of them is meant, the token says.
    pub(super) fn take_keys(&mut self, keys: &KeySet) {
        for (at, document) in self.policy.documents.iter().enumerate() {
            if document.is_some() {
                let held = Held {
                    issuer: None,
                    cloud_instance_name: None,
                    address: None,
                    keys: keys.clone(),
                    fetched_at: None,
                    max_age: Duration::MAX,
                };
                self.keys.accept(DocumentId(at), held);
            }
        }
    }

    /// The keys of a document.
    pub(super) fn accept(&mut self, document: DocumentId, held: Held) {
        self.keys.accept(document, held);
    }

    /// Asks, with the token in the first place where its provider takes tokens from.
    pub(super) fn ask(&self) -> (Judgement, Trace) {
        let places = self.policy.sources.all().count();
        let mut all = (0..places).map(|place| self.ask_at(place));
        let first = all.next().unwrap_or_else(|| self.ask_at(0));
        let is_elsewhere = |judgement: &Judgement| {
            matches!(&judgement.verdict, Verdict::Refuse(Refusal::IssuerNotAllowed(fault))
                if matches!(fault.hint, IssuerHint::OtherSource { .. }))
        };
        if is_elsewhere(&first.0) {
            all.find(|(judgement, _)| !is_elsewhere(judgement)).unwrap_or(first)
        } else {
            first
        }
    }

    fn ask_at(&self, place: usize) -> (Judgement, Trace) {
        let Source { token, path, method, host } = &self.source;
        let request = Request {
            method: method.clone(),
            authority: host.clone(),
            path: path.clone(),
            preflight: false,
            carried: self.carry(place, token),
        };
        let given = Given {
            policy: self.policy,
            keys: &self.keys,
            revocations: &self.revocations,
            memory: &Memory::default(),
            heard: &Heard::default(),
            now: self.millis(),
            signatures: &Software,
        };
        explain(&request, &given)
    }

    /// The token as a client sends it there.
    fn carry(&self, place: usize, token: &str) -> Carried {
        let sources = &self.policy.sources;
        let (header, value) = match sources.all().nth(place) {
            Some(Place::Cookie(name)) => ("cookie", format!("{name}={token}")),
            Some(Place::Header { name, scheme: Some(scheme) }) => (name.as_str(), format!("{scheme} {token}")),
            Some(Place::Header { name, scheme: None }) => (name.as_str(), token.to_owned()),
            Some(Place::Query(_)) => {
                let parameter = Parameter { source: place, value: Some(token.as_bytes().to_vec()) };
                return Carried { headers: vec![None; sources.headers().len()], parameters: vec![parameter] };
            }
            None => return Carried::default(),
        };
        let slot = |name: &String| (name == header).then(|| value.clone().into_bytes());
        Carried { headers: sources.headers().iter().map(slot).collect(), parameters: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_stand_as_in_a_header() {
        for text in ["a.b.c", " a.b.c\n", "Bearer a.b.c", "Authorization: Bearer a.b.c", "authorization:bearer  a.b.c"]
        {
            assert_eq!(bare(text), "a.b.c", "{text}");
        }
    }

    #[test]
    fn a_token_in_place_of_a_file_is_not_told() {
        let failure = token(Path::new("eyJh.eyJi.secret")).unwrap_err();
        assert!(!format!("{failure:?}").contains("secret"));
        let failure = token(Path::new("/nowhere/secret")).unwrap_err();
        assert!(!format!("{failure:?}").contains("secret"));
    }
}
