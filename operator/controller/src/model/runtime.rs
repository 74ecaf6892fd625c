//! What runs a training job: a plain Job, or a JobSet where `spec.trainer.runtimeRef` asks for one. Whichever is there counts:
//! a manifest that was changed meanwhile changes no run that has begun.

use std::sync::Arc;

use anyhow::Result;
use fairway_api::model::{RuntimeKind, Trainer};
use fairway_core::model::ActiveRun;
use k8s_openapi::api::batch::v1::Job;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::{Subject, build};
use crate::apply::{delete, ensure};
use crate::context::Context;
use crate::names;
use crate::optional::{JobSet, SET};

/// The part of a JobSet that trains; its pods' names and host names are made of it.
const PART: &str = "trainer";
/// Longest name of a JobSet: host names of its pods are longer, and may have 63 characters.
const NAME_MAX: usize = 40;
/// Failures of a Job after which no restart helps.
const FOR_GOOD: [&str; 2] = ["PodFailurePolicy", "DeadlineExceeded"];

/// The job of a run, if it is there; a JobSet is seen as a Job.
pub(super) async fn find(context: &Context, namespace: &str, run: &str) -> Result<Option<Arc<Job>>> {
    let name = build::job_name(run);
    if let Some(job) = context.jobs.get(namespace, &name) {
        return Ok(Some(job));
    }
    let sets = context.job_sets.find().await?;
    let set = sets.and_then(|sets| sets.get(namespace, &set_name(run)));
    Ok(set.map(|set| Arc::new(set.as_job(&name))))
}

/// The Job that is to be asked for a run's logs.
pub(super) fn logged(job: &Job) -> String {
    match job.annotations().get(SET) {
        Some(set) => format!("{set}-{PART}-0"),
        None => job.name_any(),
    }
}

/// Starts a run's job. Gives why it cannot be started at all, if so.
pub(super) async fn start(context: &Context, subject: &Subject, run: &ActiveRun) -> Result<Option<String>> {
    let trainer = &subject.model.spec.trainer;
    let job = build::job(subject, &context.settings, run)?;
    let Some(runtime) = &trainer.runtime_ref else {
        return ensure::<Job>(context, &context.jobs, &job).await.map(|()| None);
    };
    if let Some(why) = refusal(trainer) {
        return Ok(Some(why));
    }
    let Some(sets) = context.job_sets.find().await? else {
        let why = "spec.trainer.runtimeRef: this cluster knows no JobSet (jobset.x-k8s.io/v1alpha2): install it, or leave \
                   runtimeRef out";
        return Ok(Some(why.to_owned()));
    };
    ensure::<JobSet>(context, &sets, &job_set(job, &set_name(&run.name), runtime.nodes)).await.map(|()| None)
}

/// Takes a run's job away.
pub(super) async fn stop(context: &Context, namespace: &str, run: &str) -> Result<()> {
    if let Some(job) = context.jobs.get(namespace, &build::job_name(run)) {
        delete::<Job>(context, job.meta()).await?;
    }
    let sets = context.job_sets.find().await?;
    match sets.and_then(|sets| sets.get(namespace, &set_name(run))) {
        Some(set) => delete::<JobSet>(context, set.meta()).await,
        None => Ok(()),
    }
}

/// What this version does not carry out.
fn refusal(trainer: &Trainer) -> Option<String> {
    let runtime = trainer.runtime_ref.as_ref()?;
    if runtime.kind == RuntimeKind::TrainJob {
        let why = "spec.trainer.runtimeRef.kind: TrainJob is not carried out in this version (its runtimes take no container \
                   before and after the one that trains): use JobSet, or leave runtimeRef out";
        return Some(why.to_owned());
    }
    let alone = trainer.builtin.is_some() && runtime.nodes > 1;
    alone.then(|| "spec.trainer.runtimeRef.nodes: a built-in family trains in one pod: 1, or a container".to_owned())
}

fn set_name(run: &str) -> String {
    names::shortened(&build::job_name(run), NAME_MAX)
}

/// The JobSet that does what a Job would, in so many pods. One pod is tried again by its Job; of several that train together
/// none can go on without the others, so that all begin again.
fn job_set(mut job: Value, name: &str, nodes: u32) -> Value {
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
    let template = &mut spec["template"]["spec"];
    for container in template["initContainers"].as_array_mut().into_iter().flatten() {
        let is_theirs = container["name"] == build::THEIRS;
        if let Some(env) = container["env"].as_array_mut().filter(|_| is_theirs) {
            let index = "metadata.annotations['batch.kubernetes.io/job-completion-index']";
            env.push(json!({"name": "FAIRWAY_NODES", "value": nodes.to_string()}));
            env.push(json!({"name": "FAIRWAY_NODE", "valueFrom": {"fieldRef": {"fieldPath": index}}}));
            env.push(json!({"name": "FAIRWAY_FIRST_NODE", "value": format!("{name}-{PART}-0-0.{name}")}));
        }
    }
    set["replicatedJobs"] = json!([{"name": PART, "replicas": 1, "template": {"spec": spec}}]);
    job["apiVersion"] = json!("jobset.x-k8s.io/v1alpha2");
    job["kind"] = json!("JobSet");
    job["metadata"]["name"] = json!(name);
    job["spec"] = set;
    job
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

    #[test]
    fn names_leave_room_for_those_of_pods() {
        let (long, other) = (set_name(&"x".repeat(60)), set_name(&format!("{}y", "x".repeat(59))));
        assert!(long.len() <= NAME_MAX && long != other, "{long} {other}");
        assert_eq!(set_name("0142-drift"), "0142-drift-train");
    }

    #[test]
    fn what_is_not_carried_out_is_said() {
        let trainer = |kind: &str, nodes: u32, builtin: bool| -> Trainer {
            let mut trainer = json!({"runtimeRef": {"kind": kind, "nodes": nodes}});
            let (name, value) =
                if builtin { ("builtin", json!({"family": "ease"})) } else { ("container", json!({"image": "i"})) };
            trainer[name] = value;
            serde_json::from_value(trainer).unwrap()
        };
        assert_eq!(refusal(&trainer("JobSet", 1, true)), None);
        assert_eq!(refusal(&trainer("JobSet", 4, false)), None);
        assert!(refusal(&trainer("JobSet", 2, true)).unwrap().contains("runtimeRef.nodes"));
        assert!(refusal(&trainer("TrainJob", 1, false)).unwrap().contains("use JobSet"));
    }
}
