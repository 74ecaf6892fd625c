//! What a version must show before it may serve: metrics, gates, approvals. Only what is asked; whether it is shown is
//! decided in [`crate::admission`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Margin;

/// An offline metric with its cut-off, for example recall@20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Which.
    pub kind: MetricKind,
    /// At how many items.
    pub k: u16,
}

/// Offline metrics; definitions are in `fairway-trainer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricKind {
    /// Hits over min(k, targets).
    Recall,
    /// Normalized discounted cumulative gain.
    Ndcg,
    /// Share of the catalogue that anybody is shown.
    Coverage,
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            MetricKind::Recall => "recall",
            MetricKind::Ndcg => "ndcg",
            MetricKind::Coverage => "coverage",
        };
        write!(f, "{kind}@{}", self.k)
    }
}

/// What a candidate is compared with before any traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Versus {
    /// The version that serves now, scored on the same holdout. Passes if there is none.
    Champion,
    /// What sold lately.
    Popularity,
}

/// A gate of the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationGate {
    /// The metric.
    pub metric: Metric,
    /// The other side.
    pub versus: Versus,
    /// What is asked.
    pub demand: Demand,
    /// Of everybody together, or of each segment.
    #[serde(default)]
    pub segments: Segments,
}

/// Whose metric a gate of the evaluation looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Segments {
    /// That of all users of the holdout.
    #[default]
    Overall,
    /// That of all users, and that of each segment: a model may not pay for its gain with a group.
    #[serde(rename_all = "camelCase")]
    Each {
        /// Users of the holdout that a segment needs to be judged; smaller ones are judged together, as `other`.
        min_count: u64,
    },
}

/// What a gate of the evaluation asks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Demand {
    /// At most so much worse.
    AtMostWorse(Margin),
    /// At least so much better.
    AtLeastBetter(Margin),
}

/// How far apart segments may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FairnessGate {
    /// The metric that should be alike.
    pub metric: Metric,
    /// Greatest difference between two segments, in the metric's own unit. More must be shown to be refused.
    pub gap: f64,
    /// Users of the holdout that a segment needs to be compared; smaller ones count together, as `other`.
    pub min_count: u64,
}

/// What a version must show before it may serve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AdmissionPolicy {
    /// Gates of the evaluation; all must pass.
    pub gates: Vec<EvaluationGate>,
    /// How far apart segments may be, if that is asked.
    pub fairness: Option<FairnessGate>,
    /// A version needs a signature that was verified.
    pub signature: bool,
    /// 95 of 100 golden requests must be answered within this, on the machine that measures.
    pub latency_p95: Option<Duration>,
    /// People who must approve the digest. The one who made it does not count.
    pub approvals: u32,
    /// How long an approval stands; `None`: for ever. Whoever hands in the words sets when each runs out; a no never does.
    pub approval_valid_for: Option<Duration>,
}
