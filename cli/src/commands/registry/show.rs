//! `fairway registry show`: the card of a version.

use anyhow::Result;
use clap::Args;
use fairway_registry::provenance::{Attested, CardInput, Provenance, card};
use fairway_registry::{Access, Operation, Version};
use serde_json::json;

use super::find::{Model, open, version};
use crate::args::{RegistryArgument, VersionName};
use crate::exit::Code;

/// The newest entries that are searched for the signature of a version.
const ENTRIES_MAX: usize = 500;

/// The card of a version: where it comes from, what was measured, who approved it
///
/// Prints the card of a version in Markdown: where it comes from, what was measured, who approved it. With JSON also its
/// files and its whole provenance.
///
/// Example:  fairway registry show @champion
///
/// Example:  fairway registry show models:/shop/recs/3 --output json
#[derive(Debug, Args)]
pub struct Show {
    /// `models:/name@champion`, `models:/name/3` or `models:/name@sha256:…`; `@champion`, `3`, … in a registry of one model
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Prints the card.
///
/// # Errors
/// There is no such version, or its tree cannot be read.
pub async fn run(show: Show) -> Result<Code> {
    let registry = open(&show.registry, Access::Read).await?;
    let (model, version) = version(&registry, &show.version).await?;
    let state = model.log.state().await?;
    let raw = model.log.provenance(&version.digest).await?;
    let signatures = signatures(&model, &version).await?;
    let aliases: Vec<String> = state.aliases_of(version.number).into_iter().map(str::to_owned).collect();
    let at: Vec<String> = aliases.iter().map(|alias| format!("@{alias}")).collect();
    let value = json!({
        "model": model.full_name(),
        "aliases": at,
        "version": version,
        "signed": !signatures.is_empty(),
        "files": model.log.manifest(&version.digest).await?.files,
        "provenance": raw,
    });
    let about = CardInput {
        model: model.full_name(),
        version: version.number,
        digest: version.digest.clone(),
        aliases,
        status: version.hold.as_ref().map(|reason| format!("legal hold: {reason}")),
        run: version.run.clone(),
        registered: version.registered,
        bytes: version.bytes,
        files: version.files,
        metrics: version.metrics.clone(),
        labels: version.labels.clone(),
        provenance: Provenance::of(raw),
        approvals: Some(verdicts(&version)),
        signatures: Some(signatures),
    };
    show.registry.output.print(&value, |_| card(&about))?;
    Ok(Code::Done)
}

/// What people said of it.
fn verdicts(version: &Version) -> Vec<Attested> {
    let told = version.verdicts.iter().map(|verdict| Attested {
        by: verdict.actor.clone(),
        at: Some(verdict.time),
        says: format!("{}: {}", if verdict.approved { "approved" } else { "rejected" }, verdict.reason),
    });
    told.collect()
}

/// The signature beside the tree, as the log knows it.
async fn signatures(model: &Model, version: &Version) -> Result<Vec<Attested>> {
    if model.log.signature(&version.digest).await?.is_none() {
        return Ok(Vec::new());
    }
    let entries = model.log.entries(ENTRIES_MAX).await?;
    let by_key = entries.iter().find_map(|entry| match &entry.operation {
        Operation::Signed { version: number, key } if *number == version.number => Some((key, entry)),
        _ => None,
    });
    let cure = "not checked here, fairway registry verify does";
    Ok(vec![match by_key {
        Some((key, entry)) => Attested {
            by: format!("key {}", key.chars().take(12).collect::<String>()),
            at: Some(entry.time),
            says: format!("put there by {}; {cure}", entry.actor),
        },
        None => Attested { by: "an unknown key".to_owned(), at: None, says: format!("it came with the tree; {cure}") },
    }])
}
