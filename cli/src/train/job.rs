//! A run in a process of its own: it reads its plan from the bucket, and leaves a tree and a result there. It may be
//! killed at any moment and started again, on another machine too. It never touches the registry's log: whoever may
//! registers what it has uploaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use fairway_core::model::RunEnd;
use fairway_core::plan::spell;
use fairway_model::Bundle;
use fairway_registry::{Access, Author, Created, ModelLog, Progress, Registry, RunLog, StoreOptions, Uploading};
use fairway_trainer::{CancelFlag, Trained};

use super::beat::{Told, telling};
use super::{Attempt, Attempted, RunPlan, TrainResult, champion, code};
use crate::exit::{Code, Invalid};
use crate::runtime::{Clock, Meter};

/// Who uploads.
const ACTOR: &str = "fairway-trainer";

/// What a run in a process of its own is told.
pub struct Job {
    /// URL of the registry.
    pub registry: String,
    /// How to reach its store.
    pub options: StoreOptions,
    /// The model's namespace.
    pub namespace: String,
    /// The model.
    pub model: String,
    /// The run.
    pub run: String,
    /// Where relative data URLs start.
    pub base: PathBuf,
    /// The work folder.
    pub work: PathBuf,
    /// Where the newest line of progress goes, beside stdout.
    pub progress_file: Option<PathBuf>,
}

/// How a run has ended, now or before.
pub enum Ended {
    /// The trainer has come to this; what becomes of it is not said yet.
    Trained(TrainResult),
    /// It is over.
    Over(RunEnd),
}

impl Ended {
    /// The exit code.
    pub fn code(&self) -> Code {
        match self {
            Self::Trained(result) => code(result),
            Self::Over(end) => Code::of_run(end),
        }
    }

    /// As it is kept.
    ///
    /// # Errors
    /// None that matter: it came from JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Trained(result) => serde_json::to_vec_pretty(result)?,
            Self::Over(end) => serde_json::to_vec_pretty(end)?,
        })
    }
}

/// A run that was found in the bucket.
pub(super) struct Found {
    pub(super) log: ModelLog,
    pub(super) record: RunLog,
    pub(super) plan: RunPlan,
}

/// Does the run, unless it has ended.
///
/// # Errors
/// What may be gone the next time: a bucket that cannot be reached, a full disk. Nothing was written.
pub async fn run(job: &Job, cancel: &CancelFlag) -> Result<Ended> {
    let found = job.find().await?;
    if let Some(ended) = ended(&found.record).await? {
        eprintln!("run {} has ended before; nothing is done", job.run);
        return Ok(ended);
    }
    let meter = Meter::default();
    let deadline = found.plan.deadline;
    let work = telling(&meter, job.progress_file.as_deref(), &found.record, job.train(&found, &meter, cancel));
    let result = match within(deadline, work).await {
        Some(result) => result?,
        None => {
            cancel.cancel();
            let limit = deadline.unwrap_or_default();
            TrainResult::TimedOut { why: format!("not done within {}, the plan's deadline", spell(limit)) }
        }
    };
    keep(&found.record, result).await
}

/// Writes the result, unless another trainer of this run was faster: then that one counts.
pub(super) async fn keep(record: &RunLog, result: TrainResult) -> Result<Ended> {
    match record.put_result(&result).await.context("writing the run's result")? {
        Created::Now => Ok(Ended::Trained(result)),
        Created::Already => {
            eprintln!("another trainer of this run was faster: what it came to counts");
            ended(record).await?.context("the run's result has vanished")
        }
    }
}

/// How a run has ended, if it has. What the trainer said counts where it is final: an outcome is coarser.
pub(super) async fn ended(record: &RunLog) -> Result<Option<Ended>> {
    let result = record.result::<TrainResult>().await.context("reading the run's result")?;
    match result {
        Some(result) if !matches!(result, TrainResult::Uploaded { .. }) => Ok(Some(Ended::Trained(result))),
        result => {
            let outcome = record.outcome::<RunEnd>().await.context("reading the run's outcome")?;
            Ok(outcome.map(Ended::Over).or(result.map(Ended::Trained)))
        }
    }
}

pub(super) async fn within<T>(deadline: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

impl Job {
    /// Opens the registry and reads the run's plan.
    ///
    /// # Errors
    /// There is none, or it is another run's.
    pub(super) async fn find(&self) -> Result<Found> {
        // A trainer may write its run and trees, and not ask the store anything about the registry itself.
        let registry = Registry::open_with(&self.registry, &self.options, Access::Read).await?;
        let log = registry.model(&self.namespace, &self.model)?;
        let record = log.run(&self.run)?;
        let plan = record.plan::<RunPlan>().await.context("reading the run's plan")?.ok_or_else(|| {
            let place = format!("{}/models/{}/runs/{}/plan.json", self.namespace, self.model, self.run);
            Invalid(format!("run {} has no plan ({place}): name the run of a plan that is there", self.run))
        })?;
        let (model, run) = (&plan.training.model, &plan.training.run);
        if (model, run) != (&self.model, &self.run) {
            bail!(Invalid(format!("the plan of run {} is one for run {run} of model {model}", self.run)));
        }
        Ok(Found { log, record, plan })
    }

    async fn train(&self, found: &Found, meter: &Meter, cancel: &CancelFlag) -> Result<TrainResult> {
        let champion = match self.champion(found, meter).await? {
            Ok(champion) => champion,
            Err(why) => return Ok(TrainResult::Failed { why }),
        };
        let work = self.work.join("run");
        let told = Told { run: self.run.clone(), meter: meter.clone() };
        let attempt = Attempt { plan: &found.plan, base: &self.base, work: &work, champion, cancel: cancel.clone() };
        match attempt.make(told).await? {
            Attempted::Trained(trained) => {
                meter.enter(&self.run, "upload", 0);
                self.upload(found, &trained).await
            }
            Attempted::Rejected { why } => Ok(TrainResult::Rejected { why }),
            Attempted::DataRefused { code, why } => Ok(TrainResult::DataRefused { code, why }),
            Attempted::Failed { why } => Ok(TrainResult::Failed { why }),
            Attempted::Cancelled { said } => Err(anyhow!("stopped: {said}")),
        }
    }

    /// The version beside which the candidate is judged, if the plan names one; or why it never can be had.
    pub(super) async fn champion(&self, found: &Found, meter: &Meter) -> Result<Result<Option<Arc<Bundle>>, String>> {
        let Some(digest) = &found.plan.training.champion else { return Ok(Ok(None)) };
        meter.enter(&self.run, "champion", 0);
        Ok(champion(&found.log, digest, &self.work.join("cache")).await?.map(Some))
    }

    async fn upload(&self, found: &Found, trained: &Trained) -> Result<TrainResult> {
        let metrics = trained.evaluation.candidate.overall.clone();
        let labels = [("family".to_owned(), found.plan.training.family.clone())].into();
        self.send(found, &trained.bundle, Made { metrics, labels, provenance: trained.provenance.clone() }).await
    }

    /// Sends a bundle that has passed, and says what came of it.
    pub(super) async fn send(&self, found: &Found, bundle: &Path, made: Made) -> Result<TrainResult> {
        let kinds = Default::default();
        let author = Author { actor: ACTOR, reason: "trained", time: Clock::real().now() };
        let work = Uploading { run: &self.run, author, kinds: &kinds, provenance: &made.provenance };
        let Made { metrics, labels, provenance } = &made;
        match found.log.upload(bundle, work, &Progress::default()).await {
            Ok(digest) => {
                let (metrics, labels, provenance) = (metrics.clone(), labels.clone(), provenance.clone());
                Ok(TrainResult::Uploaded { digest, metrics, labels, kinds, provenance })
            }
            Err(error) if error.is_final() => Ok(TrainResult::Failed { why: error.to_string() }),
            Err(error) => Err(error).context("uploading the bundle"),
        }
    }
}

/// What is said of a bundle beside its files.
pub(super) struct Made {
    pub(super) metrics: std::collections::BTreeMap<String, f64>,
    pub(super) labels: std::collections::BTreeMap<String, String>,
    pub(super) provenance: serde_json::Value,
}
