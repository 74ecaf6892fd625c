//! What a model server in another process costs: to be run by hand, with optimization, on an idle machine.
//! `cargo test --release -p fairway-server --lib -- --ignored --nocapture measure`

use std::time::{Duration, Instant};

use super::servers::{MODEL, ease, profile_of, start};
use super::*;
use crate::Remote;

const ITEMS: usize = 2_000;
const USERS: usize = 1_000;
const REQUESTS: usize = 4_000;

fn loaded(model: Arc<dyn ModelServer>) -> Arc<Router> {
    let (router, clock) = bare(config());
    router.install(&target(1), Arc::clone(&model), profile_of(&*model));
    let now = clock.now();
    let bought = |user: usize| (0..50).map(move |i| (user, (user * 31 + i * 37) % ITEMS));
    let rows: Vec<(String, String)> =
        (0..USERS).flat_map(bought).map(|(user, item)| (format!("u{user}"), format!("i\"{item}é"))).collect();
    router.seed(rows.iter().map(|(user, item)| (user.as_str(), item.as_str(), now, None)));
    router.set_route(Route { deadline_ms: 1_000, ..route(1, None) });
    router
}

/// Requests a second, and the median and 99th percentile in microseconds, with `askers` that wait for each answer.
async fn ask(router: &Arc<Router>, askers: usize) -> (f64, u128, u128) {
    let started = Instant::now();
    let tasks: Vec<_> = (0..askers)
        .map(|asker| {
            let router = Arc::clone(router);
            tokio::spawn(async move {
                let mut took: Vec<Duration> = Vec::new();
                for i in 0..REQUESTS / askers {
                    let started = Instant::now();
                    let answer = router.recommend(asking(&format!("u{}", (asker * 97 + i) % USERS), 20)).await.unwrap();
                    took.push(started.elapsed());
                    assert_eq!((answer.items.len(), answer.served_by), (20, fairway_wire::Rung::Assigned));
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    took.sort_unstable();
    (rate, took[took.len() / 2].as_micros(), took[took.len() * 99 / 100].as_micros())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn measure_remote_against_in_process() {
    let model = ease(ITEMS, 1);
    let server = start(1, model.clone()).await;
    let remote = Remote::connect(&server.url(), MODEL, Duration::from_secs(20)).await.unwrap();
    for (name, router) in [("in process", loaded(model)), ("remote", loaded(Arc::new(remote)))] {
        ask(&router, 4).await;
        for askers in [1, 8, 32] {
            let (rate, p50, p99) = ask(&router, askers).await;
            println!("{name}, {askers} askers: {rate:.0}/s, p50 {p50} us, p99 {p99} us");
        }
    }
}
