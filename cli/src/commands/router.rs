//! `fairway router`: the data plane of an endpoint, in a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use fairway_registry::{Access, ModelLog, Registry};
use fairway_server::{
    AdminToken, ConnectConfig, Pseudonyms, Router as DataPlane, RouterConfig, follow, router_admin_routes, tell_peers,
};
use fairway_wire::{Orders, Route, RouterSettings, Target};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::up::{Signals, bind};
use crate::args::Router;
use crate::exit::{Code, Invalid};
use crate::plane::{Bucket, Keeper, OrdersFile, Restored, history};
use crate::runtime::Clock;

/// Wait after the API server could not be found.
const CONNECT_AGAIN: Duration = Duration::from_secs(2);
/// Wait for users' histories and for the versions to be asked, before the first request is taken.
const KNOWS_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks at which versions can be asked.
const LOOKS_EVERY: Duration = Duration::from_millis(50);
/// Wait after the bucket could not be opened.
const OPEN_AGAIN: Duration = Duration::from_secs(5);
/// Longest name of a replica, without its moment.
const REPLICA_MAX: usize = 100;

/// Serves until it is asked to stop.
///
/// # Errors
/// Keys, ports or the registry cannot be used. Orders that are not there are waited for.
pub async fn run(router: Router) -> Result<Code> {
    let mut signals = Signals::new()?;
    let (pseudonyms, token) = (pseudonyms(&router.users_key)?, token(router.admin_token_file.as_deref())?);
    let listeners = (bind(router.listen, "--listen").await?, bind(router.admin, "--admin").await?);
    let (sender, mut receiver) = watch::channel(Orders::default());
    let watching = tokio::spawn(watched(&router, sender));
    // For ever: a router without orders has nothing to answer with.
    let orders = tokio::select! {
        first = receiver.changed() => {
            first.context("there is nobody who gives orders")?;
            receiver.borrow_and_update().clone()
        }
        () = signals.stop() => return Ok(Code::Stopped),
    };
    let clock = Clock::real();
    let config = config(&router.replica, &orders.settings, &clock);
    let plane = DataPlane::new(config, clock.for_server(), pseudonyms);
    receiver.mark_changed();
    // Before histories are restored: what is taken up depends on it.
    plane.meet(orders.peers.clone());
    // Of what was answered to the last is told and kept, too.
    let (stop, answered) = (CancellationToken::new(), CancellationToken::new());
    let telling = token.clone().map(|(_, text)| tokio::spawn(tell_peers(plane.clone(), text, answered.clone())));
    let token = token.map(|(token, _)| token);
    let (known, knows) = oneshot::channel();
    let keeping = tokio::spawn(records(router.clone(), plane.clone(), clock, known, answered.clone()));
    let following = tokio::spawn(follow(plane.clone(), receiver, ConnectConfig::new(&router.model), stop.clone()));
    // Users are better served by a router that knows them and its versions; but neither a bucket nor a server that does
    // not answer keeps anybody waiting.
    let all = async { tokio::join!(knows, can_ask(&plane, &orders)) };
    let _ = tokio::time::timeout(KNOWS_WITHIN, all).await;
    let served = serve(&mut signals, listeners, plane, token, &stop).await;
    answered.cancel();
    following.await?;
    if let Some(telling) = telling {
        telling.await?;
    }
    watching.abort();
    keeping.await?;
    served.map(|()| Code::Done)
}

/// Ends when every version that the route names can be asked.
async fn can_ask(plane: &DataPlane, orders: &Orders) {
    let named: Vec<&Target> = orders.route.iter().flat_map(Route::targets).collect();
    loop {
        let known = plane.installed();
        if named.iter().all(|target| known.contains(&target.digest)) {
            return;
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

/// Orders from where they come, until nobody listens.
fn watched(router: &Router, sender: watch::Sender<Orders>) -> impl Future<Output = ()> + Send + use<> {
    let (file, map, namespace) =
        (router.orders_file.clone(), router.orders_configmap.clone(), router.namespace.clone());
    async move {
        match (file, map) {
            (Some(path), _) => OrdersFile::new(path).watch(sender).await,
            (None, Some(map)) => loop {
                match fairway_controller::follow_orders(&namespace, &map, &sender).await {
                    Ok(()) => return,
                    Err(error) => eprintln!("no orders: {error:#}"),
                }
                tokio::time::sleep(CONNECT_AGAIN).await;
            },
            (None, None) => {}
        }
    }
}

async fn serve(
    signals: &mut Signals,
    (public, admin): (TcpListener, TcpListener),
    plane: Arc<DataPlane>,
    token: Option<AdminToken>,
    stop: &CancellationToken,
) -> Result<()> {
    eprintln!("recommend  http://{}/v1/recommend", public.local_addr()?);
    eprintln!("polls      http://{}/v1/poll", admin.local_addr()?);
    let extra = router_admin_routes(plane.clone(), token);
    let servers = [
        tokio::spawn(fairway_server::serve_public(public, plane.clone(), stop.clone())),
        tokio::spawn(fairway_server::serve_admin(admin, plane, extra, stop.clone())),
    ];
    signals.stop().await;
    eprintln!("stopping: answering what is in flight, then storing what is open");
    stop.cancel();
    for server in servers {
        server.await?.context("serving")?;
    }
    Ok(())
}

fn config(replica: &str, settings: &RouterSettings, clock: &Clock) -> RouterConfig {
    // It becomes part of keys in the bucket.
    let usable = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    let name: String = replica.to_ascii_lowercase().chars().filter(usable).take(REPLICA_MAX).collect();
    RouterConfig {
        replica: format!("{}-{}", name.trim_matches('-'), clock.now().as_millisecond()).trim_matches('-').to_owned(),
        reward_event: settings.reward_event,
        reward_within: Duration::from_millis(settings.reward_within_ms),
        reward_cap: settings.reward_cap,
        decision_sample: settings.decision_sample,
        history_max: settings.history_max as usize,
        fallback: settings.fallback.clone(),
        ..RouterConfig::default()
    }
}

/// Of a mounted key: a router that made one of its own would know nobody that the others know.
fn pseudonyms(path: &Path) -> Result<Pseudonyms> {
    if !path.is_file() {
        let cure = "make one with `openssl rand -hex 32`, and give all routers of the model the same";
        return Err(Invalid(format!("--users-key {}: there is no such file; {cure}", path.display())).into());
    }
    Ok(Pseudonyms::load_or_create(path)?)
}

/// What opens the admin port of this router, and its text: it opens those of its peers.
fn token(path: Option<&Path>) -> Result<Option<(AdminToken, String)>> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| format!("--admin-token-file {}", path.display()))?;
    let token = AdminToken::new(&text).ok_or_else(|| {
        Invalid(format!("--admin-token-file {}: too short; a token has 16 characters at least", path.display()))
    })?;
    Ok(Some((token, text.trim().to_owned())))
}

/// Keeps the router's records, as soon as the bucket lets it in: one that is away must not keep a router from serving.
/// `known` hears when histories were restored, or that there are none.
async fn records(
    router: Router,
    plane: Arc<DataPlane>,
    clock: Clock,
    known: oneshot::Sender<()>,
    stop: CancellationToken,
) {
    let (Some(url), Some(endpoint)) = (router.registry.clone(), router.endpoint.clone()) else { return };
    let open = async || -> Result<(Bucket, ModelLog)> {
        // It writes below its endpoint only, and asks nothing about the registry itself.
        let registry = Registry::open_with(&url, &router.store.options()?, Access::Read).await?;
        let bucket = Bucket(registry.endpoint(&router.namespace, &endpoint)?);
        Ok((bucket, registry.model(&router.namespace, &router.model)?))
    };
    let (bucket, model) = loop {
        match open().await {
            Ok(opened) => break opened,
            Err(error) => tracing::warn!("nothing is kept yet: {error:#}"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(OPEN_AGAIN) => {}
        }
    };
    let knows = Arc::new(AtomicBool::new(false));
    let keeper = Keeper::new(bucket.clone(), plane.clone(), clock.clone(), knows.clone());
    let begins = async {
        begin(&bucket, model, &plane, clock, known).await;
        knows.store(true, Ordering::Relaxed);
        std::future::pending().await
    };
    tokio::select! {
        () = keeper.keep(stop) => {}
        () = begins => {}
    }
}

/// Takes up the users' histories from the bucket, or from the model's data where nobody is there.
async fn begin(bucket: &Bucket, model: ModelLog, plane: &Arc<DataPlane>, clock: Clock, known: oneshot::Sender<()>) {
    let restored = loop {
        match bucket.restore(plane).await {
            Ok(restored) => break restored,
            Err(error) => tracing::warn!("users begin without a history, and none is kept yet: {error:#}"),
        }
        tokio::time::sleep(OPEN_AGAIN).await;
    };
    // Whoever waited may have begun already.
    let _ = known.send(());
    if restored == Restored::Nobody {
        history::seed(model, plane.clone(), clock).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_s_name_fits_into_keys_and_is_another_after_a_restart() {
        let clock = Clock::manual(jiff::Timestamp::from_second(7).unwrap());
        let name = |replica: &str| config(replica, &RouterSettings::default(), &clock).replica;
        assert_eq!(name("shop-router-7c9d"), "shop-router-7c9d-7000");
        assert_eq!(name("-Shop/Röuter_1."), "shopruter1-7000");
        assert_eq!(name("…"), "7000");
    }

    #[test]
    fn keys_and_tokens_are_files_that_hold_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(pseudonyms(&path).err().unwrap().to_string().contains("openssl rand"));
        assert!(!path.exists(), "nothing is made");
        std::fs::write(&path, "short\n").unwrap();
        assert!(token(Some(&path)).err().unwrap().to_string().contains("16 characters"));
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        assert!(token(Some(&path)).unwrap().is_some() && pseudonyms(&path).is_ok());
        assert!(token(None).unwrap().is_none());
    }
}
