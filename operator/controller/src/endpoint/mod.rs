//! The loop of one ModelEndpoint: observe → decide → store → build and apply → report.

mod apply;
mod autoscaler;
mod beside;
mod build;
mod deletion;
mod network;
mod notices;
mod observe;
mod report;
mod requests;
mod samples;
mod scaled;
mod services;
#[cfg(test)]
pub(crate) mod tests;
mod trials;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairway_api::endpoint::RequestStatus;
use fairway_api::workload::DeletionPolicy;
use fairway_api::{FieldErrors, Model, ModelEndpoint};
use fairway_core::endpoint::{self, EndpointEffect, EndpointInputs, EndpointStatus};
use fairway_core::policy::{EndpointPolicy, ModelPolicy};
use fairway_core::{Plan, Reason};
use fairway_registry::{EndpointLog, Error as RegistryError, ModelLog, Registry};
use fairway_wire::Window;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use crate::board::{EndpointView, Key};
use crate::buckets::{Bucket, Place};
use crate::context::{Context, Guarded, Loops};
use crate::deletion::MOST;
use crate::kept::{DecidedBy, Kept, Stored, window_key};
use crate::look::{InPart, Looked};
use crate::notify::{Deliveries, Trouble};
use crate::routers::Routers;
use crate::wanted::Wanted;

pub(crate) use services::AT_ONCE as SERVICES_AT_ONCE;

/// An endpoint with a rollout is looked at this often: its routers are asked, and harm is acted on.
const BUSY: Duration = Duration::from_secs(2);
/// One at rest is asked once a window.
const CALM: Duration = Duration::from_secs(10);
/// Most windows that wait for a bucket that fails; the oldest go.
const UNKEPT_MAX: usize = 10_000;

/// What is remembered of an endpoint between looks.
#[derive(Default)]
pub(crate) struct EndpointLoop {
    opened: Option<Opened>,
    routers: Routers,
    /// What they counted lately.
    recent: samples::Recent,
    /// Windows that are not yet in the bucket.
    unkept: VecDeque<Window>,
    /// What was told as Events.
    said: Vec<String>,
    /// What was made once: applied again when it is to be another one.
    furnished: Option<apply::Furnished>,
    /// When the status was last written.
    reported: Option<Instant>,
    deliveries: Deliveries,
    trouble: Trouble,
    archived: trials::Archived,
    services: services::Services,
}

/// The endpoint's place in the bucket, and where its log stands.
struct Opened {
    bucket: Arc<Bucket>,
    model_log: Arc<ModelLog>,
    endpoint_log: EndpointLog,
    kept: Kept<EndpointEffect, EndpointStatus>,
    /// The last verb of a person that a stored plan has taken in.
    answered: Option<String>,
    /// What came of it; told until the status says so.
    answer: Option<RequestStatus>,
}

/// One endpoint with what its manifests say.
struct Subject {
    key: Key,
    endpoint: ModelEndpoint,
    model: Arc<Guarded<Model>>,
    policy: EndpointPolicy,
    model_policy: ModelPolicy,
}

/// A decision, stored.
struct Decided {
    plan: Plan<EndpointEffect, EndpointStatus>,
    wanted: Wanted,
    seen: observe::Seen,
    /// Experiments that cannot be decided, and why.
    refused: BTreeMap<String, Reason>,
    /// Not all of it could be carried out.
    in_part: bool,
}

impl Looked for ModelEndpoint {
    type Loop = EndpointLoop;

    fn loops(context: &Context) -> &Loops<EndpointLoop> {
        &context.endpoint_loops
    }

    fn look<'a>(
        &'a self,
        memory: &'a mut EndpointLoop,
        context: &'a Arc<Context>,
        key: Key,
    ) -> BoxFuture<'a, Result<Action>> {
        async move {
            let outcome = memory.look(context, self, key).boxed().await;
            memory.notify(context, self, outcome.as_ref().err()).boxed().await;
            outcome
        }
        .boxed()
    }

    fn forget(context: &Context, key: &Key) {
        context.board.forget_endpoint(key);
    }

    fn deletion_policy(&self) -> DeletionPolicy {
        self.spec.deletion_policy
    }

    fn place(&self, context: &Context) -> Result<Place> {
        let model = model_of(context, self, &self.namespace().unwrap_or_default())?;
        Place::of(readable(&model)?, context.settings.registry.as_deref())
    }

    fn stop<'a>(context: &'a Context, key: &'a Key) -> BoxFuture<'a, Result<Option<Reason>>> {
        deletion::stop(context, key).boxed()
    }

    fn erase<'a>(registry: &'a Registry, key: &'a Key, _: Timestamp) -> BoxFuture<'a, Result<bool>> {
        async { Ok(registry.endpoint(&key.0, &key.1)?.erase(MOST).await?) }.boxed()
    }
}

impl EndpointLoop {
    async fn look(&mut self, context: &Arc<Context>, endpoint: &ModelEndpoint, key: Key) -> Result<Action> {
        let now = crate::clock::now();
        let subject = Subject::of(context, endpoint, key)?;
        if endpoint.spec.suspend {
            return report::suspended(context, endpoint, now).await;
        }
        self.open(context, &subject).await?;
        let seen = self.observe(context, &subject).boxed().await?;
        self.keep_windows(context, &subject, &seen.heard.windows).await?;
        let mut decided = self.decide(context, &subject, seen, now).boxed().await?;
        scaled::lacking(context, &subject, &mut decided).await?;
        let applied = self.apply(context, &subject, &decided).boxed().await;
        if let Err(error) = &applied {
            decided.plan.conditions.retain(|one| one.kind != "Degraded");
            decided.plan.conditions.push(report::degraded(error));
            decided.in_part = true;
        }
        self.tell(context, &subject, &decided);
        self.report(context, &subject, &decided, now).await?;
        self.report_experiments(context, &subject, &decided, now).await?;
        applied.context(InPart)?;
        let status = &decided.plan.status;
        let is_busy = status.rollout.is_some() || status.bake.is_some() || status.loading.is_some();
        let pause = if is_busy || status.returning.is_some() { BUSY } else { CALM };
        let until_next = fairway_core::plan::elapsed(now, decided.plan.next_look);
        Ok(Action::requeue(until_next.clamp(Duration::from_millis(500), pause)))
    }

    /// Takes up the last stored plan, once.
    async fn open(&mut self, context: &Context, subject: &Subject) -> Result<()> {
        let place = Place::of(subject.model()?, context.settings.registry.as_deref())?;
        let (namespace, name) = &subject.key;
        if let Some(opened) = self.opened.as_mut().filter(|opened| opened.bucket.is_at(&place)) {
            if let Some(bucket) = context.buckets.renewed(&context.client, namespace, &opened.bucket).await {
                opened.endpoint_log = bucket.registry().endpoint(namespace, name)?;
                (opened.model_log, opened.bucket) = (bucket.model(&subject.model_key())?, bucket);
            }
            return Ok(());
        }
        let bucket = context.buckets.at(&context.client, namespace, &place).await?;
        let endpoint_log = bucket.registry().endpoint(namespace, name)?;
        let last = endpoint_log.latest_plan::<Stored<EndpointEffect, EndpointStatus>>().await;
        let (kept, answered) = match last.context("reading the endpoint's last plan")? {
            None => (Kept::new(EndpointStatus::default(), 0), None),
            Some((seq, stored)) => {
                let mut kept = Kept::new(stored.plan.status, seq);
                kept.undone = stored.plan.effects.into();
                kept.notices = stored.notices;
                (kept, stored.answered)
            }
        };
        let model_log = bucket.model(&subject.model_key())?;
        self.opened = Some(Opened { bucket, model_log, endpoint_log, kept, answered, answer: None });
        Ok(())
    }

    /// Windows are in the bucket before anything is decided by them, and only then may routers forget them.
    async fn keep_windows(&mut self, context: &Context, subject: &Subject, fresh: &[Window]) -> Result<()> {
        self.unkept.extend(fresh.iter().cloned());
        while self.unkept.len() > UNKEPT_MAX {
            self.unkept.pop_front();
        }
        let opened = self.opened.as_mut().context("the endpoint is not open")?;
        let model = (subject.key.0.clone(), subject.endpoint.spec.model.clone());
        while let Some(window) = self.unkept.front() {
            let bytes = serde_json::to_vec(window)?;
            opened.endpoint_log.put_window(&window_key(window), bytes.into()).await.context("storing a window")?;
            let Some(window) = self.unkept.pop_front() else { break };
            opened.kept.take_in(std::slice::from_ref(&window));
            context.board.hand_over(&model, std::slice::from_ref(&window));
        }
        self.routers.are_safe();
        Ok(())
    }

    /// Decides, and stores the plan before anything follows from it. An operator that leads no more cannot: the number of its
    /// plan is taken.
    async fn decide(
        &mut self,
        context: &Context,
        subject: &Subject,
        seen: observe::Seen,
        now: Timestamp,
    ) -> Result<Decided> {
        let opened = self.opened.as_ref().context("the endpoint is not open")?;
        let newest = opened.model_log.newest().await.context("reading the registry")?;
        let registered = newest.as_ref().map(|entry| &entry.state);
        let experiments = self.experiments(context, subject, opened, registered);
        let opened = self.opened.as_mut().context("the endpoint is not open")?;
        let request = requests::unanswered(&subject.endpoint, opened.answered.as_deref(), registered);
        let mut verbs: Vec<_> = request.iter().filter_map(requests::Request::verb).collect();
        if seen.heard.aborted && opened.kept.status.rollout.is_some() {
            verbs.push(("a router's admin port".to_owned(), endpoint::RolloutRequest::Abort));
        }
        let version = &subject.endpoint.spec.version;
        let admission = &subject.model_policy.admission;
        let (status, asked) = (&opened.kept.status, experiments.asked);
        let wanted = crate::wanted::wanted(version, admission, status, registered, &asked, now);
        let inputs = EndpointInputs {
            wanted: wanted.target.clone(),
            ready: seen.ready.clone(),
            broken: seen.broken.clone(),
            unapproved: wanted.unapproved.clone(),
            champion: registered.and_then(|state| state.aliases.get("champion").copied()),
            acked: seen.heard.acked,
            servers: Some(seen.servers.clone()),
            requests: verbs,
            serve_baseline: context.board.serves_baseline(&subject.model_key()),
            lease: context.settings.canary_lease,
            experiments: asked,
        };
        let plan = endpoint::decide(&subject.policy, &inputs.with(&opened.kept.status, &opened.kept.unread), now);
        let next = (opened.kept.seq + 1, &plan);
        let notices = notices::of_plan(subject, &opened.kept.notices, &self.deliveries, next, now);
        let matters = plan.effects.iter().any(matters) || !inputs.requests.is_empty();
        let matters = matters || notices.is_news(&opened.kept.notices);
        let is_kept = opened.kept.must_store(&plan, matters);
        if is_kept {
            let decided_by = DecidedBy { policy: subject.policy.clone(), inputs };
            let mut stored = opened.kept.to_store(now, Some(Box::new(decided_by)), &plan);
            stored.notices = notices.clone();
            stored.answered = request.as_ref().map(|it| it.id.clone()).or_else(|| opened.answered.clone());
            let appended = opened.endpoint_log.append_plan(opened.kept.seq + 1, &stored).await;
            if let Err(error) = appended {
                if matches!(error, RegistryError::Conflict { .. }) {
                    // Another operator has gone on from here, or an answer was lost: what is there is read again.
                    self.opened = None;
                }
                return Err(error).context("storing the endpoint's plan");
            }
        }
        // What cannot be used is no decision, and is answered without a plan.
        if let Some(request) = request.filter(|it| is_kept || it.asked.is_err()) {
            opened.answer = Some(requests::answer(&request, &plan.reasons, now));
            opened.answered = Some(request.id);
        }
        opened.kept.adopt(&plan, is_kept);
        opened.kept.notices = notices;
        Ok(Decided { plan, wanted, seen, refused: experiments.refused, in_part: false })
    }

    /// Tells the model how its endpoint stands.
    fn tell(&self, context: &Arc<Context>, subject: &Subject, decided: &Decided) {
        let status = &decided.plan.status;
        let view = EndpointView {
            model: subject.endpoint.spec.model.clone(),
            promotes: subject.endpoint.spec.promotes,
            stable: status.stable.clone(),
            active: status.rollout.is_some() || status.bake.is_some(),
            candidate_waiting: decided.wanted.waits(status),
            awaiting_approval: decided.wanted.awaiting.clone(),
            ended: status.endings(&subject.key.1),
        };
        if context.board.tell_endpoint(&subject.key, view) {
            context.wake_models.wake(ObjectRef::new(&subject.endpoint.spec.model).within(&subject.key.0));
        }
    }
}

/// A load changes nothing that must be remembered.
fn matters(effect: &EndpointEffect) -> bool {
    !matches!(effect, EndpointEffect::Load { .. })
}

impl Subject {
    fn of(context: &Context, endpoint: &ModelEndpoint, key: Key) -> Result<Self> {
        let model = model_of(context, endpoint, &key.0)?;
        Self::between(key, endpoint, model)
    }

    /// What two manifests come to.
    fn between(key: Key, endpoint: &ModelEndpoint, model: Arc<Guarded<Model>>) -> Result<Self> {
        let spec = &readable(&model)?.spec;
        let model_policy = spec.policy().map_err(FieldErrors)?;
        let mut policy = spec.endpoint_policy(&endpoint.spec).map_err(FieldErrors)?;
        policy.scaling = Some(endpoint.spec.scaling.policy().map_err(FieldErrors)?);
        Ok(Self { key, endpoint: endpoint.clone(), model, policy, model_policy })
    }

    fn model(&self) -> Result<&Model> {
        readable(&self.model)
    }

    fn model_key(&self) -> Key {
        (self.key.0.clone(), self.endpoint.spec.model.clone())
    }
}

fn model_of(context: &Context, endpoint: &ModelEndpoint, namespace: &str) -> Result<Arc<Guarded<Model>>> {
    let name = &endpoint.spec.model;
    let model = context.models.get(namespace, name);
    model.with_context(|| format!("spec.model: there is no Model {name} in namespace {namespace}"))
}

fn readable(model: &Guarded<Model>) -> Result<&Model> {
    let unreadable =
        |it: &InvalidObject| anyhow::anyhow!("the Model {} cannot be read: {}", model.name_any(), it.error);
    model.0.as_ref().map_err(unreadable)
}
