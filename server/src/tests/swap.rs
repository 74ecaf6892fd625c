//! Versions change while users ask: nobody goes without an answer, and every answer is counted once.

use std::collections::BTreeSet;

use fairway_wire::{Reason, Rung};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_swap_under_load_loses_nobody() {
    const ASKERS: usize = 8;
    const EACH: usize = 400;
    let (_, clock) = bare(config());
    // Nothing is handed out before the end, so that every count can be found.
    let patient = RouterConfig { lateness: std::time::Duration::from_secs(1 << 30), ..config() };
    let router = Router::new(patient, clock.clock(), Pseudonyms::new(b"test key"));
    router.install(&target(1), fake(Manner::Good), profile());
    router.set_route(route(1, None));
    let askers: Vec<_> = (0..ASKERS)
        .map(|asker| {
            let router = Arc::clone(&router);
            tokio::spawn(async move {
                let mut decisions = Vec::new();
                for i in 0..EACH {
                    let user = format!("user-{asker}-{}", i % 50);
                    let answer = router.recommend(asking(&user, 5)).await.unwrap();
                    assert_eq!(answer.items.len(), 5);
                    assert_eq!((answer.served_by, answer.reason), (Rung::Assigned, Reason::Ok));
                    decisions.push(answer.decision);
                    if i % 20 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                decisions
            })
        })
        .collect();
    let mut generation = 1;
    while !askers.iter().all(|asker| asker.is_finished()) {
        generation += 1;
        // The version is there before the route names it, and gone after the route does not.
        let fresh = target(generation);
        router.install(&fresh, fake(Manner::Good), profile());
        router.set_route(Route { stable: Some(fresh), ..route(generation, None) });
        router.uninstall(&target(generation - 1).digest);
        clock.advance(1_000);
        tokio::task::yield_now().await;
    }
    let mut decisions = BTreeSet::new();
    for asker in askers {
        decisions.extend(asker.await.unwrap());
    }
    assert_eq!(decisions.len(), ASKERS * EACH);
    let windows = router.flush_windows();
    let requests: u64 = windows.iter().flat_map(|w| w.arms.values()).map(|arm| arm.requests).sum();
    let errors: u64 = windows.iter().flat_map(|w| w.arms.values()).map(Arm::errors_total).sum();
    assert_eq!((requests, errors), ((ASKERS * EACH) as u64, 0));
    // A window has one generation, and so one version; numbers are without gaps.
    for (seq, window) in windows.iter().enumerate() {
        assert_eq!(window.seq, seq as u64);
        assert!(window.arms.keys().all(|key| key.digest == target(window.generation).digest));
    }
    assert_eq!(router.take_decisions().len(), ASKERS * EACH);
}

#[tokio::test]
async fn windows_are_handed_out_once_and_their_numbers_are_never_used_again() {
    let (router, clock) = router(Manner::Good);
    let mut seen = Vec::new();
    for generation in 1..40 {
        router.set_route(route(generation, None));
        router.recommend(asking("ann", 1)).await.unwrap();
        clock.advance(3_000);
        seen.extend(router.take_windows());
    }
    seen.extend(router.flush_windows());
    assert!(seen.iter().map(|window| window.seq).eq(0..seen.len() as u64));
    assert!(seen.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert_eq!(seen.iter().flat_map(|w| w.arms.values()).map(|arm| arm.requests).sum::<u64>(), 39);
    assert_eq!(router.flush_windows().len(), 0);
}
