//! One rollout: a candidate on trial beside stable, and the bake after its promotion. How far it is, what it has
//! shown, and what the next step would need. [`crate::endpoint::decide`] puts the pieces together.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_wire::{Route, Target, Track, Weight, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::afterwards::Afterwards;
use crate::evidence::{Eligible, Evidence, Outcome, Routes, Verdict};
use crate::plan::{elapsed, spell};
use crate::planted::{Bug, planted};
use crate::policy::{EndpointPolicy, Freeze, Step, frozen};

/// A candidate on trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Identity; also the salt of the assignment, so that the guinea pigs differ from rollout to rollout.
    pub id: String,
    /// The version on trial.
    pub candidate: Target,
    /// Index of the step in force.
    pub step: usize,
    /// When the rollout began.
    pub started: Timestamp,
    /// The time limit counts from here: the start, or a person's `resume` after the time was over.
    pub limit_from: Timestamp,
    /// When the weight in force was set.
    pub weight_since: Timestamp,
    /// Generation of the route at which it was set.
    pub weight_generation: u64,
    /// Segments eligible under each generation of this rollout's routes.
    pub eligible: Eligible,
    /// Those of them under which nobody had stable: everybody had the candidate, or the baseline was shown in its place.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub alone: BTreeSet<u64>,
    /// What it has shown.
    pub evidence: Evidence,
    /// The last time that any window arrived.
    pub last_telemetry: Timestamp,
    /// Set while it is paused.
    pub paused: Option<Pause>,
    /// The weight for which servers are being ordered.
    #[serde(default)]
    pub wants: Option<Weight>,
    /// The weight in force, where the policy's first step was raised above it meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_first: Option<Weight>,
    /// The last look in a freeze: what a freeze takes is not taken from the time limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Timestamp>,
}

/// A pause; it freezes the weight, and harm still rolls back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Who or what asked.
    pub why: String,
}

/// A promoted version whose predecessor is still kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bake {
    /// The former stable version.
    pub previous: Target,
    /// When the promotion happened.
    pub since: Timestamp,
    /// The rollout's evidence; reward of its exposures goes on maturing.
    pub rollout: Rollout,
    /// Errors since, where there is a gate on errors.
    #[serde(default)]
    pub afterwards: Option<Afterwards>,
}

impl Bake {
    /// Begins now.
    pub fn new(previous: Target, rollout: Rollout, now: Timestamp) -> Self {
        let before = rollout.evidence.errors_of_both();
        let afterwards = before.map(|(tolerance, requests, bad)| Afterwards::new(requests, bad, tolerance));
        Self { previous, since: now, rollout, afterwards }
    }

    /// Adds a closed window: matured rewards of the rollout, and what the promoted version answers now.
    pub fn absorb(&mut self, window: &Window, now: Timestamp) {
        self.rollout.absorb(window, now);
        let Some(afterwards) = &mut self.afterwards else { return };
        for (key, arm) in &window.arms {
            if key.track == Track::Stable && key.digest == self.rollout.candidate.digest {
                afterwards.look(arm.requests, arm.errors_total(), &arm.errors_by_cell);
            }
        }
    }

    /// What proves that the promotion does harm.
    pub fn harm(&self, policy: &EndpointPolicy) -> Option<String> {
        let verdicts = self.rollout.evidence.verdicts(policy);
        let by_verdict = harm(&verdicts).map(|verdict| verdict.message.clone());
        let alpha = self.rollout.evidence.rules(policy).alpha();
        by_verdict.or_else(|| self.afterwards.as_ref()?.harm(alpha, "since the promotion"))
    }
}

/// Why a step may not go on yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The hold is not over; the time at which it is.
    Hold(Timestamp),
    /// The canary has answered too few requests at this weight.
    Requests {
        /// So many were answered.
        answered: u64,
        /// So many are needed.
        needed: u64,
    },
}

impl Rollout {
    /// Starts on the first step.
    pub fn new(id: String, candidate: Target, stable: &Target, policy: &EndpointPolicy, now: Timestamp) -> Self {
        let evidence = Evidence::new(policy, &candidate.digest, &stable.digest);
        Self {
            id,
            candidate,
            step: 0,
            started: now,
            limit_from: now,
            weight_since: now,
            weight_generation: 0,
            eligible: Eligible::new(),
            alone: BTreeSet::new(),
            evidence,
            last_telemetry: now,
            paused: None,
            wants: None,
            below_first: None,
            frozen: None,
        }
    }

    /// The step in force. A policy that lost steps meanwhile leaves the rollout on its last one.
    pub fn current<'a>(&self, policy: &'a EndpointPolicy) -> &'a Step {
        let steps = policy.steps.as_slice();
        &steps[self.step.min(steps.len() - 1)]
    }

    /// The weight in force.
    pub fn weight(&self, policy: &EndpointPolicy) -> Weight {
        self.below_first.unwrap_or(self.current(policy).weight)
    }

    /// Adds a closed window. A router whose clock is ahead has still not reported later than now.
    pub fn absorb(&mut self, window: &Window, now: Timestamp) {
        let routes = Routes { eligible: &self.eligible, alone: &self.alone, current: self.weight_generation };
        self.evidence.absorb(window, &routes, now);
        self.last_telemetry = self.last_telemetry.max(window.end.min(now));
    }

    /// Another weight is in force from now on, and nothing was answered under it (invariant I2).
    pub fn weigh(&mut self, now: Timestamp) {
        self.weight_since = now;
        self.wants = None;
        if !planted(Bug::EvidenceKeptOnStep) {
            self.evidence.answered_at_weight = 0;
        }
    }

    /// Remembers who is eligible under a route that has it, and whether anybody has stable. Only the newest generations matter:
    /// exposures older than the reward's horizon have matured. Bounded at 64.
    pub fn note_route(&mut self, route: &Route) {
        let Some(canary) = &route.canary else { return };
        self.eligible.insert(route.generation, canary.segments.clone());
        if route.serve_baseline || canary.weight == Weight::FULL {
            self.alone.insert(route.generation);
        }
        while self.eligible.len() > 64 {
            let oldest = self.eligible.pop_first();
            oldest.map(|(generation, _)| self.alone.remove(&generation));
        }
    }

    /// To the next step; to the first, if the policy was raised above the weight in force.
    pub fn step_up(&mut self, now: Timestamp) {
        if self.below_first.take().is_none() {
            self.step += 1;
        }
        self.weigh(now);
    }

    /// Another policy: the step whose weight users have already, or the one below it. Where there is none below they keep what
    /// they have, and the first step is the next one.
    pub fn fit_step(&mut self, policy: &EndpointPolicy, routed: Weight) {
        let steps = policy.steps.as_slice();
        if steps.get(self.step).is_some_and(|step| step.weight == routed) {
            self.below_first = None;
        } else if let Some(below) = steps.iter().rposition(|step| step.weight <= routed) {
            (self.step, self.below_first) = (below, None);
        } else {
            (self.step, self.below_first) = (0, Some(routed));
        }
    }

    /// Moves the time limit by what a freeze has taken since the last look: until its end, or still.
    pub fn thaw(&mut self, freezes: &[Freeze], now: Timestamp) {
        if let Some(since) = self.frozen.take() {
            let until = frozen(freezes, since).map_or(now, |until| until.min(now));
            self.limit_from = (self.limit_from + elapsed(since, until)).min(now);
        }
        self.frozen = frozen(freezes, now).map(|_| now);
    }

    /// Whether the step may go on (invariant I2): its hold is over, and enough requests were answered at this weight.
    pub fn waiting(&self, policy: &EndpointPolicy, now: Timestamp) -> Option<Waiting> {
        let until = self.weight_since + self.current(policy).hold;
        if now < until {
            return Some(Waiting::Hold(until));
        }
        let (answered, needed) = (self.evidence.answered_at_weight, policy.min_requests);
        (answered < needed).then_some(Waiting::Requests { answered, needed })
    }

    /// True on the last step of the policy.
    pub fn is_last_step(&self, policy: &EndpointPolicy) -> bool {
        self.below_first.is_none() && self.step + 1 >= policy.steps.as_slice().len()
    }

    /// The weight after the one in force; everybody after the last step.
    pub fn next_weight(&self, policy: &EndpointPolicy) -> Weight {
        let next = if self.below_first.is_some() { self.step } else { self.step + 1 };
        policy.steps.as_slice().get(next).map_or(Weight::FULL, |step| step.weight)
    }

    /// How long it has taken.
    pub fn age(&self, now: Timestamp) -> Duration {
        elapsed(self.started, now)
    }
}

impl Waiting {
    /// For people.
    pub fn sentence(&self, now: Timestamp) -> String {
        match self {
            Self::Hold(until) => format!("the hold ends in {}", spell(elapsed(now, *until))),
            Self::Requests { answered, needed } => {
                format!("{answered} of {needed} requests answered by the canary at this weight")
            }
        }
    }
}

/// The first gate with proof of harm.
pub fn harm(verdicts: &[Verdict]) -> Option<&Verdict> {
    verdicts.iter().find(|verdict| verdict.outcome == Outcome::Harmful)
}

/// The first gate without proof of non-inferiority.
pub fn unproved(verdicts: &[Verdict]) -> Option<&Verdict> {
    verdicts.iter().find(|verdict| verdict.outcome != Outcome::NonInferior)
}
