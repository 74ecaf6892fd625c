//! What the story says at its end: each act with its numbers, and what the users noticed.

use std::time::Duration;

use fairway_core::endpoint::{Ended, RolloutResult};
use fairway_core::plan::{elapsed, spell};
use fairway_simulator::LoadReport;

use crate::output;

/// One act and how it went.
#[derive(Clone, Debug)]
pub struct Act {
    /// What should happen.
    pub what: String,
    /// Whether it did.
    pub as_told: bool,
    /// The rollout in which it ended; none if it took too long.
    pub ended: Option<Ended>,
}

/// The summary.
pub fn text(acts: &[Act], load: &LoadReport, took: Duration) -> String {
    let rows = acts.iter().enumerate().map(|(i, act)| row(i + 1, act, load));
    let header = ["", "act", "version", "outcome", "users exposed", "requests", "time to verdict"];
    let mut lines = vec![
        format!("\nWhat happened ({} s of real time):\n", took.as_secs()),
        output::table(&header, rows),
        String::new(),
    ];
    for (i, act) in acts.iter().enumerate() {
        if let Some(ended) = &act.ended {
            let (version, verb) = (ended.target.version, verb(ended.result));
            lines.push(format!("{}. version {version} {verb}: {}", i + 1, ended.reason.message));
        }
    }
    lines.push(format!(
        "\n{} visits, {} requests, {} answered, {} failed; median {:.1} ms, 99th percentile {:.1} ms",
        load.visits,
        load.requests,
        load.answered,
        load.failed,
        load.latency_p50_us as f64 / 1e3,
        load.latency_p99_us as f64 / 1e3
    ));
    lines.extend(load.failures.iter().map(|failure| format!("  failed: {failure}")));
    let strays = acts.iter().filter(|act| !act.as_told).count();
    lines.push(match strays {
        0 => "Everything went as told.".to_owned(),
        _ => format!("{strays} of {} acts did not go as told.", acts.len()),
    });
    lines.join("\n")
}

fn row(number: usize, act: &Act, load: &LoadReport) -> Vec<String> {
    let mut row = vec![number.to_string(), act.what.clone()];
    match &act.ended {
        Some(ended) => {
            let users = load.users_by_version.get(&ended.target.version).copied().unwrap_or(0);
            row.extend([
                ended.target.version.to_string(),
                verb(ended.result).to_owned(),
                users.to_string(),
                ended.canary_requests.to_string(),
                spell(elapsed(ended.started, ended.ended)),
            ]);
        }
        None => row.extend(["-", "did not happen in time", "", "", ""].map(str::to_owned)),
    }
    row
}

fn verb(result: RolloutResult) -> &'static str {
    match result {
        RolloutResult::Promoted => "promoted",
        RolloutResult::RolledBack => "rolled back",
        RolloutResult::Superseded => "superseded",
    }
}
