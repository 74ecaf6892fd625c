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
    let rows: Vec<Vec<String>> = list(&report["experiments"]).flat_map(arms).collect();
    if !rows.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(&["experiment", "stands", "arm", "users", "requests", "verdict"], rows));
    }
    text
}

/// A row an arm, or one that says why nobody is in any.
fn arms(experiment: &Value) -> Vec<Vec<String>> {
    let (name, fact) = (word(&experiment["name"]), &experiment["facts"][0]["reason"]);
    let stands = match experiment["result"].as_str() {
        Some(result) => result.to_owned(),
        None => word(&fact["code"]),
    };
    let arms: Vec<Vec<String>> = list(&experiment["arms"])
        .map(|arm| {
            let count = |field: &str| arm[field].as_i64().unwrap_or_default().to_string();
            let verdict = arm["verdict"].as_str().unwrap_or("control").to_owned();
            vec![name.clone(), stands.clone(), word(&arm["name"]), count("users"), count("requests"), verdict]
        })
        .collect();
    if !arms.is_empty() {
        return arms;
    }
    vec![vec![name, stands, String::new(), String::new(), String::new(), word(&fact["message"])]]
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
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
