//! A version that fails in whatever manner never costs a user an answer, and is counted where it belongs.

use fairway_wire::{ErrorKind, FALLBACK, Reason, Rung};

use super::*;

const MANNERS: [(Manner, ErrorKind, Reason); 7] = [
    (Manner::Fails, ErrorKind::Error, Reason::ModelError),
    (Manner::Panics, ErrorKind::Error, Reason::ModelError),
    (Manner::Hangs, ErrorKind::Timeout, Reason::ModelTimeout),
    (Manner::NotANumber, ErrorKind::Invalid, Reason::ModelInvalid),
    (Manner::Nothing, ErrorKind::Invalid, Reason::ModelInvalid),
    (Manner::Stranger, ErrorKind::Invalid, Reason::ModelInvalid),
    (Manner::Twice, ErrorKind::Invalid, Reason::ModelInvalid),
];

#[tokio::test]
async fn a_broken_canary_costs_nobody_an_answer_and_is_counted_on_its_arm() {
    for (manner, kind, reason) in MANNERS {
        let (router, clock) = router(manner);
        router.set_route(route(1, Some(50)));
        let mut canaries = 0;
        for i in 0..40 {
            let answer = router.recommend(asking(&format!("user-{i}"), 3)).await.unwrap();
            assert_eq!(names(&answer), ["a", "b", "c"], "{manner:?}");
            assert_eq!(answer.version, 1);
            let expected = match answer.track {
                Track::Canary => (Rung::Stable, reason),
                _ => (Rung::Assigned, Reason::Ok),
            };
            assert_eq!((answer.served_by, answer.reason), expected);
            canaries += u64::from(answer.track == Track::Canary);
        }
        assert!(canaries > 5);
        clock.advance(HOUR_MS);
        let window = merged(router.take_windows());
        let (canary, stable) = (arm(&window, 2, Track::Canary), arm(&window, 1, Track::Stable));
        assert_eq!((canary.requests, canary.errors[&kind]), (canaries, canaries));
        assert_eq!((canary.errors_total(), canary.fallbacks[&reason]), (canaries, canaries));
        assert_eq!((canary.slow, canary.latency.count()), (0, canaries));
        assert!(!canary.features.contains_key("score"));
        assert_eq!((stable.requests, stable.errors_total()), (40 - canaries, 0));
        assert!(stable.fallbacks.is_empty());
        let counted =
            format!("fairway_errors_total{{track=\"canary\",kind=\"{}\"}} {canaries}", crate::labels::error(kind));
        assert!(router.metrics_text().contains(&counted));
    }
}

#[tokio::test]
async fn a_broken_stable_falls_to_the_last_good_answer_and_then_to_popularity() {
    for (manner, kind, reason) in MANNERS {
        let (router, clock) = router(Manner::Good);
        router.set_route(route(1, None));
        router.recommend(asking("ann", 4)).await.unwrap();
        router.event(bought("ann", "b")).await.unwrap();
        router.install(&target(1), fake(manner), profile());
        let answer = router.recommend(asking("ann", 3)).await.unwrap();
        assert_eq!((names(&answer), answer.served_by), (vec!["a", "c", "d"], Rung::Cached));
        assert_eq!((answer.version, answer.reason), (1, reason));
        let answer = router.recommend(asking("bob", 2)).await.unwrap();
        assert_eq!((names(&answer), answer.served_by), (vec!["j", "i"], Rung::Popularity));
        clock.advance(25 * HOUR_MS);
        let answer = router.recommend(asking("ann", 2)).await.unwrap();
        assert_eq!((answer.served_by, answer.version, answer.reason), (Rung::Popularity, 0, reason));
        let stable = arm(&merged(router.flush_windows()), 1, Track::Stable);
        assert_eq!((stable.requests, stable.errors[&kind]), (4, 3));
    }
}

#[tokio::test]
async fn others_are_asked_in_the_order_of_the_settings() {
    let in_the_uk = || {
        let mut request = asking("ann", 2);
        request.context.segment = Some("UK".into());
        request
    };
    // The canary answers once, and fails then; stable, the last good answer, and both kinds of popularity have something.
    for (fallback, rung) in [
        (FALLBACK.to_vec(), Rung::Stable),
        (vec![Rung::Cached, Rung::Stable, Rung::Popularity], Rung::Cached),
        (vec![Rung::SegmentPopularity, Rung::Stable, Rung::Popularity], Rung::SegmentPopularity),
        (vec![Rung::Popularity], Rung::Popularity),
        (vec![Rung::Popularity, Rung::Stable], Rung::Popularity),
        (Vec::new(), Rung::Popularity),
    ] {
        let (router, _) = router_with(RouterConfig { fallback: fallback.clone(), ..config() }, Manner::Good);
        router.set_route(route(1, Some(100)));
        router.recommend(in_the_uk()).await.unwrap();
        router.install(&target(2), fake(Manner::Fails), profile());
        let answer = router.recommend(in_the_uk()).await.unwrap();
        assert_eq!((answer.served_by, answer.reason), (rung, Reason::ModelError), "{fallback:?}");
        assert_eq!(answer.items.len(), 2, "{fallback:?}");
    }
}

#[tokio::test]
async fn when_all_versions_hang_the_answer_still_comes_within_the_servers_limit() {
    let (router, _) = router(Manner::Hangs);
    router.install(&target(1), fake(Manner::Hangs), profile());
    let mut route = route(1, Some(100));
    route.deadline_ms = 60_000;
    router.set_route(route);
    let limit = std::time::Duration::from_secs(2);
    let answer = tokio::time::timeout(limit, router.recommend(asking("ann", 1))).await.unwrap();
    assert_eq!(answer.unwrap().served_by, Rung::Popularity);
}

#[tokio::test]
async fn slow_answers_are_counted_and_served() {
    let (router, _) = router(Manner::Good);
    let mut route = route(1, None);
    route.slow_over_ms = 0;
    router.set_route(route);
    let answer = router.recommend(asking("ann", 1)).await.unwrap();
    assert_eq!(answer.served_by, Rung::Assigned);
    // An answer that took less than a microsecond is not over 0 ms.
    let stable = arm(&merged(router.flush_windows()), 1, Track::Stable);
    let over = u64::from(stable.latency.quantile(1.0) > Some(1));
    assert!(stable.slow >= over);
}

#[tokio::test]
async fn features_are_counted_on_the_assigned_versions_bins() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(1, Some(100)));
    let mut request = asking("ann", 1);
    request.context.segment = Some("FR".into());
    router.event(bought("ann", "a")).await.unwrap();
    router.event(bought("ann", "never heard of")).await.unwrap();
    router.recommend(request).await.unwrap();
    let window = merged(router.flush_windows());
    let canary = &window.arms[&key(2, Track::Canary, "FR")];
    // One known item; the best score is 1.0; FR is the second name.
    let hit = |name: &str| canary.features[name].counts().iter().position(|&n| n == 1);
    let bins = |name: &str| profile().features[name].bins.clone();
    assert_eq!(hit("historyLength"), Some(bins("historyLength").index_of(Some(1.0))));
    assert_eq!(hit("score"), Some(bins("score").index_of(Some(1.0))));
    assert_eq!(hit("segment"), Some(1));
    // Consumption is counted on stable's bins: `a` in the first part, the other one among the unknown.
    assert_eq!(window.consumed.unwrap().counts(), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
}
