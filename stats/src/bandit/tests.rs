//! Against closed forms, and draws against what is logged.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

fn beta(successes: u64, failures: u64) -> BetaArm {
    BetaArm { successes, failures }
}

fn gaussian(mean: f64, deviation: f64) -> GaussianArm {
    GaussianArm { mean, deviation }
}

/// P(X_b > X_a) for whole parameters (Miller 2015): Σ_{i<α_b} B(α_a + i, β_a + β_b) / ((β_b + i) B(1 + i, β_b) B(α_a, β_a)).
fn second_is_better(a: BetaArm, b: BetaArm) -> f64 {
    let of = |arm: BetaArm| (arm.successes as f64 + 1.0, arm.failures as f64 + 1.0);
    let ((a1, b1), (_, b2)) = (of(a), of(b));
    let term = |i: u64| {
        let i = i as f64;
        (ln_beta(a1 + i, b1 + b2) - (b2 + i).ln() - ln_beta(1.0 + i, b2) - ln_beta(a1, b1)).exp()
    };
    (0..=b.successes).map(term).sum()
}

#[test]
fn two_rates_as_in_the_closed_form() {
    for (a, b) in [
        (beta(0, 0), beta(0, 0)),
        (beta(0, 0), beta(0, 5)),
        (beta(3, 7), beta(5, 5)),
        (beta(0, 1000), beta(3, 900)),
        (beta(120, 9880), beta(150, 9850)),
        (beta(2, 1), beta(10_000, 30_000)),
        (beta(50_000, 5_000_000), beta(50_300, 5_000_000)),
    ] {
        let weights = best_of_beta(&[a, b]);
        let tolerance = if a.failures > 1_000_000 { 1e-6 } else { 1e-8 };
        close(weights[1], second_is_better(a, b), tolerance);
    }
}

#[test]
fn with_many_counts_rates_are_as_scipy_has_them() {
    // scipy 1.17.1: ∫ beta.cdf of the first d(beta.cdf of the second), 40,001 points.
    let table = [
        (1000, 9999000, 31, 0.7541858565904234),
        (10000, 9990000, 99, 0.7576120466166257),
        (50000, 450000, 212, 0.7599054563989491),
    ];
    for (successes, failures, more, expected) in table {
        let of = |scale: u64| {
            let arm = |s: u64, f: u64| beta(scale * s, scale * f);
            best_of_beta(&[arm(successes, failures), arm(successes + more, failures - more)])[1]
        };
        close(of(1), expected, 1e-5);
        assert!(of(1000) > 0.75, "the better arm of very many counts");
    }
}

#[test]
fn two_means_as_in_the_closed_form() {
    for (a, b) in [
        (gaussian(0.0, 1.0), gaussian(0.0, 1.0)),
        (gaussian(0.0, 1.0), gaussian(0.5, 1e-6)),
        (gaussian(-3e9, 2e9), gaussian(1e9, 5e8)),
        (gaussian(0.101, 0.001), gaussian(0.1, 0.002)),
    ] {
        let z = (b.mean - a.mean) / a.deviation.hypot(b.deviation);
        close(best_of_gaussian(&[a, b])[1], 0.5 * erfc(-z * std::f64::consts::FRAC_1_SQRT_2), 1e-9);
    }
}

#[test]
fn many_arms_and_odd_ones() {
    let equal = best_of_gaussian(&[gaussian(2.0, 0.1); 40]);
    equal.iter().for_each(|w| close(*w, 1.0 / 40.0, 1e-12));
    close(best_of_beta(&[beta(4, 9); 7])[3], 1.0 / 7.0, 1e-12);
    // A clear winner among many, and one that is known exactly.
    let mut arms = vec![gaussian(0.0, 0.01); 30];
    arms.push(gaussian(1.0, 0.0));
    close(best_of_gaussian(&arms)[30], 1.0, 1e-12);
    assert_eq!(best_of_gaussian(&[gaussian(f64::NAN, 1.0), gaussian(0.0, 1.0)]), [0.5, 0.5]);
    assert_eq!(best_of_gaussian(&[gaussian(1.0, 0.0), gaussian(1.0, 0.0)]), [0.5, 0.5]);
    assert_eq!(best_of_gaussian(&[gaussian(1.0, -1.0), gaussian(0.0, 1.0)]), [0.5, 0.5]);
    assert_eq!(best_of_beta(&[]), [0.0; 0]);
    assert_eq!(best_of_beta(&[beta(1, 1)]), [1.0]);
    close(best_of_beta(&[beta(0, u64::MAX), beta(u64::MAX, 0)])[1], 1.0, 1e-12);
    assert_eq!(best_of_beta(&vec![beta(0, 0); MOST_ARMS + 1])[0], 1.0 / 257.0);
}

#[test]
fn the_floor_is_added() {
    let of = |weights: &[f64], floor| Exploration::new(weights, floor).probabilities().to_vec();
    assert_eq!(of(&[1.0, 0.0], 0.25), [0.75, 0.25]);
    assert_eq!(of(&[3.0, 1.0], 0.0), [0.75, 0.25]);
    assert_eq!(of(&[1.0, 0.0, 0.0, 0.0], 9.0), [0.25; 4]);
    assert_eq!(of(&[0.0, f64::NAN, -3.0, f64::INFINITY], 0.0), [0.25; 4]);
    assert_eq!(of(&[1.0, 1.0], f64::NAN), [0.5, 0.5]);
    assert_eq!(of(&[], 0.1), [0.0; 0]);
    assert_eq!(Exploration::new(&[], 0.1).draw(0.5), None);
    for uniform in [f64::NAN, -1.0, 0.0] {
        assert_eq!(Exploration::new(&[1.0, 1.0], 0.0).draw(uniform), Some(Draw { arm: 0, propensity: 0.5 }));
    }
    // An arm that cannot be drawn is not drawn, even at the very end.
    assert_eq!(Exploration::new(&[1.0, 0.0], 0.0).draw(1.0), Some(Draw { arm: 0, propensity: 1.0 }));
}

#[test]
fn draws_follow_what_is_logged() {
    let exploration = Exploration::new(&best_of_beta(&[beta(10, 90), beta(14, 86), beta(2, 98)]), 0.05);
    let mut stream = Stream::new(3);
    let (mut drawn, n) = ([0.0; 3], 60_000);
    for _ in 0..n {
        let draw = exploration.draw(stream.uniform()).unwrap();
        assert_eq!(draw.propensity, exploration.probabilities()[draw.arm]);
        drawn[draw.arm] += 1.0 / f64::from(n);
    }
    for (share, p) in drawn.iter().zip(exploration.probabilities()) {
        close(*share, *p, 4.0 * (p * (1.0 - p) / f64::from(n)).sqrt());
    }
}

proptest! {
    #[test]
    fn probabilities_sum_to_one_exactly_and_keep_the_floor(
        weights in prop::collection::vec(prop_oneof![0.0..1.0_f64, any::<f64>()], 1..40),
        floor in 0.0..0.1_f64,
    ) {
        let made = Exploration::new(&weights, floor);
        prop_assert_eq!(made.probabilities().iter().sum::<f64>(), 1.0);
        let least = floor.min(1.0 / weights.len() as f64) - weights.len() as f64 / UNIT;
        prop_assert!(made.probabilities().iter().all(|p| *p >= least && *p <= 1.0));
        let text = serde_json::to_string(&made).unwrap();
        prop_assert_eq!(serde_json::from_str::<Exploration>(&text).unwrap(), made);
    }

    #[test]
    fn more_successes_are_never_worse(
        arms in prop::collection::vec((0..200_u64, 0..200_u64), 2..6), more in 1..50_u64,
    ) {
        let mut arms: Vec<BetaArm> = arms.into_iter().map(|(s, f)| beta(s, f)).collect();
        let before = best_of_beta(&arms);
        prop_assert!((before.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        arms[0].successes += more;
        prop_assert!(best_of_beta(&arms)[0] >= before[0] - 1e-7);
    }

    #[test]
    fn any_input_has_weights(arms in prop::collection::vec((any::<f64>(), any::<f64>()), 0..6)) {
        let arms: Vec<GaussianArm> = arms.into_iter().map(|(m, s)| gaussian(m, s)).collect();
        prop_assert!(best_of_gaussian(&arms).iter().all(|w| (0.0..=1.0).contains(w)));
    }
}
