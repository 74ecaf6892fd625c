//! Should a successor be trained? The decision of one model: triggers ask, guards hold back, and one run at a time.
//!
//! Here are what is seen, what is remembered and what must be done; [`decide`] is in a file of its own. Which version may
//! serve is not decided here but in [`crate::admission`] and [`crate::endpoint`].

mod conditions;
mod decide;

use std::collections::BTreeSet;
use std::time::Duration;

pub use decide::decide;
use fairway_wire::{Profile, Target, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::endpoint::RolloutResult;
use crate::plan::Reason;
use crate::triggers::{DegradationMonitor, DriftMonitor, QualityMonitor, Tick};

/// What a model remembers between looks; it is stored with each plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelStatus {
    /// The active run (invariant I4: at most one).
    pub run: Option<ActiveRun>,
    /// Runs so far; names the next one.
    pub runs: u64,
    /// Starts of automatic runs within the budget's period. Bounded.
    pub automatic_runs: Vec<Timestamp>,
    /// No automatic run before this.
    pub cooldown_until: Option<Timestamp>,
    /// Candidates rejected or rolled back in a row.
    pub rejections: u32,
    /// When the last one was.
    pub last_rejection: Option<Timestamp>,
    /// When a run was last tried behind the open breaker.
    pub trial: Option<Timestamp>,
    /// Runs in a row that began from a champion's weights.
    pub warm_runs: u32,
    /// Up to when fixed times have been answered.
    pub tick: Option<Tick>,
    /// The end of the newest window: without news nothing is known about drift and reward.
    pub signal: Option<Timestamp>,
    /// When a rollout of this model was last seen to end.
    pub rollout_ended: Option<Timestamp>,
    /// The version that the monitors watch.
    pub watched: Option<String>,
    /// Since when: its promotion.
    pub watched_since: Option<Timestamp>,
    /// Faults in the requests' data.
    pub quality: QualityMonitor,
    /// Drift of inputs and outputs.
    pub drift: Option<DriftMonitor>,
    /// Reward against popularity.
    pub degradation: Option<DegradationMonitor>,
    /// The champion is worse than popularity: the endpoint serves the baseline until a successor is there.
    pub serve_baseline: bool,
    /// The trigger that was held back last, and by what.
    pub suppressed: Option<Reason>,
    /// Every trigger that asks and is held back now. Bounded by the kinds of triggers.
    pub held_back: Vec<HeldBack>,
    /// How the last run ended.
    pub last_run: Option<(String, RunEnd)>,
    /// What the last run that was started is made from, as the policy said then.
    pub recipe: String,
    /// Names of runs that have ended: none of them starts again. Bounded; the runs' outcomes in the bucket go back
    /// further.
    pub ended_runs: Vec<String>,
    /// Ends of rollouts that were counted already. Bounded.
    pub counted_rollouts: Vec<String>,
}

impl ModelStatus {
    /// Ends of rollouts that were not counted yet, and what each will be remembered as. A promotion that is taken back in its
    /// bake ends twice, and counts as both.
    pub fn uncounted<'a>(&self, ended: &'a [(String, RolloutResult)]) -> Vec<(String, &'a (String, RolloutResult))> {
        let counted: BTreeSet<&str> = self.counted_rollouts.iter().map(String::as_str).collect();
        let mut new: Vec<(String, &(String, RolloutResult))> = Vec::new();
        for end in ended {
            let name = counted_as(end);
            let is_known = counted.contains(name.as_str()) || counted.contains(former_name(end));
            if !is_known && new.iter().all(|(other, _)| *other != name) {
                new.push((name, end));
            }
        }
        new
    }
}

/// The name under which an end is remembered.
fn counted_as((rollout, result): &(String, RolloutResult)) -> String {
    format!("{rollout}: {result:?}")
}

/// The name that earlier versions remembered: without the endpoint, and whatever the result.
fn former_name((rollout, _): &(String, RolloutResult)) -> &str {
    rollout.rsplit('/').next().unwrap_or(rollout)
}

/// A run in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveRun {
    /// Its name: the idempotency key.
    pub name: String,
    /// What asked for it.
    pub reason: Reason,
    /// Since when.
    pub started: Timestamp,
    /// Asked for by the loop itself, not by a person or CI.
    pub automatic: bool,
    /// How it trains.
    #[serde(default)]
    pub mode: RunMode,
}

/// How a run trains, where that is not the manifest's usual way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunMode {
    /// It begins from the champion's weights.
    pub warm_start: bool,
    /// It looks back only so far; `None`: as far as the manifest says.
    pub history: Option<Duration>,
}

/// A trigger that asks and is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    /// Its code, such as `Drift`.
    pub trigger: String,
    /// By what, and what it asked.
    pub by: Reason,
    /// Since when it has been held back by this.
    pub since: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "end")]
pub enum RunEnd {
    /// A version was registered.
    Registered {
        /// Its number.
        version: u64,
    },
    /// A gate of the evaluation said no.
    Rejected {
        /// Why.
        why: String,
    },
    /// The data were refused: the champion stays, and the run is tried again soon.
    DataRefused {
        /// Condition reason (`DataStale`, `TooFewRows`, …).
        code: String,
        /// Why.
        why: String,
    },
    /// It failed.
    Failed {
        /// Why.
        why: String,
    },
    /// A person cancelled it.
    Cancelled {
        /// Why.
        why: String,
    },
}

impl RunEnd {
    /// Whether it says nothing of the model: the data were refused, or the run failed.
    pub(crate) fn is_unjudged(&self) -> bool {
        matches!(self, Self::DataRefused { .. } | Self::Failed { .. })
    }
}

/// The serving version as the model's loop sees it.
#[derive(Clone, Copy, Debug)]
pub struct Champion<'a> {
    /// Which version.
    pub target: &'a Target,
    /// The newest interaction that it knows.
    pub trained_through: Timestamp,
    /// How its inputs and outputs were distributed.
    pub profile: &'a Profile,
}

/// Rows that the champion was trained on, and rows that have come since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRows {
    /// Rows of its training.
    pub trained_on: u64,
    /// Rows newer than those.
    pub since: u64,
}

/// Erasures that the champion does not honour yet: it was trained on rows that people have asked to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// How many.
    pub pending: u32,
    /// The first deadline among them.
    pub due: Timestamp,
}

/// What a person or CI asks of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verb")]
pub enum ModelRequest {
    /// Start a run under this name.
    Start {
        /// The idempotency key.
        name: String,
        /// For the log: `CI`, a person's name.
        reason: String,
        /// Pass cooldown, budget, breaker and an active rollout; never a suspension or the data checks.
        force: bool,
    },
    /// Stop the active run.
    Cancel {
        /// Its name.
        name: String,
    },
}

/// What is known about the model at this moment.
#[derive(Clone, Debug)]
pub struct ModelObserved<'a> {
    /// What was remembered.
    pub status: &'a ModelStatus,
    /// The version that serves.
    pub champion: Option<Champion<'a>>,
    /// A registered version waits for its rollout, or is in it.
    pub candidate_waiting: bool,
    /// A rollout or bake of this model is in progress.
    pub rollout_active: bool,
    /// A version that has passed everything but waits for people's approval, and what it waits for.
    pub awaiting_approval: Option<&'a Reason>,
    /// What is known to be wrong with the training data (stale, too few rows, a column gone): no run starts on them, not
    /// even a forced one. `None` if nothing is known: each run checks its own data.
    pub data_fault: Option<&'a Reason>,
    /// How much is new in the training data, if somebody has counted.
    pub new_rows: Option<NewRows>,
    /// Erasures that the champion does not honour yet.
    pub erasure: Option<Erasure>,
    /// How rollouts ended, newest last: see [`crate::endpoint::EndpointStatus::endings`].
    pub ended_rollouts: &'a [(String, RolloutResult)],
    /// Windows closed since the last look.
    pub windows: &'a [Window],
    /// The active run has ended.
    pub run_end: Option<&'a RunEnd>,
    /// What was asked since the last look.
    pub requests: &'a [ModelRequest],
}

/// What the runtime must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "effect")]
pub enum ModelEffect {
    /// Start (or, after a crash, start again) the run with this name.
    StartRun {
        /// Its name.
        name: String,
        /// What asked for it.
        reason: Reason,
        /// How it trains.
        #[serde(default)]
        mode: RunMode,
    },
    /// Stop it.
    CancelRun {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
}
