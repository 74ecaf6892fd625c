//! The HTTP surface: paths, methods, statuses. Public: `POST /v1/recommend`, `POST /v1/events`. On both ports:
//! `GET /healthz`, `GET /readyz`. Admin: `GET /metrics`. Sockets and their limits are in `serve`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
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
/// A whole request, from its head to its answer, takes no longer.
const REQUEST_TIME: Duration = Duration::from_secs(2);
/// Requests that are worked on at once; further ones are answered from popularity.
const IN_FLIGHT: usize = 512;

/// What the handlers share.
#[derive(Clone)]
struct Front {
    router: Arc<Router>,
    places: Arc<Semaphore>,
}

/// The public paths of a router, to be served or tested without a socket.
pub fn public_routes(router: Arc<Router>) -> Routes {
    public_routes_with(router, IN_FLIGHT)
}

pub(crate) fn public_routes_with(router: Arc<Router>, in_flight: usize) -> Routes {
    let places = Arc::new(Semaphore::new(in_flight));
    let front = Front { router: Arc::clone(&router), places };
    let api = Routes::new().route("/v1/recommend", post(recommend)).route("/v1/events", post(events)).with_state(front);
    api.merge(health(router))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method())
        .layer(CatchPanicLayer::custom(|_| Problem::fault().into_response()))
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

async fn recommend(State(front): State<Front>, request: Request<Body>) -> Response {
    within_time(async {
        let body = body::read(request, REQUEST_BYTES).await?;
        let request: RecommendRequest = body::parse(&body)?;
        let answer = match front.places.try_acquire() {
            Ok(_place) => front.router.recommend(request).await?,
            Err(_) => front.router.recommend_cheaply(request)?,
        };
        Ok(json(StatusCode::OK, &answer))
    })
    .await
}

async fn events(State(front): State<Front>, request: Request<Body>) -> Response {
    within_time(async {
        let _place = front.places.try_acquire().map_err(|_| Problem::overloaded())?;
        let body = body::read(request, EVENTS_BYTES).await?;
        let many = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let accepted = if many { take_many(&front.router, &body) } else { take_one(&front.router, &body) };
        Ok(json(StatusCode::ACCEPTED, &accepted?))
    })
    .await
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

async fn within_time(answer: impl Future<Output = Result<Response, Problem>>) -> Response {
    match tokio::time::timeout(REQUEST_TIME, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        // Models have a shorter limit of their own: what was slow is the body.
        Err(_) => ([(header::CONNECTION, "close")], Problem::slow_body()).into_response(),
    }
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => Problem::fault().into_response(),
    }
}
