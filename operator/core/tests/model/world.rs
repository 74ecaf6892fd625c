//! A model under observation: time passes, windows come, runs end, and every plan is checked for what always holds.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_core::endpoint::RolloutResult;
use fairway_core::model::{
    Champion, Erasure, ModelEffect, ModelObserved, ModelRequest, ModelStatus, NewRows, RunEnd, RunMode, decide,
};
use fairway_core::policy::{AdmissionPolicy, Degradation, ModelPolicy, RunPolicy};
use fairway_core::{Condition, Plan, Reason};
use fairway_stats::{Bins, Histogram};
use fairway_wire::{Arm, ArmKey, FeatureProfile, Pair, PairKey, Profile, Rival, Target, Track, Window};
use jiff::Timestamp;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn policy() -> ModelPolicy {
    ModelPolicy {
        admission: AdmissionPolicy::default(),
        run: RunPolicy::default(),
        drift_psi: 0.25,
        drift_window: Duration::from_secs(86_400),
        degradation: Degradation::ServeBaselineAndRetrain,
        period: 7 * DAY,
        schedule: None,
        new_data: None,
        max_age: Some(60 * DAY),
        erasure_lead: 15 * DAY,
        cooldown: 7 * DAY,
        after_rollout: Duration::ZERO,
        reward_within: Duration::ZERO,
        budget_runs: 6,
        budget_per: 30 * DAY,
        breaker: 3,
        half_open_after: None,
        run_deadline: DAY / 24,
        run_prefix: String::new(),
        suspended: false,
    }
}

pub(crate) fn histogram(counts: &[u64]) -> Histogram {
    let mut histogram = Histogram::with_len(counts.len());
    counts.iter().enumerate().for_each(|(i, n)| histogram.add_n(i, *n));
    histogram
}

/// What training saw: two segments and hardly anything else, scores spread evenly.
fn profile() -> Profile {
    let bins = Bins::Categories { names: vec!["a".into(), "b".into()] };
    let feature =
        |counts: &[u64], is_score| FeatureProfile { bins: bins.clone(), reference: histogram(counts), is_score };
    let features =
        [("segment", feature(&[5_000, 4_900, 50, 50], false)), ("score", feature(&[5_000, 5_000, 0, 0], true))];
    Profile {
        features: features.map(|(name, feature)| (name.to_owned(), feature)).into(),
        consumed: Some(feature(&[5_000, 4_000, 1_000, 0], false)),
        ..Profile::default()
    }
}

pub(crate) struct World {
    pub(crate) policy: ModelPolicy,
    pub(crate) status: ModelStatus,
    pub(crate) now: Timestamp,
    pub(crate) champion: Option<(Target, Timestamp)>,
    pub(crate) profile: Profile,
    pub(crate) consumed: [u64; 4],
    /// Features of the requests in each window; empty: no requests.
    pub(crate) features: BTreeMap<&'static str, [u64; 4]>,
    pub(crate) champion_minus_popularity: f64,
    /// Routers report.
    pub(crate) reporting: bool,
    pub(crate) rollout_active: bool,
    pub(crate) candidate_waiting: bool,
    pub(crate) awaiting: Option<Reason>,
    pub(crate) data_fault: Option<Reason>,
    pub(crate) new_rows: Option<NewRows>,
    pub(crate) erasure: Option<Erasure>,
    pub(crate) ended: Vec<(String, RolloutResult)>,
    pub(crate) end: Option<RunEnd>,
    pub(crate) requests: Vec<ModelRequest>,
    pub(crate) started: Vec<String>,
    pub(crate) modes: Vec<RunMode>,
    pub(crate) codes: Vec<String>,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) next_look: Timestamp,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        Self {
            policy: policy(),
            status: ModelStatus::default(),
            now,
            champion: None,
            profile: profile(),
            consumed: [500, 400, 100, 0],
            features: BTreeMap::new(),
            champion_minus_popularity: 0.5,
            reporting: true,
            rollout_active: false,
            candidate_waiting: false,
            awaiting: None,
            data_fault: None,
            new_rows: None,
            erasure: None,
            ended: Vec::new(),
            end: None,
            requests: Vec::new(),
            started: Vec::new(),
            modes: Vec::new(),
            codes: Vec::new(),
            reasons: Vec::new(),
            conditions: Vec::new(),
            next_look: now,
        }
    }

    pub(crate) fn serving() -> Self {
        let mut world = Self::new();
        world.promote(1);
        world
    }

    pub(crate) fn promote(&mut self, version: u64) {
        self.champion = Some((Target { version, digest: format!("d{version}") }, self.now));
    }

    /// A quarter of a day passes.
    pub(crate) fn look(&mut self) {
        self.look_after(DAY / 4);
    }

    pub(crate) fn look_after(&mut self, pause: Duration) {
        let from = self.now;
        self.now += pause;
        let windows = if self.reporting { vec![self.window(from)] } else { Vec::new() };
        let observed = ModelObserved {
            status: &self.status,
            champion: self.champion.as_ref().map(|(target, trained)| Champion {
                target,
                trained_through: *trained,
                profile: &self.profile,
            }),
            candidate_waiting: self.candidate_waiting,
            rollout_active: self.rollout_active,
            awaiting_approval: self.awaiting.as_ref(),
            data_fault: self.data_fault.as_ref(),
            new_rows: self.new_rows,
            erasure: self.erasure,
            ended_rollouts: &self.ended,
            windows: &windows,
            run_end: self.end.as_ref(),
            requests: &self.requests,
        };
        let plan = decide(&self.policy, &observed, self.now);
        assert_eq!(plan, decide(&self.policy, &observed, self.now), "I6: same input, same plan");
        self.take(plan);
    }

    fn window(&self, from: Timestamp) -> Window {
        let mut window = Window::new("r", 0, from, self.now);
        window.consumed = Some(histogram(&self.consumed));
        let Some((target, _)) = &self.champion else { return window };
        let key = PairKey { digest: target.digest.clone(), against: Rival::Popularity, generation: 1 };
        let mut pair = Pair::default();
        for i in 0..50_u8 {
            let noise = if i % 2 == 0 { 0.3 } else { -0.3 };
            pair.difference.record(i, self.champion_minus_popularity + noise);
            pair.base.record(i, 1.0);
        }
        window.pairs.insert(key, pair);
        let arm = Arm {
            requests: self.features.values().map(|counts| counts.iter().sum()).max().unwrap_or(0),
            features: self.features.iter().map(|(name, counts)| ((*name).to_owned(), histogram(counts))).collect(),
            ..Arm::default()
        };
        let key =
            ArmKey { digest: target.digest.clone(), track: Track::Stable, segment: String::new(), arm: String::new() };
        window.arms.insert(key, arm);
        window
    }

    fn take(&mut self, plan: Plan<ModelEffect, ModelStatus>) {
        let stored = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan<ModelEffect, ModelStatus>>(&stored).unwrap(), plan);
        assert!(plan.next_look > self.now && plan.next_look <= self.now + DAY / 24);
        self.codes.extend(plan.reasons.iter().map(|reason| reason.code.clone()));
        self.reasons.extend(plan.reasons);
        for effect in &plan.effects {
            if let ModelEffect::StartRun { name, mode, .. } = effect {
                assert!(!self.started.contains(name), "I8: {name} runs again");
                self.started.push(name.clone());
                self.modes.push(*mode);
            }
        }
        (self.status, self.conditions, self.next_look) = (plan.status, plan.conditions, plan.next_look);
        self.end = None;
        self.requests.clear();
    }

    pub(crate) fn days(&mut self, n: usize) {
        for _ in 0..4 * n {
            self.look();
        }
    }

    /// Days on which every run ends like this as soon as it has started.
    pub(crate) fn days_ending(&mut self, n: usize, end: &RunEnd) {
        for _ in 0..4 * n {
            self.end = self.status.run.as_ref().map(|_| end.clone());
            self.look();
        }
    }

    pub(crate) fn ask(&mut self, name: &str, force: bool) {
        self.requests.push(ModelRequest::Start { name: name.into(), reason: "CI".into(), force });
    }

    pub(crate) fn drift(&mut self) {
        self.consumed = [100, 100, 800, 0];
    }

    pub(crate) fn said(&self, code: &str) -> bool {
        self.codes.iter().any(|said| said == code)
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

pub(crate) fn rejected() -> RunEnd {
    RunEnd::Rejected { why: "recall".into() }
}

pub(crate) fn registered() -> RunEnd {
    RunEnd::Registered { version: 2 }
}
