//! What is known about a model now. Observations for people and programs: nothing is decided by them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::{Condition, conditions, time};

/// What is known about a model now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version that the alias `champion` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub champion: Option<String>,
    /// Digest of that version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub champion_digest: Option<String>,
    /// The version that the alias `challenger` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub challenger: Option<String>,
    /// Digest of that version: what an approval must name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub challenger_digest: Option<String>,
    /// The run in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub active_run: Option<String>,
    /// The last run that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// When the operator looks again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub next_look: Option<Time>,
    /// Ready, DataReady, SignalFresh, Drifted, RetrainSuppressed, AutomationSuspended, AwaitingApproval, ErasureOverdue.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// A run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastRun {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// How it ended: Complete, Failed, Rejected, or why it never began.
    #[schemars(length(max = 128))]
    pub outcome: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub ended: Option<Time>,
}
