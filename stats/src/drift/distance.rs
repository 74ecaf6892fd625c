//! How far apart two distributions on the same bins are. All of them are for reports: sizes of effects, without noise
//! floor or significance.

use super::shares;

/// The Jensen-Shannon divergence in bits, in [0, 1] (Lin 1991), of the raw shares; empty bins need no smoothing.
///
/// 0 when either side has no counts.
pub fn js_divergence(reference: &[u64], current: &[u64]) -> f64 {
    let to_middle = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let bits: f64 = shares(reference, current)
        .map_or(0.0, |shares| shares.map(|(p, q)| to_middle(p, (p + q) / 2.0) + to_middle(q, (p + q) / 2.0)).sum());
    // Rounding may leave it just outside.
    (bits / 2.0).clamp(0.0, 1.0)
}

/// The Jensen-Shannon distance, in [0, 1]: the root of the divergence in bits (Endres & Schindelin 2003), a metric.
pub fn js_distance(reference: &[u64], current: &[u64]) -> f64 {
    js_divergence(reference, current).sqrt()
}

/// The largest difference of the two cumulative shares at the end of a bin, in [0, 1]: a lower bound of the
/// Kolmogorov-Smirnov statistic D of the raw values.
///
/// It has a meaning where bins have an order; MISSING counts as above all numbers. 0 when either side has no counts.
pub fn ks_on_bins(reference: &[u64], current: &[u64]) -> f64 {
    let (mut ahead, mut most) = (0.0_f64, 0.0_f64);
    for (p, q) in shares(reference, current).into_iter().flatten() {
        ahead += p - q;
        most = most.max(ahead.abs());
    }
    most.min(1.0)
}

/// The Wasserstein-1 distance on quantile bins over the reference's standard deviation, both with every bin at its centre.
///
/// `edges` are the inner edges of [`crate::Bins::Quantiles`]; an outermost bin, which has no end, is taken to be as wide
/// as its neighbour. Counts beyond the numeric bins (MISSING) are left out. `None` with fewer than two edges, without
/// numbers on either side, or when the reference does not spread: there is no unit to measure in.
pub fn w1_over_sd(edges: &[f64], reference: &[u64], current: &[u64]) -> Option<f64> {
    let centres = centres(edges)?;
    let numbers = |counts| <[u64]>::get(counts, ..centres.len().min(counts.len())).unwrap_or_default();
    let (reference, current) = (numbers(reference), numbers(current));
    let of_reference: Vec<f64> = shares(reference, current)?.map(|(p, _)| p).collect();
    let mean: f64 = of_reference.iter().zip(&centres).map(|(p, x)| p * x).sum();
    let variance: f64 = of_reference.iter().zip(&centres).map(|(p, x)| p * (x - mean).powi(2)).sum();
    let (mut ahead, mut work) = (0.0, 0.0);
    for ((p, q), step) in shares(reference, current)?.zip(centres.windows(2)) {
        ahead += p - q;
        work += f64::abs(ahead) * (step[1] - step[0]);
    }
    let ratio = work / variance.sqrt();
    (variance > 0.0 && ratio.is_finite()).then_some(ratio)
}

fn centres(edges: &[f64]) -> Option<Vec<f64>> {
    let (&[first, second, ..], &[.., before, last]) = (edges, edges) else {
        return None;
    };
    let inner = edges.windows(2).map(|pair| pair[0] / 2.0 + pair[1] / 2.0);
    let below = first - (second - first) / 2.0;
    let above = last + (last - before) / 2.0;
    Some(std::iter::once(below).chain(inner).chain(std::iter::once(above)).collect())
}
