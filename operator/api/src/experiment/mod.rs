//! The kind `ModelExperiment`: A/B/n and permanent holdbacks on an endpoint. The doc comments are the schema's descriptions
//! and the reference's text. Whether values fit together is checked in the conversion, not here.

mod policy;
mod status;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use status::{ArmStatus, ModelExperimentStatus};

use crate::values::{Duration, Name, Share, Tolerance, VersionRef};
use crate::workload::is_default;

/// What parts of an endpoint's users get instead of what all get, and how the parts are compared.
#[derive(Clone, Debug, PartialEq, kube::CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "ModelExperiment",
    plural = "modelexperiments",
    shortname = "fwx",
    category = "fairway",
    namespaced,
    status = "ModelExperimentStatus",
    derive = "PartialEq",
    doc = "What parts of an endpoint's users get instead of what all get, and how the parts are compared."
)]
#[kube(printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"))]
#[kube(printcolumn(name = "Share", type_ = "string", json_path = ".spec.share"))]
#[kube(printcolumn(
    name = "Complete",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Complete\")].status"
))]
#[kube(printcolumn(name = "Result", type_ = "string", json_path = ".status.result"))]
#[kube(printcolumn(name = "Winner", type_ = "string", json_path = ".status.winner"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.endpoint == oldSelf.endpoint && self.layer == oldSelf.layer",
    "message": "users are assigned by endpoint and layer: make another experiment"
}, {
    "rule": "self.arms == oldSelf.arms && self.control == oldSelf.control",
    "message": "arms are fixed: whoever changes them while looking has no error rate; make another experiment",
    "fieldPath": ".arms"
}, {
    "rule": "self.purpose == oldSelf.purpose && self.goal == oldSelf.goal && self.gates == oldSelf.gates && self.falseAlarmRate == oldSelf.falseAlarmRate && self.minUsers == oldSelf.minUsers && self.minRequests == oldSelf.minRequests",
    "message": "the rules are fixed: whoever changes them while looking has no error rate; make another experiment"
}, {
    "rule": "!(has(oldSelf.stop) && oldSelf.stop) || has(self.stop) && self.stop",
    "message": "what was stopped stays stopped: make another experiment",
    "fieldPath": ".stop"
}, {
    "rule": "self.arms.exists(arm, arm.name == self.control)",
    "message": "control names one of the arms",
    "fieldPath": ".control"
}, {
    "rule": "self.purpose != 'Holdback' || !has(self.maxDuration)",
    "message": "a holdback is permanent: it has no maxDuration",
    "fieldPath": ".maxDuration"
}]))]
pub struct ModelExperimentSpec {
    /// The endpoint, of the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub endpoint: String,
    /// Experiments of one layer have no user in common, those of different layers are independent. A user whom two layers would
    /// draw is in the one that comes first by name.
    #[serde(default = "default_layer")]
    pub layer: Name,
    /// What it is for. A comparison ends; a holdback stays, so that the effect of the whole stays measurable.
    #[serde(default)]
    pub purpose: Purpose,
    /// Share of the users who take part, of those who are not held back by the endpoint. May grow and shrink.
    pub share: Share,
    /// What its users get. Fixed, with everything that decides.
    #[schemars(length(min = 2, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub arms: Vec<Arm>,
    /// Name of the arm that all others are compared with.
    pub control: Name,
    /// What decides, by user and matured; more is better.
    #[serde(default)]
    pub goal: Goal,
    /// Users that an arm and control must have before "better" counts. Told from a sample of 65,536 of them.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 20_000))]
    pub min_users: u64,
    /// Requests that an arm and control must have before "better" counts.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_requests: u64,
    /// Chance that any arm that is as good as control gets a verdict, over the whole experiment and however often one looks.
    #[serde(default = "five_percent")]
    pub false_alarm_rate: Share,
    /// A comparison without a winner ends after this. Default: 28d. A holdback has none. May be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// Proof of harm beyond a gate's tolerance closes an arm.
    #[serde(default = "default_gates")]
    #[schemars(length(max = 8))]
    pub gates: Vec<ExperimentGate>,
    /// Ends it now. Only to true.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop: bool,
}

fn default_layer() -> Name {
    Name::known("default")
}

fn thousand() -> u64 {
    1000
}

fn five_percent() -> Share {
    Share::percent(5)
}

fn default_gates() -> Vec<ExperimentGate> {
    vec![ExperimentGate { metric: ExperimentGateMetric::Errors, tolerance: None }]
}

/// What an experiment is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Purpose {
    /// To find out which arm is better.
    #[default]
    Compare,
    /// To keep some users away from what all get, for ever.
    Holdback,
}

/// What one part of an experiment's users gets: a version or the baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.version) != has(self.baseline)", "message": "name exactly one of version and baseline"
}]))]
pub struct Arm {
    /// Its name.
    pub name: Name,
    /// A version of the endpoint's model. An alias is looked up once, when the experiment starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionRef>,
    /// What everybody would get without a model. Has no settings: written `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Its part: of 1, 1 and 2 the last has half of the experiment's users.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// What everybody would get without a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baseline {}

/// What decides an experiment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    /// Mean reward of matured exposures.
    #[default]
    Reward,
}

impl Goal {
    /// As evidence names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reward => "reward",
        }
    }
}

/// What no arm may harm, compared with control.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExperimentGate {
    /// What is compared.
    pub metric: ExperimentGateMetric,
    /// How much worse still counts as not worse, a percentage. Default: errors 10%, slow 20%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
}

/// What no arm may harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExperimentGateMetric {
    /// Requests that were not answered.
    Errors,
    /// Requests that were answered late, by the limit of the endpoint.
    Slow,
}
