//! What a training run is asked to do, resolved once and kept as `runs/<run>/plan.json`.
//!
//! What it does not do: it reads no manifest; the controller and the embedded runtime make plans of manifests.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_model::FeatureDefinitions;
use jiff::Timestamp;
use jiff::fmt::serde::unsigned_duration::friendly::compact;
use serde::{Deserialize, Serialize};

/// Files and the SELECT that makes rows of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A file or a folder of Parquet, CSV or JSON lines: a path (relative to the manifests) or a `file://`, `s3://`,
    /// `gs://`, `az://`, `http://` or `https://` URL.
    pub url: String,
    /// One SELECT over the table `interactions` (or `items`).
    pub sql: String,
}

/// A demand on the SQL's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Check {
    /// Fewest usable rows in the window of history.
    MinRows(u64),
    /// No value of the column may be greater. Nulls are not compared.
    Max {
        /// A column of the SQL's output.
        column: String,
        /// The greatest allowed value.
        max: f64,
    },
    /// At most this share of rows may have no value in the column.
    NullRatio {
        /// A column of the SQL's output.
        column: String,
        /// The greatest allowed share, 0 to 1.
        max: f64,
    },
}

/// Where interactions come from and what must hold before anything is trained on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataSpec {
    /// Who consumed what, and when: `user_id`, `item_id`, `time`, and `weight` and `segment` if there are any.
    pub interactions: Source,
    /// Features of items: `item_id` and any other columns, read as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Source>,
    /// How far back rows are used.
    #[serde(default = "history_default", with = "compact::required")]
    pub history: Duration,
    /// Age of the newest row beyond which the data is stale; `None` accepts any age.
    #[serde(default, with = "compact::optional", skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Duration>,
    /// Further demands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The newest row that an earlier plan of the model saw. Data that ends before it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_newest: Option<Timestamp>,
    /// How long reading may take.
    #[serde(default = "deadline_default", with = "compact::required")]
    pub deadline: Duration,
}

fn history_default() -> Duration {
    Duration::from_secs(180 * 86_400)
}

fn deadline_default() -> Duration {
    Duration::from_secs(600)
}

impl DataSpec {
    /// These interactions with the defaults: 180 days of history, any age, ten minutes to read, no further checks.
    pub fn new(interactions: Source) -> Self {
        Self {
            interactions,
            items: None,
            history: history_default(),
            freshness: None,
            checks: Vec::new(),
            previous_newest: None,
            deadline: deadline_default(),
        }
    }
}

/// One training run. With the same data, the same plan gives the same bundle, byte for byte (same machine and threads).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrainingPlan {
    /// Name of the model.
    pub model: String,
    /// Name of the run, its idempotency key.
    pub run: String,
    /// What caused it, in a sentence.
    pub reason: String,
    /// The same in one word, as a condition or event has it: `Drifted`, `MaxAge`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// Numbers, digests and names that the reason rests on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, serde_json::Value>,
    /// `sha256:…` of the version that serves when the run is planned, beside which the candidate is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<String>,
    /// Whether the fit begins from the champion's weights, where that is sound. Where it is not, the run says why.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warm_start: bool,
    /// Seed of all randomness.
    pub seed: u64,
    /// Where the data comes from.
    pub data: DataSpec,
    /// What is derived from it, in trainer and server alike.
    #[serde(default)]
    pub features: FeatureDefinitions,
    /// `popularity`, `ease` or `two-tower`.
    pub family: String,
    /// The family's parameters by name. Unknown names and values are errors that say what is allowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Length of the holdout: the newest part of the history.
    #[serde(default = "holdout_default", with = "compact::required")]
    pub holdout: Duration,
    /// Whether what is served is fitted again on the whole history after the gates.
    #[serde(default = "yes")]
    pub refit: bool,
    /// The moment of the run: rows from then on do not exist for it.
    pub as_of: Timestamp,
}

fn holdout_default() -> Duration {
    Duration::from_secs(14 * 86_400)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_json_and_defaults_are_the_manifest_s() {
        let text = r#"{
            "model": "m", "run": "r", "reason": "CI", "seed": 7, "family": "ease", "asOf": "2011-12-01T00:00:00Z",
            "data": {"interactions": {"url": "a.csv", "sql": "SELECT 1"}, "freshness": "36h",
                "checks": [{"minRows": 5}, {"max": {"column": "weight", "max": 9.5}}]}
        }"#;
        let plan: TrainingPlan = serde_json::from_str(text).unwrap();
        assert_eq!(plan.holdout, Duration::from_secs(14 * 86_400));
        assert!(plan.refit && !plan.warm_start);
        assert_eq!(plan.data.history, Duration::from_secs(180 * 86_400));
        assert_eq!(plan.data.freshness, Some(Duration::from_secs(36 * 3_600)));
        assert_eq!(plan.data.checks[0], Check::MinRows(5));
        // Plans of before there were these.
        assert_eq!((&plan.trigger, plan.evidence.len(), &plan.champion), (&None, 0, &None));
        let plan = TrainingPlan {
            trigger: Some("Drifted".to_owned()),
            evidence: BTreeMap::from([("psi".to_owned(), serde_json::json!(0.31))]),
            champion: Some("sha256:0".to_owned()),
            ..plan
        };
        let again: TrainingPlan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(again, plan);
        assert!(serde_json::from_str::<TrainingPlan>(&text.replace("\"seed\"", "\"sed\"")).is_err());
    }
}
