//! The objects that a run consists of, as they are applied. Pure.

use anyhow::Result;
use fairway_api::Model;
use fairway_core::model::ActiveRun;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::Subject;
use crate::buckets::url_of;
use crate::names::{self, ACTOR, MANAGED_BY, MODEL, ROLE, RUN};
use crate::pod::{self, SCRATCH};
use crate::settings::Settings;

/// A Job and its pods stay so long after they ended, for their logs.
const KEPT_SECONDS: u32 = 86_400;
/// Tries of a run that was interrupted or failed without saying why.
const RETRIES: u32 = 2;
/// Exit codes by which a trainer says that another try would end the same way: invalid input, rejected by a gate.
const FOR_GOOD: [u8; 2] = [2, 3];

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
    let args: Vec<String> = [
        "train".to_owned(),
        format!("--registry={}", url_of(model, settings.registry.as_deref())?),
        format!("--namespace={}", subject.key.0),
        format!("--model={}", subject.key.1),
        format!("--run={}", run.name),
        format!("--work={SCRATCH}"),
    ]
    .into();
    let container = pod::container("trainer", &settings.image, &args, model, json!({"resources": resources(model)}));
    let labels = json!({MANAGED_BY: ACTOR, MODEL: subject.key.1, RUN: label(&run.name), ROLE: "trainer"});
    let mut pod = pod::spec(vec![container], json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 60}));
    for account in &model.spec.service_account_name {
        pod::merge(&mut pod, json!({"serviceAccountName": account, "automountServiceAccountToken": true}));
    }
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
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": trainer.deadline.std().as_secs().max(1),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "podFailurePolicy": {"rules": [
                // A node that went or a preemption costs no try.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": "trainer", "operator": "In", "values": FOR_GOOD}},
            ]},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    });
    if let Some(queue) = &trainer.queue_name {
        // Kueue lets it go when there is room.
        pod::merge(&mut job, json!({
            "metadata": {"labels": {"kueue.x-k8s.io/queue-name": queue}},
            "spec": {"suspend": true},
        }));
    }
    Ok(job)
}

/// A label's value has 63 characters at most.
fn label(run: &str) -> String {
    if run.len() <= 63 { run.to_owned() } else { names::child(run, "run") }
}

fn resources(model: &Model) -> Value {
    let Some(resources) = &model.spec.trainer.resources else {
        return json!({"requests": {"cpu": "100m", "memory": "256Mi"}});
    };
    let text = |quantity: &fairway_api::values::Quantity| quantity.to_string();
    let mut limits = serde_json::Map::new();
    limits.extend(resources.memory.as_ref().map(|memory| ("memory".to_owned(), json!(text(memory)))));
    let mut requests = limits.clone();
    requests.extend(resources.cpu.as_ref().map(|cpu| ("cpu".to_owned(), json!(text(cpu)))));
    // Memory is bounded, since it cannot be taken back; processors are shared.
    json!({"requests": requests, "limits": limits})
}

/// The name of an object, for messages.
pub(super) fn name(model: &Model) -> String {
    model.name_any()
}
