//! When to train again, how, and what holds it back. Manifests become these in `fairway-api`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AdmissionPolicy;
use crate::schedule::Cron;

/// When to train again, how, and what holds it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelPolicy {
    /// What a version must show before it may serve.
    pub admission: AdmissionPolicy,
    /// How a run trains.
    #[serde(default)]
    pub run: RunPolicy,
    /// Effect floor of the population stability index.
    pub drift_psi: f64,
    /// Requests are assessed for drift over windows at least so long.
    #[serde(default = "day")]
    pub drift_window: Duration,
    /// What to do when the champion earns less than popularity.
    pub degradation: Degradation,
    /// Length of a degradation period: the reward's horizon, at least a week.
    pub period: Duration,
    /// Fixed times, for those who must.
    #[serde(default)]
    pub schedule: Option<Cron>,
    /// New rows as a share of those that the champion was trained on, from which a run is asked for.
    #[serde(default)]
    pub new_data: Option<f64>,
    /// A version older than this is replaced, whatever the monitors say.
    pub max_age: Option<Duration>,
    /// So long before the deadline of an erasure a run is asked for: guards, training and rollout need time as well.
    #[serde(default)]
    pub erasure_lead: Duration,
    /// Pause after a run has ended.
    pub cooldown: Duration,
    /// Quiet time after a rollout of this model has ended: what a canary did to the traffic must leave the monitors.
    #[serde(default)]
    pub after_rollout: Duration,
    /// How long feedback may take: a champion's rewards are mature this long after its promotion.
    #[serde(default)]
    pub reward_within: Duration,
    /// At most so many automatic runs start …
    pub budget_runs: u32,
    /// … in any period of this length.
    pub budget_per: Duration,
    /// Candidates rejected or rolled back in a row, after which automation stops.
    pub breaker: u32,
    /// After so long without another rejection one single run is tried behind the open breaker. `None`: only a person
    /// closes it.
    #[serde(default)]
    pub half_open_after: Option<Duration>,
    /// A run that takes longer has failed.
    pub run_deadline: Duration,
    /// How names of its own runs begin: where runs of several models have one space of names, with the model's.
    #[serde(default)]
    pub run_prefix: String,
    /// No run starts, whoever asks.
    #[serde(default)]
    pub suspended: bool,
}

/// A day: shorter windows would take the hours of the day for drift.
fn day() -> Duration {
    Duration::from_secs(86_400)
}

/// How a run trains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunPolicy {
    /// From nothing, or from the champion's weights.
    pub mode: Mode,
    /// How far back a run looks that drift asked for; `None`: as far as any other. What users wanted before they
    /// changed says little about what they want now.
    pub history_after_drift: Option<Duration>,
    /// What a run is made from and how, in short: the manifest's data and trainer. When a person changes it, a run that came
    /// to nothing before holds back no other. Empty: that is not known.
    pub recipe: String,
}

/// Where a run starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// From nothing.
    #[default]
    Full,
    /// From the champion's weights, where that is sound.
    #[serde(rename_all = "camelCase")]
    WarmStart {
        /// Every so many-th run starts from nothing all the same, so that no mistake is handed on for ever.
        full_every: u32,
    },
}

/// What to do when the champion is worse than popularity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Degradation {
    /// Do not look.
    Ignore,
    /// Train a successor.
    Retrain,
    /// Serve popularity until a successor is there, and train one.
    ServeBaselineAndRetrain,
}
