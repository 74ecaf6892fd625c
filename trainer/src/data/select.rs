//! From the manifest's SQL to the columns that are read: one SELECT, checked, and wrapped in a projection to known types.
//!
//! What it does not do: it runs nothing.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::Column;
use datafusion::common::DFSchema;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::error::DataError;
use super::failure::{Doing, explain};
use crate::plan::{Check, Source};

/// Columns that must be there.
const REQUIRED: [&str; 3] = ["user_id", "item_id", "time"];

/// Plans the SQL of a source. Refuses everything but one SELECT (or WITH … SELECT, VALUES, UNION of them).
pub(super) async fn plan(context: &SessionContext, table: &str, source: &Source) -> Result<DataFrame, DataError> {
    let invalid = |why: String| DataError::SqlInvalid { table: table.to_owned(), why };
    let doing = Doing::Querying { table, url: &source.url };
    let mut statements = DFParser::parse_sql(&source.sql).map_err(|error| explain(&error, doing))?;
    let statement = statements.pop_front();
    let only_one = statements.is_empty();
    match statement {
        Some(Statement::Statement(statement)) if only_one && matches!(*statement, SqlStatement::Query(_)) => {}
        Some(_) if only_one => {
            return Err(invalid("it is not a SELECT; nothing may be created, changed or set".to_owned()));
        }
        Some(_) => return Err(invalid("it has several statements; write one SELECT".to_owned())),
        None => return Err(invalid(format!("it is empty; write a SELECT over `{table}`"))),
    }
    let allowed = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    context.sql_with_options(&source.sql, allowed).await.map_err(|error| explain(&error, doing))
}

/// How the column `time` is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    /// The projected column holds milliseconds since 1970 UTC.
    Milliseconds,
    /// The projected column holds text: RFC 3339, or a date or time without zone, which is UTC.
    Text,
}

/// The rows as they are read, in this order: user, item, time, weight, segment, then a column for each check.
pub(super) struct Projected {
    /// Not yet run.
    pub(super) rows: DataFrame,
    /// What the third column is.
    pub(super) time: TimeForm,
}

/// Projects the SQL's output. Rows whose time is before `from_ms` are left out as early as the form of time allows.
pub(super) fn project(
    frame: DataFrame,
    table: &str,
    url: &str,
    checks: &[Check],
    from_ms: i64,
) -> Result<Projected, DataError> {
    let schema = frame.schema().clone();
    for column in REQUIRED {
        find(&schema, column)?;
    }
    let (time, form) = time_column(&schema, table)?;
    let mut columns = vec![
        cast(find(&schema, "user_id")?.0, DataType::Utf8).alias("user"),
        cast(find(&schema, "item_id")?.0, DataType::Utf8).alias("item"),
        time.clone().alias("time"),
    ];
    let null = |kind: DataType| cast(lit(datafusion::scalar::ScalarValue::Null), kind);
    let weight =
        find(&schema, "weight").map_or_else(|_| null(DataType::Float64), |(column, _)| cast(column, DataType::Float64));
    let segment =
        find(&schema, "segment").map_or_else(|_| null(DataType::Utf8), |(column, _)| cast(column, DataType::Utf8));
    columns.push(weight.alias("weight"));
    columns.push(segment.alias("segment"));
    for (index, check) in checks.iter().enumerate() {
        columns.extend(check_column(&schema, check)?.map(|column| column.alias(format!("check{index}"))));
    }
    let explained = |error| explain(&error, Doing::Querying { table, url });
    let frame = match form {
        TimeForm::Milliseconds => {
            frame.filter(time.clone().gt_eq(lit(from_ms)).or(time.is_null())).map_err(explained)?
        }
        TimeForm::Text => frame,
    };
    Ok(Projected { rows: frame.select(columns).map_err(explained)?, time: form })
}

/// A column of the output by its exact name, and its type.
fn find(schema: &DFSchema, name: &str) -> Result<(Expr, DataType), DataError> {
    let mut fields = schema.iter();
    let exact = fields.find(|(_, field)| field.name() == name);
    let (table, field) = exact.ok_or_else(|| DataError::ColumnMissing {
        column: name.to_owned(),
        place: "the SQL's output".to_owned(),
        existing: schema.fields().iter().map(|field| field.name().clone()).collect(),
        cure: format!("name it in the SELECT: … AS {name}"),
    })?;
    Ok((Expr::Column(Column::new(table.cloned(), field.name())), field.data_type().clone()))
}

fn time_column(schema: &DFSchema, table: &str) -> Result<(Expr, TimeForm), DataError> {
    let (column, kind) = find(schema, "time")?;
    let instant = |zone| cast(column.clone(), DataType::Timestamp(TimeUnit::Millisecond, zone));
    let value = match &kind {
        DataType::Timestamp(_, zone) => cast(instant(zone.clone()), DataType::Int64),
        DataType::Date32 | DataType::Date64 => cast(instant(None), DataType::Int64),
        kind if kind.is_integer() => cast(column, DataType::Int64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) | DataType::Null => {
            return Ok((cast(column, DataType::Utf8), TimeForm::Text));
        }
        other => {
            let why = format!(
                "`time` is of type {other}; make it a timestamp, a date, a whole number of milliseconds since 1970 or RFC 3339 text, for example CAST(… AS TIMESTAMP) AS time"
            );
            return Err(DataError::SqlInvalid { table: table.to_owned(), why });
        }
    };
    Ok((value, TimeForm::Milliseconds))
}

/// What a check looks at: a number for a maximum, yes or no for nulls. The three required columns are counted anyway.
fn check_column(schema: &DFSchema, check: &Check) -> Result<Option<Expr>, DataError> {
    Ok(match check {
        Check::MinRows(_) => None,
        Check::Max { column, .. } => Some(cast(find(schema, column)?.0, DataType::Float64)),
        Check::NullRatio { column, .. } => Some(find(schema, column)?.0.is_null()),
    })
}
