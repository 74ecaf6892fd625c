//! A trainer uploads, somebody else registers: what may happen to the tree in between, on every kind of place.

use super::{names_below, places, registration, time, tree};
use crate::{Author, Collection, Created, Digest, Error, ModelLog, Progress, Registration, Registry, Uploading};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const DAY: i64 = 86_400;

/// Uploads for a run; the tree's provenance is that of [`registration`].
async fn upload(model: &ModelLog, dir: &Path, run: &str) -> crate::Result<Digest> {
    upload_at(model, dir, run, time(0)).await
}

async fn upload_at(model: &ModelLog, dir: &Path, run: &str, time: crate::Timestamp) -> crate::Result<Digest> {
    let Registration { kinds, provenance, .. } = registration(run);
    let author = Author { actor: "trainer", reason: "", time };
    let work = Uploading { run, author, kinds: &kinds, provenance: &provenance };
    model.upload(dir, work, &Progress::default()).await
}

fn collection(now: crate::Timestamp) -> Collection {
    let (actor, reason) = ("gc".to_owned(), "daily".to_owned());
    Collection { grace: Duration::ZERO, dry_run: false, most: 9, actor, reason, time: now, in_use: BTreeSet::new() }
}

/// A day after everything that has been written here.
fn tomorrow() -> crate::Timestamp {
    super::today().checked_add(Duration::from_secs(DAY as u64)).unwrap()
}

#[tokio::test]
async fn what_was_uploaded_is_registered_by_another() {
    for (registry, _place) in places().await {
        let model = registry.model("shop", "m").unwrap();
        let source = tree("a");
        let digest = upload(&model, source.path(), "run-1").await.unwrap();
        assert!(model.head().await.unwrap().is_none(), "the log was not touched");
        assert_eq!(upload(&model, source.path(), "run-1").await.unwrap(), digest, "again is harmless");
        // Another trainer of the same run is faster or slower: the first result counts, and both trees are there.
        let other = upload(&model, tree("b").path(), "run-1").await.unwrap();
        let run = model.run("run-1").unwrap();
        assert_eq!(run.result::<Digest>().await.unwrap(), None);
        assert_eq!(run.put_result(&digest).await.unwrap(), Created::Now);
        assert_eq!(run.put_result(&other).await.unwrap(), Created::Already);
        assert_eq!(run.result::<Digest>().await.unwrap(), Some(digest.clone()));

        let mut wanted = registration("run-1");
        wanted.alias = Some("challenger".to_owned());
        let version = model.register_uploaded(&digest, wanted.clone()).await.unwrap();
        assert_eq!((version.number, &version.digest, version.files), (1, &digest, 3));
        assert_eq!(model.state().await.unwrap().aliases["challenger"], 1);
        assert_eq!(model.register_uploaded(&digest, wanted).await.unwrap(), version, "a run registers once");
        assert_eq!(upload(&model, tree("c").path(), "run-1").await.unwrap(), digest, "and uploads no more");
        assert_eq!(model.entries(9).await.unwrap().len(), 1);
        let cache = tempfile::tempdir().unwrap();
        let place = model.fetch(&digest, cache.path()).await.unwrap();
        assert!(place.join("weights/w.safetensors").exists());
        assert_eq!(model.provenance(&digest).await.unwrap()["run"], "run-1");
    }
}

#[tokio::test]
async fn what_was_never_uploaded_is_not_registered() {
    let registry = Registry::open("memory://").await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let nothing = model.register_uploaded(&Digest::of(b"x"), registration("r")).await;
    assert!(
        matches!(&nothing, Err(error @ Error::NotUploaded { .. }) if error.to_string().contains("upload it again"))
    );
    let digest = upload(&model, tree("a").path(), "r").await.unwrap();
    assert!(model.register_uploaded(&digest, registration("../r")).await.is_err());
    assert!(model.head().await.unwrap().is_none());
}

#[tokio::test]
async fn a_trainer_that_is_killed_leaves_what_the_next_one_goes_on_with() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let source = tree("a");
    let digest = upload(&model, source.path(), "run-1").await.unwrap();
    let folder = place.path().join("shop/models/m/versions").join(digest.directory());
    // As after a kill between two files: no manifest yet, and a pin.
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    std::fs::remove_file(folder.join("weights/w.safetensors")).unwrap();
    let early = model.register_uploaded(&digest, registration("run-1")).await;
    assert!(matches!(early, Err(Error::NotUploaded { .. })), "{early:?}");
    assert_eq!(upload(&model, source.path(), "run-1").await.unwrap(), digest);
    assert_eq!(model.register_uploaded(&digest, registration("run-1")).await.unwrap().number, 1);
    assert!(names_below(&place.path().join("shop/models/m/pins")).is_empty(), "pins are taken away");
    // A file that is lost afterwards is missed before anything is registered.
    let lost = upload(&model, tree("b").path(), "run-2").await.unwrap();
    std::fs::remove_file(folder.parent().unwrap().join(lost.directory()).join("bundle.json")).unwrap();
    let refused = model.register_uploaded(&lost, registration("run-2")).await;
    assert!(matches!(&refused, Err(Error::NotUploaded { missing, .. }) if missing == "bundle.json"), "{refused:?}");
}

#[tokio::test]
async fn a_tree_waits_for_its_registration_as_long_as_its_run_does() {
    for (registry, _place) in places().await {
        let model = registry.model("shop", "m").unwrap();
        let source = tree("a");
        let digest = upload(&model, source.path(), "run-1").await.unwrap();
        let run = model.run("run-1").unwrap();
        run.create_plan(&"plan").await.unwrap();
        assert!(model.collect(&collection(super::today())).await.unwrap().deleted.is_empty(), "it is young");
        run.put_result(&digest).await.unwrap();
        assert!(model.collect(&collection(tomorrow())).await.unwrap().deleted.is_empty(), "its run is not finished");

        // The run is over without a version: the tree goes, and cannot come back under the same digest for a while.
        run.finish(&"failed").await.unwrap();
        assert_eq!(model.collect(&collection(tomorrow())).await.unwrap().deleted.len(), 1);
        let late = Registration { time: tomorrow(), ..registration("run-1") };
        let late = model.register_uploaded(&digest, late).await;
        assert!(matches!(late, Err(Error::Condemned { .. })), "{late:?}");
        let again = upload_at(&model, source.path(), "run-1", tomorrow()).await;
        assert!(matches!(again, Err(Error::Condemned { .. })), "{again:?}");
        let other = upload(&model, tree("b").path(), "run-2").await.unwrap();
        assert_eq!(model.register_uploaded(&other, registration("run-2")).await.unwrap().number, 1);
    }
}
