//! Is the difference of two rows of counts more than chance? It says nothing about whether the difference matters.

use statrs::distribution::ContinuousCDF;

use super::{chi_squared, pairs, total};

/// Bins in which less is expected are pooled before the test.
const LEAST_EXPECTED: f64 = 5.0;

/// Pearson's test of homogeneity of two rows of counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquare {
    /// X².
    pub statistic: f64,
    /// Degrees of freedom: bins after pooling, less one.
    pub freedom: usize,
    /// The probability of so large an X² if nothing has changed.
    pub p: f64,
}

/// Pearson's chi-square test of homogeneity (no continuity correction) of two rows of raw counts.
///
/// Bins with fewer than 5 expected in either row are pooled into one, and that one with the smallest other bin if it is
/// still too small. A p of 1 when fewer than two bins or no counts are left: no evidence.
pub fn chi_square(reference: &[u64], current: &[u64]) -> ChiSquare {
    let nothing = ChiSquare { statistic: 0.0, freedom: 0, p: 1.0 };
    let (n_reference, n_current) = (total(reference), total(current));
    if n_reference == 0.0 || n_current == 0.0 {
        return nothing;
    }
    let bins = pool_small_bins(reference, current);
    let Some(chi2) = chi_squared(bins.len()) else {
        return nothing;
    };
    let n = n_reference + n_current;
    let (share_reference, share_current) = (n_reference / n, n_current / n);
    let statistic: f64 = bins
        .iter()
        .map(|&(r, c)| {
            let (er, ec) = ((r + c) * share_reference, (r + c) * share_current);
            (r - er).powi(2) / er + (c - ec).powi(2) / ec
        })
        .sum();
    ChiSquare { statistic, freedom: bins.len() - 1, p: chi2.sf(statistic).clamp(0.0, 1.0) }
}

/// The p-value of [`chi_square`].
pub fn chi_square_p(reference: &[u64], current: &[u64]) -> f64 {
    chi_square(reference, current).p
}

pub(super) fn pool_small_bins(reference: &[u64], current: &[u64]) -> Vec<(f64, f64)> {
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
