//! Who is answered by what.

use fairway_wire::{Reason, Rung};

use super::*;
use crate::Problem;

async fn ask(router: &Router, request: RecommendRequest) -> (RecommendResponse, Rung, Reason) {
    let answer = router.recommend(request).await.unwrap();
    let (rung, reason) = (answer.served_by, answer.reason);
    (answer, rung, reason)
}

#[tokio::test]
async fn without_a_version_popularity_answers() {
    let (router, _) = bare(config());
    let (answer, rung, reason) = ask(&router, asking("ann", 3)).await;
    assert_eq!((names(&answer).len(), rung, reason), (0, Rung::Popularity, Reason::NoModel));
    router.event(bought("bob", "cup")).await.unwrap();
    let (answer, ..) = ask(&router, asking("ann", 3)).await;
    assert_eq!((names(&answer), answer.version, answer.track), (vec!["cup"], 0, Track::Stable));
}

#[tokio::test]
async fn no_list_is_empty_while_a_version_is_there() {
    let (router, _) = bare(config());
    // Nothing was bought yet, the version fails, and in its bundle the last items were bought most.
    let consumed_bin = (0..10).rev().collect();
    router.install(&target(1), fake(Manner::Fails), Arc::new(Profile { consumed_bin, ..(*profile()).clone() }));
    let (answer, rung, reason) = ask(&router, asking("ann", 2)).await;
    assert_eq!((names(&answer), rung, reason), (vec!["j", "i"], Rung::Popularity, Reason::NoModel));
    router.set_route(route(1, None));
    router.event(bought("ann", "j")).await.unwrap();
    router.event(bought("bob", "b")).await.unwrap();
    let request = RecommendRequest { exclude: vec!["h".into()], ..asking("ann", 4) };
    let (answer, rung, reason) = ask(&router, request).await;
    assert_eq!((names(&answer), rung, reason), (vec!["b", "i", "g", "f"], Rung::Popularity, Reason::ModelError));
    assert!(answer.items.is_sorted_by(|a, b| a.score >= b.score));
}

#[tokio::test]
async fn stable_answers_without_what_was_consumed_or_excluded() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(1, None));
    router.event(bought("ann", "a")).await.unwrap();
    router.event(bought("ann", "unheard of")).await.unwrap();
    let request = RecommendRequest { exclude: vec!["c".into(), "never".into()], ..asking("ann", 3) };
    let (answer, rung, reason) = ask(&router, request).await;
    assert_eq!(names(&answer), ["b", "d", "e"]);
    assert_eq!((answer.version, rung, reason), (1, Rung::Assigned, Reason::Ok));
    // When everything is excluded nothing is an answer, not an error.
    let all = ('a'..='j').map(String::from).collect();
    let (answer, rung, _) = ask(&router, RecommendRequest { exclude: all, ..asking("ann", 3) }).await;
    assert_eq!((answer.items.len(), rung), (0, Rung::Assigned));
}

#[tokio::test]
async fn popularity_is_the_segments_first() {
    let (router, _) = router(Manner::Good);
    let mut route = route(1, None);
    route.serve_baseline = true;
    router.set_route(route);
    let mut event = bought("fay", "cup");
    event.segment = Some("FR".into());
    router.event(event).await.unwrap();
    let mut request = asking("ann", 3);
    let (answer, rung, reason) = ask(&router, request.clone()).await;
    assert_eq!((names(&answer), rung), (vec!["j", "i", "cup"], Rung::Popularity));
    assert_eq!(reason, Reason::ServingBaseline);
    request.context.segment = Some("FR".into());
    let (answer, rung, _) = ask(&router, request).await;
    assert_eq!((names(&answer), rung), (vec!["cup", "j", "i"], Rung::SegmentPopularity));
    assert!(answer.items.is_sorted_by(|a, b| a.score >= b.score));
}

#[tokio::test]
async fn opting_out_leaves_the_history_unread_and_the_canary_out() {
    let (router, clock) = router(Manner::Good);
    router.set_route(route(1, Some(100)));
    router.event(bought("ann", "j")).await.unwrap();
    let mut request = asking("ann", 2);
    request.context.personalize = false;
    let (answer, _, reason) = ask(&router, request).await;
    assert_eq!((names(&answer), reason, answer.track), (vec!["j", "i"], Reason::OptOut, Track::Stable));
    // It says nothing about any version, and its feedback is nobody's.
    clock.advance(8 * 24 * HOUR_MS);
    let window = merged(router.flush_windows());
    assert_eq!(arm(&window, 0, Track::Stable).fallbacks[&Reason::OptOut], 1);
    assert!(window.arms.values().all(|arm| arm.reward.is_empty()));
}

#[tokio::test]
async fn the_holdback_gets_the_baseline_and_the_canary_its_share() {
    let (router, _) = router(Manner::Reverse);
    let mut route = route(1, Some(30));
    route.holdback = Weight::from_percent(10);
    router.set_route(route);
    let mut counts = std::collections::BTreeMap::<_, u32>::new();
    for i in 0..2_000 {
        let (answer, _, reason) = ask(&router, asking(&format!("user-{i}"), 1)).await;
        let expected = match answer.track {
            Track::Stable => (1, "a", Reason::Ok),
            Track::Canary => (2, "j", Reason::Ok),
            Track::Holdback | Track::Experiment => (0, "j", Reason::Holdback),
        };
        assert_eq!((answer.version, names(&answer)[0], reason), expected);
        *counts.entry(answer.track).or_default() += 1;
    }
    assert!((170..230).contains(&counts[&Track::Holdback]), "{counts:?}");
    assert!((480..600).contains(&counts[&Track::Canary]), "{counts:?}");
}

#[tokio::test]
async fn a_ramp_moves_users_one_way() {
    let (router, _) = router(Manner::Good);
    let mut before = vec![Track::Stable; 300];
    for (generation, percent) in [(1, 0), (2, 5), (3, 25), (4, 50), (5, 100)] {
        router.set_route(route(generation, Some(percent)));
        for (i, was) in before.iter_mut().enumerate() {
            let (answer, ..) = ask(&router, asking(&format!("user-{i}"), 1)).await;
            assert!(*was == Track::Stable || answer.track == Track::Canary);
            *was = answer.track;
        }
        let share = before.iter().filter(|track| **track == Track::Canary).count();
        assert!(percent != 0 || share == 0);
    }
    assert!(before.iter().all(|track| *track == Track::Canary));
}

#[tokio::test]
async fn an_expired_lease_takes_the_canary_away_and_a_renewal_brings_it_back() {
    let (router, clock) = router(Manner::Good);
    let mut route = route(1, Some(100));
    let lease = |clock: &Manual| Some(clock.now() + jiff::SignedDuration::from_secs(30));
    route.lease_until = lease(&clock);
    router.set_route(route.clone());
    assert_eq!(ask(&router, asking("ann", 1)).await.0.track, Track::Canary);
    assert!(router.metrics_text().contains("fairway_canary_weight 1.0"));
    clock.advance(30_001);
    assert_eq!(ask(&router, asking("ann", 1)).await.0.track, Track::Stable);
    assert!(router.metrics_text().contains("fairway_canary_weight 0.0"));
    // The same generation only extends the lease; whatever else it says is not believed.
    route.lease_until = lease(&clock);
    router.set_route(Route { canary: None, ..route.clone() });
    assert_eq!(router.route(), Some(Route { canary: None, ..route.clone() }).map(|_| route));
    assert_eq!(ask(&router, asking("ann", 1)).await.0.track, Track::Canary);
}

#[tokio::test]
async fn an_older_route_is_ignored() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(0, None));
    assert_eq!(router.status().generation, 0);
    router.set_route(route(7, Some(100)));
    router.set_route(route(6, None));
    assert_eq!(router.status().generation, 7);
    assert_eq!(router.status().canary, Some(2));
}

#[tokio::test]
async fn a_canary_is_served_while_stable_is_the_baseline() {
    let (router, _) = router(Manner::Fails);
    let mut route = route(1, Some(100));
    route.serve_baseline = true;
    router.set_route(route.clone());
    // The candidate fails: the baseline answers, not the version that was found worse.
    let (answer, rung, reason) = ask(&router, asking("ann", 1)).await;
    assert_eq!((answer.track, rung, reason), (Track::Canary, Rung::Popularity, Reason::ModelError));
    router.install(&target(2), fake(Manner::Good), profile());
    assert_eq!(ask(&router, asking("ann", 1)).await.1, Rung::Assigned);
}

#[tokio::test]
async fn a_canary_that_is_being_loaded_has_no_errors_and_no_rewards() {
    let (router, clock) = router(Manner::Good);
    router.uninstall("sha256:2");
    assert_eq!(router.installed(), ["sha256:1"]);
    router.set_route(route(1, Some(100)));
    let (answer, rung, reason) = ask(&router, asking("ann", 1)).await;
    assert_eq!((answer.track, rung, reason), (Track::Canary, Rung::Stable, Reason::NoModel));
    clock.advance(8 * 24 * HOUR_MS);
    let canary = arm(&merged(router.flush_windows()), 2, Track::Canary);
    assert_eq!((canary.requests, canary.errors_total(), canary.reward.len()), (1, 0, 0));
    assert_eq!(canary.fallbacks[&Reason::NoModel], 1);
}

#[tokio::test]
async fn what_is_not_valid_names_the_field() {
    let (router, _) = router(Manner::Good);
    let long = "é".repeat(65);
    let context = Context::of_segment(&long);
    let many = vec!["a".to_owned(); 1_001];
    let table = [
        (asking("", 1), "user"),
        (asking(&long, 1), "user"),
        (asking("ann", 0), "k"),
        (asking("ann", 201), "k"),
        (RecommendRequest { context, ..asking("ann", 1) }, "context.segment"),
        (RecommendRequest { exclude: many, ..asking("ann", 1) }, "exclude"),
        (RecommendRequest { exclude: vec!["a".into(), long.clone()], ..asking("ann", 1) }, "exclude[1]"),
    ];
    for (request, field) in table {
        let problem: Problem = router.recommend(request).await.unwrap_err();
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)));
        assert!(!problem.detail.contains("é"));
    }
    assert!(router.flush_windows().iter().all(|window| window.arms.is_empty()));
}
