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
use crate::args::{Rollout, StateArgument, Status};
use crate::exit::{Code, Invalid};
use crate::output::{self, table};

/// Runs a verb.
///
/// # Errors
/// Nothing runs, or it refused.
pub async fn run(rollout: Rollout) -> Result<Code> {
    match rollout {
        Rollout::Status(status) => status::run(status).await,
        Rollout::History(status) => history(status).await,
        Rollout::Watch(state) => watch(&state).await,
        Rollout::Pause(state) => send(&state, RolloutRequest::Pause).await,
        Rollout::Resume(state) => send(&state, RolloutRequest::Resume).await,
        Rollout::Abort(state) => send(&state, RolloutRequest::Abort).await,
        Rollout::Retry(state) => send(&state, RolloutRequest::Retry).await,
        Rollout::Promote { full, yes, state } => {
            if full && !yes {
                confirm("this sends all users to the candidate without further evidence")?;
            }
            send(&state, RolloutRequest::Promote { full }).await
        }
        Rollout::Undo { to, state } => {
            let to = match to {
                Some(number) => Some(target(&state, number).await?),
                None => None,
            };
            send(&state, RolloutRequest::Undo { to }).await
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

async fn send(state: &StateArgument, request: RolloutRequest) -> Result<Code> {
    let who = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let mut body = serde_json::to_value(&request)?;
    body["who"] = json!(who);
    let reasons = StateFolder::find(state)?.send(reqwest::Method::POST, "/admin/rollout", Some(body)).await?;
    let mut code = Code::Done;
    for reason in reasons {
        if reason.code.starts_with("NothingTo") {
            code = Code::Invalid;
        }
        println!("{}: {}", reason.code, reason.message);
    }
    Ok(code)
}

async fn history(status: Status) -> Result<Code> {
    let report = status::report(&StateFolder::find(&status.state)?).await?;
    let history: Vec<Ended> = serde_json::from_value(report["history"].clone()).unwrap_or_default();
    status.output.print(&history, |history| {
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

/// Prints new events until Ctrl-C or until the process ends.
async fn watch(state: &StateArgument) -> Result<Code> {
    let folder = StateFolder::find(state)?;
    let mut printed = 0;
    while let Some(live) = folder.live().await {
        let events = live["events"].as_array().cloned().unwrap_or_default();
        for event in events.iter().skip(printed) {
            let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            println!(
                "{}  {:<8} {}",
                word("time").chars().take(19).collect::<String>().replace('T', " "),
                word("about"),
                word("message")
            );
        }
        printed = events.len().max(printed);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Code::Done),
        }
    }
    if printed == 0 {
        bail!("nothing runs there: start it with `fairway up`");
    }
    Ok(Code::Done)
}
