//! An endpoint's world: windows in, plans out, effects carried out at once, and routers that count what the rates say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_core::Plan;
use fairway_core::endpoint::{
    AskedExperiment, EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, RolloutResult, decide,
};
use fairway_core::experiment::Record;
use fairway_core::policy::{
    EndpointPolicy, Margin, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Probability, RolloutGate, Step, Steps,
};
use fairway_wire::{Arm, ArmKey, ErrorKind, Route, Target, Track, Weight, Window, arm_name};
use jiff::Timestamp;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const LEASE: Duration = Duration::from_secs(600);

pub fn target(version: u64) -> Target {
    Target { version, digest: format!("sha256:{version:064}") }
}

pub fn policy() -> EndpointPolicy {
    let step = |percent, hold| Step { weight: Weight::from_percent(percent), hold, segments: Vec::new() };
    EndpointPolicy {
        steps: Steps::new(vec![step(5, HOUR / 2), step(25, HOUR), step(50, HOUR)]).unwrap(),
        min_requests: 500,
        gates: vec![RolloutGate::Errors { tolerance: 0.1 }, RolloutGate::Reward { tolerance: Margin::Relative(0.02) }],
        require_proof: false,
        shadow: false,
        false_alarm_rate: Probability::new(0.05).unwrap(),
        max_duration: 72 * HOUR,
        on_inconclusive: OnInconclusive::Pause,
        on_missing_telemetry: OnMissingTelemetry::Hold,
        on_low_traffic: OnLowTraffic::Pause,
        freezes: Vec::new(),
        bake: 2 * HOUR,
        reward_within: HOUR,
        promotes: true,
        holdback: Weight::ZERO,
        slow_over: Duration::from_millis(50),
        deadline: Duration::from_millis(250),
        scaling: None,
    }
}

/// SplitMix64's finalizer (Steele, Lea & Flood, OOPSLA 2014): even bits from a counter.
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What so many routers report of the same traffic, each request by one of them.
fn split(window: &Window, routers: u64) -> Vec<Window> {
    let part = |router: u64| {
        let share = |n: u64| n / routers + u64::from(router < n % routers);
        let mut part = Window::new(&format!("{}{router}", window.replica), window.seq, window.start, window.end);
        part.generation = window.generation;
        for (key, arm) in &window.arms {
            let mut mine = Arm { requests: share(arm.requests), ..Arm::default() };
            mine.errors = arm.errors.iter().map(|(kind, n)| (*kind, share(*n))).collect();
            if router == 0 {
                mine = Arm { reward: arm.reward.clone(), new_users: arm.new_users.clone(), ..mine };
            }
            part.arms.insert(key.clone(), mine);
        }
        part
    };
    (0..routers).map(part).collect()
}

/// A world in which effects are carried out at once and routers count what the rates say.
pub struct World {
    pub policy: EndpointPolicy,
    pub status: EndpointStatus,
    pub now: Timestamp,
    pub wanted: Option<Target>,
    pub ready: BTreeSet<String>,
    pub broken: BTreeMap<String, String>,
    pub unapproved: BTreeMap<String, String>,
    pub route: Option<Route>,
    pub champions: Vec<u64>,
    pub seq: u64,
    pub requests_a_minute: u64,
    pub canary_errors: f64,
    pub canary_reward: f64,
    /// The baseline is shown in stable's place; it earns 0.2, and never fails.
    pub serve_baseline: bool,
    /// A version that no server gets loaded.
    pub never_loads: Option<Target>,
    /// Routers that share the traffic.
    pub routers: u64,
    pub silent: bool,
    pub matured: Vec<(Timestamp, Window)>,
    pub experiments: Vec<AskedExperiment>,
    /// Reward and errors of an arm's requests, by `experiment/arm`; 0.2 and none unless told.
    pub natures: BTreeMap<String, (f64, f64)>,
    pub archived: Vec<Record>,
    users: u64,
}

impl World {
    pub fn new() -> Self {
        Self {
            policy: policy(),
            status: EndpointStatus::default(),
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            wanted: None,
            ready: BTreeSet::new(),
            broken: BTreeMap::new(),
            unapproved: BTreeMap::new(),
            route: None,
            champions: Vec::new(),
            seq: 0,
            requests_a_minute: 1_000,
            canary_errors: 0.0,
            canary_reward: 0.2,
            serve_baseline: false,
            never_loads: None,
            routers: 1,
            silent: false,
            matured: Vec::new(),
            experiments: Vec::new(),
            natures: BTreeMap::new(),
            archived: Vec::new(),
            users: 0,
        }
    }

    /// With version 1 as stable and 2 wanted.
    pub fn with_candidate() -> Self {
        let mut world = Self::new();
        world.wanted = Some(target(1));
        world.minutes(3);
        world.wanted = Some(target(2));
        world
    }

    pub fn minute(&mut self, requests: &[(String, RolloutRequest)]) -> Plan<EndpointEffect, EndpointStatus> {
        let from = self.now;
        self.now += MINUTE;
        let windows = if self.silent { Vec::new() } else { split(&self.count(from), self.routers) };
        let observed = EndpointObserved {
            status: &self.status,
            windows: &windows,
            wanted: self.wanted.as_ref(),
            ready: &self.ready,
            broken: &self.broken,
            unapproved: &self.unapproved,
            champion: self.champions.last().copied(),
            acked: self.route.as_ref().map_or(0, |route| route.generation),
            servers: None,
            requests,
            serve_baseline: self.serve_baseline,
            lease: LEASE,
            experiments: &self.experiments,
        };
        let plan = decide(&self.policy, &observed, self.now);
        assert_eq!(plan, decide(&self.policy, &observed, self.now), "I6: same input, same plan");
        let broken = fairway_core::invariants::endpoint(&self.policy, &observed, &plan, self.now);
        assert!(broken.is_empty(), "{broken:?}");
        let stored = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan<EndpointEffect, EndpointStatus>>(&stored).unwrap(), plan);
        for effect in &plan.effects {
            match effect {
                EndpointEffect::Load { target } if self.never_loads.as_ref() == Some(target) => {}
                EndpointEffect::Load { target } => drop(self.ready.insert(target.digest.clone())),
                EndpointEffect::Scale { .. } => {}
                EndpointEffect::Archive { record } => self.archived.push(Record::clone(record)),
                EndpointEffect::Unload { digest } => drop(self.ready.remove(digest)),
                EndpointEffect::SetRoute { route } => self.route = Some(route.clone()),
                EndpointEffect::MoveChampion { to, .. } => self.champions.push(to.version),
            }
        }
        self.status = plan.status.clone();
        plan
    }

    pub fn count(&mut self, from: Timestamp) -> Window {
        self.seq += 1;
        let mut window = Window::new("r", self.seq, from, self.now);
        let Some(route) = self.route.clone() else { return window };
        window.generation = route.generation;
        let share = route.canary.as_ref().map_or(0.0, |canary| f64::from(canary.weight.ppm()) / 1e6);
        let canary_requests = (self.requests_a_minute as f64 * share) as u64;
        let mut matured = Window::new("r", 0, from, self.now);
        let sides = [
            (route.stable.clone(), Track::Stable, self.requests_a_minute - canary_requests, 0.0, 0.2),
            (
                route.canary.map(|canary| canary.target),
                Track::Canary,
                canary_requests,
                self.canary_errors,
                self.canary_reward,
            ),
        ];
        for (target, track, requests, errors, reward) in sides {
            let Some(target) = target.filter(|_| requests > 0) else { continue };
            let digest = if track == Track::Stable && route.serve_baseline { String::new() } else { target.digest };
            let key = ArmKey { digest, track, segment: String::new(), arm: String::new() };
            let arm = window.arms.entry(key.clone()).or_default();
            arm.requests = requests;
            arm.errors.insert(ErrorKind::Error, (requests as f64 * errors) as u64);
            let late: &mut Arm = matured.arms.entry(key).or_default();
            let cells = late.reward.entry(route.generation).or_default();
            for i in 0..requests {
                let hash = mix(self.seq * 1_000_003 + i);
                let earns = ((hash >> 8) % 1_000) as f64 / 1_000.0 < reward;
                cells.record(hash as u8, f64::from(u8::from(earns)));
            }
        }
        for slice in &route.experiments {
            for portion in &slice.arms {
                let of_all = f64::from(slice.len()) * f64::from(portion.span.len()) / 1e12;
                let requests = (self.requests_a_minute as f64 * of_all) as u64;
                let name = arm_name(&slice.experiment, &portion.arm);
                let (reward, errors) = self.natures.get(&name).copied().unwrap_or((0.2, 0.0));
                let digest = portion.treatment.target().map_or_else(String::new, |target| target.digest.clone());
                let key = ArmKey { digest, track: Track::Experiment, segment: String::new(), arm: name };
                let arm = window.arms.entry(key.clone()).or_default();
                arm.requests = requests;
                arm.errors.insert(ErrorKind::Error, (requests as f64 * errors) as u64);
                // Every other request is of somebody new.
                let places = (0..requests / 2).map(|_| {
                    self.users += 1;
                    (mix(self.users) >> 20) as u16
                });
                arm.new_users = places.collect();
                let cells = matured.arms.entry(key).or_default().reward.entry(route.generation).or_default();
                for i in 0..requests {
                    let hash = mix(self.seq * 1_000_003 + i + 77);
                    let earns = ((hash >> 8) % 1_000) as f64 / 1_000.0 < reward;
                    cells.record(hash as u8, f64::from(u8::from(earns)));
                }
            }
        }
        self.matured.push((self.now + self.policy.reward_within, matured));
        let (ripe, green) = std::mem::take(&mut self.matured).into_iter().partition(|(at, _)| *at <= self.now);
        self.matured = green;
        for (_, late) in Vec::<(Timestamp, Window)>::from_iter(ripe) {
            let (start, end, generation) = (window.start, window.end, window.generation);
            window.merge(&late);
            (window.start, window.end, window.generation) = (start, end, generation);
        }
        window
    }

    pub fn minutes(&mut self, n: usize) {
        for _ in 0..n {
            self.minute(&[]);
        }
    }

    pub fn ask(&mut self, request: RolloutRequest) -> Vec<String> {
        let plan = self.minute(&[("ann".to_owned(), request)]);
        plan.reasons.into_iter().map(|reason| reason.code).collect()
    }

    pub fn weight(&self) -> f64 {
        self.route.as_ref().and_then(|route| route.canary.as_ref()).map_or(0.0, |canary| canary.weight.percent())
    }

    pub fn until_ended(&mut self, most: usize) -> RolloutResult {
        let before = self.status.history.len();
        for _ in 0..most {
            self.minute(&[]);
            if self.status.history.len() > before {
                return self.status.history.last().unwrap().result;
            }
        }
        panic!("no end after {most} minutes: {:?}", self.status.rollout);
    }
}
