//! Tables for people, JSON for programs.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

impl Output {
    /// Prints the value as JSON, or what `table` draws of it.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn print<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Table => line(table(value).trim_end()),
            Self::Json => line(&serde_json::to_string_pretty(value)?),
        }
    }

    /// Prints one of many values: as JSON in one line, or what `table` draws of it.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn print_one<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Table => line(table(value).trim_end()),
            Self::Json => line(&serde_json::to_string(value)?),
        }
    }
}

/// Prints a line to stdout. A reader that has gone, such as `head`, is no error.
///
/// # Errors
/// Stdout cannot be written for any other reason.
pub fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// A plain table: a header and rows.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table.add_rows(rows);
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Reasons for people, one a line.
pub fn reasons(reasons: &[fairway_core::Reason]) -> String {
    reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.message)).collect::<Vec<_>>().join("\n")
}

/// A time for people: to the second, UTC.
pub fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
