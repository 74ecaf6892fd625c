//! Fairway's rollout, driven as a runtime drives it: a window a minute from one router, a decision, and its effects carried
//! out before the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fairway_core::endpoint::{EndpointEffect, EndpointObserved, EndpointStatus, RolloutResult, decide};
use fairway_core::policy::{
    EndpointPolicy, Margin, OnInconclusive, OnLowTraffic, OnMissingTelemetry, PolicyError, Probability, RolloutGate,
    Step, Steps,
};
use fairway_stats::Cells;
use fairway_stats::odds::design_effect;
use fairway_wire::{ArmKey, ErrorKind, Route, Target, Track, Weight, Window};
use jiff::Timestamp;

use crate::exposure::Ended;
use crate::plan::{MATURE, Plan, STEPS, Schedule};
use crate::traffic::{Request, Traffic};

/// Tolerance of the gate on errors.
pub const ERRORS: f64 = 0.1;
/// Tolerance of the gate on reward.
pub const REWARD: f64 = 0.02;
/// Chance of rolling back a version that is as good, over the whole rollout.
pub const FALSE_ALARMS: f64 = 0.05;
const MINUTE: Duration = Duration::from_secs(60);
/// As long as windows are minutes; a runtime that looks each few seconds has half a minute.
const LEASE: Duration = Duration::from_secs(600);

/// The policy of the design's example, with the plan's holds.
///
/// # Errors
/// Never: its numbers are right.
pub fn policy(plan: Plan, errors: f64, reward: f64) -> Result<EndpointPolicy, PolicyError> {
    let hold = MINUTE * plan.hold as u32;
    let step = |weight| Step { weight: Weight::from_percent(weight), hold, segments: Vec::new() };
    Ok(EndpointPolicy {
        steps: Steps::new(STEPS.map(step).to_vec())?,
        min_requests: 500,
        gates: vec![
            RolloutGate::Errors { tolerance: errors },
            RolloutGate::Reward { tolerance: Margin::Relative(reward) },
        ],
        require_proof: false,
        shadow: false,
        false_alarm_rate: Probability::new(FALSE_ALARMS)?,
        max_duration: 72 * 60 * MINUTE,
        on_inconclusive: OnInconclusive::Pause,
        on_missing_telemetry: OnMissingTelemetry::Hold,
        on_low_traffic: OnLowTraffic::Pause,
        freezes: Vec::new(),
        bake: 120 * MINUTE,
        reward_within: MINUTE * MATURE as u32,
        promotes: true,
        holdback: Weight::ZERO,
        slow_over: Duration::from_millis(50),
        deadline: Duration::from_millis(250),
        scaling: None,
    })
}

/// How a rollout went, and by which gate it ended.
#[derive(Clone, Debug)]
pub struct Followed {
    /// How it went.
    pub ended: Ended,
    /// The first word of the reason: the gate.
    pub why: String,
    /// How far clumps of errors inflate their variance, at the end.
    pub design_effect: f64,
}

/// What routers and stores are, for one endpoint.
struct World<'a> {
    policy: &'a EndpointPolicy,
    status: EndpointStatus,
    now: Timestamp,
    wanted: Target,
    ready: BTreeSet<String>,
    route: Option<Route>,
    champion: Option<u64>,
    seq: u64,
    /// Exposures that have not matured, minute by minute: those of one arm, by the generation at which they happened.
    young: VecDeque<Vec<(ArmKey, u64, Cells)>>,
    /// Windows tell errors by cell.
    by_cell: bool,
    /// Errors of stable and of the canary by cell.
    errors: [Cells; 2],
}

/// The rollout of version 2 beside version 1 on this traffic, by windows that tell errors by cell of users, as routers do, and
/// by windows that only count them.
///
/// Clumps counted once never prove more than errors counted one by one (the mean of powers and the power of a mean), so
/// where the count proved nothing both are the same.
///
/// # Errors
/// Never: the policy's numbers are right.
pub fn follow_both(plan: Plan, errors: f64, traffic: &Traffic) -> Result<[Followed; 2], PolicyError> {
    let policy = policy(plan, errors, REWARD)?;
    let counted = follow(&policy, traffic, false);
    let ours = if counted.why == "errors" { follow(&policy, traffic, true) } else { counted.clone() };
    Ok([ours, counted])
}

/// The same by windows that tell errors by cell, with a policy that tolerates nothing.
///
/// # Errors
/// Never, as above.
pub fn follow_strictly(plan: Plan, traffic: &Traffic) -> Result<Followed, PolicyError> {
    Ok(follow(&policy(plan, 0.0, 0.0)?, traffic, true))
}

/// Drives the rollout until it is over and baked.
fn follow(policy: &EndpointPolicy, traffic: &Traffic, by_cell: bool) -> Followed {
    let mut world = World::new(policy, by_cell);
    let mut ended = Ended { rolled_back: None, in_bake: false, schedule: Schedule::default(), promoted: None };
    let mut why = String::new();
    for (minute, requests) in traffic.by_minute().iter().enumerate() {
        ended.schedule.set(minute, world.weight());
        if world.status.rollout.is_none() && world.status.bake.is_none() {
            break;
        }
        let window = world.window(traffic, requests);
        let before = world.status.history.len();
        world.decide(&[window]);
        if let Some(last) = world.status.history.get(before) {
            if last.result == RolloutResult::Promoted {
                ended.promoted = Some(minute + 1);
            } else {
                (ended.rolled_back, ended.in_bake) = (Some(minute + 1), ended.promoted.is_some());
                why = last.reason.message.split(':').next().unwrap_or_default().to_owned();
                break;
            }
        }
    }
    Followed { ended, why, design_effect: design_effect(&world.errors[1], &world.errors[0]) }
}

impl<'a> World<'a> {
    /// Version 1 serves, and version 2 has just got its first users.
    fn new(policy: &'a EndpointPolicy, by_cell: bool) -> Self {
        let mut world = Self {
            policy,
            status: EndpointStatus::default(),
            now: Timestamp::UNIX_EPOCH,
            wanted: target(1),
            ready: BTreeSet::new(),
            route: None,
            champion: None,
            seq: 0,
            young: VecDeque::new(),
            by_cell,
            errors: [Cells::new(), Cells::new()],
        };
        while world.champion.is_none() {
            world.decide(&[]);
        }
        world.wanted = target(2);
        while world.weight() == 0 {
            world.decide(&[]);
        }
        world
    }

    fn weight(&self) -> u8 {
        let stable = self.route.as_ref().and_then(|route| route.stable.as_ref());
        if stable.is_some_and(|stable| stable.version == 2) {
            return 100;
        }
        let canary = self.route.as_ref().and_then(|route| route.canary.as_ref());
        canary.map_or(0, |canary| canary.weight.percent() as u8)
    }

    fn decide(&mut self, windows: &[Window]) {
        let none = BTreeMap::new();
        let observed = EndpointObserved {
            status: &self.status,
            windows,
            wanted: Some(&self.wanted),
            ready: &self.ready,
            broken: &none,
            unapproved: &none,
            champion: self.champion,
            acked: self.route.as_ref().map_or(0, |route| route.generation),
            servers: None,
            requests: &[],
            serve_baseline: false,
            lease: LEASE,
            experiments: &[],
        };
        let plan = decide(self.policy, &observed, self.now);
        for effect in plan.effects {
            match effect {
                EndpointEffect::Load { target } => drop(self.ready.insert(target.digest)),
                EndpointEffect::Unload { digest } => drop(self.ready.remove(&digest)),
                EndpointEffect::SetRoute { route } => self.route = Some(route),
                EndpointEffect::MoveChampion { to, .. } => self.champion = Some(to.version),
                EndpointEffect::Scale { .. } | EndpointEffect::Archive { .. } => {}
            }
        }
        self.status = plan.status;
    }

    /// What the router says at the end of a minute. Whoever is assigned to a version that fails is answered by another; the
    /// reward counts for the assigned one.
    fn window(&mut self, traffic: &Traffic, requests: &[Request]) -> Window {
        let from = self.now;
        self.now += MINUTE;
        self.seq += 1;
        let mut window = Window::new("router", self.seq, from, self.now);
        let Some(route) = &self.route else { return window };
        window.generation = route.generation;
        let weight = self.weight();
        let sides = [(route.stable.as_ref(), Track::Stable), (route.canary.as_ref().map(|c| &c.target), Track::Canary)];
        let mut exposed = Vec::new();
        let (mut n, mut bad) = ([0_u64; 2], [0_u64; 2]);
        for (on_canary, (target, track)) in sides.into_iter().enumerate() {
            let Some(target) = target else { continue };
            let (mut cells, mut failed) = (Cells::new(), Cells::new());
            for request in requests {
                let user = traffic.users[usize::from(request.user)];
                let assigned = weight < 100 && user.lot < weight;
                if assigned != (on_canary == 1) {
                    continue;
                }
                let outcome = if target.version == 2 { request.candidate } else { request.stable };
                n[on_canary] += 1;
                bad[on_canary] += u64::from(outcome.error);
                cells.record(user.cell, f64::from(u8::from(outcome.reward)));
                failed.record(user.cell, f64::from(u8::from(outcome.error)));
            }
            let key = ArmKey { digest: target.digest.clone(), track, segment: String::new(), arm: String::new() };
            let arm = window.arms.entry(key.clone()).or_default();
            arm.requests = n[on_canary];
            arm.errors.insert(ErrorKind::Error, bad[on_canary]);
            if weight < 100 {
                self.errors[on_canary].merge(&failed);
            }
            if self.by_cell {
                arm.errors_by_cell = failed;
            }
            exposed.push((key, route.generation, cells));
        }
        self.young.push_back(exposed);
        if self.young.len() > MATURE {
            for (key, generation, cells) in self.young.pop_front().into_iter().flatten() {
                window.arms.entry(key).or_default().reward.entry(generation).or_default().merge(&cells);
            }
        }
        window
    }
}

fn target(version: u64) -> Target {
    Target { version, digest: format!("sha256:{version:064}") }
}
