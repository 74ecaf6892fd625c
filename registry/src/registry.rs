//! A registry: one place, one prefix per namespace. It opens logs; it reads and writes no entries.

use crate::commit::Log;
use crate::directory::Directory;
use crate::store::{Limits, Store};
use crate::{EndpointLog, Error, ModelLog, Result, names};
use object_store::memory::InMemory;
use object_store::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// A registry. Cheap to clone; clones share one store.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    url: String,
}

impl Registry {
    /// Opens a registry: `file:///path` or a plain path (created when absent), or `memory://`,
    /// which is a new, empty one at every call.
    pub async fn open(url: &str) -> Result<Registry> {
        let scheme = match url.split_once("://") {
            Some((scheme, _)) => scheme,
            None if url.starts_with("file:") => "file",
            None => return Registry::open_directory(url, PathBuf::from(url)).await,
        };
        match scheme {
            "memory" => {
                let objects = Arc::new(InMemory::new());
                let limits = Limits::default();
                Ok(Registry::on(Store { objects, limits }, url))
            }
            "file" => {
                let wrong = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
                let parsed = Url::parse(url).map_err(|e| wrong(&e.to_string()))?;
                let path = parsed
                    .to_file_path()
                    .map_err(|()| wrong("must be `file://` and an absolute path, with three slashes"))?;
                Registry::open_directory(url, path).await
            }
            scheme => Err(Error::Scheme { url: url.to_owned(), scheme: scheme.to_owned() }),
        }
    }

    async fn open_directory(url: &str, path: PathBuf) -> Result<Registry> {
        if path.as_os_str().is_empty() || path == std::path::Path::new("/") {
            return Err(Error::Url { url: url.to_owned(), reason: "names no directory of its own".to_owned() });
        }
        let place = path.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let directory = Directory::open(&place)?;
            Ok::<_, std::io::Error>((directory, std::fs::canonicalize(&place)?))
        });
        let (directory, absolute) = match opened.await {
            Ok(opened) => opened.map_err(Error::io(&path))?,
            Err(stopped) => return Err(Error::io(&path)(std::io::Error::other(stopped))),
        };
        // Absolute, so that a child process with another working directory finds the same place.
        let url = Url::from_directory_path(&absolute)
            .map_err(|()| Error::Url { url: url.to_owned(), reason: "has no absolute path".to_owned() })?;
        let store = Store { objects: Arc::new(directory), limits: Limits::default() };
        Ok(Registry::on(store, url.as_str().trim_end_matches('/')))
    }

    /// A registry on any store, for tests of the protocol too.
    pub(crate) fn on(store: Store, url: &str) -> Registry {
        Registry { inner: Arc::new(Inner { store, url: url.to_owned() }) }
    }

    /// Where it is: `file://` and an absolute path, or `memory://`.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// The log of a model, which need not exist yet.
    pub fn model(&self, namespace: &str, name: &str) -> Result<ModelLog> {
        names::name("namespace", namespace)?;
        names::name("model", name)?;
        let folder = Path::from_iter([namespace, "models", name]);
        Ok(ModelLog::new(self.inner.store.clone(), folder, name))
    }

    /// The log of an endpoint, which need not exist yet.
    pub fn endpoint(&self, namespace: &str, name: &str) -> Result<EndpointLog> {
        names::name("namespace", namespace)?;
        names::name("endpoint", name)?;
        let folder = Path::from_iter([namespace, "endpoints", name]);
        Ok(EndpointLog::new(self.inner.store.clone(), folder))
    }

    /// The models that have an entry in their log, as (namespace, name), sorted.
    pub async fn models(&self) -> Result<Vec<(String, String)>> {
        let store = &self.inner.store;
        let mut found = Vec::new();
        for namespace in store.folders(&Path::default()).await? {
            let folder = Path::from_iter([namespace.as_str(), "models"]);
            for name in store.folders(&folder).await? {
                let valid = names::name("namespace", &namespace).and_then(|()| names::name("model", &name));
                let log = Log::new(store.clone(), folder.clone().join(name.as_str()).join("log"));
                if valid.is_ok() && !log.is_empty().await? {
                    found.push((namespace.clone(), name));
                }
            }
        }
        Ok(found)
    }
}
