//! `fairway registry probe`: finds out what a store really does.

use anyhow::Result;
use clap::Args;
use fairway_registry::{Registry, Report};
use serde_json::json;

use super::find::url;
use crate::args::RegistryArgument;
use crate::exit::Code;
use crate::output::table;

/// Find out whether a store can hold a registry
///
/// Finds out what the store at a place really does, by writing, listing and removing a few objects under `_probe/` there.
/// Nothing else is touched, and the place need not be a registry. The exit code is 1 when the store may not hold one.
///
/// Example:  fairway registry probe s3://acme-models/prod --store-option aws_endpoint=http://127.0.0.1:9000
#[derive(Debug, Args)]
pub struct Probe {
    /// The place [default: the registry]
    pub url: Option<String>,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Prints what was found.
///
/// # Errors
/// The store cannot be written to at all.
pub async fn run(probe: Probe) -> Result<Code> {
    let place = probe.url.map_or_else(|| url(&probe.registry), Ok)?;
    let report = Registry::probe(&place, &probe.registry.state.store.options()?).await?;
    let refusal = report.refusal();
    let value = json!({"usable": refusal.is_none(), "refusal": refusal, "report": report});
    probe.registry.output.print(&value, |_| {
        let verdict = match &refusal {
            None => "may hold a registry".to_owned(),
            Some(reason) => format!("may NOT hold a registry: {reason}"),
        };
        format!("{}\n\n{} {verdict}", draw(&report), report.url)
    })?;
    Ok(if refusal.is_none() { Code::Done } else { Code::Error })
}

/// The findings as a table.
pub fn draw(report: &Report) -> String {
    let rows = report.checks.iter().map(|check| {
        let verdict = match (check.passed, check.needed) {
            (true, _) => "yes",
            (false, true) => "NO",
            (false, false) => "no (can do without)",
        };
        vec![check.name.clone(), verdict.to_owned(), check.found.clone(), format!("{} ms", check.milliseconds)]
    });
    table(&["what was tried", "holds", "what was found", "took"], rows)
}
