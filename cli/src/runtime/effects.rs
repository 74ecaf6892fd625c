//! Carrying effects out. Each is safe to repeat: after a crash the last plan's effects are carried out again.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use fairway_controller::keep_record;
use fairway_core::Reason;
use fairway_core::endpoint::EndpointEffect;
use fairway_core::model::{ModelEffect, RunMode};
use fairway_registry::Error as RegistryError;
use fairway_wire::{Target, Window};
use jiff::Timestamp;

use super::Runtime;
use super::spec::Cause;
use super::training::Training;
use super::window_key;
use crate::train::RunPlan;

/// Who appends to the registry's logs.
pub(super) const ACTOR: &str = "fairway";
const SNAPSHOT_EVERY: std::time::Duration = std::time::Duration::from_secs(30);
/// Most windows that wait for a bucket that fails; the oldest go.
const UNKEPT_MAX: usize = 10_000;
/// Decisions go to the bucket when so many wait, or after so long.
const DECISIONS_MIN: usize = 20_000;
const DECISIONS_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

impl Runtime {
    pub(super) async fn carry_out_endpoint(&mut self, effect: &EndpointEffect, now: Timestamp) -> Result<()> {
        match effect {
            EndpointEffect::Load { target } => self.versions.load(&self.model_log, target),
            EndpointEffect::SetRoute { route } => self.router.set_route(route.clone()),
            // Never asked for where nothing is scaled.
            EndpointEffect::Scale { .. } => {}
            EndpointEffect::Unload { digest } => self.versions.unload(&self.router, digest),
            EndpointEffect::MoveChampion { to, why } => self.move_champion(to, why, now).await?,
            EndpointEffect::Archive { record } => {
                keep_record(&self.endpoint_log, record).await?;
                self.archived.insert(record.rules.name.clone());
            }
        }
        Ok(())
    }

    /// Moves the alias, unless it is there already. Somebody else's move in between is read again and overruled: the
    /// endpoint's own log says what is stable.
    async fn move_champion(&mut self, to: &Target, why: &str, now: Timestamp) -> Result<()> {
        for _ in 0..5 {
            let state = self.model_log.head().await?.map(|entry| entry.state).unwrap_or_default();
            let current = state.aliases.get("champion").copied();
            if current == Some(to.version) {
                return Ok(());
            }
            match self.model_log.move_alias("champion", current, Some(to.version), ACTOR, &shortened(why), now).await {
                Ok(_) => return Ok(()),
                Err(RegistryError::Conflict { .. }) => {}
                Err(error) => return Err(error).context("moving the alias champion"),
            }
        }
        anyhow::bail!("the alias champion is being moved by somebody else all the time")
    }

    pub(super) async fn carry_out_model(&mut self, effect: &ModelEffect, now: Timestamp) -> Result<()> {
        match effect {
            ModelEffect::StartRun { name, reason, mode } => self.start_training(name, reason, *mode, now).await,
            ModelEffect::CancelRun { name, why } => {
                if let Some(training) = self.training.as_ref().filter(|training| training.name() == name) {
                    training.cancel(why);
                }
                Ok(())
            }
        }
    }

    /// What the monitors say when a run is started: kept in its plan and in the version's provenance.
    fn evidence(&self) -> BTreeMap<String, serde_json::Value> {
        let status = &self.model.status;
        let drift = status.drift.as_ref().and_then(|monitor| monitor.last.as_ref());
        let reward = status.degradation.as_ref().and_then(|monitor| monitor.last);
        let reward =
            reward.map(|(champion, popularity)| serde_json::json!({"champion": champion, "popularity": popularity}));
        let parts = [("drift", drift.map(|report| serde_json::json!(report))), ("reward", reward)];
        parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    pub(super) async fn start_training(
        &mut self,
        name: &str,
        reason: &Reason,
        mode: RunMode,
        now: Timestamp,
    ) -> Result<()> {
        if self.training.is_some() {
            return Ok(());
        }
        let stable = self.endpoint.status.stable.as_ref();
        let champion = stable.and_then(|target| self.versions.bundle(&target.digest));
        let previous =
            champion.as_ref().and_then(|bundle| Timestamp::from_millisecond(bundle.manifest.trained_through_ms).ok());
        let (champion_digest, evidence) = (stable.map(|target| target.digest.clone()), self.evidence());
        let cause = Cause { reason, mode, evidence, champion: champion_digest };
        let plan = RunPlan {
            training: self.spec.recipe.plan(name, cause, now, previous),
            admission: self.spec.model_policy.admission.clone(),
            // The loop's own clock, which may run faster, ends a run here.
            deadline: None,
        };
        let start = super::training::Start {
            plan,
            base: self.spec.base.clone(),
            work: self.work.join("runs").join(name),
            model_log: self.model_log.clone(),
            champion,
            signing_key: self.spec.signing_key.clone(),
            clock: self.clock.clone(),
            journal: self.journal.clone(),
            meter: self.meter.clone(),
        };
        self.training = Some(Training::start(start).await?);
        Ok(())
    }

    /// Writes windows, decisions and snapshots. Windows are in the bucket before anything is decided by them.
    pub(super) async fn housekeeping(&mut self, now: Timestamp, windows: &[Window]) -> Result<()> {
        self.unkept.extend(windows.iter().cloned());
        while self.unkept.len() > UNKEPT_MAX {
            self.unkept.pop_front();
        }
        self.keep_windows().await?;
        let are_late = self.upkeep.decided.elapsed() >= DECISIONS_EVERY;
        if self.router.decisions_waiting() >= DECISIONS_MIN || are_late {
            self.upkeep.decided = Instant::now();
            self.flush_decisions(now).await?;
        }
        if self.upkeep.snapshot.elapsed() >= SNAPSHOT_EVERY {
            self.upkeep.snapshot = Instant::now();
            self.snapshot().await?;
        }
        self.tidy(now);
        Ok(())
    }

    pub(super) async fn keep_windows(&mut self) -> Result<()> {
        while let Some(window) = self.unkept.front() {
            let bytes = serde_json::to_vec(window)?;
            self.endpoint_log.put_window(&window_key(window), bytes.into()).await.context("storing a window")?;
            self.unkept.pop_front();
        }
        Ok(())
    }

    pub(super) async fn flush_decisions(&mut self, now: Timestamp) -> Result<()> {
        let decisions = self.router.take_decisions();
        if decisions.is_empty() {
            return Ok(());
        }
        let bytes = tokio::task::spawn_blocking(move || fairway_server::decisions_to_parquet(&decisions)).await??;
        self.upkeep.decisions += 1;
        let sequence = self.upkeep.decisions;
        self.endpoint_log
            .put_decisions(now, self.router.replica(), sequence, bytes)
            .await
            .context("storing decisions")?;
        Ok(())
    }

    pub(super) async fn snapshot(&mut self) -> Result<()> {
        let router = self.router.clone();
        let bytes = tokio::task::spawn_blocking(move || router.snapshot()).await?;
        self.endpoint_log.put_state("users", bytes.into()).await.context("storing the users' histories")
    }
}

/// The registry bounds the length of a reason.
pub(super) fn shortened(why: &str) -> String {
    why.chars().take(300).collect()
}
