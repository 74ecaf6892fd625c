//! `fairway rollout`: watch and steer.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_api::values::VersionRef;
use fairway_api::{RolloutCommand, RolloutVerb};
use fairway_core::Reason;
use fairway_core::endpoint::{Ended, RolloutResult};
use fairway_core::plan::{elapsed, spell};
use fairway_registry::Reference;
use fairway_wire::Target;
use serde_json::json;

use super::cluster::Cluster;
use super::state::StateFolder;
use super::status;
use crate::args::{Place, Rollout};
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
        Rollout::History { registry, place } => history(registry, &place).await,
        Rollout::Watch(place) => watch(&place).await,
        Rollout::Pause(place) => send(&place, RolloutVerb::Pause).await,
        Rollout::Resume(place) => send(&place, RolloutVerb::Resume).await,
        Rollout::Abort(place) => send(&place, RolloutVerb::Abort).await,
        Rollout::Retry(place) => send(&place, RolloutVerb::Retry).await,
        Rollout::Promote { full, yes, place } => {
            if full && !yes {
                confirm("this sends all users to the candidate without further evidence")?;
            }
            send(&place, RolloutVerb::Promote { full }).await
        }
        Rollout::Undo { to, place } => send(&place, RolloutVerb::Undo { to: to.map(VersionRef::Number) }).await,
    }
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

async fn send(place: &Place, verb: RolloutVerb) -> Result<Code> {
    let reasons = match Cluster::named(place).await? {
        Some(cluster) => cluster.ask(verb).await?,
        None => send_here(place, verb).await?,
    };
    let reasons = answers(reasons);
    let was_in_vain = reasons.iter().any(|reason| reason.code.starts_with("NothingTo") || reason.code == "Invalid");
    place.output.print(&json!({"reasons": reasons}), |_| output::reasons(&reasons))?;
    Ok(if was_in_vain { Code::Invalid } else { Code::Done })
}

/// What can come of a verb, beside `NothingTo…`.
const ANSWERS: [&str; 18] = [
    "Paused",
    "Resumed",
    "StepUp",
    "Promoted",
    "Scaling",
    "Loading",
    "AwaitingApproval",
    "RolledBack",
    "CalledOff",
    "Undone",
    "Retried",
    "RolloutStarted",
    "BlockedByFailedLoad",
    "Barred",
    "Frozen",
    "Superseded",
    "Suspended",
    "Invalid",
];

/// Of all that the look has said which took the verb, what is about it. Where nothing is, all of it: an answer is never empty.
fn answers(said: Vec<Reason>) -> Vec<Reason> {
    let is_one = |reason: &Reason| ANSWERS.contains(&&*reason.code) || reason.code.starts_with("NothingTo");
    if said.iter().any(is_one) { said.into_iter().filter(is_one).collect() } else { said }
}

async fn send_here(place: &Place, verb: RolloutVerb) -> Result<Vec<Reason>> {
    let folder = StateFolder::find(&place.state)?;
    let who = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let (model, _) = match &verb {
        // Only a named version needs the registry: the other verbs go without.
        RolloutVerb::Undo { to: Some(_) } => folder.logs().await.map(|(model, log)| (Some(model), Some(log)))?,
        _ => (None, None),
    };
    let named = match (&verb, &model) {
        (RolloutVerb::Undo { to: Some(VersionRef::Number(number)) }, Some(model)) => {
            let version = model.resolve(&Reference::number(*number)).await?;
            Some(Target { version: version.number, digest: version.digest.to_string() })
        }
        _ => None,
    };
    let command = RolloutCommand { id: "here".to_owned(), who: who.clone(), verb };
    let request = command.request(|version| named.with_context(|| format!("there is no version {version}")))?;
    let mut body = serde_json::to_value(&request)?;
    body["who"] = json!(who);
    folder.send(reqwest::Method::POST, "/admin/rollout", Some(body)).await
}

async fn history(registry: Option<String>, place: &Place) -> Result<Code> {
    let history: Vec<Ended> = match Cluster::named(place).await? {
        Some(cluster) => cluster.history(registry, place).await?,
        None => {
            let report = status::report(&StateFolder::find(&place.state)?).await?;
            serde_json::from_value(report["history"].clone()).unwrap_or_default()
        }
    };
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
    if let Some(cluster) = Cluster::named(place).await? {
        return cluster.watch(place).await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_verb_stands_alone() {
        let said = |codes: &[&str]| codes.iter().map(|code| Reason::new(code, "why")).collect::<Vec<_>>();
        let codes = |reasons: Vec<Reason>| reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>();
        for (all, answer) in [
            (&["NothingToPause", "NoVersion", "Cooldown"][..], &["NothingToPause"][..]),
            (&["Retried", "RolloutStarted", "RolloutActive"], &["Retried", "RolloutStarted"]),
            (&["RolledBack", "Barred", "TelemetryMissing"], &["RolledBack", "Barred"]),
            (&["Baking"], &["Baking"]),
            (&[], &[]),
        ] {
            assert_eq!(codes(answers(said(all))), answer, "{all:?}");
        }
    }
}
