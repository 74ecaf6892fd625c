//! The scalers of an endpoint over simulated traces: loads as they come, servers that take time to start, and the
//! fights between a canary and an autoscaler that users of other tools report (threads are named at each).

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use fairway_core::scaling::{Bounds, Decision, Sample, Scaler, ScalingPolicy, needed, worth};
use jiff::Timestamp;

const LOOK: u64 = 2;

fn policy() -> ScalingPolicy {
    ScalingPolicy::new(2, 60, NonZeroU32::new(8).unwrap())
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap() + Duration::from_secs(seconds)
}

/// A track whose servers need `start` seconds until they are ready; those taken away are gone at once.
struct Track {
    scaler: Scaler,
    bounds: Bounds,
    ready: u32,
    starting: VecDeque<(u64, u32)>,
    start: u64,
    changes: u32,
}

impl Track {
    fn new(replicas: u32, start: u64) -> Self {
        let (scaler, bounds, starting) = (Scaler::new(replicas), Bounds::free(), VecDeque::new());
        Self { scaler, bounds, ready: replicas, starting, start, changes: 0 }
    }

    fn look(&mut self, policy: &ScalingPolicy, seconds: u64, in_flight: f64) -> Decision {
        while self.starting.front().is_some_and(|(at, _)| *at <= seconds) {
            self.ready += self.starting.pop_front().map_or(0, |(_, n)| n);
        }
        let before = self.scaler.replicas();
        let (requests_per_second, ready) = (in_flight * 20.0, self.ready);
        let sample = Sample { at: at(seconds), in_flight, requests_per_second, p95: None, ready };
        let decision = self.scaler.look(policy, Some(&sample), &self.bounds, at(seconds));
        if decision.replicas > before {
            self.starting.push_back((seconds + self.start, decision.replicas - before));
        } else if decision.replicas < before {
            self.starting.clear();
            self.ready = self.ready.min(decision.replicas);
        }
        self.changes += u32::from(decision.replicas != before);
        decision
    }
}

/// Replicas after each look of a load over time.
fn run(track: &mut Track, policy: &ScalingPolicy, seconds: u64, load: impl Fn(u64) -> f64) -> Vec<u32> {
    (1..=seconds / LOOK).map(|look| track.look(policy, look * LOOK, load(look * LOOK)).replicas).collect()
}

#[test]
fn a_tenfold_load_has_its_replicas_within_the_panic_window_and_a_look() {
    let mut track = Track::new(4, 0);
    let replicas = run(&mut track, &policy(), 1_200, |t| if t <= 300 { 24.0 } else { 240.0 });
    let reached = replicas.iter().position(|n| *n >= 30).unwrap() as u64 * LOOK + LOOK;
    assert!(reached <= 300 + 6 + LOOK, "30 replicas after {} s", reached - 300);
    assert!(replicas.iter().all(|n| *n <= 30), "and no more than needed: {:?}", replicas.iter().max());
}

#[test]
fn servers_that_start_slowly_do_not_make_it_order_more() {
    let mut track = Track::new(4, 40);
    let replicas = run(&mut track, &policy(), 1_200, |t| if t <= 300 { 24.0 } else { 240.0 });
    assert_eq!(replicas.iter().max(), Some(&30));
    assert!(track.changes <= 5, "{} changes", track.changes);
}

#[test]
fn a_burst_of_some_seconds_is_kept_for_the_delay_and_then_let_go() {
    let mut track = Track::new(10, 0);
    let replicas = run(&mut track, &policy(), 1_800, |t| if (600..620).contains(&t) { 240.0 } else { 76.0 });
    let after = |t: u64| replicas[(t / LOOK - 1) as usize];
    assert!(after(618) >= 28, "{}", after(618));
    assert_eq!(after(880), after(640), "five minutes of calm come first");
    assert_eq!(after(1_200), 11, "then what the load needs, with its headroom");
}

#[test]
fn a_sawtooth_is_served_at_the_height_of_its_minutes() {
    // Up to 160 in flight and back to 40 every two minutes: the highest minute is worth 16.2 replicas, and 15 are within
    // the tolerance of it.
    let tooth = |t: u64| 40.0 + (t % 120) as f64;
    let mut track = Track::new(6, 10);
    let replicas = run(&mut track, &policy(), 7_200, tooth);
    let late = &replicas[replicas.len() / 2..];
    assert!(late.iter().all(|n| *n == late[0]), "{late:?}");
    assert!((15..=18).contains(&late[0]), "{}", late[0]);
}

#[test]
fn load_that_is_shed_still_scales_up() {
    // The servers admit 8 each; what they shed is part of the sample (ray-project/ray#41135 asks for just that).
    let mut track = Track::new(2, 10);
    let replicas = run(&mut track, &policy(), 120, |_| 16.0 + 48.0);
    assert_eq!(replicas.last(), Some(&8));
}

#[test]
fn a_gap_in_the_data_takes_nothing_away() {
    let policy = policy();
    let mut track = Track::new(10, 0);
    run(&mut track, &policy, 600, |_| 76.0);
    for t in 301..900 {
        let decision = track.scaler.look(&policy, None, &track.bounds, at(t * LOOK));
        assert_eq!((decision.replicas, decision.reason.code.as_str()), (10, "NoData"));
    }
    // The first samples after it are low; the delay begins anew.
    let first = (900..1_040).map(|look| track.look(&policy, look * LOOK, 8.0).replicas);
    assert!(first.into_iter().all(|n| n == 10));
}

/// Stable and canary of one endpoint under one load; the canary's share is set from outside.
struct Endpoint {
    policy: ScalingPolicy,
    stable: Track,
    canary: Track,
    seconds: u64,
    load: f64,
}

impl Endpoint {
    fn new(load: f64) -> Self {
        let policy = policy();
        let (stable, canary) = (Track::new(needed(&policy, worth(&policy, load, 0.0), 1.0), 20), Track::new(0, 20));
        let mut endpoint = Self { policy, stable, canary, seconds: 0, load };
        endpoint.canary.bounds.ceiling = 0;
        endpoint.run(0.0, 600, |_| {});
        endpoint
    }

    fn run(&mut self, share: f64, seconds: u64, mut each: impl FnMut(&Self)) {
        for _ in 0..seconds / LOOK {
            self.seconds += LOOK;
            self.stable.look(&self.policy, self.seconds, self.load * (1.0 - share));
            self.canary.look(&self.policy, self.seconds, self.load * share);
            each(self);
        }
    }

    /// A canary's step: capacity first, then the weight; stable's floor is what takes everybody back.
    fn step(&mut self, before: f64, share: f64) -> u64 {
        let need = needed(&self.policy, worth(&self.policy, self.load, 0.0), share);
        self.stable.bounds.floor = needed(&self.policy, worth(&self.policy, self.load, 0.0), 1.0);
        self.canary.bounds = Bounds { expected: Some(worth(&self.policy, self.load * share, 0.0)), ..Bounds::free() };
        let mut waited = 0;
        while self.canary.ready < need {
            self.run(before, LOOK, |_| {});
            waited += LOOK;
            assert!(waited < 120, "the step waits for ever: {} of {need} ready", self.canary.ready);
        }
        waited
    }

    fn abort(&mut self) {
        self.canary.bounds = Bounds { ceiling: 0, ..Bounds::free() };
    }
}

/// argo-rollouts#2857, #3849, #4607; kedacore/keda#6058: one autoscaler over both pools sends stable to its maximum or
/// starves the canary.
#[test]
fn stable_is_not_sent_to_its_maximum_by_the_canary_and_the_canary_is_not_starved() {
    let mut endpoint = Endpoint::new(160.0);
    let before = endpoint.stable.scaler.replicas();
    let mut share_before = 0.0;
    for share in [0.05, 0.25, 0.5] {
        endpoint.step(share_before, share);
        endpoint.run(share, 900, |now| {
            assert_eq!(now.stable.scaler.replicas(), before, "stable neither grows nor shrinks");
            assert!(
                now.canary.ready >= needed(&now.policy, worth(&now.policy, now.load, 0.0), share),
                "capacity before traffic"
            );
        });
        let canary = endpoint.canary.scaler.replicas();
        assert!(
            canary <= needed(&endpoint.policy, worth(&endpoint.policy, endpoint.load, 0.0), share) + 1,
            "{canary} at {share}"
        );
        share_before = share;
    }
}

/// flagger#869, argo-rollouts#3020, #3372: stable was scaled in during the canary and then gets everybody back.
#[test]
fn stable_can_take_everybody_back_at_any_moment_of_the_canary_and_its_bake() {
    let mut endpoint = Endpoint::new(160.0);
    endpoint.step(0.0, 0.5);
    endpoint.run(0.5, 3_600, |now| {
        assert!(f64::from(now.stable.ready) * 8.0 >= now.load, "{} ready for {}", now.stable.ready, now.load);
    });
    // Promoted: during the bake the former stable carries nobody, and its floor holds it.
    endpoint.run(1.0, 7_200, |now| {
        assert!(f64::from(now.stable.ready) * 8.0 >= now.load, "{} ready for {}", now.stable.ready, now.load);
    });
    endpoint.stable.bounds = Bounds { idle_since: Some(at(endpoint.seconds)), ..Bounds::free() };
    endpoint.policy.idle_after = Some(Duration::from_secs(900));
    endpoint.run(1.0, 2_000, |_| {});
    assert_eq!(endpoint.stable.scaler.replicas(), 0, "after the bake it is an idle holdover");
}

/// argo-rollouts#4973: an aborted canary is scaled up again on every step of the autoscaler.
#[test]
fn an_aborted_canary_stays_at_zero_whatever_the_metric_says() {
    let mut endpoint = Endpoint::new(160.0);
    endpoint.step(0.0, 0.25);
    endpoint.run(0.25, 300, |_| {});
    endpoint.abort();
    // Stragglers and a metric that still shows the endpoint's whole load.
    for _ in 0..900 {
        endpoint.seconds += LOOK;
        let decision = endpoint.canary.look(&endpoint.policy, endpoint.seconds, 160.0);
        assert_eq!((decision.replicas, decision.reason.code.as_str()), (0, "AtCeiling"));
    }
    assert!(endpoint.step(0.0, 0.05) <= 30, "and the next candidate is served again");
}

/// argo-rollouts#4261: the autoscaler of a paused rollout does not follow the load.
#[test]
fn both_tracks_follow_the_load_while_a_rollout_is_paused() {
    let mut endpoint = Endpoint::new(80.0);
    endpoint.step(0.0, 0.5);
    endpoint.run(0.5, 600, |_| {});
    endpoint.load = 240.0;
    endpoint.run(0.5, 120, |_| {});
    for track in [&endpoint.stable, &endpoint.canary] {
        let replicas = track.scaler.replicas();
        assert!((14..=17).contains(&replicas), "{replicas} for 120 in flight at 8 each, within a tenth");
    }
}

/// argo-rollouts#1415: an autoscaler's event in the middle of a canary scales stable to zero.
#[test]
fn stable_never_goes_to_zero_whatever_its_metric_says() {
    let mut endpoint = Endpoint::new(160.0);
    endpoint.policy.idle_after = Some(Duration::ZERO);
    endpoint.step(0.0, 0.5);
    endpoint.stable.bounds.idle_since = Some(at(0));
    for load in [0.0, f64::NAN, f64::INFINITY, -5.0] {
        for _ in 0..300 {
            endpoint.seconds += LOOK;
            let decision = endpoint.stable.look(&endpoint.policy, endpoint.seconds, load);
            assert!(decision.replicas >= 20, "{decision:?}");
        }
    }
}
