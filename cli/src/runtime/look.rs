//! One look: observe, decide, store the plan, carry it out. Called again and again by `up`, and between visits by
//! `replay`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fairway_core::endpoint::{self, EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, RolloutResult};
use fairway_core::model::{self, Champion, ModelEffect, ModelObserved, ModelRequest, ModelStatus};
use fairway_core::{Condition, Plan, Reason};
use fairway_registry::{EndpointLog, ModelLog, State};
use fairway_server::Router;
use fairway_wire::{Target, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::training::Training;
use super::versions::Versions;
use super::{Clock, Journal, Spec};

/// What people ask of a running loop, with the place for the answer.
pub enum Command {
    /// Steer the rollout.
    Rollout {
        /// Who asks.
        who: String,
        /// What.
        request: RolloutRequest,
        /// The reasons that the look gave.
        answer: oneshot::Sender<Vec<Reason>>,
    },
    /// Start or cancel a run.
    Model {
        /// What.
        request: ModelRequest,
        /// The reasons that the look gave.
        answer: oneshot::Sender<Vec<Reason>>,
    },
}

/// A stored plan: what was seen, and what followed from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored<Effect, Status> {
    /// When.
    pub time: Timestamp,
    /// Windows that this look took in, by replica and number.
    pub windows: Vec<(String, u64)>,
    /// The version that was wanted.
    pub wanted: Option<Target>,
    /// The decision.
    pub plan: Plan<Effect, Status>,
}

/// One model and its endpoint, running.
pub struct Runtime {
    pub(super) spec: Spec,
    pub(super) model_log: ModelLog,
    pub(super) endpoint_log: EndpointLog,
    pub(super) router: Arc<Router>,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) work: PathBuf,
    pub(super) versions: Versions,
    pub(super) training: Option<Training>,
    pub(super) model: Kept<ModelStatus>,
    pub(super) endpoint: Kept<EndpointStatus>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) rollup: Option<Window>,
    pub(super) upkeep: Upkeep,
}

/// A loop's status and where its log stands.
pub(super) struct Kept<Status> {
    pub(super) status: Status,
    pub(super) seq: u64,
    pub(super) said: Vec<String>,
    pub(super) conditions: Vec<Condition>,
    pub(super) stored: Instant,
}

/// When the slow housekeeping last ran, in real time.
pub(super) struct Upkeep {
    pub(super) snapshot: Instant,
    pub(super) rollup: Instant,
    /// Files of decisions written so far.
    pub(super) decisions: u64,
}

/// Without effects or news a plan is stored this often, so that a crash loses little evidence.
const STORE_EVERY: Duration = Duration::from_secs(2);
/// Longest wait for a router to hear from us before it drops the canary by itself, in real time.
const LEASE: Duration = Duration::from_secs(30);

impl Runtime {
    /// Observes, decides, stores, carries out. Returns when to look again at the latest.
    ///
    /// # Errors
    /// The bucket cannot be read or written.
    pub async fn look(&mut self) -> Result<Timestamp> {
        let now = self.clock.now();
        let windows = self.router.take_windows();
        let (rollout_requests, model_requests, answers) = self.take_commands();
        let registered = self.model_log.head().await.context("reading the registry")?.map(|entry| entry.state);
        self.versions.collect(&self.router).await;
        let wanted = self.wanted(registered.as_ref());

        let endpoint = self.decide_endpoint(now, &windows, wanted.as_ref(), &rollout_requests);
        self.keep_endpoint(now, &windows, wanted.clone(), &endpoint).await?;
        let run_end = self.collect_training().await;
        let model = self.decide_model(now, &windows, wanted.as_ref(), run_end.as_ref(), &model_requests);
        self.keep_model(now, &windows, wanted, &model).await?;

        for answer in answers {
            let reasons = endpoint.reasons.iter().chain(&model.reasons).cloned().collect();
            // Whoever asked may have gone.
            let _ = answer.send(reasons);
        }
        self.housekeeping(now, &windows).await?;
        Ok(endpoint.next_look.min(model.next_look))
    }

    fn take_commands(
        &mut self,
    ) -> (Vec<(String, RolloutRequest)>, Vec<ModelRequest>, Vec<oneshot::Sender<Vec<Reason>>>) {
        let (mut rollout, mut model, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Rollout { who, request, answer } => {
                    rollout.push((who, request));
                    answers.push(answer);
                }
                Command::Model { request, answer } => {
                    model.push(request);
                    answers.push(answer);
                }
            }
        }
        (rollout, model, answers)
    }

    /// What the endpoint's reference stands for now. `@challenger` falls back to the champion while there is none.
    fn wanted(&self, registered: Option<&State>) -> Option<Target> {
        let state = registered?;
        let version = match &self.spec.version {
            fairway_api::values::VersionRef::Alias(alias) => {
                state.by_alias(alias).or_else(|| state.by_alias("champion"))
            }
            fairway_api::values::VersionRef::Number(number) => state.versions.get(number),
            fairway_api::values::VersionRef::Digest(digest) => {
                state.versions.values().find(|version| version.digest.as_str() == digest)
            }
        };
        version.map(|version| Target { version: version.number, digest: version.digest.to_string() })
    }

    pub(super) fn lease(&self) -> Duration {
        LEASE.mul_f64(self.clock.speed().max(1.0))
    }

    fn decide_endpoint(
        &self,
        now: Timestamp,
        windows: &[Window],
        wanted: Option<&Target>,
        requests: &[(String, RolloutRequest)],
    ) -> Plan<EndpointEffect, EndpointStatus> {
        let ready: BTreeSet<String> = self.versions.ready();
        let observed = EndpointObserved {
            status: &self.endpoint.status,
            windows,
            wanted,
            ready: &ready,
            broken: self.versions.broken(),
            requests,
            serve_baseline: self.model.status.serve_baseline,
            lease: self.lease(),
        };
        endpoint::decide(&self.spec.endpoint_policy, &observed, now)
    }

    fn decide_model(
        &self,
        now: Timestamp,
        windows: &[Window],
        wanted: Option<&Target>,
        run_end: Option<&model::RunEnd>,
        requests: &[ModelRequest],
    ) -> Plan<ModelEffect, ModelStatus> {
        let status = &self.endpoint.status;
        let stable = status.stable.as_ref();
        let serving = stable.and_then(|target| Some((target, self.versions.bundle(&target.digest)?)));
        let champion = serving.as_ref().and_then(|(target, bundle)| {
            let trained_through = Timestamp::from_millisecond(bundle.manifest.trained_through_ms).ok()?;
            Some(Champion { target, trained_through, profile: &bundle.profile })
        });
        let ended: Vec<(String, RolloutResult)> =
            status.history.iter().map(|ended| (ended.id.clone(), ended.result)).collect();
        let candidate_waiting = wanted.is_some_and(|wanted| {
            stable.is_none_or(|stable| stable.digest != wanted.digest) && !status.barred.contains_key(&wanted.digest)
        });
        let observed = ModelObserved {
            status: &self.model.status,
            champion,
            candidate_waiting,
            rollout_active: status.rollout.is_some() || status.bake.is_some(),
            ended_rollouts: &ended,
            windows,
            run_end,
            requests,
        };
        model::decide(&self.spec.model_policy, &observed, now)
    }

    /// The plan is in the bucket before any weight grows.
    async fn keep_endpoint(
        &mut self,
        now: Timestamp,
        windows: &[Window],
        wanted: Option<Target>,
        plan: &Plan<EndpointEffect, EndpointStatus>,
    ) -> Result<()> {
        let is_news = self.endpoint.is_news(&plan.reasons, plan.effects.iter().any(endpoint_effect_matters));
        if is_news || self.endpoint.is_due(plan.status != self.endpoint.status) {
            self.endpoint.seq += 1;
            let stored = Stored { time: now, windows: names(windows), wanted, plan: plan.clone() };
            self.endpoint_log.append_plan(self.endpoint.seq, &stored).await.context("storing the endpoint's plan")?;
            self.endpoint.stored = Instant::now();
        }
        self.endpoint.status = plan.status.clone();
        self.endpoint.conditions = plan.conditions.clone();
        self.journal.note(now, "endpoint", &plan.reasons);
        for effect in &plan.effects {
            self.carry_out_endpoint(effect, now).await?;
        }
        Ok(())
    }

    async fn keep_model(
        &mut self,
        now: Timestamp,
        windows: &[Window],
        wanted: Option<Target>,
        plan: &Plan<ModelEffect, ModelStatus>,
    ) -> Result<()> {
        let is_news = self.model.is_news(&plan.reasons, !plan.effects.is_empty());
        if is_news || self.model.is_due(plan.status != self.model.status) {
            self.model.seq += 1;
            let stored = Stored { time: now, windows: names(windows), wanted, plan: plan.clone() };
            self.model_log.append_plan(self.model.seq, &stored).await.context("storing the model's plan")?;
            self.model.stored = Instant::now();
        }
        self.model.status = plan.status.clone();
        self.model.conditions = plan.conditions.clone();
        self.journal.note(now, "model", &plan.reasons);
        for effect in &plan.effects {
            self.carry_out_model(effect, now).await?;
        }
        Ok(())
    }

    /// Waits until nothing is loading or training: a replay's clock stands still meanwhile.
    ///
    /// # Errors
    /// As [`Runtime::look`].
    pub async fn settle(&mut self) -> Result<()> {
        loop {
            self.look().await?;
            let loading = self.versions.wait(&self.router).await;
            let training = match &mut self.training {
                Some(training) => {
                    training.wait().await;
                    true
                }
                None => false,
            };
            if !loading && !training {
                return Ok(());
            }
        }
    }

    /// The endpoint's status.
    pub fn endpoint_status(&self) -> &EndpointStatus {
        &self.endpoint.status
    }

    /// What happened so far.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What a person would want to see now.
    pub fn report(&self) -> BTreeMap<&'static str, serde_json::Value> {
        let value = |x: serde_json::Result<serde_json::Value>| x.unwrap_or_default();
        BTreeMap::from([
            ("time", serde_json::json!(self.clock.now())),
            ("model", serde_json::json!(self.spec.model)),
            ("endpoint", serde_json::json!(self.spec.endpoint)),
            ("route", value(serde_json::to_value(&self.endpoint.status.route))),
            ("stable", value(serde_json::to_value(&self.endpoint.status.stable))),
            ("rollout", value(serde_json::to_value(self.endpoint.status.rollout.as_ref().map(|rollout| &rollout.id)))),
            ("bake", value(serde_json::to_value(self.endpoint.status.bake.as_ref().map(|bake| &bake.rollout.id)))),
            ("serveBaseline", value(serde_json::to_value(self.model.status.serve_baseline))),
            ("history", value(serde_json::to_value(&self.endpoint.status.history))),
            ("run", value(serde_json::to_value(&self.model.status.run))),
            (
                "conditions",
                value(serde_json::to_value([&self.endpoint.conditions[..], &self.model.conditions[..]].concat())),
            ),
        ])
    }
}

impl<Status> Kept<Status> {
    pub(super) fn new(status: Status, seq: u64) -> Self {
        Self { status, seq, said: Vec::new(), conditions: Vec::new(), stored: Instant::now() }
    }

    fn is_news(&mut self, reasons: &[Reason], has_effects: bool) -> bool {
        let codes: Vec<String> = reasons.iter().map(|reason| reason.code.clone()).collect();
        let is_news = has_effects || codes != self.said;
        self.said = codes;
        is_news
    }

    fn is_due(&self, has_changed: bool) -> bool {
        has_changed && self.stored.elapsed() >= STORE_EVERY
    }
}

/// A renewed lease and a load change nothing that must be remembered.
fn endpoint_effect_matters(effect: &EndpointEffect) -> bool {
    match effect {
        EndpointEffect::Load { .. } => false,
        EndpointEffect::SetRoute { .. } | EndpointEffect::Unload { .. } | EndpointEffect::MoveChampion { .. } => true,
    }
}

fn names(windows: &[Window]) -> Vec<(String, u64)> {
    windows.iter().map(|window| (window.replica.clone(), window.seq)).collect()
}
