//! What the pods of servers, routers and trainers ask of the cluster: resources, placement, environment. A small part of a
//! pod's template, typed: whatever is not here is Fairway's own (security context, probes, selectors) and cannot be changed.

mod check;
mod schemas;

use std::collections::BTreeMap;

pub(crate) use check::{environment, pod, resources};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Quantity;

/// Whether a value says nothing beyond its default.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a container asks of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// Processors, such as `"2"` or `500m`. Requested, not limited: a busy neighbour is better than a throttled answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory, such as `4Gi`. Requested and limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Room on the node's disk, such as `10Gi`. Requested and limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<Quantity>,
    /// Whole devices by the name of their plugin: `{nvidia.com/gpu: 1}`. Requested and limited.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::devices")]
    pub devices: BTreeMap<String, Quantity>,
}

/// What is added to the pods' template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.labels) || self.labels.all(k, !k.startsWith('fairway.dev/') && k != 'app.kubernetes.io/managed-by')",
    "message": "labels of fairway.dev/ and app.kubernetes.io/managed-by are set by the operator",
    "fieldPath": ".labels"
}, {
    "rule": "!has(self.annotations) || self.annotations.all(k, !k.startsWith('fairway.dev/'))",
    "message": "annotations of fairway.dev/ are set by the operator",
    "fieldPath": ".annotations"
}]))]
pub struct PodTemplate {
    /// More labels. Those of `fairway.dev/` and `app.kubernetes.io/managed-by` are the operator's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::labels")]
    pub labels: BTreeMap<String, String>,
    /// More annotations. Those of `fairway.dev/` are the operator's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that are put up with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Name of a PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Service account of the pods. Default: one without rights that the operator makes, or of routers with the one right
    /// to read their orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Secrets that images are pulled with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<SecretRef>,
    /// How the pods spread. Default: over nodes and zones as well as it goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self.all(one, self.exists_one(other, other.topologyKey == one.topologyKey && other.whenUnsatisfiable == one.whenUnsatisfiable))",
        "message": "each topologyKey once with each whenUnsatisfiable"
    }]))]
    pub topology_spread: Vec<TopologySpread>,
}

/// A taint that is put up with, as in a pod's `tolerations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.operator == 'Exists' ? !has(self.value) : has(self.key)",
    "message": "Exists has no value, and Equal needs a key"
}, {
    "rule": "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
    "message": "tolerationSeconds needs effect: NoExecute"
}]))]
pub struct Toleration {
    /// The taint's key. Left out with Exists: every key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,
    /// How `value` is compared.
    pub operator: TolerationOperator,
    /// The taint's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// The taint's effect. Left out: every effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// With NoExecute: how long the pod stays once the taint is there. Left out: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration's value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The taint has this value.
    #[default]
    Equal,
    /// The taint is there.
    Exists,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// Nothing new is placed.
    NoSchedule,
    /// Nothing new is placed if it can be avoided.
    PreferNoSchedule,
    /// What is there goes.
    NoExecute,
}

/// How pods spread over nodes that differ in a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopologySpread {
    /// The node label whose values are spread over: `topology.kubernetes.io/zone`, `kubernetes.io/hostname`.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// How many more pods one value may have than another.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub max_skew: i32,
    /// What happens to a pod that would break it.
    #[serde(default)]
    pub when_unsatisfiable: Unsatisfiable,
}

fn one() -> i32 {
    1
}

/// What happens to a pod that would break the spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unsatisfiable {
    /// It is placed all the same.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One entry of a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The entry.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// One variable of a container's environment: a name and either `value` or `secretKeyRef`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.value) != has(self.secretKeyRef)", "message": "name exactly one of value and secretKeyRef" },
    { "rule": "!self.name.startsWith('FAIRWAY_')", "message": "variables that begin with FAIRWAY_ are set by the operator", "fieldPath": ".name" }
]))]
pub struct EnvVar {
    /// Its name: letters, digits and `_`. Those that begin with `FAIRWAY_` are the operator's.
    #[schemars(length(min = 1, max = 128), extend("pattern" = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// The Secret's entry that it is read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// What becomes of the bucket's data when the object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays. The same manifest, applied again, goes on where it was.
    #[default]
    Orphan,
    /// It is deleted too, and the object stays until that is done. A model stays as long as an endpoint serves it or one of
    /// its versions is under a legal hold.
    Delete,
}
