//! The operator's own port: `/healthz` (is a watch dead?), `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::watch::Pulse;

#[derive(Clone)]
struct Known {
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    stop: CancellationToken,
) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("--admin {address} is taken or not allowed: name another one"))?;
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(|| async { "ready" }))
        .route("/metrics", get(text))
        .with_state(Known { metrics, pulse });
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await.context("serving health")
}

/// A process whose view of the cluster stands still is started again.
async fn healthz(State(known): State<Known>) -> Response {
    let silent = known.pulse.silent();
    if silent.is_empty() {
        return "alive".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not heard of for too long: {}", silent.join(", "))).into_response()
}

async fn text(State(known): State<Known>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], known.metrics.text()).into_response()
}
