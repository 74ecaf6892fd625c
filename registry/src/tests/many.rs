//! Sixteen processes on one model: they register, move aliases and collect at the same time, on a
//! directory and on a real S3 server. Nothing that was acknowledged is lost, no number is given
//! twice, and the history of every alias is one line.
//!
//! It takes a few seconds; `FAIRWAY_SOAK=60` makes it a minute on each.

use super::{options, registration, servers, tree};
use crate::{Access, Author, Collection, Error, ModelLog, Operation, Registry, Retention, StoreOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WRITERS: usize = 16;
/// How much longer a writer may take that has done little so far.
const PATIENCE: Duration = Duration::from_secs(60);
/// Set for a child process: what it works on, as JSON.
const CHILD: &str = "FAIRWAY_REGISTRY_TEST_WRITER";

#[derive(serde::Serialize, serde::Deserialize)]
struct Task {
    url: String,
    options: StoreOptions,
    writer: usize,
    seconds: u64,
    /// Where it writes down what it was told.
    told: String,
}

fn seconds() -> u64 {
    std::env::var("FAIRWAY_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

async fn work(task: Task) {
    let registry = Registry::open_with(&task.url, &task.options, Access::Write).await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let mut told = std::fs::File::create(&task.told).unwrap();
    let end = Instant::now() + Duration::from_secs(task.seconds);
    // On a busy machine the time is over before there was anything to delete.
    let (least, latest) = (if task.writer == 0 { 12 } else { 3 }, end + PATIENCE);
    let (mine, mut step, mut registered) = (format!("of-{}", task.writer), 0, 0);
    while Instant::now() < end || registered < least && Instant::now() < latest {
        step += 1;
        let run = format!("w{}-{step}", task.writer);
        let source = tree(&run);
        let mut one = registration(&run);
        (one.time, one.alias) = (super::today(), Some(mine.clone()));
        match model.register(source.path(), one).await {
            Ok(version) => {
                registered += 1;
                writeln!(told, "registered {run} {}", version.number).unwrap();
            }
            Err(Error::Contended { .. } | Error::Unresolved { .. } | Error::Full { .. }) => continue,
            Err(other) => panic!("{other}"),
        }
        champion(&model, &run, &mut told).await;
        if task.writer == 0 && step % 3 == 0 {
            collect(&registry, &model).await;
        }
    }
}

/// Tries once to make the newest version champion, from what it is now.
async fn champion(model: &ModelLog, run: &str, told: &mut std::fs::File) {
    let state = model.state().await.unwrap();
    let (from, to) =
        (state.aliases.get("champion").copied(), state.versions.last_key_value().map(|(number, _)| *number));
    match model.move_alias("champion", from, to, "w", run, super::today()).await {
        Ok(entry) if entry.reason == run => writeln!(told, "moved {run}").unwrap(),
        Ok(_) | Err(Error::Contended { .. } | Error::Unresolved { .. } | Error::NotFound(_)) => {}
        Err(Error::Conflict { .. }) => writeln!(told, "refused {run}").unwrap(),
        Err(other) => panic!("{other}"),
    }
}

async fn collect(registry: &Registry, model: &ModelLog) {
    let in_use = registry.in_use("shop").await.unwrap();
    let (actor, reason, time) = ("gc".to_owned(), "tidy".to_owned(), super::today());
    let request = Collection { grace: Duration::ZERO, dry_run: false, most: 50, actor, reason, time, in_use };
    match model.collect(&request).await {
        Ok(_) | Err(Error::Contended { .. } | Error::Unresolved { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Starts the writers, waits for them, and holds what they were told against the log.
async fn soak(url: &str, options: StoreOptions, test: &str) {
    let registry = Registry::open_with(url, &options, Access::Write).await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    model.register(tree("first").path(), registration("first")).await.unwrap();
    let author = Author { actor: "ops", reason: "policy", time: super::today() };
    model.retain(Some(Retention { versions: 20, days: 0, rollback_days: 0 }), author).await.unwrap();
    let notes = tempfile::tempdir().unwrap();
    let start = |writer: usize| {
        let told = notes.path().join(writer.to_string()).display().to_string();
        let task = Task { url: url.to_owned(), options: options.clone(), writer, seconds: seconds(), told };
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("tests::many::{test}")])
            .env(CHILD, serde_json::to_string(&task).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut writers: Vec<_> = (0..WRITERS).map(start).collect();
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    let mut entries = model.entries(100_000).await.unwrap();
    entries.reverse();
    let (mut by_run, mut last) = (BTreeMap::new(), 0);
    let (mut at, mut moved) = (BTreeMap::new(), BTreeSet::new());
    for entry in &entries {
        match &entry.operation {
            Operation::Registered { version } => {
                assert!(*version > last, "version {version} after {last}");
                last = *version;
                assert_eq!(by_run.insert(entry.state.versions[version].run.clone(), *version), None);
                at.extend(entry.state.aliases.iter().filter(|(_, to)| *to == version).map(|(a, to)| (a.clone(), *to)));
            }
            Operation::Aliased { alias, from, to, .. } => {
                assert_eq!(at.get(alias).copied(), *from, "entry {}: @{alias}", entry.seq);
                at.insert(alias.clone(), to.unwrap());
                moved.insert(entry.reason.clone());
            }
            _ => {}
        }
        let dangling = entry.state.aliases.values().find(|number| !entry.state.versions.contains_key(number));
        assert_eq!(dangling, None, "entry {}", entry.seq);
    }
    let (registrations, moves) = told_is_true(notes.path(), &by_run, &moved);
    let state = model.state().await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    for version in state.versions.values() {
        model.fetch(&version.digest, cache.path()).await.unwrap();
    }
    let deleted = by_run.len() - state.versions.len();
    eprintln!(
        "{test}: {WRITERS} processes, {} s: {} entries, {registrations} versions, {moves} moves of @champion, {deleted} deleted",
        seconds(),
        entries.len()
    );
    assert!(registrations >= WRITERS && moves > 0 && deleted > 0);
}

fn told_is_true(notes: &Path, by_run: &BTreeMap<String, u64>, moved: &BTreeSet<String>) -> (usize, usize) {
    let (mut registrations, mut moves) = (0, 0);
    for writer in 0..WRITERS {
        for line in std::fs::read_to_string(notes.join(writer.to_string())).unwrap().lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["registered", run, number] => {
                    assert_eq!(by_run[run].to_string(), number);
                    registrations += 1;
                }
                ["moved", run] => {
                    assert!(moved.contains(run), "{run} was told that it moved @champion");
                    moves += 1;
                }
                ["refused", run] => assert!(!moved.contains(run), "{run} was told that nothing was written"),
                _ => panic!("{line}"),
            }
        }
    }
    (registrations, moves)
}

fn child() -> Option<Task> {
    std::env::var(CHILD).ok().map(|task| serde_json::from_str(&task).unwrap())
}

#[tokio::test]
async fn on_a_directory() {
    if let Some(task) = child() {
        return work(task).await;
    }
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}", place.path().display());
    Registry::open(&url).await.unwrap();
    soak(&url, StoreOptions::new(), "on_a_directory").await;
}

#[tokio::test]
async fn on_an_s3_server() {
    if let Some(task) = child() {
        return work(task).await;
    }
    let Some(server) = servers::s3().await else { return };
    let options = options(&server);
    Registry::init(&server.url, &options).await.unwrap();
    soak(&server.url, options, "on_an_s3_server").await;
}
