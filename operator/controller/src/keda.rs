//! KEDA's ScaledObjects, where the cluster has their definition. Looked for when an endpoint wants one, and then watched like
//! everything else that the operator makes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairway_api::ModelEndpoint;
use kube::runtime::reflector::Store;
use kube::{Api, Client, CustomResource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::call::{call, has_code};
use crate::context::Guarded;
use crate::names::{ACTOR, MANAGED_BY};
use crate::watch::{Pulse, Wake, watch};

/// Where there is no KEDA it is looked for again after this.
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
pub(crate) struct Keda {
    client: Client,
    namespace: Option<String>,
    pulse: Arc<Pulse>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    store: Option<Store<ScaledObject>>,
    looked: Option<Instant>,
}

impl Keda {
    pub(crate) fn new(client: Client, namespace: Option<String>, pulse: Arc<Pulse>) -> Self {
        Self { client, namespace, pulse, found: Mutex::default() }
    }

    /// The cluster's ScaledObjects of ours; none where it has no KEDA.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn find(&self) -> Result<Option<Store<ScaledObject>>> {
        let mut found = self.found.lock().await;
        if found.store.is_some() || found.looked.is_some_and(|looked| looked.elapsed() < LOOKED_EVERY) {
            return Ok(found.store.clone());
        }
        if self.is_installed().await? {
            found.store = Some(self.copy().await?);
        }
        found.looked = Some(Instant::now());
        Ok(found.store.clone())
    }

    async fn is_installed(&self) -> Result<bool> {
        let asked = async {
            match self.client.list_api_group_resources("keda.sh/v1alpha1").await {
                Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == "ScaledObject")),
                Err(error) if has_code(&error, 404) => Ok(false),
                Err(error) => Err(error),
            }
        };
        call(|| "looking for KEDA".to_owned(), asked).await
    }

    async fn copy(&self) -> Result<Store<ScaledObject>> {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        // KEDA writes their statuses all the time: the next look of their endpoint is soon enough.
        let nobody: Vec<Wake<Guarded<ModelEndpoint>>> = Vec::new();
        let selector = format!("{MANAGED_BY}={ACTOR}");
        let store = watch(api, Some(&selector), &self.pulse, |_| {}, nobody, |_| Vec::new());
        tokio::time::timeout(SYNCS_WITHIN, store.wait_until_ready())
            .await
            .context("KEDA's ScaledObjects could not be read in time: may this account list them?")?
            .context("the watch of ScaledObjects has ended")?;
        Ok(store)
    }
}
