//! Which column is the user, the item, the time, the weight, the segment: by its name first, by its type second. Guesses
//! are told, so that a person can correct them.

use super::dates::{Written, written};
use super::{Column, ColumnKind};

const USER: &[&str] =
    &["user", "customer", "visitor", "client", "member", "account", "buyer", "listener", "viewer", "person", "session"];
const ITEM: &[&str] = &[
    "item",
    "product",
    "stockcode",
    "sku",
    "article",
    "movie",
    "film",
    "song",
    "track",
    "book",
    "content",
    "video",
    "offer",
    "asin",
    "stock",
];
const TIME: &[&str] = &["timestamp", "datetime", "time", "date", "created", "occurred", "ts", "when", "day"];
const WEIGHT: &[&str] = &["quantity", "qty", "weight", "count", "units", "amount", "plays", "rating"];
const SEGMENT: &[&str] =
    &["segment", "country", "region", "market", "channel", "language", "locale", "store", "platform"];
/// More groups than this are no segments.
const SEGMENTS_MAX: u64 = 200;
/// Words that SQL keeps for itself.
const RESERVED: &[&str] = &[
    "user",
    "order",
    "group",
    "date",
    "timestamp",
    "table",
    "select",
    "from",
    "where",
    "values",
    "case",
    "end",
    "when",
    "as",
    "on",
];

/// The columns by what they seem to be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Roles<'a> {
    pub(super) user: Option<&'a Column>,
    pub(super) item: Option<&'a Column>,
    pub(super) time: Option<&'a Column>,
    pub(super) weight: Option<&'a Column>,
    pub(super) segment: Option<&'a Column>,
}

/// Guesses, each column for one role at most.
pub(super) fn roles(columns: &[Column]) -> Roles<'_> {
    // A control character in a name could not be written into the manifest's SQL.
    let mut free: Vec<&Column> =
        columns.iter().filter(|c| !c.name.is_empty() && !c.name.chars().any(unwritable)).collect();
    let id = |c: &Column| matches!(c.kind, ColumnKind::Text | ColumnKind::Number);
    let segment = |c: &Column| c.kind == ColumnKind::Text && (1..=SEGMENTS_MAX).contains(&c.distinct);
    Roles {
        time: take(&mut free, TIME, |c| c.kind == ColumnKind::Time)
            .or_else(|| take_if(&mut free, |c| c.kind == ColumnKind::Time))
            .or_else(|| take(&mut free, TIME, id))
            .or_else(|| take_if(&mut free, |c| c.kind == ColumnKind::Text && written(&c.sample).is_some())),
        user: take(&mut free, USER, id),
        item: take(&mut free, ITEM, id),
        weight: take(&mut free, WEIGHT, |c| c.kind == ColumnKind::Number),
        segment: take(&mut free, SEGMENT, segment),
    }
}

fn unwritable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The free column that fits a word best: the earlier the word and the less stands beside it, the better.
fn take<'a>(free: &mut Vec<&'a Column>, words: &[&str], fits: impl Fn(&Column) -> bool) -> Option<&'a Column> {
    let score = |column: &Column| {
        let bare: String = column.name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        let core = bare.strip_suffix("id").or_else(|| bare.strip_suffix("at")).unwrap_or(&bare);
        let exact = words.iter().position(|word| *word == core || *word == bare);
        // Short words are found inside of others by chance.
        let within = words.iter().position(|word| word.len() > 3 && bare.contains(word));
        exact.or(within.map(|at| at + words.len()))
    };
    let best = free.iter().enumerate().filter(|(_, c)| fits(c)).filter_map(|(i, c)| Some((score(c)?, i))).min();
    best.map(|(_, i)| free.remove(i))
}

fn take_if<'a>(free: &mut Vec<&'a Column>, fits: impl Fn(&Column) -> bool) -> Option<&'a Column> {
    free.iter().position(|c| fits(c)).map(|i| free.remove(i))
}

/// A column's name as SQL takes it.
pub(super) fn quoted(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let simple = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(plain);
    if simple && !RESERVED.contains(&name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

impl Roles<'_> {
    pub(super) fn user_column(&self) -> String {
        self.user.map_or_else(|| "user_id".to_owned(), |c| quoted(&c.name))
    }

    pub(super) fn item_column(&self) -> String {
        self.item.map_or_else(|| "item_id".to_owned(), |c| quoted(&c.name))
    }

    pub(super) fn user_sql(&self) -> String {
        format!("{} AS user_id", self.user_column())
    }

    pub(super) fn item_sql(&self) -> String {
        format!("{} AS item_id", self.item_column())
    }

    pub(super) fn time_sql(&self) -> String {
        let Some(column) = self.time else { return "time AS time".to_owned() };
        let name = quoted(&column.name);
        match column.kind {
            ColumnKind::Text => match written(&column.sample) {
                Some(Written { format, .. }) => format!("to_timestamp({name}, '{format}') AS time"),
                None => format!("CAST({name} AS TIMESTAMP) AS time"),
            },
            // Milliseconds since 1970 passed 10^11 in 1973; seconds will not within this millennium.
            ColumnKind::Number if column.sample.trim().parse().unwrap_or(0.0) > 1e11 => {
                format!("to_timestamp_millis({name}) AS time")
            }
            ColumnKind::Number => format!("to_timestamp_seconds({name}) AS time"),
            ColumnKind::Time | ColumnKind::Bool if name == "time" => name,
            ColumnKind::Time | ColumnKind::Bool => format!("{name} AS time"),
        }
    }

    /// Of `user`, `item` and `time` those that no column looks like.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let needed = [("user", self.user), ("item", self.item), ("time", self.time)];
        needed.into_iter().filter(|(_, column)| column.is_none()).map(|(role, _)| role).collect()
    }

    /// What is not sure about how the times are written; nothing where it is.
    pub(super) fn doubt(&self) -> Option<String> {
        let column = self.time.filter(|column| column.kind == ColumnKind::Text)?;
        match written(&column.sample) {
            Some(Written { format, or_else: Some(other) }) => Some(format!(
                "{} may have the day or the month first, and the rows that were looked at do not tell: it is read as '{format}'; \
                 write '{other}' if the month comes first",
                column.name
            )),
            Some(_) => None,
            None => Some(format!(
                "{} is text that is cast to a time; where that fails use to_timestamp with a format, such as \
                 to_timestamp({}, '%d/%m/%Y %H:%M')",
                column.name,
                quoted(&column.name)
            )),
        }
    }

    /// Comments on what was guessed, one a line, at the depth of the manifest's SQL.
    pub(super) fn notes(&self) -> String {
        let margin = "      # ";
        let needed = [("user", self.user, "user_id"), ("item", self.item, "item_id"), ("time", self.time, "time")];
        let mut notes = String::new();
        for (role, column, stand_in) in needed {
            match column {
                Some(column) => notes.push_str(&format!("{margin}CHECK: {role} is the column {}\n", column.name)),
                None => {
                    let article = if role == "item" { "an" } else { "a" };
                    notes.push_str(&format!(
                        "{margin}CHECK: no column looks like {article} {role}; put its name in place of {stand_in}\n"
                    ));
                }
            }
        }
        if let Some(doubt) = self.doubt() {
            notes.push_str(&format!("{margin}CHECK: {doubt}\n"));
        }
        match self.weight {
            Some(column) => notes.push_str(&format!(
                "{margin}CHECK: {} is how much was consumed; rows without any are left out\n",
                column.name
            )),
            None => notes.push_str(&format!("{margin}no weight: every row counts the same\n")),
        }
        if let Some(column) = self.segment {
            notes.push_str(&format!(
                "{margin}CHECK: {} groups users; results are told by group and popularity is kept by group\n",
                column.name
            ));
        }
        notes
    }
}
