//! The kind `ModelEndpoint`: what to serve, how to scale, how to roll out. The doc comments are the schema's descriptions
//! and the reference's text. Whether values fit together is checked in the conversion, not here.

mod gates;
mod policy;
mod rollout;

pub use rollout::{Freeze, Gate, GateMetric, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Rollout, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::{Condition, conditions};
use crate::values::{Duration, Number, Share, VersionRef};

/// What to serve, how to scale, and how to roll out.
#[derive(Clone, Debug, PartialEq, kube::CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "ModelEndpoint",
    plural = "modelendpoints",
    shortname = "fwe",
    category = "fairway",
    namespaced,
    status = "ModelEndpointStatus",
    derive = "PartialEq",
    doc = "What to serve, how to scale, and how to roll out."
)]
#[kube(printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"))]
#[kube(printcolumn(name = "Stable", type_ = "string", json_path = ".status.stable"))]
#[kube(printcolumn(name = "Canary", type_ = "string", json_path = ".status.canary"))]
#[kube(printcolumn(name = "Weight", type_ = "string", json_path = ".status.weight"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.model == oldSelf.model", "message": "an endpoint's log belongs to one model: make another endpoint"
}]))]
pub struct ModelEndpointSpec {
    /// The model to serve, of the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub model: String,
    /// What to roll towards: an alias is followed, a number or a digest pins. Stable is the endpoint's own, in its log.
    #[serde(default = "default_version")]
    pub version: VersionRef,
    /// Whether its verdicts move the alias `champion`; other endpoints of the model then try the new champion themselves.
    #[serde(default = "yes")]
    pub promotes: bool,
    /// What answers.
    #[serde(default)]
    pub server: Server,
    /// How many model servers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// How a new version meets users.
    #[serde(default)]
    pub rollout: Rollout,
    /// Who answers when the assigned version cannot, best first.
    #[serde(default = "default_fallback")]
    #[schemars(length(min = 1, max = 4))]
    pub fallback: Vec<Rung>,
    /// Share of users who stay on the baseline for ever, so that the effect of the whole stays measurable.
    #[serde(default = "nobody")]
    pub holdback: Share,
    /// What is logged of each answer.
    #[serde(default)]
    pub decision_log: DecisionLog,
}

fn default_version() -> VersionRef {
    VersionRef::Alias("challenger".to_owned())
}

fn yes() -> bool {
    true
}

fn nobody() -> Share {
    Share::ZERO
}

fn default_fallback() -> Vec<Rung> {
    vec![Rung::Stable, Rung::Cached, Rung::SegmentPopularity, Rung::Popularity]
}

/// What answers: at most one of `builtin` and `container`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.builtin) || !has(self.container)", "message": "name at most one of builtin and container"
}]))]
pub struct Server {
    /// Fairway's own model server; used when nothing is named. Has no settings: written `{}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinServer>,
    /// Any server of the Open Inference Protocol v2, behind Fairway's router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerServer>,
    /// A version that has not answered after this is given up and the fallback answers.
    pub deadline: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self { builtin: None, container: None, deadline: Duration::millis(250) }
    }
}

/// Fairway's own model server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuiltinServer {}

/// Any server of the Open Inference Protocol v2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerServer {
    /// The image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,
    /// The port that it listens on.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

fn default_port() -> u16 {
    8080
}

/// How many model servers run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.min <= self.max", "message": "min must not be above max"
}]))]
pub struct Scaling {
    /// Fewest replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,
    /// Most replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// Requests in flight that one replica should hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<Number>,
    /// Requests a second that one replica should answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Number>,
    /// Latency that 95% of the requests should keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<Duration>,
    /// Who decides on the number of replicas.
    pub mode: ScalingMode,
}

impl Default for Scaling {
    fn default() -> Self {
        Self { min: 1, max: 4, in_flight: None, requests_per_second: None, p95: None, mode: ScalingMode::Builtin }
    }
}

/// Who decides on the number of replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingMode {
    /// Fairway, which knows about the canary.
    #[default]
    Builtin,
    /// A HorizontalPodAutoscaler.
    HPA,
}

/// Who answers when the assigned version cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rung {
    /// The stable version.
    Stable,
    /// The user's last good answer.
    Cached,
    /// What sold lately in the user's segment.
    SegmentPopularity,
    /// What sold lately everywhere.
    Popularity,
}

impl From<Rung> for fairway_wire::Rung {
    fn from(rung: Rung) -> Self {
        match rung {
            Rung::Stable => Self::Stable,
            Rung::Cached => Self::Cached,
            Rung::SegmentPopularity => Self::SegmentPopularity,
            Rung::Popularity => Self::Popularity,
        }
    }
}

/// What is logged of each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DecisionLog {
    /// Share of the answers that are logged.
    pub sample: Share,
    /// How long they are kept.
    pub retention: Duration,
}

impl Default for DecisionLog {
    fn default() -> Self {
        Self { sample: Share::FULL, retention: Duration::days(90) }
    }
}

/// What is known about an endpoint now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelEndpointStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The trusted version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// The version on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Share of users on the version on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Ready, Progressing, Paused, Degraded, RolledBack, TelemetryMissing, EvidenceFeasible.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
