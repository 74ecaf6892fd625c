//! What runs trainers beside plain Jobs, where the cluster has it: the JobSet, and Kubeflow's TrainJob, which makes a JobSet of a
//! runtime of the platform's. Both are seen as Jobs by whoever looks at runs.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Annotation of what stands for a Job: the Job that has the logs.
pub(crate) const LOGS: &str = "fairway.dev/logs";
/// The part of a JobSet of ours that trains; its pods' names and host names are made of it.
pub(crate) const PART: &str = "trainer";
/// The part of a TrainJob that trains, and its container: Kubeflow's names.
pub(crate) const NODE: &str = "node";

/// A JobSet, as far as the operator reads it.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize)]
#[kube(
    group = "jobset.x-k8s.io",
    version = "v1alpha2",
    kind = "JobSet",
    namespaced,
    schema = "disabled",
    status = "JobSetStatus"
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobSetSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suspend: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// How its jobs are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobSetStatus {
    conditions: Vec<Condition>,
    restarts: i32,
    replicated_jobs_status: Vec<Part>,
}

/// A TrainJob, as far as the operator reads it.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize)]
#[kube(
    group = "trainer.kubeflow.org",
    version = "v1alpha1",
    kind = "TrainJob",
    namespaced,
    schema = "disabled",
    status = "TrainJobStatus"
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrainJobSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suspend: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// How its jobs are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TrainJobStatus {
    conditions: Vec<Condition>,
    jobs_status: Vec<Part>,
}

/// How many jobs of one part are how.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    succeeded: i32,
    active: i32,
    failed: i32,
}

impl JobSet {
    /// The same as a Job of this name would say it.
    pub(crate) fn as_job(&self, name: &str) -> Job {
        let status = self.status.clone().unwrap_or_default();
        let seen = Seen { part: PART, suspend: self.spec.suspend, parts: &status.replicated_jobs_status };
        seen.as_job(name, &self.metadata, &status.conditions, status.restarts)
    }
}

impl TrainJob {
    /// The same as a Job of this name would say it. How often it was tried before only its JobSet knows.
    pub(crate) fn as_job(&self, name: &str) -> Job {
        let status = self.status.clone().unwrap_or_default();
        let failed = status.jobs_status.iter().map(|part| part.failed).sum();
        let seen = Seen { part: NODE, suspend: self.spec.suspend, parts: &status.jobs_status };
        seen.as_job(name, &self.metadata, &status.conditions, failed)
    }

    /// When it ended, if it did.
    pub(crate) fn ended(&self) -> Option<Timestamp> {
        let conditions = &self.status.as_ref()?.conditions;
        let end = conditions.iter().find(|one| one.status == "True" && ended(one).is_some())?;
        Some(end.last_transition_time.0)
    }
}

/// What the kinds have in common.
struct Seen<'a> {
    /// The part whose first Job has the logs.
    part: &'a str,
    suspend: Option<bool>,
    parts: &'a [Part],
}

impl Seen<'_> {
    fn as_job(&self, name: &str, meta: &ObjectMeta, conditions: &[Condition], failed: i32) -> Job {
        let sum = |of: fn(&Part) -> i32| self.parts.iter().map(of).sum::<i32>();
        let logs = format!("{}-{}-0", meta.name.as_deref().unwrap_or_default(), self.part);
        let suspended = self.suspend == Some(true);
        Job {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: meta.namespace.clone(),
                annotations: Some([(LOGS.to_owned(), logs)].into()),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec { suspend: self.suspend, ..JobSpec::default() }),
            status: Some(JobStatus {
                active: Some(sum(|it| it.active)),
                succeeded: Some(sum(|it| it.succeeded)),
                failed: Some(failed),
                conditions: Some(conditions.iter().filter_map(ended).collect()),
                start_time: meta.creation_timestamp.clone().filter(|_| !suspended),
                ..JobStatus::default()
            }),
        }
    }
}

/// A condition that says how it ended, as a Job has it.
fn ended(one: &Condition) -> Option<JobCondition> {
    let kind = match one.type_.as_str() {
        "Completed" | "Complete" => "Complete",
        "Failed" => "Failed",
        _ => return None,
    };
    Some(JobCondition {
        type_: kind.to_owned(),
        status: one.status.clone(),
        reason: Some(one.reason.clone()),
        message: Some(one.message.clone()),
        ..JobCondition::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str) -> Value {
        json!({"type": kind, "status": status, "reason": "Why", "message": "because", "lastTransitionTime": "2026-11-27T10:00:00Z"})
    }

    fn metadata() -> Value {
        json!({"name": "other", "namespace": "shop", "creationTimestamp": "2026-11-27T10:00:00Z"})
    }

    fn ends(status: &JobStatus) -> Vec<(&str, &str)> {
        status.conditions.iter().flatten().map(|one| (one.type_.as_str(), one.status.as_str())).collect()
    }

    #[test]
    fn a_jobset_is_seen_as_a_job() {
        let set = |status: Value| -> Job {
            let set = json!({
                "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": metadata(),
                "spec": {"suspend": false, "replicatedJobs": []}, "status": status,
            });
            serde_json::from_value::<JobSet>(set).unwrap().as_job("run-train")
        };
        let job = set(json!({
            "conditions": [condition("Suspended", "False"), condition("Failed", "True")], "restarts": 2,
            "replicatedJobsStatus": [{"name": "trainer", "ready": 0, "succeeded": 0, "failed": 1, "active": 1, "suspended": 0}],
        }));
        assert_eq!(job.metadata.name.as_deref(), Some("run-train"));
        assert_eq!(job.metadata.annotations.unwrap()[LOGS], "other-trainer-0");
        let status = job.status.unwrap();
        assert_eq!(ends(&status), [("Failed", "True")]);
        assert_eq!((status.active, status.failed, status.succeeded), (Some(1), Some(2), Some(0)));
        assert!(status.start_time.is_some());
        let done =
            set(json!({"conditions": [condition("Completed", "True")], "terminalState": "Completed"})).status.unwrap();
        assert_eq!(ends(&done), [("Complete", "True")]);
    }

    #[test]
    fn a_trainjob_is_seen_as_a_job() {
        let train = |suspend: bool, status: Value| -> Job {
            let train = json!({
                "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": metadata(),
                "spec": {"suspend": suspend, "runtimeRef": {"name": "fairway"}}, "status": status,
            });
            serde_json::from_value::<TrainJob>(train).unwrap().as_job("run-train")
        };
        // One that waits in a queue, before anybody has written a status.
        let waits = train(true, Value::Null);
        assert_eq!(waits.spec.unwrap().suspend, Some(true));
        assert!(waits.status.unwrap().start_time.is_none());
        let runs = train(
            false,
            json!({
                "conditions": [condition("Suspended", "False")],
                "jobsStatus": [{"name": "node", "ready": 1, "succeeded": 0, "failed": 0, "active": 1, "suspended": 0}],
            }),
        );
        assert_eq!(runs.metadata.annotations.unwrap()[LOGS], "other-node-0");
        let status = runs.status.unwrap();
        assert_eq!((status.active, ends(&status)), (Some(1), vec![]));
        for kind in ["Complete", "Failed"] {
            let over = train(false, json!({"conditions": [condition(kind, "True")]}));
            assert_eq!(ends(&over.status.unwrap()), [(kind, "True")]);
        }
    }

    #[test]
    fn when_a_trainjob_ended() {
        let ended = |conditions: Value| {
            let train = json!({
                "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": metadata(),
                "spec": {"runtimeRef": {"name": "fairway"}}, "status": {"conditions": conditions},
            });
            serde_json::from_value::<TrainJob>(train).unwrap().ended().map(|time| time.to_string())
        };
        assert_eq!(ended(json!([condition("Suspended", "True"), condition("Failed", "False")])), None);
        assert_eq!(ended(json!([condition("Complete", "True")])).as_deref(), Some("2026-11-27T10:00:00Z"));
    }
}
