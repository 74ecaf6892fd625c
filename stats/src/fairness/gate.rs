//! Does the canary leave a group behind? A gate that holds at every look.
//!
//! Two questions a group: has it become worse itself (drop), and has it fallen behind everybody else (gap)? The gap of a
//! group is to all others together, not between the best and the worst group: which groups those are is itself noise,
//! and a young canary's noise alone would look like a wider gap.
//!
//! Errors are robust to users who come often ([`Cells`]), the intervals and p-values are those of asymptotic confidence
//! sequences ([`crate::confidence`]). Harm is declared with Holm's correction over all groups and both questions;
//! non-inferiority needs every one of them at `alpha` (intersection-union, no correction).

use serde::{Deserialize, Serialize};

use super::{MINIMUM_USERS, Pooled, holm, pool};
use crate::cells::Cells;
use crate::confidence::{MINIMUM_CELLS, MINIMUM_UNITS, asymptotic_half_width, rho2_exact};
use crate::fixed::Fixed;
use crate::verdict::Outcome;

/// What a canary may do to groups.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct FairnessRule {
    /// How much worse the metric of a group may become, in the metric's unit.
    pub drop_margin: f64,
    /// How much wider the gap between a group and all others may become, in the metric's unit.
    pub gap_margin: f64,
    /// Whether more of the metric is better.
    pub higher_is_better: bool,
    /// Chance of a false alarm over all groups and looks.
    pub alpha: f64,
    /// Users that a segment needs in either arm to be a group of its own.
    pub minimum_users: u64,
    /// Units of the smaller arm of a group at which the intervals are narrowest.
    pub planned_units: f64,
}

impl Default for FairnessRule {
    fn default() -> Self {
        Self {
            drop_margin: 0.01,
            gap_margin: 0.01,
            higher_is_better: true,
            alpha: 0.05,
            minimum_users: MINIMUM_USERS,
            planned_units: 5000.0,
        }
    }
}

/// One declared segment in both arms.
#[derive(Clone, Copy, Debug)]
pub struct SegmentArms<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Different users on the canary.
    pub canary_users: u64,
    /// Different users on stable.
    pub stable_users: u64,
    /// The metric on the canary.
    pub canary: &'a Cells,
    /// The metric on stable.
    pub stable: &'a Cells,
}

/// How much worse something became with the canary, in the metric's unit; positive is worse.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The estimate.
    pub estimate: f64,
    /// Lower end of its two-sided interval at level `1 - alpha`, valid at all looks.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Anytime-valid p-value against "not worse than the margin".
    pub p_harm: f64,
    /// Anytime-valid p-value against "worse than the margin".
    pub p_harmless: f64,
    /// Whether harm was established, after Holm's correction.
    pub harmful: bool,
}

/// What was found about one group.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GroupVerdict {
    /// The segment's name, or `other`.
    pub name: String,
    /// The segments in it, when they were merged.
    pub merged: Vec<String>,
    /// Different users on canary and stable.
    pub users: [u64; 2],
    /// The group's own metric, worse by; `None` while there is too little to tell.
    pub drop: Option<Change>,
    /// Its distance to all others, wider by; `None` also if there are no others.
    pub gap: Option<Change>,
}

/// What was found about all groups.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct FairnessVerdict {
    /// Harmful: at least one group surely is worse off than the margins allow. Non-inferior: all groups surely are within
    /// them. This gate never says better.
    pub outcome: Outcome,
    /// Each group, in the order given, then `other`.
    pub groups: Vec<GroupVerdict>,
    /// The rule that was applied.
    pub rule: FairnessRule,
}

/// Judges the groups by `rule`. Groups with too few units, cells or users are reported but never called harmed, and
/// while a group stays unjudged, only the others' harm can end the wait: without it the outcome is `Inconclusive`.
///
/// `other` alone may stay unjudged for want of users: it does not keep the canary waiting.
pub fn judge(rule: &FairnessRule, segments: &[SegmentArms<'_>]) -> FairnessVerdict {
    let arms = segments.iter().map(|s| (s.name, [s.canary_users, s.stable_users], [s.canary, s.stable]));
    let pooled = pool(arms, rule.minimum_users);
    let mut everybody = [Cells::new(), Cells::new()];
    for group in &pooled {
        everybody.iter_mut().zip(&group.cells).for_each(|(sum, cells)| sum.merge(cells));
    }
    let everybody = everybody.map(|cells| dense(&cells));
    let enough = |p: &Pooled<2>| p.users.iter().all(|&n| n >= rule.minimum_users);
    let mut groups: Vec<GroupVerdict> = pooled.iter().map(|p| measure(rule, p, &everybody, enough(p))).collect();

    let found = |g: &GroupVerdict| [g.drop, g.gap].map(|change| change.map_or(f64::NAN, |c| c.p_harm));
    let harm: Vec<f64> = groups.iter().flat_map(found).collect();
    let mut harmful = holm(&harm, rule.alpha).into_iter();
    for group in &mut groups {
        for change in [&mut group.drop, &mut group.gap] {
            let harmful = harmful.next().unwrap_or(false);
            change.iter_mut().for_each(|change| change.harmful = harmful);
        }
    }
    let changes = || groups.iter().flat_map(|g| [g.drop, g.gap]).flatten();
    // With one group alone there is no gap to judge.
    let alone = pooled.iter().filter(|p| enough(p)).count() < 2;
    let judged = |(g, p): (&GroupVerdict, &Pooled<2>)| !enough(p) || g.drop.is_some() && (alone || g.gap.is_some());
    let all_judged = groups.iter().zip(&pooled).all(judged);
    let outcome = if changes().any(|c| c.harmful) {
        Outcome::Harmful
    } else if all_judged && changes().next().is_some() && changes().all(|c| c.p_harmless <= rule.alpha) {
        Outcome::NonInferior
    } else {
        Outcome::Inconclusive
    };
    FairnessVerdict { outcome, groups, rule: rule.clone() }
}

/// Units and sum of each cell.
type Dense = Vec<(f64, f64)>;

fn dense(cells: &Cells) -> Dense {
    let mut dense = vec![(0.0, 0.0); crate::cells::CELLS];
    for (index, n, sum) in Vec::<(u8, u64, Fixed)>::from(cells.clone()) {
        dense[usize::from(index)] = (n as f64, sum.to_f64());
    }
    dense
}

/// A mean, or the difference of two over different units of the same cells, with its error.
#[derive(Clone, Copy)]
struct Contrast {
    value: f64,
    error: f64,
    /// Units of the group.
    n: f64,
}

impl Contrast {
    /// Of the group's mean, or with `everybody` of the others' mean less the group's. `None` with too little of either.
    ///
    /// With Z = (s − m n) / N of a cell, for the difference the difference of both, the variance is C/(C−1) · Σ Z².
    fn of(group: &Dense, everybody: Option<&Dense>) -> Option<Self> {
        let others: Dense = match everybody {
            Some(all) => all.iter().zip(group).map(|(a, g)| ((a.0 - g.0).max(0.0), a.1 - g.1)).collect(),
            None => vec![(0.0, 0.0); group.len()],
        };
        let (n, mean) = total(group)?;
        let (others_n, others_mean) = if everybody.is_some() { total(&others)? } else { (1.0, 0.0) };
        let z = |(g, o): (&(f64, f64), &(f64, f64))| (o.1 - others_mean * o.0) / others_n - (g.1 - mean * g.0) / n;
        let squares: f64 = group.iter().zip(&others).map(|cells| z(cells).powi(2)).sum();
        let occupied = group.iter().zip(&others).filter(|(g, o)| g.0 + o.0 > 0.0).count() as f64;
        let value = if everybody.is_some() { others_mean - mean } else { -mean };
        Some(Self { value, error: (occupied / (occupied - 1.0) * squares).sqrt(), n })
    }
}

/// Units and mean, if there is enough to know the error of the mean.
fn total(cells: &Dense) -> Option<(f64, f64)> {
    let (n, sum) = cells.iter().fold((0.0, 0.0), |(n, sum), c| (n + c.0, sum + c.1));
    let occupied = cells.iter().filter(|c| c.0 > 0.0).count();
    (n >= MINIMUM_UNITS as f64 && occupied >= MINIMUM_CELLS).then(|| (n, sum / n))
}

fn measure(rule: &FairnessRule, pooled: &Pooled<2>, everybody: &[Dense; 2], enough: bool) -> GroupVerdict {
    let group = [0, 1].map(|arm| dense(&pooled.cells[arm]));
    let change = |versus: [Option<&Dense>; 2], margin| {
        let canary = Contrast::of(&group[0], versus[0])?;
        let stable = Contrast::of(&group[1], versus[1])?;
        enough.then(|| compare(rule, canary, stable, margin))?
    };
    GroupVerdict {
        name: pooled.name.clone(),
        merged: pooled.merged.clone(),
        users: pooled.users,
        drop: change([None, None], rule.drop_margin),
        gap: change([Some(&everybody[0]), Some(&everybody[1])], rule.gap_margin),
    }
}

/// Canary less stable. Both get the greater of the two deviations a unit, as in [`crate::confidence::difference`].
fn compare(rule: &FairnessRule, canary: Contrast, stable: Contrast, margin: f64) -> Option<Change> {
    let deviation = (canary.error * canary.n.sqrt()).max(stable.error * stable.n.sqrt());
    let error = (deviation / canary.n.sqrt()).hypot(deviation / stable.n.sqrt());
    let n = canary.n.min(stable.n);
    let rho2 = rho2_exact(rule.alpha, rule.planned_units);
    let half = asymptotic_half_width(error, n, rho2, rule.alpha);
    let sign = if rule.higher_is_better { 1.0 } else { -1.0 };
    let estimate = sign * (canary.value - stable.value);
    if !(half.is_finite() && half > 0.0 && estimate.is_finite() && margin.is_finite()) {
        return None;
    }
    let z = (estimate - margin.max(0.0)) / error;
    let p = |z: f64| {
        let time = n * rho2;
        let ln = 0.5 * (time + 1.0).ln() - 0.5 * z.max(0.0).powi(2) * time / (time + 1.0);
        ln.exp().min(1.0)
    };
    let (lower, upper) = (estimate - half, estimate + half);
    Some(Change { estimate, lower, upper, p_harm: p(z), p_harmless: p(-z), harmful: false })
}

impl FairnessVerdict {
    /// What a person should read: which group is worse off and by how much, or why nothing is known yet.
    pub fn sentence(&self) -> String {
        let (drop, gap) = ("its metric became worse", "its gap to all others became wider");
        let of = |g: &'_ GroupVerdict| {
            let margins = [(g.drop, drop, self.rule.drop_margin), (g.gap, gap, self.rule.gap_margin)];
            margins.map(|(change, what, margin)| change.map(|c| (g.name.clone(), what, margin, c)))
        };
        let changes: Vec<_> = self.groups.iter().flat_map(of).flatten().collect();
        let worst = changes
            .iter()
            .filter(|(.., c)| self.outcome != Outcome::Harmful || c.harmful)
            .max_by(|a, b| (a.3.estimate - a.2).total_cmp(&(b.3.estimate - b.2)));
        let answer = match self.outcome {
            Outcome::Harmful => "harmful",
            Outcome::NonInferior | Outcome::Better => "no group is left behind",
            Outcome::Inconclusive => "cannot tell yet",
        };
        match worst {
            None => format!("{answer}: no group has enough users on both arms"),
            Some((name, what, margin, c)) => format!(
                "{answer}: group {name}, {what} by {:.4} ({:.4} to {:.4}, margin {margin})",
                c.estimate, c.lower, c.upper
            ),
        }
    }
}
