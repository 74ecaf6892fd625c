//! Known values, and the promises under simulation.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::{Stream, drift_samples};

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

#[test]
fn golden_intervals() {
    // Reference 3.5: the first sample of the drift goldens.
    let (a, _) = drift_samples();
    let (mut bernstein, mut betting) = (EmpiricalBernstein::new(0.05), Betting::new(0.05, 10_000));
    a.iter().for_each(|&x| {
        bernstein.update(x);
        betting.update(x);
    });
    let interval = bernstein.interval();
    close(interval.lower, 0.46346086403657427, 1e-13);
    close(interval.upper, 0.5291669776342264, 1e-13);
    close(interval.estimate, 0.49691074977628887, 1e-12);
    let interval = betting.interval();
    close(interval.lower, 0.46604660466046605, 1e-12);
    close(interval.upper, 0.5284528452845285, 1e-12);
    assert_eq!(a.iter().filter(|&&x| x < 0.3).count(), 303);
    let interval = rate(303, 1000, 0.05).unwrap();
    close(interval.lower, 0.2531786414061101, 1e-11);
    close(interval.upper, 0.3561227526982028, 1e-11);
}

#[test]
fn bound_of_a_fixed_sample() {
    // By hand: ln 40 = 3.6888794541139363.
    let expected = 0.2 + (2.0_f64 * 0.16 * 3.6888794541139363 / 1000.0).sqrt() + 7.0 * 3.6888794541139363 / 2997.0;
    close(upper_bound(1000, 0.2, 0.16, 0.05), expected, 1e-15);
    for (n, mean, variance, alpha) in
        [(1, 0.2, 0.1, 0.05), (9, f64::NAN, 0.1, 0.05), (9, 0.2, f64::INFINITY, 0.05), (9, 0.2, 0.1, 0.0)]
    {
        assert_eq!(upper_bound(n, mean, variance, alpha), 1.0);
    }
}

#[test]
fn rates_at_the_ends() {
    assert_eq!(rate(0, 0, 0.05), None);
    assert_eq!(rate(1, 2, 1.0), None);
    let none = rate(0, 50, 0.05).unwrap();
    assert_eq!((none.estimate, none.lower), (0.0, 0.0));
    // No success in n: (1 - p)^n = α / (n + 1).
    close(none.upper, 1.0 - (0.05_f64 / 51.0).powf(1.0 / 50.0), 1e-12);
    let all = rate(70, 50, 0.05).unwrap();
    close(all.lower, 1.0 - none.upper, 1e-12);
    assert_eq!(all.upper, 1.0);
}

fn coin(stream: &mut Stream, p: f64) -> f64 {
    f64::from(u8::from(stream.uniform() < p))
}

/// A risk of 0.2 at training.
fn reference() -> Moments {
    let mut losses = Moments::new();
    (0..50_000).for_each(|i| losses.record(f64::from(u8::from(i % 5 == 0))));
    losses
}

#[test]
fn a_worse_model_is_found_and_said() {
    let mut stream = Stream::new(4);
    let mut tracked = TrackedRisk::new(RiskLimit::new(&reference(), 0.02, 0.05));
    assert_eq!(tracked.report().sentence(), "no matured labels yet to judge the risk");
    let alarmed = (1..3000).find(|_| {
        tracked.update(coin(&mut stream, 0.35));
        tracked.report().alarm
    });
    assert!(alarmed.is_some_and(|n| n < 500), "{alarmed:?}");
    let sentence = tracked.report().sentence();
    let limits = " labels against 0.2255 (at most 0.2055 at training, tolerance 0.0200); evidence ";
    assert!(sentence.starts_with("risk rose: mean loss 0.") && sentence.contains(limits), "{sentence}");
    assert!(sentence.ends_with(" of 40.0 needed at error level 0.05"), "{sentence}");
    // Better times do not take an alarm back.
    (0..1000).for_each(|_| tracked.update(0.0));
    let report = tracked.report();
    assert!(report.alarm && report.risk.upper < 0.2255);
}

#[test]
fn the_alarm_is_the_lower_end_of_the_betting_sequence() {
    let limit = RiskLimit { reference_upper: 0.2, tolerance: 0.05, alpha: 0.1 };
    let (mut tracked, mut betting) = (TrackedRisk::new(limit), Betting::new(0.1, 1001));
    let mut stream = Stream::new(6);
    let mut lower = 0.0_f64;
    for _ in 0..400 {
        let loss = coin(&mut stream, 0.33) * stream.uniform().sqrt();
        tracked.update(loss);
        betting.update(loss);
        // One step of the grid wider.
        lower = lower.max(betting.lower() + 0.001);
        assert_eq!(tracked.report().alarm, lower >= 0.25 - 1e-9, "{lower}");
    }
}

#[test]
fn no_rise_alarms_rarely_however_often_one_looks() {
    let limit = RiskLimit { reference_upper: 0.2, tolerance: 0.0, alpha: 0.05 };
    let mut stream = Stream::new(8);
    let runs = 400;
    let wrong = (0..runs).filter(|_| {
        let (mut tracked, mut excluded) = (TrackedRisk::new(limit), false);
        for _ in 0..1000 {
            tracked.update(coin(&mut stream, 0.2));
            excluded |= tracked.report().risk.lower > 0.2;
        }
        tracked.report().alarm || excluded
    });
    // Two one-sided bounds at α / 2 each.
    let wrong = wrong.count();
    assert!(wrong <= runs / 20, "{wrong} of {runs}");
}

#[test]
fn a_rise_after_a_long_calm_is_found_by_the_detector() {
    let mut stream = Stream::new(21);
    let mut detector = ShiryaevRoberts::new(0.25, ShiryaevRoberts::RUN_LENGTH);
    (0..20_000).for_each(|_| assert!(!detector.update(coin(&mut stream, 0.2))));
    let delay = (1..2000).find(|_| detector.update(coin(&mut stream, 0.4)));
    assert!(delay.is_some_and(|n| n < 500), "{delay:?}");
    assert!(detector.sentence().starts_with("risk rose above 0.2500: evidence 1."), "{}", detector.sentence());
    let mut unaware = ShiryaevRoberts::new(f64::NAN, 0.0);
    assert_eq!((0..100_000).filter(|_| unaware.update(2.0)).count(), 0);
    assert!(unaware.evidence().is_finite() && unaware.update(f64::NAN) == unaware.alarm());
}

#[test]
fn odd_limits_are_harmless() {
    for odd in [f64::NAN, f64::INFINITY, -5.0, -0.1, 0.0] {
        let mut tracked = TrackedRisk::new(RiskLimit { reference_upper: odd, tolerance: odd, alpha: odd });
        (0..50).for_each(|i| tracked.update(f64::from(i % 2)));
        let report = tracked.report();
        assert!(report.ln_evidence.is_finite() && tracked.ln_capital.is_finite() && report.limit.alpha == 0.05);
        assert_eq!(report.alarm, odd <= 0.0);
    }
    assert_eq!(RiskLimit::new(&Moments::new(), f64::NAN, 0.05).value(), 1.0);
}

#[test]
fn the_mean_run_length_is_kept() {
    let mut stream = Stream::new(31);
    let (mut labels, mut alarms) = (0_u32, 0_u32);
    let mut detector = ShiryaevRoberts::new(0.2, 500.0);
    while labels < 200_000 {
        labels += 1;
        if detector.update(coin(&mut stream, 0.2)) {
            alarms += 1;
            detector = ShiryaevRoberts::new(0.2, 500.0);
        }
    }
    assert!(alarms > 0 && labels / alarms >= 500, "{alarms}");
}

proptest! {
    #[test]
    fn intervals_are_sound_and_survive_json(
        losses in prop::collection::vec(prop_oneof![0.0..1.0_f64, any::<f64>(), Just(0.0), Just(1.0)], 0..60),
        alpha in any::<f64>(),
    ) {
        let (mut bernstein, mut betting) = (EmpiricalBernstein::new(alpha), Betting::new(alpha, 101));
        let mut tracked = TrackedRisk::new(RiskLimit::new(&reference(), alpha, alpha));
        let mut detector = ShiryaevRoberts::new(alpha, alpha);
        for &loss in &losses {
            bernstein.update(loss);
            betting.update(loss);
            tracked.update(loss);
            detector.update(loss);
        }
        for i in [bernstein.interval(), betting.interval()] {
            prop_assert!((0.0..=1.0).contains(&i.lower) && (0.0..=1.0).contains(&i.upper));
            prop_assert!((0.0..=1.0).contains(&i.estimate));
            prop_assert_eq!(i.n, losses.iter().filter(|l| !l.is_nan()).count() as u64);
        }
        prop_assert!(detector.evidence().is_finite() && tracked.report().ln_evidence.is_finite());
        let text = serde_json::to_string(&(&bernstein, &tracked, &detector)).unwrap();
        let (a, b, c): (EmpiricalBernstein, TrackedRisk, ShiryaevRoberts) = serde_json::from_str(&text).unwrap();
        prop_assert_eq!((a, b, c), (bernstein, tracked, detector));
    }

    #[test]
    fn mirrored_losses_give_mirrored_intervals(losses in prop::collection::vec(0..=64_u32, 1..80)) {
        let (mut plain, mut mirrored) = (Betting::new(0.1, 201), Betting::new(0.1, 201));
        let (mut plain_eb, mut mirrored_eb) = (EmpiricalBernstein::new(0.1), EmpiricalBernstein::new(0.1));
        for loss in losses.into_iter().map(|l| f64::from(l) / 64.0) {
            plain.update(loss);
            mirrored.update(1.0 - loss);
            plain_eb.update(loss);
            mirrored_eb.update(1.0 - loss);
        }
        // Rounding may move an end of the betting interval by one point of its grid.
        let pairs = [
            (plain.interval(), mirrored.interval(), 0.005 + 1e-9),
            (plain_eb.interval(), mirrored_eb.interval(), 1e-9),
        ];
        for (i, m, near) in pairs {
            prop_assert!((i.lower - (1.0 - m.upper)).abs() < near && (i.upper - (1.0 - m.lower)).abs() < near);
        }
        // The capital is monotone over the grid, which is what makes it an interval.
        prop_assert!(plain.up.windows(2).all(|w| w[0] >= w[1] - 1e-9));
        prop_assert!(plain.down.windows(2).all(|w| w[0] <= w[1] + 1e-9));
    }

    #[test]
    fn rates_hold_their_estimate_and_rise_with_successes(n in 1..100_000_u64, share in 0.0..1.0_f64) {
        let s = (share * n as f64) as u64;
        let (one, more) = (rate(s, n, 0.05).unwrap(), rate(s + 1, n, 0.05).unwrap());
        prop_assert!(one.lower <= one.estimate && one.estimate <= one.upper);
        prop_assert!(one.lower <= more.lower && one.upper <= more.upper);
    }
}
