//! Confidence sequences for means: intervals that hold at all times at once, so that one may look whenever one likes.
//!
//! Asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory
//! and asymptotic confidence sequences"). They are asymptotic: they need a burn-in (enforced by
//! [`difference`] and its kin) and values without extreme tails (cap them). For counts of bad answers use [`crate::odds`].

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::cells::Cells;

/// Units that each arm needs before there is an interval.
pub const MINIMUM_UNITS: u64 = 100;
/// Occupied cells that each arm needs before there is an interval: with fewer the standard error is itself too uncertain.
pub const MINIMUM_CELLS: usize = 30;
/// Standard errors that the mean of stable must be away from 0 before a ratio to it means anything.
const CLEAR_OF_ZERO: f64 = 3.0;

/// An estimate with its interval, in the metric's unit, or as a fraction of stable's mean where it is relative.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub estimate: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// Units behind it: those of the smaller arm.
    pub n: u64,
}

/// The tuning parameter ρ² that makes the interval narrowest at `t_opt` units, for error level `alpha` in (0, 1).
///
/// Exact: `(-W₋₁(-α²/e) - 1) / t_opt`. For a one-sided interval pass `2 alpha`. NaN outside its domain, which
/// [`asymptotic_half_width`] answers with an infinite width.
pub fn rho2_exact(alpha: f64, t_opt: f64) -> f64 {
    if !(is_level(alpha) && t_opt > 0.0) {
        return f64::NAN;
    }
    (-lambert_w_minus1(-2.0 * alpha.ln()) - 1.0) / t_opt
}

/// The usual approximation of [`rho2_exact`]: `(-2 ln α + ln(1 - 2 ln α)) / t_opt`. NaN outside its domain.
pub fn rho2_approximate(alpha: f64, t_opt: f64) -> f64 {
    if !(is_level(alpha) && t_opt > 0.0) {
        return f64::NAN;
    }
    let u = -2.0 * alpha.ln();
    (u + u.ln_1p()) / t_opt
}

/// Half the width of the two-sided interval at `n` units, in the unit of `standard_error` (that of the estimate, s/√n).
///
/// `s √(2 (nρ²+1) / (nρ)² ln(√(nρ²+1) / α))`. Infinite when an argument is outside its domain: then nothing is known.
pub fn asymptotic_half_width(standard_error: f64, n: f64, rho2: f64, alpha: f64) -> f64 {
    half_width(standard_error, n, rho2, alpha, |root| (root / alpha).ln())
}

/// The distance of the one-sided bound from the estimate. `rho2` should come from `rho2_exact(2 alpha, t_opt)`.
///
/// As [`asymptotic_half_width`] with `ln(1 + √(nρ²+1) / (2α))`.
pub fn asymptotic_half_width_one_sided(standard_error: f64, n: f64, rho2: f64, alpha: f64) -> f64 {
    half_width(standard_error, n, rho2, alpha, |root| (root / (2.0 * alpha)).ln_1p())
}

fn half_width(error: f64, n: f64, rho2: f64, alpha: f64, ln_bound: impl Fn(f64) -> f64) -> f64 {
    let valid = error >= 0.0 && n > 0.0 && rho2 > 0.0 && is_level(alpha);
    if !valid || !error.is_finite() {
        return f64::INFINITY;
    }
    let time = n * rho2;
    error * (2.0 * (time + 1.0) / time * ln_bound((time + 1.0).sqrt())).sqrt()
}

/// The standard normal quantile of `p`: ∓∞ at 0 and 1, NaN outside [0, 1].
pub fn z_quantile(p: f64) -> f64 {
    if (0.0..=1.0).contains(&p) { Normal::standard().inverse_cdf(p) } else { f64::NAN }
}

/// The mean of the canary less that of stable, with an anytime-valid two-sided interval at level `1 - alpha` that is
/// narrowest when the smaller arm has `t_opt` units. The arms are independent (different users).
///
/// Both arms are given the greater of their two variances a unit, so that an arm with few events, or none, is not
/// taken for one that is known exactly.
///
/// `None` before each arm has [`MINIMUM_UNITS`] units in [`MINIMUM_CELLS`] cells, while neither arm varies between cells
/// (no event at all is no proof of equality), and for an `alpha` or `t_opt` outside its domain.
pub fn difference(canary: &Cells, stable: &Cells, alpha: f64, t_opt: f64) -> Option<Interval> {
    let (canary, stable) = arms(canary, stable)?;
    let error = canary.error.hypot(stable.error);
    let n = canary.n.min(stable.n);
    interval(canary.mean - stable.mean, error, n, alpha, t_opt)
}

/// As [`difference`], relative to the mean of stable: `canary / stable - 1`, so -0.02 is 2 % worse.
///
/// Delta method: variance `v_c / m_s² + v_s m_c² / m_s⁴`; with a negative mean of stable the difference is divided by
/// its absolute value. `None` also while the mean of stable is within 3 standard errors of 0, where a ratio says nothing.
pub fn relative_difference(canary: &Cells, stable: &Cells, alpha: f64, t_opt: f64) -> Option<Interval> {
    let (canary, stable) = arms(canary, stable)?;
    let base = stable.mean.abs();
    if base <= CLEAR_OF_ZERO * stable.error {
        return None;
    }
    let error = (canary.error / base).hypot(stable.error * canary.mean / base.powi(2));
    let n = canary.n.min(stable.n);
    interval((canary.mean - stable.mean) / base, error, n, alpha, t_opt)
}

/// The mean of paired differences (canary less stable on the same request) with an anytime-valid two-sided interval.
///
/// `None` as for [`difference`]; so too when all cells have the same mean, since no error can be told from them.
pub fn paired(diffs: &Cells, alpha: f64, t_opt: f64) -> Option<Interval> {
    let diffs = Arm::of(diffs).filter(|a| a.error > 0.0)?;
    interval(diffs.mean, diffs.error, diffs.n, alpha, t_opt)
}

struct Arm {
    n: u64,
    mean: f64,
    error: f64,
}

impl Arm {
    /// The arm, if there is enough of it; its error is 0 where nothing varies between cells.
    fn of(cells: &Cells) -> Option<Self> {
        let (n, mean, error) = (cells.n(), cells.mean()?, cells.standard_error()?);
        let enough = n >= MINIMUM_UNITS && cells.occupied() >= MINIMUM_CELLS;
        // Rounding can leave a trace of variation where there is none.
        let error = if error > 1e-12 * mean.abs() { error } else { 0.0 };
        enough.then_some(Self { n, mean, error })
    }
}

/// Both arms, with the greater of their variances a unit for both. A young arm with few events underestimates its own
/// (one without any event shows none at all), and early false alarms would come from just that; without a difference
/// between the arms the two variances are equal, so this costs next to nothing.
fn arms(canary: &Cells, stable: &Cells) -> Option<(Arm, Arm)> {
    let (mut canary, mut stable) = (Arm::of(canary)?, Arm::of(stable)?);
    let scaled = |arm: &Arm| arm.error * (arm.n as f64).sqrt();
    let deviation = scaled(&canary).max(scaled(&stable));
    canary.error = deviation / (canary.n as f64).sqrt();
    stable.error = deviation / (stable.n as f64).sqrt();
    (deviation > 0.0).then_some((canary, stable))
}

fn interval(estimate: f64, error: f64, n: u64, alpha: f64, t_opt: f64) -> Option<Interval> {
    let half = asymptotic_half_width(error, n as f64, rho2_exact(alpha, t_opt), alpha);
    half.is_finite().then_some(Interval { estimate, lower: estimate - half, upper: estimate + half, n })
}

fn is_level(alpha: f64) -> bool {
    alpha > 0.0 && alpha < 1.0
}

/// `W₋₁(-exp(-u - 1))` for u > 0, the lower branch of Lambert's function.
///
/// Newton's method on y − ln y = u + 1 with y = −W, from the upper bound y ≤ 1 + √(2u) + u (Chatzigeorgiou 2013). The
/// function is convex, so that the iterates fall towards the root.
fn lambert_w_minus1(u: f64) -> f64 {
    let mut y = 1.0 + (2.0 * u).sqrt() + u;
    for _ in 0..50 {
        let next = y - (y - y.ln() - u - 1.0) * y / (y - 1.0);
        if !(next < y && next > 1.0) {
            break;
        }
        y = next;
    }
    -y
}

#[cfg(test)]
mod tests {
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
}
