//! `fairway init`: a first manifest from the columns of a file.

use anyhow::{Context, Result, bail};

use crate::args::Init;
use crate::exit::{Code, Invalid};
use crate::output;

/// Reads the columns and prints (or writes) a manifest.
///
/// # Errors
/// The data cannot be read, or the file to write exists.
pub async fn run(init: Init) -> Result<Code> {
    let columns = fairway_trainer::sniff(&init.data).await.map_err(|error| Invalid(error.to_string()))?;
    let columns: Vec<fairway_api::init::Column> = columns.into_iter().map(column).collect();
    check(&init.data, &columns)?;
    for doubt in fairway_api::init::doubts(&columns, &init.name) {
        eprintln!("warning: {doubt}");
    }
    let text = fairway_api::init::manifest(&columns, &anywhere(&init.data)?, &init.name);
    let Some(path) = init.out else {
        output::line(text.trim_end())?;
        return Ok(Code::Done);
    };
    if path.exists() {
        bail!(Invalid(format!("{} exists: name another file with --out", path.display())));
    }
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("wrote {}; check what its comments ask, then: fairway validate {0}", path.display());
    Ok(Code::Done)
}

/// Where nothing can be guessed a manifest would only name columns that do not exist.
fn check(data: &str, columns: &[fairway_api::init::Column]) -> Result<()> {
    if columns.iter().all(|column| column.distinct == 0) {
        let found = if columns.is_empty() { "no columns" } else { "columns and no row with a value" };
        bail!(Invalid(format!("{data} has {found}: name a file with some of the data")));
    }
    if fairway_api::init::missing(columns).len() < 3 {
        return Ok(());
    }
    let names: Vec<String> = columns.iter().take(20).map(|column| format!("`{}`", column.name)).collect();
    bail!(Invalid(format!(
        "none of the columns of {data} looks like a user, an item or a time: {}{}. Rename them (user_id, item_id, time), or write \
         the manifest by hand",
        names.join(", "),
        if columns.len() > names.len() { ", …" } else { "" }
    )))
}

/// A manifest's relative paths start at its own folder, this command's at the one it runs in.
fn anywhere(data: &str) -> Result<String> {
    if data.contains("://") {
        return Ok(data.to_owned());
    }
    Ok(std::path::absolute(data).with_context(|| format!("the path {data}"))?.display().to_string())
}

fn column(column: fairway_trainer::SniffedColumn) -> fairway_api::init::Column {
    use fairway_api::init::ColumnKind as Kind;

    let kind = match column.kind {
        fairway_trainer::SniffedKind::Text => Kind::Text,
        fairway_trainer::SniffedKind::Number => Kind::Number,
        fairway_trainer::SniffedKind::Time => Kind::Time,
        fairway_trainer::SniffedKind::Bool => Kind::Bool,
    };
    fairway_api::init::Column { name: column.name, kind, sample: column.sample, distinct: column.distinct as u64 }
}
