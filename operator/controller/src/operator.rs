//! Running: the lead, the copies of the cluster, and who looks at what when.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairway_api::{Model, ModelApproval, ModelEndpoint, ModelExperiment, TrainingRun};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::board::Board;
use crate::buckets::Buckets;
use crate::context::{Context, Guarded, Loops};
use crate::copies::{Copies, Owner, OwnerOf};
use crate::endpoint::SERVICES_AT_ONCE;
use crate::gone::forget_gone;
use crate::health;
use crate::held::Held;
use crate::job_kinds::{JobSet, TrainJob};
use crate::lease::Candidate;
use crate::look::{AFTER_CONFLICT, look};
use crate::metrics::Metrics;
use crate::names::{ACTOR, ENDPOINT, MANAGED_BY, MODEL};
use crate::notify::Hooks;
use crate::optional::{Optional, ScaledObject};
use crate::routers::Asker;
use crate::scaler::{self, Loads};
use crate::settings::Settings;
use crate::tidy::tidy;
use crate::wakes::{Wake, wakes};
use crate::watch::{Pulse, Watched, watch};

/// The copies of the cluster must be there within this.
const SYNCS_WITHIN: Duration = Duration::from_secs(120);
/// Wait after a look that failed otherwise.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// An object is not looked at more often than this, however many of its pods change.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Longest that one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(120);
/// A namespace of several that could not be led is tried again after this.
const LED_AGAIN: Duration = Duration::from_secs(30);

/// A client of the cluster that this process is in, or that the kubeconfig names. Calls are not repeated by it: each look
/// does everything again anyway, and a rollback must not wait behind retries.
///
/// # Errors
/// There is neither, or it cannot be read.
pub async fn connect() -> Result<Client> {
    let mut config = kube::Config::infer().await.context("finding the cluster")?;
    config.default_retry = false;
    Client::try_from(config).context("connecting")
}

/// How an operator ended in order.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// Another one leads, or nobody could be asked who does. What this process knows may be old: it is to begin anew.
    LeadLost(anyhow::Error),
}

/// Runs until `stop`, or until the lead is lost.
///
/// # Errors
/// The cluster cannot be reached: whoever runs it starts it again.
pub async fn run(client: Client, settings: Settings, stop: CancellationToken) -> Result<Ended> {
    let (metrics, pulse) = (Arc::new(Metrics::default()), Arc::new(Pulse::default()));
    let health = {
        let (settings, metrics, pulse, stop) = (settings.clone(), metrics.clone(), pulse.clone(), stop.clone());
        tokio::spawn(async move { health::serve(&settings, metrics, pulse, stop).await })
    };
    let loads = Arc::<Loads>::default();
    let scaler = scaler::serve(settings.scaler, loads.clone());
    let mut candidate = Candidate::new(client.clone(), &settings);
    tracing::info!(identity = settings.identity, "waiting for the lead");
    tokio::select! {
        () = stop.cancelled() => return health.await?.map(|()| Ended::Stopped),
        () = candidate.win() => {}
    }
    tracing::info!(identity = settings.identity, "leading");
    metrics.leads(true);
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(Ended::Stopped),
        why = candidate.keep() => Ok(Ended::LeadLost(why)),
        ended = lead_all(client, settings, metrics, pulse, loads).boxed() => ended.map(|()| Ended::Stopped),
        ended = scaler => ended.map(|()| Ended::Stopped),
    };
    candidate.resign().await;
    stop.cancel();
    health.await??;
    ended
}

/// Leads in all namespaces at once, or in each of those that were named. Of these, one that is gone, or gives no rights any
/// more, keeps nobody from the others.
async fn lead_all(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    loads: Arc<Loads>,
) -> Result<()> {
    let places: Vec<Option<String>> =
        if settings.watch.is_empty() { vec![None] } else { settings.watch.iter().cloned().map(Some).collect() };
    let lead_in = |place: Option<String>| {
        let shared = (metrics.clone(), loads.clone());
        lead(client.clone(), settings.clone(), shared, &pulse, place).boxed()
    };
    let led = places.into_iter().map(async |place| {
        let Some(namespace) = &place else { return lead_in(place).await };
        loop {
            if let Err(error) = lead_in(place.clone()).await {
                tracing::warn!(namespace, "not led, and tried again in {} s: {error:#}", LED_AGAIN.as_secs());
            }
            tokio::time::sleep(LED_AGAIN).await;
        }
    });
    futures::future::try_join_all(led).await.map(drop)
}

async fn lead(
    client: Client,
    settings: Settings,
    shared: (Arc<Metrics>, Arc<Loads>),
    pulse: &Arc<Pulse>,
    namespace: Option<String>,
) -> Result<()> {
    let (wake_models, models_woken) = wakes::<Guarded<Model>>();
    let (wake_endpoints, endpoints_woken) = wakes::<Guarded<ModelEndpoint>>();
    let context = Arc::new(observe(client, settings, namespace, shared, pulse, wake_models, wake_endpoints));
    let (models, endpoints) = (context.models.store().clone(), context.endpoints.store().clone());
    context.metrics.count("model", context.namespace.as_deref(), move || models.len());
    context.metrics.count("endpoint", context.namespace.as_deref(), move || endpoints.len());
    synced(&context).await?;
    tracing::info!(models = context.models.store().len(), endpoints = context.endpoints.store().len(), "looking");
    let config = || controller::Config::default().debounce(DEBOUNCE).concurrency(context.settings.concurrency);
    let of_models = Controller::for_stream(futures::stream::pending(), context.models.store().clone())
        .with_config(config())
        .reconcile_on(models_woken)
        .run(look_at_model, |_, failed, _| again(failed), context.clone())
        .for_each(|_| std::future::ready(()));
    let of_endpoints = Controller::for_stream(futures::stream::pending(), context.endpoints.store().clone())
        .with_config(config())
        .reconcile_on(endpoints_woken)
        .run(look_at_endpoint, |_, failed, _| again(failed), context.clone())
        .for_each(|_| std::future::ready(()));
    tokio::select! {
        ((), ()) = futures::future::join(of_models, of_endpoints) => anyhow::bail!("the watches have ended"),
        () = tidy(context.clone()) => anyhow::bail!("old versions are not looked for any more"),
        () = forget_gone(context) => anyhow::bail!("what is gone is not forgotten any more"),
    }
}

/// A look that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}")]
pub(crate) struct Failed {
    error: anyhow::Error,
}

async fn look_at_model(object: Arc<Guarded<Model>>, context: Arc<Context>) -> Result<Action, Failed> {
    timed(&context, "model", object.as_ref(), look(&context, &object).boxed()).await
}

async fn look_at_endpoint(object: Arc<Guarded<ModelEndpoint>>, context: Arc<Context>) -> Result<Action, Failed> {
    timed(&context, "endpoint", object.as_ref(), look(&context, &object).boxed()).await
}

async fn timed<K: Resource<DynamicType = ()>>(
    context: &Context,
    kind: &str,
    object: &K,
    look: BoxFuture<'_, Result<Action>>,
) -> Result<Action, Failed> {
    let started = Instant::now();
    let name = object.meta().name.as_deref().unwrap_or_default();
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    // Every line of the log that is written within a look, and its trace, say whose look it is.
    let span = tracing::info_span!("look", kind, namespace, name);
    let outcome = match tokio::time::timeout(LOOK_WITHIN, look).instrument(span.clone()).await {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow::anyhow!("a look took longer than {} s", LOOK_WITHIN.as_secs())),
    };
    context.metrics.reconciled(kind, started.elapsed(), outcome.is_ok());
    outcome.map_err(|error| {
        span.in_scope(|| tracing::warn!("cannot be looked at, and is tried again: {error:#}"));
        Failed { error }
    })
}

fn again(failed: &Failed) -> Action {
    let pause = if crate::call::is_conflict(&failed.error) { AFTER_CONFLICT } else { AFTER_FAILURE };
    Action::requeue(pause + Duration::from_millis(u64::from(rand::random::<u8>())))
}

/// Starts the watches.
fn observe(
    client: Client,
    settings: Settings,
    watched: Option<String>,
    (metrics, loads): (Arc<Metrics>, Arc<Loads>),
    pulse: &Arc<Pulse>,
    wake_models: Wake<Guarded<Model>>,
    wake_endpoints: Wake<Guarded<ModelEndpoint>>,
) -> Context {
    let ours = format!("{MANAGED_BY}={ACTOR}");
    let watches = Watches { client: &client, namespace: watched.as_deref(), ours: &ours, pulse };
    let (to_models, to_endpoints) = (&wake_models, &wake_endpoints);
    let models = watches.own(to_models, |_| None, |it: &Guarded<Model>| Some(ObjectRef::from_obj(it)));
    let endpoints = watches.own(to_endpoints, serving, |it| Some(ObjectRef::from_obj(it)));
    let runs = watches.own(to_models, run_of, |it| run_of(it).map(object));
    let approvals = watches.own(to_models, word_of, |it| word_of(it).map(object));
    let experiments = watches.own(to_endpoints, asked_of, |it| asked_of(it).map(object));
    let deployments = watches.made::<Held<Deployment>, _>(to_endpoints, of_endpoint, |_| {});
    let services = watches.made::<Held<Service>, _>(to_endpoints, of_endpoint, |_| {});
    let config_maps = watches.made::<ConfigMap, _>(to_endpoints, of_endpoint, |_| {});
    let autoscalers = watches.made::<HorizontalPodAutoscaler, _>(to_endpoints, of_endpoint, |_| {});
    // Those of trainers as well: they are read while a run is active, and wake nobody.
    let pods = watches.made::<Held<Pod>, _>(to_endpoints, of_either, |_| {});
    let jobs = watches.made::<Job, _>(to_models, of_model, |job| {
        // What it was made of is long, and is never another.
        let suspend = job.spec.take().and_then(|spec| spec.suspend);
        job.spec = Some(JobSpec { suspend, ..JobSpec::default() });
    });
    let reporter = Reporter { controller: "fairway".to_owned(), instance: Some(settings.identity.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let keda = optional::<ScaledObject, Guarded<ModelEndpoint>>(&client, &watched, pulse, None);
    let job_sets = optional::<JobSet, _>(&client, &watched, pulse, Some((wake_models.clone(), of_model)));
    let train_jobs = optional::<TrainJob, _>(&client, &watched, pulse, Some((wake_models.clone(), of_model)));
    Context {
        client,
        settings,
        namespace: watched,
        models,
        endpoints,
        runs,
        approvals,
        experiments,
        deployments,
        services,
        config_maps,
        pods,
        jobs,
        autoscalers,
        wake_models,
        wake_endpoints,
        board: Board::default(),
        buckets: Buckets::default(),
        services_at_once: Semaphore::new(SERVICES_AT_ONCE),
        asker: Asker::default(),
        hooks: Hooks::default(),
        keda,
        job_sets,
        train_jobs,
        loads,
        recorder,
        metrics,
        endpoint_loops: Loops::default(),
        model_loops: Loops::default(),
    }
}

/// Of a kind that may not be there. `wake`: who looks when one changes, and whose it is.
fn optional<K: Watched, W>(
    client: &Client,
    namespace: &Option<String>,
    pulse: &Arc<Pulse>,
    wake: Option<(Wake<W>, OwnerOf<K>)>,
) -> Optional<K>
where
    W: Resource<DynamicType = ()> + 'static,
{
    let (pulse, ours) = (pulse.clone(), format!("{MANAGED_BY}={ACTOR}"));
    Optional::new(client.clone(), namespace.clone(), move |api| {
        let owner = wake.as_ref().map_or((|_| None) as OwnerOf<K>, |(_, owner)| *owner);
        let wake = wake.as_ref().map(|(wake, _)| wake.clone());
        watch(api, Some(&ours), &pulse, |_| {}, owner, |_| None, wake, move |it| owner(it).map(object))
    })
}

/// The owner that a label names.
fn labelled<K: Resource<DynamicType = ()>>(it: &K, label: &'static str) -> Option<Owner> {
    let meta = it.meta();
    let name = meta.labels.as_ref()?.get(label)?;
    Some((label, meta.namespace.clone()?, name.clone()))
}

fn of_endpoint<K: Resource<DynamicType = ()>>(it: &K) -> Option<Owner> {
    labelled(it, ENDPOINT)
}

fn of_model<K: Resource<DynamicType = ()>>(it: &K) -> Option<Owner> {
    labelled(it, MODEL)
}

fn of_either<K: Resource<DynamicType = ()>>(it: &K) -> Option<Owner> {
    of_endpoint(it).or_else(|| of_model(it))
}

fn serving(it: &Guarded<ModelEndpoint>) -> Option<Owner> {
    Some((MODEL, it.namespace()?, it.0.as_ref().ok()?.spec.model.clone()))
}

fn run_of(it: &Guarded<TrainingRun>) -> Option<Owner> {
    Some((MODEL, it.namespace()?, it.0.as_ref().ok()?.spec.model.clone()))
}

fn word_of(it: &Guarded<ModelApproval>) -> Option<Owner> {
    Some((MODEL, it.namespace()?, it.0.as_ref().ok()?.spec.model.clone()))
}

/// An experiment asks something of the endpoint that it names.
fn asked_of(it: &Guarded<ModelExperiment>) -> Option<Owner> {
    Some((ENDPOINT, it.namespace()?, it.0.as_ref().ok()?.spec.endpoint.clone()))
}

/// An owner, as it is woken.
fn object<W: Resource<DynamicType = ()>>((_, namespace, name): Owner) -> ObjectRef<W> {
    ObjectRef::new(&name).within(&namespace)
}

/// What others ask of an object. Its status is left out, which the operator writes itself: a look that is woken by what the look
/// before has written would never rest where that is another text each time.
fn asked<K: Resource>(it: &K) -> u64 {
    let meta = it.meta();
    let mut asked = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.labels, &meta.annotations, &meta.finalizers).hash(&mut asked);
    meta.deletion_timestamp.is_some().hash(&mut asked);
    asked.finish()
}

/// What the watches have in common.
struct Watches<'a> {
    client: &'a Client,
    /// One namespace, or all of them.
    namespace: Option<&'a str>,
    /// Selects what the operator has made.
    ours: &'a str,
    pulse: &'a Pulse,
}

impl Watches<'_> {
    /// Objects of a kind of ours, all of them; `wakes` says which are to be looked at when one changes.
    fn own<K, W>(&self, wake: &Wake<W>, owner: OwnerOf<K>, wakes: fn(&K) -> Option<ObjectRef<W>>) -> Copies<K>
    where
        K: Watched,
        W: Resource<DynamicType = ()> + 'static,
    {
        watch(self.api(), None, self.pulse, |_| {}, owner, |it| Some(asked(it)), Some(wake.clone()), wakes)
    }

    /// What the operator has made of another kind, and for whom: that one looks if it is of the kind that `wake` is for.
    fn made<K, W>(&self, wake: &Wake<W>, owner: OwnerOf<K>, shrink: fn(&mut K)) -> Copies<K>
    where
        K: Watched,
        W: Resource<DynamicType = ()> + Labelled + 'static,
    {
        let wakes = move |it: &K| owner(it).filter(|(label, ..)| *label == W::LABEL).map(object);
        watch(self.api(), Some(self.ours), self.pulse, shrink, owner, |_| None, Some(wake.clone()), wakes)
    }

    fn api<K: Watched>(&self) -> Api<K> {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// Kinds that own what the operator makes.
trait Labelled {
    /// The label that names them.
    const LABEL: &'static str;
}

impl Labelled for Guarded<Model> {
    const LABEL: &'static str = MODEL;
}

impl Labelled for Guarded<ModelEndpoint> {
    const LABEL: &'static str = ENDPOINT;
}

/// Nothing is decided by half a picture.
async fn synced(context: &Context) -> Result<()> {
    let all = async {
        tokio::try_join!(
            context.models.wait_until_ready(),
            context.endpoints.wait_until_ready(),
            context.runs.wait_until_ready(),
            context.approvals.wait_until_ready(),
            context.experiments.wait_until_ready(),
            context.deployments.wait_until_ready(),
            context.services.wait_until_ready(),
            context.config_maps.wait_until_ready(),
            context.pods.wait_until_ready(),
            context.jobs.wait_until_ready(),
            context.autoscalers.wait_until_ready(),
        )
    };
    tokio::time::timeout(SYNCS_WITHIN, all)
        .await
        .with_context(|| {
            format!(
                "the cluster could not be read within {} s: are the CRDs installed, and may this account list them \
                 (`fairway doctor`)?",
                SYNCS_WITHIN.as_secs()
            )
        })?
        .context("a watch has ended")?;
    Ok(())
}
