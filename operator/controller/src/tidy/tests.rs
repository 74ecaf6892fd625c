//! What goes from a real registry, and what the cluster keeps there.

use std::collections::BTreeMap;

use fairway_api::ModelEndpoint;
use fairway_registry::Registration;
use serde_json::json;

use super::*;

const DAY: i64 = 86_400;

fn key() -> Key {
    ("shop".to_owned(), "recs".to_owned())
}

fn on(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
}

/// A registry in which the model has so many versions, the newest of them champion. Their digests, by number.
async fn with_versions(count: u64) -> (Registry, BTreeMap<u64, String>) {
    let registry = Registry::open("memory://").await.unwrap();
    let log = registry.model("shop", "recs").unwrap();
    for n in 1..=count {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("bundle.json"), format!("{{\"n\": {n}}}")).unwrap();
        let registration = Registration {
            run: format!("run-{n}"),
            actor: ACTOR.to_owned(),
            // Long ago: who was champion then is kept no more.
            time: on(-400),
            metrics: BTreeMap::new(),
            labels: BTreeMap::new(),
            provenance: json!({}),
            kinds: std::collections::BTreeSet::new(),
            alias: Some("champion".to_owned()),
            reason: "a test".to_owned(),
        };
        log.register(tree.path(), registration).await.unwrap();
    }
    let digests = log.state().await.unwrap().versions.into_iter();
    (registry, digests.map(|(number, version)| (number, version.digest.to_string())).collect())
}

fn endpoint(name: &str, version: &str, status: serde_json::Value) -> ModelEndpoint {
    let metadata = json!({"name": name, "namespace": "shop"});
    let spec = json!({"model": "recs", "version": version});
    let object = json!({"apiVersion": "fairway.dev/v1alpha1", "kind": "ModelEndpoint", "metadata": metadata,
        "spec": spec, "status": status});
    serde_json::from_value(object).unwrap()
}

async fn left(registry: &Registry) -> Vec<u64> {
    registry.model("shop", "recs").unwrap().state().await.unwrap().versions.into_keys().collect()
}

#[tokio::test]
async fn what_the_cluster_relies_on_stays() {
    let (registry, digests) = with_versions(9).await;
    // Another cluster's endpoint, a version with servers, a pinned manifest, and one whose canary the status names.
    registry.endpoint("shop", "elsewhere").unwrap().append_plan(1, &json!({"stable": digests[&1]})).await.unwrap();
    let mut reliance = Reliance::default();
    reliance.digests.insert(digests[&2].clone());
    reliance.add(&endpoint("pinned", "3", json!(null)));
    reliance.add(&endpoint("by-digest", &digests[&4], json!(null)));
    reliance.add(&endpoint("follows", "@challenger", json!({"canaryDigest": digests[&5], "conditions": []})));
    // A run that has not ended begins from version 6.
    let run = registry.model("shop", "recs").unwrap().run("next").unwrap();
    run.create_plan(&json!({"champion": digests[&6]})).await.unwrap();
    let used = Used::default();
    let tidied = async |day: i64| collect(&registry, &used, &key(), 2, &reliance, on(day)).await.unwrap();
    assert_eq!(tidied(0).await, None, "it waits for its grace");
    let told = tidied(8).await.unwrap();
    assert!(told.starts_with("version 7 is gone"), "{told}");
    assert_eq!(left(&registry).await, [1, 2, 3, 4, 5, 6, 8, 9]);
    // The tombstone says who, and why.
    let log = registry.model("shop", "recs").unwrap();
    let entries = log.entries(10).await.unwrap();
    assert!(
        entries.iter().all(|entry| entry.seq <= 10 || entry.actor == ACTOR && entry.reason.contains("spec.retention"))
    );
    assert_eq!(tidied(9).await, None);
}

#[tokio::test]
async fn who_takes_over_goes_on_where_the_other_was() {
    let (registry, _) = with_versions(4).await;
    let reliance = Reliance::default();
    let tidied = async |day: i64| collect(&registry, &Used::default(), &key(), 2, &reliance, on(day)).await.unwrap();
    for day in [0, 3, 6] {
        assert_eq!(tidied(day).await, None);
    }
    assert!(tidied(7).await.unwrap().starts_with("versions 1, 2 are gone"));
    assert_eq!(left(&registry).await, [3, 4]);
}

#[tokio::test]
async fn a_registry_that_cannot_be_read_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    registry.endpoint("shop", "home").unwrap().append_plan(1, &json!({})).await.unwrap();
    let plans = place.path().join("shop/endpoints/home/plans");
    for plan in std::fs::read_dir(&plans).unwrap() {
        std::fs::write(plan.unwrap().path(), "no plan").unwrap();
    }
    let failed = collect(&registry, &Used::default(), &key(), 2, &Reliance::default(), on(0)).await.unwrap_err();
    assert!(format!("{failed:#}").starts_with("reading what endpoints use"), "{failed:#}");
}
