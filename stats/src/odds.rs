//! The main canary test: do bad answers fall on the canary more often than its share of requests explains?
//!
//! A conditional e-process on a grid of rate ratios (it generalises Lindon & Malek, NeurIPS
//! 2022). Given one bad answer in a look, it fell on the canary with probability η ρ / (η ρ + 1 − ρ), where ρ is the
//! canary's share of the *requests of that look* and η the ratio of the two bad rates. Because ρ is observed anew in
//! each look, neither a ramp nor a base rate that moves can cause a false alarm, and one may look as often as one likes:
//! under the null the evidence ever reaches 1/α with probability at most α.
//!
//! It assumes that bad answers come independently, request by request: drop retries before counting.

use serde::{Deserialize, Serialize};

/// Points of the grid.
pub const POINTS: usize = 24;
const NEAREST: f64 = 1.05;
const FARTHEST: f64 = 20.0;
/// Keeps the arithmetic finite; no policy comes near it.
const LARGEST_MARGIN: f64 = 1e6;

/// Which null hypothesis the evidence is against.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The canary is worse than the margin allows: against "rate ratio ≤ 1 + margin".
    Harm,
    /// The canary is not worse than the margin allows: against "rate ratio ≥ 1 + margin".
    NonInferiority,
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

    fn new(claim: Claim, margin: f64) -> Self {
        let valid = margin.is_finite() && margin > 0.0;
        Self { claim, margin: if valid { margin.min(LARGEST_MARGIN) } else { 0.0 }, sums: [0.0; POINTS], ln_e_max: 0.0 }
    }

    /// Adds one look: the canary's share of the look's requests, in (0, 1), and the bad answers of either arm *in this
    /// look* (not totals since the start).
    ///
    /// A share of 0 or 1, or none at all, compares nothing: such a look is skipped, whatever its counts.
    pub fn update(&mut self, canary_share_of_requests: f64, bad_canary: u64, bad_stable: u64) {
        let share = canary_share_of_requests;
        if !(share > 0.0 && share < 1.0) || (bad_canary == 0 && bad_stable == 0) {
            return;
        }
        let (bad_canary, bad) = (bad_canary as f64, bad_canary as f64 + bad_stable as f64);
        let boundary = 1.0 + self.margin;
        let at_boundary = boundary * share + 1.0 - share;
        let step = (FARTHEST / NEAREST).ln() / (POINTS - 1) as f64;
        for (point, sum) in self.sums.iter_mut().enumerate() {
            let away = NEAREST.ln() + step * point as f64;
            let ln_g = match self.claim {
                Claim::Harm => away,
                Claim::NonInferiority => -away,
            };
            // ln(θ/θ0) = ln g + d and ln((1−θ)/(1−θ0)) = d, with d the log ratio of the two denominators.
            let d = (at_boundary / (boundary * ln_g.exp() * share + 1.0 - share)).ln();
            *sum += bad_canary * ln_g + bad * d;
        }
        self.ln_e_max = self.ln_e_max.max(self.ln_e());
    }

    /// The natural logarithm of the evidence after the last look; 0 before the first.
    pub fn ln_e(&self) -> f64 {
        let largest = self.sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.sums.iter().map(|s| (s - largest).exp()).sum();
        largest + (sum / POINTS as f64).ln()
    }

    /// The greatest [`Self::ln_e`] so far, at least 0. `exp(-ln_e_max)` is an anytime-valid p-value.
    pub fn ln_e_max(&self) -> f64 {
        self.ln_e_max
    }

    /// Whether the evidence suffices now: `ln_e >= ln(1/alpha)`. Never for an `alpha` outside (0, 1).
    pub fn rejects(&self, alpha: f64) -> bool {
        alpha > 0.0 && alpha < 1.0 && self.ln_e() >= -alpha.ln()
    }

    /// The margin in force: 0.1 lets the canary's bad rate be 10 % above that of stable.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// What the evidence is for.
    pub fn claim(&self) -> Claim {
        self.claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable_stream::Stream;

    type Look = (f64, u64, u64);

    /// Reference 3.6: looks, ln E after each with margin 0, and with margin .1.
    const GOLDEN: [([Look; 4], [f64; 4], [f64; 4]); 3] = [
        (
            [(0.01, 6, 120), (0.05, 14, 110), (0.25, 45, 75), (0.5, 110, 52)],
            [3.6515841547358536, 6.031375864582512, 8.975841429113201, 19.2921645102413],
            [3.2047308467021223, 4.8694578313886625, 6.488177641482617, 14.224395865083059],
        ),
        (
            [(0.01, 3, 120), (0.05, 9, 110), (0.25, 30, 75), (0.5, 70, 52)],
            [0.07657284833406841, -0.03722737721887581, -0.6692258208877582, 0.36809024488912745],
            [-0.11725729078960523, -0.502512403368051, -1.444232428952946, -1.0802702280598284],
        ),
        (
            [(0.01, 1, 120), (0.05, 6, 110), (0.25, 25, 75), (0.5, 52, 52)],
            [-1.2876134908415768, -1.9047053800634304, -2.485208304266114, -2.79178024794888],
            [-1.380245207836353, -2.105368600373958, -2.828220670084218, -3.2474404715632033],
        ),
    ];

    #[test]
    fn golden_looks() {
        for (looks, without, with) in GOLDEN {
            for (margin, expected) in [(0.0, without), (0.1, with)] {
                let mut grid = OddsGrid::harm(margin);
                let mut greatest = 0.0_f64;
                for ((share, canary, stable), ln_e) in looks.into_iter().zip(expected) {
                    grid.update(share, canary, stable);
                    assert!((grid.ln_e() - ln_e).abs() < 1e-9, "{} {ln_e}", grid.ln_e());
                    greatest = greatest.max(ln_e);
                }
                assert!((grid.ln_e_max() - greatest).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn reversed_is_harm_with_the_arms_swapped() {
        // Without a margin the two processes mirror each other.
        let (mut fine, mut swapped) = (OddsGrid::non_inferiority(0.0), OddsGrid::harm(0.0));
        fine.update(0.2, 10, 90);
        swapped.update(0.8, 90, 10);
        assert!((fine.ln_e() - swapped.ln_e()).abs() < 1e-9);
        assert!(fine.ln_e() > 0.0);
    }

    #[test]
    fn a_look_that_compares_nothing_is_skipped() {
        let mut grid = OddsGrid::harm(f64::NAN);
        assert_eq!(grid.margin(), 0.0);
        for share in [0.0, 1.0, -0.1, 1.1, f64::NAN] {
            grid.update(share, 5, 5);
        }
        grid.update(0.5, 0, 0);
        assert_eq!(grid, OddsGrid::harm(0.0));
        assert_eq!(grid.ln_e(), 0.0);
        assert!(!grid.rejects(1.0) && !grid.rejects(0.0) && !grid.rejects(f64::NAN));
        grid.update(1e-300, u64::MAX, u64::MAX);
        assert!(grid.ln_e().is_finite());
    }

    #[test]
    fn state_survives_json() {
        let mut grid = OddsGrid::non_inferiority(0.2);
        grid.update(0.3, 4, 40);
        let text = serde_json::to_string(&grid).unwrap();
        let mut back: OddsGrid = serde_json::from_str(&text).unwrap();
        assert_eq!(back, grid);
        back.update(0.5, 3, 30);
        grid.update(0.5, 3, 30);
        assert_eq!(back.ln_e().to_bits(), grid.ln_e().to_bits());
    }

    /// A ramp of 1, 5, 25 and 50 % with 50 looks of 2000 requests each; the base rate moves from 1 to 3 % half way.
    /// Answers the share of runs in which the evidence ever sufficed.
    fn share_that_ever_rejects(start: &OddsGrid, ratio: f64, runs: u32, seed: u64) -> f64 {
        let mut stream = Stream::new(seed);
        let ever = (0..runs).filter(|_| {
            let mut grid = start.clone();
            let mut rejected = false;
            for look in 0..200 {
                let share = [0.01, 0.05, 0.25, 0.5][look / 50];
                let base = if look < 100 { 0.01 } else { 0.03 };
                let canary = stream.poisson(2000.0 * share * base * ratio);
                let stable = stream.poisson(2000.0 * (1.0 - share) * base);
                grid.update(share, canary, stable);
                rejected |= grid.rejects(0.05);
            }
            rejected
        });
        f64::from(ever.count() as u32) / f64::from(runs)
    }

    #[test]
    fn planted_null_over_a_ramp_keeps_the_promised_rate() {
        let table = [
            (OddsGrid::harm(0.0), 1.0),
            (OddsGrid::harm(0.1), 1.1),
            (OddsGrid::non_inferiority(0.1), 1.1),
            (OddsGrid::non_inferiority(0.1), 1.5),
        ];
        for (grid, ratio) in table {
            let rate = share_that_ever_rejects(&grid, ratio, 250, 777);
            assert!(rate <= 0.05, "{:?} at {ratio}: {rate}", grid.claim());
        }
    }

    #[test]
    fn planted_harm_and_planted_health_are_found() {
        assert_eq!(share_that_ever_rejects(&OddsGrid::harm(0.1), 2.0, 50, 3), 1.0);
        let healthy = OddsGrid::non_inferiority(0.2);
        assert!(share_that_ever_rejects(&healthy, 0.9, 50, 4) > 0.9);
    }
}
