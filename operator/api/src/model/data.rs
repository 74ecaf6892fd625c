//! Where a model's data comes from and what must hold before anything is trained on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Duration, Number, Share};

/// Where a model's data comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Data {
    /// Who consumed what, and when. The SQL must yield `user_id`, `item_id` and `time`; `weight` and `segment` if there are any.
    pub interactions: Source,
    /// What is known about items, for item features. The SQL must yield `item_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Source>,
    /// How far back a training run looks.
    #[serde(default = "default_history")]
    pub history: Duration,
    /// Age of the newest interaction beyond which nothing is trained. Off by default: a static export is never fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Duration>,
    /// What must hold on the SQL's output before anything is trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub checks: Vec<Check>,
}

fn default_history() -> Duration {
    Duration::days(180)
}

/// Files and the SELECT that makes rows of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A file, or a folder of files that ends in `/`: Parquet, CSV or JSON lines, by extension.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// One SELECT over the table `interactions` (or `items`) into the columns that are asked for.
    #[schemars(length(min = 1, max = 65536))]
    pub sql: String,
}

/// One demand on the data: `{minRows: N}`, `{column: C, max: N}` or `{column: C, nullRatio: 5%}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.minRows) ? !has(self.column) && !has(self.max) && !has(self.nullRatio) : has(self.column) && has(self.max) != has(self.nullRatio)",
    "message": "a check is {minRows: N}, {column: C, max: N} or {column: C, nullRatio: 5%}"
}]))]
pub struct Check {
    /// Fewest rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub min_rows: Option<u64>,
    /// The column that `max` or `nullRatio` speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub column: Option<String>,
    /// Largest value of the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// Largest share of rows in which the column is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_ratio: Option<Share>,
}
