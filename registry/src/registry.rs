//! A registry: one place, one prefix per namespace. It opens logs; it reads and writes no entries.
//!
//! `registry.json` says that a place is one and what its store was seen to do. It is
//! created once, and whoever opens the registry to write asks the store to create it again: one
//! that does so ignores preconditions and cannot hold a registry.

use crate::commit::{Settled, create, json};
use crate::log::Log;
use crate::place::{Place, StoreOptions, cure};
use crate::probe::{Report, probe};
use crate::store::{JSON_BYTES_MAX, Listing, Store};
use crate::{Digest, EndpointLog, Error, ModelLog, Result, names};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

const FORMAT: u32 = 1;
const PASSPORT: &str = "registry.json";
/// Logs that are read at once.
const READS_AT_ONCE: usize = 8;

/// A registry. Cheap to clone; clones share one store.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    root: Path,
    url: String,
}

/// What a registry is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// To read. Nothing is asked of the store but what is read.
    Read,
    /// To write; the store is asked whether it still keeps what was created.
    #[default]
    Write,
}

/// What `registry.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Passport {
    format: u32,
    /// Tells registries apart, wherever they are moved to.
    uid: String,
    /// What the store was seen to do; absent where that is known: directories and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<Report>,
}

impl Registry {
    /// Opens a registry to write, without options. A directory and memory become one when they are
    /// none; `memory://` is a new, empty one at every call.
    pub async fn open(url: &str) -> Result<Registry> {
        Registry::open_or_init(url, &StoreOptions::new()).await
    }

    /// Opens a registry that is there. `memory://` always is; anything else is left alone when it is none.
    pub async fn open_with(url: &str, options: &StoreOptions, access: Access) -> Result<Registry> {
        let place = Place::open_existing(url, options).await?;
        let path = place.root.clone().join(PASSPORT);
        let found = place.store.read(&path, JSON_BYTES_MAX).await.map_err(|e| explained(&place.url, e))?;
        let Some(bytes) = found else {
            if place.own && place.store.local.is_none() {
                return Registry::found(place, None).await;
            }
            return Err(Error::NoRegistry { url: place.url });
        };
        let passport: Passport = serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(&path, e))?;
        if passport.format > FORMAT {
            return Err(Error::Newer { path: path.to_string(), found: passport.format, known: FORMAT });
        }
        if access == Access::Write && !place.own {
            let options = PutOptions::from(PutMode::Create);
            match place.store.bounded(&path, place.store.objects.put_opts(&path, bytes.into(), options)).await {
                Ok(_) => {
                    let reason = "it wrote over an object that it was only asked to create".to_owned();
                    return Err(Error::Preconditions { url: place.url, reason });
                }
                Err(Error::Store {
                    source: object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
                    ..
                }) => {}
                Err(error) => return Err(explained(&place.url, error)),
            }
        }
        Ok(Registry::at(place, passport.probe.as_ref()))
    }

    /// Makes a place a registry, if its store may hold one, and opens it. One that is there already
    /// is opened and left as it is; the report says what the store does now.
    pub async fn init(url: &str, options: &StoreOptions) -> Result<(Registry, Report)> {
        let place = Place::open(url, options).await?;
        let report = probe(&place.store, &place.root, &place.url).await.map_err(|e| explained(&place.url, e))?;
        if let Some(reason) = report.refusal() {
            return Err(Error::Preconditions { url: place.url, reason });
        }
        let path = place.root.clone().join(PASSPORT);
        let there = place.store.exists(&path).await.map_err(|e| explained(&place.url, e))?;
        if there {
            return Ok((Registry::open_with(url, options, Access::Write).await?, report));
        }
        let kept = (!place.own).then(|| report.clone());
        Ok((Registry::found(place, kept).await?, report))
    }

    /// Opens a registry to write, and makes the place one when it is none and may be. What a directory does is known, so
    /// that only other stores are probed.
    pub async fn open_or_init(url: &str, options: &StoreOptions) -> Result<Registry> {
        match Registry::open_with(url, options, Access::Write).await {
            Err(Error::NoRegistry { .. }) => match Place::open(url, options).await? {
                place if place.own => Registry::found(place, None).await,
                _ => Ok(Registry::init(url, options).await?.0),
            },
            other => other,
        }
    }

    /// Tells what the store at this place does. It writes and removes a few objects under `_probe/`.
    pub async fn probe(url: &str, options: &StoreOptions) -> Result<Report> {
        let place = Place::open_existing(url, options).await?;
        probe(&place.store, &place.root, &place.url).await.map_err(|e| explained(&place.url, e))
    }

    async fn found(place: Place, report: Option<Report>) -> Result<Registry> {
        let path = place.root.clone().join(PASSPORT);
        let uid = place.store.chance.transaction();
        let passport = Passport { format: FORMAT, uid, probe: report };
        let bytes = json(&path, &passport)?;
        let ours = |found: &[u8]| Ok(found == bytes);
        match create(&place.store, &path, &bytes, ours).await.map_err(|e| explained(&place.url, e))? {
            // Two at once: either may be the first, and both say the same of the store.
            Settled::Ours { .. } | Settled::Theirs => Ok(Registry::at(place, passport.probe.as_ref())),
        }
    }

    fn at(place: Place, report: Option<&Report>) -> Registry {
        let mut store = place.store;
        if report.is_some_and(|report| !report.ordered) {
            store.listing = Listing::Avoid;
        }
        Registry { inner: Arc::new(Inner { store, root: place.root, url: place.url }) }
    }

    /// A registry on any store, for tests of the protocol.
    #[cfg(test)]
    pub(crate) fn on(store: Store, url: &str) -> Registry {
        Registry { inner: Arc::new(Inner { store, root: Path::default(), url: url.to_owned() }) }
    }

    /// Where it is: `file://` and an absolute path, `memory://`, or the URL of a bucket.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    fn folder(&self, namespace: &str, kind: &str, name: &str) -> Path {
        self.inner.root.clone().join(namespace).join(kind).join(name)
    }

    /// The log of a model, which need not exist yet.
    pub fn model(&self, namespace: &str, name: &str) -> Result<ModelLog> {
        names::name("namespace", namespace)?;
        names::name("model", name)?;
        Ok(ModelLog::new(self.inner.store.clone(), self.folder(namespace, "models", name), name))
    }

    /// The log of an endpoint, which need not exist yet.
    pub fn endpoint(&self, namespace: &str, name: &str) -> Result<EndpointLog> {
        names::name("namespace", namespace)?;
        names::name("endpoint", name)?;
        Ok(EndpointLog::new(self.inner.store.clone(), self.folder(namespace, "endpoints", name)))
    }

    /// The models that have an entry in their log, as (namespace, name), sorted.
    pub async fn models(&self) -> Result<Vec<(String, String)>> {
        let store = &self.inner.store;
        let mut found = Vec::new();
        for namespace in store.folders(&self.inner.root).await? {
            let folder = self.inner.root.clone().join(namespace.as_str()).join("models");
            for name in self.names("namespace", &namespace, "model", &folder).await? {
                let log = Log::new(store.clone(), folder.clone().join(name.as_str()).join("log"));
                if !log.is_empty().await? {
                    found.push((namespace.clone(), name));
                }
            }
        }
        Ok(found)
    }

    /// The names in a folder of a namespace, but for those that this registry never gave.
    async fn names(&self, outer: &'static str, at: &str, what: &'static str, folder: &Path) -> Result<Vec<String>> {
        if names::name(outer, at).is_err() {
            return Ok(Vec::new());
        }
        let mut found = self.inner.store.folders(folder).await?;
        found.retain(|name| names::name(what, name).is_ok());
        Ok(found)
    }

    /// Every digest that the newest plan of an endpoint of this namespace names: a rollout may rely
    /// on it, whatever else is true.
    pub async fn in_use(&self, namespace: &str) -> Result<BTreeSet<Digest>> {
        names::name("namespace", namespace)?;
        let folder = self.inner.root.clone().join(namespace).join("endpoints");
        let mut heads = Vec::new();
        for name in self.names("namespace", namespace, "endpoint", &folder).await? {
            let log = Log::new(self.inner.store.clone(), folder.clone().join(name).join("plans"));
            heads.push(async move { log.latest().await }.boxed());
        }
        let mut digests = BTreeSet::new();
        let mut heads = futures::stream::iter(heads).buffer_unordered(READS_AT_ONCE);
        while let Some(slot) = heads.try_next().await? {
            let body = slot.and_then(|slot| slot.body);
            digests.extend(body.iter().flat_map(|body| crate::digests::named(body)));
        }
        Ok(digests)
    }
}

/// The first request to a store that fails tells of credentials more often than of the registry.
fn explained(url: &str, error: Error) -> Error {
    let Error::Store { source, .. } = &error else { return error };
    let text = source.to_string();
    let refused =
        matches!(source, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
    let reason = if refused {
        "the store refused the credentials"
    } else if text.contains("NoSuchBucket") || text.contains("ContainerNotFound") {
        "there is no such bucket"
    } else if text.contains("error sending request") || text.contains("dns") || text.contains("connect") {
        "the store cannot be reached"
    } else if matches!(source, object_store::Error::NotFound { .. }) {
        "there is no such bucket, or nobody may write to it"
    } else {
        return error;
    };
    let first: String = text.lines().next().unwrap_or_default().chars().take(300).collect();
    Error::Access { url: url.to_owned(), reason: format!("{reason} ({first})"), cure: cure(url) }
}
