//! The model's decision: triggers ask, guards hold back, one run at a time.

use fairway_core::endpoint::RolloutResult;
use fairway_core::model::{ModelRequest, RunEnd};

use crate::world::{DAY, World};

#[test]
fn without_a_version_the_first_run_starts_at_once_and_only_once() {
    let mut world = World::new();
    world.days(2);
    assert_eq!(world.started, ["0001-first"]);
    let mut world = World::new();
    world.policy.run_prefix = "recs-".to_owned();
    world.days(2);
    assert_eq!(world.started, ["recs-0001-first"], "where other models' runs are in the same place");
}

#[test]
fn refused_data_are_tried_again_soon_and_leave_the_rest_alone() {
    let mut world = World::new();
    world.look();
    world.end = Some(RunEnd::DataRefused { code: "TooFewRows".into(), why: "12 rows; 1000 are needed".into() });
    world.days(1);
    assert_eq!(world.started.len(), 2);
    assert!(world.said("TooFewRows"));
    assert_eq!(world.status.rejections, 0);
}

#[test]
fn steady_traffic_starts_nothing_until_the_model_is_too_old() {
    let mut world = World::serving();
    world.days(59);
    assert_eq!(world.started, Vec::<String>::new());
    world.days(2);
    assert_eq!(world.started, ["0001-maxage"]);
}

#[test]
fn drift_needs_two_of_three_windows_and_then_starts_one_run() {
    let mut world = World::serving();
    world.days(3);
    world.consumed = [100, 100, 800, 0];
    world.days(1);
    assert_eq!(world.started, Vec::<String>::new());
    world.days(2);
    assert_eq!(world.started, ["0001-drift"]);
}

#[test]
fn a_degraded_champion_steps_back_and_returns_with_its_successor() {
    let mut world = World::serving();
    world.champion_minus_popularity = -0.2;
    world.days(15);
    assert!(world.status.serve_baseline);
    assert_eq!(world.started, ["0001-degradation"]);
    world.end = Some(RunEnd::Registered { version: 2 });
    world.look();
    world.promote(2);
    world.champion_minus_popularity = 0.5;
    world.look();
    assert!(!world.status.serve_baseline);
}

#[test]
fn guards_hold_back_and_say_why() {
    let mut world = World::serving();
    world.consumed = [100, 100, 800, 0];
    world.rollout_active = true;
    world.days(4);
    assert!(world.started.is_empty() && world.said("RolloutActive"));
    world.rollout_active = false;
    world.look();
    assert_eq!(world.started.len(), 1);
    world.end = Some(RunEnd::Rejected { why: "recall".into() });
    world.days(6);
    assert!(world.started.len() == 1 && world.said("Cooldown"));
    world.days(2);
    assert_eq!(world.started.len(), 2);
}

#[test]
fn the_budget_and_the_breaker_make_a_storm_impossible() {
    let mut world = World::serving();
    world.policy.cooldown = DAY / 8;
    world.consumed = [100, 100, 800, 0];
    for _ in 0..4 * 20 {
        if world.status.run.is_some() {
            world.end = Some(RunEnd::Registered { version: 2 });
        }
        world.look();
    }
    assert!(world.started.len() == 6 && world.said("BudgetSpent"));

    let mut world = World::serving();
    world.policy.cooldown = DAY / 8;
    world.consumed = [100, 100, 800, 0];
    for _ in 0..4 * 20 {
        if world.status.run.is_some() {
            world.end = Some(RunEnd::Rejected { why: "recall".into() });
        }
        world.look();
    }
    assert!(world.started.len() == 3 && world.said("BreakerOpen"));
    world.requests = vec![ModelRequest::Start { name: "by-hand".into(), reason: "fixed".into(), force: true }];
    world.look();
    assert_eq!((world.started.last().unwrap().as_str(), world.status.rejections), ("by-hand", 0));
}

#[test]
fn rollbacks_count_as_rejections_once_each() {
    let mut world = World::serving();
    world.ended = vec![("1-v2".into(), RolloutResult::RolledBack)];
    world.days(1);
    assert_eq!(world.status.rejections, 1);
    world.ended.push(("2-v3".into(), RolloutResult::Promoted));
    world.days(1);
    assert_eq!(world.status.rejections, 0);
}

#[test]
fn a_run_by_hand_meets_the_same_guards_unless_forced() {
    let mut world = World::serving();
    world.status.cooldown_until = Some(world.now + DAY);
    let start = |force| ModelRequest::Start { name: "ci-1".into(), reason: "CI".into(), force };
    world.requests = vec![start(false)];
    world.look();
    assert!(world.started.is_empty() && world.said("Cooldown"));
    world.requests = vec![start(true)];
    world.look();
    assert_eq!(world.started, ["ci-1"]);
    world.requests = vec![ModelRequest::Start { name: "ci-2".into(), reason: "CI".into(), force: true }];
    world.look();
    assert!(world.started.len() == 1 && world.said("RunActive"));
}
