//! The HTTP surface: paths, methods, statuses. Public: `POST /v1/recommend`, `POST /v1/events`. On both ports:
//! `GET /healthz`, `GET /readyz`. Admin: `GET /metrics`. Sockets and their limits are in `serve`.
//!
//! A request that has come is worked on and counted to the end, on a task of its own, whether its caller waits for the answer or
//! not: else a version that hangs would never be counted where callers wait for less than its deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use fairway_wire::{Event, RecommendRequest};
use serde::Serialize;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::feedback::Accepted;
use crate::router::Router;
use crate::{Problem, body};

/// Longest body of a request for items, in bytes.
const REQUEST_BYTES: usize = 64 * 1024;
/// Longest body of events, in bytes.
const EVENTS_BYTES: usize = 256 * 1024;
/// Most events in one body.
const EVENTS_MAX: usize = 1_000;

/// Limits of the public paths.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// A body must have come whole within this after its head; models have limits of their own. Events that wait for their turn
    /// wait no longer.
    pub(crate) body: Duration,
    /// Requests that are worked on at once; further ones are answered from popularity.
    pub(crate) requests: usize,
    /// Bodies of events that are taken at once: it is all work for a processor, which answers need too.
    pub(crate) events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: Duration::from_secs(2), requests: 512, events: 2 }
    }
}

/// The public paths with what their handlers share.
#[derive(Clone)]
pub(crate) struct Front {
    router: Arc<Router>,
    limits: Limits,
    requests: Arc<Semaphore>,
    events: Arc<Semaphore>,
}

impl Front {
    pub(crate) fn new(router: Arc<Router>, limits: Limits) -> Self {
        let places = |n: usize| Arc::new(Semaphore::new(n));
        Self { router, limits, requests: places(limits.requests), events: places(limits.events) }
    }

    pub(crate) fn routes(&self) -> Routes {
        let api = Routes::new().route("/v1/recommend", post(recommend)).route("/v1/events", post(events));
        api.with_state(self.clone())
            .merge(health(Arc::clone(&self.router)))
            .fallback(async || Problem::not_found())
            .method_not_allowed_fallback(async || Problem::method())
            .layer(CatchPanicLayer::custom(|_| Problem::fault().into_response()))
    }

    /// Waits for the requests whose callers have gone.
    pub(crate) async fn finished(&self) {
        let all = u32::try_from(self.limits.requests).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        drop(self.requests.acquire_many(all).await);
    }

    /// The body, if it comes in time.
    async fn read(&self, request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
        body::read_within(self.limits.body, request, limit).await
    }
}

/// The public paths of a router, to be served or tested without a socket.
pub fn public_routes(router: Arc<Router>) -> Routes {
    Front::new(router, Limits::default()).routes()
}

/// The admin paths of a router, beside those of `extra`.
pub fn admin_routes(router: Arc<Router>, extra: Routes) -> Routes {
    let metrics = Routes::new().route("/metrics", get(metrics)).with_state(Arc::clone(&router));
    metrics.merge(health(router)).merge(extra).layer(CatchPanicLayer::custom(|_| Problem::fault().into_response()))
}

fn health(router: Arc<Router>) -> Routes {
    let healthz = || async { json(StatusCode::OK, &serde_json::json!({"status": "ok"})) };
    Routes::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(router)
}

async fn recommend(State(front): State<Front>, request: Request<Body>) -> Result<Response, Problem> {
    let body = front.read(request, REQUEST_BYTES).await?;
    let request: RecommendRequest = body::parse(&body)?;
    let answer = match Arc::clone(&front.requests).try_acquire_owned() {
        Ok(place) => {
            let router = Arc::clone(&front.router);
            let answering = tokio::spawn(async move {
                let answer = router.recommend(request).await;
                drop(place);
                answer
            });
            answering.await.unwrap_or_else(|_| Err(Problem::fault()))?
        }
        Err(_) => front.router.recommend_cheaply(request)?,
    };
    Ok(json(StatusCode::OK, &answer))
}

async fn events(State(front): State<Front>, request: Request<Body>) -> Result<Response, Problem> {
    // The body first: one that comes slowly takes nobody's turn.
    let body = front.read(request, EVENTS_BYTES).await?;
    let turn = tokio::time::timeout(front.limits.body, front.events.acquire());
    let Ok(Ok(_turn)) = turn.await else {
        return Err(Problem::overloaded());
    };
    let many = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let accepted = if many { take_many(&front.router, &body) } else { take_one(&front.router, &body) };
    Ok(json(StatusCode::ACCEPTED, &accepted?))
}

fn take_many(router: &Router, body: &[u8]) -> Result<Accepted, Problem> {
    let events: Vec<Event> = body::parse(body)?;
    if events.len() > EVENTS_MAX {
        return Err(Problem::field(".", format!("may hold {EVENTS_MAX} events")));
    }
    router.events(events)
}

fn take_one(router: &Router, body: &[u8]) -> Result<Accepted, Problem> {
    let event: Event = body::parse(body)?;
    router.take_event(event)
}

/// Ready as soon as it can answer at all, be it with popularity: a version that fails takes no router out.
async fn readyz(State(router): State<Arc<Router>>) -> Response {
    let status = router.status();
    let code = if status.status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(code, &status)
}

async fn metrics(State(router): State<Arc<Router>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], router.metrics_text()).into_response()
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => Problem::fault().into_response(),
    }
}
