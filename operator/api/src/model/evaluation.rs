//! How a candidate is judged before it meets any user: gates, segments, fairness, speed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Duration, MetricName, Number, Tolerance};

/// How a candidate is judged before it meets any user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Evaluation {
    /// The newest part of the history, kept from the candidate and used to judge it; shorter than half the history.
    pub holdout: Duration,
    /// Whether what is served is trained again on the whole history after the gates have judged the recipe on the holdout.
    pub refit: bool,
    /// Gates that must all pass, at 95 %. Default: recall@20 not shown to be below the champion's, and shown to be above popularity's.
    #[schemars(length(min = 1, max = 32))]
    pub gates: Vec<EvaluationGate>,
    /// How far apart segments of users may be. Without it that is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness: Option<Fairness>,
    /// How fast a version must answer before it may serve. Without it that is not looked at; the rollout's gates are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

impl Default for Evaluation {
    fn default() -> Self {
        let metric = MetricName::RECALL_20;
        let gates = vec![
            EvaluationGate {
                metric,
                versus: Opponent::Champion,
                tolerance: Some(Tolerance::Percent(0.0)),
                min_gain: None,
                segments: SegmentScope::Overall,
                min_count: None,
            },
            EvaluationGate {
                metric,
                versus: Opponent::Popularity,
                tolerance: None,
                min_gain: Some(Tolerance::Absolute(0.0)),
                segments: SegmentScope::Overall,
                min_count: None,
            },
        ];
        Self { holdout: Duration::days(14), refit: true, gates, fairness: None, latency: None }
    }
}

/// One gate of the evaluation: a metric, what it is compared with, and either `tolerance` or `minGain`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.tolerance) != has(self.minGain)", "message": "name exactly one of tolerance and minGain"
}]))]
pub struct EvaluationGate {
    /// The metric with its cut-off: recall, ndcg or coverage at 10, 20 or 50 items.
    pub metric: MetricName,
    /// What the candidate is compared with, on the same holdout.
    pub versus: Opponent,
    /// The candidate may be at most so much worse: it is rejected if it is shown to be worse than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// The candidate must be shown to be at least so much better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_gain: Option<Tolerance>,
    /// Whose metric: Overall is that of all users, Each also that of every segment, so that no group pays for the gain of the others.
    #[serde(default)]
    pub segments: SegmentScope,
    /// With Each: users of the holdout that a segment needs to be judged; smaller ones are judged together. Default: 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_count: Option<u32>,
}

/// Whose metric a gate looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SegmentScope {
    /// That of all users together.
    #[default]
    Overall,
    /// That of all users, and that of each segment.
    Each,
}

/// How far apart segments of users may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fairness {
    /// The metric that should be alike: recall or ndcg at 10, 20 or 50 items.
    pub metric: MetricName,
    /// Greatest difference between two segments, in the metric's own unit. A version is rejected if more is shown.
    pub gap: Number,
    /// Users of the holdout that a segment needs to be compared; smaller ones count together.
    #[serde(default = "default_min_count")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_count: u32,
}

/// Users that make a group, as on live traffic.
pub(super) fn default_min_count() -> u32 {
    500
}

/// How fast a version must answer before it may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Latency {
    /// 95 of 100 golden requests must be answered within this, on the machine that measures.
    pub p95: Duration,
}

/// What a candidate is compared with before any traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Opponent {
    /// The version that serves now; the gate passes if there is none.
    Champion,
    /// What sold lately.
    Popularity,
}
