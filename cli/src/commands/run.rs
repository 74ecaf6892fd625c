//! `fairway run`: training runs. A run's outcome is in the bucket, so that the same name gives the same answer for ever.

use std::time::Duration;

use anyhow::{Result, bail};
use fairway_core::model::{ModelEffect, ModelStatus, RunEnd};
use fairway_registry::ModelLog;
use serde_json::json;

use super::state::StateFolder;
use crate::args::{Run, StateArgument};
use crate::exit::{Code, Invalid};
use crate::output::{self, Output, table};
use crate::runtime::{Clock, Stored};

const POLL_EVERY: Duration = Duration::from_millis(300);
const PLANS_SEARCHED: usize = 500;

/// Runs a verb.
///
/// # Errors
/// Nothing runs, or it refused.
pub async fn run(run: Run) -> Result<Code> {
    match run {
        Run::Start { name, reason, force, wait, timeout, state } => {
            let name = name.unwrap_or_else(|| format!("asked-{}", Clock::real().now().as_millisecond()));
            let code = start(&name, &reason, force, &state).await?;
            match code {
                Some(code) => Ok(code),
                None if wait => watch(&name, timeout.std(), &state).await,
                None => Ok(Code::Done),
            }
        }
        Run::Watch { name, timeout, state } => watch(&name, timeout.std(), &state).await,
        Run::Logs { name, state, output } => logs(&name, &state, output).await,
        Run::Cancel { name, state } => {
            let reasons =
                StateFolder::find(&state)?.send(reqwest::Method::DELETE, &format!("/admin/runs/{name}"), None).await?;
            for reason in &reasons {
                println!("{}: {}", reason.code, reason.message);
            }
            Ok(if reasons.iter().any(|reason| reason.code == "NothingToCancel") { Code::Invalid } else { Code::Done })
        }
    }
}

/// Starts the run, unless it has ended (then its code is known) or is on its way (then there is nothing to do).
async fn start(name: &str, reason: &str, force: bool, state: &StateArgument) -> Result<Option<Code>> {
    let folder = StateFolder::find(state)?;
    let (model, _) = folder.logs().await?;
    let run = model.run(name).map_err(|error| Invalid(error.to_string()))?;
    if let Some(end) = run.outcome::<RunEnd>().await? {
        println!("run {name} has ended before: {}", sentence(&end));
        return Ok(Some(Code::of_run(&end)));
    }
    let is_active = |live: serde_json::Value| live["report"]["run"]["name"] == json!(name);
    if folder.live().await.is_some_and(is_active) {
        println!("run {name} is on its way");
        return Ok(None);
    }
    let body = json!({"name": name, "reason": reason, "force": force});
    let reasons = folder.send(reqwest::Method::POST, "/admin/runs", Some(body)).await?;
    for reason in &reasons {
        println!("{}: {}", reason.code, reason.message);
    }
    let started = reasons.iter().any(|reason| reason.code == "RunStarted");
    Ok(if started { None } else { Some(Code::Suppressed) })
}

async fn watch(name: &str, timeout: Duration, state: &StateArgument) -> Result<Code> {
    let folder = StateFolder::find(state)?;
    let (model, _) = folder.logs().await?;
    let run = model.run(name).map_err(|error| Invalid(error.to_string()))?;
    let wait = async {
        loop {
            if let Some(end) = run.outcome::<RunEnd>().await? {
                return anyhow::Ok(end);
            }
            if folder.live().await.is_none() {
                bail!("run {name} has not ended, and nothing runs in the state folder: start it with `fairway up`");
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    match tokio::time::timeout(timeout, wait).await {
        Ok(end) => {
            let end = end?;
            println!("run {name}: {}", sentence(&end));
            Ok(Code::of_run(&end))
        }
        Err(_) => {
            eprintln!("run {name} has not ended after {}; it goes on", fairway_core::plan::spell(timeout));
            Ok(Code::Timeout)
        }
    }
}

fn sentence(end: &RunEnd) -> String {
    match end {
        RunEnd::Registered { version } => format!("registered version {version}"),
        RunEnd::Rejected { why } => format!("rejected: {why}"),
        RunEnd::DataRefused { code, why } => format!("data refused ({code}): {why}"),
        RunEnd::Failed { why } => format!("failed: {why}"),
        RunEnd::Cancelled { why } => format!("cancelled: {why}"),
    }
}

async fn logs(name: &str, state: &StateArgument, output: Output) -> Result<Code> {
    let (model, _) = StateFolder::find(state)?.logs().await?;
    let lines = said_of(&model, name).await?;
    let end = model.run(name).map_err(|error| Invalid(error.to_string()))?.outcome::<RunEnd>().await?;
    if lines.is_empty() && end.is_none() {
        bail!(Invalid(format!("there is no run {name}")));
    }
    output.print(&json!({"run": name, "events": lines, "outcome": end}), |_| {
        let rows = lines.iter().map(|(time, code, message)| vec![output::time(*time), code.clone(), message.clone()]);
        let end = end.as_ref().map_or_else(|| "not ended".to_owned(), sentence);
        format!("{}\n\noutcome: {end}", table(&["time", "event", "message"], rows))
    })?;
    Ok(end.map_or(Code::Done, |end| Code::of_run(&end)))
}

/// What the model's plans say of a run, oldest first.
async fn said_of(model: &ModelLog, name: &str) -> Result<Vec<(jiff::Timestamp, String, String)>> {
    let plans = model.plans::<Stored<ModelEffect, ModelStatus>>(PLANS_SEARCHED).await?;
    let mut lines = Vec::new();
    for (_, stored) in plans.into_iter().rev() {
        for reason in stored.plan.reasons {
            if reason.message.contains(&format!("run {name}")) {
                lines.push((stored.time, reason.code, reason.message));
            }
        }
    }
    Ok(lines)
}
