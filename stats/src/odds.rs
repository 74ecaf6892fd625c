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
//!
//! Whoever stops at 1/α need not pay for what lies beyond it: a look that may carry the evidence past 1/α may count a little
//! more, so that in the mean nothing is lost (boosted e-processes: Fischer & Ramdas, arXiv 2410.16076). Where the level is
//! known that is done by [`crate::verdict::RateGate`].

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::cells::Cells;
use crate::effect::Estimate;

/// Points of the grid.
pub const POINTS: usize = 24;
const NEAREST: f64 = 1.05;
const FARTHEST: f64 = 20.0;
/// Ratios to the boundary at which harm mostly is when somebody cares how soon it is found, and how much more they count.
const USUAL_HARM: std::ops::RangeInclusive<f64> = 1.6..=9.0;
const USUAL_HARM_WEIGHT: f64 = 4.0;
/// Most bad answers of a look for which evidence is boosted: a look with more is far beyond 1/α or far below it.
const BOOSTED_MAX: usize = 64;
/// Keeps the arithmetic finite; no policy comes near it.
const LARGEST_MARGIN: f64 = 1e6;
/// And the same for a gain: a canary that is never bad.
const LARGEST_GAIN: f64 = 0.999;

/// A point of the grid.
struct Point {
    ln_g: f64,
    g: f64,
    /// Its weight in evidence of harm. The other claims are mostly about ratios near the boundary: there all count the same.
    harm_weight: f64,
}

/// Log-spaced in [1.05, 20].
static GRID: LazyLock<[Point; POINTS]> = LazyLock::new(|| {
    let step = (FARTHEST / NEAREST).ln() / (POINTS - 1) as f64;
    std::array::from_fn(|point| {
        let ln_g = NEAREST.ln() + step * point as f64;
        let g = ln_g.exp();
        Point { ln_g, g, harm_weight: if USUAL_HARM.contains(&g) { USUAL_HARM_WEIGHT } else { 1.0 } }
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
    /// The grid is `(1 + margin) g` with 24 log-spaced g in [1.05, 20], of which those from 1.6 to 9 weigh four times as much
    /// as the others. A margin that is negative or not finite counts as 0, one above a million as a million.
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
        if compares(share, bad_canary + bad_stable) {
            let falls = self.falls(share);
            self.add_at(&falls, bad_canary, bad_canary + bad_stable);
        }
    }

    /// [`Self::add`] with whole counts, for evidence that stops at `ln_cap` (natural logarithm). Gives by what it may be
    /// multiplied for that; see [`Self::ln_boost`].
    pub(crate) fn add_boosted(&mut self, share: f64, bad: [u64; 2], design_effect: f64, ln_cap: f64) -> f64 {
        let all = bad[0].saturating_add(bad[1]);
        if !compares(share, all as f64) {
            return 0.0;
        }
        let falls = self.falls(share);
        let ln_boost = self.ln_boost(&falls, share, all, design_effect, ln_cap);
        self.add_at(&falls, bad[0] as f64, all as f64);
        ln_boost
    }

    /// With θ the chance that a bad answer falls on the canary, ln((1−θ)/(1−θ₀)) of each point: the log ratio of the two
    /// denominators. ln(θ/θ₀) is that and ln g.
    fn falls(&self, share: f64) -> [f64; POINTS] {
        let boundary = 1.0 + self.margin;
        let at_boundary = boundary * share + 1.0 - share;
        GRID.each_ref().map(|point| {
            let ratio = match self.claim {
                Claim::Harm => boundary * point.g,
                Claim::NonInferiority | Claim::Superiority => boundary / point.g,
            };
            (at_boundary / (ratio * share + 1.0 - share)).ln()
        })
    }

    fn add_at(&mut self, falls: &[f64; POINTS], bad_canary: f64, bad: f64) {
        let sign = if self.claim == Claim::Harm { 1.0 } else { -1.0 };
        for ((point, fall), sum) in GRID.iter().zip(falls).zip(&mut self.sums) {
            *sum += bad_canary * sign * point.ln_g + bad * fall;
        }
    }

    /// ln b for the greatest b with E₀[min(b M, 1/α)] = E₀[M], where M is the evidence of harm after a look with `bad` bad
    /// answers and E₀ the mean over how many of them fall on the canary if it is just on the boundary, the worst that is no
    /// harm. M grows with that number, so that for every canary that does no harm the mean of what is stopped at 1/α does not
    /// grow, which is all that the error rate rests on. 0 where no outcome of the look is beyond 1/α.
    ///
    /// With a design effect of 1 E₀[M] is the evidence before. With more it is less, and what clumps cost stays paid.
    fn ln_boost(&self, falls: &[f64; POINTS], share: f64, bad: u64, design_effect: f64, ln_cap: f64) -> f64 {
        let bad = usize::try_from(bad).unwrap_or(usize::MAX);
        if self.claim != Claim::Harm || bad > BOOSTED_MAX || !ln_cap.is_finite() {
            return 0.0;
        }
        let scale = scale(design_effect);
        let on_canary = (1.0 + self.margin) * share / (1.0 + self.margin * share);
        let n = bad as f64;
        // Beyond six standard deviations there is too little to gain.
        let most = (n * on_canary + 6.0 * (n * on_canary * (1.0 - on_canary)).sqrt()).ceil().min(n);
        let reach =
            GRID.iter().zip(falls).zip(&self.sums).map(|((point, fall), sum)| sum + most * point.ln_g + n * fall);
        if reach.fold(f64::NEG_INFINITY, f64::max) * scale <= ln_cap {
            return 0.0;
        }
        // Evidence over 1/α with 0, 1, … `bad` of them on the canary.
        let mut after = [0.0; BOOSTED_MAX + 1];
        let all_weights: f64 = GRID.iter().map(|point| point.harm_weight).sum();
        let mut parts: [f64; POINTS] = std::array::from_fn(|at| {
            GRID[at].harm_weight / all_weights * ((self.sums[at] + n * falls[at]) * scale - ln_cap).exp()
        });
        let each = GRID.each_ref().map(|point| if scale < 1.0 { (point.ln_g * scale).exp() } else { point.g });
        for after in &mut after[..=bad] {
            *after = parts.iter().sum();
            parts.iter_mut().zip(&each).for_each(|(part, each)| *part *= each);
        }
        if after[bad] <= 1.0 {
            return 0.0;
        }
        let chances = binomial(bad, on_canary);
        // E₀[M] of the outcomes below each.
        let mut below = [0.0; BOOSTED_MAX + 2];
        for at in 0..=bad {
            below[at + 1] = below[at] + chances[at] * after[at];
        }
        let (expected, mut factor, mut beyond) = (below[bad + 1], 1.0, 0.0);
        for at in (1..=bad).rev().take_while(|_| expected < 1.0) {
            if factor * after[at] <= 1.0 || below[at] <= 0.0 {
                break;
            }
            beyond += chances[at];
            factor = (expected - beyond) / below[at];
        }
        if factor > 1.0 { factor.ln() } else { 0.0 }
    }

    /// The natural logarithm of the evidence after the last look; 0 before the first.
    pub fn ln_e(&self) -> f64 {
        self.ln_e_at(1.0)
    }

    /// [`Self::ln_e`] when bad answers come in clumps that make the variance of their count `design_effect` times that of
    /// independent ones: as if only one in `design_effect` had been seen (quasi-likelihood). An effect below 1, or none,
    /// counts as 1. Clumps of one size make this exact; else it is approximate, see the simulated error rates.
    pub fn ln_e_at(&self, design_effect: f64) -> f64 {
        let scale = scale(design_effect);
        let largest = self.largest() * scale;
        let (mut sum, mut weights) = (0.0, 0.0);
        for (point, s) in GRID.iter().zip(&self.sums) {
            let weight = if self.claim == Claim::Harm { point.harm_weight } else { 1.0 };
            weights += weight;
            let part = s * scale - largest;
            // What is below e^-40 of the greatest does not change the sum.
            if part > -40.0 {
                sum += weight * part.exp();
            }
        }
        largest + (sum / weights).ln()
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

/// Whether a look says anything of the ratio.
fn compares(share: f64, bad: f64) -> bool {
    share > 0.0 && share < 1.0 && bad > 0.0
}

fn scale(design_effect: f64) -> f64 {
    if design_effect > 1.0 && design_effect.is_finite() { 1.0 / design_effect } else { 1.0 }
}

/// The chances of 0, 1, … `n` successes of probability `p`.
fn binomial(n: usize, p: f64) -> [f64; BOOSTED_MAX + 1] {
    let mut chances = [0.0; BOOSTED_MAX + 1];
    let mut chance = (1.0 - p).powi(n as i32);
    for (at, it) in chances[..=n].iter_mut().enumerate() {
        *it = chance;
        chance *= (n - at) as f64 / (at + 1) as f64 * p / (1.0 - p);
    }
    chances
}

/// How far clumping inflates the variance of a rate: 1 if bad answers come independently, about c if each bad user has c
/// of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DesignEffects {
    /// For the claim that the canary is worse.
    pub harm: f64,
    /// For the claims that it is not worse, or better: at least as much.
    pub health: f64,
}

/// How far clumping inflates the variance, for either direction. The cells count requests, with 1 for a bad answer and 0 for a
/// good one.
///
/// Of each arm it is the cluster-robust variance of its rate over the binomial one. What the test compares is the
/// difference of both rates, in which an arm counts by what its requests are too few: with the canary's share ρ of the
/// requests the effect is `(1 − ρ) D_canary + ρ D_stable`, at least 1. An arm without anything bad does not count. One that
/// has too few units or cells for a standard error (see [`Estimate::mean`]) has clumps all the same, and the first of them
/// must not be taken for many bad answers: the effect is at least Σ b² / Σ b over the bad answers b of its cells, the size
/// of the clump in which one of them is met. Few independent ones rarely meet in one of 256 cells, so it costs them nothing.
///
/// A canary that has met few of the bad users by luck shows few of their clumps, and would pass for better because of just
/// that: of the claims that it is not worse the greater effect of both arms counts.
pub fn design_effects(canary: &Cells, stable: &Cells) -> DesignEffects {
    let (mut sum, mut weights, mut least, mut greatest) = (0.0, 0.0, 1.0_f64, 1.0_f64);
    for cells in [canary, stable] {
        let Some(arm) = Estimate::mean(cells) else {
            least = least.max(clump(cells));
            continue;
        };
        let binomial = arm.value * (1.0 - arm.value) / arm.n as f64;
        if binomial > 0.0 {
            let effect = arm.error.powi(2) / binomial;
            sum += effect / arm.n as f64;
            weights += 1.0 / arm.n as f64;
            greatest = greatest.max(effect);
        }
    }
    let harm = if weights > 0.0 { least.max(sum / weights) } else { least };
    DesignEffects { harm, health: harm.max(greatest) }
}

/// [`DesignEffects::harm`] alone.
pub fn design_effect(canary: &Cells, stable: &Cells) -> f64 {
    design_effects(canary, stable).harm
}

/// Σ b² / Σ b; 1 without anything bad.
fn clump(cells: &Cells) -> f64 {
    let (sum, squares) = cells.parts().fold((0.0, 0.0), |(sum, squares), (_, bad)| {
        let bad = bad.to_f64();
        (sum + bad, squares + bad * bad)
    });
    if sum > 0.0 { squares / sum } else { 1.0 }
}

#[cfg(test)]
mod tests;
