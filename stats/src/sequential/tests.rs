//! Tests of the group-sequential bounds: golden values, the spent level, and odd schedules.

use proptest::prelude::*;

use super::*;

fn equal(looks: usize) -> Vec<f64> {
    (1..=looks).map(|k| k as f64 / looks as f64).collect()
}

#[test]
fn golden_power_family() {
    // Reference 3.7.
    let table: [(usize, f64, f64, &[f64]); 4] = [
        (4, 2.0, 0.025, &[2.95516685, 2.55935016, 2.30085531, 2.09196686]),
        (5, 2.0, 0.025, &[3.09023231, 2.71411158, 2.4727772, 2.27986339, 2.11402833]),
        (5, 3.0, 0.05, &[3.35279478, 2.75255954, 2.35029295, 2.0189391, 1.72238993]),
        (
            14,
            2.0,
            0.025,
            &[
                3.65708275, 3.34650708, 3.15938081, 3.01451189, 2.8932826, 2.78765177, 2.69323469, 2.60732454,
                2.5281134, 2.45432522, 2.3850214, 2.31948891, 2.25717186, 2.19762741,
            ],
        ),
    ];
    for (looks, phi, alpha, expected) in table {
        for (bound, expected) in bounds(&equal(looks), alpha, Spending::Power(phi)).unwrap().iter().zip(expected) {
            assert!((bound - expected).abs() < 2e-8, "{looks} {phi}: {bound} {expected}");
        }
    }
}

#[test]
fn obrien_fleming_as_published() {
    // Lan–DeMets O'Brien–Fleming, five equal looks, two-sided .05: the usual tables, whose grids are coarser (the second
    // bound is 3.35701 by the bivariate normal distribution function).
    let found = bounds(&equal(5), 0.025, Spending::OBrienFleming).unwrap();
    for (bound, expected) in found.iter().zip([4.8769, 3.3569, 2.6803, 2.2898, 2.0310]) {
        assert!((bound - expected).abs() < 1.5e-4, "{bound} {expected}");
    }
}

#[test]
fn what_is_crossed_is_what_was_spent_even_at_many_looks() {
    for (looks, alpha, spending) in
        [(1, 0.05, Spending::Power(1.0)), (30, 0.025, Spending::OBrienFleming), (190, 0.05, Spending::Power(2.0))]
    {
        let times = equal(looks);
        let bounds = bounds(&times, alpha, spending).unwrap();
        for (chance, time) in crossed(&times, &bounds, 0.0).unwrap().iter().zip(&times) {
            assert!((chance - spending.spent(*time, alpha)).abs() < 1e-7, "{looks} {time}");
        }
    }
}

#[test]
fn power_grows_with_the_drift_and_one_look_is_the_textbook() {
    let times = equal(5);
    let found = bounds(&times, 0.025, Spending::OBrienFleming).unwrap();
    let power = |drift: f64| *crossed(&times, &found, drift).unwrap().last().unwrap();
    assert!(power(1.0) < power(2.0) && power(2.0) < power(3.0) && power(8.0) > 0.999);
    let one = crossed(&[1.0], &[1.959963984540054], 2.801585218).unwrap()[0];
    assert!((one - 0.8).abs() < 1e-6, "{one}");
}

#[test]
fn counts_become_an_exact_z() {
    // 16 or more of 20 at a half: 0.0059089661, as a sum of binomial coefficients.
    let z = z_of_counts(0.5, 16, 4);
    assert!((beyond(z) - 6196.0 / 1_048_576.0).abs() < 1e-9, "{z}");
    assert!((z_of_counts(0.05, 40_000, 760_000)).abs() < 0.01);
    assert_eq!(z_of_counts(0.5, 0, 0), 0.0);
    assert_eq!(z_of_counts(f64::NAN, 1, 1), 0.0);
    assert_eq!((z_of_counts(0.5, 0, 9), z_of_counts(0.01, 9000, 1)), (-8.0, 8.0));
    assert!(!z_of_counts(1e-300, u64::MAX, u64::MAX).is_nan());
}

#[test]
fn odd_schedules_are_refused() {
    let power = Spending::Power(2.0);
    for alpha in [0.0, 0.6, -1.0, f64::NAN] {
        assert!(matches!(bounds(&[1.0], alpha, power), Err(ScheduleError::Level(_))), "{alpha}");
    }
    for phi in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(bounds(&[1.0], 0.05, Spending::Power(phi)), Err(ScheduleError::Level(_))), "{phi}");
    }
    for times in [&[0.0][..], &[0.5, 0.5], &[0.5, 0.4], &[0.5, 0.501], &[1.1], &[f64::NAN], &[f64::INFINITY]] {
        let error = bounds(times, 0.05, power).unwrap_err();
        assert_eq!(crossed(times, &[1.0, 1.0], 0.0).unwrap_err().to_string(), error.to_string());
    }
    assert_eq!(bounds(&[], 0.05, power), Ok(vec![]));
    let far = crossed(&[0.5, 1.0], &[f64::NAN, f64::INFINITY], f64::NAN).unwrap();
    assert!(far.iter().all(|p| !p.is_nan()), "{far:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Bounds so far do not depend on what comes, and a smaller level is a higher bound.
    #[test]
    fn bounds_are_causal_and_monotone(steps in prop::collection::vec(0.02..0.3_f64, 2..6), phi in 0.5..4.0_f64) {
        let total: f64 = steps.iter().sum();
        let times: Vec<f64> = steps
            .iter()
            .scan(0.0, |sum, step| {
                *sum += step / total;
                Some(f64::min(*sum, 1.0))
            })
            .collect();
        let all = bounds(&times, 0.05, Spending::Power(phi)).unwrap();
        let start = bounds(&times[..1], 0.05, Spending::Power(phi)).unwrap();
        prop_assert_eq!(start[0], all[0]);
        let strict = bounds(&times, 0.01, Spending::Power(phi)).unwrap();
        for (bound, strict) in all.iter().zip(&strict) {
            prop_assert!(strict > bound, "{} {}", strict, bound);
        }
    }
}
