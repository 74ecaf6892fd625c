//! How a model is trained: family or image, mode, what a job asks of the cluster.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Failures, RuntimeRef};
use crate::values::Duration;
use crate::workload::{EnvVar, PodTemplate, Resources, is_default};

/// How to train: exactly one of `builtin` and `container`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.builtin) != has(self.container)", "message": "name exactly one of builtin and container"
}]))]
pub struct Trainer {
    /// A family that Fairway trains itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// An image that trains with any framework and writes a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerTrainer>,
    /// Full trains from nothing, WarmStart from the champion's weights. What asks for a run matters too: a degraded
    /// champion and an erasure are always answered by a run from nothing.
    #[serde(default)]
    pub mode: TrainingMode,
    /// With WarmStart: every so many-th run trains from nothing all the same, so that no mistake is handed on for ever.
    #[serde(default = "default_full_every")]
    #[schemars(range(min = 1, max = 100))]
    pub full_every: u32,
    /// A run that takes longer has failed.
    #[serde(default = "default_deadline")]
    pub deadline: Duration,
    /// What a training job asks of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Kueue queue that training jobs wait in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub queue_name: Option<String>,
    /// What runs training jobs instead of plain Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_ref: Option<RuntimeRef>,
    /// What becomes of a training job that fails.
    #[serde(default)]
    pub failures: Failures,
    /// What is added to the pods of training jobs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_template: PodTemplate,
}

fn default_full_every() -> u32 {
    5
}

fn default_deadline() -> Duration {
    Duration::hours(1)
}

/// A family that Fairway trains itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Builtin {
    /// Which family.
    pub family: Family,
    /// Its parameters by name, as text: `{regularization: "200"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters")]
    pub parameters: BTreeMap<String, String>,
}

fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 256 }
    })
}

/// Families of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// What sold lately.
    Popularity,
    /// A linear item-to-item model in closed form.
    Ease,
    /// Two neural towers, one for users, one for items.
    TwoTower,
}

impl Family {
    /// As manifests and bundles name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Popularity => "popularity",
            Self::Ease => "ease",
            Self::TwoTower => "two-tower",
        }
    }
}

/// An image that trains with any framework: it gets the SQL's output and features as Parquet and writes a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerTrainer {
    /// The image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,
    /// Arguments of its entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Its environment, beside what Fairway says there about the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
}

/// Where a training run starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrainingMode {
    /// From nothing.
    #[default]
    Full,
    /// From the champion's weights.
    WarmStart,
}
