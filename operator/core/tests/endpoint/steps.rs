//! How a rollout goes on: steps, holds, time, and what routers hear.

use fairway_core::endpoint::RolloutResult;

use super::world::{HOUR, World, target};

#[test]
fn the_first_version_serves_everybody_at_once() {
    let mut world = World::new();
    world.wanted = Some(target(1));
    world.minutes(2);
    assert_eq!(world.status.stable, Some(target(1)));
    assert_eq!((world.champions.as_slice(), world.weight()), ([1].as_slice(), 0.0));
}

#[test]
fn an_equal_candidate_climbs_all_steps_and_is_promoted_after_its_holds() {
    let mut world = World::with_candidate();
    let mut weights = Vec::new();
    let started = world.now;
    let result = loop {
        world.minute(&[]);
        if weights.last() != Some(&world.weight()) {
            weights.push(world.weight());
        }
        if let Some(ended) = world.status.history.iter().find(|ended| ended.target.version == 2) {
            break ended.result;
        }
    };
    assert_eq!(result, RolloutResult::Promoted);
    assert_eq!(weights, [0.0, 5.0, 25.0, 50.0, 0.0]);
    assert!(world.now.duration_since(started).as_secs() >= (2 * HOUR + HOUR / 2).as_secs() as i64);
    assert_eq!(world.champions, [1, 2]);
    // The former version is kept until the bake is over.
    assert!(world.ready.contains(&target(1).digest));
    world.minutes(3 * 60);
    assert!(world.status.bake.is_none() && !world.ready.contains(&target(1).digest));
}

#[test]
fn a_step_waits_for_enough_answers_at_its_own_weight() {
    let mut world = World::with_candidate();
    world.requests_a_minute = 100;
    world.minutes(60);
    // 5 a minute: after an hour there are 300 of 500, although the hold is over.
    assert_eq!(world.weight(), 5.0);
    world.minutes(60);
    assert_eq!(world.weight(), 25.0);
}

#[test]
fn a_newer_candidate_takes_the_place_of_the_one_on_trial() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.wanted = Some(target(3));
    assert_eq!(world.until_ended(5), RolloutResult::Superseded);
    world.minutes(3);
    assert_eq!(world.status.rollout.as_ref().unwrap().candidate, target(3));
    assert_eq!(world.weight(), 5.0);
}

#[test]
fn no_rollout_and_no_pause_lasts_for_ever() {
    let mut world = World::with_candidate();
    world.requests_a_minute = 20;
    world.policy.max_duration = 5 * HOUR;
    world.minutes(5 * 60 + 5);
    assert!(world.status.rollout.as_ref().unwrap().paused.is_some(), "onInconclusive: Pause");
    assert_eq!(world.until_ended(5 * 60 + 5), RolloutResult::RolledBack);
}

#[test]
fn the_lease_is_renewed_without_a_new_generation() {
    let mut world = World::with_candidate();
    world.minutes(5);
    let before = world.route.clone().unwrap();
    world.minutes(20);
    let after = world.route.clone().unwrap();
    assert_eq!(before.generation, after.generation);
    assert!(after.lease_until > before.lease_until && after.lease_until.unwrap() > world.now);
}

#[test]
fn a_version_goes_only_when_every_router_has_a_route_without_it() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);
    assert!(world.ready.contains(&target(2).digest), "its last requests may be on their way");
    world.minutes(1);
    assert!(!world.ready.contains(&target(2).digest));
}
