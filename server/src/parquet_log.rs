//! Decisions as Parquet, one row an answer, for `decisions/dt=…/hr=…/*.parquet`.
//!
//! | column | type |
//! |---|---|
//! | `decision`, `user`, `segment`, `digest`, `track`, `arm`, `served_by`, `reason` | string; `user` is a keyed HMAC in hex, `arm` is `experiment/arm` or empty |
//! | `time` | timestamp, milliseconds, UTC |
//! | `propensity` | double, 0 to 1 |
//! | `generation`, `latency_us` | unsigned 64 bit |
//! | `items`, `scores` | list of string, list of float; best first, of equal length |
//!
//! No column is ever null. What it does not do: it stores nothing.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Builder, Float64Array, ListBuilder, StringArray, StringBuilder, TimestampMillisecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use fairway_wire::Decision;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{Error, labels};

/// The columns of the decision log.
pub fn decisions_schema() -> Schema {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, false)));
    let columns = [
        ("decision", DataType::Utf8),
        ("time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("user", DataType::Utf8),
        ("segment", DataType::Utf8),
        ("digest", DataType::Utf8),
        ("track", DataType::Utf8),
        ("arm", DataType::Utf8),
        ("served_by", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("propensity", DataType::Float64),
        ("generation", DataType::UInt64),
        ("latency_us", DataType::UInt64),
        ("items", list(DataType::Utf8)),
        ("scores", list(DataType::Float32)),
    ];
    Schema::new(columns.map(|(name, kind)| Field::new(name, kind, false)).to_vec())
}

/// A whole Parquet file (zstd) with one row a decision, in the given order. The same decisions give the same bytes.
///
/// # Errors
/// [`Error::Arrow`] or [`Error::Parquet`] if a column cannot be built or written: only when memory or a list's 2³¹
/// bytes run out.
pub fn decisions_to_parquet(decisions: &[Decision]) -> Result<Bytes, Error> {
    let schema = Arc::new(decisions_schema());
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns(decisions))?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema, Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(file.into())
}

fn columns(decisions: &[Decision]) -> Vec<ArrayRef> {
    let text =
        |get: fn(&Decision) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(decisions.iter().map(get))) };
    let count =
        |get: fn(&Decision) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(decisions.iter().map(get))) };
    let times = decisions.iter().map(|one| one.time.as_millisecond());
    let propensities = decisions.iter().map(|one| one.propensity);
    vec![
        text(|one| &one.decision),
        Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC")),
        text(|one| &one.user),
        text(|one| &one.segment),
        text(|one| &one.digest),
        text(|one| labels::track(one.track)),
        text(|one| &one.arm),
        text(|one| labels::rung(one.served_by)),
        text(|one| labels::reason(one.reason)),
        Arc::new(Float64Array::from_iter_values(propensities)),
        count(|one| one.generation),
        count(|one| one.latency_us),
        items(decisions),
        scores(decisions),
    ]
}

fn items(decisions: &[Decision]) -> ArrayRef {
    let field = Field::new("item", DataType::Utf8, false);
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(field);
    for one in decisions {
        one.items.iter().for_each(|item| lists.values().append_value(item));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn scores(decisions: &[Decision]) -> ArrayRef {
    let field = Field::new("item", DataType::Float32, false);
    let mut lists = ListBuilder::new(Float32Builder::new()).with_field(field);
    for one in decisions {
        lists.values().append_slice(&one.scores);
        lists.append(true);
    }
    Arc::new(lists.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float32Type, TimestampMillisecondType};
    use fairway_wire::{Reason, Rung, Track};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn decision(n: i64) -> Decision {
        Decision {
            decision: format!("d{n}"),
            time: crate::config::timestamp(n * 1_000),
            user: "ab".repeat(16),
            segment: String::new(),
            digest: "sha256:a".into(),
            track: Track::Canary,
            arm: String::new(),
            served_by: Rung::Assigned,
            reason: Reason::Ok,
            propensity: 0.05,
            generation: 3,
            latency_us: 70,
            items: (0..n).map(|i| format!("item-{i}")).collect(),
            scores: (0..n).map(|i| -i as f32).collect(),
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let decisions: Vec<Decision> = (0..3).map(decision).collect();
        let file = decisions_to_parquet(&decisions).unwrap();
        assert_eq!(file, decisions_to_parquet(&decisions).unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batch = reader.map(Result::unwrap).next().unwrap();
        assert_eq!(batch.schema().fields(), decisions_schema().fields());
        assert_eq!(batch["decision"].as_string::<i32>().value(2), "d2");
        assert_eq!(batch["track"].as_string::<i32>().value(0), "canary");
        assert_eq!(batch["time"].as_primitive::<TimestampMillisecondType>().value(1), 1_000);
        let items = batch["items"].as_list::<i32>().value(2);
        assert_eq!(items.as_string::<i32>().value(1), "item-1");
        let scores = batch["scores"].as_list::<i32>().value(2);
        assert_eq!(scores.as_primitive::<Float32Type>().values(), &[0.0, -1.0]);
        assert_eq!(batch["items"].as_list::<i32>().value(0).len(), 0);
    }

    #[test]
    fn no_decisions_are_a_file_too() {
        let file = decisions_to_parquet(&[]).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}
