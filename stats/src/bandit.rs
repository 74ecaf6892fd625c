//! Thompson sampling with a floor, for the exploration slice: exact propensities, and no randomness of its own.
//!
//! The probability that an arm is the best is integrated, not sampled (Thompson 1933; Scott 2010, "randomised probability
//! matching"), so that the same posteriors always give the same probabilities. Each arm keeps at least the floor `f`:
//! `p = f + (1 − K f) w`. The probabilities are multiples of 2⁻⁴⁰ that sum to exactly 1, so that a draw with a uniform
//! number of 53 bits has exactly the probability that is logged.
//!
//! Not for canary decisions: adaptive weights bias plain means ([`crate::odds`] and [`crate::ope`] condition on them).

use serde::{Deserialize, Serialize};
use statrs::function::beta::{beta_reg, ln_beta};
use statrs::function::erf::erfc;

/// Arms beyond these are refused: the integral takes time in the square of the arms.
pub const MOST_ARMS: usize = 256;
/// Counts of an arm's rarer outcome beyond which the beta distribution function loses digits.
const MOST_COUNTS: f64 = 1e5;
/// Probabilities are multiples of its inverse.
const UNIT: f64 = (1_u64 << 40) as f64;
/// Standard deviations between the nodes of the integral, and how far they go.
const STEP: f64 = 0.5;
const REACH: f64 = 9.0;
/// How far into an exponential tail the nodes go: e⁻³⁰ of the mass is beyond.
const TAIL: f64 = 30.0;
/// Gauss-Legendre nodes and weights on [−1, 1].
const GAUSS: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
];

/// What is believed about an arm's success rate, from a uniform prior: Beta(1 + successes, 1 + failures).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BetaArm {
    /// Successes so far.
    pub successes: u64,
    /// Failures so far.
    pub failures: u64,
}

/// What is believed about an arm's mean reward: normal, in the unit of the reward.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GaussianArm {
    /// The posterior mean.
    pub mean: f64,
    /// The posterior standard deviation: the standard error of the mean, shrunk by a prior if there is one.
    pub deviation: f64,
}

/// The posterior of an arm on a scale on which it is smooth and its tails end.
trait Posterior {
    fn centre(&self) -> f64;
    fn deviation(&self) -> f64;
    /// How far below and above the centre any mass is.
    fn reach(&self) -> (f64, f64);
    fn density(&self, at: f64) -> f64;
    fn below(&self, at: f64) -> f64;
}

/// On the log-odds scale, where the density x^a (1−x)^b / B(a, b) has neither poles nor edges.
struct LogOdds {
    a: f64,
    b: f64,
    ln_beta: f64,
}

impl Posterior for LogOdds {
    fn centre(&self) -> f64 {
        (self.a / self.b).ln()
    }

    fn deviation(&self) -> f64 {
        (1.0 / self.a + 1.0 / self.b).sqrt()
    }

    fn reach(&self) -> (f64, f64) {
        let normal = REACH * self.deviation();
        (normal.max(TAIL / self.a), normal.max(TAIL / self.b))
    }

    fn density(&self, at: f64) -> f64 {
        let (ln_x, ln_1_x) = (-(-at).exp().ln_1p(), -at.exp().ln_1p());
        (self.a * ln_x + self.b * ln_1_x - self.ln_beta).exp()
    }

    fn below(&self, at: f64) -> f64 {
        beta_reg(self.a, self.b, 1.0 / (1.0 + (-at).exp()))
    }
}

impl Posterior for GaussianArm {
    fn centre(&self) -> f64 {
        self.mean
    }

    fn deviation(&self) -> f64 {
        self.deviation
    }

    fn reach(&self) -> (f64, f64) {
        (REACH * self.deviation, REACH * self.deviation)
    }

    fn density(&self, at: f64) -> f64 {
        let z = (at - self.mean) / self.deviation;
        (-0.5 * z * z).exp() / (self.deviation * (2.0 * std::f64::consts::PI).sqrt())
    }

    fn below(&self, at: f64) -> f64 {
        0.5 * erfc((self.mean - at) / self.deviation * std::f64::consts::FRAC_1_SQRT_2)
    }
}

/// Each arm's probability of having the highest success rate. They sum to 1 up to rounding; equal arms are equal.
///
/// Accurate to 10⁻⁸, with a hundred thousand of the rarer outcome to 10⁻⁵. Arms with more than that are scaled down to
/// it (a standard error of 0.3 % of the rate): to explore, nobody needs to be surer. More than [`MOST_ARMS`] arms are not
/// told apart: all get the same.
pub fn best_of_beta(arms: &[BetaArm]) -> Vec<f64> {
    let posterior = |arm: &BetaArm| {
        let (successes, failures) = (arm.successes as f64, arm.failures as f64);
        let scale = (MOST_COUNTS / successes.min(failures)).min(1.0);
        let (a, b) = (1.0 + scale * successes, 1.0 + scale * failures);
        LogOdds { a, b, ln_beta: ln_beta(a, b) }
    };
    best_of(&arms.iter().map(posterior).collect::<Vec<_>>())
}

/// Each arm's probability of having the highest mean. They sum to 1 up to rounding; equal arms are equal.
///
/// A deviation below a billionth of the largest distance counts as that. All get the same if there are more than
/// [`MOST_ARMS`], or if a mean or deviation is not a number, beyond 10¹⁵⁰, or the deviation negative.
pub fn best_of_gaussian(arms: &[GaussianArm]) -> Vec<f64> {
    let valid = |arm: &GaussianArm| arm.mean.abs() <= 1e150 && (0.0..=1e150).contains(&arm.deviation);
    let means = || arms.iter().map(|arm| arm.mean);
    let (least, most) = (means().fold(f64::INFINITY, f64::min), means().fold(f64::NEG_INFINITY, f64::max));
    let widest = arms.iter().map(|arm| arm.deviation).fold(most - least, f64::max);
    if !arms.iter().all(valid) || widest <= 0.0 {
        return uniform(arms.len());
    }
    // In units of the largest distance from the best mean: what is left is of order one.
    let scaled = |arm: &GaussianArm| GaussianArm {
        mean: (arm.mean - most) / widest,
        deviation: (arm.deviation / widest).max(1e-9),
    };
    best_of(&arms.iter().map(scaled).collect::<Vec<_>>())
}

/// `∫ f_k Π_{j≠k} F_j` for each k, by Gauss-Legendre between the nodes of all arms, so that the narrowest is resolved.
fn best_of(arms: &[impl Posterior]) -> Vec<f64> {
    if arms.len() < 2 || arms.len() > MOST_ARMS {
        return uniform(arms.len());
    }
    // Below the highest lower end some arm is surely better: nothing is decided there.
    let from = arms.iter().map(|arm| arm.centre() - arm.reach().0).fold(f64::NEG_INFINITY, f64::max);
    let mut nodes: Vec<f64> = arms.iter().flat_map(nodes_of).filter(|&node| node >= from).collect();
    nodes.sort_unstable_by(f64::total_cmp);
    let mut weights = vec![0.0; arms.len()];
    let mut below = vec![0.0; arms.len()];
    for (left, right) in nodes.iter().zip(nodes.iter().skip(1)).filter(|(left, right)| left < right) {
        let (middle, half) = (0.5 * (left + right), 0.5 * (right - left));
        for (offset, gauss) in GAUSS {
            let at = middle + half * offset;
            below.iter_mut().zip(arms).for_each(|(below, arm)| *below = arm.below(at).max(f64::MIN_POSITIVE));
            let all: f64 = below.iter().map(|p| p.ln()).sum();
            for ((weight, arm), p) in weights.iter_mut().zip(arms).zip(&below) {
                *weight += half * gauss * arm.density(at) * (all - p.ln()).exp();
            }
        }
    }
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() { weights.iter().map(|w| w / sum).collect() } else { uniform(arms.len()) }
}

fn nodes_of<P: Posterior>(arm: &P) -> impl Iterator<Item = f64> {
    let step = STEP * arm.deviation();
    let (down, up) = arm.reach();
    let (first, last) = (-(down / step).ceil() as i64, (up / step).ceil() as i64);
    (first..=last).map(move |i| arm.centre() + step * i as f64)
}

fn uniform(arms: usize) -> Vec<f64> {
    vec![1.0 / arms.max(1) as f64; arms]
}

/// Which arm was drawn, and with which probability: log both.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Index of the arm.
    pub arm: usize,
    /// The exact probability with which it was drawn.
    pub propensity: f64,
}

/// Probabilities to draw from, each at least the floor (up to 2⁻⁴⁰).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
pub struct Exploration {
    probabilities: Vec<f64>,
}

impl Exploration {
    /// `p = f + (1 − K f) w` for weights `w`, which are scaled to sum to 1 first.
    ///
    /// A floor beyond `1 / K` counts as that, a negative one or NaN as 0; weights that are negative or not finite count
    /// as 0, and if none is positive all are equal.
    pub fn new(weights: &[f64], floor: f64) -> Self {
        let arms = weights.len() as f64;
        let clean = |w: &f64| if w.is_finite() { w.clamp(0.0, 1e300) / arms } else { 0.0 };
        let sum: f64 = weights.iter().map(clean).sum();
        let floor = floor.max(0.0).min(1.0 / arms.max(1.0));
        let share = |w: &f64| if sum > 0.0 { clean(w) / sum } else { 1.0 / arms };
        let units = |w: &f64| ((floor + (1.0 - arms * floor) * share(w)) * UNIT).round();
        let mut units: Vec<f64> = weights.iter().map(units).collect();
        // Rounding leaves a few units, which the largest can best bear.
        let rest = UNIT - units.iter().sum::<f64>();
        if let Some(largest) = units.iter_mut().max_by(|a, b| a.total_cmp(b)) {
            *largest += rest;
        }
        Self { probabilities: units.iter().map(|u| u / UNIT).collect() }
    }

    /// The probability of each arm.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The arm at `uniform` in [0, 1), as from the high 53 bits of a hash. `None` without arms.
    ///
    /// NaN and negative numbers count as 0, numbers from 1 on as just below it.
    pub fn draw(&self, uniform: f64) -> Option<Draw> {
        let uniform = uniform.max(0.0);
        let mut below = 0.0;
        let mut last = None;
        for (arm, &propensity) in self.probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            below += propensity;
            last = Some(Draw { arm, propensity });
            if uniform < below {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests;
