//! Batch drift on frozen bins: has a feature, or the score, moved since training, and does it matter?
//!
//! The decision rule D1 ([`assess_features`]): an alarm needs three things at once, an effect that is large enough to act
//! on, an effect above what noise gives at these sample sizes, and significance after correction for the number of
//! features. The other distances are reported beside it and decide nothing. Nothing here knows why something moved or
//! what to do about it, and nothing here looks for bad data: [`crate::quality`] does, and comes first.

use statrs::distribution::{ChiSquared, ContinuousCDF};

mod distance;
mod homogeneity;
mod multiplicity;
mod persistence;
mod report;
mod rule;
mod two_sample;

pub use distance::{js_distance, js_divergence, ks_on_bins, w1_over_sd};
pub use homogeneity::{ChiSquare, chi_square, chi_square_p};
pub use multiplicity::{adjusted_p, benjamini_hochberg};
pub use persistence::Persistence;
pub use report::{DriftReport, FeatureDrift, Level};
pub use rule::{DriftRule, Feature, FeatureCounts, assess, assess_features};
pub use two_sample::{KolmogorovSmirnov, MannWhitney, kolmogorov_smirnov, mann_whitney};

/// Added to every count, so that an empty bin has a share.
const SMOOTHING: f64 = 0.5;
/// Confidence of the noise floor.
const NOISE_LEVEL: f64 = 0.999;

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

fn chi_squared(bins: usize) -> Option<ChiSquared> {
    let freedom = bins.checked_sub(1).filter(|&f| f > 0)?;
    ChiSquared::new(freedom as f64).ok()
}

fn pairs<'a>(reference: &'a [u64], current: &'a [u64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let at = |counts: &[u64], i: usize| counts.get(i).copied().unwrap_or(0) as f64;
    (0..reference.len().max(current.len())).map(move |i| (at(reference, i), at(current, i)))
}

/// The shares of both sides, unsmoothed, bin by bin; `None` when either side has no counts.
fn shares<'a>(reference: &'a [u64], current: &'a [u64]) -> Option<impl Iterator<Item = (f64, f64)> + 'a> {
    let (n, m) = (total(reference), total(current));
    (n > 0.0 && m > 0.0).then(|| pairs(reference, current).map(move |(r, c)| (r / n, c / m)))
}

fn total(counts: &[u64]) -> f64 {
    total_u64(counts) as f64
}

fn total_u64(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, &n| sum.saturating_add(n))
}

#[cfg(test)]
mod tests;
