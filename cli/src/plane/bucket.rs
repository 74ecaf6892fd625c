//! What a router leaves in its endpoint's folder of the bucket: logged decisions, the users' histories, and at the end
//! the windows that nobody has asked for. A bucket that fails costs records, never an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::Bytes;
use fairway_registry::EndpointLog;
use fairway_server::Router;

use tokio_util::sync::CancellationToken;

use crate::runtime::{Clock, window_key};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const SNAPSHOT_EVERY: Duration = Duration::from_secs(30);
/// Decisions go to the bucket when so many wait, or after so long.
const DECISIONS_MIN: usize = 20_000;
const DECISIONS_EVERY: Duration = Duration::from_secs(60);
/// All routers of an endpoint keep one snapshot, so that there are never more: the newest is a good one to begin with.
const SNAPSHOT: &str = "users";
/// How long the last records may take.
const LAST_WITHIN: Duration = Duration::from_secs(10);

/// An endpoint's folder, to begin with what is there.
pub struct Bucket(pub EndpointLog);

impl Bucket {
    /// Users' histories as some router kept them last; false if none ever did. What cannot be read is left out: answers do
    /// not need it.
    pub async fn restore(&self, router: &Arc<Router>) -> bool {
        let restored = async {
            let Some(bytes) = self.0.get_state(SNAPSHOT).await? else { return Ok(false) };
            let router = Arc::clone(router);
            tokio::task::spawn_blocking(move || router.restore(&bytes)).await??;
            anyhow::Ok(true)
        };
        restored.await.unwrap_or_else(|error| {
            tracing::warn!("the snapshot of users' histories is left out: {error:#}");
            true
        })
    }
}

/// Keeps a router's records until it is stopped.
pub struct Keeper {
    log: EndpointLog,
    router: Arc<Router>,
    clock: Clock,
    /// Files of decisions written so far.
    files: u64,
    /// A file that the bucket has not taken yet.
    pending: Option<Bytes>,
}

impl Keeper {
    /// Of this router.
    pub fn new(bucket: Bucket, router: Arc<Router>, clock: Clock) -> Self {
        Self { log: bucket.0, router, clock, files: 0, pending: None }
    }

    /// Keeps records until `stop`, and then the last ones.
    pub async fn keep(mut self, stop: CancellationToken) {
        let (mut decided, mut kept) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let is_late = decided.elapsed() >= DECISIONS_EVERY;
            if is_late || self.pending.is_some() || self.router.decisions_waiting() >= DECISIONS_MIN {
                decided = Instant::now();
                said(self.decisions().await);
            }
            if kept.elapsed() >= SNAPSHOT_EVERY {
                kept = Instant::now();
                said(self.snapshot().await);
            }
        }
        if tokio::time::timeout(LAST_WITHIN, self.last()).await.is_err() {
            tracing::warn!("the last records did not reach the bucket in time");
        }
    }

    async fn last(&mut self) {
        said(self.windows().await);
        said(self.decisions().await);
        said(self.snapshot().await);
    }

    async fn decisions(&mut self) -> Result<()> {
        if self.pending.is_none() {
            let decisions = self.router.take_decisions();
            if decisions.is_empty() {
                return Ok(());
            }
            let file = tokio::task::spawn_blocking(move || fairway_server::decisions_to_parquet(&decisions)).await??;
            self.files += 1;
            self.pending = Some(file);
        }
        if let Some(file) = &self.pending {
            let (now, replica) = (self.clock.now(), self.router.replica());
            self.log.put_decisions(now, replica, self.files, file.clone()).await.context("storing decisions")?;
        }
        self.pending = None;
        Ok(())
    }

    async fn snapshot(&self) -> Result<()> {
        let router = Arc::clone(&self.router);
        let bytes = tokio::task::spawn_blocking(move || router.snapshot()).await?;
        self.log.put_state(SNAPSHOT, bytes.into()).await.context("storing the users' histories")
    }

    /// Under the keys that the operator would have given them: what it has asked for meanwhile is there already.
    async fn windows(&self) -> Result<()> {
        for window in self.router.flush_windows() {
            let bytes = serde_json::to_vec(&window)?;
            self.log.put_window(&window_key(&window), bytes.into()).await.context("storing a window")?;
        }
        Ok(())
    }
}

fn said(kept: Result<()>) {
    if let Err(error) = kept {
        tracing::warn!("{error:#}; it is tried again");
    }
}
