//! The rules of today's tools, written anew from what their documentation and sources say they do, on one metric: the
//! share of bad answers in a look, which stands for their interval.
//!
//! - Argo Rollouts: a measurement fails when it is over a threshold; `failureLimit: 0`, the default, ends at the first
//!   (argoproj/argo-rollouts, analysis documentation).
//! - Flagger: as above, and it rolls back when `threshold` checks have failed in all, 5 in its documentation; the count
//!   is never set back (fluxcd/flagger, `scheduler.go`).
//! - Kayenta: Mann–Whitney with the Hodges–Lehmann interval at confidence .98; high when its lower end is above .25 of the
//!   estimate (spinnaker/kayenta, `MannWhitney`); judged eight times over all looks so far.
//! - A test of two proportions made for one look, asked at every look.

use fairway_stats::confidence::z_quantile;

use crate::simulation::verdicts::Sums;
use crate::simulation::{Look, Named, named};

/// Rolls back at the `failures`-th look whose bad share on the canary is above `limit`.
pub fn threshold(name: &str, limit: f64, failures: u32) -> Named {
    named(format!("{name}: over {:.0} %, {failures} times", 100.0 * limit), move || {
        let mut failed = 0;
        move |look: &Look| {
            failed += u32::from(look.bad[0] as f64 > limit * look.requests[0] as f64);
            failed >= failures
        }
    })
}

/// One-sided pooled z-test at 5 % at every look.
pub fn repeated_z() -> Named {
    named("z-test at every look", || {
        let (mut sums, critical) = (Sums::default(), z_quantile(0.95));
        move |look: &Look| {
            sums.add(look);
            sums.z() > critical
        }
    })
}

/// The same test, once, when all looks are in.
pub fn z_at_the_end(looks: usize) -> Named {
    named("z-test once at the end", move || {
        let (mut sums, critical) = (Sums::default(), z_quantile(0.95));
        move |look: &Look| {
            sums.add(look);
            look.index + 1 == looks && sums.z() > critical
        }
    })
}

const CONFIDENCE: f64 = 0.98;
const TOLERANCE: f64 = 0.25;
const JUDGEMENTS: usize = 8;

/// Kayenta's judge over the looks' bad shares.
pub fn kayenta(looks: usize) -> Named {
    named("Kayenta: Mann-Whitney, .98, tolerance .25", move || {
        let mut series: [Vec<f64>; 2] = Default::default();
        move |look: &Look| {
            for (arm, values) in series.iter_mut().enumerate() {
                if look.requests[arm] > 0 {
                    values.push(look.bad[arm] as f64 / look.requests[arm] as f64);
                }
            }
            (look.index + 1).is_multiple_of(looks / JUDGEMENTS)
                && Shift::between(&series[0], &series[1]).is_high(CONFIDENCE, TOLERANCE)
        }
    })
}

/// How far the points of one series lie above those of another, as Kayenta's judge sees it: all pairwise differences in order,
/// of which the middle one is the Hodges–Lehmann estimate. Ties are not corrected for.
#[derive(Clone, Debug)]
pub struct Shift {
    differences: Vec<f64>,
    m: f64,
    n: f64,
}

impl Shift {
    /// Of `canary` above `stable`.
    pub fn between(canary: &[f64], stable: &[f64]) -> Self {
        let mut differences: Vec<f64> = canary.iter().flat_map(|c| stable.iter().map(move |s| c - s)).collect();
        differences.sort_unstable_by(f64::total_cmp);
        Self { differences, m: canary.len() as f64, n: stable.len() as f64 }
    }

    /// The lower end of the interval is above `tolerance` times the estimate. Never without points on both sides.
    pub fn is_high(&self, confidence: f64, tolerance: f64) -> bool {
        let (m, n) = (self.m, self.n);
        let z = z_quantile(1.0 - (1.0 - confidence) / 2.0);
        let lower = (m * n / 2.0 - z * (m * n * (m + n + 1.0) / 12.0).sqrt()).floor().max(0.0) as usize;
        match (self.differences.get(lower), self.differences.get(self.differences.len() / 2)) {
            (Some(&low), Some(&middle)) => low > tolerance * middle.abs(),
            _ => false,
        }
    }
}
