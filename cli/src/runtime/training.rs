//! One training run in this process: plan once, read, check, train, judge, register, and an outcome that is written
//! once. Killed at any moment and started again under the same name, it ends with one version and one outcome. What a
//! bucket that fails for a while keeps from being done is tried again; a run does not end without its outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fairway_core::model::RunEnd;
use fairway_core::plan::spell;
use fairway_model::Bundle;
use fairway_registry::sign::PrivateKey;
use fairway_registry::{Author, ModelLog, Registration, RunLog, Version};
use fairway_trainer::{CancelFlag, Trained};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::effects::{ACTOR, shortened};
use super::progress::{Meter, Told};
use super::{Clock, Journal};
use crate::exit;
use crate::train::{Attempt, Attempted, RunPlan, champion, remove};

const CHALLENGER: &str = "challenger";
/// Most tries of a step that fails, about a quarter of an hour.
const TRIES: u32 = 20;
/// A pause looks this often whether it is to end.
const WAKE_EVERY: Duration = Duration::from_millis(100);

/// What a run needs.
pub(super) struct Start {
    /// The plan, if the run has none yet. What the champion knows is filled in when that is at hand.
    pub(super) plan: RunPlan,
    pub(super) base: PathBuf,
    pub(super) work: PathBuf,
    /// Where versions are fetched to.
    pub(super) cache: PathBuf,
    pub(super) model_log: ModelLog,
    /// The version that serves, by its digest: a run that is judged beside it need not fetch it.
    pub(super) serving: Option<(String, Arc<Bundle>)>,
    pub(super) signing_key: Option<Arc<PrivateKey>>,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) meter: Meter,
}

/// A run in progress.
pub(super) struct Training {
    name: String,
    stop: Stop,
    why: Arc<std::sync::Mutex<Option<String>>>,
    task: JoinHandle<Result<RunEnd>>,
    end: Option<RunEnd>,
}

/// How a run is told to stop.
#[derive(Clone)]
struct Stop {
    cancel: CancelFlag,
    /// The process ends: the next one takes the run up again.
    abandoned: Arc<AtomicBool>,
}

/// Why a step did not come to its end.
enum Stopped {
    Cancelled(String),
    Failed(String),
}

impl Training {
    /// Starts. Whatever goes wrong is the end of the run.
    pub(super) fn start(start: Start) -> Self {
        let name = start.plan.training.run.clone();
        let stop = Stop { cancel: CancelFlag::new(), abandoned: Arc::default() };
        let (told, meter) = (stop.clone(), start.meter.clone());
        let task = tokio::spawn(async move {
            let end = execute(start, &told).await;
            meter.leave();
            end
        });
        Self { name, stop, why: Arc::default(), task, end: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn cancel(&self, why: &str) {
        self.why.lock().expect("no panic while it is held").get_or_insert_with(|| why.to_owned());
        self.stop.cancel.cancel();
    }

    /// Stops without an outcome: the process ends, and the next one takes the run up again under the same plan.
    pub(super) fn abandon(&self) {
        self.stop.abandoned.store(true, Ordering::Relaxed);
        self.stop.cancel.cancel();
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

impl Stop {
    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Does a step, again and again while what is in its way may go away by itself. `doing` says what.
    async fn until_done<T, F: Future<Output = Result<T>>>(
        &self,
        doing: &str,
        mut step: impl FnMut() -> F,
    ) -> Result<T, Stopped> {
        let mut backoff = None;
        loop {
            let error = match step().await {
                Ok(done) => return Ok(done),
                Err(error) => error.context(doing.to_owned()),
            };
            let next = Backoff::after(backoff);
            if exit::is_final(&error) || next.failures() >= TRIES {
                return Err(Stopped::Failed(format!("{error:#}")));
            }
            if !paused(next, &error, || self.cancel.is_cancelled()).await {
                return Err(Stopped::Cancelled(format!("cancelled while {error:#}")));
            }
            backoff = Some(next);
        }
    }
}

/// Waits before the next try; false if it is not to come.
async fn paused(backoff: Backoff, error: &anyhow::Error, is_over: impl Fn() -> bool) -> bool {
    tracing::warn!("{error:#}; tried again in {}", spell(backoff.pause()));
    let began = Instant::now();
    while !is_over() {
        let left = backoff.pause().saturating_sub(began.elapsed());
        if left.is_zero() {
            return true;
        }
        tokio::time::sleep(left.min(WAKE_EVERY)).await;
    }
    false
}

async fn execute(start: Start, stop: &Stop) -> Result<RunEnd> {
    let run = start.model_log.run(&start.plan.training.run)?;
    let end = match come_to(&start, &run, stop).await {
        Ok(end) => end,
        Err(Stopped::Cancelled(why)) => RunEnd::Cancelled { why },
        Err(Stopped::Failed(why)) => RunEnd::Failed { why },
    };
    // Without an outcome nobody knows that it is over, so that nothing but the end of the process ends this.
    let mut backoff = None;
    loop {
        if stop.is_abandoned() && matches!(end, RunEnd::Cancelled { .. }) {
            bail!("stopped with the process");
        }
        let error = match conclude(&start, &run, &end).await {
            Ok(end) => {
                remove(&start.work);
                return Ok(end);
            }
            Err(error) => error.context("writing the run's outcome"),
        };
        let next = Backoff::after(backoff);
        if exit::is_final(&error) || !paused(next, &error, || stop.is_abandoned()).await {
            return Err(error);
        }
        backoff = Some(next);
    }
}

/// Writes the outcome, and says which one counts. A cancelled run is over for good as well: terminal means terminal.
async fn conclude(start: &Start, run: &RunLog, end: &RunEnd) -> Result<RunEnd> {
    let mut end = end.clone();
    if let (RunEnd::Failed { why } | RunEnd::Cancelled { why }, Some(version)) = (&end, registered(start).await?) {
        // The version is there all the same: an answer was lost, or only what comes after it failed.
        let left = format!("version {} is registered, but not all was done after that: {why}", version.number);
        start.journal.add(start.clock.now(), "train", "NotProposed", left);
        end = RunEnd::Registered { version: version.number };
    }
    run.finish(&end).await?;
    Ok(run.outcome::<RunEnd>().await?.unwrap_or(end))
}

async fn come_to(start: &Start, run: &RunLog, stop: &Stop) -> Result<RunEnd, Stopped> {
    let before = stop.until_done("reading the run's outcome", || async { anyhow::Ok(run.outcome::<RunEnd>().await?) });
    if let Some(end) = before.await? {
        return Ok(end);
    }
    let plan = stop.until_done("planning the run", || planned(start, run)).await?;
    let before = stop.until_done("reading the registry", || registered(start)).await?;
    let version = match before {
        // Killed between the registration and the outcome.
        Some(version) => version,
        None => {
            let champion = stop.until_done("fetching the champion", || champion_of(start, &plan)).await?;
            let champion = champion.map_err(Stopped::Failed)?;
            let attempt = || async {
                let (base, work, champion) = (start.base.as_path(), start.work.as_path(), champion.clone());
                Attempt { plan: &plan, base, work, champion, cancel: stop.cancel.clone() }.make(told(start)).await
            };
            let trained = match stop.until_done("training", attempt).await? {
                Attempted::Trained(trained) => trained,
                Attempted::Rejected { why } => return Ok(RunEnd::Rejected { why }),
                Attempted::DataRefused { code, why } => return Ok(RunEnd::DataRefused { code, why }),
                Attempted::Failed { why } => return Ok(RunEnd::Failed { why }),
                Attempted::Cancelled { said } => return Ok(RunEnd::Cancelled { why: said }),
            };
            stop.until_done("registering the version", || register(start, &plan, &trained)).await?
        }
    };
    stop.until_done("proposing the version", || propose(start, &plan, &version)).await?;
    Ok(RunEnd::Registered { version: version.number })
}

/// The plan that is there, or this one from now on.
async fn planned(start: &Start, run: &RunLog) -> Result<RunPlan> {
    if let Some(plan) = run.plan::<RunPlan>().await? {
        return Ok(plan);
    }
    let mut plan = start.plan.clone();
    // One that cannot be had ends the run where it is to be judged beside it.
    if let Ok(Some(champion)) = champion_of(start, &plan).await? {
        plan.training.data.previous_newest = Timestamp::from_millisecond(champion.manifest.trained_through_ms).ok();
    }
    run.create_plan(&plan).await?;
    run.plan::<RunPlan>().await?.context("the run's plan has vanished")
}

/// The version that the plan names, beside which the candidate is judged; or why it never can be had.
async fn champion_of(start: &Start, plan: &RunPlan) -> Result<Result<Option<Arc<Bundle>>, String>> {
    let Some(digest) = &plan.training.champion else { return Ok(Ok(None)) };
    if let Some((_, serving)) = start.serving.as_ref().filter(|(serving, _)| serving == digest) {
        return Ok(Ok(Some(serving.clone())));
    }
    start.meter.enter(&plan.training.run, "champion", 0);
    Ok(champion(&start.model_log, digest, &start.cache).await?.map(Some))
}

async fn registered(start: &Start) -> Result<Option<Version>> {
    Ok(start.model_log.state().await?.by_run(&start.plan.training.run).cloned())
}

fn told(start: &Start) -> Told {
    Told {
        run: start.plan.training.run.clone(),
        meter: start.meter.clone(),
        journal: start.journal.clone(),
        clock: start.clock.clone(),
    }
}

async fn register(start: &Start, plan: &RunPlan, trained: &Trained) -> Result<Version> {
    let registration = Registration {
        run: plan.training.run.clone(),
        actor: ACTOR.to_owned(),
        time: start.clock.now(),
        metrics: trained.evaluation.candidate.overall.clone(),
        labels: BTreeMap::from([("family".to_owned(), plan.training.family.clone())]),
        provenance: trained.provenance.clone(),
        kinds: BTreeSet::new(),
        // A version that is to be signed is proposed when it is: nobody may load it before.
        alias: start.signing_key.is_none().then(|| CHALLENGER.to_owned()),
        reason: shortened(&plan.training.reason),
    };
    Ok(start.model_log.register(&trained.bundle, registration).await?)
}

/// Signs a version and makes it challenger, as far as that is still to be done: repeating it is harmless.
async fn propose(start: &Start, plan: &RunPlan, version: &Version) -> Result<()> {
    let Some(key) = &start.signing_key else { return Ok(()) };
    let log = &start.model_log;
    let author = Author { actor: ACTOR, reason: "signed by the process that trained it", time: start.clock.now() };
    if log.verify(&version.digest, std::slice::from_ref(key.public())).await.is_err() {
        log.sign(version.number, key, author).await.context("signing the version")?;
    }
    let at = log.state().await?.aliases.get(CHALLENGER).copied();
    if at < Some(version.number) {
        let reason = shortened(&plan.training.reason);
        log.move_alias(CHALLENGER, at, Some(version.number), ACTOR, &reason, author.time).await?;
    }
    Ok(())
}
