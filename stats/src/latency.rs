//! A mergeable histogram of latencies with a bounded relative error.
//!
//! Log-linear buckets in the manner of HdrHistogram: 128 linear buckets an octave. It holds no times of arrival and
//! knows no objective; a caller that needs an exact count over its objective counts that itself.

use serde::{Deserialize, Serialize};

/// Linear buckets in each octave: a bucket is at most 1/128 = 0.8 % of its values wide.
const PER_OCTAVE: u64 = 128;
const OCTAVE_BITS: u32 = PER_OCTAVE.trailing_zeros();
/// 60 s in microseconds.
const LONGEST: u64 = 60_000_000;
const LEN: usize = index_of(LONGEST) + 1;

const fn index_of(micros: u64) -> usize {
    if micros < PER_OCTAVE {
        return micros as usize;
    }
    let octave = micros.ilog2() - OCTAVE_BITS;
    octave as usize * PER_OCTAVE as usize + (micros >> octave) as usize
}

/// The least value of bucket `index`, in microseconds; of the bucket beyond the last one too.
const fn lowest_of(index: usize) -> u64 {
    let octave = (index as u64 / PER_OCTAVE).saturating_sub(1);
    (index as u64 - octave * PER_OCTAVE) << octave
}

/// The middle of bucket `index`, in microseconds.
fn middle_of(index: usize) -> u64 {
    let (low, beyond) = (lowest_of(index), lowest_of(index + 1));
    (low + (beyond - 1 - low) / 2).min(LONGEST)
}

const fn clamped(micros: u64) -> u64 {
    match micros {
        0 => 1,
        LONGEST.. => LONGEST,
        _ => micros,
    }
}

/// Latencies from 1 µs to 60 s (clamped) with a relative error below 1 %. Nothing without a latency, else about 20 KiB: only
/// the first one allocates.
///
/// As JSON it is a list of `[bucket, count]` pairs, without the empty buckets.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
#[serde(into = "Vec<(u16, u64)>", try_from = "Vec<(u16, u64)>")]
pub struct LatencyHistogram {
    /// Of every bucket; empty as long as all are.
    counts: Vec<u64>,
}

impl LatencyHistogram {
    /// An empty histogram.
    pub const fn new() -> Self {
        Self { counts: Vec::new() }
    }

    /// Counts one latency, in microseconds. Less than 1 µs counts as 1 µs, more than 60 s as 60 s.
    pub fn record(&mut self, micros: u64) {
        self.add(index_of(clamped(micros)), 1);
    }

    fn add(&mut self, index: usize, n: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; LEN];
        }
        self.counts[index] = self.counts[index].saturating_add(n);
    }

    /// The latency, in microseconds, that a share `q` of the requests did not exceed, to within 0.4 %.
    ///
    /// `None` without requests or when `q` is not in [0, 1]. Exact below 128 µs.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let total = self.count();
        if total == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0_u64;
        let index = self.counts.iter().position(|&n| {
            seen = seen.saturating_add(n);
            seen >= rank
        })?;
        Some(middle_of(index))
    }

    /// The time of all requests together, in microseconds, to within 0.4 %: over a period, requests at work on average
    /// (Little's law).
    pub fn total(&self) -> u64 {
        let time = |(index, n): (u16, u64)| middle_of(usize::from(index)).saturating_mul(n);
        self.occupied().map(time).fold(0, u64::saturating_add)
    }

    /// How many requests were counted.
    pub fn count(&self) -> u64 {
        sum(&self.counts)
    }

    /// How many requests took longer than `micros`, where the threshold is moved up by less than 1 % to the end of its
    /// bucket: it never counts a request that was not slower. 60 s and more give 0.
    pub fn count_over(&self, micros: u64) -> u64 {
        let first = if micros == 0 { 0 } else { index_of(clamped(micros)) + 1 };
        sum(self.counts.get(first..).unwrap_or_default())
    }

    /// Adds the counts of `other`: exact, associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        for (count, n) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*n);
        }
    }

    fn occupied(&self) -> impl Iterator<Item = (u16, u64)> {
        // LEN is far below 2^16.
        (0_u16..).zip(self.counts.iter().copied()).filter(|&(_, n)| n > 0)
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, &n| sum.saturating_add(n))
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.occupied()).finish()
    }
}

impl From<LatencyHistogram> for Vec<(u16, u64)> {
    fn from(histogram: LatencyHistogram) -> Self {
        histogram.occupied().collect()
    }
}

impl TryFrom<Vec<(u16, u64)>> for LatencyHistogram {
    type Error = String;

    fn try_from(pairs: Vec<(u16, u64)>) -> Result<Self, String> {
        let mut histogram = Self::new();
        for (index, n) in pairs {
            if usize::from(index) >= LEN {
                return Err(format!("latency bucket {index} does not exist; the last one is {}", LEN - 1));
            }
            if n > 0 {
                histogram.add(usize::from(index), n);
            }
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        values.iter().for_each(|&v| histogram.record(v));
        histogram
    }

    #[test]
    fn buckets_are_contiguous() {
        for index in 0..LEN {
            assert_eq!(index_of(lowest_of(index)), index);
            assert_eq!(index_of(lowest_of(index + 1) - 1), index);
        }
    }

    #[test]
    fn quantiles_of_a_known_sample() {
        let histogram = of(&(1..=100).collect::<Vec<_>>());
        assert_eq!(histogram.quantile(0.0), Some(1));
        assert_eq!(histogram.quantile(0.5), Some(50));
        assert_eq!(histogram.quantile(0.99), Some(99));
        assert_eq!(histogram.quantile(1.0), Some(100));
        assert_eq!(histogram.count_over(90), 10);
        assert_eq!(histogram.count_over(0), 100);
        assert_eq!(histogram.quantile(f64::NAN), None);
        assert_eq!(LatencyHistogram::new().quantile(0.5), None);
    }

    #[test]
    fn ends_are_clamped() {
        let histogram = of(&[0, u64::MAX]);
        assert_eq!(histogram.quantile(0.0), Some(1));
        let longest = histogram.quantile(1.0).unwrap() as f64;
        assert!((longest / LONGEST as f64 - 1.0).abs() < 0.01);
        assert_eq!(histogram.count_over(u64::MAX), 0);
    }

    #[test]
    fn json_is_sparse_and_checked() {
        let histogram = of(&[5, 5, 1000]);
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(text, "[[5,2],[506,1]]");
        assert_eq!(serde_json::from_str::<LatencyHistogram>(&text).unwrap(), histogram);
        let error = serde_json::from_str::<LatencyHistogram>("[[9999,1]]").unwrap_err();
        assert!(error.to_string().contains("bucket 9999 does not exist"));
    }

    proptest! {
        #[test]
        fn a_value_comes_back_within_one_percent(micros in 1..=LONGEST) {
            let back = of(&[micros]).quantile(0.5).unwrap() as f64;
            prop_assert!((back / micros as f64 - 1.0).abs() <= 0.005);
            prop_assert_eq!(of(&[micros]).count_over(micros), 0);
            prop_assert_eq!(of(&[micros]).count_over(micros * 99 / 100 - u64::from(micros < 100)), 1);
        }

        #[test]
        fn merging_is_associative_and_commutative(
            parts in prop::array::uniform3(prop::collection::vec(0..100_000_000_u64, 0..20)),
        ) {
            let [a, b, c] = parts.map(|values| of(&values));
            let sum = |x: &LatencyHistogram, y: &LatencyHistogram| {
                let mut sum = x.clone();
                sum.merge(y);
                sum
            };
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
        }
    }
}
