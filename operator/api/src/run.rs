//! The kind `TrainingRun`: one attempt, made by the operator, CI or a person. Its name is the idempotency key, its spec never
//! changes, and terminal means terminal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::{Condition, conditions};

/// One attempt to train a model. Its name is the idempotency key.
#[derive(Clone, Debug, PartialEq, kube::CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "TrainingRun",
    plural = "trainingruns",
    shortname = "fwr",
    category = "fairway",
    namespaced,
    status = "TrainingRunStatus",
    derive = "PartialEq",
    doc = "One attempt to train a model. Its name is the idempotency key."
)]
#[kube(printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"))]
#[kube(printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"))]
#[kube(printcolumn(
    name = "Complete",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Complete\")].status"
))]
#[kube(printcolumn(name = "Version", type_ = "string", json_path = ".status.version"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self == oldSelf", "message": "a run is history: make a new one instead of changing it"
}]))]
pub struct TrainingRunSpec {
    /// The model to train, of the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub model: String,
    /// Why it was started.
    #[serde(default)]
    pub reason: RunReason,
    /// Whether cooldown, budget, breaker and a running rollout are passed over. The data checks never are.
    #[serde(default)]
    pub force: bool,
}

/// Why a run was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunReason {
    /// A person asked.
    #[default]
    Manual,
    /// A pipeline asked.
    CI,
    /// There was no version yet.
    Initial,
    /// The requests, or what users consume, drifted.
    Drift,
    /// The model's own scores drifted.
    PredictionDrift,
    /// The champion earned less than the baseline.
    Degradation,
    /// Much of the data was new.
    NewData,
    /// It was time.
    Schedule,
    /// The version was too old.
    MaxAge,
    /// An erasure had to be honoured by its deadline.
    Erasure,
}

/// What is known about a run now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainingRunStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of the version that it registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Digest of the version that it registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Complete, Failed, Rejected, Queued.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
