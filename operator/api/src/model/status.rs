//! What is known about a model now. Observations for people and programs: nothing is decided by them.

use std::collections::BTreeMap;

use fairway_core::triggers::{DriftReport, FeatureDrift};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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
    /// Who asked for the run that made a version, by its digest with `-` for `:`, where somebody did: they cannot approve it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "people")]
    pub producers: BTreeMap<String, String>,
    /// How far what goes in and comes out has moved since the champion was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// When the operator looks again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub next_look: Option<Time>,
    /// Ready, DataReady, SignalFresh, Drifted, RetrainSuppressed, AutomationSuspended, AwaitingApproval, ErasureOverdue;
    /// Degraded, Deleted.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// Names by digest.
fn people(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 200,
        "additionalProperties": { "type": "string", "maxLength": 1024 }
    })
}

/// How far what goes in and comes out has moved since the champion was trained, by the last window that was judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DriftStatus {
    /// Whether it is enough to act on, if it lasts.
    pub alarm: bool,
    /// In words.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Each feature, and what was shown and consumed.
    #[schemars(length(max = 64))]
    pub features: Vec<FeatureStatus>,
}

/// How far one feature has moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FeatureStatus {
    /// What people call it.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Population stability index.
    #[schemars(length(max = 32))]
    pub psi: String,
    /// The index that noise alone can give with so many events.
    #[schemars(length(max = 32))]
    pub noise_floor: String,
    /// Events since the champion came.
    pub events: i64,
    /// Far enough to act on, above noise, and significant.
    pub moved: bool,
}

/// Most features that a status tells of.
const FEATURES_MAX: usize = 64;

impl From<&DriftReport> for DriftStatus {
    fn from(report: &DriftReport) -> Self {
        let feature = |one: &FeatureDrift| FeatureStatus {
            name: one.name.chars().take(253).collect(),
            psi: format!("{:.3}", one.psi),
            noise_floor: format!("{:.3}", one.noise_floor),
            events: i64::try_from(one.current_n).unwrap_or(i64::MAX),
            moved: one.alarming,
        };
        Self {
            alarm: report.alarm,
            message: report.sentence().chars().take(1024).collect(),
            features: report.features.iter().take(FEATURES_MAX).map(feature).collect(),
        }
    }
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
