//! Endpoints and models in the middle of their lives, for the bench of a single decision. Nothing in them is put there by
//! hand: windows were decided on until they were so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_core::endpoint::{EndpointEffect, EndpointInputs, EndpointStatus, decide};
use fairway_core::model::{self, Champion, ModelObserved, ModelStatus};
use fairway_core::policy::{
    AdmissionPolicy, Degradation, EndpointPolicy, Margin, ModelPolicy, PolicyError, RolloutGate, RunPolicy, Step, Steps,
};
use fairway_stats::{Bins, Histogram};
use fairway_wire::{
    Arm, ArmKey, ErrorKind, FeatureProfile, Pair, PairKey, Profile, Rival, Target, Track, Weight, Window,
};
use jiff::Timestamp;

use crate::fairway;
use crate::plan::{Plan, STEPS};

/// Segments that are eligible.
pub const SEGMENTS: usize = 10;
/// Requests of a window.
const REQUESTS: u64 = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(30);

/// The plan's steps for ten named segments, with five gates: there are three kinds, so errors and reward are asked twice.
///
/// # Errors
/// Never: its numbers are right.
pub fn endpoint_policy(plan: Plan) -> Result<EndpointPolicy, PolicyError> {
    let segments: Vec<String> = (0..SEGMENTS).map(segment).collect();
    let hold = MINUTE * plan.hold as u32;
    let step = |weight| Step { weight: Weight::from_percent(weight), hold, segments: segments.clone() };
    let over = Duration::from_millis(50);
    Ok(EndpointPolicy {
        steps: Steps::new(STEPS.map(step).to_vec())?,
        gates: vec![
            RolloutGate::Errors { tolerance: 0.1 },
            RolloutGate::Slow { over, tolerance: 0.2 },
            RolloutGate::Reward { tolerance: Margin::Relative(0.02) },
            RolloutGate::Errors { tolerance: 0.2 },
            RolloutGate::Reward { tolerance: Margin::Absolute(0.01) },
        ],
        ..fairway::policy(plan, fairway::ERRORS, fairway::REWARD)?
    })
}

/// The model's policy as manifests have it by default, with degradation.
pub fn model_policy() -> ModelPolicy {
    let day = Duration::from_secs(86_400);
    ModelPolicy {
        admission: AdmissionPolicy::default(),
        run: RunPolicy::default(),
        drift_psi: 0.25,
        drift_window: Duration::from_secs(86_400),
        degradation: Degradation::ServeBaselineAndRetrain,
        period: 7 * day,
        schedule: None,
        new_data: None,
        max_age: Some(60 * day),
        erasure_lead: Duration::ZERO,
        cooldown: 7 * day,
        after_rollout: Duration::ZERO,
        reward_within: 7 * day,
        budget_runs: 6,
        budget_per: 30 * day,
        breaker: 3,
        half_open_after: None,
        run_deadline: day,
        run_prefix: String::new(),
        suspended: false,
    }
}

fn segment(nth: usize) -> String {
    format!("segment {nth}")
}

fn target(version: u64) -> Target {
    Target { version, digest: format!("sha256:{version:064}") }
}

/// An endpoint, with what is observed of it beside windows.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What it remembers.
    pub status: EndpointStatus,
    /// What is observed.
    pub inputs: EndpointInputs,
    /// Its time.
    pub now: Timestamp,
    /// Its routers' windows so far.
    pub seq: u64,
}

impl Endpoint {
    /// Version 1 serves, and nothing else is wanted.
    pub fn idle(policy: &EndpointPolicy) -> Self {
        let inputs = EndpointInputs {
            wanted: Some(target(1)),
            ready: BTreeSet::new(),
            broken: BTreeMap::new(),
            unapproved: BTreeMap::new(),
            champion: None,
            acked: 0,
            servers: None,
            requests: Vec::new(),
            serve_baseline: false,
            lease: LEASE,
            experiments: Vec::new(),
        };
        let mut endpoint = Self { status: EndpointStatus::default(), inputs, now: Timestamp::UNIX_EPOCH, seq: 0 };
        (0..10).for_each(|_| endpoint.minute(policy));
        endpoint
    }

    /// Version 2 is on its last step, and each step's reward has come.
    pub fn in_rollout(policy: &EndpointPolicy, plan: Plan) -> Self {
        let mut endpoint = Self::idle(policy);
        endpoint.inputs.wanted = Some(target(2));
        (0..plan.end()).for_each(|_| endpoint.minute(policy));
        endpoint
    }

    fn minute(&mut self, policy: &EndpointPolicy) {
        let window = self.next_window();
        self.now = window.end;
        self.seq = window.seq;
        let plan = decide(policy, &self.inputs.with(&self.status, &[window]), self.now);
        for effect in plan.effects {
            match effect {
                EndpointEffect::Load { target } => drop(self.inputs.ready.insert(target.digest)),
                EndpointEffect::Unload { digest } => drop(self.inputs.ready.remove(&digest)),
                EndpointEffect::SetRoute { route } => self.inputs.acked = route.generation,
                EndpointEffect::MoveChampion { to, .. } => self.inputs.champion = Some(to.version),
                EndpointEffect::Scale { .. } | EndpointEffect::Archive { .. } => {}
            }
        }
        self.status = plan.status;
    }

    /// What its router says of the next minute: 10,000 requests of ten segments, split by the weight, of which 1 % failed and
    /// 2 % were slow, and their reward, .2 and matured at once.
    pub fn next_window(&self) -> Window {
        let mut window = Window::new("router", self.seq + 1, self.now, self.now + MINUTE);
        let Some(route) = &self.status.route else { return window };
        window.generation = route.generation;
        let share = route.canary.as_ref().map_or(0.0, |canary| canary.weight.percent() / 100.0);
        let sides = [
            (route.stable.as_ref(), Track::Stable, 1.0 - share),
            (route.canary.as_ref().map(|canary| &canary.target), Track::Canary, share),
        ];
        for (target, track, share) in sides {
            let Some(target) = target else { continue };
            let requests = (REQUESTS as f64 * share / SEGMENTS as f64) as u64;
            for nth in 0..SEGMENTS {
                let key = ArmKey { digest: target.digest.clone(), track, segment: segment(nth), arm: String::new() };
                window.arms.insert(key, arm(requests, route.generation));
            }
        }
        let popularity = Rival::Popularity;
        if let Some(stable) = &route.stable {
            let key = PairKey { digest: stable.digest.clone(), against: popularity, generation: route.generation };
            let mut pair = Pair::default();
            (0..=u8::MAX).for_each(|cell| {
                pair.difference.record(cell, 0.1);
                pair.base.record(cell, 0.1);
            });
            window.pairs.insert(key, pair);
        }
        window.consumed = Some(histogram(10, REQUESTS / 10));
        window
    }
}

fn arm(requests: u64, generation: u64) -> Arm {
    let mut arm = Arm { requests, slow: requests / 50, ..Arm::default() };
    arm.errors.insert(ErrorKind::Error, requests / 100);
    for nth in 0..requests {
        arm.errors_by_cell.record((nth * 37) as u8, f64::from(u8::from(nth % 100 == 99)));
        arm.slow_by_cell.record((nth * 41) as u8, f64::from(u8::from(nth % 50 == 49)));
    }
    let cells = arm.reward.entry(generation).or_default();
    (0..requests).for_each(|nth| cells.record((nth * 37) as u8, f64::from(u8::from(nth % 5 == 0))));
    for name in ["historyLength", "score", "segment"] {
        arm.features.insert(name.to_owned(), histogram(12, requests / 12));
    }
    arm
}

fn histogram(bins: usize, each: u64) -> Histogram {
    let mut histogram = Histogram::with_len(bins);
    (0..bins).for_each(|bin| histogram.add_n(bin, each));
    histogram
}

/// What the model's loop watches: three features on twelve bins, and what is consumed on ten.
pub fn profile() -> Profile {
    let feature = |is_score| FeatureProfile {
        bins: Bins::Quantiles { edges: (1..11).map(f64::from).collect() },
        reference: histogram(12, 1_000),
        is_score,
    };
    let consumed = FeatureProfile {
        bins: Bins::Quantiles { edges: (1..9).map(f64::from).collect() },
        reference: histogram(10, 1_000),
        is_score: false,
    };
    let features = [("historyLength", false), ("score", true), ("segment", false)];
    let features = features.map(|(name, is_score)| (name.to_owned(), feature(is_score))).into_iter().collect();
    Profile { features, consumed: Some(consumed), consumed_bin: Vec::new() }
}

/// A look at a model whose version 1 serves.
pub fn model_observed<'a>(
    status: &'a ModelStatus,
    target: &'a Target,
    profile: &'a Profile,
    windows: &'a [Window],
    rollout_active: bool,
) -> ModelObserved<'a> {
    ModelObserved {
        status,
        champion: Some(Champion { target, trained_through: Timestamp::UNIX_EPOCH, profile }),
        candidate_waiting: rollout_active,
        rollout_active,
        awaiting_approval: None,
        data_fault: None,
        new_rows: None,
        erasure: None,
        ended_rollouts: &[],
        windows,
        run_end: None,
        requests: &[],
    }
}

/// A model that has watched its endpoint for two days.
pub fn watching_model(policy: &ModelPolicy, endpoint: &Endpoint) -> (ModelStatus, Target, Profile) {
    let (mut status, champion, profile) = (ModelStatus::default(), target(1), profile());
    for minutes in 1..2 * 1_440 / 10 {
        let mut window = endpoint.next_window();
        (window.seq, window.end) = (minutes, endpoint.now + MINUTE * 10 * minutes as u32);
        let now = window.end;
        let windows = [window];
        status = model::decide(policy, &model_observed(&status, &champion, &profile, &windows, false), now).status;
    }
    (status, champion, profile)
}
