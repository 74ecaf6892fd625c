//! What all our pods have in common: one container of our image that runs as nobody, writes nowhere but into its own
//! scratch space, and fits the Pod Security level `restricted`.

use fairway_api::Model;
use fairway_api::workload::{EnvVar, PodTemplate, Resources};
use serde_json::{Map, Value, json};

use crate::settings::Settings;

/// Where users are served.
pub(crate) const PORT: u16 = 8080;
/// Where the operator asks, and health and metrics are.
pub(crate) const ADMIN_PORT: u16 = 8081;
/// Where a process may write.
pub(crate) const SCRATCH: &str = "/var/lib/fairway";
/// What a container says when it ends for good: read by the operator.
pub(crate) const LAST_WORDS: &str = "/dev/termination-log";

/// One container of ours. `more` adds fields or replaces them.
pub(crate) fn container(name: &str, settings: &Settings, args: &[String], model: &Model, more: Value) -> Value {
    let mut container = json!({
        "name": name,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": args,
        "env": [
            {"name": "FAIRWAY_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "FAIRWAY_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "RUST_BACKTRACE", "value": "0"},
        ],
        "envFrom": bucket_env(model),
        "terminationMessagePath": LAST_WORDS,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}, {"name": "tmp", "mountPath": "/tmp"}],
    });
    merge(&mut container, more);
    container
}

/// What no container may do, whoever made its image.
pub(crate) fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
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

/// A template's part of a pod: `labels` and `annotations` are the operator's, and come last. `account` is the service
/// account where the template names none.
pub(crate) fn template(
    labels: &Value,
    annotations: &Value,
    mut spec: Value,
    account: Option<&str>,
    more: &PodTemplate,
) -> Value {
    let mut added = Map::new();
    if !more.node_selector.is_empty() {
        added.insert("nodeSelector".to_owned(), json!(more.node_selector));
    }
    if !more.tolerations.is_empty() {
        added.insert("tolerations".to_owned(), json!(more.tolerations));
    }
    if let Some(class) = &more.priority_class_name {
        added.insert("priorityClassName".to_owned(), json!(class));
    }
    if !more.image_pull_secrets.is_empty() {
        added.insert("imagePullSecrets".to_owned(), json!(more.image_pull_secrets));
    }
    if let Some(account) = more.service_account_name.as_deref().or(account) {
        added.insert("serviceAccountName".to_owned(), json!(account));
        added.insert("automountServiceAccountToken".to_owned(), json!(true));
    }
    merge(&mut spec, Value::Object(added));
    let mut metadata = json!({"labels": more.labels, "annotations": more.annotations});
    merge(&mut metadata, json!({"labels": labels, "annotations": annotations}));
    json!({"metadata": metadata, "spec": spec})
}

/// How pods spread: as the manifest says, or over nodes as well as it goes.
pub(crate) fn spread(selector: &Value, more: &PodTemplate) -> Value {
    let one = |key: &str, skew: i32, when: Value| json!({"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": {"matchLabels": selector}});
    let asked = more.topology_spread.iter();
    let asked: Vec<Value> = asked.map(|it| one(&it.topology_key, it.max_skew, json!(it.when_unsatisfiable))).collect();
    if asked.is_empty() { json!([one("kubernetes.io/hostname", 1, json!("ScheduleAnyway"))]) } else { json!(asked) }
}

/// What a container asks for: processors are requested and shared, what cannot be taken back is bounded too.
pub(crate) fn resources(asked: Option<&Resources>, cpu: &str, memory: &str) -> Value {
    let Some(asked) = asked else { return json!({"requests": {"cpu": cpu, "memory": memory}}) };
    let mut limits = Map::new();
    limits.extend(asked.memory.as_ref().map(|it| ("memory".to_owned(), json!(it))));
    limits.extend(asked.ephemeral_storage.as_ref().map(|it| ("ephemeral-storage".to_owned(), json!(it))));
    limits.extend(asked.devices.iter().map(|(name, it)| (name.clone(), json!(it))));
    let mut requests = limits.clone();
    requests.extend(asked.cpu.as_ref().map(|it| ("cpu".to_owned(), json!(it))));
    json!({"requests": requests, "limits": limits})
}

/// Variables of a manifest, as a container has them.
pub(crate) fn env(variables: &[EnvVar]) -> Vec<Value> {
    let one = |it: &EnvVar| match &it.secret_key_ref {
        Some(secret) => json!({"name": it.name, "valueFrom": {"secretKeyRef": secret}}),
        None => json!({"name": it.name, "value": it.value}),
    };
    variables.iter().map(one).collect()
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
