//! What people ask, agree to and forbid.

use fairway_core::endpoint::{RolloutRequest, RolloutResult};
use fairway_core::policy::Freeze;

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
    assert!(world.weight() > 5.0 || world.status.rollout.as_ref().is_some_and(|rollout| rollout.paused.is_some()));

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
