//! The model's decision: triggers ask, guards hold back, one run at a time.

use fairway_core::endpoint::RolloutResult;
use fairway_core::model::{ModelRequest, RunEnd};

use crate::world::{DAY, World, registered, rejected};

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

/// A person who has mended the manifest need not wait for the end of a cooldown; nobody else's change shortens one.
#[test]
fn a_mended_manifest_is_tried_at_once_after_a_run_that_came_to_nothing() {
    let refused = || RunEnd::DataRefused { code: "AccessDenied".into(), why: "no such file".into() };
    let failed = || RunEnd::Failed { why: "no such family".into() };
    let cancelled = || RunEnd::Cancelled { why: "by a person".into() };
    let table = [
        (refused(), "typo", "mended", true),
        (failed(), "typo", "mended", true),
        (refused(), "typo", "typo", false),
        // Not known, before or now.
        (refused(), "", "mended", false),
        (refused(), "typo", "", false),
        // Judged, or ended by a person: the cooldown is about the model.
        (rejected(), "typo", "mended", false),
        (cancelled(), "typo", "mended", false),
        (registered(), "typo", "mended", false),
    ];
    for (end, before, now, starts) in table {
        let mut world = World::new();
        before.clone_into(&mut world.policy.run.recipe);
        world.look();
        world.end = Some(end.clone());
        world.look_after(DAY / 100);
        assert_eq!(world.started.len(), 1, "the cooldown has begun");
        now.clone_into(&mut world.policy.run.recipe);
        world.look_after(DAY / 100);
        assert_eq!(world.started.len(), if starts { 2 } else { 1 }, "{end:?} {before:?} {now:?}");
        // The same once more comes to nothing as well: the manifest holds back no second cooldown.
        world.end = world.status.run.as_ref().map(|_| end.clone());
        world.look_after(DAY / 100);
        world.look_after(DAY / 100);
        assert_eq!(world.started.len(), if starts { 2 } else { 1 }, "{end:?} {before:?} {now:?}");
    }
}

#[test]
fn who_waits_is_told_what_ends_it() {
    for (end, cure) in [
        (
            RunEnd::Failed { why: "f".into() },
            "at once when data or trainer of the manifest are mended, or by `fairway run",
        ),
        (rejected(), "at once by `fairway run start --force`"),
    ] {
        let mut world = World::new();
        world.look();
        world.end = Some(end);
        world.look_after(DAY / 100);
        let held = &world.condition("RetrainSuppressed").unwrap().reason;
        assert!(held.code == "Cooldown" && held.message.contains(cure), "{held:?}");
    }
    let mut world = World::new();
    world.look();
    world.end = Some(RunEnd::DataRefused { code: "AccessDenied".into(), why: "no such file".into() });
    world.look_after(DAY / 100);
    let said = world.reasons.iter().find(|reason| reason.code == "AccessDenied").unwrap();
    assert!(said.message.ends_with("no such file; there is no version yet"), "{said:?}");
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
