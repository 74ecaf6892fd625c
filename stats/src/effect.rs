//! Estimates of an arm, and of the effect between two arms, with standard errors that hold when users come often.
//!
//! Means, ratios (clicks per impression), means with logged propensities, and means adjusted by what users did before the
//! comparison began (CUPED) are all linearised (delta method) into one number for each of the 256 cells of users; the
//! spread between cells is the error. Bounds that hold at every look are made from an [`Effect`] by
//! [`crate::confidence`].

use serde::{Deserialize, Serialize};

use crate::cells::{CELLS, Cells};
use crate::fixed::Fixed;

/// Units that each arm needs before there is an estimate.
pub const MINIMUM_UNITS: u64 = 100;
/// Occupied cells that each arm needs: with fewer the standard error is itself too uncertain.
pub const MINIMUM_CELLS: usize = 30;
/// Standard errors that the value of stable must be away from 0 before a ratio to it means anything.
const CLEAR_OF_ZERO: f64 = 3.0;

/// A value of one arm and its standard error, in the metric's unit.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Units behind it.
    pub n: u64,
    /// The mean or ratio.
    pub value: f64,
    /// Its standard error; 0 where nothing varies between cells.
    pub error: f64,
}

impl Estimate {
    /// The mean of a unit; `None` below [`MINIMUM_UNITS`] or [`MINIMUM_CELLS`].
    pub fn mean(cells: &Cells) -> Option<Self> {
        Linear::mean(cells)?.estimate()
    }
}

/// A mean or a ratio as a sum over cells: `value`, and how far each cell pulls it from there.
#[derive(Clone, Debug)]
pub struct Linear {
    n: u64,
    occupied: usize,
    value: f64,
    pulls: [f64; CELLS],
}

impl Linear {
    /// The mean of a unit. `None` without units.
    pub fn mean(cells: &Cells) -> Option<Self> {
        Self::of(cells.n() as f64, cells.parts().map(|(n, sum)| (n, sum, n as f64)))
    }

    /// The ratio of two sums over the same units, such as clicks over impressions, or weighted outcomes over weights.
    /// Delta method: a cell pulls by `(M_c − R D_c) / D`. `None` where the denominators do not add up to more than 0.
    pub fn ratio(numerator: &Cells, denominator: &Cells) -> Option<Self> {
        let parts = numerator.parts().zip(denominator.parts());
        Self::of(denominator.sum(), parts.map(|((_, above), (n, below))| (n, above, below.to_f64())))
    }

    /// From the sum of all denominators, and the units, numerator and denominator of each cell.
    fn of(below: f64, parts: impl Iterator<Item = (u64, Fixed, f64)> + Clone) -> Option<Self> {
        let (mut n, mut occupied, mut above) = (0_u64, 0, Fixed::ZERO);
        for (units, numerator, _) in parts.clone() {
            n = n.saturating_add(units);
            occupied += usize::from(units > 0);
            above += numerator;
        }
        if below.is_nan() || below <= 0.0 {
            return None;
        }
        let (value, each) = (above.to_f64() / below, below.recip());
        let mut linear = Self { n, occupied, value, pulls: [0.0; CELLS] };
        for (pull, (_, numerator, denominator)) in linear.pulls.iter_mut().zip(parts) {
            *pull = (numerator.to_f64() - value * denominator) * each;
        }
        Some(linear)
    }

    /// The estimate; `None` below [`MINIMUM_UNITS`] or [`MINIMUM_CELLS`].
    pub fn estimate(&self) -> Option<Estimate> {
        let error = self.covariance(self).max(0.0).sqrt();
        // Rounding can leave a trace of variation where there is none.
        let error = if error > 1e-12 * self.value.abs() { error } else { 0.0 };
        let enough = self.n >= MINIMUM_UNITS && self.occupied >= MINIMUM_CELLS;
        enough.then_some(Estimate { n: self.n, value: self.value, error })
    }

    /// The covariance of two values over the same users: C/(C−1) Σ Z Z' over the C occupied cells; 0 with fewer than 2.
    pub fn covariance(&self, other: &Self) -> f64 {
        let cells = self.occupied as f64;
        if cells < 2.0 { 0.0 } else { cells / (cells - 1.0) * products(&self.pulls, &other.pulls) }
    }
}

/// Outcomes of one arm whose units were drawn into it with propensities that changed meanwhile, as a ramp does. Each
/// counts 1/propensity, so that a crowd that came mostly at a small weight is not outvoted. Self-normalised (Hájek): to
/// first order the pseudo-outcomes of [`pseudo_outcome`], but without an order of events, so that replicas merge exactly.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedArm {
    outcomes: Cells,
    weights: Cells,
}

impl LoggedArm {
    /// Counts one unit with its outcome and the probability with which it fell into *this* arm, as logged when it did.
    /// Answers whether it counted: a propensity outside (0, 1] or an outcome that is not finite does not.
    pub fn record(&mut self, cell: u8, outcome: f64, propensity: f64) -> bool {
        let counts = propensity > 0.0 && propensity <= 1.0 && outcome.is_finite();
        if counts {
            self.outcomes.record(cell, outcome / propensity);
            self.weights.record(cell, 1.0 / propensity);
        }
        counts
    }

    /// Adds all of `other`, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.outcomes.merge(&other.outcomes);
        self.weights.merge(&other.weights);
    }

    /// The weighted mean outcome. `None` without units.
    pub fn mean(&self) -> Option<Linear> {
        Linear::ratio(&self.outcomes, &self.weights)
    }
}

/// The pseudo-outcome φ = (Y − m)(A/π − (1−A)/(1−π)) of one unit: its mean is the effect of the canary for any centre `m`
/// that was fixed before (the running mean of past outcomes makes it narrowest), with `propensity` the chance of the
/// canary. `None` for a propensity outside (0, 1).
pub fn pseudo_outcome(outcome: f64, centre: f64, on_canary: bool, propensity: f64) -> Option<f64> {
    let known = propensity > 0.0 && propensity < 1.0;
    known.then(|| (outcome - centre) * if on_canary { 1.0 / propensity } else { -1.0 / (1.0 - propensity) })
}

/// A value of one arm beside that of the same users before the comparison began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeforeAndAfter {
    /// What is compared.
    pub after: Estimate,
    /// The same users before; whoever was not there yet counts with 0.
    pub before: Estimate,
    /// The covariance of both values.
    pub covariance: f64,
}

impl BeforeAndAfter {
    /// From the same users' cells; `None` as [`Linear::estimate`].
    pub fn of(after: &Linear, before: &Linear) -> Option<Self> {
        Some(Self { after: after.estimate()?, before: before.estimate()?, covariance: after.covariance(before) })
    }

    fn adjusted(&self, theta: f64, mean_before: f64) -> Estimate {
        let variance = self.after.error.powi(2) + (theta * self.before.error).powi(2) - 2.0 * theta * self.covariance;
        let value = self.after.value - theta * (self.before.value - mean_before);
        Estimate { n: self.after.n, value, error: variance.max(0.0).sqrt() }
    }
}

/// Canary and stable, less what their users' past explains (CUPED: Deng, Xu, Kohavi & Walker, WSDM 2013). θ is pooled
/// over both arms; both are moved to the common mean of the past, so that a relative effect keeps its base.
pub fn cuped(canary: &BeforeAndAfter, stable: &BeforeAndAfter) -> (Estimate, Estimate) {
    let arms = [canary, stable];
    let pooled = |of: fn(&BeforeAndAfter) -> f64| arms.map(|a| (a.after.n as f64).powi(2) * of(a)).iter().sum::<f64>();
    let (covariance, variance) = (pooled(|a| a.covariance), pooled(|a| a.before.error.powi(2)));
    let theta = if variance > 0.0 { covariance / variance } else { 0.0 };
    let theta = if theta.is_finite() { theta } else { 0.0 };
    let n = canary.before.n as f64 + stable.before.n as f64;
    let before = arms.map(|a| a.before.n as f64 * a.before.value).iter().sum::<f64>() / n.max(1.0);
    (canary.adjusted(theta, before), stable.adjusted(theta, before))
}

/// How an effect is told.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Canary less stable, in the metric's unit.
    Absolute,
    /// Canary over stable, less 1.
    Relative,
}

/// The effect of the canary and its standard error, in the metric's unit or as a fraction of stable.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Negative is worse where more is better.
    pub value: f64,
    /// Its standard error, above 0.
    pub error: f64,
    /// Units of the smaller arm.
    pub n: u64,
}

impl Effect {
    /// The effect between independent arms.
    ///
    /// Relative by the delta method: variance `v_c / m_s² + v_s m_c² / m_s⁴`; with a negative stable the difference is over
    /// its absolute value. `None` where nothing varies (no event at all is no proof of equality), and relative also while
    /// stable is within 3 standard errors of 0, where a ratio says nothing.
    pub fn between(canary: Estimate, stable: Estimate, scale: Scale) -> Option<Self> {
        let (of_canary, of_stable) = slopes(canary.value, &stable, scale)?;
        let value = told(canary.value, stable.value, scale);
        Self::new(value, (of_canary * canary.error).hypot(of_stable * stable.error), canary.n.min(stable.n))
    }

    /// One effect over several strata of canary and stable (the weights of a ramp, say), each counting by the units of its
    /// smaller arm: pooled arms would compare different crowds. Strata with too little to say are left out.
    ///
    /// Users may come in several strata, and in both arms as a ramp takes them over: what they pull adds up by cell. The
    /// error is the greater of that and of [`alike`] arms and strata without a user in common. `None` as [`Self::between`].
    pub fn over_strata(strata: &[(Linear, Linear)], scale: Scale) -> Option<Self> {
        let usable = |(canary, stable): &(Linear, Linear)| {
            let (one, other) = (canary.estimate()?, stable.estimate()?);
            let (one, other) = alike(one, other);
            Some((Self::between(one, other, scale)?, slopes(one.value, &other, scale)?))
        };
        let (mut n, mut value, mut apart, mut cells, mut pulls) = (0_u64, 0.0, 0.0, 0, [0.0; CELLS]);
        for stratum in strata {
            let Some((effect, (of_canary, of_stable))) = usable(stratum) else {
                continue;
            };
            let (weight, (canary, stable)) = (effect.n as f64, stratum);
            n = n.saturating_add(effect.n);
            value += weight * effect.value;
            apart += (weight * effect.error).powi(2);
            cells = cells.max(canary.occupied.min(stable.occupied));
            for (pull, (c, s)) in pulls.iter_mut().zip(canary.pulls.iter().zip(&stable.pulls)) {
                *pull += weight * (of_canary * c - of_stable * s);
            }
        }
        let together = products(&pulls, &pulls) * cells as f64 / (cells as f64 - 1.0);
        Self::new(value / n as f64, together.max(apart).sqrt() / n as f64, n)
    }

    fn new(value: f64, error: f64, n: u64) -> Option<Self> {
        (value.is_finite() && error.is_finite() && error > 0.0).then_some(Self { value, error, n })
    }
}

/// Σ a b, in four sums, so that one need not wait for the other.
fn products(a: &[f64; CELLS], b: &[f64; CELLS]) -> f64 {
    let mut sums = [0.0; 4];
    for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

fn told(canary: f64, stable: f64, scale: Scale) -> f64 {
    match scale {
        Scale::Absolute => canary - stable,
        Scale::Relative => (canary - stable) / stable.abs(),
    }
}

/// By how much the effect grows with canary, and falls with stable; `None` where it cannot be told.
fn slopes(canary: f64, stable: &Estimate, scale: Scale) -> Option<(f64, f64)> {
    let base = stable.value.abs();
    match scale {
        Scale::Absolute => Some((1.0, 1.0)),
        Scale::Relative => {
            (base > CLEAR_OF_ZERO * stable.error).then(|| (1.0 / base, canary * stable.value.signum() / base.powi(2)))
        }
    }
}

/// Both arms, with the greater of their variances a unit for both. A young arm with few events underestimates its own
/// (one without any event shows none at all), and early false alarms would come from just that; without a difference
/// between the arms the two variances are equal, so this costs next to nothing.
pub fn alike(canary: Estimate, stable: Estimate) -> (Estimate, Estimate) {
    let scaled = |arm: Estimate| arm.error * (arm.n as f64).sqrt();
    let deviation = scaled(canary).max(scaled(stable));
    let with = |arm: Estimate| Estimate { error: deviation / (arm.n.max(1) as f64).sqrt(), ..arm };
    (with(canary), with(stable))
}

#[cfg(test)]
mod tests;
