//! Features of items: the items SQL, each column but `item_id` read as text.
//!
//! What it does not do: no hashing and no words; that is `fairway_model::features`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, cast};
use fairway_model::ItemTexts;

use super::error::DataError;
use super::failure::{Doing, explain};
use super::origin::{self, Origin};
use super::{for_each_batch, select, session};
use crate::plan::Source;

/// The table of items in the manifest's SQL.
const ITEMS: &str = "items";
/// Most rows that are read.
const ROWS_MAX: u64 = 20_000_000;
/// Longest text that is kept, in characters.
const TEXT_CHARS_MAX: usize = 2_000;

/// How often each text was given to an item, by item and column.
type Votes = HashMap<(String, usize), BTreeMap<String, u32>>;

/// The texts of each item. Where an item has several, the most frequent stands (ties: the first by bytes).
pub(super) async fn read(source: &Source, base: &Path) -> Result<(ItemTexts, Origin), DataError> {
    let (context, listed) = session::open(ITEMS, &source.url, base).await?;
    let frame = select::plan(&context, ITEMS, source).await?;
    let schema = frame.schema().clone();
    let origin = Origin { snapshot: origin::snapshot(listed), schema: origin::schema(&schema) };
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let Some(item_column) = names.iter().position(|name| name == "item_id") else {
        return Err(DataError::ColumnMissing {
            column: "item_id".to_owned(),
            place: "the output of the items SQL".to_owned(),
            existing: names,
            cure: "name it in the SELECT: … AS item_id".to_owned(),
        });
    };
    let texts = schema.iter().enumerate().map(|(at, (table, field))| {
        cast(Expr::Column(Column::new(table.cloned(), field.name())), DataType::Utf8).alias(format!("c{at}"))
    });
    let frame =
        frame.select(texts).map_err(|error| explain(&error, Doing::Querying { table: ITEMS, url: &source.url }))?;
    let mut votes = Votes::new();
    let mut rows = 0;
    for_each_batch(frame, ITEMS, source, |batch| {
        rows += batch.num_rows() as u64;
        let columns: Vec<&StringArray> = batch.columns().iter().map(|column| column.as_string()).collect();
        count(&columns, item_column, &mut votes);
        if rows > ROWS_MAX { Err(DataError::TooManyRows { limit: ROWS_MAX }) } else { Ok(()) }
    })
    .await?;
    Ok((elected(votes, &names), origin))
}

fn count(columns: &[&StringArray], item_column: usize, votes: &mut Votes) {
    let items = columns[item_column];
    for row in (0..items.len()).filter(|&row| items.is_valid(row) && !items.value(row).is_empty()) {
        for (at, texts) in columns.iter().enumerate().filter(|(at, _)| *at != item_column) {
            let text = if texts.is_valid(row) { texts.value(row).trim() } else { "" };
            if !text.is_empty() {
                let text = text.chars().take(TEXT_CHARS_MAX).collect();
                *votes.entry((items.value(row).to_owned(), at)).or_default().entry(text).or_default() += 1;
            }
        }
    }
}

fn elected(votes: Votes, names: &[String]) -> ItemTexts {
    let mut result = ItemTexts::default();
    for ((item, at), texts) in votes {
        // `max_by_key` keeps the last of equals, so the order is turned round.
        if let Some((text, _)) = texts.into_iter().rev().max_by_key(|(_, n)| *n) {
            result.0.entry(item).or_default().insert(names[at].clone(), text);
        }
    }
    result
}
