//! What a rollout has seen, and what that proves. Evidence only adds up: windows may come from any number of replicas.
//!
//! Errors and slow answers go through the odds-grid e-process (immune to ramps and to base rates that move); reward
//! through a confidence sequence over strata, one stratum for each weight that was in force when the user was exposed,
//! because pooling over weights would compare different crowds.

use std::collections::BTreeMap;

use fairway_stats::Cells;
use fairway_stats::confidence::{MINIMUM_UNITS, asymptotic_half_width_one_sided, rho2_exact};
use fairway_stats::odds::design_effect;
use fairway_stats::verdict::{self, RateGate};
use fairway_wire::{Rival, Track, Window};
use serde::{Deserialize, Serialize};

use crate::policy::{EndpointPolicy, Margin, RolloutGate};

mod reward;

use reward::{Matured, Stratum, contrast};

/// What is proved about one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Worse than the tolerance allows.
    Harmful,
    /// Not worse than the tolerance allows.
    NonInferior,
    /// Neither is proved yet.
    Inconclusive,
}

/// A gate's outcome with the numbers behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// `errors`, `slow` or `reward`.
    pub gate: String,
    /// What is proved.
    pub outcome: Outcome,
    /// The numbers, for people.
    pub message: String,
}

/// Evidence about one rare event (an error, a slow answer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rare {
    gate: RateGate,
    /// Requests of canary and stable by user-hash cell, 1 if it was so: how far it comes clumped by user.
    by_cell: [Cells; 2],
    clumps: f64,
    bad: [u64; 2],
}

impl Rare {
    fn new(tolerance: f64, alpha: f64) -> Self {
        Self { gate: RateGate::new(tolerance, alpha), by_cell: [Cells::new(), Cells::new()], clumps: 1.0, bad: [0; 2] }
    }

    /// Adds one look; the cells of both sides are merged before.
    fn look(&mut self, requests: [u64; 2], bad: [u64; 2]) {
        self.clumps = design_effect(&self.by_cell[0], &self.by_cell[1]);
        self.gate.set_design_effect(self.clumps);
        self.gate.look(requests, bad);
        for (mine, more) in self.bad.iter_mut().zip(bad) {
            *mine += more;
        }
    }
}

/// All that a rollout has seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    canary: String,
    stable: String,
    /// Boxed: an endpoint without a rollout need not hold the room.
    errors: Option<Box<Rare>>,
    slow: Option<Box<Rare>>,
    strata: BTreeMap<u64, Stratum>,
    /// Requests assigned to the canary.
    pub canary_requests: u64,
    /// Requests of eligible users assigned to stable meanwhile.
    pub stable_requests: u64,
    /// Requests that the canary answered since its weight was last set (invariant I2).
    pub answered_at_weight: u64,
}

/// Which users were eligible under which generation of the route.
pub type Eligible = BTreeMap<u64, Vec<String>>;

impl Evidence {
    /// Nothing seen yet.
    pub fn new(policy: &EndpointPolicy, canary: &str, stable: &str) -> Self {
        let alpha = alpha(policy);
        let rare = |tolerance: Option<f64>| tolerance.map(|tolerance| Box::new(Rare::new(tolerance, alpha)));
        Self {
            canary: canary.to_owned(),
            stable: stable.to_owned(),
            errors: rare(policy.errors_tolerance()),
            slow: rare(policy.slow_tolerance()),
            strata: BTreeMap::new(),
            canary_requests: 0,
            stable_requests: 0,
            answered_at_weight: 0,
        }
    }

    /// Adds a closed window. `current` is the generation at which the weight in force was set.
    pub fn absorb(&mut self, window: &Window, eligible: &Eligible, current: u64) {
        if let Some(segments) = eligible.get(&window.generation) {
            self.absorb_requests(window, segments, current);
        }
        for (generation, segments) in eligible {
            self.absorb_reward(window, *generation, segments);
        }
    }

    fn absorb_requests(&mut self, window: &Window, segments: &[String], current: u64) {
        let (mut requests, mut errors, mut slow) = ([0_u64; 2], [0_u64; 2], [0_u64; 2]);
        for (key, arm) in &window.arms {
            let side = match key.track {
                Track::Canary if key.digest == self.canary => 0,
                Track::Stable if key.digest == self.stable => 1,
                _ => continue,
            };
            if !is_eligible(segments, &key.segment) {
                continue;
            }
            requests[side] += arm.requests;
            errors[side] += arm.errors_total();
            slow[side] += arm.slow;
            if let Some(rare) = &mut self.errors {
                rare.by_cell[side].merge(&arm.errors_by_cell);
            }
            if let Some(rare) = &mut self.slow {
                rare.by_cell[side].merge(&arm.slow_by_cell);
            }
        }
        if requests == [0; 2] {
            return;
        }
        if let Some(rare) = &mut self.errors {
            rare.look(requests, errors);
        }
        if let Some(rare) = &mut self.slow {
            rare.look(requests, slow);
        }
        self.canary_requests += requests[0];
        self.stable_requests += requests[1];
        if window.generation >= current {
            self.answered_at_weight += requests[0] - errors[0].min(requests[0]);
        }
    }

    fn absorb_reward(&mut self, window: &Window, generation: u64, segments: &[String]) {
        for (key, arm) in &window.arms {
            let Some(cells) = arm.reward.get(&generation) else {
                continue;
            };
            if !is_eligible(segments, &key.segment) {
                continue;
            }
            let stratum = self.strata.entry(generation).or_default();
            match key.track {
                Track::Canary if key.digest == self.canary => stratum.canary.merge(cells),
                Track::Stable if key.digest == self.stable => stratum.stable.merge(cells),
                _ => {}
            }
        }
        for (key, pair) in &window.pairs {
            if key.generation == generation
                && key.digest == self.canary
                && key.against == Rival::Stable(self.stable.clone())
            {
                let stratum = self.strata.entry(generation).or_default();
                stratum.pair.difference.merge(&pair.difference);
                stratum.pair.base.merge(&pair.base);
            }
        }
    }

    /// What is proved, gate by gate. Each gate may err with an equal part of the rollout's false-alarm rate (a union
    /// bound), so that the whole rollout keeps it.
    pub fn verdicts(&self, policy: &EndpointPolicy) -> Vec<Verdict> {
        let alpha = alpha(policy);
        let of = if policy.shadow { Matured::pair } else { Matured::arms };
        let matured: Vec<Matured> = self.strata.values().filter_map(of).collect();
        policy.gates.iter().filter_map(|gate| self.verdict(gate, policy, alpha, &matured)).collect()
    }

    fn verdict(&self, gate: &RolloutGate, policy: &EndpointPolicy, alpha: f64, matured: &[Matured]) -> Option<Verdict> {
        match gate {
            RolloutGate::Errors { .. } => self.errors.as_ref().map(|rare| self.rare_verdict("errors", rare, alpha)),
            RolloutGate::Slow { .. } => self.slow.as_ref().map(|rare| self.rare_verdict("slow", rare, alpha)),
            RolloutGate::Reward { tolerance } => Some(self.reward_verdict(*tolerance, matured, policy, alpha)),
        }
    }

    fn rare_verdict(&self, gate: &str, rare: &Rare, alpha: f64) -> Verdict {
        let most = rare.gate.most();
        let outcome = match most.outcome(alpha) {
            verdict::Outcome::Harmful => Outcome::Harmful,
            verdict::Outcome::NonInferior | verdict::Outcome::Better => Outcome::NonInferior,
            verdict::Outcome::Inconclusive => Outcome::Inconclusive,
        };
        let clumps = rare.clumps;
        let clumped =
            if clumps > 1.05 { format!(", clumps of {clumps:.1} by user counted once") } else { String::new() };
        let message = format!(
            "{gate}: {} of {} on the canary, {} of {} on stable; evidence of harm {:.2} of the {:.2} needed{clumped}",
            rare.bad[0],
            self.canary_requests,
            rare.bad[1],
            self.stable_requests,
            most.harm.max(0.0),
            verdict::ln_needed(alpha),
        );
        Verdict { gate: gate.to_owned(), outcome, message }
    }

    fn reward_verdict(&self, tolerance: Margin, matured: &[Matured], policy: &EndpointPolicy, alpha: f64) -> Verdict {
        let gate = "reward".to_owned();
        let Some(contrast) = contrast(matured, tolerance) else {
            let message =
                format!("reward: too few matured exposures to say anything ({} on the canary)", self.matured());
            return Verdict { gate, outcome: Outcome::Inconclusive, message };
        };
        let planned = (policy.min_requests * policy.steps.as_slice().len() as u64).max(MINIMUM_UNITS);
        let rho2 = rho2_exact((2.0 * alpha).min(0.5), planned as f64);
        let half = asymptotic_half_width_one_sided(contrast.standard_error, contrast.n as f64, rho2, alpha);
        let outcome = if contrast.estimate + half < 0.0 {
            Outcome::Harmful
        } else if contrast.estimate - half > 0.0 {
            Outcome::NonInferior
        } else {
            Outcome::Inconclusive
        };
        let message = format!(
            "reward: {:.4} on the canary against {:.4} on stable over {} matured exposures; with the tolerance the \
             difference lies between {:+.4} and {:+.4}",
            contrast.canary,
            contrast.stable,
            contrast.n,
            contrast.estimate - half,
            contrast.estimate + half,
        );
        Verdict { gate, outcome, message }
    }

    /// Errors per request, both sides together.
    pub fn error_rate(&self) -> f64 {
        self.rate(self.errors.as_deref())
    }

    /// Requests and errors of both sides together, if there is a gate on errors.
    pub fn errors_of_both(&self) -> Option<(u64, u64)> {
        let errors = self.errors.as_ref()?;
        Some((self.canary_requests + self.stable_requests, errors.bad[0] + errors.bad[1]))
    }

    /// Slow answers per request, both sides together.
    pub fn slow_rate(&self) -> f64 {
        self.rate(self.slow.as_deref())
    }

    fn rate(&self, rare: Option<&Rare>) -> f64 {
        let requests = self.canary_requests + self.stable_requests;
        let bad = rare.map_or(0, |rare| rare.bad[0] + rare.bad[1]);
        if requests == 0 { 0.0 } else { bad as f64 / requests as f64 }
    }

    /// Matured exposures of the canary.
    pub fn matured(&self) -> u64 {
        self.strata.values().map(|stratum| stratum.canary.n().max(stratum.pair.difference.n())).sum()
    }
}

/// The part of the rollout's false-alarm rate that each gate may use.
pub(crate) fn alpha(policy: &EndpointPolicy) -> f64 {
    policy.false_alarm_rate.get() / policy.gates.len().max(1) as f64
}

fn is_eligible(segments: &[String], segment: &str) -> bool {
    segments.is_empty() || segments.iter().any(|one| one == segment)
}
