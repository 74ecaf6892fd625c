//! Users in experiments: which version answers them, and what is counted for their arm.

use std::collections::BTreeSet;

use fairway_wire::{Portion, Reason, Rung, Slice, Span, Treatment};

use super::*;

/// All users, half of them in `control` (version 1), half in `b`.
fn experiment(b: Treatment) -> Slice {
    let arm = |name: &str, treatment, from, to| Portion { arm: name.into(), treatment, span: Span { from, to } };
    Slice {
        experiment: "diversity".into(),
        layer: "ranking".into(),
        spans: vec![Span { from: 0, to: 1_000_000 }],
        arms: vec![arm("control", Treatment::Version(target(1)), 0, 500_000), arm("b", b, 500_000, 1_000_000)],
    }
}

fn with(generation: u64, b: Treatment) -> Route {
    Route { experiments: vec![experiment(b)], ..route(generation, None) }
}

async fn ask(router: &Router, user: &str) -> RecommendResponse {
    router.recommend(asking(user, 3)).await.unwrap()
}

/// A user of each arm.
async fn two(router: &Router) -> (String, String) {
    let mut found = (None, None);
    for user in (0..).map(|i| format!("user-{i}")) {
        match ask(router, &user).await.arm.as_str() {
            "diversity/control" => found.0 = Some(user),
            "diversity/b" => found.1 = Some(user),
            other => panic!("{other}"),
        }
        if let (Some(control), Some(b)) = found.clone() {
            return (control, b);
        }
    }
    unreachable!()
}

#[tokio::test]
async fn each_arm_gets_its_version_and_is_counted_by_itself() {
    let (router, clock) = router(Manner::Reverse);
    router.set_route(with(1, Treatment::Version(target(2))));
    let users: Vec<String> = (0..200).map(|i| format!("user-{i}")).collect();
    for user in users.iter().chain(&users) {
        let answer = ask(&router, user).await;
        let version = if answer.arm == "diversity/b" { 2 } else { 1 };
        assert_eq!((answer.version, answer.track, answer.reason), (version, Track::Experiment, Reason::Ok));
    }
    clock.advance(60_000);
    let window = merged(router.take_windows());
    let mut places = BTreeSet::new();
    let mut requests = 0;
    for (key, arm) in &window.arms {
        assert_eq!(key.track, Track::Experiment);
        assert!(["diversity/control", "diversity/b"].contains(&key.arm.as_str()), "{}", key.arm);
        assert!(arm.new_users.iter().all(|place| places.insert(*place)), "a place counts once");
        requests += arm.requests;
    }
    // 200 users meet at 0.3 places of 65,536 on average.
    assert!((197..=200).contains(&places.len()), "{}", places.len());
    assert_eq!(requests, 400);
    // Another route: nobody is new again.
    router.set_route(with(2, Treatment::Version(target(2))));
    ask(&router, &users[0]).await;
    clock.advance(60_000);
    assert!(merged(router.take_windows()).arms.values().all(|arm| arm.new_users.is_empty()));
    let decisions = router.take_decisions();
    assert!(decisions.iter().all(|one| one.arm.starts_with("diversity/") && one.propensity == 0.5));
}

#[tokio::test]
async fn an_arm_of_the_baseline_is_held_back() {
    let (router, clock) = router(Manner::Good);
    router.set_route(with(1, Treatment::Baseline));
    let (_, b) = two(&router).await;
    let answer = ask(&router, &b).await;
    assert_eq!((names(&answer), answer.version, answer.reason), (vec!["j", "i", "h"], 0, Reason::Holdback));
    clock.advance(60_000);
    let window = merged(router.take_windows());
    let arm = window.arms.iter().find(|(key, _)| key.arm == "diversity/b").unwrap();
    assert_eq!((arm.0.digest.as_str(), arm.1.errors_total()), ("", 0));
}

#[tokio::test]
async fn an_arm_that_fails_is_answered_by_stable_and_counts_as_failed() {
    let (router, clock) = router(Manner::Fails);
    router.set_route(with(1, Treatment::Version(target(2))));
    let (_, b) = two(&router).await;
    let answer = ask(&router, &b).await;
    assert_eq!((answer.served_by, answer.reason, answer.version), (Rung::Stable, Reason::ModelError, 1));
    clock.advance(60_000);
    let window = merged(router.take_windows());
    let failed: u64 =
        window.arms.iter().filter(|(key, _)| key.arm == "diversity/b").map(|one| one.1.errors_total()).sum();
    assert!(failed >= 1);
}

#[tokio::test]
async fn rewards_are_the_arms_also_after_a_restart() {
    let (router, clock) = router(Manner::Good);
    router.set_route(with(1, Treatment::Version(target(2))));
    let (_, user) = two(&router).await;
    let bytes = router.snapshot();
    let (again, clock_again) = bare(config());
    again.restore(&bytes).unwrap();
    again.install(&target(1), fake(Manner::Good), profile());
    clock_again.advance(1);
    again.event(bought(&user, "a")).await.unwrap();
    let within = i64::try_from(config().reward_within.as_secs()).unwrap();
    clock.advance(1);
    clock_again.advance((within + 60) * 1_000);
    let window = merged(again.flush_windows());
    let arm = window.arms.iter().find(|(key, _)| key.arm == "diversity/b").map(|(_, arm)| arm);
    let rewards: f64 = arm.unwrap().reward.values().map(|cells| cells.sum()).sum();
    assert!(rewards >= 1.0, "{rewards}");
}

#[tokio::test]
async fn whoever_aborts_ends_it_until_the_next_route() {
    let (router, _) = router(Manner::Good);
    router.set_route(with(1, Treatment::Version(target(2))));
    router.abort();
    assert_eq!(ask(&router, "ann").await.track, Track::Stable);
    router.set_route(with(2, Treatment::Version(target(2))));
    assert_eq!(ask(&router, "ann").await.track, Track::Experiment);
}
