//! Kinds that not every cluster has: KEDA's ScaledObject, and those of `job_kinds`. Looked for when something wants one, and then
//! watched like everything else that the operator makes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::api::ListParams;
use kube::{Api, Client, CustomResource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::call::{call, has_code};
use crate::copies::Copies;
use crate::watch::Watched;

/// Where a kind is not there it is looked for again after this.
const LOOKED_EVERY: Duration = Duration::from_secs(60);
/// The copy must be there within this.
const SYNCS_WITHIN: Duration = Duration::from_secs(20);

/// A ScaledObject, as far as the operator reads it: what it applies itself.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize)]
#[kube(group = "keda.sh", version = "v1alpha1", kind = "ScaledObject", namespaced, schema = "disabled")]
pub(crate) struct ScaledObjectSpec {
    #[serde(flatten)]
    all: Map<String, Value>,
}

/// See above.
pub(crate) struct Optional<K: Watched> {
    client: Client,
    namespace: Option<String>,
    start: Box<dyn Fn(Api<K>) -> Copies<K> + Send + Sync>,
    found: Mutex<(Option<Copies<K>>, Option<Instant>)>,
}

impl<K: Watched> Optional<K> {
    /// `start` begins to watch, once the kind is there.
    pub(crate) fn new(
        client: Client,
        namespace: Option<String>,
        start: impl Fn(Api<K>) -> Copies<K> + Send + Sync + 'static,
    ) -> Self {
        Self { client, namespace, start: Box::new(start), found: Mutex::default() }
    }

    /// The cluster's objects of this kind that are ours; none where it does not know the kind, or this account may not read it.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn find(&self) -> Result<Option<Copies<K>>> {
        let mut found = self.found.lock().await;
        let (store, looked) = &mut *found;
        if store.is_none() && looked.is_none_or(|looked| looked.elapsed() >= LOOKED_EVERY) {
            if self.is_installed().await? && self.is_readable(looked.is_none()).await? {
                *store = Some((self.start)(self.api()));
            }
            *looked = Some(Instant::now());
        }
        let Some(store) = store else { return Ok(None) };
        let kind = K::kind(&());
        tokio::time::timeout(SYNCS_WITHIN, store.wait_until_ready())
            .await
            .with_context(|| format!("objects of the kind {kind} could not be read in time"))?
            .with_context(|| format!("the watch of the kind {kind} has ended"))?;
        Ok(Some(store.clone()))
    }

    fn api(&self) -> Api<K> {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    async fn is_installed(&self) -> Result<bool> {
        let (version, kind) = (K::api_version(&()), K::kind(&()));
        let asked = async {
            match self.client.list_api_group_resources(&version).await {
                Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == kind)),
                Err(error) if has_code(&error, 404) => Ok(false),
                Err(error) => Err(error),
            }
        };
        call(|| format!("looking for the kind {kind}"), asked).await
    }

    /// A right that is missing stops nothing but what needs the kind.
    async fn is_readable(&self, is_first: bool) -> Result<bool> {
        let (api, kind) = (self.api(), K::kind(&()));
        let asked = async {
            match api.list_metadata(&ListParams::default().limit(1)).await {
                Ok(_) => Ok(true),
                Err(error) if has_code(&error, 403) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let readable = call(|| format!("listing the kind {kind}"), asked).await?;
        if !readable && is_first {
            tracing::warn!(%kind, "the cluster has this kind, and this account may not list it: it is not used");
        }
        Ok(readable)
    }
}
