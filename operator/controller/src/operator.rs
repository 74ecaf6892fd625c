//! Running: the lead, the copies of the cluster, and who looks at what when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairway_api::{Model, ModelApproval, ModelEndpoint, TrainingRun};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::buckets::Buckets;
use crate::context::{Context, Guarded, Loops};
use crate::lease::Candidate;
use crate::metrics::Metrics;
use crate::names::{ACTOR, ENDPOINT, MANAGED_BY, MODEL};
use crate::routers::Asker;
use crate::settings::Settings;
use crate::watch::{Pulse, Wake, wakes, watch};
use crate::{endpoint, health, model};

/// The copies of the cluster must be there within this.
const SYNCS_WITHIN: Duration = Duration::from_secs(120);
/// Wait after a look that failed, doubled each time up to the longest.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_LONGEST: Duration = Duration::from_secs(30);
/// An object is not looked at more often than this, however many of its pods change.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Longest that one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(120);

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

/// Runs until `stop`, or until the lead is lost.
///
/// # Errors
/// The cluster cannot be reached, or the lead was lost: whoever runs it starts it again.
pub async fn run(client: Client, settings: Settings, stop: CancellationToken) -> Result<()> {
    let (metrics, pulse) = (Arc::new(Metrics::default()), Arc::new(Pulse::default()));
    let health = {
        let (settings, metrics, pulse, stop) = (settings.clone(), metrics.clone(), pulse.clone(), stop.clone());
        tokio::spawn(async move { health::serve(&settings, metrics, pulse, stop).await })
    };
    let mut candidate = Candidate::new(client.clone(), &settings);
    tracing::info!(identity = settings.identity, "waiting for the lead");
    tokio::select! {
        () = stop.cancelled() => return health.await?,
        () = candidate.win() => {}
    }
    tracing::info!(identity = settings.identity, "leading");
    metrics.leads(true);
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        lost = candidate.keep() => lost,
        ended = lead_all(client, settings, metrics, pulse).boxed() => ended,
    };
    candidate.resign().await;
    stop.cancel();
    health.await??;
    ended
}

/// Leads in all namespaces at once, or in each of those that were named.
async fn lead_all(client: Client, settings: Settings, metrics: Arc<Metrics>, pulse: Arc<Pulse>) -> Result<()> {
    let places: Vec<Option<String>> =
        if settings.watch.is_empty() { vec![None] } else { settings.watch.iter().cloned().map(Some).collect() };
    let led =
        places.into_iter().map(|place| lead(client.clone(), settings.clone(), metrics.clone(), &pulse, place).boxed());
    futures::future::try_join_all(led).await.map(drop)
}

async fn lead(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    pulse: &Pulse,
    namespace: Option<String>,
) -> Result<()> {
    let (wake_models, models_woken) = wakes::<Guarded<Model>>();
    let (wake_endpoints, endpoints_woken) = wakes::<Guarded<ModelEndpoint>>();
    let context = Arc::new(observe(client, settings, namespace, metrics, pulse, wake_models, wake_endpoints));
    synced(&context).await?;
    tracing::info!(models = context.models.len(), endpoints = context.endpoints.len(), "looking");
    let config = || controller::Config::default().debounce(DEBOUNCE).concurrency(context.settings.concurrency);
    let of_models = Controller::for_stream(futures::stream::pending(), context.models.clone())
        .with_config(config())
        .reconcile_on(models_woken)
        .run(look_at_model, |_, failed, _| again(failed), context.clone())
        .for_each(|_| std::future::ready(()));
    let of_endpoints = Controller::for_stream(futures::stream::pending(), context.endpoints.clone())
        .with_config(config())
        .reconcile_on(endpoints_woken)
        .run(look_at_endpoint, |_, failed, _| again(failed), context.clone())
        .for_each(|_| std::future::ready(()));
    tokio::join!(of_models, of_endpoints);
    anyhow::bail!("the watches have ended")
}

/// A look that failed, and how often in a row it has.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}")]
pub(crate) struct Failed {
    error: anyhow::Error,
}

async fn look_at_model(object: Arc<Guarded<Model>>, context: Arc<Context>) -> Result<Action, Failed> {
    timed(&context, "model", object.as_ref(), model::look(&context, &object).boxed()).await
}

async fn look_at_endpoint(object: Arc<Guarded<ModelEndpoint>>, context: Arc<Context>) -> Result<Action, Failed> {
    timed(&context, "endpoint", object.as_ref(), endpoint::look(&context, &object).boxed()).await
}

async fn timed<K: Resource<DynamicType = ()>>(
    context: &Context,
    kind: &str,
    object: &K,
    look: BoxFuture<'_, Result<Action>>,
) -> Result<Action, Failed> {
    let started = Instant::now();
    let outcome = match tokio::time::timeout(LOOK_WITHIN, look).await {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow::anyhow!("a look took longer than {} s", LOOK_WITHIN.as_secs())),
    };
    context.metrics.reconciled(kind, started.elapsed(), outcome.is_ok());
    outcome.map_err(|error| {
        let name = object.meta().name.as_deref().unwrap_or_default();
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        tracing::warn!(kind, namespace, name, "cannot be looked at, and is tried again: {error:#}");
        Failed { error }
    })
}

/// A conflict is looked at again soon: what is there now is only not known yet.
fn again(failed: &Failed) -> Action {
    let pause = if crate::call::is_conflict(&failed.error) { AGAIN } else { AGAIN_LONGEST / 6 };
    Action::requeue(pause + Duration::from_millis(u64::from(rand::random::<u8>())))
}

/// Starts the watches.
fn observe(
    client: Client,
    settings: Settings,
    watched: Option<String>,
    metrics: Arc<Metrics>,
    pulse: &Pulse,
    wake_models: Wake<Guarded<Model>>,
    wake_endpoints: Wake<Guarded<ModelEndpoint>>,
) -> Context {
    let ours = format!("{MANAGED_BY}={ACTOR}");
    let endpoint_of = |meta: &kube::api::ObjectMeta| {
        let name = meta.labels.as_ref().and_then(|labels| labels.get(ENDPOINT));
        name.zip(meta.namespace.as_ref()).map(|(name, ns)| ObjectRef::<Guarded<ModelEndpoint>>::new(name).within(ns))
    };
    let model_of = |meta: &kube::api::ObjectMeta| {
        let name = meta.labels.as_ref().and_then(|labels| labels.get(MODEL));
        name.zip(meta.namespace.as_ref()).map(|(name, ns)| ObjectRef::<Guarded<Model>>::new(name).within(ns))
    };
    let of_endpoint = || vec![wake_endpoints.clone()];
    let models = watch::<Guarded<Model>, Guarded<Model>>(
        api(&client, watched.as_deref()),
        None,
        pulse,
        |_| {},
        vec![wake_models.clone()],
        |it| vec![ObjectRef::from_obj(it)],
    );
    let endpoints = watch::<Guarded<ModelEndpoint>, Guarded<ModelEndpoint>>(
        api(&client, watched.as_deref()),
        None,
        pulse,
        |_| {},
        of_endpoint(),
        |it| vec![ObjectRef::from_obj(it)],
    );
    let runs = watch::<Guarded<TrainingRun>, Guarded<Model>>(
        api(&client, watched.as_deref()),
        None,
        pulse,
        |_| {},
        vec![wake_models.clone()],
        |it| {
            let namespace = it.namespace().unwrap_or_default();
            it.0.iter().map(|run| ObjectRef::new(&run.spec.model).within(&namespace)).collect()
        },
    );
    let approvals = watch::<Guarded<ModelApproval>, Guarded<Model>>(
        api(&client, watched.as_deref()),
        None,
        pulse,
        |_| {},
        vec![wake_models.clone()],
        |it| {
            let namespace = it.namespace().unwrap_or_default();
            it.0.iter().map(|word| ObjectRef::new(&word.spec.model).within(&namespace)).collect()
        },
    );
    let deployments = watch::<Deployment, _>(
        api(&client, watched.as_deref()),
        Some(&ours),
        pulse,
        |_| {},
        of_endpoint(),
        move |it| endpoint_of(it.meta()).into_iter().collect(),
    );
    let services = watch::<Service, _>(
        api(&client, watched.as_deref()),
        Some(&ours),
        pulse,
        |_| {},
        of_endpoint(),
        move |it| endpoint_of(it.meta()).into_iter().collect(),
    );
    let config_maps = watch::<ConfigMap, _>(
        api(&client, watched.as_deref()),
        Some(&ours),
        pulse,
        |_| {},
        of_endpoint(),
        move |it| endpoint_of(it.meta()).into_iter().collect(),
    );
    let autoscalers = watch::<HorizontalPodAutoscaler, _>(
        api(&client, watched.as_deref()),
        Some(&ours),
        pulse,
        |_| {},
        of_endpoint(),
        move |it| endpoint_of(it.meta()).into_iter().collect(),
    );
    let pods = watch::<Pod, _>(
        api(&client, watched.as_deref()),
        Some(&ours),
        pulse,
        // Where it runs and how it does; what it was made of is long and nobody's business here.
        |pod| pod.spec = None,
        of_endpoint(),
        move |it| endpoint_of(it.meta()).into_iter().collect(),
    );
    let jobs = watch::<Job, _>(
        api(&client, watched.as_deref()),
        Some(&ours),
        pulse,
        |_| {},
        vec![wake_models.clone()],
        move |it| model_of(it.meta()).into_iter().collect(),
    );
    let reporter = Reporter { controller: "fairway".to_owned(), instance: Some(settings.identity.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    Context {
        client,
        settings,
        models,
        endpoints,
        runs,
        approvals,
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
        asker: Asker::default(),
        recorder,
        metrics,
        endpoint_loops: Loops::default(),
        model_loops: Loops::default(),
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Nothing is decided by half a picture.
async fn synced(context: &Context) -> Result<()> {
    let all = async {
        tokio::try_join!(
            context.models.wait_until_ready(),
            context.endpoints.wait_until_ready(),
            context.runs.wait_until_ready(),
            context.approvals.wait_until_ready(),
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
