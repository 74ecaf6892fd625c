//! What holds a run back, and that it is said.

use std::time::Duration;

use fairway_core::Reason;
use fairway_core::endpoint::RolloutResult;
use fairway_core::model::RunEnd;

use crate::world::{DAY, World, registered, rejected};

#[test]
fn a_rollout_is_followed_by_quiet_time() {
    let mut world = World::serving();
    world.policy.after_rollout = 3 * DAY;
    world.drift();
    world.rollout_active = true;
    world.days(4);
    world.rollout_active = false;
    world.ended = vec![("1-v2".into(), RolloutResult::RolledBack)];
    world.days(3);
    assert!(world.started.is_empty() && world.said("RolloutActive") && world.said("AfterRollout"));
    world.ask("by-hand", false);
    world.look_after(Duration::ZERO + Duration::from_millis(1));
    world.look();
    assert_eq!(world.started.len(), 1);
}

#[test]
fn rewards_must_be_mature_since_the_promotion() {
    let mut world = World::serving();
    world.policy.reward_within = 10 * DAY;
    world.drift();
    world.days(9);
    assert!(world.started.is_empty() && world.said("LabelsImmature"));
    // A person may judge otherwise.
    world.ask("by-hand", false);
    world.look();
    assert_eq!(world.started, ["by-hand"]);
    let mut world = World::serving();
    world.policy.reward_within = 10 * DAY;
    world.drift();
    world.days(11);
    assert_eq!(world.started, ["0001-drift"]);
}

#[test]
fn the_breaker_half_opens_for_one_trial() {
    let mut world = World::serving();
    (world.policy.cooldown, world.policy.half_open_after) = (DAY / 8, Some(30 * DAY));
    world.drift();
    world.days_ending(20, &rejected());
    assert!(world.started.len() == 3 && world.said("BreakerOpen") && !world.said("BreakerHalfOpen"));
    let suspended = world.condition("AutomationSuspended").unwrap();
    assert!(suspended.reason.message.contains("one run is tried in"), "{suspended:?}");
    world.days_ending(14, &rejected());
    assert!(world.started.len() == 4 && world.said("BreakerHalfOpen"));
    assert_eq!(world.status.rejections, 4);
    // Rejected again: open for as long again.
    world.days_ending(28, &rejected());
    assert_eq!(world.started.len(), 4);
    // The next trial registers a version: no second one while its verdict is out.
    world.days_ending(10, &registered());
    assert_eq!(world.started.len(), 5);
    world.ended = vec![("1-v2".into(), RolloutResult::Promoted)];
    world.promote(2);
    world.days_ending(5, &registered());
    assert_eq!(world.status.rejections, 0);
    assert!(world.started.len() > 5 && world.condition("AutomationSuspended").is_none());
}

#[test]
fn a_trial_that_was_not_judged_is_repeated() {
    let mut world = World::serving();
    (world.policy.cooldown, world.policy.half_open_after, world.policy.breaker) = (DAY / 2, Some(5 * DAY), 1);
    world.drift();
    world.days_ending(4, &rejected());
    assert_eq!(world.started.len(), 1);
    let refused = RunEnd::DataRefused { code: "DataStale".into(), why: "2d old".into() };
    world.days_ending(6, &refused);
    assert!(world.started.len() > 2, "{:?}", world.started);
}

#[test]
fn nobody_passes_what_is_known_to_be_wrong_with_the_data() {
    let mut world = World::serving();
    world.data_fault = Some(Reason::new("DataStale", "the newest row is 3d old, freshness is 36h: mend the pipeline"));
    world.drift();
    world.days(4);
    world.ask("by-hand", true);
    world.look();
    assert!(world.started.is_empty() && world.said("DataStale"));
    assert_eq!(world.condition("DataReady").unwrap().reason.code, "DataStale");
    world.data_fault = None;
    world.look();
    assert_eq!(world.started, ["0001-drift"]);
}

#[test]
fn nothing_starts_while_a_model_is_suspended_and_what_runs_goes_on() {
    let mut world = World::serving();
    world.policy.suspended = true;
    world.look();
    assert_eq!(world.condition("RetrainSuppressed").unwrap().reason.code, "Suspended", "said before anything asks");
    world.drift();
    world.days(4);
    world.ask("by-hand", true);
    world.look();
    assert!(world.started.is_empty() && world.said("Suspended"));
    world.policy.suspended = false;
    world.look();
    assert_eq!(world.started, ["0001-drift"]);
    world.policy.suspended = true;
    world.look();
    assert_eq!(world.status.run.as_ref().map(|run| run.name.as_str()), Some("0001-drift"));
}

#[test]
fn each_trigger_that_is_held_back_is_written_down() {
    let mut world = World::serving();
    world.policy.max_age = Some(10 * DAY);
    world.policy.schedule = Some("0 3 * * *".parse().unwrap());
    world.status.cooldown_until = Some(world.now + 40 * DAY);
    world.drift();
    world.champion_minus_popularity = -0.2;
    world.days(20);
    let held: Vec<(&str, &str)> =
        world.status.held_back.iter().map(|held| (held.trigger.as_str(), held.by.code.as_str())).collect();
    let expected = ["Degradation", "Drift", "Schedule", "MaxAge"].map(|trigger| (trigger, "Cooldown"));
    assert_eq!(held, expected);
    let since: Vec<_> = world.status.held_back.iter().map(|held| held.since).collect();
    world.days(1);
    assert_eq!(world.status.held_back.iter().map(|held| held.since).collect::<Vec<_>>(), since);
    world.days(20);
    assert_eq!(world.started, ["0001-degradation"]);
    assert!(world.status.held_back.iter().all(|held| held.by.code == "RunActive"), "{:?}", world.status.held_back);
}

#[test]
fn a_large_budget_is_counted_whole() {
    let mut world = World::serving();
    (world.policy.cooldown, world.policy.budget_runs) = (Duration::ZERO, 150);
    world.drift();
    world.days(4);
    for _ in 0..400 {
        world.end = world.status.run.as_ref().map(|_| registered());
        world.look_after(Duration::from_secs(60));
    }
    assert!(world.started.len() == 150 && world.said("BudgetSpent"), "{}", world.started.len());
}

#[test]
fn a_promotion_that_is_taken_back_in_its_bake_counts_as_both() {
    let mut world = World::serving();
    world.ended = vec![("shop/1-v2".into(), RolloutResult::RolledBack), ("shop/2-v3".into(), RolloutResult::Promoted)];
    world.days(1);
    assert_eq!(world.status.rejections, 0, "a promotion closes the breaker");
    world.ended.push(("shop/2-v3".into(), RolloutResult::RolledBack));
    world.days(2);
    assert_eq!(world.status.rejections, 1, "once");
    world.ended.push(("shop/3-v3".into(), RolloutResult::Superseded));
    world.days(1);
    assert_eq!(world.status.rejections, 1);
}

#[test]
fn endpoints_of_a_model_count_each_for_itself_and_each_end_once() {
    let rolled_back = |endpoint: &str, n: usize| {
        (1..=n).map(|at| (format!("{endpoint}/{at}-v{at}"), RolloutResult::RolledBack)).collect::<Vec<_>>()
    };
    let mut world = World::serving();
    world.ended = [rolled_back("shop", 90), rolled_back("mail", 90)].concat();
    world.days(3);
    assert_eq!(world.status.rejections, 180, "the same numbers, and longer than what is kept of one");
    // One of them is silent for a while.
    world.ended = rolled_back("shop", 90);
    world.days(3);
    world.ended = [rolled_back("shop", 91), rolled_back("mail", 90)].concat();
    world.days(3);
    assert_eq!(world.status.rejections, 181);
    assert!(world.status.counted_rollouts.len() <= 1_000);
}

#[test]
fn what_an_earlier_version_has_counted_does_not_count_again() {
    let mut world = World::serving();
    world.status.counted_rollouts = vec!["1-v2".into(), "2-v3".into()];
    world.ended = vec![("shop/1-v2".into(), RolloutResult::RolledBack), ("shop/2-v3".into(), RolloutResult::Promoted)];
    world.days(1);
    assert_eq!(world.status.rejections, 0);
    world.ended.push(("shop/2-v3".into(), RolloutResult::RolledBack));
    world.days(1);
    assert_eq!(world.status.rejections, 1, "in its bake");
}
