//! The load against a tiny server of its own.

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::ShopConfig;

/// What the server has heard.
#[derive(Default)]
struct Heard {
    connections: AtomicUsize,
    lists: AtomicUsize,
    events: Mutex<Vec<Event>>,
}

async fn answer(
    request: Request<Incoming>,
    status: u16,
    heard: Arc<Heard>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let text = if path == "/v1/events" {
        let events: Vec<Event> = serde_json::from_slice(&body).expect("an array of events");
        heard.events.lock().unwrap().extend(events);
        "{}".to_owned()
    } else {
        let asked: RecommendRequest = serde_json::from_slice(&body).expect("a request");
        let number = heard.lists.fetch_add(1, Ordering::Relaxed);
        let items: Vec<_> =
            (1..=asked.k).map(|item| serde_json::json!({"item": format!("i{item:05}"), "score": 0.5})).collect();
        let canary = number.is_multiple_of(4);
        serde_json::json!({
            "decision": format!("d{number}"), "items": items, "version": if canary { 2 } else { 1 },
            "track": if canary { "canary" } else { "stable" }, "served_by": "assigned", "reason": "ok",
        })
        .to_string()
    };
    Ok(Response::builder().status(status).body(Full::from(text)).expect("a response"))
}

async fn serve(status: u16) -> (String, Arc<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Heard::default());
    let hears = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            hears.connections.fetch_add(1, Ordering::Relaxed);
            let heard = hears.clone();
            let service = service_fn(move |request| answer(request, status, heard.clone()));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (base, heard)
}

fn start() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

/// A clock that moves 5 simulated seconds each time it is read: no real time in it.
fn clock() -> impl Fn() -> Timestamp + Send + Sync + 'static {
    let reads = AtomicU64::new(0);
    move || start() + jiff::SignedDuration::from_secs(5 * reads.fetch_add(1, Ordering::Relaxed).cast_signed())
}

fn shop(config: ShopConfig) -> Shop {
    Shop::new(ShopConfig { users: 200, buy_probability: 0.5, ..config }, start()).unwrap()
}

/// Runs `load` until it has made `requests` requests.
async fn run_until(load: Load, requests: u64) -> LoadReport {
    let handle = load.handle();
    let stop = CancellationToken::new();
    let running = tokio::spawn(load.run(stop.clone()));
    while handle.report().requests < requests {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    running.await.unwrap();
    handle.report()
}

#[tokio::test]
async fn counts_add_up() {
    let (base, heard) = serve(200).await;
    let directory = tempfile::tempdir().unwrap();
    let writer = TransactionWriter::open(directory.path()).unwrap();
    let config = ShopConfig { visits_per_day: 20_000.0, ..ShopConfig::default() };
    let load = Load::new(&base, clock(), shop(config), 4).unwrap().with_writer(writer);
    let report = run_until(load, 400).await;
    let events = heard.events.lock().unwrap();
    let lists = heard.lists.load(Ordering::Relaxed) as u64;

    assert_eq!((report.failed, report.answered), (0, report.requests));
    assert_eq!(report.visits, lists);
    assert_eq!(report.by_version.values().sum::<u64>(), lists);
    assert_eq!(report.by_version[&2], lists.div_ceil(4));
    assert_eq!(report.by_track[&fairway_wire::Track::Canary], report.by_version[&2]);
    assert_eq!(report.by_served_by[&fairway_wire::Rung::Assigned], lists);
    assert!(report.users_by_version[&1] <= 200);
    assert!(report.latency_p50_us > 0 && report.latency_p50_us <= report.latency_p99_us);
    assert!(heard.connections.load(Ordering::Relaxed) <= 8, "connections are kept");

    let with_list = events.iter().filter(|event| event.decision.is_some()).count() as u64;
    assert_eq!((with_list, events.len() as u64 - with_list), (report.bought_from_list, report.bought_beside));
    assert!(report.bought_from_list > 0 && report.bought_beside > 0);
    assert_eq!(report.bought_by_version.values().sum::<u64>(), report.bought_from_list);
    let mut ids: Vec<&str> = events.iter().filter_map(|event| event.id.as_deref()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len());

    assert_eq!((report.rows_written, report.rows_lost), (events.len() as u64, 0));
    let parts = std::fs::read_dir(directory.path()).unwrap();
    let lines: usize = parts.map(|part| std::fs::read_to_string(part.unwrap().path()).unwrap().lines().count()).sum();
    assert_eq!(lines, events.len());
}

#[tokio::test]
async fn a_failing_server_is_reported() {
    let (base, _) = serve(503).await;
    let load =
        Load::new(&base, clock(), shop(ShopConfig { visits_per_day: 20_000.0, ..ShopConfig::default() }), 4).unwrap();
    let report = run_until(load, 50).await;
    assert_eq!((report.answered, report.failed), (0, report.requests));
    assert_eq!(report.failures.len(), 10);
    assert!(report.failures[0].contains("503 Service Unavailable"), "{:?}", report.failures);
    assert!(report.by_version.is_empty());
    assert_eq!(report.bought_from_list, 0);
    assert!(report.bought_beside > 0, "users buy without a list as well");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_reported() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let load = Load::new(&format!("http://{gone}"), clock(), shop(ShopConfig::default()), 2).unwrap();
    let report = run_until(load, 5).await;
    assert_eq!(report.answered, 0);
    assert!(report.failures[0].contains("refused"), "{:?}", report.failures);
}

#[tokio::test]
async fn what_is_too_much_is_left_out_and_counted() {
    let (base, _) = serve(200).await;
    let config = ShopConfig { visits_per_day: 1e9, ..ShopConfig::default() };
    let report = run_until(Load::new(&base, clock(), shop(config), 2).unwrap(), 50).await;
    assert!(report.late > report.visits, "{} late, {} visits", report.late, report.visits);
    assert_eq!(report.failed, 0);
}

#[tokio::test]
async fn the_factor_turns_the_load_off() {
    let (base, heard) = serve(200).await;
    let load = Load::new(&base, clock(), shop(ShopConfig { visits_per_day: 1e9, ..ShopConfig::default() }), 2).unwrap();
    let handle = load.handle();
    handle.set_factor(f64::NAN);
    assert_eq!(handle.factor(), 0.0);
    let stop = CancellationToken::new();
    let running = tokio::spawn(load.run(stop.clone()));
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(heard.lists.load(Ordering::Relaxed), 0);
    handle.set_factor(2.0);
    while handle.report().visits == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    running.await.unwrap();
}
