//! The kind `TrainingRun`: one attempt, made by the operator, CI or a person. Its name is the idempotency key, nothing of its
//! spec changes but that it can be cancelled, and terminal means terminal.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::status::{Condition, conditions, time};
use crate::workload::is_default;

/// The annotation of a TrainingRun that says who asked for it, as the API server knows them. The chart's admission policy asks
/// for it where versions need approvals: nobody approves what they asked for.
pub const REQUESTED_BY_ANNOTATION: &str = "fairway.dev/requested-by";

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
#[kube(printcolumn(name = "Percent", type_ = "integer", json_path = ".status.progress.percent"))]
#[kube(printcolumn(name = "Left", type_ = "string", json_path = ".status.progress.timeLeft"))]
#[kube(printcolumn(name = "Version", type_ = "string", json_path = ".status.version"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.model == oldSelf.model && self.reason == oldSelf.reason && self.force == oldSelf.force",
    "message": "a run is history: make a new one instead of changing it"
}, {
    "rule": "!(has(oldSelf.cancel) && oldSelf.cancel) || has(self.cancel) && self.cancel",
    "message": "what was cancelled stays cancelled: make a new run",
    "fieldPath": ".cancel"
}]))]
pub struct TrainingRunSpec {
    /// The model to train, of the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub model: String,
    /// Why it was started.
    #[serde(default)]
    pub reason: RunReason,
    /// Whether cooldown, budget, breaker and a running rollout are passed over. `suspend` and the data checks never are.
    #[serde(default)]
    pub force: bool,
    /// Ends the run where it is. The only field that can be changed, and only to true.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cancel: bool,
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
    /// When its job first ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub start_time: Option<Time>,
    /// When it ended, however it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub completion_time: Option<Time>,
    /// How far it is, as the trainer says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The trainer's numbers, as text: `{loss: "0.31"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "metrics")]
    pub metrics: BTreeMap<String, String>,
    /// Name of the job that trains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub job: Option<String>,
    /// How its logs are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub logs: Option<String>,
    /// How often it was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// Number of the version that it registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// Digest of the version that it registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// Complete, Failed, Rejected, Suppressed, Queued. Of the first four the first that is true stays true.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

impl TrainingRun {
    /// The condition by which the run is over; nothing while it is not.
    #[must_use]
    pub fn end(&self) -> Option<&Condition> {
        const OVER: [&str; 4] = ["Complete", "Failed", "Rejected", "Suppressed"];
        let mut conditions = self.status.iter().flat_map(|status| &status.conditions);
        conditions.find(|one| one.status == "True" && OVER.contains(&one.type_.as_str()))
    }
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Part that is done, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// What it is at: `epoch 3 of 10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub step: Option<String>,
    /// About how long it still takes: `12m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub time_left: Option<String>,
}

fn metrics(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 64 }
    })
}
