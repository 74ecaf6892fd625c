//! Group-sequential bounds: for looks that are fixed before, and stronger there than what may be looked at always.
//!
//! Lan & DeMets, Biometrika 1983: the error level is spent over the looks by a function of the information fraction, and
//! each bound is what makes the chance of crossing just there equal to what is spent. Chances by recursive numerical
//! integration (Armitage, McPherson & Rowe 1969) on Gauss–Legendre nodes; bounds are cut at 8. Z may be any statistic
//! with independent increments: an effect over its error, or [`z_of_counts`].
//!
//! Not for looks whenever one likes: an additional look voids the level.

use std::f64::consts::{PI, SQRT_2};
use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::function::beta::checked_beta_reg;
use statrs::function::erf::erfc;

use crate::confidence::z_quantile;

/// No bound is above this, and no density is followed further out.
const FARTHEST: f64 = 8.0;
/// The least information between two looks; closer ones add nothing but rounding.
pub const LEAST_INCREMENT: f64 = 0.002;

/// How the error level is spent until the information fraction t.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Spending {
    /// `2 - 2 Φ(z_{α/2} / √t)`: next to nothing early, nearly all of the level at the end.
    OBrienFleming,
    /// `α t^φ` with φ > 0 (Kim & DeMets 1987): 1 is even, 2 and 3 save for the end.
    Power(f64),
}

impl Spending {
    /// What is spent of the one-sided level `alpha` until `t`, both in (0, 1].
    pub fn spent(self, t: f64, alpha: f64) -> f64 {
        match self {
            Self::OBrienFleming => 2.0 * beyond(-z_quantile(alpha / 2.0) / t.sqrt()),
            Self::Power(phi) => alpha * t.powf(phi),
        }
    }
}

/// Why there are no bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScheduleError {
    /// The level is outside (0, ½], or the power of the spending function is not above 0.
    Level(f64),
    /// An information fraction is outside (0, 1], or less than [`LEAST_INCREMENT`] after the one before.
    Look {
        /// Which look, from 0.
        index: usize,
        /// Its information fraction.
        fraction: f64,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => {
                write!(f, "level or power {level} is outside its range; a level is above 0, at most 0.5")
            }
            Self::Look { index, fraction } => write!(
                f,
                "look {index} at {fraction}: fractions must be in (0, 1] and grow by {LEAST_INCREMENT} at least; leave it out"
            ),
        }
    }
}

impl std::error::Error for ScheduleError {}

/// The upper bound of Z at each look, at information fractions `times`, for one-sided level `alpha` (for a two-sided test
/// at level a pass a/2 and use the bounds with either sign). Looks so far are enough: later bounds change nothing before.
///
/// # Errors
/// [`ScheduleError`], when the level or a look is not usable.
pub fn bounds(times: &[f64], alpha: f64, spending: Spending) -> Result<Vec<f64>, ScheduleError> {
    let usable = |level: f64| level > 0.0 && level <= 0.5;
    if !usable(alpha) {
        return Err(ScheduleError::Level(alpha));
    }
    if let Spending::Power(phi) = spending
        && !(phi > 0.0 && phi.is_finite())
    {
        return Err(ScheduleError::Level(phi));
    }
    check(times)?;
    let (mut walk, mut spent, mut found) = (Walk::new(0.0), 0.0, Vec::with_capacity(times.len()));
    for &time in times {
        let until = spending.spent(time, alpha);
        let bound = walk.bound(time, until - spent);
        walk.step(time, bound);
        spent = until;
        found.push(bound);
    }
    Ok(found)
}

/// The chance of having crossed one of the upper `bounds` by each look, when Z at full information has mean `drift`: at
/// drift 0 the level spent, else the power. A bound that is NaN is never crossed; a drift that is not finite counts as 0.
///
/// # Errors
/// [`ScheduleError::Look`], when a look is not usable. Looks without a bound are left out.
pub fn crossed(times: &[f64], bounds: &[f64], drift: f64) -> Result<Vec<f64>, ScheduleError> {
    check(times)?;
    let mut walk = Walk::new(if drift.is_finite() { drift } else { 0.0 });
    let mut total = 0.0;
    Ok(times
        .iter()
        .zip(bounds)
        .map(|(&time, &bound)| {
            let bound = if bound.is_nan() { FARTHEST } else { bound.clamp(-FARTHEST, FARTHEST) };
            total += walk.chance_above(time, bound);
            walk.step(time, bound);
            total
        })
        .collect())
}

/// Z of rare bad answers at a constant `share` of the canary, from all so far: the normal quantile of the exact chance
/// that a binomial draw puts fewer on the canary, since a pooled z is too often too large where the arms differ in size.
/// Positive when there are more than the share explains; 0 without any, or for a share outside (0, 1).
pub fn z_of_counts(share: f64, bad_canary: u64, bad_stable: u64) -> f64 {
    if !(share > 0.0 && share < 1.0) || (bad_canary == 0 && bad_stable == 0) {
        return 0.0;
    }
    if bad_canary == 0 {
        return -FARTHEST;
    }
    // P(S ≥ s) of n is the regularised I_share(s, n − s + 1).
    let p = checked_beta_reg(bad_canary as f64, bad_stable as f64 + 1.0, share).unwrap_or(1.0);
    if p.is_nan() { 0.0 } else { (-z_quantile(p.clamp(0.0, 1.0))).clamp(-FARTHEST, FARTHEST) }
}

fn check(times: &[f64]) -> Result<(), ScheduleError> {
    let mut before = 0.0;
    for (index, &fraction) in times.iter().enumerate() {
        if !(fraction >= before + LEAST_INCREMENT && fraction <= 1.0) {
            return Err(ScheduleError::Look { index, fraction });
        }
        before = fraction;
    }
    Ok(())
}

/// Brownian motion that has not crossed yet: nodes with what is left of the probability at each.
struct Walk {
    drift: f64,
    time: f64,
    nodes: Vec<(f64, f64)>,
}

impl Walk {
    fn new(drift: f64) -> Self {
        Self { drift, time: 0.0, nodes: vec![(0.0, 1.0)] }
    }

    /// The chance to be above `bound √time` at `time` without having crossed before.
    fn chance_above(&self, time: f64, bound: f64) -> f64 {
        let step = time - self.time;
        let level = bound * time.sqrt() - self.drift * step;
        self.nodes.iter().map(|(x, mass)| mass * beyond((level - x) / step.sqrt())).sum()
    }

    /// The bound that is crossed at `time` with chance `spend`, at most 8.
    fn bound(&self, time: f64, spend: f64) -> f64 {
        let (mut low, mut high) = (-FARTHEST, FARTHEST);
        if self.chance_above(time, high) >= spend {
            return high;
        }
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if self.chance_above(time, middle) > spend {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// Goes on to `time` and drops what is above `bound √time`. As many nodes as the density needs to be smooth between
    /// them: a few hundred at the closest looks.
    fn step(&mut self, time: f64, bound: f64) {
        let (step, root) = (time - self.time, time.sqrt());
        let middle = self.drift * time;
        let (low, high) = (middle - FARTHEST * root, (bound * root).min(middle + FARTHEST * root));
        let width = (high - low).max(0.0);
        let count = 32 + (2.0 * width / step.sqrt()).min(1000.0) as usize;
        let scale = (2.0 * PI * step).sqrt();
        let density = |x: f64| -> f64 {
            let at = x - self.drift * step;
            self.nodes.iter().map(|(from, mass)| mass * (-(at - from).powi(2) / (2.0 * step)).exp()).sum::<f64>()
                / scale
        };
        self.nodes = gauss_legendre(count)
            .into_iter()
            .map(|(x, weight)| {
                let at = low + width * (x + 1.0) / 2.0;
                (at, weight * width / 2.0 * density(at))
            })
            .collect();
        self.time = time;
    }
}

/// Nodes and weights on [-1, 1], by Newton's method on the Legendre polynomial.
fn gauss_legendre(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    let root = |i: usize| {
        let mut x = (PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..10 {
            let (mut before, mut now) = (1.0, x);
            for k in 2..=count {
                let k = k as f64;
                (before, now) = (now, ((2.0 * k - 1.0) * x * now - (k - 1.0) * before) / k);
            }
            slope = n * (x * now - before) / (x * x - 1.0);
            let change = now / slope;
            x -= change;
            if change.abs() < 1e-15 {
                break;
            }
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..count).map(root).collect()
}

/// `1 - Φ(x)`, exact far out too.
pub(crate) fn beyond(x: f64) -> f64 {
    erfc(x / SQRT_2) / 2.0
}

#[cfg(test)]
mod tests;
