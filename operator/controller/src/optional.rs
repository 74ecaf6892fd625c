//! Kinds that not every cluster has: KEDA's ScaledObject, and the JobSet. Looked for when something wants one, and then watched
//! like everything else that the operator makes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
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

/// Annotation of a Job that stands for a JobSet: its name.
pub(crate) const SET: &str = "fairway.dev/jobset";

/// A ScaledObject, as far as the operator reads it: what it applies itself.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize)]
#[kube(group = "keda.sh", version = "v1alpha1", kind = "ScaledObject", namespaced, schema = "disabled")]
pub(crate) struct ScaledObjectSpec {
    #[serde(flatten)]
    all: Map<String, Value>,
}

/// A JobSet, as far as the operator reads it.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize)]
#[kube(
    group = "jobset.x-k8s.io",
    version = "v1alpha2",
    kind = "JobSet",
    namespaced,
    schema = "disabled",
    status = "JobSetStatus"
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobSetSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suspend: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// How its jobs are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobSetStatus {
    conditions: Vec<Condition>,
    restarts: i32,
    replicated_jobs_status: Vec<Replicated>,
}

/// How many of its jobs are how.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Replicated {
    succeeded: i32,
    active: i32,
}

impl JobSet {
    /// The same as a Job of this name would say it, for whoever looks at runs.
    pub(crate) fn as_job(&self, name: &str) -> Job {
        let status = self.status.clone().unwrap_or_default();
        let sum = |of: fn(&Replicated) -> i32| status.replicated_jobs_status.iter().map(of).sum::<i32>();
        let ended = |one: &Condition| {
            let kind = match one.type_.as_str() {
                "Completed" => "Complete",
                "Failed" => "Failed",
                _ => return None,
            };
            let (reason, message) = (Some(one.reason.clone()), Some(one.message.clone()));
            Some(JobCondition {
                type_: kind.to_owned(),
                status: one.status.clone(),
                reason,
                message,
                ..JobCondition::default()
            })
        };
        let suspended = self.spec.suspend == Some(true);
        Job {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: self.metadata.namespace.clone(),
                annotations: Some([(SET.to_owned(), self.metadata.name.clone().unwrap_or_default())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec { suspend: self.spec.suspend, ..JobSpec::default() }),
            status: Some(JobStatus {
                active: Some(sum(|it| it.active)),
                succeeded: Some(sum(|it| it.succeeded)),
                failed: Some(status.restarts),
                conditions: Some(status.conditions.iter().filter_map(ended).collect()),
                start_time: self.metadata.creation_timestamp.clone().filter(|_| !suspended),
                ..JobStatus::default()
            }),
        }
    }
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
            if self.is_installed().await? && self.is_readable().await? {
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
    async fn is_readable(&self) -> Result<bool> {
        let (api, kind) = (self.api(), K::kind(&()));
        let asked = async {
            match api.list_metadata(&ListParams::default().limit(1)).await {
                Ok(_) => Ok(true),
                Err(error) if has_code(&error, 403) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let readable = call(|| format!("listing the kind {kind}"), asked).await?;
        if !readable {
            tracing::warn!(%kind, "the cluster has this kind, and this account may not list it: it is not used");
        }
        Ok(readable)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_jobset_is_seen_as_a_job() {
        let set = |status: Value| -> Job {
            let set = json!({
                "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
                "metadata": {"name": "other", "namespace": "shop", "creationTimestamp": "2026-11-27T10:00:00Z"},
                "spec": {"suspend": false, "replicatedJobs": []}, "status": status,
            });
            serde_json::from_value::<JobSet>(set).unwrap().as_job("run-train")
        };
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Why", "message": "because", "lastTransitionTime": "2026-11-27T10:00:00Z"});
        let job = set(json!({
            "conditions": [condition("Suspended", "False"), condition("Failed", "True")], "restarts": 2,
            "replicatedJobsStatus": [{"name": "trainer", "ready": 0, "succeeded": 0, "failed": 1, "active": 1, "suspended": 0}],
        }));
        assert_eq!(job.metadata.name.as_deref(), Some("run-train"));
        let status = job.status.unwrap();
        let ended: Vec<_> =
            status.conditions.iter().flatten().map(|one| (one.type_.as_str(), one.status.as_str())).collect();
        assert_eq!(ended, [("Failed", "True")]);
        assert_eq!((status.active, status.failed, status.succeeded), (Some(1), Some(2), Some(0)));
        assert!(status.start_time.is_some());
        let done =
            set(json!({"conditions": [condition("Completed", "True")], "terminalState": "Completed"})).status.unwrap();
        assert_eq!(done.conditions.unwrap()[0].type_, "Complete");
    }
}
