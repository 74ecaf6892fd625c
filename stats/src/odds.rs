//! The main canary test: do bad answers fall on the canary more often than its share of requests explains?
//!
//! A conditional e-process on a grid of rate ratios (it generalises Lindon & Malek, NeurIPS
//! 2022). Given one bad answer in a look, it fell on the canary with probability η ρ / (η ρ + 1 − ρ), where ρ is the
//! canary's share of the *requests of that look* and η the ratio of the two bad rates. Because ρ is observed anew in
//! each look, neither a ramp nor a base rate that moves can cause a false alarm, and one may look as often as one likes:
//! under the null the evidence ever reaches 1/α with probability at most α.
//!
//! It assumes that bad answers come independently, request by request: drop retries before counting. Where one user can
//! have many bad answers, say how far that inflates the variance ([`design_effect`]) and ask for [`OddsGrid::ln_e_at`].
//! Timeouts and answers slower than a frozen limit are bad answers too, each in a grid of its own.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::cells::Cells;
use crate::effect::Estimate;

/// Points of the grid.
pub const POINTS: usize = 24;
const NEAREST: f64 = 1.05;
const FARTHEST: f64 = 20.0;
/// Keeps the arithmetic finite; no policy comes near it.
const LARGEST_MARGIN: f64 = 1e6;
/// And the same for a gain: a canary that is never bad.
const LARGEST_GAIN: f64 = 0.999;

/// ln g and g of each point, log-spaced in [1.05, 20].
static GRID: LazyLock<[(f64, f64); POINTS]> = LazyLock::new(|| {
    let step = (FARTHEST / NEAREST).ln() / (POINTS - 1) as f64;
    std::array::from_fn(|point| {
        let ln_g = NEAREST.ln() + step * point as f64;
        (ln_g, ln_g.exp())
    })
});

/// Which null hypothesis the evidence is against.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The canary is worse than the margin allows: against "rate ratio ≤ 1 + margin".
    Harm,
    /// The canary is not worse than the margin allows: against "rate ratio ≥ 1 + margin".
    NonInferiority,
    /// The canary is better, by a gain at least: against "rate ratio ≥ 1 − gain".
    Superiority,
}

/// Evidence about the ratio of two bad rates, in constant memory. Serialisable, so that it survives a restart; the same
/// looks in the same order give the same bits.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct OddsGrid {
    claim: Claim,
    margin: f64,
    /// The log likelihood ratio of each point against the boundary 1 + margin.
    sums: [f64; POINTS],
    ln_e_max: f64,
}

impl OddsGrid {
    /// Gathers evidence that the canary's bad rate is more than `1 + margin` times that of stable.
    ///
    /// The grid is `(1 + margin) g` with 24 log-spaced g in [1.05, 20]. A margin that is negative or not finite
    /// counts as 0, one above a million as a million.
    pub fn harm(margin: f64) -> Self {
        Self::new(Claim::Harm, margin)
    }

    /// Gathers evidence that the canary's bad rate is less than `1 + margin` times that of stable: the reversed
    /// process, on the grid `(1 + margin) / g`.
    pub fn non_inferiority(margin: f64) -> Self {
        Self::new(Claim::NonInferiority, margin)
    }

    /// Gathers evidence that the canary's bad rate is less than `1 - gain` times that of stable; with a gain of 0, that it
    /// is better at all. The reversed process, on the grid `(1 - gain) / g`. A gain outside [0, 1) counts as 0.
    pub fn superiority(gain: f64) -> Self {
        let gain = if (0.0..1.0).contains(&gain) { gain.min(LARGEST_GAIN) } else { 0.0 };
        Self { margin: -gain, ..Self::new(Claim::Superiority, 0.0) }
    }

    fn new(claim: Claim, margin: f64) -> Self {
        let valid = margin.is_finite() && margin > 0.0;
        Self { claim, margin: if valid { margin.min(LARGEST_MARGIN) } else { 0.0 }, sums: [0.0; POINTS], ln_e_max: 0.0 }
    }

    /// Adds one look: the canary's share of the look's requests, in (0, 1), and the bad answers of either arm *in this
    /// look* (not totals since the start).
    ///
    /// A share of 0 or 1, or none at all, compares nothing: such a look is skipped, whatever its counts.
    pub fn update(&mut self, canary_share_of_requests: f64, bad_canary: u64, bad_stable: u64) {
        self.add(canary_share_of_requests, bad_canary as f64, bad_stable as f64);
        // A mean is no greater than its greatest part, so most looks need no logarithm of a sum.
        if self.largest() > self.ln_e_max {
            self.ln_e_max = self.ln_e_max.max(self.ln_e());
        }
    }

    /// [`Self::update`] with counts that need not be whole, and without the running maximum: for planning.
    pub(crate) fn add(&mut self, share: f64, bad_canary: f64, bad_stable: f64) {
        let bad = bad_canary + bad_stable;
        if !(share > 0.0 && share < 1.0 && bad > 0.0) {
            return;
        }
        let boundary = 1.0 + self.margin;
        let at_boundary = boundary * share + 1.0 - share;
        for (&(away, g), sum) in GRID.iter().zip(&mut self.sums) {
            let (ln_g, ratio) = match self.claim {
                Claim::Harm => (away, boundary * g),
                Claim::NonInferiority | Claim::Superiority => (-away, boundary / g),
            };
            // ln(θ/θ0) = ln g + d and ln((1−θ)/(1−θ0)) = d, with d the log ratio of the two denominators.
            let d = (at_boundary / (ratio * share + 1.0 - share)).ln();
            *sum += bad_canary * ln_g + bad * d;
        }
    }

    /// The natural logarithm of the evidence after the last look; 0 before the first.
    pub fn ln_e(&self) -> f64 {
        self.ln_e_at(1.0)
    }

    /// [`Self::ln_e`] when bad answers come in clumps that make the variance of their count `design_effect` times that of
    /// independent ones: as if only one in `design_effect` had been seen (quasi-likelihood). An effect below 1, or none,
    /// counts as 1. Clumps of one size make this exact; else it is approximate, see the simulated error rates.
    pub fn ln_e_at(&self, design_effect: f64) -> f64 {
        let scale = if design_effect > 1.0 && design_effect.is_finite() { 1.0 / design_effect } else { 1.0 };
        let largest = self.largest() * scale;
        // What is below e^-40 of the greatest does not change the sum.
        let parts = self.sums.iter().map(|s| s * scale - largest);
        let sum: f64 = parts.filter(|&part| part > -40.0).map(f64::exp).sum();
        largest + (sum / POINTS as f64).ln()
    }

    /// No evidence, at whatever design effect, is above the larger of this and 0.
    pub(crate) fn largest(&self) -> f64 {
        self.sums.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The greatest [`Self::ln_e`] so far, at least 0. `exp(-ln_e_max)` is an anytime-valid p-value.
    pub fn ln_e_max(&self) -> f64 {
        self.ln_e_max
    }

    /// Whether the evidence suffices now: `ln_e >= ln(1/alpha)`. Never for an `alpha` outside (0, 1).
    pub fn rejects(&self, alpha: f64) -> bool {
        alpha > 0.0 && alpha < 1.0 && self.ln_e() >= -alpha.ln()
    }

    /// The margin in force: 0.1 lets the canary's bad rate be 10 % above that of stable. A gain is a negative margin.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// What the evidence is for.
    pub fn claim(&self) -> Claim {
        self.claim
    }
}

/// How far clumping inflates the variance of a rate: 1 if bad answers come independently, about c if each bad user has c
/// of them. The cells count requests, with 1 for a bad answer and 0 for a good one.
///
/// Of each arm it is the cluster-robust variance of its rate over the binomial one. What the test compares is the
/// difference of both rates, in which an arm counts by what its requests are too few: with the canary's share ρ of the
/// requests the effect is `(1 − ρ) D_canary + ρ D_stable`, at least 1. An arm that has too few units or cells for a standard
/// error (see [`Estimate::mean`]), or nothing bad, does not count.
pub fn design_effect(canary: &Cells, stable: &Cells) -> f64 {
    let of = |cells: &Cells| {
        let arm = Estimate::mean(cells)?;
        let binomial = arm.value * (1.0 - arm.value) / arm.n as f64;
        (binomial > 0.0).then(|| (arm.error.powi(2) / binomial, 1.0 / arm.n as f64))
    };
    let arms = [canary, stable].into_iter().filter_map(of);
    let (effect, weight) = arms.fold((0.0, 0.0), |(sum, all), (effect, weight)| (sum + effect * weight, all + weight));
    if weight > 0.0 { (effect / weight).max(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests;
