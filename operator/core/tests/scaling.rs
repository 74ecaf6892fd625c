//! The scaler of one track: tables of single rules, and properties over any loads.

use std::num::NonZeroU32;
use std::time::Duration;

use fairway_core::scaling::{Bounds, Decision, Sample, Scaler, ScalingError, ScalingPolicy, needed, worth};
use jiff::Timestamp;
use proptest::prelude::*;

const LOOK: u64 = 2;

fn policy() -> ScalingPolicy {
    ScalingPolicy::new(1, 100, NonZeroU32::new(8).unwrap())
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + i64::try_from(seconds).unwrap()).unwrap()
}

fn sample(seconds: u64, in_flight: f64, ready: u32) -> Sample {
    Sample { at: at(seconds), in_flight, requests_per_second: 0.0, p95: None, ready }
}

/// A track whose servers are ready at once, looked at every two seconds.
struct Track {
    policy: ScalingPolicy,
    scaler: Scaler,
    bounds: Bounds,
    seconds: u64,
    p95: Option<Duration>,
    requests_per_second: f64,
}

impl Track {
    fn new(policy: ScalingPolicy, replicas: u32) -> Self {
        let (scaler, bounds) = (Scaler::new(replicas), Bounds::free());
        Self { policy, scaler, bounds, seconds: 0, p95: None, requests_per_second: 0.0 }
    }

    fn look(&mut self, in_flight: f64) -> Decision {
        self.seconds += LOOK;
        let mut sample = sample(self.seconds, in_flight, self.scaler.replicas());
        (sample.p95, sample.requests_per_second) = (self.p95, self.requests_per_second);
        let decision = self.scaler.look(&self.policy, Some(&sample), &self.bounds, at(self.seconds));
        let stored = serde_json::to_string(&self.scaler).unwrap();
        assert!(stored.len() < 16_000, "bounded: {} bytes", stored.len());
        assert_eq!(serde_json::from_str::<Scaler>(&stored).unwrap(), self.scaler, "what is stored is what was");
        decision
    }

    fn blind(&mut self) -> Decision {
        self.seconds += LOOK;
        self.scaler.look(&self.policy, None, &self.bounds, at(self.seconds))
    }

    fn run(&mut self, seconds: u64, in_flight: f64) -> Decision {
        let mut last = None;
        for _ in 0..seconds.div_ceil(LOOK) {
            last = Some(self.look(in_flight));
        }
        last.unwrap()
    }
}

fn told(decision: &Decision) -> (u32, &str) {
    (decision.replicas, decision.reason.code.as_str())
}

#[test]
fn needed_is_the_share_of_the_load_over_the_target() {
    let table = [(80.0, 0.05, 1), (80.0, 0.25, 3), (80.0, 0.5, 5), (80.0, 1.0, 10), (80.0, 7.0, 10), (0.0, 1.0, 1)];
    for (load, share, expected) in table {
        assert_eq!(needed(&policy(), worth(&policy(), load, 0.0), share), expected, "{load} {share}");
    }
    assert_eq!(
        needed(&policy(), worth(&policy(), 8_000.0, 0.0), 1.0),
        1_000,
        "not cut off: the step must be told that it cannot be"
    );
    for odd in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert_eq!(needed(&policy(), worth(&policy(), odd, 0.0), 1.0), 1);
        assert_eq!(needed(&policy(), worth(&policy(), 80.0, 0.0), odd), 1);
    }
    assert_eq!(needed(&policy(), worth(&policy(), f64::INFINITY, 0.0), 1.0), u32::MAX);
}

#[test]
fn policies_that_cannot_be_used_say_why() {
    assert!(policy().checked().is_ok());
    let with = |change: fn(&mut ScalingPolicy)| {
        let mut policy = policy();
        change(&mut policy);
        policy.checked().unwrap_err()
    };
    assert_eq!(with(|p| p.max = 0), ScalingError::NoRoom);
    assert_eq!(with(|p| p.min = 101), ScalingError::MinAboveMax { min: 101, max: 100 });
    assert!(with(|p| p.panic_window = Duration::ZERO).to_string().contains("panicWindow 0ms"));
    assert!(with(|p| p.panic_window = Duration::from_secs(61)).to_string().contains("stableWindow 1m"));
    assert!(with(|p| p.panic_threshold = f64::NAN).to_string().contains("above 1"));
}

#[test]
fn load_decides() {
    // load, replicas before, decision of the first look
    let table = [
        (80.0, 10, (10, "Steady")),
        (87.0, 10, (10, "Steady")),
        (89.0, 10, (12, "ScaledUp")),
        (160.0, 10, (20, "Panic")),
        (40.0, 10, (10, "ScaleDownDelayed")),
        (4.0, 0, (1, "ScaledUp")),
        (10_000.0, 2, (20, "Panic")),
        (10_000.0, 90, (100, "AtCeiling")),
        (0.0, 0, (1, "AtFloor")),
    ];
    for (load, before, expected) in table {
        let mut track = Track::new(policy(), before);
        assert_eq!(told(&track.look(load)), expected, "{load} on {before}");
    }
}

#[test]
fn one_server_a_little_over_its_target_is_no_emergency() {
    // Knative's rule by itself: two replicas are wanted, twice the one that is ready.
    let mut track = Track::new(policy(), 1);
    assert_eq!(told(&track.look(8.6)), (1, "Steady"));
    assert!(!track.scaler.in_panic());
    assert_eq!(told(&track.run(12, 12.0)), (2, "Panic"));
    assert!(track.scaler.in_panic());
    track.run(40, 8.0);
    assert!(track.scaler.in_panic(), "until a stable window has passed");
    track.run(30, 8.0);
    assert!(!track.scaler.in_panic());
}

#[test]
fn capacity_for_taking_everybody_back_is_let_go_after_the_delay() {
    let mut track = Track::new(policy(), 3);
    track.bounds.floor = 10;
    assert_eq!(told(&track.run(900, 16.0)), (10, "Steady"));
    track.bounds.floor = 0;
    assert_eq!(told(&track.run(200, 16.0)), (10, "ScaleDownDelayed"));
    assert_eq!(track.run(400, 16.0).replicas, 3);
}

#[test]
fn of_two_signals_the_one_that_asks_for_more_decides() {
    let mut policy = policy();
    policy.requests_per_second = NonZeroU32::new(200);
    let mut track = Track::new(policy, 10);
    track.requests_per_second = 2_600.0;
    assert_eq!(told(&track.look(80.0)), (13, "ScaledUp"));
}

#[test]
fn every_decision_tells_its_numbers() {
    let mut track = Track::new(policy(), 10);
    let message = track.look(120.0).reason.message;
    assert_eq!(
        message,
        "10 to 15 replicas: the load is worth 15.00 replicas over 1m and 15.00 over 6s (120.0 in flight at 8 each), \
         10 ready"
    );
    let mut track = Track::new(policy(), 90);
    let message = track.look(1_600.0).reason.message;
    assert!(message.starts_with("100 replicas: 200 would be needed, 100 are allowed"), "{message}");
}

#[test]
fn without_data_nothing_follows_the_load() {
    let mut track = Track::new(policy(), 10);
    track.run(120, 80.0);
    assert_eq!(told(&track.blind()), (10, "NoData"));
    let now = at(track.seconds);
    let mut odd = vec![sample(track.seconds - LOOK, 900.0, 10), sample(track.seconds - 90, 900.0, 10)];
    odd.extend([f64::NAN, f64::INFINITY, -1.0].map(|load| sample(track.seconds, load, 10)));
    for sample in odd {
        let before = track.scaler.clone();
        let decision = track.scaler.look(&track.policy, Some(&sample), &track.bounds, now);
        assert_eq!(told(&decision), (10, "NoData"), "{sample:?}");
        assert_eq!(track.scaler, before, "nothing is remembered of it");
    }
}

#[test]
fn bounds_hold_without_data() {
    let mut track = Track::new(policy(), 3);
    track.bounds.floor = 7;
    assert_eq!(told(&track.blind()), (7, "AtFloor"), "I7: stable must be able to take everybody back");
    track.bounds = Bounds { ceiling: 0, ..Bounds::free() };
    assert_eq!(told(&track.blind()), (0, "AtCeiling"));
}

#[test]
fn the_floor_comes_before_the_ceiling_and_max_before_both() {
    let table = [(5, 0, 5), (5, 3, 5), (500, 3, 100), (0, 500, 10)];
    for (floor, ceiling, expected) in table {
        let mut track = Track::new(policy(), 10);
        track.bounds = Bounds { floor, ceiling, ..Bounds::free() };
        assert_eq!(track.blind().replicas, expected, "{floor} {ceiling}");
    }
}

#[test]
fn capacity_comes_before_the_weight() {
    let mut track = Track::new(policy(), 1);
    track.run(20, 4.0);
    track.bounds.expected = Some(10.0);
    let decision = track.look(4.0);
    assert_eq!(told(&decision), (10, "Prescaled"));
    assert!(decision.reason.message.contains("a load worth 10.0 replicas, 10 are needed"), "{decision:?}");
    assert_eq!(track.run(600, 4.0).replicas, 10, "it stays while the step waits");
    track.bounds.expected = None;
    assert_eq!(track.run(200, 4.0).replicas, 10, "and until the traffic can have come");
    assert!(track.run(400, 4.0).replicas < 10, "but not for ever");
}

#[test]
fn a_fresh_canary_is_prescaled_without_any_data() {
    let mut track = Track::new(policy(), 0);
    track.bounds.expected = Some(7.5);
    assert_eq!(told(&track.blind()), (8, "Prescaled"));
}

#[test]
fn servers_that_never_get_ready_are_not_ordered_without_end() {
    let mut track = Track::new(policy(), 1);
    track.bounds.expected = Some(800.0);
    for look in 1..50 {
        let sample = sample(look * LOOK, 400.0, 0);
        let decision = track.scaler.look(&track.policy, Some(&sample), &track.bounds, at(look * LOOK));
        assert!(decision.replicas <= 10, "{decision:?}");
    }
}

#[test]
fn slow_answers_hold_the_replicas_and_add_one_in_a_window() {
    let mut policy = policy();
    policy.p95 = Some(Duration::from_millis(50));
    let mut track = Track::new(policy, 10);
    track.run(400, 72.0);
    track.p95 = Some(Duration::from_millis(70));
    let grown: Vec<u32> = (0..50).map(|_| track.look(72.0).replicas).collect();
    assert!(grown.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1), "{grown:?}");
    assert_eq!(grown.last(), Some(&12), "two windows, two replicas: {grown:?}");
    // At a fifth of the target more replicas would not make anything faster, but none is taken away either.
    let held = track.run(900, 16.0);
    assert_eq!(told(&held), (12, "SlowAnswers"));
    assert!(held.reason.message.contains("p95 was 70ms, over 50ms"), "{held:?}");
    track.p95 = Some(Duration::from_millis(20));
    assert!(track.run(900, 16.0).replicas < 12);
}

#[test]
fn only_an_idle_holdover_goes_to_zero() {
    let mut policy = policy();
    policy.idle_after = Some(Duration::from_secs(600));
    let mut track = Track::new(policy, 2);
    assert_eq!(track.run(3_600, 0.0).replicas, 1, "it carries traffic in the route: min holds");
    track.bounds.idle_since = Some(at(track.seconds));
    assert_eq!(track.run(590, 0.0).replicas, 1);
    let mut floored = Track { scaler: track.scaler.clone(), policy: track.policy.clone(), ..track };
    floored.bounds.floor = 1;
    assert_eq!(floored.run(900, 0.0).replicas, 1, "a floor forbids it");
    floored.bounds.floor = 0;
    assert_eq!(told(&floored.blind()), (0, "Idle"), "an idle track has no samples; that is no reason to keep it");
    assert_eq!(floored.run(60, 0.0).replicas, 0);
    floored.bounds.idle_since = None;
    assert_eq!(floored.look(0.0).replicas, 1, "traffic again: at least min, at once");
}

#[test]
fn samples_that_come_often_share_slots() {
    let (policy, mut scaler) = (policy(), Scaler::new(10));
    for tenth in 1..20_000_i64 {
        let now = at(0) + Duration::from_millis(u64::try_from(tenth).unwrap() * 100);
        let load = if tenth % 2 == 0 { 100.0 } else { 60.0 };
        let sample = Sample { at: now, ..sample(0, load, 10) };
        assert_eq!(scaler.look(&policy, Some(&sample), &Bounds::free(), now).replicas, 10);
    }
    assert!(serde_json::to_string(&scaler).unwrap().len() < 16_000);
}

prop_compose! {
    fn any_bounds()(floor in 0_u32..30, ceiling in prop_oneof![Just(0), Just(u32::MAX), 0_u32..40],
        expected in prop::option::of(0.0..50.0_f64), idle in any::<bool>()) -> Bounds {
        Bounds { floor, ceiling, expected, idle_since: idle.then(|| at(0)) }
    }
}

prop_compose! {
    fn any_policy()(min in 0_u32..4, max in 4_u32..40, up in 1_u32..12, down in 1_u32..4, delay in 0_u64..400,
        guard in any::<bool>(), idle in prop::option::of(0_u64..100)) -> ScalingPolicy {
        ScalingPolicy {
            min,
            max,
            p95: guard.then_some(Duration::from_millis(50)),
            scale_up_rate: NonZeroU32::new(up).unwrap(),
            scale_down_rate: NonZeroU32::new(down).unwrap(),
            scale_down_delay: Duration::from_secs(delay),
            idle_after: idle.map(Duration::from_secs),
            ..policy()
        }
    }
}

/// Load, p95 in ms, ready, and bounds of one look; `None` is a look without a sample.
type Step = (Option<(f64, u64, u32)>, Bounds);

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let load = prop_oneof![0.0..400.0_f64, Just(0.0), Just(f64::NAN), Just(1e300)];
    let seen = prop::option::weighted(0.8, (load, 10_u64..90, 0_u32..40));
    prop::collection::vec((seen, any_bounds()), 1..80)
}

proptest! {
    #[test]
    fn bounds_floor_and_rates_always_hold(policy in any_policy(), start in 0_u32..50, steps in any_steps()) {
        let mut scaler = Scaler::new(start);
        let mut ready_known = start;
        for (index, (seen, bounds)) in steps.iter().enumerate() {
            let seconds = (index as u64 + 1) * LOOK;
            let sample = seen.map(|(load, p95, ready)| Sample {
                p95: Some(Duration::from_millis(p95)),
                ..sample(seconds, load, ready)
            });
            let before = scaler.replicas();
            let decision = scaler.look(&policy, sample.as_ref(), bounds, at(seconds));
            let usable = sample.is_some_and(|sample| sample.in_flight.is_finite());
            if let (true, Some(sample)) = (usable, sample) {
                ready_known = sample.ready;
            }
            let floor = bounds.floor.min(policy.max);
            let idle = bounds.idle_since.is_some() && floor == 0
                && policy.idle_after.is_some_and(|after| Duration::from_secs(seconds) >= after);
            let upper = if idle { 0 } else { policy.max.min(bounds.ceiling.max(floor)) };
            let lower = policy.min.max(floor).min(upper);
            prop_assert!((lower..=upper).contains(&decision.replicas), "{lower}..={upper}: {decision:?}");
            prop_assert!(decision.replicas >= floor, "never below the floor");
            let most = before.max(ready_known.max(1).saturating_mul(policy.scale_up_rate.get())).max(lower);
            prop_assert!(decision.replicas <= most, "up at most to {most}: {decision:?}");
            let least = before.div_ceil(policy.scale_down_rate.get()).min(upper);
            prop_assert!(decision.replicas >= least, "down at least to {least}: {decision:?}");
            if !usable && bounds.expected.is_none() {
                prop_assert_eq!(decision.replicas, before.clamp(lower, upper), "no data, no change");
            }
            prop_assert!(!decision.reason.message.is_empty());
            let stored = serde_json::to_string(&scaler).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Scaler>(&stored).unwrap(), &scaler);
        }
    }

    #[test]
    fn more_load_never_gets_fewer_replicas(
        policy in any_policy(), start in 0_u32..50, steps in any_steps(), bounds in any_bounds(),
        loads in (0.0..500.0_f64, 0.0..500.0_f64), p95 in 10_u64..90, ready in 0_u32..40,
    ) {
        let mut scaler = Scaler::new(start);
        for (index, (seen, bounds)) in steps.iter().enumerate() {
            let seconds = (index as u64 + 1) * LOOK;
            let sample = seen.map(|(load, _, ready)| sample(seconds, load, ready));
            scaler.look(&policy, sample.as_ref(), bounds, at(seconds));
        }
        let seconds = (steps.len() as u64 + 1) * LOOK;
        let with = |load: f64| {
            let sample = Sample { p95: Some(Duration::from_millis(p95)), ..sample(seconds, load, ready) };
            scaler.clone().look(&policy, Some(&sample), &bounds, at(seconds)).replicas
        };
        let (low, high) = (loads.0.min(loads.1), loads.0.max(loads.1));
        prop_assert!(with(low) <= with(high), "{low}: {}, {high}: {}", with(low), with(high));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_load_that_flaps_by_5_percent_does_not_move_the_replicas(load in 1.0..700.0_f64, period in 1_u64..400) {
        let mut track = Track::new(policy(), needed(&policy(), worth(&policy(), load, 0.0), 1.0));
        let flap = |look: u64| if (look / period).is_multiple_of(2) { load * 1.05 } else { load * 0.95 };
        let replicas: Vec<u32> = (0..2_000).map(|look| {
            track.seconds += LOOK;
            let sample = sample(track.seconds, flap(look), track.scaler.replicas());
            track.scaler.look(&track.policy, Some(&sample), &track.bounds, at(track.seconds)).replicas
        }).collect();
        let settled = &replicas[replicas.len() / 2..];
        prop_assert!(settled.iter().all(|n| *n == settled[0]), "{settled:?}");
    }
}
