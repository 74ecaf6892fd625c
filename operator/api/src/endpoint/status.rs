//! What is known about an endpoint now. Observations for people and programs: nothing is decided by them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::{Condition, conditions, time};

/// What is known about an endpoint now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelEndpointStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it answers, within the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// Model servers of all versions together, as `/scale` reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Model servers that are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Labels of the model servers' pods, as a selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// Generation of the route in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_generation: Option<i64>,
    /// The trusted version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub stable: Option<String>,
    /// Digest of the trusted version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub stable_digest: Option<String>,
    /// The version on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub canary: Option<String>,
    /// Digest of the version on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub canary_digest: Option<String>,
    /// Share of users on the version on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub weight: Option<String>,
    /// How far the rollout is, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutProgress>,
    /// When the operator looks again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub next_look: Option<Time>,
    /// The last request of a person that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_request: Option<RequestStatus>,
    /// Ready, Progressing, Paused, Degraded, RolledBack, TelemetryMissing, EvidenceFeasible, Deleted.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// How far a rollout is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutProgress {
    /// The step, from 1; 0 before any user, and one more than `steps` during the bake.
    pub step: i32,
    /// How many steps there are.
    pub steps: i32,
    /// When the first user came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub started: Option<Time>,
    /// Since when the weight is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub step_started: Option<Time>,
    /// Requests that the version on trial has answered at this weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<i64>,
}

/// What became of a person's request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestStatus {
    /// Which request.
    #[schemars(length(max = 64))]
    pub id: String,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub answered: Option<Time>,
    /// What was done, or why nothing was.
    #[schemars(length(max = 16))]
    pub reasons: Vec<RequestReason>,
}

/// One reason, for programs and people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestReason {
    /// For programs.
    #[schemars(length(max = 128))]
    pub code: String,
    /// For people.
    #[schemars(length(max = 4096))]
    pub message: String,
}
