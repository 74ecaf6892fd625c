//! The registry as its users see it: on every kind of place, under races, faults and kills.

mod concurrent;
mod conformance;
mod crash;
mod faults;
mod faulty;
mod keeping;

use crate::store::{Limits, Store};
use crate::{Registration, Registry, Timestamp};
use object_store::ObjectStore;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// An empty registry of each kind, with the folder that keeps it alive.
async fn places() -> Vec<(Registry, TempDir)> {
    let mut places = Vec::new();
    for memory in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let url = if memory { "memory://" } else { folder.path().to_str().unwrap() };
        places.push((Registry::open(url).await.unwrap(), folder));
    }
    places
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A tree of two files, different for each seed.
fn tree(seed: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("weights")).unwrap();
    std::fs::write(root.path().join("bundle.json"), format!("{{\"seed\":\"{seed}\"}}")).unwrap();
    std::fs::write(root.path().join("weights/w.safetensors"), [7; 100]).unwrap();
    root
}

fn registration(run: &str) -> Registration {
    Registration {
        run: run.to_owned(),
        actor: "trainer".to_owned(),
        time: time(0),
        metrics: BTreeMap::from([("ndcg".to_owned(), 0.1 + 0.2)]),
        labels: BTreeMap::from([("family".to_owned(), "two-tower".to_owned())]),
        provenance: serde_json::json!({"run": run, "seed": 42}),
        alias: None,
        reason: "drift".to_owned(),
    }
}

/// A registry on this store that gives up sooner than one in use.
fn impatient(objects: Arc<dyn ObjectStore>, deadline: Duration) -> Registry {
    let pause = Duration::from_millis(1);
    let limits = Limits { deadline, pause, pause_max: Duration::from_millis(20), ..Limits::default() };
    Registry::on(Store { objects, limits }, "memory://")
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
