//! A conformal test martingale: evidence that scores no longer come from the distribution of the reference, of whatever
//! kind the change is (a mean shift is found sooner by [`crate::adwin`]).
//!
//! Simple and Composite Jumper (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2nd ed., Alg. 8.1) on
//! conformal p-values. Without a change the evidence ever reaches 1/α with probability at most α. With a fixed reference
//! this holds approximately: the reference must be much longer than the stretch that is judged.

use serde::{Deserialize, Serialize};

const BETS: [f64; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];
const JUMP_RATES: [f64; 5] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// The smoothed conformal p-value of `score` among the sorted scores of the reference: `(above + u (equal + 1)) / (n + 1)`
/// with `u` in [0, 1] drawn by the caller. Small for scores higher than the reference's; 0.5 for a score that is NaN.
pub fn conformal_p(sorted_reference: &[f64], score: f64, u: f64) -> f64 {
    if score.is_nan() {
        return 0.5;
    }
    let below = sorted_reference.partition_point(|&s| s < score);
    let up_to = sorted_reference.partition_point(|&s| s <= score).max(below);
    let above = (sorted_reference.len() - up_to) as f64;
    let u = if u >= 0.0 { u.min(1.0) } else { 0.5 };
    (above + u * ((up_to - below) as f64 + 1.0)) / (sorted_reference.len() as f64 + 1.0)
}

/// Capital of five bets `1 + ε (p − ½)`, a share `jump` of which is spread anew at each step. Constant memory.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SimpleJumper {
    jump: f64,
    shares: [f64; 5],
    ln_capital: f64,
    ln_least: f64,
}

impl SimpleJumper {
    /// A capital of 1. A `jump` outside [0, 1] counts as 0.01.
    pub fn new(jump: f64) -> Self {
        let jump = if (0.0..=1.0).contains(&jump) { jump } else { 0.01 };
        Self { jump, shares: [0.2; 5], ln_capital: 0.0, ln_least: 0.0 }
    }

    /// Bets on one p-value. One outside [0, 1] is ignored.
    pub fn update(&mut self, p: f64) {
        if !(0.0..=1.0).contains(&p) {
            return;
        }
        for (share, bet) in self.shares.iter_mut().zip(BETS) {
            *share = ((1.0 - self.jump) * *share + self.jump / 5.0) * (1.0 + bet * (p - 0.5));
        }
        let total: f64 = self.shares.iter().sum();
        self.shares.iter_mut().for_each(|share| *share /= total);
        self.ln_capital += total.ln();
        self.ln_least = self.ln_least.min(self.ln_capital);
    }

    /// The natural logarithm of the evidence.
    pub fn ln_e(&self) -> f64 {
        self.ln_capital
    }

    /// The logarithm of the evidence since its lowest point (CUSUM form, Volkhonskiy et al. 2017). Reaching ln 10⁵ is
    /// the usual alarm; it finds late changes sooner but false alarms come again and again, about one in 10⁵ values.
    pub fn ln_cusum(&self) -> f64 {
        self.ln_capital - self.ln_least
    }
}

/// The mean of five [`SimpleJumper`]s with jump rates from 10⁻⁴ to 1, for when one does not know how often bets change.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CompositeJumper([SimpleJumper; 5]);

impl CompositeJumper {
    /// Bets on one p-value with each of the five.
    pub fn update(&mut self, p: f64) {
        self.0.iter_mut().for_each(|jumper| jumper.update(p));
    }

    /// The natural logarithm of the evidence.
    pub fn ln_e(&self) -> f64 {
        let greatest = self.0.iter().map(SimpleJumper::ln_e).fold(f64::NEG_INFINITY, f64::max);
        greatest + (self.0.iter().map(|j| (j.ln_e() - greatest).exp()).sum::<f64>() / 5.0).ln()
    }
}

impl Default for CompositeJumper {
    fn default() -> Self {
        Self(JUMP_RATES.map(SimpleJumper::new))
    }
}

#[cfg(test)]
mod tests;
