//! One experiment, driven as a runtime drives it: what arms have seen in, plans out, effects carried out at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_core::Plan;
use fairway_core::experiment::{
    Arm, ArmSeen, ArmVerdict, ExperimentEffect, ExperimentObserved, ExperimentPolicy, ExperimentRequest,
    ExperimentResult, ExperimentStatus, Guardrail, Layers, Record, Slice, Treatment, decide,
};
use fairway_core::policy::{Margin, Probability};
use fairway_stats::Cells;
use fairway_wire::{Target, Weight};
use jiff::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);

/// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): the same runs on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn arm(name: &str, version: u64) -> Arm {
    let target = Target { version, digest: format!("sha256:{version}") };
    Arm { name: name.to_owned(), treatment: Treatment::Version(target), weight: 1 }
}

fn policy() -> ExperimentPolicy {
    ExperimentPolicy {
        name: "diversity".to_owned(),
        layer: "ranking".to_owned(),
        share: Weight::from_percent(30),
        arms: vec![arm("control", 1), arm("b", 2), arm("c", 3)],
        control: "control".to_owned(),
        goal: "reward".to_owned(),
        min_users: 500,
        min_requests: 2_000,
        false_alarm_rate: Probability::new(0.05).unwrap(),
        max_duration: Some(14 * 24 * HOUR),
        gates: vec![
            Guardrail::Errors { tolerance: 0.1 },
            Guardrail::Mean { metric: "sessions".to_owned(), tolerance: Margin::Relative(0.05) },
        ],
    }
}

/// What an arm's users do: reward and errors a request, and how many of 60 are seen.
#[derive(Clone, Copy)]
struct Nature {
    reward: f64,
    errors: f64,
    /// Errors are all of one user, whose every request fails.
    of_one: bool,
    sessions: f64,
    users: f64,
}

const SAME: Nature = Nature { reward: 0.2, errors: 0.01, of_one: false, sessions: 0.5, users: 60.0 };

/// A world in which effects are carried out at once.
struct World {
    policy: ExperimentPolicy,
    layers: Layers,
    status: ExperimentStatus,
    in_force: Option<Slice>,
    ready: BTreeSet<String>,
    requests: Vec<(String, ExperimentRequest)>,
    archive: Vec<Record>,
    natures: BTreeMap<String, Nature>,
    dice: Dice,
    now: Timestamp,
}

impl World {
    fn new(seed: u64) -> Self {
        let policy = policy();
        let layers = Layers::default().allocate(std::slice::from_ref(&policy), Weight::ZERO).unwrap();
        Self {
            natures: policy.arms.iter().map(|arm| (arm.name.clone(), SAME)).collect(),
            ready: (1..=3).map(|version| format!("sha256:{version}")).collect(),
            policy,
            layers,
            status: ExperimentStatus::default(),
            in_force: None,
            requests: Vec::new(),
            archive: Vec::new(),
            dice: Dice(seed),
            now: Timestamp::from_second(1_700_000_000).unwrap(),
        }
    }

    fn with(seed: u64, name: &str, nature: Nature) -> Self {
        let mut world = Self::new(seed);
        world.natures.insert(name.to_owned(), nature);
        world
    }

    /// Draws the arm of each of an hour's 180 users; those of a closed arm, and some of a lossy one, are not seen.
    fn draw(&mut self) -> BTreeMap<String, u64> {
        let mut users: BTreeMap<String, u64> = BTreeMap::new();
        let arms: Vec<String> = self.policy.arms.iter().map(|arm| arm.name.clone()).collect();
        let open: BTreeSet<String> = self.open_arms().into_iter().map(str::to_owned).collect();
        for _ in 0..180 {
            let name = &arms[(self.dice.unit() * arms.len() as f64) as usize];
            let seen = self.dice.unit() * SAME.users < self.natures[name].users;
            *users.entry(name.clone()).or_default() += u64::from(seen);
        }
        users.retain(|name, _| open.contains(name));
        users
    }

    /// An hour of the arms that are in force: each user makes two requests.
    fn seen(&mut self) -> BTreeMap<String, ArmSeen> {
        let mut all = BTreeMap::new();
        for (name, new_users) in self.draw() {
            let nature = self.natures[&name];
            let mut seen = ArmSeen { new_users, ..ArmSeen::default() };
            let (mut reward, mut sessions) = (Cells::new(), Cells::new());
            for _ in 0..seen.new_users {
                let cell = (self.dice.next() >> 56) as u8;
                sessions.record(cell, f64::from(u8::from(self.dice.unit() < nature.sessions)));
                for _ in 0..2 {
                    let fails = self.dice.unit() < nature.errors;
                    seen.requests += 1;
                    seen.errors += u64::from(fails);
                    let cell = if fails && nature.of_one { 7 } else { cell };
                    seen.errors_by_cell.record(cell, f64::from(u8::from(fails)));
                    reward.record(cell, f64::from(u8::from(self.dice.unit() < nature.reward)));
                }
            }
            seen.means = BTreeMap::from([("reward".to_owned(), reward), ("sessions".to_owned(), sessions)]);
            all.insert(name, seen);
        }
        all
    }

    fn hour(&mut self) -> Plan<ExperimentEffect, ExperimentStatus> {
        self.now += HOUR;
        let seen = self.seen();
        let observed = ExperimentObserved {
            status: &self.status,
            slice: self.layers.slice(&self.policy.name),
            in_force: self.in_force.as_ref(),
            refused: None,
            seen: &seen,
            users_each: 1.0,
            ready: &self.ready,
            unfit: &BTreeMap::new(),
            requests: &self.requests,
            archived: !self.archive.is_empty(),
        };
        let plan = decide(&self.policy, &observed, self.now);
        assert!(!plan.reasons.is_empty(), "I11: every look says why");
        for effect in plan.effects.clone() {
            match effect {
                ExperimentEffect::SetLayer { slice } => self.in_force = Some(slice),
                ExperimentEffect::Stop { .. } => self.in_force = None,
                ExperimentEffect::Archive { record } => self.archive.push(*record),
            }
        }
        self.requests.clear();
        self.status = plan.status.clone();
        plan
    }

    fn hours(&mut self, hours: u32) -> Plan<ExperimentEffect, ExperimentStatus> {
        let mut last = self.hour();
        for _ in 1..hours {
            last = self.hour();
        }
        last
    }

    fn until_ended(&mut self, hours: u32) -> Record {
        for _ in 0..hours {
            self.hour();
            if let Some(record) = self.archive.first() {
                return record.clone();
            }
        }
        panic!("not ended after {hours} hours: {:?}", self.status.running.as_ref().map(|running| &running.arms));
    }

    fn open_arms(&self) -> Vec<&str> {
        self.in_force.iter().flat_map(|slice| &slice.arms).map(|portion| portion.arm.as_str()).collect()
    }
}

fn codes(plan: &Plan<ExperimentEffect, ExperimentStatus>) -> Vec<&str> {
    plan.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn nobody_takes_part_before_all_arms_can_answer() {
    let mut world = World::new(1);
    world.ready.remove("sha256:3");
    let plan = world.hour();
    assert_eq!(codes(&plan), ["Loading"]);
    assert_eq!(
        plan.reasons[0].message,
        "version 3 of arm c is not loaded: nobody takes part before all arms can answer"
    );
    assert!(world.in_force.is_none());
    world.ready.insert("sha256:3".to_owned());
    assert_eq!(codes(&world.hour()), ["ExperimentStarted"]);
    assert_eq!(world.open_arms(), ["control", "b", "c"]);
}

#[test]
fn without_a_layer_or_with_a_policy_that_cannot_be_used_it_waits() {
    let mut world = World::new(1);
    world.layers = Layers::default();
    assert_eq!(codes(&world.hour()), ["AwaitingLayer"]);
    world.policy.control = "nobody".to_owned();
    assert_eq!(codes(&world.hour()), ["Invalid"]);
    world.requests.push(("ann".to_owned(), ExperimentRequest::Stop));
    assert!(codes(&world.hour()).contains(&"NothingToStop"));
    assert!(world.status.running.is_none() && world.status.ended.is_none(), "{:?}", world.status);
    let waiting = world.status.conditions(world.now);
    assert_eq!((waiting[0].kind.as_str(), waiting[0].status), ("Progressing", false));
}

#[test]
fn a_better_arm_wins_and_the_record_has_all_numbers() {
    let mut world = World::with(2, "b", Nature { reward: 0.3, ..SAME });
    world.natures.insert("c".to_owned(), Nature { reward: 0.1, ..SAME });
    let record = world.until_ended(300);
    assert_eq!((record.result, record.winner.as_deref()), (ExperimentResult::Winner, Some("b")));
    assert!(record.reason.message.contains("b is better than control"), "{}", record.reason.message);
    let verdicts: Vec<_> = record.arms.iter().map(|arm| (arm.name.as_str(), arm.verdict)).collect();
    let expected = [("control", ArmVerdict::None), ("b", ArmVerdict::Better), ("c", ArmVerdict::Worse)];
    assert_eq!(verdicts, expected);
    let b = &record.arms[1];
    assert!(b.users >= 500 && b.requests >= 2_000, "enough in it: {} users, {} requests", b.users, b.requests);
    let (value, goal) = (b.value.unwrap(), b.goal.as_ref().unwrap());
    assert!((value.value - 0.3).abs() < 4.0 * value.error, "{value:?}");
    assert!(goal.most.better >= -record.alpha.ln(), "{goal:?}");
    assert_eq!(b.guardrails.iter().map(|gate| gate.gate.as_str()).collect::<Vec<_>>(), ["errors", "sessions"]);
    let c = &record.arms[2];
    assert_eq!(c.closed.as_ref().map(|closed| closed.reason.code.as_str()), Some("ArmWorse"));
    assert!(c.users < b.users, "its users left when that was proved");
    // 5 % over two challengers, and for each two directions and two guardrails.
    assert!((record.alpha - 0.05 / 8.0).abs() < 1e-12);
    assert!(record.sample_ratio.contains("users arrive in the shares set"), "{}", record.sample_ratio);
    let stored = serde_json::to_string(&record).unwrap();
    assert!(!stored.contains("null,null"), "{stored}");
    assert_eq!(serde_json::from_str::<Record>(&stored).unwrap(), record);
}

#[test]
fn a_finished_experiment_never_runs_again_and_its_record_is_not_lost() {
    let mut world = World::with(2, "b", Nature { reward: 0.3, ..SAME });
    world.natures.insert("c".to_owned(), Nature { reward: 0.1, ..SAME });
    let record = world.until_ended(300);
    assert!(world.in_force.is_none());
    assert!(world.hours(50).effects.is_empty());
    // The write was lost, and a router still has the slice: both effects are made again.
    world.archive.clear();
    world.in_force = world.layers.slice("diversity").cloned();
    let plan = world.hour();
    assert_eq!(plan.effects.len(), 2, "{:?}", plan.effects);
    assert_eq!(world.archive, [record]);
    assert!(world.in_force.is_none());
}

#[test]
fn errors_of_one_user_are_not_harm_by_an_arm() {
    let mut world = World::with(3, "c", Nature { errors: 0.05, of_one: true, ..SAME });
    world.hours(48);
    let verdicts = &world.status.running.as_ref().unwrap().records()[2].guardrails;
    assert!(verdicts[0].sentence.contains("clumps of"), "{verdicts:?}");
    assert_eq!(world.open_arms().len(), 3);
    let mut spread = World::with(3, "c", Nature { errors: 0.05, ..SAME });
    spread.hours(48);
    assert_eq!(spread.open_arms().len(), 2, "as many of many users are");
}

#[test]
fn harm_on_a_guardrail_closes_that_arm_and_no_other() {
    let mut world = World::with(3, "c", Nature { errors: 0.2, ..SAME });
    world.hours(24);
    assert_eq!(world.open_arms(), ["control", "b"]);
    let closed = world.status.running.as_ref().unwrap().arms["c"].closed.clone().unwrap();
    assert_eq!(closed.reason.code, "ArmHarmful");
    assert!(closed.reason.message.starts_with("arm c is closed: errors: worse on the canary"), "{closed:?}");
    // Its users get no other arm, and the others go on.
    let (full, now) = (world.layers.slice("diversity").unwrap(), world.in_force.as_ref().unwrap());
    assert_eq!(now.arms, full.arms[..2]);
    assert_eq!(now.spans, full.spans);
    assert_eq!(codes(&world.hours(48)), ["Progressing"]);
}

#[test]
fn a_guardrail_on_a_mean_closes_an_arm_too() {
    let mut world = World::with(4, "b", Nature { sessions: 0.3, ..SAME });
    world.hours(120);
    assert_eq!(world.open_arms(), ["control", "c"]);
}

#[test]
fn when_every_arm_is_closed_control_is_what_is_left() {
    let mut world = World::with(5, "b", Nature { errors: 0.3, ..SAME });
    world.natures.insert("c".to_owned(), Nature { errors: 0.3, ..SAME });
    assert_eq!(world.until_ended(48).result, ExperimentResult::NoArmLeft);
}

#[test]
fn users_in_the_wrong_shares_stop_it_at_once_whatever_else_is_proved() {
    let mut world = World::with(6, "b", Nature { users: 45.0, reward: 0.4, ..SAME });
    let record = world.until_ended(60);
    assert_eq!((record.result, record.winner.as_deref()), (ExperimentResult::SampleRatioMismatch, None));
    assert!(record.sample_ratio_ln_e >= 6.9, "{}", record.sample_ratio_ln_e);
    assert!(record.reason.message.contains("no other verdict counts"), "{}", record.reason.message);
    let plan = world.hour();
    assert!(plan.conditions.iter().any(|condition| condition.kind == "SampleRatioMismatch" && condition.status));
}

#[test]
fn a_closed_arm_does_not_look_like_a_mismatch() {
    let mut world = World::with(7, "c", Nature { errors: 0.3, ..SAME });
    world.hours(200);
    assert_eq!(world.open_arms(), ["control", "b"]);
    assert!(world.status.ended.is_none());
}

#[test]
fn the_time_ends_it() {
    let mut world = World::new(8);
    world.policy.max_duration = Some(48 * HOUR);
    let record = world.until_ended(50);
    assert_eq!(record.result, ExperimentResult::Inconclusive);
    assert!(record.reason.message.contains("nothing was proved within 2d"), "{}", record.reason.message);
}

#[test]
fn a_person_ends_it() {
    let mut world = World::new(9);
    world.hours(5);
    world.requests.push(("ann".to_owned(), ExperimentRequest::Stop));
    let record = world.until_ended(1);
    assert_eq!((record.result, record.reason.message.as_str()), (ExperimentResult::Stopped, "diversity: ann asked"));
}

#[test]
fn while_an_arm_cannot_answer_nobody_takes_part() {
    let mut world = World::new(10);
    world.hours(5);
    world.ready.remove("sha256:2");
    assert!(codes(&world.hour()).contains(&"Suspended"));
    assert!(world.open_arms().is_empty());
    world.ready.insert("sha256:2".to_owned());
    world.hour();
    assert_eq!(world.open_arms(), ["control", "b", "c"]);
    world.ready.remove("sha256:2");
    assert_eq!(world.until_ended(14 * 24).result, ExperimentResult::Inconclusive, "I12: not for ever");
}

#[test]
fn rules_are_those_of_the_start_but_the_share_may_grow() {
    let mut world = World::new(11);
    world.hours(5);
    world.policy.share = Weight::from_percent(60);
    world.layers = world.layers.allocate(std::slice::from_ref(&world.policy), Weight::ZERO).unwrap();
    assert_eq!(codes(&world.hour()), ["Progressing"]);
    assert_eq!(world.in_force.as_ref().unwrap().len(), 600_000);
    world.policy.false_alarm_rate = Probability::new(0.5).unwrap();
    world.policy.gates.clear();
    assert_eq!(codes(&world.hour()), ["RulesAreFixed", "Progressing"]);
    let rules = &world.status.running.as_ref().unwrap().rules;
    assert_eq!((rules.false_alarm_rate.get(), rules.gates.len()), (0.05, 2));
    assert_eq!(rules.share, Weight::from_percent(60));
}

#[test]
fn a_permanent_holdback_tells_its_verdict_and_goes_on() {
    let mut world = World::with(12, "b", Nature { reward: 0.1, ..SAME });
    world.policy.max_duration = None;
    world.policy.arms = vec![arm("control", 1), Arm { treatment: Treatment::Baseline, ..arm("b", 0) }];
    world.layers = Layers::default().allocate(std::slice::from_ref(&world.policy), Weight::ZERO).unwrap();
    let plan = world.hours(24 * 20);
    assert_eq!(codes(&plan), ["Measuring"]);
    assert!(plan.reasons[0].message.contains("b: reward: worse on the canary"), "{}", plan.reasons[0].message);
    assert_eq!(world.open_arms(), ["control", "b"]);
}

#[test]
fn the_same_input_gives_the_same_plan_and_what_is_stored_is_what_was() {
    let (mut one, mut other) = (World::with(13, "b", Nature { reward: 0.25, ..SAME }), World::new(13));
    other.natures.clone_from(&one.natures);
    for _ in 0..60 {
        let plan = one.hour();
        assert_eq!(plan, other.hour(), "I6");
        let stored = serde_json::to_string(&other.status).unwrap();
        assert!(stored.len() < 64_000, "{} bytes", stored.len());
        other.status = serde_json::from_str(&stored).unwrap();
        assert_eq!(other.status, one.status);
    }
}

/// A/A/A, looked at every hour: any verdict is a false one. At 5 % it may be 15 of 300; 27 is beyond the 99.9 % quantile.
#[test]
fn equal_arms_get_a_verdict_no_more_often_than_declared() {
    const RUNS: u64 = 300;
    let mut wrong = BTreeMap::new();
    for run in 0..RUNS {
        let mut world = World::new(1_000 + run);
        world.policy.max_duration = Some(48 * HOUR);
        (world.policy.min_users, world.policy.min_requests) = (0, 1_000);
        let record = world.until_ended(50);
        let closed = record.arms.iter().any(|arm| arm.closed.is_some() || arm.verdict != ArmVerdict::None);
        if closed || record.result != ExperimentResult::Inconclusive {
            *wrong.entry(format!("{:?}", record.result)).or_insert(0) += 1;
        }
    }
    let stops: u32 = wrong.values().sum();
    assert!(stops <= 26, "{stops} of {RUNS}: {wrong:?}");
    println!("{stops} of {RUNS} false verdicts: {wrong:?}");
}
