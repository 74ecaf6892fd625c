//! When a model is trained again, and what holds it back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Duration, Number, Share};

/// When to train again, and what holds it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retrain {
    /// Train when the requests no longer look like those that the version was judged on.
    pub drift: Drift,
    /// Act when the champion earns less than popularity would, in 2 of 3 periods (the reward's horizon, at least 7 days).
    pub degradation: DegradationRule,
    /// Train at fixed times, for those who must. What holds other runs back holds these back too, until it is over; times
    /// that were missed come once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Train when so much is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_data: Option<NewData>,
    /// Train when the version is older than this, whatever the monitors say: a silent monitor may not hide a rotten model.
    pub max_age: Duration,
    /// Pause after a run has ended.
    pub cooldown: Duration,
    /// Pause after a rollout of this model has ended: what a canary did to the traffic must leave the monitors. Default: the
    /// cooldown, at most 1d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_rollout: Option<Duration>,
    /// Most automatic runs in any period.
    pub budget: Budget,
    /// When automation stops and waits for a person.
    pub breaker: Breaker,
}

impl Default for Retrain {
    fn default() -> Self {
        Self {
            drift: Drift::default(),
            degradation: DegradationRule::default(),
            schedule: None,
            new_data: None,
            max_age: Duration::days(60),
            cooldown: Duration::days(7),
            after_rollout: None,
            budget: Budget::default(),
            breaker: Breaker::default(),
        }
    }
}

/// When requests count as drifted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drift {
    /// Smallest population stability index that matters; chance and the number of features are handled beside it.
    pub psi: Number,
    /// Requests are assessed over windows at least so long. Shorter ones than a day take the hours of the day for drift where
    /// users differ by the hour; a feed whose tastes turn within hours may need them all the same.
    pub window: Duration,
    /// How far back a run looks that drift asked for. Default: as far as any other (data.history).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Duration>,
}

impl Default for Drift {
    fn default() -> Self {
        Self { psi: Number::QUARTER, window: Duration::days(1), history: None }
    }
}

/// What to do when the champion earns less than the baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DegradationRule {
    /// The baseline, compared in pairs on what users then consumed.
    pub versus: Rival,
    /// What to do.
    pub then: DegradationAction,
}

/// A baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rival {
    /// What sold lately.
    #[default]
    Popularity,
}

/// What to do when the champion earns less than the baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DegradationAction {
    /// Do not look.
    Ignore,
    /// Train a successor.
    Retrain,
    /// Serve the baseline until a successor is there, and train one.
    #[default]
    ServeBaselineAndRetrain,
}

/// Fixed times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day of month, month, day of week, in UTC: `0 3 * * 1` is Monday at 03:00. Both days given: one of them
    /// is enough.
    #[schemars(length(min = 9, max = 128))]
    pub cron: String,
}

/// How much new data asks for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewData {
    /// Rows newer than the champion's training, as a share of the rows that it was trained on.
    pub share: Share,
}

/// Most automatic runs in any period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Budget {
    /// Number of runs.
    #[schemars(range(min = 1, max = 1000))]
    pub runs: u32,
    /// Length of the period.
    pub per: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { runs: 6, per: Duration::days(30) }
    }
}

/// When automation stops and waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Breaker {
    /// Candidates rejected or rolled back in a row.
    #[schemars(range(min = 1, max = 100))]
    pub rejections: u32,
    /// After so long without another rejection a single run is tried: promoted it closes the breaker, rejected it opens
    /// it for as long again.
    pub half_open_after: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { rejections: 3, half_open_after: Duration::days(30) }
    }
}
