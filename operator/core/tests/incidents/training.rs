//! A model whose loop is looked at every six hours, or as a test says: windows in, runs out.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_core::endpoint::RolloutResult;
use fairway_core::model::{Champion, ModelEffect, ModelObserved, ModelRequest, ModelStatus, NewRows, RunEnd, decide};
use fairway_core::policy::{AdmissionPolicy, Degradation, ModelPolicy, RunPolicy};
use fairway_core::{Condition, Reason};
use fairway_stats::{Bins, Histogram};
use fairway_wire::{Arm, ArmKey, FeatureProfile, Pair, PairKey, Profile, Rival, Target, Track, Window};
use jiff::Timestamp;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

fn policy() -> ModelPolicy {
    ModelPolicy {
        admission: AdmissionPolicy::default(),
        run: RunPolicy::default(),
        drift_psi: 0.25,
        drift_window: Duration::from_secs(86_400),
        degradation: Degradation::Retrain,
        period: 7 * DAY,
        schedule: None,
        new_data: None,
        max_age: None,
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

fn histogram(counts: &[u64]) -> Histogram {
    let mut histogram = Histogram::with_len(counts.len());
    counts.iter().enumerate().for_each(|(bin, n)| histogram.add_n(bin, *n));
    histogram
}

/// Two segments and hardly anything else, and what was consumed.
fn profile() -> Profile {
    let bins = Bins::Categories { names: vec!["a".into(), "b".into()] };
    let feature = |counts: &[u64]| FeatureProfile { bins: bins.clone(), reference: histogram(counts), is_score: false };
    Profile {
        features: BTreeMap::from([("segment".to_owned(), feature(&[5_000, 4_900, 50, 50]))]),
        consumed: Some(feature(&[5_000, 4_000, 1_000, 0])),
        ..Profile::default()
    }
}

pub(crate) struct Training {
    pub(crate) policy: ModelPolicy,
    pub(crate) status: ModelStatus,
    pub(crate) now: Timestamp,
    champion: (Target, Timestamp),
    profile: Profile,
    /// What users consume in each window.
    pub(crate) consumed: [u64; 4],
    /// Segments of the requests in each window.
    pub(crate) segments: [u64; 4],
    /// What the champion earns more than popularity.
    pub(crate) gain: f64,
    pub(crate) reporting: bool,
    pub(crate) rollout_active: bool,
    pub(crate) new_rows: Option<NewRows>,
    pub(crate) ended: Vec<(String, RolloutResult)>,
    pub(crate) end: Option<RunEnd>,
    pub(crate) asked: Vec<ModelRequest>,
    /// Runs that were started, by name, as often as they were.
    pub(crate) started: Vec<String>,
    /// Runs that were told to stop, as often as they were.
    pub(crate) cancelled: Vec<String>,
    /// All reasons so far.
    pub(crate) said: Vec<Reason>,
    pub(crate) conditions: Vec<Condition>,
}

impl Training {
    /// Version 1 serves, and all is as it was in training.
    pub(crate) fn serving() -> Self {
        let now: Timestamp = "2023-11-14T22:13:20Z".parse().unwrap();
        Self {
            policy: policy(),
            status: ModelStatus::default(),
            now,
            champion: (Target { version: 1, digest: "sha256:1".into() }, now),
            profile: profile(),
            consumed: [500, 400, 100, 0],
            segments: [500, 490, 5, 5],
            gain: 0.5,
            reporting: true,
            rollout_active: false,
            new_rows: None,
            ended: Vec::new(),
            end: None,
            asked: Vec::new(),
            started: Vec::new(),
            cancelled: Vec::new(),
            said: Vec::new(),
            conditions: Vec::new(),
        }
    }

    /// What users want has changed.
    pub(crate) fn drift(&mut self) {
        self.consumed = [100, 100, 800, 0];
    }

    /// Another version serves, trained on what users want now.
    pub(crate) fn promote(&mut self, version: u64) {
        self.champion = (Target { version, digest: format!("sha256:{version}") }, self.now);
        if let Some(consumed) = &mut self.profile.consumed {
            consumed.reference = histogram(&self.consumed.map(|n| 10 * n));
        }
    }

    pub(crate) fn look_after(&mut self, pause: Duration) {
        let from = self.now;
        self.now += pause;
        let windows = if self.reporting { vec![self.window(from)] } else { Vec::new() };
        let observed = ModelObserved {
            status: &self.status,
            champion: Some(Champion {
                target: &self.champion.0,
                trained_through: self.champion.1,
                profile: &self.profile,
            }),
            candidate_waiting: false,
            rollout_active: self.rollout_active,
            awaiting_approval: None,
            data_fault: None,
            new_rows: self.new_rows,
            erasure: None,
            ended_rollouts: &self.ended,
            windows: &windows,
            run_end: self.end.as_ref(),
            requests: &self.asked,
        };
        let plan = decide(&self.policy, &observed, self.now);
        assert_eq!(plan, decide(&self.policy, &observed, self.now), "two controllers decide the same");
        for effect in &plan.effects {
            match effect {
                ModelEffect::StartRun { name, .. } => self.started.push(name.clone()),
                ModelEffect::CancelRun { name, .. } => self.cancelled.push(name.clone()),
            }
        }
        self.said.extend(plan.reasons);
        (self.status, self.conditions) = (plan.status, plan.conditions);
        self.end = None;
        self.asked.clear();
    }

    pub(crate) fn look(&mut self) {
        self.look_after(DAY / 4);
    }

    pub(crate) fn days(&mut self, n: usize) {
        (0..4 * n).for_each(|_| self.look());
    }

    /// Days on which each run ends like this, six hours after it has started.
    pub(crate) fn days_ending(&mut self, n: usize, end: &RunEnd) {
        for _ in 0..4 * n {
            self.end = self.status.run.as_ref().map(|_| end.clone());
            self.look();
        }
    }

    pub(crate) fn ask(&mut self, name: &str, force: bool) {
        self.asked.push(ModelRequest::Start { name: name.into(), reason: "CI".into(), force });
    }

    pub(crate) fn has_said(&self, code: &str) -> bool {
        self.said.iter().any(|reason| reason.code == code)
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<(bool, &str)> {
        let found = self.conditions.iter().find(|condition| condition.kind == kind)?;
        Some((found.status, found.reason.code.as_str()))
    }

    fn window(&self, from: Timestamp) -> Window {
        let mut window = Window::new("r", 0, from, self.now);
        window.consumed = Some(histogram(&self.consumed));
        let digest = self.champion.0.digest.clone();
        let mut pair = Pair::default();
        for cell in 0..50_u8 {
            let noise = if cell % 2 == 0 { 0.3 } else { -0.3 };
            pair.difference.record(cell, self.gain + noise);
            pair.base.record(cell, 1.0);
        }
        window.pairs.insert(PairKey { digest: digest.clone(), against: Rival::Popularity, generation: 1 }, pair);
        let arm = Arm {
            requests: self.segments.iter().sum(),
            features: BTreeMap::from([("segment".to_owned(), histogram(&self.segments))]),
            ..Arm::default()
        };
        window.arms.insert(ArmKey { digest, track: Track::Stable, segment: String::new(), arm: String::new() }, arm);
        window
    }
}
