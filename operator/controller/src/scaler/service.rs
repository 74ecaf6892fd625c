//! KEDA's gRPC service `externalscaler.ExternalScaler`: what it asks about a ScaledObject of ours, answered from the newest
//! sample. Written by hand where a generator would need `protoc`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fairway_core::plan::{elapsed, spell};
use fairway_core::scaling::Sample;
use futures::Stream;
use futures::future::BoxFuture;
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::loads::{Loads, Metric};
use super::messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};

/// A sample that is older says nothing about now: the autoscaler leaves the replicas as they are.
const FRESH_FOR: Duration = Duration::from_secs(60);
/// Longest question.
const QUESTION_BYTES: usize = 64 * 1024;
/// A stream says again this often that a version is active.
const STREAM_EVERY: Duration = Duration::from_secs(15);

type Activity = Pin<Box<dyn Stream<Item = Result<IsActiveResponse, Status>> + Send>>;

/// See above.
#[derive(Clone)]
pub(crate) struct ExternalScaler {
    pub(crate) loads: Arc<Loads>,
}

impl NamedService for ExternalScaler {
    const NAME: &'static str = "externalscaler.ExternalScaler";
}

impl tower::Service<axum::http::Request<Body>> for ExternalScaler {
    type Response = axum::http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<Body>) -> Self::Future {
        let loads = self.loads.clone();
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Box::pin(async move {
            Ok(match method.as_str() {
                "IsActive" => unary(request, move |object| is_active(&loads, &object)).await,
                "GetMetricSpec" => unary(request, |object| metric_spec(&object)).await,
                "GetMetrics" => unary(request, move |asked| metrics(&loads, &asked)).await,
                "StreamIsActive" => streaming(request, loads).await,
                // Newer methods of KEDA's are optional.
                _ => Status::unimplemented(format!("there is no method {method}")).into_http(),
            })
        })
    }
}

async fn unary<Q, A, F>(request: axum::http::Request<Body>, answer: F) -> axum::http::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: Fn(Q) -> Result<A, Status> + Send + Sync,
{
    let service = service_fn(|asked: Request<Q>| std::future::ready(answer(asked.into_inner()).map(Response::new)));
    grpc::<A, Q>().unary(checked(service), request).await
}

/// Helps inference: what is a service for one kind of request only.
fn checked<S: UnaryService<Q>, Q>(service: S) -> S {
    service
}

fn grpc<A: Message + 'static, Q: Message + Default + 'static>() -> Grpc<ProstCodec<A, Q>> {
    Grpc::new(ProstCodec::new()).max_decoding_message_size(QUESTION_BYTES)
}

async fn streaming(request: axum::http::Request<Body>, loads: Arc<Loads>) -> axum::http::Response<Body> {
    let service = service_fn(|asked: Request<ScaledObjectRef>| {
        let answer = activity(loads.clone(), asked.into_inner());
        std::future::ready(Ok::<_, Status>(Response::new(answer)))
    });
    grpc::<IsActiveResponse, ScaledObjectRef>().server_streaming(service, request).await
}

/// Says at once whether a version is active, and again now and then; ends with the first question that has no answer.
fn activity(loads: Arc<Loads>, object: ScaledObjectRef) -> Activity {
    let said = futures::stream::unfold((loads, object, Some(Duration::ZERO)), |(loads, object, wait)| async move {
        tokio::time::sleep(wait?).await;
        let answer = is_active(&loads, &object);
        let next = answer.is_ok().then_some(STREAM_EVERY);
        Some((answer, (loads, object, next)))
    });
    Box::pin(said)
}

fn sample(loads: &Loads, object: &ScaledObjectRef) -> Result<Sample, Status> {
    let ScaledObjectRef { namespace, name, .. } = object;
    let missing = || {
        Status::unavailable(format!("nothing was heard of {namespace}/{name} yet: the operator has just begun to lead"))
    };
    let sample = loads.of(&(namespace.clone(), name.clone())).ok_or_else(missing)?;
    let age = elapsed(sample.at, crate::clock::now());
    if age > FRESH_FOR {
        let message = format!("no router of {namespace}/{name} has reported for {}", spell(age));
        return Err(Status::unavailable(message));
    }
    Ok(sample)
}

/// A version that is routed to is never scaled to nothing.
fn is_active(loads: &Loads, object: &ScaledObjectRef) -> Result<IsActiveResponse, Status> {
    sample(loads, object).map(|_| IsActiveResponse { result: true })
}

/// What the trigger itself says: it is known before any sample is.
fn metric_spec(object: &ScaledObjectRef) -> Result<GetMetricSpecResponse, Status> {
    let metric = metric(object)?;
    let target = object.metadata.get("target").and_then(|text| text.parse::<u32>().ok()).filter(|target| *target > 0);
    let target = target.ok_or_else(|| Status::invalid_argument("metadata.target: a whole number above 0"))?;
    let name = metric.name().to_owned();
    let spec = MetricSpec { name, target: i64::from(target), target_float: f64::from(target) };
    Ok(GetMetricSpecResponse { specs: vec![spec] })
}

fn metrics(loads: &Loads, asked: &GetMetricsRequest) -> Result<GetMetricsResponse, Status> {
    let object = asked.object.as_ref().ok_or_else(|| Status::invalid_argument("scaledObjectRef is missing"))?;
    let metric = metric(object)?;
    let value = metric.of(&sample(loads, object)?);
    let value = MetricValue { name: asked.name.clone(), value: value.ceil() as i64, value_float: value };
    Ok(GetMetricsResponse { values: vec![value] })
}

fn metric(object: &ScaledObjectRef) -> Result<Metric, Status> {
    let named = object.metadata.get("metric").map_or("", String::as_str);
    Metric::named(named).ok_or_else(|| Status::invalid_argument("metadata.metric: in-flight or requests-per-second"))
}
