//! `fairway status`: what serves, what is on trial, and why; from the running process, or from the bucket if none runs.

use anyhow::Result;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::state::StateFolder;
use crate::args::Place;
use crate::exit::Code;
use crate::output::table;
use crate::runtime::stored_report;

/// Prints the status.
///
/// # Errors
/// There is no state, or the bucket cannot be read.
pub async fn run(place: Place) -> Result<Code> {
    if let Some(cluster) = Cluster::named(&place).await? {
        let report = cluster.report().await?;
        place.output.print(&report, draw)?;
        return Ok(Cluster::code(&report));
    }
    let folder = StateFolder::find(&place.state)?;
    let report = report(&folder).await?;
    place.output.print(&report, draw)?;
    Ok(Code::Done)
}

/// The live report, or the last one in the bucket.
///
/// # Errors
/// There is no state, or the bucket cannot be read.
pub(super) async fn report(folder: &StateFolder) -> Result<Value> {
    if let Some(live) = folder.live().await {
        let mut report = live["report"].clone();
        report["running"] = json!(true);
        return Ok(report);
    }
    let (model, endpoint) = folder.logs().await?;
    let identity = folder.identity()?;
    let mut report = stored_report(&model, &endpoint).await?;
    report["running"] = json!(false);
    report["model"] = json!(identity.model);
    report["endpoint"] = json!(identity.endpoint);
    Ok(report)
}

pub(super) fn draw(report: &Value) -> String {
    let running = if report["running"] == json!(true) { "running" } else { "stopped; as last recorded" };
    let mut text = format!("{} serves {} ({running})\n\n", word(&report["endpoint"]), word(&report["model"]));
    text.push_str(&table(&["track", "version", "users", "digest"], tracks(report)));
    text.push_str("\n\n");
    let conditions = report["conditions"].as_array().cloned().unwrap_or_default();
    let rows = conditions.iter().map(|condition| {
        let holds = if condition["status"] == json!(true) { "yes" } else { "no" };
        vec![
            word(&condition["of"]),
            word(&condition["type"]),
            holds.to_owned(),
            word(&condition["reason"]["code"]),
            word(&condition["reason"]["message"]),
        ]
    });
    text.push_str(&table(&["of", "condition", "holds", "reason", "message"], rows));
    text
}

fn tracks(report: &Value) -> Vec<Vec<String>> {
    let canary = &report["route"]["canary"];
    let weight = canary["weight"].as_f64().unwrap_or(0.0) / 10_000.0;
    let row = |track: &str, target: &Value, share: f64| {
        let version = target["version"].as_u64().map_or_else(|| "baseline".to_owned(), |n| n.to_string());
        let digest = word(&target["digest"]).chars().take(19).collect();
        vec![track.to_owned(), version, format!("{share} %"), digest]
    };
    let mut rows = vec![row("stable", &report["stable"], 100.0 - weight)];
    if !canary.is_null() {
        rows.push(row("canary", &canary["target"], weight));
    }
    rows
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
