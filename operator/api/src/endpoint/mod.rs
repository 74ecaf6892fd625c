//! The kind `ModelEndpoint`: what to serve, how to scale, how to roll out. The doc comments are the schema's descriptions
//! and the reference's text. Whether values fit together is checked in the conversion, not here.

mod escalation;
mod gates;
mod network;
mod policy;
mod rollout;
mod scaling;
mod serving;
mod status;

pub use network::{
    HttpRoute, NetworkPolicy, NetworkPolicyMode, Notification, NotificationEvent, NotificationFormat, ParentRef, Peer,
};
pub use rollout::{Freeze, Gate, GateMetric, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Rollout, Step};
pub use scaling::{Scaling, ScalingMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use serving::{BuiltinServer, ContainerServer, Router, Server};
pub use status::{ModelEndpointStatus, RequestReason, RequestStatus, RolloutProgress};

use crate::values::{Duration, Share, VersionRef};
use crate::workload::{DeletionPolicy, is_default};

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
    scale(
        spec_replicas_path = ".spec.scaling.min",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    derive = "PartialEq",
    doc = "What to serve, how to scale, and how to roll out."
)]
#[kube(printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"))]
#[kube(printcolumn(name = "Stable", type_ = "string", json_path = ".status.stable"))]
#[kube(printcolumn(name = "Canary", type_ = "string", json_path = ".status.canary"))]
#[kube(printcolumn(name = "Weight", type_ = "string", json_path = ".status.weight"))]
#[kube(printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"))]
#[kube(printcolumn(
    name = "Reason",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
    priority = 1
))]
#[kube(printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.model == oldSelf.model", "message": "an endpoint's log belongs to one model: make another endpoint",
    "fieldPath": ".model"
}, {
    "rule": "self.scaling.mode != 'HPA' || has(self.scaling.inFlight) || has(self.scaling.requestsPerSecond) || has(self.server.resources) && has(self.server.resources.cpu)",
    "message": "HPA by processor use needs server.resources.cpu: the use is a share of what is requested",
    "fieldPath": ".server"
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
    /// What stands before it.
    #[serde(default)]
    pub router: Router,
    /// How many model servers run, for each version.
    #[serde(default)]
    pub scaling: Scaling,
    /// How a new version meets users.
    #[serde(default)]
    pub rollout: Rollout,
    /// Who is asked when the assigned version has no answer, in this order; Popularity, which always has one, is the last.
    #[serde(default = "default_fallback")]
    #[schemars(length(min = 1, max = 4))]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self.size() == 0 || self[self.size() - 1] == 'Popularity'", "message": "end with Popularity: it always has an answer"
    }, {
        "rule": "self.all(one, self.exists_one(other, other == one))", "message": "each rung at most once"
    }]))]
    pub fallback: Vec<Rung>,
    /// Share of users who stay on the baseline for ever, so that the effect of the whole stays measurable.
    #[serde(default = "nobody")]
    pub holdback: Share,
    /// What is logged of each answer.
    #[serde(default)]
    pub decision_log: DecisionLog,
    /// Who is told what, by webhook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub notifications: Vec<Notification>,
    /// Who may reach the pods over the network.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// The way in through a Gateway of the Gateway API. Without it the endpoint is a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRoute>,
    /// What becomes of the endpoint's windows, decisions and plans in the bucket when it is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Whether the operator leaves the endpoint alone: nothing is started, rolled out, scaled or taken back. Routers go on with
    /// their last orders; a version on trial loses its users when its lease runs out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspend: bool,
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
