//! What is proved, and what is not: harm, proof that is asked for, and silence.

use std::time::Duration;

use fairway_core::endpoint::{EndpointObserved, RolloutRequest, RolloutResult, decide};
use fairway_core::policy::{
    EndpointPolicy, Margin, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Probability, RolloutGate, Step, Steps,
};
use fairway_wire::{Weight, Window};

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

#[test]
fn a_hundred_routers_prove_what_one_does() {
    let ended = |routers: u64| {
        let mut world = World::with_candidate();
        (world.routers, world.canary_errors) = (routers, 0.02);
        assert_eq!(world.until_ended(60), RolloutResult::RolledBack);
        let last = world.status.history.last().unwrap();
        (last.ended.duration_since(last.started), last.canary_requests, last.reason.clone())
    };
    let one = ended(1);
    assert_eq!(one.2.code, "Harmful");
    for routers in [7, 100] {
        assert_eq!(ended(routers), one, "{routers} routers");
    }
}

/// The numbers of the gate on errors, as people see them.
fn evidence(world: &World) -> String {
    let rollout = world.status.rollout.as_ref().unwrap();
    rollout.evidence.verdicts(&world.policy)[0].message.clone()
}

#[test]
fn a_few_requests_wait_for_more_but_not_for_long() {
    let never = Probability::new(1e-9).unwrap();
    let mut world = World::with_candidate();
    world.policy.false_alarm_rate = never;
    world.minutes(2);
    (world.requests_a_minute, world.canary_errors) = (40, 1.0);
    world.minute(&[]);
    let message = evidence(&world);
    assert!(message.contains("2 of 2 on the canary") && message.contains("harm 0.00 of"), "{message}");
    world.minutes(2);
    let message = evidence(&world);
    assert!(message.contains("6 of 6 on the canary") && !message.contains("harm 0.00 of"), "looked at: {message}");
    // With one a minute five would take five minutes.
    let mut world = World::with_candidate();
    world.policy.false_alarm_rate = never;
    world.minutes(2);
    (world.requests_a_minute, world.canary_errors) = (20, 1.0);
    world.minutes(1);
    world.silent = true;
    world.minutes(9);
    assert!(evidence(&world).contains("harm 0.00 of"), "{}", evidence(&world));
    world.minutes(1);
    assert!(!evidence(&world).contains("harm 0.00 of"), "a lease is over: {}", evidence(&world));
}

#[test]
fn beside_the_baseline_a_candidate_is_judged_by_what_it_earns_and_by_a_rate() {
    let told = |errors: f64, reward: f64| {
        let mut world = World::with_candidate();
        (world.serve_baseline, world.canary_reward) = (true, reward);
        world.minutes(2);
        let plan = world.minute(&[]);
        let said = plan.reasons.iter().find(|reason| reason.code == "NoComparison").expect("it is said");
        assert!(said.message.contains("5.00 %") && said.message.contains("baseline's"), "{said:?}");
        world.canary_errors = errors;
        let result = world.until_ended(24 * 60);
        let last = world.status.history.last().unwrap().clone();
        (result, last.ended.duration_since(last.started).as_mins(), last.reason.message)
    };
    // The baseline never fails; the successor of a degraded champion must not be barred for three errors.
    let (result, _, why) = told(0.01, 0.3);
    assert_eq!(result, RolloutResult::Promoted, "{why}");
    assert!(why.contains("proved not worse on") || why.contains("no harm shown"), "{why}");
    let (result, minutes, why) = told(0.3, 0.3);
    assert_eq!(result, RolloutResult::RolledBack);
    assert!(minutes < 10 && why.starts_with("errors: ") && why.contains("nobody had stable"), "{minutes}: {why}");
    let (result, _, why) = told(0.0, 0.1);
    assert_eq!(result, RolloutResult::RolledBack);
    assert!(why.starts_with("reward: ") && why.contains("against 0.2"), "{why}");
}

#[test]
fn a_step_of_everybody_is_held_against_what_both_had_before() {
    let full = |percents: &[u8]| {
        let step = |percent: &u8| Step { weight: Weight::from_percent(*percent), hold: HOUR, segments: Vec::new() };
        let mut world = World::with_candidate();
        world.policy.steps = Steps::new(percents.iter().map(step).collect()).unwrap();
        world
    };
    for percents in [&[50, 100][..], &[100]] {
        let mut world = full(percents);
        while world.weight() < 100.0 {
            world.minute(&[]);
        }
        let said = world.minute(&[]).reasons;
        assert!(said.iter().any(|reason| reason.code == "NoComparison"), "{said:?}");
        world.canary_errors = 0.2;
        assert_eq!(world.until_ended(10), RolloutResult::RolledBack, "{percents:?}");
        let mut fine = full(percents);
        assert_eq!(fine.until_ended(4 * 60), RolloutResult::Promoted, "{percents:?}");
    }
}

#[test]
fn gates_are_those_of_the_start() {
    let mut world = World::with_candidate();
    world.minutes(5);
    assert!(evidence(&world).contains("of the 3.69 needed"), "two gates: {}", evidence(&world));
    // One gate less must not make the evidence that is there prove more.
    world.policy.gates = vec![RolloutGate::Errors { tolerance: 0.0 }];
    let said = world.minute(&[]).reasons;
    assert!(said.iter().any(|reason| reason.code == "RulesAreFixed"), "{said:?}");
    assert!(evidence(&world).contains("of the 3.69 needed"), "{}", evidence(&world));
    world.policy.gates.clear();
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack, "though no gate asks for it any more");
}

#[test]
fn what_is_slow_stays_what_it_was_at_the_start() {
    let slow = |millis| RolloutGate::Slow { over: Duration::from_millis(millis), tolerance: 0.2 };
    let mut world = World::with_candidate();
    world.policy.gates = vec![slow(50)];
    world.minutes(5);
    (world.policy.gates, world.policy.slow_over) = (vec![slow(200)], Duration::from_millis(200));
    world.minutes(5);
    assert_eq!(world.route.as_ref().unwrap().slow_over_ms, 50);
    assert_eq!(world.until_ended(4 * 60), RolloutResult::Promoted);
    assert_eq!(world.route.as_ref().unwrap().slow_over_ms, 200);
}

#[test]
fn a_rollout_that_was_stored_without_its_rules_keeps_those_of_the_next_look() {
    let mut world = World::with_candidate();
    world.minutes(5);
    let mut stored = serde_json::to_value(&world.status).unwrap();
    let evidence = stored["rollout"]["evidence"].as_object_mut().unwrap();
    assert!(evidence.remove("rules").is_some());
    evidence.remove("gathered");
    world.status = serde_json::from_value(stored).unwrap();
    assert!(!world.minute(&[]).reasons.iter().any(|reason| reason.code == "RulesAreFixed"));
    world.policy.gates.pop();
    assert!(world.minute(&[]).reasons.iter().any(|reason| reason.code == "RulesAreFixed"));
    assert_eq!(world.status.rollout.as_ref().unwrap().evidence.verdicts(&world.policy).len(), 2);
}
