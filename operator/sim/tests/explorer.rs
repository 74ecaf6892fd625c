//! Every state of a small world keeps every promise; the mistakes that are planted on purpose are found.

use std::time::Duration;

use fairway_core::planted::{Bug, plant};
use fairway_core::policy::{
    EndpointPolicy, Freeze, Margin, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Probability, RolloutGate, Step,
    Steps,
};
use fairway_sim::explore::{TICK, explore, start};
use fairway_wire::Weight;

/// Ticks from the start that are explored.
const DEPTH: u64 = 6;
/// States that can be reached within them.
const STATES: [(&str, usize); 5] = [
    ("defaults", 64_584),
    ("promotes what is inconclusive", 63_390),
    ("rolls back whatever is in doubt", 63_666),
    ("takes no notice of silence, and freezes", 50_308),
    ("asks what it earned", 58_324),
];
/// Mistakes that show within so few ticks of one endpoint.
const BUGS: [Bug; 15] = [
    Bug::EvidenceKeptOnStep,
    Bug::HoldIgnored,
    Bug::PromotedOnSilence,
    Bug::RollbackAfterRegistry,
    Bug::StableUnloadedBeforeBake,
    Bug::UnloadedBeforeRouted,
    Bug::BarForgotten,
    Bug::WindowsCountedTwice,
    Bug::PauseForever,
    Bug::HarmIgnoredWhilePaused,
    Bug::FrozenIgnored,
    Bug::BakeWithoutHarm,
    Bug::ChampionMovedOnce,
    Bug::UnapprovedServed,
    Bug::SilenceIgnored,
];

fn step(percent: u8) -> Step {
    Step { weight: Weight::from_percent(percent), hold: TICK, segments: Vec::new() }
}

fn policy() -> EndpointPolicy {
    EndpointPolicy {
        steps: Steps::new(vec![step(5), step(25), step(50)]).unwrap(),
        min_requests: 60,
        gates: vec![RolloutGate::Errors { tolerance: 0.1 }],
        require_proof: false,
        shadow: false,
        false_alarm_rate: Probability::new(0.05).unwrap(),
        max_duration: 5 * TICK,
        on_inconclusive: OnInconclusive::Pause,
        on_missing_telemetry: OnMissingTelemetry::Hold,
        on_low_traffic: OnLowTraffic::Pause,
        freezes: Vec::new(),
        bake: 2 * TICK,
        reward_within: TICK,
        promotes: true,
        holdback: Weight::ZERO,
        slow_over: Duration::from_millis(50),
        deadline: Duration::from_millis(250),
        scaling: None,
    }
}

/// Policies that answer every question that a policy is asked differently.
fn policies() -> Vec<(&'static str, EndpointPolicy)> {
    let freeze = |from, until| Freeze::Once { from: start() + from * TICK, until: start() + until * TICK };
    let promoting = EndpointPolicy { on_inconclusive: OnInconclusive::Promote, ..policy() };
    vec![
        ("defaults", policy()),
        ("promotes what is inconclusive", EndpointPolicy { max_duration: 2 * TICK, ..promoting }),
        (
            "rolls back whatever is in doubt",
            EndpointPolicy {
                on_inconclusive: OnInconclusive::Rollback,
                on_low_traffic: OnLowTraffic::Rollback,
                on_missing_telemetry: OnMissingTelemetry::Rollback,
                max_duration: 3 * TICK,
                require_proof: true,
                ..policy()
            },
        ),
        (
            "takes no notice of silence, and freezes",
            EndpointPolicy {
                on_missing_telemetry: OnMissingTelemetry::Continue,
                freezes: vec![freeze(2, 4)],
                bake: TICK / 2,
                min_requests: 150,
                ..policy()
            },
        ),
        (
            "asks what it earned",
            EndpointPolicy {
                gates: vec![RolloutGate::Reward { tolerance: Margin::Relative(0.02) }],
                steps: Steps::new(vec![step(50)]).unwrap(),
                bake: 3 * TICK,
                freezes: vec![freeze(3, 5)],
                ..policy()
            },
        ),
    ]
}

#[test]
fn every_state_keeps_every_promise() {
    let mut states = Vec::new();
    for (name, policy) in policies() {
        let begun = std::time::Instant::now();
        let found = explore(&policy, DEPTH, false);
        let took = begun.elapsed();
        eprintln!("{name}: {} states, {} decisions, {took:.1?}, {:?}", found.states, found.decisions, found.endings);
        assert_eq!(found.violations.first(), None, "{name}: {} broken", found.violations.len());
        states.push((name, found.states));
    }
    assert_eq!(states, STATES, "what can be reached has changed: look why, then pin it anew");
}

#[test]
fn planted_mistakes_are_found() {
    let mut missed = Vec::new();
    for bug in BUGS {
        plant(Some(bug));
        let caught = policies().into_iter().find_map(|(name, policy)| {
            let found = explore(&policy, DEPTH - 1, true);
            found.violations.into_iter().next().map(|violation| (name, violation))
        });
        plant(None);
        match caught {
            Some((name, violation)) => eprintln!("{bug:?} ({name}): {}: {:?}", violation.promise, violation.path),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
