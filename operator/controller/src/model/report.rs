//! The statuses of a model and of its runs, and their Events.

use std::time::{Duration, Instant};

use anyhow::Result;
use fairway_api::model::{DriftStatus, LastRun};
use fairway_api::run::Progress;
use fairway_api::{ModelStatus as ApiStatus, TrainingRun, TrainingRunStatus};
use fairway_core::model::{ModelRequest, RunEnd};
use fairway_core::{Condition, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{Decided, ModelLoop, Subject};
use crate::context::Context;
use crate::report;

/// Numbers in messages are brought up to date this often while a run is active.
const NUMBERS: Duration = Duration::from_secs(15);

impl ModelLoop {
    pub(super) async fn report(
        &mut self,
        context: &Context,
        subject: &Subject,
        decided: &Decided,
        now: Timestamp,
    ) -> Result<()> {
        let model = &subject.model;
        report::events(context, model, "model", &decided.plan.reasons, &mut self.said).await;
        self.report_runs(context, subject, decided, now).await?;
        let status = &decided.plan.status;
        let before = model.status.clone().unwrap_or_default();
        let generation = model.metadata.generation;
        let champion = self.opened.as_ref().and_then(|opened| opened.champion.as_ref());
        let after = ApiStatus {
            observed_generation: generation,
            champion: champion.map(|known| known.target.version.to_string()),
            champion_digest: champion.map(|known| known.target.digest.clone()),
            challenger: decided.challenger.as_ref().map(|target| target.version.to_string()),
            challenger_digest: decided.challenger.as_ref().map(|target| target.digest.clone()),
            active_run: status.run.as_ref().map(|run| run.name.clone()),
            last_run: status.last_run.as_ref().map(|(name, end)| last_run(&before, name, end, now)),
            producers: decided.producers.clone(),
            drift: status.drift.as_ref().and_then(|monitor| monitor.last.as_ref()).map(DriftStatus::from),
            conditions: report::conditions(&decided.plan.conditions, &before.conditions, generation, now),
            ..ApiStatus::default()
        };
        let (before, after) = (serde_json::to_value(&model.status)?, serde_json::to_value(&after)?);
        let exact = status.run.is_some() && self.reported.is_none_or(|reported| reported.elapsed() >= NUMBERS);
        if report::status(context, model, &before, &after, exact).await? {
            self.reported = Some(Instant::now());
        }
        Ok(())
    }

    async fn report_runs(&self, context: &Context, subject: &Subject, decided: &Decided, now: Timestamp) -> Result<()> {
        for (run, end) in &decided.seen.ended {
            tell_end(context, subject, run, end, now).await?;
        }
        let active = decided.plan.status.run.as_ref().map(|run| run.name.as_str());
        for run in &decided.seen.runs {
            let name = run.name_any();
            let last = decided.plan.status.last_run.as_ref().filter(|(last, _)| *last == name);
            if active == Some(name.as_str()) {
                tell_active(context, run, decided, now).await?;
            } else if let Some((_, end)) = last.filter(|_| decided.run_end.is_some()) {
                tell_end(context, subject, run, end, now).await?;
            } else if was_asked(&decided.seen.requests, &name) {
                tell_suppressed(context, run, &decided.plan.reasons, now).await?;
            }
        }
        Ok(())
    }
}

/// The last run that ended; when, as far as it was seen to.
fn last_run(before: &ApiStatus, name: &str, end: &RunEnd, now: Timestamp) -> LastRun {
    let known = before.last_run.as_ref().filter(|last| last.name == name);
    let outcome = match end {
        RunEnd::Registered { .. } => "Complete",
        RunEnd::Rejected { .. } => "Rejected",
        RunEnd::DataRefused { code, .. } => code,
        RunEnd::Failed { .. } => "Failed",
        RunEnd::Cancelled { .. } => "Cancelled",
    };
    let ended = known.map_or_else(|| Some(Time(now)), |last| last.ended.clone());
    LastRun { name: name.to_owned(), outcome: outcome.to_owned(), ended }
}

fn was_asked(requests: &[ModelRequest], name: &str) -> bool {
    requests.iter().any(|request| matches!(request, ModelRequest::Start { name: asked, .. } if asked == name))
}

async fn tell_end(context: &Context, subject: &Subject, run: &TrainingRun, end: &RunEnd, now: Timestamp) -> Result<()> {
    let (kind, code, message, version) = match end {
        RunEnd::Registered { version } => {
            ("Complete", "Registered", registered(subject, *version), Some(version.to_string()))
        }
        RunEnd::Rejected { why } => ("Rejected", "Rejected", why.clone(), None),
        RunEnd::DataRefused { code, why } => ("Failed", code.as_str(), why.clone(), None),
        RunEnd::Failed { why } => ("Failed", "Failed", why.clone(), None),
        RunEnd::Cancelled { why } => ("Failed", "Cancelled", why.clone(), None),
    };
    let reason = Reason::new(code, message);
    report::event(context, run, &reason).await;
    let told = [Condition { kind: kind.to_owned(), status: true, reason }];
    let before = run.status.clone().unwrap_or_default();
    let status = TrainingRunStatus {
        version: version.or_else(|| before.version.clone()),
        completion_time: before.completion_time.clone().or(Some(Time(now))),
        progress: None,
        ..before
    };
    write(context, run, &told, status, now).await
}

/// The operator has no key: where a signature is asked for, people or CI sign, and propose what they have signed.
fn registered(subject: &Subject, version: u64) -> String {
    let (namespace, name) = &subject.key;
    let at = format!("models:/{namespace}/{name}");
    match subject.model.spec.signing {
        None => format!("version {version} is registered"),
        Some(_) => format!(
            "version {version} is registered and waits for a signature: fairway registry sign {at}/{version} --key PRIVATE.pem, \
             then fairway registry alias set {at}@challenger {version}"
        ),
    }
}

async fn tell_active(context: &Context, run: &TrainingRun, decided: &Decided, now: Timestamp) -> Result<()> {
    let pods = decided.seen.job.as_ref().and_then(|job| job.status.as_ref()).and_then(|status| status.active);
    let suspended = decided.seen.job.as_ref().and_then(|job| job.spec.as_ref()).and_then(|spec| spec.suspend);
    let queued = if suspended == Some(true) {
        Some(Reason::new("Suspended", "its Job waits in a queue"))
    } else if pods.unwrap_or(0) == 0 {
        Some(Reason::new("Starting", "its Job has no pod yet"))
    } else {
        None
    };
    let message = decided.plan.status.run.as_ref().map_or_else(String::new, |run| run.reason.message.clone());
    let told: Vec<Condition> = [
        queued.map(|reason| Condition { kind: "Queued".to_owned(), status: true, reason }),
        Some(Condition { kind: "Complete".to_owned(), status: false, reason: Reason::new("Running", message) }),
    ]
    .into_iter()
    .flatten()
    .collect();
    let before = run.status.clone().unwrap_or_default();
    let job = decided.seen.job.as_ref();
    let state = job.and_then(|job| job.status.as_ref());
    let status = TrainingRunStatus {
        start_time: state.and_then(|state| state.start_time.clone()).or_else(|| before.start_time.clone()),
        progress: decided.seen.progress.as_ref().map(progress),
        job: job.map(|job| job.name_any()),
        logs: job.map(|job| {
            let of = super::runtime::logged(job);
            format!("kubectl logs -n {} job/{of}", job.namespace().unwrap_or_default())
        }),
        attempts: state
            .map(|state| state.failed.unwrap_or(0) + state.active.unwrap_or(0) + state.succeeded.unwrap_or(0)),
        ..before
    };
    write(context, run, &told, status, now).await
}

fn progress(beat: &super::observe::Beat) -> Progress {
    let left = beat.seconds_left.map(|seconds| fairway_core::plan::spell(Duration::from_secs(seconds)));
    Progress {
        percent: beat.percent.and_then(|it| i32::try_from(it).ok()),
        step: Some(beat.step.clone()),
        time_left: left,
    }
}

/// Asked for, and held back: the record says by what, and it is over. Another attempt has another name.
async fn tell_suppressed(context: &Context, run: &TrainingRun, reasons: &[Reason], now: Timestamp) -> Result<()> {
    let why = reasons.iter().rev().find(|reason| reason.code != "Started").cloned();
    let reason = why.unwrap_or_else(|| Reason::new("Suppressed", "it was not started"));
    report::event(context, run, &reason).await;
    let told = [Condition { kind: "Suppressed".to_owned(), status: true, reason }];
    let status = TrainingRunStatus { completion_time: Some(Time(now)), ..run.status.clone().unwrap_or_default() };
    write(context, run, &told, status, now).await
}

async fn write(
    context: &Context,
    run: &TrainingRun,
    told: &[Condition],
    status: TrainingRunStatus,
    now: Timestamp,
) -> Result<()> {
    let before = run.status.clone().unwrap_or_default();
    let generation = run.metadata.generation;
    let conditions = report::conditions(told, &before.conditions, generation, now);
    let after = TrainingRunStatus { observed_generation: generation, conditions, ..status };
    let (before, after) = (serde_json::to_value(&run.status)?, serde_json::to_value(&after)?);
    report::status(context, run, &before, &after, false).await?;
    Ok(())
}
