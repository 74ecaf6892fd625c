//! What finalizers say, and what is left of a registry afterwards.

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::{Model, ModelEndpoint};
use fairway_registry::{Author, Error, Operation, Registration, Registry};
use jiff::Timestamp;

use super::*;

fn model(metadata: Value) -> Model {
    let spec = json!({
        "registry": "s3://models", "storageSecretRef": {"name": "bucket"},
        "data": {"interactions": {"url": "s3://b/x/", "sql": "SELECT 1"}},
        "reward": {"event": "purchase", "within": "1d"},
        "trainer": {"builtin": {"family": "ease"}},
    });
    let object = json!({"apiVersion": "fairway.dev/v1alpha1", "kind": "Model", "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

#[test]
fn finalizers_come_and_go_beside_those_of_others() {
    let text = r#"{"registry":"s3://models","secret":"bucket"}"#;
    let fresh = model(json!({"name": "m", "resourceVersion": "7", "finalizers": ["a/b"]}));
    let place = Place::of(&fresh, None).unwrap();
    let patch = marked(&fresh, Some(&place)).unwrap().unwrap();
    let expected = json!({"resourceVersion": "7", "finalizers": ["a/b", BUCKET], "annotations": {BUCKET: text}});
    assert_eq!(patch["metadata"], expected);
    assert_eq!(marked(&fresh, None).unwrap(), None, "nothing is to be taken off");

    let held = model(json!({"name": "m", "finalizers": [BUCKET, "a/b"], "annotations": {BUCKET: text}}));
    assert_eq!(marked(&held, Some(&place)).unwrap(), None, "a loop at rest writes nothing");
    assert_eq!(noted(&held).unwrap(), place);
    let patch = marked(&held, None).unwrap().unwrap();
    assert_eq!(patch["metadata"]["finalizers"], json!(["a/b"]));
    assert_eq!(patch["metadata"]["annotations"], json!({BUCKET: null}));
    assert!(noted(&fresh).unwrap_err().to_string().contains(BUCKET));
}

fn key(name: &str) -> Key {
    ("shop".to_owned(), name.to_owned())
}

fn author(reason: &str) -> Author<'_> {
    Author { actor: "ann", reason, time: Timestamp::UNIX_EPOCH }
}

/// Versions, each with a run and a plan; no two of them of the same bytes.
async fn with_versions(registry: &Registry, numbers: std::ops::Range<u64>) {
    let log = registry.model("shop", "recs").unwrap();
    for (seq, n) in (1..).zip(numbers) {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("bundle.json"), format!("{{\"n\": {n}}}")).unwrap();
        let registration = Registration {
            run: format!("run-{n}"),
            actor: ACTOR.to_owned(),
            time: Timestamp::UNIX_EPOCH,
            metrics: BTreeMap::new(),
            labels: BTreeMap::new(),
            provenance: json!({}),
            kinds: BTreeSet::new(),
            alias: Some("champion".to_owned()),
            reason: "a test".to_owned(),
        };
        log.register(tree.path(), registration).await.unwrap();
        log.run(&format!("run-{n}")).unwrap().finish(&json!({"n": n})).await.unwrap();
        log.append_plan(seq, &json!({"n": n})).await.unwrap();
    }
}

async fn until_gone<K: Looked>(registry: &Registry, key: &Key) -> usize {
    for look in 1..=100 {
        if K::erase(registry, key, Timestamp::UNIX_EPOCH).await.unwrap() {
            return look;
        }
    }
    panic!("it does not end");
}

#[tokio::test]
async fn of_a_model_only_the_log_stays_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(folder.path().to_str().unwrap()).await.unwrap();
    with_versions(&registry, 0..3).await;
    let log = registry.model("shop", "recs").unwrap();
    assert_eq!(until_gone::<Model>(&registry, &key("recs")).await, 1);
    let left = std::fs::read_dir(folder.path().join("shop/models/recs")).unwrap();
    let left: Vec<String> = left.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, ["log"]);
    let state = log.state().await.unwrap();
    assert!(state.versions.is_empty() && state.aliases.is_empty() && state.last_number == 3, "{state:?}");
    let gone = log.resolve(&"2".parse().unwrap()).await;
    let Err(Error::Deleted { entry: Some(seq), .. }) = gone else { panic!("{gone:?}") };
    let tombstone = log.entry_at(seq).await.unwrap().unwrap();
    assert!(matches!(tombstone.operation, Operation::Condemned { versions, .. } if versions == [1, 2, 3]));
    assert_eq!(tombstone.actor, ACTOR);
    // Again: it is over, and nothing more is written.
    assert_eq!(until_gone::<Model>(&registry, &key("recs")).await, 1);
    assert_eq!(log.head().await.unwrap().unwrap().seq, seq + 1);
    // The same manifest, applied again, begins anew, with numbers that nobody had.
    assert_eq!(log.latest_plan::<Value>().await.unwrap(), None);
    with_versions(&registry, 3..4).await;
    let state = registry.model("shop", "recs").unwrap().state().await.unwrap();
    assert_eq!(state.versions.keys().copied().collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn it_goes_on_where_it_was() {
    let registry = Registry::open("memory://").await.unwrap();
    with_versions(&registry, 0..5).await;
    let log = registry.model("shop", "recs").unwrap();
    let mut steps = 1;
    while !log.erase(author("step by step"), 3).await.unwrap() {
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
    assert!(log.trees().await.unwrap().is_empty() && log.runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_held_or_protected_stays() {
    let registry = Registry::open("memory://").await.unwrap();
    with_versions(&registry, 0..2).await;
    let log = registry.model("shop", "recs").unwrap();
    log.hold(1, true, author("case 7")).await.unwrap();
    let error = format!("{:#}", Model::erase(&registry, &key("recs"), Timestamp::UNIX_EPOCH).await.unwrap_err());
    assert!(error.contains("case 7") && error.contains("registry release"), "{error}");
    assert_eq!(log.state().await.unwrap().versions.len(), 2);
    log.hold(1, false, author("over")).await.unwrap();
    log.protect("champion", &BTreeSet::from(["ann".to_owned()]), author("ours")).await.unwrap();
    let error = format!("{:#}", Model::erase(&registry, &key("recs"), Timestamp::UNIX_EPOCH).await.unwrap_err());
    assert!(error.contains("champion"), "{error}");
    assert_eq!((log.state().await.unwrap().versions.len(), log.trees().await.unwrap().len()), (2, 2));
}

#[tokio::test]
async fn of_an_endpoint_nothing_stays() {
    let registry = Registry::open("memory://").await.unwrap();
    let log = registry.endpoint("shop", "web").unwrap();
    for n in 0..4_u64 {
        log.put_window(&format!("w-{n}"), vec![1].into()).await.unwrap();
        log.put_decisions(Timestamp::UNIX_EPOCH, "r", n, vec![1].into()).await.unwrap();
        log.append_plan(n + 1, &json!({"n": n})).await.unwrap();
    }
    log.put_state("users", vec![1].into()).await.unwrap();
    registry.endpoint("shop", "other").unwrap().append_plan(1, &json!({})).await.unwrap();
    assert!(!log.erase(3).await.unwrap());
    assert_eq!(log.windows(10).await.unwrap().len(), 1, "a step at a time");
    assert_eq!(until_gone::<ModelEndpoint>(&registry, &key("web")).await, 1);
    let fresh = registry.endpoint("shop", "web").unwrap();
    assert_eq!(fresh.latest_plan::<Value>().await.unwrap(), None);
    assert!(fresh.windows(10).await.unwrap().is_empty() && fresh.get_state("users").await.unwrap().is_none());
    assert!(registry.endpoint("shop", "other").unwrap().latest_plan::<Value>().await.unwrap().is_some());
}
