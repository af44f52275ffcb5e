//! The revocation service as a process of its own, and its command as a person uses it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::http::{Origin, Request};
use crate::patience::until;

/// The key that may do everything, in tests and in the compose example.
pub const BOOTSTRAP_KEY: &str = "worthless-bootstrap-key-of-the-demo";

/// A running service; it is killed when dropped.
#[derive(Debug)]
pub struct Service {
    process: Child,
    place: TempDir,
    addr: SocketAddr,
}

/// What speaks to a service.
#[derive(Clone, Debug)]
pub struct Revocations {
    origin: Origin,
}

/// The command: `ENTRA_GATE_COMMAND`, or beside this program, where cargo and the compose example put it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn command() -> PathBuf {
    if let Some(named) = std::env::var_os("ENTRA_GATE_COMMAND") {
        return named.into();
    }
    let here = std::env::current_exe().expect("this program has a path");
    let mut beside = here.ancestors().skip(1).take(2).map(|folder| folder.join("entra-gate"));
    beside.find(|command| command.is_file()).unwrap_or_else(|| {
        panic!(
            "there is no entra-gate beside {}: `cargo build -p entra-gate --bin entra-gate --features command`",
            here.display()
        )
    })
}

impl Service {
    /// Starts a service with the demo's signing key on an address.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_on(addr: SocketAddr) -> Self {
        Self::start_with(addr, None).await
    }

    /// Starts a service with the demo's signing key on an address, fed by the sources of this file. The variable
    /// `READER_SECRET` holds the secret of the mock's application that may read the directory.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_with(addr: SocketAddr, sources: Option<&str>) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        demo_keys(&place.path().join("keys"));
        if let Some(sources) = sources {
            fs::write(place.path().join("sources.yaml"), sources).expect("a temporary file");
        }
        Self::start_in(place, addr).await
    }

    /// Kills it, does something while it is away, and starts it again on what it left.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn away(mut self, meanwhile: impl AsyncFnOnce()) -> Self {
        let _ = self.process.kill();
        let _ = self.process.wait();
        meanwhile().await;
        let place = std::mem::replace(&mut self.place, tempfile::tempdir().expect("a temporary directory"));
        Self::start_in(place, self.addr).await
    }

    async fn start_in(place: TempDir, addr: SocketAddr) -> Self {
        let log = place.path().join("log");
        let sources = place.path().join("sources.yaml");
        let mut process = std::process::Command::new(command());
        process.args(["revocations", "serve", "--log", "json", "--listen", &addr.to_string(), "--keys"]);
        process.arg(place.path().join("keys"));
        process.arg(format!("--database=sqlite:{}", place.path().join("revocations.db").display()));
        if sources.is_file() {
            process.arg("--sources").arg(sources);
        }
        let process = process
            .env("ENTRA_GATE_REVOCATIONS_BOOTSTRAP_KEY", BOOTSTRAP_KEY)
            .env("READER_SECRET", "worthless-reader-secret")
            .stdin(Stdio::null())
            .stderr(File::create(&log).expect("a temporary file"))
            .spawn()
            .expect("the command runs");
        let mut service = Self { process, place, addr };
        service.addr = until("the revocation service listens", async || {
            let text = fs::read_to_string(&log).ok()?;
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["message"] == "listening")?["address"].as_str()?.parse().ok()
        })
        .await;
        service
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its folder: the database and the keys.
    #[must_use]
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// The process, as the system numbers it.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// What speaks to it.
    #[must_use]
    pub fn client(&self) -> Revocations {
        Revocations::at(Origin::new(self.addr))
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Revocations {
    /// A service that runs already.
    #[must_use]
    pub fn at(origin: Origin) -> Self {
        Self { origin }
    }

    /// `revocation.feed` of the plugin's configuration, for the cluster `revocations`.
    ///
    /// # Panics
    /// When the service does not answer.
    pub async fn feed(&self) -> Value {
        let answer = self.origin.send(Request::get("/v1/keys")).await.expect("the service answers");
        json!({
            "url": "https://revocations.example/v1/feed",
            "cluster": "revocations",
            "interval": "200ms",
            "keys": answer.json(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Runs `entra-gate revocations …` as a person would; what it prints for programs.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run(&self, arguments: &[&str]) -> Value {
        let output = Command::new(command())
            .arg("revocations")
            .args(arguments)
            .args(["--output", "json", "--plain-http"])
            .env("ENTRA_GATE_REVOCATIONS_URL", self.origin.url(""))
            .env("ENTRA_GATE_REVOCATIONS_TOKEN", BOOTSTRAP_KEY)
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the command runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "entra-gate revocations {}: {told}", arguments.join(" "));
        serde_json::from_slice(&output.stdout).expect("the command prints JSON")
    }
}

/// The signing key of the compose example, readable by its owner alone, as the service demands.
fn demo_keys(to: &Path) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::create_dir(to).expect("a folder");
    let (name, text) = DEMO_KEY;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(to.join(name)).expect("a file");
    file.write_all(text.as_bytes()).expect("a file");
}

/// The worthless key of the compose example, whose public half is in its `envoy.yaml`.
const DEMO_KEY: (&str, &str) = (
    "mpwcwFWMbotg9A3O8JfP2b9smXUqvpRd9xXbdNalaaY.json",
    include_str!("../../../envoy/compose/revocations-key/mpwcwFWMbotg9A3O8JfP2b9smXUqvpRd9xXbdNalaaY.json"),
);
