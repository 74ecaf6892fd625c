//! Retention and collection on every kind of place: what is kept is whole, and what is deleted is
//! gone, said so, and stays gone.

use super::{names_below, places, registration, time, tree};
use crate::{Author, Collected, Collection, Error, Kept, ModelLog, Registry, Retention, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

fn author() -> Author<'static> {
    Author { actor: "ada", reason: "policy", time: time(0) }
}

fn collection(time: Timestamp, grace: Duration) -> Collection {
    let (actor, reason) = ("gc".to_owned(), "daily".to_owned());
    Collection { grace, dry_run: false, most: 100, actor, reason, time, in_use: BTreeSet::new() }
}

/// Five versions, of which two are kept by their age; the first is champion.
async fn five(registry: &Registry) -> ModelLog {
    let model = registry.model("shop", "m").unwrap();
    for run in 1..=5 {
        let mut one = registration(&format!("run-{run}"));
        one.alias = (run == 1).then(|| "champion".to_owned());
        model.register(tree(&format!("tree {run}")).path(), one).await.unwrap();
    }
    let rule = Retention { versions: 2, days: 0, rollback_days: 0 };
    model.retain(Some(rule), author()).await.unwrap();
    model
}

fn deleted(collected: &Collected) -> Vec<u64> {
    let mut numbers: Vec<u64> = collected.deleted.iter().flat_map(|it| it.versions.clone()).collect();
    numbers.sort();
    numbers
}

#[tokio::test]
async fn what_no_rule_keeps_goes_after_its_grace() {
    for (registry, _keep) in places().await {
        let model = five(&registry).await;
        model.hold(2, true, Author { reason: "case 7", ..author() }).await.unwrap();
        let digest = model.state().await.unwrap().versions[&3].digest.clone();
        let before = model.entries(100).await.unwrap().len();
        let dry = Collection { dry_run: true, ..collection(time(0), Duration::ZERO) };
        let would = model.collect(&dry).await.unwrap();
        assert_eq!(would.waiting.iter().map(|it| it.versions[0]).collect::<Vec<_>>(), [3]);
        assert_eq!(model.entries(100).await.unwrap().len(), before, "a dry run writes nothing");

        let week = Duration::from_secs(7 * 86_400);
        let first = model.collect(&collection(time(0), week)).await.unwrap();
        assert!(first.deleted.is_empty());
        assert_eq!(first.kept[&1], BTreeSet::from([Kept::Alias { alias: "champion".to_owned() }]));
        assert_eq!(first.kept[&2], BTreeSet::from([Kept::Held { reason: "case 7".to_owned() }]));
        let later = model.collect(&collection(time(8 * 86_400), week)).await.unwrap();
        assert_eq!(deleted(&later), [3]);
        assert!(later.bytes_deleted > 0);

        let gone = model.resolve(&"3".parse().unwrap()).await;
        let Err(Error::Deleted { entry: Some(seq), .. }) = gone else { panic!("{gone:?}") };
        let tombstone = model.entry_at(seq).await.unwrap().unwrap();
        assert_eq!((tombstone.actor.as_str(), tombstone.time), ("gc", time(8 * 86_400)));
        let left: Vec<_> = model.trees().await.unwrap().into_iter().map(|tree| tree.digest).collect();
        assert!(!left.contains(&digest), "the bytes are gone");
        assert_eq!(left.len(), 4);
        let cache = tempfile::tempdir().unwrap();
        for number in [1, 2, 4, 5] {
            let version = model.resolve(&crate::Reference::number(number)).await.unwrap();
            model.fetch(&version.digest, cache.path()).await.unwrap();
        }
        let again = model.register(tree("tree 3").path(), registration("run-3")).await;
        assert!(matches!(again, Err(Error::Condemned { .. })), "{again:?}");
        let next = model.register(tree("new").path(), registration("run-9")).await.unwrap();
        assert_eq!(next.number, 6, "no number is given twice");
        model.hold(2, false, author()).await.unwrap();
        let all = model.collect(&collection(time(9 * 86_400), Duration::ZERO)).await.unwrap();
        assert_eq!(deleted(&all), [2, 4]);
        // The try above left a tree, which has gone again. The quarantine ends by time, though nothing was deleted since.
        let on = |day: i64| crate::Registration { time: time(day * 86_400), ..registration("run-3") };
        let early = model.register(tree("tree 3").path(), on(39)).await;
        assert!(matches!(early, Err(Error::Condemned { .. })), "{early:?}");
        assert_eq!(model.register(tree("tree 3").path(), on(40)).await.unwrap().digest, digest);
        assert!(!model.state().await.unwrap().condemned.contains_key(&digest));
    }
}

#[tokio::test]
async fn what_was_kept_meanwhile_waits_anew() {
    let registry = Registry::open("memory://").await.unwrap();
    let model = five(&registry).await;
    let (day, week) = (86_400, Duration::from_secs(7 * 86_400));
    let all = |to: Option<u64>| {
        let model = model.clone();
        async move {
            for (alias, number) in [("two", 2), ("three", 3)] {
                let (from, to) = (to.is_none().then_some(number), to.map(|_| number));
                model.move_alias(alias, from, to, "ada", "", time(0)).await.unwrap();
            }
        }
    };
    assert_eq!(model.collect(&collection(time(0), week)).await.unwrap().waiting.len(), 2);
    // Aliases keep both: a collection that finds nothing at all says so as well.
    all(Some(0)).await;
    assert!(model.collect(&collection(time(3 * day), week)).await.unwrap().waiting.is_empty());
    all(None).await;
    let again = model.collect(&collection(time(8 * day), week)).await.unwrap();
    assert_eq!((again.deleted.len(), again.waiting.len()), (0, 2), "the grace began anew on day 8");
    assert_eq!(deleted(&model.collect(&collection(time(15 * day), week)).await.unwrap()), [2, 3]);
}

#[tokio::test]
async fn what_others_use_is_kept() {
    for (registry, _keep) in places().await {
        let model = five(&registry).await;
        let state = model.state().await.unwrap();
        // A rollout's plan names version 2, an unfinished run's plan version 3.
        let endpoint = registry.endpoint("shop", "home").unwrap();
        endpoint.append_plan(1, &serde_json::json!({"rollout": {"to": state.versions[&2].digest}})).await.unwrap();
        let run = model.run("run-next").unwrap();
        run.create_plan(&serde_json::json!({"warmStart": state.versions[&3].digest})).await.unwrap();
        let request =
            Collection { in_use: registry.in_use("shop").await.unwrap(), ..collection(time(0), Duration::ZERO) };
        let collected = model.collect(&request).await.unwrap();
        assert!(collected.deleted.is_empty());
        assert_eq!([2, 3].map(|number| &collected.kept[&number]), [&BTreeSet::from([Kept::InUse]); 2], "and says why");
        run.finish(&"done").await.unwrap();
        assert_eq!(deleted(&model.collect(&request).await.unwrap()), [3]);
        endpoint.append_plan(2, &"over").await.unwrap();
        let request = Collection { in_use: registry.in_use("shop").await.unwrap(), ..request };
        assert_eq!(deleted(&model.collect(&request).await.unwrap()), [2]);
    }
}

/// What loops do each day, until something goes.
#[tokio::test]
async fn loops_keep_what_manifests_people_and_others_say() {
    for (registry, _keep) in places().await {
        let model = five(&registry).await;
        let state = model.state().await.unwrap();
        let theirs = Retention { versions: 4, days: 0, rollback_days: 90 };
        model.retain(Some(theirs), author()).await.unwrap();
        let in_use = BTreeSet::from([state.versions[&2].digest.clone()]);
        let on = async |day: i64| {
            let author = Author { time: time(day * 86_400), ..author() };
            model.tidy(2, in_use.clone(), author).await.unwrap().told()
        };
        assert_eq!(on(0).await, None);
        let rule = model.state().await.unwrap().retention;
        assert_eq!(rule, Some(Retention { versions: 2, ..theirs }), "the manifest says how many, people the rest");
        let before = model.entries(100).await.unwrap().len();
        assert_eq!(on(1).await, None);
        assert_eq!(model.entries(100).await.unwrap().len(), before, "a day without news is no entry");
        let gone = on(7).await;
        assert_eq!(gone.as_deref(), Some("version 3 is gone, 0 MiB: no rule of the retention keeps it"));
        assert_eq!(on(8).await, None);
        let left: Vec<u64> = model.state().await.unwrap().versions.into_keys().collect();
        assert_eq!(left, [1, 2, 4, 5], "the champion, what is in use, and the newest two");
    }
}

#[tokio::test]
async fn a_model_that_has_nothing_gets_no_log() {
    let registry = Registry::open("memory://").await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    assert_eq!(model.tidy(2, BTreeSet::new(), author()).await.unwrap(), Collected::default());
    assert!(model.head().await.unwrap().is_none());
}

#[tokio::test]
async fn a_tree_of_two_versions_stays_until_both_go() {
    let registry = Registry::open("memory://").await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let same = |run: &str| crate::Registration { provenance: serde_json::json!({}), ..registration(run) };
    for run in ["one", "two"] {
        model.register(tree("same").path(), same(run)).await.unwrap();
    }
    model.register(tree("other").path(), registration("three")).await.unwrap();
    assert_eq!(model.trees().await.unwrap().len(), 2, "the same tree twice is one tree");
    model.move_alias("mine", None, Some(2), "ada", "", time(0)).await.unwrap();
    model.retain(Some(Retention { versions: 1, days: 0, rollback_days: 0 }), author()).await.unwrap();
    assert!(model.collect(&collection(time(0), Duration::ZERO)).await.unwrap().deleted.is_empty());
    model.move_alias("mine", Some(2), None, "ada", "", time(0)).await.unwrap();
    assert_eq!(deleted(&model.collect(&collection(time(1), Duration::ZERO)).await.unwrap()), [1, 2]);
    assert_eq!(model.trees().await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_of_a_deleted_tree_stays_in_a_directory() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    let model = five(&registry).await;
    let digest = model.state().await.unwrap().versions[&2].digest.clone();
    let folder = place.path().join("shop/models/m/versions").join(digest.directory());
    // A writer that was killed between link and unlink leaves the bytes under a second name.
    std::fs::hard_link(folder.join("bundle.json"), folder.join("bundle.json#7")).unwrap();
    model.collect(&collection(time(0), Duration::ZERO)).await.unwrap();
    assert!(names_below(place.path()).iter().all(|name| !name.contains(digest.hex())));
}

#[tokio::test]
async fn uploads_that_nobody_registered_go_when_they_are_old() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    let model = five(&registry).await;
    let orphan = place.path().join("shop/models/m/versions").join(format!("sha256-{}", "a".repeat(64)));
    std::fs::create_dir_all(&orphan).unwrap();
    std::fs::write(orphan.join("w.json"), b"{}").unwrap();
    let now = super::today();
    let hour = Duration::from_secs(3600);
    model.retain(None, author()).await.unwrap();
    let first = model.collect(&collection(now, hour)).await.unwrap();
    assert_eq!((first.deleted.len(), first.waiting.len()), (0, 1));
    let later = now.checked_add(hour * 2).unwrap();
    let second = model.collect(&collection(later, hour)).await.unwrap();
    assert_eq!(second.deleted.len(), 1);
    assert!(!orphan.exists());
    assert_eq!(model.state().await.unwrap().versions.len(), 5, "without a retention no version goes");
}

#[tokio::test]
async fn half_a_pin_keeps_nothing_and_holds_nothing_up() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    let model = five(&registry).await;
    let pins = place.path().join("shop/models/m/pins");
    std::fs::create_dir_all(&pins).unwrap();
    std::fs::write(pins.join("empty.json"), b"").unwrap();
    std::fs::write(pins.join("half.json"), b"{\"txn\": \"ab").unwrap();
    std::fs::write(pins.join("zeros.json"), [0; 100]).unwrap();
    let now = super::today();
    assert_eq!(deleted(&model.collect(&collection(now, Duration::ZERO)).await.unwrap()), [2, 3]);
    assert_eq!(names_below(&pins).len(), 3, "it may be of an upload that has just begun");
    let tomorrow = now.checked_add(Duration::from_secs(25 * 3600)).unwrap();
    model.collect(&collection(tomorrow, Duration::ZERO)).await.unwrap();
    assert!(names_below(&pins).is_empty());
}
