//! `fairway run`: training runs. A run's outcome is in the bucket, so that the same name gives the same answer for ever.

use std::time::Duration;

use anyhow::{Result, bail};
use fairway_core::Reason;
use fairway_core::model::{ModelEffect, ModelStatus, RunEnd};
use fairway_registry::ModelLog;
use serde::Serialize;
use serde_json::json;

use super::cluster::Cluster;
use super::state::StateFolder;
use crate::args::{Place, Run};
use crate::exit::{Code, Invalid};
use crate::live::sentence as sentence_of;
use crate::output::{self, table};
use crate::runtime::{Clock, Step, Stored};

const POLL_EVERY: Duration = Duration::from_millis(300);
/// About a day of plans under traffic.
const PLANS_SEARCHED: usize = 5_000;

/// What `--output json` prints of a run.
#[derive(Serialize)]
struct Shown<'a> {
    run: &'a str,
    /// What was said when it was asked for; empty if nobody asked.
    reasons: Vec<Reason>,
    /// None while it has not ended.
    outcome: Option<RunEnd>,
}

/// Runs a verb.
///
/// # Errors
/// Nothing runs, or it refused.
pub async fn run(run: Run) -> Result<Code> {
    match run {
        Run::Start { name, reason, force, wait, timeout, place } => {
            let name = name.unwrap_or_else(|| format!("asked-{}", Clock::real().now().as_millisecond()));
            if let Some(cluster) = Cluster::named(&place).await? {
                return cluster.start_run(&name, &reason, force, wait.then_some(timeout.std()), &place).await;
            }
            start(&name, &reason, force, wait.then_some(timeout.std()), &place).await
        }
        Run::Watch { name, timeout, place } => match Cluster::named(&place).await? {
            Some(cluster) => cluster.watch_run(&name, timeout.std(), &place).await,
            None => watch(&name, timeout.std(), &place).await,
        },
        Run::Logs { name, place } => match Cluster::named(&place).await? {
            Some(cluster) => cluster.run_logs(&name, &place).await,
            None => logs(&name, &place).await,
        },
        Run::Cancel { name, place } => match Cluster::named(&place).await? {
            Some(cluster) => cluster.cancel_run(&name, &place).await,
            None => cancel(&name, &place).await,
        },
    }
}

/// Starts the run, unless it has ended (then its code is known) or is on its way (then there is nothing to do).
async fn start(name: &str, reason: &str, force: bool, wait: Option<Duration>, place: &Place) -> Result<Code> {
    let folder = StateFolder::find(&place.state)?;
    let (model, _) = folder.logs().await?;
    let run = model.run(name).map_err(|error| Invalid(error.to_string()))?;
    if let Some(end) = run.outcome::<RunEnd>().await? {
        return ended(name, end, place);
    }
    let mut reasons = Vec::new();
    if !is_active(&folder, name).await {
        let body = json!({"name": name, "reason": reason, "force": force});
        reasons = folder.send(reqwest::Method::POST, "/admin/runs", Some(body)).await?;
        // Asked twice at once, there is one run, and both are told of it.
        let has_started = reasons.iter().any(|reason| ["RunStarted", "AlreadyRunning"].contains(&reason.code.as_str()));
        if !has_started {
            // It may have ended between the first look and the asking.
            if let Some(end) = run.outcome::<RunEnd>().await? {
                return ended(name, end, place);
            }
            print(name, reasons, None, place)?;
            return Ok(Code::Suppressed);
        }
    }
    match wait {
        Some(timeout) => watch(name, timeout, place).await,
        None => {
            print(name, reasons, None, place)?;
            Ok(Code::Done)
        }
    }
}

async fn is_active(folder: &StateFolder, name: &str) -> bool {
    folder.live().await.is_some_and(|live| live["report"]["run"]["name"] == json!(name))
}

async fn cancel(name: &str, place: &Place) -> Result<Code> {
    let folder = StateFolder::find(&place.state)?;
    let reasons = folder.send(reqwest::Method::DELETE, &format!("/admin/runs/{name}"), None).await?;
    let was_active = !reasons.iter().any(|reason| reason.code == "NothingToCancel");
    print(name, reasons, None, place)?;
    Ok(if was_active { Code::Done } else { Code::Invalid })
}

async fn watch(name: &str, timeout: Duration, place: &Place) -> Result<Code> {
    let folder = StateFolder::find(&place.state)?;
    let (model, _) = folder.logs().await?;
    let run = model.run(name).map_err(|error| Invalid(error.to_string()))?;
    if run.plan::<serde_json::Value>().await?.is_none() && !is_active(&folder, name).await {
        bail!(Invalid(format!("there is no run {name}: start it with `fairway run start --name {name}`")));
    }
    let wait = async {
        let mut told = None;
        loop {
            if let Some(end) = run.outcome::<RunEnd>().await? {
                return anyhow::Ok(end);
            }
            let Some(live) = folder.live().await else {
                bail!("run {name} has not ended, and nothing runs in the state folder: start it with `fairway up`");
            };
            let step: Option<Step> = serde_json::from_value(live["report"]["progress"].clone())?;
            if let Some(step) = step.filter(|step| step.run == name && told.as_ref() != Some(&step.stage)) {
                eprintln!("{}", sentence_of(&step));
                told = Some(step.stage);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    match tokio::time::timeout(timeout, wait).await {
        Ok(end) => ended(name, end?, place),
        Err(_) => {
            eprintln!("run {name} has not ended after {}; it goes on", fairway_core::plan::spell(timeout));
            Ok(Code::Timeout)
        }
    }
}

fn ended(name: &str, end: RunEnd, place: &Place) -> Result<Code> {
    let code = Code::of_run(&end);
    print(name, Vec::new(), Some(end), place)?;
    Ok(code)
}

fn print(run: &str, reasons: Vec<Reason>, outcome: Option<RunEnd>, place: &Place) -> Result<()> {
    place.output.print(&Shown { run, reasons, outcome }, |shown| match &shown.outcome {
        Some(end) => format!("run {run}: {}", sentence(end)),
        None if shown.reasons.is_empty() => format!("run {run} is on its way"),
        None => output::reasons(&shown.reasons),
    })
}

/// For people.
pub fn sentence(end: &RunEnd) -> String {
    match end {
        RunEnd::Registered { version } => format!("registered version {version}"),
        RunEnd::Rejected { why } => format!("rejected: {why}"),
        RunEnd::DataRefused { code, why } => format!("data refused ({code}): {why}"),
        RunEnd::Failed { why } => format!("failed: {why}"),
        RunEnd::Cancelled { why } => format!("cancelled: {why}"),
    }
}

async fn logs(name: &str, place: &Place) -> Result<Code> {
    let (model, _) = StateFolder::find(&place.state)?.logs().await?;
    let lines = said_of(&model, name).await?;
    let end = model.run(name).map_err(|error| Invalid(error.to_string()))?.outcome::<RunEnd>().await?;
    if lines.is_empty() && end.is_none() {
        bail!(Invalid(format!("there is no run {name}")));
    }
    place.output.print(&json!({"run": name, "events": lines, "outcome": end}), |_| {
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
            if [' ', ':'].iter().any(|end| reason.message.contains(&format!("run {name}{end}"))) {
                lines.push((stored.time, reason.code, reason.message));
            }
        }
    }
    Ok(lines)
}
