//! `fairway registry gc`: deletes what nothing keeps.

use anyhow::Result;
use clap::Args;
use fairway_registry::{Access, Candidate, Collected, Collection, Registry};
use serde_json::json;

use super::find::{Acting, Model, model, now, open};
use super::words;
use crate::args::{AuthorArgument, ModelName, RegistryArgument};
use crate::exit::Code;
use crate::output::{self, table};

/// Delete versions that nothing keeps, and leftovers of uploads
///
/// Deletes versions that no retention, alias, hold, endpoint or run keeps, and trees that were uploaded and never registered.
/// What may go is noted first, and goes by a later collection, once it could have gone for the whole of --grace: run it
/// every day. The log says what was deleted, by whom and why, before the first byte goes.
///
/// Example:  fairway registry gc shop/recs --dry-run
///
/// Example:  fairway registry gc --grace 14d --reason "weekly cleaning"
#[derive(Debug, Args)]
pub struct Gc {
    /// The model [default: all of them]
    pub model: Option<ModelName>,
    /// How long something must have been deletable before it goes; longer than any upload, rollout or download takes
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub grace: fairway_api::values::Duration,
    /// Only say what would happen; nothing is noted either
    #[arg(long)]
    pub dry_run: bool,
    /// The most trees of a model that are deleted this time
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub most: usize,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Collects.
///
/// # Errors
/// The registry cannot be read or written.
pub async fn run(gc: Gc) -> Result<Code> {
    let access = if gc.dry_run { Access::Read } else { Access::Write };
    let registry = open(&gc.registry, access).await?;
    let mut all = Vec::new();
    for model in models(&registry, gc.model.as_ref()).await? {
        let acting = Acting::from(&gc.author);
        let author = acting.author();
        let request = Collection {
            grace: gc.grace.std(),
            dry_run: gc.dry_run,
            most: gc.most,
            actor: author.actor.to_owned(),
            reason: author.reason.to_owned(),
            time: author.time,
            in_use: registry.in_use(&model.namespace).await?,
        };
        let collected = model.log.collect(&request).await?;
        all.push((model.full_name(), collected));
    }
    let value: Vec<_> =
        all.iter().map(|(model, it)| json!({"model": model, "dryRun": gc.dry_run, "collected": it})).collect();
    gc.registry.output.print(&value, |_| draw(&all, gc.dry_run))?;
    Ok(Code::Done)
}

async fn models(registry: &Registry, name: Option<&ModelName>) -> Result<Vec<Model>> {
    if name.is_some() {
        return Ok(vec![model(registry, name).await?]);
    }
    let named = registry.models().await?.into_iter().map(|(namespace, name)| {
        let log = registry.model(&namespace, &name)?;
        Ok(Model { namespace, name, log })
    });
    named.collect()
}

fn draw(all: &[(String, Collected)], dry_run: bool) -> String {
    let rows = all.iter().flat_map(|(model, collected)| {
        let kept = collected.kept.iter().map(|(number, why)| {
            vec![model.clone(), number.to_string(), "kept".to_owned(), String::new(), words::kept(why)]
        });
        let waiting = collected.waiting.iter().map(|it| candidate(model, it, "waits", waits(it, dry_run)));
        let deleted = collected.deleted.iter().map(|it| candidate(model, it, "deleted", "nothing kept it".to_owned()));
        kept.chain(waiting).chain(deleted).collect::<Vec<_>>()
    });
    let table = table(&["model", "version", "what", "size", "why"], rows);
    let sum = |of: fn(&Collected) -> usize| all.iter().map(|(_, collected)| of(collected)).sum::<usize>();
    let size = all.iter().map(|(_, collected)| collected.bytes_deleted).sum();
    let waiting = all.iter().flat_map(|(_, collected)| &collected.waiting).map(|it| it.bytes).sum();
    format!(
        "{table}\n\n{} kept; {} waiting ({}); {} deleted ({}){}",
        words::count(sum(|it| it.kept.len()), "version"),
        words::count(sum(|it| it.waiting.len()), "tree"),
        words::bytes(waiting),
        words::count(sum(|it| it.deleted.len()), "tree"),
        words::bytes(size),
        if dry_run { "; a dry run: nothing was changed" } else { "" }
    )
}

fn candidate(model: &str, tree: &Candidate, what: &str, why: String) -> Vec<String> {
    let numbers: Vec<String> = tree.versions.iter().map(u64::to_string).collect();
    let version = match numbers.is_empty() {
        true => format!("(never registered) {}", tree.digest.short()),
        false => numbers.join(", "),
    };
    vec![model.to_owned(), version, what.to_owned(), words::bytes(tree.bytes), why]
}

fn waits(tree: &Candidate, dry_run: bool) -> String {
    if dry_run && tree.due <= now() {
        return "nothing keeps it: would be deleted now".to_owned();
    }
    format!("nothing keeps it: may be deleted from {} on", output::time(tree.due))
}
