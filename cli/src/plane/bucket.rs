//! What a router leaves in its endpoint's folder of the bucket: logged decisions, the users' histories, and at the end
//! the windows that nobody has asked for. A bucket that fails costs records, never an answer.
//!
//! The histories are one snapshot of all routers of an endpoint. A router writes it only after it knows what was in the one before,
//! or that nobody can: else a router that was just started would put its few users in the place of everybody.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::Bytes;
use fairway_registry::EndpointLog;
use fairway_server::Router;
use fairway_wire::Window;
use tokio_util::sync::CancellationToken;

use crate::runtime::{Clock, window_key};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const SNAPSHOT_EVERY: Duration = Duration::from_secs(30);
/// Decisions go to the bucket when so many wait, or after so long.
const DECISIONS_MIN: usize = 20_000;
const DECISIONS_EVERY: Duration = Duration::from_secs(60);
/// All routers of an endpoint keep one snapshot, so that there are never more: the newest is a good one to begin with.
const SNAPSHOT: &str = "users";
/// Where a snapshot is put aside that cannot be read, before another one takes its place.
const UNREADABLE: &str = "users-unreadable";
/// How long the last records may take.
const LAST_WITHIN: Duration = Duration::from_secs(10);
/// Wait after the last records could not be stored.
const LAST_AGAIN: Duration = Duration::from_millis(500);

/// An endpoint's folder, to begin with what is there.
#[derive(Clone)]
pub struct Bucket(pub EndpointLog);

/// What became of the users' histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Nobody is in the bucket, or in a form that cannot be read, and was put aside.
    Nobody,
    /// They are known now, as some router kept them last.
    Histories,
}

impl Bucket {
    /// Takes up the users' histories.
    ///
    /// # Errors
    /// The bucket failed: nobody knows what is there.
    pub async fn restore(&self, router: &Arc<Router>) -> Result<Restored> {
        let kept = self.0.get_state(SNAPSHOT).await.context("reading the users' histories")?;
        let Some(bytes) = kept else { return Ok(Restored::Nobody) };
        let (reader, snapshot) = (Arc::clone(router), bytes.clone());
        let read = tokio::task::spawn_blocking(move || reader.restore(&snapshot)).await;
        match read.map_err(anyhow::Error::from).and_then(|users| Ok(users?)) {
            Ok(0) => Ok(Restored::Nobody),
            Ok(_) => Ok(Restored::Histories),
            Err(error) => {
                self.0.put_state(UNREADABLE, bytes).await.context("putting aside the users' histories")?;
                tracing::warn!("the users' histories cannot be read, and are in snapshots/{UNREADABLE} now: {error:#}");
                Ok(Restored::Nobody)
            }
        }
    }
}

/// Keeps a router's records until it is stopped.
pub struct Keeper {
    log: EndpointLog,
    router: Arc<Router>,
    clock: Clock,
    /// The router knows the users, as far as it ever will from others.
    knows: Arc<AtomicBool>,
    /// Files of decisions written so far.
    files: u64,
    /// A file that the bucket has not taken yet.
    pending: Option<Bytes>,
    /// The last windows, as far as the bucket has not taken them yet.
    unkept: VecDeque<Window>,
}

impl Keeper {
    /// Of this router. It keeps no histories before `knows`.
    pub fn new(bucket: Bucket, router: Arc<Router>, clock: Clock, knows: Arc<AtomicBool>) -> Self {
        Self { log: bucket.0, router, clock, knows, files: 0, pending: None, unkept: VecDeque::new() }
    }

    /// Keeps records until `stop`, and then the last ones: nothing is to be answered any more by then.
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

    /// Tries until everything is there. What was taken before is not written twice.
    async fn last(&mut self) {
        self.unkept.extend(self.router.flush_windows());
        loop {
            let kept = [said(self.windows().await), said(self.decisions().await), said(self.snapshot().await)];
            if kept.into_iter().all(|is_kept| is_kept) {
                return;
            }
            tokio::time::sleep(LAST_AGAIN).await;
        }
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
        if !self.knows.load(Ordering::Relaxed) {
            return Ok(());
        }
        let router = Arc::clone(&self.router);
        let bytes = tokio::task::spawn_blocking(move || router.snapshot()).await?;
        self.log.put_state(SNAPSHOT, bytes.into()).await.context("storing the users' histories")
    }

    /// Under the keys that the operator would have given them: what it has asked for meanwhile is there already.
    async fn windows(&mut self) -> Result<()> {
        while let Some(window) = self.unkept.front() {
            let bytes = serde_json::to_vec(window)?;
            self.log.put_window(&window_key(window), bytes.into()).await.context("storing a window")?;
            self.unkept.pop_front();
        }
        Ok(())
    }
}

/// Whether it was kept; if not, why not is told.
fn said(kept: Result<()>) -> bool {
    match kept {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("{error:#}; it is tried again");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use fairway_registry::Registry;
    use fairway_server::{Pseudonyms, RouterConfig};
    use fairway_wire::{Event, EventKind};

    use super::*;

    fn router() -> (Arc<Router>, Clock) {
        let clock = Clock::manual(jiff::Timestamp::from_second(1_767_225_600).unwrap());
        (Router::new(RouterConfig::default(), clock.for_server(), Pseudonyms::new(b"a key of a test")), clock)
    }

    async fn bucket() -> Bucket {
        let registry = Registry::open_or_init("memory://", &Default::default()).await.unwrap();
        Bucket(registry.endpoint("shop", "home").unwrap())
    }

    async fn buys(router: &Router, user: &str) {
        let (user, item) = (user.to_owned(), "cup".to_owned());
        let kind = EventKind::Purchase;
        router.event(Event { user, item, kind, time: None, decision: None, segment: None, id: None }).await.unwrap();
    }

    /// Keeps a router's last records.
    async fn end(bucket: &Bucket, (router, clock): (Arc<Router>, Clock), knows: bool) {
        let stop = CancellationToken::new();
        stop.cancel();
        Keeper::new(bucket.clone(), router, clock, Arc::new(AtomicBool::new(knows))).keep(stop).await;
    }

    #[tokio::test]
    async fn histories_are_replaced_by_nobody_who_does_not_know_them() {
        let bucket = bucket().await;
        let (first, clock) = router();
        assert_eq!(bucket.restore(&first).await.unwrap(), Restored::Nobody);
        buys(&first, "ann").await;
        buys(&first, "bob").await;
        end(&bucket, (first, clock), true).await;
        // One that ends before it has read them.
        let (hasty, clock) = router();
        buys(&hasty, "zoe").await;
        end(&bucket, (hasty, clock), false).await;
        let (third, _) = router();
        assert_eq!((bucket.restore(&third).await.unwrap(), third.users()), (Restored::Histories, 2));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_put_aside() {
        let bucket = bucket().await;
        let (router, _) = router();
        for unreadable in ["{\"format\": 1, \"users\"", "{\"format\": 9}"] {
            bucket.0.put_state(SNAPSHOT, unreadable.into()).await.unwrap();
            assert_eq!(bucket.restore(&router).await.unwrap(), Restored::Nobody);
            assert_eq!(bucket.0.get_state(UNREADABLE).await.unwrap().unwrap(), unreadable);
        }
        // A snapshot of nobody is as none: whoever finds it is to look elsewhere.
        bucket.0.put_state(SNAPSHOT, router.snapshot().into()).await.unwrap();
        assert_eq!(bucket.restore(&router).await.unwrap(), Restored::Nobody);
    }

    #[tokio::test]
    async fn a_window_is_given_up_only_when_the_bucket_has_it() {
        let (bucket, (router, clock)) = (bucket().await, router());
        let mut keeper = Keeper::new(bucket.clone(), router, clock, Arc::default());
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        // The bucket refuses the second one: no key can hold its name.
        for (seq, replica) in [(0, "r"), (1, "r//x"), (2, "r")] {
            keeper.unkept.push_back(Window::new(replica, seq, at(10), at(20)));
        }
        assert!(keeper.windows().await.is_err());
        assert_eq!(keeper.unkept.iter().map(|window| window.seq).collect::<Vec<_>>(), [1, 2]);
        keeper.unkept[0].replica = "r".to_owned();
        keeper.windows().await.unwrap();
        assert_eq!((keeper.unkept.len(), bucket.0.windows(9).await.unwrap().len()), (0, 3));
    }
}
