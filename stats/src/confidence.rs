//! Confidence sequences for means: intervals that hold at all times at once, so that one may look whenever one likes.
//!
//! Asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory
//! and asymptotic confidence sequences", arXiv 2103.06476). They are asymptotic: they need a burn-in (enforced by
//! [`crate::effect`], where the errors come from) and values without extreme tails (cap them). For counts of bad
//! answers use [`crate::odds`].

use std::f64::consts::{LN_2, PI, SQRT_2};

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::erf::erfc;

use crate::cells::Cells;
use crate::effect::{Effect, Estimate, Scale, alike};

pub use crate::effect::{MINIMUM_CELLS, MINIMUM_UNITS};

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
    let half = error * (2.0 * (time + 1.0) / time * ln_bound((time + 1.0).sqrt())).sqrt();
    if half.is_nan() { f64::INFINITY } else { half }
}

/// Both ends of Wilson's score interval (1927) of a share `p` of `n`, at `z` standard errors:
/// `(p + z²/2n ∓ z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)`, within [0, 1].
pub(crate) fn wilson_score(p: f64, n: f64, z: f64) -> (f64, f64) {
    let (centre, half) = (p + z * z / (2.0 * n), z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt());
    let scale = 1.0 + z * z / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// The standard normal quantile of `p`: ∓∞ at 0 and 1, NaN outside [0, 1].
pub fn z_quantile(p: f64) -> f64 {
    if (0.0..=1.0).contains(&p) { Normal::standard().inverse_cdf(p) } else { f64::NAN }
}

/// The natural logarithm of the evidence against "no effect": `ρ² S² / (2 (nρ²+1)) - ½ ln(nρ²+1)` with S² = n (effect /
/// error)². It reaches ln(1/α) when the two-sided interval excludes 0. 0 (none) outside the domain.
pub fn ln_e(effect: f64, error: f64, n: f64, rho2: f64) -> f64 {
    standardised(effect, error, n, rho2).map_or(0.0, |(x, ln_root)| x * x / 2.0 - ln_root)
}

/// The natural logarithm of the evidence that the effect is *above* 0: the normal mixture of [`ln_e`], cut to its positive
/// half. It reaches ln(1/α) a little before [`asymptotic_half_width_one_sided`], which bounds it in closed form, does.
pub fn ln_e_above(effect: f64, error: f64, n: f64, rho2: f64) -> f64 {
    standardised(effect, error, n, rho2).map_or(0.0, |(x, ln_root)| LN_2 - ln_root + ln_scaled_normal(x))
}

/// The anytime-valid p-value of the greatest evidence so far: `min(1, exp(-ln_e_max))`.
pub fn p_value(ln_e_max: f64) -> f64 {
    if ln_e_max > 0.0 { (-ln_e_max).exp() } else { 1.0 }
}

/// `ρ S / √(nρ²+1)`, kept finite, and `½ ln(nρ²+1)`.
fn standardised(effect: f64, error: f64, n: f64, rho2: f64) -> Option<(f64, f64)> {
    let valid = effect.is_finite() && error > 0.0 && error.is_finite() && n > 0.0 && rho2 > 0.0;
    let time = n * rho2;
    (valid && time.is_finite()).then(|| {
        let x = (effect / error).clamp(-1e9, 1e9) * (time / (time + 1.0)).sqrt();
        (x, time.ln_1p() / 2.0)
    })
}

/// `x²/2 + ln Φ(x)`: far below 0 by the asymptotic series, since Φ itself vanishes there.
fn ln_scaled_normal(x: f64) -> f64 {
    if x > -25.0 {
        return x * x / 2.0 + (erfc(-x / SQRT_2) / 2.0).ln();
    }
    let inverse = (x * x).recip();
    (-inverse + 3.0 * inverse * inverse).ln_1p() - (-x * (2.0 * PI).sqrt()).ln()
}

/// The effect with its two-sided interval at level `1 - alpha`, narrowest at `t_opt` units of the smaller arm. `None` for
/// an `alpha` or `t_opt` outside its domain.
pub fn interval(effect: &Effect, alpha: f64, t_opt: f64) -> Option<Interval> {
    let half = asymptotic_half_width(effect.error, effect.n as f64, rho2_exact(alpha, t_opt), alpha);
    around(effect, half)
}

/// As [`interval`], but each bound by itself holds at level `1 - alpha`: what a gate that asks in one direction needs.
/// `rho2` as [`rho2_one_sided`] gives it.
pub fn one_sided(effect: &Effect, alpha: f64, rho2: f64) -> Option<Interval> {
    around(effect, asymptotic_half_width_one_sided(effect.error, effect.n as f64, rho2, alpha))
}

/// [`rho2_exact`] of a one-sided bound at level `alpha`; levels from a quarter on are tuned as a quarter.
pub fn rho2_one_sided(alpha: f64, t_opt: f64) -> f64 {
    rho2_exact((2.0 * alpha).min(0.5), t_opt)
}

fn around(effect: &Effect, half: f64) -> Option<Interval> {
    let Effect { value, n, .. } = *effect;
    half.is_finite().then_some(Interval { estimate: value, lower: value - half, upper: value + half, n })
}

/// The intersection of all intervals so far. Each holds at all times at once, so their intersection does too, and it only
/// narrows.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
pub struct Running(Option<Interval>);

impl Running {
    /// Adds the latest interval. One that excludes all that the earlier ones allow shows that the effect itself has moved;
    /// then the intersection starts anew from it.
    pub fn add(&mut self, latest: Interval) {
        let (lower, upper) =
            self.0.map_or((latest.lower, latest.upper), |i| (latest.lower.max(i.lower), latest.upper.min(i.upper)));
        self.0 = Some(if lower <= upper { Interval { lower, upper, ..latest } } else { latest });
    }

    /// The latest estimate with the intersection; `None` before the first.
    pub fn interval(&self) -> Option<Interval> {
        self.0
    }
}

/// The mean of the canary less that of stable, with an anytime-valid two-sided interval at level `1 - alpha` that is
/// narrowest when the smaller arm has `t_opt` units. The arms are independent (different users), and [`alike`].
///
/// `None` before each arm has [`MINIMUM_UNITS`] units in [`MINIMUM_CELLS`] cells, while neither arm varies between cells
/// (no event at all is no proof of equality), and for an `alpha` or `t_opt` outside its domain.
pub fn difference(canary: &Cells, stable: &Cells, alpha: f64, t_opt: f64) -> Option<Interval> {
    let (canary, stable) = alike(Estimate::mean(canary)?, Estimate::mean(stable)?);
    interval(&Effect::between(canary, stable, Scale::Absolute)?, alpha, t_opt)
}

/// As [`difference`], relative to the mean of stable ([`Effect::between`]), so -0.02 is 2 % worse. `None` also while the
/// mean of stable is within 3 standard errors of 0, where a ratio says nothing.
pub fn relative_difference(canary: &Cells, stable: &Cells, alpha: f64, t_opt: f64) -> Option<Interval> {
    let (canary, stable) = alike(Estimate::mean(canary)?, Estimate::mean(stable)?);
    interval(&Effect::between(canary, stable, Scale::Relative)?, alpha, t_opt)
}

/// The mean of paired differences (canary less stable on the same request) with an anytime-valid two-sided interval.
///
/// `None` as for [`difference`]; so too when all cells have the same mean, since no error can be told from them.
pub fn paired(diffs: &Cells, alpha: f64, t_opt: f64) -> Option<Interval> {
    let diffs = Estimate::mean(diffs).filter(|mean| mean.error > 0.0)?;
    interval(&Effect { value: diffs.value, error: diffs.error, n: diffs.n }, alpha, t_opt)
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
mod tests;
