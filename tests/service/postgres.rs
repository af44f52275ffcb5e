//! Several instances over one real PostgreSQL, behind whatever balances: one sequence, nothing lost, nothing told twice.
//!
//! `tests/service/postgres.sh` runs these, and brings PostgreSQL; nothing else does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use entra_gate::revocation::Subject;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::sources::{self, STREAM, World};
use crate::support::{BOOTSTRAP, Document, Options, Service, TENANT, USER, answer, user, user_id};

const PASSWORD: &str = "a-password-of-the-database-that-is-worthless";
const SECRET: &str = "a-secret-that-seals-keys-and-is-worthless";
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster for all tests, made anew.
struct Cluster {
    port: u16,
    /// Its certificate, which nobody else trusts.
    certificate: PathBuf,
    /// The shell that stops the server when this process has ended, whichever way.
    _keeper: Child,
}

impl Cluster {
    fn get() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let programs = PathBuf::from(std::env::var("ENTRA_GATE_POSTGRES").expect("run tests/service/postgres.sh"));
        // PostgreSQL refuses to be root's.
        let owner = is_root().then(|| (id("-u"), id("-g")));
        let place = tempfile::tempdir().unwrap().keep();
        let password = place.join("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = owner {
            for path in [&place, &password] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let as_owner = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(&place).stdin(Stdio::null());
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            command
        };
        let mut initdb = as_owner(&programs.join("initdb"));
        initdb.args([
            "-D",
            "data",
            "-U",
            "gate",
            "-A",
            "scram-sha-256",
            "--pwfile=password",
            "-E",
            "UTF8",
            "--locale=C",
        ]);
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut certify = as_owner(Path::new("openssl"));
        certify.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        certify.args(["-keyout", "data/server.key", "-out", "data/server.crt", "-subj", "/CN=postgres", "-days", "1"]);
        certify.args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"]);
        let output = certify.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let certificate = place.join("data/server.crt");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The end of the shell's input is the end of this process.
        let script = "\"$@\" >log 2>&1 & server=$!; cat >/dev/null; kill -QUIT $server; wait $server; rm -rf \"$PWD\"";
        let mut keeper = as_owner(Path::new("sh"));
        keeper.args(["-c", script, "keeper"]).arg(programs.join("postgres"));
        keeper.args([
            "-D",
            "data",
            "-k",
            "",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "ssl=on",
            "-p",
            &port.to_string(),
        ]);
        let keeper = keeper.stdin(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
            || !fs::read_to_string(place.join("log")).unwrap().contains("ready to accept connections")
        {
            assert!(started.elapsed() < PATIENCE, "{}", fs::read_to_string(place.join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { port, certificate, _keeper: keeper }
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port).database(database);
        options.username("gate").password(PASSWORD)
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// The user or the group of whoever PostgreSQL's package makes for it, else of nobody.
fn id(what: &str) -> u32 {
    let of = |name: &str| {
        let output = Command::new("id").args([what, name]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().ok()
    };
    of("postgres").or_else(|| of("nobody")).unwrap()
}

/// A database of a test's own.
struct Database {
    name: String,
    cluster: &'static Cluster,
}

impl Database {
    async fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = tokio::task::spawn_blocking(Cluster::get).await.unwrap();
        let name = format!("revocations_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect_with(&cluster.options("postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        Self { name, cluster }
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.cluster.options(&self.name)).await.unwrap()
    }

    /// Without the password, which comes from the environment.
    fn url(&self) -> String {
        format!("postgres://gate@127.0.0.1:{}/{}", self.cluster.port, self.name)
    }

    fn options(&self) -> Options {
        let options = Options::default().own_keys().argument(&format!("--database={}", self.url()));
        options.variable("PGPASSWORD", PASSWORD).variable("ENTRA_GATE_REVOCATIONS_KEYS_SECRET", SECRET)
    }

    async fn start(&self) -> Service {
        let options = self.options();
        tokio::task::spawn_blocking(move || options.start()).await.unwrap()
    }

    async fn start_two(&self) -> (Service, Service) {
        tokio::join!(self.start(), self.start())
    }
}

/// What a gate holds that asks one instance after the other, as behind a balancer.
struct Reader {
    feeds: Vec<String>,
    keys: Value,
    client: Client,
    sequence: u64,
    held: BTreeSet<Subject>,
    turn: usize,
}

impl Reader {
    async fn new(services: &[&Service]) -> Self {
        let feeds = services.iter().map(|service| service.feed.clone()).collect();
        let (keys, client) = (services[0].keys().await, Client::new());
        Self { feeds, keys, client, sequence: 0, held: BTreeSet::new(), turn: 0 }
    }

    /// Asks once. An instance that is gone is no answer.
    async fn ask(&mut self) {
        self.turn += 1;
        let feed = &self.feeds[self.turn % self.feeds.len()];
        let asked = self.client.get(format!("{feed}/v1/feed?since={}", self.sequence)).send().await;
        let Ok(answer) = asked else { return };
        assert_eq!(answer.status(), StatusCode::OK);
        let Ok(body) = answer.bytes().await else { return };
        let document = Document::read(&body, &self.keys, String::new());
        let claims = &document.claims;
        assert!(claims.sequence >= self.sequence, "{} after {}", claims.sequence, self.sequence);
        assert!(claims.base.is_none_or(|base| base <= self.sequence), "a gap");
        if claims.base.is_none() {
            self.held.clear();
        }
        self.held.extend(document.entries.into_iter().map(|entry| entry.subject));
        self.sequence = claims.sequence;
        // Each change here is another user's: whoever sees a place sees everything up to it.
        assert_eq!(u64::try_from(self.held.len()).unwrap(), self.sequence, "a hole in the sequence");
    }
}

/// Revokes one user after another by whichever instance answers; what was acknowledged, and where.
async fn write(apis: Vec<String>, next: Arc<AtomicU32>, most: u32, done: Arc<Mutex<BTreeMap<Subject, u64>>>) {
    let client = Client::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= most {
            return;
        }
        let body = json!({"tenant": TENANT, "user": user_id(number), "reason": "a test"});
        let mut turn = usize::try_from(number).unwrap();
        let started = Instant::now();
        let sequence = loop {
            assert!(started.elapsed() < PATIENCE);
            let api = &apis[turn % apis.len()];
            turn += 1;
            let sent = client.post(format!("{api}/v1/revocations")).bearer_auth(BOOTSTRAP).json(&body).send().await;
            // Whether it was done is not known: it is asked again, elsewhere.
            let Ok(answer) = sent else { continue };
            assert_eq!(answer.status(), StatusCode::OK);
            let Ok(body) = answer.bytes().await else { continue };
            let outcome: Value = serde_json::from_slice(&body).unwrap();
            break outcome["revocation"]["sequence"].as_u64().unwrap();
        };
        done.lock().unwrap().insert(user(&user_id(number)), sequence);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_among_a_thousand_revocations_loses_none_and_tells_none_twice() {
    const ALL: u32 = 1_000;
    let database = Database::make().await;
    let (one, other) = database.start_two().await;
    let mut reader = Reader::new(&[&one, &other]).await;
    let (next, done) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(BTreeMap::new())));
    let apis = vec![one.api.clone(), other.api.clone()];
    let writers: Vec<_> =
        (0..8).map(|_| tokio::spawn(write(apis.clone(), Arc::clone(&next), ALL, Arc::clone(&done)))).collect();
    let reading = tokio::spawn(async move {
        while reader.sequence < u64::from(ALL) {
            reader.ask().await;
        }
        reader
    });
    while done.lock().unwrap().len() < 400 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let place = one.kill();
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(place.path().exists());
    let reader = reading.await.unwrap();
    assert_eq!(reader.held.len(), 1_000);

    let done = std::mem::take(&mut *done.lock().unwrap());
    assert_eq!(done.len(), 1_000);
    let places: BTreeSet<u64> = done.values().copied().collect();
    assert!(places.iter().copied().eq(1..=1_000), "two changes at one place, or a hole");
    let again = database.start().await;
    for service in [&other, &again] {
        let snapshot = service.document("").await;
        assert_eq!((snapshot.claims.sequence, snapshot.claims.base), (1_000, None));
        let told: Vec<&Subject> = snapshot.entries.iter().map(|entry| &entry.subject).collect();
        assert_eq!((told.len(), told.into_iter().collect::<BTreeSet<_>>().len()), (1_000, 1_000));
        assert!(snapshot.rules().keys().eq(done.keys()));
    }
    // The audit has each of them once as a change, at its place.
    let mut connection = database.connect().await;
    let rows = sqlx::query("SELECT name, sequence FROM audit WHERE changed = 1 AND action = 'revoke' ORDER BY id");
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    let audited = rows.iter().map(|row| (user(row.get(0)), u64::try_from(row.get::<i64, _>(1)).unwrap()));
    let audited: Vec<_> = audited.collect();
    assert!(audited.iter().map(|(_, place)| *place).eq(1..=1_000), "the audit is in another order");
    assert_eq!(audited.into_iter().collect::<BTreeMap<_, _>>(), done);
    // And it goes on where it was.
    assert_eq!(again.revoke_user(&user_id(1_000)).await["revocation"]["sequence"], 1_001);
    assert_eq!(other.document("?since=1000").await.claims.sequence, 1_001);
}

#[tokio::test]
async fn keys_rotate_for_all_instances_and_never_fork() {
    let database = Database::make().await;
    let (one, other) = database.start_two().await;
    let kids = async |service: &Service| {
        let keys = service.keys().await;
        let kids: Vec<String> =
            keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        kids
    };
    // Both found none when they started, and one key was made.
    let first = kids(&one).await;
    assert_eq!((first.len(), &first), (1, &kids(&other).await));
    assert_eq!(one.document("").await.kid, other.document("").await.kid);

    // Both rotate at once: everybody signs with the same of the two.
    let at_once = json!({"signs_in": 0, "reason": "a leak"});
    tokio::join!(
        one.does(one.post("/v1/signing-keys", &at_once)),
        other.does(other.post("/v1/signing-keys", &at_once))
    );
    let started = Instant::now();
    while kids(&one).await.len() < 3 || kids(&other).await.len() < 3 {
        assert!(started.elapsed() < PATIENCE, "the other instance's key is not published");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kids(&one).await, kids(&other).await);
    // Of the second in which they were made, either may still be to come on one clock reading.
    let signing = loop {
        let (by_one, by_other) = (one.document("").await.kid, other.document("").await.kid);
        if by_one == by_other && by_one != first[0] {
            break by_one;
        }
        assert!(started.elapsed() < PATIENCE, "{by_one} and {by_other} sign");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let retire = async |service: &Service, kid: &str| {
        let request = service.request(Method::DELETE, &format!("/v1/signing-keys/{kid}")).bearer_auth(BOOTSTRAP);
        answer(request.json(&json!({"reason": "a leak"}))).await.0
    };
    assert_eq!(retire(&one, &signing).await, StatusCode::CONFLICT);
    assert_eq!(retire(&other, &first[0]).await, StatusCode::OK);
    while kids(&one).await.contains(&first[0]) {
        assert!(started.elapsed() < PATIENCE, "the retired key is still published");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(retire(&one, &first[0]).await, StatusCode::NOT_FOUND);
    let history = one.does(one.get("/v1/history")).await;
    let told: Vec<_> = history["events"].as_array().unwrap().iter().map(|event| event["action"].as_str()).collect();
    assert_eq!(told, [Some("key_retire"), Some("key_add"), Some("key_add"), Some("key_add")]);

    // A third one knows them from the database, if it has the secret.
    let third = database.start().await;
    assert_eq!(third.document("").await.kid, signing);
    let mut connection = database.connect().await;
    let rows = sqlx::query("SELECT sealed FROM signing_keys").fetch_all(&mut connection).await.unwrap();
    assert_eq!(rows.len(), 2);
    let wrong =
        database.options().variable("ENTRA_GATE_REVOCATIONS_KEYS_SECRET", "another-secret-of-thirty-two-or-more");
    let (code, said) = tokio::task::spawn_blocking(move || wrong.fails_to_start()).await.unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("sealed under another"), "{said}");
}

#[tokio::test]
async fn a_change_by_one_instance_wakes_who_waits_at_the_other() {
    let database = Database::make().await;
    let (one, other) = database.start_two().await;
    one.revoke_user(USER).await;
    // Who comes from the instance that knows more is not answered with less.
    let document = other.document("?since=1").await;
    assert_eq!((document.claims.sequence, document.claims.base), (1, Some(1)));
    let etag = document.etag;
    let (answer, ()) = tokio::join!(other.ask_feed("?since=1&wait=30", Some(&etag)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        one.revoke_user(&user_id(2)).await;
    });
    assert_eq!(answer.status(), StatusCode::OK, "nobody woke it");
}

#[tokio::test]
async fn pages_that_one_instance_packed_are_served_by_the_other() {
    let database = Database::make().await;
    // Not before all are there: the service packs on its own as soon as there are so many.
    let options = || database.options().argument("--packed-from=30");
    let (one, other) = (options(), options());
    let start = |options: Options| tokio::task::spawn_blocking(move || options.start());
    let (one, other) = tokio::join!(start(one), start(other));
    let (one, other) = (one.unwrap(), other.unwrap());
    for number in 0..30 {
        one.revoke_user(&user_id(number)).await;
    }
    other.does(other.post("/v1/revocations/lift", &json!({"tenant": TENANT, "user": user_id(0), "reason": "x"}))).await;
    let (head, same) = (one.document("").await, other.document("?since=31").await);
    assert_eq!(same.claims.sequence, head.claims.sequence);
    let again = other.document("").await;
    assert_eq!(head.paging, again.paging, "each instance has pages of its own");
    let mut after = None;
    for name in &again.paging.unwrap().pages {
        for service in [&one, &other] {
            let answer = service.page(&name.path).await;
            assert_eq!(answer.status(), StatusCode::OK);
            let records = name.open(&answer.bytes().await.unwrap(), after).unwrap();
            assert_eq!(records.len(), 30);
        }
        after = None;
    }
    assert_eq!(one.page("/v1/feed/pages/unknown").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_audit_and_the_sequence_cannot_be_rewritten() {
    let database = Database::make().await;
    let service = database.start().await;
    service.revoke_user(USER).await;
    let mut connection = database.connect().await;
    for statement in [
        "UPDATE audit SET reason = 'other'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit (id, at, actor, action, blocked, reason, changed, request_id) VALUES (1, 0, '', '', 0, '', 0, '')",
        "UPDATE feed SET sequence = 0",
        "DELETE FROM feed",
        "TRUNCATE feed",
        "INSERT INTO feed VALUES (1, 9, 0, 0) ON CONFLICT (one) DO UPDATE SET sequence = 9",
    ] {
        assert!(sqlx::query(statement).execute(&mut connection).await.is_err(), "{statement}");
    }
    let held: i64 = sqlx::query("SELECT held FROM feed").fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(held, 1);
    assert_eq!(service.document("").await.claims.sequence, 1);
}

#[tokio::test]
async fn a_database_elsewhere_shows_its_certificate() {
    let database = Database::make().await;
    let certificate = database.cluster.certificate.display();
    let trusting = format!("{}?sslmode=verify-full&sslrootcert={certificate}", database.url());
    let with = |url: &str| {
        let options = Options::default().own_keys().argument(&format!("--database={url}"));
        options.variable("PGPASSWORD", PASSWORD).variable("ENTRA_GATE_REVOCATIONS_KEYS_SECRET", SECRET)
    };
    let options = with(&trusting);
    let service = tokio::task::spawn_blocking(move || options.start()).await.unwrap();
    service.revoke_user(USER).await;
    let mut connection = PgConnection::connect_with(&database.cluster.options("postgres")).await.unwrap();
    let sessions =
        sqlx::query("SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.datname = $1");
    let sessions = sessions.bind(&database.name).fetch_all(&mut connection).await.unwrap();
    assert!(sessions.len() > 2 && sessions.iter().all(|session| session.get::<bool, _>(0)));
    // The system's authorities do not know it, and another name is not in it.
    let elsewhere = trusting.replace("@127.0.0.1:", "@localhost:");
    for url in [format!("{}?sslmode=verify-full", database.url()), elsewhere] {
        let options = with(&url);
        let (code, said) = tokio::task::spawn_blocking(move || options.fails_to_start()).await.unwrap();
        assert!(code == 1 && said.contains("certificate"), "{code}: {said}");
    }
}

#[tokio::test]
async fn a_database_that_went_away_is_found_again_and_no_password_is_told() {
    let database = Database::make().await;
    let with_password = database.url().replace("gate@", &format!("gate:{PASSWORD}@"));
    let options = Options::default().own_keys().argument(&format!("--database={with_password}"));
    let options = options.variable("ENTRA_GATE_REVOCATIONS_KEYS_SECRET", SECRET);
    let service = tokio::task::spawn_blocking(move || options.start()).await.unwrap();
    service.revoke_user(USER).await;
    let mut connection = PgConnection::connect_with(&database.cluster.options("postgres")).await.unwrap();
    let ended = sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1");
    assert!(ended.bind(&database.name).fetch_all(&mut connection).await.unwrap().len() > 2);
    let started = Instant::now();
    let body = json!({"tenant": TENANT, "user": user_id(2), "reason": "a test"});
    while answer(service.post("/v1/revocations", &body)).await.0 != StatusCode::OK {
        assert!(started.elapsed() < PATIENCE, "{}", service.log());
    }
    assert_eq!(service.document("").await.claims.sequence, 2);
    assert!(!service.log().contains("worthless"), "{}", service.log());

    // And where it cannot start, it says why, without them.
    let wrong = |url: String| Options::default().own_keys().argument(&format!("--database={url}"));
    for (options, code, said) in [
        (wrong(with_password.clone()), 2, "ENTRA_GATE_REVOCATIONS_KEYS_SECRET"),
        (database.options().argument("--keys=/nowhere"), 2, "--keys"),
        (database.options().variable("PGPASSWORD", "wrong-and-worthless"), 1, "authentication failed"),
        (
            wrong(format!("{with_password}?pasword={PASSWORD}")).variable("ENTRA_GATE_REVOCATIONS_KEYS_SECRET", SECRET),
            1,
            "unknown parameter pasword",
        ),
    ] {
        let (found, text) = tokio::task::spawn_blocking(move || options.fails_to_start()).await.unwrap();
        assert_eq!(found, code, "{text}");
        assert!(text.contains(said) && !text.contains("worthless"), "{text}");
    }
}

#[tokio::test]
async fn a_source_is_asked_by_one_instance_and_by_another_when_that_one_is_gone() {
    let database = Database::make().await;
    let world = World::new(&[sources::by_secret(""), sources::pushing("")].concat()).await;
    let start = async || {
        let options = world.feeding(database.options());
        tokio::task::spawn_blocking(move || options.start()).await.unwrap()
    };
    let one = start().await;
    world.change(json!({"users": [{"id": user_id(1), "accountEnabled": false}]}));
    sources::until(&one, "the first block", |document| sources::blocked(document, &user(&user_id(1)))).await;
    let other = start().await;
    world.change(json!({"users": [{"id": user_id(2), "accountEnabled": false}]}));
    sources::until(&other, "the second block", |document| sources::blocked(document, &user(&user_id(2)))).await;
    assert_eq!(world.asked("/oauth2/v2.0/token"), 1, "both ask");
    // What the one took, the other knows, and once is enough.
    let set = world.set(json!({}));
    for service in [&one, &other] {
        assert_eq!(sources::push(service, &set, Some(STREAM)).await.0, StatusCode::ACCEPTED);
    }
    let events = sources::history(&other).await;
    assert_eq!(events.iter().filter(|event| event["by"]["name"] == "okta").count(), 1);
    // The other one goes on where the first was.
    drop(one.kill());
    world.change(json!({"users": [{"id": user_id(3), "accountEnabled": false}]}));
    let document =
        sources::until(&other, "the third block", |document| sources::blocked(document, &user(&user_id(3)))).await;
    assert_eq!(document.rules().len(), 4);
    assert_eq!(world.asked("/users/delta?$select"), 1, "everything was read a second time");
}
