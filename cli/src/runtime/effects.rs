//! Carrying effects out. None holds up another, or the next decision: what the bucket refuses is asked for again by the
//! plans to come, as long as it is needed, and tried after a pause that grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::Bytes;
use fairway_controller::keep_record;
use fairway_core::Reason;
use fairway_core::endpoint::EndpointEffect;
use fairway_core::model::{ModelEffect, RunMode};
use fairway_registry::Error as RegistryError;
use fairway_wire::{Target, Window};
use jiff::Timestamp;

use super::Runtime;
use super::backoff::Backoff;
use super::spec::Cause;
use super::training::Training;
use super::window_key;
use crate::train::RunPlan;

/// Who appends to the registry's logs.
pub(super) const ACTOR: &str = "fairway";
/// Where versions are in the state folder.
pub(super) const CACHE: &str = "cache";
const SNAPSHOT_EVERY: Duration = Duration::from_secs(30);
/// Most windows that wait for a bucket that fails; the oldest go.
const UNKEPT_MAX: usize = 10_000;
/// Decisions go to the bucket when so many wait, or after so long.
const DECISIONS_MIN: usize = 20_000;
const DECISIONS_EVERY: Duration = Duration::from_secs(60);
/// Those that the bucket did not take are offered again after this.
const DECISIONS_AGAIN: Duration = Duration::from_secs(5);

/// A file of decisions that the bucket has not taken yet.
pub(super) struct Pending {
    time: Timestamp,
    sequence: u64,
    bytes: Bytes,
}

/// What the bucket has refused, when it is tried again, and what was said of it.
pub(super) struct Unmet {
    pub(super) backoff: Backoff,
    said: String,
}

impl Runtime {
    /// Carries out what the last plans say. What fails is told, and asked for again by the next plan.
    pub(super) async fn carry_out(&mut self, now: Timestamp) {
        while let Some(effect) = self.endpoint.undone.pop_front() {
            match &effect {
                EndpointEffect::Load { target } => self.versions.load(&self.model_log, target),
                EndpointEffect::SetRoute { route } => self.router.set_route(route.clone()),
                // Never asked for where nothing is scaled.
                EndpointEffect::Scale { .. } => {}
                EndpointEffect::Unload { digest } => self.versions.unload(&self.router, digest),
                EndpointEffect::MoveChampion { .. } | EndpointEffect::Archive { .. } => {
                    self.tell_bucket(&effect, now).await;
                }
            }
        }
        while let Some(effect) = self.model.undone.pop_front() {
            match effect {
                ModelEffect::StartRun { name, reason, mode } => self.start_training(&name, &reason, mode, now),
                ModelEffect::CancelRun { name, why } => {
                    if let Some(training) = self.training.as_ref().filter(|training| training.name() == name) {
                        training.cancel(&why);
                    }
                }
            }
        }
    }

    /// Whether the bucket has refused this a moment ago.
    pub(super) fn waits(&self, effect: &EndpointEffect) -> bool {
        of_bucket(effect).and_then(|what| self.unmet.get(&what)).is_some_and(|unmet| !unmet.backoff.is_due())
    }

    async fn tell_bucket(&mut self, effect: &EndpointEffect, now: Timestamp) {
        let Some(what) = of_bucket(effect).filter(|_| !self.waits(effect)) else { return };
        let told = match effect {
            EndpointEffect::MoveChampion { to, why } => self.move_champion(to, why, now).await,
            EndpointEffect::Archive { record } => {
                let kept = keep_record(&self.endpoint_log, record).await;
                if kept.is_ok() {
                    self.archived.insert(record.rules.name.clone());
                }
                kept
            }
            _ => return,
        };
        let before = self.unmet.remove(&what);
        let Err(error) = told else { return };
        let said = format!("{error:#}; tried again until it is done, and nothing else waits for it");
        if before.as_ref().is_none_or(|before| before.said != said) {
            self.journal.add(now, "registry", "BucketRefused", said.clone());
        }
        let backoff = Backoff::after(before.map(|before| before.backoff));
        self.unmet.insert(what, Unmet { backoff, said });
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

    pub(super) fn start_training(&mut self, name: &str, reason: &Reason, mode: RunMode, now: Timestamp) {
        if self.training.is_some() {
            return;
        }
        let champion = self.endpoint.status.stable.as_ref().map(|target| target.digest.clone());
        let serving = champion.clone().and_then(|digest| Some((digest.clone(), self.versions.bundle(&digest)?)));
        let cause = Cause { reason, mode, evidence: self.evidence(), champion };
        let plan = RunPlan {
            // What the champion knows is filled in when it is there.
            training: self.spec.recipe.plan(name, cause, now, None),
            admission: self.spec.model_policy.admission.clone(),
            // The loop's own clock, which may run faster, ends a run here.
            deadline: None,
        };
        let start = super::training::Start {
            plan,
            base: self.spec.base.clone(),
            work: self.work.join("runs").join(name),
            cache: self.work.join(CACHE),
            model_log: self.model_log.clone(),
            serving,
            signing_key: self.spec.signing_key.clone(),
            clock: self.clock.clone(),
            journal: self.journal.clone(),
            meter: self.meter.clone(),
        };
        self.training = Some(Training::start(start));
    }

    /// Writes windows, decisions and snapshots. Windows are in the bucket before anything is decided by them; no decision
    /// waits for the others.
    pub(super) async fn housekeeping(&mut self, now: Timestamp, windows: &[Window]) -> Result<()> {
        self.unkept.extend(windows.iter().cloned());
        while self.unkept.len() > UNKEPT_MAX {
            self.unkept.pop_front();
        }
        self.keep_windows().await?;
        let (is_pending, since) = (self.upkeep.pending.is_some(), self.upkeep.decided.elapsed());
        let are_many = !is_pending && self.router.decisions_waiting() >= DECISIONS_MIN;
        if are_many || since >= if is_pending { DECISIONS_AGAIN } else { DECISIONS_EVERY } {
            self.upkeep.decided = Instant::now();
            said(self.flush_decisions(now).await);
        }
        if self.upkeep.snapshot.elapsed() >= SNAPSHOT_EVERY {
            self.upkeep.snapshot = Instant::now();
            said(self.snapshot().await);
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

    /// Stores what the bucket has not taken yet, under the name that it had then, and what has come since.
    pub(super) async fn flush_decisions(&mut self, now: Timestamp) -> Result<()> {
        self.store_pending().await?;
        let decisions = self.router.take_decisions();
        if decisions.is_empty() {
            return Ok(());
        }
        let bytes = tokio::task::spawn_blocking(move || fairway_server::decisions_to_parquet(&decisions)).await??;
        self.upkeep.decisions += 1;
        self.upkeep.pending = Some(Pending { time: now, sequence: self.upkeep.decisions, bytes });
        self.store_pending().await
    }

    async fn store_pending(&mut self) -> Result<()> {
        if let Some(Pending { time, sequence, bytes }) = &self.upkeep.pending {
            let stored = self.endpoint_log.put_decisions(*time, self.router.replica(), *sequence, bytes.clone()).await;
            stored.context("storing decisions")?;
            self.upkeep.pending = None;
        }
        Ok(())
    }

    pub(super) async fn snapshot(&mut self) -> Result<()> {
        let router = self.router.clone();
        let bytes = tokio::task::spawn_blocking(move || router.snapshot()).await?;
        self.endpoint_log.put_state("users", bytes.into()).await.context("storing the users' histories")
    }
}

/// What an effect changes in the bucket, if it does. Nothing else can fail.
fn of_bucket(effect: &EndpointEffect) -> Option<String> {
    match effect {
        EndpointEffect::MoveChampion { to, .. } => Some(format!("champion {}", to.digest)),
        EndpointEffect::Archive { record } => Some(format!("experiment {}", record.rules.name)),
        EndpointEffect::Load { .. }
        | EndpointEffect::SetRoute { .. }
        | EndpointEffect::Scale { .. }
        | EndpointEffect::Unload { .. } => None,
    }
}

fn said(kept: Result<()>) {
    if let Err(error) = kept {
        tracing::warn!("{error:#}; it is tried again");
    }
}

/// The registry bounds the length of a reason.
pub(super) fn shortened(why: &str) -> String {
    why.chars().take(300).collect()
}
