//! How a model is trained: family, features, mode, what a job asks of the cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Duration, Quantity};

/// What is derived from the data for the model: one definition, used by trainer and server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Features {
    /// Features of the user.
    #[schemars(length(max = 64))]
    pub user: Vec<UserFeature>,
    /// Features of the item.
    #[schemars(length(max = 64))]
    pub item: Vec<ItemFeature>,
}

/// A feature of the user: a name and either `category` or `recency`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.category) != has(self.recency)", "message": "name exactly one of category and recency"
}]))]
pub struct UserFeature {
    /// Name of the feature; for a category the column that it is read from.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// One of a set of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Time since the user was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recency: Option<Recency>,
}

/// A feature of the item: a name and one of `text`, `category` and `rolling`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.text), has(self.category), has(self.rolling)].filter(x, x).size() == 1",
    "message": "name exactly one of text, category and rolling"
}]))]
pub struct ItemFeature {
    /// Name of the feature; for text and category the column that it is read from.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Words, hashed into buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextFeature>,
    /// One of a set of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Decayed count of interactions in a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<Rolling>,
}

/// One of a set of values. Has no settings: written `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Category {}

/// Time since the user was last seen, decayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recency {
    /// Time in which the feature's value halves.
    pub half_life: Duration,
}

/// Words, hashed into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextFeature {
    /// Number of buckets.
    #[serde(default = "default_buckets")]
    #[schemars(range(min = 2, max = 1_048_576))]
    pub buckets: u32,
}

fn default_buckets() -> u32 {
    4096
}

/// Decayed count of interactions in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rolling {
    /// Length of the window.
    pub window: Duration,
    /// Time in which an interaction's weight halves.
    pub decay: Duration,
}

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
    #[schemars(length(min = 1, max = 253))]
    pub queue_name: Option<String>,
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
    pub parameters: BTreeMap<String, String>,
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
    #[schemars(length(max = 128))]
    pub args: Vec<String>,
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

/// What a training job asks of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// Processors, such as `"2"` or `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory, such as `4Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}
