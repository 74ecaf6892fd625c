//! Errors while nobody has the other version: after a promotion, on a step of 100 %, or while the baseline is shown in stable's
//! place. There is nobody to compare with, so they are held against what both versions had before: a coarse net for what only
//! shows when everybody is there. Where nothing is known of before, against a rate that no version should have.
//!
//! Given a rate p that is allowed, each request is bad with odds of at most p / (1 − p); evidence against that is gathered
//! on the grid of [`fairway_stats::odds`], where the "share" is p and good answers take the place of stable's bad ones. It
//! holds at every look. That traffic is as hard to answer as during the rollout is assumed, which is why the rate that is
//! allowed is three times as high.

use fairway_stats::Cells;
use fairway_stats::fairness::wilson;
use fairway_stats::odds::{OddsGrid, design_effect};
use serde::{Deserialize, Serialize};

/// So many times the rate of before is allowed, beside the gate's tolerance.
const FACTOR: f64 = 3.0;
/// No rate below this alarms: a service without any error has had luck.
const LEAST: f64 = 0.002;
/// What is allowed where nothing is known of before: what others' documentation asks of a canary, 95 % without an error.
const UNKNOWN: f64 = 0.05;

/// What a version has answered since nobody has had the other one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Afterwards {
    allowed: f64,
    grid: OddsGrid,
    by_cell: Cells,
    requests: u64,
    bad: u64,
}

impl Afterwards {
    /// From the requests and errors of both versions before, and the gate's tolerance (0.1 for 10 %).
    pub fn new(requests: u64, bad: u64, tolerance: f64) -> Self {
        let upper = wilson(bad, requests, 0.05).map_or(1.0, |(_, upper)| upper);
        let allowed = (FACTOR * (1.0 + tolerance) * upper).clamp(LEAST, 0.5);
        Self { allowed, grid: OddsGrid::harm(0.0), by_cell: Cells::new(), requests: 0, bad: 0 }
    }

    /// The same for a version that is still on trial: it may have met nobody beside the other one.
    pub fn on_trial(requests: u64, bad: u64, tolerance: f64) -> Self {
        let after = Self::new(requests, bad, tolerance);
        Self { allowed: if requests == 0 { UNKNOWN } else { after.allowed }, ..after }
    }

    /// Adds requests and errors of one window.
    pub fn look(&mut self, requests: u64, bad: u64, by_cell: &Cells) {
        let bad = bad.min(requests);
        self.by_cell.merge(by_cell);
        self.grid.update(self.allowed, bad, requests - bad);
        self.requests += requests;
        self.bad += bad;
    }

    /// The rate that is allowed.
    pub fn allowed(&self) -> f64 {
        self.allowed
    }

    /// The sentence, if more errors than are allowed are proved at level `alpha`; `when` they came.
    pub fn harm(&self, alpha: f64, when: &str) -> Option<String> {
        let clumps = design_effect(&self.by_cell, &Cells::new());
        (self.grid.ln_e_at(clumps) >= fairway_stats::verdict::ln_needed(alpha)).then(|| {
            format!(
                "errors: {} of {} {when}, which is proved to be more than {:.2} %, which is allowed then",
                self.bad,
                self.requests,
                100.0 * self.allowed
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_more_errors_than_before_are_harm_and_some_more_are_not() {
        for (rate, harms) in [(0.0, false), (0.01, false), (0.02, false), (0.08, true), (0.5, true)] {
            let mut after = Afterwards::new(10_000, 100, 0.1);
            let mut found = None;
            for minute in 1..200_u32 {
                after.look(500, (500.0 * rate) as u64, &Cells::new());
                if after.harm(0.05, "since").is_some() {
                    found.get_or_insert(minute);
                }
            }
            assert_eq!(found.is_some(), harms, "{rate}: {found:?}");
            assert!(rate < 0.5 || found == Some(1), "{found:?}");
        }
    }

    #[test]
    fn nothing_known_before_allows_much_and_nothing_seen_proves_nothing() {
        let mut after = Afterwards::new(0, 0, 0.1);
        assert_eq!(after.harm(0.05, "since"), None);
        after.look(0, 0, &Cells::new());
        after.look(100, 40, &Cells::new());
        assert_eq!(after.harm(0.05, "since"), None);
        after.look(10, 1_000, &Cells::new());
        assert!(serde_json::to_string(&after).is_ok());
    }
}
