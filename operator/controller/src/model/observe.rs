//! What is known of a model's runs: from the copy of the cluster, and from the bucket where a run may have ended.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use fairway_api::TrainingRun;
use fairway_core::model::{ModelRequest, RunEnd};
use fairway_registry::{Digest, Registration};
use fairway_wire::{Profile, Target};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;

use super::result::TrainResult;
use super::{Known, Opened, Subject, build, failures, producers, runtime};
use crate::board::Key;
use crate::context::Context;
use crate::held::Held;
use crate::names::{self, ACTOR, MODEL};

/// What the champion's next in line is called.
const CHALLENGER: &str = "challenger";
/// The registry bounds the length of a reason.
const REASON_MAX: usize = 300;
/// Requests of one look.
const REQUESTS_MAX: usize = 16;

/// See above.
pub(super) struct Seen {
    /// Runs of this model that are not over.
    pub(super) runs: Vec<TrainingRun>,
    /// Those that nobody has answered yet, as core is asked.
    pub(super) requests: Vec<ModelRequest>,
    /// Runs whose end is in the bucket, but not yet in their status.
    pub(super) ended: Vec<(TrainingRun, RunEnd)>,
    /// The Job of the active run.
    pub(super) job: Option<Arc<Job>>,
    /// How far its trainer is.
    pub(super) progress: Option<Beat>,
}

/// A line of a trainer's progress, as it leaves it beside its checkpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Beat {
    pub(super) step: String,
    pub(super) percent: Option<u64>,
    pub(super) seconds_left: Option<u64>,
}

/// Name of the checkpoint that holds a [`Beat`].
const PROGRESS: &str = "progress.json";

impl Opened {
    pub(super) async fn observe(&self, context: &Context, subject: &Subject) -> Result<Seen> {
        let runs = context.runs.of(MODEL, &subject.key);
        let goes_on = |run: &&TrainingRun| run.end().is_none() && run.metadata.deletion_timestamp.is_none();
        let runs: Vec<TrainingRun> =
            runs.iter().filter_map(|run| run.0.as_ref().ok()).filter(goes_on).cloned().collect();
        let active = self.kept.status.run.as_ref().map(|run| run.name.as_str());
        let mut seen = Seen { runs: Vec::new(), requests: Vec::new(), ended: Vec::new(), job: None, progress: None };
        for run in runs {
            let name = run.name_any();
            if Some(name.as_str()) == active {
                if run.spec.cancel {
                    seen.requests.push(ModelRequest::Cancel { name });
                }
                seen.runs.push(run);
                continue;
            }
            match self.log.run(&name)?.outcome::<RunEnd>().await? {
                Some(end) => seen.ended.push((run, end)),
                None => {
                    if seen.requests.len() < REQUESTS_MAX {
                        let reason = format!("{:?}", run.spec.reason);
                        seen.requests.push(ModelRequest::Start { name, reason, force: run.spec.force });
                    }
                    seen.runs.push(run);
                }
            }
        }
        if let Some(active) = active {
            seen.job = runtime::find(context, &subject.key.0, active).await?;
            let is_running = seen.job.as_ref().is_some_and(|job| over(job).is_none());
            seen.progress = if is_running { self.progress(active).await } else { None };
        }
        Ok(seen)
    }

    /// How far a trainer is, if it says so. For people: that it cannot be read is no failure.
    async fn progress(&self, run: &str) -> Option<Beat> {
        let text = self.log.run(run).ok()?.get_checkpoint(PROGRESS).await.ok()??;
        serde_json::from_slice(&text).ok()
    }

    /// How the active run ended, if it did. What the trainer has left is registered here: trainers cannot.
    pub(super) async fn run_end(
        &self,
        context: &Context,
        subject: &Subject,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Option<RunEnd>> {
        let Some(active) = &self.kept.status.run else { return Ok(None) };
        let run = self.log.run(&active.name)?;
        let job = seen.job.as_ref().map(|job| (job, over(job)));
        if let Some((job, None)) = job {
            let pods = pods_of(context, &subject.key, &job.name_any());
            let Some(why) = failures::fatal(&subject.model.spec.trainer, &pods) else { return Ok(None) };
            if run.result::<TrainResult>().await?.is_some() {
                return Ok(None);
            }
            run.finish(&RunEnd::Failed { why }).await.context("writing the run's outcome")?;
            runtime::stop(context, &subject.key.0, &active.name).await?;
        }
        if let Some(end) = run.outcome::<RunEnd>().await? {
            return Ok(Some(end));
        }
        let end = match (run.result::<TrainResult>().await?, job) {
            (Some(result), _) => self.settle(subject, &active.name, &active.reason.message, result, now).await?,
            (None, Some((job, Some(Over { complete, why })))) => {
                let words = last_words(context, &subject.key, &job.name_any());
                let end = if complete { "the trainer ended without a result" } else { why.as_str() };
                RunEnd::Failed { why: words.map_or_else(|| end.to_owned(), |words| format!("{end}: {words}")) }
            }
            // Not started yet, or somebody deleted the Job: it is made again.
            (None, _) => return Ok(None),
        };
        // Written once: whoever was first is right.
        run.finish(&end).await.context("writing the run's outcome")?;
        run.outcome::<RunEnd>().await.context("reading the run's outcome")
    }

    async fn settle(
        &self,
        subject: &Subject,
        run: &str,
        reason: &str,
        result: TrainResult,
        now: Timestamp,
    ) -> Result<RunEnd> {
        let (digest, metrics, labels, kinds, provenance) = match result {
            TrainResult::Uploaded { digest, metrics, mut labels, kinds, provenance } => {
                let plan = self.log.run(run)?.plan::<serde_json::Value>().await.context("reading the run's plan")?;
                labels.extend(plan.as_ref().and_then(producers::label));
                (digest, metrics, labels, kinds, provenance)
            }
            TrainResult::Rejected { why } => return Ok(RunEnd::Rejected { why }),
            TrainResult::DataRefused { code, why } => return Ok(RunEnd::DataRefused { code, why }),
            TrainResult::Failed { why } | TrainResult::TimedOut { why } => return Ok(RunEnd::Failed { why }),
        };
        let registration = Registration {
            run: run.to_owned(),
            actor: ACTOR.to_owned(),
            time: now,
            metrics,
            labels,
            provenance,
            kinds,
            // A version that is to be signed is proposed by whoever signs it.
            alias: subject.model.spec.signing.is_none().then(|| CHALLENGER.to_owned()),
            reason: reason.chars().take(REASON_MAX).collect(),
        };
        let version = self.log.register_uploaded(&digest, registration).await.context("registering the version")?;
        Ok(RunEnd::Registered { version: version.number })
    }

    /// Fetches what the monitors need of the version that serves, once.
    pub(super) async fn know(&mut self, stable: Option<&Target>) -> Result<()> {
        if self.champion.as_ref().map(|known| &known.target) == stable {
            return Ok(());
        }
        let Some(target) = stable else {
            self.champion = None;
            return Ok(());
        };
        let digest: Digest = target.digest.parse()?;
        let file = async |name: &'static str| {
            let bytes = self.log.file(&digest, name).await;
            bytes.with_context(|| format!("reading {name} of version {}", target.version))
        };
        let profile: Profile = serde_json::from_slice(&file("profile.json").await?).context("profile.json")?;
        let bundle: Bundle = serde_json::from_slice(&file("bundle.json").await?).context("bundle.json")?;
        let trained_through = Timestamp::from_millisecond(bundle.trained_through_ms).context("bundle.json")?;
        self.champion = Some(Known { target: target.clone(), profile, trained_through });
        Ok(())
    }
}

/// The one number of `bundle.json` that a decision needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    trained_through_ms: i64,
}

/// How a Job ended.
struct Over {
    complete: bool,
    why: String,
}

fn over(job: &Job) -> Option<Over> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end =
        conditions.iter().find(|one| one.status == "True" && ["Complete", "Failed"].contains(&one.type_.as_str()))?;
    let parts = [end.reason.as_deref(), end.message.as_deref()];
    let why: Vec<&str> = parts.into_iter().flatten().collect();
    Some(Over { complete: end.type_ == "Complete", why: why.join(": ") })
}

fn pods_of(context: &Context, model: &Key, job: &str) -> Vec<Arc<Held<Pod>>> {
    let mut pods = context.pods.of(MODEL, model);
    pods.retain(|pod| pod.labels().get(names::RUN).is_some_and(|run| build::job_name(run) == job));
    pods
}

/// What the trainer said last, if its pod is still there.
fn last_words(context: &Context, model: &Key, job: &str) -> Option<String> {
    let words = |pod: Arc<Held<Pod>>| {
        let status = &pod.facts;
        // What came before may have failed, and what waited for it beside it has nothing to say then; success says nothing.
        let mut statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        statuses.find_map(|status| {
            let ended = status.state.as_ref()?.terminated.as_ref()?;
            ended.message.clone().filter(|_| ended.exit_code != 0)
        })
    };
    let said = pods_of(context, model, job).into_iter().find_map(words)?;
    Some(said.trim().chars().take(500).collect())
}
