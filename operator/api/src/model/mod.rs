//! The kind `Model`: what to train from what, when, behind which gates. The doc comments are the schema's descriptions and
//! the reference's text. Whether values fit together is checked in the conversion, not here.

mod admission;
mod data;
mod evaluation;
mod features;
mod job;
mod policy;
mod retrain;
mod risk;
mod status;
mod trainer;
mod triggers;

pub use data::{Check, Data, Source};
pub use evaluation::{Evaluation, EvaluationGate, Fairness, Latency, Opponent, SegmentScope};
pub use features::{Category, Features, ItemFeature, Recency, Rolling, TextFeature, UserFeature};
pub use job::{FailureAction, FailureReason, FailureRule, Failures, RuntimeKind, RuntimeRef};
pub use retrain::{Breaker, Budget, DegradationAction, DegradationRule, Drift, NewData, Retrain, Rival, Schedule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use status::{DriftStatus, FeatureStatus, LastRun, ModelStatus};
pub use trainer::{Builtin, ContainerTrainer, Family, Trainer, TrainingMode};

use crate::values::{Duration, Number};
use crate::workload::{DeletionPolicy, is_default};
pub use crate::workload::{Resources, SecretRef};

/// What to train from what, when, and behind which gates.
#[derive(Clone, Debug, PartialEq, kube::CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "Model",
    plural = "models",
    shortname = "fwm",
    category = "fairway",
    namespaced,
    status = "ModelStatus",
    derive = "PartialEq",
    doc = "What to train from what, when, and behind which gates."
)]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"))]
#[kube(printcolumn(name = "Champion", type_ = "string", json_path = ".status.champion"))]
#[kube(printcolumn(
    name = "Drifted",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Drifted\")].status"
))]
#[kube(printcolumn(name = "Run", type_ = "string", json_path = ".status.activeRun"))]
#[kube(printcolumn(name = "Last", type_ = "string", json_path = ".status.lastRun.outcome", priority = 1))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.serviceAccountName) || !has(self.trainer.podTemplate) || !has(self.trainer.podTemplate.serviceAccountName)",
    "message": "name serviceAccountName here or in trainer.podTemplate, not in both",
    "fieldPath": ".serviceAccountName"
}]))]
pub struct ModelSpec {
    /// URL of the bucket that keeps the versions: `s3://`, `gs://`, `az://`, `file://` or `memory://`. Default: a folder
    /// beside the other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub registry: Option<String>,
    /// Secret with the bucket's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_secret_ref: Option<SecretRef>,
    /// Service account of the training jobs, for buckets opened by workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Who answers for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// How much harm a wrong version can do. With High one person at least must approve a version, all decisions are logged,
    /// and what is not known counts against a version on trial: it is taken back when routers report nothing, and never
    /// promoted without proof that was asked for.
    #[serde(default)]
    pub risk: Risk,
    /// Where the data comes from.
    pub data: Data,
    /// What is derived from the data for the model, once for trainer and server.
    #[serde(default)]
    pub features: Features,
    /// What counts as success, and how long it may take.
    pub reward: Reward,
    /// How to train.
    pub trainer: Trainer,
    /// How a candidate is judged before it meets any user.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// When to train again, and what holds it back.
    #[serde(default)]
    pub retrain: Retrain,
    /// Who must agree before a version may serve.
    #[serde(default)]
    pub approval: Approval,
    /// Whose signature a version must have to be served. Without it, unsigned versions are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// What is kept, and for how long.
    #[serde(default)]
    pub retention: Retention,
    /// What becomes of the model's versions, runs and plans in the bucket when it is deleted. Its log stays: it says what
    /// was deleted, when and by whom.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Whether no run is started, whoever asks. A run in progress goes on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspend: bool,
}

/// Who answers for a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owner {
    /// The team, as people know it.
    #[schemars(length(min = 1, max = 253))]
    pub team: String,
}

/// How much harm a wrong version can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Risk {
    /// An ordinary model.
    #[default]
    Standard,
    /// At least one approval, all decisions logged, and no promotion without news of a version.
    High,
}

/// What counts as success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reward {
    /// The event that counts.
    pub event: RewardEvent,
    /// What one event is worth: One counts each event as 1.
    #[serde(default)]
    pub value: RewardValue,
    /// How long feedback may take after an exposure. Verdicts use only exposures older than this.
    pub within: Duration,
    /// Most reward that one exposure can earn, so that no single user decides a verdict.
    #[serde(default = "default_cap")]
    pub cap: Number,
}

fn default_cap() -> Number {
    Number::whole(10)
}

/// What a user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RewardEvent {
    /// Looked at the item.
    View,
    /// Opened it from a list.
    Click,
    /// Bought, played, read to the end: consumed.
    Purchase,
}

impl From<RewardEvent> for fairway_wire::EventKind {
    fn from(event: RewardEvent) -> Self {
        match event {
            RewardEvent::View => Self::View,
            RewardEvent::Click => Self::Click,
            RewardEvent::Purchase => Self::Purchase,
        }
    }
}

/// What one event is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RewardValue {
    /// Each event counts as 1.
    #[default]
    One,
}

/// Who must agree before a version may serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Approval {
    /// Number of people who must approve a version's digest.
    #[schemars(range(min = 0, max = 10))]
    pub required: u32,
    /// How long an approval stands for a version that does not serve yet. Without it, for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Duration>,
}

/// Whose signature a version must have to be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signing {
    /// Public keys (ECDSA P-256, PEM). A version is served if one of them verifies its signature.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 4096)))]
    pub public_keys: Vec<String>,
}

/// What is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retention {
    /// Newest versions that are kept; what an alias names is always kept.
    #[schemars(range(min = 2, max = 10000))]
    pub versions: u32,
    /// Time within which an erased user's rows are gone from everything that is kept.
    pub erasure: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { versions: 20, erasure: Duration::days(30) }
    }
}
