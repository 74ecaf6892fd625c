//! The limits that data must keep before anything is trained on it.
//!
//! What it does not do: it reads nothing; it judges what was counted.

use std::time::Duration;

use jiff::Timestamp;

use super::error::DataError;
use super::rows::Tally;
use crate::plan::{Check, DataSpec};

/// Share of rows without user, item or time that is accepted when no check says otherwise.
pub(super) const NULL_RATIO_MAX: f64 = 0.2;
/// Share of exact repeats that is accepted.
pub(super) const DUPLICATES_MAX: f64 = 0.5;

/// What was counted.
pub(super) struct Counted<'a> {
    /// While reading.
    pub(super) tally: &'a Tally,
    /// Usable rows in the window.
    pub(super) rows: u64,
    /// Those that repeat another one.
    pub(super) repeats: u64,
    /// The newest.
    pub(super) newest: Option<Timestamp>,
    /// The window.
    pub(super) from: Timestamp,
    /// Its end, exclusive: the moment of the run.
    pub(super) to: Timestamp,
}

impl Counted<'_> {
    /// Rows of the window, usable or not.
    fn in_window(&self) -> u64 {
        self.tally.read - self.tally.future
    }

    /// The share of the window's rows.
    pub(super) fn share(&self, n: u64) -> f64 {
        n as f64 / self.in_window().max(1) as f64
    }

    /// The share of usable rows that repeat another one.
    pub(super) fn repeated(&self) -> f64 {
        self.repeats as f64 / self.rows.max(1) as f64
    }
}

/// The first limit that is not kept, in the order in which a person would mend them.
pub(super) fn judge(spec: &DataSpec, counted: &Counted<'_>) -> Result<(), DataError> {
    nulls(spec, counted)?;
    let newest = enough(spec, counted)?;
    fresh(spec, counted, newest)?;
    let ratio = counted.repeated();
    if ratio > DUPLICATES_MAX {
        return Err(DataError::Duplicates { ratio, max: DUPLICATES_MAX });
    }
    for (check, (greatest, _)) in spec.checks.iter().zip(&counted.tally.checks) {
        if let (Check::Max { column, max }, Some(found)) = (check, *greatest)
            && found > *max
        {
            return Err(DataError::AboveMax { column: column.clone(), found, max: *max });
        }
    }
    Ok(())
}

fn nulls(spec: &DataSpec, counted: &Counted<'_>) -> Result<(), DataError> {
    let tally = counted.tally;
    let required = [("user_id", tally.no_user), ("item_id", tally.no_item), ("time", tally.no_time)];
    for (column, n) in required {
        let ratio = counted.share(n);
        let own = spec.checks.iter().any(|check| matches!(check, Check::NullRatio { column: c, .. } if c == column));
        if ratio > NULL_RATIO_MAX && !own {
            let column = match (&tally.not_a_time, column) {
                (Some(text), "time") => return Err(not_times(text, ratio)),
                _ => column.to_owned(),
            };
            return Err(DataError::NullRatio { column, ratio, max: NULL_RATIO_MAX });
        }
    }
    for (check, (_, nulls)) in spec.checks.iter().zip(&tally.checks) {
        let Check::NullRatio { column, max } = check else { continue };
        // What is empty or no time is as useless as null, for the columns that must be there.
        let unusable = required.iter().find(|(name, _)| name == column).map_or(*nulls, |(_, n)| *n);
        let ratio = counted.share(unusable);
        if ratio > *max {
            return Err(DataError::NullRatio { column: column.clone(), ratio, max: *max });
        }
    }
    Ok(())
}

fn not_times(text: &str, ratio: f64) -> DataError {
    let percent = ratio * 100.0;
    let why = format!(
        "`time` is not a time in {percent:.1} % of the rows, for example `{text}`; yield RFC 3339 (2011-12-09T12:50:00Z) or convert it, for example to_timestamp(time, '%d/%m/%Y %H:%M')"
    );
    DataError::SqlInvalid { table: "interactions".to_owned(), why }
}

fn enough(spec: &DataSpec, counted: &Counted<'_>) -> Result<Timestamp, DataError> {
    let asked = spec.checks.iter().filter_map(|check| match check {
        Check::MinRows(n) => Some(*n),
        _ => None,
    });
    let min = asked.max().unwrap_or(1).max(1);
    match counted.newest {
        Some(newest) if counted.rows >= min => Ok(newest),
        _ => {
            let future = counted.tally.future;
            let hint =
                if future > 0 { format!(" ({future} more are at or after the run's moment)") } else { String::new() };
            Err(DataError::TooFewRows { rows: counted.rows, min, from: counted.from, to: counted.to, hint })
        }
    }
}

fn fresh(spec: &DataSpec, counted: &Counted<'_>, newest: Timestamp) -> Result<(), DataError> {
    if let Some(previous) = spec.previous_newest
        && newest < previous
    {
        return Err(DataError::TimeBackwards { newest, previous });
    }
    let age: Duration = counted.to.duration_since(newest).try_into().unwrap_or_default();
    match spec.freshness {
        Some(limit) if age > limit => Err(DataError::Stale { newest, as_of: counted.to, age, limit }),
        _ => Ok(()),
    }
}
