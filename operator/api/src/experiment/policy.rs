//! From the manifest's experiment to the policy that core decides by, with every contradiction named. All are reported, not
//! only the first.

use std::collections::BTreeSet;

use fairway_core::experiment::{Arm as PolicyArm, ExperimentPolicy, Guardrail, Treatment};
use fairway_core::policy::{Margin, Probability};
use fairway_wire::{Target, Weight};

use super::{Arm, ExperimentGate, ExperimentGateMetric, ModelExperimentSpec, Purpose};
use crate::error::{FieldError, positive};
use crate::values::{Duration, Name, Tolerance, VersionRef};

/// How long a comparison may take when nothing is said: four weeks hold every weekday alike.
const MAX_DURATION: Duration = Duration::days(28);

impl ModelExperimentSpec {
    /// The policy that core decides by. `resolve` finds the version that a reference stands for.
    ///
    /// # Errors
    /// All fields that contradict each other, and versions that are not there.
    pub fn policy(
        &self,
        name: &str,
        resolve: impl Fn(&VersionRef) -> Option<Target>,
    ) -> Result<ExperimentPolicy, Vec<FieldError>> {
        let mut errors = Vec::new();
        if name.parse::<Name>().is_err() {
            let help =
                "1 to 63 of a-z, 0-9 and `-`, beginning with a letter: it is part of the hash that assigns users";
            errors.push(FieldError::new("metadata.name", format!("`{name}` cannot name an experiment"), help));
        }
        let arms = self.arms(&resolve, &mut errors);
        let gates = self.gates(&mut errors);
        let max_duration = self.max_duration(&mut errors);
        let rate = Probability::new(self.false_alarm_rate.fraction());
        if rate.is_err() {
            let problem = format!("{} is not a chance that an experiment can have", self.false_alarm_rate);
            errors.push(FieldError::new("spec.falseAlarmRate", problem, "above 0% and below 100%; 5% is usual"));
        }
        if self.share.weight() == Weight::ZERO {
            errors.push(FieldError::new("spec.share", "nobody would take part", "above 0%"));
        }
        let (Ok(false_alarm_rate), true) = (rate, errors.is_empty()) else { return Err(errors) };
        let policy = ExperimentPolicy {
            name: name.to_owned(),
            layer: self.layer.to_string(),
            share: self.share.weight(),
            arms,
            control: self.control.to_string(),
            goal: self.goal.name().to_owned(),
            min_users: self.min_users,
            min_requests: self.min_requests,
            false_alarm_rate,
            max_duration,
            gates,
        };
        match policy.check() {
            Ok(()) => Ok(policy),
            Err(error) => Err(vec![FieldError::new("spec", error.to_string(), "")]),
        }
    }

    /// All that can be checked without the registry.
    ///
    /// # Errors
    /// All fields that contradict each other.
    pub fn check(&self, name: &str) -> Result<(), Vec<FieldError>> {
        self.policy(name, |_| Some(Target { version: 1, digest: String::new() })).map(drop)
    }

    fn arms(&self, resolve: &impl Fn(&VersionRef) -> Option<Target>, errors: &mut Vec<FieldError>) -> Vec<PolicyArm> {
        let mut names = BTreeSet::new();
        let mut arms = Vec::new();
        for (i, arm) in self.arms.iter().enumerate() {
            let field = format!("spec.arms[{i}]");
            if !names.insert(arm.name.as_str()) {
                let problem = format!("`{}` is there already", arm.name);
                errors.push(FieldError::new(format!("{field}.name"), problem, "each arm needs its own name"));
            }
            match treatment(arm, resolve) {
                Ok(treatment) => arms.push(PolicyArm { name: arm.name.to_string(), treatment, weight: arm.weight }),
                Err(problem) => {
                    let help = "version: \"3\" (or an alias, or a digest), or baseline: {}";
                    errors.push(FieldError::new(field, problem, help));
                }
            }
        }
        if !names.contains(self.control.as_str()) {
            let problem = format!("`{}` is none of the arms", self.control);
            let known = names.into_iter().collect::<Vec<_>>().join(", ");
            errors.push(FieldError::new("spec.control", problem, format!("one of {known}")));
        }
        arms
    }

    fn gates(&self, errors: &mut Vec<FieldError>) -> Vec<Guardrail> {
        let mut seen = BTreeSet::new();
        let mut gates = Vec::new();
        for (i, gate) in self.gates.iter().enumerate() {
            let field = format!("spec.gates[{i}]");
            if !seen.insert(gate.metric) {
                let problem = "there is a gate on it already";
                errors.push(FieldError::new(format!("{field}.metric"), problem, "one gate a metric"));
            }
            gates.extend(guardrail(&field, gate, errors));
        }
        gates
    }

    fn max_duration(&self, errors: &mut Vec<FieldError>) -> Option<std::time::Duration> {
        if let Some(limit) = self.max_duration {
            positive("spec.maxDuration", limit, errors);
        }
        match self.purpose {
            Purpose::Compare => Some(self.max_duration.unwrap_or(MAX_DURATION).std()),
            Purpose::Holdback => {
                if self.max_duration.is_some() {
                    let help = "leave it out, or purpose: Compare";
                    errors.push(FieldError::new("spec.maxDuration", "a holdback is permanent", help));
                }
                None
            }
        }
    }
}

fn treatment(arm: &Arm, resolve: &impl Fn(&VersionRef) -> Option<Target>) -> Result<Treatment, String> {
    match (&arm.version, arm.baseline) {
        (Some(version), None) => {
            let found = resolve(version).ok_or_else(|| format!("there is no version `{version}`"))?;
            Ok(Treatment::Version(found))
        }
        (None, Some(_)) => Ok(Treatment::Baseline),
        (Some(_), Some(_)) => Err("both version and baseline are named".to_owned()),
        (None, None) => Err("it says nothing of what its users get".to_owned()),
    }
}

fn guardrail(field: &str, gate: &ExperimentGate, errors: &mut Vec<FieldError>) -> Option<Guardrail> {
    let default = match gate.metric {
        ExperimentGateMetric::Errors => 10.0,
        ExperimentGateMetric::Slow => 20.0,
    };
    let tolerance = gate.tolerance.unwrap_or(Tolerance::Percent(default));
    let Margin::Relative(tolerance) = tolerance.margin() else {
        let problem = format!("`{tolerance}` is absolute, and this gate compares a ratio of rates");
        errors.push(FieldError::new(format!("{field}.tolerance"), problem, "a percentage, such as 10%"));
        return None;
    };
    Some(match gate.metric {
        ExperimentGateMetric::Errors => Guardrail::Errors { tolerance },
        ExperimentGateMetric::Slow => Guardrail::Slow { tolerance },
    })
}
