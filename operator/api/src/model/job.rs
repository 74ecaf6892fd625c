//! How a training job runs on a cluster: by what, how often again, and what becomes of its failures.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ModelSpec;
use crate::error::FieldError;
use crate::workload::{environment, pod, resources};

/// What runs a training job instead of a plain Job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(self.kind == 'TrainJob') == has(self.name)",
    "message": "TrainJob needs the name of a training runtime, and JobSet has none"
}]))]
pub struct RuntimeRef {
    /// What runs it. Its CustomResourceDefinition must be there, and for TrainJob a runtime that has the containers which the
    /// operator fills.
    pub kind: RuntimeKind,
    /// For TrainJob: name of the ClusterTrainingRuntime, such as the chart's `fairway` (for a container) or `fairway-builtin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Pods that train together. More than one: of a container only.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub nodes: u32,
}

fn one() -> u32 {
    1
}

/// What runs a training job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuntimeKind {
    /// A JobSet (`jobset.x-k8s.io/v1alpha2`).
    JobSet,
    /// A TrainJob of Kubeflow (`trainer.kubeflow.org`).
    TrainJob,
}

/// What becomes of a training job that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Failures {
    /// How often it is tried again, from its last checkpoint.
    #[schemars(range(min = 0, max = 20))]
    pub retries: u32,
    /// Rules, of which the first that fits counts. After them: exit code 2 (invalid input) fails; preemption, eviction and the
    /// loss of a node are tried again at no cost (these three, where they are tried again, all at the same cost); everything
    /// else costs a retry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub rules: Vec<FailureRule>,
}

/// Reasons that Kubernetes does not tell apart when it tries a job again.
const DISRUPTIONS: [FailureReason; 3] = [FailureReason::Evicted, FailureReason::Preempted, FailureReason::NodeLost];

impl Failures {
    /// The first rule that names a reason, with its place.
    pub fn of(&self, reason: FailureReason) -> Option<(usize, FailureAction)> {
        let rule = self.rules.iter().enumerate().find(|(_, rule)| rule.reasons.contains(&reason));
        rule.map(|(index, rule)| (index, rule.then))
    }

    /// What is done about a disruption of whatever sort, except where a rule says that one sort of it ends the run.
    pub fn of_disruptions(&self) -> FailureAction {
        let again = |then: &FailureAction| *then != FailureAction::Fail;
        DISRUPTIONS.into_iter().map(|reason| self.of_disruption(reason)).find(again).unwrap_or(FailureAction::Fail)
    }

    fn of_disruption(&self, reason: FailureReason) -> FailureAction {
        self.of(reason).map_or(FailureAction::RetryFree, |(_, then)| then)
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        for (i, rule) in self.rules.iter().enumerate() {
            rule.check(&format!("spec.trainer.failures.rules[{i}]"), errors);
        }
        let costs = |then| DISRUPTIONS.into_iter().filter(move |reason| self.of_disruption(*reason) == then);
        let (Some(paid), Some(free)) = (costs(FailureAction::Retry).next(), costs(FailureAction::RetryFree).next())
        else {
            return;
        };
        let index = self.of(paid).map_or(0, |(index, _)| index);
        let problem =
            format!("{paid:?} costs a retry and {free:?} does not, and Kubernetes cannot tell one from the other");
        let help =
            "name Evicted, Preempted and NodeLost in one rule with Retry, or none of them (they cost nothing then)";
        errors.push(FieldError::new(format!("spec.trainer.failures.rules[{index}].then"), problem, help));
    }
}

impl Default for Failures {
    fn default() -> Self {
        Self { retries: 2, rules: Vec::new() }
    }
}

/// What becomes of one sort of failure: exit codes or reasons, and what is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.exitCodes) != has(self.reasons)", "message": "name exactly one of exitCodes and reasons"
}]))]
pub struct FailureRule {
    /// Codes that the trainer's process ended with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 255)))]
    pub exit_codes: Vec<i32>,
    /// Why the pod ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    pub reasons: Vec<FailureReason>,
    /// What is done.
    pub then: FailureAction,
}

/// Why a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// It used more memory than its limit.
    OOMKilled,
    /// The node ran out of something, or was drained. `Fail` is carried out as far as the pod is still there to be seen.
    Evicted,
    /// A pod of higher priority took its place.
    Preempted,
    /// The node is gone.
    NodeLost,
    /// Its image cannot be had. Unless that fails the run, it is tried again at no cost until the run's deadline.
    ImagePull,
}

/// What is done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailureAction {
    /// The run has failed.
    Fail,
    /// It is tried again, while there are retries.
    Retry,
    /// It is tried again and costs no retry.
    RetryFree,
}

impl ModelSpec {
    /// Checks what a training job asks of the cluster.
    pub(super) fn check_job(&self, errors: &mut Vec<FieldError>) {
        let trainer = &self.trainer;
        resources("spec.trainer.resources", trainer.resources.as_ref(), errors);
        pod("spec.trainer.podTemplate", &trainer.pod_template, errors);
        if self.service_account_name.is_some() && trainer.pod_template.service_account_name.is_some() {
            let field = "spec.trainer.podTemplate.serviceAccountName";
            errors.push(FieldError::new(field, "serviceAccountName is there already", "keep one of them"));
        }
        if let Some(container) = &trainer.container {
            environment("spec.trainer.container.env", &container.env, errors);
        }
        if let Some(runtime) = &trainer.runtime_ref {
            let problem = match (runtime.kind, &runtime.name) {
                (RuntimeKind::TrainJob, None) => Some("TrainJob needs the name of a training runtime"),
                (RuntimeKind::JobSet, Some(_)) => Some("JobSet has no training runtime"),
                _ => None,
            };
            let help = "{kind: TrainJob, name: fairway} or {kind: JobSet}";
            errors.extend(problem.map(|problem| FieldError::new("spec.trainer.runtimeRef", problem, help)));
        }
        trainer.failures.check(errors);
    }
}

impl FailureRule {
    fn check(&self, field: &str, errors: &mut Vec<FieldError>) {
        if self.exit_codes.is_empty() == self.reasons.is_empty() {
            let both = !self.reasons.is_empty();
            let problem = if both { "both exitCodes and reasons are named" } else { "the rule fits no failure" };
            errors.push(FieldError::new(field, problem, "name exactly one of exitCodes and reasons"));
        }
        let mut seen = BTreeSet::new();
        for reason in self.reasons.iter().filter(|reason| !seen.insert(**reason)) {
            let problem = format!("{reason:?} is there already");
            errors.push(FieldError::new(format!("{field}.reasons"), problem, "each reason once"));
        }
    }
}
