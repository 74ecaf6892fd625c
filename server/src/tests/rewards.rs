//! Rewards and pairs by a manual clock: what counts, for whom, and when.

use fairway_stats::Cells;
use fairway_wire::{Pair, PairKey, Reason, Rival};

use super::*;

pub(super) const WITHIN_MS: i64 = 7 * 24 * HOUR_MS;

/// Exposures and reward of an arm by the generation of the exposure.
pub(super) fn reward(arm: &Arm, generation: u64) -> (u64, f64) {
    totals(arm.reward.get(&generation))
}

fn totals(cells: Option<&Cells>) -> (u64, f64) {
    let Some(cells) = cells else {
        return (0, 0.0);
    };
    let rows: Vec<(u8, u64, i64)> = serde_json::from_value(serde_json::to_value(cells).unwrap()).unwrap();
    let n = rows.iter().map(|row| row.1).sum();
    (n, rows.iter().map(|row| row.2).sum::<i64>() as f64 / 1e6)
}

fn pair(window: &Window, digest: u64, against: Rival, generation: u64) -> Option<&Pair> {
    window.pairs.get(&PairKey { digest: target(digest).digest, against, generation })
}

#[tokio::test]
async fn a_reward_is_counted_when_it_is_mature_in_the_window_of_that_time() {
    let (router, clock) = router(Manner::Good);
    router.set_route(route(1, None));
    router.recommend(asking("ann", 3)).await.unwrap();
    router.recommend(asking("bob", 3)).await.unwrap();
    clock.advance(HOUR_MS);
    for item in ["a", "a", "b", "j"] {
        router.event(bought("ann", item)).await.unwrap();
    }
    // The route changes before the exposure matures: it keeps the generation it happened under.
    router.set_route(route(2, Some(50)));
    clock.advance(WITHIN_MS - HOUR_MS - 1);
    let early = merged(router.take_windows());
    assert!(early.arms.values().all(|arm| arm.reward.is_empty()));
    clock.advance(1);
    assert!(router.take_windows().iter().all(|window| window.arms.is_empty()));
    clock.advance(60_000);
    let mut windows = router.take_windows();
    windows.retain(|window| !window.arms.is_empty());
    let stable = arm(&windows[0], 1, Track::Stable);
    assert_eq!((reward(&stable, 1), reward(&stable, 2)), ((2, 2.0), (0, 0.0)));
    assert_eq!((stable.requests, windows[0].generation, windows.len()), (0, 2, 1));
    assert_eq!(windows[0].start.as_millisecond(), START_MS + WITHIN_MS);
}

#[tokio::test]
async fn feedback_that_names_an_answer_counts_for_it_alone() {
    let (router, clock) = router(Manner::Good);
    router.set_route(route(1, None));
    let first = router.recommend(asking("ann", 3)).await.unwrap();
    let second = router.recommend(asking("ann", 3)).await.unwrap();
    assert_ne!(first.decision, second.decision);
    let mut event = bought("ann", "a");
    event.decision = Some(second.decision);
    router.event(event).await.unwrap();
    router.event(bought("ann", "b")).await.unwrap();
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    assert_eq!(reward(&arm(&window, 1, Track::Stable), 1), (2, 3.0));
}

#[tokio::test]
async fn an_event_is_credited_by_its_own_time_and_once() {
    let (router, clock) = router(Manner::Good);
    router.set_route(route(1, None));
    let asked = clock.now();
    router.recommend(asking("ann", 9)).await.unwrap();
    clock.advance(HOUR_MS);
    let at = |item: &str, time, id: &str| Event { time: Some(time), id: Some(id.into()), ..bought("ann", item) };
    let before = asked - jiff::SignedDuration::from_secs(1);
    for event in [at("a", before, "1"), at("b", asked, "2"), at("c", asked, "2")] {
        router.event(event).await.unwrap();
    }
    let future = clock.now() + jiff::SignedDuration::from_secs(61);
    let problem = router.event(at("d", future, "3")).await.unwrap_err();
    assert_eq!(problem.field.as_deref(), Some("time"));
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    assert_eq!(reward(&arm(&window, 1, Track::Stable), 1), (1, 1.0));
}

#[tokio::test]
async fn the_arm_is_the_assigned_one_whatever_answered() {
    let (router, clock) = router(Manner::Fails);
    router.set_route(route(1, Some(100)));
    let answer = router.recommend(asking("ann", 3)).await.unwrap();
    assert_eq!((answer.version, answer.reason), (1, Reason::ModelError));
    router.event(bought("ann", "a")).await.unwrap();
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    assert_eq!(reward(&arm(&window, 2, Track::Canary), 1), (1, 1.0));
    assert_eq!(reward(&arm(&window, 1, Track::Stable), 1), (0, 0.0));
    assert!(window.pairs.is_empty());
}

#[tokio::test]
async fn views_and_clicks_are_no_reward_and_no_history() {
    let (router, clock) = router(Manner::Good);
    router.set_route(route(1, None));
    router.recommend(asking("ann", 3)).await.unwrap();
    for kind in [EventKind::View, EventKind::Click] {
        router.event(Event { kind, ..bought("ann", "a") }).await.unwrap();
    }
    assert_eq!(names(&router.recommend(asking("ann", 1)).await.unwrap()), ["a"]);
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    assert_eq!(reward(&arm(&window, 1, Track::Stable), 1), (2, 0.0));
    assert!(router.metrics_text().contains("fairway_events_total{kind=\"click\"} 1"));
}

#[tokio::test]
async fn stable_is_compared_with_popularity_on_all_that_was_consumed() {
    let (router, clock) = router(Manner::Good);
    router.set_route(route(1, None));
    // Two are shown, but lists of 20 are compared: all of `a` to `j` against `j`, `i`, `h`.
    router.recommend(asking("ann", 2)).await.unwrap();
    for item in ["c", "j", "elsewhere"] {
        router.event(bought("ann", item)).await.unwrap();
    }
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    assert_eq!(reward(&arm(&window, 1, Track::Stable), 1), (1, 0.0));
    let pair = pair(&window, 1, Rival::Popularity, 1).unwrap();
    assert_eq!((totals(Some(&pair.difference)), totals(Some(&pair.base))), ((1, 1.0), (1, 1.0)));
}

#[tokio::test]
async fn stable_is_still_compared_while_the_baseline_is_shown_in_its_place() {
    let (router, clock) = router(Manner::Good);
    let mut route = route(1, None);
    route.serve_baseline = true;
    router.set_route(route);
    let answer = router.recommend(asking("ann", 1)).await.unwrap();
    assert_eq!((names(&answer), answer.reason), (vec!["j"], Reason::ServingBaseline));
    router.event(bought("ann", "a")).await.unwrap();
    // Stable answers on a task of its own.
    tokio::task::yield_now().await;
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    let pair = pair(&window, 1, Rival::Popularity, 1).unwrap();
    assert_eq!((totals(Some(&pair.difference)), totals(Some(&pair.base))), ((1, 1.0), (1, 0.0)));
    assert_eq!(arm(&window, 1, Track::Stable).requests, 0, "nobody was served by it");
}

#[tokio::test]
async fn nobody_waits_for_a_version_that_they_are_not_shown() {
    let (router, clock) = router(Manner::Good);
    router.install(&target(1), fake(Manner::Hangs), profile());
    router.set_route(Route { serve_baseline: true, ..route(1, None) });
    let answer = futures::FutureExt::now_or_never(router.recommend(asking("ann", 1)));
    assert_eq!(answer.unwrap().unwrap().reason, Reason::ServingBaseline);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    assert!(window.pairs.is_empty() && router.metrics_text().contains("fairway_shadow_errors_total 1"));
    let baseline = arm(&window, 0, Track::Stable);
    assert_eq!((baseline.requests, reward(&baseline, 1)), (1, (1, 0.0)));
}

#[tokio::test]
async fn a_candidate_answers_unseen_and_is_compared_with_stable() {
    let (_, clock) = bare(config());
    let shadowed = RouterConfig { k_pairs: 2, reward_cap: 1.0, ..config() };
    let router = Router::new(shadowed, clock.clock(), Pseudonyms::new(b"test key"));
    router.install(&target(1), fake(Manner::Good), profile());
    router.install(&target(2), fake(Manner::Reverse), profile());
    let mut route = route(1, Some(0));
    route.canary.as_mut().unwrap().shadow = true;
    router.set_route(route);
    let answer = router.recommend(asking("ann", 1)).await.unwrap();
    assert_eq!((names(&answer), answer.track), (vec!["a"], Track::Stable));
    // The unseen answer is given on a task of its own.
    tokio::task::yield_now().await;
    for item in ["b", "i", "j"] {
        router.event(bought("ann", item)).await.unwrap();
    }
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    let pair = pair(&window, 2, Rival::Stable(target(1).digest), 1).unwrap();
    // Both lists earn one: `b`, and `i` or `j` up to the cap.
    assert_eq!((totals(Some(&pair.difference)), totals(Some(&pair.base))), ((1, 0.0), (1, 1.0)));
    assert_eq!(arm(&window, 2, Track::Canary).requests, 0);
}

#[tokio::test]
async fn whether_a_candidate_can_answer_shows_before_anybody_sees_it() {
    let expected =
        [(Manner::Good, (3, 0)), (Manner::Panics, (3, 3)), (Manner::Nothing, (3, 3)), (Manner::Hangs, (0, 0))];
    for (manner, (requests, errors)) in expected {
        let (router, clock) = bare(config());
        router.install(&target(1), fake(Manner::Good), profile());
        router.install(&target(2), fake(manner), profile());
        let mut route = route(1, Some(0));
        route.canary.as_mut().unwrap().shadow = true;
        router.set_route(route.clone());
        for _ in 0..3 {
            assert_eq!(router.recommend(asking("ann", 1)).await.unwrap().reason, Reason::Ok);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        clock.advance(WITHIN_MS);
        let window = merged(router.flush_windows());
        let (candidate, stable) = (arm(&window, 2, Track::Canary), arm(&window, 1, Track::Stable));
        assert_eq!((candidate.unseen.requests, candidate.unseen.errors), (requests, errors), "{manner:?}");
        assert_eq!((candidate.requests, candidate.errors_total()), (0, 0), "nobody was given it");
        assert_eq!((stable.requests, stable.unseen.requests), (3, 0));

        // Where the baseline is shown nobody was asked that it could be compared with.
        route.generation = 2;
        route.serve_baseline = true;
        router.set_route(route);
        router.recommend(asking("bob", 1)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        clock.advance(WITHIN_MS);
        assert!(arm(&merged(router.flush_windows()), 2, Track::Canary).unseen.is_empty(), "{manner:?}");
    }
}

#[tokio::test]
async fn a_broken_candidate_is_no_trouble_unseen_either() {
    for manner in [Manner::Panics, Manner::Hangs, Manner::Nothing] {
        let (router, clock) = router(manner);
        let mut route = route(1, Some(0));
        route.canary.as_mut().unwrap().shadow = true;
        router.set_route(route);
        assert_eq!(names(&router.recommend(asking("ann", 1)).await.unwrap()), ["a"]);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        clock.advance(WITHIN_MS);
        let window = merged(router.flush_windows());
        assert_eq!(window.pairs.len(), 1);
        assert!(router.metrics_text().contains("fairway_shadow_errors_total 1"), "{manner:?}");
    }
}

#[tokio::test]
async fn where_too_many_answers_wait_fewer_users_are_waited_for() {
    let (router, clock) = router_with(RouterConfig { pending_max: 640, ..config() }, Manner::Good);
    router.set_route(route(1, None));
    let number = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse::<f64>().unwrap()
    };
    assert_eq!(number(&router.metrics_text(), "fairway_reward_users_share"), 1.0);
    for user in (0..1_500).map(|n| format!("user-{n}")) {
        router.recommend(asking(&user, 3)).await.unwrap();
        router.event(bought(&user, "a")).await.unwrap();
    }
    router.take_windows();
    let text = router.metrics_text();
    let waiting = number(&text, "fairway_pending_exposures");
    assert!((50.0..=640.0).contains(&waiting), "{waiting}");
    assert!(number(&text, "fairway_pending_exposures_dropped") > 0.0);
    assert!(number(&text, "fairway_reward_users_share") <= 0.25);
    // Feedback for what is not waited for counts for nothing.
    clock.advance(WITHIN_MS);
    let window = merged(router.flush_windows());
    assert_eq!(reward(&arm(&window, 1, Track::Stable), 1), (waiting as u64, waiting));
}
