//! Whatever triggers, runs and rollouts do: never more automatic starts than the budget, never two runs at once, and no
//! trigger is held back without a word.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_core::endpoint::RolloutResult;
use fairway_core::model::{Erasure, NewRows, RunEnd};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::world::{DAY, World, registered, rejected};

/// What happens between two looks.
#[derive(Clone, Debug)]
struct Step {
    hours: u8,
    end: Option<RunEnd>,
    drifted: bool,
    worse: bool,
    reporting: bool,
    rollout: bool,
    ended: Option<RolloutResult>,
    promoted: bool,
    erasure: bool,
    segment_lost: bool,
    asked: Option<(u8, bool)>,
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        3 => Just(None),
        1 => Just(Some(registered())),
        1 => Just(Some(rejected())),
        1 => Just(Some(RunEnd::DataRefused { code: "DataStale".into(), why: "old".into() })),
        1 => Just(Some(RunEnd::Failed { why: "broken".into() })),
        1 => Just(Some(RunEnd::Cancelled { why: "asked".into() })),
    ];
    let result = prop_oneof![
        6 => Just(None),
        1 => Just(Some(RolloutResult::Promoted)),
        1 => Just(Some(RolloutResult::RolledBack)),
        1 => Just(Some(RolloutResult::Superseded)),
    ];
    let rare = || prop::bool::weighted(0.1);
    let often = || prop::bool::weighted(0.8);
    let flags = (often(), any::<bool>(), often(), rare(), rare(), rare(), rare());
    let asked = prop::option::weighted(0.1, (0..4_u8, any::<bool>()));
    (1..72_u8, end, result, flags, asked).prop_map(|(hours, end, ended, flags, asked)| {
        let (drifted, worse, reporting, rollout, promoted, erasure, segment_lost) = flags;
        Step { hours, end, drifted, worse, reporting, rollout, ended, promoted, erasure, segment_lost, asked }
    })
}

fn take(world: &mut World, at: u64, step: &Step) {
    world.consumed = if step.drifted { [1_000, 1_000, 8_000, 0] } else { [5_000, 4_000, 1_000, 0] };
    world.champion_minus_popularity = if step.worse { -0.2 } else { 0.5 };
    world.features = [("segment", if step.segment_lost { [0, 0, 0, 2_000] } else { [1_000, 980, 10, 10] })].into();
    (world.reporting, world.rollout_active) = (step.reporting, step.rollout);
    world.erasure = step.erasure.then(|| Erasure { pending: 1, due: world.now + DAY });
    world.new_rows = Some(NewRows { trained_on: 100, since: u64::from(step.hours) });
    world.end = world.status.run.as_ref().and(step.end.clone());
    world.ended.extend(step.ended.map(|result| (format!("r{at}"), result)));
    if step.promoted {
        world.promote(at + 2);
    }
    if let Some((name, force)) = step.asked {
        world.ask(&format!("ci-{name}"), force);
    }
}

/// Most starts in any period of the length.
fn most_within(starts: &[Timestamp], per: Duration) -> usize {
    let within = |from: &Timestamp| starts.iter().filter(|at| *at >= from && **at < *from + per).count();
    starts.iter().map(within).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_storm_no_second_run_no_silence(
        steps in prop::collection::vec(step(), 1..120),
        (budget_runs, cooldown, breaker, half_open, quiet) in (1..5_u32, 0..48_u64, 1..5_u32, prop::option::of(1..20_u64), 0..48_u64),
    ) {
        let mut world = World::serving();
        let hours = |n: u64| Duration::from_secs(n * 3_600);
        world.policy.budget_runs = budget_runs;
        world.policy.budget_per = 10 * DAY;
        (world.policy.cooldown, world.policy.after_rollout) = (hours(cooldown), hours(quiet));
        (world.policy.breaker, world.policy.half_open_after) = (breaker, half_open.map(|days| hours(24 * days)));
        (world.policy.period, world.policy.new_data) = (DAY, Some(0.5));
        world.policy.schedule = Some("30 */6 * * *".parse().unwrap());
        let mut automatic = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let before = (world.started.len(), world.status.run.clone(), world.reasons.len());
            take(&mut world, at as u64, step);
            let run_ended = world.end.is_some();
            world.look_after(Duration::from_secs(3_600 * u64::from(step.hours)));
            let started = world.started.len() - before.0;
            // At most one run is active, and a start needs that there is none.
            prop_assert!(started <= 1);
            prop_assert!(started == 0 || before.1.is_none() || run_ended);
            if started == 1 && world.status.run.as_ref().is_some_and(|run| run.automatic) {
                automatic.push(world.now);
                prop_assert!(!step.rollout, "I9: during a rollout");
            }
            // Held back is only what has a reason, and what holds it back now was said now.
            let said: BTreeSet<&str> = world.reasons[before.2..].iter().map(|reason| reason.message.as_str()).collect();
            for held in &world.status.held_back {
                prop_assert!(!held.by.code.is_empty() && !held.by.message.is_empty());
                prop_assert!(held.by.code == "RunActive" || said.contains(held.by.message.as_str()));
            }
        }
        prop_assert!(most_within(&automatic, 10 * DAY) <= budget_runs as usize);
        let names: BTreeSet<&String> = world.started.iter().collect();
        prop_assert_eq!(names.len(), world.started.len());
        prop_assert!(world.status.ended_runs.len() <= 100 && world.status.held_back.len() <= 7);
    }
}
