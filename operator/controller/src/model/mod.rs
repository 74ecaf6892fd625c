//! The loop of one Model and its runs: observe → decide → store → build and apply → report.

mod apply;
mod approvals;
mod build;
mod deletion;
mod failures;
mod job_set;
mod observe;
mod producers;
mod report;
mod result;
mod runtime;
mod train_job;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairway_api::workload::DeletionPolicy;
use fairway_api::{FieldErrors, Model, ModelEndpoint};
use fairway_core::model::{self, Champion, ModelEffect, ModelObserved, ModelStatus, RunEnd, RunMode};
use fairway_core::policy::ModelPolicy;
use fairway_core::{Plan, Reason};
use fairway_registry::{Author, Error as RegistryError, ModelLog, Registry, Version};
use fairway_wire::{Profile, Target};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use crate::board::Key;
use crate::buckets::{Bucket, Place};
use crate::context::{Context, Guarded, Loops};
use crate::deletion::MOST;
use crate::kept::{Kept, Stored};
use crate::look::Looked;
use crate::names::{ACTOR, MODEL};

pub(crate) use producers::producer;
pub use result::TrainResult;

/// A model with an active run is looked at this often.
const BUSY: Duration = Duration::from_secs(3);
/// One at rest.
const CALM: Duration = Duration::from_secs(15);
/// What an endpoint has read of the registry so lately is not read again.
const TOLD_BY_ENDPOINTS: Duration = Duration::from_secs(12);
/// Longest wait for endpoints to say how they stand, after a start.
const HEARS_WITHIN: Duration = Duration::from_secs(30);
/// Pause before one is listened to again.
const HEARS_AGAIN: Duration = Duration::from_secs(1);

/// What a run's plan is made from, beside the manifest.
#[derive(Clone, Debug)]
pub struct RunCause<'a> {
    /// Name of the run, its idempotency key.
    pub run: &'a str,
    /// What asked for it.
    pub reason: &'a Reason,
    /// How it trains.
    pub mode: RunMode,
    /// What the monitors held when it was decided.
    pub evidence: BTreeMap<String, serde_json::Value>,
    /// The digest of the version that serves.
    pub champion: Option<String>,
    /// The newest interaction that version knows.
    pub known_until: Option<Timestamp>,
    /// The moment of the run: rows from then on do not exist for it.
    pub as_of: Timestamp,
}

/// What is remembered of a model between looks.
#[derive(Default)]
pub(crate) struct ModelLoop {
    opened: Option<Opened>,
    said: Vec<String>,
    reported: Option<Instant>,
    /// Since when it is looked at.
    since: Option<Instant>,
}

/// The model's place in the bucket, and where its log stands.
struct Opened {
    bucket: Arc<Bucket>,
    log: Arc<ModelLog>,
    kept: Kept<ModelEffect, ModelStatus>,
    /// What the serving version was trained on, fetched once.
    champion: Option<Known>,
}

/// A version as the monitors need it.
struct Known {
    target: Target,
    profile: Profile,
    trained_through: Timestamp,
}

/// A model with what its manifest says.
struct Subject {
    key: Key,
    model: Model,
    policy: ModelPolicy,
}

/// A decision, stored.
struct Decided {
    plan: Plan<ModelEffect, ModelStatus>,
    seen: observe::Seen,
    run_end: Option<RunEnd>,
    /// The version that waits, or is on trial.
    challenger: Option<Target>,
    /// Who asked for which version.
    producers: BTreeMap<String, String>,
}

impl Looked for Model {
    type Loop = ModelLoop;

    fn loops(context: &Context) -> &Loops<ModelLoop> {
        &context.model_loops
    }

    fn look<'a>(
        &'a self,
        memory: &'a mut ModelLoop,
        context: &'a Arc<Context>,
        key: Key,
    ) -> BoxFuture<'a, Result<Action>> {
        memory.look(context, self, key).boxed()
    }

    fn forget(context: &Context, key: &Key) {
        context.board.forget_model(key);
    }

    fn deletion_policy(&self) -> DeletionPolicy {
        self.spec.deletion_policy
    }

    fn place(&self, context: &Context) -> Result<Place> {
        Place::of(self, context.settings.registry.as_deref())
    }

    fn stop<'a>(context: &'a Context, key: &'a Key) -> BoxFuture<'a, Result<Option<Reason>>> {
        deletion::stop(context, key).boxed()
    }

    fn erase<'a>(registry: &'a Registry, key: &'a Key, now: Timestamp) -> BoxFuture<'a, Result<bool>> {
        let author = Author { actor: ACTOR, reason: "the Model was deleted with deletionPolicy: Delete", time: now };
        async move { Ok(registry.model(&key.0, &key.1)?.erase(author, MOST).await?) }.boxed()
    }
}

impl ModelLoop {
    async fn look(&mut self, context: &Arc<Context>, model: &Model, key: Key) -> Result<Action> {
        let now = crate::clock::now();
        let subject = Subject::of(model, key)?;
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < HEARS_WITHIN && is_unheard(context, &subject.key) {
            return Ok(Action::requeue(HEARS_AGAIN));
        }
        self.open(context, &subject).await?;
        let opened = self.opened.as_mut().context("the model is not open")?;
        opened.kept.take_in(&context.board.take_windows(&subject.key));
        let seen = opened.observe(context, &subject).await?;
        let decided = match opened.decide(context, &subject, seen, now).boxed().await {
            Ok(decided) => decided,
            Err(error) => {
                let gone_on = |cause: &(dyn std::error::Error + 'static)| {
                    matches!(cause.downcast_ref(), Some(RegistryError::Conflict { .. }))
                };
                if error.chain().any(gone_on) {
                    // Another operator has gone on from here, or an answer was lost: what is there is read again.
                    self.opened = None;
                }
                return Err(error);
            }
        };
        opened.apply(context, &subject, &decided).boxed().await?;
        if context.board.tell_baseline(&subject.key, decided.plan.status.serve_baseline) {
            wake_endpoints(context, &subject.key);
        }
        self.report(context, &subject, &decided, now).await?;
        let pause = if decided.plan.status.run.is_some() { BUSY } else { CALM };
        let until_next = fairway_core::plan::elapsed(now, decided.plan.next_look);
        Ok(Action::requeue(until_next.clamp(Duration::from_millis(500), pause)))
    }

    /// Takes up the last stored plan, once.
    async fn open(&mut self, context: &Context, subject: &Subject) -> Result<()> {
        let place = Place::of(&subject.model, context.settings.registry.as_deref())?;
        if let Some(opened) = self.opened.as_mut().filter(|opened| opened.bucket.is_at(&place)) {
            if let Some(bucket) = context.buckets.renewed(&context.client, &subject.key.0, &opened.bucket).await {
                (opened.log, opened.bucket) = (bucket.model(&subject.key)?, bucket);
            }
            return Ok(());
        }
        let bucket = context.buckets.at(&context.client, &subject.key.0, &place).await?;
        let log = bucket.model(&subject.key)?;
        let last = log.latest_plan::<Stored<ModelEffect, ModelStatus>>().await;
        let kept = match last.context("reading the model's last plan")? {
            None => Kept::new(ModelStatus::default(), 0),
            Some((seq, stored)) => {
                let mut kept = Kept::new(stored.plan.status, seq);
                kept.undone = stored.plan.effects.into();
                kept
            }
        };
        self.opened = Some(Opened { bucket, log, kept, champion: None });
        Ok(())
    }
}

impl Opened {
    async fn decide(
        &mut self,
        context: &Context,
        subject: &Subject,
        seen: observe::Seen,
        now: Timestamp,
    ) -> Result<Decided> {
        let run_end = self.run_end(context, subject, &seen, now).await?;
        // Its endpoints look more often, and have told what matters soon.
        let age = if self.kept.status.run.is_some() { Duration::ZERO } else { TOLD_BY_ENDPOINTS };
        let newest = self.log.newest_within(age).await.context("reading the registry")?;
        let registered = newest.as_ref().map(|entry| &entry.state);
        self.mirror(context, subject, registered, now).await?;
        let challenger = registered.and_then(|state| state.by_alias("challenger"));
        let challenger = challenger.map(target);
        let views = context.board.endpoints_of(&subject.key);
        let stable = match views.first() {
            Some(view) => view.stable.clone(),
            // No endpoint, or none that can say: what the last verdict has left is what serves.
            None => registered.and_then(|state| state.by_alias("champion")).map(target),
        };
        let waits_for_an_endpoint = views.is_empty() && challenger.is_some() && challenger != stable;
        self.know(stable.as_ref()).await?;
        let champion = self.champion.as_ref().map(|known| Champion {
            target: &known.target,
            trained_through: known.trained_through,
            profile: &known.profile,
        });
        let ended: Vec<_> = views.iter().flat_map(|view| view.ended.clone()).collect();
        let observed = ModelObserved {
            status: &self.kept.status,
            champion,
            candidate_waiting: waits_for_an_endpoint
                || views.iter().any(|view| view.promotes && view.candidate_waiting),
            rollout_active: views.iter().any(|view| view.active),
            awaiting_approval: views.iter().find_map(|view| view.awaiting_approval.as_ref()),
            // Runs check their data themselves; nobody looks at them between runs, and nothing is erased row by row.
            data_fault: None,
            new_rows: None,
            erasure: None,
            ended_rollouts: &ended,
            windows: &self.kept.unread,
            run_end: run_end.as_ref(),
            requests: &seen.requests,
        };
        let plan = model::decide(&subject.policy, &observed, now);
        let has_news = !plan.effects.is_empty() || run_end.is_some() || !seen.requests.is_empty();
        let is_kept = self.kept.must_store(&plan, has_news);
        if is_kept {
            let stored = self.kept.to_store(now, None, &plan);
            self.log.append_plan(self.kept.seq + 1, &stored).await.context("storing the model's plan")?;
        }
        self.kept.adopt(&plan, is_kept);
        let producers = registered.map(producers::producers).unwrap_or_default();
        Ok(Decided { plan, seen, run_end, challenger, producers })
    }
}

fn target(version: &Version) -> Target {
    Target { version: version.number, digest: version.digest.to_string() }
}

/// Whether one of its endpoints has said nothing yet: an operator that was just started knows of no rollout before.
fn is_unheard(context: &Context, model: &Key) -> bool {
    endpoints_of(context, model).iter().filter_map(|it| it.0.as_ref().ok()).any(|endpoint| {
        let speaks = endpoint.metadata.deletion_timestamp.is_none() && !endpoint.spec.suspend;
        speaks && !context.board.has_told(&(model.0.clone(), endpoint.name_any()))
    })
}

/// The endpoints that serve a model, of those that can be read.
pub(crate) fn endpoints_of(context: &Context, model: &Key) -> Vec<Arc<Guarded<ModelEndpoint>>> {
    context.endpoints.of(MODEL, model)
}

/// Its endpoints must hear at once that the baseline is to be served, or not any more.
fn wake_endpoints(context: &Context, model: &Key) {
    for endpoint in endpoints_of(context, model) {
        context.wake_endpoints.wake(ObjectRef::new(&endpoint.name_any()).within(&model.0));
    }
}

impl Subject {
    fn of(model: &Model, key: Key) -> Result<Self> {
        let mut policy = model.spec.policy().map_err(FieldErrors)?;
        // A run is a TrainingRun and a Job of the namespace, as other models' runs are.
        policy.run_prefix = format!("{}-", key.1);
        Ok(Self { key, model: model.clone(), policy })
    }
}
