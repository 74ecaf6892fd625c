//! `fairway registry retention`: which versions of a model are kept.

use anyhow::Result;
use clap::{Args, Subcommand};
use fairway_registry::{Access, Retention as Rule, kept};
use serde_json::json;
use std::collections::BTreeSet;

use super::find::{Acting, model, now, open};
use super::words::{self, retention_of};
use crate::args::{AuthorArgument, ModelName, RegistryArgument};
use crate::exit::Code;
use crate::output::table;

/// Verbs of the retention.
#[derive(Debug, Subcommand)]
pub enum Retention {
    Show(Show),
    Set(Set),
    Clear(Clear),
}

/// The rule, and what it keeps now
///
/// Shows the rule of a model, and why each version is kept. What no rule keeps, a collection may delete.
///
/// Example:  fairway registry retention show shop/recs
#[derive(Debug, Args)]
pub struct Show {
    /// The model [default: the only one]
    pub model: Option<ModelName>,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Set the rule; nothing is deleted before the next `fairway registry gc`
///
/// Says which versions of a model are kept. Whatever the rule, a version is kept that an alias points to, that is under a
/// legal hold, or that an endpoint or an unfinished run relies on. Nothing is deleted before `fairway registry gc`.
///
/// Example:  fairway registry retention set shop/recs --versions 20 --days 90
#[derive(Debug, Args)]
pub struct Set {
    /// The model [default: the only one]
    pub model: Option<ModelName>,
    /// Keep this many of the newest versions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub versions: u32,
    /// Also keep versions that were registered within so many days
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub days: u32,
    /// Also keep versions that were @champion within so many days, to go back to
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub rollback_days: u32,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Keep everything again
///
/// Takes the rule away: every version is kept.
///
/// Example:  fairway registry retention clear shop/recs
#[derive(Debug, Args)]
pub struct Clear {
    /// The model [default: the only one]
    pub model: Option<ModelName>,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Runs a verb.
///
/// # Errors
/// There is no such model, or the rule makes no sense.
pub async fn run(retention: Retention) -> Result<Code> {
    match retention {
        Retention::Show(show) => self::show(show).await,
        Retention::Set(set) => {
            let rule = Rule { versions: set.versions, days: set.days, rollback_days: set.rollback_days };
            change(set.model.as_ref(), Some(rule), &set.author, &set.registry).await
        }
        Retention::Clear(clear) => change(clear.model.as_ref(), None, &clear.author, &clear.registry).await,
    }
}

async fn show(show: Show) -> Result<Code> {
    let registry = open(&show.registry, Access::Read).await?;
    let model = model(&registry, show.model.as_ref()).await?;
    let state = model.log.state().await?;
    let why = kept(&state, &registry.in_use(&model.namespace).await?, now());
    let value = json!({"model": model.full_name(), "retention": state.retention, "kept": why});
    show.registry.output.print(&value, |_| {
        let rows = why.iter().rev().map(|(number, reasons)| vec![number.to_string(), told(reasons)]);
        let table = table(&["version", "kept because"], rows);
        format!("{}: {}\n\n{table}", model.full_name(), retention_of(state.retention.as_ref()))
    })?;
    Ok(Code::Done)
}

fn told(reasons: &BTreeSet<fairway_registry::Kept>) -> String {
    if reasons.is_empty() {
        "nothing keeps it: the next collection may delete it".to_owned()
    } else {
        words::kept(reasons)
    }
}

async fn change(
    name: Option<&ModelName>,
    rule: Option<Rule>,
    author: &AuthorArgument,
    argument: &RegistryArgument,
) -> Result<Code> {
    let registry = open(argument, Access::Write).await?;
    let model = model(&registry, name).await?;
    let entry = model.log.retain(rule, Acting::from(author).author()).await?;
    let why = kept(&entry.state, &registry.in_use(&model.namespace).await?, now());
    let free: Vec<u64> = why.iter().filter(|(_, reasons)| reasons.is_empty()).map(|(number, _)| *number).collect();
    let value = json!({"model": model.full_name(), "retention": rule, "seq": entry.seq, "notKept": free});
    argument.output.print(&value, |_| {
        let effect = match free.len() {
            0 => "Every version that is there is kept.".to_owned(),
            n => format!("{} may be deleted by the next `fairway registry gc`.", words::count(n, "version")),
        };
        format!("{}: {}\n{effect}", model.full_name(), retention_of(rule.as_ref()))
    })?;
    Ok(Code::Done)
}
