//! Means whose standard error stays honest when one user comes many times.
//!
//! Users are hashed into 256 cells; exposures of one user share a cell, so cells are independent where exposures are
//! not. Cells hold no user and no time, and they count each exposure once: repeats must be dropped before.

use serde::{Deserialize, Serialize};

use crate::fixed::Fixed;

/// The number of cells.
pub const CELLS: usize = 256;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    n: u64,
    sum: Fixed,
}

/// Nothing recorded.
static NONE: [Cell; CELLS] = [Cell { n: 0, sum: Fixed::ZERO }; CELLS];

/// Counts and sums of a metric in 256 cells of users. Nothing without a unit, else 4 KiB whatever is recorded: only the first
/// unit allocates.
///
/// As JSON it is a list of `[cell, n, sum in millionths]`, without the empty cells.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(from = "Vec<(u8, u64, Fixed)>", into = "Vec<(u8, u64, Fixed)>")]
pub struct Cells {
    /// None as long as all are empty.
    cells: Option<Box<[Cell; CELLS]>>,
}

impl Cells {
    /// Cells without a unit.
    pub const fn new() -> Self {
        Self { cells: None }
    }

    fn all(&self) -> &[Cell; CELLS] {
        self.cells.as_deref().unwrap_or(&NONE)
    }

    /// Counts one unit (an exposure, say) of a user of `cell` with its value, rounded to millionths (see [`Fixed`]).
    pub fn record(&mut self, cell: u8, value: f64) {
        self.add(cell, 1, Fixed::from_f64(value));
    }

    /// Adds `n` units with the sum of their values to `cell`. Both saturate.
    pub fn add(&mut self, cell: u8, n: u64, sum: Fixed) {
        if n == 0 && sum == Fixed::default() {
            return;
        }
        let cells = self.cells.get_or_insert_with(|| Box::new(NONE));
        let cell = &mut cells[usize::from(cell)];
        cell.n = cell.n.saturating_add(n);
        cell.sum += sum;
    }

    /// Adds all of `other`: exact, associative and commutative (short of saturation).
    pub fn merge(&mut self, other: &Self) {
        let Some(more) = &other.cells else { return };
        let Some(cells) = &mut self.cells else {
            self.cells = Some(more.clone());
            return;
        };
        for (cell, more) in cells.iter_mut().zip(more.iter()) {
            cell.n = cell.n.saturating_add(more.n);
            cell.sum += more.sum;
        }
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.cells.is_none()
    }

    /// Units, sum and occupied cells, in one walk.
    fn totals(&self) -> (u64, Fixed, usize) {
        let Some(cells) = &self.cells else { return (0, Fixed::ZERO, 0) };
        cells.iter().fold((0, Fixed::ZERO, 0), |(n, sum, occupied), cell| {
            (cell.n.saturating_add(n), sum + cell.sum, occupied + usize::from(cell.n > 0))
        })
    }

    /// How many units were recorded.
    pub fn n(&self) -> u64 {
        self.totals().0
    }

    /// The sum of the values, in the metric's unit.
    pub fn sum(&self) -> f64 {
        self.totals().1.to_f64()
    }

    /// Units and sum of each of the 256 cells, in order; of an empty one too.
    pub fn parts(&self) -> impl Iterator<Item = (u64, Fixed)> + Clone + '_ {
        self.all().iter().map(|cell| (cell.n, cell.sum))
    }

    /// How many cells hold a unit: the independent groups behind the standard error.
    pub fn occupied(&self) -> usize {
        self.totals().2
    }

    /// The mean value of a unit; `None` without units.
    pub fn mean(&self) -> Option<f64> {
        let (n, sum, _) = self.totals();
        (n > 0).then(|| sum.to_f64() / n as f64)
    }

    /// The standard error of the mean, robust to dependence within cells; `None` with fewer than 2 occupied cells.
    ///
    /// Linearised ratio (delta method): with R the mean and Z = s − R n of a cell, the variance is
    /// C/(C−1) · Σ Z² / N² over the C occupied cells.
    pub fn standard_error(&self) -> Option<f64> {
        let (n, sum, occupied) = self.totals();
        if occupied < 2 {
            return None;
        }
        let (n, occupied) = (n as f64, occupied as f64);
        let mean = sum.to_f64() / n;
        let squares: f64 = self.all().iter().map(|c| (c.sum.to_f64() - mean * c.n as f64).powi(2)).sum();
        Some((occupied / (occupied - 1.0) * squares).sqrt() / n)
    }
}

impl Default for Cells {
    fn default() -> Self {
        Self::new()
    }
}

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
            .zip(cells.all().iter())
            .filter(|(_, c)| **c != Cell::default())
            .map(|(index, c)| (index, c.n, c.sum))
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

    proptest! {
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
