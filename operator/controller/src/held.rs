//! What the operator holds of objects of which there are many: who it is, what is read of it, and, until it was found to be as
//! described, what it is compared by. The API's own types would take several times the memory for the same.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::apply::{Made, covers, refuse_foreign};
use crate::names::{DIGEST, VERSION};

/// A kind that is held so.
pub(crate) trait Read: Made + Send + Sync + 'static {
    /// What is read of it.
    type Facts: Clone + Debug + Send + Sync + 'static;

    /// Takes that out of it.
    fn facts(&mut self) -> Self::Facts;

    /// What is left is what the operator applies; none where it applies nothing.
    fn applied(self) -> Option<Self>;
}

/// See above.
#[derive(Debug)]
pub(crate) struct Held<K: Read> {
    meta: ObjectMeta,
    pub(crate) facts: K::Facts,
    compared: Mutex<Compared>,
}

/// How an object is compared with its description.
#[derive(Clone, Debug)]
enum Compared {
    /// What was applied, as JSON: it was not compared yet, or is another than it should be.
    By(Box<str>),
    /// It is as this description says, of which this is the hash. A change of the object comes as another object.
    Stands(u64),
}

impl<K: Read> Held<K> {
    fn of(mut object: K) -> Self {
        let full = std::mem::take(object.meta_mut());
        let facts = object.facts();
        let text = object.applied().and_then(|mut applied| {
            *applied.meta_mut() = ObjectMeta {
                name: full.name.clone(),
                namespace: full.namespace.clone(),
                labels: full.labels.clone(),
                annotations: full.annotations.clone(),
                owner_references: full.owner_references,
                ..ObjectMeta::default()
            };
            serde_json::to_string(&applied).ok()
        });
        let mut annotations = full.annotations.unwrap_or_default();
        annotations.retain(|name, _| name == DIGEST || name == VERSION);
        let meta = ObjectMeta {
            name: full.name,
            namespace: full.namespace,
            uid: full.uid,
            resource_version: full.resource_version,
            deletion_timestamp: full.deletion_timestamp,
            labels: full.labels,
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        };
        Self { meta, facts, compared: Mutex::new(Compared::By(text.unwrap_or_default().into())) }
    }

    fn compared(&self) -> MutexGuard<'_, Compared> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is as described. It is read once: another description has to be applied.
    ///
    /// # Errors
    /// It is somebody else's.
    pub(crate) fn stands(&self, desired: &Value) -> Result<bool> {
        let mark = mark(desired);
        let mut compared = self.compared();
        let text = match &*compared {
            Compared::Stands(known) => return Ok(*known == mark),
            Compared::By(text) => text,
        };
        let actual: Value = serde_json::from_str(text).context("an object that is not held as it was applied")?;
        refuse_foreign(&K::kind(&()), &actual, desired)?;
        let stands = covers(&actual, desired);
        if stands {
            *compared = Compared::Stands(mark);
        }
        Ok(stands)
    }

    /// The API server has said that applying this description changes nothing.
    pub(crate) fn is_as(&self, desired: &Value) {
        *self.compared() = Compared::Stands(mark(desired));
    }
}

fn mark(desired: &Value) -> u64 {
    let mut mark = DefaultHasher::new();
    desired.to_string().hash(&mut mark);
    mark.finish()
}

impl<'de, K: Read> Deserialize<'de> for Held<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(deserializer).map(Self::of)
    }
}

impl<K: Read> Clone for Held<K> {
    fn clone(&self) -> Self {
        let compared = Mutex::new(self.compared().clone());
        Self { meta: self.meta.clone(), facts: self.facts.clone(), compared }
    }
}

impl<K: Read> Resource for Held<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// How many servers or routers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) ordered: u32,
    pub(crate) ready: u32,
}

impl Read for Deployment {
    type Facts = Replicas;

    fn facts(&mut self) -> Replicas {
        let ordered = self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = self.status.take().and_then(|status| status.ready_replicas).unwrap_or(0);
        Replicas { ordered: u32::try_from(ordered).unwrap_or(0), ready: u32::try_from(ready).unwrap_or(0) }
    }

    fn applied(self) -> Option<Self> {
        Some(self)
    }
}

impl Read for Service {
    type Facts = ();

    fn facts(&mut self) {
        self.status = None;
    }

    fn applied(self) -> Option<Self> {
        Some(self)
    }
}

/// Where a pod is, whether it is ready, and how its containers failed.
impl Read for Pod {
    type Facts = Box<PodStatus>;

    fn facts(&mut self) -> Box<PodStatus> {
        let status = self.status.take().unwrap_or_default();
        let mut conditions = status.conditions.unwrap_or_default();
        conditions.retain(|one| ["Ready", "DisruptionTarget"].contains(&one.type_.as_str()));
        Box::new(PodStatus {
            phase: status.phase.filter(|phase| phase == "Failed" || phase == "Succeeded"),
            pod_ip: status.pod_ip,
            conditions: Some(conditions),
            init_container_statuses: failed(status.init_container_statuses),
            container_statuses: failed(status.container_statuses),
            ..PodStatus::default()
        })
    }

    fn applied(self) -> Option<Self> {
        None
    }
}

/// Containers that wait or have ended, now or before.
fn failed(statuses: Option<Vec<ContainerStatus>>) -> Option<Vec<ContainerStatus>> {
    let told = statuses.into_iter().flatten().filter_map(|mut status| {
        let tells =
            |state: &k8s_openapi::api::core::v1::ContainerState| state.waiting.is_some() || state.terminated.is_some();
        let (state, last_state) = (status.state.take().filter(tells), status.last_state.take().filter(tells));
        let (name, image) = (status.name, status.image);
        (state.is_some() || last_state.is_some()).then(|| ContainerStatus {
            name,
            image,
            state,
            last_state,
            ..ContainerStatus::default()
        })
    });
    let told: Vec<ContainerStatus> = told.collect();
    (!told.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests;
