//! The model's decision: triggers ask, guards hold back, one run at a time.

use std::time::Duration;

use fairway_core::endpoint::RolloutResult;
use fairway_core::model::{Champion, ModelEffect, ModelObserved, ModelRequest, ModelStatus, RunEnd, decide};
use fairway_core::policy::{Degradation, ModelPolicy};
use fairway_stats::{Bins, Histogram};
use fairway_wire::{FeatureProfile, Pair, PairKey, Profile, Rival, Target, Window};
use jiff::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

fn policy() -> ModelPolicy {
    ModelPolicy {
        gates: Vec::new(),
        drift_psi: 0.25,
        degradation: Degradation::ServeBaselineAndRetrain,
        period: 7 * DAY,
        max_age: Some(60 * DAY),
        cooldown: 7 * DAY,
        budget_runs: 6,
        budget_per: 30 * DAY,
        breaker: 3,
        run_deadline: DAY / 24,
    }
}

fn histogram(counts: &[u64]) -> Histogram {
    let mut histogram = Histogram::with_len(counts.len());
    counts.iter().enumerate().for_each(|(i, n)| histogram.add_n(i, *n));
    histogram
}

fn profile() -> Profile {
    let bins = Bins::Categories { names: vec!["a".into(), "b".into()] };
    let consumed = FeatureProfile { bins, reference: histogram(&[5_000, 4_000, 1_000, 0]), is_score: false };
    Profile { consumed: Some(consumed), ..Profile::default() }
}

struct World {
    policy: ModelPolicy,
    status: ModelStatus,
    now: Timestamp,
    champion: Option<(Target, Timestamp)>,
    profile: Profile,
    consumed: [u64; 4],
    champion_minus_popularity: f64,
    rollout_active: bool,
    ended: Vec<(String, RolloutResult)>,
    end: Option<RunEnd>,
    requests: Vec<ModelRequest>,
    started: Vec<String>,
    codes: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self {
            policy: policy(),
            status: ModelStatus::default(),
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            champion: None,
            profile: profile(),
            consumed: [500, 400, 100, 0],
            champion_minus_popularity: 0.5,
            rollout_active: false,
            ended: Vec::new(),
            end: None,
            requests: Vec::new(),
            started: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn serving() -> Self {
        let mut world = Self::new();
        world.promote(1);
        world
    }

    fn promote(&mut self, version: u64) {
        self.champion = Some((Target { version, digest: format!("d{version}") }, self.now));
    }

    /// A quarter of a day passes.
    fn look(&mut self) {
        let from = self.now;
        self.now += DAY / 4;
        let mut window = Window::new("r", 0, from, self.now);
        window.consumed = Some(histogram(&self.consumed));
        if let Some((target, _)) = &self.champion {
            let key = PairKey { digest: target.digest.clone(), against: Rival::Popularity, generation: 1 };
            let mut pair = Pair::default();
            for i in 0..50_u8 {
                let noise = if i % 2 == 0 { 0.3 } else { -0.3 };
                pair.difference.record(i, self.champion_minus_popularity + noise);
                pair.base.record(i, 1.0);
            }
            window.pairs.insert(key, pair);
        }
        let observed = ModelObserved {
            status: &self.status,
            champion: self.champion.as_ref().map(|(target, trained)| Champion {
                target,
                trained_through: *trained,
                profile: &self.profile,
            }),
            candidate_waiting: false,
            rollout_active: self.rollout_active,
            ended_rollouts: &self.ended,
            windows: &[window],
            run_end: self.end.as_ref(),
            requests: &self.requests,
        };
        let plan = decide(&self.policy, &observed, self.now);
        assert_eq!(plan, decide(&self.policy, &observed, self.now), "I6: same input, same plan");
        let stored = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<fairway_core::Plan<ModelEffect, ModelStatus>>(&stored).unwrap(), plan);
        self.codes.extend(plan.reasons.iter().map(|reason| reason.code.clone()));
        for effect in &plan.effects {
            if let ModelEffect::StartRun { name, .. } = effect {
                self.started.push(name.clone());
            }
        }
        self.status = plan.status;
        self.end = None;
        self.requests.clear();
    }

    fn days(&mut self, n: usize) {
        for _ in 0..4 * n {
            self.look();
        }
    }

    fn said(&self, code: &str) -> bool {
        self.codes.iter().any(|said| said == code)
    }
}

#[test]
fn without_a_version_the_first_run_starts_at_once_and_only_once() {
    let mut world = World::new();
    world.days(2);
    assert_eq!(world.started, ["0001-first"]);
}

#[test]
fn refused_data_are_tried_again_soon_and_leave_the_rest_alone() {
    let mut world = World::new();
    world.look();
    world.end = Some(RunEnd::DataRefused { code: "TooFewRows".into(), why: "12 rows; 1000 are needed".into() });
    world.days(1);
    assert_eq!(world.started.len(), 2);
    assert!(world.said("TooFewRows"));
    assert_eq!(world.status.rejections, 0);
}

#[test]
fn steady_traffic_starts_nothing_until_the_model_is_too_old() {
    let mut world = World::serving();
    world.days(59);
    assert_eq!(world.started, Vec::<String>::new());
    world.days(2);
    assert_eq!(world.started, ["0001-maxage"]);
}

#[test]
fn drift_needs_two_of_three_windows_and_then_starts_one_run() {
    let mut world = World::serving();
    world.days(3);
    world.consumed = [100, 100, 800, 0];
    world.days(1);
    assert_eq!(world.started, Vec::<String>::new());
    world.days(2);
    assert_eq!(world.started, ["0001-drift"]);
}

#[test]
fn a_degraded_champion_steps_back_and_returns_with_its_successor() {
    let mut world = World::serving();
    world.champion_minus_popularity = -0.2;
    world.days(15);
    assert!(world.status.serve_baseline);
    assert_eq!(world.started, ["0001-degradation"]);
    world.end = Some(RunEnd::Registered { version: 2 });
    world.look();
    world.promote(2);
    world.champion_minus_popularity = 0.5;
    world.look();
    assert!(!world.status.serve_baseline);
}

#[test]
fn guards_hold_back_and_say_why() {
    let mut world = World::serving();
    world.consumed = [100, 100, 800, 0];
    world.rollout_active = true;
    world.days(4);
    assert!(world.started.is_empty() && world.said("RolloutActive"));
    world.rollout_active = false;
    world.look();
    assert_eq!(world.started.len(), 1);
    world.end = Some(RunEnd::Rejected { why: "recall".into() });
    world.days(6);
    assert!(world.started.len() == 1 && world.said("Cooldown"));
    world.days(2);
    assert_eq!(world.started.len(), 2);
}

#[test]
fn the_budget_and_the_breaker_make_a_storm_impossible() {
    let mut world = World::serving();
    world.policy.cooldown = DAY / 8;
    world.consumed = [100, 100, 800, 0];
    for _ in 0..4 * 20 {
        if world.status.run.is_some() {
            world.end = Some(RunEnd::Registered { version: 2 });
        }
        world.look();
    }
    assert!(world.started.len() == 6 && world.said("BudgetSpent"));

    let mut world = World::serving();
    world.policy.cooldown = DAY / 8;
    world.consumed = [100, 100, 800, 0];
    for _ in 0..4 * 20 {
        if world.status.run.is_some() {
            world.end = Some(RunEnd::Rejected { why: "recall".into() });
        }
        world.look();
    }
    assert!(world.started.len() == 3 && world.said("BreakerOpen"));
    world.requests = vec![ModelRequest::Start { name: "by-hand".into(), reason: "fixed".into(), force: true }];
    world.look();
    assert_eq!((world.started.last().unwrap().as_str(), world.status.rejections), ("by-hand", 0));
}

#[test]
fn rollbacks_count_as_rejections_once_each() {
    let mut world = World::serving();
    world.ended = vec![("1-v2".into(), RolloutResult::RolledBack)];
    world.days(1);
    assert_eq!(world.status.rejections, 1);
    world.ended.push(("2-v3".into(), RolloutResult::Promoted));
    world.days(1);
    assert_eq!(world.status.rejections, 0);
}

#[test]
fn a_run_by_hand_meets_the_same_guards_unless_forced() {
    let mut world = World::serving();
    world.status.cooldown_until = Some(world.now + DAY);
    let start = |force| ModelRequest::Start { name: "ci-1".into(), reason: "CI".into(), force };
    world.requests = vec![start(false)];
    world.look();
    assert!(world.started.is_empty() && world.said("Cooldown"));
    world.requests = vec![start(true)];
    world.look();
    assert_eq!(world.started, ["ci-1"]);
    world.requests = vec![ModelRequest::Start { name: "ci-2".into(), reason: "CI".into(), force: true }];
    world.look();
    assert!(world.started.len() == 1 && world.said("RunActive"));
}
