//! Carrying a model's plan out: the active run has a record, a plan in the bucket and a Job; a run that is to stop has none.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use fairway_core::model::{ActiveRun, ModelEffect, RunEnd};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::{Decided, Opened, RunCause, Subject, build, producers, runtime};
use crate::call::{call, has_code};
use crate::context::Context;

impl Opened {
    pub(super) async fn apply(&mut self, context: &Context, subject: &Subject, decided: &Decided) -> Result<()> {
        while let Some(effect) = self.kept.undone.front().cloned() {
            if let ModelEffect::CancelRun { name, why } = effect {
                self.cancel(context, subject, &name, &why).await?;
            }
            self.kept.undone.pop_front();
        }
        // A run whose Job has ended is settled at the next look; one that was just cancelled as well.
        let Some(run) = decided.plan.status.run.clone() else { return Ok(()) };
        if decided.seen.job.as_ref().is_some_and(|job| job.name_any() == build::job_name(&run.name)) {
            return Ok(());
        }
        if self.log.run(&run.name)?.outcome::<RunEnd>().await?.is_some() {
            return Ok(());
        }
        self.start(context, subject, &run).await
    }

    /// Each step is harmless to repeat: the record and the plan are created once, the Job has the run's name.
    async fn start(&self, context: &Context, subject: &Subject, run: &ActiveRun) -> Result<()> {
        let record = context.runs.get(&subject.key.0, &run.name);
        if record.is_none() {
            self.record(context, subject, run).await?;
        }
        let asked = record.as_ref().and_then(|it| it.0.as_ref().ok()).and_then(producers::evidence);
        let cause = RunCause {
            run: &run.name,
            reason: &run.reason,
            mode: run.mode,
            evidence: self.evidence().into_iter().chain(asked).collect(),
            champion: self.champion.as_ref().map(|known| known.target.digest.clone()),
            known_until: self.champion.as_ref().map(|known| known.trained_through),
            as_of: run.started,
        };
        let plan = (context.settings.plan)(&subject.model, &cause).context("the run's plan")?;
        self.log.run(&run.name)?.create_plan(&plan).await.context("writing the run's plan")?;
        // What cannot be carried out at all ends the run, and says so.
        match runtime::start(context, subject, run).await? {
            Some(why) => self
                .log
                .run(&run.name)?
                .finish(&RunEnd::Failed { why })
                .await
                .context("writing the run's outcome")
                .map(drop),
            None => Ok(()),
        }
    }

    /// The record of a run that nobody has asked for by one.
    async fn record(&self, context: &Context, subject: &Subject, run: &ActiveRun) -> Result<()> {
        let namespace = &subject.key.0;
        let api: Api<fairway_api::TrainingRun> = Api::namespaced(context.client.clone(), namespace);
        let record = serde_json::from_value(build::training_run(subject, run))?;
        let created = async {
            match api.create(&PostParams::default(), &record).await {
                Err(error) if has_code(&error, 409) => Ok(()),
                other => other.map(drop),
            }
        };
        context.metrics.write("TrainingRun");
        call(|| format!("creating the TrainingRun {namespace}/{}", run.name), created).await
    }

    /// The outcome first: what is over does not start again, whatever becomes of the Job.
    async fn cancel(&self, context: &Context, subject: &Subject, name: &str, why: &str) -> Result<()> {
        let end = RunEnd::Cancelled { why: why.to_owned() };
        self.log.run(name)?.finish(&end).await.context("writing the run's outcome")?;
        runtime::stop(context, &subject.key.0, name).await
    }

    /// What the monitors say when a run is started: kept in its plan and in the version's provenance.
    fn evidence(&self) -> BTreeMap<String, serde_json::Value> {
        let status = &self.kept.status;
        let drift = status.drift.as_ref().and_then(|monitor| monitor.last.as_ref());
        let reward = status.degradation.as_ref().and_then(|monitor| monitor.last);
        let reward =
            reward.map(|(champion, popularity)| serde_json::json!({"champion": champion, "popularity": popularity}));
        let parts = [("drift", drift.map(|report| serde_json::json!(report))), ("reward", reward)];
        parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}
