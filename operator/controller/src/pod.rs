//! What all our pods have in common: one container of our image that runs as nobody, writes nowhere but into its own
//! scratch space, and fits the Pod Security level `restricted`.

use fairway_api::Model;
use serde_json::{Value, json};

/// Where users are served.
pub(crate) const PORT: u16 = 8080;
/// Where the operator asks, and health and metrics are.
pub(crate) const ADMIN_PORT: u16 = 8081;
/// Where a process may write.
pub(crate) const SCRATCH: &str = "/var/lib/fairway";
/// What a container says when it ends for good: read by the operator.
pub(crate) const LAST_WORDS: &str = "/dev/termination-log";

/// One container of ours. `more` adds fields or replaces them.
pub(crate) fn container(name: &str, image: &str, args: &[String], model: &Model, more: Value) -> Value {
    let mut container = json!({
        "name": name,
        "image": image,
        "args": args,
        "env": [
            {"name": "FAIRWAY_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "FAIRWAY_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "RUST_BACKTRACE", "value": "0"},
        ],
        "envFrom": bucket_env(model),
        "terminationMessagePath": LAST_WORDS,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}, {"name": "tmp", "mountPath": "/tmp"}],
    });
    merge(&mut container, more);
    container
}

/// A pod's spec around containers. `more` adds fields or replaces them.
pub(crate) fn spec(containers: Vec<Value>, more: Value) -> Value {
    let mut spec = json!({
        "containers": containers,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    });
    merge(&mut spec, more);
    spec
}

/// The model's credentials come as they are in its Secret: `AWS_ACCESS_KEY_ID` and the like.
fn bucket_env(model: &Model) -> Vec<Value> {
    let secret = model.spec.storage_secret_ref.iter();
    secret.map(|secret| json!({"secretRef": {"name": secret.name}})).collect()
}

/// Puts what is in `more` over `base`: maps are merged, lists of ours are extended, anything else is replaced.
pub(crate) fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(more)) => base.extend(more),
        (base, more) => *base = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_merge_and_lists_grow() {
        let mut base = json!({"a": {"x": 1, "y": 2}, "list": [1], "text": "old"});
        merge(&mut base, json!({"a": {"y": 3, "z": 4}, "list": [2], "text": "new"}));
        assert_eq!(base, json!({"a": {"x": 1, "y": 3, "z": 4}, "list": [1, 2], "text": "new"}));
    }
}
