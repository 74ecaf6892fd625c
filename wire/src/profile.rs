//! The profile of a version: how its inputs and outputs were distributed when it was judged. Drift is measured
//! against it, on bins frozen here.

use std::collections::BTreeMap;

use fairway_stats::{Bins, Histogram};
use serde::{Deserialize, Serialize};

/// One feature's bins and reference counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureProfile {
    /// The frozen bins.
    pub bins: Bins,
    /// Reference counts on them, from the evaluation's holdout.
    pub reference: Histogram,
    /// True for the model's own output (its best score): drift there alarms alone.
    #[serde(default)]
    pub is_score: bool,
}

/// `profile.json` of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// By feature name: `score`, `historyLength`, `segment`.
    pub features: BTreeMap<String, FeatureProfile>,
    /// Consumed items, binned by their popularity rank at training. The last bin but one holds items that the version
    /// does not know, the last one is never used.
    pub consumed: Option<FeatureProfile>,
    /// Rank bin of each known item, in the bundle's item order: which bin of `consumed` an item falls in.
    #[serde(default)]
    pub consumed_bin: Vec<u8>,
}
