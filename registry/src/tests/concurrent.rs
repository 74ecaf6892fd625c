//! Many writers on one log: its history is one line, and every answer that was given is true.

use super::{places, registration, time, tree};
use crate::{Error, Operation, Registry};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

const WRITERS: u64 = 8;
const MOVES: u64 = 20;
/// Set for a child process of the test below.
const CHILD: &str = "FAIRWAY_REGISTRY_TEST_CHILD";

/// Moves an alias of its own to and fro, and returns the reasons that were acknowledged.
async fn moves(registry: Registry, writer: &str) -> Vec<String> {
    let model = registry.model("shop", "m").unwrap();
    let alias = format!("of-{writer}");
    let mut at = None;
    let mut acknowledged = Vec::new();
    for i in 0..MOVES {
        let to = Some(i % 2 + 1);
        let reason = format!("{writer}/{i}");
        let entry = model.move_alias(&alias, at, to, writer, &reason, time(i as i64)).await.unwrap();
        assert_eq!(entry.reason, reason);
        at = to;
        acknowledged.push(reason);
    }
    acknowledged
}

/// Every reason exactly once, numbers without a gap, and each writer's moves in its order.
async fn check(registry: &Registry, mut acknowledged: Vec<String>) {
    let entries = registry.model("shop", "m").unwrap().entries(10_000).await.unwrap();
    let seqs: Vec<u64> = entries.iter().rev().map(|e| e.seq).collect();
    assert_eq!(seqs, (1..=entries.len() as u64).collect::<Vec<_>>());
    let mut at: BTreeMap<String, Option<u64>> = BTreeMap::new();
    let mut kept = Vec::new();
    for entry in entries.iter().rev() {
        if let Operation::Aliased { alias, from, to, reason } = &entry.operation {
            assert_eq!(at.insert(alias.clone(), *to).flatten(), *from, "moves of an alias follow each other");
            kept.push(reason.clone());
        }
    }
    kept.sort();
    acknowledged.sort();
    assert_eq!(kept, acknowledged);
}

/// Runs one of these tests in a process of its own, which sees that it is a child.
fn child(test: &str, registry: &Registry, writer: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tests::concurrent::{test}")])
        .env(CHILD, format!("{} {writer}", registry.url()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn two_versions(registry: &Registry) {
    let model = registry.model("shop", "m").unwrap();
    model.register(tree("a").path(), registration("run-1")).await.unwrap();
    model.register(tree("b").path(), registration("run-2")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_move_is_lost_or_doubled() {
    for (registry, _place) in places().await {
        two_versions(&registry).await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| {
                let registry = registry.clone();
                tokio::spawn(async move { moves(registry, &w.to_string()).await })
            })
            .collect();
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        check(&registry, acknowledged).await;
    }
}

#[tokio::test]
async fn processes_share_a_directory() {
    if let Ok(child) = std::env::var(CHILD) {
        let (url, writer) = child.split_once(' ').unwrap();
        moves(Registry::open(url).await.unwrap(), writer).await;
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    two_versions(&registry).await;
    let start = |writer| child("processes_share_a_directory", &registry, writer);
    let mut children = ["a", "b", "c"].map(start);
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let acknowledged = ["a", "b", "c"].iter().flat_map(|w| (0..MOVES).map(move |i| format!("{w}/{i}")));
    check(&registry, acknowledged.collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_writer_wins_each_plan() {
    for (registry, _place) in places().await {
        for seq in 1..=10 {
            let tries = (0..6).map(|writer| {
                let endpoint = registry.endpoint("shop", "feed").unwrap();
                tokio::spawn(async move { endpoint.append_plan(seq, &writer).await })
            });
            let mut won = 0;
            for answer in futures::future::join_all(tries).await {
                match answer.unwrap() {
                    Ok(_) => won += 1,
                    Err(Error::Conflict { found, .. }) => assert_eq!(found, Some(seq)),
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(won, 1);
        }
    }
}

#[tokio::test]
async fn killed_writers_leave_a_whole_log() {
    if let Ok(child) = std::env::var(CHILD) {
        let (url, writer) = child.split_once(' ').unwrap();
        let model = Registry::open(url).await.unwrap().model("shop", "m").unwrap();
        for i in 0.. {
            let latest = model.latest_plan::<String>().await.unwrap();
            let next = latest.map_or(1, |(seq, _)| seq + 1);
            model.append_plan(next, &writer).await.unwrap();
            let run = registration(&format!("{writer}-{i}"));
            model.register(tree(&run.run).path(), run).await.unwrap();
        }
    }
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    for round in 1..=6_u64 {
        let mut writer = child("killed_writers_leave_a_whole_log", &registry, &format!("w{round}"));
        let mut looks = 0;
        // Killed wherever it happens to be once it has written a little more.
        while model.latest_plan::<String>().await.unwrap().map_or(0, |p| p.0) < round * 4 {
            looks += 1;
            assert!(looks < 3_000, "the child writes nothing");
            tokio::time::sleep(std::time::Duration::from_millis(10 + round)).await;
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let plans = model.plans::<String>(10_000).await.unwrap();
        let seqs: Vec<u64> = plans.iter().rev().map(|p| p.0).collect();
        assert_eq!(seqs, (1..=plans.len() as u64).collect::<Vec<_>>());
        model.append_plan(plans.len() as u64 + 1, &"after").await.unwrap();
        let cache = tempfile::tempdir().unwrap();
        for version in model.head().await.unwrap().unwrap().state.versions.values() {
            model.fetch(&version.digest, cache.path()).await.unwrap();
        }
        assert_eq!(model.entries(10_000).await.unwrap().len() as u64, model.head().await.unwrap().unwrap().seq);
    }
}
