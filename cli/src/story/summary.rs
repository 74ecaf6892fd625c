//! What the story prints at its end: each act with its numbers, and what the users noticed.

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

/// Prints the summary to stdout.
pub fn print(acts: &[Act], load: &LoadReport, took: Duration) {
    println!("\nWhat happened ({} s of real time):\n", took.as_secs());
    let rows = acts.iter().enumerate().map(|(i, act)| row(i + 1, act, load));
    println!(
        "{}",
        output::table(&["", "act", "version", "outcome", "users exposed", "requests", "time to verdict"], rows)
    );
    println!();
    for (i, act) in acts.iter().enumerate() {
        if let Some(ended) = &act.ended {
            println!("{}. version {} {}: {}", i + 1, ended.target.version, verb(ended.result), ended.reason.message);
        }
    }
    println!(
        "\n{} visits, {} requests, {} answered, {} failed; median {:.1} ms, 99th percentile {:.1} ms",
        load.visits,
        load.requests,
        load.answered,
        load.failed,
        load.latency_p50_us as f64 / 1e3,
        load.latency_p99_us as f64 / 1e3
    );
    for failure in &load.failures {
        println!("  failed: {failure}");
    }
    let strays = acts.iter().filter(|act| !act.as_told).count();
    println!(
        "{}",
        if strays == 0 { "Everything went as told.".to_owned() } else { format!("{strays} acts did not go as told.") }
    );
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
