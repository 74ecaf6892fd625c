//! What all looks share: the client, the copies of the cluster's objects, and what the loops tell each other.

use std::collections::HashMap;
use std::sync::Arc;

use fairway_api::{Model, ModelApproval, ModelEndpoint, ModelExperiment, TrainingRun};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::events::Recorder;
use tokio::sync::{Mutex, Semaphore};

use crate::board::Board;
use crate::buckets::Buckets;
use crate::copies::Copies;
use crate::endpoint::EndpointLoop;
use crate::held::Held;
use crate::job_kinds::{JobSet, TrainJob};
use crate::metrics::Metrics;
use crate::model::ModelLoop;
use crate::notify::Hooks;
use crate::optional::{Optional, ScaledObject};
use crate::routers::Asker;
use crate::scaler::Loads;
use crate::settings::Settings;
use crate::wakes::Wake;

/// An object of ours; one that cannot be read says so itself.
pub(crate) type Guarded<K> = DeserializeGuard<K>;

pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    /// Where it leads; none: everywhere.
    pub(crate) namespace: Option<String>,
    pub(crate) models: Copies<Guarded<Model>>,
    pub(crate) endpoints: Copies<Guarded<ModelEndpoint>>,
    pub(crate) runs: Copies<Guarded<TrainingRun>>,
    pub(crate) approvals: Copies<Guarded<ModelApproval>>,
    pub(crate) experiments: Copies<Guarded<ModelExperiment>>,
    pub(crate) deployments: Copies<Held<Deployment>>,
    pub(crate) services: Copies<Held<Service>>,
    pub(crate) config_maps: Copies<ConfigMap>,
    pub(crate) pods: Copies<Held<Pod>>,
    pub(crate) jobs: Copies<Job>,
    pub(crate) autoscalers: Copies<HorizontalPodAutoscaler>,
    pub(crate) wake_models: Wake<Guarded<Model>>,
    pub(crate) wake_endpoints: Wake<Guarded<ModelEndpoint>>,
    pub(crate) board: Board,
    pub(crate) buckets: Buckets,
    /// Turns at making Services.
    pub(crate) services_at_once: Semaphore,
    pub(crate) asker: Asker,
    pub(crate) hooks: Hooks,
    pub(crate) keda: Optional<ScaledObject>,
    pub(crate) job_sets: Optional<JobSet>,
    pub(crate) train_jobs: Optional<TrainJob>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) endpoint_loops: Loops<EndpointLoop>,
    pub(crate) model_loops: Loops<ModelLoop>,
}

/// What each object's loop remembers, by the object's identity: one that was deleted and made again is another one.
pub(crate) struct Loops<L>(Mutex<HashMap<String, Arc<Mutex<L>>>>);

impl<L> Default for Loops<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<L: Default> Loops<L> {
    pub(crate) async fn of(&self, uid: &str) -> Arc<Mutex<L>> {
        self.0.lock().await.entry(uid.to_owned()).or_default().clone()
    }

    /// The objects that have one.
    pub(crate) async fn uids(&self) -> Vec<String> {
        self.0.lock().await.keys().cloned().collect()
    }

    pub(crate) async fn forget(&self, uid: &str) {
        self.0.lock().await.remove(uid);
    }
}
