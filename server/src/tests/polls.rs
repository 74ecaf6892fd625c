//! A router in another process: windows against a lease, abort, and orders.

use std::time::Duration;

use fairway_wire::{Orders, Poll, Polled, ServedAt};
use hyper::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::servers::{MODEL, canned, ease, start};
use super::*;
use crate::{AdminToken, ConnectConfig, follow, router_admin_routes, serve_admin};

const TOKEN: &str = "a token of enough length";

fn poll(after: Option<u64>, limit: u32) -> Poll {
    Poll { replica: "router-1".to_owned(), after, limit, ..Poll::default() }
}

fn orders_of(route: Option<Route>, versions: Vec<ServedAt>) -> Orders {
    Orders { route, versions, ..Orders::default() }
}

/// Asks as the operator does, which reads what was written.
fn hear(router: &Router, poll: Poll) -> Polled {
    serde_json::from_slice(&serde_json::to_vec(&router.poll(poll)).unwrap()).unwrap()
}

fn seqs(polled: &Polled) -> Vec<u64> {
    polled.windows.iter().map(|window| window.seq).collect()
}

/// A router with `n` closed windows of one request each, all due.
async fn busy(n: u64) -> (Arc<Router>, Manual) {
    let (router, clock) = router(Manner::Good);
    for _ in 0..n {
        router.recommend(asking("ann", 1)).await.unwrap();
        clock.advance(10_000);
    }
    clock.advance(5_000);
    (router, clock)
}

#[tokio::test]
async fn windows_stay_until_they_are_called_safe() {
    let (router, clock) = busy(5).await;
    let first = hear(&router, poll(None, 3));
    assert_eq!(seqs(&first), [0, 1, 2]);
    // The answer was lost: the same again, although more was counted and closed since.
    router.recommend(asking("bob", 1)).await.unwrap();
    clock.advance(20_000);
    assert_eq!(hear(&router, poll(None, 3)).windows, first.windows);
    assert_eq!(seqs(&hear(&router, poll(Some(1), 3))), [2, 3, 4]);
    assert_eq!(seqs(&hear(&router, poll(Some(1), 1))), [2]);
    assert_eq!(seqs(&hear(&router, poll(Some(2), 0))), [0; 0]);
    let rest = hear(&router, poll(None, 100));
    assert_eq!((seqs(&rest)[..2].to_vec(), rest.lost), (vec![3, 4], 0));
    let requests: u64 = rest.windows.iter().flat_map(|one| one.arms.values()).map(|one| one.requests).sum();
    assert_eq!(requests, 3);
    let last = *seqs(&rest).last().unwrap();
    assert!(hear(&router, poll(Some(last), 100)).windows.is_empty());
    // What nobody called safe is in the flush, once.
    clock.advance(20_000);
    hear(&router, poll(None, 100));
    assert_eq!(router.flush_windows()[0].seq, last + 1);
    assert!(router.flush_windows().is_empty());
}

#[tokio::test]
async fn a_number_of_another_incarnation_makes_nothing_forgotten() {
    let (router, _) = busy(2).await;
    assert_eq!(seqs(&hear(&router, poll(Some(700), 9))), [0, 1]);
    assert_eq!(seqs(&hear(&router, poll(Some(700), 9))), [0, 1]);
    let of_before = Poll { replica: "router-0".to_owned(), ..poll(Some(0), 9) };
    assert_eq!(seqs(&hear(&router, of_before)), [0, 1], "it speaks of the one before");
    assert_eq!(seqs(&hear(&router, poll(Some(0), 9))), [1]);
}

#[tokio::test]
async fn windows_that_nobody_takes_are_dropped_and_counted() {
    let (router, clock) = router(Manner::Good);
    let most = crate::config::WINDOWS_MAX as u64;
    hear(&router, poll(None, 256));
    for generation in 1..=most + 12 {
        router.set_route(route(generation, None));
        clock.advance(20_000);
        hear(&router, poll(None, 256));
    }
    let polled = hear(&router, poll(None, 256));
    assert!(polled.lost >= 10, "{}", polled.lost);
    assert_eq!(polled.windows[0].seq, polled.lost);
}

#[tokio::test]
async fn a_lease_is_what_polls_for_the_generation_in_force_say() {
    let (router, clock) = router(Manner::Reverse);
    let leased = |generation| Route {
        lease_until: Some(crate::config::timestamp(START_MS + 30_000)),
        deadline_ms: 10_000,
        ..route(generation, Some(100))
    };
    let lease = |generation, lease_ms| drop(hear(&router, Poll { generation, lease_ms, ..Poll::default() }));
    let track = async || router.recommend(asking("ann", 1)).await.unwrap().track;
    router.take_order(leased(4));
    assert_eq!(track().await, Track::Stable, "nobody was heard of since it was started");
    [(3, Some(60_000)), (5, Some(60_000)), (4, None), (4, Some(0))].into_iter().for_each(|(of, ms)| lease(of, ms));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(track().await, Track::Stable);
    lease(4, Some(60_000));
    // Whatever the operator's clock said, and wherever this one is put.
    for ms in [0, 365 * 24 * HOUR_MS, -2 * 365 * 24 * HOUR_MS] {
        clock.advance(ms);
        assert_eq!(track().await, Track::Canary, "{ms}");
    }
    // Polls may overtake each other. Another weight changes nothing of it.
    lease(4, Some(0));
    router.take_order(leased(5));
    router.take_order(leased(5));
    router.install(&target(1), fake(Manner::Good), profile());
    assert_eq!(track().await, Track::Canary);
}

#[tokio::test]
async fn what_is_counted_is_looked_after_though_nobody_asks() {
    let (router, clock) = busy(2).await;
    router.recommend(asking("bob", 1)).await.unwrap();
    clock.advance(super::rewards::WITHIN_MS);
    router.tend();
    assert_eq!(router.exposures.counts().0, 0);
    let requests = |one: &Window| one.arms.values().map(|one| one.requests).sum::<u64>();
    let heard = hear(&router, poll(None, 9)).windows;
    assert_eq!(heard.iter().map(requests).collect::<Vec<_>>(), [1, 1, 1, 0]);
}

#[tokio::test]
async fn an_aborted_canary_stays_away_until_its_rollout_is_over() {
    let (router, _) = router(Manner::Reverse);
    let lease = crate::config::timestamp(START_MS + HOUR_MS);
    let trial = |generation| Route { lease_until: Some(lease), deadline_ms: 10_000, ..route(generation, Some(100)) };
    let seen =
        async || (router.recommend(asking("ann", 1)).await.unwrap().track, hear(&router, Poll::default()).aborted);
    router.set_route(trial(4));
    assert_eq!(seen().await, (Track::Canary, false));
    router.abort();
    assert_eq!(seen().await, (Track::Stable, true));
    // Neither the same route, nor a lease, nor a version that comes anew brings it back.
    router.set_route(trial(4));
    router.set_route(trial(3));
    hear(&router, Poll { generation: 4, lease_ms: Some(60_000), ..Poll::default() });
    router.install(&target(2), fake(Manner::Good), profile());
    assert_eq!(seen().await, (Track::Stable, true));
    // The next step was on its way when it was aborted.
    router.set_route(trial(5));
    router.take_order(Route { serve_baseline: true, ..trial(6) });
    assert_eq!((seen().await, router.status().generation), ((Track::Stable, true), 6));
    for over in [Route { salt: "rollout-2".into(), ..trial(7) }, route(7, None)] {
        let (router, _) = super::router(Manner::Reverse);
        router.set_route(trial(4));
        router.abort();
        router.set_route(over);
        assert!(!hear(&router, Poll::default()).aborted);
        router.set_route(trial(8));
        assert_eq!(router.recommend(asking("ann", 1)).await.unwrap().track, Track::Canary);
    }
}

/// The status and body of a POST to an admin port.
pub(super) async fn post(
    address: std::net::SocketAddr,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> (StatusCode, bytes::Bytes) {
    use http_body_util::{BodyExt, Full};
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let mut request = hyper::Request::builder().method(Method::POST).uri(format!("http://{address}{path}"));
    request = request.header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = client.request(request.body(Full::new(bytes::Bytes::from(body.to_owned()))).unwrap()).await.unwrap();
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

pub(super) async fn admin(router: &Arc<Router>, token: Option<AdminToken>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = router_admin_routes(Arc::clone(router), token);
    tokio::spawn(serve_admin(listener, Arc::clone(router), routes, CancellationToken::new()));
    address
}

#[tokio::test]
async fn polls_and_abort_on_the_admin_port() {
    let (router, _) = busy(2).await;
    router.set_route(route(4, Some(50)));
    let address = admin(&router, AdminToken::new(&format!("{TOKEN}\n"))).await;
    let ask = serde_json::to_string(&poll(Some(0), 9)).unwrap();
    let first = serde_json::to_string(&poll(None, 9)).unwrap();
    post(address, "/v1/poll", None, &first).await;
    let (status, body) = post(address, "/v1/poll", None, &ask).await;
    let polled: Polled = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, seqs(&polled)), (StatusCode::OK, vec![1]));
    assert_eq!((&*polled.replica, polled.generation, polled.installed.len()), ("router-1", 4, 2));
    for (body, expected) in [("{", 400), (r#"{"colour":1}"#, 400), (&"x".repeat(5_000), 413)] {
        assert_eq!(post(address, "/v1/poll", None, body).await.0.as_u16(), expected, "{body:.20}");
    }
    let good = format!("bearer {TOKEN}");
    let wrong = format!("Bearer {TOKEN}r");
    for token in [None, Some("Bearer "), Some("Bea"), Some(TOKEN), Some(&*wrong)] {
        let (status, body) = post(address, "/admin/abort", token, "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{token:?}");
        assert!(!String::from_utf8_lossy(&body).contains(TOKEN));
    }
    assert!(!hear(&router, Poll::default()).aborted);
    let (status, body) = post(address, "/admin/abort", Some(&good), "").await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &br#"{"aborted":true,"generation":4}"#[..]));
    assert!(hear(&router, Poll::default()).aborted);
    assert!(AdminToken::new("short").is_none() && AdminToken::new("").is_none());
    let shut = admin(&router, None).await;
    assert_eq!(post(shut, "/admin/abort", Some(&good), "").await.0, StatusCode::UNAUTHORIZED);
}

fn at(version: u64, url: &str) -> ServedAt {
    ServedAt { target: target(version), url: url.to_owned() }
}

pub(super) async fn until(mut done: impl FnMut() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it never came to be");
}

#[tokio::test]
async fn orders_are_followed() {
    let (router, _) = bare(config());
    let (orders, followed) = watch::channel(Orders::default());
    let (shutdown, wait) = (CancellationToken::new(), Duration::from_millis(20));
    let connect = ConnectConfig { retry_first: wait, retry_most: wait * 2, ..ConnectConfig::new(MODEL) };
    let task = tokio::spawn(follow(Arc::clone(&router), followed, connect, shutdown.clone()));
    // The route counts at once; versions whose servers are away, or are another's, are not there yet.
    let late = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let other = start(7, ease(4, 1)).await;
    let hangs = canned(None).await;
    let versions = vec![at(1, &format!("http://{late}")), at(2, &other.url()), at(3, &hangs)];
    orders.send_replace(orders_of(Some(route(1, None)), versions.clone()));
    until(|| router.status().generation == 1).await;
    assert!(router.installed().is_empty());
    let first = servers::start_at(late, 1, fake(Manner::Good), servers::quick()).await;
    until(|| router.installed() == ["sha256:1"]).await;
    // A version moves; one that the route names stays, though its server is no longer named.
    let right = start(2, fake(Manner::Reverse)).await;
    orders.send_replace(orders_of(Some(route(2, Some(10))), vec![at(2, &right.url())]));
    until(|| router.installed() == ["sha256:1", "sha256:2"]).await;
    let stable = Route { stable: Some(target(2)), ..route(3, None) };
    orders.send_replace(orders_of(Some(stable.clone()), vec![at(2, &right.url())]));
    until(|| router.installed() == ["sha256:2"]).await;
    // The same generation again changes nothing; an older one does nothing.
    orders.send_replace(orders_of(Some(stable), versions));
    orders.send_replace(orders_of(Some(route(1, None)), vec![]));
    until(|| router.installed() == ["sha256:2"]).await;
    assert_eq!(router.status().generation, 3);
    // Nobody sends any more: what is there stays.
    drop(orders);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!task.is_finished());
    shutdown.cancel();
    task.await.unwrap();
    assert_eq!(router.installed(), ["sha256:2"]);
    drop((first, right, other));
}
