//! The Envoy process: which binary, how it starts, what it says.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::http::{Answer, Origin, Request};
use crate::patience::{DEADLINE, until};

/// Longer than the filter takes to tell what it counted, on a busy machine too.
const TELLING: Duration = Duration::from_secs(1);
const VERSIONS: &str = include_str!("../../../envoy/setup/versions");

/// The top of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The filter: `ENTRA_GATE_WASM`, or where `make wasm` puts it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn wasm() -> PathBuf {
    let wasm =
        std::env::var_os("ENTRA_GATE_WASM").map_or_else(|| repository().join("dist/entra_gate.wasm"), PathBuf::from);
    wasm.canonicalize().unwrap_or_else(|error| panic!("{}: {error}. Run `make wasm` first.", wasm.display()))
}

/// An Envoy binary.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its version.
    pub version: String,
    binary: PathBuf,
}

impl Release {
    /// Those that are supported, newest first; `ENTRA_GATE_ENVOY` names other binaries, separated by spaces.
    ///
    /// # Panics
    /// When one is missing.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Self::binaries().into_iter().map(Self::of).collect()
    }

    /// The newest; the others may be missing.
    ///
    /// # Panics
    /// When it is missing.
    #[must_use]
    pub fn newest() -> Self {
        let newest = Self::binaries().into_iter().next();
        Self::of(newest.expect("envoy/setup/versions names a version"))
    }

    fn binaries() -> Vec<PathBuf> {
        let named = ["ENTRA_GATE_ENVOY", "ENTRA_GATE_ENVOYS"].iter().find_map(|name| std::env::var(name).ok());
        match named.as_deref().map(str::trim) {
            Some(named) if !named.is_empty() => named.split_whitespace().map(PathBuf::from).collect(),
            Some(_) | None => {
                let versions = VERSIONS.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
                versions.map(|version| repository().join(format!(".tools/envoy-{version}/bin/envoy"))).collect()
            }
        }
    }

    /// The file that runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    fn of(binary: PathBuf) -> Self {
        let output = Command::new(&binary)
            .arg("--version")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}. Run `envoy/setup/envoy.sh` first.", binary.display()));
        // envoy  version: <commit>/<version>/Clean/RELEASE/BoringSSL
        let told = String::from_utf8_lossy(&output.stdout);
        let version = told.split('/').rev().nth(3).unwrap_or_else(|| panic!("{}: {told}", binary.display()));
        Self { version: version.to_owned(), binary }
    }

    /// Whether the file is a configuration that this Envoy takes with these environment variables, without starting it:
    /// what it says if not.
    ///
    /// # Errors
    /// What Envoy said.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn validate(&self, file: &Path, environment: &[(String, String)]) -> Result<(), String> {
        let output = Command::new(&self.binary)
            .args(["--mode", "validate", "--disable-hot-restart", "-c"])
            .arg(file)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("envoy runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(told) }
    }
}

/// A running Envoy; it stops when dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    place: TempDir,
    admin: Origin,
    ingress: Origin,
}

/// An Envoy that ended before it was ready.
#[derive(Debug)]
pub struct NotStarted {
    /// How it ended; none if it did not become ready in time.
    pub status: Option<ExitStatus>,
    /// All that it said.
    pub log: String,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => writeln!(formatter, "Envoy ended before it was ready ({status}):")?,
            None => writeln!(formatter, "Envoy did not become ready:")?,
        }
        let lines: Vec<&str> = self.log.lines().collect();
        let last = lines.len().saturating_sub(30);
        formatter.write_str(&lines[last..].join("\n"))
    }
}

impl Envoy {
    /// Starts Envoy and waits until it serves its first listener.
    ///
    /// # Errors
    /// When it does not come up.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub async fn start(
        release: &Release,
        bootstrap: &Value,
        workers: u32,
        environment: &[(String, String)],
    ) -> Result<Self, NotStarted> {
        let mut command = Command::new(&release.binary);
        command
            .args(["--concurrency", &workers.to_string()])
            .args(["--log-level", "warning", "--component-log-level", "wasm:info"])
            .args(["--file-flush-interval-msec", "20"])
            .envs(environment.iter().map(|(name, value)| (name, value)));
        Self::start_by(command, bootstrap).await
    }

    /// Starts Envoy by a command that lacks only where its configuration is and where its output goes.
    ///
    /// # Errors
    /// When it does not come up.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub async fn start_by(mut command: Command, bootstrap: &Value) -> Result<Self, NotStarted> {
        let place = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| place.path().join(name);
        // YAML is a superset of JSON, and Envoy reads either.
        fs::write(file("envoy.json"), bootstrap.to_string()).expect("a temporary file");
        let mut process = command
            .arg("--config-path")
            .arg(file("envoy.json"))
            .arg("--admin-address-path")
            .arg(file("admin"))
            // Several run side by side, and nothing remains of one that is killed.
            .arg("--disable-hot-restart")
            .stdin(Stdio::null())
            .stdout(File::create(file("access.log")).expect("a temporary file"))
            .stderr(File::create(file("envoy.log")).expect("a temporary file"))
            .spawn()
            .expect("envoy runs");
        match serving(&mut process, &place).await {
            Ok((admin, ingress)) => Ok(Self { process, place, admin, ingress }),
            Err(status) => {
                end(&mut process);
                Err(NotStarted { status, log: read(&place, "envoy.log") })
            }
        }
    }

    /// The process, as the system numbers it.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Where requests go.
    #[must_use]
    pub fn ingress(&self) -> &Origin {
        &self.ingress
    }

    /// Where the administration listens.
    #[must_use]
    pub fn admin(&self) -> &Origin {
        &self.admin
    }

    /// The address of a path behind the filter.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.ingress.url(path)
    }

    /// How much memory it holds, in bytes: the whole process, with what its virtual machines hold.
    ///
    /// # Panics
    /// Where the system does not tell.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the process's status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: u64 = resident.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kib * 1_024
    }

    /// Where its files are: `envoy.json`, `envoy.log`, `access.log`.
    #[must_use]
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.place, "envoy.log")
    }

    /// The access log: an object for each request that has ended.
    ///
    /// # Panics
    /// When it is not of the form that [`crate::bootstrap`] asks for.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = read(&self.place, "access.log");
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("the access log is JSON")).collect()
    }

    /// The access log's entry for a path that was asked once.
    pub async fn access(&self, path: &str) -> Value {
        until(&format!("{path} is in the access log"), async || {
            self.access_log().into_iter().find(|entry| entry["path"] == path)
        })
        .await
    }

    /// The filter's metrics, without their common prefix. What requests counted is told by the next tick, half a second
    /// later at most.
    pub async fn stats(&self) -> BTreeMap<String, u64> {
        sleep(TELLING).await;
        let all = self.envoy_stats("entra_gate").await;
        let own = all
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("wasmcustom.entra_gate.")?.to_owned(), value)));
        own.collect()
    }

    /// One of the filter's metrics; 0 if there is none of that name.
    pub async fn stat(&self, name: &str) -> u64 {
        self.stats().await.get(name).copied().unwrap_or_default()
    }

    /// Envoy's counters and gauges whose names match.
    pub async fn envoy_stats(&self, filter: &str) -> BTreeMap<String, u64> {
        let text = self.ask(&format!("/stats?filter={filter}")).await.text();
        let value = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(value).collect()
    }

    /// The administration's answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn ask(&self, path: &str) -> Answer {
        self.admin.send(Request::get(path)).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Nothing has ever trapped, and no virtual machine was replaced.
    ///
    /// # Panics
    /// When one has.
    pub async fn assert_sound(&self) {
        let log = self.log();
        for mark in ["panicked", "Uncaught", "trap", "VM failed", "VM crashed", "Function: proxy_", "abort"] {
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(mark)).collect();
            assert!(lines.is_empty(), "{mark}: {}", lines.join("\n"));
        }
        for (name, value) in self.envoy_stats("vm_reload").await {
            assert_eq!(value, 0, "{name}");
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}

fn read(place: &TempDir, name: &str) -> String {
    fs::read(place.path().join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The addresses of the administration and of the first listener, once that is up.
async fn serving(process: &mut Child, place: &TempDir) -> Result<(Origin, Origin), Option<ExitStatus>> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Ok(Some(status)) = process.try_wait() {
            return Err(Some(status));
        }
        let admin = read(place, "admin");
        if !admin.is_empty() {
            let admin = Origin::new(admin.trim());
            if let Some(ingress) = listener(&admin).await {
                return Ok((admin, ingress));
            }
        }
        if Instant::now() > deadline {
            return Err(None);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn listener(admin: &Origin) -> Option<Origin> {
    let ready = admin.send(Request::get("/ready")).await.ok()?;
    if ready.status != 200 {
        return None;
    }
    let listeners = admin.send(Request::get("/listeners?format=json")).await.ok()?.json();
    let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
    // A listener on every address is reached on this one.
    let host = address["address"].as_str().filter(|host| *host != "0.0.0.0").unwrap_or("127.0.0.1");
    Some(Origin::new(format!("{host}:{}", address["port_value"].as_u64()?)))
}
