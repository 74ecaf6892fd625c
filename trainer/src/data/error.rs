//! Why nothing may be trained on the data, each with the number against its limit and the cure.

use std::time::Duration;

use jiff::Timestamp;

/// A reason not to train.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DataError {
    /// The newest row is too old.
    #[error("the newest row is of {newest}, {} before {as_of}; the limit is {}: load newer rows, or raise data.freshness", spell(*.age), spell(*.limit))]
    Stale {
        /// Time of the newest row.
        newest: Timestamp,
        /// The moment of the run.
        as_of: Timestamp,
        /// Time between them.
        age: Duration,
        /// `freshness`.
        limit: Duration,
    },
    /// The data ends before data that an earlier run saw.
    #[error(
        "the newest row is of {newest}, but an earlier run saw one of {previous}: rows are gone; restore them, or train another model from this source"
    )]
    TimeBackwards {
        /// Time of the newest row.
        newest: Timestamp,
        /// Time of the newest row then.
        previous: Timestamp,
    },
    /// Too few usable rows in the window.
    #[error(
        "{rows} usable rows in [{from}, {to}), at least {min} are needed{hint}: widen data.history, loosen the SQL's WHERE, or lower minRows"
    )]
    TooFewRows {
        /// Usable rows.
        rows: u64,
        /// What is asked for.
        min: u64,
        /// Start of the window.
        from: Timestamp,
        /// Its end, exclusive.
        to: Timestamp,
        /// What else is known, such as how many rows lie outside.
        hint: String,
    },
    /// More rows than are read.
    #[error("more than {limit} rows in the window; shorten data.history or sample in the SQL")]
    TooManyRows {
        /// The most that are read.
        limit: u64,
    },
    /// A column is not there.
    #[error("column `{column}` is not in {place}, which has {}; {cure}", list(.existing))]
    ColumnMissing {
        /// Its name.
        column: String,
        /// Where it was looked for.
        place: String,
        /// The columns that are there.
        existing: Vec<String>,
        /// What to write.
        cure: String,
    },
    /// The SQL is not one SELECT that can be planned, or its columns have types that cannot be used.
    #[error("the SQL for `{table}` cannot be used: {why}")]
    SqlInvalid {
        /// The table that the SQL is for.
        table: String,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// The SQL needs more than it may use.
    #[error(
        "the SQL for `{table}` needs more than {limit}; filter earlier, avoid large joins and sorts, or prepare the data outside"
    )]
    TooExpensive {
        /// The table that the SQL is for.
        table: String,
        /// The limit: memory or time.
        limit: String,
    },
    /// The source cannot be reached or read.
    #[error("{url} cannot be read: {why}")]
    AccessDenied {
        /// The source as the manifest has it.
        url: String,
        /// What was said, and what to check.
        why: String,
    },
    /// Too many rows without a value.
    #[error("{} of the rows have no usable `{column}`, the limit is {}: filter them in the SQL (WHERE {column} IS NOT NULL), or allow more with a nullRatio check", percent(*.ratio), percent(*.max))]
    NullRatio {
        /// The column.
        column: String,
        /// Share of rows without a value.
        ratio: f64,
        /// The limit.
        max: f64,
    },
    /// A value above the limit.
    #[error("the greatest `{column}` is {found}, the limit is {max}: filter such rows in the SQL, or raise the check")]
    AboveMax {
        /// The column.
        column: String,
        /// The greatest value.
        found: f64,
        /// The limit.
        max: f64,
    },
    /// The same rows again and again.
    #[error("{} of the rows are exact repeats of another, the limit is {}: the source was probably loaded twice; use SELECT DISTINCT or mend the load", percent(*.ratio), percent(*.max))]
    Duplicates {
        /// Share of rows that repeat another one.
        ratio: f64,
        /// The limit.
        max: f64,
    },
}

impl DataError {
    /// The reason of the condition `DataReady`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Stale { .. } | Self::TimeBackwards { .. } => "DataStale",
            Self::TooFewRows { .. } => "TooFewRows",
            Self::ColumnMissing { .. } => "ColumnMissing",
            Self::SqlInvalid { .. } | Self::TooExpensive { .. } | Self::TooManyRows { .. } => "SqlInvalid",
            Self::AccessDenied { .. } => "AccessDenied",
            Self::NullRatio { .. } | Self::AboveMax { .. } | Self::Duplicates { .. } => "CheckFailed",
        }
    }
}

/// A share as people read it.
fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

/// Whole days, hours or seconds.
fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        172_800.. => format!("{}d", seconds / 86_400),
        7_200.. => format!("{}h", seconds / 3_600),
        _ => format!("{seconds}s"),
    }
}

/// At most twenty names in backticks.
fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(shown.len());
    match (shown.is_empty(), more) {
        (true, _) => "no columns".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_number_limit_and_cure() {
        let ratio = DataError::NullRatio { column: "user_id".to_owned(), ratio: 0.345, max: 0.2 };
        let text = ratio.to_string();
        assert!(text.contains("34.5 %") && text.contains("20.0 %") && text.contains("WHERE user_id"), "{text}");
        let stale = DataError::Stale {
            newest: Timestamp::UNIX_EPOCH,
            as_of: Timestamp::UNIX_EPOCH + Duration::from_secs(400_000),
            age: Duration::from_secs(400_000),
            limit: Duration::from_secs(129_600),
        };
        assert!(stale.to_string().contains("4d before") && stale.to_string().contains("36h"), "{stale}");
        assert_eq!(stale.reason(), "DataStale");
    }

    #[test]
    fn many_columns_are_cut() {
        let names: Vec<String> = (0..25).map(|i| i.to_string()).collect();
        assert!(list(&names).ends_with("`19` and 5 more"));
        assert_eq!(list(&[]), "no columns");
    }
}
