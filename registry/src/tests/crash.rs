//! What a killed process, a bad disk or a meddler leaves behind.

use super::{names_below, registration, time, tree};
use crate::{Error, Registry, State};
use std::fs;
use std::path::PathBuf;

struct Place {
    _root: tempfile::TempDir,
    folder: PathBuf,
    registry: Registry,
}

/// A directory with three entries: two versions, and a champion.
async fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::open(root.path().to_str().unwrap()).await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    model.register(tree("a").path(), registration("run-1")).await.unwrap();
    model.register(tree("b").path(), registration("run-2")).await.unwrap();
    model.move_alias("champion", None, Some(1), "ada", "first", time(0)).await.unwrap();
    Place { folder: root.path().join("shop/models/m"), registry, _root: root }
}

fn entry(seq: u64) -> String {
    format!("log/{:020}.json", u64::MAX - seq)
}

#[tokio::test]
async fn leftovers_of_a_killed_writer_are_passed_over() {
    let place = place().await;
    let model = place.registry.model("shop", "m").unwrap();
    assert!(names_below(&place.folder).iter().all(|name| !name.contains('#')), "none are left by finished writes");
    fs::remove_file(place.folder.join("log/_hint")).unwrap();
    for name in [format!("{}#1", entry(4)), format!("{}#77", entry(9)), "log/_hint#1".into(), "log/x.json".into()] {
        fs::write(place.folder.join(name), b"{\"seq\":4,\"tor").unwrap();
    }
    fs::write(place.folder.join("log/4.json"), b"").unwrap();
    // A tree whose upload was cut short, and a model of which only empty folders exist.
    let half = place.folder.join("versions").join(format!("sha256-{}", "a".repeat(64)));
    fs::create_dir(&half).unwrap();
    fs::write(half.join("bundle.json"), b"{}").unwrap();
    fs::write(half.join("weights.bin#1"), b"half").unwrap();
    fs::create_dir_all(place.folder.parent().unwrap().join("ghost/log")).unwrap();

    assert_eq!(model.head().await.unwrap().unwrap().seq, 3);
    assert_eq!(place.registry.models().await.unwrap().len(), 1);
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    assert!(matches!(model.manifest(&digest).await, Err(Error::NotFound(_))));
    let moved = model.move_alias("champion", Some(1), Some(2), "ada", "go on", time(1)).await.unwrap();
    assert_eq!(moved.seq, 4);
    assert_eq!(model.entries(10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn any_hint_will_do() {
    let place = place().await;
    let model = place.registry.model("shop", "m").unwrap();
    for i in 0..140 {
        model.append_plan(i + 1, &i).await.unwrap();
    }
    let hints = [r#"{"seq":1}"#, r#"{"seq":2}"#, r#"{"seq":999}"#, r#"{"seq":0}"#, "", "torn", "{\"seq\":-1}"];
    for hint in hints {
        fs::write(place.folder.join("log/_hint"), hint).unwrap();
        fs::write(place.folder.join("plans/_hint"), hint).unwrap();
        assert_eq!(model.head().await.unwrap().unwrap().seq, 3, "{hint}");
        assert_eq!(model.latest_plan::<u64>().await.unwrap(), Some((140, 139)), "{hint}");
    }
    fs::remove_file(place.folder.join("plans/_hint")).unwrap();
    assert_eq!(model.latest_plan::<u64>().await.unwrap(), Some((140, 139)));
}

#[tokio::test]
async fn a_changed_tree_is_refused() {
    let place = place().await;
    let model = place.registry.model("shop", "m").unwrap();
    let version = model.resolve(&"@champion".parse().unwrap()).await.unwrap();
    let folder = place.folder.join("versions").join(version.digest.directory());
    let cache = tempfile::tempdir().unwrap();
    for file in ["bundle.json", "weights/w.safetensors", "provenance.json", "manifest.json"] {
        let good = fs::read(folder.join(file)).unwrap();
        let mut flipped = good.clone();
        flipped[3] ^= 1;
        let longer = [&good[..], b" "].concat();
        for bad in [flipped, longer, good[1..].to_vec()] {
            fs::write(folder.join(file), bad).unwrap();
            let answer = model.fetch(&version.digest, cache.path()).await;
            assert!(matches!(answer, Err(Error::Tampered { .. })), "{file}: {answer:?}");
        }
        if file == "provenance.json" {
            assert!(matches!(model.provenance(&version.digest).await, Err(Error::Tampered { .. })));
        }
        fs::write(folder.join(file), good).unwrap();
    }
    assert!(names_below(cache.path()).is_empty(), "nothing of a refused tree stays");
    model.fetch(&version.digest, cache.path()).await.unwrap();
}

#[tokio::test]
async fn a_changed_log_is_noticed() {
    let place = place().await;
    let model = place.registry.model("shop", "m").unwrap();
    let second = place.folder.join(entry(2));
    let good = fs::read_to_string(&second).unwrap();
    fs::write(&second, good.replace("trainer", "nobody.")).unwrap();
    assert!(matches!(model.entries(10).await, Err(Error::Corrupt { .. })));
    fs::remove_file(&second).unwrap();
    assert!(matches!(model.entries(10).await, Err(Error::Corrupt { .. })));
    fs::write(&second, good).unwrap();
    assert_eq!(model.entries(10).await.unwrap().len(), 3);
    let third = place.folder.join(entry(3));
    let newer = fs::read_to_string(&third).unwrap().replacen("\"format\":1", "\"format\":2", 1);
    fs::write(&third, newer).unwrap();
    // What was read before is remembered, as entries never change: another reader finds it.
    let model = Registry::open(place.registry.url()).await.unwrap().model("shop", "m").unwrap();
    assert!(matches!(model.head().await, Err(Error::Newer { found: 2, .. })));
    let refused = model.move_alias("champion", Some(1), Some(2), "ada", "x", time(1)).await;
    assert!(matches!(refused, Err(Error::Newer { .. })), "what is not understood is not built upon");
}

#[tokio::test]
async fn a_full_model_says_so() {
    let place = place().await;
    let model = place.registry.model("shop", "m").unwrap();
    let path = place.folder.join(entry(3));
    let mut entry: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut state: State = serde_json::from_value(entry["state"].clone()).unwrap();
    let mut version = state.versions[&1].clone();
    for number in 3..=crate::state::VERSIONS_MAX as u64 {
        version.number = number;
        version.run = format!("run-{number}");
        state.versions.insert(number, version.clone());
    }
    entry["state"] = serde_json::to_value(state).unwrap();
    fs::write(&path, entry.to_string()).unwrap();
    let full = model.register(tree("c").path(), registration("run-x")).await;
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    assert_eq!(model.register(tree("c").path(), registration("run-7")).await.unwrap().number, 7);
}
