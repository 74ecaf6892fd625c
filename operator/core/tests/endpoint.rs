//! The endpoint's decision, driven as a runtime drives it: windows in, plans out, effects carried out at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_core::Plan;
use fairway_core::endpoint::{EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, RolloutResult, decide};
use fairway_core::policy::{
    EndpointPolicy, Freeze, Margin, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Probability, RolloutGate, Step,
    Steps,
};
use fairway_wire::{Arm, ArmKey, ErrorKind, Route, Target, Track, Weight, Window};
use jiff::Timestamp;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const LEASE: Duration = Duration::from_secs(600);

fn target(version: u64) -> Target {
    Target { version, digest: format!("sha256:{version:064}") }
}

fn policy() -> EndpointPolicy {
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
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A world in which effects are carried out at once and routers count what the rates say.
struct World {
    policy: EndpointPolicy,
    status: EndpointStatus,
    now: Timestamp,
    wanted: Option<Target>,
    ready: BTreeSet<String>,
    broken: BTreeMap<String, String>,
    unapproved: BTreeMap<String, String>,
    route: Option<Route>,
    champions: Vec<u64>,
    seq: u64,
    requests_a_minute: u64,
    canary_errors: f64,
    canary_reward: f64,
    silent: bool,
    matured: Vec<(Timestamp, Window)>,
}

impl World {
    fn new() -> Self {
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
            silent: false,
            matured: Vec::new(),
        }
    }

    /// With version 1 as stable and 2 wanted.
    fn with_candidate() -> Self {
        let mut world = Self::new();
        world.wanted = Some(target(1));
        world.minutes(3);
        world.wanted = Some(target(2));
        world
    }

    fn minute(&mut self, requests: &[(String, RolloutRequest)]) -> Plan<EndpointEffect, EndpointStatus> {
        let from = self.now;
        self.now += MINUTE;
        let windows = if self.silent { Vec::new() } else { vec![self.count(from)] };
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
            serve_baseline: false,
            lease: LEASE,
        };
        let plan = decide(&self.policy, &observed, self.now);
        assert_eq!(plan, decide(&self.policy, &observed, self.now), "I6: same input, same plan");
        let stored = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan<EndpointEffect, EndpointStatus>>(&stored).unwrap(), plan);
        for effect in &plan.effects {
            match effect {
                EndpointEffect::Load { target } => drop(self.ready.insert(target.digest.clone())),
                EndpointEffect::Scale { .. } => {}
                EndpointEffect::Unload { digest } => drop(self.ready.remove(digest)),
                EndpointEffect::SetRoute { route } => self.route = Some(route.clone()),
                EndpointEffect::MoveChampion { to, .. } => self.champions.push(to.version),
            }
        }
        self.status = plan.status.clone();
        plan
    }

    fn count(&mut self, from: Timestamp) -> Window {
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
            let key = ArmKey { digest: target.digest, track, segment: String::new() };
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

    fn minutes(&mut self, n: usize) {
        for _ in 0..n {
            self.minute(&[]);
        }
    }

    fn ask(&mut self, request: RolloutRequest) -> Vec<String> {
        let plan = self.minute(&[("ann".to_owned(), request)]);
        plan.reasons.into_iter().map(|reason| reason.code).collect()
    }

    fn weight(&self) -> f64 {
        self.route.as_ref().and_then(|route| route.canary.as_ref()).map_or(0.0, |canary| canary.weight.percent())
    }

    fn until_ended(&mut self, most: usize) -> RolloutResult {
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

#[test]
fn the_first_version_serves_everybody_at_once() {
    let mut world = World::new();
    world.wanted = Some(target(1));
    world.minutes(2);
    assert_eq!(world.status.stable, Some(target(1)));
    assert_eq!((world.champions.as_slice(), world.weight()), ([1].as_slice(), 0.0));
}

#[test]
fn an_equal_candidate_climbs_all_steps_and_is_promoted_after_its_holds() {
    let mut world = World::with_candidate();
    let mut weights = Vec::new();
    let started = world.now;
    let result = loop {
        world.minute(&[]);
        if weights.last() != Some(&world.weight()) {
            weights.push(world.weight());
        }
        if let Some(ended) = world.status.history.iter().find(|ended| ended.target.version == 2) {
            break ended.result;
        }
    };
    assert_eq!(result, RolloutResult::Promoted);
    assert_eq!(weights, [0.0, 5.0, 25.0, 50.0, 0.0]);
    assert!(world.now.duration_since(started).as_secs() >= (2 * HOUR + HOUR / 2).as_secs() as i64);
    assert_eq!(world.champions, [1, 2]);
    // The former version is kept until the bake is over.
    assert!(world.ready.contains(&target(1).digest));
    world.minutes(3 * 60);
    assert!(world.status.bake.is_none() && !world.ready.contains(&target(1).digest));
}

#[test]
fn a_step_waits_for_enough_answers_at_its_own_weight() {
    let mut world = World::with_candidate();
    world.requests_a_minute = 100;
    world.minutes(60);
    // 5 a minute: after an hour there are 300 of 500, although the hold is over.
    assert_eq!(world.weight(), 5.0);
    world.minutes(60);
    assert_eq!(world.weight(), 25.0);
}

#[test]
fn a_candidate_with_errors_is_rolled_back_within_minutes_and_barred() {
    let mut world = World::with_candidate();
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);
    assert_eq!((world.weight(), world.status.stable.clone()), (0.0, Some(target(1))));
    world.minutes(120);
    assert!(world.status.rollout.is_none(), "barred until somebody says retry");
    world.canary_errors = 0.0;
    assert!(world.ask(RolloutRequest::Retry).contains(&"Retried".to_owned()));
    world.minutes(1);
    assert!(world.status.rollout.is_some());
}

#[test]
fn a_candidate_that_earns_less_is_rolled_back() {
    let mut world = World::with_candidate();
    world.canary_reward = 0.1;
    assert_eq!(world.until_ended(24 * 60), RolloutResult::RolledBack);
    assert_eq!(world.status.history.last().unwrap().reason.code, "Harmful");
}

#[test]
fn reward_that_matures_after_the_promotion_still_reverts() {
    let mut world = World::with_candidate();
    world.policy.reward_within = 12 * HOUR;
    world.policy.bake = HOUR;
    world.canary_reward = 0.1;
    assert_eq!(world.until_ended(24 * 60), RolloutResult::Promoted);
    assert_eq!(world.until_ended(24 * 60), RolloutResult::RolledBack);
    assert_eq!((world.status.stable.clone(), world.champions.as_slice()), (Some(target(1)), [1, 2, 1].as_slice()));
}

#[test]
fn people_pause_resume_promote_and_abort() {
    let mut world = World::with_candidate();
    world.minutes(3);
    assert!(world.ask(RolloutRequest::Pause).contains(&"Paused".to_owned()));
    world.minutes(5 * 60);
    assert_eq!(world.weight(), 5.0, "a pause freezes the weight");
    assert!(world.ask(RolloutRequest::Promote { full: false }).contains(&"StepUp".to_owned()));
    assert_eq!(world.weight(), 25.0);
    assert!(world.ask(RolloutRequest::Abort).contains(&"RolledBack".to_owned()));
    assert_eq!(world.weight(), 0.0);
    assert!(world.ask(RolloutRequest::Abort).contains(&"NothingToAbort".to_owned()));
}

#[test]
fn harm_rolls_back_while_paused() {
    let mut world = World::with_candidate();
    world.minutes(3);
    world.ask(RolloutRequest::Pause);
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);
}

#[test]
fn a_promotion_by_hand_can_be_undone() {
    let mut world = World::with_candidate();
    world.minutes(3);
    world.ask(RolloutRequest::Promote { full: true });
    assert_eq!(world.status.stable, Some(target(2)));
    assert!(world.ask(RolloutRequest::Undo { to: None }).contains(&"Undone".to_owned()));
    assert_eq!((world.status.stable.clone(), world.champions.as_slice()), (Some(target(1)), [1, 2, 1].as_slice()));
}

#[test]
fn a_newer_candidate_takes_the_place_of_the_one_on_trial() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.wanted = Some(target(3));
    assert_eq!(world.until_ended(5), RolloutResult::Superseded);
    world.minutes(3);
    assert_eq!(world.status.rollout.as_ref().unwrap().candidate, target(3));
    assert_eq!(world.weight(), 5.0);
}

#[test]
fn no_rollout_and_no_pause_lasts_for_ever() {
    let mut world = World::with_candidate();
    world.requests_a_minute = 20;
    world.policy.max_duration = 5 * HOUR;
    world.minutes(5 * 60 + 5);
    assert!(world.status.rollout.as_ref().unwrap().paused.is_some(), "onInconclusive: Pause");
    assert_eq!(world.until_ended(5 * 60 + 5), RolloutResult::RolledBack);
}

#[test]
fn without_telemetry_the_weight_stays_or_the_canary_goes_as_the_policy_says() {
    for (policy, expected) in [(OnMissingTelemetry::Hold, 5.0), (OnMissingTelemetry::Rollback, 0.0)] {
        let mut world = World::with_candidate();
        world.policy.on_missing_telemetry = policy;
        world.minutes(10);
        world.silent = true;
        world.minutes(5 * 60);
        assert_eq!(world.weight(), expected, "{policy:?}");
    }
}

#[test]
fn a_candidate_that_cannot_be_loaded_never_gets_a_user() {
    let mut world = World::with_candidate();
    world.broken.insert(target(2).digest, "golden answers differ".to_owned());
    world.minutes(60);
    assert!(world.status.rollout.is_none() && world.weight() == 0.0);
    assert!(world.status.barred.contains_key(&target(2).digest));
}

#[test]
fn proof_is_waited_for_when_it_is_asked_for() {
    let mut world = World::with_candidate();
    world.policy.require_proof = true;
    world.policy.gates = vec![RolloutGate::Reward { tolerance: Margin::Relative(0.02) }];
    world.minutes(6 * 60);
    assert_eq!(world.weight(), 50.0, "all steps are done, but 2 % of reward is not proved");
    let mut wide = World::with_candidate();
    wide.policy = EndpointPolicy {
        gates: vec![RolloutGate::Reward { tolerance: Margin::Relative(0.2) }],
        ..world.policy.clone()
    };
    assert_eq!(wide.until_ended(24 * 60), RolloutResult::Promoted);
}

#[test]
fn the_lease_is_renewed_without_a_new_generation() {
    let mut world = World::with_candidate();
    world.minutes(5);
    let before = world.route.clone().unwrap();
    world.minutes(20);
    let after = world.route.clone().unwrap();
    assert_eq!(before.generation, after.generation);
    assert!(after.lease_until > before.lease_until && after.lease_until.unwrap() > world.now);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever people, traffic and candidates do, the invariants hold (they are asserted inside `decide` as well) and
    /// a canary never has users without stable beside it.
    #[test]
    fn any_history_keeps_the_promises(steps in prop::collection::vec((0_u8..12, 1_u64..4), 1..120)) {
        let mut world = World::new();
        world.requests_a_minute = 2_000;
        for (what, version) in steps {
            let request = match what {
                0 => Some(RolloutRequest::Pause),
                1 => Some(RolloutRequest::Resume),
                2 => Some(RolloutRequest::Promote { full: false }),
                3 => Some(RolloutRequest::Promote { full: true }),
                4 => Some(RolloutRequest::Abort),
                5 => Some(RolloutRequest::Retry),
                6 => Some(RolloutRequest::Undo { to: None }),
                7 => { world.wanted = Some(target(version)); None }
                8 => { world.canary_errors = f64::from(version as u32 - 1) * 0.2; None }
                9 => { world.silent = !world.silent; None }
                _ => { world.minutes(30); None }
            };
            let requests: Vec<_> = request.into_iter().map(|request| ("ann".to_owned(), request)).collect();
            world.minute(&requests);
            if let Some(route) = &world.route {
                prop_assert!(route.canary.is_none() || route.stable.is_some());
                prop_assert!(route.canary.as_ref().is_none_or(|canary| world.ready.contains(&canary.target.digest)));
            }
            // I3: one step from anywhere.
            let saved = world.status.clone();
            let (route, ready, champions) = (world.route.clone(), world.ready.clone(), world.champions.clone());
            let on_trial = saved.rollout.as_ref().or(saved.bake.as_ref().map(|bake| &bake.rollout));
            if let Some(candidate) = on_trial.map(|rollout| rollout.candidate.clone()) {
                world.minute(&[("ann".to_owned(), RolloutRequest::Abort)]);
                let route = world.route.clone().unwrap();
                prop_assert!(route.canary.is_none_or(|canary| canary.target != candidate));
                prop_assert!(route.stable.is_some_and(|stable| stable != candidate));
            }
            world.status = saved;
            (world.route, world.ready, world.champions) = (route, ready, champions);
        }
    }
}

#[test]
fn a_paused_rollout_that_ran_out_of_time_goes_on_when_it_is_resumed() {
    let mut world = World::with_candidate();
    world.requests_a_minute = 20;
    world.policy.max_duration = 5 * HOUR;
    world.minutes(5 * 60 + 5);
    assert!(world.status.rollout.as_ref().unwrap().paused.is_some());
    assert!(world.ask(RolloutRequest::Resume).contains(&"Resumed".to_owned()));
    world.requests_a_minute = 1_000;
    assert_eq!(world.until_ended(4 * 60), RolloutResult::Promoted);
}

#[test]
fn undoing_twice_never_goes_back_to_what_was_undone() {
    let mut world = World::with_candidate();
    assert_eq!(world.until_ended(24 * 60), RolloutResult::Promoted);
    world.minutes(3 * 60);
    assert!(world.status.bake.is_none());
    // The former version is fetched again first, and then takes over by itself.
    assert!(world.ask(RolloutRequest::Undo { to: None }).contains(&"Loading".to_owned()));
    assert_eq!(world.status.stable, Some(target(2)));
    world.minutes(1);
    assert_eq!(world.status.stable, Some(target(1)));
    let last = world.status.history.last().unwrap();
    assert_eq!((last.target.clone(), last.result), (target(2), RolloutResult::RolledBack));
    assert!(world.ask(RolloutRequest::Undo { to: None }).contains(&"NothingToUndo".to_owned()));
    assert_eq!(world.status.stable, Some(target(1)));
}

#[test]
fn nothing_goes_forward_in_a_freeze_and_harm_still_rolls_back() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.policy.freezes = vec![Freeze::Once { from: world.now, until: world.now + 100 * HOUR }];
    world.minutes(99 * 60);
    assert_eq!(world.weight(), 5.0, "longer than maxDuration, and still there");
    world.minutes(120);
    assert!(world.weight() > 5.0 || world.status.rollout.as_ref().is_some_and(|rollout| rollout.paused.is_some()));

    let mut world = World::with_candidate();
    world.minutes(5);
    world.policy.freezes = vec![Freeze::Once { from: world.now, until: world.now + 100 * HOUR }];
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);

    let mut world = World::with_candidate();
    world.policy.freezes = vec![Freeze::Once { from: world.now, until: world.now + HOUR }];
    world.minutes(59);
    assert!(world.status.rollout.is_none());
    world.minutes(5);
    assert!(world.status.rollout.is_some());
}

#[test]
fn the_clock_never_promotes_what_nobody_has_judged() {
    for (low, expected) in [(OnLowTraffic::Pause, None), (OnLowTraffic::Rollback, Some(RolloutResult::RolledBack))] {
        let mut world = World::with_candidate();
        world.policy.on_inconclusive = OnInconclusive::Promote;
        world.policy.on_low_traffic = low;
        world.policy.max_duration = 5 * HOUR;
        world.minutes(10);
        world.silent = true;
        world.minutes(5 * 60 + 5);
        let ended = world.status.history.iter().find(|ended| ended.target.version == 2).map(|ended| ended.result);
        assert_eq!(ended, expected, "{low:?}");
        assert_eq!(world.status.stable, Some(target(1)));
    }
}

#[test]
fn a_window_that_comes_twice_counts_once() {
    let mut world = World::with_candidate();
    world.minutes(3);
    let from = world.now;
    world.now += MINUTE;
    let window = world.count(from);
    let plan = |windows: &[Window]| {
        let champion = world.champions.last().copied();
        let observed = EndpointObserved {
            status: &world.status,
            windows,
            wanted: world.wanted.as_ref(),
            ready: &world.ready,
            broken: &world.broken,
            unapproved: &world.unapproved,
            champion,
            acked: 0,
            servers: None,
            requests: &[],
            serve_baseline: false,
            lease: LEASE,
        };
        decide(&world.policy, &observed, world.now)
    };
    let once = plan(std::slice::from_ref(&window));
    assert_eq!(plan(&[window.clone(), window.clone()]).status, once.status);
    assert!(once.status.rollout.unwrap().evidence.canary_requests > 0);
}

#[test]
fn an_approval_that_is_missing_or_taken_back_keeps_a_version_from_every_user() {
    let mut world = World::with_candidate();
    world.unapproved.insert(target(2).digest, "1 of 2 approvals".to_owned());
    world.minutes(30);
    assert!(world.status.rollout.is_none());
    world.unapproved.clear();
    world.minutes(5);
    assert_eq!(world.weight(), 5.0);
    world.unapproved.insert(target(2).digest, "eve took her approval back".to_owned());
    assert_eq!(world.until_ended(2), RolloutResult::RolledBack);
}

#[test]
fn nobody_promotes_by_hand_what_is_not_loaded() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.ready.remove(&target(2).digest);
    let said = world.ask(RolloutRequest::Promote { full: true });
    assert!(said.contains(&"Loading".to_owned()), "{said:?}");
    assert_eq!((world.status.stable.clone(), world.weight()), (Some(target(1)), 0.0));
}

#[test]
fn a_version_goes_only_when_every_router_has_a_route_without_it() {
    let mut world = World::with_candidate();
    world.minutes(5);
    world.canary_errors = 0.5;
    assert_eq!(world.until_ended(10), RolloutResult::RolledBack);
    assert!(world.ready.contains(&target(2).digest), "its last requests may be on their way");
    world.minutes(1);
    assert!(!world.ready.contains(&target(2).digest));
}

#[test]
fn a_version_that_never_loads_is_given_up() {
    let mut world = World::with_candidate();
    world.wanted = None;
    let observed = |world: &World, status: &EndpointStatus, now| {
        let (wanted, ready) = (target(2), BTreeSet::from([target(1).digest]));
        let observed = EndpointObserved {
            status,
            windows: &[],
            wanted: Some(&wanted),
            ready: &ready,
            broken: &world.broken,
            unapproved: &world.unapproved,
            champion: Some(1),
            acked: 9,
            servers: None,
            requests: &[],
            serve_baseline: false,
            lease: Duration::from_secs(30),
        };
        decide(&world.policy, &observed, now)
    };
    let mut status = world.status.clone();
    let mut now = world.now;
    let mut loads = 0;
    while status.barred.is_empty() {
        let plan = observed(&world, &status, now);
        loads += plan.effects.iter().filter(|effect| matches!(effect, EndpointEffect::Load { .. })).count();
        status = plan.status;
        now += 2 * MINUTE;
        assert!(now < world.now + 2 * HOUR);
    }
    assert!(loads > 20, "asked for again and again");
}
