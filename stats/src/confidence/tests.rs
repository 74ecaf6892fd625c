//! Tests of the confidence sequences: golden values, and equal arms that are looked at all the time.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::{Stream, drift_samples};

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

#[test]
fn tuning_parameter() {
    close(rho2_exact(0.05, 5000.0), 0.0016423936124136506, 1e-15);
    close(rho2_approximate(0.05, 5000.0), 0.0015872309203475133, 1e-15);
    for alpha in [1e-12, 0.001, 0.5, 0.99, 0.999999] {
        let y = 1.0 + rho2_exact(alpha, 1.0);
        close(y - y.ln(), 1.0 - 2.0 * alpha.ln(), 1e-9);
    }
    assert!(rho2_exact(0.0, 10.0).is_nan() && rho2_exact(0.05, 0.0).is_nan());
    assert!(rho2_approximate(1.0, 10.0).is_nan());
}

#[test]
fn unit_variance_half_widths() {
    let table = [
        (500.0, 0.1724032843509863),
        (1000.0, 0.10637547006557505),
        (5000.0, 0.042924337188268456),
        (20_000.0, 0.022112036165461417),
        (100_000.0, 0.010552070034257914),
    ];
    for (n, expected) in table {
        let rho2 = rho2_approximate(0.05, 5000.0);
        let half = asymptotic_half_width(1.0 / f64::sqrt(n), n, rho2, 0.05);
        close(half, expected, 1e-12);
    }
}

#[test]
fn interval_of_the_portable_sample() {
    let (a, _) = drift_samples();
    let mean = a.iter().sum::<f64>() / 1000.0;
    let variance = a.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 999.0;
    let error = (variance / 1000.0).sqrt();
    let half = asymptotic_half_width(error, 1000.0, rho2_exact(0.05, 500.0), 0.05);
    close(mean - half, 0.4690752817598774, 1e-12);
    close(mean + half, 0.5247462177927003, 1e-12);
}

#[test]
fn agrees_with_gbstats() {
    // Reference 4: sequential tests of gbstats, N* = 1000 for the two-sided and 5000 for the one-sided ones.
    let arm = |sum: f64, squares: f64, n: f64| (sum / n, (squares - sum * sum / n) / (n - 1.0) / n);
    let (mean_a, var_a) = arm(1396.87, 52377.9767, 3000.0);
    let (mean_b, var_b) = arm(2422.7, 134698.29, 3461.0);
    let error = (var_b / mean_a.powi(2) + var_a * mean_b.powi(2) / mean_a.powi(4)).sqrt();
    let lift = (mean_b - mean_a) / mean_a;
    let half = asymptotic_half_width(error, 6461.0, rho2_approximate(0.05, 1000.0), 0.05);
    close(lift - half, -0.55844, 1e-5);
    close(lift + half, 1.56516, 1e-5);
    let rho2 = rho2_approximate(0.10, 5000.0);
    let below = asymptotic_half_width_one_sided(error, 6461.0, rho2, 0.05);
    close(lift - below, -0.42356, 1e-4);
}

#[test]
fn outside_the_domain_nothing_is_known() {
    for (error, n, rho2, alpha) in
        [(f64::NAN, 10.0, 0.1, 0.05), (1.0, 0.0, 0.1, 0.05), (1.0, 10.0, f64::NAN, 0.05), (1.0, 10.0, 0.1, 0.0)]
    {
        assert_eq!(asymptotic_half_width(error, n, rho2, alpha), f64::INFINITY);
    }
    close(z_quantile(0.975), 1.959963984540054, 1e-10);
    assert_eq!(z_quantile(0.0), f64::NEG_INFINITY);
    assert!(z_quantile(1.5).is_nan());
}

fn arm(stream: &mut Stream, units: u32, rate: f64) -> Cells {
    let mut cells = Cells::new();
    for _ in 0..units {
        // The stream's high bits are the good ones.
        let cell = (stream.uniform() * 256.0) as u8;
        cells.record(cell, f64::from(u8::from(stream.uniform() < rate)));
    }
    cells
}

#[test]
fn differences_are_found_and_agree() {
    let mut stream = Stream::new(5);
    let canary = arm(&mut stream, 20_000, 0.40);
    let stable = arm(&mut stream, 60_000, 0.50);
    let absolute = difference(&canary, &stable, 0.05, 20_000.0).unwrap();
    assert!(absolute.upper < 0.0 && absolute.lower < -0.1 && absolute.upper > -0.1);
    assert_eq!(absolute.n, 20_000);
    let relative = relative_difference(&canary, &stable, 0.05, 20_000.0).unwrap();
    close(relative.estimate, canary.mean().unwrap() / stable.mean().unwrap() - 1.0, 1e-12);
    assert!(relative.lower < -0.2 && relative.upper > -0.2 && relative.upper < 0.0);
}

#[test]
fn too_little_and_no_variation_are_none() {
    let mut stream = Stream::new(6);
    let (small, large) = (arm(&mut stream, 60, 0.5), arm(&mut stream, 900, 0.5));
    assert_eq!(difference(&small, &large, 0.05, 1000.0), None);
    let silent = arm(&mut stream, 900, 0.0);
    let harm = difference(&silent, &large, 0.05, 1000.0).unwrap();
    assert!(harm.upper < 0.0, "a canary that earns nothing is found");
    assert_eq!(difference(&silent, &silent, 0.05, 1000.0), None);
    assert_eq!(paired(&silent, 0.05, 1000.0), None);
    let (mut few, mut constant) = (Cells::new(), Cells::new());
    (0..900).for_each(|i| few.record(i as u8 % 20, f64::from(i % 7)));
    (0..900).for_each(|i| constant.record(i as u8, 0.1));
    assert_eq!(paired(&few, 0.05, 1000.0), None);
    assert_eq!(paired(&constant, 0.05, 1000.0), None);
    assert_eq!(difference(&large, &large, 0.05, 0.0), None);
    let rare = arm(&mut stream, 900, 0.005);
    assert_eq!(relative_difference(&large, &rare, 0.05, 1000.0), None);
    assert!(difference(&large, &rare, 0.05, 1000.0).is_some());
    assert!(paired(&large, 0.05, 1000.0).is_some());
}

/// Users of either arm come one to six times with the same answer; the canary's share ramps 5, 25, 50 %.
#[test]
fn equal_arms_are_rarely_told_apart_over_a_ramp_however_often_one_looks() {
    let mut stream = Stream::new(99);
    let runs = 150;
    let wrong = (0..runs).filter(|_| {
        let (mut canary, mut stable) = (Cells::new(), Cells::new());
        (0..120).any(|look| {
            for _ in 0..200 {
                let on_canary = stream.uniform() < [0.05, 0.25, 0.5][look / 40];
                let cell = (stream.uniform() * 256.0) as u8;
                let value = f64::from(u8::from(stream.uniform() < 0.1));
                let visits = 1 + (stream.uniform() * 6.0) as u32;
                let arm = if on_canary { &mut canary } else { &mut stable };
                (0..visits).for_each(|_| arm.record(cell, value));
            }
            relative_difference(&canary, &stable, 0.05, 500.0)
                .or_else(|| difference(&canary, &stable, 0.05, 500.0))
                .is_some_and(|i| i.lower > 0.0 || i.upper < 0.0)
        })
    });
    let wrong = wrong.count();
    assert!(wrong <= runs / 20, "{wrong} of {runs}");
}

#[test]
fn evidence_is_the_dual_of_the_interval() {
    // Where the interval just touches 0 the evidence is just 1/α.
    for (n, alpha) in [(150.0, 0.05), (5000.0, 0.01), (1e6, 0.2)] {
        let rho2 = rho2_exact(alpha, 5000.0);
        let half = asymptotic_half_width(0.02, n, rho2, alpha);
        close(ln_e(half, 0.02, n, rho2), -alpha.ln(), 1e-9);
        close(ln_e(-half, 0.02, n, rho2), -alpha.ln(), 1e-9);
        let rho2 = rho2_one_sided(alpha, 5000.0);
        let half = asymptotic_half_width_one_sided(0.02, n, rho2, alpha);
        let above = ln_e_above(half, 0.02, n, rho2);
        assert!(above >= -alpha.ln() && above < -alpha.ln() + 0.4, "{above}");
        assert!(ln_e_above(-half, 0.02, n, rho2) < 0.0);
    }
    close(p_value(3.0), (-3.0_f64).exp(), 1e-15);
    assert_eq!(p_value(-2.0), 1.0);
}

#[test]
fn agrees_with_confseq() {
    // Reference 4: v_opt = 100, alpha .05; confseq's rho is the approximate 1/ρ², its v our n at unit variance, its s the sum.
    let (two, one) = (rho2_approximate(0.05, 100.0), rho2_approximate(0.10, 100.0));
    close(two.recip(), 12.60056, 1e-5);
    close(ln_e(0.1, 0.1, 100.0, two), -0.6510052, 1e-6);
    close(100.0 * asymptotic_half_width(0.1, 100.0, two, 0.05), 30.35209, 1e-5);
    close(ln_e_above(0.1, 0.1, 100.0, one), -0.06502391, 1e-6);
    close(ln_e_above(0.2766071, 0.1, 100.0, one), 20_f64.ln(), 1e-5);
}

#[test]
fn the_mixture_is_the_sequential_probability_ratio_test() {
    // Reference 3.5: ville's mSPRT at 1000 of the portable sample, θ0 = .5, σ² = 1/12, τ = .05.
    let (a, _) = drift_samples();
    let mean = a.iter().sum::<f64>() / 1000.0;
    let e = ln_e(mean - 0.5, (1.0 / 12_000.0_f64).sqrt(), 1000.0, 0.05_f64.powi(2) * 12.0).exp();
    close(e, 0.18983881229743282, 1e-9);
}

#[test]
fn evidence_far_out_is_finite_and_monotone() {
    let at = |z: f64| ln_e_above(z, 1.0, 1000.0, 0.01);
    let values: Vec<f64> = [-1e300, -1e4, -40.0, -26.3, -26.1, -3.0, 0.0, 3.0, 40.0, 1e4, 1e300].map(at).to_vec();
    assert!(values.windows(2).all(|pair| pair[0] < pair[1] || pair[0] < -10.0 && pair[0] <= pair[1]), "{values:?}");
    assert!(values.iter().all(|v| v.is_finite()));
    // The series takes over where the direct form still works.
    close(ln_scaled_normal(-24.999_999), ln_scaled_normal(-25.000_001), 1e-6);
}

#[test]
fn gbstats_sequential_one_sided_absolute() {
    // Reference 4: lower bound -.12657 (N* = 5000 by the approximate ρ).
    let arm = |sum: f64, squares: f64, n: f64| (sum / n, (squares - sum * sum / n) / (n - 1.0) / n);
    let (mean_a, var_a) = arm(1396.87, 52377.9767, 3000.0);
    let (mean_b, var_b) = arm(2422.7, 134698.29, 3461.0);
    let half = asymptotic_half_width_one_sided((var_a + var_b).sqrt(), 6461.0, rho2_approximate(0.10, 5000.0), 0.05);
    close(mean_b - mean_a - half, -0.12657, 1e-4);
}

#[test]
fn the_running_intersection_only_narrows_until_the_effect_moves() {
    let of = |lower: f64, upper: f64| Interval { estimate: (lower + upper) / 2.0, lower, upper, n: 100 };
    let mut running = Running::default();
    assert_eq!(running.interval(), None);
    for (latest, expected) in [((-1.0, 3.0), (-1.0, 3.0)), ((0.0, 4.0), (0.0, 3.0)), ((-2.0, 2.0), (0.0, 2.0))] {
        running.add(of(latest.0, latest.1));
        let now = running.interval().unwrap();
        assert_eq!((now.lower, now.upper), expected);
    }
    running.add(of(5.0, 6.0));
    assert_eq!(running.interval(), Some(of(5.0, 6.0)));
    let text = serde_json::to_string(&running).unwrap();
    assert_eq!(serde_json::from_str::<Running>(&text).unwrap(), running);
}

proptest! {
    #[test]
    fn no_input_makes_a_nan(x in prop::array::uniform4(prop::num::f64::ANY)) {
        for rho2 in [x[3], rho2_exact(x[3], x[2]), 0.01] {
            prop_assert!(!asymptotic_half_width(x[0].abs(), x[1], rho2, 0.05).is_nan());
            prop_assert!(!asymptotic_half_width_one_sided(x[0], x[1], rho2, x[2]).is_nan());
            prop_assert!(!ln_e(x[0], x[1], x[2], rho2).is_nan());
            prop_assert!(!ln_e_above(x[0], x[1], x[2], rho2).is_nan());
        }
        prop_assert!(!p_value(x[0]).is_nan());
    }

    /// Later intervals are narrower at the same spread of a unit, and a smaller level is wider.
    #[test]
    fn widths_are_monotone(n in 100.0..1e7_f64, alpha in 1e-4..0.4_f64) {
        let half = |n: f64, alpha: f64| asymptotic_half_width_one_sided(1.0 / n.sqrt(), n, 1e-3, alpha);
        prop_assert!(half(2.0 * n, alpha) < half(n, alpha));
        prop_assert!(half(n, alpha / 2.0) > half(n, alpha));
    }
}
