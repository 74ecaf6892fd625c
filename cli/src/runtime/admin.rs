//! The loopback port for people: a status page, the state as JSON, and the verbs. The verbs need the token that
//! `fairway up` writes into its state folder, readable by its owner only.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fairway_core::Reason;
use fairway_core::endpoint::RolloutRequest;
use fairway_core::model::ModelRequest;
use fairway_server::AdminToken;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Command, Journal};

/// What the admin port knows.
#[derive(Clone)]
pub struct AdminState {
    /// Where verbs go.
    pub commands: mpsc::Sender<Command>,
    /// The last report.
    pub report: watch::Receiver<Arc<Value>>,
    /// What happened.
    pub journal: Journal,
    /// The secret that verbs must bring.
    pub token: Arc<str>,
}

/// A verb waits so long for its look.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The admin routes, beside those of the server.
pub fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/admin/rollout", post(rollout))
        .route("/admin/runs", post(start_run))
        .route("/admin/runs/{name}", axum::routing::delete(cancel_run))
        .with_state(state)
}

async fn page() -> Html<&'static str> {
    Html(include_str!("status.html"))
}

async fn status(State(state): State<AdminState>) -> Json<Value> {
    let report = state.report.borrow().clone();
    Json(json!({"report": *report, "events": state.journal.lines()}))
}

#[derive(Deserialize)]
struct Asked {
    who: String,
    #[serde(flatten)]
    request: RolloutRequest,
}

async fn rollout(State(state): State<AdminState>, headers: HeaderMap, Json(asked): Json<Asked>) -> Response {
    let send = |answer| Command::Rollout { who: asked.who, request: asked.request, answer };
    command(&state, &headers, send).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Start {
    name: String,
    reason: String,
    #[serde(default)]
    force: bool,
}

async fn start_run(State(state): State<AdminState>, headers: HeaderMap, Json(start): Json<Start>) -> Response {
    let request = ModelRequest::Start { name: start.name, reason: start.reason, force: start.force };
    command(&state, &headers, |answer| Command::Model { request, answer }).await
}

async fn cancel_run(State(state): State<AdminState>, headers: HeaderMap, Path(name): Path<String>) -> Response {
    command(&state, &headers, |answer| Command::Model { request: ModelRequest::Cancel { name }, answer }).await
}

async fn command(
    state: &AdminState,
    headers: &HeaderMap,
    make: impl FnOnce(oneshot::Sender<Vec<Reason>>) -> Command,
) -> Response {
    if !is_authorised(state, headers) {
        return problem(StatusCode::UNAUTHORIZED, "the token of this process is missing or wrong");
    }
    let (answer, answered) = oneshot::channel();
    if state.commands.try_send(make(answer)).is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many verbs are waiting; try again");
    }
    match tokio::time::timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(reasons)) => Json(json!({"reasons": reasons})).into_response(),
        _ => problem(StatusCode::GATEWAY_TIMEOUT, "the loop did not look in time; see the status"),
    }
}

fn is_authorised(state: &AdminState, headers: &HeaderMap) -> bool {
    AdminToken::new(&state.token).is_some_and(|token| token.is_shown(headers))
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({"status": status.as_u16(), "title": status.canonical_reason(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
