//! The whole decision without Envoy: a configuration, the mock's documents as keys, a time, and a token.

use entra_gate::config;
use entra_gate::inquiry::heard::Heard;
use entra_gate::jose::signature::{Signatures, Software};
use entra_gate::judge::memory::Memory;
use entra_gate::judge::request::Request;
use entra_gate::judge::verdict::Judgement;
use entra_gate::judge::{Given, judge};
use entra_gate::keys::discovery::Metadata;
use entra_gate::keys::document::DocumentId;
use entra_gate::keys::record::Fetched;
use entra_gate::keys::store::KeyStore;
use entra_gate::policy::Policy;
use entra_gate::policy::sources::Carried;
use entra_gate::revocation::Revocations;
use mock_entra::{Directory, TokenRequest};
use serde_json::Value;

/// Unix seconds.
pub(crate) const NOW: i64 = 1_760_000_000;

pub(crate) struct Gate {
    pub(crate) directory: Directory,
    pub(crate) policy: Policy,
    pub(crate) keys: KeyStore,
    pub(crate) memory: Memory,
    pub(crate) heard: Heard,
    pub(crate) signatures: &'static dyn Signatures,
    pub(crate) now: i64,
    /// When the revocation feed was last current, in milliseconds.
    pub(crate) confirmed_at: Option<u64>,
}

impl Gate {
    /// A gate that has fetched everything that it is configured to fetch.
    pub(crate) fn new(configuration: &Value) -> Self {
        Self::with(Directory::new(), configuration)
    }

    pub(crate) fn with(directory: Directory, configuration: &Value) -> Self {
        let policy = config::compile_with(configuration.to_string().as_bytes(), &environment)
            .unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let keys = policy.key_store();
        let mut gate = Self {
            keys,
            memory: Memory::default(),
            heard: Heard::default(),
            signatures: &Software,
            directory,
            policy,
            now: NOW,
            confirmed_at: None,
        };
        gate.fetch();
        gate
    }

    /// Fetches every document, as the shell would.
    pub(crate) fn fetch(&mut self) {
        for (at, document) in self.policy.documents.iter().enumerate() {
            let Some(document) = document else { continue };
            let answer = |address: &entra_gate::keys::document::Address| {
                let answer = self.directory.document(address.authority(), address.path());
                answer.unwrap_or_else(|| panic!("the mock does not serve {address}")).to_string().into_bytes()
            };
            let metadata = answer(&document.metadata);
            let keys = answer(&Metadata::read(document, &metadata).unwrap_or_else(|fault| panic!("{fault}")).jwks_uri);
            let fetched_at = u64::try_from(self.now).unwrap() * 1_000;
            let held = Fetched { fetched_at, metadata, keys }.read(document).unwrap_or_else(|fault| panic!("{fault}"));
            self.keys.accept(DocumentId(at), held);
        }
    }

    pub(crate) fn mint(&self, request: &Value) -> String {
        let request: TokenRequest = serde_json::from_value(request.clone()).unwrap();
        self.directory.mint(&request, self.now).unwrap_or_else(|error| panic!("{error:?}")).access_token
    }

    pub(crate) fn judge(&self, path: &str, authorization: Option<&str>) -> Judgement {
        let headers: Vec<(&str, &str)> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        self.judge_request(path, &headers)
    }

    /// A request with these headers; tokens in its query are taken off as the shell does.
    pub(crate) fn judge_request(&self, target: &str, headers: &[(&str, &str)]) -> Judgement {
        self.ask(target, headers, judge)
    }

    /// Whatever is asked of the core about such a request.
    pub(crate) fn ask<T>(
        &self,
        target: &str,
        headers: &[(&str, &str)],
        question: impl FnOnce(&Request, &Given<'_>) -> T,
    ) -> T {
        let value = |name: &String| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_bytes().to_vec())
        };
        let sources = &self.policy.sources;
        let (path, parameters) =
            sources.take_parameters(target.as_bytes()).unwrap_or_else(|| (target.as_bytes().to_vec(), Vec::new()));
        let request = Request {
            method: "GET".into(),
            authority: "api.example".into(),
            path: String::from_utf8(path).unwrap(),
            preflight: false,
            carried: Carried { headers: sources.headers().iter().map(value).collect(), parameters },
        };
        let entries = self.policy.revocation.as_ref().map(|revocation| revocation.entries.clone()).unwrap_or_default();
        let mut revocations = Revocations::new(entries);
        revocations.fed.confirmed_at = self.confirmed_at;
        let given = Given {
            policy: &self.policy,
            keys: &self.keys,
            revocations: &revocations,
            memory: &self.memory,
            heard: &self.heard,
            now: u64::try_from(self.now).unwrap() * 1_000,
            signatures: self.signatures,
        };
        question(&request, &given)
    }
}

/// The variables of the VM: private keys of the mock's fixtures, and a secret.
pub(crate) fn environment(name: &str) -> Option<String> {
    let key = |name: &str| {
        let file = format!("{}/tests/mock-entra/keys/{name}.key.pem", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    match name {
        name if name.starts_with("ENCRYPTION_KEY") => Some(key("encryption")),
        "OTHER_KEY" => Some(key("large")),
        "INTROSPECTION_SECRET" => Some("worthless-introspection-secret".to_owned()),
        "SECRET" => Some(SECRET.to_owned()),
        _ => None,
    }
}

/// 256 bits in base64url, worthless.
pub(crate) const SECRET: &str = "d29ydGhsZXNzLXNlY3JldC1vZi0zMi1ieXRlcy1sb25n";
