//! Data in: one SELECT over files wherever they are, into columns, checked before anything is trained on them.
//!
//! What it does not do: it writes nothing and keeps nothing. Whether stale data stops a run is in the error's reason, for
//! the operator to show.

mod checks;
mod error;
mod failure;
mod instant;
mod items;
mod origin;
mod rows;
mod select;
mod session;
mod sniff;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use datafusion::dataframe::DataFrame;
use fairway_model::{Interactions, ItemTexts};
use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use error::DataError;
pub use origin::Origin;
pub use sniff::{SniffedColumn, SniffedKind, sniff};

use crate::machine::{Meter, Spent};
use crate::plan::{DataSpec, Source};
use checks::Counted;
use failure::{Doing, explain};
use rows::Rows;

/// The table of interactions in the manifest's SQL.
const INTERACTIONS: &str = "interactions";

/// What was read.
#[derive(Clone, Debug)]
pub struct Data {
    /// The rows of the window, in one order whatever the order of the files: by time, user, item.
    pub interactions: Interactions,
    /// Features of items; empty without an items source.
    pub items: ItemTexts,
    /// What there is to say about them.
    pub report: DataReport,
    /// Files and columns of the interactions.
    pub origin: Origin,
    /// The same of the items, if there is a source of them.
    pub items_origin: Option<Origin>,
    /// What reading took.
    pub reading: Spent,
}

/// What there is to say about the data of a run. Part of the run's provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataReport {
    /// Rows that were looked at: those of the SQL's output that are not before the window.
    #[serde(default)]
    pub read: u64,
    /// Usable rows in the window.
    pub rows: u64,
    /// Different users.
    pub users: u64,
    /// Different items.
    pub items: u64,
    /// Share of the window's rows that have no usable `user_id`, `item_id` or `time`. They were left out.
    pub nulls: BTreeMap<String, f64>,
    /// Share of usable rows that repeat another one exactly. They were kept.
    pub duplicates: f64,
    /// Share of all rows that are at or after the run's moment. They were left out.
    pub future: f64,
    /// The newest row.
    pub newest: Timestamp,
    /// The oldest row.
    pub oldest: Timestamp,
    /// Items that have features.
    pub described_items: u64,
    /// `sha256:…` over all rows and item features, in one order whatever the order of the files.
    pub digest: String,
}

/// Reads and checks the data of a run: rows with `as_of - history <= time < as_of`.
///
/// URLs without a scheme are paths relative to `base`. Memory, time and rows are bounded.
///
/// # Errors
/// The first reason not to train on it.
pub async fn read(spec: &DataSpec, base: &Path, as_of: Timestamp) -> Result<Data, DataError> {
    within(spec.deadline, INTERACTIONS, read_all(spec, base, as_of)).await
}

async fn read_all(spec: &DataSpec, base: &Path, as_of: Timestamp) -> Result<Data, DataError> {
    let meter = Meter::start();
    let from = as_of.checked_sub(spec.history).unwrap_or(Timestamp::MIN);
    let source = &spec.interactions;
    let (context, listed) = session::open(INTERACTIONS, &source.url, base).await?;
    let frame = select::plan(&context, INTERACTIONS, source).await?;
    let origin = Origin { snapshot: origin::snapshot(listed), schema: origin::schema(frame.schema()) };
    let (from_ms, to_ms) = (from.as_millisecond(), as_of.as_millisecond());
    let projected = select::project(frame, INTERACTIONS, &source.url, &spec.checks, from_ms)?;
    let mut rows = Rows::new(projected.time, from_ms, to_ms, &spec.checks);
    for_each_batch(projected.rows, INTERACTIONS, source, |batch| rows.push(&batch)).await?;
    let (interactions, tally) = rows.finish();
    let counted = Counted {
        rows: interactions.len() as u64,
        repeats: rows::repeats(&interactions),
        newest: interactions.time_ms.last().and_then(|&ms| Timestamp::from_millisecond(ms).ok()),
        tally: &tally,
        from,
        to: as_of,
    };
    checks::judge(spec, &counted)?;
    let (items, items_origin) = match &spec.items {
        Some(source) => items::read(source, base).await.map(|(items, origin)| (items, Some(origin)))?,
        None => (ItemTexts::default(), None),
    };
    let report = report(&interactions, &items, &counted);
    Ok(Data { interactions, items, report, origin, items_origin, reading: meter.stop() })
}

fn report(interactions: &Interactions, items: &ItemTexts, counted: &Counted<'_>) -> DataReport {
    let tally = counted.tally;
    let nulls = [("user_id", tally.no_user), ("item_id", tally.no_item), ("time", tally.no_time)];
    let at = |ms: Option<&i64>| ms.and_then(|&ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(counted.to);
    DataReport {
        read: tally.read,
        rows: counted.rows,
        users: interactions.users.len() as u64,
        items: interactions.items.len() as u64,
        nulls: nulls.map(|(column, n)| (column.to_owned(), counted.share(n))).into(),
        duplicates: counted.repeated(),
        future: tally.future as f64 / tally.read.max(1) as f64,
        newest: at(interactions.time_ms.last()),
        oldest: at(interactions.time_ms.first()),
        described_items: items.0.len() as u64,
        digest: crate::fingerprint::of_data(interactions, items),
    }
}

/// Runs a query and hands its batches to `take`.
async fn for_each_batch(
    frame: DataFrame,
    table: &str,
    source: &Source,
    mut take: impl FnMut(datafusion::arrow::array::RecordBatch) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let explained = |error| explain(&error, Doing::Querying { table, url: &source.url });
    let mut batches = frame.execute_stream().await.map_err(explained)?;
    while let Some(batch) = batches.next().await {
        take(batch.map_err(explained)?)?;
    }
    Ok(())
}

/// `work`, or an error when it takes longer than `deadline`.
async fn within<T>(
    deadline: Duration,
    table: &str,
    work: impl Future<Output = Result<T, DataError>>,
) -> Result<T, DataError> {
    let late = |_| DataError::TooExpensive { table: table.to_owned(), limit: format!("{} s", deadline.as_secs()) };
    tokio::time::timeout(deadline, work).await.map_err(late)?
}

#[cfg(test)]
mod tests;
