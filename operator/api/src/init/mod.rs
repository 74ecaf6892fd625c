//! A first manifest from the columns of somebody's data. It guesses, and says in comments what it guessed; it reads no data
//! itself.

mod dates;
mod guess;

use guess::{Roles, roles};

use crate::manifest::is_dns_label;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text.
    Text,
    /// Whole or fractional numbers.
    Number,
    /// Dates or times.
    Time,
    /// True or false.
    Bool,
}

/// A column of the data, as far as a look at its first rows tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// One of its values, as text; may be empty.
    pub sample: String,
    /// Number of different values in the rows that were looked at.
    pub distinct: u64,
}

/// Writes a first manifest, Model and ModelEndpoint, for data at `url`. It parses and validates whatever the columns are; where
/// no column fits, a comment says what to fill in.
pub fn manifest(columns: &[Column], url: &str, name: &str) -> String {
    let name = label(name);
    let roles = roles(columns);
    let url = serde_json::Value::from(if url.is_empty() { "data/" } else { url }).to_string();
    let found: String = columns.iter().map(described).collect();
    let (notes, sql) = (roles.notes(), select(&roles));
    let weight_check = if roles.weight.is_some() {
        "\n    # - {column: weight, max: 100000}   # refuse data with an absurd quantity in it"
    } else {
        ""
    };
    format!(
        "\
# Written by `fairway init` from these columns:
{found}#
# Look at the lines marked CHECK, then run `fairway validate` and `fairway up` on this file.
apiVersion: fairway.dev/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec:
  data:
    interactions:
      url: {url}
      # The SQL must yield user_id, item_id and time; weight and segment if there are any.
{notes}      sql: |
{sql}    history: 180d                     # how far back a run looks
    # freshness: 36h                  # refuse to train when the newest row is older; off for a file that never grows
    checks:                           # what must hold before anything is trained
    - {{minRows: 1000}}                 # CHECK: well below what you usually have{weight_check}
  # CHECK: what counts as success, and how long after a recommendation it may still happen.
  reward: {{event: purchase, value: One, within: 1d, cap: 10}}
  trainer:
    builtin: {{family: ease, parameters: {{regularization: \"200\"}}}}
  # When to train again (drift, a model worse than popularity, age), cooldown and budget: the defaults hold. See the reference.
---
apiVersion: fairway.dev/v1alpha1
kind: ModelEndpoint
metadata: {{name: {name}}}
spec:
  model: {name}
  rollout:
    steps:                            # share of users in percent, and the least time at it
    - {{weight: 5, hold: 30m}}
    - {{weight: 25, hold: 1h}}
    - {{weight: 50, hold: 1h}}
    minRequests: 500                  # CHECK: few visitors a day need fewer requests and longer holds
    gates:                            # proof of harm beyond the tolerance takes the new version back
    - {{metric: errors, tolerance: 10%}}
    - {{metric: slow, over: 50ms, tolerance: 20%}}
    - {{metric: reward, tolerance: 2%}}
"
    )
}

/// Of a user, an item and a time, what no column looks like: the manifest's SQL names a column there that does not exist.
pub fn missing(columns: &[Column]) -> Vec<&'static str> {
    roles(columns).missing()
}

/// What a person should hear beside the manifest: what was not found, or may mean something else.
pub fn doubts(columns: &[Column], name: &str) -> Vec<String> {
    let roles = roles(columns);
    let missing = roles.missing().into_iter().map(|role| {
        let article = if role == "item" { "an" } else { "a" };
        format!(
            "no column looks like {article} {role}: put its name in place of {role}{}",
            if role == "time" { "" } else { "_id" }
        )
    });
    let written = label(name);
    let renamed = (written != name).then(|| format!("`{name}` cannot be a name: `{written}` is written instead"));
    missing.chain(roles.doubt()).chain(renamed).collect()
}

/// A name that Kubernetes takes, as near to what was given as possible.
fn label(name: &str) -> String {
    let lower = name.to_lowercase();
    let mapped: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let trimmed = mapped.trim_matches('-');
    let usable = is_dns_label(trimmed) && trimmed.starts_with(|c: char| c.is_ascii_lowercase()) && !is_word(trimmed);
    if usable { trimmed.to_owned() } else { "recommendations".to_owned() }
}

/// Words that YAML reads as something else than text.
fn is_word(name: &str) -> bool {
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&name)
}

fn described(column: &Column) -> String {
    let kind = match column.kind {
        ColumnKind::Text => "text",
        ColumnKind::Number => "number",
        ColumnKind::Time => "time",
        ColumnKind::Bool => "true or false",
    };
    let Column { name, sample, distinct, .. } = column;
    format!("#   {}: {kind}, {distinct} different values, such as {}\n", commented(name), commented(sample))
}

/// Text that cannot leave a comment.
fn commented(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c })
        .take(40)
        .collect();
    if line.trim().is_empty() { "(empty)".to_owned() } else { line }
}

fn select(roles: &Roles<'_>) -> String {
    let mut columns = vec![roles.user_sql(), roles.item_sql(), roles.time_sql()];
    let mut conditions =
        vec![format!("{} IS NOT NULL", roles.user_column()), format!("{} IS NOT NULL", roles.item_column())];
    if let Some(weight) = roles.weight {
        let weight = guess::quoted(&weight.name);
        columns.push(format!("{weight} AS weight"));
        conditions.push(format!("{weight} > 0"));
    }
    if let Some(segment) = roles.segment {
        columns.push(format!("{} AS segment", guess::quoted(&segment.name)));
    }
    let margin = "        ";
    format!(
        "{margin}SELECT {}\n{margin}FROM interactions\n{margin}WHERE {}\n",
        columns.join(", "),
        conditions.join(" AND ")
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::{Manifests, parse_documents};

    fn column(name: &str, kind: ColumnKind, sample: &str, distinct: u64) -> Column {
        Column { name: name.into(), kind, sample: sample.into(), distinct }
    }

    fn sql_of(columns: &[Column]) -> String {
        let text = manifest(columns, "file:///data/sales.csv", "shop");
        let documents = parse_documents(&text, "shop.yaml").unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        let grouped = Manifests::group(documents).unwrap();
        assert!(grouped.warnings().is_empty());
        grouped.models.into_values().next().unwrap().value.spec.data.interactions.sql
    }

    #[test]
    fn finds_the_columns_of_a_shop() {
        use ColumnKind::{Number, Text, Time};
        let sql = sql_of(&[
            column("Invoice", Text, "489434", 900),
            column("StockCode", Text, "85048", 700),
            column("Description", Text, "CHRISTMAS LIGHTS", 700),
            column("Quantity", Number, "12", 40),
            column("InvoiceDate", Time, "2009-12-01T07:45:00", 880),
            column("Price", Number, "6.95", 90),
            column("Customer ID", Number, "13085", 300),
            column("Country", Text, "United Kingdom", 9),
        ]);
        let expected = "SELECT \"Customer ID\" AS user_id, \"StockCode\" AS item_id, \"InvoiceDate\" AS time, \
                        \"Quantity\" AS weight, \"Country\" AS segment\nFROM interactions\n\
                        WHERE \"Customer ID\" IS NOT NULL AND \"StockCode\" IS NOT NULL AND \"Quantity\" > 0\n";
        assert_eq!(sql, expected);
    }

    #[test]
    fn finds_the_columns_of_a_film_service() {
        use ColumnKind::Number;
        let sql = sql_of(&[
            column("userId", Number, "1", 600),
            column("movieId", Number, "31", 9000),
            column("rating", Number, "2.5", 10),
            column("timestamp", Number, "1260759144", 70_000),
        ]);
        assert!(sql.starts_with(
            "SELECT \"userId\" AS user_id, \"movieId\" AS item_id, to_timestamp_seconds(\"timestamp\") AS time, rating AS weight"
        ));
    }

    #[test]
    fn says_what_it_could_not_find() {
        let text = manifest(&[column("a", ColumnKind::Bool, "", 2)], "data.csv", "Übung 1!");
        assert!(text.contains("metadata: {name: bung-1}"), "{text}");
        assert!(text.contains("# CHECK: no column looks like a user; put its name in place of user_id"), "{text}");
        assert!(sql_of(&[]).starts_with("SELECT user_id AS user_id, item_id AS item_id, time AS time"));
    }

    #[test]
    fn times_that_are_text_are_read_by_their_format() {
        use ColumnKind::{Number, Text};
        let of = |sample: &str| {
            let columns =
                [column("user", Number, "1", 9), column("item", Number, "1", 9), column("date", Text, sample, 9)];
            (sql_of(&columns), doubts(&columns, "shop"))
        };
        let (sql, doubts) = of("31/12/2025 10:00");
        assert!(
            sql.contains("to_timestamp(\"date\", '%d/%m/%Y %H:%M') AS time") && doubts.is_empty(),
            "{sql} {doubts:?}"
        );
        let (sql, doubts) = of("01/02/2025 10:00");
        assert!(sql.contains("'%d/%m/%Y %H:%M'") && doubts[0].contains("'%m/%d/%Y %H:%M'"), "{sql} {doubts:?}");
        let (sql, doubts) = of("Monday at noon");
        assert!(sql.contains("CAST(\"date\" AS TIMESTAMP)") && doubts[0].contains("to_timestamp"), "{sql} {doubts:?}");
    }

    #[test]
    fn what_was_not_found_and_another_name_are_told() {
        let columns = [column("user", ColumnKind::Number, "1", 9), column("when", ColumnKind::Time, "2025-01-01", 9)];
        assert_eq!(missing(&columns), ["item"]);
        let told = doubts(&columns, "Bad Name!");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("no column looks like an item") && told[1].contains("`bad-name` is written instead"),
            "{told:?}"
        );
        assert_eq!(missing(&[]), ["user", "item", "time"]);
    }

    proptest! {
        #[test]
        fn always_writes_a_valid_manifest(
            names in proptest::collection::vec("\\PC{0,12}|[\\x00-\\x7f]{0,8}", 0..8),
            samples in "[\\x00-\\x7f]{0,60}",
            url in "[ -~]{0,40}",
            name in "\\PC{0,70}",
        ) {
            let kinds = [ColumnKind::Text, ColumnKind::Number, ColumnKind::Time, ColumnKind::Bool];
            let columns: Vec<Column> =
                names.iter().enumerate().map(|(i, name)| column(name, kinds[i % 4], &samples, i as u64 * 7)).collect();
            let text = manifest(&columns, &url, &name);
            let documents = parse_documents(&text, "first.yaml");
            prop_assert!(documents.is_ok(), "{:?}\n{}", documents.err(), text);
            let grouped = Manifests::group(documents.unwrap_or_default());
            prop_assert!(grouped.is_ok());
        }
    }
}
