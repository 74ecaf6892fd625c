//! A run's Job as a JobSet: the same pods, rules and queue, and several of them that know each other. Pure.

use serde_json::{Value, json};

use super::build;
use crate::job_kinds::PART;

/// Failures of a Job after which no restart helps.
const FOR_GOOD: [&str; 2] = ["PodFailurePolicy", "DeadlineExceeded"];

/// The JobSet that does what a Job would, in so many pods. One pod is tried again by its Job; of several that train together
/// none can go on without the others, so that all begin again.
pub(super) fn job_set(mut job: Value, name: &str, nodes: u32) -> Value {
    let mut spec = job["spec"].take();
    let mut set = json!({"ttlSecondsAfterFinished": spec["ttlSecondsAfterFinished"].take()});
    if spec["suspend"] == json!(true) {
        set["suspend"] = json!(true);
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|field, _| field != "suspend" && field != "ttlSecondsAfterFinished");
    }
    spec["parallelism"] = json!(nodes);
    spec["completions"] = json!(nodes);
    spec["completionMode"] = json!("Indexed");
    if nodes > 1 {
        let retries = std::mem::replace(&mut spec["backoffLimit"], json!(0));
        set["failurePolicy"] = json!({
            "maxRestarts": retries,
            "rules": [{"name": "forGood", "action": "FailJobSet", "onJobFailureReasons": FOR_GOOD}],
        });
    }
    // Not by index, which would leave a null where there is nothing.
    let inits = spec.pointer_mut("/template/spec/initContainers").and_then(Value::as_array_mut);
    for container in inits.into_iter().flatten().filter(|it| it["name"] == build::THEIRS) {
        if let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) {
            env.extend(together(nodes, name, PART));
        }
    }
    set["replicatedJobs"] = json!([{"name": PART, "replicas": 1, "template": {"spec": spec}}]);
    job["apiVersion"] = json!("jobset.x-k8s.io/v1alpha2");
    job["kind"] = json!("JobSet");
    job["metadata"]["name"] = json!(name);
    job["spec"] = set;
    job
}

/// What a container that trains with others is told of them: how many they are, which one it is, and where the first one is.
pub(super) fn together(nodes: u32, set: &str, part: &str) -> [Value; 3] {
    let index = "metadata.annotations['batch.kubernetes.io/job-completion-index']";
    [
        json!({"name": "FAIRWAY_NODES", "value": nodes.to_string()}),
        json!({"name": "FAIRWAY_NODE", "valueFrom": {"fieldRef": {"fieldPath": index}}}),
        json!({"name": "FAIRWAY_FIRST_NODE", "value": format!("{set}-{part}-0-0.{set}")}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "r-train", "namespace": "shop", "labels": {"kueue.x-k8s.io/queue-name": "gpu"}},
            "spec": {
                "backoffLimit": 2, "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 9, "suspend": true,
                "podFailurePolicy": {"rules": []},
                "template": {"spec": {"initContainers": [
                    {"name": "prepare", "env": []}, {"name": "train", "env": [{"name": "A", "value": "b"}]},
                ]}},
            },
        })
    }

    #[test]
    fn one_pod_is_what_the_job_was() {
        let set = job_set(job(), "r-train", 1);
        assert_eq!((&set["kind"], &set["metadata"]["labels"]), (&json!("JobSet"), &job()["metadata"]["labels"]));
        assert_eq!((&set["spec"]["suspend"], &set["spec"]["ttlSecondsAfterFinished"]), (&json!(true), &json!(9)));
        assert!(set["spec"].get("failurePolicy").is_none());
        let mut plain = job();
        plain["spec"]["template"]["spec"] = json!({"containers": [{"name": "train"}]});
        let plain = job_set(plain, "r-train", 1).to_string();
        assert!(!plain.contains("null"), "a real API server refuses nulls in lists: {plain}");
        let inner = &set["spec"]["replicatedJobs"][0]["template"]["spec"];
        assert_eq!((&inner["backoffLimit"], &inner["activeDeadlineSeconds"]), (&json!(2), &json!(60)));
        assert!(inner.get("suspend").is_none() && inner.get("ttlSecondsAfterFinished").is_none());
    }

    #[test]
    fn several_pods_begin_again_together_and_know_each_other() {
        let set = job_set(job(), "r-train", 3);
        assert_eq!(set["spec"]["failurePolicy"]["maxRestarts"], 2);
        let inner = &set["spec"]["replicatedJobs"][0]["template"]["spec"];
        assert_eq!((&inner["backoffLimit"], &inner["completions"]), (&json!(0), &json!(3)));
        let inits = &inner["template"]["spec"]["initContainers"];
        assert_eq!(inits[0]["env"], json!([]));
        let env: Vec<&str> = inits[1]["env"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!(env, ["A", "FAIRWAY_NODES", "FAIRWAY_NODE", "FAIRWAY_FIRST_NODE"]);
        assert_eq!(inits[1]["env"][3]["value"], "r-train-trainer-0-0.r-train");
    }
}
