//! `fairway train`: one run, in a process of its own, or the parts of it before and after a container that trains.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fairway_trainer::CancelFlag;
use serde_json::{Value, json};
use tracing::Instrument;

use super::up::Signals;
use crate::args::{Train, TrainFolder, TrainPart, TrainRun};
use crate::exit::{Code, Invalid};
use crate::output;
use crate::train::{self, Ended, Job};

/// What is done of a run.
enum Part {
    Whole,
    Prepare(PathBuf),
    Publish(PathBuf),
    PublishOnceStopped(PathBuf),
}

/// Which of several pods of a Job this is, as Kubernetes says it.
const NODE: &str = "JOB_COMPLETION_INDEX";

/// Whether another pod is the first of those that train together.
fn follows(node: Option<&str>) -> bool {
    node.is_some_and(|node| node != "0")
}

/// Trains, and says how it ended. Asked to stop it stops at once, and nothing is said in the bucket: the next process of
/// the same run begins anew.
///
/// # Errors
/// What may be gone the next time.
pub async fn run(train: Train) -> Result<Code> {
    let (part, run) = match train.part {
        Some(TrainPart::Prepare(folder)) => (Part::Prepare(folder.dir), folder.run),
        Some(TrainPart::Publish(publish)) => {
            let TrainFolder { dir, run } = publish.folder;
            (if publish.when_stopped { Part::PublishOnceStopped(dir) } else { Part::Publish(dir) }, run)
        }
        None => (Part::Whole, train.whole),
    };
    let mut signals = Signals::new()?;
    if matches!(part, Part::PublishOnceStopped(_)) {
        eprintln!("run {}: waiting for the container that trains to end", run.run.as_deref().unwrap_or_default());
        signals.stop().await;
    }
    if matches!(part, Part::Publish(_) | Part::PublishOnceStopped(_)) && follows(std::env::var(NODE).ok().as_deref()) {
        eprintln!("the first of the pods that train together publishes: there is nothing to do for this one");
        return Ok(Code::Done);
    }
    let temporary = tempfile::Builder::new().prefix("fairway-train-").tempdir().context("making a temporary folder")?;
    let job = job(run, temporary.path())?;
    let cancel = CancelFlag::new();
    let ended = async {
        match &part {
            Part::Whole => train::run(&job, &cancel).await.map(Some),
            Part::Prepare(dir) => train::prepare(&job, dir).await,
            Part::Publish(dir) => train::publish(&job, dir, &cancel).await.map(Some),
            Part::PublishOnceStopped(dir) => {
                train::left_whole(dir)?;
                train::publish(&job, dir, &cancel).await.map(Some)
            }
        }
    };
    let ended = ended.instrument(tracing::info_span!("train", run = job.run, model = job.model));
    tokio::select! {
        ended = ended => match ended? {
            Some(ended) => say(&job, &ended),
            None => {
                eprintln!("run {}: prepared", job.run);
                Ok(Code::Done)
            }
        },
        () = signals.stop() => {
            cancel.cancel();
            eprintln!("run {} was asked to stop and has no result: the same command begins it anew", job.run);
            Ok(Code::Stopped)
        }
    }
}

fn job(run: TrainRun, temporary: &Path) -> Result<Job> {
    let named = |value: Option<String>| value.ok_or_else(|| Invalid("name --registry, --model and --run".to_owned()));
    Ok(Job {
        options: run.store.options()?,
        registry: named(run.registry)?,
        namespace: run.namespace,
        model: named(run.model)?,
        run: named(run.run)?,
        base: run.base,
        work: run.work.unwrap_or_else(|| temporary.to_owned()),
        progress_file: run.progress_file,
    })
}

/// The last line of stdout: what the trainer came to, without the provenance, which is in the tree.
fn say(job: &Job, ended: &Ended) -> Result<Code> {
    let sentence = match ended {
        Ended::Trained(result) => result.sentence(),
        Ended::Over(end) => super::run::sentence(end),
    };
    let mut said: Value = serde_json::from_slice(&ended.to_json()?)?;
    if let Some(fields) = said.as_object_mut() {
        fields.remove("provenance");
    }
    eprintln!("run {}: {sentence}", job.run);
    output::line(&json!({"run": job.run, "result": said}).to_string())?;
    Ok(ended.code())
}
