//! What asks for a run, and how the run that it gets trains.

use std::time::Duration;

use fairway_core::Reason;
use fairway_core::model::{Erasure, NewRows, RunEnd, RunMode};
use fairway_core::policy::{Mode, RunPolicy};
use jiff::Timestamp;

use crate::world::{DAY, World, registered};

#[test]
fn scores_that_move_are_named_apart_from_features() {
    for (feature, counts, code) in
        [("score", [9_000, 1_000, 0, 0], "predictiondrift"), ("segment", [9_000, 700, 60, 60], "drift")]
    {
        let mut world = World::serving();
        world.features = [("segment", [5_000, 4_900, 50, 50]), ("score", [5_000, 5_000, 0, 0])].into();
        world.days(3);
        assert_eq!(world.started, Vec::<String>::new());
        world.features.insert(feature, counts);
        world.days(3);
        assert_eq!(world.started, [format!("0001-{code}")]);
    }
}

#[test]
fn a_share_of_new_rows_asks() {
    let mut world = World::serving();
    world.new_rows = Some(NewRows { trained_on: 1_000, since: 500 });
    world.days(1);
    assert!(world.started.is_empty(), "nobody asked for it");
    world.policy.new_data = Some(0.5);
    world.new_rows = Some(NewRows { trained_on: 1_000, since: 499 });
    world.days(1);
    assert!(world.started.is_empty());
    world.new_rows = Some(NewRows { trained_on: 0, since: 10 });
    world.days(1);
    assert!(world.started.is_empty(), "no share of nothing");
    world.new_rows = Some(NewRows { trained_on: 1_000, since: 500 });
    world.days(1);
    assert_eq!(world.started, ["0001-newdata"]);
    assert!(world.status.run.as_ref().unwrap().reason.message.contains("500 rows are new beside 1000"));
}

#[test]
fn an_erasure_is_honoured_before_its_deadline() {
    let mut world = World::serving();
    world.erasure = Some(Erasure { pending: 2, due: world.now + 30 * DAY });
    world.days(14);
    assert!(world.started.is_empty(), "erasures wait for each other");
    world.days(2);
    assert_eq!(world.started, ["0001-erasure"]);
    assert!(world.condition("ErasureOverdue").is_none());
    world.end = Some(RunEnd::Rejected { why: "recall".into() });
    world.days(8);
    assert_eq!(world.started.len(), 2, "a rejected run has not honoured it");
    world.end = Some(RunEnd::Rejected { why: "recall".into() });
    world.policy.breaker = 2;
    world.days(10);
    let overdue = world.condition("ErasureOverdue").unwrap();
    assert!(overdue.status && overdue.reason.message.contains("2 erasures are not honoured"), "{overdue:?}");
    world.erasure = None;
    world.look();
    assert!(world.condition("ErasureOverdue").is_none());
}

#[test]
fn an_erasure_waits_for_no_board_for_no_label_and_for_no_client() {
    let mut world = World::serving();
    world.policy.reward_within = 40 * DAY;
    world.awaiting = Some(Reason::new("ApprovalsMissing", "0 of 1 approvals"));
    world.drift();
    world.days(5);
    assert!(world.started.is_empty() && world.said("ApprovalPending"));
    world.features = [("segment", [0, 0, 0, 1_000])].into();
    world.days(2);
    assert!(world.started.is_empty() && world.said("DataInvalid"));
    assert!(world.condition("AwaitingApproval").unwrap().status);
    world.erasure = Some(Erasure { pending: 1, due: world.now + DAY });
    world.look();
    assert_eq!(world.started, ["0001-erasure"]);
}

#[test]
fn a_schedule_ticks_and_the_guards_hold_all_the_same() {
    let mut world = World::serving();
    // The world begins on a Tuesday at 22:13.
    world.policy.schedule = Some("0 3 * * mon".parse().unwrap());
    world.policy.cooldown = 2 * DAY;
    world.days(5);
    assert!(world.started.is_empty(), "a schedule that is new does not ask for the ticks before it");
    world.days(1);
    assert_eq!(world.started, ["0001-schedule"]);
    world.end = Some(registered());
    world.days(6);
    assert_eq!(world.started.len(), 1);
    world.days(1);
    assert_eq!(world.started.len(), 2);
    // Within cooldown a tick waits, and then comes once.
    world.end = Some(registered());
    world.policy.cooldown = 10 * DAY;
    world.days(8);
    assert!(world.started.len() == 2 && world.said("Cooldown"));
    let held = &world.status.held_back[0];
    assert_eq!((held.trigger.as_str(), held.by.code.as_str()), ("Schedule", "Cooldown"));
    assert!(held.by.message.contains("schedule `0 3 * * mon` was due at 2023-12-04T03:00:00Z"), "{held:?}");
    world.days(3);
    assert_eq!(world.started.len(), 3);
}

#[test]
fn ticks_that_were_missed_come_once() {
    let mut world = World::serving();
    world.policy.schedule = Some("0 * * * *".parse().unwrap());
    (world.policy.cooldown, world.policy.max_age) = (Duration::ZERO, None);
    world.look_after(DAY / 48);
    world.look_after(40 * DAY);
    world.end = Some(registered());
    world.look_after(Duration::from_secs(60));
    world.look_after(Duration::from_secs(60));
    assert_eq!(world.started, ["0001-schedule"]);
    world.look_after(DAY / 24);
    assert_eq!(world.started.len(), 2);
}

#[test]
fn another_schedule_does_not_ask_for_its_past() {
    let mut world = World::serving();
    world.policy.schedule = Some("0 3 1 1 *".parse().unwrap());
    world.days(1);
    world.policy.schedule = Some("0 * * * *".parse().unwrap());
    world.look_after(Duration::from_secs(1));
    assert!(world.started.is_empty());
    world.look_after(DAY / 24);
    assert_eq!(world.started.len(), 1);
    world.policy.schedule = None;
    world.look();
    assert_eq!(world.status.tick, None);
}

#[test]
fn a_tick_whose_data_were_refused_asks_again() {
    let mut world = World::serving();
    world.policy.schedule = Some("0 3 * * *".parse().unwrap());
    world.days(2);
    assert_eq!(world.started.len(), 1);
    world.end = Some(RunEnd::DataRefused { code: "DataStale".into(), why: "2d old".into() });
    world.look_after(DAY / 24);
    world.look_after(DAY / 4);
    assert_eq!(world.started.len(), 2);
}

#[test]
fn the_next_look_comes_with_the_tick() {
    let mut world = World::serving();
    world.policy.schedule = Some("*/5 * * * *".parse().unwrap());
    world.look_after(Duration::from_secs(60));
    let tick: Timestamp = "2023-11-14T22:15:00Z".parse().unwrap();
    assert_eq!(world.next_look, tick);
}

#[test]
fn a_run_starts_from_the_champion_only_where_that_is_sound() {
    let mut world = World::new();
    let mode = Mode::WarmStart { full_every: 3 };
    world.policy.run = RunPolicy { mode, history_after_drift: Some(60 * DAY), ..RunPolicy::default() };
    (world.policy.cooldown, world.policy.budget_runs, world.policy.drift_psi) = (Duration::ZERO, 100, 1e-3);
    world.look();
    world.promote(1);
    world.drift();
    world.days_ending(5, &registered());
    world.consumed = [500, 400, 100, 0];
    world.promote(2);
    world.champion_minus_popularity = -0.2;
    world.days_ending(15, &registered());
    world.erasure = Some(Erasure { pending: 1, due: world.now });
    world.days_ending(1, &registered());
    let warm = |run: &str| {
        let found = world.started.iter().zip(&world.modes).filter(|(name, _)| name.ends_with(run));
        found.map(|(_, mode)| *mode).collect::<Vec<RunMode>>()
    };
    let cold = RunMode::default();
    let (warmed, cold_drift) =
        (RunMode { warm_start: true, history: Some(60 * DAY) }, RunMode { history: Some(60 * DAY), ..cold });
    assert_eq!(warm("first"), [cold]);
    assert_eq!(warm("-drift")[..4], [warmed, warmed, cold_drift, warmed]);
    assert!(!warm("degradation").is_empty() && warm("degradation").iter().all(|mode| *mode == cold));
    assert!(!warm("erasure").is_empty() && warm("erasure").iter().all(|mode| *mode == cold));
}
