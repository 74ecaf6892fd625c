//! Which stores may hold a registry, and what one is told that cannot be opened.

use super::{options, places, servers};
use crate::{Access, Error, Registry, StoreOptions};

#[tokio::test]
async fn every_place_passes_the_probe() {
    for (registry, keep) in places().await {
        let options = keep._server.as_ref().map(options).unwrap_or_default();
        let report = Registry::probe(registry.url(), &options).await.unwrap();
        assert_eq!(report.refusal(), None, "{report:?}");
        assert_eq!(report.checks.len(), 7);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<crate::Report>(&json).unwrap(), report);
    }
}

#[tokio::test]
async fn a_bucket_is_made_a_registry_once() {
    for server in [servers::s3().await, servers::gcs().await, servers::azure().await].into_iter().flatten() {
        let options = options(&server);
        let none = Registry::open_with(&server.url, &options, Access::Write).await;
        assert!(matches!(none, Err(Error::NoRegistry { .. })), "{none:?}");
        let made = Registry::open_or_init(&server.url, &options).await.unwrap();
        made.model("a", "m").unwrap().run("r").unwrap().create_plan(&1).await.unwrap();
        Registry::init(&server.url, &options).await.unwrap();
        for access in [Access::Read, Access::Write] {
            let again = Registry::open_with(&server.url, &options, access).await.unwrap();
            assert_eq!(again.model("a", "m").unwrap().runs().await.unwrap(), ["r"]);
        }
        // Another prefix is another registry.
        let other = format!("{}/team", server.url);
        assert!(Registry::open_with(&other, &options, Access::Read).await.is_err());
    }
}

#[tokio::test]
async fn wrong_credentials_say_what_to_change() {
    let Some(server) = servers::s3().await else { return };
    let mut options = options(&server);
    options.insert("aws_secret_access_key".to_owned(), "not-the-secret".to_owned());
    let error = Registry::open_with(&server.url, &options, Access::Read).await.unwrap_err().to_string();
    assert!(error.contains("AWS_SECRET_ACCESS_KEY") && !error.contains("not-the-secret"), "{error}");
    let mut nobody = super::options(&server);
    for (name, value) in &mut nobody {
        if name.contains("endpoint") {
            *value = "http://127.0.0.1:9".to_owned();
        }
    }
    let error = Registry::open_with(&server.url, &nobody, Access::Read).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    let missing = server.url.replace("models", "no-such-bucket");
    let error = Registry::init(&missing, &super::options(&server)).await.unwrap_err().to_string();
    assert!(error.contains("no such bucket"), "{error}");
}

#[tokio::test]
async fn a_store_that_ignores_preconditions_is_refused() {
    let Some(server) = servers::s3_without_preconditions().await else { return };
    let options = options(&server);
    let refused = Registry::init(&server.url, &options).await;
    assert!(matches!(refused, Err(Error::Preconditions { .. })), "{refused:?}");
    // One that was a registry when its store was another: it is noticed at every opening.
    let place = crate::place::Place::open(&server.url, &options).await.unwrap();
    let passport = br#"{"format":1,"uid":"u"}"#.to_vec();
    place.store.overwrite(&place.root.clone().join("registry.json"), passport.into()).await.unwrap();
    let refused = Registry::open_with(&server.url, &options, Access::Write).await;
    assert!(matches!(refused, Err(Error::Preconditions { .. })), "{refused:?}");
    Registry::open_with(&server.url, &options, Access::Read).await.unwrap();
}

#[tokio::test]
async fn a_store_that_checks_first_and_writes_afterwards_is_refused() {
    let store = crate::store::Store::new(
        std::sync::Arc::new(super::careless::Careless::default()),
        crate::store::Listing::Ordered,
    );
    let report = crate::probe::probe(&store, &object_store::path::Path::default(), "memory://").await.unwrap();
    let refusal = report.refusal().unwrap();
    assert!(refusal.contains("at once") && !refusal.contains("is created once"), "{refusal}");
}

#[tokio::test]
async fn opening_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (none, empty) = (folder.path().join("none"), folder.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    for place in [&none, &empty] {
        for access in [Access::Read, Access::Write] {
            let opened = Registry::open_with(place.to_str().unwrap(), &StoreOptions::new(), access).await;
            assert!(matches!(opened, Err(Error::NoRegistry { .. })), "{opened:?}");
        }
    }
    assert!(!none.exists() && std::fs::read_dir(&empty).unwrap().next().is_none());
}

#[tokio::test]
async fn a_newer_registry_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("registry.json"), br#"{"format":2,"uid":"u"}"#).unwrap();
    let newer = Registry::open_with(folder.path().to_str().unwrap(), &StoreOptions::new(), Access::Read).await;
    assert!(matches!(newer, Err(Error::Newer { found: 2, .. })), "{newer:?}");
}
