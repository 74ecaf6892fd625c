//! Should a successor be trained? The decision of one model: triggers ask, guards hold back, and one run at a time.

use std::time::Duration;

use fairway_wire::{Profile, Target, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::endpoint::RolloutResult;
use crate::guards;
use crate::plan::{Condition, Plan, Reason, elapsed, spell};
use crate::policy::{Degradation, ModelPolicy};
use crate::triggers::{DegradationMonitor, DriftMonitor, too_old};

/// What a model remembers between looks; it is stored with each plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    /// The version that the monitors watch.
    pub watched: Option<String>,
    /// Drift of inputs and outputs.
    pub drift: Option<DriftMonitor>,
    /// Reward against popularity.
    pub degradation: Option<DegradationMonitor>,
    /// The champion is worse than popularity: the endpoint serves the baseline until a successor is there.
    pub serve_baseline: bool,
    /// The trigger that was held back last, and by what.
    pub suppressed: Option<Reason>,
    /// How the last run ended.
    pub last_run: Option<(String, RunEnd)>,
    /// Identities of ended rollouts that were counted already. Bounded.
    pub counted_rollouts: Vec<String>,
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
        /// Pass cooldown, budget, breaker and an active rollout; never the data checks.
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
    /// How rollouts ended (identity and result), newest last.
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
    },
    /// Stop it.
    CancelRun {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
}

/// A run that the data checks refused, or that failed, says nothing of the model: it is tried again after this, or the
/// cooldown if that is shorter.
const RETRY_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// Longest pause between looks.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
const REMEMBERED: usize = 100;

/// Decides what happens next. Pure: the same input gives the same plan.
pub fn decide(policy: &ModelPolicy, observed: &ModelObserved<'_>, now: Timestamp) -> Plan<ModelEffect, ModelStatus> {
    let mut look =
        Look { policy, observed, now, status: observed.status.clone(), effects: Vec::new(), reasons: Vec::new() };
    look.end_run();
    look.count_rollouts();
    look.watch();
    look.obey();
    look.limit_run();
    look.consider_run();
    look.finish()
}

struct Look<'a> {
    policy: &'a ModelPolicy,
    observed: &'a ModelObserved<'a>,
    now: Timestamp,
    status: ModelStatus,
    effects: Vec<ModelEffect>,
    reasons: Vec<Reason>,
}

impl Look<'_> {
    fn say(&mut self, code: &str, message: impl Into<String>) {
        self.reasons.push(Reason::new(code, message));
    }

    fn end_run(&mut self) {
        let Some(end) = self.observed.run_end else {
            return;
        };
        let Some(run) = self.status.run.take() else {
            return;
        };
        let cooldown = match end {
            RunEnd::DataRefused { .. } | RunEnd::Failed { .. } => RETRY_AFTER.min(self.policy.cooldown),
            RunEnd::Registered { .. } | RunEnd::Rejected { .. } | RunEnd::Cancelled { .. } => self.policy.cooldown,
        };
        self.status.cooldown_until = Some(self.now + cooldown);
        match end {
            RunEnd::Registered { version } => {
                self.say("Registered", format!("run {} registered version {version}", run.name))
            }
            RunEnd::Rejected { why } => {
                self.status.rejections += 1;
                self.say("Rejected", format!("run {}: {why}", run.name));
            }
            RunEnd::DataRefused { code, why } => self.say(code, format!("run {}: {why}; the champion stays", run.name)),
            RunEnd::Failed { why } => {
                self.status.rejections += 1;
                self.say("Failed", format!("run {}: {why}", run.name));
            }
            RunEnd::Cancelled { why } => self.say("Cancelled", format!("run {}: {why}", run.name)),
        }
        self.status.last_run = Some((run.name, end.clone()));
    }

    fn count_rollouts(&mut self) {
        for (id, result) in self.observed.ended_rollouts {
            if self.status.counted_rollouts.contains(id) {
                continue;
            }
            match result {
                RolloutResult::Promoted => self.status.rejections = 0,
                RolloutResult::RolledBack => self.status.rejections += 1,
                RolloutResult::Superseded => {}
            }
            self.status.counted_rollouts.push(id.clone());
        }
        let surplus = self.status.counted_rollouts.len().saturating_sub(REMEMBERED);
        self.status.counted_rollouts.drain(..surplus);
    }

    /// Follows the champion; another one starts all monitors over, since the baseline moves with the promotion.
    fn watch(&mut self) {
        let Some(champion) = self.observed.champion else {
            return;
        };
        let digest = &champion.target.digest;
        if self.status.watched.as_ref() != Some(digest) {
            self.status.watched = Some(digest.clone());
            self.status.drift = Some(DriftMonitor::new(self.now));
            self.status.degradation = Some(DegradationMonitor::new(self.now));
            self.status.serve_baseline = false;
            self.status.suppressed = None;
        }
        if let Some(drift) = &mut self.status.drift {
            self.observed.windows.iter().for_each(|window| drift.absorb(window, digest));
            drift.assess(self.policy, champion.profile, self.now);
        }
        if let Some(degradation) = &mut self.status.degradation {
            self.observed.windows.iter().for_each(|window| degradation.absorb(window, digest));
            degradation.assess(self.policy.period, self.now);
        }
        self.step_back();
    }

    /// A degraded champion steps back to the baseline at once, and returns when it earns more again.
    fn step_back(&mut self) {
        let lost = self.status.degradation.as_ref().and_then(DegradationMonitor::trigger);
        let wanted = self.policy.degradation == Degradation::ServeBaselineAndRetrain && lost.is_some();
        if wanted != self.status.serve_baseline {
            self.status.serve_baseline = wanted;
            match lost {
                Some(reason) => self.say("ServingBaseline", reason.message),
                None => self.say("ServingChampion", "the champion earns more than popularity again"),
            }
        }
    }

    fn obey(&mut self) {
        for request in self.observed.requests {
            match request {
                ModelRequest::Cancel { name } => match &self.status.run {
                    Some(run) if run.name == *name => {
                        let why = "cancelled by a person".to_owned();
                        self.effects.push(ModelEffect::CancelRun { name: name.clone(), why });
                    }
                    _ => self.say("NothingToCancel", format!("run {name} is not active")),
                },
                ModelRequest::Start { name, reason, force } => self.start_by_hand(name, reason, *force),
            }
        }
    }

    fn start_by_hand(&mut self, name: &str, reason: &str, force: bool) {
        if let Some(run) = &self.status.run {
            let message = format!("run {} is active; {name} was not started", run.name);
            return self.suppress(Reason::new("RunActive", message));
        }
        if force {
            self.status.rejections = 0;
        } else if let Some(refusal) = guards::forbids(self.policy, &self.status, self.observed.rollout_active, self.now)
        {
            return self.suppress(refusal);
        }
        self.start(name.to_owned(), Reason::new("Asked", reason), false);
    }

    fn suppress(&mut self, reason: Reason) {
        self.status.suppressed = Some(reason.clone());
        self.reasons.push(reason);
    }

    fn start(&mut self, name: String, reason: Reason, automatic: bool) {
        self.status.runs += 1;
        if automatic {
            self.status.automatic_runs.push(self.now);
            let surplus = self.status.automatic_runs.len().saturating_sub(REMEMBERED);
            self.status.automatic_runs.drain(..surplus);
        }
        self.status.suppressed = None;
        self.say("RunStarted", format!("run {name} starts: {}", reason.message));
        self.effects.push(ModelEffect::StartRun { name: name.clone(), reason: reason.clone() });
        self.status.run = Some(ActiveRun { name, reason, started: self.now, automatic });
    }

    fn limit_run(&mut self) {
        let Some(run) = &self.status.run else { return };
        if elapsed(run.started, self.now) > self.policy.run_deadline {
            let why = format!("it took longer than {}", spell(self.policy.run_deadline));
            self.effects.push(ModelEffect::CancelRun { name: run.name.clone(), why });
        }
    }

    fn consider_run(&mut self) {
        if self.status.run.is_some() {
            return;
        }
        let Some(trigger) = self.trigger() else {
            self.status.suppressed = None;
            return;
        };
        let busy = self.observed.rollout_active || self.observed.candidate_waiting;
        if let Some(refusal) = guards::forbids(self.policy, &self.status, busy, self.now) {
            let message = format!("{}, but {}", trigger.message, refusal.message);
            return self.suppress(Reason::new(&refusal.code, message));
        }
        let name = format!("{:04}-{}", self.status.runs + 1, trigger.code.to_lowercase());
        self.start(name, trigger, true);
    }

    fn trigger(&self) -> Option<Reason> {
        let Some(champion) = self.observed.champion else {
            let nothing_yet = !self.observed.candidate_waiting;
            return nothing_yet.then(|| Reason::new("First", "there is no version yet"));
        };
        let degraded = self.status.degradation.as_ref().and_then(DegradationMonitor::trigger);
        degraded
            .filter(|_| self.policy.degradation != Degradation::Ignore)
            .or_else(|| self.status.drift.as_ref().and_then(DriftMonitor::trigger))
            .or_else(|| too_old(self.policy, champion.trained_through, self.now))
    }

    fn finish(self) -> Plan<ModelEffect, ModelStatus> {
        debug_assert!(
            crate::invariants::one_run(self.observed.status, &self.status) || self.observed.run_end.is_some(),
            "I4"
        );
        let conditions = self.conditions();
        let next_look = self.now + LOOK_EVERY;
        Plan { effects: self.effects, status: self.status, next_look, reasons: self.reasons, conditions }
    }

    fn conditions(&self) -> Vec<Condition> {
        let condition =
            |kind: &str, holds: bool, reason: Reason| Condition { kind: kind.to_owned(), status: holds, reason };
        let mut all = Vec::new();
        all.push(match (&self.observed.champion, self.status.serve_baseline) {
            (None, _) => condition("Ready", false, Reason::new("ServingBaseline", "no version has passed yet")),
            (Some(_), true) => {
                condition("Ready", false, Reason::new("ServingBaseline", "the champion earns less than popularity"))
            }
            (Some(champion), false) => {
                condition("Ready", true, Reason::new("Serving", format!("version {} serves", champion.target.version)))
            }
        });
        if let Some((_, RunEnd::DataRefused { code, why })) = &self.status.last_run {
            all.push(condition("DataReady", false, Reason::new(code, why.clone())));
        }
        if let Some(report) = self.status.drift.as_ref().and_then(|drift| drift.last.as_ref()) {
            let held = self.status.drift.as_ref().is_some_and(|drift| drift.alarms.holds());
            all.push(condition(
                "Drifted",
                held,
                Reason::new(if held { "Drift" } else { "NoDrift" }, report.sentence()),
            ));
        }
        if let Some(reason) = &self.status.suppressed {
            all.push(condition("RetrainSuppressed", true, reason.clone()));
        }
        all
    }
}
