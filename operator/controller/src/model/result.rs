//! What a trainer leaves in the bucket: what became of its work, before anybody has registered it.

use std::collections::{BTreeMap, BTreeSet};

use fairway_registry::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `runs/<run>/result.json`, written once, by the trainer: how it ended. Whoever may write to the registry's log makes a
/// version and an outcome of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "end")]
pub enum TrainResult {
    /// The gates passed, and the bundle is in the bucket under its digest, unregistered.
    Uploaded {
        /// The tree's.
        digest: Digest,
        /// What was measured on the holdout.
        metrics: BTreeMap<String, f64>,
        /// Words for people and selectors.
        labels: BTreeMap<String, String>,
        /// Kinds of files in it that must be declared.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        kinds: BTreeSet<String>,
        /// Where it comes from; the same is in the tree.
        provenance: Value,
    },
    /// A gate of the evaluation said no.
    Rejected {
        /// Why.
        why: String,
    },
    /// The data were refused.
    DataRefused {
        /// Condition reason (`DataStale`, `TooFewRows`, …).
        code: String,
        /// Why.
        why: String,
    },
    /// It failed, and would fail again.
    Failed {
        /// Why.
        why: String,
    },
    /// It took longer than its plan allows.
    TimedOut {
        /// How long that is.
        why: String,
    },
}

impl TrainResult {
    /// For people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Uploaded { digest, .. } => format!("uploaded {digest}, to be registered"),
            Self::Rejected { why } => format!("rejected: {why}"),
            Self::DataRefused { code, why } => format!("data refused ({code}): {why}"),
            Self::Failed { why } => format!("failed: {why}"),
            Self::TimedOut { why } => format!("timed out: {why}"),
        }
    }
}
