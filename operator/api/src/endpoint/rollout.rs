//! How a new version meets users: steps, gates, and how it ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Duration, Moment, Share, Tolerance};

/// How a new version meets users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// Steps with growing weights. Default: 5% for 30m, 25% for 1h, 50% for 1h.
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<Step>,
    /// Requests that the version on trial must answer at each weight before the next step.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_requests: u64,
    /// Proof of harm beyond a gate's tolerance rolls back. Default: errors 10%, reward 2%.
    #[schemars(length(max = 8))]
    pub gates: Vec<Gate>,
    /// Whether promotion asks for proof of non-inferiority on every gate, instead of only for no proof of harm.
    pub require_proof: bool,
    /// Chance of rolling back a version that is as good, over the whole rollout and however often one looks.
    pub false_alarm_rate: Share,
    /// A rollout, and a pause, ends after this; longer than all holds together.
    pub max_duration: Duration,
    /// What happens when the time is over and `requireProof` is not met.
    pub on_inconclusive: OnInconclusive,
    /// What happens while routers report nothing.
    pub on_missing_telemetry: OnMissingTelemetry,
    /// What happens when the time is over and too few requests were answered to judge at all. Never a promotion.
    pub on_low_traffic: OnLowTraffic,
    /// Times in which no rollout starts, no weight grows and nothing is promoted. Harm still rolls back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub freezes: Vec<Freeze>,
    /// Time after promotion in which the former version is kept and harm reverts.
    pub bake: Duration,
}

impl Default for Rollout {
    fn default() -> Self {
        let step = |weight, hold| Step { weight, hold, segments: Vec::new() };
        Self {
            steps: vec![step(5, Duration::minutes(30)), step(25, Duration::hours(1)), step(50, Duration::hours(1))],
            min_requests: 500,
            gates: vec![
                Gate::of(GateMetric::Errors, Tolerance::Percent(10.0)),
                Gate::of(GateMetric::Reward, Tolerance::Percent(2.0)),
            ],
            require_proof: false,
            false_alarm_rate: Share::percent(5),
            max_duration: Duration::days(3),
            on_inconclusive: OnInconclusive::Pause,
            on_missing_telemetry: OnMissingTelemetry::Hold,
            on_low_traffic: OnLowTraffic::Pause,
            freezes: Vec::new(),
            bake: Duration::hours(2),
        }
    }
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Percentage of the eligible users, a whole number.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
    /// Least time at this weight.
    pub hold: Duration,
    /// Segments whose users are eligible. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    pub segments: Vec<String>,
}

/// One gate of a rollout: a metric with its tolerance, or `{shadow: true}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.metric) != has(self.shadow)", "message": "a gate has a metric, or is {shadow: true}" },
    {
        "rule": "!has(self.metric) || (self.metric == 'slow') == has(self.over)",
        "message": "the gate slow needs over, and no other gate has it"
    }
]))]
pub struct Gate {
    /// What is compared between the version on trial and the stable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<GateMetric>,
    /// For `slow`: an answer that takes longer is slow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
    /// How much worse still counts as not worse. Default: errors 10%, slow 20%, reward 2%. Only reward may be absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// Whether the version on trial answers the stable one's requests too, unseen: what it cannot answer is evidence for the gate on
    /// errors before anybody has met it, and reward is compared in pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
    /// For `prometheus`: the query. Not supported in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub query: Option<String>,
    /// For `prometheus`: the largest value that is allowed. Not supported in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub max: Option<String>,
}

impl Gate {
    fn of(metric: GateMetric, tolerance: Tolerance) -> Self {
        Self { metric: Some(metric), tolerance: Some(tolerance), ..Self::default() }
    }
}

/// What is compared between the version on trial and the stable one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateMetric {
    /// Requests that the version did not answer.
    Errors,
    /// Requests answered later than `over`.
    Slow,
    /// Mean reward of matured exposures.
    Reward,
    /// A query against Prometheus. Not supported in this version.
    Prometheus,
}

impl GateMetric {
    /// As manifests name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Slow => "slow",
            Self::Reward => "reward",
            Self::Prometheus => "prometheus",
        }
    }
}

/// What happens when the time is over and nothing is proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnInconclusive {
    /// Freeze and wait for a person, for at most another `maxDuration`; then roll back.
    #[default]
    Pause,
    /// Promote.
    Promote,
    /// Roll back.
    Rollback,
}

/// What happens while routers report nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnMissingTelemetry {
    /// Keep the weight, and promote nothing.
    #[default]
    Hold,
    /// Take no notice: what was reported before may be enough.
    Continue,
    /// Take the version on trial back.
    Rollback,
}

/// What happens when the time is over and the version on trial has answered too few requests to be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnLowTraffic {
    /// Freeze and wait for a person, for at most another `maxDuration`; then roll back.
    #[default]
    Pause,
    /// Roll back.
    Rollback,
}

/// A time in which nothing goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// Its first moment: once (`2026-11-27T00:00:00Z`) or every week (`Fri 18:00`), in UTC.
    pub from: Moment,
    /// The first moment after it, written in the same way.
    pub until: Moment,
}
