//! Drift of embeddings: can a classifier tell the rows of today from those of training?
//!
//! The classifier two-sample test (Lopez-Paz & Oquab, ICLR 2017). Half of the rows of either side train a logistic
//! regression, the other half are scored: the area under the ROC curve is the effect, and because the classifier knows
//! nothing of the scored rows, their Mann-Whitney p-value is valid whatever the classifier is worth. It sees joint
//! moves that no single dimension shows, but only those that a linear boundary separates. Time and memory are linear in
//! rows × dimensions.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::drift::{Level, mann_whitney};

mod logistic;

use logistic::Logistic;

/// Scored rows a side from which the normal limit of the Mann-Whitney test is good.
const FEWEST: u64 = 10;

/// When embeddings have drifted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct C2stRule {
    /// AUC from which it alarms.
    pub alarm_auc: f64,
    /// AUC from which it warns.
    pub warn_auc: f64,
    /// The p-value must be below this, for either.
    pub p: f64,
    /// Scored rows that each side needs to be judged; below 10 it counts as 10.
    pub minimum: u64,
    /// Strength of the ridge: `ridge / 2 · |w|²` is added to the summed log-loss (1 is scikit-learn's `C = 1`).
    pub ridge: f64,
    /// Which rows train: `None` takes those with an even index; with a seed, one of every two rows is drawn by it.
    pub seed: Option<u64>,
}

impl Default for C2stRule {
    fn default() -> Self {
        Self { alarm_auc: 0.60, warn_auc: 0.55, p: 0.001, minimum: 100, ridge: 1.0, seed: None }
    }
}

impl C2stRule {
    fn least(&self) -> u64 {
        self.minimum.max(FEWEST)
    }
}

/// What was found, with the numbers behind it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct C2st {
    /// How often the classifier puts a row of today above one of training, ties half: ½ when it learnt nothing.
    pub auc: f64,
    /// The one-sided Mann-Whitney p-value of the scored rows ([`mann_whitney`]); 1 when a side has none.
    pub p: f64,
    /// Scored rows of training.
    pub reference_n: u64,
    /// Scored rows of today.
    pub current_n: u64,
    /// Rows left out, of either side, because a number in them is not finite.
    pub left_out: u64,
    /// The dimension with the greatest weight per standard deviation, if any has one.
    pub strongest: Option<usize>,
    /// Alarms when the effect is large enough to act on, and significant.
    pub level: Level,
    /// The rule that was applied.
    pub rule: C2stRule,
}

impl C2st {
    /// What a person should read.
    pub fn sentence(&self) -> String {
        let Self { auc, p, reference_n, current_n, rule, .. } = self;
        let moved = match self.level {
            Level::Unjudged => {
                let fewer = reference_n.min(current_n);
                return format!(
                    "too few rows to judge drift of the embeddings: {fewer} scored, needs {}",
                    rule.least()
                );
            }
            Level::Steady => "no drift of the embeddings",
            Level::Warn => "embeddings moved a little",
            Level::Alarm => "embeddings moved",
        };
        let most = self.strongest.filter(|_| self.level >= Level::Warn);
        let most = most.map(|j| format!("; dimension {j} most")).unwrap_or_default();
        format!(
            "{moved}: a classifier tells rows of today from training with AUC {auc:.2} against {:.2} \
             (p {p:.1e}, {current_n} against {reference_n} scored rows{most})",
            rule.alarm_auc
        )
    }
}

/// Numbers that are no whole rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRows {
    /// Numbers that were given.
    pub numbers: usize,
    /// Numbers that a row should have.
    pub dimensions: usize,
}

impl fmt::Display for NotRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { numbers, dimensions } = self;
        write!(f, "{numbers} numbers are no whole rows of {dimensions}; give each row all its dimensions, at least 1")
    }
}

impl std::error::Error for NotRows {}

/// Compares two sets of rows, row after row in one slice, each of `dimensions` numbers (an embedding, the score after it).
///
/// # Errors
/// [`NotRows`] when `dimensions` is 0 or does not divide the length of a slice.
pub fn c2st(rule: &C2stRule, reference: &[f32], current: &[f32], dimensions: usize) -> Result<C2st, NotRows> {
    let (mut train, mut scored, mut left_out) = (Vec::new(), Vec::new(), 0);
    for (rows, is_current) in [(reference, false), (current, true)] {
        if dimensions == 0 || !rows.len().is_multiple_of(dimensions) {
            return Err(NotRows { numbers: rows.len(), dimensions });
        }
        let usable = rows.chunks_exact(dimensions).filter(|row| row.iter().all(|x| x.is_finite()));
        let mut count = 0;
        for (index, row) in usable.enumerate() {
            count += 1;
            let trains = trains(rule.seed, index as u64, is_current);
            if trains { &mut train } else { &mut scored }.push((row, is_current));
        }
        left_out += (rows.len() / dimensions - count) as u64;
    }
    let model = Logistic::fit(&train, dimensions, rule.ridge);
    let [low, high] = [false, true].map(|side| -> Vec<f64> {
        scored.iter().filter(|row| row.1 == side).map(|(row, _)| model.score(row)).collect()
    });
    let (auc, p) = mann_whitney(&high, &low).map_or((0.5, 1.0), |found| (found.auc, found.p_greater));
    let reaches = |effect: f64| auc >= effect && p < rule.p;
    let level = match low.len().min(high.len()) as u64 {
        few if few < rule.least() => Level::Unjudged,
        _ if reaches(rule.alarm_auc) => Level::Alarm,
        _ if reaches(rule.warn_auc) => Level::Warn,
        _ => Level::Steady,
    };
    let (reference_n, current_n) = (low.len() as u64, high.len() as u64);
    Ok(C2st { auc, p, reference_n, current_n, left_out, strongest: model.strongest(), level, rule: rule.clone() })
}

/// Whether a row trains: exactly one of rows 2k and 2k + 1 of a side does.
fn trains(seed: Option<u64>, index: u64, is_current: bool) -> bool {
    let swap = seed.is_some_and(|seed| mix(seed ^ (index & !1 | u64::from(is_current))) & 1 == 1);
    index.is_multiple_of(2) != swap
}

/// A well mixed number for each number (the finaliser of SplitMix64, Steele, Lea & Flood 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
