//! A shop with routers and servers that the decisions drive: windows in, plans out. Effects are carried out at once, or are
//! lost with the process and repeated; routers may take a route late; servers may be lost, or never load a version.
//!
//! It keeps its own account: nothing may be unloaded while a router still sends users there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use fairway_core::Plan;
use fairway_core::endpoint::{EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, RolloutResult, decide};
use fairway_core::policy::{
    EndpointPolicy, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Probability, RolloutGate, Step, Steps,
};
use fairway_core::scaling::{Bounds, Decision, Sample, Scaler, ScalingPolicy};
use fairway_stats::Cells;
use fairway_wire::{ArmKey, ErrorKind, PairKey, Rival, Route, Target, Track, Weight, Window};
use jiff::Timestamp;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
const LEASE: Duration = Duration::from_secs(60);

pub(crate) fn target(version: u64) -> Target {
    Target { version, digest: format!("sha256:{version:064}") }
}

pub(crate) fn steps(percents: &[u8]) -> Steps {
    let step = |percent: &u8| Step { weight: Weight::from_percent(*percent), hold: HOUR / 2, segments: Vec::new() };
    Steps::new(percents.iter().map(step).collect()).unwrap()
}

/// Steps of 5, 25 and 50 % for half an hour each, one gate on errors, and two hours of bake.
fn policy() -> EndpointPolicy {
    EndpointPolicy {
        steps: steps(&[5, 25, 50]),
        min_requests: 500,
        gates: vec![RolloutGate::Errors { tolerance: 0.1 }],
        require_proof: false,
        shadow: false,
        false_alarm_rate: Probability::new(0.05).unwrap(),
        max_duration: 12 * HOUR,
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

/// What a version does to requests.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// Share that it fails.
    pub(crate) errors: f64,
    /// Mean reward of an exposure.
    pub(crate) reward: f64,
}

/// A router: the route that it has taken, and whether it takes new ones.
pub(crate) struct Router {
    pub(crate) route: Option<Route>,
    pub(crate) behind: bool,
    seq: u64,
}

pub(crate) struct Shop {
    pub(crate) policy: EndpointPolicy,
    pub(crate) status: EndpointStatus,
    pub(crate) now: Timestamp,
    pub(crate) wanted: Option<Target>,
    pub(crate) ready: BTreeSet<String>,
    /// Digests that no server gets loaded, however often it is asked.
    pub(crate) unloadable: BTreeSet<String>,
    pub(crate) broken: BTreeMap<String, String>,
    pub(crate) unapproved: BTreeMap<String, String>,
    pub(crate) champion: Option<u64>,
    pub(crate) routers: Vec<Router>,
    pub(crate) requests_a_minute: u64,
    pub(crate) behaviour: BTreeMap<String, Behaviour>,
    /// No window arrives.
    pub(crate) silent: bool,
    /// Each window arrives twice.
    pub(crate) twice: bool,
    /// The process is killed after so many effects of each plan; the next one repeats the plan's effects.
    pub(crate) killed_after: Option<usize>,
    /// The last plan.
    pub(crate) plan: Option<Plan<EndpointEffect, EndpointStatus>>,
    /// Effects that were carried out.
    pub(crate) done: Vec<(Timestamp, EndpointEffect)>,
    /// Who was stable after each look.
    pub(crate) stable_at: Vec<(Timestamp, Option<u64>)>,
    /// The route that routers are to take.
    config: Option<Route>,
    /// Versions whose servers are lost at the end of this minute.
    falling: BTreeSet<String>,
    unripe: Vec<(Timestamp, usize, ArmKey, u64, Cells)>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let router = || Router { route: None, behind: false, seq: 0 };
        Self {
            policy: policy(),
            status: EndpointStatus::default(),
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            wanted: None,
            ready: BTreeSet::new(),
            unloadable: BTreeSet::new(),
            broken: BTreeMap::new(),
            unapproved: BTreeMap::new(),
            champion: None,
            routers: vec![router(), router()],
            requests_a_minute: 1_000,
            behaviour: BTreeMap::new(),
            silent: false,
            twice: false,
            killed_after: None,
            plan: None,
            done: Vec::new(),
            stable_at: Vec::new(),
            config: None,
            falling: BTreeSet::new(),
            unripe: Vec::new(),
        }
    }

    /// Version 1 serves everybody.
    pub(crate) fn serving() -> Self {
        let mut shop = Self::new();
        shop.wanted = Some(target(1));
        shop.minutes(3);
        assert_eq!(shop.stable(), Some(1));
        shop
    }

    /// Version 2 is on its first step beside version 1.
    pub(crate) fn rolling() -> Self {
        let mut shop = Self::serving();
        shop.wanted = Some(target(2));
        shop.minutes(3);
        assert_eq!(shop.weights(), [5.0, 5.0]);
        shop
    }

    /// Version 2 was promoted, and version 1 is still kept.
    pub(crate) fn baking() -> Self {
        let mut shop = Self::rolling();
        assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
        assert!(shop.status.bake.is_some());
        shop
    }

    pub(crate) fn errors(&mut self, version: u64, errors: f64) {
        self.behave(version, |behaviour| behaviour.errors = errors);
    }

    pub(crate) fn reward(&mut self, version: u64, reward: f64) {
        self.behave(version, |behaviour| behaviour.reward = reward);
    }

    fn behave(&mut self, version: u64, change: impl FnOnce(&mut Behaviour)) {
        change(self.behaviour.entry(target(version).digest).or_insert(Behaviour { errors: 0.0, reward: 0.2 }));
    }

    /// A minute passes and one look happens.
    pub(crate) fn minute(&mut self, requests: &[(String, RolloutRequest)]) {
        let from = self.now;
        self.now += MINUTE;
        self.spread_route();
        let mut windows: Vec<Window> = (0..self.routers.len()).map(|router| self.count(router, from)).collect();
        for digest in std::mem::take(&mut self.falling) {
            self.ready.remove(&digest);
        }
        if self.silent {
            windows.clear();
        }
        if self.twice {
            windows.extend(windows.clone());
        }
        let observed = EndpointObserved {
            status: &self.status,
            windows: &windows,
            wanted: self.wanted.as_ref(),
            ready: &self.ready,
            broken: &self.broken,
            unapproved: &self.unapproved,
            champion: self.champion,
            acked: self.acked(),
            servers: None,
            requests,
            serve_baseline: false,
            lease: LEASE,
            experiments: &[],
        };
        let plan = decide(&self.policy, &observed, self.now);
        assert_eq!(plan, decide(&self.policy, &observed, self.now), "the same input gives the same plan");
        self.status = plan.status.clone();
        let killed = self.killed_after.map(|kept| kept.min(plan.effects.len()));
        let first = plan.effects.iter().take(killed.unwrap_or(usize::MAX));
        let again = plan.effects.iter().filter(|_| killed.is_some());
        for effect in first.chain(again).cloned().collect::<VecDeque<_>>() {
            self.carry_out(effect);
        }
        self.stable_at.push((self.now, self.stable()));
        self.plan = Some(plan);
    }

    fn carry_out(&mut self, effect: EndpointEffect) {
        match &effect {
            EndpointEffect::Scale { .. } => {}
            EndpointEffect::Load { target } => {
                if !self.unloadable.contains(&target.digest) {
                    self.ready.insert(target.digest.clone());
                }
            }
            EndpointEffect::Unload { digest } => {
                let used =
                    self.routers.iter().filter_map(|router| router.route.as_ref()).any(|route| names(route, digest));
                assert!(!used, "{digest} is unloaded while a router sends users there");
                self.ready.remove(digest);
            }
            EndpointEffect::SetRoute { route } => {
                self.config = Some(route.clone());
                self.spread_route();
            }
            EndpointEffect::MoveChampion { to, .. } => self.champion = Some(to.version),
            EndpointEffect::Archive { .. } => {}
        }
        self.done.push((self.now, effect));
    }

    fn spread_route(&mut self) {
        for router in self.routers.iter_mut().filter(|router| !router.behind) {
            router.route.clone_from(&self.config);
        }
    }

    fn acked(&self) -> u64 {
        self.routers.iter().map(|router| router.route.as_ref().map_or(0, |route| route.generation)).min().unwrap_or(0)
    }

    /// What a router counted: assigned by its own route, answered by the servers that there are.
    fn count(&mut self, index: usize, from: Timestamp) -> Window {
        let share_of_router = self.requests_a_minute / self.routers.len() as u64;
        let router = &mut self.routers[index];
        router.seq += 1;
        let mut window = Window::new(&format!("r{index}"), router.seq, from, self.now);
        let Some(route) = router.route.clone() else { return window };
        window.generation = route.generation;
        let share = route.canary.as_ref().map_or(0.0, |canary| f64::from(canary.weight.ppm()) / 1e6);
        let to_canary = (share_of_router as f64 * share).round() as u64;
        let sides = [
            (route.stable, Track::Stable, share_of_router - to_canary),
            (route.canary.map(|canary| canary.target), Track::Canary, to_canary),
        ];
        for (target, track, requests) in sides {
            let Some(target) = target.filter(|_| requests > 0) else { continue };
            let seed = window.seq * 7_919 + index as u64 * 104_729 + u64::from(track == Track::Canary);
            let behaviour = self.behaviour.get(&target.digest).copied();
            let Behaviour { errors, reward } = behaviour.unwrap_or(Behaviour { errors: 0.0, reward: 0.2 });
            let answers = self.ready.contains(&target.digest);
            // Errors that do not make a whole one come now and then.
            let wanted = requests as f64 * errors;
            let rest = f64::from(u8::from(even(seed) < wanted.fract()));
            let failed = if answers { (wanted.floor() + rest) as u64 } else { requests };
            let key = ArmKey { digest: target.digest, track, segment: String::new(), arm: String::new() };
            let arm = window.arms.entry(key.clone()).or_default();
            arm.requests = requests;
            arm.errors.insert(ErrorKind::Error, failed);
            if self.policy.gates.iter().any(|gate| matches!(gate, RolloutGate::Reward { .. })) {
                let mut cells = Cells::default();
                for i in 0..requests {
                    let draw = even(seed * 1_000_003 + i);
                    cells.record((draw * 1e9) as u64 as u8, f64::from(u8::from(draw < reward)));
                }
                self.unripe.push((self.now + self.policy.reward_within, index, key, route.generation, cells));
            }
        }
        if let Some(canary) =
            self.config.as_ref().and_then(|route| route.canary.as_ref()).filter(|canary| canary.shadow)
        {
            let stable = target_of(&self.status);
            let errors = self.behaviour.get(&canary.target.digest).map_or(0.0, |behaviour| behaviour.errors);
            let (digest, track) = (canary.target.digest.clone(), Track::Canary);
            let candidate = ArmKey { digest, track, segment: String::new(), arm: String::new() };
            let unseen = &mut window.arms.entry(candidate).or_default().unseen;
            for i in 0..share_of_router - to_canary {
                unseen.record(i as u8, even(window.seq * 15_485_863 + index as u64 * 32_452_843 + i) < errors);
            }
            let key = PairKey {
                digest: canary.target.digest.clone(),
                against: Rival::Stable(stable),
                generation: window.generation,
            };
            let gain = self.behaviour.get(&canary.target.digest).map_or(0.0, |behaviour| behaviour.reward - 0.2);
            let pair = window.pairs.entry(key).or_default();
            for i in 0..50_u8 {
                // Another one each time: what a user always has tells no more the second time.
                let noise = 0.1 * (even(window.seq * 1_000 + u64::from(i)) - 0.5);
                pair.difference.record(i, gain + noise);
                pair.base.record(i, 0.2);
            }
        }
        let now = self.now;
        let (ripe, unripe) =
            std::mem::take(&mut self.unripe).into_iter().partition(|(due, router, ..)| *due <= now && *router == index);
        self.unripe = unripe;
        for (_, _, key, generation, cells) in Vec::<(Timestamp, usize, ArmKey, u64, Cells)>::from_iter(ripe) {
            window.arms.entry(key).or_default().reward.entry(generation).or_default().merge(&cells);
        }
        window
    }

    pub(crate) fn minutes(&mut self, n: usize) {
        for _ in 0..n {
            self.minute(&[]);
        }
    }

    /// What a person asked, and what was said to it.
    pub(crate) fn ask(&mut self, request: RolloutRequest) -> Vec<String> {
        self.minute(&[("ann".to_owned(), request)]);
        self.codes()
    }

    pub(crate) fn codes(&self) -> Vec<String> {
        self.plan.iter().flat_map(|plan| &plan.reasons).map(|reason| reason.code.clone()).collect()
    }

    pub(crate) fn said(&self, code: &str) -> bool {
        self.codes().iter().any(|said| said == code)
    }

    /// Whether a condition holds, and its reason's code and message.
    pub(crate) fn condition(&self, kind: &str) -> Option<(bool, &str, &str)> {
        let found = self.plan.as_ref()?.conditions.iter().find(|condition| condition.kind == kind)?;
        Some((found.status, found.reason.code.as_str(), found.reason.message.as_str()))
    }

    pub(crate) fn stable(&self) -> Option<u64> {
        self.status.stable.as_ref().map(|stable| stable.version)
    }

    pub(crate) fn candidate(&self) -> Option<u64> {
        self.status.rollout.as_ref().map(|rollout| rollout.candidate.version)
    }

    /// The canary's weight as each router has it.
    pub(crate) fn weights(&self) -> Vec<f64> {
        let weight = |route: &Route| route.canary.as_ref().map_or(0.0, |canary| canary.weight.percent());
        self.routers.iter().map(|router| router.route.as_ref().map_or(0.0, weight)).collect()
    }

    pub(crate) fn weight(&self) -> f64 {
        self.weights()[0]
    }

    pub(crate) fn is_ready(&self, version: u64) -> bool {
        self.ready.contains(&target(version).digest)
    }

    /// The servers of a version are lost just before the next look.
    pub(crate) fn lose(&mut self, version: u64) {
        self.falling.insert(target(version).digest);
    }

    pub(crate) fn never_loads(&mut self, version: u64) {
        self.unloadable.insert(target(version).digest);
    }

    /// Looks until the canary has this weight.
    pub(crate) fn until_weight(&mut self, percent: f64) {
        for _ in 0..400 {
            if (self.weight() - percent).abs() < 1e-9 {
                return;
            }
            self.minute(&[]);
        }
        panic!("never at {percent} %: {:?}", self.codes());
    }

    /// Looks until one more rollout has ended.
    pub(crate) fn until_ended(&mut self, most: usize) -> RolloutResult {
        let before = self.status.history.len();
        for _ in 0..most {
            self.minute(&[]);
            if self.status.history.len() > before {
                return self.last().result;
            }
        }
        panic!("no end after {most} minutes: {:?}", self.codes());
    }

    pub(crate) fn last(&self) -> &fairway_core::endpoint::Ended {
        self.status.history.last().unwrap()
    }

    /// Routes that were set since a moment, in order.
    pub(crate) fn routes_since(&self, since: Timestamp) -> Vec<&Route> {
        let later = self.done.iter().filter(|(at, _)| *at > since);
        later.filter_map(|(_, effect)| route_of(effect)).collect()
    }

    /// How often a version was ordered or let go since a moment.
    pub(crate) fn loads_and_unloads_since(&self, since: Timestamp) -> usize {
        let moves =
            |effect: &EndpointEffect| matches!(effect, EndpointEffect::Load { .. } | EndpointEffect::Unload { .. });
        self.done.iter().filter(|(at, effect)| *at > since && moves(effect)).count()
    }
}

fn target_of(status: &EndpointStatus) -> String {
    status.stable.as_ref().map(|stable| stable.digest.clone()).unwrap_or_default()
}

fn route_of(effect: &EndpointEffect) -> Option<&Route> {
    match effect {
        EndpointEffect::SetRoute { route } => Some(route),
        _ => None,
    }
}

fn names(route: &Route, digest: &str) -> bool {
    route.targets().any(|target| target.digest == digest)
}

/// Even in [0, 1) from a counter: SplitMix64's finalizer (Steele, Lea & Flood, OOPSLA 2014).
fn even(x: u64) -> f64 {
    let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The servers of one version under its scaler, looked at every two seconds. They take `start` seconds to be ready.
pub(crate) struct Servers {
    pub(crate) policy: ScalingPolicy,
    pub(crate) scaler: Scaler,
    pub(crate) bounds: Bounds,
    pub(crate) seconds: u64,
    pub(crate) ready: u32,
    pub(crate) start: u64,
    starting: VecDeque<(u64, u32)>,
}

impl Servers {
    /// 2 to 60 servers for 8 requests in flight each.
    pub(crate) fn new(replicas: u32) -> Self {
        let policy = ScalingPolicy::new(2, 60, NonZeroU32::new(8).unwrap());
        let (scaler, bounds, starting) = (Scaler::new(replicas), Bounds::free(), VecDeque::new());
        Self { policy, scaler, bounds, seconds: 0, ready: replicas, start: 0, starting }
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + Duration::from_secs(self.seconds)
    }

    pub(crate) fn look(&mut self, in_flight: f64) -> Decision {
        self.advance();
        let sample = Sample { at: self.time(), in_flight, requests_per_second: 0.0, p95: None, ready: self.ready };
        self.decide(Some(&sample))
    }

    /// A look without any measurement.
    pub(crate) fn blind(&mut self) -> Decision {
        self.advance();
        self.decide(None)
    }

    pub(crate) fn run(&mut self, seconds: u64, in_flight: f64) -> Decision {
        (0..seconds / 2).map(|_| self.look(in_flight)).last().unwrap()
    }

    fn advance(&mut self) {
        self.seconds += 2;
        while self.starting.front().is_some_and(|(at, _)| *at <= self.seconds) {
            self.ready += self.starting.pop_front().map_or(0, |(_, n)| n);
        }
    }

    fn decide(&mut self, sample: Option<&Sample>) -> Decision {
        let before = self.scaler.replicas();
        let decision = self.scaler.look(&self.policy, sample, &self.bounds, self.time());
        if decision.replicas > before {
            self.starting.push_back((self.seconds + self.start, decision.replicas - before));
        } else if decision.replicas < before {
            self.starting.clear();
            self.ready = self.ready.min(decision.replicas);
        }
        decision
    }
}
