//! The failure modes of automatic retraining, as far as the decision can show them: T1 to T10 of the reference.

use std::time::Duration;

use fairway_core::endpoint::RolloutResult;
use fairway_core::model::RunEnd;

use crate::world::{DAY, World, registered, rejected};

#[test]
fn t1_a_thousand_drift_events_start_one_run() {
    let mut world = World::serving();
    world.drift();
    world.days(4);
    for _ in 0..1_000 {
        world.look_after(Duration::from_secs(1));
    }
    assert_eq!(world.started, ["0001-drift"]);
}

/// Killed after the status was stored and before or after the effect: the status has the run, and its name.
#[test]
fn t2_t3_a_crash_around_the_start_repeats_the_same_name() {
    let mut world = World::serving();
    world.drift();
    world.days(4);
    let (name, stored) = (world.started[0].clone(), world.status.clone());
    assert_eq!(stored.run.as_ref().unwrap().name, name);
    world.days(1);
    assert_eq!((world.started.len(), &world.status.run), (1, &stored.run));
    // Killed before the status was stored: the next process decides the same from the same.
    let mut again = World::serving();
    again.drift();
    again.days(4);
    assert_eq!(again.started, [name]);
}

#[test]
fn t4_drift_with_bad_data_is_an_alert_and_no_run() {
    let mut world = World::serving();
    world.policy.max_age = None;
    world.features = [("segment", [500, 490, 5, 5]), ("score", [500, 500, 0, 0])].into();
    world.days(3);
    assert!(world.condition("DataReady").is_none());
    // The client has lost its segment; users seem to be others, and so do their scores.
    world.features = [("segment", [100, 100, 0, 800]), ("score", [900, 100, 0, 0])].into();
    world.drift();
    world.days(10);
    assert!(world.started.is_empty() && world.said("DataInvalid"));
    assert!(!world.condition("Drifted").unwrap().status);
    let data = world.condition("DataReady").unwrap();
    assert!(!data.status && data.reason.message.contains("segment is missing in 3200 of 4000 events"), "{data:?}");
    assert_eq!(world.codes.iter().filter(|code| *code == "DataInvalid").count(), 1, "said once");
    // CI is held back too; who forces a run has looked, and the run checks its own data.
    world.ask("ci", false);
    world.look();
    assert!(world.started.is_empty());
    // Mended: the drift that is left counts from now on.
    world.features = [("segment", [500, 490, 5, 5]), ("score", [500, 500, 0, 0])].into();
    world.days(1);
    assert!(world.started.is_empty() && world.condition("DataReady").is_none());
    world.days(2);
    assert_eq!(world.started, ["0001-drift"]);
}

#[test]
fn t4_a_column_that_is_gone_and_traffic_that_breaks_off_are_faults() {
    let usual = [("segment", [5_000, 4_900, 50, 50]), ("score", [5_000, 5_000, 0, 0])];
    for (broken, said) in [
        (vec![("score", [5_000, 5_000, 0, 0])], "segment is gone"),
        (vec![("segment", [500, 490, 5, 5]), ("score", [500, 500, 0, 0])], "are usual, tolerated down to 20.0 %"),
    ] {
        let mut world = World::serving();
        world.features = usual.into();
        world.days(4);
        world.features = broken.into_iter().collect();
        world.drift();
        world.days(3);
        let data = world.condition("DataReady").unwrap_or_else(|| panic!("{said}"));
        assert!(data.reason.message.contains(said), "{data:?}");
        assert!(world.started.is_empty());
    }
    // Less traffic for good is usual in the end; and while nobody counts, nothing drops.
    let mut world = World::serving();
    world.policy.max_age = None;
    world.features = usual.into();
    world.days(4);
    world.reporting = false;
    world.days(3);
    world.reporting = true;
    world.days(4);
    assert!(!world.said("DataInvalid"));
    // A season's end is no fault.
    world.features = [("segment", [2_000, 1_960, 20, 20]), ("score", [2_000, 2_000, 0, 0])].into();
    world.days(4);
    assert!(!world.said("DataInvalid"));
    world.features = [("segment", [250, 245, 2, 3]), ("score", [250, 250, 0, 0])].into();
    world.days(20);
    assert!(world.said("DataInvalid") && world.condition("DataReady").is_none());
}

#[test]
fn t5_rejected_candidates_suspend_automation_until_somebody_acts() {
    let mut world = World::serving();
    world.policy.cooldown = DAY / 8;
    world.drift();
    world.days_ending(300, &rejected());
    assert_eq!(world.started.len(), 3);
    assert!(world.condition("AutomationSuspended").unwrap().status);
    world.ask("mended", true);
    world.look();
    assert_eq!(world.started.len(), 4);
    assert!(world.condition("AutomationSuspended").is_none());
}

#[test]
fn t6_drift_during_and_just_after_a_rollout_is_held_back() {
    let mut world = World::serving();
    world.policy.after_rollout = 2 * DAY;
    world.drift();
    world.rollout_active = true;
    world.days(4);
    world.rollout_active = false;
    world.ended = vec![("1-v2".into(), RolloutResult::RolledBack)];
    world.days(1);
    let codes: Vec<&str> = world.status.held_back.iter().map(|held| held.by.code.as_str()).collect();
    assert_eq!((codes, world.started.len()), (vec!["AfterRollout"], 0));
    assert!(world.said("RolloutActive"));
    world.days(2);
    assert_eq!(world.started.len(), 1);
}

/// The successor has learned the new taste, so its profile holds it; in the mutant the reference stays the old one.
#[test]
fn t7_a_reference_that_is_not_renewed_is_a_storm_that_the_budget_ends() {
    let started = |renewed: bool| {
        let mut world = World::serving();
        world.policy.cooldown = DAY / 8;
        world.drift();
        let mut version = 1;
        for _ in 0..4 * 29 {
            if world.status.run.is_some() {
                version += 1;
                world.end = Some(registered());
                world.promote(version);
                if renewed {
                    let consumed = world.profile.consumed.as_mut().unwrap();
                    consumed.reference = crate::world::histogram(&[1_000, 1_000, 8_000, 0]);
                }
            }
            world.look();
        }
        (world.started.len(), world.said("BudgetSpent"))
    };
    assert_eq!(started(true), (1, false));
    assert_eq!(started(false), (6, true));
}

#[test]
fn t8_a_silent_monitor_is_told_and_does_not_hide_age() {
    let mut world = World::serving();
    world.features = [("segment", [500, 490, 5, 5])].into();
    world.days(3);
    assert!(world.condition("SignalFresh").unwrap().status);
    world.features = [("segment", [0, 0, 0, 1_000])].into();
    world.days(2);
    assert!(world.condition("DataReady").is_some());
    world.reporting = false;
    world.days(2);
    let signal = world.condition("SignalFresh").unwrap();
    assert_eq!((signal.status, signal.reason.code.as_str()), (false, "SignalLost"));
    assert!(signal.reason.message.contains("only maxAge (60d) still retrains it"), "{signal:?}");
    world.days(60);
    assert_eq!(world.started, ["0001-maxage"], "not even a finding of long ago holds it back");
}

#[test]
fn t9_a_run_that_has_ended_never_runs_again() {
    let mut world = World::serving();
    world.ask("ci-1", false);
    world.look();
    world.end = Some(RunEnd::Failed { why: "the job was deleted".into() });
    world.look();
    world.days(20);
    for force in [false, true] {
        world.ask("ci-1", force);
        world.look();
    }
    assert!(world.started == ["ci-1"] && world.said("AlreadyEnded"));
    // A name of ours that somebody has used before: the third run would have it.
    world.ask("0003-drift", false);
    world.look();
    world.end = Some(registered());
    world.drift();
    world.days(12);
    assert_eq!(world.started[1..], ["0003-drift", "0004-drift"]);
}

#[test]
fn t10_the_same_key_twice_is_one_run_and_both_hear_of_it() {
    let mut world = World::serving();
    world.ask("ci-1", false);
    world.ask("ci-1", false);
    world.look();
    world.ask("ci-1", true);
    world.look();
    assert_eq!(world.started, ["ci-1"]);
    assert_eq!(world.codes, ["RunStarted", "AlreadyRunning", "AlreadyRunning"]);
    assert_eq!(world.status.suppressed, None);
}
