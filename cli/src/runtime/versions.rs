//! Versions in this process: fetched, verified, loaded beside the ones that serve, and put into the router when their
//! golden answers are reproduced (invariant I5).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use fairway_model::Bundle;
use fairway_registry::sign::PublicKey;
use fairway_registry::{Digest, ModelLog};
use fairway_server::{Builtin, Router};
use fairway_wire::Target;
use tokio::task::JoinHandle;

use crate::plane::fetched;

/// What is loaded, what is being loaded, and what could not be.
pub(super) struct Versions {
    cache: PathBuf,
    signers: Arc<[PublicKey]>,
    loaded: BTreeMap<String, Arc<Bundle>>,
    loading: BTreeMap<String, (Target, JoinHandle<Result<Bundle>>)>,
    broken: BTreeMap<String, String>,
}

const UNSIGNED: &str = "spec.signing asks for a signature of a trusted key: `fairway registry sign` the version, \
                        then `fairway rollout retry`";

/// Remembered reasons of versions that could not be loaded.
const BROKEN_MAX: usize = 100;

impl Versions {
    pub(super) fn new(cache: PathBuf, signers: Vec<PublicKey>) -> Self {
        Self {
            cache,
            signers: signers.into(),
            loaded: BTreeMap::new(),
            loading: BTreeMap::new(),
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
    }

    pub(super) fn bundle(&self, digest: &str) -> Option<Arc<Bundle>> {
        self.loaded.get(digest).cloned()
    }

    /// Begins to load a version, unless it is loaded, loading or known to be broken.
    pub(super) fn load(&mut self, log: &ModelLog, target: &Target) {
        let digest = &target.digest;
        if self.loaded.contains_key(digest) || self.loading.contains_key(digest) || self.broken.contains_key(digest) {
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
            }
            Err(error) => {
                tracing::warn!(version = target.version, "cannot load: {error:#}");
                self.broken.insert(digest.to_owned(), format!("{error:#}"));
                while self.broken.len() > BROKEN_MAX {
                    self.broken.pop_first();
                }
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
}
