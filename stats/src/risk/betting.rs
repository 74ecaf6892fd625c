//! The betting confidence sequence: a mean is excluded once betting against it has won enough.

use serde::{Deserialize, Serialize};

use super::{CAP, Plugin, level, ln_2_over, within_unit};
use crate::confidence::Interval;

/// The hedged-capital confidence sequence (Waudby-Smith & Ramdas, JRSS-B 2024, Thm 3) for the mean of losses in [0, 1].
///
/// Half of the capital bets that the mean is above each point of a grid and half that it is below; a point is excluded
/// while either half has grown to `1 / alpha`. The interval is widened to the neighbouring points, so that the grid only
/// makes it wider. An update takes time in proportion to the points; memory is two numbers a point.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Betting {
    alpha: f64,
    plugin: Plugin,
    /// The log capital of the bet upwards against each point; falls from point to point.
    pub(super) up: Vec<f64>,
    /// That of the bet downwards; rises from point to point.
    pub(super) down: Vec<f64>,
}

impl Betting {
    /// A two-sided sequence at level `1 - alpha` on `points` equally spaced points of [0, 1], at least 2 and at most
    /// 100 000. An `alpha` outside (0, 1) counts as 0.05.
    pub fn new(alpha: f64, points: usize) -> Self {
        let points = points.clamp(2, 100_000);
        Self { alpha: level(alpha), plugin: Plugin::new(), up: vec![0.0; points], down: vec![0.0; points] }
    }

    /// Adds one loss.
    pub fn update(&mut self, loss: f64) {
        let Some(loss) = within_unit(loss) else { return };
        let bet = self.plugin.bet(self.alpha);
        let last = self.last();
        for (i, (up, down)) in self.up.iter_mut().zip(&mut self.down).enumerate() {
            let m = i as f64 / last;
            *up += ln_won(bet, loss, m);
            *down += ln_won(bet, 1.0 - loss, 1.0 - m);
        }
        self.plugin.add(loss);
    }

    /// The lower end alone, valid at level `1 - alpha / 2`.
    pub fn lower(&self) -> f64 {
        let excluded = self.up.partition_point(|&up| up >= self.enough());
        excluded.saturating_sub(1) as f64 / self.last()
    }

    /// The interval now (not the intersection of all so far); the estimate is the plain mean, ½ before the first loss.
    /// When the mean has moved it can be empty: `lower` is then above `upper`.
    pub fn interval(&self) -> Interval {
        let upper = self.down.partition_point(|&down| down < self.enough()).min(self.down.len().saturating_sub(1));
        Interval {
            estimate: self.plugin.estimate(),
            lower: self.lower(),
            upper: upper as f64 / self.last(),
            n: self.plugin.n,
        }
    }

    /// The log capital, of half the stake, that excludes a point: ln(2 / α).
    fn enough(&self) -> f64 {
        ln_2_over(self.alpha)
    }

    fn last(&self) -> f64 {
        (self.up.len().max(2) - 1) as f64
    }
}

/// What a bet that the mean is above `m` adds to the log capital. Capped so that no loss takes more than half of it.
pub(super) fn ln_won(bet: f64, loss: f64, m: f64) -> f64 {
    (bet.min(CAP / m) * (loss - m)).ln_1p()
}
