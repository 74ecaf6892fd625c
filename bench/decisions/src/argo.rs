//! Argo Rollouts' background analysis, written anew from its documentation and sources (argoproj/argo-rollouts,
//! `docs/features/analysis.md`, `analysis/analysis.go`).
//!
//! A metric is measured each `interval`; a measurement that does not meet `successCondition` has failed, and the analysis
//! fails, and with it the rollout, when more than `failureLimit` have. Without a `failureCondition` no measurement is
//! inconclusive. The first measurement is made after the first interval (`initialDelay`), since there is nothing to measure
//! before; one without requests on both sides is not counted (`isNaN(result) ||`, as the documentation advises).

use crate::exposure::Ended;
use crate::plan::{MATURE, Plan};
use crate::table::Table;

/// `successCondition`.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    /// The canary's errors per request are at most this.
    Errors(f64),
    /// The canary's reward per matured exposure is at least this much of stable's.
    Reward(f64),
}

/// A metric of an `AnalysisTemplate`; times in minutes.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Between measurements.
    pub interval: usize,
    /// How far back the query looks: the `[5m]` of `rate`.
    pub window: usize,
    /// What is asked.
    pub condition: Condition,
}

/// A metric with its `failureLimit`.
pub type Limited = (Metric, usize);

/// The documentation's example: at least 95 % success each five minutes, three failures allowed. It knows no reward.
pub const EXAMPLE: [Limited; 1] = [(Metric { interval: 5, window: 5, condition: Condition::Errors(0.05) }, 3)];

impl Metric {
    /// The minutes of the failed measurements of a rollout that follows the plan.
    pub fn failures<'a>(&'a self, plan: Plan, table: &'a Table) -> impl Iterator<Item = usize> + 'a {
        let schedule = plan.schedule();
        let times = (1..).map(|nth| nth * self.interval).take_while(move |at| *at <= plan.end());
        times.filter(move |at| {
            let delay = if matches!(self.condition, Condition::Reward(_)) { MATURE } else { 0 };
            let to = at.saturating_sub(delay);
            let seen = table.between(&schedule, to.saturating_sub(self.window), to);
            let rate = |count: u32, requests: u32| f64::from(count) / f64::from(requests);
            let value = match self.condition {
                Condition::Errors(_) => rate(seen.canary.errors, seen.canary.requests),
                Condition::Reward(_) => {
                    rate(seen.canary.rewards, seen.canary.requests) / rate(seen.stable.rewards, seen.stable.requests)
                }
            };
            value.is_finite()
                && match self.condition {
                    Condition::Errors(most) => value > most,
                    Condition::Reward(least) => value < least,
                }
        })
    }
}

/// How a rollout with these metrics goes.
pub fn run(plan: Plan, table: &Table, metrics: &[Limited]) -> Ended {
    let aborts = metrics.iter().filter_map(|(metric, limit)| metric.failures(plan, table).nth(*limit));
    let rolled_back = aborts.min();
    let promoted = if rolled_back.is_none() { Some(plan.end()) } else { None };
    Ended { rolled_back, in_bake: false, schedule: plan.schedule(), promoted }
}

/// Interval and window: as the examples have them, and long windows that are looked at often.
fn times() -> Vec<(usize, usize)> {
    let mut times: Vec<(usize, usize)> = [5, 15, 30, 60, 120, 240].map(|window| (window, window)).to_vec();
    times.extend([30, 60, 120, 240].map(|window| (5, window)));
    times
}

/// What is tried for errors.
pub fn error_grid() -> Vec<Metric> {
    let limits = [1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0];
    grid(&limits.map(|percent| Condition::Errors(percent / 100.0)))
}

/// What is tried for reward.
pub fn reward_grid() -> Vec<Metric> {
    grid(&[0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.95, 0.97].map(Condition::Reward))
}

fn grid(conditions: &[Condition]) -> Vec<Metric> {
    let metric = |(interval, window), condition| Metric { interval, window, condition };
    let with = |times| conditions.iter().map(move |condition| metric(times, *condition));
    times().into_iter().flat_map(with).collect()
}

/// For people.
pub fn name(metrics: &[Limited]) -> String {
    let one = |(metric, limit): &Limited| {
        let condition = match metric.condition {
            Condition::Errors(most) => format!("errors <= {:.2} %", 100.0 * most),
            Condition::Reward(least) => format!("reward >= {least:.2} of stable's"),
        };
        format!("{condition} over {}m each {}m, failureLimit {limit}", metric.window, metric.interval)
    };
    metrics.iter().map(one).collect::<Vec<_>>().join("; ")
}
