//! What an experiment's arms have shown, and what that proves: each arm against control, every claim valid at every look.
//!
//! Goal and guardrails on means go through confidence sequences over user-hash cells, errors and slow answers through the
//! odds grid, the shares of users through the sequential sample-ratio test. All arms grow and shrink together, so their
//! crowds are alike at any time and may be pooled over the ramp.

use std::collections::BTreeMap;

use fairway_stats::confidence::MINIMUM_UNITS;
use fairway_stats::effect::{Estimate, Scale, alike};
use fairway_stats::odds::design_effects;
use fairway_stats::verdict::{MeanGate, Outcome, RateGate, Verdict};
use fairway_stats::{Cells, Effect};
use fairway_wire::Treatment;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::{ExperimentPolicy, Guardrail};
use crate::Reason;
use crate::policy::Margin;

/// What one arm has seen since the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmSeen {
    /// Users seen in the experiment for the first time; each counts once for ever.
    pub new_users: u64,
    /// Requests assigned to the arm, whatever answered (intention to treat).
    pub requests: u64,
    /// Requests that its treatment did not answer.
    pub errors: u64,
    /// Requests that it answered late.
    pub slow: u64,
    /// Requests by user-hash cell, each 1 if its treatment did not answer it.
    #[serde(default)]
    pub errors_by_cell: Cells,
    /// Requests by user-hash cell, each 1 if it was answered late.
    #[serde(default)]
    pub slow_by_cell: Cells,
    /// Matured values by metric, in user-hash cells.
    pub means: BTreeMap<String, Cells>,
}

/// Why and when an arm was closed. Its users leave the experiment; no other arm gets them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// One guardrail of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Gate {
    Rate(Box<RateGate>),
    Mean(MeanGate),
}

/// An arm on trial against control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trial {
    goal: MeanGate,
    gates: Vec<Gate>,
}

/// All that an arm has shown so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmEvidence {
    /// Users that were counted.
    pub users: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that were not answered.
    pub errors: u64,
    /// Requests that were answered late.
    pub slow: u64,
    /// Set once it is closed.
    pub closed: Option<Closed>,
    means: BTreeMap<String, Cells>,
    /// As in [`ArmSeen`], where a guardrail asks: how far bad answers come clumped by user.
    #[serde(default, skip_serializing_if = "Cells::is_empty")]
    errors_by_cell: Cells,
    #[serde(default, skip_serializing_if = "Cells::is_empty")]
    slow_by_cell: Cells,
    /// None for control.
    trial: Option<Trial>,
}

/// What is proved about an arm's goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArmVerdict {
    /// Neither.
    None,
    /// Better than control, with enough users and requests in both.
    Better,
    /// Worse than control.
    Worse,
}

/// An arm in the record: every number that the verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmRecord {
    /// Its name.
    pub name: String,
    /// What its users got.
    pub treatment: Treatment,
    /// Its part.
    pub weight: u32,
    /// Users.
    pub users: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that were not answered.
    pub errors: u64,
    /// Requests that were answered late.
    pub slow: u64,
    /// The goal in the metric's unit with its standard error, once it can be told.
    pub value: Option<Estimate>,
    /// What is proved.
    pub verdict: ArmVerdict,
    /// The goal against control, with its evidence and the bounds that hold at every look; none for control.
    pub goal: Option<Verdict>,
    /// The guardrails against control.
    pub guardrails: Vec<Verdict>,
    /// Set if it was closed before the end.
    pub closed: Option<Closed>,
}

impl Trial {
    fn new(rules: &ExperimentPolicy) -> Self {
        let (alpha, units) = (rules.alpha(), rules.min_requests.max(MINIMUM_UNITS) as f64);
        let gate = |gate: &Guardrail| match gate {
            Guardrail::Errors { tolerance } | Guardrail::Slow { tolerance } => {
                Gate::Rate(Box::new(RateGate::new(*tolerance, alpha)))
            }
            Guardrail::Mean { tolerance: Margin::Relative(x) | Margin::Absolute(x), .. } => {
                Gate::Mean(MeanGate::new(*x, *x, alpha, units))
            }
        };
        Self { goal: MeanGate::new(0.0, 0.0, alpha, units), gates: rules.gates.iter().map(gate).collect() }
    }
}

/// The arms at the start.
pub(super) fn arms(rules: &ExperimentPolicy) -> BTreeMap<String, ArmEvidence> {
    let of = |name: &str| (name != rules.control).then(|| Trial::new(rules));
    let arm = |name: &String| (name.clone(), ArmEvidence { trial: of(name), ..ArmEvidence::default() });
    rules.arms.iter().map(|arm| &arm.name).map(arm).collect()
}

/// Adds what all arms have seen since the last look. Arms and metrics that are not part of the rules are left out.
pub(super) fn absorb(
    arms: &mut BTreeMap<String, ArmEvidence>,
    rules: &ExperimentPolicy,
    seen: &BTreeMap<String, ArmSeen>,
) {
    for (arm, seen) in arms.iter_mut().filter_map(|(name, arm)| Some((arm, seen.get(name)?))) {
        arm.add(rules, seen);
    }
    let none = ArmSeen::default();
    let Some(control) = arms.get(&rules.control).cloned() else {
        return;
    };
    let control_seen = seen.get(&rules.control).unwrap_or(&none);
    for (name, arm) in arms.iter_mut().filter(|(_, arm)| arm.closed.is_none()) {
        arm.look(rules, seen.get(name).unwrap_or(&none), control_seen, &control);
    }
}

impl ArmEvidence {
    fn add(&mut self, rules: &ExperimentPolicy, seen: &ArmSeen) {
        let counts = [
            (&mut self.users, seen.new_users),
            (&mut self.requests, seen.requests),
            (&mut self.errors, seen.errors),
            (&mut self.slow, seen.slow),
        ];
        for (count, more) in counts {
            *count = count.saturating_add(more);
        }
        let guarded =
            |name: &str| rules.gates.iter().any(|g| matches!(g, Guardrail::Mean { metric, .. } if metric == name));
        for (name, cells) in seen.means.iter().filter(|(name, _)| **name == rules.goal || guarded(name)) {
            self.means.entry(name.clone()).or_default().merge(cells);
        }
        for gate in &rules.gates {
            match gate {
                Guardrail::Errors { .. } => self.errors_by_cell.merge(&seen.errors_by_cell),
                Guardrail::Slow { .. } => self.slow_by_cell.merge(&seen.slow_by_cell),
                Guardrail::Mean { .. } => {}
            }
        }
    }

    /// What was seen since the last look, of this arm and of control; `control` is all that the latter has shown.
    fn look(&mut self, rules: &ExperimentPolicy, mine: &ArmSeen, seen_of_control: &ArmSeen, control: &Self) {
        let Some(trial) = &mut self.trial else {
            return;
        };
        let effect = |metric: &str, scale| effect(self.means.get(metric)?, control.means.get(metric)?, scale);
        // Better or worse is the same question on either scale, and the absolute one needs no base away from 0.
        if let Some(effect) = effect(&rules.goal, Scale::Absolute) {
            trial.goal.look(&effect);
        }
        for (gate, rule) in trial.gates.iter_mut().zip(&rules.gates) {
            let requests = [mine.requests, seen_of_control.requests];
            match (gate, rule) {
                (Gate::Rate(gate), Guardrail::Errors { .. }) => {
                    gate.set_design_effects(design_effects(&self.errors_by_cell, &control.errors_by_cell));
                    gate.look(requests, [mine.errors, seen_of_control.errors]);
                }
                (Gate::Rate(gate), Guardrail::Slow { .. }) => {
                    gate.set_design_effects(design_effects(&self.slow_by_cell, &control.slow_by_cell));
                    gate.look(requests, [mine.slow, seen_of_control.slow]);
                }
                (Gate::Mean(gate), Guardrail::Mean { metric, tolerance }) => {
                    let relative = matches!(tolerance, Margin::Relative(_));
                    if let Some(effect) = effect(metric, if relative { Scale::Relative } else { Scale::Absolute }) {
                        gate.look(&effect);
                    }
                }
                _ => {}
            }
        }
    }

    /// The goal against control; `None` for control.
    pub(super) fn goal(&self, rules: &ExperimentPolicy) -> Option<Verdict> {
        self.trial.as_ref().map(|trial| trial.goal.verdict(&rules.goal))
    }

    /// The guardrails against control.
    pub(super) fn guardrails(&self, rules: &ExperimentPolicy) -> Vec<Verdict> {
        let gates = self.trial.iter().flat_map(|trial| &trial.gates).zip(&rules.gates);
        let verdict = |(gate, rule): (&Gate, &Guardrail)| match gate {
            Gate::Rate(gate) => gate.verdict(rule.name()),
            Gate::Mean(gate) => gate.verdict(rule.name()),
        };
        gates.map(verdict).collect()
    }

    /// What is proved about its goal. "Worse" holds at once; "better" waits for enough users and requests on both sides,
    /// so that a lucky hour is not shipped.
    pub(super) fn verdict(&self, rules: &ExperimentPolicy, control: &Self, users_each: f64) -> ArmVerdict {
        let enough = |arm: &Self| arm.all_users(users_each) >= rules.min_users && arm.requests >= rules.min_requests;
        match self.goal(rules).map(|goal| goal.outcome) {
            Some(Outcome::Harmful) => ArmVerdict::Worse,
            Some(Outcome::Better) if enough(self) && enough(control) => ArmVerdict::Better,
            _ => ArmVerdict::None,
        }
    }

    fn all_users(&self, each: f64) -> u64 {
        (self.users as f64 * each).round() as u64
    }

    /// Its place in the record.
    pub(super) fn record(
        &self,
        rules: &ExperimentPolicy,
        name: &str,
        control: &Self,
        users_each: f64,
    ) -> Option<ArmRecord> {
        let arm = rules.arms.iter().find(|arm| arm.name == name)?;
        Some(ArmRecord {
            name: name.to_owned(),
            treatment: arm.treatment.clone(),
            weight: arm.weight,
            users: self.all_users(users_each),
            requests: self.requests,
            errors: self.errors,
            slow: self.slow,
            value: self.means.get(&rules.goal).and_then(Estimate::mean),
            verdict: self.verdict(rules, control, users_each),
            goal: self.goal(rules),
            guardrails: self.guardrails(rules),
            closed: self.closed.clone(),
        })
    }
}

fn effect(arm: &Cells, control: &Cells, scale: Scale) -> Option<Effect> {
    let (arm, control) = alike(Estimate::mean(arm)?, Estimate::mean(control)?);
    Effect::between(arm, control, scale)
}
