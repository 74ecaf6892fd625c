//! The registry as its users see it: on every kind of place, under races, faults and kills.

mod ahead;
mod arbitrary;
mod careless;
mod changing;
mod concurrent;
mod conformance;
mod crash;
mod deleting;
mod faults;
mod faulty;
mod keeping;
mod many;
mod opening;
mod requests;
mod servers;
mod simulated;
mod simulation;

use crate::store::{Limits, Listing, Store};
use crate::{Registration, Registry, StoreOptions, Timestamp};
use object_store::ObjectStore;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// What keeps a place alive while it is tested.
struct Keep {
    _folder: Option<TempDir>,
    _server: Option<servers::Server>,
}

/// An empty registry of each kind: memory, a directory, and a bucket on each real server there is.
async fn places() -> Vec<(Registry, Keep)> {
    let folder = tempfile::tempdir().unwrap();
    let memory = Registry::open("memory://").await.unwrap();
    let directory = Registry::open(folder.path().to_str().unwrap()).await.unwrap();
    let mut places = vec![
        (memory, Keep { _folder: None, _server: None }),
        (directory, Keep { _folder: Some(folder), _server: None }),
    ];
    for server in [servers::s3().await, servers::gcs().await, servers::azure().await].into_iter().flatten() {
        let options = options(&server);
        let (registry, report) = Registry::init(&server.url, &options).await.unwrap();
        assert_eq!(report.refusal(), None);
        places.push((registry, Keep { _folder: None, _server: Some(server) }));
    }
    places
}

fn options(server: &servers::Server) -> StoreOptions {
    server.options.iter().cloned().collect()
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// The time of day, where it is compared with that of real files.
#[allow(clippy::disallowed_methods, reason = "files have real times")]
fn today() -> Timestamp {
    Timestamp::now()
}

/// A tree of two files, different for each seed.
fn tree(seed: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("weights")).unwrap();
    std::fs::write(root.path().join("bundle.json"), format!("{{\"seed\":\"{seed}\"}}")).unwrap();
    std::fs::write(root.path().join("weights/w.safetensors"), weights()).unwrap();
    root
}

/// An empty safetensors file.
fn weights() -> Vec<u8> {
    [&2_u64.to_le_bytes()[..], b"{}"].concat()
}

fn registration(run: &str) -> Registration {
    Registration {
        run: run.to_owned(),
        actor: "trainer".to_owned(),
        time: time(0),
        metrics: BTreeMap::from([("ndcg".to_owned(), 0.1 + 0.2)]),
        labels: BTreeMap::from([("family".to_owned(), "two-tower".to_owned())]),
        provenance: serde_json::json!({"run": run, "seed": 42}),
        kinds: BTreeSet::from(["bin".to_owned()]),
        alias: None,
        reason: "drift".to_owned(),
    }
}

/// A registry on this store that gives up sooner than one in use.
fn impatient(objects: Arc<dyn ObjectStore>, deadline: Duration) -> Registry {
    let pause = Duration::from_millis(1);
    let limits = Limits { deadline, pause, pause_max: Duration::from_millis(20), ..Limits::default() };
    Registry::on(Store { limits, ..Store::new(objects, Listing::Cheap) }, "memory://")
}

/// The names of everything below a folder.
fn names_below(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            names.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    names
}
