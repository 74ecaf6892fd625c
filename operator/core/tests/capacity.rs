//! Capacity first, traffic second: an endpoint whose versions are scaled, with servers that take their time.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use fairway_core::Plan;
use fairway_core::endpoint::{EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, Servers, decide};
use fairway_core::policy::{
    EndpointPolicy, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Probability, RolloutGate, Step, Steps,
};
use fairway_core::scaling::{Sample, ScalingPolicy};
use fairway_wire::{Arm, ArmKey, Route, Target, Track, Weight, Window};
use jiff::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// Work in flight of all users together; 8 are a server's.
const LOAD: f64 = 80.0;

fn target(version: u64) -> Target {
    Target { version, digest: format!("v{version}") }
}

fn policy() -> EndpointPolicy {
    let step = |percent| Step { weight: Weight::from_percent(percent), hold: 10 * MINUTE, segments: Vec::new() };
    EndpointPolicy {
        steps: Steps::new(vec![step(10), step(50)]).unwrap(),
        min_requests: 100,
        gates: vec![RolloutGate::Errors { tolerance: 0.1 }],
        require_proof: false,
        shadow: false,
        false_alarm_rate: Probability::new(0.05).unwrap(),
        max_duration: 12 * HOUR,
        on_inconclusive: OnInconclusive::Pause,
        on_missing_telemetry: OnMissingTelemetry::Hold,
        on_low_traffic: OnLowTraffic::Pause,
        freezes: Vec::new(),
        bake: HOUR,
        reward_within: MINUTE,
        promotes: true,
        holdback: Weight::ZERO,
        slow_over: Duration::from_millis(50),
        deadline: Duration::from_millis(250),
        scaling: Some(ScalingPolicy::new(1, 40, NonZeroU32::new(8).unwrap())),
    }
}

/// Servers are ready `delay` minutes after they were ordered, and go at once.
struct World {
    policy: EndpointPolicy,
    status: EndpointStatus,
    now: Timestamp,
    wanted: u64,
    route: Option<Route>,
    ordered: BTreeMap<String, (u32, Vec<u32>)>,
    delay: u32,
    lags: bool,
    acked: u64,
    seq: u64,
}

impl World {
    /// Version 1 serves with ten servers, version 2 is wanted.
    fn new(delay: u32) -> Self {
        let stable = target(1);
        Self {
            policy: policy(),
            status: EndpointStatus { stable: Some(stable.clone()), ..EndpointStatus::default() },
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            wanted: 2,
            route: None,
            ordered: BTreeMap::from([(stable.digest, (10, vec![0; 10]))]),
            delay,
            lags: false,
            acked: 0,
            seq: 0,
        }
    }

    fn ready(&self, version: u64) -> u32 {
        let starting = self.ordered.get(&target(version).digest).map(|(_, starting)| starting.as_slice());
        starting.map_or(0, |starting| starting.iter().filter(|left| **left == 0).count() as u32)
    }

    fn weight(&self) -> f64 {
        self.route.as_ref().and_then(|route| route.canary.as_ref()).map_or(0.0, |canary| canary.weight.percent())
    }

    fn share(&self, version: u64) -> f64 {
        let canary = self.route.as_ref().and_then(|route| route.canary.as_ref());
        let on_canary = canary.filter(|canary| canary.target.version == version).map(|canary| canary.weight.percent());
        let stable = self.route.as_ref().and_then(|route| route.stable.clone()).map_or(1, |stable| stable.version);
        on_canary.unwrap_or(if stable == version { 100.0 - self.weight() } else { 0.0 }) / 100.0
    }

    fn minute(&mut self, requests: &[(String, RolloutRequest)]) -> Plan<EndpointEffect, EndpointStatus> {
        let from = self.now;
        self.now += MINUTE;
        self.seq += 1;
        let mut window = Window::new("r", self.seq, from, self.now);
        window.generation = self.acked;
        let mut servers = BTreeMap::new();
        for (version, track) in [(1, Track::Stable), (2, Track::Canary)] {
            let digest = target(version).digest;
            let key = ArmKey { digest: digest.clone(), track, segment: String::new(), arm: String::new() };
            let requests = (6_000.0 * self.share(version)) as u64;
            window.arms.insert(key, Arm { requests, ..Arm::default() });
            if let Some((ordered, starting)) = self.ordered.get_mut(&digest) {
                starting.iter_mut().for_each(|left| *left = left.saturating_sub(1));
                let ordered = *ordered;
                let (at, ready) = (self.now, self.ready(version));
                let in_flight = LOAD * self.share(version);
                let requests_per_second = 100.0 * self.share(version);
                let sample = Sample { at, in_flight, requests_per_second, p95: None, ready };
                servers.insert(digest, Servers { ordered, ready, sample: Some(sample) });
            }
        }
        let ready: BTreeSet<String> =
            servers.iter().filter(|(_, it)| it.ready > 0).map(|(digest, _)| digest.clone()).collect();
        let (wanted, none) = (target(self.wanted), BTreeMap::new());
        let observed = EndpointObserved {
            status: &self.status,
            windows: &[window],
            wanted: Some(&wanted),
            ready: &ready,
            broken: &none,
            unapproved: &none,
            champion: self.status.stable.as_ref().map(|stable| stable.version),
            acked: self.acked,
            servers: Some(&servers),
            requests,
            serve_baseline: false,
            lease: 10 * MINUTE,
            experiments: &[],
        };
        // `decide` itself asserts every promise in debug builds.
        let plan = decide(&self.policy, &observed, self.now);
        self.carry_out(&plan);
        plan
    }

    fn carry_out(&mut self, plan: &Plan<EndpointEffect, EndpointStatus>) {
        for effect in &plan.effects {
            match effect {
                EndpointEffect::Load { target } => {
                    self.ordered.entry(target.digest.clone()).or_insert((1, vec![self.delay]));
                }
                EndpointEffect::Scale { digest, replicas, .. } => {
                    let (ordered, starting) = self.ordered.entry(digest.clone()).or_default();
                    *ordered = *replicas;
                    starting.sort_unstable();
                    starting.resize(*replicas as usize, self.delay);
                }
                EndpointEffect::Unload { digest } => drop(self.ordered.remove(digest)),
                EndpointEffect::SetRoute { route } => self.route = Some(route.clone()),
                EndpointEffect::MoveChampion { .. } | EndpointEffect::Archive { .. } => {}
            }
        }
        if !self.lags {
            self.acked = self.route.as_ref().map_or(0, |route| route.generation);
        }
        self.status = plan.status.clone();
    }

    fn minutes(&mut self, n: usize) {
        (0..n).for_each(|_| drop(self.minute(&[])));
    }

    /// Until it holds; the minutes it took.
    fn until(&mut self, most: usize, holds: impl Fn(&Self) -> bool) -> usize {
        (0..most)
            .find(|_| {
                self.minute(&[]);
                holds(self)
            })
            .expect("in time")
    }
}

#[test]
fn servers_for_a_weight_are_ready_before_it_is_set() {
    let mut world = World::new(7);
    let mut seen = Vec::new();
    for _ in 0..120 {
        let before = world.weight();
        world.minute(&[]);
        if world.weight() > before {
            seen.push((world.weight(), world.ready(2)));
        }
    }
    // 10 % of 80 in flight are one server's work, 50 % five servers'.
    assert_eq!(seen, [(10.0, 1), (50.0, 5)]);
    assert_eq!(world.status.stable, Some(target(2)));
    assert!(world.ready(2) >= 10, "everybody needs ten: {}", world.ready(2));
}

#[test]
fn stable_can_take_everybody_back_until_the_bake_is_over() {
    let mut world = World::new(2);
    world.until(200, |world| world.weight() == 50.0);
    // At half of its load for hours, it keeps all of its servers.
    world.policy.freezes = vec![fairway_core::policy::Freeze::Once { from: world.now, until: world.now + 3 * HOUR }];
    world.minutes(170);
    assert_eq!(world.ready(1), 10);
    world.policy.freezes.clear();
    world.until(200, |world| world.status.bake.is_some());
    world.minutes(50);
    assert_eq!((world.ready(1), world.status.bake.is_some()), (10, true));
    world.until(200, |world| world.status.bake.is_none());
    world.minutes(3);
    assert_eq!(world.ready(1), 0, "after the bake nobody needs it");
}

#[test]
fn a_rollback_waits_for_no_server_and_the_canary_goes_after_its_traffic() {
    let mut world = World::new(2);
    world.until(200, |world| world.weight() == 50.0);
    world.lags = true;
    let plan = world.minute(&[("ann".to_owned(), RolloutRequest::Abort)]);
    assert!(plan.effects.iter().any(|effect| matches!(effect, EndpointEffect::SetRoute { .. })));
    assert_eq!((world.weight(), world.ready(1)), (0.0, 10));
    world.minutes(30);
    assert!(world.ready(2) > 0, "a router has not said that it sends nobody there any more");
    world.lags = false;
    world.minutes(2);
    assert_eq!(world.ready(2), 0);
}

#[test]
fn a_promotion_by_hand_orders_servers_and_goes_when_it_is_asked_again() {
    let mut world = World::new(5);
    world.until(200, |world| world.weight() == 10.0);
    let ask = [("ann".to_owned(), RolloutRequest::Promote { full: true })];
    let plan = world.minute(&ask);
    assert!(plan.reasons.iter().any(|reason| reason.code == "Scaling"), "{:?}", plan.reasons);
    assert_eq!(world.weight(), 10.0);
    world.until(20, |world| world.ready(2) >= 10);
    world.minute(&ask);
    assert_eq!(world.status.stable, Some(target(2)));
}

#[test]
fn servers_that_never_come_end_the_rollout_by_the_clock() {
    let mut world = World::new(2);
    world.until(200, |world| world.weight() == 10.0);
    world.delay = 100_000;
    world.policy.on_inconclusive = OnInconclusive::Rollback;
    world.minutes(13 * 60);
    assert_eq!(world.status.stable, Some(target(1)));
    let last = world.status.history.last().unwrap();
    assert_eq!(last.reason.code, "Inconclusive", "{:?}", last.reason);
    assert!(last.reason.message.contains("servers of version 2"), "{:?}", last.reason);
}

#[test]
fn capacity_follows_the_rate_of_requests_where_that_asks_for_more() {
    let mut world = World::new(3);
    // 80 in flight are ten servers' work, 100 requests a second twenty servers'.
    world.policy.scaling.as_mut().unwrap().requests_per_second = NonZeroU32::new(5);
    let (mut seen, mut floor) = (Vec::new(), u32::MAX);
    while world.status.bake.is_none() {
        let before = world.weight();
        world.minute(&[]);
        if world.weight() > before {
            seen.push((world.weight(), world.ready(2)));
        }
        if before > 10.0 {
            floor = floor.min(world.ready(1));
        }
    }
    assert_eq!(seen, [(10.0, 2), (50.0, 10)]);
    assert_eq!((floor, world.ready(2)), (20, 20), "stable can take everybody back, and the candidate takes everybody");
}

#[test]
fn neither_a_freeze_nor_the_time_of_loading_is_taken_from_the_time_that_servers_have() {
    let mut world = World::new(15 * 60);
    world.policy.steps =
        Steps::new(vec![Step { weight: Weight::from_percent(50), hold: 10 * MINUTE, segments: Vec::new() }]).unwrap();
    // It is loaded after 15 hours, and more servers take as long again: both within the 20 hours that each may take.
    world.until(40 * 60, |world| world.weight() == 50.0);
    let mut world = World::new(5);
    world.policy.steps =
        Steps::new(vec![Step { weight: Weight::from_percent(50), hold: 10 * MINUTE, segments: Vec::new() }]).unwrap();
    world.minutes(2);
    world.policy.freezes = vec![fairway_core::policy::Freeze::Once { from: world.now, until: world.now + 30 * HOUR }];
    world.minutes(30 * 60);
    assert!(world.status.loading.is_none(), "it is loaded");
    world.delay = 60;
    world.until(3 * 60, |world| world.weight() == 50.0);
    // And none of it lasts for ever.
    let mut world = World::new(100_000);
    world.minutes(21 * 60);
    assert!(world.status.barred.contains_key(&target(2).digest));
}
