//! Whether all groups of users are served alike: metrics by group with intervals, and how far apart the groups are.
//!
//! Groups are segments that an operator declares. Small ones are merged into `other` before anything is said about them.
//! Whether a canary widens the gap between groups is [`gate`](crate::fairness::judge)'s part. Which differences are
//! unjust, people decide.
//!
//! Sources: Fairlearn's MetricFrame (by group, difference, ratio); Wilson 1927; Dean & Pagano 2015 (Wilson's interval at
//! the effective sample size of clustered answers); Holm 1979.

use serde::{Deserialize, Serialize};

use crate::cells::Cells;
use crate::confidence::{wilson_score, z_quantile};

mod gate;

pub use gate::{Change, FairnessRule, FairnessVerdict, GroupVerdict, SegmentArms, judge};

/// Users that a group needs by default to stand alone.
pub const MINIMUM_USERS: u64 = 500;
/// The group of those that are too small.
pub const OTHER: &str = "other";

/// One declared segment of one arm.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// What people call it.
    pub name: &'a str,
    /// How many different users it has.
    pub users: u64,
    /// The metric's values, by cells of users.
    pub cells: &'a Cells,
}

/// What kind of values a metric has.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// Each unit is 0 or 1: clicks, errors.
    Rate,
    /// Any number: revenue, seconds.
    Mean,
}

/// The metric of one group.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Group {
    /// The segment's name, or [`OTHER`].
    pub name: String,
    /// The segments in it, when they were merged.
    pub merged: Vec<String>,
    /// Different users.
    pub users: u64,
    /// Units (exposures, say).
    pub n: u64,
    /// The mean of the metric, in its unit.
    pub mean: f64,
    /// Lower end of its interval, robust to users who come often.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Whether it has users enough to be compared; only `other` may not.
    pub enough: bool,
}

/// The metric of all groups.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Groups {
    /// In the order given, then `other` if segments were merged. Groups without a unit, or in whose cells nothing can be
    /// known of the error, are left out.
    pub groups: Vec<Group>,
    /// The mean over everybody.
    pub overall: f64,
    /// How far apart the groups are that have users enough; `None` with fewer than two.
    pub spread: Option<Spread>,
}

/// How far apart values of groups are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Greatest less least: the gap.
    pub difference: f64,
    /// Least over greatest, 1 if all are 0. Negative or meaningless if values have both signs.
    pub ratio: f64,
}

impl Spread {
    /// Between the groups, as MetricFrame's `difference()` and `ratio()`. `None` with fewer than 2 values, or one that is
    /// not finite.
    pub fn between(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let valid = values.len() > 1 && values.iter().all(|x| x.is_finite()) && (most - least).is_finite();
        valid.then(|| Self { difference: most - least, ratio: ratio(least, most) })
    }

    /// From each group to the value over everybody, the farthest: MetricFrame's `method="to_overall"`.
    pub fn to_overall(values: &[f64], overall: f64) -> Option<Self> {
        let difference = values.iter().map(|x| (x - overall).abs()).fold(0.0, f64::max);
        let farthest = values.iter().map(|&x| ratio(x, overall).min(ratio(overall, x))).fold(f64::INFINITY, f64::min);
        let valid = !values.is_empty() && overall.is_finite() && values.iter().all(|x| x.is_finite());
        (valid && difference.is_finite()).then_some(Self { difference, ratio: farthest })
    }
}

/// `a / b`; equal values are 1, and what is no number is 0.
fn ratio(a: f64, b: f64) -> f64 {
    let ratio = if a == b { 1.0 } else { a / b };
    if ratio.is_finite() { ratio } else { 0.0 }
}

/// The metric of each segment with an interval at level `1 - alpha`, segments with fewer than `minimum_users` merged.
pub fn by_group(segments: &[Segment<'_>], metric: Metric, minimum_users: u64, alpha: f64) -> Groups {
    let all = segments.iter().map(|s| (s.name, [s.users], [s.cells]));
    let mut everybody = Cells::new();
    segments.iter().for_each(|s| everybody.merge(s.cells));
    let pooled = pool(all, minimum_users);
    let groups: Vec<Group> = pooled.iter().filter_map(|p| Group::of(p, metric, minimum_users, alpha)).collect();
    let means: Vec<f64> = groups.iter().filter(|g| g.enough).map(|g| g.mean).collect();
    Groups { spread: Spread::between(&means), overall: everybody.mean().unwrap_or(0.0), groups }
}

impl Group {
    fn of(pooled: &Pooled<1>, metric: Metric, minimum_users: u64, alpha: f64) -> Option<Self> {
        let ([users], [cells]) = (pooled.users, &pooled.cells);
        let (n, mean) = (cells.n(), cells.mean()?);
        let (lower, upper) = match metric {
            Metric::Rate => wilson_clustered(cells, users, alpha)?,
            Metric::Mean => {
                let half = z_quantile(1.0 - alpha / 2.0) * cells.standard_error()?;
                half.is_finite().then_some((mean - half, mean + half))?
            }
        };
        let (name, merged) = (pooled.name.clone(), pooled.merged.clone());
        Some(Self { name, merged, users, n, mean, lower, upper, enough: users >= minimum_users })
    }
}

impl Groups {
    /// What a person should read: the groups farthest apart, with their intervals, and who was too small.
    pub fn sentence(&self) -> String {
        let judged = || self.groups.iter().filter(|g| g.enough);
        let worst = judged().min_by(|a, b| a.mean.total_cmp(&b.mean));
        let best = judged().max_by(|a, b| a.mean.total_cmp(&b.mean));
        let merged: usize = self.groups.iter().map(|g| g.merged.len()).sum();
        let small = if merged > 0 { format!("; {merged} small segments count as {OTHER}") } else { String::new() };
        let tell =
            |g: &Group| format!("{} {:.4} ({:.4} to {:.4}, {} users)", g.name, g.mean, g.lower, g.upper, g.users);
        match (self.spread, worst, best) {
            (Some(s), Some(worst), Some(best)) => format!(
                "largest gap {:.4} (ratio {:.2}): {} against {}{small}",
                s.difference,
                s.ratio,
                tell(worst),
                tell(best)
            ),
            _ => format!("fewer than two groups have users enough to be compared{small}"),
        }
    }
}

/// Wilson's interval for a rate, at level `1 - alpha`; both ends lie in [0, 1]. `successes` above `n` counts as `n`.
/// `None` without units, or with an `alpha` outside (0, 1).
pub fn wilson(successes: u64, n: u64, alpha: f64) -> Option<(f64, f64)> {
    wilson_at(successes.min(n) as f64 / n as f64, n as f64, alpha)
}

/// Wilson's interval for a sample size that need not be whole.
fn wilson_at(p: f64, n: f64, alpha: f64) -> Option<(f64, f64)> {
    let valid = (0.0..=1.0).contains(&p) && n > 0.0 && alpha > 0.0 && alpha < 1.0;
    let (lower, upper) = wilson_score(p, n, z_quantile(1.0 - alpha / 2.0));
    (valid && lower <= upper).then_some((lower, upper))
}

/// Wilson's interval at the effective sample size `p (1−p) / se²`, at most the units; without any variation that is the
/// number of users, of whom each could have been the one to differ.
fn wilson_clustered(cells: &Cells, users: u64, alpha: f64) -> Option<(f64, f64)> {
    let (p, n) = (cells.mean()?.clamp(0.0, 1.0), cells.n() as f64);
    let error = cells.standard_error().unwrap_or(0.0);
    let effective = if error > 0.0 { p * (1.0 - p) / error.powi(2) } else { users.max(1) as f64 };
    wilson_at(p, effective.min(n), alpha)
}

/// Which hypotheses hold no longer, by Holm's step-down method: the chance of any false rejection is at most `alpha`,
/// whatever the dependence. A p-value that is NaN is never rejected.
pub fn holm(p: &[f64], alpha: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| !p[i].is_nan()).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]));
    let mut rejected = vec![false; p.len()];
    for (done, &i) in order.iter().enumerate() {
        if p[i] * (p.len() - done) as f64 > alpha {
            break;
        }
        rejected[i] = true;
    }
    rejected
}

/// Segments after the small ones were merged, with the cells of each of `A` arms.
struct Pooled<const A: usize> {
    name: String,
    merged: Vec<String>,
    users: [u64; A],
    cells: [Cells; A],
}

/// Segments in the order given; those with fewer than `minimum` users in any arm become one at the end.
fn pool<'a, const A: usize>(
    segments: impl Iterator<Item = (&'a str, [u64; A], [&'a Cells; A])>,
    minimum: u64,
) -> Vec<Pooled<A>> {
    let empty =
        || Pooled { name: OTHER.to_owned(), merged: vec![], users: [0; A], cells: [(); A].map(|()| Cells::new()) };
    let (mut pooled, mut other) = (Vec::new(), empty());
    for (name, users, cells) in segments {
        if users.iter().all(|&n| n >= minimum) {
            pooled.push(Pooled { name: name.to_owned(), merged: vec![], users, cells: cells.map(Clone::clone) });
            continue;
        }
        other.merged.push(name.to_owned());
        for arm in 0..A {
            other.users[arm] = other.users[arm].saturating_add(users[arm]);
            other.cells[arm].merge(cells[arm]);
        }
    }
    if !other.merged.is_empty() {
        pooled.push(other);
    }
    pooled
}

#[cfg(test)]
mod tests;
