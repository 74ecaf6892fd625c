//! Starting, for the first time or after a crash: what the bucket says is taken up where it was left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fairway_controller::Kept;
use fairway_core::endpoint::{EndpointEffect, EndpointStatus};
use fairway_core::model::{ModelEffect, ModelStatus};
use fairway_registry::{EndpointLog, ModelLog, Registry};
use fairway_server::{Pseudonyms, Router, RouterConfig};
use fairway_wire::Route;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::effects::CACHE;
use super::look::{Experiment, Upkeep, facts};
use super::versions::Versions;
use super::{Clock, Command, Journal, Meter, Runtime, Spec, Stored, window_key};

/// Commands that may wait.
const COMMANDS_MAX: usize = 64;
/// Shortest window in real time: under a fast clock windows grow, so that they are not too many.
const WINDOW_REAL: Duration = Duration::from_millis(250);
/// What is said of a plan that was not the last one that this process knew.
const GONE_ON: &str =
    "is in the bucket already: an answer of the bucket was lost, or another process serves from it too";
/// Length of a window in real time.
const WINDOW: Duration = Duration::from_secs(10);

impl Runtime {
    /// Opens the bucket, takes up the last plans, loads stable, and is ready to serve.
    ///
    /// # Errors
    /// The bucket or the state folder cannot be used.
    pub async fn open(
        mut spec: Spec,
        registry: &Registry,
        state: &Path,
        clock: Clock,
    ) -> Result<(Self, mpsc::Sender<Command>)> {
        let model_log = registry.model(&spec.namespace, &spec.model)?;
        let endpoint_log = registry.endpoint(&spec.namespace, &spec.endpoint)?;
        spec.model_policy.run_deadline = clock.stretch(spec.model_policy.run_deadline);
        let pseudonyms =
            Pseudonyms::load_or_create(&state.join("users.key")).context("the key of users' pseudonyms")?;
        let router = Router::new(router_config(&spec, &clock), clock.for_server(), pseudonyms);
        let endpoint = endpoint_log.latest_plan::<Stored<EndpointEffect, EndpointStatus>>().await?;
        let model = model_log.latest_plan::<Stored<ModelEffect, ModelStatus>>().await?;
        let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
        let now = Instant::now();
        let mut runtime = Self {
            versions: Versions::new(state.join(CACHE), spec.signers.clone()),
            work: state.to_owned(),
            training: None,
            model: model.as_ref().map_or_else(
                || Kept::new(ModelStatus::default(), 0),
                |(seq, stored)| Kept::new(stored.plan.status.clone(), *seq),
            ),
            endpoint: endpoint.as_ref().map_or_else(
                || Kept::new(EndpointStatus::default(), 0),
                |(seq, stored)| Kept::new(stored.plan.status.clone(), *seq),
            ),
            unkept: VecDeque::new(),
            unmet: BTreeMap::new(),
            upkeep: Upkeep { snapshot: now, decided: now, decisions: 0, pending: None, started: now, collected: None },
            journal: Journal::default(),
            registry: registry.clone(),
            meter: Meter::default(),
            spec,
            model_log,
            endpoint_log,
            router,
            clock,
            commands,
            archived: BTreeSet::new(),
            refused: BTreeMap::new(),
        };
        let cancelled = |effect: &ModelEffect| matches!(effect, ModelEffect::CancelRun { .. });
        let effects = model.into_iter().flat_map(|(_, stored)| stored.plan.effects);
        runtime.model.undone = effects.filter(cancelled).collect();
        runtime.take_up().await?;
        Ok((runtime, commands_in))
    }

    /// The newest time that the bucket knows of: a sped-up clock goes on from there.
    ///
    /// # Errors
    /// The bucket cannot be read.
    pub async fn last_time(spec: &Spec, registry: &Registry) -> Result<Option<Timestamp>> {
        let endpoint = registry.endpoint(&spec.namespace, &spec.endpoint)?;
        let model = registry.model(&spec.namespace, &spec.model)?;
        let endpoint = endpoint.latest_plan::<Stored<EndpointEffect, EndpointStatus>>().await?;
        let model = model.latest_plan::<Stored<ModelEffect, ModelStatus>>().await?;
        Ok(endpoint.map(|(_, stored)| stored.time).max(model.map(|(_, stored)| stored.time)))
    }

    /// The router, to serve or to ask.
    pub fn router(&self) -> &Arc<Router> {
        &self.router
    }

    async fn take_up(&mut self) -> Result<()> {
        if let Some(bytes) = self.endpoint_log.get_state("users").await? {
            let router = self.router.clone();
            let restored = tokio::task::spawn_blocking(move || router.restore(&bytes)).await?;
            if let Err(error) = restored {
                tracing::warn!("the snapshot of users' histories cannot be read and is left out: {error}");
            }
        }
        let status = self.endpoint.status.clone();
        let candidate = status.rollout.as_ref().map(|rollout| rollout.candidate.clone());
        let previous = status.bake.as_ref().map(|bake| bake.previous.clone());
        let routed = status.route.iter().flat_map(Route::targets).cloned();
        for target in [status.stable.clone(), candidate, previous].into_iter().flatten().chain(routed) {
            self.versions.load(&self.model_log, &target);
        }
        self.versions.wait(&self.router).await;
        if let Some(route) = status.route {
            self.router.set_route(route);
        }
        let now = self.clock.now();
        if let Some(run) = self.model.status.run.clone() {
            self.journal.add(now, "train", "RunResumed", format!("run {} is taken up again", run.name));
            self.start_training(&run.name, &run.reason, run.mode, now);
        }
        self.carry_out(now).await;
        Ok(())
    }

    /// Goes on from the endpoint's newest plan, which is not the one that this loop had stored last.
    pub(super) async fn reread_endpoint(&mut self, now: Timestamp) -> Result<()> {
        let newest = self.endpoint_log.latest_plan().await.context("reading the endpoint's newest plan")?;
        let Some((seq, stored)) = newest else { return Ok(()) };
        self.endpoint = gone_on(&mut self.endpoint, seq, stored);
        self.journal.add(now, "rollout", "PlanReread", format!("the endpoint's plan {seq} {GONE_ON}"));
        if let Some(route) = &self.endpoint.status.route {
            self.router.set_route(route.clone());
        }
        self.carry_out(now).await;
        Ok(())
    }

    /// Goes on from the model's newest plan, likewise. A run that it does not know is no longer this loop's.
    pub(super) async fn reread_model(&mut self, now: Timestamp) -> Result<()> {
        let newest = self.model_log.latest_plan().await.context("reading the model's newest plan")?;
        let Some((seq, stored)) = newest else { return Ok(()) };
        self.model = gone_on(&mut self.model, seq, stored);
        self.journal.add(now, "train", "PlanReread", format!("the model's plan {seq} {GONE_ON}"));
        let run = self.model.status.run.clone();
        if let Some(training) = self.training.take_if(|it| run.as_ref().is_none_or(|run| run.name != it.name())) {
            training.abandon();
        }
        if let Some(run) = run {
            self.start_training(&run.name, &run.reason, run.mode, now);
        }
        self.carry_out(now).await;
        Ok(())
    }

    /// Fills empty user histories from the model's own data, so that the first answers know the users.
    ///
    /// # Errors
    /// None that matter: data that cannot be read is told by the first run.
    pub async fn seed_users(&mut self) -> Result<u64> {
        if self.router.users() > 0 {
            return Ok(0);
        }
        let Ok(data) = fairway_trainer::read(self.spec.recipe.data(), &self.spec.base, self.clock.now()).await else {
            return Ok(0);
        };
        let router = self.router.clone();
        let rows = data.interactions.len() as u64;
        tokio::task::spawn_blocking(move || crate::plane::history::take(&router, &data)).await?;
        Ok(rows)
    }

    /// Stores everything that is still open. Called once, when the process ends in order.
    ///
    /// # Errors
    /// The bucket cannot be written.
    pub async fn close(&mut self) -> Result<()> {
        let now = self.clock.now();
        if let Some(training) = &self.training {
            training.abandon();
            let message = format!(
                "run {} stops without a checkpoint; the next start takes it up again from its plan",
                training.name()
            );
            self.journal.add(now, "train", "RunStopped", message);
        }
        let windows = self.router.flush_windows();
        self.housekeeping(now, &windows).await?;
        self.flush_decisions(now).await?;
        self.snapshot().await
    }
}

/// What a loop remembers, when it goes on from a plan that it did not know. Windows that the plan has taken in are not
/// counted again.
fn gone_on<Effect: Clone, Status: Clone + PartialEq>(
    before: &mut Kept<Effect, Status>,
    seq: u64,
    stored: Stored<Effect, Status>,
) -> Kept<Effect, Status> {
    let mut kept = Kept::new(stored.plan.status, seq);
    kept.undone = stored.plan.effects.into();
    kept.unread = std::mem::take(&mut before.unread);
    kept.unread.retain(|window| !stored.read.contains(&window_key(window)));
    kept
}

fn router_config(spec: &Spec, clock: &Clock) -> RouterConfig {
    let window = WINDOW.max(clock.stretch(WINDOW_REAL));
    let replica = format!("embedded-{}", clock.now().as_millisecond());
    RouterConfig {
        window,
        trial_window: RouterConfig::default().trial_window.max(clock.stretch(WINDOW_REAL)),
        lateness: window / 10,
        reward_within: spec.reward_within,
        reward_cap: spec.reward_cap,
        reward_event: spec.reward_event,
        decision_sample: spec.decision_sample,
        history_max: spec.history_max,
        fallback: spec.fallback.clone(),
        replica,
        ..RouterConfig::default()
    }
}

/// What the bucket says of a loop that does not run, in the shape of [`Runtime::report`].
///
/// # Errors
/// The bucket cannot be read.
pub async fn stored_report(model: &ModelLog, endpoint: &EndpointLog) -> Result<serde_json::Value> {
    let endpoint = endpoint.latest_plan::<Stored<EndpointEffect, EndpointStatus>>().await?.map(|(_, stored)| stored);
    let model = model.latest_plan::<Stored<ModelEffect, ModelStatus>>().await?.map(|(_, stored)| stored);
    let time = endpoint.as_ref().map(|stored| stored.time).max(model.as_ref().map(|stored| stored.time));
    let of_endpoint = endpoint.as_ref().map(|stored| stored.plan.conditions.clone()).unwrap_or_default();
    let of_model = model.as_ref().map(|stored| stored.plan.conditions.clone()).unwrap_or_default();
    let status = endpoint.map(|stored| stored.plan.status).unwrap_or_default();
    let known = status.experiments.known.iter();
    let experiments: Vec<Experiment> =
        known.map(|(name, known)| Experiment::of(name, Some(known), None, time.unwrap_or_default())).collect();
    Ok(serde_json::json!({
        "time": time,
        "route": status.route,
        "stable": status.stable,
        "history": status.history,
        "run": model.map(|stored| stored.plan.status.run),
        "conditions": facts(&of_endpoint, &of_model),
        "experiments": experiments,
    }))
}
