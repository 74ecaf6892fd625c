//! Group fairness of yes/no decisions against yes/no truths (Fairlearn's demographic parity and equalised odds).

use serde::{Deserialize, Serialize};

use super::Spread;

/// How often a group got what, and what it would have deserved. Merges exactly.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Confusion {
    /// Chosen, and rightly so.
    pub true_positives: u64,
    /// Chosen, but wrongly.
    pub false_positives: u64,
    /// Rightly not chosen.
    pub true_negatives: u64,
    /// Wrongly not chosen.
    pub false_negatives: u64,
}

impl Confusion {
    /// Counts one decision (shown, say) with what was right (relevant, say).
    pub fn record(&mut self, right: bool, chosen: bool) {
        let count = match (right, chosen) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (false, false) => &mut self.true_negatives,
            (true, false) => &mut self.false_negatives,
        };
        *count = count.saturating_add(1);
    }

    /// Adds all of `other`; saturates.
    pub fn merge(&mut self, other: &Self) {
        self.true_positives = self.true_positives.saturating_add(other.true_positives);
        self.false_positives = self.false_positives.saturating_add(other.false_positives);
        self.true_negatives = self.true_negatives.saturating_add(other.true_negatives);
        self.false_negatives = self.false_negatives.saturating_add(other.false_negatives);
    }

    /// The share that was chosen; its spread between groups is demographic parity. 0 without decisions.
    pub fn selection_rate(&self) -> f64 {
        let chosen = self.true_positives as f64 + self.false_positives as f64;
        share(chosen, self.true_negatives as f64 + self.false_negatives as f64)
    }

    /// The share of the right that was chosen; its spread between groups is equal opportunity. 0 if none was right.
    pub fn true_positive_rate(&self) -> f64 {
        share(self.true_positives as f64, self.false_negatives as f64)
    }

    /// The share of the wrong that was chosen. 0 if none was wrong.
    pub fn false_positive_rate(&self) -> f64 {
        share(self.false_positives as f64, self.true_negatives as f64)
    }
}

fn share(part: f64, rest: f64) -> f64 {
    if part + rest > 0.0 { part / (part + rest) } else { 0.0 }
}

/// Equalised odds: the worse of the spreads of true and of false positive rates. `None` with fewer than two groups.
pub fn equalised_odds(groups: &[Confusion]) -> Option<Spread> {
    let spread = |rate: fn(&Confusion) -> f64| Spread::between(&groups.iter().map(rate).collect::<Vec<_>>());
    let (right, wrong) = (spread(Confusion::true_positive_rate)?, spread(Confusion::false_positive_rate)?);
    Some(Spread { difference: right.difference.max(wrong.difference), ratio: right.ratio.min(wrong.ratio) })
}
