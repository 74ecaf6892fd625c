//! The objects that a run consists of, as they are applied. Pure.

use anyhow::Result;
use fairway_api::model::ContainerTrainer;
use fairway_core::model::ActiveRun;
use kube::Resource;
use serde_json::{Value, json};

use super::{Subject, failures};
use crate::buckets::url_of;
use crate::names::{self, ACTOR, MANAGED_BY, MODEL, ROLE, RUN};
use crate::pod::{self, SCRATCH};
use crate::settings::Settings;

/// A Job and its pods stay so long after they ended, for their logs.
pub(super) const KEPT_SECONDS: u32 = 86_400;
/// The folder between the parts of a run that somebody else's container trains.
const WORK: &str = "/var/lib/fairway/work";
/// The container whose end is the Job's.
pub(super) const TRAINER: &str = "trainer";
/// Ours, before somebody else's that trains.
pub(super) const PREPARES: &str = "prepare";
/// Somebody else's that trains.
pub(super) const THEIRS: &str = "train";

/// Name of a run's Job.
pub(super) fn job_name(run: &str) -> String {
    names::child(run, "train")
}

/// The record of a run that the loop itself has started.
pub(super) fn training_run(subject: &Subject, run: &ActiveRun) -> Value {
    json!({
        "apiVersion": "fairway.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {
            "name": run.name,
            "namespace": subject.key.0,
            "labels": {MANAGED_BY: ACTOR, MODEL: subject.key.1},
            "ownerReferences": subject.model.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "spec": {"model": subject.key.1, "reason": reason(&run.reason.code)},
    })
}

/// What asked for a run, as its kind's field has it.
fn reason(code: &str) -> &str {
    const KNOWN: [&str; 9] =
        ["CI", "Initial", "Drift", "PredictionDrift", "Degradation", "NewData", "Schedule", "MaxAge", "Erasure"];
    match code {
        "First" => "Initial",
        code if KNOWN.contains(&code) => code,
        _ => "Manual",
    }
}

/// The Job that trains.
pub(super) fn job(subject: &Subject, settings: &Settings, run: &ActiveRun) -> Result<Value> {
    let model = &subject.model;
    let trainer = &model.spec.trainer;
    let labels = json!({MANAGED_BY: ACTOR, MODEL: subject.key.1, RUN: label(&run.name), ROLE: "trainer"});
    let mut pod = pod::spec(
        vec![container(subject, settings, run)?],
        json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 60}),
    );
    if let Some(theirs) = &trainer.container {
        // One after the other: what is trained on, their container, what comes of it.
        let inits = vec![
            ours(subject, settings, run, PREPARES, &["train", "prepare", WORK])?,
            their(subject, settings, theirs, run),
        ];
        pod::merge(&mut pod, json!({"initContainers": inits}));
    }
    let account = model.spec.service_account_name.as_deref();
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(&run.name),
            "namespace": subject.key.0,
            "labels": labels,
            "ownerReferences": model.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "spec": {
            "backoffLimit": trainer.failures.retries,
            "activeDeadlineSeconds": trainer.deadline.std().as_secs().max(1),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "podFailurePolicy": {"rules": failures::policy(trainer)},
            "template": pod::template(&labels, &json!({}), pod, account, &trainer.pod_template),
        },
    });
    if let Some(queue) = &trainer.queue_name {
        // Kueue lets it go when there is room.
        pod::merge(
            &mut job,
            json!({
                "metadata": {"labels": {"kueue.x-k8s.io/queue-name": queue}},
                "spec": {"suspend": true},
            }),
        );
    }
    Ok(job)
}

/// What trains; or, where somebody else's container does, what checks and uploads its bundle.
fn container(subject: &Subject, settings: &Settings, run: &ActiveRun) -> Result<Value> {
    match &subject.model.spec.trainer.container {
        None => ours(subject, settings, run, TRAINER, &["train"]),
        Some(_) => ours(subject, settings, run, TRAINER, &["train", "publish", WORK]),
    }
}

fn ours(subject: &Subject, settings: &Settings, run: &ActiveRun, name: &str, verb: &[&str]) -> Result<Value> {
    let model = &subject.model;
    let flags = [
        format!("--registry={}", url_of(model, settings.registry.as_deref())?),
        format!("--namespace={}", subject.key.0),
        format!("--model={}", subject.key.1),
        format!("--run={}", run.name),
        format!("--work={SCRATCH}/ours"),
    ];
    let args: Vec<String> = verb.iter().map(|&it| it.to_owned()).chain(flags).collect();
    let resources = pod::resources(model.spec.trainer.resources.as_ref(), "100m", "256Mi");
    Ok(pod::container(name, settings, &args, model, json!({"resources": resources})))
}

/// Somebody else's trainer: it reads and writes one folder, and needs to know nothing of registries.
fn their(subject: &Subject, settings: &Settings, theirs: &ContainerTrainer, run: &ActiveRun) -> Value {
    let model = &subject.model;
    let mut env = vec![
        json!({"name": "FAIRWAY_DIR", "value": WORK}),
        json!({"name": "FAIRWAY_MODEL", "value": subject.key.1}),
        json!({"name": "FAIRWAY_RUN", "value": run.name}),
    ];
    env.extend(pod::env(&theirs.env));
    let more = json!({
        "image": theirs.image,
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "resources": pod::resources(model.spec.trainer.resources.as_ref(), "100m", "256Mi"),
    });
    let mut container = pod::container(THEIRS, settings, &theirs.args, model, more);
    // The bucket's credentials are none of its business.
    container["envFrom"] = json!([]);
    container
}

/// A label's value has 63 characters at most.
fn label(run: &str) -> String {
    if run.len() <= 63 { run.to_owned() } else { names::child(run, "run") }
}
