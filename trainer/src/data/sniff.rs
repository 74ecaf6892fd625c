//! What a file of unknown columns holds, so that a first manifest can be written for it.
//!
//! What it does not do: it decides nothing; which column is the user is for `fairway init` to guess and a person to say.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, cast};
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::failure::{Doing, explain};
use super::instant::parse_instant;
use super::{INTERACTIONS, for_each_batch, session, within};
use crate::plan::Source;

/// Rows that are looked at.
const ROWS: usize = 20_000;
/// How long it may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SniffedKind {
    /// Names or words.
    Text,
    /// Whole or broken numbers.
    Number,
    /// Timestamps, dates, or texts that all are.
    Time,
    /// Yes or no.
    Bool,
}

/// A column as found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SniffedColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: SniffedKind,
    /// Its first value that is not null, or, of dates such as 01/02/2025, the first that tells the day from the month; empty if
    /// there is none.
    pub sample: String,
    /// How many different values the first 20,000 rows have.
    pub distinct: usize,
}

/// Looks at the first rows of a file or folder (path or URL, as in [`Source::url`]).
///
/// # Errors
/// When it cannot be read, or not within a minute.
pub async fn sniff(path_or_url: &str) -> Result<Vec<SniffedColumn>, DataError> {
    within(DEADLINE, INTERACTIONS, look(path_or_url)).await
}

async fn look(url: &str) -> Result<Vec<SniffedColumn>, DataError> {
    let explained = |error| explain(&error, Doing::Reading { url });
    let (context, _) = session::open(INTERACTIONS, url, Path::new(".")).await?;
    let frame = context.table(INTERACTIONS).await.map_err(explained)?.limit(0, Some(ROWS)).map_err(explained)?;
    let fields: Vec<(String, DataType)> =
        frame.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    // Nested columns cannot be text and are of no use here.
    let flat: Vec<(String, DataType)> = fields.into_iter().filter(|(_, kind)| !kind.is_nested()).collect();
    let texts = flat.iter().map(|(name, _)| cast(Expr::Column(Column::from_name(name)), DataType::Utf8).alias(name));
    let frame = frame.select(texts).map_err(explained)?;
    let mut seen: Vec<Seen> = flat.iter().map(|_| Seen::default()).collect();
    let source = Source { url: url.to_owned(), sql: String::new() };
    for_each_batch(frame, INTERACTIONS, &source, |batch| {
        seen.iter_mut().zip(batch.columns()).for_each(|(seen, column)| seen.look(column.as_string()));
        Ok(())
    })
    .await?;
    Ok(flat.into_iter().zip(seen).map(|((name, kind), seen)| seen.column(name, &kind)).collect())
}

/// The values of one column.
#[derive(Default)]
struct Seen {
    sample: Option<String>,
    tells_day: bool,
    values: BTreeSet<String>,
    not_times: bool,
}

impl Seen {
    fn look(&mut self, column: &StringArray) {
        for row in (0..column.len()).filter(|&row| column.is_valid(row)) {
            let value = column.value(row);
            let tells_day = !self.tells_day && tells_day(value);
            if tells_day || self.sample.is_none() {
                self.sample = Some(value.chars().take(80).collect());
                self.tells_day |= tells_day;
            }
            self.not_times = self.not_times || parse_instant(value).is_none();
            if !self.values.contains(value) {
                self.values.insert(value.to_owned());
            }
        }
    }

    fn column(self, name: String, kind: &DataType) -> SniffedColumn {
        let kind = match kind {
            DataType::Boolean => SniffedKind::Bool,
            kind if kind.is_temporal() => SniffedKind::Time,
            kind if kind.is_numeric() => SniffedKind::Number,
            _ if !self.not_times && self.sample.is_some() => SniffedKind::Time,
            _ => SniffedKind::Text,
        };
        SniffedColumn { name, kind, sample: self.sample.unwrap_or_default(), distinct: self.values.len() }
    }
}

/// Whether a text begins with two numbers of a date, of which one can only be a day.
fn tells_day(text: &str) -> bool {
    let mut parts = text.trim_start().split(['/', '.', '-']);
    let mut part = || parts.next().filter(|part| (1..=2).contains(&part.len()))?.parse::<u8>().ok();
    let (Some(first), Some(second)) = (part(), part()) else { return false };
    matches!((first, second), (13..=31, 1..=12) | (1..=12, 13..=31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_dates_tells_the_day_from_the_month() {
        let mut seen = Seen::default();
        seen.look(&StringArray::from(vec![None, Some("01/02/2025"), Some("01/31/2025"), Some("02/28/2025")]));
        assert_eq!(seen.sample.as_deref(), Some("01/31/2025"));
        for (text, tells) in
            [("31.1.2025 10:00", true), ("1-2-2025", false), ("2025-01-31", false), ("192.168.0.1", false)]
        {
            assert_eq!(tells_day(text), tells, "{text}");
        }
    }
}
