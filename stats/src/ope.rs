//! Off-policy estimates: what would another policy have earned on the requests of a log, before it gets any traffic?
//!
//! Every estimator here is one formula with another weight: per position `mean(q̂_π) + mean(g(w) (r − q̂))`, averaged over
//! the positions, where `w = π_e / π_b` is how much more often the evaluated policy would have shown what was shown, and
//! `q̂` a model of the reward (zero if there is none). Errors come from influence functions, summed by cluster, so that
//! users who come often do not make us surer. Whether the log can answer at all is [`screen`](crate::ope::assess)'s part.
//!
//! Sources: Dudík, Langford & Li 2011 (doubly robust); Swaminathan & Joachims 2015 (self-normalised); Wang, Agarwal &
//! Dudík 2017 (switch); Su, Dimakopoulou, Krishnamurthy & Dudík 2020 (shrinkage, bias bound); Metelli, Russo & Restelli
//! 2021 (sub-Gaussian weights); Chernozhukov et al. 2018 (cross-fitting). It fits no model.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::confidence::z_quantile;

mod screen;

pub use screen::{Decision, Diagnostics, OffPolicy, Reason, Screen, assess};

/// Below this probability the log's policy counts as never showing an item.
pub const NEVER_SHOWN: f64 = 1e-4;
/// The smallest propensity that is taken for one; weights stay below its inverse.
const SMALLEST_PROPENSITY: f64 = 1e-12;
/// The largest reward or prediction, so that no sum of squares overflows.
const LARGEST_VALUE: f64 = 1e12;

/// One item that was shown, and what came of it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Rows that may depend on one another share it: the user's hash, or at least the request's.
    pub cluster: u64,
    /// The place in the list, in any numbering. One position's rows are averaged, then the positions.
    pub position: u32,
    /// The matured reward, in the metric's unit, between ∓10¹².
    pub reward: f64,
    /// π_b: the logged probability with which the item was shown there, in [10⁻¹², 1].
    pub logged: f64,
    /// π_e: the probability with which the evaluated policy would have shown it there, in [0, 1].
    pub evaluated: f64,
    /// What [`unsupported`] says of this request, in [0, 1]; 0 where the log's policy has a floor for every item.
    pub unsupported: f64,
}

/// What a model of the reward says of a row. It must not have been fitted on the row: see [`out_of_fold`].
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
pub struct Prediction {
    /// q̂ of the item that was shown.
    pub shown: f64,
    /// q̂ averaged over the items as the evaluated policy would show them: `Σ_a π_e(a) q̂(a)`.
    pub policy: f64,
}

/// How importance weights `w` enter: the `g(w)` of the estimator.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Weighting {
    /// `w`: IPS, or doubly robust with predictions. Unbiased.
    Full,
    /// `w / mean(w)`: SNIPS, or self-normalised doubly robust. Insensitive to a constant added to all rewards.
    Normalised,
    /// 0: the direct method, the model alone (without predictions always 0).
    Model,
    /// `w` up to λ, 0 beyond: Switch.
    Switch(f64),
    /// `λ w / (w² + λ)`: optimistic shrinkage (DRos). λ = 0 is the model alone, λ = ∞ is `Full`.
    Shrunk(f64),
    /// `min(w, λ)`.
    Clipped(f64),
    /// `w / (1 − λ + λ w)`, λ in [0, 1]: sub-Gaussian weights.
    SubGaussian(f64),
}

impl Weighting {
    /// `g(w)`. A λ that is negative or NaN counts as 0; one above 1 as 1 where it must be in [0, 1].
    fn of(self, w: f64) -> f64 {
        let at_least_0 = |lambda: f64| lambda.max(0.0);
        match self {
            _ if w <= 0.0 => 0.0,
            Self::Full | Self::Normalised => w,
            Self::Model => 0.0,
            Self::Switch(lambda) => {
                if w <= at_least_0(lambda) {
                    w
                } else {
                    0.0
                }
            }
            Self::Shrunk(lambda) => w / (w * w / at_least_0(lambda) + 1.0),
            Self::Clipped(lambda) => w.min(at_least_0(lambda)),
            Self::SubGaussian(lambda) => {
                let lambda = at_least_0(lambda).min(1.0);
                w / (1.0 - lambda + lambda * w)
            }
        }
    }
}

/// The value of a policy (mean reward of a shown item), in the metric's unit.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error, robust to dependence within clusters.
    pub standard_error: f64,
    /// The lower end of the two-sided interval (normal approximation).
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// Independent clusters behind it.
    pub clusters: u64,
}

/// Why there is no estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpeError {
    /// A value of a row (counted from 0) is out of its range.
    Row(usize, &'static str),
    /// There are not as many predictions (or folds) as rows.
    Lengths(usize, usize),
    /// A row's fold has no predictions.
    Fold(usize),
    /// All rows are of one cluster, or there is none.
    OneCluster,
    /// No row of this position could have come from the evaluated policy.
    NoWeight(u32),
    /// The error level is not in (0, 1).
    Level,
}

impl fmt::Display for OpeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row, what) => write!(f, "row {row}: {what}"),
            Self::Lengths(rows, others) => write!(f, "{rows} rows but {others} predictions or folds: give one a row"),
            Self::Fold(row) => {
                write!(f, "row {row}: no predictions for its fold: give one list a fold, each of all rows")
            }
            Self::OneCluster => f.write_str("fewer than 2 clusters: set each row's cluster to its user or request"),
            Self::NoWeight(position) => {
                write!(f, "position {position}: the evaluated policy shows nothing that the log shows: leave it out")
            }
            Self::Level => f.write_str("alpha must be above 0 and below 1"),
        }
    }
}

impl std::error::Error for OpeError {}

/// The evaluated policy's probability of items that the log's policy (almost) never shows: `Σ π_e(a) 1[π_b(a) < 10⁻⁴]`.
///
/// Both are probabilities of the same candidates in the same order; what `logging` lacks counts as never shown.
pub fn unsupported(evaluated: &[f64], logging: &[f64]) -> f64 {
    let shown = |i: usize| logging.get(i).is_some_and(|&p| p >= NEVER_SHOWN);
    let mass: f64 = evaluated.iter().enumerate().filter(|&(i, _)| !shown(i)).map(|(_, p)| p.max(0.0)).sum();
    mass.min(1.0)
}

/// Each row's prediction by the model that has not seen it (cross-fitting).
///
/// `by_fold[f][i]` is the prediction for row `i` of the model that was fitted without fold `f`; all rows of a cluster
/// belong in one fold.
///
/// # Errors
/// [`OpeError::Fold`] for a row whose fold has no (or no such) prediction.
pub fn out_of_fold(fold_of_row: &[usize], by_fold: &[Vec<Prediction>]) -> Result<Vec<Prediction>, OpeError> {
    let pick = |(i, &fold): (usize, &usize)| by_fold.get(fold).and_then(|p| p.get(i)).copied().ok_or(OpeError::Fold(i));
    fold_of_row.iter().enumerate().map(pick).collect()
}

/// The value of the evaluated policy with an interval at level `1 - alpha`. `predictions` has one entry a row.
///
/// The influence of a row on the value of its position is `q̂_π + g (r − q̂)` less its mean, and for
/// [`Weighting::Normalised`] `w (r − V) / mean(w)`, so that one cluster a row gives the usual
/// `mean(w² (r − V)²) / (n mean(w)²)`.
///
/// # Errors
/// See [`OpeError`]: rows out of range, lengths that differ, nothing to estimate from.
pub fn estimate(
    rows: &[Row],
    predictions: Option<&[Prediction]>,
    weighting: Weighting,
    alpha: f64,
) -> Result<Estimate, OpeError> {
    check(rows, predictions)?;
    Influence::of(rows, predictions, weighting)?.estimate(rows, alpha)
}

/// The weighting among `candidates` with the smallest bound on its mean squared error, `variance / n + bias²`; the first
/// of equals, `None` without candidates or with input that [`estimate`] would refuse.
///
/// The bias is bounded by `|mean((w − g) (r − q̂))| + √(2 mean(w²) ln(2/δ) / n) + 2 max(w) ln(2/δ) / (3n)` (Su et al.
/// 2020, p. 17). Rows count as independent. For weightings that do not divide by the mean weight.
pub fn smallest_error(
    rows: &[Row],
    predictions: Option<&[Prediction]>,
    candidates: &[Weighting],
    delta: f64,
) -> Option<Weighting> {
    check(rows, predictions).ok()?;
    let bounds = candidates.iter().map(|&weighting| (weighting, error_bound(rows, predictions, weighting, delta)));
    bounds.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(weighting, _)| weighting)
}

fn error_bound(rows: &[Row], predictions: Option<&[Prediction]>, weighting: Weighting, delta: f64) -> f64 {
    let n = rows.len().max(1) as f64;
    let terms = || rows.iter().enumerate().map(|(i, row)| (row.weight(), Term::of(i, row, predictions, weighting)));
    let mean = terms().map(|(_, t)| t.base + t.weight * t.error).sum::<f64>() / n;
    let variance = terms().map(|(_, t)| (t.base + t.weight * t.error - mean).powi(2)).sum::<f64>() / n;
    let bias = terms().map(|(w, t)| (w - t.weight) * t.error).sum::<f64>().abs() / n;
    let squares = terms().map(|(w, _)| w * w).sum::<f64>() / n;
    let largest = terms().map(|(w, _)| w).fold(0.0, f64::max);
    let ln = (2.0 / delta).ln().max(0.0);
    variance / n + (bias + (2.0 * squares * ln / n).sqrt() + 2.0 * largest * ln / (3.0 * n)).powi(2)
}

/// A lower bound of the mean of independent values in [0, `largest`] that holds with probability `1 - delta`, whatever
/// their distribution (Maurer & Pontil 2009; Thomas, Theocharous & Ghavamzadeh 2015). In the unit of the values.
///
/// `mean − 7 largest ln(2/δ) / (3(n−1)) − √(2 ln(2/δ) var / (n−1))`, with the variance over n. `None` with fewer than 2
/// values, values that are negative or above `largest`, and a `delta` outside (0, 1).
pub fn bernstein_lower_bound(values: &[f64], largest: f64, delta: f64) -> Option<f64> {
    let n = values.len() as f64;
    let valid = values.len() > 1 && delta > 0.0 && delta < 1.0 && largest <= LARGEST_VALUE / SMALLEST_PROPENSITY;
    if !valid || !values.iter().all(|x| (0.0..=largest).contains(x)) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let ln = (2.0 / delta).ln();
    Some(mean - 7.0 * largest * ln / (3.0 * (n - 1.0)) - (2.0 * ln * variance / (n - 1.0)).sqrt())
}

impl Row {
    fn weight(&self) -> f64 {
        self.evaluated / self.logged
    }
}

fn check(rows: &[Row], predictions: Option<&[Prediction]>) -> Result<(), OpeError> {
    let bounded = |x: f64| x.abs() <= LARGEST_VALUE;
    for (i, row) in rows.iter().enumerate() {
        let wrong = match row {
            r if !bounded(r.reward) => "reward is not a number between ∓1e12: drop the row or cap it",
            r if !(SMALLEST_PROPENSITY..=1.0).contains(&r.logged) => {
                "logged propensity is not in [1e-12, 1]: log with which probability each item was shown"
            }
            r if !(0.0..=1.0).contains(&r.evaluated) => "evaluated probability is not in [0, 1]",
            r if !(0.0..=1.0).contains(&r.unsupported) => "unsupported mass is not in [0, 1]",
            _ => continue,
        };
        return Err(OpeError::Row(i, wrong));
    }
    let Some(predictions) = predictions else { return Ok(()) };
    if predictions.len() != rows.len() {
        return Err(OpeError::Lengths(rows.len(), predictions.len()));
    }
    match predictions.iter().position(|p| !(bounded(p.shown) && bounded(p.policy))) {
        Some(i) => Err(OpeError::Row(i, "prediction is not a number between ∓1e12")),
        None => Ok(()),
    }
}

/// A row's part of `mean(base) + mean(weight · error)`.
#[derive(Clone, Copy)]
struct Term {
    base: f64,
    weight: f64,
    error: f64,
}

impl Term {
    fn of(i: usize, row: &Row, predictions: Option<&[Prediction]>, weighting: Weighting) -> Self {
        let q = predictions.and_then(|p| p.get(i)).copied().unwrap_or_default();
        Self { base: q.policy, weight: weighting.of(row.weight()), error: row.reward - q.shown }
    }
}

/// A value and how much each row moved it away from its expectation.
struct Influence {
    value: f64,
    of_row: Vec<f64>,
}

#[derive(Default)]
struct Sums {
    n: f64,
    base: f64,
    weight: f64,
    weighted: f64,
}

impl Influence {
    fn of(rows: &[Row], predictions: Option<&[Prediction]>, weighting: Weighting) -> Result<Self, OpeError> {
        let terms = rows.iter().enumerate().map(|(i, row)| Term::of(i, row, predictions, weighting)).collect();
        Self::of_terms(rows, terms, weighting == Weighting::Normalised)
    }

    /// The mean reward of the log itself.
    fn of_log(rows: &[Row]) -> Result<Self, OpeError> {
        let terms = rows.iter().map(|row| Term { base: row.reward, weight: 0.0, error: 0.0 }).collect();
        Self::of_terms(rows, terms, false)
    }

    fn of_terms(rows: &[Row], terms: Vec<Term>, normalised: bool) -> Result<Self, OpeError> {
        let mut positions: BTreeMap<u32, Sums> = BTreeMap::new();
        for (row, t) in rows.iter().zip(&terms) {
            let sums = positions.entry(row.position).or_default();
            sums.n += 1.0;
            sums.base += t.base;
            sums.weight += t.weight;
            sums.weighted += t.weight * t.error;
        }
        if let Some((&position, _)) = positions.iter().find(|(_, s)| normalised && s.weight <= 0.0) {
            return Err(OpeError::NoWeight(position));
        }
        let count = positions.len().max(1) as f64;
        // Correction and divisor of one position: Σ w e / n over 1, or Σ w e / Σ w over the mean weight.
        let parts =
            |s: &Sums| if normalised { (s.weighted / s.weight, s.weight / s.n) } else { (s.weighted / s.n, 1.0) };
        let value = positions.values().map(|s| s.base / s.n + parts(s).0).sum::<f64>() / count;
        let influence = |(row, t): (&Row, &Term)| {
            let Some(s) = positions.get(&row.position) else { return 0.0 };
            let (correction, divisor) = parts(s);
            let expected = if normalised { correction * t.weight } else { correction };
            (t.base - s.base / s.n + (t.weight * t.error - expected) / divisor) / (s.n * count)
        };
        Ok(Self { value, of_row: rows.iter().zip(&terms).map(influence).collect() })
    }

    /// `self - factor · other` on the same rows.
    fn less(mut self, factor: f64, other: &Self) -> Self {
        self.value -= factor * other.value;
        self.of_row.iter_mut().zip(&other.of_row).for_each(|(x, y)| *x -= factor * y);
        self
    }

    fn estimate(&self, rows: &[Row], alpha: f64) -> Result<Estimate, OpeError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(OpeError::Level);
        }
        let (standard_error, clusters) = clustered_error(rows, &self.of_row);
        if clusters < 2 {
            return Err(OpeError::OneCluster);
        }
        let half = z_quantile(1.0 - alpha / 2.0).min(f64::MAX.sqrt()) * standard_error;
        Ok(Estimate { value: self.value, standard_error, lower: self.value - half, upper: self.value + half, clusters })
    }
}

/// The root of the sum of squared sums by cluster, and how many clusters there are.
fn clustered_error(rows: &[Row], influence: &[f64]) -> (f64, u64) {
    let mut parts: Vec<(u64, f64)> = rows.iter().map(|row| row.cluster).zip(influence.iter().copied()).collect();
    parts.sort_by_key(|&(cluster, _)| cluster);
    let groups = parts.chunk_by(|a, b| a.0 == b.0);
    let (squares, clusters) = groups.fold((0.0, 0), |(squares, clusters), group| {
        (squares + group.iter().map(|part| part.1).sum::<f64>().powi(2), clusters + 1)
    });
    (squares.sqrt(), clusters)
}

#[cfg(test)]
mod tests;
