//! Whether a log can tell that another policy is worth a canary: diagnostics first, then one of three answers.

use serde::{Deserialize, Serialize};

use super::{
    Estimate, Influence, OpeError, Prediction, Row, Weighting, bernstein_lower_bound, check, clustered_error,
    smallest_error,
};

/// Bounds on the weights among which the sensitivity estimate's is chosen.
const LARGEST_WEIGHTS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1000.0, f64::INFINITY];

/// What is asked of a log before its estimates count. The defaults are those of the reference, section 2.3.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Screen {
    /// How much worse than the log the evaluated policy may be, as a fraction of the log's mean reward. Negative or NaN
    /// counts as 0.
    pub margin: f64,
    /// Error level of the two-sided intervals.
    pub alpha: f64,
    /// Least effective sample size, in rows.
    pub effective: f64,
    /// Least effective sample size, as a fraction of the rows.
    pub effective_share: f64,
    /// Largest share of all weight that one row may have.
    pub largest_share: f64,
    /// Largest share of the evaluated policy on items that the log (almost) never shows.
    pub unsupported: f64,
    /// How many of its standard errors the mean weight may be away from 1.
    pub mean_weight_errors: f64,
    /// Least number of clusters: with fewer the standard errors are themselves uncertain.
    pub clusters: u64,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            margin: 0.01,
            alpha: 0.05,
            effective: 1000.0,
            effective_share: 0.01,
            largest_share: 0.05,
            unsupported: 0.01,
            mean_weight_errors: 3.0,
            clusters: 100,
        }
    }
}

/// How far the log's policy and the evaluated one overlap.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostics {
    /// Rows of the log.
    pub rows: u64,
    /// Independent clusters.
    pub clusters: u64,
    /// The mean weight; about 1 if the propensities are right and cover what the evaluated policy shows.
    pub mean_weight: f64,
    /// Its standard error.
    pub mean_weight_error: f64,
    /// The largest weight.
    pub largest_weight: f64,
    /// Its share of all weight.
    pub largest_share: f64,
    /// `(Σ w)² / Σ w²`, in rows.
    pub effective: f64,
    /// Mean of [`Row::unsupported`].
    pub unsupported: f64,
}

/// Why a log cannot tell. The numbers are in [`Diagnostics`] and the limits in [`Screen`].
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// Too few clusters.
    Clusters,
    /// The mean weight is not about 1: propensities are wrong, or items are missing.
    MeanWeight,
    /// The effective sample is too small.
    Effective,
    /// The effective sample is too small a part of the log.
    EffectiveShare,
    /// One row has too much of the weight.
    LargestShare,
    /// The evaluated policy shows too much that the log never shows.
    Unsupported,
    /// The estimator for decisions and the one for sensitivity contradict each other.
    Disagreement,
    /// The interval holds values on both sides of the limit.
    Interval,
}

/// The three answers.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Surely not worse than the margin allows.
    Promising,
    /// Surely worse than the margin allows.
    Not,
    /// The log cannot tell: start the canary at its smallest weight, or not at all.
    CannotSay,
}

/// What a log says about another policy.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OffPolicy {
    /// The answer.
    pub decision: Decision,
    /// Why it is [`Decision::CannotSay`]; else empty.
    pub reasons: Vec<Reason>,
    /// The log's own mean reward (mean over positions).
    pub logged: f64,
    /// SNIPS: the estimate to report.
    pub normalised: Estimate,
    /// Doubly robust, if there are predictions: then it decides, else SNIPS does.
    pub doubly_robust: Option<Estimate>,
    /// Of switching and shrinking the one with the least error bound, and its estimate.
    pub sensitivity: (Weighting, Estimate),
    /// The deciding estimate less the least acceptable value, `logged − margin |logged|`, with its interval. The log's
    /// mean comes from the same rows, so its noise counts, and so does what both have in common.
    pub above_limit: Estimate,
    /// Empirical-Bernstein lower bound of the value by IPS at `1 − alpha`, rows taken as independent and the largest
    /// value as the bound; `None` with negative rewards.
    pub bernstein_lower: Option<f64>,
    /// The overlap of the policies.
    pub diagnostics: Diagnostics,
    /// The limits that were applied.
    pub screen: Screen,
}

/// Judges by `screen` whether the evaluated policy is worth a canary. `predictions` has one entry a row.
///
/// # Errors
/// See [`OpeError`].
pub fn assess(screen: &Screen, rows: &[Row], predictions: Option<&[Prediction]>) -> Result<OffPolicy, OpeError> {
    check(rows, predictions)?;
    let log = Influence::of_log(rows)?;
    let margin = if screen.margin > 0.0 { screen.margin.min(1e6) } else { 0.0 };
    let least = 1.0 - margin * log.value.signum();
    let of = |weighting, predictions| Influence::of(rows, predictions, weighting);
    let against_log = |influence: Influence| influence.less(least, &log).estimate(rows, screen.alpha);

    let deciding = if predictions.is_some() { Weighting::Full } else { Weighting::Normalised };
    let above_limit = against_log(of(deciding, predictions)?)?;
    let weighting = smallest_error(rows, predictions, &candidates(), screen.alpha).unwrap_or(Weighting::Full);
    let sensitivity = against_log(of(weighting, predictions)?)?;
    let diagnostics = Diagnostics::of(rows);
    let mut reasons = diagnostics.reasons(screen);
    let decision = side(&above_limit);
    match decision {
        Decision::CannotSay => reasons.push(Reason::Interval),
        _ if side(&sensitivity) != decision && side(&sensitivity) != Decision::CannotSay => {
            reasons.push(Reason::Disagreement);
        }
        _ => {}
    }
    let values: Vec<f64> = rows.iter().map(|row| row.weight() * row.reward).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    Ok(OffPolicy {
        decision: if reasons.is_empty() { decision } else { Decision::CannotSay },
        reasons,
        logged: log.value,
        normalised: of(Weighting::Normalised, None)?.estimate(rows, screen.alpha)?,
        doubly_robust: predictions
            .map(|_| of(Weighting::Full, predictions)?.estimate(rows, screen.alpha))
            .transpose()?,
        sensitivity: (weighting, of(weighting, predictions)?.estimate(rows, screen.alpha)?),
        above_limit,
        bernstein_lower: bernstein_lower_bound(&values, largest, screen.alpha),
        diagnostics,
        screen: screen.clone(),
    })
}

fn candidates() -> Vec<Weighting> {
    let switch = LARGEST_WEIGHTS.iter().map(|&w| Weighting::Switch(w));
    // At weight w, λ = w² shrinks to half.
    switch.chain(LARGEST_WEIGHTS.iter().map(|&w| Weighting::Shrunk(w * w))).collect()
}

fn side(above_limit: &Estimate) -> Decision {
    match above_limit {
        e if e.lower > 0.0 => Decision::Promising,
        e if e.upper < 0.0 => Decision::Not,
        _ => Decision::CannotSay,
    }
}

impl Diagnostics {
    fn of(rows: &[Row]) -> Self {
        let n = rows.len().max(1) as f64;
        let sum: f64 = rows.iter().map(Row::weight).sum();
        let squares: f64 = rows.iter().map(|row| row.weight().powi(2)).sum();
        let largest_weight = rows.iter().map(Row::weight).fold(0.0, f64::max);
        let off: Vec<f64> = rows.iter().map(|row| (row.weight() - sum / n) / n).collect();
        let (mean_weight_error, clusters) = clustered_error(rows, &off);
        let or_0 = |x: f64| if x.is_finite() { x } else { 0.0 };
        Self {
            rows: rows.len() as u64,
            clusters,
            mean_weight: sum / n,
            mean_weight_error,
            largest_weight,
            largest_share: or_0(largest_weight / sum),
            effective: or_0(sum * (sum / squares)),
            unsupported: rows.iter().map(|row| row.unsupported).sum::<f64>() / n,
        }
    }

    fn reasons(&self, screen: &Screen) -> Vec<Reason> {
        // A hair is allowed for rounding: equal policies have weights of 1 without any error.
        let off = (self.mean_weight - 1.0).abs() > screen.mean_weight_errors * self.mean_weight_error + 1e-9;
        let found = [
            (Reason::Clusters, self.clusters < screen.clusters),
            (Reason::MeanWeight, off),
            (Reason::Effective, self.effective < screen.effective),
            (Reason::EffectiveShare, self.effective < screen.effective_share * self.rows as f64),
            (Reason::LargestShare, self.largest_share > screen.largest_share),
            (Reason::Unsupported, self.unsupported > screen.unsupported),
        ];
        found.into_iter().filter(|&(_, holds)| holds).map(|(reason, _)| reason).collect()
    }
}

impl OffPolicy {
    /// What a person should read: the answer, the numbers behind it, and why it is none if it is none.
    pub fn sentence(&self) -> String {
        let (name, e) = match &self.doubly_robust {
            Some(e) => ("doubly robust", e),
            None => ("SNIPS", &self.normalised),
        };
        let d = &self.diagnostics;
        let numbers = format!(
            "{name} {:.4} ({:.4} to {:.4}) against {:.4} in the log, effective sample {:.0} of {} rows",
            e.value, e.lower, e.upper, self.logged, d.effective, d.rows
        );
        match self.decision {
            Decision::Promising => format!("promising: {numbers}"),
            Decision::Not => format!("not promising: {numbers}"),
            Decision::CannotSay => {
                let why: Vec<String> = self.reasons.iter().map(|&reason| self.explain(reason)).collect();
                format!("cannot say: {} ({numbers})", why.join("; "))
            }
        }
    }

    fn explain(&self, reason: Reason) -> String {
        let (d, s) = (&self.diagnostics, &self.screen);
        match reason {
            Reason::Clusters => format!("{} independent users or requests, needs {}", d.clusters, s.clusters),
            Reason::MeanWeight => format!(
                "mean weight {:.3} ± {:.3} instead of 1: check the logged propensities",
                d.mean_weight, d.mean_weight_error
            ),
            Reason::Effective => format!("effective sample {:.0}, needs {:.0}", d.effective, s.effective),
            Reason::EffectiveShare => format!("effective sample below {} % of the rows", 100.0 * s.effective_share),
            Reason::LargestShare => format!(
                "one row has {:.0} % of the weight, at most {} % is allowed",
                100.0 * d.largest_share,
                100.0 * s.largest_share
            ),
            Reason::Unsupported => format!(
                "{:.1} % of the policy is on items the log never shows, at most {} % is allowed",
                100.0 * d.unsupported,
                100.0 * s.unsupported
            ),
            Reason::Disagreement => {
                format!("limiting large weights gives {:.4} and the opposite answer", self.sensitivity.1.value)
            }
            Reason::Interval => {
                let deciding = self.doubly_robust.unwrap_or(self.normalised);
                format!("the interval holds the limit, {:.4}", deciding.value - self.above_limit.value)
            }
        }
    }
}
