//! What is derived from the data for the model: features of users and items.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Duration;

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
