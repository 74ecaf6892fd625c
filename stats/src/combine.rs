//! Many gates with one declared error rate.
//!
//! Harm: the evidences of all gates are averaged with fixed weights, which is evidence again whatever the dependence
//! between gates (Vovk & Wang, Annals of Statistics 2021); so the rate at which a harmless canary is ever called harmful
//! is at most α for all gates and looks together. It proves at least as much as splitting α over the gates by the same
//! weights. Promotion: every gate must be non-inferior at α, which needs no correction (intersection–union). Better: α is
//! split over the gates, since one success among many may be chance. Dashboards: e-BH.

use serde::{Deserialize, Serialize};

use crate::verdict::{Outcome, Verdict, ln_needed};

/// The gates of one rollout and the error rate that they share.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Family {
    alpha: f64,
    weights: Vec<f64>,
    ln_e_most: f64,
}

/// What all gates together prove.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Harmful by the total, non-inferior when every gate is, better when some gate is too; else inconclusive.
    pub outcome: Outcome,
    /// The greatest total evidence of harm so far, as a natural logarithm.
    pub ln_e: f64,
    /// What it must reach: ln(1/α).
    pub needed: f64,
    /// Indexes of the gates that decided: to blame for the harm, better, or still missing.
    pub gates: Vec<usize>,
    /// The outcome in words.
    pub sentence: String,
}

impl Family {
    /// A family at level `alpha` with a weight for each gate, in the order in which verdicts will come. Weights are
    /// divided by their sum; one that is not positive counts as 0: such a gate can never prove harm, only hold a promotion.
    pub fn new(alpha: f64, weights: &[f64]) -> Self {
        Self { alpha, weights: shares(weights), ln_e_most: 0.0 }
    }

    /// A family whose gates all count the same.
    pub fn equal(alpha: f64, gates: usize) -> Self {
        Self::new(alpha, &vec![1.0; gates])
    }

    /// The part of the level that is the gate's own: α times its weight. 0 for a gate that is not there.
    pub fn alpha_of(&self, gate: usize) -> f64 {
        self.weights.get(gate).map_or(0.0, |weight| weight * self.alpha)
    }

    /// Takes the verdicts after a look, one for each gate in order. The total must be seen at each look that may decide.
    pub fn judge(&mut self, verdicts: &[Verdict]) -> Judgement {
        let harms = verdicts.iter().map(|v| v.now.harm);
        self.ln_e_most = self.ln_e_most.max(ln_weighted(harms, self.weights.iter().copied()));
        let needed = ln_needed(self.alpha);
        let which = |holds: &dyn Fn(usize, &Verdict) -> bool| -> Vec<usize> {
            verdicts.iter().enumerate().filter(|(gate, v)| holds(*gate, v)).map(|(gate, _)| gate).collect()
        };
        let better = which(&|gate, v| v.most.better >= ln_needed(self.alpha_of(gate)));
        let missing = which(&|_, v| v.most.non_inferior.is_nan() || v.most.non_inferior < needed);
        let (outcome, gates) = if self.ln_e_most >= needed {
            let worst = verdicts.iter().map(|v| v.now.harm).fold(0.0, f64::max);
            let blamed = which(&|gate, v| v.most.harm >= ln_needed(self.alpha_of(gate)));
            (Outcome::Harmful, if blamed.is_empty() { which(&|_, v| v.now.harm >= worst) } else { blamed })
        } else if verdicts.is_empty() || verdicts.len() != self.weights.len() || !missing.is_empty() {
            (Outcome::Inconclusive, missing)
        } else if better.is_empty() {
            (Outcome::NonInferior, better)
        } else {
            (Outcome::Better, better)
        };
        let sentence = self.sentence(outcome, &gates, verdicts);
        Judgement { outcome, ln_e: self.ln_e_most, needed, gates, sentence }
    }

    fn sentence(&self, outcome: Outcome, gates: &[usize], verdicts: &[Verdict]) -> String {
        let percent = 100.0 * self.alpha;
        let (evidence, needed) = (self.ln_e_most, ln_needed(self.alpha));
        let said = match outcome {
            Outcome::Harmful => {
                format!("harm is proved at {percent} % over all gates (evidence {evidence:.2} of {needed:.2})")
            }
            Outcome::NonInferior => format!("no gate is inferior, each at {percent} %"),
            Outcome::Better => format!("no gate is inferior, each at {percent} %, and some are better"),
            Outcome::Inconclusive if verdicts.len() != self.weights.len() => {
                format!("{} of {} gates have a verdict", verdicts.len(), self.weights.len())
            }
            Outcome::Inconclusive => format!("not proved yet (evidence of harm {evidence:.2} of {needed:.2})"),
        };
        let named: Vec<&str> =
            gates.iter().filter_map(|&gate| verdicts.get(gate)).map(|v| v.sentence.as_str()).collect();
        if named.is_empty() { said } else { format!("{said}; {}", named.join("; ")) }
    }
}

/// ln Σ w E: the natural logarithm of the weighted mean evidence, from the logarithms. Weights are used as they are: they
/// should be at least 0 and add up to at most 1. Evidence that is NaN counts as none at all.
pub fn ln_weighted(ln_es: impl Iterator<Item = f64> + Clone, weights: impl Iterator<Item = f64> + Clone) -> f64 {
    let terms = ln_es.zip(weights).filter(|(ln_e, weight)| !ln_e.is_nan() && *weight > 0.0);
    let terms = terms.map(|(ln_e, weight)| ln_e + weight.ln());
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() { largest } else { largest + terms.map(|t| (t - largest).exp()).sum::<f64>().ln() }
}

/// Evidence from a p-value of a test made once, so that it can be averaged with others: the natural logarithm of
/// (1 − p + p ln p) / (p ln² p), the mean of all power calibrators (Vovk & Wang 2021). 0 for a p-value outside (0, 1).
pub fn ln_e_of_p(p: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return 0.0;
    }
    let ln = p.ln();
    // Near 1 the quotient is 0/0, and the evidence ½ + (1 − p)/3 to first order.
    if p > 0.9999 { (0.5 + (1.0 - p) / 3.0).ln() } else { (1.0 - p + p * ln).ln() - ln - 2.0 * (-ln).ln() }
}

/// Which of many evidences are discoveries so that the expected share of false ones is at most `q`, whatever their
/// dependence (e-BH: Wang & Ramdas, JRSS B 2022): the k greatest, for the largest k whose k-th is at least m / (q k).
/// In the order given; evidence that is NaN is none.
pub fn e_benjamini_hochberg(ln_es: &[f64], q: f64) -> Vec<bool> {
    let mut sorted: Vec<f64> = ln_es.iter().copied().filter(|e| !e.is_nan()).collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let enough = |k: usize| sorted[k - 1] >= (ln_es.len() as f64 / k as f64).ln() + ln_needed(q);
    let threshold = (1..=sorted.len()).rev().find(|&k| enough(k)).map(|k| sorted[k - 1]);
    ln_es.iter().map(|&e| threshold.is_some_and(|t| e >= t)).collect()
}

fn shares(weights: &[f64]) -> Vec<f64> {
    let usable = |weight: f64| if weight.is_finite() && weight > 0.0 { weight } else { 0.0 };
    let all: f64 = weights.iter().map(|&w| usable(w)).sum();
    let scale = if all > 0.0 && all.is_finite() { 1.0 / all } else { 0.0 };
    weights.iter().map(|&w| usable(w) * scale).collect()
}

#[cfg(test)]
mod tests;
