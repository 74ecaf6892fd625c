//! One look: observe, decide, store the plan, carry it out. Called again and again by `up`, and between visits by
//! `replay`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fairway_api::ModelExperimentStatus;
use fairway_controller::{DecidedBy, Kept, Wanted, experiment_conditions, experiment_status};
use fairway_core::endpoint::{self, EndpointEffect, EndpointInputs, EndpointStatus, RolloutRequest};
use fairway_core::experiment::ExperimentStatus;
use fairway_core::model::{self, Champion, ModelEffect, ModelObserved, ModelRequest, ModelStatus};
use fairway_core::{Condition, Plan, Reason};
use fairway_registry::{EndpointLog, Error as RegistryError, ModelLog, Registry, State};
use fairway_server::Router;
use fairway_wire::Window;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::effects::{Pending, Unmet};
use super::training::Training;
use super::versions::Versions;
use super::{Clock, Journal, Meter, Spec};

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

/// One model and its endpoint, running.
pub struct Runtime {
    pub(super) spec: Spec,
    pub(super) registry: Registry,
    pub(super) model_log: ModelLog,
    pub(super) endpoint_log: EndpointLog,
    pub(super) router: Arc<Router>,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) meter: Meter,
    pub(super) work: PathBuf,
    pub(super) versions: Versions,
    pub(super) training: Option<Training>,
    pub(super) model: Kept<ModelEffect, ModelStatus>,
    pub(super) endpoint: Kept<EndpointEffect, EndpointStatus>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Experiments whose record is in the bucket.
    pub(super) archived: BTreeSet<String>,
    /// Experiments that cannot be decided, and why.
    pub(super) refused: BTreeMap<String, Reason>,
    /// Windows that are not yet in the bucket.
    pub(super) unkept: VecDeque<Window>,
    /// Effects that the bucket has refused, by what they change in it.
    pub(super) unmet: BTreeMap<String, Unmet>,
    pub(super) upkeep: Upkeep,
}

/// What people asked since the last look.
#[derive(Default)]
struct Asked {
    rollout: Vec<(String, RolloutRequest)>,
    model: Vec<ModelRequest>,
    answers: Vec<oneshot::Sender<Vec<Reason>>>,
}

/// When the slow housekeeping last ran, in real time.
pub(super) struct Upkeep {
    pub(super) snapshot: Instant,
    pub(super) decided: Instant,
    /// Files of decisions made so far.
    pub(super) decisions: u64,
    /// The newest of them, while the bucket has not taken it.
    pub(super) pending: Option<Pending>,
    /// When this process started.
    pub(super) started: Instant,
    /// When versions that no rule keeps were last looked for.
    pub(super) collected: Option<Instant>,
}

/// Longest wait for a router to hear from us before it drops the canary by itself, in real time.
const LEASE: Duration = Duration::from_secs(30);

impl Runtime {
    /// Observes, decides, stores, carries out. Returns when to look again at the latest.
    ///
    /// # Errors
    /// The bucket cannot be read or written.
    pub async fn look(&mut self) -> Result<Timestamp> {
        let now = self.clock.now();
        let fresh = self.router.take_windows();
        self.endpoint.take_in(&fresh);
        self.model.take_in(&fresh);
        self.housekeeping(now, &fresh).await?;
        // Before the verbs are taken: a run whose end is seen here has its outcome in the bucket, where a verb that names it
        // again finds it; any other is still active for the decision below.
        let run_end = match &mut self.training {
            Some(training) => training.poll().await,
            None => None,
        };
        let asked = self.take_commands().await;
        if asked.rollout.iter().any(|(_, request)| matches!(request, RolloutRequest::Retry)) {
            self.versions.forgive();
        }
        let registered = self.model_log.head().await.context("reading the registry")?.map(|entry| entry.state);
        self.versions.collect(&self.router).await;
        let (version, admission) = (&self.spec.version, &self.spec.model_policy.admission);
        let (status, registered) = (&self.endpoint.status, registered.as_ref());
        let manifests = self.spec.experiments.iter().map(|(name, spec)| (name.as_str(), spec));
        let experiments = fairway_controller::experiments(manifests, status, registered, &self.archived);
        self.refused = experiments.refused;
        let wanted = fairway_controller::wanted(version, admission, status, registered, &experiments.asked, now);
        let inputs = EndpointInputs {
            experiments: experiments.asked,
            ..self.endpoint_inputs(&wanted, registered, asked.rollout)
        };
        let policy = &self.spec.endpoint_policy;
        let endpoint = endpoint::decide(policy, &inputs.with(&self.endpoint.status, &self.endpoint.unread), now);
        self.keep_endpoint(now, inputs, &endpoint).await?;
        self.carry_out(now).await;
        let mut reasons = endpoint.reasons;
        let mut next_look = endpoint.next_look;
        if let Some(reason) = self.lacks_stable() {
            reasons.extend((!asked.model.is_empty()).then_some(reason));
        } else {
            let model = self.decide_model(now, &wanted, run_end.as_ref(), &asked.model);
            self.keep_model(now, &model, run_end.is_some() || !asked.model.is_empty()).await?;
            if run_end.is_some() {
                self.training = None;
            }
            self.carry_out(now).await;
            reasons.extend(model.reasons);
            next_look = next_look.min(model.next_look);
        }
        for answer in asked.answers {
            // Whoever asked may have gone.
            let _ = answer.send(reasons.clone());
        }
        Ok(next_look)
    }

    /// Nothing is decided about the model while the version that serves is on its way back here, after a start: it would
    /// look as if there were none.
    fn lacks_stable(&self) -> Option<Reason> {
        let stable = self.endpoint.status.stable.as_ref()?;
        let message = format!("version {}, which serves, is not loaded yet: ask again", stable.version);
        self.versions.is_on_its_way(&stable.digest).then(|| Reason::new("Loading", message))
    }

    async fn take_commands(&mut self) -> Asked {
        let mut asked = Asked::default();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Rollout { who, request, answer } => {
                    asked.rollout.push((who, request));
                    asked.answers.push(answer);
                }
                Command::Model { request, answer } => match self.refusal(&request).await {
                    None => {
                        asked.model.push(request);
                        asked.answers.push(answer);
                    }
                    // Whoever asked may have gone.
                    Some(reason) => drop(answer.send(vec![reason])),
                },
            }
        }
        asked
    }

    /// Names come from outside and go into the bucket's paths; and what has an outcome there never runs again.
    async fn refusal(&self, request: &ModelRequest) -> Option<Reason> {
        let ModelRequest::Start { name, .. } = request else { return None };
        let run = match self.model_log.run(name) {
            Ok(run) => run,
            Err(error) => return Some(Reason::new("InvalidName", error.to_string())),
        };
        match run.outcome::<serde_json::Value>().await {
            Ok(None) => None,
            Ok(Some(_)) => Some(Reason::new("AlreadyEnded", format!("run {name} has ended; it never runs again"))),
            Err(error) => Some(Reason::new("BucketFailed", error.to_string())),
        }
    }

    pub(super) fn lease(&self) -> Duration {
        self.clock.stretch(LEASE)
    }

    fn endpoint_inputs(
        &self,
        wanted: &Wanted,
        registered: Option<&State>,
        requests: Vec<(String, RolloutRequest)>,
    ) -> EndpointInputs {
        EndpointInputs {
            wanted: wanted.target.clone(),
            ready: self.versions.ready(),
            broken: self.versions.broken().clone(),
            unapproved: wanted.unapproved.clone(),
            champion: registered.and_then(|state| state.aliases.get("champion").copied()),
            acked: self.router.route().map_or(0, |route| route.generation),
            // One process serves every version: capacity is no question.
            servers: None,
            requests,
            serve_baseline: self.model.status.serve_baseline,
            lease: self.lease(),
            experiments: Vec::new(),
        }
    }

    fn decide_model(
        &self,
        now: Timestamp,
        wanted: &Wanted,
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
        let ended = status.endings(&self.spec.endpoint);
        let observed = ModelObserved {
            status: &self.model.status,
            champion,
            candidate_waiting: wanted.waits(status),
            rollout_active: status.rollout.is_some() || status.bake.is_some(),
            awaiting_approval: wanted.awaiting.as_ref(),
            // Runs check their data themselves; nobody looks at them between runs, and nothing is erased row by row.
            data_fault: None,
            new_rows: None,
            erasure: None,
            ended_rollouts: &ended,
            windows: &self.model.unread,
            run_end,
            requests,
        };
        model::decide(&self.spec.model_policy, &observed, now)
    }

    /// The plan is in the bucket before any weight grows. What is not stored is not remembered either: the next look
    /// decides again, with what has come since.
    async fn keep_endpoint(
        &mut self,
        now: Timestamp,
        inputs: EndpointInputs,
        plan: &Plan<EndpointEffect, EndpointStatus>,
    ) -> Result<()> {
        let matters = |effect: &EndpointEffect| endpoint_effect_matters(effect) && !self.waits(effect);
        let matters = plan.effects.iter().any(matters) || !inputs.requests.is_empty();
        let is_kept = self.endpoint.must_store(plan, matters);
        if is_kept {
            let policy = self.spec.endpoint_policy.clone();
            let stored = self.endpoint.to_store(now, Some(Box::new(DecidedBy { policy, inputs })), plan);
            if let Err(error) = self.endpoint_log.append_plan(self.endpoint.seq + 1, &stored).await {
                if has_gone_on(&error) {
                    self.reread_endpoint(now).await?;
                }
                return Err(error).context("storing the endpoint's plan");
            }
        }
        self.endpoint.adopt(plan, is_kept);
        self.journal.note(now, "endpoint", &plan.reasons);
        Ok(())
    }

    async fn keep_model(
        &mut self,
        now: Timestamp,
        plan: &Plan<ModelEffect, ModelStatus>,
        has_news: bool,
    ) -> Result<()> {
        let is_kept = self.model.must_store(plan, !plan.effects.is_empty() || has_news);
        if is_kept {
            let stored = self.model.to_store(now, None, plan);
            if let Err(error) = self.model_log.append_plan(self.model.seq + 1, &stored).await {
                if has_gone_on(&error) {
                    self.reread_model(now).await?;
                }
                return Err(error).context("storing the model's plan");
            }
        }
        self.model.adopt(plan, is_kept);
        self.journal.note(now, "model", &plan.reasons);
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

    /// How far the active run is.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How each experiment stands.
    fn experiments(&self) -> Vec<Experiment> {
        let status = &self.endpoint.status.experiments;
        let of = |name: &String| Experiment::of(name, status.known.get(name), self.refused.get(name), self.clock.now());
        self.spec.experiments.keys().map(of).collect()
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
            ("progress", value(serde_json::to_value(self.meter.step()))),
            ("conditions", value(serde_json::to_value(facts(&self.endpoint.conditions, &self.model.conditions)))),
            ("experiments", value(serde_json::to_value(self.experiments()))),
        ])
    }
}

/// A condition with whose it is: both the endpoint and the model have a `Ready`.
#[derive(Serialize)]
pub(super) struct Fact<'a> {
    of: &'static str,
    #[serde(flatten)]
    condition: &'a Condition,
}

/// An experiment as people see it.
#[derive(Serialize)]
pub(super) struct Experiment {
    name: String,
    #[serde(flatten)]
    status: ModelExperimentStatus,
    facts: Vec<Condition>,
}

impl Experiment {
    pub(super) fn of(name: &str, known: Option<&ExperimentStatus>, refused: Option<&Reason>, now: Timestamp) -> Self {
        let status = known.map_or_else(ModelExperimentStatus::default, |known| experiment_status(known, None));
        Self { name: name.to_owned(), status, facts: experiment_conditions(known, refused, now) }
    }
}

pub(super) fn facts<'a>(endpoint: &'a [Condition], model: &'a [Condition]) -> Vec<Fact<'a>> {
    let of = |of: &'static str, conditions: &'a [Condition]| {
        conditions.iter().map(move |condition| Fact { of, condition }).collect::<Vec<_>>()
    };
    [of("endpoint", endpoint), of("model", model)].into_iter().flatten().collect()
}

/// Whether there is a later plan than the one that this loop goes on from: another process has stored it, or this one has,
/// and the answer was lost.
fn has_gone_on(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Conflict { .. })
}

/// A renewed lease and a load change nothing that must be remembered.
fn endpoint_effect_matters(effect: &EndpointEffect) -> bool {
    match effect {
        EndpointEffect::Load { .. } => false,
        EndpointEffect::SetRoute { .. }
        | EndpointEffect::Scale { .. }
        | EndpointEffect::Unload { .. }
        | EndpointEffect::MoveChampion { .. }
        | EndpointEffect::Archive { .. } => true,
    }
}
