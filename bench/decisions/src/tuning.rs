//! The peers at their best: each rule's settings are tried on traffic of their own, those that roll back more than 5 % of
//! good candidates, or halt them for hours, are dropped, and of the others the one that exposes fewest users to the harms of the bar is taken.
//!
//! For each interval, window and threshold the limit (`failureLimit`, `threshold`) is the least that keeps 5 %: a greater
//! one would only be later. Argo's metrics fail one by one, so the 5 % are shared out between errors and reward in every
//! way of [`SHARES`]. It is done twice: for the three harms together (the geometric mean of the users exposed), which is
//! what one could set up, and for each harm alone, which nobody could, not knowing which harm will come.

use std::collections::HashMap;

use crate::argo::{self, Limited, Metric};
use crate::exposure::{Ended, curve};
use crate::flagger::{self, Analysis};
use crate::kayenta::{self, Judge};
use crate::plan::Plan;
use crate::table::{Split, Table};
use crate::threads;
use crate::traffic::{Crowd, GOALS, GOOD, HARMS, Traffic};

/// Most false rollbacks, as a share of the rollouts of a good candidate: from `FAIRWAY_BENCH_FALSE`, per 1,000; 5 % if that
/// is not set.
pub fn most_false() -> f64 {
    crate::setting("FAIRWAY_BENCH_FALSE", 50) as f64 / 1_000.0
}

/// What errors may have of it; the reward has the rest. The last one is for errors, or reward, alone.
const SHARES: [f64; 8] = [0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0];
const ALONE: usize = SHARES.len() - 1;
/// Seeds of the tuning's traffic; those of the comparison are far below.
const SEEDS: u64 = 1_000_000;
/// More than any limit.
const NEVER: usize = 50_000;

/// A peer as it is set up.
#[derive(Clone, Debug)]
pub enum Setting {
    /// Argo Rollouts.
    Argo(Vec<Limited>),
    /// Flagger, with its threshold.
    Flagger(Analysis, u16),
    /// Kayenta, with its limit.
    Kayenta(Judge, usize),
}

impl Setting {
    /// The examples of the documentations.
    pub fn examples() -> Vec<Self> {
        let ((flagger, threshold), (judge, limit)) = (flagger::example(), kayenta::EXAMPLE);
        vec![Self::Argo(argo::EXAMPLE.to_vec()), Self::Flagger(flagger, threshold), Self::Kayenta(judge, limit)]
    }

    /// How a rollout goes.
    pub fn run(&self, plan: Plan, table: &Table) -> Ended {
        match self {
            Self::Argo(metrics) => argo::run(plan, table, metrics),
            Self::Flagger(analysis, threshold) => analysis.run(plan, table, Some(*threshold)).0,
            Self::Kayenta(judge, limit) => judge.run(plan, table, *limit),
        }
    }

    /// Whose rule it is.
    pub fn tool(&self) -> &'static str {
        match self {
            Self::Argo(_) => "Argo Rollouts",
            Self::Flagger(..) => "Flagger",
            Self::Kayenta(..) => "Kayenta",
        }
    }

    /// For people.
    pub fn name(&self) -> String {
        match self {
            Self::Argo(metrics) => argo::name(metrics),
            Self::Flagger(analysis, threshold) => analysis.name(*threshold),
            Self::Kayenta(judge, limit) => judge.name(*limit),
        }
    }
}

/// The best settings of the three peers.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// For the three harms of the bar together.
    pub together: Vec<Setting>,
    /// For each of these harms alone.
    pub alone: Vec<Vec<Setting>>,
    /// How many settings were tried, limits not counted.
    pub tried: usize,
}

/// Everything that is tried.
struct Grid {
    errors: Vec<Metric>,
    rewards: Vec<Metric>,
    flagger: Vec<Analysis>,
    kayenta: Vec<Judge>,
}

/// Numbers for each setting of the grid: by share of the false rollbacks, and by setting.
struct Numbers<T> {
    errors: Vec<Vec<T>>,
    rewards: Vec<Vec<T>>,
    flagger: Vec<T>,
    kayenta: Vec<T>,
}

/// Finds them on `good` rollouts of a good candidate and `harmful` of each harm of the bar.
pub fn tune(plan: Plan, crowd: Crowd, split: Split, good: usize, harmful: usize) -> Tuned {
    let grid = Grid {
        errors: argo::error_grid(),
        rewards: argo::reward_grid(),
        flagger: flagger::grid(plan),
        kayenta: kayenta::grid(),
    };
    let failed = threads::each(good, |nth| {
        let traffic = Traffic::new(plan, crowd, GOOD, SEEDS + nth as u64);
        grid.failed(plan, &Table::new(&traffic, split))
    });
    let limits = grid.limits(&failed);
    let by_harm: Vec<Numbers<f64>> = (GOALS.iter().enumerate())
        .map(|(nth_harm, harm)| {
            let users = threads::each(harmful, |nth| {
                let seed = SEEDS + 100_000 * (1 + nth_harm as u64) + nth as u64;
                let traffic = Traffic::new(plan, crowd, HARMS[*harm], seed);
                grid.users(plan, &traffic, split, &limits)
            });
            mean(&users)
        })
        .collect();
    let together = grid.best(&by_harm.iter().collect::<Vec<_>>(), &limits, false);
    let alone = by_harm.iter().map(|numbers| grid.best(&[numbers], &limits, true)).collect();
    let tried = grid.errors.len() * grid.rewards.len() + grid.flagger.len() + grid.kayenta.len();
    Tuned { together, alone, tried }
}

impl Grid {
    /// How many measurements fail in one rollout of a good candidate.
    fn failed(&self, plan: Plan, table: &Table) -> Numbers<usize> {
        let argo = |metrics: &[Metric]| vec![metrics.iter().map(|m| m.failures(plan, table).count()).collect()];
        Numbers {
            errors: argo(&self.errors),
            rewards: argo(&self.rewards),
            flagger: self.flagger.iter().map(|analysis| flagger_failed(plan, table, analysis)).collect(),
            kayenta: kayenta::failures(plan, table).iter().map(Vec::len).collect(),
        }
    }

    /// The least limits that keep their share of the false rollbacks.
    fn limits(&self, failed: &[Numbers<usize>]) -> Numbers<usize> {
        let most = most_false();
        let least = |share: f64, of: &dyn Fn(&Numbers<usize>) -> usize| {
            let mut counts: Vec<usize> = failed.iter().map(of).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.get((share * most * counts.len() as f64) as usize).copied().unwrap_or(0)
        };
        let by_share = |of: &dyn Fn(&Numbers<usize>, usize) -> usize, settings: usize| {
            SHARES
                .map(|share| (0..settings).map(|setting| least(share, &|numbers| of(numbers, setting))).collect())
                .to_vec()
        };
        Numbers {
            errors: by_share(&|numbers, setting| numbers.errors[0][setting], self.errors.len()),
            rewards: by_share(&|numbers, setting| numbers.rewards[0][setting], self.rewards.len()),
            flagger: (0..self.flagger.len()).map(|setting| least(1.0, &|numbers| numbers.flagger[setting])).collect(),
            kayenta: (0..self.kayenta.len()).map(|setting| least(1.0, &|numbers| numbers.kayenta[setting])).collect(),
        }
    }

    /// Users exposed in one rollout of a harmful candidate.
    fn users(&self, plan: Plan, traffic: &Traffic, split: Split, limits: &Numbers<usize>) -> Numbers<f64> {
        let table = Table::new(traffic, split);
        let curve = curve(plan, traffic, split);
        let until = |minute: Option<usize>| f64::from(curve[minute.unwrap_or(plan.end()).min(plan.end())]);
        let argo = |metrics: &[Metric], limits: &[Vec<usize>]| {
            let mut users = vec![Vec::with_capacity(metrics.len()); limits.len()];
            for (setting, metric) in metrics.iter().enumerate() {
                let failures: Vec<usize> = metric.failures(plan, &table).collect();
                for (share, limits) in limits.iter().enumerate() {
                    users[share].push(until(failures.get(limits[setting]).copied()));
                }
            }
            users
        };
        let mut known = HashMap::new();
        let flagger = self.flagger.iter().zip(&limits.flagger).map(|(analysis, limit)| {
            if *limit >= NEVER {
                return f64::INFINITY;
            }
            let ended = analysis.run(plan, &table, Some(*limit as u16 + 1)).0;
            let same = (ended.schedule.0.clone(), ended.rolled_back);
            *known.entry(same).or_insert_with(|| f64::from(ended.users(plan, traffic, split)))
        });
        let failures = kayenta::failures(plan, &table);
        let kayenta =
            failures.iter().zip(&limits.kayenta).map(|(failures, limit)| until(failures.get(*limit).copied()));
        Numbers {
            errors: argo(&self.errors, &limits.errors),
            rewards: argo(&self.rewards, &limits.rewards),
            flagger: flagger.collect(),
            kayenta: kayenta.collect(),
        }
    }

    /// The settings with the least users over these harms.
    fn best(&self, harms: &[&Numbers<f64>], limits: &Numbers<usize>, alone: bool) -> Vec<Setting> {
        let least = |of: &dyn Fn(&Numbers<f64>) -> &Vec<f64>| {
            let ln_users = |setting: usize| harms.iter().map(|numbers| of(numbers)[setting].max(1.0).ln()).sum::<f64>();
            let all = (0..of(harms[0]).len()).map(|setting| (setting, ln_users(setting)));
            all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
        };
        let errors = |share: usize| least(&move |numbers| &numbers.errors[share]);
        let rewards = |share: usize| least(&move |numbers| &numbers.rewards[share]);
        let error = |share: usize| (self.errors[errors(share).0], limits.errors[share][errors(share).0]);
        let reward = |share: usize| (self.rewards[rewards(share).0], limits.rewards[share][rewards(share).0]);
        let argo = if alone {
            let errors_are_better = errors(ALONE).1 <= rewards(ALONE).1;
            vec![if errors_are_better { error(ALONE) } else { reward(ALONE) }]
        } else {
            let pairs = (0..ALONE).map(|share| (share, ALONE - 1 - share));
            // What the harms of errors lose by the reward's metric never failing, and the other way round, is the same everywhere.
            let cost = |pair: &(usize, usize)| errors(pair.0).1 + rewards(pair.1).1;
            let best = pairs.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or_default();
            vec![error(best.0), reward(best.1)]
        };
        let flagger = least(&|numbers| &numbers.flagger).0;
        let kayenta = least(&|numbers| &numbers.kayenta).0;
        vec![
            Setting::Argo(argo),
            Setting::Flagger(self.flagger[flagger].clone(), limits.flagger[flagger] as u16 + 1),
            Setting::Kayenta(self.kayenta[kayenta], limits.kayenta[kayenta]),
        ]
    }
}

/// One that is never promoted is as bad as one that is rolled back, whatever the threshold.
fn flagger_failed(plan: Plan, table: &Table, analysis: &Analysis) -> usize {
    let (ended, failed) = analysis.run(plan, table, None);
    if ended.promoted.is_some() { usize::from(failed) } else { NEVER }
}

fn mean(all: &[Numbers<f64>]) -> Numbers<f64> {
    let of = |numbers: &dyn Fn(&Numbers<f64>) -> &Vec<f64>| -> Vec<f64> {
        let settings = all.first().map_or(0, |first| numbers(first).len());
        (0..settings)
            .map(|setting| all.iter().map(|one| numbers(one)[setting]).sum::<f64>() / all.len() as f64)
            .collect()
    };
    Numbers {
        errors: (0..SHARES.len()).map(|share| of(&|numbers| &numbers.errors[share])).collect(),
        rewards: (0..SHARES.len()).map(|share| of(&|numbers| &numbers.rewards[share])).collect(),
        flagger: of(&|numbers| &numbers.flagger),
        kayenta: of(&|numbers| &numbers.kayenta),
    }
}
