//! What is logged is what was answered.

use super::*;

#[tokio::test]
async fn a_decision_says_what_the_answer_said() {
    let (router, clock) = router(Manner::Reverse);
    let mut route = route(4, Some(25));
    route.holdback = Weight::from_percent(10);
    router.set_route(route);
    let mut request = asking("ann", 3);
    request.context.segment = Some("UK".into());
    let answer = router.recommend(request).await.unwrap();
    let logged = router.take_decisions().remove(0);
    assert_eq!(logged.decision, answer.decision);
    assert_eq!(logged.items, names(&answer));
    assert_eq!(logged.scores, answer.items.iter().map(|one| one.score).collect::<Vec<_>>());
    assert_eq!((logged.track, logged.served_by, logged.reason), (answer.track, answer.served_by, answer.reason));
    assert_eq!((logged.generation, logged.time, &*logged.segment), (4, clock.now(), "UK"));
    let expected = match answer.track {
        Track::Stable => (0.675, target(1).digest),
        Track::Canary => (0.225, target(2).digest),
        Track::Holdback | Track::Experiment => (0.1, String::new()),
    };
    assert_eq!((logged.propensity, logged.digest), expected);
    let id = crate::DecisionId::verify(&answer.decision, &Pseudonyms::new(b"test key")).unwrap();
    assert_eq!((u64::from(id.version), id.time_ms), (answer.version, START_MS));
    assert_eq!(f64::from(id.propensity_ppm) / 1e6, expected.0);
    assert!(router.take_decisions().is_empty());
}

#[tokio::test]
async fn an_overloaded_router_answers_from_popularity_and_counts_for_the_assigned_arm() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(1, Some(100)));
    let answer = router.recommend_cheaply(asking("ann", 2)).unwrap();
    assert_eq!((names(&answer), answer.track), (vec!["j", "i"], Track::Canary));
    let canary = arm(&merged(router.flush_windows()), 2, Track::Canary);
    assert_eq!((canary.requests, canary.errors_total(), canary.latency.count()), (1, 0, 0));
    assert_eq!(canary.fallbacks[&fairway_wire::Reason::Overloaded], 1);
}
