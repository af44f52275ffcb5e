//! A service of one's own for each test: the built command, a database in a temporary folder, any free port.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_gate::feed::document::Claims;
use entra_gate::feed::page::Paging;
use entra_gate::feed::token::{Step, Token};
use entra_gate::jose::json;
use entra_gate::jose::jwk::KeySet;
use entra_gate::jose::signature::Software;
use entra_gate::revocation::{Entry, Rule, Subject};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BOOTSTRAP: &str = "a-bootstrap-key-that-is-worthless-and-long";
pub(crate) const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
pub(crate) const USER: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
const PATIENCE: Duration = Duration::from_secs(30);

/// The command.
pub(crate) fn entra_gate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entra-gate"));
    // Nothing of the machine's own settings.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ENTRA_GATE_") || name.starts_with("PG")) {
        command.env_remove(name);
    }
    command
}

/// A running service; it is killed when dropped.
pub(crate) struct Service {
    process: Child,
    pub(crate) place: TempDir,
    pub(crate) api: String,
    pub(crate) feed: String,
    client: Client,
}

/// How to start one.
#[derive(Clone, Default)]
pub(crate) struct Options {
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    config: Option<String>,
    sources: Option<String>,
    without_bootstrap: bool,
    own_keys: bool,
}

impl Options {
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The callers' file.
    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// The file of sources.
    pub(crate) fn sources(mut self, text: &str) -> Self {
        self.sources = Some(text.to_owned());
        self
    }

    pub(crate) fn without_bootstrap(mut self) -> Self {
        self.without_bootstrap = true;
        self
    }

    /// Keys are made anew, as at a first start, instead of taken from the other tests'.
    pub(crate) fn own_keys(mut self) -> Self {
        self.own_keys = true;
        self
    }

    pub(crate) fn start(&self) -> Service {
        self.start_in(tempfile::tempdir().unwrap())
    }

    /// Starts on what is there.
    pub(crate) fn start_in(&self, place: TempDir) -> Service {
        let keys = place.path().join("revocations.db.keys");
        if !self.own_keys && !keys.exists() {
            copy_keys(&keys);
        }
        let mut command = self.command(place.path());
        let log = place.path().join("log");
        let mut process = command.stderr(File::create(&log).unwrap()).stdin(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        let (api, feed) = loop {
            let text = fs::read_to_string(&log).unwrap();
            let listening = |message: &str| {
                let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let mut found = lines.filter(|line| line["message"] == message);
                found.next().map(|line| format!("http://{}", line["address"].as_str().unwrap()))
            };
            let apart = self.arguments.iter().any(|argument| argument.starts_with("--feed-listen"));
            match (listening("listening"), listening("listening for the feed")) {
                (Some(api), Some(feed)) => break (api, feed),
                (Some(api), None) if !apart => break (api.clone(), api),
                _ => {}
            }
            assert!(process.try_wait().unwrap().is_none(), "the service ended: {text}");
            assert!(started.elapsed() < PATIENCE, "the service does not listen: {text}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        Service { process, place, api, feed, client: Client::new() }
    }

    /// Starts what must not start; what it says.
    pub(crate) fn fails_to_start(&self) -> (i32, String) {
        let place = tempfile::tempdir().unwrap();
        let output = self.command(place.path()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn command(&self, place: &Path) -> Command {
        let mut command = entra_gate();
        command.args(["revocations", "serve", "--listen", "127.0.0.1:0", "--log", "json"]).args(&self.arguments);
        if !self.arguments.iter().any(|argument| argument.starts_with("--database")) {
            command.arg(format!("--database=sqlite:{}", place.join("revocations.db").display()));
        }
        command.env("ENTRA_GATE_LOG", "debug,hyper=info,sqlx=warn");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if !self.without_bootstrap {
            command.env("ENTRA_GATE_REVOCATIONS_BOOTSTRAP_KEY", BOOTSTRAP);
        }
        if let Some(sources) = &self.sources {
            let file = place.join("sources.yaml");
            fs::write(&file, sources).unwrap();
            command.arg("--sources").arg(file);
        }
        if let Some(config) = &self.config {
            let file = place.join("callers.yaml");
            fs::write(&file, config).unwrap();
            command.arg("--config").arg(file);
        }
        command
    }
}

/// Making an RSA key takes a while: one does for all tests that are not about keys.
fn copy_keys(to: &Path) {
    static KEYS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let files = KEYS.get_or_init(|| {
        let service = Options::default().own_keys().start();
        let folder = fs::read_dir(service.place.path().join("revocations.db.keys")).unwrap().map(Result::unwrap);
        folder.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    });
    fs::create_dir(to).unwrap();
    for (name, text) in files {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(to.join(name)).unwrap();
        std::io::Write::write_all(&mut file, text).unwrap();
    }
}

impl Service {
    pub(crate) fn start() -> Self {
        Options::default().start()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap()
    }

    /// SIGKILL, and what is left.
    pub(crate) fn kill(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::mem::replace(&mut self.place, tempfile::tempdir().unwrap())
    }

    /// SIGTERM; how it ended, and what is left.
    pub(crate) fn stop(mut self) -> (Option<i32>, TempDir) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let code = self.process.wait().unwrap().code();
        (code, std::mem::replace(&mut self.place, tempfile::tempdir().unwrap()))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.api))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).bearer_auth(BOOTSTRAP)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).bearer_auth(BOOTSTRAP).json(body)
    }

    /// The answer to a good request.
    pub(crate) async fn does(&self, request: RequestBuilder) -> Value {
        let (status, body) = answer(request).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Revokes; the members of a subject and a rule.
    pub(crate) async fn revoke(&self, mut members: Value) -> Value {
        members["reason"] = "a test".into();
        self.does(self.post("/v1/revocations", &members)).await
    }

    pub(crate) async fn revoke_user(&self, user: &str) -> Value {
        self.revoke(serde_json::json!({"tenant": TENANT, "user": user})).await
    }

    /// The raw answer of the feed.
    pub(crate) async fn ask_feed(&self, query: &str, etag: Option<&str>) -> Response {
        let request = self.client.get(format!("{}/v1/feed{query}", self.feed));
        let request = match etag {
            Some(etag) => request.header("if-none-match", etag),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// The published keys.
    pub(crate) async fn keys(&self) -> Value {
        let answer = self.client.get(format!("{}/v1/keys", self.feed)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// A document of the feed, verified with the published keys by the filter's own reader.
    pub(crate) async fn document(&self, query: &str) -> Document {
        let answer = self.ask_feed(query, None).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
        let body = answer.bytes().await.unwrap().to_vec();
        Document::read(&body, &self.keys().await, etag)
    }

    /// A page of a packed document.
    pub(crate) async fn page(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.feed)).send().await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Status and JSON of an answer; null for no body.
pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body = answer.bytes().await.unwrap();
    let json = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or_default() };
    (status, json)
}

/// A document that was read and verified.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) claims: Claims,
    pub(crate) paging: Option<Paging>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) etag: String,
    pub(crate) kid: String,
}

impl Document {
    pub(crate) fn read(body: &[u8], keys: &Value, etag: String) -> Self {
        let keys = KeySet::read(keys.to_string().as_bytes()).unwrap();
        let mut token = Token::read(body.to_vec(), &keys).unwrap();
        while token.verify(1 << 20, &Software).unwrap() == Step::More {}
        let payload = json::object(&URL_SAFE_NO_PAD.decode(token.payload()).unwrap()).unwrap();
        let (claims, paging) = Claims::read(&payload).unwrap();
        let read = |entry: &Value| Entry::read(entry.as_object().unwrap()).unwrap();
        let entries = payload["entries"].as_array().unwrap().iter().map(read).collect();
        Self { claims, paging, entries, etag, kid: token.key.kid.clone().unwrap_or_default() }
    }

    /// The rules by subject, as a gate would merge them.
    pub(crate) fn rules(&self) -> BTreeMap<Subject, Rule> {
        let mut rules: BTreeMap<Subject, Rule> = BTreeMap::new();
        for Entry { subject, rule, .. } in &self.entries {
            let merged = rules.entry(subject.clone()).or_default();
            *merged = merged.merge(*rule);
        }
        rules
    }
}

pub(crate) fn user(user: &str) -> Subject {
    Subject::User { tenant: TENANT.into(), user: user.into() }
}

/// A user by number.
pub(crate) fn user_id(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}
