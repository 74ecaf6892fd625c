//! Means whose standard error stays honest when one user comes many times.
//!
//! Users are hashed into 256 cells; exposures of one user share a cell, so cells are independent where exposures are
//! not. Cells hold no user and no time, and they count each exposure once: repeats must be dropped before.

use serde::{Deserialize, Serialize};

use crate::fixed::Fixed;

mod column;

use column::Column;

/// The number of cells.
pub const CELLS: usize = 256;
/// Millionths in a whole.
const WHOLE: i64 = 1_000_000;

/// Counts and sums of a metric in 256 cells of users. Nothing without a unit, else as much memory as the numbers need: 1 KiB
/// for some thousand units of 0 or 1 in each cell, and never more than 4 KiB.
///
/// As JSON it is a list of `[cell, n, sum in millionths]`, without the empty cells.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(from = "Vec<(u8, u64, Fixed)>", into = "Vec<(u8, u64, Fixed)>")]
pub struct Cells {
    n: Column,
    /// Wholes, which rewards and errors mostly are and which need less memory, until a sum has a fraction; then millionths.
    sum: Column,
    has_fractions: bool,
}

/// The mean of a unit, and what its standard error is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// Units.
    pub n: u64,
    /// Cells that hold one.
    pub occupied: usize,
    /// The mean value.
    pub value: f64,
    /// See [`Cells::standard_error`].
    pub error: Option<f64>,
}

impl Cells {
    /// Cells without a unit.
    pub const fn new() -> Self {
        Self { n: Column::Zeros, sum: Column::Zeros, has_fractions: false }
    }

    /// Counts one unit (an exposure, say) of a user of `cell` with its value, rounded to millionths (see [`Fixed`]).
    pub fn record(&mut self, cell: u8, value: f64) {
        self.add(cell, 1, Fixed::from_f64(value));
    }

    /// Adds `n` units with the sum of their values to `cell`. Both saturate, as an `i64` does.
    pub fn add(&mut self, cell: u8, n: u64, sum: Fixed) {
        let Fixed(millionths) = sum;
        if millionths % WHOLE != 0 {
            self.take_fractions();
        }
        self.n.add(cell, i64::try_from(n).unwrap_or(i64::MAX));
        self.sum.add(cell, millionths / self.unit());
    }

    /// Adds all of `other`: exact, associative and commutative (short of saturation).
    pub fn merge(&mut self, other: &Self) {
        if other.has_fractions {
            self.take_fractions();
        }
        self.n.merge(&other.n);
        if self.has_fractions == other.has_fractions {
            self.sum.merge(&other.sum);
        } else {
            self.sum.merge(&other.sum.times(WHOLE));
        }
    }

    /// From now on sums are millionths.
    fn take_fractions(&mut self) {
        if !self.has_fractions {
            self.sum = self.sum.times(WHOLE);
            self.has_fractions = true;
        }
    }

    /// The millionths in which sums are kept.
    fn unit(&self) -> i64 {
        if self.has_fractions { 1 } else { WHOLE }
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.n.is_empty() && self.sum.is_empty()
    }

    /// How many units were recorded.
    pub fn n(&self) -> u64 {
        self.n.total().unsigned_abs()
    }

    /// The sum of the values, in the metric's unit.
    pub fn sum(&self) -> f64 {
        Fixed(self.sum.total().saturating_mul(self.unit())).to_f64()
    }

    /// Units and sum of each of the 256 cells, in order; of an empty one too.
    pub fn parts(&self) -> impl Iterator<Item = (u64, Fixed)> + Clone + '_ {
        let (n, sum, unit) = (self.n.read::<i64>(), self.sum.read::<i64>(), self.unit());
        n.into_iter().zip(sum).map(move |(n, sum)| (n.unsigned_abs(), Fixed(sum.saturating_mul(unit))))
    }

    /// How many cells hold a unit: the independent groups behind the standard error.
    pub fn occupied(&self) -> usize {
        self.n.occupied()
    }

    /// The mean value of a unit; `None` without units.
    pub fn mean(&self) -> Option<f64> {
        let n = self.n();
        (n > 0).then(|| self.sum() / n as f64)
    }

    /// The standard error of the mean, robust to dependence within cells; `None` with fewer than 2 occupied cells.
    ///
    /// Linearised ratio (delta method): with R the mean and Z = s − R n of a cell, the variance is
    /// C/(C−1) · Σ Z² / N² over the C occupied cells.
    pub fn standard_error(&self) -> Option<f64> {
        self.measure()?.error
    }

    /// The mean with its standard error, for who needs both; `None` without units.
    pub fn measure(&self) -> Option<Mean> {
        let (n, occupied, value) = (self.n(), self.occupied(), self.mean()?);
        let error = (occupied >= 2).then(|| {
            let (counts, sums) = (self.n.read::<f64>(), self.sum.read::<f64>());
            let unit = self.unit() as f64;
            let per = WHOLE as f64;
            let squares: f64 =
                counts.iter().zip(&sums).map(|(count, sum)| (sum * unit / per - value * count).powi(2)).sum();
            let groups = occupied as f64;
            (groups / (groups - 1.0) * squares).sqrt() / n as f64
        });
        Some(Mean { n, occupied, value, error })
    }

    /// How far each cell pulls the mean away: `(s − R n) / N`, with R and N of [`Self::measure`]. Pulls of values over the same
    /// users add up cell by cell, and `C/(C−1) Σ pull²` over C occupied cells is a squared standard error.
    pub fn pulls(&self, of: &Mean) -> [f64; CELLS] {
        let (mut pulls, sums) = (self.n.read::<f64>(), self.sum.read::<f64>());
        let each = (of.n.max(1) as f64).recip();
        let (unit, value) = (self.unit() as f64 / WHOLE as f64 * each, of.value * each);
        pulls.iter_mut().zip(&sums).for_each(|(count, sum)| *count = sum * unit - value * *count);
        pulls
    }
}

/// By what was recorded, however it is kept.
impl PartialEq for Cells {
    fn eq(&self, other: &Self) -> bool {
        self.parts().eq(other.parts())
    }
}

impl Eq for Cells {}

impl From<Vec<(u8, u64, Fixed)>> for Cells {
    fn from(parts: Vec<(u8, u64, Fixed)>) -> Self {
        let mut cells = Self::new();
        for (cell, n, sum) in parts {
            cells.add(cell, n, sum);
        }
        cells
    }
}

impl From<Cells> for Vec<(u8, u64, Fixed)> {
    fn from(cells: Cells) -> Self {
        (0..=u8::MAX)
            .zip(cells.parts())
            .filter(|(_, part)| *part != (0, Fixed::ZERO))
            .map(|(index, (n, sum))| (index, n, sum))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[(u8, f64)]) -> Cells {
        let mut cells = Cells::new();
        values.iter().for_each(|&(cell, x)| cells.record(cell, x));
        cells
    }

    #[test]
    fn mean_and_error_of_a_worked_example() {
        // Z is 0, .5 and -.5: 3/2 * .5 / 36.
        let cells = of(&[(0, 1.0), (0, 0.0), (7, 1.0), (255, 0.0), (255, 0.0), (255, 1.0)]);
        assert_eq!(cells.n(), 6);
        assert_eq!(cells.occupied(), 3);
        assert_eq!(cells.mean(), Some(0.5));
        let expected = (1.5 * 0.5 / 36.0_f64).sqrt();
        assert!((cells.standard_error().unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn one_unit_a_cell_is_the_textbook_error() {
        let cells = of(&[(1, 2.0), (2, 4.0), (3, 9.0)]);
        // Variance 13 (n - 1) over 3.
        assert!((cells.standard_error().unwrap() - (13.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_user_who_comes_often_does_not_make_us_surer() {
        let once = [(1, 1.0), (2, 0.0), (3, 1.0), (4, 0.0)];
        let often = of(&once.repeat(50));
        assert_eq!(often.standard_error(), of(&once).standard_error());
    }

    #[test]
    fn too_little_is_none() {
        assert_eq!(Cells::new().mean(), None);
        assert_eq!(Cells::new().standard_error(), None);
        assert_eq!(of(&[(9, 1.0), (9, 0.0)]).standard_error(), None);
    }

    #[test]
    fn json_is_sparse() {
        let cells = of(&[(3, 0.25), (3, 0.5), (200, 1.0)]);
        let text = serde_json::to_string(&cells).unwrap();
        assert_eq!(text, "[[3,2,750000],[200,1,1000000]]");
        assert_eq!(serde_json::from_str::<Cells>(&text).unwrap(), cells);
    }

    #[test]
    fn numbers_are_as_wide_as_they_must_be() {
        let widths = |cells: &Cells| [cells.n.width(), cells.sum.width()];
        let mut cells = Cells::new();
        for (units, sum, expected) in [
            (0, 0, [0, 0]),
            (127, 0, [8, 0]),
            (0, 100 * WHOLE, [8, 8]),
            (1, 0, [16, 8]),
            (32_640, 28 * WHOLE, [32, 16]),
            (1 << 31, 0, [64, 16]),
            (0, 1, [64, 32]),
        ] {
            cells.add(3, units, Fixed(sum));
            assert_eq!(widths(&cells), expected, "{units} more and {sum}");
        }
        assert_eq!((cells.n(), cells.sum()), (127 + 1 + 32_640 + (1 << 31), 128.000_001));
        assert!(Cells::new().is_empty() && !cells.is_empty());
    }

    #[test]
    fn the_ends_saturate() {
        let mut cells = Cells::new();
        for _ in 0..2 {
            cells.add(0, u64::MAX, Fixed(i64::MIN));
            cells.merge(&cells.clone());
        }
        assert_eq!(cells.parts().next(), Some((i64::MAX.unsigned_abs(), Fixed(i64::MIN))));
    }

    /// Mean and standard error from cells that are all as wide as can be.
    fn wide(parts: &[(u64, Fixed)]) -> Option<Mean> {
        let n: u64 = parts.iter().map(|part| part.0).sum();
        let sum: Fixed = parts.iter().map(|part| part.1).sum();
        let occupied = parts.iter().filter(|part| part.0 > 0).count();
        let value = (n > 0).then(|| sum.to_f64() / n as f64)?;
        let squares: f64 = parts.iter().map(|(n, sum)| (sum.to_f64() - value * *n as f64).powi(2)).sum();
        let groups = occupied as f64;
        let error = (occupied >= 2).then(|| (groups / (groups - 1.0) * squares).sqrt() / n as f64);
        Some(Mean { n, occupied, value, error })
    }

    fn added() -> impl Strategy<Value = (u8, u64, i64)> {
        let sum = (0_u32..44, -1_i64..=1).prop_flat_map(|(bits, whole)| {
            let most = 1_i64 << bits;
            (-most..=most).prop_map(move |sum| if whole == 0 { sum } else { sum / WHOLE * WHOLE })
        });
        (any::<u8>(), (0_u32..44).prop_flat_map(|bits| 0..=1_u64 << bits), sum)
    }

    proptest! {
        /// However narrow the numbers are kept, they are the same, and what follows from them is so to the last bit.
        #[test]
        fn width_changes_nothing(parts in prop::collection::vec(prop::collection::vec(added(), 0..40), 1..4)) {
            let (mut merged, mut expected) = (Cells::new(), vec![(0_u64, Fixed::ZERO); CELLS]);
            for part in &parts {
                let mut cells = Cells::new();
                for &(cell, n, sum) in part {
                    cells.add(cell, n, Fixed(sum));
                    expected[usize::from(cell)].0 += n;
                    expected[usize::from(cell)].1 += Fixed(sum);
                }
                merged.merge(&cells);
            }
            prop_assert!(merged.parts().eq(expected.iter().copied()));
            prop_assert_eq!(merged.measure(), wide(&expected));
            prop_assert_eq!(merged.mean(), wide(&expected).map(|mean| mean.value));
            let pulls = merged.measure().map_or([0.0; CELLS], |mean| merged.pulls(&mean));
            let groups = merged.occupied() as f64;
            let squared = groups / (groups - 1.0) * pulls.iter().map(|pull| pull * pull).sum::<f64>();
            let error = merged.standard_error().unwrap_or_default();
            let close = 1e-9 * (error + merged.mean().unwrap_or_default().abs());
            prop_assert!(groups < 2.0 || (squared.sqrt() - error).abs() <= close, "{} {}", squared.sqrt(), error);
            let read: Cells = serde_json::from_str(&serde_json::to_string(&merged).unwrap()).unwrap();
            prop_assert_eq!(read, merged);
        }

        #[test]
        fn merging_is_associative_and_commutative(
            parts in prop::array::uniform3(prop::collection::vec((any::<u8>(), -1e6..1e6_f64), 0..20)),
        ) {
            let [a, b, c] = parts.map(|values| of(&values));
            let sum = |x: &Cells, y: &Cells| {
                let mut sum = x.clone();
                sum.merge(y);
                sum
            };
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
            prop_assert_eq!(sum(&a, &b).n(), a.n() + b.n());
        }
    }
}
