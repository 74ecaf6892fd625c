//! What people ask, agree to and forbid.

use fairway_core::endpoint::{RolloutRequest, RolloutResult};
use fairway_core::policy::{Freeze, Step, Steps};
use fairway_wire::Weight;

use super::world::{HOUR, World, target};

#[test]
fn people_pause_resume_promote_and_abort() {
    let mut world = World::with_candidate();
    world.minutes(3);
    assert!(world.ask(RolloutRequest::Pause).contains(&"Paused".to_owned()));
    world.minutes(5 * 60);
    assert_eq!(world.weight(), 5.0, "a pause freezes the weight");
    assert!(world.ask(RolloutRequest::Promote { full: false }).contains(&"StepUp".to_owned()));
    assert_eq!(world.weight(), 25.0);
    assert!(world.ask(RolloutRequest::Abort).contains(&"RolledBack".to_owned()));
    assert_eq!(world.weight(), 0.0);
    assert!(world.ask(RolloutRequest::Abort).contains(&"NothingToAbort".to_owned()));
}

#[test]
fn harm_rolls_back_while_paused() {
    let mut world = World::with_candidate();
    world.minutes(3);
    world.ask(RolloutRequest::Pause);
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);
}

#[test]
fn a_promotion_by_hand_can_be_undone() {
    let mut world = World::with_candidate();
    world.minutes(3);
    world.ask(RolloutRequest::Promote { full: true });
    assert_eq!(world.status.stable, Some(target(2)));
    assert!(world.ask(RolloutRequest::Undo { to: None }).contains(&"Undone".to_owned()));
    assert_eq!((world.status.stable.clone(), world.champions.as_slice()), (Some(target(1)), [1, 2, 1].as_slice()));
}

#[test]
fn a_paused_rollout_that_ran_out_of_time_goes_on_when_it_is_resumed() {
    let mut world = World::with_candidate();
    world.requests_a_minute = 20;
    world.policy.max_duration = 5 * HOUR;
    world.minutes(5 * 60 + 5);
    assert!(world.status.rollout.as_ref().unwrap().paused.is_some());
    assert!(world.ask(RolloutRequest::Resume).contains(&"Resumed".to_owned()));
    world.requests_a_minute = 1_000;
    assert_eq!(world.until_ended(4 * 60), RolloutResult::Promoted);
}

#[test]
fn undoing_twice_never_goes_back_to_what_was_undone() {
    let mut world = World::with_candidate();
    assert_eq!(world.until_ended(24 * 60), RolloutResult::Promoted);
    world.minutes(3 * 60);
    assert!(world.status.bake.is_none());
    // The former version is fetched again first, and then takes over by itself.
    assert!(world.ask(RolloutRequest::Undo { to: None }).contains(&"Loading".to_owned()));
    assert_eq!(world.status.stable, Some(target(2)));
    world.minutes(1);
    assert_eq!(world.status.stable, Some(target(1)));
    let last = world.status.history.last().unwrap();
    assert_eq!((last.target.clone(), last.result), (target(2), RolloutResult::RolledBack));
    assert!(world.ask(RolloutRequest::Undo { to: None }).contains(&"NothingToUndo".to_owned()));
    assert_eq!(world.status.stable, Some(target(1)));
}

#[test]
fn nothing_goes_forward_in_a_freeze_and_harm_still_rolls_back() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.policy.freezes = vec![Freeze::Once { from: world.now, until: world.now + 100 * HOUR }];
    world.minutes(99 * 60);
    assert_eq!(world.weight(), 5.0, "longer than maxDuration, and still there");
    world.minutes(120);
    assert!(world.weight() > 5.0, "the freeze took nothing of the time that it may take");
    assert_eq!(world.until_ended(4 * 60), RolloutResult::Promoted);

    let mut world = World::with_candidate();
    world.minutes(5);
    world.policy.freezes = vec![Freeze::Once { from: world.now, until: world.now + 100 * HOUR }];
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);

    let mut world = World::with_candidate();
    world.policy.freezes = vec![Freeze::Once { from: world.now, until: world.now + HOUR }];
    world.minutes(59);
    assert!(world.status.rollout.is_none());
    world.minutes(5);
    assert!(world.status.rollout.is_some());
}

#[test]
fn an_approval_that_is_missing_or_taken_back_keeps_a_version_from_every_user() {
    let mut world = World::with_candidate();
    world.unapproved.insert(target(2).digest, "1 of 2 approvals".to_owned());
    world.minutes(30);
    assert!(world.status.rollout.is_none());
    world.unapproved.clear();
    world.minutes(5);
    assert_eq!(world.weight(), 5.0);
    world.unapproved.insert(target(2).digest, "eve took her approval back".to_owned());
    assert_eq!(world.until_ended(2), RolloutResult::RolledBack);
}

#[test]
fn a_freeze_adds_its_own_length_to_the_time_limit_and_no_more() {
    let mut world = World::with_candidate();
    (world.policy.min_requests, world.policy.max_duration) = (1_000_000, 5 * HOUR);
    world.minutes(60);
    world.policy.freezes = vec![Freeze::Once { from: world.now, until: world.now + 9 * HOUR }];
    let paused = |world: &World| world.status.rollout.as_ref().unwrap().paused.is_some();
    world.minutes((9 + 4) * 60 - 5);
    assert!(!paused(&world), "an hour before the freeze, and not quite four after it");
    world.minutes(10);
    assert!(paused(&world), "five hours in all");
}

#[test]
fn steps_that_are_raised_take_nobody_further_by_themselves() {
    let step = |percent| Step { weight: Weight::from_percent(percent), hold: HOUR, segments: Vec::new() };
    let steps = |percents: [u8; 3]| Steps::new(percents.map(step).to_vec()).unwrap();
    let mut world = World::with_candidate();
    world.minutes(10);
    world.policy.steps = steps([20, 40, 60]);
    let mut weights = Vec::new();
    for _ in 0..5 * 60 {
        world.minute(&[]);
        let at = (world.weight(), world.now.duration_since(world.status.history[0].ended).as_mins() / 30);
        if weights.last().is_none_or(|(weight, _)| *weight != at.0) {
            weights.push(at);
        }
    }
    assert_eq!(weights, [(5.0, 0), (20.0, 2), (40.0, 4), (60.0, 6), (0.0, 8)], "by half hours");
    // Lowered ones take users back at once.
    let mut world = World::with_candidate();
    world.minutes(60);
    assert_eq!(world.weight(), 25.0);
    world.policy.steps = steps([5, 10, 50]);
    world.minutes(1);
    assert_eq!(world.weight(), 10.0);
}

#[test]
fn no_rollout_begins_while_a_way_back_waits_for_its_version() {
    let mut world = World::with_candidate();
    assert_eq!(world.until_ended(24 * 60), RolloutResult::Promoted);
    let bake_is_over = world.now + 2 * HOUR;
    while world.now < bake_is_over {
        world.minute(&[]);
    }
    world.never_loads = Some(target(9));
    world.wanted = Some(target(3));
    world.ask(RolloutRequest::Undo { to: Some(target(9)) });
    world.minutes(10);
    assert!(world.status.bake.is_none() && world.status.returning.is_some());
    assert!(world.status.rollout.is_none(), "{:?}", world.status.rollout);
    world.never_loads = None;
    world.minutes(2);
    assert_eq!(world.status.stable, Some(target(9)));
    let rollout = world.status.rollout.as_ref();
    assert!(rollout.is_none_or(|rollout| rollout.evidence.canary_requests == 0), "judged beside version 9 alone");
}
