//! Two means over the same subjects: how uncertain is their difference? Scores of two models for the same users go up
//! and down together, and what they share cancels out.

use serde::{Deserialize, Serialize};

/// Variances and covariance of two means over the same `n` subjects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedSpread {
    /// Subjects.
    pub n: u64,
    /// Variance of the first mean.
    pub first: f64,
    /// Variance of the second mean.
    pub second: f64,
    /// Covariance of both.
    pub covariance: f64,
}

impl PairedSpread {
    /// From each subject's two values, in two passes (so that large values lose no digits). Fewer than two subjects have
    /// no spread that could be known: it is infinite.
    pub fn of(pairs: &[(f64, f64)]) -> Self {
        let n = pairs.len() as f64;
        if pairs.len() < 2 {
            return Self { n: pairs.len() as u64, first: f64::INFINITY, second: f64::INFINITY, covariance: 0.0 };
        }
        let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
        let (a, b) = (mean(|pair| pair.0), mean(|pair| pair.1));
        let over = n * (n - 1.0);
        Self {
            n: pairs.len() as u64,
            first: pairs.iter().map(|pair| (pair.0 - a).powi(2)).sum::<f64>() / over,
            second: pairs.iter().map(|pair| (pair.1 - b).powi(2)).sum::<f64>() / over,
            covariance: pairs.iter().map(|pair| (pair.0 - a) * (pair.1 - b)).sum::<f64>() / over,
        }
    }

    /// Standard error of `first - weight · second`; infinite if it cannot be known.
    pub fn standard_error(&self, weight: f64) -> f64 {
        if !(self.first.is_finite() && self.second.is_finite()) {
            return f64::INFINITY;
        }
        let variance = self.first + weight * weight * self.second - 2.0 * weight * self.covariance;
        variance.max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_cancels_out() {
        let same: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), f64::from(i) + 3.0)).collect();
        let spread = PairedSpread::of(&same);
        assert!(spread.standard_error(1.0) < 1e-9, "{spread:?}");
        assert!((spread.standard_error(0.0) - (841.666_666_666_666_6_f64 / 100.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn by_hand() {
        // Differences 1, 3, 2: variance 1, of the mean 1/3.
        let spread = PairedSpread::of(&[(2.0, 1.0), (3.0, 0.0), (7.0, 5.0)]);
        assert!((spread.standard_error(1.0) - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(spread.n, 3);
    }

    #[test]
    fn one_subject_says_nothing() {
        assert_eq!(PairedSpread::of(&[(1.0, 2.0)]).standard_error(1.0), f64::INFINITY);
        assert_eq!(PairedSpread::of(&[]).standard_error(1.0), f64::INFINITY);
    }
}
