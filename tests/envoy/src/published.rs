//! A published feed: the process that publishes it, and what serves it, neither of which is the service.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::http::{Origin, Request};
use crate::patience::until;
use crate::python;
use crate::revocations::{Service, command};

/// A server of static files, or one that speaks S3; it is killed when dropped.
#[derive(Debug)]
pub struct Shelf {
    process: Child,
    place: TempDir,
    addr: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Files,
    S3,
}

/// A process that publishes; it is killed when dropped.
#[derive(Debug)]
pub struct Publisher(Child);

/// What a bucket's owner says so that gates need no credential.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::revocations/*"}]}"#;

impl Shelf {
    /// Python's own server over an empty folder: it knows neither queries nor tags.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn files() -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1", "0"]);
        fs::create_dir(place.path().join("public")).expect("a folder");
        command.arg("--directory").arg(place.path().join("public"));
        Self::start(command, place, Kind::Files, "port ").await
    }

    /// Moto, which speaks S3 as the library and the gate do: conditional writes, tags, a bucket that is open to readers.
    ///
    /// # Panics
    /// When it cannot be installed, or does not come up.
    pub async fn s3() -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(python::with_all("moto.server", &["moto[s3]==5.2.5", "flask", "flask-cors"]));
        command.args(["-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        let shelf = Self::start(command, place, Kind::S3, "http://127.0.0.1:").await;
        for (path, body) in [("/revocations", ""), ("/revocations?policy", POLICY)] {
            let answer = Origin::new(shelf.addr).send(Request::new("PUT", path).body(body)).await.expect("an answer");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        shelf
    }

    async fn start(mut command: Command, place: TempDir, kind: Kind, before_port: &str) -> Self {
        let log = File::create(place.path().join("log")).expect("a temporary file");
        let output = log.try_clone().expect("a handle");
        let process = command.stdin(Stdio::null()).stdout(output).stderr(log).spawn().expect("python3 runs");
        let mut shelf = Self { process, place, addr: ([127, 0, 0, 1], 0).into(), kind };
        let port = until("the shelf listens", async || {
            let log = shelf.log();
            let digits = log.split(before_port).nth(1)?;
            let (digits, _) = digits.split_once(|other: char| !other.is_ascii_digit())?;
            digits.parse::<u16>().ok()
        })
        .await;
        shelf.addr.set_port(port);
        shelf
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The feed's address, as gates know it.
    #[must_use]
    pub fn feed(&self) -> &'static str {
        match self.kind {
            Kind::Files => "https://revocations.example/feed",
            Kind::S3 => "https://revocations.example/revocations/prod/feed",
        }
    }

    /// How many requests for a part of a path it has answered.
    #[must_use]
    pub fn answered(&self, path: &str) -> usize {
        self.log().lines().filter(|line| line.contains("GET ") && line.contains(path)).count()
    }

    /// The names of the pages in the folder.
    #[must_use]
    pub fn pages(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.place.path().join("public/pages")).into_iter().flatten();
        folder.map(|page| page.expect("an entry").path()).collect()
    }

    /// Begins to publish what a service knows.
    ///
    /// # Panics
    /// When the command does not run.
    #[must_use]
    pub fn publish(&self, service: &Service, log: &Path) -> Publisher {
        let to = match self.kind {
            Kind::Files => format!("file://{}", self.place.path().join("public").display()),
            Kind::S3 => "s3://revocations/prod".to_owned(),
        };
        let mut publish = Command::new(command());
        publish.args(["revocations", "publish", "--to", &to, "--log", "json"]);
        publish.arg(format!("--database=sqlite:{}", service.place().join("revocations.db").display()));
        publish.arg("--keys").arg(service.place().join("keys"));
        if self.kind == Kind::S3 {
            publish.args(["--pages-at", "/revocations/prod"]);
        }
        publish.envs([
            ("AWS_ACCESS_KEY_ID", "worthless"),
            ("AWS_SECRET_ACCESS_KEY", "worthless"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
        ]);
        publish.env("AWS_ENDPOINT", Origin::new(self.addr).url(""));
        let log = File::options().append(true).create(true).open(log).expect("a temporary file");
        Publisher(publish.stdin(Stdio::null()).stderr(log).spawn().expect("the command runs"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Publisher {
    /// SIGKILL, wherever it is.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
