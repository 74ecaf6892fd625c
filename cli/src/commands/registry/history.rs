//! `fairway registry alias history`: where an alias pointed, when, and who made it so.

use anyhow::Result;
use clap::Args;
use fairway_registry::{Access, Digest, Entry, ModelLog, Timestamp};
use serde_json::json;

use super::find::{Model, model, open};
use super::words::target;
use crate::args::{AliasName, RegistryArgument};
use crate::exit::Code;
use crate::output::{self, table};

/// The most entries that are read one by one on the way back to the one that moved the alias.
const BACK_MAX: u64 = 10_000;

/// Where an alias pointed, when, and who moved it
///
/// Lists where an alias pointed, the newest first: when, by whom and why it was moved. With --at it says in one line which
/// version it was at that time, and which entry of the log made it so.
///
/// Example:  fairway registry alias history champion
///
/// Example:  fairway registry alias history champion --at 2026-11-01T12:00Z
#[derive(Debug, Args)]
pub struct History {
    /// The alias: champion, @champion or models:/name@champion
    pub alias: AliasName,
    /// A time, such as 2026-11-01T12:00Z, or a day, which means its first moment in UTC
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Option<Timestamp>,
    /// The newest entries of the log that are looked through
    #[arg(long, default_value_t = 1_000, value_name = "N", conflicts_with = "at")]
    pub limit: usize,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    // A time without its zone would pass for a day.
    let is_day = !text.contains('T') && !text.contains(' ');
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    text.parse()
        .ok()
        .or_else(|| day().filter(|_| is_day).map(|day| day.timestamp()))
        .ok_or_else(|| "write a time with its zone, such as 2026-11-01T12:00Z, or a day, such as 2026-11-01".to_owned())
}

/// Prints the moves, or the one that held.
///
/// # Errors
/// There is no such model, or its log is damaged.
pub async fn run(history: History) -> Result<Code> {
    let registry = open(&history.registry, Access::Read).await?;
    let model = model(&registry, history.alias.model.as_ref()).await?;
    match history.at {
        Some(time) => at(&history, &model, time).await,
        None => all(&history, &model).await,
    }
}

async fn all(history: &History, model: &Model) -> Result<Code> {
    let alias = &history.alias.alias;
    let limit = history.limit.clamp(1, 10_000);
    let entries = model.log.entries(limit + 1).await?;
    let moves: Vec<_> = entries
        .iter()
        .enumerate()
        .filter(|(i, entry)| *i < limit || entry.seq == 1)
        .map(|(i, entry)| (entry, points_to(entries.get(i + 1), alias), points_to(Some(entry), alias)))
        .filter(|(_, from, to)| from != to)
        .collect();
    let values: Vec<_> = moves
        .iter()
        .map(|(entry, from, to)| {
            json!({
                "seq": entry.seq,
                "time": entry.time,
                "actor": entry.actor,
                "from": from,
                "to": to,
                "digest": digest(entry, *to),
                "reason": entry.reason,
            })
        })
        .collect();
    history.registry.output.print(&values, |_| {
        if moves.is_empty() {
            return format!("@{alias} of {} was not moved in the newest {limit} entries", model.full_name());
        }
        let rows = moves.iter().map(|(entry, from, to)| {
            vec![
                output::time(entry.time),
                format!("{} -> {}", target(*from), target(*to)),
                digest(entry, *to).map_or_else(String::new, |digest| format!("sha256:{}", digest.short())),
                entry.actor.clone(),
                entry.reason.clone(),
                entry.seq.to_string(),
            ]
        });
        table(&["time", "moved", "digest", "who", "why", "entry"], rows)
    })?;
    Ok(Code::Done)
}

async fn at(history: &History, model: &Model, time: Timestamp) -> Result<Code> {
    let alias = &history.alias.alias;
    let held = model.log.as_of(time).await?;
    let number = points_to(held.as_ref(), alias);
    let made = match &held {
        Some(entry) => made_it_so(&model.log, entry.clone(), alias).await?,
        None => None,
    };
    let digest = held.as_ref().and_then(|entry| digest(entry, number));
    let value = json!({
        "model": model.full_name(),
        "alias": alias,
        "at": time,
        "version": number,
        "digest": digest,
        "entry": made.as_ref().map(|entry| json!({
            "seq": entry.seq, "time": entry.time, "actor": entry.actor, "reason": entry.reason,
        })),
    });
    history.registry.output.print(&value, |_| {
        let name = format!("@{alias} of {}", model.full_name());
        let when = output::time(time);
        let Some(number) = number else { return format!("at {when} UTC, {name} pointed to no version") };
        let digest = digest.map_or_else(String::new, |digest| format!(" ({digest})"));
        let cause = made.map_or_else(String::new, |entry| {
            format!(
                ": {} moved it there on {} (entry {}: {})",
                entry.actor,
                output::time(entry.time),
                entry.seq,
                entry.reason
            )
        });
        format!("at {when} UTC, {name} was version {number}{digest}{cause}")
    })?;
    Ok(Code::Done)
}

fn points_to(entry: Option<&Entry>, alias: &str) -> Option<u64> {
    entry?.state.aliases.get(alias).copied()
}

fn digest(entry: &Entry, version: Option<u64>) -> Option<Digest> {
    Some(entry.state.versions.get(&version?)?.digest.clone())
}

/// The entry since which the alias points where it does in this one.
async fn made_it_so(log: &ModelLog, mut entry: Entry, alias: &str) -> Result<Option<Entry>> {
    for _ in 0..BACK_MAX {
        let before = if entry.seq > 1 { log.entry_at(entry.seq - 1).await? } else { None };
        if points_to(before.as_ref(), alias) != points_to(Some(&entry), alias) {
            return Ok(Some(entry));
        }
        match before {
            Some(before) => entry = before,
            // It never pointed anywhere.
            None => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn times_and_days() {
        for (text, expected) in [
            ("2026-11-01T12:00Z", "2026-11-01T12:00:00Z"),
            ("2026-11-01T12:00:30+01:00", "2026-11-01T11:00:30Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
        ] {
            assert_eq!(parse_time(text).unwrap().to_string(), expected);
        }
        assert!(["", "yesterday", "2026-11-01T12:00", "12:00"].iter().all(|bad| parse_time(bad).is_err()));
    }
}
