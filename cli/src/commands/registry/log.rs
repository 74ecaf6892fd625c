//! `fairway registry log`: who did what to a model, when and why.

use anyhow::Result;
use clap::Args;
use fairway_registry::Access;
use serde_json::json;

use super::find::{model, open};
use super::words;
use crate::args::{ModelName, RegistryArgument};
use crate::exit::Code;
use crate::output::{self, table};

/// The model's log: who did what, when, why
///
/// Prints the newest entries of a model's log, the newest first. Each entry names the sha-256 of the one before it, which
/// is checked here. Nothing is ever taken out of the log: deleted versions leave their entry.
///
/// Example:  fairway registry log shop/recs --limit 20
#[derive(Debug, Args)]
pub struct Log {
    /// The model [default: the only one]
    pub model: Option<ModelName>,
    /// The most entries
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: usize,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Prints the log.
///
/// # Errors
/// There is no such model, or its log is damaged.
pub async fn run(log: Log) -> Result<Code> {
    let registry = open(&log.registry, Access::Read).await?;
    let model = model(&registry, log.model.as_ref()).await?;
    let limit = log.limit.clamp(1, 10_000);
    // One more, which tells what the oldest one changed.
    let entries = model.log.entries(limit + 1).await?;
    let shown = || {
        entries.iter().take(limit).enumerate().map(|(i, entry)| (entry, words::operation(entry, entries.get(i + 1))))
    };
    let values: Vec<_> = shown()
        .map(|(entry, words)| {
            json!({
                "seq": entry.seq,
                "time": entry.time,
                "actor": entry.actor,
                "operation": entry.operation,
                "words": words,
                "reason": entry.reason,
            })
        })
        .collect();
    log.registry.output.print(&values, |_| {
        let rows = shown().map(|(entry, words)| {
            vec![entry.seq.to_string(), output::time(entry.time), entry.actor.clone(), words, entry.reason.clone()]
        });
        table(&["seq", "time", "who", "what", "why"], rows)
    })?;
    Ok(Code::Done)
}
