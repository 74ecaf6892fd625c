//! What people ask of an experiment, and what cannot be asked.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_wire::{Treatment, Weight};
use serde::{Deserialize, Serialize};

use super::error::ExperimentError;
use crate::policy::{Margin, Probability};

/// Most arms of an experiment: the error rate is split over them.
pub const ARMS_MAX: usize = 16;
/// Most guardrails of an experiment.
pub const GUARDRAILS_MAX: usize = 16;

/// An experiment on an endpoint. Arms, rules and rate are fixed when it starts: whoever changes them while looking has no
/// error rate. The share may grow or shrink, and the time may be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentPolicy {
    /// Its name; with the layer it is the salt of its arms.
    pub name: String,
    /// Experiments of one layer exclude each other, those of different layers are independent; whoever is drawn by two is in
    /// the one whose layer comes first by name. The salt of who takes part.
    pub layer: String,
    /// Share of the users who are not held back.
    pub share: Weight,
    /// What its users get, with one of them as control.
    pub arms: Vec<Arm>,
    /// Name of the arm that all others are compared with.
    pub control: String,
    /// The metric that decides, by user and matured; more is better.
    pub goal: String,
    /// Users in an arm and in control before "better" counts.
    pub min_users: u64,
    /// Requests in an arm and in control before "better" counts; the bounds are narrowest at so many.
    pub min_requests: u64,
    /// Chance that any arm that is as good as control gets any verdict, over the whole experiment.
    pub false_alarm_rate: Probability,
    /// Inconclusive after this. `None` is a permanent holdback: its verdicts are told and end nothing.
    pub max_duration: Option<Duration>,
    /// Proof of harm beyond the tolerance stops an arm.
    pub gates: Vec<Guardrail>,
}

/// What one part of an experiment's users gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What its users get.
    pub treatment: Treatment,
    /// Its part: of 1, 1 and 2 the last has half of the experiment's users.
    pub weight: u32,
}

/// What no arm may harm. Compared with control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guardrail {
    /// Requests that were not answered; the tolerance is on the ratio of rates.
    Errors {
        /// Relative: 0.10 allows 10 % more errors.
        tolerance: f64,
    },
    /// Requests that were answered late; the tolerance is on the ratio of rates.
    Slow {
        /// Relative.
        tolerance: f64,
    },
    /// A mean by user, of which more is better.
    Mean {
        /// Its name.
        metric: String,
        /// How much worse still counts as not worse.
        tolerance: Margin,
    },
}

impl Guardrail {
    /// What people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Errors { .. } => "errors",
            Self::Slow { .. } => "slow",
            Self::Mean { metric, .. } => metric,
        }
    }
}

impl ExperimentPolicy {
    /// Checks all that can be checked without other experiments.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn check(&self) -> Result<(), ExperimentError> {
        let experiment = self.name.clone();
        check_name(&experiment, "name", &self.name)?;
        check_name(&experiment, "layer", &self.layer)?;
        self.check_arms()?;
        let empty = |field, cure| Err(ExperimentError::Empty { experiment: experiment.clone(), field, cure });
        if self.share == Weight::ZERO {
            return empty("share", "nobody would take part; above 0 %");
        }
        if self.goal.is_empty() {
            return empty("goal", "name the metric that decides");
        }
        if self.max_duration.is_some_and(|limit| limit.is_zero()) {
            return empty("maxDuration", "longer than zero, or none for a permanent holdback");
        }
        self.check_gates()
    }

    fn check_arms(&self) -> Result<(), ExperimentError> {
        let experiment = self.name.clone();
        if !(2..=ARMS_MAX).contains(&self.arms.len()) {
            let (given, allowed) = (self.arms.len(), format!("control and at least another, {ARMS_MAX} at most"));
            return Err(ExperimentError::Count { experiment, field: "arms", given, allowed });
        }
        let mut seen = BTreeSet::new();
        for arm in &self.arms {
            check_name(&experiment, "arms.name", &arm.name)?;
            if arm.weight == 0 {
                return Err(ExperimentError::ArmWeight { experiment, arm: arm.name.clone() });
            }
            if !seen.insert(arm.name.as_str()) {
                return Err(ExperimentError::DuplicateArm { experiment, arm: arm.name.clone() });
            }
        }
        if !seen.contains(self.control.as_str()) {
            let arms = seen.into_iter().collect::<Vec<_>>().join(", ");
            return Err(ExperimentError::Control { experiment, control: self.control.clone(), arms });
        }
        Ok(())
    }

    fn check_gates(&self) -> Result<(), ExperimentError> {
        let experiment = self.name.clone();
        if self.gates.len() > GUARDRAILS_MAX {
            let (given, allowed) = (self.gates.len(), format!("{GUARDRAILS_MAX} at most: each takes part of the rate"));
            return Err(ExperimentError::Count { experiment, field: "gates", given, allowed });
        }
        for gate in &self.gates {
            let margin = match gate {
                Guardrail::Errors { tolerance } | Guardrail::Slow { tolerance } => Margin::Relative(*tolerance),
                Guardrail::Mean { tolerance, .. } => *tolerance,
            };
            if let Err(source) = margin.checked() {
                return Err(ExperimentError::Tolerance { experiment, gate: gate.name().to_owned(), source });
            }
        }
        Ok(())
    }

    /// The arms that are compared with control.
    pub fn challengers(&self) -> impl Iterator<Item = &Arm> {
        self.arms.iter().filter(|arm| arm.name != self.control)
    }

    /// The level of each claim: the rate split evenly over challengers, and for each over two directions of the goal and
    /// the guardrails (a union bound, so whatever depends on whatever).
    pub fn alpha(&self) -> f64 {
        let claims = self.challengers().count().max(1) * (2 + self.gates.len());
        self.false_alarm_rate.get() / claims as f64
    }
}

/// Names are joined with `/` into salts. They begin with a letter, so that none is the salt of the holdback or of a
/// rollout, which have numbers there.
fn check_name(experiment: &str, field: &'static str, name: &str) -> Result<(), ExperimentError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fine = name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain);
    if fine {
        return Ok(());
    }
    let (experiment, name) = (experiment.to_owned(), name.to_owned());
    Err(ExperimentError::Name { experiment, field, name })
}
