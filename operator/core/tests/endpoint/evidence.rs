//! What is proved, and what is not: harm, proof that is asked for, and silence.

use fairway_core::endpoint::{EndpointObserved, RolloutRequest, RolloutResult, decide};
use fairway_core::policy::{EndpointPolicy, Margin, OnInconclusive, OnLowTraffic, OnMissingTelemetry, RolloutGate};
use fairway_wire::Window;

use super::world::{HOUR, LEASE, MINUTE, World, target};

#[test]
fn a_candidate_with_errors_is_rolled_back_within_minutes_and_barred() {
    let mut world = World::with_candidate();
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);
    assert_eq!((world.weight(), world.status.stable.clone()), (0.0, Some(target(1))));
    world.minutes(120);
    assert!(world.status.rollout.is_none(), "barred until somebody says retry");
    world.canary_errors = 0.0;
    assert!(world.ask(RolloutRequest::Retry).contains(&"Retried".to_owned()));
    world.minutes(1);
    assert!(world.status.rollout.is_some());
}

#[test]
fn a_candidate_that_earns_less_is_rolled_back() {
    let mut world = World::with_candidate();
    world.canary_reward = 0.1;
    assert_eq!(world.until_ended(24 * 60), RolloutResult::RolledBack);
    assert_eq!(world.status.history.last().unwrap().reason.code, "Harmful");
}

#[test]
fn reward_that_matures_after_the_promotion_still_reverts() {
    let mut world = World::with_candidate();
    world.policy.reward_within = 12 * HOUR;
    world.policy.bake = HOUR;
    world.canary_reward = 0.1;
    assert_eq!(world.until_ended(24 * 60), RolloutResult::Promoted);
    assert_eq!(world.until_ended(24 * 60), RolloutResult::RolledBack);
    assert_eq!((world.status.stable.clone(), world.champions.as_slice()), (Some(target(1)), [1, 2, 1].as_slice()));
}

#[test]
fn without_telemetry_the_weight_stays_or_the_canary_goes_as_the_policy_says() {
    for (policy, expected) in [(OnMissingTelemetry::Hold, 5.0), (OnMissingTelemetry::Rollback, 0.0)] {
        let mut world = World::with_candidate();
        world.policy.on_missing_telemetry = policy;
        world.minutes(10);
        world.silent = true;
        world.minutes(5 * 60);
        assert_eq!(world.weight(), expected, "{policy:?}");
    }
}

#[test]
fn proof_is_waited_for_when_it_is_asked_for() {
    let mut world = World::with_candidate();
    world.policy.require_proof = true;
    world.policy.gates = vec![RolloutGate::Reward { tolerance: Margin::Relative(0.02) }];
    world.minutes(6 * 60);
    assert_eq!(world.weight(), 50.0, "all steps are done, but 2 % of reward is not proved");
    let mut wide = World::with_candidate();
    wide.policy = EndpointPolicy {
        gates: vec![RolloutGate::Reward { tolerance: Margin::Relative(0.2) }],
        ..world.policy.clone()
    };
    assert_eq!(wide.until_ended(24 * 60), RolloutResult::Promoted);
}

#[test]
fn the_clock_never_promotes_what_nobody_has_judged() {
    for (low, expected) in [(OnLowTraffic::Pause, None), (OnLowTraffic::Rollback, Some(RolloutResult::RolledBack))] {
        let mut world = World::with_candidate();
        world.policy.on_inconclusive = OnInconclusive::Promote;
        world.policy.on_low_traffic = low;
        world.policy.max_duration = 5 * HOUR;
        world.minutes(10);
        world.silent = true;
        world.minutes(5 * 60 + 5);
        let ended = world.status.history.iter().find(|ended| ended.target.version == 2).map(|ended| ended.result);
        assert_eq!(ended, expected, "{low:?}");
        assert_eq!(world.status.stable, Some(target(1)));
    }
}

#[test]
fn a_window_that_comes_twice_counts_once() {
    let mut world = World::with_candidate();
    world.minutes(3);
    let from = world.now;
    world.now += MINUTE;
    let window = world.count(from);
    let plan = |windows: &[Window]| {
        let champion = world.champions.last().copied();
        let observed = EndpointObserved {
            status: &world.status,
            windows,
            wanted: world.wanted.as_ref(),
            ready: &world.ready,
            broken: &world.broken,
            unapproved: &world.unapproved,
            champion,
            acked: 0,
            servers: None,
            requests: &[],
            serve_baseline: false,
            lease: LEASE,
            experiments: &[],
        };
        decide(&world.policy, &observed, world.now)
    };
    let once = plan(std::slice::from_ref(&window));
    assert_eq!(plan(&[window.clone(), window.clone()]).status, once.status);
    assert!(once.status.rollout.unwrap().evidence.canary_requests > 0);
}
