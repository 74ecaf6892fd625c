//! Flagger's analysis, written anew from its documentation and sources (fluxcd/flagger, `docs/gitbook/usage/how-it-works.md`,
//! `pkg/controller/scheduler.go`).
//!
//! On each tick: when `threshold` checks have failed since the beginning, the canary is rolled back; else the metrics of the
//! last interval are checked, and if one is out of its range the check has failed and the weight stays; else the weight
//! grows by `stepWeight`, and from `maxWeight` on the canary is promoted. So the rollback comes one tick after the last
//! failure. Failed checks are never forgotten. A metric without values halts nothing here.

use crate::exposure::Ended;
use crate::plan::{MATURE, Plan, Schedule};
use crate::table::Table;

/// `maxWeight`, percent.
const MOST: u8 = 50;

/// An analysis, but for its `threshold`.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Minutes; also how far back the metrics look.
    pub interval: usize,
    /// The weights, one a tick.
    pub weights: Vec<u8>,
    /// Errors per request: at most this.
    pub errors: f64,
    /// Reward per matured exposure: at least this much of stable's. 0 asks nothing.
    pub reward: f64,
}

/// The documentation's example: each minute 5 % more, 99 % success, ten failed checks. It knows no reward.
pub fn example() -> (Analysis, u16) {
    (Analysis { interval: 1, weights: weights(5), errors: 0.01, reward: 0.0 }, 10)
}

fn weights(step: u8) -> Vec<u8> {
    (1..=MOST / step).map(|nth| nth * step).collect()
}

/// What is tried: steps of many sizes, all through in the time of the plan.
pub fn grid(plan: Plan) -> Vec<Analysis> {
    let paces = [weights(1), weights(2), weights(5), weights(10), crate::plan::STEPS.to_vec()];
    let mut grid = Vec::new();
    for weights in paces {
        let interval = (plan.end() / weights.len()).max(1);
        for errors in [1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0] {
            for reward in [0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95] {
                grid.push(Analysis { interval, weights: weights.clone(), errors: errors / 100.0, reward });
            }
        }
    }
    grid
}

impl Analysis {
    /// How a rollout goes, and how many checks failed. One that is still halted when the traffic ends has no end. With no `threshold` it only counts.
    pub fn run(&self, plan: Plan, table: &Table, threshold: Option<u16>) -> (Ended, u16) {
        let mut schedule = Schedule::default();
        schedule.set(0, self.weights[0]);
        let (mut step, mut failed) = (0, 0);
        let mut at = self.interval;
        let mut ended = Ended { rolled_back: None, in_bake: false, schedule: Schedule::default(), promoted: None };
        while at <= plan.horizon() {
            if threshold.is_some_and(|threshold| failed >= threshold) {
                ended.rolled_back = Some(at);
                break;
            }
            if self.is_out_of_range(table, &schedule, at) {
                failed += 1;
            } else if step + 1 < self.weights.len() {
                step += 1;
                schedule.set(at, self.weights[step]);
            } else {
                schedule.set(at, 100);
                ended.promoted = Some(at);
                break;
            }
            at += self.interval;
        }
        ended.schedule = schedule;
        (ended, failed)
    }

    fn is_out_of_range(&self, table: &Table, schedule: &Schedule, at: usize) -> bool {
        let rate = |count: u32, requests: u32| f64::from(count) / f64::from(requests);
        let seen = table.between(schedule, at - self.interval, at);
        if rate(seen.canary.errors, seen.canary.requests) > self.errors {
            return true;
        }
        let to = at.saturating_sub(MATURE);
        let seen = table.between(schedule, to.saturating_sub(self.interval), to);
        let stable = rate(seen.stable.rewards, seen.stable.requests);
        rate(seen.canary.rewards, seen.canary.requests) < self.reward * stable
    }

    /// For people.
    pub fn name(&self, threshold: u16) -> String {
        let (first, ticks) = (self.weights[0], self.weights.len());
        format!(
            "each {}m, {ticks} steps from {first} % to {MOST} %, errors <= {:.2} %, reward >= {:.2} of stable's, threshold \
             {threshold}",
            self.interval,
            100.0 * self.errors,
            self.reward
        )
    }
}
