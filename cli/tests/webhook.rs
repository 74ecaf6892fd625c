//! `fairway registry watch` against a receiver that breaks off, is busy, loses answers and refuses, and against kills:
//! every entry arrives, in the order of the log, signed, and the cursor knows how far.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fairway_registry::events::{CloudEvent, Headers, Secret, verify};
use fairway_registry::{Author, ModelLog, Registration, Registry, Timestamp};
use serde_json::json;

const SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMgb2Ygd2ViaG9va3M=";
/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reaction {
    /// Head and body.
    Answer(&'static str, &'static str),
    /// It takes the request and the connection breaks before the answer.
    Lose,
    /// It never reads it.
    Hang,
}

const TAKE: Reaction = Reaction::Answer("HTTP/1.1 204 No Content", "");

/// A request that was read to its end.
#[derive(Clone, Debug)]
struct Seen {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    reaction: Reaction,
}

impl Seen {
    fn event(&self) -> CloudEvent {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn taken(&self) -> bool {
        self.reaction == TAKE
    }

    /// What every request must be.
    fn check(&self) {
        let header = |name: &str| self.headers.get(name).map(String::as_str).unwrap_or_default();
        let signed = Headers {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
        };
        let secret: Secret = SECRET.parse().unwrap();
        verify(&[secret], &signed, &self.body, now()).unwrap();
        assert_eq!(header("content-type"), "application/cloudevents+json; charset=utf-8");
        assert_eq!(self.event().id, signed.id);
    }
}

#[derive(Default)]
struct Receiver {
    /// What happens to the next requests; afterwards all are taken.
    script: Mutex<VecDeque<Reaction>>,
    seen: Mutex<Vec<Seen>>,
}

impl Receiver {
    fn start(script: &[Reaction]) -> (Arc<Self>, String) {
        let receiver = Arc::new(Self::default());
        receiver.then(script);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?token=hidden", listener.local_addr().unwrap());
        let shared = receiver.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || shared.talk(connection));
            }
        });
        (receiver, url)
    }

    fn then(&self, script: &[Reaction]) {
        self.script.lock().unwrap().extend(script);
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits for so many requests that were taken.
    fn wait(&self, taken: usize) {
        let begun = Instant::now();
        while self.seen().iter().filter(|seen| seen.taken()).count() < taken {
            assert!(begun.elapsed() < PATIENCE, "only {:?}", numbers(&self.seen()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn talk(&self, connection: TcpStream) -> Option<()> {
        let reaction = self.script.lock().unwrap().pop_front().unwrap_or(TAKE);
        if reaction == Reaction::Hang {
            return None;
        }
        let mut reader = BufReader::new(connection);
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        self.seen.lock().unwrap().push(Seen { headers, body, reaction });
        if let Reaction::Answer(head, body) = reaction {
            let answer = format!("{head}\r\nconnection: close\r\n\r\n{body}");
            reader.get_mut().write_all(answer.as_bytes()).ok()?;
        }
        Some(())
    }
}

/// Model and number of each request that was taken.
fn numbers(seen: &[Seen]) -> Vec<(String, u64)> {
    let taken = seen.iter().filter(|seen| seen.taken()).map(Seen::event);
    taken.map(|event| (event.data.model, event.data.seq)).collect()
}

fn each(model: &str, numbers: impl Iterator<Item = u64>) -> Vec<(String, u64)> {
    numbers.map(|number| (model.to_owned(), number)).collect()
}

#[allow(clippy::disallowed_methods, reason = "the binary signs with the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// A registry in a folder, with what the watch needs beside it.
struct Place {
    folder: tempfile::TempDir,
    registry: Registry,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path().join("registry").to_str().unwrap()).await.unwrap();
        std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        Self { folder, registry }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self, name: &str) -> ModelLog {
        self.registry.model("default", name).unwrap()
    }

    /// Appends one entry: a version.
    async fn register(&self, model: &str, run: &str) {
        let tree = self.path("tree");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("config.json"), json!({"run": run}).to_string()).unwrap();
        let registration = Registration {
            run: run.to_owned(),
            actor: "ann".to_owned(),
            time: now(),
            metrics: BTreeMap::new(),
            labels: BTreeMap::new(),
            provenance: json!({}),
            kinds: Default::default(),
            alias: None,
            reason: "trained".to_owned(),
        };
        self.model(model).register(&tree, registration).await.unwrap();
    }

    /// Appends entries: an alias of version 1 that comes and goes.
    async fn entries(&self, model: &str, count: usize) {
        let log = self.model(model);
        for _ in 0..count {
            let found = log.state().await.unwrap().aliases.get("tried").copied();
            let to = if found.is_some() { None } else { Some(1) };
            log.move_alias("tried", found, to, "ann", "as agreed", now()).await.unwrap();
        }
    }

    fn watch(&self, url: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(["registry", "watch", "--registry", self.registry.url(), "--poll", "100ms", "--webhook", url]);
        command.args(["--secret-file", "secret", "--cursor", "cursor"]);
        command
    }

    /// Handles everything that there is.
    fn once(&self, url: &str, more: &[&str]) -> Output {
        self.watch(url).arg("--once").args(more).output().unwrap()
    }

    fn cursor(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.path("cursor")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["models"].clone()
    }

    /// Starts a watch that goes on, and waits until it knows where it began.
    fn follow(&self, url: &str, more: &[&str]) -> Watching {
        let child = self.watch(url).args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let watching = Watching(child);
        let begun = Instant::now();
        while !self.path("cursor").exists() {
            assert!(begun.elapsed() < PATIENCE, "the watch does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        watching
    }
}

/// A watch that does not outlive a failing test.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        // Most have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Watching {
    /// Sends a signal, and tells whether it ended well.
    fn end(mut self, signal: &str) -> bool {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
        self.0.wait().unwrap().success()
    }
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn every_entry_arrives_in_order_whatever_the_receiver_does() {
    let place = Place::new().await;
    place.register("recs", "run-1").await;
    place.model("recs").judge(1, &digest(&place).await, true, author("bob")).await.unwrap();
    place.entries("recs", 20).await;
    let busy = Reaction::Answer("HTTP/1.1 503 Service Unavailable", "");
    let patience = Reaction::Answer("HTTP/1.1 429 Too Many Requests\r\nretry-after: 1", "");
    let script = [Reaction::Hang, busy, TAKE, patience, TAKE, TAKE, Reaction::Lose, TAKE];
    let (receiver, url) = Receiver::start(&script);

    let output = place.once(&url, &["recs", "--since", "0", "--output", "json"]);
    assert!(output.status.success(), "{}", shown(&output));
    let seen = receiver.seen();
    seen.iter().for_each(Seen::check);
    assert_eq!(numbers(&seen), each("recs", 1..=22), "exactly the log");
    assert!(seen.len() == 22 + 3, "and each failure once more");
    for again in seen.windows(2).filter(|pair| !pair[0].taken()) {
        assert!(again[0].body == again[1].body, "the same event, to the byte");
        assert_ne!(again[0].headers["webhook-id"], "");
        assert_eq!(again[0].headers["webhook-id"], again[1].headers["webhook-id"]);
    }
    // What is printed is what was sent.
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let sent: Vec<String> =
        seen.iter().filter(|seen| seen.taken()).map(|seen| String::from_utf8(seen.body.clone()).unwrap()).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), sent);
    let log = place.model("recs").entries_after(0, 100).await.unwrap();
    for (entry, seen) in log.iter().zip(seen.iter().filter(|seen| seen.taken())) {
        let event = seen.event();
        assert!(event.time == entry.time && event.data.operation == entry.operation, "{event:?}");
    }
    assert!(shown(&output).contains("503"), "failures are told: {}", shown(&output));
    quiet(&output);

    // Nothing is new: nothing is sent.
    assert!(place.once(&url, &["recs"]).status.success());
    assert_eq!(receiver.seen().len(), seen.len());
    assert_eq!(place.cursor(), json!({"default/recs": 22}));
}

#[tokio::test]
async fn killed_and_started_again_it_leaves_no_gap() {
    let place = Place::new().await;
    place.register("recs", "run-1").await;
    let (receiver, url) = Receiver::start(&[]);
    let watch = place.follow(&url, &["recs", "--since", "0"]);
    place.entries("recs", 3).await;
    receiver.wait(4);

    // The answer to entry 5 is lost, and before it can be sent again the watch is killed.
    receiver.then(&[Reaction::Lose]);
    place.entries("recs", 1).await;
    let begun = Instant::now();
    while receiver.seen().len() < 5 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(!watch.end("-KILL"));
    place.entries("recs", 3).await;
    let output = place.once(&url, &["recs"]);
    assert!(output.status.success(), "{}", shown(&output));
    let mut told = numbers(&receiver.seen());
    let taken = told.len();
    // At least once: the one that was out when it was killed may come twice, and nothing else may.
    told.dedup();
    assert_eq!(told, each("recs", 1..=8));
    receiver.seen().iter().for_each(Seen::check);
    let fifth: Vec<Seen> = receiver.seen().into_iter().filter(|seen| seen.event().data.seq == 5).collect();
    assert!(fifth.len() >= 2 && fifth.iter().all(|seen| seen.headers["webhook-id"] == fifth[0].headers["webhook-id"]));

    // Asked to stop, it stops in order, and what it has delivered it does not send again.
    let watch = place.follow(&url, &["recs"]);
    place.entries("recs", 2).await;
    receiver.wait(taken + 2);
    assert!(watch.end("-INT"));
    let before = receiver.seen().len();
    assert!(place.once(&url, &["recs"]).status.success());
    assert_eq!(receiver.seen().len(), before);
    assert_eq!(place.cursor(), json!({"default/recs": 10}));
}

#[tokio::test]
async fn all_models_are_watched_and_new_ones_from_their_first_entry() {
    let place = Place::new().await;
    place.register("old", "run-1").await;
    let (receiver, url) = Receiver::start(&[]);
    let watch = place.follow(&url, &[]);
    assert_eq!(place.cursor(), json!({"default/old": 1}), "only what is new is told");
    place.register("new", "run-1").await;
    place.entries("new", 2).await;
    place.entries("old", 2).await;
    receiver.wait(5);
    assert!(watch.end("-TERM"));

    // A model that appears while nobody watches is new as well.
    place.register("newest", "run-1").await;
    assert!(place.once(&url, &[]).status.success());
    let told = numbers(&receiver.seen());
    for (model, expected) in [("old", 2..=3), ("new", 1..=3), ("newest", 1..=1)] {
        let told: Vec<_> = told.iter().filter(|(name, _)| name == model).cloned().collect();
        assert_eq!(told, each(model, expected));
    }
    receiver.seen().iter().for_each(Seen::check);
    assert_eq!(place.cursor(), json!({"default/new": 3, "default/newest": 1, "default/old": 3}));
}

#[tokio::test]
async fn a_refusal_stops_the_watch_and_skips_nothing() {
    let place = Place::new().await;
    place.register("recs", "run-1").await;
    place.entries("recs", 2).await;
    let (elsewhere, target) = Receiver::start(&[]);
    let (receiver, url) = Receiver::start(&[TAKE]);
    let moved = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {target}").leak();
    for (head, body, told) in [
        ("HTTP/1.1 400 Bad Request", "no such\x1b[31m field", "400 Bad Request (no such [31m field)"),
        ("HTTP/1.1 410 Gone", "", "410 Gone"),
        ("HTTP/1.1 401 Unauthorized", "", "401 Unauthorized"),
        (moved, "", "redirects are not followed"),
    ] {
        receiver.then(&[Reaction::Answer(head, body)]);
        let output = place.once(&url, &["recs", "--since", "0"]);
        assert_eq!(output.status.code(), Some(1), "{head}");
        assert!(shown(&output).contains(told) && shown(&output).contains("recs/2-"), "{}", shown(&output));
        quiet(&output);
        assert_eq!(place.cursor(), json!({"default/recs": 1}), "{head}");
    }
    assert!(elsewhere.seen().is_empty());
    // Mended, the receiver gets what it refused.
    assert!(place.once(&url, &["recs"]).status.success());
    assert_eq!(numbers(&receiver.seen()), each("recs", 1..=3));
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_before_anything_is_sent() {
    let place = Place::new().await;
    place.register("recs", "run-1").await;
    let (receiver, url) = Receiver::start(&[]);
    for (more, told) in [
        (&["nobody"][..], "there are: default/recs"),
        (&["--since", "1"], "name it"),
        (&["recs", "--since", "9"], "ends at 1"),
        (&["recs", "--poll", "1ms"], "--poll"),
    ] {
        let output = place.once(&url, more);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", shown(&output));
        assert!(shown(&output).contains(told), "{more:?}: {}", shown(&output));
    }
    assert!(place.once(&url, &["recs"]).status.success());
    let whole = file(&place.path("cursor"));
    // Numbers of another registry mean nothing here, and neither do those of an older copy of this one.
    let other = Place::new().await;
    other.register("recs", "run-1").await;
    std::fs::write(other.path("cursor"), &whole).unwrap();
    let ahead = String::from_utf8(whole.clone()).unwrap().replace("\"default/recs\": 1", "\"default/recs\": 7");
    assert_ne!(ahead.as_bytes(), whole);
    std::fs::write(place.path("cursor"), ahead).unwrap();
    for (place, told) in [(&other, "not of"), (&place, "ends at 1")] {
        let output = place.once(&url, &["recs"]);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        assert!(shown(&output).contains(told), "{}", shown(&output));
    }
    std::fs::write(place.path("secret"), "dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMgb2Ygd2ViaG9va3M=").unwrap();
    let output = place.once(&url, &["recs"]);
    assert_eq!(output.status.code(), Some(2));
    quiet(&output);
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn without_a_webhook_it_prints() {
    let place = Place::new().await;
    place.register("recs", "run-1").await;
    place.entries("recs", 1).await;
    let watch = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.current_dir(place.folder.path()).args(["registry", "watch", "--registry", place.registry.url()]);
        let output = command.args(["--once", "--since", "0"]).args(more).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = watch(&[]);
    assert!(lines.contains("registered version 1") && lines.contains("@tried: none -> version 1"), "{lines}");
    let events: Vec<CloudEvent> =
        watch(&["--output", "json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().map(|event| event.data.seq).collect::<Vec<_>>(), [1, 2]);
}

/// Nothing that a process says may hold the secret, or the part of the URL that may be one.
fn quiet(output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        for secret in ["whsec_dGhl", "dGhlIHNl", "hidden", "/hook"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

fn author(actor: &str) -> Author<'_> {
    Author { actor, reason: "looks right", time: now() }
}

async fn digest(place: &Place) -> fairway_registry::Digest {
    place.model("recs").state().await.unwrap().versions[&1].digest.clone()
}
