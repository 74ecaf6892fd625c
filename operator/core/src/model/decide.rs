//! The steps of one look at a model, in order: what ended, what changed, what is asked, what may start.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{
    ActiveRun, HeldBack, ModelEffect, ModelObserved, ModelRequest, ModelStatus, RunEnd, RunMode, conditions,
    counted_as, former_name,
};
use crate::endpoint::RolloutResult;
use crate::guards::{self, Asker};
use crate::plan::{Plan, Reason, elapsed, spell};
use crate::planted::{Bug, planted};
use crate::policy::{Degradation, Mode, ModelPolicy};
use crate::triggers::{DegradationMonitor, DriftMonitor, ERASURE, SCHEDULE, Tick, asking};

/// A run that the data checks refused, or that failed, says nothing of the model: it is tried again after this, or the
/// cooldown if that is shorter.
const RETRY_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// Longest pause between looks.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// Runs and starts that are remembered.
const REMEMBERED: usize = 100;
/// Ends of rollouts that are remembered, beside those that endpoints still tell of: those of an endpoint that is silent for a
/// while must not count again when it speaks.
const COUNTED_MAX: usize = 1_000;

/// Decides what happens next. Pure: the same input gives the same plan.
pub fn decide(policy: &ModelPolicy, observed: &ModelObserved<'_>, now: Timestamp) -> Plan<ModelEffect, ModelStatus> {
    let mut look =
        Look { policy, observed, now, status: observed.status.clone(), effects: Vec::new(), reasons: Vec::new() };
    look.end_run();
    look.heed_manifest();
    look.count_rollouts();
    look.watch();
    look.status.tick = Tick::follow(look.status.tick.take(), policy.schedule.as_ref(), now);
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
        let unjudged = end.is_unjudged();
        let cooldown = if unjudged { RETRY_AFTER.min(self.policy.cooldown) } else { self.policy.cooldown };
        let from = if planted(Bug::CooldownFromStart) { run.started } else { self.now };
        self.status.cooldown_until = Some(from + cooldown);
        match end {
            RunEnd::Registered { version } => {
                self.say("Registered", format!("run {} registered version {version}", run.name))
            }
            RunEnd::Rejected { why } => {
                self.reject();
                self.say("Rejected", format!("run {}: {why}", run.name));
            }
            RunEnd::DataRefused { code, why } => {
                self.status.trial = None;
                let serves = self.observed.champion.map_or("there is no version yet", |_| "the champion stays");
                self.say(code, format!("run {}: {why}; {serves}", run.name));
            }
            RunEnd::Failed { why } => {
                self.reject();
                self.say("Failed", format!("run {}: {why}", run.name));
            }
            RunEnd::Cancelled { why } => {
                self.status.trial = None;
                self.say("Cancelled", format!("run {}: {why}", run.name));
            }
        }
        if unjudged && run.reason.code == SCHEDULE {
            let schedule = self.policy.schedule.as_ref();
            if let Some((tick, cron)) = self.status.tick.as_mut().zip(schedule) {
                tick.ask_again(cron, run.started);
            }
        }
        self.status.ended_runs.push(run.name.clone());
        forget_oldest(&mut self.status.ended_runs, REMEMBERED);
        self.status.last_run = Some((run.name, end.clone()));
    }

    /// What came to nothing before a person changed the manifest's data or trainer says nothing of a run after it: the change
    /// is what the short cooldown waits for.
    fn heed_manifest(&mut self) {
        let unjudged = self.status.last_run.as_ref().is_some_and(|(_, end)| end.is_unjudged());
        let (before, now) = (&self.status.recipe, &self.policy.run.recipe);
        if unjudged && !before.is_empty() && !now.is_empty() && before != now {
            self.status.cooldown_until = None;
        }
    }

    fn reject(&mut self) {
        self.status.rejections = self.status.rejections.saturating_add(1);
        self.status.last_rejection = Some(self.now);
        self.status.trial = None;
    }

    fn count_rollouts(&mut self) {
        let ended = self.observed.ended_rollouts;
        for (_, (_, result)) in self.observed.status.uncounted(ended) {
            match result {
                RolloutResult::Promoted if planted(Bug::BreakerNeverCloses) => {}
                RolloutResult::Promoted => self.close_breaker(),
                RolloutResult::RolledBack => self.reject(),
                RolloutResult::Superseded => {}
            }
            self.status.rollout_ended = Some(self.now);
        }
        if !planted(Bug::EndCountedTwice) {
            // What endpoints still tell of is the newest: others are forgotten first.
            let told: BTreeSet<String> = ended.iter().map(counted_as).collect();
            let formerly: BTreeSet<&str> = ended.iter().map(former_name).collect();
            let is_told = |counted: &String| told.contains(counted) || formerly.contains(counted.as_str());
            self.status.counted_rollouts.retain(|counted| !is_told(counted));
            self.status.counted_rollouts.extend(told);
        }
        forget_oldest(&mut self.status.counted_rollouts, COUNTED_MAX.max(ended.len()));
        if self.status.rejections > 0 && self.status.last_rejection.is_none() {
            // Remembered by a version that did not write it down.
            self.status.last_rejection = Some(self.now);
        }
    }

    fn close_breaker(&mut self) {
        (self.status.rejections, self.status.last_rejection, self.status.trial) = (0, None, None);
    }

    /// Follows the champion; another one starts all monitors over, since the baseline moves with the promotion.
    fn watch(&mut self) {
        let now = self.now;
        let newest = self.observed.windows.iter().map(|window| window.end.min(now)).max();
        self.status.signal = self.status.signal.max(newest);
        let Some(champion) = self.observed.champion else {
            return;
        };
        let digest = &champion.target.digest;
        if self.status.watched.as_ref() != Some(digest) {
            self.status.watched = Some(digest.clone());
            self.status.watched_since = Some(now);
            if !planted(Bug::BaselineNotRenewed) || self.status.drift.is_none() {
                self.status.drift = Some(DriftMonitor::new(now));
            }
            self.status.degradation = Some(DegradationMonitor::new(now));
            self.status.quality.forget();
            self.status.serve_baseline = false;
            self.status.suppressed = None;
        }
        let had_fault = self.status.quality.fault().is_some();
        self.observed.windows.iter().for_each(|window| self.status.quality.absorb(window));
        if let Some(drift) = &mut self.status.drift {
            self.observed.windows.iter().for_each(|window| drift.absorb(window, digest));
            drift.assess(self.policy, champion.profile, &mut self.status.quality, now);
        }
        if let Some(degradation) = &mut self.status.degradation {
            self.observed.windows.iter().for_each(|window| degradation.absorb(window, digest));
            degradation.assess(self.policy.period, now);
        }
        if conditions::silence(&self.status, now).is_some() {
            // Of a time that long ago nothing follows for today: age alone still asks.
            self.status.quality.forget();
        }
        if let Some(fault) = self.status.quality.fault().filter(|_| !had_fault) {
            self.reasons.push(fault);
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

    /// The name is the idempotency key: asked twice, there is one run, and both who asked are told of it.
    fn start_by_hand(&mut self, name: &str, reason: &str, force: bool) {
        if self.status.ended_runs.iter().any(|ended| ended == name) && !planted(Bug::NamesForgotten) {
            return self.say("AlreadyEnded", format!("run {name} has ended; it never runs again: take another name"));
        }
        match &self.status.run {
            Some(run) if run.name == name => {
                return self.say("AlreadyRunning", format!("run {name} is active already; nothing else was started"));
            }
            Some(run) => {
                let message = format!("run {} is active; {name} was not started", run.name);
                return self.suppress(Reason::new("RunActive", message));
            }
            None => {}
        }
        if let Some(refusal) = self.forbids(Asker::Person { force }) {
            return self.suppress(refusal);
        }
        if force {
            self.close_breaker();
        }
        self.start(name.to_owned(), Reason::new("Asked", reason), false);
    }

    fn forbids(&self, asker: Asker<'_>) -> Option<Reason> {
        guards::forbids(self.policy, &self.status, self.observed, asker, self.now)
    }

    fn suppress(&mut self, reason: Reason) {
        self.status.suppressed = Some(reason.clone());
        self.reasons.push(reason);
    }

    fn start(&mut self, name: String, reason: Reason, automatic: bool) {
        self.status.runs += 1;
        if automatic {
            let (now, per) = (self.now, self.policy.budget_per);
            self.status.automatic_runs.retain(|started| elapsed(*started, now) < per);
            self.status.automatic_runs.push(now);
            forget_oldest(&mut self.status.automatic_runs, REMEMBERED.max(self.policy.budget_runs as usize));
        }
        if self.status.rejections >= self.policy.breaker {
            self.status.trial = Some(self.now);
            self.say("BreakerHalfOpen", "the breaker is open, and one run is tried; a promotion closes it");
        }
        if let Some(tick) = &mut self.status.tick {
            tick.answered = self.now;
        }
        let mode = self.mode(&reason.code);
        self.status.warm_runs = if mode.warm_start { self.status.warm_runs + 1 } else { 0 };
        (self.status.suppressed, self.status.held_back) = (None, Vec::new());
        self.status.recipe.clone_from(&self.policy.run.recipe);
        self.say("RunStarted", format!("run {name} starts: {}", reason.message));
        self.effects.push(ModelEffect::StartRun { name: name.clone(), reason: reason.clone(), mode });
        self.status.run = Some(ActiveRun { name, reason, started: self.now, automatic, mode });
    }

    /// From the champion's weights only where they help: not when they are what is wrong, nor when they hold what must be
    /// forgotten.
    fn mode(&self, trigger: &str) -> RunMode {
        let warm_start = match self.policy.run.mode {
            Mode::Full => false,
            Mode::WarmStart { full_every } => {
                let sound = self.observed.champion.is_some() && !["Degradation", ERASURE].contains(&trigger);
                sound && self.status.warm_runs.saturating_add(1) < full_every
            }
        };
        let drifted = ["Drift", "PredictionDrift"].contains(&trigger);
        RunMode { warm_start, history: self.policy.run.history_after_drift.filter(|_| drifted) }
    }

    fn limit_run(&mut self) {
        let Some(run) = &self.status.run else { return };
        if elapsed(run.started, self.now) > self.policy.run_deadline {
            let why = format!("it took longer than {}", spell(self.policy.run_deadline));
            self.effects.push(ModelEffect::CancelRun { name: run.name.clone(), why });
        }
    }

    /// Starts what asks, or writes down for each trigger what holds it back.
    fn consider_run(&mut self) {
        let asking = asking(self.policy, &self.status, self.observed, self.now);
        let held_before = std::mem::take(&mut self.status.held_back);
        if let Some(run) = self.status.run.as_ref().filter(|_| !planted(Bug::TwoRuns)) {
            // The run is the answer to all of them; that it is on its way is no news.
            let by = Reason::new("RunActive", format!("run {} is active", run.name));
            self.status.held_back = asking.iter().map(|trigger| self.hold(trigger, &by, &held_before)).collect();
            return;
        }
        for trigger in &asking {
            let Some(refusal) = self.forbids(Asker::Trigger(&trigger.code)) else {
                let name = self.new_name(trigger);
                return self.start(name, trigger.clone(), true);
            };
            let by = Reason::new(&refusal.code, format!("{}, but {}", trigger.message, refusal.message));
            let held = self.hold(trigger, &by, &held_before);
            self.status.held_back.push(held);
            self.reasons.push(by);
        }
        self.status.suppressed = self.status.held_back.first().map(|held| held.by.clone());
    }

    fn hold(&self, trigger: &Reason, by: &Reason, before: &[HeldBack]) -> HeldBack {
        let same = before.iter().find(|held| held.trigger == trigger.code && held.by.code == by.code);
        HeldBack { trigger: trigger.code.clone(), by: by.clone(), since: same.map_or(self.now, |held| held.since) }
    }

    /// A name that no run had: people may have used one that looks like ours.
    fn new_name(&mut self, trigger: &Reason) -> String {
        loop {
            let code = trigger.code.to_lowercase();
            let name = format!("{}{:04}-{code}", self.policy.run_prefix, self.status.runs + 1);
            if !self.status.ended_runs.contains(&name) {
                return name;
            }
            self.status.runs += 1;
        }
    }

    fn finish(self) -> Plan<ModelEffect, ModelStatus> {
        let conditions = conditions::of(self.policy, self.observed, &self.status, self.now);
        let next_look = self.next_look();
        let plan = Plan { effects: self.effects, status: self.status, next_look, reasons: self.reasons, conditions };
        if cfg!(debug_assertions) && !cfg!(feature = "planted") {
            let broken = crate::invariants::model(self.policy, self.observed, &plan, self.now);
            debug_assert!(broken.is_empty(), "{broken:?}");
        }
        plan
    }

    /// In an hour, or when a tick or the end of a cooldown comes first.
    fn next_look(&self) -> Timestamp {
        let latest = self.now + LOOK_EVERY;
        let tick = self.policy.schedule.as_ref().and_then(|schedule| schedule.next(self.now));
        let known = [tick, self.status.cooldown_until.filter(|until| *until > self.now)];
        known.into_iter().flatten().fold(latest, Timestamp::min)
    }
}

fn forget_oldest<T>(all: &mut Vec<T>, kept: usize) {
    let surplus = all.len().saturating_sub(kept);
    all.drain(..surplus);
}
