//! 256 whole numbers in as little memory as they need: 256 bytes while they are small, 2 KiB when they are not.

use super::CELLS;

/// A number for each cell, all as wide as the one furthest from 0 has asked for. They only widen, so that sums are exact;
/// an `i64` that is full saturates.
#[derive(Clone, Debug, Default)]
pub(super) enum Column {
    /// All are 0.
    #[default]
    Zeros,
    Bytes(Box<[i8; CELLS]>),
    Shorts(Box<[i16; CELLS]>),
    Words(Box<[i32; CELLS]>),
    Longs(Box<[i64; CELLS]>),
}

/// What numbers of a column are read as.
pub(super) trait Number: Copy {
    /// Exact if it fits.
    fn from_long(number: i64) -> Self;
}

/// How numbers of a column are kept.
trait Width: Number {
    /// Adds `more`; false, and nothing has changed, where a sum does not fit.
    fn merge(cells: &mut [Self; CELLS], more: &[Self; CELLS]) -> bool;
}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(impl Number for $number {
            fn from_long(number: i64) -> Self {
                number as Self
            }
        })+
    };
}

macro_rules! widths {
    ($($width:ty),+) => {
        $(impl Width for $width {
            fn merge(cells: &mut [Self; CELLS], more: &[Self; CELLS]) -> bool {
                // Without a branch, so that many are added at once: a sum whose sign is that of neither part is too wide.
                let (mut sums, mut over) = (*cells, 0);
                for ((sum, cell), more) in sums.iter_mut().zip(cells.iter()).zip(more) {
                    *sum = cell.wrapping_add(*more);
                    over |= (cell ^ *sum) & (more ^ *sum);
                }
                if over >= 0 {
                    *cells = sums;
                }
                over >= 0
            }
        })+
    };
}

numbers!(i8, i16, i32, i64, f64);
widths!(i8, i16, i32);

/// The same for each width, so that each loop is compiled for the width that it runs on.
macro_rules! each {
    ($column:expr, $cells:ident => $value:expr, $zeros:expr) => {
        match $column {
            Self::Zeros => $zeros,
            Self::Bytes($cells) => $value,
            Self::Shorts($cells) => $value,
            Self::Words($cells) => $value,
            Self::Longs($cells) => $value,
        }
    };
}

impl Column {
    fn of(numbers: &[i64; CELLS]) -> Self {
        let mut column = Self::Zeros;
        column.widen(numbers.iter().map(|&number| bits(number)).max().unwrap_or(0));
        each!(&mut column, cells => cells.iter_mut().zip(numbers).for_each(|(cell, &number)| *cell = number as _), ());
        column
    }

    /// Whether no number was ever added.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Zeros)
    }

    /// All of them.
    #[allow(clippy::useless_conversion, reason = "of one width of four")]
    pub(super) fn read<T: Number>(&self) -> [T; CELLS] {
        let mut numbers = [T::from_long(0); CELLS];
        each!(self, cells => numbers.iter_mut().zip(cells.iter()).for_each(|(n, cell)| *n = T::from_long((*cell).into())), ());
        numbers
    }

    /// All of them together.
    pub(super) fn total(&self) -> i64 {
        match self {
            Self::Zeros => 0,
            // 256 of these do not fill an `i64`.
            Self::Bytes(cells) => cells.iter().copied().map(i64::from).sum(),
            Self::Shorts(cells) => cells.iter().copied().map(i64::from).sum(),
            Self::Words(cells) => cells.iter().copied().map(i64::from).sum(),
            Self::Longs(cells) => cells.iter().copied().fold(0, i64::saturating_add),
        }
    }

    /// How many are not 0.
    pub(super) fn occupied(&self) -> usize {
        each!(self, cells => cells.iter().filter(|cell| **cell != 0).count(), 0)
    }

    /// Adds to one.
    #[allow(clippy::useless_conversion, reason = "of one width of four")]
    pub(super) fn add(&mut self, cell: u8, more: i64) {
        let cell = usize::from(cell);
        let sum = each!(self, cells => i64::from(cells[cell]), 0).saturating_add(more);
        self.widen(bits(sum));
        each!(self, cells => cells[cell] = sum as _, ());
    }

    /// Adds to each the one of `more`.
    pub(super) fn merge(&mut self, more: &Self) {
        self.widen(more.width());
        while !self.fits_and_merges(more) {
            self.widen(2 * self.width());
        }
    }

    /// False, and nothing has changed, where a sum is too wide.
    fn fits_and_merges(&mut self, more: &Self) -> bool {
        match self {
            Self::Zeros => true,
            Self::Bytes(cells) => Width::merge(cells, &more.read()),
            Self::Shorts(cells) => Width::merge(cells, &more.read()),
            Self::Words(cells) => Width::merge(cells, &more.read()),
            Self::Longs(cells) => {
                let more = more.read::<i64>();
                cells.iter_mut().zip(more).for_each(|(cell, more)| *cell = cell.saturating_add(more));
                true
            }
        }
    }

    /// Each so many times.
    pub(super) fn times(&self, factor: i64) -> Self {
        Self::of(&self.read::<i64>().map(|number| number.saturating_mul(factor)))
    }

    pub(super) fn width(&self) -> u32 {
        match self {
            Self::Zeros => 0,
            Self::Bytes(_) => i8::BITS,
            Self::Shorts(_) => i16::BITS,
            Self::Words(_) => i32::BITS,
            Self::Longs(_) => i64::BITS,
        }
    }

    /// To so many bits at least.
    fn widen(&mut self, bits: u32) {
        if bits <= self.width() {
            return;
        }
        *self = match bits {
            i8::BITS => Self::Bytes(Box::new(self.read())),
            i16::BITS => Self::Shorts(Box::new(self.read())),
            i32::BITS => Self::Words(Box::new(self.read())),
            _ => Self::Longs(Box::new(self.read())),
        };
    }
}

/// The width that a number needs.
fn bits(number: i64) -> u32 {
    if number == 0 {
        0
    } else if i8::try_from(number).is_ok() {
        i8::BITS
    } else if i16::try_from(number).is_ok() {
        i16::BITS
    } else if i32::try_from(number).is_ok() {
        i32::BITS
    } else {
        i64::BITS
    }
}
