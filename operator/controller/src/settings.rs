//! How an operator is set up. What may change while it runs is in manifests, not here.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use fairway_api::Model;

use crate::model::RunCause;

/// Makes the plan of a run from its model's manifest, as the trainer reads it. It is given from outside because the
/// trainer's types are no business of the operator's.
pub type PlanRun = fn(&Model, &RunCause<'_>) -> Result<serde_json::Value>;

/// Settings of one operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this process among those that may lead: the pod's.
    pub identity: String,
    /// Namespace of the operator itself, where its Lease is.
    pub namespace: String,
    /// The namespaces whose manifests it obeys; none: all.
    pub watch: Vec<String>,
    /// Registry of models that name none.
    pub registry: Option<String>,
    /// Image of trainers, servers and routers.
    pub image: String,
    /// How that image is pulled.
    pub image_pull_policy: String,
    /// Where health is served.
    pub admin: SocketAddr,
    /// Where metrics are served.
    pub metrics: SocketAddr,
    /// Who may read the metrics of routers and model servers: peers of a NetworkPolicy; none: nobody beside the operator.
    pub metrics_from: Vec<serde_json::Value>,
    /// Where KEDA's questions are answered while this process leads; none: nowhere.
    pub scaler: Option<SocketAddr>,
    /// Where KEDA asks: host and port of the Service in front of it; none: versions are not scaled by requests.
    pub scaler_address: Option<String>,
    /// Name of the Lease by which one leads.
    pub lease_name: String,
    /// How long a leader that is not heard of is waited for.
    pub lease: Duration,
    /// How long a canary goes on without the operator.
    pub canary_lease: Duration,
    /// Objects of a kind that are looked at at once.
    pub concurrency: u16,
    /// Makes runs' plans.
    pub plan: PlanRun,
}

#[cfg(test)]
impl Settings {
    /// Of an operator of tests.
    pub(crate) fn of_tests() -> Self {
        Self {
            identity: "one".to_owned(),
            namespace: "fairway-system".to_owned(),
            watch: Vec::new(),
            registry: None,
            image: "fairway:test".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            admin: ([127, 0, 0, 1], 0).into(),
            metrics: ([127, 0, 0, 1], 0).into(),
            metrics_from: Vec::new(),
            scaler: None,
            scaler_address: None,
            lease_name: "fairway".to_owned(),
            lease: Duration::from_secs(15),
            canary_lease: Duration::from_secs(30),
            concurrency: 1,
            plan: |_, _| Ok(serde_json::Value::Null),
        }
    }
}
