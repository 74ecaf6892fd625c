//! What a trainer of somebody else is given, and what is found of the bundle that it gives back: the rows that any
//! family here would have been fitted on, as Parquet, and the evaluation that any family here would have had.
//!
//! What it does not do: it starts no trainer.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use fairway_model::{BundleManifest, Interactions, ItemTexts, NONE, Recommender};
use fairway_registry::provenance::Provenance;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::data::Data;
use crate::error::TrainError;
use crate::evaluate::Evaluation;
use crate::plan::TrainingPlan;
use crate::progress::{CancelFlag, Progress};
use crate::split::Split;
use crate::{publish, train};

/// The rows of the window, in [`hand_over`]'s folder.
pub const INTERACTIONS_FILE: &str = "interactions.parquet";
/// The features of items, if there are any.
pub const ITEMS_FILE: &str = "items.parquet";
/// Rows of one batch.
const ROWS: usize = 65_536;

/// Writes what a trainer needs into `dir`, which is made: `interactions.parquet` (`user_id`, `item_id`, `time`, `weight`,
/// `segment`, and `holdout`: true for rows that it is judged on) in the order of time, and `items.parquet` (`item_id`, and
/// a column of text for each feature) if there are features of items.
///
/// # Errors
/// When nothing would be left to train on or to judge by, or a file cannot be written.
pub fn hand_over(plan: &TrainingPlan, data: &Data, dir: &Path) -> Result<(), TrainError> {
    let rows = &data.interactions;
    let cutoff_ms = Split::new(rows, plan.holdout, plan.data.previous_newest, plan.seed)?.cutoff_ms;
    std::fs::create_dir_all(dir).map_err(publish::io(dir))?;
    let batches = (0..rows.len()).step_by(ROWS).map(|from| interactions(rows, from, cutoff_ms));
    write(&dir.join(INTERACTIONS_FILE), interactions(rows, rows.len(), cutoff_ms).schema(), batches)?;
    if data.items.0.is_empty() {
        return Ok(());
    }
    let items = items(&data.items);
    write(&dir.join(ITEMS_FILE), items.schema(), [items])
}

/// Judges a bundle that somebody else has trained on the rows before the holdout, as one that was trained here.
///
/// # Errors
/// When the data is too little, or the flag was set.
pub fn evaluate(
    plan: &TrainingPlan,
    data: &Data,
    candidate: &dyn Recommender,
    champion: Option<&dyn Recommender>,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Evaluation, TrainError> {
    let split = Split::new(&data.interactions, plan.holdout, plan.data.previous_newest, plan.seed)?;
    train::evaluate(plan, data, candidate, champion, &split, progress, cancel)
}

/// The record of where such a bundle comes from: what is known here, and no more.
pub fn provenance(plan: &TrainingPlan, data: &Data, bundle: &BundleManifest, evaluation: &Evaluation) -> Provenance {
    publish::provenance_of_other(plan, data, bundle, evaluation)
}

/// A batch of rows, from row `from` on; past the end it is empty.
fn interactions(rows: &Interactions, from: usize, cutoff_ms: i64) -> RecordBatch {
    let to = (from + ROWS).min(rows.len());
    let names = |all: &fairway_model::Vocabulary, column: &[u32]| -> ArrayRef {
        let name = |index: &u32| (*index != NONE).then(|| all.name(*index));
        Arc::new(column[from..to].iter().map(name).collect::<StringArray>())
    };
    let time = &rows.time_ms[from..to];
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("user_id", names(&rows.users, &rows.user), false),
        ("item_id", names(&rows.items, &rows.item), false),
        ("time", Arc::new(TimestampMillisecondArray::from(time.to_vec()).with_timezone("UTC")), false),
        ("weight", Arc::new(Float32Array::from(rows.weight[from..to].to_vec())), false),
        ("segment", names(&rows.segments, &rows.segment), true),
        ("holdout", Arc::new(time.iter().map(|&ms| Some(ms >= cutoff_ms)).collect::<BooleanArray>()), false),
    ];
    let field = |(name, array, nulls): &(&str, ArrayRef, bool)| Field::new(*name, array.data_type().clone(), *nulls);
    let fields: Vec<Field> = columns.iter().map(field).collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length and of their types")
}

fn items(texts: &ItemTexts) -> RecordBatch {
    let names: BTreeSet<&String> = texts.0.values().flat_map(|features| features.keys()).collect();
    let ids: ArrayRef = Arc::new(texts.0.keys().map(Some).collect::<StringArray>());
    let mut fields = vec![Field::new("item_id", DataType::Utf8, false)];
    let mut arrays = vec![ids];
    for name in names {
        let texts = texts.0.values().map(|features| features.get(name));
        fields.push(Field::new(name, DataType::Utf8, true));
        arrays.push(Arc::new(texts.collect::<StringArray>()));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length and of their types")
}

fn write(path: &Path, schema: Arc<Schema>, batches: impl IntoIterator<Item = RecordBatch>) -> Result<(), TrainError> {
    let failed = |error: parquet::errors::ParquetError| publish::io(path)(std::io::Error::other(error));
    let file = File::create(path).map_err(publish::io(path))?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed)?;
    for batch in batches {
        writer.write(&batch).map_err(failed)?;
    }
    writer.close().map(drop).map_err(failed)
}

#[cfg(test)]
mod tests;
