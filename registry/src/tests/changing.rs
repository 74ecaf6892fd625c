//! What people do to versions: copy, sign, approve, protect, hold, and ask what was when.

use super::{names_below, places, registration, time, tree};
use crate::sign::PrivateKey;
use crate::{Author, Error, Operation, Progress, Registry, Timestamp, verify_folder};
use std::collections::BTreeSet;

fn by(actor: &'static str, second: i64) -> Author<'static> {
    Author { actor, reason: "because", time: time(second) }
}

#[tokio::test]
async fn a_copy_is_the_same_tree() {
    let far = Registry::open("memory://").await.unwrap();
    let (silent, nothing) = (Progress::default(), crate::Digest::of(b""));
    for (index, (registry, _keep)) in places().await.into_iter().enumerate() {
        let model = registry.model("shop", "m").unwrap();
        let source = tree("a");
        std::fs::write(source.path().join("large.json"), vec![b' '; 17 << 20]).unwrap();
        let version = model.register(source.path(), registration("run-1")).await.unwrap();
        let key = PrivateKey::generate().unwrap();
        model.sign(1, &key, by("ada", 1)).await.unwrap();
        // Into another model of the same store, which copies by itself, and into another store.
        for to in [registry.model("prod", "m").unwrap(), far.model("prod", &format!("m-{index}")).unwrap()] {
            let copied = to.register_copy(&model, &version.digest, registration("copy-1"), &silent);
            let copied = copied.await.unwrap();
            assert_eq!((copied.number, &copied.digest, copied.bytes), (1, &version.digest, version.bytes));
            let cache = tempfile::tempdir().unwrap();
            let place = to.fetch(&copied.digest, cache.path()).await.unwrap();
            assert_eq!(std::fs::read(place.join("large.json")).unwrap().len(), 17 << 20);
            to.verify(&copied.digest, &[key.public().clone()]).await.unwrap();
            // Again after a copy that was stopped before the signature was there.
            to.store.delete(&to.signature_path(&version.digest)).await.unwrap();
            let again = to.register_copy(&model, &version.digest, registration("copy-1"), &silent);
            assert_eq!(again.await.unwrap().number, 1);
            to.verify(&copied.digest, &[key.public().clone()]).await.unwrap();
        }
        let unknown = model.register_copy(&model, &nothing, registration("x"), &silent);
        assert!(matches!(unknown.await, Err(Error::NotFound(_))));
    }
}

/// Whoever follows an alias would find a version that nobody has signed.
#[tokio::test]
async fn a_signature_is_there_before_the_version_can_be_seen() {
    let registry = Registry::open("memory://").await.unwrap();
    let (from, to) = (registry.model("shop", "m").unwrap(), registry.model("prod", "m").unwrap());
    let version = from.register(tree("a").path(), registration("run-1")).await.unwrap();
    from.sign(1, &PrivateKey::generate().unwrap(), by("ada", 1)).await.unwrap();
    let signature = from.signature(&version.digest).await.unwrap().unwrap();
    to.register(tree("b").path(), registration("run-0")).await.unwrap();
    // Refused at the last moment, so that what was done before is seen.
    to.protect("challenger", &BTreeSet::from(["bob".to_owned()]), by("ada", 1)).await.unwrap();
    let wanted = || crate::Registration { alias: Some("challenger".to_owned()), ..registration("run-1") };
    let silent = Progress::default();
    let copied = to.register_copy(&from, &version.digest, wanted(), &silent).await;
    assert!(matches!(copied, Err(Error::Protected { .. })), "{copied:?}");
    assert_eq!(to.signature(&version.digest).await.unwrap().unwrap(), signature);

    to.store.delete(&to.signature_path(&version.digest)).await.unwrap();
    let (a, signed) = (tree("a"), Some((&version.digest, &signature[..])));
    let entered = to.register_telling(a.path(), wanted(), signed, &silent).await;
    assert!(matches!(entered, Err(Error::Protected { .. })), "{entered:?}");
    assert_eq!(to.signature(&version.digest).await.unwrap().unwrap(), signature);
    // Another tree's signature is not taken along.
    let other = to.register_telling(tree("c").path(), registration("run-2"), signed, &silent).await.unwrap();
    assert_eq!(to.signature(&other.digest).await.unwrap(), None);
}

#[tokio::test]
async fn signatures_hold_for_the_tree_and_its_local_copy() {
    let registry = Registry::open("memory://").await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let version = model.register(tree("a").path(), registration("run-1")).await.unwrap();
    let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let trusted = [other.public().clone(), key.public().clone()];
    assert!(matches!(model.verify(&version.digest, &trusted).await, Err(Error::NotFound(_))), "unsigned");
    let entry = model.sign(1, &key, by("ada", 1)).await.unwrap();
    assert_eq!(entry.operation, Operation::Signed { version: 1, key: key.public().hint() });
    model.verify(&version.digest, &trusted).await.unwrap();
    assert!(model.verify(&version.digest, &trusted[..1]).await.is_err(), "by nobody who is trusted");

    let cache = tempfile::tempdir().unwrap();
    let place = model.fetch(&version.digest, cache.path()).await.unwrap();
    let verify = || verify_folder(&place, &place.join("model.sig"), &trusted);
    verify().unwrap();
    std::fs::write(place.join("extra.json"), b"{}").unwrap();
    assert!(matches!(verify(), Err(Error::Refused { path, .. }) if path == "extra.json"));
    std::fs::remove_file(place.join("extra.json")).unwrap();
    std::fs::write(place.join("bundle.json"), b"{}").unwrap();
    assert!(matches!(verify(), Err(Error::Refused { path, .. }) if path == "bundle.json"));
    std::fs::rename(place.join("bundle.json"), place.join("other.json")).unwrap();
    assert!(verify().is_err());
    // Another tree's signature is none.
    let second = model.register(tree("b").path(), registration("run-2")).await.unwrap();
    let bundle = model.signature(&version.digest).await.unwrap().unwrap().to_vec();
    model.put_signature(2, "x", bundle, by("mallory", 2)).await.unwrap();
    assert!(model.verify(&second.digest, &trusted).await.is_err());
}

#[tokio::test]
async fn what_was_when() {
    for (registry, _keep) in places().await {
        let model = registry.model("shop", "m").unwrap();
        for run in 1..=3 {
            model.register(tree(&run.to_string()).path(), registration(&format!("run-{run}"))).await.unwrap();
        }
        let mut at = None;
        for (second, to) in [(10, 1), (20, 2), (20, 3), (40, 1)] {
            model.move_alias("champion", at, Some(to), "ada", &format!("to {to}"), time(second)).await.unwrap();
            at = Some(to);
        }
        let champion = async |second: i64| {
            let entry = model.as_of(time(second)).await.unwrap();
            entry.and_then(|entry| entry.state.aliases.get("champion").copied())
        };
        assert_eq!(model.as_of(time(-1)).await.unwrap(), None);
        for (second, expected) in
            [(0, None), (9, None), (10, Some(1)), (19, Some(1)), (20, Some(3)), (39, Some(3)), (99, Some(1))]
        {
            assert_eq!(champion(second).await, expected, "at {second}");
        }
        // A clock that is behind does not make history go back.
        let late = model.move_alias("champion", at, Some(2), "bob", "slow clock", time(5)).await.unwrap();
        assert_eq!((late.time, champion(40).await), (time(40), Some(2)));
        let all = model.entries_after(0, 100).await.unwrap();
        assert_eq!(all.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
        assert_eq!(model.entries_after(6, 1).await.unwrap()[0].seq, 7);
        assert!(model.entries_after(8, 100).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn reviews_holds_and_protection() {
    let registry = Registry::open("memory://").await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let version = model.register(tree("a").path(), registration("run-1")).await.unwrap();
    let wrong = model.judge(1, &crate::Digest::of(b""), true, by("ada", 1)).await;
    assert!(matches!(wrong, Err(Error::Invalid { .. })), "what was seen is what is approved");
    model.judge(1, &version.digest, true, by("ada", 1)).await.unwrap();
    model.judge(1, &version.digest, true, by("bob", 2)).await.unwrap();
    let entries = model.entries(99).await.unwrap().len();
    model.judge(1, &version.digest, true, by("bob", 2)).await.unwrap();
    assert_eq!(model.entries(99).await.unwrap().len(), entries, "said already");
    let judged = model.state().await.unwrap().versions[&1].clone();
    assert_eq!((judged.approvals(), judged.rejected()), (BTreeSet::from(["ada", "bob"]), false));
    let entry = model.judge(1, &version.digest, false, by("ada", 3)).await.unwrap();
    let judged = &entry.state.versions[&1];
    assert_eq!((judged.approvals().len(), judged.rejected()), (0, true), "one no is a no");
    let entry = model.withdraw(1, by("ada", 4)).await.unwrap();
    assert_eq!(entry.operation, crate::Operation::Withdrawn { version: 1, digest: version.digest.clone() });
    let judged = &entry.state.versions[&1];
    assert_eq!((judged.approvals(), judged.rejected()), (BTreeSet::from(["bob"]), false), "as if never spoken");
    let again = model.withdraw(1, by("ada", 5)).await.unwrap();
    assert_eq!(again.seq, entry.seq, "there is nothing to take back");

    let only = BTreeSet::from(["release-bot".to_owned()]);
    model.protect("champion", &only, by("ada", 4)).await.unwrap();
    let refused = model.move_alias("champion", None, Some(1), "ada", "me", time(5)).await;
    assert!(matches!(&refused, Err(Error::Protected { .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("release-bot"));
    let mut sneaky = registration("run-2");
    sneaky.alias = Some("champion".to_owned());
    assert!(matches!(model.register(tree("b").path(), sneaky).await, Err(Error::Protected { .. })));
    model.move_alias("champion", None, Some(1), "release-bot", "reviewed", time(5)).await.unwrap();
    model.protect("champion", &BTreeSet::new(), by("ada", 6)).await.unwrap();
    model.move_alias("champion", Some(1), None, "ada", "anybody may", time(7)).await.unwrap();
    let missing = model.hold(9, true, by("ada", 8)).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
}

#[tokio::test]
async fn an_upload_that_was_cut_off_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::open(place.path().to_str().unwrap()).await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let source = tree("a");
    for file in 0..4 {
        std::fs::write(source.path().join(format!("{file}.json")), vec![b'0' + file; 3 << 20]).unwrap();
    }
    // Dropped at some await point, again and again: each time what arrived whole is kept.
    for microseconds in [200, 1_000, 5_000, 20_000, 50_000] {
        let upload = model.register(source.path(), registration("run-1"));
        if tokio::time::timeout(std::time::Duration::from_micros(microseconds), upload).await.is_ok() {
            break;
        }
    }
    let version = model.register(source.path(), registration("run-1")).await.unwrap();
    assert_eq!(version.number, 1);
    let cache = tempfile::tempdir().unwrap();
    model.fetch(&version.digest, cache.path()).await.unwrap();
    let left = names_below(&place.path().join("shop/models/m"));
    assert_eq!(left.iter().filter(|name| name.ends_with("log/18446744073709551614.json")).count(), 1);
    let written = |name: &str| {
        let file = place.path().join("shop/models/m/versions").join(version.digest.directory()).join(name);
        std::fs::metadata(file).unwrap().modified().unwrap()
    };
    let before = written("0.json");
    let mut again = registration("run-2");
    again.provenance = registration("run-1").provenance;
    again.time = Timestamp::UNIX_EPOCH;
    assert_eq!(model.register(source.path(), again).await.unwrap().digest, version.digest);
    assert_eq!(written("0.json"), before, "what is there is not sent again");
}
