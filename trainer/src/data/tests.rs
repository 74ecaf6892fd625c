//! Reading and checking small files.

use std::fs::{self, File};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;
use crate::plan::Check;

const SELECT: &str = "SELECT user_id, item_id, time, weight, segment FROM interactions";
const CSV: &str = "user_id,item_id,time,weight,segment\n\
    u1,a,2020-01-01T00:00:00Z,2,uk\n\
    u2,b,2020-01-02T00:00:00Z,,fr\n\
    u1,b,2020-01-03T00:00:00Z,1,\n\
    ,b,2020-01-04T00:00:00Z,1,uk\n\
    u3,a,2020-02-01T00:00:00Z,1,uk\n";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn spec(url: &str, sql: &str) -> DataSpec {
    DataSpec::new(Source { url: url.to_owned(), sql: sql.to_owned() })
}

fn dir_with(name: &str, text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(name), text).unwrap();
    dir
}

async fn read_at(spec: &DataSpec, dir: &TempDir, as_of: &str) -> Result<Data, DataError> {
    read(spec, dir.path(), at(as_of)).await
}

/// What went wrong, with its reason.
async fn refusal(spec: &DataSpec, dir: &TempDir) -> (&'static str, String) {
    let error = read_at(spec, dir, "2020-01-05T00:00:00Z").await.unwrap_err();
    (error.reason(), error.to_string())
}

fn rows_of(data: &Data) -> Vec<(String, String, i64, f32, Option<String>)> {
    let rows = &data.interactions;
    let row = |row: usize| {
        let segment = crate::split::segment_name(rows, rows.segment[row]).map(str::to_owned);
        let user = rows.users.name(rows.user[row]).to_owned();
        let item = rows.items.name(rows.item[row]).to_owned();
        (user, item, rows.time_ms[row], rows.weight[row], segment)
    };
    (0..rows.len()).map(row).collect()
}

#[tokio::test]
async fn csv_is_read_counted_and_cut_at_the_run_s_moment() {
    let dir = dir_with("sales.csv", CSV);
    let mut spec = spec("sales.csv", SELECT);
    spec.checks = vec![Check::NullRatio { column: "user_id".to_owned(), max: 0.25 }];
    let data = read_at(&spec, &dir, "2020-01-05T00:00:00Z").await.unwrap();
    let day = 86_400_000;
    let first = at("2020-01-01T00:00:00Z").as_millisecond();
    let text = str::to_owned;
    assert_eq!(
        rows_of(&data),
        [
            (text("u1"), text("a"), first, 2.0, Some(text("uk"))),
            (text("u2"), text("b"), first + day, 1.0, Some(text("fr"))),
            (text("u1"), text("b"), first + 2 * day, 1.0, None),
        ]
    );
    let report = &data.report;
    assert_eq!((report.read, report.rows, report.users, report.items), (5, 3, 2, 2));
    let (snapshot, schema) = (&data.origin.snapshot, &data.origin.schema);
    assert_eq!((snapshot.files, snapshot.bytes), (Some(1), Some(CSV.len() as u64)));
    assert!(snapshot.digest.is_some() && schema.digest.is_some() && data.items_origin.is_none());
    let columns: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["user_id", "item_id", "time", "weight", "segment"]);
    assert_eq!(schema.columns[3].kind, "Int64");
    assert_eq!((report.nulls["user_id"], report.future, report.duplicates), (0.25, 0.2, 0.0));
    assert_eq!((report.oldest, report.newest), (at("2020-01-01T00:00:00Z"), at("2020-01-03T00:00:00Z")));
    // The window begins at as_of - history, inclusive.
    spec.history = Duration::from_secs(3 * 86_400);
    spec.checks = vec![Check::NullRatio { column: "user_id".to_owned(), max: 0.5 }];
    assert_eq!(read_at(&spec, &dir, "2020-01-05T00:00:00Z").await.unwrap().report.rows, 2);
}

#[tokio::test]
async fn the_same_rows_in_any_format_have_one_digest() {
    let csv = dir_with("a.csv", CSV);
    let lines: String = [
        r#"{"user_id":"u3","item_id":"a","time":"2020-02-01T00:00:00Z","weight":1,"segment":"uk"}"#,
        r#"{"user_id":"u1","item_id":"b","time":"2020-01-03T00:00:00Z","weight":1}"#,
        r#"{"item_id":"b","time":"2020-01-04T00:00:00Z","weight":1,"segment":"uk"}"#,
        r#"{"user_id":"u2","item_id":"b","time":"2020-01-02T00:00:00Z","segment":"fr"}"#,
        r#"{"user_id":"u1","item_id":"a","time":"2020-01-01T00:00:00Z","weight":2,"segment":"uk"}"#,
    ]
    .map(|line| format!("{line}\n"))
    .concat();
    let json = tempfile::tempdir().unwrap();
    // Two files of a folder, one of them in a folder of its own.
    let (head, tail) = lines.split_at(lines.find("{\"item_id\"").unwrap());
    fs::create_dir_all(json.path().join("sales/more")).unwrap();
    fs::write(json.path().join("sales/one.jsonl"), head).unwrap();
    fs::write(json.path().join("sales/more/two.jsonl"), tail).unwrap();
    let parquet = tempfile::tempdir().unwrap();
    write_parquet(&parquet.path().join("a.parquet"));
    let mut digests = Vec::new();
    for (dir, url) in
        [(&csv, "a.csv".to_owned()), (&json, "sales".to_owned()), (&parquet, file_url(&parquet, "a.parquet"))]
    {
        let mut spec = spec(&url, SELECT);
        spec.checks = vec![Check::NullRatio { column: "user_id".to_owned(), max: 0.25 }];
        digests.push(read_at(&spec, dir, "2020-01-05T00:00:00Z").await.unwrap().report.digest);
    }
    assert!(digests[0].starts_with("sha256:"));
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

fn file_url(dir: &TempDir, name: &str) -> String {
    format!("file://{}", dir.path().join(name).display())
}

fn write_parquet(path: &Path) {
    let times = ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04", "2020-02-01"];
    let times = times.map(|day| at(&format!("{day}T00:00:00Z")).as_millisecond());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(StringArray::from(vec![Some("u1"), Some("u2"), Some("u1"), None, Some("u3")]))),
        ("item_id", Arc::new(StringArray::from(vec!["a", "b", "b", "b", "a"]))),
        ("time", Arc::new(TimestampMillisecondArray::from(times.to_vec()))),
        ("weight", Arc::new(Float64Array::from(vec![Some(2.0), None, Some(1.0), Some(1.0), Some(1.0)]))),
        ("segment", Arc::new(StringArray::from(vec![Some("uk"), Some("fr"), None, Some("uk"), Some("uk")]))),
        ("number", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]))),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_compression(parquet::basic::Compression::ZSTD(Default::default()))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn time_may_be_text_a_number_or_a_date() {
    for (values, expected) in [
        (["1577836800000", "1577923200000"], "2020-01-02T00:00:00Z"),
        (["2020-01-01", "2020-01-02"], "2020-01-02T00:00:00Z"),
        (["2020-01-01 10:00:00", "2020-01-02 11:30:00"], "2020-01-02T11:30:00Z"),
        (["2020-01-01T10:00:00+02:00", "2020-01-02T11:30:00+02:00"], "2020-01-02T09:30:00Z"),
    ] {
        let csv = format!("u,i,t\nu1,a,{}\nu2,b,{}\n", values[0], values[1]);
        let dir = dir_with("a.csv", &csv);
        let spec = spec("a.csv", "SELECT u AS user_id, i AS item_id, t AS time FROM interactions");
        let data = read_at(&spec, &dir, "2020-01-05T00:00:00Z").await.unwrap();
        assert_eq!((data.report.rows, data.report.newest), (2, at(expected)), "{values:?}");
        let text = spec_with(&spec, "SELECT u AS user_id, i AS item_id, CAST(t AS VARCHAR) AS time FROM interactions");
        if !values[0].starts_with("15") {
            let data = read_at(&text, &dir, "2020-01-05T00:00:00Z").await.unwrap();
            assert_eq!((data.report.rows, data.report.newest), (2, at(expected)), "{values:?}");
        }
    }
}

fn spec_with(spec: &DataSpec, sql: &str) -> DataSpec {
    let mut spec = spec.clone();
    spec.interactions.sql = sql.to_owned();
    spec
}

#[tokio::test]
async fn only_one_select_is_planned() {
    let dir = dir_with("a.csv", CSV);
    for (sql, word) in [
        ("", "empty"),
        ("SELECT 1; SELECT 2", "several"),
        ("DROP TABLE interactions", "not a SELECT"),
        ("CREATE TABLE x AS SELECT * FROM interactions", "not a SELECT"),
        ("INSERT INTO interactions SELECT * FROM interactions", "not a SELECT"),
        ("COPY interactions TO 'x.csv'", "not a SELECT"),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "not a SELECT"),
        ("SET datafusion.execution.batch_size = 1", "not a SELECT"),
        ("EXPLAIN SELECT * FROM interactions", "not a SELECT"),
        ("SELEC user_id FROM interactions", "cannot be used"),
        ("SELECT * FROM '/etc/passwd'", "cannot be used"),
        ("SELECT * FROM items", "items"),
        ("SELECT user_id, item_id, weight > 1 AS time FROM interactions", "of type Boolean"),
    ] {
        let (reason, text) = refusal(&spec("a.csv", sql), &dir).await;
        assert_eq!(reason, "SqlInvalid", "{sql}: {text}");
        assert!(text.contains(word), "{sql}: {text}");
    }
}

#[tokio::test]
async fn missing_columns_are_named_beside_those_that_exist() {
    let dir = dir_with("a.csv", CSV);
    for (sql, column, other) in [
        ("SELECT user_id, item_id FROM interactions", "`time`", "`item_id`"),
        ("SELECT customer AS user_id, item_id, time FROM interactions", "`customer`", "`user_id`"),
        ("SELECT user_id AS \"User\", item_id, time FROM interactions", "`user_id`", "`User`"),
    ] {
        let (reason, text) = refusal(&spec("a.csv", sql), &dir).await;
        assert_eq!(reason, "ColumnMissing", "{text}");
        assert!(text.contains(column) && text.contains(other), "{text}");
    }
    let mut checked = spec("a.csv", SELECT);
    checked.checks = vec![Check::Max { column: "price".to_owned(), max: 1.0 }];
    assert!(refusal(&checked, &dir).await.1.contains("`price`"));
}

#[tokio::test]
async fn limits_are_held_with_number_and_cure() {
    let dir = dir_with("a.csv", CSV);
    let nullable = Check::NullRatio { column: "user_id".to_owned(), max: 0.3 };
    let table: Vec<(&str, Vec<Check>, &str, &str)> = vec![
        ("CheckFailed", vec![], "25.0 %", "20.0 %"),
        ("CheckFailed", vec![Check::NullRatio { column: "user_id".to_owned(), max: 0.1 }], "25.0 %", "10.0 %"),
        ("TooFewRows", vec![nullable.clone(), Check::MinRows(4)], "3 usable rows", "at least 4"),
        ("CheckFailed", vec![nullable.clone(), Check::Max { column: "weight".to_owned(), max: 1.5 }], "is 2", "1.5"),
        (
            "CheckFailed",
            vec![nullable.clone(), Check::NullRatio { column: "segment".to_owned(), max: 0.2 }],
            "25.0 %",
            "segment",
        ),
    ];
    for (expected, checks, found, limit) in table {
        let mut spec = spec("a.csv", SELECT);
        spec.checks = checks;
        let (reason, text) = refusal(&spec, &dir).await;
        assert_eq!(reason, expected, "{text}");
        assert!(text.contains(found) && text.contains(limit), "{text}");
    }
    let mut stale = spec("a.csv", SELECT);
    stale.checks = vec![nullable];
    stale.freshness = Some(Duration::from_secs(86_400));
    assert_eq!(refusal(&stale, &dir).await.0, "DataStale");
    stale.freshness = Some(Duration::from_secs(2 * 86_400));
    assert!(read_at(&stale, &dir, "2020-01-05T00:00:00Z").await.is_ok());
    stale.previous_newest = Some(at("2020-01-03T00:00:01Z"));
    let (reason, text) = refusal(&stale, &dir).await;
    assert!(reason == "DataStale" && text.contains("2020-01-03T00:00:01Z"), "{text}");
    stale.previous_newest = None;
    let early = read_at(&stale, &dir, "2019-12-01T00:00:00Z").await.unwrap_err().to_string();
    assert!(early.contains("5 more are at or after"), "{early}");
}

#[tokio::test]
async fn repeats_and_texts_that_are_no_times_are_refused() {
    let row = "u1,a,2020-01-01T00:00:00Z\n";
    let dir = dir_with("a.csv", &format!("user_id,item_id,time\n{}u2,a,2020-01-02T00:00:00Z\n", row.repeat(5)));
    let sql = "SELECT user_id, item_id, time FROM interactions";
    let (reason, text) = refusal(&spec("a.csv", sql), &dir).await;
    assert!(reason == "CheckFailed" && text.contains("66.7 %"), "{text}");
    let dir = dir_with("a.csv", "user_id,item_id,time\nu1,a,01/12/2010 08:26\nu1,b,01/12/2010 08:28\n");
    let (reason, text) = refusal(&spec("a.csv", sql), &dir).await;
    assert!(reason == "SqlInvalid" && text.contains("01/12/2010 08:26") && text.contains("to_timestamp"), "{text}");
    let cured = "SELECT user_id, item_id, to_timestamp(time, '%d/%m/%Y %H:%M') AS time FROM interactions";
    let spec = DataSpec { history: Duration::from_secs(9_999 * 86_400), ..spec("a.csv", cured) };
    let data = read_at(&spec, &dir, "2020-01-05T00:00:00Z").await.unwrap();
    assert_eq!(data.report.oldest, at("2010-12-01T08:26:00Z"));
}

#[tokio::test]
async fn sources_that_cannot_be_read_say_why() {
    let dir = dir_with("a.csv", CSV);
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::write(dir.path().join("broken.parquet"), "not parquet").unwrap();
    for (url, word) in [
        ("absent.csv", "check the path"),
        ("absent/", ".parquet, .csv"),
        ("empty", "0 files"),
        ("broken.parquet", "is the file whole"),
        ("ftp://host/a.csv", "ftp"),
        ("http://[bad/a.csv", "not a URL"),
    ] {
        let (reason, text) = refusal(&spec(url, SELECT), &dir).await;
        assert_eq!(reason, "AccessDenied", "{url}: {text}");
        assert!(text.contains(word) && text.contains(url), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_query_that_never_ends_is_stopped() {
    let dir = dir_with("a.csv", &format!("{CSV}{}", "u9,z,2020-01-01T00:00:00Z,1,uk\n".repeat(300)));
    let joins = ["a", "b", "c", "d", "e"].map(|name| format!("interactions {name}")).join(" CROSS JOIN ");
    let sql = format!("SELECT max(a.user_id) AS user_id, max(a.item_id) AS item_id, max(a.time) AS time FROM {joins}");
    let mut endless = spec("a.csv", &sql);
    endless.deadline = Duration::from_millis(200);
    let (reason, text) = refusal(&endless, &dir).await;
    assert!(reason == "SqlInvalid" && text.contains("more than 0 s"), "{text}");
}

#[tokio::test]
async fn item_texts_are_elected() {
    let dir = dir_with("a.csv", CSV);
    fs::write(
        dir.path().join("items.csv"),
        "code,description,range\na,cup,x\na,mug,\na,mug,x\nb,,\n,pan,y\nc, plate ,z\n",
    )
    .unwrap();
    let mut spec = spec("a.csv", SELECT);
    spec.checks = vec![Check::NullRatio { column: "user_id".to_owned(), max: 0.3 }];
    let sql = "SELECT code AS item_id, description, range FROM items";
    spec.items = Some(Source { url: "items.csv".to_owned(), sql: sql.to_owned() });
    let data = read_at(&spec, &dir, "2020-01-05T00:00:00Z").await.unwrap();
    assert_eq!(data.report.described_items, 2);
    assert_eq!(data.items.0["a"]["description"], "mug");
    assert_eq!(data.items.0["a"]["range"], "x");
    assert_eq!(data.items.0["c"]["description"], "plate");
    spec.items = Some(Source { url: "items.csv".to_owned(), sql: "SELECT description FROM items".to_owned() });
    assert_eq!(refusal(&spec, &dir).await.0, "ColumnMissing");
}

#[tokio::test]
async fn unknown_columns_are_sniffed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("a.csv"),
        "who,what,when,much,gift\n17850,85123A,2010-12-01 08:26:00,6,true\n,71053,2010-12-01 08:27:00,2,false\n",
    )
    .unwrap();
    let columns = sniff(dir.path().join("a.csv").to_str().unwrap()).await.unwrap();
    let found: Vec<(&str, SniffedKind, &str, usize)> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind, column.sample.as_str(), column.distinct))
        .collect();
    assert_eq!(found[0], ("who", SniffedKind::Number, "17850", 1));
    assert_eq!(found[1], ("what", SniffedKind::Text, "85123A", 2));
    assert_eq!((found[2].0, found[2].1, found[2].3), ("when", SniffedKind::Time, 2));
    assert_eq!(found[3], ("much", SniffedKind::Number, "6", 2));
    assert_eq!(found[4], ("gift", SniffedKind::Bool, "true", 2));
    assert!(sniff("/absent/file.csv").await.is_err());
}
