//! Versions that are not there: no user is sent to one.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_core::endpoint::{EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, decide};

use super::world::{HOUR, MINUTE, World, target};

#[test]
fn a_candidate_that_cannot_be_loaded_never_gets_a_user() {
    let mut world = World::with_candidate();
    world.broken.insert(target(2).digest, "golden answers differ".to_owned());
    world.minutes(60);
    assert!(world.status.rollout.is_none() && world.weight() == 0.0);
    assert!(world.status.barred.contains_key(&target(2).digest));
}

#[test]
fn nobody_promotes_by_hand_what_is_not_loaded() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.ready.remove(&target(2).digest);
    let said = world.ask(RolloutRequest::Promote { full: true });
    assert!(said.contains(&"Loading".to_owned()), "{said:?}");
    assert_eq!((world.status.stable.clone(), world.weight()), (Some(target(1)), 0.0));
}

#[test]
fn a_version_that_never_loads_is_given_up() {
    let mut world = World::with_candidate();
    world.wanted = None;
    let observed = |world: &World, status: &EndpointStatus, now| {
        let (wanted, ready) = (target(2), BTreeSet::from([target(1).digest]));
        let observed = EndpointObserved {
            status,
            windows: &[],
            wanted: Some(&wanted),
            ready: &ready,
            broken: &world.broken,
            unapproved: &world.unapproved,
            champion: Some(1),
            acked: 9,
            servers: None,
            requests: &[],
            serve_baseline: false,
            lease: Duration::from_secs(30),
            experiments: &[],
        };
        decide(&world.policy, &observed, now)
    };
    let mut status = world.status.clone();
    let mut now = world.now;
    let mut loads = 0;
    while status.barred.is_empty() {
        let plan = observed(&world, &status, now);
        loads += plan.effects.iter().filter(|effect| matches!(effect, EndpointEffect::Load { .. })).count();
        status = plan.status;
        now += 2 * MINUTE;
        assert!(now < world.now + 2 * HOUR);
    }
    assert!(loads > 20, "asked for again and again");
}
