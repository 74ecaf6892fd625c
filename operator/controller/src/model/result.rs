//! What a trainer leaves in the bucket: what became of its work, before anybody has registered it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `runs/<run>/result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "end")]
pub(super) enum TrainResult {
    /// A version passed the gates, and its tree is in the bucket.
    Uploaded {
        /// Digest of the tree.
        digest: String,
        /// What was measured.
        #[serde(default)]
        metrics: BTreeMap<String, f64>,
        /// Words for people and selectors.
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
    /// A gate of the evaluation said no.
    Rejected {
        /// Why.
        why: String,
    },
    /// The data were refused.
    DataRefused {
        /// Condition reason.
        code: String,
        /// Why.
        why: String,
    },
    /// It failed, and would fail again.
    Failed {
        /// Why.
        why: String,
    },
}
