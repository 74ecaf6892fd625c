//! What is known about an experiment now. Observations for people and programs: nothing is decided by them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::{Condition, conditions, time};

/// What is known about an experiment now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelExperimentStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When its first user came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub started: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub ended: Option<Time>,
    /// How it ended: Winner, NoArmLeft, Inconclusive, SampleRatioMismatch, Stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub result: Option<String>,
    /// The arm that is better than control.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub winner: Option<String>,
    /// What each arm has come to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub arms: Vec<ArmStatus>,
    /// Progressing, Suspended, Refused (what the manifest asks for and cannot have), Complete, SampleRatioMismatch.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// What an arm has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ArmStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Digest of the version that it was started with; none of the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// Users seen in it.
    pub users: i64,
    /// Requests assigned to it.
    pub requests: i64,
    /// The goal with its error, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub value: Option<String>,
    /// What is proved: Better, Worse, Undecided, or why it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub verdict: Option<String>,
}
