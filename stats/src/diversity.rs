//! What a recommender does to the variety that people see: of a list, of the catalogue, and over many retrainings.
//!
//! Sources: reference 8.3 (Gini over the whole catalogue, mean inverse user frequency, personalisation); Steck, RecSys
//! 2018 (calibration); Künsch 1989 and Politis & Romano 1992 (block bootstrap). Coverage and Gini depend on the number of
//! impressions: compare arms at equal numbers ([`thin`]). Gates on values of a user (list distance, topic entropy) go
//! through [`crate::confidence`] like any other metric.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Retrainings that a trend needs: with fewer the interval covers too rarely.
pub const MINIMUM_RETRAININGS: usize = 8;
/// Retrainings that a trend looks back on, the last ones.
const LONGEST: usize = 1024;

/// The share of the catalogue that was shown at all: `shown[i]` is how often item `i` was among the top k. `None`
/// without a catalogue.
pub fn coverage(shown: &[u64]) -> Option<f64> {
    let seen = shown.iter().filter(|&&n| n > 0).count();
    (!shown.is_empty()).then(|| seen as f64 / shown.len() as f64)
}

/// Gini's index of the impressions over the whole catalogue, never-shown items included: 0 if all are shown equally
/// often, near 1 if one takes all. `None` without an impression.
///
/// `Σ (2i − m − 1) c₍ᵢ₎ / (m Σ c)`, ascending. (With `m − 1` instead of `m`, as some tools have it, it is m / (m − 1) times
/// as large.)
pub fn gini(shown: &[u64]) -> Option<f64> {
    let mut ascending = shown.to_vec();
    ascending.sort_unstable();
    let m = ascending.len() as f64;
    let sum: f64 = ascending.iter().map(|&c| c as f64).sum();
    let ranked = ascending.iter().enumerate().map(|(i, &c)| (2.0 * i as f64 + 1.0 - m) * c as f64);
    (sum > 0.0).then(|| ranked.sum::<f64>() / (m * sum))
}

/// A random part of the impressions, `impressions` of them, drawn without replacement: the same `seed` gives the same.
///
/// All of them if there are no more. Takes time in the number of impressions.
pub fn thin(shown: &[u64], impressions: u64, seed: u64) -> Vec<u64> {
    let mut left = shown.iter().fold(0_u64, |sum, &n| sum.saturating_add(n));
    let mut wanted = impressions.min(left);
    let mut random = SplitMix(seed);
    let mut draw = |&count: &u64| {
        let mut kept = 0;
        for _ in 0..count {
            if wanted == 0 || left == 0 {
                break;
            }
            if wanted == left || random.below(left) < wanted {
                kept += 1;
                wanted -= 1;
            }
            left -= 1;
        }
        kept
    };
    shown.iter().map(&mut draw).collect()
}

/// Mean distance of the pairs of a list of `k` items (ILD@k); `distance(i, j)` is asked once a pair, `i < j`.
///
/// `None` with fewer than 2 items, or when a distance is not finite (an item without features).
pub fn intra_list_distance(k: usize, distance: impl Fn(usize, usize) -> f64) -> Option<f64> {
    let pairs = k as f64 * (k as f64 - 1.0) / 2.0;
    let sum: f64 = (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j))).map(|(i, j)| distance(i, j)).sum();
    (k > 1 && sum.is_finite()).then(|| sum / pairs)
}

/// Mean inverse user frequency of a list, in bits: `users_of_item` has how many of all `users` knew each item of it
/// before. An item that nobody knew counts as known to one. `None` with an empty list or without users.
pub fn novelty(users_of_item: &[u64], users: u64) -> Option<f64> {
    let bits = |&n: &u64| (users as f64 / n.clamp(1, users) as f64).log2();
    let any = !users_of_item.is_empty() && users > 0;
    any.then(|| users_of_item.iter().map(bits).sum::<f64>() / users_of_item.len() as f64)
}

/// 1 less the mean overlap of two users' lists: 0 if all see the same, 1 if no two share an item. `shown[i]` is how many
/// of the `users` had item `i` in their list of `k` different items. `None` with fewer than 2 users or an empty list.
///
/// In the number of items, not of pairs of users: `1 − (Σ c² − n k) / (k n (n − 1))`.
pub fn personalisation(shown: &[u64], users: u64, k: u64) -> Option<f64> {
    let (n, k) = (users as f64, k as f64);
    let squares: f64 = shown.iter().map(|&c| (c as f64).powi(2)).sum();
    (users > 1 && k > 0.0).then(|| (1.0 - (squares - n * k) / (k * n * (n - 1.0))).clamp(0.0, 1.0))
}

/// How far the topics of a list are from those of the user's history, in nats (Steck 2018): `KL(p ‖ (1−a) q + a p)` with
/// a = 0.01. `history` and `shown` are weights by topic in the same order. `None` if either has no weight.
pub fn miscalibration(history: &[f64], shown: &[f64]) -> Option<f64> {
    const A: f64 = 0.01;
    let (p, q) = (shares(history)?, shares(shown)?);
    let q = |i: usize| q.get(i).copied().unwrap_or(0.0);
    let terms = p.iter().enumerate().filter(|(_, p)| **p > 0.0);
    // ln of q / p, not of p / q: no share is too small for it.
    Some(terms.map(|(i, &p)| -p * ((1.0 - A) * (q(i) / p).min(f64::MAX) + A).ln()).sum::<f64>().max(0.0))
}

/// Shannon's entropy of weights by topic, in bits: 0 if there is one topic. `None` without weight.
pub fn topic_entropy(weights: &[f64]) -> Option<f64> {
    let p = shares(weights)?;
    Some(p.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum::<f64>().max(0.0))
}

/// Each provider's share of the exposure over its share of the relevance: below 1 it is shown less than its items
/// deserve. `None` for a provider without relevance; empty if either has no weight at all.
pub fn exposure_ratios(exposure: &[f64], relevance: &[f64]) -> Vec<Option<f64>> {
    let (Some(exposure), Some(relevance)) = (shares(exposure), shares(relevance)) else { return Vec::new() };
    let ratio = |(e, r): (&f64, &f64)| (*r > 0.0).then(|| e / r).filter(|ratio| ratio.is_finite());
    exposure.iter().zip(&relevance).map(ratio).collect()
}

/// Weights as shares; those that are negative or not finite count as 0. `None` if nothing is left.
fn shares(weights: &[f64]) -> Option<Vec<f64>> {
    let clean = |w: &f64| if w.is_finite() { w.max(0.0) } else { 0.0 };
    let largest = weights.iter().map(clean).fold(0.0, f64::max);
    let sum: f64 = weights.iter().map(|w| clean(w) / largest).sum();
    (largest > 0.0).then(|| weights.iter().map(|w| clean(w) / largest / sum).collect())
}

/// How a measure of variety moves from one retraining to the next.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Change a retraining, in the measure's unit (least squares).
    pub slope: f64,
    /// Lower end of its interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Retrainings behind it.
    pub n: u64,
}

/// The feedback-loop monitor: the slope of a measure over retrainings, oldest first, with an interval at level
/// `1 - alpha` that lets neighbours depend on each other.
///
/// The error is that of the circular block bootstrap of residuals, with blocks of about ∛n. The slope is linear in the
/// residuals, so that the variance over all resamples has a closed form: no resampling, no seed. It is divided by
/// `(n − 2) / n · (1 − 2 (b − 1) / n)` for what fitting a line takes out of residuals in blocks of b, and the interval is
/// Student's with n − 2 degrees of freedom. Only the last 1024 values count.
///
/// `None` with fewer than [`MINIMUM_RETRAININGS`] values, one that is not finite or beyond 10¹⁰⁰, or `alpha` outside
/// (0, 1).
pub fn trend(values: &[f64], alpha: f64) -> Option<Trend> {
    let values = &values[values.len().saturating_sub(LONGEST)..];
    let n = values.len();
    let valid = n >= MINIMUM_RETRAININGS && alpha > 0.0 && alpha < 1.0 && values.iter().all(|x| x.abs() <= 1e100);
    if !valid {
        return None;
    }
    let size = n as f64;
    let (mean, middle) = (values.iter().sum::<f64>() / size, (size - 1.0) / 2.0);
    let square: f64 = (0..n).map(|i| (i as f64 - middle).powi(2)).sum();
    let slope = (0..n).map(|i| (i as f64 - middle) * (values[i] - mean)).sum::<f64>() / square;
    let residuals: Vec<f64> = (0..n).map(|i| values[i] - mean - slope * (i as f64 - middle)).collect();
    let block = (size.cbrt().round() as usize).max(1);
    // What a block at `from` adds to the slope if its residuals are those at `start`; over all starts the mean is zero.
    let part = |from: usize, start: usize| -> f64 {
        let end = (from + block).min(n);
        (from..end).map(|i| (i as f64 - middle) / square * residuals[(start + i - from) % n]).sum()
    };
    let variance = |from| (0..n).map(|start| part(from, start).powi(2)).sum::<f64>() / size;
    let fitted = (size - 2.0) / size * (1.0 - 2.0 * (block as f64 - 1.0) / size);
    let error = ((0..n).step_by(block).map(variance).sum::<f64>() / fitted).sqrt();
    let half = StudentsT::new(0.0, 1.0, size - 2.0).ok()?.inverse_cdf(1.0 - alpha / 2.0) * error;
    half.is_finite().then_some(Trend { slope, lower: slope - half, upper: slope + half, n: n as u64 })
}

impl Trend {
    /// What a person should read about the measure `name`, of which more means more variety.
    pub fn sentence(&self, name: &str) -> String {
        let found = match self {
            t if t.upper < 0.0 => "falls: the feedback loop narrows what people see",
            t if t.lower > 0.0 => "rises",
            _ => "has no clear trend",
        };
        format!(
            "{name} {found} ({:+.4} a retraining, {:+.4} to {:+.4}, over {} retrainings)",
            self.slope, self.lower, self.upper, self.n
        )
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): the same numbers on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which must be positive; the bias is below `end / 2⁶⁴`.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests;
