//! The operator's own ports: `/healthz` (is a watch dead?) and `/readyz` on one, `/metrics` on the other.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::watch::Pulse;

/// Serves health and metrics until `stop`.
pub(crate) async fn serve(
    settings: &Settings,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    stop: CancellationToken,
) -> Result<()> {
    let health = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(|| async { "ready" }))
        .with_state(pulse.clone());
    let numbers = Router::new().route("/metrics", get(text)).with_state((metrics, pulse));
    let (admin, counted) = (listen(settings.admin, "--admin").await?, listen(settings.metrics, "--metrics").await?);
    let admin = axum::serve(admin, health).with_graceful_shutdown(stop.clone().cancelled_owned());
    let counted = axum::serve(counted, numbers).with_graceful_shutdown(stop.cancelled_owned());
    tokio::try_join!(admin.into_future(), counted.into_future()).context("serving health")?;
    Ok(())
}

async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("{option} {address} is taken or not allowed: name another one"))
}

/// A process whose view of the cluster stands still is started again.
async fn healthz(State(pulse): State<Arc<Pulse>>) -> Response {
    let silent = pulse.silent();
    if silent.is_empty() {
        return "alive".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not heard of for too long: {}", silent.join(", "))).into_response()
}

async fn text(State((metrics, pulse)): State<(Arc<Metrics>, Arc<Pulse>)>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.text(&pulse)).into_response()
}
