//! How good are answers whose labels have not come yet? An estimate from calibrated scores, as advice only.
//!
//! Confidence-based performance estimation (CBPE, NannyML's documentation "How it works: performance estimation"): if
//! a score is a true probability, it says by itself how often it will be wrong. It sees what a change of the users does
//! to the metrics, and is blind to a change of what they want (concept drift). Therefore [`Advice`] has no verdict: it
//! can raise the priority of looking, and nothing here can start a training. For a verdict use [`crate::risk`].

use serde::{Deserialize, Serialize};

mod isotonic;

pub use isotonic::Calibrator;

/// Estimated metrics of answers without labels. Counts are expected numbers of answers, so they have fractions.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Advice {
    /// Scores behind it; those that are not finite were left out.
    pub n: u64,
    /// The estimated share of positive labels (the click-through rate, where a label is a click).
    pub positive_rate: f64,
    /// The estimated mean log-loss of the calibrated scores, in nats.
    pub log_loss: f64,
    /// The estimated area under the ROC curve; `None` when all labels are expected to be alike.
    pub auc: Option<f64>,
    /// Expected true positives at the threshold.
    pub true_positives: f64,
    /// Expected false positives at the threshold.
    pub false_positives: f64,
    /// Expected false negatives at the threshold.
    pub false_negatives: f64,
    /// Expected true negatives at the threshold.
    pub true_negatives: f64,
}

/// Estimates the metrics of `scores`, taken as probabilities after `calibrator` (or as they are, brought into [0, 1]). An
/// answer counts as a predicted positive when its raw score is at least `threshold`.
///
/// O(n log n). `None` without a finite score.
pub fn estimate(scores: &[f64], calibrator: Option<&Calibrator>, threshold: f64) -> Option<Advice> {
    let probability = |score: f64| calibrator.map_or(score.clamp(0.0, 1.0), |c| c.calibrate(score));
    let finite = scores.iter().filter(|s| s.is_finite());
    let mut scored: Vec<(f64, f64)> = finite.map(|&s| (s, probability(s))).collect();
    if scored.is_empty() {
        return None;
    }
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let n = scored.len() as f64;
    let positives: f64 = scored.iter().map(|s| s.1).sum();
    let above = &scored[..scored.partition_point(|s| s.0 >= threshold)];
    let true_positives: f64 = above.iter().map(|s| s.1).sum();
    let (above_n, below_n) = (above.len() as f64, n - above.len() as f64);
    let false_negatives = (positives - true_positives).max(0.0);
    Some(Advice {
        n: scored.len() as u64,
        positive_rate: positives / n,
        log_loss: scored.iter().map(|s| entropy(s.1)).sum::<f64>() / n,
        auc: auc(&scored, positives),
        true_positives,
        false_positives: above_n - true_positives,
        false_negatives,
        true_negatives: below_n - false_negatives,
    })
}

/// The concordance of pairs with the weights `p_i (1 − p_j)`, ties half: the trapezoid under the expected ROC curve.
fn auc(descending: &[(f64, f64)], positives: f64) -> Option<f64> {
    let negatives = descending.len() as f64 - positives;
    let (mut area, mut hits) = (0.0, 0.0);
    for &(_, p) in descending {
        // Equal scores have equal p, so that they lie on one straight line whatever their order.
        area += (1.0 - p) * (hits + p / 2.0);
        hits += p;
    }
    let pairs = positives * negatives;
    (pairs > 0.0).then(|| (area / pairs).clamp(0.0, 1.0))
}

/// −p ln p − (1 − p) ln(1 − p), the expected log-loss of a calibrated probability.
fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}

impl Advice {
    /// The estimated share of right answers at the threshold.
    pub fn accuracy(&self) -> f64 {
        ratio(self.true_positives + self.true_negatives, self.n as f64)
    }

    /// The estimated share of predicted positives that are positive; 0 when there is none.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// The estimated share of positives that are predicted; 0 when there is none.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// The estimated share of negatives that are predicted; 0 when there is none.
    pub fn specificity(&self) -> f64 {
        ratio(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// The harmonic mean of precision and recall; 0 when there is no true positive.
    pub fn f1(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + (self.false_positives + self.false_negatives) / 2.0)
    }

    /// What a person should read.
    pub fn sentence(&self) -> String {
        let auc = self.auc.map(|auc| format!(", AUC {auc:.4}")).unwrap_or_default();
        format!(
            "estimated without labels from {} scores: rate {:.4}, log-loss {:.4}{auc}, accuracy {:.4}; advice only, \
             blind to concept drift",
            self.n,
            self.positive_rate,
            self.log_loss,
            self.accuracy()
        )
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests;
