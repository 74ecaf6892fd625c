//! From record batches to interactions, counting on the way what checks ask for.
//!
//! What it does not do: it refuses nothing but what cannot be understood; limits are in [`super::checks`].

use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::{Array, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use fairway_model::{Interactions, InteractionsBuilder};
use fairway_wire::ID_BYTES_MAX;
use rayon::slice::ParallelSliceMut;

use super::error::DataError;
use super::instant::parse_instant;
use super::select::TimeForm;
use crate::plan::Check;

/// Most rows that are read into memory.
pub(super) const ROWS_MAX: u64 = 200_000_000;

/// What was met while reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Rows of the SQL's output that are not before the window (nulls in `time` included).
    pub(super) read: u64,
    /// Rows whose user is null, empty or too long for a request.
    pub(super) no_user: u64,
    /// Rows whose item is.
    pub(super) no_item: u64,
    /// Rows whose time is null or is no time.
    pub(super) no_time: u64,
    /// An example of a text that is no time.
    pub(super) not_a_time: Option<String>,
    /// Rows at or after the run's moment.
    pub(super) future: u64,
    /// By check, in the plan's order: the greatest value and the number of nulls.
    pub(super) checks: Vec<(Option<f64>, u64)>,
}

/// Collects the rows of a window.
pub(super) struct Rows<'a> {
    form: TimeForm,
    from_ms: i64,
    to_ms: i64,
    checks: &'a [Check],
    builder: InteractionsBuilder,
    tally: Tally,
}

/// The columns of one batch.
struct Columns<'a> {
    user: &'a StringArray,
    item: &'a StringArray,
    time: Times<'a>,
    weight: &'a Float64Array,
    segment: &'a StringArray,
}

enum Times<'a> {
    Milliseconds(&'a Int64Array),
    Text(&'a StringArray),
}

impl<'a> Rows<'a> {
    /// For rows in `[from_ms, to_ms)`.
    pub(super) fn new(form: TimeForm, from_ms: i64, to_ms: i64, checks: &'a [Check]) -> Self {
        let tally = Tally { checks: vec![(None, 0); checks.len()], ..Tally::default() };
        Self { form, from_ms, to_ms, checks, builder: Interactions::builder(), tally }
    }

    /// Adds a batch.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), DataError> {
        let columns = Columns {
            user: batch.column(0).as_string(),
            item: batch.column(1).as_string(),
            time: match self.form {
                TimeForm::Milliseconds => Times::Milliseconds(batch.column(2).as_primitive::<Int64Type>()),
                TimeForm::Text => Times::Text(batch.column(2).as_string()),
            },
            weight: batch.column(3).as_primitive::<Float64Type>(),
            segment: batch.column(4).as_string(),
        };
        let mut inside = vec![false; batch.num_rows()];
        for (row, inside) in inside.iter_mut().enumerate() {
            *inside = self.push_row(&columns, row);
        }
        self.look_at_checks(batch, &inside);
        let limit = ROWS_MAX;
        if self.tally.read > limit { Err(DataError::TooManyRows { limit }) } else { Ok(()) }
    }

    /// Adds a row if it can be used; whether it counts for the checks.
    fn push_row(&mut self, columns: &Columns<'_>, row: usize) -> bool {
        let time = self.time_of(columns, row);
        match time {
            Some(time) if time < self.from_ms => return false,
            Some(time) if time >= self.to_ms => {
                self.tally.read += 1;
                self.tally.future += 1;
                return false;
            }
            _ => self.tally.read += 1,
        }
        let user = identifier(columns.user, row);
        let item = identifier(columns.item, row);
        self.tally.no_user += u64::from(user.is_none());
        self.tally.no_item += u64::from(item.is_none());
        self.tally.no_time += u64::from(time.is_none());
        if let (Some(user), Some(item), Some(time)) = (user, item, time) {
            let weight = if columns.weight.is_null(row) { 1.0 } else { columns.weight.value(row) as f32 };
            let weight = if weight.is_finite() { weight } else { 1.0 };
            self.builder.push(user, item, time, weight, identifier(columns.segment, row));
        }
        true
    }

    fn time_of(&mut self, columns: &Columns<'_>, row: usize) -> Option<i64> {
        match columns.time {
            Times::Milliseconds(times) => times.is_valid(row).then(|| times.value(row)),
            Times::Text(texts) => {
                let text = texts.is_valid(row).then(|| texts.value(row))?;
                let time = parse_instant(text);
                if time.is_none() && self.tally.not_a_time.is_none() {
                    self.tally.not_a_time = Some(text.chars().take(40).collect());
                }
                time
            }
        }
    }

    fn look_at_checks(&mut self, batch: &RecordBatch, inside: &[bool]) {
        let mut column = 5;
        for (check, (greatest, nulls)) in self.checks.iter().zip(&mut self.tally.checks) {
            match check {
                Check::MinRows(_) => continue,
                Check::Max { .. } => {
                    let values: &Float64Array = batch.column(column).as_primitive::<Float64Type>();
                    let values = values.iter().zip(inside).filter_map(|(value, inside)| value.filter(|_| *inside));
                    *greatest = values.fold(*greatest, |most, value| Some(most.map_or(value, |most| most.max(value))));
                }
                Check::NullRatio { .. } => {
                    let values: &BooleanArray = batch.column(column).as_boolean();
                    let null = values.iter().zip(inside).filter(|(value, inside)| *value == Some(true) && **inside);
                    *nulls += null.count() as u64;
                }
            }
            column += 1;
        }
    }

    /// All rows in one order whatever order they came in: by time, user, item, segment, weight.
    pub(super) fn finish(self) -> (Interactions, Tally) {
        (in_canonical_order(self.builder.finish()), self.tally)
    }
}

/// A name that can stand in a request.
fn identifier(names: &StringArray, row: usize) -> Option<&str> {
    let name = names.is_valid(row).then(|| names.value(row))?;
    (!name.is_empty() && name.len() <= ID_BYTES_MAX).then_some(name)
}

/// Parallel reading brings rows in any order; equal rows cannot be told apart, so an unstable sort is exact.
fn in_canonical_order(rows: Interactions) -> Interactions {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.par_sort_unstable_by_key(|&row| {
        let row = row as usize;
        // A missing segment sorts last; weights by their bits, which is an order, if not that of numbers.
        (rows.time_ms[row], rows.user[row], rows.item[row], rows.segment[row], rows.weight[row].to_bits())
    });
    let gather = |column: &[u32]| order.iter().map(|&row| column[row as usize]).collect::<Vec<u32>>();
    Interactions {
        user: gather(&rows.user),
        item: gather(&rows.item),
        segment: gather(&rows.segment),
        time_ms: order.iter().map(|&row| rows.time_ms[row as usize]).collect(),
        weight: order.iter().map(|&row| rows.weight[row as usize]).collect(),
        ..rows
    }
}

/// Rows that are the same as the row before them, of rows in canonical order.
pub(super) fn repeats(rows: &Interactions) -> u64 {
    let same = |row: usize| {
        rows.time_ms[row] == rows.time_ms[row - 1]
            && rows.user[row] == rows.user[row - 1]
            && rows.item[row] == rows.item[row - 1]
            && rows.segment[row] == rows.segment[row - 1]
            && rows.weight[row].to_bits() == rows.weight[row - 1].to_bits()
    };
    (1..rows.len()).filter(|&row| same(row)).count() as u64
}
