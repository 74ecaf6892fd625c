//! The mergeable counts on the bins of one feature. It does not know what a bin means, only which one was hit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Bins;

/// Two histograms whose bins are not the same cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// Bins of the histogram that was to grow.
    pub left: usize,
    /// Bins of the histogram that was to be added.
    pub right: usize,
}

impl fmt::Display for ShapeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "histograms of {} and {} bins cannot be merged; count both on the bins of one bundle",
            self.left, self.right
        )
    }
}

impl std::error::Error for ShapeMismatch {}

/// How often each bin was hit. Merging is exact, associative and commutative.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(transparent)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    /// An empty histogram with a count for each bin of `bins`.
    pub fn new(bins: &Bins) -> Self {
        Self::with_len(bins.len())
    }

    /// An empty histogram of `len` bins.
    pub fn with_len(len: usize) -> Self {
        Self { counts: vec![0; len] }
    }

    /// Counts one value in bin `index` (see [`Bins::index_of`]).
    pub fn add(&mut self, index: usize) {
        self.add_n(index, 1);
    }

    /// Counts `n` values in bin `index`. An index beyond the end counts in the last bin, MISSING; counts saturate.
    pub fn add_n(&mut self, index: usize, n: u64) {
        let last = self.counts.len().saturating_sub(1);
        if let Some(count) = self.counts.get_mut(index.min(last)) {
            *count = count.saturating_add(n);
        }
    }

    /// How many values were counted, MISSING among them.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// The count of each bin, in the order of the bins.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Adds the counts of `other`.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the numbers of bins differ; `self` is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), ShapeMismatch> {
        let (left, right) = (self.counts.len(), other.counts.len());
        if left != right {
            return Err(ShapeMismatch { left, right });
        }
        for (count, n) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*n);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shapes_are_checked_and_a_stray_index_is_missing() {
        let mut small = Histogram::with_len(2);
        small.add(99);
        assert_eq!(small.counts(), [0, 1]);
        let error = small.merge(&Histogram::with_len(3)).unwrap_err();
        assert_eq!(error, ShapeMismatch { left: 2, right: 3 });
        assert!(error.to_string().contains("2 and 3 bins"));
        Histogram::with_len(0).add(0);
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative(
            parts in prop::array::uniform3(prop::collection::vec(0..1_000_000_u64, 5)),
        ) {
            let [a, b, c] = parts.map(|counts| Histogram { counts });
            let sum = |x: &Histogram, y: &Histogram| {
                let mut sum = x.clone();
                sum.merge(y).unwrap();
                sum
            };
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
        }
    }
}
