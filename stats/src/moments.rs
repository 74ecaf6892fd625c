//! Count, mean, spread and range of a number, with a merge that is exact.
//!
//! Every value is rounded to millionths of its unit ([`Fixed`]), and count, Σx and Σx² are kept as integers, so that any
//! split of the values over any number of replicas gives the same state to the bit. No quantiles: that is [`crate::bins`].

use serde::{Deserialize, Serialize};

use crate::fixed::Fixed;

/// Squared millionths in a squared unit.
const PER_SQUARED_UNIT: f64 = 1e12;

/// Mergeable moments of a number. Recording never allocates.
///
/// Integers: Σx in millionths of the unit (`i128`, never full), Σx² in millionths² (`u128`, which holds 3 · 10¹⁴ values of
/// a million units, or 3 · 10⁸ values of 10⁹ units; full, it saturates and the spread is unknown). Values beyond
/// ±9.2 · 10¹² units count as that. Choose a unit in which values are neither far below a millionth nor beyond that.
///
/// As JSON: `{"n":2,"sum":"3000000","squares":"5000000000000","min":1000000,"max":2000000}`; wide integers are text.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(into = "Parts", try_from = "Parts")]
pub struct Moments {
    n: u64,
    sum: i128,
    squares: u128,
    /// Of the values; unused without values.
    min: i64,
    max: i64,
}

/// What is written. Not every JSON reader has integers of 128 bits, so those are text.
#[derive(Serialize, Deserialize)]
struct Parts {
    n: u64,
    sum: String,
    squares: String,
    min: i64,
    max: i64,
}

impl Moments {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value, in the feature's unit. Values that are not finite are left out (they are MISSING to [`crate::bins`]).
    pub fn record(&mut self, value: f64) {
        if value.is_finite() {
            let Fixed(x) = Fixed::from_f64(value);
            let square = u128::from(x.unsigned_abs()).pow(2);
            self.merge(&Self { n: 1, sum: i128::from(x), squares: square, min: x, max: x });
        }
    }

    /// Adds the values of `other`: exact, associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        (self.min, self.max) = match (self.n, other.n) {
            (_, 0) => (self.min, self.max),
            (0, _) => (other.min, other.max),
            _ => (self.min.min(other.min), self.max.max(other.max)),
        };
        self.n = self.n.saturating_add(other.n);
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }

    /// How many values were recorded.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The mean, in the feature's unit; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum as f64 / self.n as f64 / 1e6)
    }

    /// M₂ = Σ (x − mean)², in the unit squared; 0 without values, `None` if Σx² is full.
    ///
    /// Without cancellation: with q = ⌊Σx / n⌋ and r = Σx − n q, M₂ = (Σx² − n q² − 2 q r) − r² / n, where the bracket,
    /// Σ (x − q)², is exact.
    pub fn m2(&self) -> Option<f64> {
        if self.n == 0 || self.squares == u128::MAX {
            return (self.n == 0).then_some(0.0);
        }
        let n = i128::from(self.n);
        let (q, r) = (self.sum.div_euclid(n), self.sum.rem_euclid(n));
        // Terms may pass 2¹²⁷, the result, 0 ≤ Σ (x − q)² < 2¹²⁸, does not: arithmetic modulo 2¹²⁸ is exact.
        let taken = n.wrapping_mul(q).wrapping_mul(q).wrapping_add(q.wrapping_mul(r).wrapping_mul(2));
        let around_q = self.squares.wrapping_sub(taken.cast_unsigned());
        let m2 = around_q as f64 - r as f64 * (r as f64 / n as f64);
        Some(m2.max(0.0) / PER_SQUARED_UNIT)
    }

    /// The variance of the values (`n - 1` below the line), in the unit squared; `None` with fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        let below = self.n.checked_sub(1).filter(|&n| n > 0)?;
        Some(self.m2()? / below as f64)
    }

    /// The standard deviation of the values taken as the whole population (`n` below the line), in the unit.
    pub fn deviation(&self) -> Option<f64> {
        (self.n > 0).then(|| self.m2().map(|m2| (m2 / self.n as f64).sqrt()))?
    }

    /// The least value, in the unit; `None` without values.
    pub fn min(&self) -> Option<f64> {
        (self.n > 0).then(|| Fixed(self.min).to_f64())
    }

    /// The greatest value, in the unit; `None` without values.
    pub fn max(&self) -> Option<f64> {
        (self.n > 0).then(|| Fixed(self.max).to_f64())
    }
}

impl From<Moments> for Parts {
    fn from(m: Moments) -> Self {
        Self { n: m.n, sum: m.sum.to_string(), squares: m.squares.to_string(), min: m.min, max: m.max }
    }
}

impl TryFrom<Parts> for Moments {
    type Error = String;

    fn try_from(parts: Parts) -> Result<Self, String> {
        let sum: i128 = parts.sum.parse().map_err(|_| "moments: sum is not a whole number of millionths".to_owned())?;
        let squares: u128 =
            parts.squares.parse().map_err(|_| "moments: squares is not a whole number of millionths²".to_owned())?;
        let Parts { n, min, max, .. } = parts;
        // Both products fit: |min| and n are below 2⁶⁴.
        let (least, most) = (i128::from(n) * i128::from(min), i128::from(n) * i128::from(max));
        let possible = if n == 0 { sum == 0 && squares == 0 } else { least <= sum && sum <= most };
        if !(possible && min <= max && enough_squares(n, sum, squares)) {
            return Err("moments: n, sum, squares, min and max contradict each other; count anew".to_owned());
        }
        Ok(Self { n, sum, squares, min, max })
    }
}

/// Whether Σx² ≥ (Σx)² / n, up to the rounding of the mean.
fn enough_squares(n: u64, sum: i128, squares: u128) -> bool {
    let mean = sum.unsigned_abs() / u128::from(n.max(1));
    mean.checked_mul(mean).and_then(|square| square.checked_mul(u128::from(n))).is_some_and(|least| least <= squares)
        || squares == u128::MAX
}

#[cfg(test)]
mod tests;
