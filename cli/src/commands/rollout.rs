//! `fairway rollout`: watch and steer.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Result, bail};
use fairway_core::endpoint::{Ended, RolloutRequest, RolloutResult};
use fairway_core::plan::{elapsed, spell};
use fairway_registry::Reference;
use fairway_wire::Target;
use serde_json::json;

use super::state::StateFolder;
use super::status;
use crate::args::{Place, Rollout, StateArgument};
use crate::exit::{Code, Invalid};
use crate::output::{self, Output, table};
use crate::runtime::Line;

/// Runs a verb.
///
/// # Errors
/// Nothing runs, or it refused.
pub async fn run(rollout: Rollout) -> Result<Code> {
    match rollout {
        Rollout::Status(place) => status::run(place).await,
        Rollout::History(place) => history(&place).await,
        Rollout::Watch(place) => watch(&place).await,
        Rollout::Pause(place) => send(&place, RolloutRequest::Pause).await,
        Rollout::Resume(place) => send(&place, RolloutRequest::Resume).await,
        Rollout::Abort(place) => send(&place, RolloutRequest::Abort).await,
        Rollout::Retry(place) => send(&place, RolloutRequest::Retry).await,
        Rollout::Promote { full, yes, place } => {
            if full && !yes {
                confirm("this sends all users to the candidate without further evidence")?;
            }
            send(&place, RolloutRequest::Promote { full }).await
        }
        Rollout::Undo { to, place } => {
            let to = match to {
                Some(number) => Some(target(&place.state, number).await?),
                None => None,
            };
            send(&place, RolloutRequest::Undo { to }).await
        }
    }
}

async fn target(state: &StateArgument, number: u64) -> Result<Target> {
    let (model, _) = StateFolder::find(state)?.logs().await?;
    let version = model.resolve(&Reference::number(number)).await?;
    Ok(Target { version: version.number, digest: version.digest.to_string() })
}

fn confirm(what: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!(Invalid(format!("{what}: say so with --yes")));
    }
    eprint!("{what}. Type yes: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim() == "yes" { Ok(()) } else { bail!(Invalid("nothing was changed".to_owned())) }
}

async fn send(place: &Place, request: RolloutRequest) -> Result<Code> {
    let who = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let mut body = serde_json::to_value(&request)?;
    body["who"] = json!(who);
    let reasons = StateFolder::find(&place.state)?.send(reqwest::Method::POST, "/admin/rollout", Some(body)).await?;
    let had_nothing_to_do = reasons.iter().any(|reason| reason.code.starts_with("NothingTo"));
    place.output.print(&json!({"reasons": reasons}), |_| output::reasons(&reasons))?;
    Ok(if had_nothing_to_do { Code::Invalid } else { Code::Done })
}

async fn history(place: &Place) -> Result<Code> {
    let report = status::report(&StateFolder::find(&place.state)?).await?;
    let history: Vec<Ended> = serde_json::from_value(report["history"].clone()).unwrap_or_default();
    place.output.print(&history, |history| {
        let rows = history.iter().rev().map(|ended| {
            let result = match ended.result {
                RolloutResult::Promoted => "promoted",
                RolloutResult::RolledBack => "rolled back",
                RolloutResult::Superseded => "superseded",
            };
            vec![
                output::time(ended.ended),
                ended.target.version.to_string(),
                result.to_owned(),
                spell(elapsed(ended.started, ended.ended)),
                ended.canary_requests.to_string(),
                ended.reason.message.clone(),
            ]
        });
        table(&["ended", "version", "result", "took", "requests", "why"], rows)
    })?;
    Ok(Code::Done)
}

/// Prints new events until Ctrl-C or until the process ends; as JSON, one object a line.
async fn watch(place: &Place) -> Result<Code> {
    let folder = StateFolder::find(&place.state)?;
    let mut last = None;
    while let Some(live) = folder.live().await {
        let events: Vec<Line> = serde_json::from_value(live["events"].clone())?;
        for event in events.iter().filter(|event| last.is_none_or(|last| event.number > last)) {
            match place.output {
                Output::Table => output::line(&event.to_string())?,
                Output::Json => output::line(&serde_json::to_string(event)?)?,
            }
        }
        last = events.last().map(|event| event.number).max(last);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Code::Done),
        }
    }
    if last.is_none() {
        bail!("nothing runs there: start it with `fairway up`");
    }
    Ok(Code::Done)
}
