//! Models on every kind of place: versions, aliases, trees; and which places and names there are.

use super::{names_below, places, registration, time, tree};
use crate::{Digest, Error, Operation, Reference, Registry};
use serde_json::json;

#[tokio::test]
async fn versions_and_aliases() {
    for (registry, cache) in places().await {
        let model = registry.model("shop", "home-feed").unwrap();
        assert!(model.head().await.unwrap().is_none());
        assert!(model.entries(10).await.unwrap().is_empty());
        assert!(registry.models().await.unwrap().is_empty());
        let first = model.register(tree("a").path(), registration("run-1")).await.unwrap();
        let mut second = registration("run-2");
        second.alias = Some("challenger".to_owned());
        let second = model.register(tree("b").path(), second).await.unwrap();
        assert_eq!((first.number, second.number, first.files), (1, 2, 3));
        assert_ne!(first.digest, second.digest);

        let entry = model.move_alias("champion", None, Some(1), "ada", "first", time(1)).await.unwrap();
        assert_eq!((entry.seq, entry.actor.as_str()), (3, "ada"));
        let entry = model.move_alias("champion", Some(1), Some(2), "ada", "better", time(2)).await.unwrap();
        assert_eq!(entry.state.aliases.get("previous"), Some(&1), "in the same commit");
        let moved = Operation::Aliased {
            alias: "champion".to_owned(),
            from: Some(1),
            to: Some(2),
            reason: "better".to_owned(),
        };
        assert_eq!(entry.operation, moved);
        let same = model.move_alias("champion", Some(2), Some(2), "ada", "again", time(3)).await.unwrap();
        assert_eq!(same, entry, "no move, no entry");

        let lost = model.move_alias("champion", Some(1), Some(2), "bob", "late", time(3)).await;
        assert!(matches!(lost, Err(Error::Conflict { found: Some(2), expected: Some(1), .. })));
        let none = model.move_alias("champion", Some(2), Some(9), "bob", "typo", time(3)).await;
        assert!(matches!(none, Err(Error::NotFound(_))));

        for text in ["@champion", "2", "models:/home-feed@champion", "models:/home-feed/2", second.digest.as_str()] {
            assert_eq!(model.resolve(&text.parse().unwrap()).await.unwrap(), second, "{text}");
        }
        let previous = model.resolve(&Reference::alias("previous")).await.unwrap();
        assert_eq!((previous.number, previous.reigned), (1, Some(time(2))), "it was champion until then");
        for text in ["@nobody", "3", "models:/other/2", Digest::of(b"").as_str()] {
            let missing = model.resolve(&text.parse().unwrap()).await;
            assert!(matches!(missing, Err(Error::NotFound(_))), "{text}");
        }
        let entry = model.move_alias("challenger", Some(2), None, "ada", "done", time(4)).await.unwrap();
        assert!(!entry.state.aliases.contains_key("challenger"));

        let entries = model.entries(100).await.unwrap();
        assert_eq!(entries.iter().map(|e| e.seq).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
        assert_eq!(entries[4].previous, None);
        assert_eq!(model.entries(2).await.unwrap()[..], entries[..2]);
        assert!(model.entries(0).await.unwrap().is_empty());
        assert_eq!(registry.models().await.unwrap(), [("shop".to_owned(), "home-feed".to_owned())]);
        drop(cache);
    }
}

#[tokio::test]
async fn a_run_registers_one_version() {
    for (registry, _place) in places().await {
        let model = registry.model("shop", "m").unwrap();
        let first = model.register(tree("a").path(), registration("run-1")).await.unwrap();
        let again = model.register(tree("other bytes").path(), registration("run-1")).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(model.entries(10).await.unwrap().len(), 1);
        let (one, two) = (tree("x"), tree("y"));
        let both = tokio::join!(
            model.register(one.path(), registration("run-2")),
            model.register(two.path(), registration("run-2")),
        );
        assert_eq!(both.0.unwrap(), both.1.unwrap());
        assert_eq!(model.entries(10).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn trees_come_back_whole() {
    for (registry, _place) in places().await {
        let cache = tempfile::tempdir().unwrap();
        let model = registry.model("shop", "m").unwrap();
        let source = tree("a");
        let large: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(source.path().join("large.bin"), &large).unwrap();
        std::fs::write(source.path().join("even.bin"), &large[..8 << 20]).unwrap();
        std::fs::write(source.path().join("empty.txt"), b"").unwrap();
        let version = model.register(source.path(), registration("run-1")).await.unwrap();
        let place = model.fetch(&version.digest, cache.path()).await.unwrap();
        assert_eq!(place, cache.path().join(version.digest.directory()));
        assert_eq!(std::fs::read(place.join("large.bin")).unwrap(), large);
        assert_eq!(std::fs::read(place.join("even.bin")).unwrap(), large[..8 << 20]);
        assert_eq!(std::fs::read(place.join("weights/w.safetensors")).unwrap(), super::weights());
        assert_eq!(model.fetch(&version.digest, cache.path()).await.unwrap(), place);
        assert_eq!(model.provenance(&version.digest).await.unwrap(), json!({"run": "run-1", "seed": 42}));
        let manifest = model.manifest(&version.digest).await.unwrap();
        assert_eq!((manifest.files.len() as u32, manifest.bytes()), (version.files, version.bytes));

        std::fs::write(place.join("bundle.json"), b"changed").unwrap();
        std::fs::write(place.join("added.txt"), b"").unwrap();
        model.fetch(&version.digest, cache.path()).await.unwrap();
        assert_ne!(std::fs::read(place.join("bundle.json")).unwrap(), b"changed", "a damaged copy is replaced");
        let only: Vec<_> = std::fs::read_dir(cache.path()).unwrap().collect();
        assert_eq!(only.len(), 1, "nothing is left beside it");
        assert!(!names_below(&place).contains(&"added.txt".to_owned()));
        let unknown = model.fetch(&Digest::of(b""), cache.path()).await;
        assert!(matches!(unknown, Err(Error::NotFound(_))));
    }
}

#[tokio::test]
async fn what_may_not_enter() {
    for (registry, _place) in places().await {
        let model = registry.model("shop", "m").unwrap();
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(model.register(empty.path(), registration("r")).await, Err(Error::Refused { .. })));
        for reserved in ["manifest.json", "provenance.json", "model.sig", "weights.bin2", "run.sh"] {
            let source = tree("a");
            std::fs::write(source.path().join(reserved), b"{}").unwrap();
            assert!(matches!(model.register(source.path(), registration("r")).await, Err(Error::Refused { .. })));
        }
        let mut nan = registration("r");
        nan.metrics.insert("auc".to_owned(), f64::NAN);
        assert!(matches!(model.register(tree("a").path(), nan).await, Err(Error::Invalid { .. })));
        assert!(matches!(model.register(tree("a").path(), registration("../r")).await, Err(Error::Name { .. })));
        assert!(model.head().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn places_and_names() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("new folder/registry");
    let plain = Registry::open(path.to_str().unwrap()).await.unwrap();
    assert!(path.is_dir() && plain.url().starts_with("file:///"), "{}", plain.url());
    plain.model("a", "m").unwrap().run("r").unwrap().create_plan(&1).await.unwrap();
    let again = Registry::open(plain.url()).await.unwrap();
    assert_eq!(again.url(), plain.url());
    assert_eq!(again.model("a", "m").unwrap().runs().await.unwrap(), ["r"]);
    for (namespace, name) in [("", "m"), ("a", ""), ("..", "m"), ("a", "../b"), ("a/b", "m"), ("a", "M")] {
        assert!(again.model(namespace, name).is_err());
        assert!(again.endpoint(namespace, name).is_err());
    }
}
