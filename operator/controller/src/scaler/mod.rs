//! The external scaler that KEDA asks (`keda.sh`): how many requests a version's servers have in flight, or answer a second.
//!
//! Only the leader has samples, so only the leader listens. The chart's Service for it is headless: a client that finds the
//! port closed at one replica goes on to the next, and a leader that loses the lead ends, and its connections with it.
//! Nothing has to be labelled, and readiness means what it meant.

mod loads;
mod messages;
mod service;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
pub(crate) use loads::{Loads, Metric};
use service::ExternalScaler;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Longest that one question may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Questions that one connection has out at once.
const QUESTIONS_MAX: usize = 64;
/// A client that is gone without a word is noticed within twice this.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves until the process leads no more; for ever nothing without an address.
///
/// # Errors
/// The address is taken.
pub(crate) async fn serve(address: Option<SocketAddr>, loads: Arc<Loads>) -> Result<()> {
    let Some(address) = address else { return std::future::pending().await };
    let listener = TcpListener::bind(address).await;
    let taken = || format!("--scaler-listen {address} is taken or not allowed: name another one");
    answer(listener.with_context(taken)?, loads).await
}

async fn answer(listener: TcpListener, loads: Arc<Loads>) -> Result<()> {
    let server = Server::builder()
        .timeout(DEADLINE)
        .concurrency_limit_per_connection(QUESTIONS_MAX)
        .max_concurrent_streams(QUESTIONS_MAX as u32)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(ExternalScaler { loads });
    server.serve_with_incoming(TcpIncoming::from(listener)).await.context("serving the external scaler")
}
