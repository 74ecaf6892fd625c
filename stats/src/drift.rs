//! Batch drift on frozen bins: has a feature, or the score, moved since training, and does it matter?
//!
//! An alarm needs three things at once: an effect that is large enough to act on, an effect
//! above what noise gives at these sample sizes, and significance after correction for the number of features. Nothing
//! here knows why something moved or what to do about it.

use statrs::distribution::{ChiSquared, ContinuousCDF};

mod persistence;
mod rule;

pub use persistence::Persistence;
pub use rule::{DriftReport, DriftRule, FeatureCounts, FeatureDrift, assess};

/// Added to every count, so that an empty bin has a share.
const SMOOTHING: f64 = 0.5;
/// Confidence of the noise floor.
const NOISE_LEVEL: f64 = 0.999;
/// Bins in which less is expected are pooled before the chi-square test.
const LEAST_EXPECTED: f64 = 5.0;

/// The population stability index Σ (q − p) ln(q / p) over the bins, with shares (c + ½) / (n + ½ B).
///
/// 0 when either side has no counts. A bin that one side lacks counts as 0 there; compare counts on one bundle's bins.
pub fn psi(reference: &[u64], current: &[u64]) -> f64 {
    let (n_reference, n_current) = (total(reference), total(current));
    if n_reference == 0.0 || n_current == 0.0 {
        return 0.0;
    }
    let smoothing = SMOOTHING * reference.len().max(current.len()) as f64;
    pairs(reference, current)
        .map(|(r, c)| {
            let p = (r + SMOOTHING) / (n_reference + smoothing);
            let q = (c + SMOOTHING) / (n_current + smoothing);
            (q - p) * (q / p).ln()
        })
        .sum()
}

/// The PSI that noise alone exceeds once in a thousand: χ²₀.₉₉₉ with `bins - 1` degrees of freedom times (1/N + 1/M)
/// (Yurdakul 2018).
///
/// A sample of 0 counts as 1, which gives a floor that nothing exceeds. With fewer than 2 bins it is 0.
pub fn psi_noise_floor(n_reference: u64, n_current: u64, bins: usize) -> f64 {
    let Some(chi2) = chi_squared(bins) else {
        return 0.0;
    };
    let each = 1.0 / n_reference.max(1) as f64 + 1.0 / n_current.max(1) as f64;
    chi2.inverse_cdf(NOISE_LEVEL) * each
}

/// The p-value of Pearson's chi-square test of homogeneity (no continuity correction) of two rows of raw counts.
///
/// Bins with fewer than 5 expected in either row are pooled into one, and that one with the smallest other bin if it is
/// still too small. 1 when fewer than two bins or no counts are left: no evidence.
pub fn chi_square_p(reference: &[u64], current: &[u64]) -> f64 {
    let (n_reference, n_current) = (total(reference), total(current));
    if n_reference == 0.0 || n_current == 0.0 {
        return 1.0;
    }
    let bins = pool_small_bins(reference, current);
    let Some(chi2) = chi_squared(bins.len()) else {
        return 1.0;
    };
    let n = n_reference + n_current;
    let statistic: f64 = bins
        .iter()
        .map(|&(r, c)| {
            let (er, ec) = ((r + c) * n_reference / n, (r + c) * n_current / n);
            (r - er).powi(2) / er + (c - ec).powi(2) / ec
        })
        .sum();
    chi2.sf(statistic).clamp(0.0, 1.0)
}

fn pool_small_bins(reference: &[u64], current: &[u64]) -> Vec<(f64, f64)> {
    let (n_reference, n_current) = (total(reference), total(current));
    let smaller_share = n_reference.min(n_current) / (n_reference + n_current);
    let expected = |&(r, c): &(f64, f64)| (r + c) * smaller_share;
    let (small, mut bins): (Vec<_>, Vec<_>) = pairs(reference, current).partition(|bin| expected(bin) < LEAST_EXPECTED);
    let rest = small.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
    if expected(&rest) >= LEAST_EXPECTED {
        bins.push(rest);
    } else if let Some(least) = bins.iter_mut().min_by(|a, b| expected(a).total_cmp(&expected(b))) {
        *least = (least.0 + rest.0, least.1 + rest.1);
    }
    bins
}

/// Which hypotheses to reject so that the expected share of false ones among them is at most `q` (Benjamini & Hochberg
/// 1995), in the order given. A p-value that is NaN is never rejected.
pub fn benjamini_hochberg(p: &[f64], q: f64) -> Vec<bool> {
    let mut sorted: Vec<f64> = p.iter().map(|&p| if p.is_nan() { f64::INFINITY } else { p }).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let m = sorted.len() as f64;
    let threshold =
        (1..=sorted.len()).rev().find(|&rank| sorted[rank - 1] <= q * rank as f64 / m).map(|rank| sorted[rank - 1]);
    p.iter().map(|&p| threshold.is_some_and(|t| p <= t)).collect()
}

fn chi_squared(bins: usize) -> Option<ChiSquared> {
    let freedom = bins.checked_sub(1).filter(|&f| f > 0)?;
    ChiSquared::new(freedom as f64).ok()
}

fn pairs<'a>(reference: &'a [u64], current: &'a [u64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let at = |counts: &[u64], i: usize| counts.get(i).copied().unwrap_or(0) as f64;
    (0..reference.len().max(current.len())).map(move |i| (at(reference, i), at(current, i)))
}

fn total(counts: &[u64]) -> f64 {
    total_u64(counts) as f64
}

fn total_u64(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, &n| sum.saturating_add(n))
}

#[cfg(test)]
mod tests;
