//! `fairway registry`: models, versions and their log.

use anyhow::{Context, Result, bail};
use fairway_registry::{ModelLog, Operation, Reference, Registry as Store};
use serde_json::json;

use super::state::StateFolder;
use crate::args::{Registry, RegistryArgument};
use crate::exit::{Code, Invalid};
use crate::output::{self, table};

/// Runs a registry command.
///
/// # Errors
/// The registry cannot be read, or does not hold what was asked for.
pub async fn run(registry: Registry) -> Result<Code> {
    match registry {
        Registry::List { registry } => list(&registry).await,
        Registry::Show { version, registry } => show(&version, &registry).await,
        Registry::Log { model, limit, registry } => log(model.as_deref(), limit, &registry).await,
    }?;
    Ok(Code::Done)
}

async fn open(argument: &RegistryArgument) -> Result<Store> {
    let url = match &argument.registry {
        Some(url) => url.clone(),
        None => StateFolder::find(&argument.state)?.identity()?.registry,
    };
    Ok(Store::open(&url).await?)
}

async fn list(argument: &RegistryArgument) -> Result<()> {
    let store = open(argument).await?;
    let mut all = Vec::new();
    for (namespace, name) in store.models().await? {
        let state = store.model(&namespace, &name)?.head().await?.map(|entry| entry.state).unwrap_or_default();
        for version in state.versions.values().rev() {
            let aliases: Vec<&String> =
                state.aliases.iter().filter(|(_, number)| **number == version.number).map(|(alias, _)| alias).collect();
            all.push(json!({
                "model": format!("{namespace}/{name}"),
                "version": version.number,
                "aliases": aliases,
                "digest": version.digest,
                "run": version.run,
                "registered": version.registered,
                "bytes": version.bytes,
                "metrics": version.metrics,
            }));
        }
    }
    argument.output.print(&all, |all| {
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows = all.iter().map(|row| {
            let aliases = row["aliases"].as_array().map(|all| all.iter().map(text).collect::<Vec<_>>().join(","));
            let digest = text(&row["digest"]).chars().take(19).collect();
            let recall = row["metrics"]["recall@20"].as_f64().map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
            let registered = text(&row["registered"]).chars().take(19).collect::<String>().replace('T', " ");
            vec![
                text(&row["model"]),
                text(&row["version"]),
                aliases.unwrap_or_default(),
                recall,
                registered,
                text(&row["run"]),
                digest,
            ]
        });
        table(&["model", "version", "aliases", "recall@20", "registered", "run", "digest"], rows)
    })
}

/// The log that a reference or name speaks of: named, or the only one.
async fn find(store: &Store, name: Option<&str>) -> Result<(String, ModelLog)> {
    let models = store.models().await?;
    let matches: Vec<&(String, String)> = models
        .iter()
        .filter(|(namespace, model)| name.is_none_or(|name| name == model || name == format!("{namespace}/{model}")))
        .collect();
    match matches.as_slice() {
        [(namespace, model)] => Ok((format!("{namespace}/{model}"), store.model(namespace, model)?)),
        [] => bail!(Invalid(format!("no such model; there are: {}", names(&models)))),
        _ => bail!(Invalid(format!("which model? there are: {}", names(&models)))),
    }
}

fn names(models: &[(String, String)]) -> String {
    if models.is_empty() {
        return "none".to_owned();
    }
    models.iter().map(|(namespace, model)| format!("{namespace}/{model}")).collect::<Vec<_>>().join(", ")
}

async fn show(reference: &Reference, argument: &RegistryArgument) -> Result<()> {
    let store = open(argument).await?;
    let (name, log) = find(&store, reference.model.as_deref()).await?;
    let version = log.resolve(reference).await?;
    let state = log.head().await?.context("the log has vanished")?.state;
    let aliases: Vec<String> = state
        .aliases
        .iter()
        .filter(|(_, number)| **number == version.number)
        .map(|(alias, _)| format!("@{alias}"))
        .collect();
    let provenance = log.provenance(&version.digest).await?;
    let value = json!({"model": name, "aliases": aliases, "version": version, "provenance": provenance});
    argument.output.print(&value, |_| {
        let mut card = format!("# {name}, version {} {}\n\n", version.number, aliases.join(" "));
        card.push_str(&format!(
            "- digest: {}\n- run: {}\n- registered: {}\n",
            version.digest,
            version.run,
            output::time(version.registered)
        ));
        card.push_str(&format!("- size: {} files, {} bytes\n\n## Metrics\n\n", version.files, version.bytes));
        for (metric, value) in &version.metrics {
            card.push_str(&format!("- {metric}: {value:.4}\n"));
        }
        card.push_str("\n## Provenance\n\n```json\n");
        card.push_str(&serde_json::to_string_pretty(&provenance).unwrap_or_default());
        card.push_str("\n```\n");
        card
    })
}

async fn log(model: Option<&str>, limit: usize, argument: &RegistryArgument) -> Result<()> {
    let store = open(argument).await?;
    let (_, log) = find(&store, model).await?;
    let entries = log.entries(limit.clamp(1, 10_000)).await?;
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| json!({"seq": entry.seq, "time": entry.time, "actor": entry.actor, "operation": entry.operation, "reason": entry.reason}))
        .collect();
    argument.output.print(&rows, |_| {
        let rows = entries.iter().map(|entry| {
            let what = match &entry.operation {
                Operation::Registered { version } => format!("registered version {version}"),
                Operation::Aliased { alias, from, to, .. } => format!("@{alias}: {} -> {}", number(*from), number(*to)),
            };
            vec![entry.seq.to_string(), output::time(entry.time), entry.actor.clone(), what, entry.reason.clone()]
        });
        table(&["seq", "time", "who", "what", "why"], rows)
    })
}

fn number(version: Option<u64>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| format!("version {version}"))
}
