//! Orders followed: versions are connected to in the background and installed when their servers describe them; a
//! route is put in force at once, be its versions there or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_wire::{Orders, ServedAt};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::remote::Remote;
use crate::router::Router;

/// Most versions that are connected to; orders name two or three.
const VERSIONS_MAX: usize = 32;
/// Descriptions that are fetched at once: they may be long.
const FETCHES: usize = 2;
/// Pause between two times that a router looks after what it has counted.
const TENDS_EVERY: Duration = Duration::from_secs(1);

/// How a router connects to model servers.
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// Name of the model that they serve.
    pub model: String,
    /// Time to fetch a version's description.
    pub deadline: Duration,
    /// Wait after the first failure; each further one doubles it.
    pub retry_first: Duration,
    /// Longest wait.
    pub retry_most: Duration,
}

impl ConnectConfig {
    /// The usual waits.
    pub fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            deadline: Duration::from_secs(30),
            retry_first: Duration::from_millis(200),
            retry_most: Duration::from_secs(10),
        }
    }
}

/// Does what the newest orders say, until `shutdown`. When nobody sends orders any more, the last ones stay.
pub async fn follow(
    router: Arc<Router>,
    mut orders: watch::Receiver<Orders>,
    config: ConnectConfig,
    shutdown: CancellationToken,
) {
    let fetches = Arc::new(Semaphore::new(FETCHES));
    let mut follower = Follower { router, config, fetches, known: BTreeMap::new(), connecting: JoinSet::new() };
    let now = orders.borrow_and_update().clone();
    follower.apply(now);
    let mut open = true;
    let mut tending = tokio::time::interval(TENDS_EVERY);
    tending.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tending.tick() => tend(&follower.router).await,
            changed = orders.changed(), if open => match changed {
                Ok(()) => {
                    let now = orders.borrow_and_update().clone();
                    follower.apply(now);
                }
                Err(_) => open = false,
            },
            Some(connected) = follower.connecting.join_next() => {
                // The others are tasks that were given up.
                if let Ok((served, remote)) = connected {
                    follower.install(&served, remote).await;
                }
            }
        }
    }
}

/// Many windows and exposures take a while, and requests are answered on these threads.
async fn tend(router: &Arc<Router>) {
    let router = Arc::clone(router);
    if let Err(error) = tokio::task::spawn_blocking(move || router.tend()).await {
        tracing::error!(%error, "what was counted could not be looked after");
    }
}

struct Follower {
    router: Arc<Router>,
    config: ConnectConfig,
    fetches: Arc<Semaphore>,
    /// By digest: where it is served, and the task that connects or connected to it.
    known: BTreeMap<String, (ServedAt, AbortHandle)>,
    connecting: JoinSet<(ServedAt, Remote)>,
}

impl Follower {
    fn apply(&mut self, orders: Orders) {
        let Orders { route, mut versions, peers, .. } = orders;
        self.router.meet(peers);
        if versions.len() > VERSIONS_MAX {
            tracing::warn!(named = versions.len(), most = VERSIONS_MAX, "orders name too many versions");
            versions.truncate(VERSIONS_MAX);
        }
        // The route first: users do not wait for connections.
        if let Some(route) = route {
            self.router.take_order(route);
        }
        self.forget(&versions);
        for served in versions {
            self.connect(served);
        }
    }

    /// Takes away what is no longer named. What the route in force names stays: it may still answer.
    fn forget(&mut self, versions: &[ServedAt]) {
        let route = self.router.route();
        let routed = |digest: &str| route.iter().flat_map(|route| route.targets()).any(|one| one.digest == digest);
        let router = &self.router;
        self.known.retain(|digest, (_, task)| {
            let stays = versions.iter().any(|one| one.target.digest == *digest) || routed(digest);
            if !stays {
                task.abort();
                router.uninstall(digest);
            }
            stays
        });
    }

    /// Begins to connect, unless it already does, or did, to the same place.
    fn connect(&mut self, served: ServedAt) {
        let digest = served.target.digest.clone();
        if let Some((known, task)) = self.known.get(&digest) {
            if *known == served {
                return;
            }
            task.abort();
        }
        let (config, fetches) = (self.config.clone(), Arc::clone(&self.fetches));
        let task = self.connecting.spawn(connect(served.clone(), config, fetches));
        self.known.insert(digest, (served, task));
    }

    /// Installs a version that is still wanted from there.
    async fn install(&self, served: &ServedAt, remote: Remote) {
        if self.known.get(&served.target.digest).is_none_or(|(known, _)| known != served) {
            return;
        }
        tracing::info!(version = served.target.version, url = %served.url, "version connected");
        let (router, target) = (Arc::clone(&self.router), served.target.clone());
        // A long list of items takes a while, and requests are answered on these threads.
        let installed = tokio::task::spawn_blocking(move || {
            let profile = Arc::clone(remote.profile());
            router.install(&target, Arc::new(remote), profile);
        });
        if let Err(error) = installed.await {
            tracing::error!(%error, "a version could not be installed");
        }
    }
}

/// Tries until the server describes the version that is meant.
async fn connect(served: ServedAt, config: ConnectConfig, fetches: Arc<Semaphore>) -> (ServedAt, Remote) {
    let mut wait = config.retry_first;
    loop {
        // The semaphore is never closed.
        let place = fetches.acquire().await.ok();
        let connected = Remote::connect(&served.url, &config.model, config.deadline).await;
        drop(place);
        match connected {
            Ok(remote) if remote.target().digest == served.target.digest => return (served, remote),
            Ok(remote) => {
                let (wanted, found) = (&served.target.digest, &remote.target().digest);
                tracing::warn!(%wanted, %found, url = %served.url, "another version is served there");
            }
            Err(error) => tracing::warn!(%error, "cannot connect yet"),
        }
        // Routers that lost the same server must not come back together.
        tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        wait = wait.saturating_mul(2).min(config.retry_most);
    }
}
