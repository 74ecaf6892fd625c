//! Kayenta's NetflixACAJudge as Argo Rollouts or Spinnaker runs it, written anew from its documentation and sources
//! (spinnaker/kayenta, `NetflixACAJudge.scala`, `MannWhitneyClassifier.scala`, `docs/canary-config.md`;
//! argoproj/argo-rollouts, `docs/analysis/kayenta.md`).
//!
//! Two metrics, errors (direction: increase) and reward (decrease), a group of 50 each. In each judgement the points of the
//! canary and of stable, one for each `step` of time, are compared ([`Shift`]); a metric that is out of the tolerance fails
//! and leaves a score of 50, below `marginal` 75, so a judgement that fails in one metric fails; scores between 75 and 90
//! (inconclusive) cannot come of two metrics. The rollout ends with the judgement after `limit` failed ones. Points without
//! requests are left out (`nanStrategy: remove`).

use fairway_bench_stats::peers::Shift;

use crate::exposure::Ended;
use crate::plan::{MATURE, Plan};
use crate::table::Table;

/// How a judgement looks at the points; times in minutes.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// How far back (`lookback`); to the beginning if none (Spinnaker's growing analysis).
    pub lookback: Option<usize>,
    /// Between points.
    pub step: usize,
}

/// When it is judged, and how.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    /// Between judgements, minutes.
    pub interval: usize,
    /// Its points.
    pub scope: Scope,
    /// Of the interval around the Hodges–Lehmann estimate.
    pub confidence: f64,
    /// Of that estimate.
    pub tolerance: f64,
}

/// The examples: each hour over that hour, a point a minute (Argo's), confidence .98 and tolerance .25 (the judge's); the
/// first failure ends it.
pub const EXAMPLE: (Judge, usize) =
    (Judge { interval: 60, scope: Scope { lookback: Some(60), step: 1 }, confidence: 0.98, tolerance: 0.25 }, 0);

const CONFIDENCES: [f64; 5] = [0.9, 0.95, 0.98, 0.99, 0.999];
const TOLERANCES: [f64; 4] = [0.0, 0.1, 0.25, 0.5];
const HOUR: usize = 60;

fn scopes() -> Vec<Scope> {
    let scope = |(lookback, step)| Scope { lookback, step };
    [(Some(60), 1), (Some(60), 5), (Some(240), 5), (Some(240), 15), (None, 5), (None, 15), (None, 30)]
        .map(scope)
        .to_vec()
}

/// What is tried, in the order of [`failures`].
pub fn grid() -> Vec<Judge> {
    let mut grid = Vec::new();
    for scope in scopes() {
        for confidence in CONFIDENCES {
            for tolerance in TOLERANCES {
                for interval in [HOUR, 2 * HOUR, 4 * HOUR] {
                    grid.push(Judge { interval, scope, confidence, tolerance });
                }
            }
        }
    }
    grid
}

/// The minutes of the failed judgements by each judge of the grid.
pub fn failures(plan: Plan, table: &Table) -> Vec<Vec<usize>> {
    let times: Vec<usize> = (1..).map(|nth| nth * HOUR).take_while(|at| *at <= plan.end()).collect();
    let mut all = Vec::new();
    for scope in scopes() {
        let shifts: Vec<[Shift; 2]> = times.iter().map(|at| scope.shifts(plan, table, *at)).collect();
        for judge in grid().iter().skip(all.len()).take(CONFIDENCES.len() * TOLERANCES.len() * 3) {
            let fails = |(at, shifts): (&usize, &[Shift; 2])| {
                let is_due = at.is_multiple_of(judge.interval);
                (is_due && judge.fails(shifts)).then_some(*at)
            };
            all.push(times.iter().zip(&shifts).filter_map(fails).collect());
        }
    }
    all
}

impl Scope {
    /// How far the canary's errors are above stable's, and its rewards below, over the points before `at`.
    fn shifts(self, plan: Plan, table: &Table, at: usize) -> [Shift; 2] {
        let from = self.lookback.map_or(0, |lookback| at.saturating_sub(lookback));
        let schedule = plan.schedule();
        let mut errors: [Vec<f64>; 2] = Default::default();
        let mut rewards: [Vec<f64>; 2] = Default::default();
        for start in (from..at).step_by(self.step) {
            let end = (start + self.step).min(at);
            let rate = |count: u32, requests: u32| (requests > 0).then(|| f64::from(count) / f64::from(requests));
            let seen = table.between(&schedule, start, end);
            errors[0].extend(rate(seen.canary.errors, seen.canary.requests));
            errors[1].extend(rate(seen.stable.errors, seen.stable.requests));
            let seen = table.between(&schedule, start.saturating_sub(MATURE), end.saturating_sub(MATURE));
            rewards[0].extend(rate(seen.canary.rewards, seen.canary.requests));
            rewards[1].extend(rate(seen.stable.rewards, seen.stable.requests));
        }
        [Shift::between(&errors[0], &errors[1]), Shift::between(&rewards[1], &rewards[0])]
    }
}

impl Judge {
    fn fails(&self, shifts: &[Shift; 2]) -> bool {
        shifts.iter().any(|shift| shift.is_high(self.confidence, self.tolerance))
    }

    /// How a rollout goes that ends with the judgement after `limit` failed ones.
    pub fn run(&self, plan: Plan, table: &Table, limit: usize) -> Ended {
        let times = (1..).map(|nth| nth * self.interval).take_while(|at| *at <= plan.end());
        let rolled_back = times.filter(|at| self.fails(&self.scope.shifts(plan, table, *at))).nth(limit);
        let promoted = if rolled_back.is_none() { Some(plan.end()) } else { None };
        Ended { rolled_back, in_bake: false, schedule: plan.schedule(), promoted }
    }

    /// For people.
    pub fn name(&self, limit: usize) -> String {
        let lookback = self.scope.lookback.map_or_else(|| "all".to_owned(), |minutes| format!("{minutes}m"));
        format!(
            "each {}m over {lookback}, a point each {}m, confidence {}, tolerance {}, failureLimit {limit}",
            self.interval, self.scope.step, self.confidence, self.tolerance
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Split;
    use crate::traffic::{Crowd, HARMS, Traffic};

    #[test]
    fn the_grid_and_a_single_judge_agree() {
        let plan = Plan { hold: 120 };
        let table = Table::new(&Traffic::new(plan, Crowd::Clumped, HARMS[2], 1), Split::Users);
        let all = failures(plan, &table);
        for index in (0..grid().len()).step_by(17) {
            let judge = grid()[index];
            assert_eq!(judge.run(plan, &table, 0).rolled_back, all[index].first().copied(), "{judge:?}");
        }
    }
}
