//! Fixed-point sums, so that adding windows is exact and independent of their order.
//!
//! Not a general decimal type: it adds, and goes to and from `f64`.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// A sum in millionths of the metric's unit (`Fixed(1_500_000)` is 1.5), up to about ±9.2 · 10¹² units.
///
/// Addition saturates at the ends; short of them it is exact, associative and commutative.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(transparent)]
pub struct Fixed(pub i64);

impl Fixed {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    const PER_UNIT: f64 = 1e6;

    /// The nearest millionth (halves away from zero). Beyond the range it saturates; NaN becomes 0.
    pub fn from_f64(value: f64) -> Self {
        // `as` saturates and maps NaN to 0.
        Self((value * Self::PER_UNIT).round() as i64)
    }

    /// The sum in the metric's unit; exact up to 2⁵³ millionths (9 · 10⁹ units), to 16 digits beyond.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::PER_UNIT
    }
}

impl Add for Fixed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Fixed {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Fixed {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounds_saturates_and_ignores_nan() {
        let table = [
            (1.5, 1_500_000),
            (0.000_000_4, 0),
            (0.000_000_6, 1),
            (-0.000_000_6, -1),
            (f64::NAN, 0),
            (f64::INFINITY, i64::MAX),
            (-1e300, i64::MIN),
        ];
        for (value, millionths) in table {
            assert_eq!(Fixed::from_f64(value), Fixed(millionths), "{value}");
        }
        let mut full = Fixed(i64::MAX);
        full += Fixed(1);
        assert_eq!(full, Fixed(i64::MAX));
    }

    #[test]
    fn ten_tenths_are_one() {
        let sum: Fixed = (0..10).map(|_| Fixed::from_f64(0.1)).sum();
        assert_eq!(sum.to_f64(), 1.0);
        assert_eq!(serde_json::to_string(&sum).unwrap(), "1000000");
    }

    proptest! {
        #[test]
        fn adding_is_associative_and_commutative(
            a in -1_i64 << 60..1 << 60, b in -1_i64 << 60..1 << 60, c in -1_i64 << 60..1 << 60,
        ) {
            let (a, b, c) = (Fixed(a), Fixed(b), Fixed(c));
            prop_assert_eq!((a + b) + c, a + (b + c));
            prop_assert_eq!(a + b, b + a);
        }

        #[test]
        fn millionths_come_back(value in -1_i64 << 50..1 << 50) {
            prop_assert_eq!(Fixed::from_f64(Fixed(value).to_f64()), Fixed(value));
        }
    }
}
