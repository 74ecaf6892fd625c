//! An experiment that has users: what its arms prove together, and the record that is kept of it.

use std::collections::BTreeMap;

use fairway_stats::Outcome;
use fairway_stats::srm::SampleRatio;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{self, ArmEvidence, ArmRecord, ArmSeen, ArmVerdict, Closed};
use super::policy::{Arm, ExperimentPolicy};
use crate::Reason;
use crate::plan::{elapsed, spell};

/// An experiment that has users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// When it began.
    pub started: Timestamp,
    /// The policy as it was then, with the share and the time limit of the latest.
    pub rules: ExperimentPolicy,
    /// What each arm has shown, control among them.
    pub arms: BTreeMap<String, ArmEvidence>,
    sample_ratio: SampleRatio,
    /// How many users each counted one stands for.
    #[serde(default = "one")]
    users_each: f64,
}

fn one() -> f64 {
    1.0
}

/// How an experiment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExperimentResult {
    /// An arm is better than control.
    Winner,
    /// Every arm was closed for harm.
    NoArmLeft,
    /// The time was over.
    Inconclusive,
    /// Users did not arrive in the shares set: nothing is known.
    SampleRatioMismatch,
    /// A person stopped it.
    Stopped,
}

/// What is kept of an experiment: the rules, every number, the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub result: ExperimentResult,
    /// Why, in words.
    pub reason: Reason,
    /// The better arm with the greatest effect. Better arms are compared with control only, not with each other.
    pub winner: Option<String>,
    /// The level of each claim: the rate split over arms, directions and guardrails.
    pub alpha: f64,
    /// Evidence that users did not arrive in the shares set (natural logarithm; 6.91 fails).
    pub sample_ratio_ln_e: f64,
    /// The same in words.
    pub sample_ratio: String,
    /// The arms, in the order of the policy.
    pub arms: Vec<ArmRecord>,
    /// The policy under which it ran.
    pub rules: ExperimentPolicy,
}

/// Parts of the experiment's users.
fn shares<'a>(arms: impl Iterator<Item = &'a Arm>) -> Vec<f64> {
    arms.map(|arm| f64::from(arm.weight)).collect()
}

impl Running {
    pub(super) fn new(rules: &ExperimentPolicy, now: Timestamp) -> Self {
        let sample_ratio = SampleRatio::new(&shares(rules.arms.iter()));
        Self { started: now, rules: rules.clone(), arms: evidence::arms(rules), sample_ratio, users_each: 1.0 }
    }

    /// Closes an arm. Its users leave; the shares of the others are watched anew.
    pub(super) fn close(&mut self, arm: &str, closed: Closed) {
        if let Some(evidence) = self.arms.get_mut(arm) {
            evidence.closed = Some(closed);
        }
        let shares = shares(self.rules.arms.iter().filter(|arm| self.is_open(arm)));
        self.sample_ratio.stage(&shares);
    }

    /// What is wrong with the shares of users, once that is proved.
    pub(super) fn sample_ratio_mismatch(&self) -> Option<String> {
        self.sample_ratio.fails().then(|| self.sample_ratio.sentence())
    }

    pub(super) fn is_open(&self, arm: &Arm) -> bool {
        self.arms.get(&arm.name).is_some_and(|evidence| evidence.closed.is_none())
    }

    pub(super) fn absorb(&mut self, seen: &BTreeMap<String, ArmSeen>, users_each: f64) {
        self.users_each = users_each;
        let open = self.rules.arms.iter().filter(|arm| self.is_open(arm));
        let users: Vec<u64> = open.map(|arm| seen.get(&arm.name).map_or(0, |seen| seen.new_users)).collect();
        self.sample_ratio.update(&users);
        evidence::absorb(&mut self.arms, &self.rules, seen);
    }

    /// Open challengers with proof of harm, and which.
    pub(super) fn harmful(&self, permanent: bool) -> Vec<(String, Reason)> {
        let harm = |arm: &Arm| {
            let evidence = self.arms.get(&arm.name).filter(|evidence| evidence.closed.is_none())?;
            let guardrails = evidence.guardrails(&self.rules);
            let guard = guardrails.into_iter().find(|verdict| verdict.outcome == Outcome::Harmful);
            let worse = || {
                let goal = evidence.goal(&self.rules).filter(|_| !permanent)?;
                (self.verdict(&arm.name) == ArmVerdict::Worse).then_some(("ArmWorse", goal))
            };
            let (code, verdict) = guard.map(|verdict| ("ArmHarmful", verdict)).or_else(worse)?;
            Some((arm.name.clone(), Reason::new(code, format!("arm {} is closed: {}", arm.name, verdict.sentence))))
        };
        self.rules.challengers().filter_map(harm).collect()
    }

    fn control(&self) -> ArmEvidence {
        self.arms.get(&self.rules.control).cloned().unwrap_or_default()
    }

    pub(super) fn verdict(&self, arm: &str) -> ArmVerdict {
        let control = self.control();
        self.arms.get(arm).map_or(ArmVerdict::None, |it| it.verdict(&self.rules, &control, self.users_each))
    }

    /// The open arm that is better than control by most.
    pub(super) fn winner(&self) -> Option<String> {
        let better = self.rules.challengers().filter(|arm| self.is_open(arm));
        let better = better.filter(|arm| self.verdict(&arm.name) == ArmVerdict::Better);
        let effect = |arm: &Arm| {
            let verdict = self.arms.get(&arm.name)?.goal(&self.rules)?;
            verdict.effect.map(|effect| effect.estimate)
        };
        let best = better.filter_map(|arm| Some((arm, effect(arm)?))).max_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(arm, _)| arm.name.clone())
    }

    /// Open challengers of which nothing is proved.
    pub(super) fn undecided(&self) -> usize {
        let open = self.rules.challengers().filter(|arm| self.is_open(arm));
        open.filter(|arm| self.verdict(&arm.name) != ArmVerdict::Better).count()
    }

    /// How far it is.
    pub fn progress(&self, now: Timestamp) -> Reason {
        let (age, open) = (spell(elapsed(self.started, now)), self.rules.challengers().filter(|arm| self.is_open(arm)));
        if self.rules.max_duration.is_none() {
            return Reason::new("Measuring", format!("a permanent holdback, for {age}: {}", self.sentence()));
        }
        let (open, undecided) = (open.count(), self.undecided());
        Reason::new("Progressing", format!("{undecided} of {open} arms undecided after {age}: {}", self.sentence()))
    }

    /// The arms as they stand, in the order of the policy.
    pub fn records(&self) -> Vec<ArmRecord> {
        let control = self.control();
        let arm = |arm: &Arm| self.arms.get(&arm.name)?.record(&self.rules, &arm.name, &control, self.users_each);
        self.rules.arms.iter().filter_map(arm).collect()
    }

    /// The goals of all challengers.
    pub(super) fn sentence(&self) -> String {
        let goal = |arm: &Arm| {
            let verdict = self.arms.get(&arm.name)?.goal(&self.rules)?;
            Some(format!("{}: {}", arm.name, verdict.sentence))
        };
        self.rules.challengers().filter_map(goal).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn record(&self, result: ExperimentResult, reason: Reason, now: Timestamp) -> Record {
        Record {
            started: self.started,
            ended: now,
            result,
            reason,
            winner: self.winner().filter(|_| result == ExperimentResult::Winner),
            alpha: self.rules.alpha(),
            sample_ratio_ln_e: self.sample_ratio.ln_e(),
            sample_ratio: self.sample_ratio.sentence(),
            arms: self.records(),
            rules: self.rules.clone(),
        }
    }
}
