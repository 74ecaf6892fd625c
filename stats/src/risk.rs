//! Has the model become worse, with a guarantee? Bounds on a risk: the mean of losses in [0, 1].
//!
//! [`TrackedRisk`] (Podkopaev & Ramdas, ICLR 2022, Alg. 1) alarms when the lower confidence bound of the risk now is
//! above the upper bound of the risk at training plus a tolerance. One may look after every label; without a true
//! increase it ever alarms with probability at most α. [`ShiryaevRoberts`] is the form for endless watching: it may
//! alarm falsely, but on average only once in a stated number of labels.
//!
//! Only matured labels count, with the same attribution window as at training. Losses beyond [0, 1] are counted as its
//! nearer end and NaN is ignored. All sequences depend on the order, so none can be merged: feed one stream. For means
//! of unbounded metrics see [`crate::confidence`].

use serde::{Deserialize, Serialize};
use statrs::function::beta::ln_beta;

use crate::confidence::Interval;
use crate::moments::Moments;

mod betting;
mod detector;

pub use betting::Betting;
pub use detector::ShiryaevRoberts;

/// The greatest bet of the empirical Bernstein sequence, and the greatest share of capital of the betting one.
const CAP: f64 = 0.5;

/// The upper bound of a risk from a fixed sample, valid with probability `1 - alpha` (Maurer & Pontil, COLT 2009, Thm 4):
/// `mean + √(2 V ln(2/α) / n) + 7 ln(2/α) / (3 (n − 1))`, with V the variance of the losses (divided by n − 1).
///
/// At most 1; 1 too for fewer than 2 losses and for arguments outside their domain.
pub fn upper_bound(n: u64, mean: f64, variance: f64, alpha: f64) -> f64 {
    let valid = n >= 2 && (0.0..=1.0).contains(&mean) && variance >= 0.0 && is_level(alpha);
    if !valid {
        return 1.0;
    }
    let (n, ln) = (n as f64, ln_2_over(alpha));
    (mean + (2.0 * variance * ln / n).sqrt() + 7.0 * ln / (3.0 * (n - 1.0))).min(1.0)
}

/// An anytime-valid two-sided interval for a rate at level `1 - alpha`: `successes` of `n`, independent, with the uniform
/// prior as mixture (Howard, Ramdas, McAuliffe & Sekhon 2021, beta-binomial).
///
/// `None` before the first trial and for an `alpha` outside (0, 1). `successes` above `n` count as `n`.
pub fn rate(successes: u64, n: u64, alpha: f64) -> Option<Interval> {
    if n == 0 || !is_level(alpha) {
        return None;
    }
    let (s, f) = (successes.min(n) as f64, n.saturating_sub(successes) as f64);
    let level = ln_beta(1.0 + s, 1.0 + f) + alpha.ln();
    let term = |count: f64, p: f64| if count > 0.0 { count * p.ln() } else { 0.0 };
    let excluded = |p: f64| term(s, p) + term(f, 1.0 - p) < level;
    let estimate = s / n as f64;
    let edge = |outer: f64| {
        let (mut out, mut within) = (outer, estimate);
        // Enough halvings for the last bit.
        for _ in 0..1100 {
            let middle = f64::midpoint(out, within);
            if middle == out || middle == within {
                break;
            }
            *if excluded(middle) { &mut out } else { &mut within } = middle;
        }
        if excluded(outer) { out } else { outer }
    };
    Some(Interval { estimate, lower: edge(0.0), upper: edge(1.0), n })
}

/// The running mean and variance that the bets are made from: those of the losses so far, as if one loss of ½ with
/// variance ¼ had come before. Predictable: no bet knows the loss it is made on.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct Plugin {
    n: u64,
    sum: f64,
    squares: f64,
    mean: f64,
    variance: f64,
}

impl Plugin {
    fn new() -> Self {
        Self { n: 0, sum: 0.0, squares: 0.0, mean: 0.5, variance: 0.25 }
    }

    /// The bet on the next loss, before it is capped: `√(2 ln(2/α) / (σ² i ln(1 + i)))`.
    fn bet(&self, alpha: f64) -> f64 {
        let i = self.n as f64 + 1.0;
        (2.0 * ln_2_over(alpha) / (self.variance * i * i.ln_1p())).sqrt()
    }

    fn add(&mut self, loss: f64) {
        self.n += 1;
        self.sum += loss;
        let n = self.n as f64 + 1.0;
        self.mean = (0.5 + self.sum) / n;
        self.squares += (loss - self.mean).powi(2);
        self.variance = (0.25 + self.squares) / n;
    }

    /// The plain mean of the losses; ½ before the first.
    fn estimate(&self) -> f64 {
        if self.n > 0 { self.sum / self.n as f64 } else { 0.5 }
    }
}

/// The predictable plug-in empirical Bernstein confidence sequence (Waudby-Smith & Ramdas, JRSS-B 2024, Thm 2), in
/// closed form and constant memory.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EmpiricalBernstein {
    alpha: f64,
    plugin: Plugin,
    bets: f64,
    bets_losses: f64,
    penalty: f64,
}

impl EmpiricalBernstein {
    /// A two-sided sequence at level `1 - alpha`; an `alpha` outside (0, 1) counts as 0.05.
    pub fn new(alpha: f64) -> Self {
        Self { alpha: level(alpha), plugin: Plugin::new(), bets: 0.0, bets_losses: 0.0, penalty: 0.0 }
    }

    /// Adds one loss.
    pub fn update(&mut self, loss: f64) {
        let Some(loss) = within_unit(loss) else { return };
        let bet = self.plugin.bet(self.alpha).min(CAP);
        let surprise = 4.0 * (loss - self.plugin.mean).powi(2);
        self.penalty += surprise * (-(-bet).ln_1p() - bet) / 4.0;
        self.bets += bet;
        self.bets_losses += bet * loss;
        self.plugin.add(loss);
    }

    /// The interval now, within [0, 1]; the estimate is the plain mean (½ before the first loss). Either end alone is
    /// valid at level `1 - alpha / 2`.
    pub fn interval(&self) -> Interval {
        let (estimate, n) = (self.plugin.estimate(), self.plugin.n);
        if n == 0 {
            return Interval { estimate, lower: 0.0, upper: 1.0, n };
        }
        let centre = self.bets_losses / self.bets;
        let radius = (ln_2_over(self.alpha) + self.penalty) / self.bets;
        Interval { estimate, lower: (centre - radius).clamp(0.0, 1.0), upper: (centre + radius).clamp(0.0, 1.0), n }
    }
}

/// What the risk is held against.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct RiskLimit {
    /// The upper bound of the risk at training, at level `1 - alpha / 2`.
    pub reference_upper: f64,
    /// What the risk may be above it.
    pub tolerance: f64,
    /// Probability of ever alarming without a true increase.
    pub alpha: f64,
}

impl RiskLimit {
    /// The limit for the losses at training, in [0, 1]. `alpha` outside (0, 1) counts as 0.05; `tolerance` is brought into
    /// [0, 1] (NaN is 0). With fewer than 2 losses nothing is known, and no risk is above the limit.
    pub fn new(reference: &Moments, tolerance: f64, alpha: f64) -> Self {
        let alpha = level(alpha);
        let known = reference.mean().zip(reference.variance());
        let reference_upper =
            known.map_or(1.0, |(mean, variance)| upper_bound(reference.n(), mean, variance, alpha / 2.0));
        let tolerance = if tolerance.is_nan() { 0.0 } else { tolerance.clamp(0.0, 1.0) };
        Self { reference_upper, tolerance, alpha }
    }

    /// The greatest risk that is allowed, in [0, 1]; 1, which no risk exceeds, where it is not known.
    pub fn value(&self) -> f64 {
        let sum = self.reference_upper + self.tolerance;
        if sum.is_nan() { 1.0 } else { sum.clamp(0.0, 1.0) }
    }
}

/// Follows the risk of a served model against its risk at training, in constant memory.
///
/// A capital bets on every label that the risk is above the limit; it alarms once the stake has grown to 2 / α. That is
/// the very moment at which the lower end of the [`Betting`] sequence passes the limit.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct TrackedRisk {
    limit: RiskLimit,
    followed: EmpiricalBernstein,
    ln_capital: f64,
    ln_greatest: f64,
}

impl TrackedRisk {
    /// Starts without labels.
    pub fn new(limit: RiskLimit) -> Self {
        let limit = RiskLimit { alpha: level(limit.alpha), ..limit };
        Self { limit, followed: EmpiricalBernstein::new(limit.alpha), ln_capital: 0.0, ln_greatest: 0.0 }
    }

    /// Adds the loss of one matured label.
    pub fn update(&mut self, loss: f64) {
        let Some(loss) = within_unit(loss) else { return };
        let bet = self.followed.plugin.bet(self.limit.alpha);
        self.ln_capital += betting::ln_won(bet, loss, self.limit.value());
        self.ln_greatest = self.ln_greatest.max(self.ln_capital);
        self.followed.update(loss);
    }

    /// What is known now. Once alarming it stays so: start anew after acting.
    pub fn report(&self) -> RiskReport {
        let ln_needed = ln_2_over(self.limit.alpha);
        let (ln_evidence, risk) = (self.ln_greatest, self.followed.interval());
        RiskReport { risk, ln_evidence, ln_needed, limit: self.limit, alarm: ln_evidence >= ln_needed }
    }
}

/// What was found about the risk, with the numbers behind it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct RiskReport {
    /// The mean loss of the labels so far (½ before the first) with its [`EmpiricalBernstein`] interval, to look at; the
    /// evidence is sharper.
    pub risk: Interval,
    /// The logarithm of the greatest evidence so far for a risk above the limit.
    pub ln_evidence: f64,
    /// What it must reach: ln(2 / α).
    pub ln_needed: f64,
    /// What the risk is held against.
    pub limit: RiskLimit,
    /// The risk is above the limit, at the limit's error level.
    pub alarm: bool,
}

impl RiskReport {
    /// What a person should read.
    pub fn sentence(&self) -> String {
        let Self { risk: Interval { estimate, n, .. }, ln_evidence, ln_needed, limit, alarm } = self;
        if *n == 0 {
            return "no matured labels yet to judge the risk".to_owned();
        }
        let found = if *alarm { "risk rose" } else { "no proven rise of the risk" };
        let times = |ln: f64| ln.min(700.0).exp();
        format!(
            "{found}: mean loss {estimate:.4} on {n} labels against {:.4} (at most {:.4} at training, tolerance {:.4}); \
             evidence {:.1} of {:.1} needed at error level {}",
            limit.value(),
            limit.reference_upper,
            limit.tolerance,
            times(*ln_evidence),
            times(*ln_needed),
            limit.alpha
        )
    }
}

fn within_unit(loss: f64) -> Option<f64> {
    (!loss.is_nan()).then(|| loss.clamp(0.0, 1.0))
}

fn is_level(alpha: f64) -> bool {
    alpha > 0.0 && alpha < 1.0
}

/// ln(2 / α), finite for every level.
fn ln_2_over(alpha: f64) -> f64 {
    std::f64::consts::LN_2 - alpha.ln()
}

fn level(alpha: f64) -> f64 {
    if is_level(alpha) { alpha } else { 0.05 }
}

#[cfg(test)]
mod tests;
