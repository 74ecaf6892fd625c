//! One training run in this process: plan once, read, check, train, judge, register, and an outcome that is written
//! once. Killed at any moment and started again under the same name, it ends with one version and one outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use fairway_core::model::RunEnd;
use fairway_model::Bundle;
use fairway_registry::sign::PrivateKey;
use fairway_registry::{Author, ModelLog, Registration, RunLog, Version};
use fairway_trainer::CancelFlag;
use tokio::task::JoinHandle;

use super::effects::{ACTOR, shortened};
use super::progress::{Meter, Told};
use super::{Clock, Journal};
use crate::train::{Attempt, Attempted, RunPlan, remove};

const CHALLENGER: &str = "challenger";

/// What a run needs.
pub(super) struct Start {
    pub(super) plan: RunPlan,
    pub(super) base: PathBuf,
    pub(super) work: PathBuf,
    pub(super) model_log: ModelLog,
    pub(super) champion: Option<Arc<Bundle>>,
    pub(super) signing_key: Option<Arc<PrivateKey>>,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) meter: Meter,
}

/// A run in progress.
pub(super) struct Training {
    name: String,
    cancel: CancelFlag,
    why: Arc<std::sync::Mutex<Option<String>>>,
    abandoned: Arc<AtomicBool>,
    task: JoinHandle<Result<RunEnd>>,
    end: Option<RunEnd>,
}

impl Training {
    /// Writes the plan (or takes up the one that is there) and starts.
    pub(super) async fn start(mut start: Start) -> Result<Self> {
        let run = start.model_log.run(&start.plan.training.run)?;
        run.create_plan(&start.plan).await.context("writing the run's plan")?;
        start.plan = run.plan::<RunPlan>().await?.context("the run's plan has vanished")?;
        let (name, cancel) = (start.plan.training.run.clone(), CancelFlag::new());
        let (flag, abandoned) = (cancel.clone(), Arc::<AtomicBool>::default());
        let given_up = abandoned.clone();
        let meter = start.meter.clone();
        let task = tokio::spawn(async move {
            let end = execute(start, run, flag, &given_up).await;
            meter.leave();
            end
        });
        Ok(Self { name, cancel, why: Arc::default(), abandoned, task, end: None })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn cancel(&self, why: &str) {
        self.why.lock().expect("no panic while it is held").get_or_insert_with(|| why.to_owned());
        self.cancel.cancel();
    }

    /// Stops without an outcome: the process ends, and the next one takes the run up again under the same plan.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.cancel.cancel();
    }

    /// Waits for the end, which [`Training::poll`] then gives.
    pub(super) async fn wait(&mut self) {
        if self.end.is_none() {
            let end = (&mut self.task).await;
            self.end = Some(self.settle(end));
        }
    }

    /// The end, if it is there.
    pub(super) async fn poll(&mut self) -> Option<RunEnd> {
        if self.end.is_none() && self.task.is_finished() {
            self.wait().await;
        }
        self.end.clone()
    }

    fn settle(&self, end: Result<Result<RunEnd>, tokio::task::JoinError>) -> RunEnd {
        let end = match end {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => RunEnd::Failed { why: format!("{error:#}") },
            Err(error) => RunEnd::Failed { why: format!("the trainer broke down: {error}") },
        };
        match (end, self.why.lock().expect("no panic while it is held").clone()) {
            (RunEnd::Cancelled { why: said }, Some(why)) => RunEnd::Cancelled { why: format!("{why}; {said}") },
            (end, _) => end,
        }
    }
}

async fn execute(start: Start, run: RunLog, cancel: CancelFlag, abandoned: &AtomicBool) -> Result<RunEnd> {
    if let Some(end) = run.outcome::<RunEnd>().await? {
        return Ok(end);
    }
    let name = start.plan.training.run.clone();
    let registered = start.model_log.head().await?.and_then(|entry| entry.state.by_run(&name).cloned());
    let end = match registered {
        // Killed between the registration and the outcome.
        Some(version) => {
            propose(&start, &version).await?;
            RunEnd::Registered { version: version.number }
        }
        None => attempt(&start, cancel).await?,
    };
    if abandoned.load(Ordering::Relaxed) && matches!(end, RunEnd::Cancelled { .. }) {
        anyhow::bail!("stopped with the process");
    }
    // A cancelled run is over for good as well: terminal means terminal.
    run.finish(&end).await.context("writing the run's outcome")?;
    remove(&start.work);
    Ok(end)
}

async fn attempt(start: &Start, cancel: CancelFlag) -> Result<RunEnd> {
    let (base, work, champion) = (start.base.as_path(), start.work.as_path(), start.champion.clone());
    let attempt = Attempt { plan: &start.plan, base, work, champion, cancel };
    match attempt.make(told(start)).await? {
        Attempted::Trained(trained) => register(start, &trained).await,
        Attempted::Rejected { why } => Ok(RunEnd::Rejected { why }),
        Attempted::DataRefused { code, why } => Ok(RunEnd::DataRefused { code, why }),
        Attempted::Failed { why } => Ok(RunEnd::Failed { why }),
        Attempted::Cancelled { said } => Ok(RunEnd::Cancelled { why: said }),
    }
}

fn told(start: &Start) -> Told {
    Told {
        run: start.plan.training.run.clone(),
        meter: start.meter.clone(),
        journal: start.journal.clone(),
        clock: start.clock.clone(),
    }
}

async fn register(start: &Start, trained: &fairway_trainer::Trained) -> Result<RunEnd> {
    let registration = Registration {
        run: start.plan.training.run.clone(),
        actor: ACTOR.to_owned(),
        time: start.clock.now(),
        metrics: trained.evaluation.candidate.overall.clone(),
        labels: BTreeMap::from([("family".to_owned(), start.plan.training.family.clone())]),
        provenance: trained.provenance.clone(),
        kinds: BTreeSet::new(),
        // A version that is to be signed is proposed when it is: nobody may load it before.
        alias: start.signing_key.is_none().then(|| CHALLENGER.to_owned()),
        reason: shortened(&start.plan.training.reason),
    };
    let version = start.model_log.register(&trained.bundle, registration).await.context("registering the version")?;
    propose(start, &version).await?;
    Ok(RunEnd::Registered { version: version.number })
}

/// Signs a version and makes it challenger, as far as that is still to be done: repeating it is harmless.
async fn propose(start: &Start, version: &Version) -> Result<()> {
    let Some(key) = &start.signing_key else { return Ok(()) };
    let log = &start.model_log;
    let author = Author { actor: ACTOR, reason: "signed by the process that trained it", time: start.clock.now() };
    if log.verify(&version.digest, std::slice::from_ref(key.public())).await.is_err() {
        log.sign(version.number, key, author).await.context("signing the version")?;
    }
    let at = log.state().await?.aliases.get(CHALLENGER).copied();
    if at < Some(version.number) {
        let reason = shortened(&start.plan.training.reason);
        log.move_alias(CHALLENGER, at, Some(version.number), ACTOR, &reason, author.time).await?;
    }
    Ok(())
}
