//! From scores to probabilities: the best rising step function through labelled scores, with straight lines between.

use serde::{Deserialize, Serialize};

use crate::c2st::mix;

/// Splits, and the bins of the calibration error, in [`Calibrator::fit_if_better`].
const SPLITS: u64 = 3;
const ECE_BINS: usize = 10;
/// One in so many labelled scores is held out in a split.
const HELD_OUT: u64 = 10;

/// An isotonic calibration, fitted by pooling adjacent violators (Ayer et al. 1955).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Calibrator {
    /// Scores with their probabilities: scores rise strictly, probabilities never fall.
    knots: Vec<(f64, f64)>,
}

/// A score and its label.
type Labelled = (f64, bool);

/// Consecutive scores with one probability.
struct Block {
    first: f64,
    last: f64,
    positives: f64,
    n: f64,
}

impl Calibrator {
    /// Fits `(score, label)` pairs; scores that are not finite are left out. `None` when none is left.
    ///
    /// As scikit-learn's `IsotonicRegression(out_of_bounds="clip")`: equal scores count as one, with their mean label.
    pub fn fit(labelled: &[(f64, bool)]) -> Option<Self> {
        let mut sorted: Vec<Labelled> = labelled.iter().copied().filter(|l| l.0.is_finite()).collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut blocks: Vec<Block> = Vec::new();
        for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
            let positives = equal.iter().filter(|l| l.1).count() as f64;
            let mut block = Block { first: equal[0].0, last: equal[0].0, positives, n: equal.len() as f64 };
            // A block whose rate is not above that of the one before it is pooled with it (products, so exact).
            while let Some(before) = blocks.pop_if(|b| b.positives * block.n >= block.positives * b.n) {
                let (positives, n) = (block.positives + before.positives, block.n + before.n);
                block = Block { first: before.first, last: block.last, positives, n };
            }
            blocks.push(block);
        }
        let ends = blocks.iter().flat_map(|b| [(b.first, b.positives / b.n), (b.last, b.positives / b.n)]);
        let mut knots: Vec<(f64, f64)> = ends.collect();
        knots.dedup();
        (!knots.is_empty()).then_some(Self { knots })
    }

    /// Fits, but only if that makes held-out scores better calibrated than they are: if the expected calibration error
    /// (10 bins of equal counts), averaged over 3 splits, falls. `None` otherwise: then use the scores as they are.
    ///
    /// In each split one in ten of the positives and one in ten of the negatives are held out, drawn by `seed`.
    pub fn fit_if_better(labelled: &[(f64, bool)], seed: u64) -> Option<Self> {
        let (mut raw, mut calibrated) = (0.0, 0.0);
        for split in 0..SPLITS {
            let (held_out, rest) = split_by_class(labelled, mix(seed.wrapping_add(split)));
            let fitted = Self::fit(&rest)?;
            raw += calibration_error(&held_out, |s| s.clamp(0.0, 1.0));
            calibrated += calibration_error(&held_out, |s| fitted.calibrate(s));
        }
        if calibrated < raw { Self::fit(labelled) } else { None }
    }

    /// The probability of a positive label at `score`: linear between knots, that of the nearest end beyond them, and
    /// for NaN that of the lowest.
    pub fn calibrate(&self, score: f64) -> f64 {
        let after = self.knots.partition_point(|k| k.0 <= score);
        let p = match (after.checked_sub(1).and_then(|i| self.knots.get(i)), self.knots.get(after)) {
            (Some(&(x0, p0)), Some(&(x1, p1))) => p0 + (p1 - p0) * ((score - x0) / (x1 - x0)),
            (Some(&(_, p)), None) | (None, Some(&(_, p))) => p,
            (None, None) => score,
        };
        // A knot read from a file may hold anything; an average answer is better than NaN.
        if p.is_nan() { 0.5 } else { p.clamp(0.0, 1.0) }
    }
}

/// Of every ten scores of a class one is held out; which one is drawn by `seed`.
fn split_by_class(labelled: &[Labelled], seed: u64) -> (Vec<Labelled>, Vec<Labelled>) {
    let mut seen = [0_u64; 2];
    labelled.iter().filter(|l| l.0.is_finite()).partition(|&&(_, label)| {
        let index = seen[usize::from(label)];
        seen[usize::from(label)] += 1;
        index % HELD_OUT == mix(seed ^ (index / HELD_OUT * 2 + u64::from(label))) % HELD_OUT
    })
}

/// The mean distance between a bin's mean probability and its share of positives, weighted by the bins' counts.
fn calibration_error(labelled: &[Labelled], probability: impl Fn(f64) -> f64) -> f64 {
    let mut scored: Vec<Labelled> = labelled.iter().map(|&(s, label)| (probability(s), label)).collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = scored.len().max(1) as f64;
    let bin = scored.len().div_ceil(ECE_BINS).max(1);
    let off = |bin: &[Labelled]| bin.iter().map(|&(p, label)| p - f64::from(u8::from(label))).sum::<f64>().abs();
    scored.chunks(bin).map(off).sum::<f64>() / n
}
