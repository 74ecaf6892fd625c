//! `fairway registry list`: models and their versions.

use anyhow::Result;
use clap::Args;
use fairway_registry::{Access, State, Version};
use serde_json::json;

use super::find::open;
use crate::args::RegistryArgument;
use crate::exit::Code;
use crate::output::{self, table};

/// Models and their versions
///
/// Lists every version of every model, the newest first.
///
/// Example:  fairway registry list --registry s3://acme-models/prod
#[derive(Debug, Args)]
pub struct List {
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Prints the versions.
///
/// # Errors
/// The registry cannot be read.
pub async fn run(list: List) -> Result<Code> {
    let registry = open(&list.registry, Access::Read).await?;
    let mut all = Vec::new();
    for (namespace, name) in registry.models().await? {
        let state = registry.model(&namespace, &name)?.state().await?;
        for version in state.versions.values().rev() {
            all.push((format!("{namespace}/{name}"), version.clone(), state.clone()));
        }
    }
    let values: Vec<_> = all.iter().map(|(model, version, state)| value(model, version, state)).collect();
    list.registry.output.print(&values, |_| {
        if all.is_empty() {
            return "no versions yet: `fairway registry push` brings one in, and `fairway up` trains some".to_owned();
        }
        let header = ["model", "version", "aliases", "recall@20", "registered", "run", "digest", "notes"];
        table(&header, all.iter().map(|(model, version, state)| row(model, version, state)))
    })?;
    Ok(Code::Done)
}

fn value(model: &str, version: &Version, state: &State) -> serde_json::Value {
    json!({
        "model": model,
        "version": version.number,
        "aliases": state.aliases_of(version.number),
        "digest": version.digest,
        "run": version.run,
        "registered": version.registered,
        "bytes": version.bytes,
        "metrics": version.metrics,
        "labels": version.labels,
        "verdicts": version.verdicts,
        "hold": version.hold,
    })
}

fn row(model: &str, version: &Version, state: &State) -> Vec<String> {
    let recall = version.metrics.get("recall@20").map_or_else(|| "-".to_owned(), |recall| format!("{recall:.4}"));
    vec![
        model.to_owned(),
        version.number.to_string(),
        state.aliases_of(version.number).join(","),
        recall,
        output::time(version.registered),
        version.run.clone(),
        format!("sha256:{}", version.digest.short()),
        notes(version).join(", "),
    ]
}

/// What people have said of a version.
fn notes(version: &Version) -> Vec<String> {
    let mut notes = Vec::new();
    if version.rejected() {
        notes.push("rejected".to_owned());
    }
    match version.approvals().len() {
        0 => {}
        n => notes.push(format!("approved by {n}")),
    }
    if version.hold.is_some() {
        notes.push("legal hold".to_owned());
    }
    notes
}
