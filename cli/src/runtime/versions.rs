//! Versions in this process: fetched, verified, loaded beside the ones that serve, and put into the router when their
//! golden answers are reproduced (invariant I5). A bucket that fails for a while is asked again; what can never be loaded
//! is said to be broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fairway_model::Bundle;
use fairway_registry::sign::PublicKey;
use fairway_registry::{Digest, ModelLog};
use fairway_server::{Builtin, Router};
use fairway_wire::Target;
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use crate::exit;
use crate::plane::fetched;

/// What is loaded, what is being loaded, what is tried again later, and what cannot be loaded.
pub(super) struct Versions {
    cache: PathBuf,
    signers: Arc<[PublicKey]>,
    loaded: BTreeMap<String, Arc<Bundle>>,
    loading: BTreeMap<String, (Target, JoinHandle<Result<Bundle>>)>,
    failing: BTreeMap<String, Backoff>,
    broken: BTreeMap<String, String>,
}

const UNSIGNED: &str = "spec.signing asks for a signature of a trusted key: `fairway registry sign` the version, \
                        then `fairway rollout retry`";

/// Most versions that are remembered as failing, and most that are as broken.
const FAILED_MAX: usize = 100;
/// Downloads that were begun longer ago were killed.
const DOWNLOAD_MAX: Duration = Duration::from_secs(86_400);
/// How the names of downloads begin, and of what is being removed.
const ASIDE: [&str; 2] = [".fetch-", ".gone-"];

impl Versions {
    pub(super) fn new(cache: PathBuf, signers: Vec<PublicKey>) -> Self {
        Self {
            cache,
            signers: signers.into(),
            loaded: BTreeMap::new(),
            loading: BTreeMap::new(),
            failing: BTreeMap::new(),
            broken: BTreeMap::new(),
        }
    }

    /// Digests that the router can serve.
    pub(super) fn ready(&self) -> BTreeSet<String> {
        self.loaded.keys().cloned().collect()
    }

    pub(super) fn broken(&self) -> &BTreeMap<String, String> {
        &self.broken
    }

    /// Versions that could not be loaded are tried again when they are next asked for.
    pub(super) fn forgive(&mut self) {
        self.broken.clear();
        self.failing.clear();
    }

    /// Whether it may still come to be loaded, though it is not.
    pub(super) fn is_on_its_way(&self, digest: &str) -> bool {
        !self.loaded.contains_key(digest) && !self.broken.contains_key(digest)
    }

    pub(super) fn bundle(&self, digest: &str) -> Option<Arc<Bundle>> {
        self.loaded.get(digest).cloned()
    }

    /// Begins to load a version, unless it is loaded, loading or known to be broken, or has failed a moment ago.
    pub(super) fn load(&mut self, log: &ModelLog, target: &Target) {
        let digest = &target.digest;
        if self.loaded.contains_key(digest) || self.loading.contains_key(digest) || self.broken.contains_key(digest) {
            return;
        }
        if self.failing.get(digest).is_some_and(|backoff| !backoff.is_due()) {
            return;
        }
        let (log, cache, wanted) = (log.clone(), self.cache.clone(), digest.clone());
        let signers = self.signers.clone();
        let task = tokio::spawn(async move {
            let digest: Digest = wanted.parse()?;
            let dir = fetched(&log, &digest, &cache, &signers, UNSIGNED).await?;
            tokio::task::spawn_blocking(move || Bundle::load(&dir).context("the bundle was refused")).await?
        });
        self.loading.insert(digest.clone(), (target.clone(), task));
    }

    /// Puts what has finished loading into the router.
    pub(super) async fn collect(&mut self, router: &Router) {
        let finished: Vec<String> =
            self.loading.iter().filter(|(_, (_, task))| task.is_finished()).map(|(digest, _)| digest.clone()).collect();
        for digest in finished {
            self.finish(&digest, router).await;
        }
    }

    /// Waits for everything that is loading. True if anything was.
    pub(super) async fn wait(&mut self, router: &Router) -> bool {
        let all: Vec<String> = self.loading.keys().cloned().collect();
        for digest in &all {
            self.finish(digest, router).await;
        }
        !all.is_empty()
    }

    async fn finish(&mut self, digest: &str, router: &Router) {
        let Some((target, task)) = self.loading.remove(digest) else { return };
        match task.await.map_err(anyhow::Error::from).and_then(|bundle| bundle) {
            Ok(bundle) => {
                let bundle = Arc::new(bundle);
                router.install(&target, Arc::new(Builtin(bundle.clone())), Arc::new(bundle.profile.clone()));
                self.loaded.insert(digest.to_owned(), bundle);
                self.failing.remove(digest);
            }
            Err(error) if exit::is_final(&error) => {
                tracing::warn!(version = target.version, "cannot load: {error:#}");
                self.failing.remove(digest);
                remember(&mut self.broken, digest, format!("{error:#}"));
            }
            Err(error) => {
                let backoff = Backoff::after(self.failing.get(digest).copied());
                let pause = fairway_core::plan::spell(backoff.pause());
                tracing::warn!(version = target.version, "not loaded, tried again in {pause}: {error:#}");
                remember(&mut self.failing, digest, backoff);
            }
        }
    }

    /// Takes a version out of the router. The memory is given back off the serving threads.
    pub(super) fn unload(&mut self, router: &Router, digest: &str) {
        router.uninstall(digest);
        if let Some(bundle) = self.loaded.remove(digest) {
            tokio::task::spawn_blocking(move || drop(bundle));
        }
    }

    /// Removes folders of the cache that hold neither a version that is loaded nor one that is being, and what killed
    /// downloads have left. The folders change their names at once; their bytes go beside the loop.
    pub(super) fn evict(&self) {
        let needed = self.loaded.keys().chain(self.loading.keys()).filter_map(|it| it.parse::<Digest>().ok());
        let needed: BTreeSet<String> = needed.map(|digest| digest.directory()).collect();
        match set_aside(&self.cache, &needed) {
            Ok(gone) => drop(tokio::task::spawn_blocking(move || gone.iter().for_each(|folder| remove(folder)))),
            Err(error) => tracing::warn!("the cache {} is not tidied: {error}", self.cache.display()),
        }
    }
}

fn remember<T>(all: &mut BTreeMap<String, T>, digest: &str, what: T) {
    all.insert(digest.to_owned(), what);
    while all.len() > FAILED_MAX {
        all.pop_first();
    }
}

/// Renames what nobody needs, and gives what is to be removed.
fn set_aside(cache: &Path, needed: &BTreeSet<String>) -> std::io::Result<Vec<PathBuf>> {
    let mut gone = Vec::new();
    if !cache.exists() {
        return Ok(gone);
    }
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if ASIDE.iter().any(|aside| name.starts_with(aside)) {
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > DOWNLOAD_MAX || name.starts_with(ASIDE[1]) {
                gone.push(entry.path());
            }
        } else if name.starts_with("sha256-") && !needed.contains(&name) {
            let aside = cache.join(format!("{}{name}", ASIDE[1]));
            // What was not removed the last time may be in the way: that goes now, and this the next time.
            if fs::rename(entry.path(), &aside).is_ok() {
                gone.push(aside);
            }
        }
    }
    Ok(gone)
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!("{} cannot be removed: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_stays_in_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let names = ["sha256-a", "sha256-b", ".fetch-new", ".fetch-old", ".gone-sha256-c", "notes"];
        for name in names {
            fs::create_dir(cache.path().join(name)).unwrap();
        }
        let old = fs::File::open(cache.path().join(".fetch-old")).unwrap();
        old.set_modified(old.metadata().unwrap().modified().unwrap() - 2 * DOWNLOAD_MAX).unwrap();
        let mut gone = set_aside(cache.path(), &BTreeSet::from(["sha256-b".to_owned()])).unwrap();
        gone.sort();
        let expected = [".fetch-old", ".gone-sha256-a", ".gone-sha256-c"].map(|name| cache.path().join(name));
        assert_eq!(gone, expected);
        gone.iter().for_each(|folder| remove(folder));
        let mut left: Vec<String> = fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".fetch-new", "notes", "sha256-b"]);
        assert!(
            set_aside(&cache.path().join("none"), &BTreeSet::new()).unwrap().is_empty(),
            "before the first version"
        );
    }
}
