//! A run whose trainer is somebody else's container: what comes before it and after it. Between the two it reads and
//! writes one folder, and needs to know nothing of registries:
//!
//! | in the folder | from | |
//! |---|---|---|
//! | `interactions.parquet`, `items.parquet` | prepare | rows and features; `holdout` marks what it is judged on |
//! | `plan.json` | prepare | written last |
//! | `ended.json` | prepare | instead of the others: the run has a result; there is nothing to do |
//! | `bundle/` | the container | a bundle, trained on the rows before the holdout |

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fairway_core::plan::spell;
use fairway_model::Bundle;
use fairway_trainer::{CancelFlag, Data, DataSpec, Evaluation, INTERACTIONS_FILE, ITEMS_FILE, Source, TrainingPlan};

use super::beat::{Told, telling};
use super::job::{Ended, Found, Job, Made, ended, keep, within};
use super::judge::judge;
use super::{RunPlan, TrainResult};
use crate::exit::Invalid;
use crate::runtime::Meter;

/// What was planned, in the folder.
const PLAN: &str = "plan.json";
/// How the run has ended, if it has.
const ENDED: &str = "ended.json";
/// What the container leaves.
const BUNDLE: &str = "bundle";

/// Writes what a trainer needs into the folder. Says how the run has ended, if it has: also when its data are refused.
///
/// # Errors
/// What may be gone the next time.
pub async fn prepare(job: &Job, dir: &Path) -> Result<Option<Ended>> {
    let found = job.find().await?;
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    if let Some(ended) = ended(&found.record).await? {
        put(dir, ENDED, &ended.to_json()?)?;
        return Ok(Some(ended));
    }
    let training = found.plan.training.clone();
    let data = match fairway_trainer::read(&training.data, &job.base, training.as_of).await {
        Ok(data) => data,
        Err(error) => {
            let result = TrainResult::DataRefused { code: error.reason().to_owned(), why: error.to_string() };
            return keep(&found.record, result).await.map(Some);
        }
    };
    let folder = dir.to_owned();
    let write = move || fairway_trainer::hand_over(&training, &data, &folder);
    if let Err(error) = tokio::task::spawn_blocking(write).await? {
        return match error {
            fairway_trainer::TrainError::Io { .. } => Err(error.into()),
            error => keep(&found.record, TrainResult::Failed { why: error.to_string() }).await.map(Some),
        };
    }
    put(dir, PLAN, &serde_json::to_vec_pretty(&found.plan)?)?;
    Ok(None)
}

/// Whether the container has left a bundle that may serve. Who is stopped by the same signal whether the container has ended or its
/// pod is to go must know it before anything is said of the run for good.
///
/// # Errors
/// It has not: the run has no result, and may be tried again.
pub fn left_whole(dir: &Path) -> Result<()> {
    findings(&dir.join(BUNDLE)).map_err(anyhow::Error::msg).context("nothing is published, and the run has no result")
}

/// Checks the bundle that the container has left, judges it, uploads it, and writes the run's result.
///
/// # Errors
/// What may be gone the next time.
pub async fn publish(job: &Job, dir: &Path, cancel: &CancelFlag) -> Result<Ended> {
    let found = job.find().await?;
    if let Some(ended) = ended(&found.record).await? {
        return Ok(ended);
    }
    prepared_for(&found, dir)?;
    let meter = Meter::default();
    let work = telling(&meter, job.progress_file.as_deref(), &found.record, come_to(job, &found, dir, &meter, cancel));
    let deadline = found.plan.deadline;
    let result = match within(deadline, work).await {
        Some(result) => result?,
        None => {
            cancel.cancel();
            TrainResult::TimedOut { why: format!("not published within {}", spell(deadline.unwrap_or_default())) }
        }
    };
    keep(&found.record, result).await
}

async fn come_to(job: &Job, found: &Found, dir: &Path, meter: &Meter, cancel: &CancelFlag) -> Result<TrainResult> {
    let failed = |why: String| Ok(TrainResult::Failed { why });
    let bundle = match of_this_run(&dir.join(BUNDLE), &found.plan.training) {
        Ok(bundle) => Arc::new(bundle),
        Err(why) => return failed(why),
    };
    let champion = match job.champion(found, meter).await? {
        Ok(champion) => champion,
        Err(why) => return failed(why),
    };
    let training = found.plan.training.clone();
    let spec = handed_over(&training, dir);
    let data = fairway_trainer::read(&spec, dir, training.as_of).await.context("reading what was prepared")?;
    let told = Told { run: job.run.clone(), meter: meter.clone() };
    let (ours, cancel) = (Arc::clone(&bundle), cancel.clone());
    let evaluate = move || -> Result<(Evaluation, Data)> {
        let champion = champion.as_ref().map(|bundle| &*bundle.recommender);
        let found = fairway_trainer::evaluate_bundle(&training, &data, &*ours.recommender, champion, &told, &cancel)?;
        Ok((found, data))
    };
    let (evaluation, data) = tokio::task::spawn_blocking(evaluate).await??;
    let cutoff = evaluation.protocol.cutoff;
    if bundle.manifest.trained_through_ms >= cutoff.as_millisecond() {
        let cure = "train on the rows with holdout = false";
        return failed(format!("bundle.json: trainedThroughMs lies in the holdout, which begins at {cutoff}; {cure}"));
    }
    if let Err(why) = judge(&found.plan.admission, &evaluation) {
        return Ok(TrainResult::Rejected { why });
    }
    meter.enter(&job.run, "upload", 0);
    let made = Made {
        labels: [("family".to_owned(), bundle.manifest.family.clone())].into(),
        provenance: fairway_trainer::provenance_of(&found.plan.training, &data, &bundle.manifest, &evaluation)
            .to_value(),
        metrics: evaluation.candidate.overall,
    };
    job.send(found, &dir.join(BUNDLE), made).await
}

/// The folder must be this run's: pods are started again, and volumes may outlive them.
fn prepared_for(found: &Found, dir: &Path) -> Result<()> {
    let path = dir.join(PLAN);
    let cure = "prepare the folder for this run first";
    let text = std::fs::read(&path).map_err(|error| Invalid(format!("{}: {error}; {cure}", path.display())))?;
    let plan: RunPlan =
        serde_json::from_slice(&text).map_err(|error| Invalid(format!("{}: {error}", path.display())))?;
    if plan != found.plan {
        bail!(Invalid(format!("{}: the plan of run {}, or another one; {cure}", path.display(), plan.training.run)));
    }
    Ok(())
}

/// All that keeps the bundle from serving.
fn findings(dir: &Path) -> Result<(), String> {
    let findings: Vec<String> = fairway_model::check(dir).iter().map(ToString::to_string).collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!("the container left no bundle that may serve: {}", findings.join("; ")))
}

/// The bundle, if it may serve and says that it is of this run.
fn of_this_run(dir: &Path, plan: &TrainingPlan) -> Result<Bundle, String> {
    findings(dir)?;
    let bundle = Bundle::load(dir).map_err(|error| error.to_string())?;
    let (model, run) = (&bundle.manifest.model, &bundle.manifest.run);
    if (model, run) != (&plan.model, &plan.run) {
        return Err(format!(
            "bundle.json is of run {run} of model {model}; write model {} and run {}, as plan.json has them",
            plan.model, plan.run
        ));
    }
    Ok(bundle)
}

/// Where the rows lie that were handed over: they were checked then.
fn handed_over(plan: &TrainingPlan, dir: &Path) -> DataSpec {
    let source = |url: &str, sql: &str| Source { url: url.to_owned(), sql: sql.to_owned() };
    let items = dir.join(ITEMS_FILE).exists().then(|| source(ITEMS_FILE, "SELECT * FROM items"));
    let sql = "SELECT user_id, item_id, time, weight, segment FROM interactions";
    DataSpec { items, history: plan.data.history, ..DataSpec::new(source(INTERACTIONS_FILE, sql)) }
}

fn put(dir: &Path, name: &str, text: &[u8]) -> Result<()> {
    let (aside, path) = (dir.join(format!("{name}.new")), dir.join(name));
    let write = || std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &path));
    write().with_context(|| format!("writing {}", path.display()))
}
