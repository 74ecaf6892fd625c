//! The model server of one version: the Open Inference Protocol v2 over HTTP, and a description for the router. What
//! answers is any [`ModelServer`]: a bundle in this process, or another's server beside it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router as Routes;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use fairway_wire::{Profile, Target};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::inference_metrics::InferenceMetrics;
use crate::model_server::{ModelFailure, ModelServer};
use crate::questions::{self, INPUTS, OUTPUTS};
use crate::remote::Description;
use crate::tensors::{self, Parameters};
use crate::{Error, body};

/// Longest question, in bytes: a history and exclusions of thousands.
const QUESTION_BYTES: usize = 1024 * 1024;

/// Limits of a model server.
#[derive(Clone, Copy, Debug)]
pub struct InferenceConfig {
    /// Questions that are worked on at once; further ones are answered with 503.
    pub in_flight: usize,
    /// A question, from its head to its answer, takes no longer.
    pub deadline: Duration,
    /// How long it goes on after it said that it is not ready, so that everybody hears of it before it stops.
    pub drain_pause: Duration,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self { in_flight: 256, deadline: Duration::from_secs(2), drain_pause: Duration::from_secs(5) }
    }
}

/// One version, as a model server shows it. To be made when the version has proved itself: it is ready at once.
pub struct Inference {
    name: String,
    target: Target,
    server: Arc<dyn ModelServer>,
    description: Bytes,
    config: InferenceConfig,
    places: Semaphore,
    pub(crate) metrics: InferenceMetrics,
    draining: AtomicBool,
}

impl Inference {
    /// The version `target`, answered by `server`, under the model's name.
    ///
    /// # Errors
    /// If the description cannot be written as JSON, which a profile with numbers that are none causes.
    pub fn new(
        name: &str,
        target: Target,
        server: Arc<dyn ModelServer>,
        profile: &Profile,
        config: InferenceConfig,
    ) -> Result<Arc<Self>, Error> {
        let (items, profile) = (server.items().clone(), profile.clone());
        let description = Description { target: target.clone(), items, profile };
        Ok(Arc::new(Self {
            name: name.to_owned(),
            target,
            server,
            // Written once: every router asks for it, and it may be long.
            description: serde_json::to_vec(&description).map_err(Error::Description)?.into(),
            places: Semaphore::new(config.in_flight),
            config,
            metrics: InferenceMetrics::new(),
            draining: AtomicBool::new(false),
        }))
    }

    /// From now on it says that it is not ready, and asks callers to connect elsewhere; it still answers.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn drain_pause(&self) -> Duration {
        self.config.drain_pause
    }

    fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }
}

/// The paths of a model server, to be served or tested without a socket.
pub fn inference_routes(inference: Arc<Inference>) -> Routes {
    let metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let of_model = |prefix: &'static str| {
        Routes::new()
            .route(prefix, get(metadata))
            .route(&format!("{prefix}/ready"), get(model_ready))
            .route(&format!("{prefix}/infer"), post(infer))
            .route(&format!("{prefix}/fairway"), get(describe))
    };
    Routes::new()
        .route("/v2", get(server_metadata))
        .route("/v2/health/live", get(async || reply(StatusCode::OK, &json!({"live": true}))))
        .route("/v2/health/ready", get(health_ready))
        .merge(of_model("/v2/models/{model}"))
        .merge(of_model("/v2/models/{model}/versions/{version}"))
        .route(
            "/metrics",
            get(async move |State(inference): State<Arc<Inference>>| {
                ([(header::CONTENT_TYPE, metrics)], inference.metrics.text())
            }),
        )
        .fallback(async || refuse(StatusCode::NOT_FOUND, "no such path"))
        .method_not_allowed_fallback(async || refuse(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        .layer(CatchPanicLayer::custom(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "the server failed")))
        .with_state(inference)
}

/// Which model a path names.
#[derive(Deserialize)]
struct Named {
    model: String,
    version: Option<String>,
}

impl Inference {
    fn check(&self, named: &Named) -> Result<(), Refusal> {
        if named.model != self.name {
            return Err((StatusCode::NOT_FOUND, format!("the model served here is `{}`", self.name)));
        }
        let version = self.target.version.to_string();
        if named.version.as_ref().is_some_and(|asked| *asked != version) {
            return Err((StatusCode::NOT_FOUND, format!("the version served here is {version}")));
        }
        Ok(())
    }

    /// Answers a question, and says in a word what came of it.
    async fn infer(&self, request: Request<Body>) -> (&'static str, Response) {
        let Ok(_place) = self.places.try_acquire() else {
            return ("overloaded", refuse(StatusCode::SERVICE_UNAVAILABLE, "too many questions at once"));
        };
        let _in_flight = self.metrics.begin();
        let answered = AssertUnwindSafe(self.answer(request)).catch_unwind();
        match tokio::time::timeout(self.config.deadline, answered).await {
            Err(_) => ("timeout", refuse(StatusCode::GATEWAY_TIMEOUT, "no answer in time")),
            Ok(Err(_)) => ("error", refuse(StatusCode::INTERNAL_SERVER_ERROR, "the model panicked")),
            Ok(Ok(Ok(done))) => done,
            Ok(Ok(Err((status, why)))) => (outcome(status), refuse(status, &why)),
        }
    }

    async fn answer(&self, request: Request<Body>) -> Result<(&'static str, Response), Refusal> {
        let bad = |why: String| (StatusCode::BAD_REQUEST, why);
        if request.headers().contains_key("inference-header-content-length") {
            return Err(bad("binary tensors are not taken; send them as JSON".to_owned()));
        }
        let body = body::collect(request, QUESTION_BYTES).await;
        let body = body.map_err(|problem| {
            (StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST), problem.detail)
        })?;
        let asked: tensors::Request<'_> = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
        if let Some(wrong) = asked.outputs.iter().find(|one| !OUTPUTS.iter().any(|known| known.0 == one.name)) {
            return Err(bad(format!("`{}` is not an output", wrong.name)));
        }
        let query = questions::read(asked.inputs, self.server.items()).map_err(bad)?;
        let answer = match self.server.score(query).await {
            Ok(answer) => Some(answer),
            Err(ModelFailure::ColdStart) => None,
            Err(failure) => return Err((status(&failure), failure.to_string())),
        };
        let mut outputs = answer.as_deref().map(questions::outputs).unwrap_or_default();
        outputs.retain(|one| asked.outputs.is_empty() || asked.outputs.iter().any(|wanted| wanted.name == one.name));
        let response = tensors::Response {
            model_name: (&*self.name).into(),
            model_version: Some(self.target.version.to_string().into()),
            id: asked.id,
            parameters: answer.is_none().then_some(Parameters { cold_start: true }),
            outputs,
        };
        Ok((if answer.is_some() { "ok" } else { "cold_start" }, reply(StatusCode::OK, &response)))
    }
}

type Refusal = (StatusCode, String);

/// How a failure is passed on; the router's side reads it back.
fn status(failure: &ModelFailure) -> StatusCode {
    match failure {
        ModelFailure::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ModelFailure::Invalid(_) => StatusCode::BAD_GATEWAY,
        ModelFailure::Error(_) | ModelFailure::ColdStart => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn outcome(status: StatusCode) -> &'static str {
    match status {
        StatusCode::GATEWAY_TIMEOUT => "timeout",
        StatusCode::BAD_GATEWAY => "invalid",
        status if status.is_client_error() => "refused",
        _ => "error",
    }
}

async fn infer(State(inference): State<Arc<Inference>>, Path(named): Path<Named>, request: Request<Body>) -> Response {
    if let Err((status, why)) = inference.check(&named) {
        return refuse(status, &why);
    }
    let started = Instant::now();
    let (outcome, mut response) = inference.infer(request).await;
    inference.metrics.count(outcome, started.elapsed().as_secs_f64());
    if !inference.ready() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn server_metadata() -> Response {
    reply(StatusCode::OK, &json!({"name": "fairway", "version": env!("CARGO_PKG_VERSION"), "extensions": []}))
}

async fn health_ready(State(inference): State<Arc<Inference>>) -> Response {
    readiness(&inference, json!({"ready": inference.ready()}))
}

async fn model_ready(State(inference): State<Arc<Inference>>, Path(named): Path<Named>) -> Response {
    match inference.check(&named) {
        Ok(()) => readiness(&inference, json!({"name": inference.name, "ready": inference.ready()})),
        Err((status, why)) => refuse(status, &why),
    }
}

fn readiness(inference: &Inference, say: Value) -> Response {
    reply(if inference.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &say)
}

async fn metadata(State(inference): State<Arc<Inference>>, Path(named): Path<Named>) -> Response {
    if let Err((status, why)) = inference.check(&named) {
        return refuse(status, &why);
    }
    let shown = |&(name, datatype, n): &(&str, &str, i64)| json!({"name": name, "datatype": datatype, "shape": [n]});
    let (inputs, outputs): (Vec<Value>, Vec<Value>) =
        (INPUTS.iter().map(shown).collect(), OUTPUTS.iter().map(shown).collect());
    let versions = [inference.target.version.to_string()];
    let say = json!({"name": inference.name, "versions": versions, "platform": "fairway", "inputs": inputs, "outputs": outputs});
    reply(StatusCode::OK, &say)
}

async fn describe(State(inference): State<Arc<Inference>>, Path(named): Path<Named>) -> Response {
    match inference.check(&named) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/json")], inference.description.clone()).into_response(),
        Err((status, why)) => refuse(status, &why),
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    reply(status, &json!({"error": why}))
}

fn reply(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
