//! The crate's verdicts on bad answers as rules: each ends the rollout when its claim is proved, which is an error when the
//! simulated ratio is on the claim's boundary.

use fairway_stats::odds::OddsGrid;
use fairway_stats::sequential::{Spending, bounds, z_of_counts};
use fairway_stats::verdict::{LnE, RateGate};

use super::{Look, Named, named};

pub fn harm(margin: f64, alpha: f64) -> Named {
    grid(format!("odds grid, harm beyond {margin}"), OddsGrid::harm(margin), alpha)
}

pub fn non_inferiority(margin: f64, alpha: f64) -> Named {
    grid(format!("odds grid, non-inferior by {margin}"), OddsGrid::non_inferiority(margin), alpha)
}

pub fn superiority(gain: f64, alpha: f64) -> Named {
    grid(format!("odds grid, better by {gain}"), OddsGrid::superiority(gain), alpha)
}

fn grid(name: String, start: OddsGrid, alpha: f64) -> Named {
    named(name, move || {
        let mut grid = start.clone();
        move |look: &Look| {
            grid.update(look.share(), look.bad[0], look.bad[1]);
            grid.rejects(alpha)
        }
    })
}

/// The whole gate, ended by `claim` at any look.
pub fn gate(name: &str, margin: f64, alpha: f64, claim: fn(&LnE) -> f64) -> Named {
    named(format!("gate, {name}"), move || {
        let mut gate = RateGate::new(margin, alpha);
        move |look: &Look| {
            gate.look(look.requests, look.bad);
            claim(&gate.most()) >= -alpha.ln()
        }
    })
}

/// The exact z of the counts at `count` equally spaced looks, one-sided, with group-sequential bounds. For shares that do
/// not change.
pub fn fixed_looks(count: usize, looks: usize, spending: Spending, alpha: f64) -> Named {
    let times: Vec<f64> = (1..=count).map(|k| k as f64 / count as f64).collect();
    let bounds = bounds(&times, alpha, spending).expect("equal looks are a schedule");
    named(format!("group-sequential, {count} looks, {spending:?}"), move || {
        let bounds = bounds.clone();
        let mut bad = [0; 2];
        move |look: &Look| {
            bad = [bad[0] + look.bad[0], bad[1] + look.bad[1]];
            let done = look.index + 1;
            done.is_multiple_of(looks / bounds.len())
                && bounds
                    .get(done * bounds.len() / looks - 1)
                    .is_some_and(|bound| z_of_counts(look.share(), bad[0], bad[1]) > *bound)
        }
    })
}

/// Totals since the start, pooled over shares, as a fixed-horizon test has them.
#[derive(Default)]
pub struct Sums {
    requests: [f64; 2],
    bad: [f64; 2],
}

impl Sums {
    pub fn add(&mut self, look: &Look) {
        for arm in 0..2 {
            self.requests[arm] += look.requests[arm] as f64;
            self.bad[arm] += look.bad[arm] as f64;
        }
    }

    /// The pooled z statistic of two proportions; 0 without variation.
    pub fn z(&self) -> f64 {
        let rate = |arm: usize| self.bad[arm] / self.requests[arm];
        let pooled = (self.bad[0] + self.bad[1]) / (self.requests[0] + self.requests[1]);
        let variance = pooled * (1.0 - pooled) * (1.0 / self.requests[0] + 1.0 / self.requests[1]);
        if variance > 0.0 { (rate(0) - rate(1)) / variance.sqrt() } else { 0.0 }
    }
}
