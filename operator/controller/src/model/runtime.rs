//! What runs a training job: a plain Job, or a JobSet or TrainJob where `spec.trainer.runtimeRef` asks for one. Whichever is there
//! counts: a manifest that was changed meanwhile changes no run that has begun.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fairway_api::model::{RuntimeKind, Trainer};
use fairway_core::model::ActiveRun;
use k8s_openapi::api::batch::v1::Job;
use kube::{Resource, ResourceExt};

use super::job_set::job_set;
use super::train_job::{self, Told, train_job};
use super::{Subject, build};
use crate::apply::{delete, ensure};
use crate::board::Key;
use crate::call::refusal_of;
use crate::context::Context;
use crate::copies::Copies;
use crate::job_kinds::{JobSet, LOGS, TrainJob};
use crate::names::{self, MODEL};

/// Longest name of a JobSet: host names of its pods are longer, and may have 63 characters.
const NAME_MAX: usize = 40;

/// The job of a run, if it is there; another kind is seen as a Job.
pub(super) async fn find(context: &Context, namespace: &str, run: &str) -> Result<Option<Arc<Job>>> {
    let name = build::job_name(run);
    if let Some(job) = context.jobs.get(namespace, &name) {
        return Ok(Some(job));
    }
    let sets = context.job_sets.find().await?;
    if let Some(set) = sets.and_then(|sets| sets.get(namespace, &set_name(run))) {
        return Ok(Some(Arc::new(set.as_job(&name))));
    }
    let trains = context.train_jobs.find().await?;
    let train = trains.and_then(|jobs| jobs.get(namespace, &set_name(run)));
    Ok(train.map(|train| Arc::new(train.as_job(&name))))
}

/// The Job that is to be asked for a run's logs.
pub(super) fn logged(job: &Job) -> String {
    job.annotations().get(LOGS).cloned().unwrap_or_else(|| job.name_any())
}

/// Starts a run's job. Gives why it cannot be started at all, if so.
pub(super) async fn start(context: &Context, subject: &Subject, run: &ActiveRun) -> Result<Option<String>> {
    let trainer = &subject.model.spec.trainer;
    let job = build::job(subject, &context.settings, run)?;
    let Some(runtime) = &trainer.runtime_ref else {
        return refused("spec.trainer: the Job", ensure::<Job>(context, &context.jobs, &job).await);
    };
    if let Some(why) = refusal(trainer) {
        return Ok(Some(why));
    }
    let name = set_name(&run.name);
    let applied = match runtime.kind {
        RuntimeKind::JobSet => match context.job_sets.find().await? {
            Some(sets) => ensure::<JobSet>(context, &sets, &job_set(job, &name, runtime.nodes)).await,
            None => return Ok(Some(unknown("JobSet (jobset.x-k8s.io/v1alpha2)", "install it"))),
        },
        RuntimeKind::TrainJob => match context.train_jobs.find().await? {
            Some(jobs) => {
                tidy(context, &jobs, &subject.key).await?;
                let told = Told::of(context, subject, run).await?;
                ensure::<TrainJob>(context, &jobs, &train_job(job, &name, runtime, &told)).await
            }
            None => {
                let cure = "install Kubeflow Trainer 2.2 or later and set trainJob.enabled in the chart";
                return Ok(Some(unknown("TrainJob (trainer.kubeflow.org/v1alpha1) that this account may see", cure)));
            }
        },
    };
    refused(&format!("spec.trainer.runtimeRef: the {:?}", runtime.kind), applied)
}

/// Why a job cannot be made at all, if so: what is refused as it is would be refused again.
fn refused(what: &str, applied: Result<()>) -> Result<Option<String>> {
    match applied {
        Ok(()) => Ok(None),
        Err(error) => match refusal_of(&error) {
            Some(why) => Ok(Some(format!("{what} was refused: {why}"))),
            None => Err(error),
        },
    }
}

/// Takes away what earlier runs of a model have left, and their pods: no TrainJob goes by itself, and one that has failed begins
/// anew when its JobSet does.
async fn tidy(context: &Context, jobs: &Copies<TrainJob>, model: &Key) -> Result<()> {
    let now = crate::clock::now();
    let kept = Duration::from_secs(build::KEPT_SECONDS.into());
    let is_old = |it: &TrainJob| it.ended().is_some_and(|ended| fairway_core::plan::elapsed(ended, now) > kept);
    for one in jobs.of(MODEL, model).into_iter().filter(|it| is_old(it)) {
        delete::<TrainJob>(context, one.meta()).await?;
    }
    Ok(())
}

fn unknown(kind: &str, cure: &str) -> String {
    format!("spec.trainer.runtimeRef: this cluster knows no {kind}: {cure}, or leave runtimeRef out")
}

/// Takes a run's job away.
pub(super) async fn stop(context: &Context, namespace: &str, run: &str) -> Result<()> {
    if let Some(job) = context.jobs.get(namespace, &build::job_name(run)) {
        delete::<Job>(context, job.meta()).await?;
    }
    let sets = context.job_sets.find().await?;
    if let Some(set) = sets.and_then(|sets| sets.get(namespace, &set_name(run))) {
        delete::<JobSet>(context, set.meta()).await?;
    }
    let trains = context.train_jobs.find().await?;
    match trains.and_then(|jobs| jobs.get(namespace, &set_name(run))) {
        Some(train) => delete::<TrainJob>(context, train.meta()).await,
        None => Ok(()),
    }
}

/// What cannot be carried out.
fn refusal(trainer: &Trainer) -> Option<String> {
    let runtime = trainer.runtime_ref.as_ref()?;
    if trainer.builtin.is_some() && runtime.nodes > 1 {
        let why = "spec.trainer.runtimeRef.nodes: a built-in family trains in one pod: 1, or a container";
        return Some(why.to_owned());
    }
    match runtime.kind {
        RuntimeKind::JobSet => None,
        RuntimeKind::TrainJob => train_job::refusal(trainer),
    }
}

fn set_name(run: &str) -> String {
    names::strict(&build::job_name(run), NAME_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_leave_room_for_those_of_pods() {
        let (long, other) = (set_name(&"x".repeat(60)), set_name(&format!("{}y", "x".repeat(59))));
        assert!(long.len() <= NAME_MAX && long != other, "{long} {other}");
        assert_eq!(set_name("shop-0142-drift"), "shop-0142-drift-train");
        assert_eq!(set_name("0142-drift"), "run-0142-drift-train", "a host name begins with a letter");
    }

    #[test]
    fn what_is_not_carried_out_is_said() {
        let trainer = |kind: &str, nodes: u32, builtin: bool, more: serde_json::Value| -> Trainer {
            let mut trainer = json!({"runtimeRef": {"kind": kind, "nodes": nodes}});
            let (name, value) =
                if builtin { ("builtin", json!({"family": "ease"})) } else { ("container", json!({"image": "i"})) };
            trainer[name] = value;
            trainer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(trainer).unwrap()
        };
        let rules = |rule: serde_json::Value| json!({"failures": {"rules": [rule]}});
        let class = json!({"podTemplate": {"priorityClassName": "high"}});
        assert_eq!(refusal(&trainer("JobSet", 1, true, class.clone())), None);
        assert_eq!(refusal(&trainer("JobSet", 4, false, rules(json!({"exitCodes": [7], "then": "Fail"})))), None);
        assert_eq!(refusal(&trainer("TrainJob", 1, true, json!({}))), None);
        // The operator itself ends a run by a reason.
        let preempted = rules(json!({"reasons": ["Preempted", "ImagePull"], "then": "Fail"}));
        assert_eq!(refusal(&trainer("TrainJob", 4, false, preempted)), None);
        for (kind, nodes, builtin, more, field) in [
            ("JobSet", 2, true, json!({}), "spec.trainer.runtimeRef.nodes"),
            ("TrainJob", 2, true, json!({}), "spec.trainer.runtimeRef.nodes"),
            ("TrainJob", 1, false, class, "spec.trainer.podTemplate.priorityClassName"),
            ("TrainJob", 1, false, json!({"failures": {"retries": 5}}), "spec.trainer.failures.retries"),
            ("TrainJob", 1, false, rules(json!({"exitCodes": [7], "then": "Fail"})), "spec.trainer.failures.rules[0]"),
            ("TrainJob", 1, false, rules(json!({"reasons": ["OOMKilled"], "then": "RetryFree"})), "failures.rules[0]"),
        ] {
            let why = refusal(&trainer(kind, nodes, builtin, more.clone())).unwrap();
            assert!(why.contains(field), "{kind} {more}: {why}");
        }
    }
}
