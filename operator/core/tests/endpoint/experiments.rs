//! Experiments beside stable and a rollout: who gets buckets, when nobody takes part, and how they end.

use fairway_core::endpoint::{AskedExperiment, RolloutRequest};
use fairway_core::experiment::{Arm, ExperimentPolicy, ExperimentResult, Guardrail, Treatment};
use fairway_core::policy::Probability;
use fairway_wire::Weight;

use super::world::{HOUR, World, target};

fn experiment(name: &str, layer: &str, percent: u8, versions: &[u64]) -> AskedExperiment {
    let arm = |(at, version): (usize, &u64)| {
        let name = if at == 0 { "control".to_owned() } else { format!("b{at}") };
        Arm { name, treatment: Treatment::Version(target(*version)), weight: 1 }
    };
    let policy = ExperimentPolicy {
        name: name.to_owned(),
        layer: layer.to_owned(),
        share: Weight::from_percent(percent),
        arms: versions.iter().enumerate().map(arm).collect(),
        control: "control".to_owned(),
        goal: "reward".to_owned(),
        min_users: 1_000,
        min_requests: 1_000,
        false_alarm_rate: Probability::new(0.05).unwrap(),
        max_duration: Some(14 * 24 * HOUR),
        gates: vec![Guardrail::Errors { tolerance: 0.1 }],
    };
    AskedExperiment { policy, stop: None, archived: false }
}

fn serving(experiments: Vec<AskedExperiment>) -> World {
    let mut world = World::new();
    world.wanted = Some(target(1));
    world.minutes(3);
    world.experiments = experiments;
    world
}

/// Users of each experiment in the route, in percent.
fn shares(world: &World) -> Vec<(String, f64)> {
    let route = world.route.as_ref().unwrap();
    route.experiments.iter().map(|it| (it.experiment.clone(), f64::from(it.len()) / 10_000.0)).collect()
}

fn result(world: &World, name: &str) -> Option<ExperimentResult> {
    world.status.experiments.known.get(name)?.ended.as_ref().map(|record| record.result)
}

#[test]
fn a_better_arm_wins_and_its_record_is_kept() {
    let mut world = serving(vec![experiment("diversity", "ranking", 40, &[1, 2])]);
    world.natures.insert("diversity/b1".to_owned(), (0.3, 0.0));
    let codes: Vec<String> = (0..3).flat_map(|_| world.minute(&[]).reasons).map(|reason| reason.code).collect();
    assert!(codes.contains(&"ExperimentStarted".to_owned()), "{codes:?}");
    assert_eq!(shares(&world), [("diversity".to_owned(), 40.0)]);
    assert!(world.ready.contains(&target(2).digest), "the arm's version was loaded first");
    for _ in 0..24 * 60 {
        world.minute(&[]);
        if result(&world, "diversity").is_some() {
            break;
        }
    }
    assert_eq!(result(&world, "diversity"), Some(ExperimentResult::Winner));
    assert_eq!(shares(&world), [], "its users are everybody's again");
    let record = &world.archived[0];
    assert_eq!(record.winner.as_deref(), Some("b1"));
    // Half of the requests were of somebody new, and places that met are told apart by their number.
    for arm in &record.arms {
        let ratio = arm.users as f64 / (arm.requests as f64 / 2.0);
        assert!((0.97..1.03).contains(&ratio), "{}: {} users of {} requests", arm.name, arm.users, arm.requests);
    }
    world.experiments[0].archived = true;
    let archived = world.archived.len();
    world.minutes(3);
    assert_eq!(world.archived.len(), archived, "what is kept is not kept again");
    assert!(!world.ready.contains(&target(2).digest), "nobody needs the arm's version any more");
}

#[test]
fn harm_closes_an_arm_and_the_last_one_ends_it() {
    let mut world = serving(vec![experiment("risky", "ranking", 50, &[1, 2])]);
    world.natures.insert("risky/b1".to_owned(), (0.2, 0.2));
    world.minutes(60);
    assert_eq!(result(&world, "risky"), Some(ExperimentResult::NoArmLeft));
    assert_eq!(shares(&world), []);
}

#[test]
fn nobody_takes_part_while_a_version_cannot_or_may_not_answer() {
    let mut world = serving(vec![experiment("diversity", "ranking", 40, &[1, 2])]);
    world.unapproved.insert(target(2).digest, "nobody has approved it".to_owned());
    world.minutes(3);
    assert_eq!(shares(&world), []);
    let waiting = world.status.experiments.known["diversity"].waiting.clone().unwrap();
    assert!(waiting.message.contains("nobody has approved it"), "{waiting:?}");
    world.unapproved.clear();
    world.minutes(3);
    assert_eq!(shares(&world).len(), 1);
    // Its server is lost: nobody takes part until it is there again.
    world.ready.remove(&target(2).digest);
    let plan = world.minute(&[]);
    assert_eq!(shares(&world), []);
    assert!(plan.reasons.iter().any(|reason| reason.code == "Suspended"), "{:?}", plan.reasons);
    world.minute(&[]);
    assert_eq!(shares(&world).len(), 1);
    // What a rollout has proved to be harmful is shown to nobody.
    world.wanted = Some(target(2));
    world.minutes(2);
    world.ask(RolloutRequest::Abort);
    world.minutes(2);
    assert_eq!(shares(&world), []);
}

#[test]
fn a_full_layer_refuses_the_newcomer_and_takes_nothing_from_those_who_run() {
    let mut world = serving(vec![experiment("first", "ranking", 70, &[1, 2])]);
    world.minutes(3);
    world.experiments.push(experiment("a-newcomer", "ranking", 40, &[1, 3]));
    world.experiments.push(experiment("elsewhere", "page", 40, &[1, 3]));
    world.minutes(3);
    assert_eq!(shares(&world), [("elsewhere".to_owned(), 40.0), ("first".to_owned(), 70.0)]);
    let waiting = world.status.experiments.known["a-newcomer"].waiting.clone().unwrap();
    assert!(waiting.message.contains("30 %"), "says what is free: {waiting:?}");
    // A share that cannot be had leaves what there is.
    world.experiments[1].policy.share = Weight::from_percent(30);
    world.minutes(3);
    world.experiments[0].policy.share = Weight::from_percent(90);
    world.minutes(3);
    let now = shares(&world);
    assert!(now.contains(&("first".to_owned(), 70.0)) && now.contains(&("a-newcomer".to_owned(), 30.0)), "{now:?}");
    let refused = world.status.experiments.known["first"].refused.clone().unwrap();
    assert!(refused.message.contains("70 %"), "says what is free: {refused:?}");
}

#[test]
fn whoever_takes_the_manifest_away_ends_it() {
    let mut world = serving(vec![experiment("short", "ranking", 40, &[1, 2])]);
    world.minutes(5);
    world.experiments.clear();
    let plan = world.minute(&[]);
    assert!(plan.reasons.iter().any(|reason| reason.code == "ExperimentEnded"), "{:?}", plan.reasons);
    assert_eq!((shares(&world).len(), world.archived[0].result), (0, ExperimentResult::Stopped));
    world.minutes(2);
    assert!(world.status.experiments.is_empty(), "nothing is remembered of it");
    assert_eq!(world.archived.len(), 1);
}

#[test]
fn a_rollout_goes_on_beside_it() {
    let mut world = serving(vec![experiment("diversity", "ranking", 20, &[1, 3])]);
    world.minutes(5);
    world.wanted = Some(target(2));
    world.minutes(24 * 60);
    assert_eq!(world.status.stable, Some(target(2)));
    let running = world.status.experiments.known["diversity"].running.as_ref().unwrap();
    assert_eq!(running.rules.arms[0].treatment, Treatment::Version(target(1)), "control is what it was");
    assert!(world.ready.contains(&target(1).digest));
}
